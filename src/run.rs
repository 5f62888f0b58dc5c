//! The pipeline, readable top to bottom.
