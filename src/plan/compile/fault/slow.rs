//! `slow`: a part of a group's connections are slow consumers.

use super::super::Problems;
use super::lasting::Lasting;
use crate::plan::fault::{Effect, PlannedFault, Reading, Slow};
use crate::plan::types::Phase;
use crate::scenario::model;
use crate::scenario::{Problem, Scenario};
use std::time::Duration;

/// The kernel takes no more than `net.core.rmem_max` anyway; this is what its option can hold.
const LARGEST_BUFFER: u64 = 1 << 30;

/// Slow consumers: how many, how slow, and when.
pub(super) fn compile(
    slow: &model::Slow,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let what = what(slow, path, problems);
    let lasting = Lasting {
        name: "slow",
        done: "slowed",
        clients: &slow.clients,
        share: slow.share,
        count: slow.count,
        after: slow.after,
        length: slow.r#for,
        over: slow.over,
    };
    let checked = lasting.check(path, scenario, phase, problems)?;
    let (label, what) = (label(&checked.who, slow), what?);
    checked.planned(label, Effect::Slow(what), path, phase, problems)
}

/// In words: `10% of subscribers read 1KiB/s`.
fn label(who: &str, slow: &model::Slow) -> String {
    let read = slow.read.as_ref().map(|read| match read {
        model::Reading::Rate(rate) => match rate.0 {
            Some(rate) => format!("read {rate}"),
            None => "read nothing".to_owned(),
        },
        model::Reading::Pauses(p) => format!("pause reading {} every {}", p.pause, p.every),
    });
    let pong = slow.pong.map(|late| format!("answer pings {late} late"));
    let parts: Vec<String> = read.into_iter().chain(pong).collect();
    format!("{who} {}", parts.join(" and "))
}

fn what(slow: &model::Slow, path: &str, problems: &mut Problems) -> Option<Slow> {
    let pong = slow.pong.map_or(Duration::ZERO, |late| late.0);
    if slow.read.is_none() && pong.is_zero() {
        let message = "it is not said what is slow";
        problems.add(Problem::error(path, message).help(
            "give `read`, such as 1KiB/s, none or { pause: 2s, every: 5s }, or `pong`, such as 3s",
        ));
        return None;
    }
    let buffer = slow.receive_buffer.map(|size| size.0);
    if buffer.is_some_and(|size| size == 0 || size > LARGEST_BUFFER) {
        let message = "a receive buffer is of 1 B to 1 GiB";
        problems.add(Problem::error(format!("{path}.receive_buffer"), message));
        return None;
    }
    Some(Slow {
        read: reading(slow.read.as_ref(), path, problems)?,
        pong,
        receive_buffer: buffer.map(|size| size as u32),
    })
}

fn reading(read: Option<&model::Reading>, path: &str, problems: &mut Problems) -> Option<Reading> {
    match read {
        None => Some(Reading::Normal),
        Some(model::Reading::Rate(rate)) => match rate.0 {
            None => Some(Reading::Never),
            Some(rate) if rate.0 == 0 => {
                problems.add(
                    Problem::error(format!("{path}.read"), "a rate must be more than 0")
                        .help("write `none` for not at all"),
                );
                None
            }
            Some(rate) => Some(Reading::Rate(rate.0)),
        },
        Some(model::Reading::Pauses(p)) => {
            if p.pause.0.is_zero() || p.pause.0 >= p.every.0 {
                let message = format!(
                    "a pause of {} every {} is none, or never ends",
                    p.pause, p.every
                );
                problems.add(
                    Problem::error(format!("{path}.read.pause"), message)
                        .help("a pause is more than 0 and shorter than `every`"),
                );
                return None;
            }
            Some(Reading::Pauses {
                pause: p.pause.0,
                every: p.every.0,
            })
        }
    }
}
