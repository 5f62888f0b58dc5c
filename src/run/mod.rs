//! The pipeline, readable top to bottom.

pub mod machine;
