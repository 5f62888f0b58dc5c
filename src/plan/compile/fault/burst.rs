//! `burst`: more of a group for a time: a multiple of its rates, so many messages a second more or at once, or new
//! connections. All of it becomes a part of the group's profiles and of the curve that it opens by.

use super::super::Problems;
use super::super::timeline::{Boosted, Timeline};
use super::{beyond, group};
use crate::plan::fault::{Action, PlannedFault};
use crate::plan::types::{Opening, Phase};
use crate::scenario::model::{self, Burst};
use crate::scenario::units::{Boost, Count, Rate};
use crate::scenario::{Problem, Scenario};
use std::time::Duration;

/// Messages "at once" are due so many a second: no core sends them faster.
const AT_ONCE: f64 = 100_000.0;

/// What there is more of.
#[derive(Clone, Copy)]
enum More {
    Rate(Boost),
    Messages(Count),
    Connections(Count),
}

/// A burst with its place and its group.
struct Placed<'a> {
    burst: &'a Burst,
    path: &'a str,
    group: &'a model::ClientGroup,
    start: Duration,
    end: Duration,
}

/// Checks a burst and adds it to what its group does.
pub(super) fn compile(
    burst: &Burst,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    timeline: &mut Timeline,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let more = more(burst, path, problems);
    let span = more.and_then(|more| span(more, burst, path, phase, problems));
    let (index, group) = group(&burst.clients, path, scenario, problems)?;
    // What was refused above needs no second message from what follows of it.
    let (more, (start, end)) = (more?, span?);
    let placed = Placed {
        burst,
        path,
        group,
        start,
        end,
    };
    let opens = match more {
        More::Rate(boost) => {
            boosted(&placed, boost, timeline, problems)?;
            0
        }
        More::Messages(count) => {
            let seconds = (end - start).as_secs_f64();
            let boost = Boost::Plus(Rate(count.0 as f64 / seconds));
            boosted(&placed, boost, timeline, problems)?;
            0
        }
        More::Connections(count) => opened(&placed, count.0, timeline, problems)?,
    };
    Some(PlannedFault {
        label: label(burst, more),
        start,
        end,
        action: Action::Burst {
            group: index as u32,
            opens,
        },
    })
}

/// What there is more of: exactly one thing, and some of it.
fn more(burst: &Burst, path: &str, problems: &mut Problems) -> Option<More> {
    let given = [
        burst.rate.map(More::Rate),
        burst.messages.map(More::Messages),
        burst.connections.map(More::Connections),
    ];
    let mut given = given.into_iter().flatten();
    let (Some(more), None) = (given.next(), given.next()) else {
        problems.add(
            Problem::error(
                path,
                "a burst is of one thing: `rate`, `messages` or `connections`",
            )
            .help("give `rate: 10x`, `rate: +500/s`, `messages: 5k` or `connections: 500`"),
        );
        return None;
    };
    let (key, nothing, what) = match more {
        More::Rate(Boost::Times(factor)) => ("rate", factor <= 0.0, "a burst's multiple"),
        More::Rate(Boost::Plus(rate)) => ("rate", rate.0 <= 0.0, "a burst's rate"),
        More::Messages(count) => ("messages", count.0 == 0, "a burst's messages"),
        More::Connections(count) => ("connections", count.0 == 0, "a burst's connections"),
    };
    problems.zero(nothing, format!("{path}.{key}"), what);
    let stray = match more {
        More::Rate(_) => burst.over.map(|_| ("over", "a `rate` lasts `for` a time")),
        _ => burst
            .r#for
            .map(|_| ("for", "messages and connections are spread `over` a time")),
    };
    if let Some((key, message)) = stray {
        problems.add(Problem::error(format!("{path}.{key}"), message).on_key());
        return None;
    }
    (!nothing).then_some(more)
}

