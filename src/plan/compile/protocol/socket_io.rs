//! Socket.IO.

use super::super::text::{self, Scope};
use super::super::{Problems, message, steps};
use super::{At, Spoken};
use crate::protocol::settings::socket_io::{Config, PATH, Place, Polling, QUERY, VERSION};
use crate::protocol::{Condition, Field, ProtocolConfig};
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup, PollingBy, Resume, Scalar, Table};

/// Compiles the settings; `path` is their own.
pub(super) fn compile(
    written: &model::SocketIo,
    path: &str,
    group: &ClientGroup,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Spoken {
    let mut config = Config {
        polling: polling(written.polling),
        ..Config::default()
    };
    if let Some(namespace) = &written.namespace {
        if !namespace.starts_with('/') || namespace.contains([',', '?']) {
            let message = "a namespace begins with a `/`, and has no `,` and no `?` in it";
            problems.add(Problem::error(format!("{path}.namespace"), message));
        }
        config.namespace.clone_from(namespace);
    }
    let defaults = [
        r#"["subscribe","{topic}"]"#,
        r#"["publish","{topic}","{payload}"]"#,
    ];
    let [subscribe, publish] = [&written.subscribe, &written.publish];
    if let Some(text) = subscribe.as_deref().filter(|text| !text.is_empty()) {
        event(text, &format!("{path}.subscribe"), "topic", problems);
    }
    if let Some(text) = publish {
        event(text, &format!("{path}.publish"), "payload", problems);
    }
    let publish = publish.as_deref().unwrap_or(defaults[1]);
    if written.binary && publish.replace("\"{payload}\"", "").contains("{payload}") {
        let message = "an attachment stands alone: `\"{payload}\"`, with nothing beside it";
        problems.add(Problem::error(format!("{path}.publish"), message));
    }
    config.subscribe = Config::event(subscribe.as_deref().unwrap_or(defaults[0]), false);
    config.subscribe_ack = written.subscribe_ack;
    config.publish = Config::event(publish, written.binary);
    config.publish_ack = written.publish_ack;
    config.binary = written.binary;
    if let Some(name) = &written.message {
        config.message.clone_from(name);
    }
    let mut place = |pointer: &str, key: &str| {
        let path = format!("{path}.{key}");
        message::pointer(pointer, &path, problems);
        let place = Place::named(pointer);
        if place.is_none() && pointer.starts_with('/') {
            let message = format!("`{pointer}` is no argument of an event");
            problems.add(
                Problem::error(path, message)
                    .help("the event is an array: `/0` is its name, `/1` its first argument"),
            );
        }
        place
    };
    if let Some(pointer) = &written.topic {
        config.topic = place(pointer, "topic");
    }
    if let Some(pointer) = &written.payload {
        match place(pointer, "payload") {
            Some(place) => config.payload = place,
            None if pointer.is_empty() => {
                let message = "without a payload nothing that is delivered can be told apart";
                problems.add(Problem::error(format!("{path}.payload"), message));
            }
            None => {}
        }
    }
    if let Some(refused) = &written.refused {
        let path = format!("{path}.refused");
        let pointer = refused.pointer.as_deref();
        steps::pointed(pointer, refused.equals.is_some(), &path, problems);
        if refused.contains.is_none() && pointer.is_none() {
            let message =
                "without `contains` or `pointer` every acknowledgement would be a refusal";
            problems.add(Problem::error(&path, message));
        }
        config.refused = Some(Condition {
            contains: refused.contains.clone().unwrap_or_default(),
            pointer: refused.pointer.clone().unwrap_or_default(),
            equals: refused.equals.as_ref().map(Scalar::to_string),
        });
    }
    // A session is asked for by those who resume, and by nobody else: what comes again to others would be doubled.
    let resume = group.reconnect.as_ref().and_then(|r| r.resume.as_ref());
    config.recover = matches!(resume, Some(Resume::Topics(true)));
    let introduction = written.auth.as_ref().map(|auth| {
        let template = text::template(&object(auth), &format!("{path}.auth"), scope, problems);
        (Field::Auth, template)
    });
    Spoken {
        config: ProtocolConfig::SocketIo(config.into()),
        introduction: introduction.into_iter().collect(),
    }
}

/// Where it is spoken; `path` is the group's.
pub(super) fn address<'a>(written: Option<&'a model::SocketIo>, path: &str) -> At<'a> {
    let own = written.and_then(|written| written.path.as_deref());
    let polls = written.is_some_and(|written| polling(written.polling) != Polling::Never);
    At {
        path: own.map(|own| (own, format!("{path}.protocol.socket_io.path"))),
        usual: PATH,
        // Which transport is asked for is said with each request where there are two.
        query: if polls { VERSION } else { QUERY },
    }
}

/// What of a conversation goes by polling.
fn polling(written: model::Polling) -> Polling {
    match written {
        model::Polling::Is(false) => Polling::Never,
        model::Polling::Is(true) | model::Polling::By(PollingBy::Upgrade) => Polling::Upgrade,
        model::Polling::By(PollingBy::Handshake) => Polling::Handshake,
        model::Polling::By(PollingBy::Only) => Polling::Only,
    }
}

/// Checks an event as written.
fn event(text: &str, path: &str, needed: &str, problems: &mut Problems) {
    text::check_names(text, path, &["topic", "payload", "id"], problems);
    if !text::has_placeholder(text, Some(needed)) {
        let message = format!("the event has no `{{{needed}}}`");
        problems.add(Problem::error(path, message));
    }
    // Placeholders outside of texts stand for JSON.
    let filled = ["{topic}", "{payload}", "{id}"]
        .iter()
        .fold(text.to_owned(), |text, name| text.replace(name, "0"));
    let parsed = serde_json::from_str::<Vec<serde_json::Value>>(&filled);
    let named = parsed.is_ok_and(|event| event.first().is_some_and(|name| name.is_string()));
    if !named {
        problems.add(
            Problem::error(
                path,
                "this is not an event: a JSON array that begins with its name",
            )
            .help(r#"for example `["join", "{topic}"]`"#),
        );
    }
}

/// The members as a JSON text.
fn object(members: &Table<Scalar>) -> String {
    let members = members.iter().map(|(name, value)| {
        let name = serde_json::Value::from(name.as_str());
        format!(
            "{name}:{}",
            serde_json::to_string(value).unwrap_or_default()
        )
    });
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
