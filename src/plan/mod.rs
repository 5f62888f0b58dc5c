//! The plan: what will run. Compiling a scenario, pacing, shares; pure, no clock, no I/O.
//!
//! Knows the configuration types of the parts it composes, and nothing of how they do their work.

mod auth;
mod backoff;
mod compile;
mod fault;
mod ladder;
mod needs;
mod pacer;
mod page;
mod seeded;
mod streams;
mod template;
mod types;

pub use auth::{Auth, Fetch, FetchFrom, Jwt, Renew, RenewBy, Secret, TokenSource};
pub use backoff::{Comeback, comeback, on_close};
pub use compile::{Compiled, compile};
pub use fault::{
    Action, Deploy, Effect, Elsewhere, Hit, How, Network, Partition, PlannedFault, Reading,
    Receiver, Revoke, Rollout, SIGNALS, Slow, Stall, Victim, Victims, Watch, Webhook, Window,
};
pub use ladder::{Climb, Ladder, Position, StepDown};
pub use needs::{Machine, Needs, PhaseNeeds, Shortage, describe};
pub use pacer::{Due, Openings, Schedule};
pub use page::Page;
pub use seeded::{Purpose, Stream, lifetime, payload_size, rng, var_value};
pub use template::{percent_encode, render, value_of};
pub use types::*;
