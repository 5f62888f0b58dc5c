//! What a group speaks: its protocol's settings, and what each of its connections says of itself.

mod extension;
mod json;
pub(super) mod mqtt;
mod socket_io;
mod stomp;

use super::Problems;
use super::text::{self, Scope};
use crate::plan::types::Template;
use crate::protocol::{Field, ProtocolConfig};
use crate::scenario::Problem;
use crate::scenario::model::{ClientGroup, Protocol, ProtocolName, ProtocolSettings, Step};

/// What a group speaks.
pub(super) struct Spoken {
    pub config: ProtocolConfig,
    /// What a connection introduces itself with.
    pub introduction: Vec<(Field, Template)>,
}

/// Compiles the protocol of a group; `path` is the group's.
pub(super) fn compile(
    group: &ClientGroup,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Spoken {
    let plain = |config| Spoken {
        config,
        introduction: Vec::new(),
    };
    let at = |name: &str| format!("{path}.protocol.{name}");
    let spoken = match &group.protocol {
        Protocol::Named(ProtocolName::Raw) => plain(ProtocolConfig::Raw),
        Protocol::Named(ProtocolName::Json) => plain(ProtocolConfig::Json(Box::default())),
        // Loading has put the preset's keys in its place, or said why it could not.
        Protocol::Set(ProtocolSettings::Preset(_))
        | Protocol::Named(
            ProtocolName::Phoenix
            | ProtocolName::Centrifugo
            | ProtocolName::Pusher
            | ProtocolName::GraphqlTransportWs
            | ProtocolName::ActionCable
            | ProtocolName::JsonRpc
            | ProtocolName::Nats,
        ) => plain(ProtocolConfig::Json(Box::default())),
        Protocol::Set(ProtocolSettings::Mapping(mapping)) => {
            let mapping = json::compile(mapping, &at("json_mapping"), problems);
            extension::with_group(&mapping.extension, group, path, problems);
            plain(ProtocolConfig::Json(Box::new(mapping)))
        }
        Protocol::Named(ProtocolName::Stomp) => {
            stomp::compile(&Default::default(), &at("stomp"), scope, problems)
        }
        Protocol::Set(ProtocolSettings::Stomp(written)) => {
            stomp::compile(written, &at("stomp"), scope, problems)
        }
        Protocol::Named(ProtocolName::Mqtt) => {
            mqtt::compile(&Default::default(), &at("mqtt"), scope, problems)
        }
        Protocol::Set(ProtocolSettings::Mqtt(written)) => {
            mqtt::compile(written, &at("mqtt"), scope, problems)
        }
        Protocol::Named(ProtocolName::SocketIo) => {
            let written = Default::default();
            socket_io::compile(&written, &at("socket_io"), group, scope, problems)
        }
        Protocol::Set(ProtocolSettings::SocketIo(written)) => {
            socket_io::compile(written, &at("socket_io"), group, scope, problems)
        }
    };
    if spoken.config.has_session() {
        only_pauses(group, path, problems);
    }
    if let ProtocolConfig::Mqtt(_) = spoken.config {
        mqtt::topics(group, path, problems);
    }
    spoken
}

/// Where a protocol is spoken, for those that have an address of their own.
pub(super) struct At<'a> {
    /// Path, in place of the address's own, and where that is written.
    pub path: Option<(&'a str, String)>,
    /// Path, where the address has none.
    pub usual: &'static str,
    /// What the query must hold.
    pub query: &'static str,
}

/// Where a group's protocol is spoken; `path` is the group's.
pub(super) fn address<'a>(group: &'a ClientGroup, path: &str) -> Option<At<'a>> {
    match &group.protocol {
        Protocol::Named(ProtocolName::SocketIo) => Some(socket_io::address(None, path)),
        Protocol::Set(ProtocolSettings::SocketIo(written)) => {
            Some(socket_io::address(Some(written), path))
        }
        _ => None,
    }
}

/// What a protocol with a session says is the protocol's: messages written by hand would fall between.
fn only_pauses(group: &ClientGroup, path: &str, problems: &mut Problems) {
    for (i, step) in group.on_open.iter().enumerate() {
        if !matches!(step, Step::Pause(_)) {
            let message =
                "this protocol greets and subscribes on its own: only `pause` can stand here";
            problems.add(
                Problem::error(format!("{path}.on_open[{i}]"), message)
                    .help("say what a connection introduces itself with in `protocol`"),
            );
        }
    }
    if group.request.is_some() {
        let message = "this protocol has no requests: its publishes are acknowledged where it has that, timed as `ack`";
        problems.add(Problem::error(format!("{path}.request"), message).on_key());
    }
}

/// The fields that are given, filled in for each connection.
fn introduction(
    fields: &[(Field, &str, &Option<String>)],
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Vec<(Field, Template)> {
    let mut given = Vec::new();
    for (field, key, value) in fields {
        if let Some(value) = value {
            let template = text::template(value, &format!("{path}.{key}"), scope, problems);
            given.push((*field, template));
        }
    }
    given
}
