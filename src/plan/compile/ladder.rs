//! Several transports of a group: the rules by which one follows another.

use super::Problems;
use super::transport::WEBSOCKET;
use crate::plan::ladder::{self, Ladder, Position};
use crate::plan::types::Transport;
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup, Fallback, TransportName, TransportSettings};
use crate::scenario::units;

/// How the embedded gateway's streams and polls say how far a topic was heard.
const POSITION: &str = "{epoch}:{seq}";

/// As scenarios call it.
pub(super) fn name(transport: &model::Transport) -> &'static str {
    match transport {
        model::Transport::Named(TransportName::Websocket) => WEBSOCKET,
        model::Transport::Named(TransportName::Sse)
        | model::Transport::Set(TransportSettings::Sse(_)) => "sse",
        model::Transport::Named(TransportName::LongPoll)
        | model::Transport::Set(TransportSettings::LongPoll(_)) => "long_poll",
    }
}

/// One transport as it is, several as a ladder. `path` is the group's.
pub(super) fn compile(
    group: &ClientGroup,
    path: &str,
    mut rungs: Vec<Transport>,
    problems: &mut Problems,
) -> Transport {
    let names: Vec<&str> = group.transport.to_vec().iter().map(name).collect();
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            let message = format!("`{name}` is in the list already: it would be tried twice");
            problems.add(Problem::error(format!("{path}.transport[{i}]"), message));
        }
    }
    if let [only] = &rungs[..] {
        if group.fallback.is_some() {
            let message = "there is one transport, and nothing to fall back to";
            problems.add(
                Problem::error(format!("{path}.fallback"), message)
                    .help("list several: `transport: [websocket, sse, long_poll]`")
                    .on_key(),
            );
        }
        return only.clone();
    }
    if rungs.is_empty() {
        let message = "an empty list: nothing gets to the target";
        problems.add(
            Problem::error(format!("{path}.transport"), message)
                .help("`[websocket, sse, long_poll]` tries each in order"),
        );
        return Transport::WebSocket;
    }
    for rung in &mut rungs {
        // An answer that is no stream is what the next rung is for; over the last one it is tried as all others are.
        if let Transport::Http(settings) = rung {
            settings.keep_trying = true;
        }
    }
    let written = group.fallback.clone().unwrap_or_default();
    let path = format!("{path}.fallback");
    check(&written, group, &names, &path, problems);
    let position = written.position.as_deref().unwrap_or(POSITION);
    let parsed = Position::parse(position);
    if parsed.is_none() {
        let message =
            "a position has `{seq}` once, and may have `{epoch}`, with a text between the two";
        problems.add(Problem::error(format!("{path}.position"), message));
    }
    let Some(position) = parsed.or_else(|| Position::parse(POSITION)) else {
        return rungs.swap_remove(0);
    };
    let when = written.when.clone().unwrap_or_else(|| {
        use model::StepDown as S;
        vec![S::Refused, S::Timeout, S::Silent]
    });
    Transport::Ladder(Box::new(Ladder {
        rungs,
        when: when.into_iter().map(step_down).collect(),
        statuses: (!written.statuses.is_empty()).then_some(written.statuses),
        within: written.within.map(|time| time.0),
        silence: written.silence.map(|time| time.0),
        tries: written
            .tries
            .map_or(1, |tries| tries.0.min(u64::from(u8::MAX)) as u32),
        climb: match written.climb {
            model::Climb::Never => ladder::Climb::Never,
            model::Climb::Reconnect => ladder::Climb::Reconnect,
            model::Climb::After(time) => ladder::Climb::After(time.0),
        },
        position,
    }))
}

fn step_down(written: model::StepDown) -> ladder::StepDown {
    match written {
        model::StepDown::Refused => ladder::StepDown::Refused,
        model::StepDown::Unreachable => ladder::StepDown::Unreachable,
        model::StepDown::Timeout => ladder::StepDown::Timeout,
        model::StepDown::Silent => ladder::StepDown::Silent,
    }
}

fn check(
    written: &Fallback,
    group: &ClientGroup,
    names: &[&str],
    path: &str,
    problems: &mut Problems,
) {
    if written.when.as_ref().is_some_and(Vec::is_empty) {
        let message = "nothing leads to the next transport";
        problems.add(
            Problem::error(format!("{path}.when"), message)
                .help("leave `when` out, or name one transport alone"),
        );
    }
    if let Some(i) = written
        .statuses
        .iter()
        .position(|status| !(200..=599).contains(status))
    {
        let message = "an HTTP status is from 200 to 599";
        problems.add(Problem::error(format!("{path}.statuses[{i}]"), message));
    }
    let mut time = |time: Option<units::Duration>, key: &str| {
        let zero = time.is_some_and(|time| time.0.is_zero());
        problems.zero(zero, format!("{path}.{key}"), "a time");
    };
    time(written.within, "within");
    time(written.silence, "silence");
    if let model::Climb::After(after) = written.climb {
        time(Some(after), "climb.after");
    }
    if written.silence.is_some() && !names.contains(&"sse") {
        let message = "only an event stream can be silent, and there is none in `transport`";
        problems.add(Problem::error(format!("{path}.silence"), message).on_key());
    }
    let Some(tries) = written.tries else { return };
    problems.zero(
        tries.0 == 0,
        format!("{path}.tries"),
        "the number of openings",
    );
    if tries.0 > u64::from(u8::MAX) {
        let message = "this is more than 255";
        problems.add(Problem::error(format!("{path}.tries"), message));
    }
    if tries.0 > 1 && group.reconnect.is_none() {
        let message = "an opening that failed is tried again by `reconnect`, which the group lacks";
        problems.add(Problem::error(format!("{path}.tries"), message));
    }
}
