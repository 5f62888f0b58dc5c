//! Measuring: the recorder (hot path), snapshots, merging, sequence accounting, the generator's own health.
//!
//! Knows nothing of scenarios, plans, connections or reports: phases and groups are indices here,
//! and the time is passed in.

mod absence;
mod clean;
mod delivery;
mod fate;
mod gaps;
mod histogram;
mod moments;
mod names;
mod neighbours;
mod nodes;
mod pressure;
mod reasons;
mod recorder;
mod shard;
mod snapshot;
mod storm;
mod streams;
mod timeline;
mod totals;
mod validity;

pub use absence::{Absence, AbsenceDelta};
pub use clean::clean;
pub use delivery::Delivery;
pub use fate::{Arrival, Blame, Fate, Loss, StreamEnd};
pub use histogram::{HIGHEST_US, LOWEST_US, Quantiles, SIGNIFICANT_DIGITS, value_at_rank};
pub use moments::{STEP_NS, Step, Steps};
pub use names::{Counter, Failure, Timer};
pub use neighbours::{NeighbourDelta, NeighbourTally, Neighbours, Recording, Side};
pub use nodes::{Node, NodeName, PLACES_OVER_TIME, uneven};
pub use pressure::{
    Bounds, Evidence, Moment, NoRatio, Policy, Ratio, Verdict, p99_bounds, ratio, recovered, usual,
};
pub use reasons::Reason;
pub use recorder::Recorder;
pub use shard::ShardTotals;
pub use snapshot::{
    CloseKey, DrainDelta, DrainKey, FaultDelta, FaultEnd, FaultEndKey, FaultTally, Gauges,
    PartingDelta, PartingKey, SNAPSHOT_VERSION, Sample, Snapshot, Tagged, TcpEnd, TimerDelta,
};
pub use storm::{Capacity, Storm};
pub use streams::{Place, STREAMS, StreamDelta, StreamTally, StreamTotals};
pub use timeline::{Beside, Interval, Second, openings};
pub use totals::{AbsorbError, Totals};
pub use validity::{Limits, State, Validity, judge};
