//! Measuring: the recorder (hot path), snapshots, merging, sequence accounting.
//!
//! Knows nothing of scenarios, plans, connections or reports: phases and groups are indices here.

mod names;
mod snapshot;

pub use names::{Counter, Failure, Timer};
pub use snapshot::{CloseKey, Gauges, SNAPSHOT_VERSION, Sample, Snapshot, Tagged, TimerDelta};
