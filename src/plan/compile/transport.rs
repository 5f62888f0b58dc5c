//! How a group's bytes get to the target, and what then cannot be.

use super::text::{self, Scope};
use super::upgrade::written_as_url;
use super::{Problems, each, ladder};
use crate::plan::types::{Builtin, Cursor, CursorTo, OverHttp, Part, Poll, Template, Transport};
use crate::protocol::ProtocolConfig;
use crate::scenario::Problem;
use crate::scenario::model::{
    self, ClientGroup, LongPoll, Messages, OneOrMany, Sse, Step, TransportName, TransportSettings,
};
use std::time::Duration;

/// What is written, whichever it is.
struct Written<'a> {
    /// As the scenario calls it.
    name: &'static str,
    path: (&'a Option<String>, &'static str),
    publish: &'a Option<String>,
    content_type: &'a Option<String>,
    keep_trying: bool,
    poll: Option<&'a LongPoll>,
}

impl<'a> Written<'a> {
    fn sse(sse: &'a Sse) -> Self {
        Written {
            name: "sse",
            path: (&sse.path, "/events?topic={topic}"),
            publish: &sse.publish,
            content_type: &sse.content_type,
            keep_trying: sse.keep_trying,
            poll: None,
        }
    }

    fn long_poll(poll: &'a LongPoll) -> Self {
        Written {
            name: "long_poll",
            path: (&poll.path, "/poll?topic={topic}"),
            publish: &poll.publish,
            content_type: &poll.content_type,
            // Who polls comes back whatever it was told.
            keep_trying: true,
            poll: Some(poll),
        }
    }
}

/// Compiles the transport of a group; `path` is the group's, `query` what the target's adds to every address.
pub(super) fn compile(
    group: &ClientGroup,
    path: &str,
    scope: Scope<'_>,
    query: &Template,
    problems: &mut Problems,
) -> Transport {
    let listed = format!("{path}.transport");
    let mut rungs: Vec<Transport> = Vec::new();
    for (own, written) in each(&group.transport, &listed) {
        rungs.push(one(written, &own, scope, query, problems));
    }
    if let Some((name, _)) = over_http(group) {
        only_one_way(group, name, path, problems);
    }
    ladder::compile(group, path, rungs, problems)
}

/// The group's first transport that is no WebSocket, by name, and whether it has one that is.
fn over_http(group: &ClientGroup) -> Option<(&'static str, bool)> {
    let all = group.transport.to_vec();
    let names: Vec<&str> = all.iter().map(ladder::name).collect();
    let name = all.iter().map(ladder::name).find(|n| *n != WEBSOCKET)?;
    Some((name, names.contains(&WEBSOCKET)))
}

/// As scenarios call it.
pub(super) const WEBSOCKET: &str = "websocket";

/// Compiles one transport; `path` is its own.
fn one(
    written: &model::Transport,
    path: &str,
    scope: Scope<'_>,
    query: &Template,
    problems: &mut Problems,
) -> Transport {
    let (sse, poll) = (Sse::default(), LongPoll::default());
    let written = match written {
        model::Transport::Named(TransportName::Websocket) => return Transport::WebSocket,
        model::Transport::Named(TransportName::Sse) => Written::sse(&sse),
        model::Transport::Named(TransportName::LongPoll) => Written::long_poll(&poll),
        model::Transport::Set(TransportSettings::Sse(written)) => Written::sse(written),
        model::Transport::Set(TransportSettings::LongPoll(written)) => Written::long_poll(written),
    };
    let own = format!("{path}.{}", written.name);
    let mut at = |text: &Option<String>, key: &str, default: &str| {
        let text = text.as_deref().unwrap_or(default);
        let path = format!("{own}.{key}");
        if !text.starts_with('/') {
            problems.add(Problem::error(&path, "a path begins with `/`"));
        }
        let scope = Scope {
            message: &[Builtin::Topic],
            ..scope
        };
        let mut template = text::template(text, &path, scope, problems);
        for part in &mut template.parts {
            if let Part::Text(text) = part {
                *text = written_as_url(text);
            }
        }
        if !query.parts.is_empty() {
            let separator = if text.contains('?') { "&" } else { "?" };
            template.parts.push(Part::Text(separator.into()));
            template.parts.extend(query.parts.iter().cloned());
        }
        template
    };
    let asked = at(written.path.0, "path", written.path.1);
    let publish = at(written.publish, "publish", "/publish?topic={topic}");
    let content_type = written.content_type.as_deref().unwrap_or("text/plain");
    if content_type.bytes().any(|c| c.is_ascii_control()) {
        let path = format!("{own}.content_type");
        problems.add(Problem::error(path, "this cannot stand in a header"));
    }
    Transport::Http(Box::new(OverHttp {
        poll: written.poll.map(|poll| Poll {
            cursors: cursors(poll.cursor.as_ref(), &format!("{own}.cursor"), problems),
            lines: poll.messages == Messages::Lines,
            timeout: patience(poll, &own, problems),
        }),
        path: asked,
        publish,
        content_type: content_type.into(),
        keep_trying: written.keep_trying,
    }))
}

