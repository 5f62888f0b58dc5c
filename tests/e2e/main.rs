//! The real binary, end to end: one scenario in, one verdict out, against targets with known faults.
//!
//! Every summary that is read here is checked for conservation first (see `harness::Done::summary`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests
#![allow(clippy::disallowed_methods)] // waiting for processes polls

mod auth;
mod codes;
mod deploys;
mod detours;
mod ending;
mod faults;
mod gates;
mod harness;
mod honest;
mod lasting;
mod nodes;
mod places;
mod pressure;
mod resume;
mod stomp;
mod storms;
mod untrusted;
mod verbs;
mod words;
