//! Messages ↔ frames' payloads, without I/O: the stamp, raw and json.
//!
//! Knows nothing of sockets, schedules or metrics. The embedded gateway shares this module and
//! nothing else of the generator's side.

mod config;

pub use config::{Condition, Mapping, ProtocolConfig};
