//! MQTT.

use super::super::text::{self, Scope};
use super::super::{Problems, each};
use super::{Spoken, introduction};
use crate::plan::types::Builtin;
use crate::protocol::settings::mqtt::{Config, Filter, Qos, Version};
use crate::protocol::{Field, ProtocolConfig};
use crate::scenario::Problem;
use crate::scenario::model::{self, ClientGroup, MqttVersion};
use crate::scenario::units::{Count, Duration};

/// Compiles the settings; `path` is their own.
pub(super) fn compile(
    written: &model::Mqtt,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Spoken {
    let mut config = Config {
        version: match written.version {
            MqttVersion::V5 => Version::V5,
            MqttVersion::V311 => Version::V3_1_1,
        },
        clean_start: written.clean_start,
        retain: written.retain,
        topic_aliases: written.topic_aliases,
        ..Config::default()
    };
    let at = |key: &str| format!("{path}.{key}");
    if let Some(given) = written.keep_alive {
        let most = u16::MAX.into();
        config.keep_alive_s = seconds(given, most, &at("keep_alive"), problems) as u16;
    }
    if let Some(given) = written.session_expiry {
        config.session_expiry_s = seconds(given, u32::MAX, &at("session_expiry"), problems);
    }
    let mut quality = |given: Option<u8>, key: &str, default: Qos| {
        let Some(level) = given else {
            return default;
        };
        Qos::of_level(level).unwrap_or_else(|| {
            problems.add(Problem::error(at(key), "a QoS is 0, 1 or 2"));
            default
        })
    };
    config.subscribe_qos = quality(written.subscribe_qos, "subscribe_qos", config.subscribe_qos);
    config.publish_qos = quality(written.publish_qos, "publish_qos", config.publish_qos);
    let will = written.will.as_ref();
    config.will_qos = quality(will.and_then(|will| will.qos), "will.qos", config.will_qos);
    config.will_retain = will.is_some_and(|will| will.retain);
    let mut number = |given: Option<Count>, key: &str, least: u16, default: u16| {
        let Some(Count(number)) = given else {
            return default;
        };
        let fitting = u16::try_from(number).ok().filter(|number| *number >= least);
        fitting.unwrap_or_else(|| {
            let message = format!("this is a number from {least} to 65535");
            problems.add(Problem::error(at(key), message));
            default
        })
    };
    config.receive_maximum = number(written.receive_maximum, "receive_maximum", 1, u16::MAX);
    let aliases = written.topic_alias_maximum;
    config.topic_alias_maximum = number(aliases, "topic_alias_maximum", 0, 0);
    if config.version == Version::V3_1_1 {
        of_3_1_1(written, path, problems);
    }
    if let Some(will) = will
        && !will.topic.contains('{')
        && !is_topic(&will.topic)
    {
        problems.add(no_topic(&at("will.topic"), &will.topic));
    }
    let topic = will.map(|will| will.topic.clone());
    let fields = [
        (Field::ClientId, "client_id", &written.client_id),
        (Field::Login, "username", &written.username),
        (Field::Passcode, "password", &written.password),
        (Field::WillTopic, "will.topic", &topic),
    ];
    let mut introduction = introduction(&fields, path, scope, problems);
    if let Some(will) = will {
        // By the stamp in it a will is known where it is heard.
        let message = [scope.message, &[Builtin::Payload]].concat();
        let scope = Scope {
            message: &message,
            ..scope
        };
        let payload = will.payload.as_deref().unwrap_or("{payload}");
        let template = text::template(payload, &at("will.payload"), scope, problems);
        introduction.push((Field::WillPayload, template));
    }
    Spoken {
        introduction,
        config: ProtocolConfig::Mqtt(config.into()),
    }
}

/// What 3.1.1 lacks.
fn of_3_1_1(written: &model::Mqtt, path: &str, problems: &mut Problems) {
    let newer = [
        ("session_expiry", written.session_expiry.is_some()),
        ("receive_maximum", written.receive_maximum.is_some()),
        ("topic_alias_maximum", written.topic_alias_maximum.is_some()),
        ("topic_aliases", written.topic_aliases),
    ];
    for (key, given) in newer {
        if given {
            let problem = Problem::error(format!("{path}.{key}"), "MQTT 3.1.1 has no such thing");
            problems.add(match key {
                "session_expiry" => {
                    problem.help("with `clean_start: false` the server keeps the session")
                }
                _ => problem.help("it is of v5"),
            });
        }
    }
    if !written.clean_start && written.client_id.is_none() {
        let message = "in MQTT 3.1.1 only a client that says who it is has a session to keep";
        problems.add(
            Problem::error(format!("{path}.clean_start"), message)
                .help("give a `client_id`, such as \"squall-{connection}\""),
        );
    }
    if written.password.is_some() && written.username.is_none() {
        let message = "in MQTT 3.1.1 a password needs a `username`";
        problems.add(Problem::error(format!("{path}.password"), message));
    }
}

/// Whole seconds.
fn seconds(given: Duration, most: u32, path: &str, problems: &mut Problems) -> u32 {
    let whole = u32::try_from(given.0.as_secs()).ok();
    match whole.filter(|s| given.0.subsec_nanos() == 0 && *s <= most) {
        Some(seconds) => seconds,
        None => {
            let message = format!("MQTT counts this in whole seconds, {most} at most");
            problems.add(Problem::error(path, message));
            0
        }
    }
}

/// Filters and topics that no server can take, as far as they are no templates: of those see `topics::filters`.
pub(super) fn topics(group: &ClientGroup, path: &str, problems: &mut Problems) {
    for (i, filter) in group.subscribe.iter().enumerate() {
        if !filter.contains('{') && Filter::parse(filter).is_none() {
            problems.add(no_filter(format!("{path}.subscribe[{i}]"), filter));
        }
    }
    // One that is no filter was told of.
    let shares = |filter: &String| {
        filter.starts_with("$share/") && (filter.contains('{') || Filter::parse(filter).is_some())
    };
    let shared = group.subscribe.iter().position(shares);
    if let Some(i) = shared
        && group.subscribe.len() > 1
    {
        let message = "whoever shares a subscription has no other: which message came by which cannot be told";
        problems.add(
            Problem::error(format!("{path}.subscribe[{i}]"), message).help("make it another group"),
        );
    }
    let Some(publishes) = &group.publish else {
        return;
    };
    for (path, publish) in each(publishes, &format!("{path}.publish")) {
        if let Some(topic) = &publish.topic
            && !topic.contains('{')
            && !is_topic(topic)
        {
            problems.add(no_topic(&format!("{path}.topic"), topic));
        }
    }
}

/// What is no topic filter, by the specification's section 4.7.
pub(in super::super) fn no_filter(path: String, filter: &str) -> Problem {
    let message = format!("`{filter}` is no topic filter of MQTT");
    Problem::error(path, message).help(
        "`+` and `#` stand for whole levels, `#` only at the end; `$share/NAME/…` shares a subscription",
    )
}

fn is_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

fn no_topic(path: &str, topic: &str) -> Problem {
    let message = format!("`{topic}` cannot be published to: MQTT's topics have no wildcards");
    Problem::error(path, message)
}
