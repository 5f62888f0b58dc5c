//! The real binary, end to end: one scenario in, one verdict out, against targets with known faults.
//!
//! Every summary that is read here is checked for conservation first (see `harness::Done::summary`).

mod codes;
mod ending;
mod harness;
mod honest;
mod untrusted;
mod verbs;
