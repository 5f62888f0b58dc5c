//! `drop`: a part of a group's connections is cut from our side.

use super::super::Problems;
use super::{Many, beyond, group, left};
use crate::plan::fault::{Action, Effect, Hit, How, PlannedFault, sendable};
use crate::plan::types::Phase;
use crate::scenario::model;
use crate::scenario::{Problem, Scenario};
use std::time::Duration;

/// Connections that are cut: how many, in which way, and when.
pub(super) fn compile(
    cut: &model::Cut,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let how = how(cut, path, problems);
    let span = span(cut, path, phase, problems);
    let (index, group) = group(&cut.clients, path, scenario, problems)?;
    let many = Many {
        share: cut.share,
        count: cut.count,
        done: "dropped",
        of: (&cut.clients, group.count.0),
    };
    let victims = many.victims(path, problems);
    if group.reconnect.is_none() {
        let message = format!(
            "`{}` has no `reconnect`, so whoever is cut stays away",
            cut.clients
        );
        let help = format!("give `clients.{}.reconnect`", cut.clients);
        problems.add(Problem::warning(format!("{path}.clients"), message).help(help));
    }
    let (victims, how, (start, end)) = (victims?, how?, span?);
    Some(PlannedFault {
        label: label(&many.words(), cut, how),
        start,
        end,
        action: Action::Hit(Hit {
            group: index as u32,
            victims,
            over: end - start,
            effect: Effect::Cut(how),
        }),
    })
}

/// In words: `10% of subscribers reset`.
fn label(many: &str, cut: &model::Cut, how: How) -> String {
    let how = match how {
        How::Close(code) => format!("closed with {code}"),
        How::Fin => "ended by FIN".to_owned(),
        How::Reset => "reset".to_owned(),
        How::Vanish => "vanished".to_owned(),
    };
    let over = cut.over.filter(|over| !over.0.is_zero());
    let over = over.map_or(String::new(), |over| format!(" over {over}"));
    format!("{many} of {} {how}{over}", cut.clients)
}

/// A client that leaves says 1001 (going away), as browsers do when their page is left.
const GOING_AWAY: u16 = 1001;

fn how(cut: &model::Cut, path: &str, problems: &mut Problems) -> Option<How> {
    let path = format!("{path}.code");
    match (cut.how, cut.code) {
        (model::How::Close, code) => {
            let code = code.unwrap_or(GOING_AWAY);
            if sendable(code) {
                return Some(How::Close(code));
            }
            let message = format!("{code} is not a code that a Close frame may carry");
            problems.add(
                Problem::error(path, message).help("such as 1000, 1001, 1008 or 3000 to 4999"),
            );
            None
        }
        (_, Some(_)) => {
            let message = "only a Close frame has a code";
            problems.add(
                Problem::error(path, message)
                    .help("say `how: close`, or leave `code` out")
                    .on_key(),
            );
            None
        }
        (model::How::Fin, None) => Some(How::Fin),
        (model::How::Reset, None) => Some(How::Reset),
        (model::How::Vanish, None) => Some(How::Vanish),
    }
}

/// Start and end, counted from the run's start.
fn span(
    cut: &model::Cut,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<(Duration, Duration)> {
    let start = super::start("drop", cut.after, path, phase, problems)?;
    let end = start + cut.over.map_or(Duration::ZERO, |d| d.0);
    if end > phase.end {
        problems.add(beyond("drop ends", format!("{path}.over"), phase).help(left(start, phase)));
        return None;
    }
    Some((start, end))
}
