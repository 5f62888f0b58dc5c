//! How a connection that comes back asks for what it missed: everything that has to fit together for it.

use super::steps::pointed;
use super::text::{self, Scope};
use super::{Problems, message, upgrade};
use crate::plan::types::{Builtin, Matcher, Resume, Session, Template, Transport, Var};
use crate::protocol::{Mapping, ProtocolConfig};
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup};
use std::time::Duration;

/// What a connection resumes with.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub group: &'a ClientGroup,
    pub protocol: &'a ProtocolConfig,
    pub transport: &'a Transport,
    pub vars: &'a [Var],
    pub captured: &'a [u32],
    /// The target is the embedded gateway, and was not told to keep anything.
    pub unkept: bool,
}

/// Compiles how a group resumes; `None` when it does not, or cannot.
pub(super) fn compile(
    written: &model::Resume,
    path: &str,
    of: Of<'_>,
    problems: &mut Problems,
) -> Option<Resume> {
    match written {
        // By `Last-Event-ID`, whatever is spoken.
        model::Resume::Topics(true) if !of.transport.has_websocket() => Some(Resume::Protocol),
        model::Resume::Topics(false) => None,
        model::Resume::Topics(true) => topics(path, of, problems),
        model::Resume::Session(written) => {
            told_only(of.transport, path, problems);
            let session = session(written, path, of, problems);
            Some(Resume::Session(Box::new(session)))
        }
    }
}

/// Streams and polls have no session to be named: they are taken up by what they said themselves.
fn told_only(transport: &Transport, path: &str, problems: &mut Problems) {
    if !transport.has_http() {
        return;
    }
    let message = "over `sse` and `long_poll` no session is named: a stream is taken up by `Last-Event-ID`, and polls by their cursor";
    problems.add(if transport.has_websocket() {
        Problem::warning(path, message).help("it is resumed so over WebSocket alone")
    } else {
        Problem::error(path, message).help("say `resume: true`")
    });
}

/// By topic: what the service must tell, and how it is asked.
fn topics(path: &str, of: Of<'_>, problems: &mut Problems) -> Option<Resume> {
    let mapping = match of.protocol {
        ProtocolConfig::Json(mapping) => mapping,
        ProtocolConfig::Raw => {
            problems.add(
                Problem::error(path, "`raw` has no topics that could be resumed")
                    .help("use `json`, or say how a session is resumed: `resume: { … }`"),
            );
            return None;
        }
        other => {
            if other.resumes() {
                return Some(Resume::Protocol);
            }
            let message = format!("{} keeps nothing for whoever comes back", other.name());
            let mut problem = Problem::error(path, message);
            if let ProtocolConfig::Mqtt(_) = other {
                problem = problem.help(
                    "ask the server to: `session_expiry` in `mqtt`, or with v3.1.1 `clean_start: false`",
                );
            }
            problems.add(problem);
            return None;
        }
    };
    if of.group.subscribe.is_empty() {
        problems.add(Problem::error(
            path,
            "there is nothing to resume: the group subscribes to nothing",
        ));
    }
    if of.transport.has_http() && of.group.subscribe.len() > 1 {
        let message = "over another transport it is taken up where it was only with one topic: what is missed of several is missed";
        problems.add(Problem::warning(path, message).help("subscribe to one, or expect `missed`"));
    }
    for topic in &of.group.subscribe {
        if topic.contains(['*', '#', '>']) {
            let message = format!(
                "`{topic}` is a pattern: which numbers belong to which topic is known only of topics subscribed to by name"
            );
            problems.add(Problem::error(path, message));
        }
    }
    if let Some((what, key)) = lacking(mapping) {
        let key = format!("clients' `protocol.json_mapping.{key}`");
        problems.add(Problem::error(path, what).help(format!("see {key}")));
        return None;
    }
    if of.unkept {
        problems.add(
            Problem::warning(
                path,
                "the embedded gateway keeps nothing that could be resumed",
            )
            .help("give `target.embedded.history`: `{ messages: 1000, for: 1m }`"),
        );
    }
    Some(Resume::Topics)
}

/// What a mapping lacks to resume by topic, and the key that would say it.
fn lacking(mapping: &Mapping) -> Option<(&'static str, &'static str)> {
    let uses = |name| text::has_placeholder(&mapping.resubscribe, Some(name));
    let table = [
        (
            mapping.sequence.is_empty(),
            "to resume, the service's own sequence numbers must be known",
            "sequence",
        ),
        (
            mapping.topic.is_empty(),
            "to resume, it must be known which topic a message is of",
            "topic",
        ),
        (
            mapping.subscribed.is_none(),
            "to resume, subscriptions must be acknowledged: the answer says what was recovered",
            "subscribed",
        ),
        (
            mapping.resubscribe.is_empty(),
            "how this service is asked for what was missed is not said",
            "resubscribe",
        ),
        (
            mapping.recovered.is_empty(),
            "to resume, the acknowledgement must tell whether it was recovered",
            "recovered",
        ),
        (
            !mapping.resubscribe.is_empty() && !uses("seq"),
            "the message that subscribes again has no `{seq}`: the service cannot know from where on",
            "resubscribe",
        ),
        (
            uses("epoch") && mapping.epoch.is_empty(),
            "the message that subscribes again has an `{epoch}`, but where it is told is not said",
            "epoch",
        ),
    ];
    table
        .into_iter()
        .find_map(|(lacks, what, key)| lacks.then_some((what, key)))
}

fn session(written: &model::Session, path: &str, of: Of<'_>, problems: &mut Problems) -> Session {
    let last = [Builtin::Last];
    let scope = Scope {
        vars: of.vars,
        captured: of.captured,
        message: if written.last.is_some() { &last } else { &[] },
    };
    if written.query.is_empty() && written.headers.is_empty() && written.first.is_none() {
        problems.add(
            Problem::error(path, "nothing says which session is to be resumed")
                .help("give `query`, `headers` or `first`"),
        );
    }
    if let Some(at) = &written.last {
        message::pointer(at, &format!("{path}.last"), problems);
    }
    let within = written.within.map_or(Duration::from_secs(5), |d| d.0);
    problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
    let headers = format!("{path}.headers");
    Session {
        query: upgrade::query(&written.query, &format!("{path}.query"), scope, problems),
        headers: upgrade::headers([(&headers, &written.headers)], scope, problems),
        first: written
            .first
            .as_ref()
            .map(|text| text::template(text, &format!("{path}.first"), scope, problems)),
        last: written.last.clone(),
        recovered: matcher(
            &written.recovered,
            &format!("{path}.recovered"),
            scope,
            problems,
        ),
        lost: written
            .lost
            .as_ref()
            .map(|lost| matcher(lost, &format!("{path}.lost"), scope, problems)),
        within,
    }
}

pub(super) fn matcher(
    written: &model::Match,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Matcher {
    pointed(
        written.pointer.as_deref(),
        written.equals.is_some(),
        path,
        problems,
    );
    if written.contains.is_none() && written.pointer.is_none() {
        problems.add(
            Problem::error(
                path,
                "without `contains` or `pointer` every message would match",
            )
            .help("say how the answer is known"),
        );
    }
    let mut compiled = |text: &str, key: &str| -> Template {
        text::template(text, &format!("{path}.{key}"), scope, problems)
    };
    Matcher {
        contains: written
            .contains
            .as_deref()
            .map(|text| compiled(text, "contains")),
        pointer: written.pointer.clone(),
        equals: written
            .equals
            .as_ref()
            .map(|value| compiled(&value.to_string(), "equals")),
    }
}
