//! What a user may write of `deploy`: how the target is made to change under its clients.

use super::super::super::units::Duration;
use super::super::Table;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A deploy of the target, begun by squall. Exactly one of `run`, `shell`, `signal`, `webhook` and `roll` is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// A program and its arguments, run as they are, without a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Vec<String>>,
    /// A command line for `/bin/sh -c`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    /// A signal to a process on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<SendSignal>,
    /// An HTTP request; an answer of 200 to 299 is success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
    /// The embedded gateway's nodes are restarted one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roll: Option<Roll>,
    /// Start, counted from the phase's. Default 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Duration>,
    /// How long it may take to be carried out. Default 60s, and never beyond its phase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// It may cut nobody: a run in which it touches no connection is valid all the same.
    #[serde(default)]
    pub hitless: bool,
}

/// A signal, and who gets it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SendSignal {
    /// The signal's name. Default SIGTERM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// Who gets it.
    pub to: To,
    /// With `process`: all that are called so, where there are several.
    #[serde(default)]
    pub all: bool,
}

/// Who gets a signal. Exactly one key is given.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum To {
    /// A process id.
    Pid(u32),
    /// A file that holds the process id, read when the signal is due.
    PidFile(String),
    /// A process by its name, exactly: that of its program file, or the one the kernel shows.
    Process(String),
}

/// An HTTP request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where to: `http://` or `https://`.
    pub url: String,
    /// Method. Default POST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Headers beside `Host`, `Connection` and `Content-Length`.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub headers: Table<String>,
    /// Body. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// The embedded gateway's rolling restart.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Roll {
    /// From one node ready again to the next one's turn. Default 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Duration>,
}
