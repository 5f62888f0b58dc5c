//! How often something is due over the run: a rate, the phases it is active in, and the bursts on it.

use super::timeline::{Boosted, Timeline};
use super::{Problems, each, names};
use crate::plan::types::{Arrivals, Profile, Segment};
use crate::scenario::Problem;
use crate::scenario::model::{self, OneOrMany, RateSpec};
use crate::scenario::units::Boost;

/// What a profile is made of, with its place.
pub(super) struct Wanted<'a> {
    pub rate: &'a RateSpec,
    pub arrivals: model::Arrivals,
    pub phases: Option<&'a OneOrMany<String>>,
    /// Path of the publish or request.
    pub path: &'a str,
    /// Connections of the group.
    pub count: u32,
    /// Events per second that no generator on this machine reaches.
    pub limit: f64,
    pub bursts: &'a [Boosted],
}

pub(super) fn compile(
    wanted: &Wanted<'_>,
    timeline: &Timeline,
    problems: &mut Problems,
) -> Profile {
    let (rate, path) = match wanted.rate {
        RateSpec::Group(rate) => (rate.0, format!("{}.rate", wanted.path)),
        RateSpec::Each(each) => (
            each.per_connection.0 * f64::from(wanted.count),
            format!("{}.rate.per_connection", wanted.path),
        ),
    };
    problems.zero(rate <= 0.0 && wanted.count > 0, &path, "a rate");
    if rate > wanted.limit {
        problems.add(too_fast(&path, rate, wanted.limit));
    }
    let active = active(wanted, timeline, problems);
    let mut segments: Vec<Segment> = Vec::new();
    let mut push = |start, end, rate: f64| {
        if start >= end || rate <= 0.0 || !rate.is_finite() {
            return;
        }
        match segments.last_mut() {
            Some(last) if last.end == start && last.rate == rate => last.end = end,
            _ => segments.push(Segment { start, end, rate }),
        }
    };
    for (phase, on) in timeline.phases.iter().zip(&active) {
        // Where it is silent there may still be a burst of so many more.
        let rate = if *on { rate } else { 0.0 };
        let mut inside: Vec<&Boosted> = wanted
            .bursts
            .iter()
            .filter(|b| b.start >= phase.start && b.start < phase.end)
            .collect();
        inside.sort_by_key(|b| b.start);
        let mut at = phase.start;
        for burst in inside {
            let boosted = match burst.boost {
                Boost::Times(factor) => rate * factor,
                Boost::Plus(more) => rate + more.0,
            };
            push(at, burst.start, rate);
            push(burst.start, burst.end, boosted);
            at = burst.end;
            if rate <= wanted.limit && boosted > wanted.limit {
                problems.add(too_fast(
                    &format!("{}.rate", burst.path),
                    boosted,
                    wanted.limit,
                ));
            }
        }
        push(at, phase.end, rate);
    }
    let arrivals = match wanted.arrivals {
        model::Arrivals::Constant => Arrivals::Constant,
        model::Arrivals::Poisson => Arrivals::Poisson,
    };
    Profile { segments, arrivals }
}

fn too_fast(path: &str, rate: f64, limit: f64) -> Problem {
    Problem::error(
        path,
        format!("{rate:.0}/s is more than this machine can offer ({limit:.0}/s at the very most)"),
    )
    .help("lower the rate, or run on a machine with more cores")
}

/// For each phase, whether it is active there.
fn active(wanted: &Wanted<'_>, timeline: &Timeline, problems: &mut Problems) -> Vec<bool> {
    let Some(listed) = wanted.phases else {
        return vec![true; timeline.phases.len()];
    };
    let mut active = vec![false; timeline.phases.len()];
    let path = format!("{}.in", wanted.path);
    let listed = each(listed, &path);
    if listed.is_empty() {
        problems.add(
            Problem::error(&path, "without a phase it is never active")
                .help("leave `in` out for all phases"),
        );
    }
    for (path, name) in listed {
        match timeline.phases.iter().position(|p| p.name == *name) {
            Some(i) => active[i] = true,
            None => {
                let known = timeline.phases.iter().map(|p| p.name.as_str());
                problems.add(names::unknown(&path, "phase", name, known));
            }
        }
    }
    active
}
