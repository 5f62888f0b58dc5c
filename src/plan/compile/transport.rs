//! How a group's bytes get to the target, and what then cannot be.

use super::Problems;
use super::text::{self, Scope};
use super::upgrade::written_as_url;
use crate::plan::types::{Builtin, Part, Sse, Template, Transport};
use crate::protocol::ProtocolConfig;
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup, Step, TransportName, TransportSettings};

/// Compiles the transport of a group; `path` is the group's, `query` what the target's adds to every address.
pub(super) fn compile(
    group: &ClientGroup,
    path: &str,
    scope: Scope<'_>,
    query: &Template,
    problems: &mut Problems,
) -> Transport {
    let written = match &group.transport {
        model::Transport::Named(TransportName::Websocket) => return Transport::WebSocket,
        model::Transport::Named(TransportName::Sse) => &Default::default(),
        model::Transport::Set(TransportSettings::Sse(written)) => written,
    };
    only_one_way(group, path, problems);
    let own = format!("{path}.transport.sse");
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
    let stream = at(&written.path, "path", "/events?topic={topic}");
    let publish = at(&written.publish, "publish", "/publish?topic={topic}");
    let content_type = written.content_type.as_deref().unwrap_or("text/plain");
    if content_type.bytes().any(|c| c.is_ascii_control()) {
        let path = format!("{own}.content_type");
        problems.add(Problem::error(path, "this cannot stand in a header"));
    }
    Transport::Sse(Box::new(Sse {
        path: stream,
        publish,
        content_type: content_type.into(),
        keep_trying: written.keep_trying,
    }))
}

/// A stream goes one way, and what is posted goes over connections of its own.
fn only_one_way(group: &ClientGroup, path: &str, problems: &mut Problems) {
    let mut refuse = |key: String, message: &str, help: &str| {
        problems.add(Problem::error(key, message).help(help).on_key());
    };
    match (group.subscribe.is_empty(), group.publish.is_some()) {
        (false, true) => refuse(
            format!("{path}.publish"),
            "over `sse` a group subscribes or publishes: a stream goes one way",
            "publish from a group of its own",
        ),
        (true, false) => refuse(
            format!("{path}.transport"),
            "over `sse` a group subscribes or publishes, and this one does neither",
            "say what it subscribes to",
        ),
        _ => {}
    }
    if group.request.is_some() {
        refuse(
            format!("{path}.request"),
            "over `sse` nothing can be asked",
            "a publish is answered: `ack` times that",
        );
    }
    if group.heartbeat.is_some() {
        refuse(
            format!("{path}.heartbeat"),
            "`sse` has no pings",
            "whether the target is silent shows in `lost`",
        );
    }
    for (i, step) in group.on_open.iter().enumerate() {
        if !matches!(step, Step::Pause(_)) {
            refuse(
                format!("{path}.on_open[{i}]"),
                "over `sse` nothing can be said before the stream begins: only `pause` can stand here",
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
    if *transport != Transport::WebSocket && protocol.has_session() {
        let message = format!("{} is not spoken over `sse`", protocol.name());
        problems
            .add(Problem::error(format!("{path}.protocol"), message).help("`raw` and `json` are"));
    }
}