/// How long targets hold a poll is theirs to say: most for half a minute, few for more than one.
const PATIENCE: Duration = Duration::from_secs(90);

fn patience(poll: &LongPoll, path: &str, problems: &mut Problems) -> Duration {
    let timeout = poll.timeout.map_or(PATIENCE, |timeout| timeout.0);
    problems.zero(timeout.is_zero(), format!("{path}.timeout"), "a timeout");
    timeout
}

/// What of an answer the next poll says again.
fn cursors(
    written: Option<&OneOrMany<model::Cursor>>,
    path: &str,
    problems: &mut Problems,
) -> Vec<Cursor> {
    let Some(written) = written else {
        return vec![Cursor {
            from: "x-cursor".into(),
            to: CursorTo::Query("cursor".into()),
        }];
    };
    let mut cursors = Vec::new();
    for (path, cursor) in each(written, path) {
        let to = match (&cursor.header, &cursor.query) {
            (Some(header), None) => CursorTo::Header(header.clone()),
            (None, Some(query)) => CursorTo::Query(query.clone()),
            _ => {
                let message = "either `header` or `query` says where the next poll has it";
                problems.add(Problem::error(path, message));
                continue;
            }
        };
        cursors.push(Cursor {
            from: cursor.from.to_ascii_lowercase(),
            to,
        });
    }
    cursors
}

/// What is told goes one way, and what is posted goes over connections of its own.
fn only_one_way(group: &ClientGroup, name: &str, path: &str, problems: &mut Problems) {
    let mut refuse = |key: String, message: &str, help: &str| {
        let message = format!("over `{name}` {message}");
        problems.add(Problem::error(key, message).help(help).on_key());
    };
    match (group.subscribe.is_empty(), group.publish.is_some()) {
        (false, true) => refuse(
            format!("{path}.publish"),
            "a group subscribes or publishes: what is told goes one way",
            "publish from a group of its own",
        ),
        (true, false) => refuse(
            format!("{path}.transport"),
            "a group subscribes or publishes, and this one does neither",
            "say what it subscribes to",
        ),
        _ => {}
    }
    if group.request.is_some() {
        refuse(
            format!("{path}.request"),
            "nothing can be asked",
            "a publish is answered: `ack` times that",
        );
    }
    // Where there is a WebSocket too, its pings are that one's.
    if group.heartbeat.is_some() && !over_http(group).is_some_and(|(_, also)| also) {
        refuse(
            format!("{path}.heartbeat"),
            "there are no pings",
            "whether the target is silent shows in `lost`",
        );
    }
    for (i, step) in group.on_open.iter().enumerate() {
        if !matches!(step, Step::Pause(_)) {
            refuse(
                format!("{path}.on_open[{i}]"),
                "nothing can be said before the target tells: only `pause` can stand here",
                "put it into the address or a header",
            );
        }
    }
}

/// What cannot be spoken over the transport.
pub(super) fn speaks(
    transport: &Transport,
    protocol: &ProtocolConfig,
    path: &str,
    problems: &mut Problems,
) {
    if transport.has_http() && protocol.has_session() {
        let message = format!("{} is spoken over WebSocket only", protocol.name());
        problems.add(
            Problem::error(format!("{path}.protocol"), message).help("`raw` and `json` are not"),
        );
    }
}
