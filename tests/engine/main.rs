//! One shard in this process against servers whose every byte the test decides: each way an opening can
//! fail and a connection can end is counted as what it was, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests
#![allow(clippy::disallowed_methods)] // waiting for processes polls

mod answers;
mod asides;
mod bench;
mod burst;
mod comeback;
mod compression;
mod conversation;
mod detours;
mod endings;
mod events;
mod faults;
mod ladder;
mod network;
mod openings;
mod partition;
mod polling;
mod polls;
mod resume;
mod slow;
mod stall;
mod succession;
mod traffic;
