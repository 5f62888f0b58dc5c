//! One shard in this process against servers whose every byte the test decides: each way an opening can
//! fail and a connection can end is counted as what it was, and nothing else.

mod bench;
mod endings;
mod openings;
mod traffic;
