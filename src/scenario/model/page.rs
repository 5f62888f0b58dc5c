//! Where a target tells how it is.

use super::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A page of metrics in Prometheus' text format.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricsPage {
    /// Where it is: `http://` or `https://`.
    pub url: String,
    /// The metric that holds the target's memory, in bytes; of several of that name the sum. Default
    /// `process_resident_memory_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// Headers of the request beside `Host` and `Connection`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
}