/// Start and end, counted from the run's start.
fn span(
    more: More,
    burst: &Burst,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<(Duration, Duration)> {
    let start = super::start("burst", burst.after, path, phase, problems)?;
    let over = burst.over.map_or(Duration::ZERO, |d| d.0);
    let (end, key) = match more {
        More::Rate(_) => (burst.r#for.map_or(phase.end, |d| start + d.0), "for"),
        More::Messages(count) => {
            let least = Duration::from_secs_f64(count.0 as f64 / AT_ONCE);
            // Whole nanoseconds, and no part of one lost.
            (
                start + over.max(least).max(Duration::from_micros(1)),
                "over",
            )
        }
        More::Connections(_) => (start + over, "over"),
    };
    if end > phase.end {
        let help = format!("leave `{key}` out, make it shorter, or begin sooner");
        problems.add(beyond("burst ends", format!("{path}.{key}"), phase).help(help));
        return None;
    }
    if matches!(more, More::Rate(_)) {
        problems.zero(end == start, format!("{path}.for"), "a burst's length");
        return (end > start).then_some((start, end));
    }
    Some((start, end))
}

/// Adds a boost to those of its group.
fn boosted(
    placed: &Placed<'_>,
    boost: Boost,
    timeline: &mut Timeline,
    problems: &mut Problems,
) -> Option<()> {
    let Placed {
        burst,
        path,
        group,
        start,
        end,
        ..
    } = *placed;
    let name = &burst.clients;
    let schedules = many(&group.publish) + many(&group.request);
    let trouble = |message: String| Problem::error(format!("{path}.clients"), message);
    if schedules == 0 {
        problems.add(trouble(format!(
            "`{name}` neither publishes nor asks, so there is nothing to multiply"
        )));
        return None;
    }
    if schedules > 1 && matches!(boost, Boost::Plus(_)) {
        let message = format!(
            "`{name}` has {schedules} kinds of messages: of which there are more is not said"
        );
        problems.add(trouble(message).help("use a multiple, or give the burst a group of its own"));
        return None;
    }
    if burst.messages.is_some() && poisson(group) {
        let message =
            format!("`{name}` has Poisson arrivals, so the number of messages would be random");
        problems.add(trouble(message).help("use `arrivals: constant`, or `rate: +500/s`"));
        return None;
    }
    let others = timeline.bursts.entry(name.clone()).or_default();
    if others.iter().any(|o| o.start < end && start < o.end) {
        problems.add(Problem::error(
            path,
            format!("two bursts of `{name}` overlap"),
        ));
        return None;
    }
    others.push(Boosted {
        start,
        end,
        boost,
        path: path.to_owned(),
    });
    Some(())
}

fn many<T: Clone>(of: &Option<model::OneOrMany<T>>) -> usize {
    of.as_ref().map_or(0, |of| of.to_vec().len())
}

fn poisson(group: &model::ClientGroup) -> bool {
    let publishes = group.publish.iter().flat_map(model::OneOrMany::to_vec);
    let requests = group.request.iter().flat_map(model::OneOrMany::to_vec);
    let mut all = publishes
        .map(|p| p.arrivals)
        .chain(requests.map(|r| r.arrivals));
    all.any(|arrivals| arrivals == model::Arrivals::Poisson)
}

/// Adds connections to the curve that the group opens by: those that nothing has opened yet. How many.
fn opened(
    placed: &Placed<'_>,
    count: u64,
    timeline: &mut Timeline,
    problems: &mut Problems,
) -> Option<u32> {
    let Placed {
        burst,
        path,
        group,
        start,
        end,
        ..
    } = *placed;
    let name = &burst.clients;
    let path = format!("{path}.connections");
    let opening = timeline
        .openings
        .entry(name.clone())
        // Who is opened by bursts alone does not open by itself at the start.
        .or_insert_with(|| Opening { knots: Vec::new() });
    let (until, before) = opening.knots.last().copied().unwrap_or((Duration::ZERO, 0));
    let left = group.count.0.saturating_sub(u64::from(before));
    if start < until {
        let message = format!(
            "`{name}` is still opening then, until {:.1} s",
            until.as_secs_f64()
        );
        problems.add(Problem::error(path, message).help("begin when it has opened"));
        return None;
    }
    if count > left {
        let message = format!(
            "`{name}` has {left} connections that are not open yet, of {}",
            group.count.0
        );
        let help =
            "open fewer before, by `open: { GROUP: { stages: … } }`, or give it a larger `count`";
        problems.add(Problem::error(path, message).help(help));
        return None;
    }
    let count = count.min(u64::from(u32::MAX)) as u32;
    if end > start || opening.knots.is_empty() {
        opening.knots.push((start, before));
    }
    opening.knots.push((end, before + count));
    Some(count)
}

/// In words: `publishers at 10x`.
fn label(burst: &Burst, more: More) -> String {
    let name = &burst.clients;
    let over = burst.over.filter(|over| !over.0.is_zero());
    let over = over.map_or(" at once".to_owned(), |over| format!(" over {over}"));
    match more {
        More::Rate(boost) => format!("{name} at {boost}"),
        More::Messages(count) => format!("{count} messages of {name}{over}"),
        More::Connections(count) => format!("{count} more of {name} open{over}"),
    }
}
