//! What a JSON mapping says beyond subscribing and publishing.

use super::super::{Problems, message, text};
use crate::protocol::Condition;
use crate::protocol::settings::json::{Backlog, Beat, Extension, ServicePing};
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup, Mapping, Match, Scalar};

/// Compiles these keys of a mapping; `path` is the mapping's.
pub(super) fn compile(written: &Mapping, path: &str, problems: &mut Problems) -> Extension {
    let mut extension = Extension {
        subprotocols: subprotocols(&written.subprotocols, path, problems),
        lines: written.lines,
        ..Extension::default()
    };
    let mut at = |text: &Option<String>, key: &str| {
        let text = text.clone().unwrap_or_default();
        message::pointer(&text, &format!("{path}.{key}"), problems);
        text
    };
    extension.subscription = at(&written.subscription, "subscription");
    extension.backlog = written.backlog.as_ref().map(|backlog| Backlog {
        at: at(&Some(backlog.at.clone()), "backlog.at"),
        sequence: at(&backlog.sequence, "backlog.sequence"),
    });
    let mut known = |written: &Match, key: &str| known(written, &format!("{path}.{key}"), problems);
    extension.delivery = written.delivery.as_ref().map(|w| known(w, "delivery"));
    extension.refused = written.refused.as_ref().map(|w| known(w, "refused"));
    extension.ping = written.service_ping.as_ref().map(|ping| ServicePing {
        when: known(&ping.when, "service_ping.when"),
        answer: ping.answer.clone(),
    });
    extension.heartbeat = written.beat.as_ref().map(|beat| match beat {
        model::Beat::Service => Beat::Service,
        model::Beat::Client(beat) => Beat::Client {
            answered: known(&beat.answered, "beat.client.answered"),
            send: beat.send.clone(),
            id: beat.id.clone().unwrap_or_default(),
        },
    });
    if let Some(model::Beat::Client(beat)) = &written.beat {
        let path = format!("{path}.beat.client");
        text::check_names(&beat.send, &format!("{path}.send"), &["id"], problems);
        if let Some(id) = &beat.id {
            message::pointer(id, &format!("{path}.id"), problems);
            if !text::has_placeholder(&beat.send, Some("id")) {
                let message = "the answer names an `{id}`, but none is sent";
                problems.add(Problem::error(format!("{path}.id"), message));
            }
        }
    }
    extension
}

/// What only the group as a whole can tell.
pub(super) fn with_group(
    extension: &Extension,
    group: &ClientGroup,
    path: &str,
    problems: &mut Problems,
) {
    if extension.heartbeat.is_some() && group.heartbeat.is_none() {
        let path = format!("{path}.protocol.json_mapping.beat");
        let message = "how often it beats is not said";
        let problem = Problem::warning(path, message);
        problems.add(problem.help("give the group `heartbeat: { every: 30s, timeout: 10s }`"));
    }
}

/// A message's mark. Without a pointer `equals` is the whole message, so unlike elsewhere it may stand alone.
fn known(written: &Match, path: &str, problems: &mut Problems) -> Condition {
    if let Some(at) = &written.pointer {
        message::pointer(at, &format!("{path}.pointer"), problems);
    }
    if written.contains.is_none() && written.pointer.is_none() && written.equals.is_none() {
        let problem = Problem::error(path, "without any key every message would match");
        problems.add(problem.help("say how the message is known"));
    }
    Condition {
        contains: written.contains.clone().unwrap_or_default(),
        pointer: written.pointer.clone().unwrap_or_default(),
        equals: written.equals.as_ref().map(Scalar::to_string),
    }
}

fn subprotocols(offered: &[String], path: &str, problems: &mut Problems) -> Vec<String> {
    for (i, name) in offered.iter().enumerate() {
        let path = format!("{path}.subprotocols[{i}]");
        if !super::super::target::is_token(name) {
            let message = "a subprotocol is a word of letters, digits and !#$%&'*+-.^_`|~";
            problems.add(Problem::error(path, message));
        } else if offered[..i].contains(name) {
            let message = "this subprotocol is offered twice (RFC 6455, section 4.1)";
            problems.add(Problem::error(path, message));
        }
    }
    offered.to_vec()
}
