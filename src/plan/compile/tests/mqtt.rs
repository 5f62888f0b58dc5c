//! What may be said of MQTT, and what is told of what may not.

use super::*;
use crate::protocol::Field;
use crate::protocol::settings::mqtt::{Config, Qos, Version};

fn sub(settings: &str) -> String {
    format!("{{clients: {{sub: {{protocol: {{mqtt: {settings}}}}}}}}}")
}

fn mqtt(group: &Group) -> &Config {
    match &group.protocol {
        ProtocolConfig::Mqtt(config) => config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn settings_become_a_config() {
    let plain = compiled("{clients: {sub: {protocol: mqtt}}}");
    assert_eq!(mqtt(&plain.plan.groups()[0]), &Config::default());
    let compiled = compiled(&sub(
        "{version: v5, client_id: 'c-{index}', username: u, password: p, keep_alive: 30s, clean_start: false, session_expiry: 5m, \
          subscribe_qos: 2, publish_qos: 0, retain: true, receive_maximum: 7, topic_alias_maximum: 3, topic_aliases: true, \
          will: {topic: gone, payload: '{connection}', qos: 1, retain: true}}",
    ));
    let group = &compiled.plan.groups()[0];
    let expected = Config {
        version: Version::V5,
        clean_start: false,
        session_expiry_s: 300,
        keep_alive_s: 30,
        subscribe_qos: Qos::ExactlyOnce,
        publish_qos: Qos::AtMostOnce,
        retain: true,
        receive_maximum: 7,
        topic_alias_maximum: 3,
        topic_aliases: true,
        will_qos: Qos::AtLeastOnce,
        will_retain: true,
    };
    assert_eq!(mqtt(group), &expected);
    let fields: Vec<Field> = group.introduction.iter().map(|(field, _)| *field).collect();
    let all = [
        Field::ClientId,
        Field::Login,
        Field::Passcode,
        Field::WillTopic,
        Field::WillPayload,
    ];
    assert_eq!(fields, all);
    assert_eq!(group.introduction[3].1.as_text(), Some("gone"));
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let at = "clients.sub.protocol.mqtt";
    let cases = [
        ("{publish_qos: 3}", "publish_qos", "a QoS is 0, 1 or 2"),
        ("{will: {topic: t, qos: 9}}", "will.qos", "0, 1 or 2"),
        ("{will: {topic: a/+}}", "will.topic", "no wildcards"),
        ("{keep_alive: 1500ms}", "keep_alive", "whole seconds"),
        ("{keep_alive: 70000s}", "keep_alive", "65535 at most"),
        ("{receive_maximum: 0}", "receive_maximum", "from 1 to 65535"),
        (
            "{topic_alias_maximum: 70k}",
            "topic_alias_maximum",
            "from 0 to 65535",
        ),
        (
            "{version: v3.1.1, session_expiry: 5s}",
            "session_expiry",
            "`clean_start: false`",
        ),
        (
            "{version: v3.1.1, topic_aliases: true}",
            "topic_aliases",
            "no such thing",
        ),
        (
            "{version: v3.1.1, clean_start: false}",
            "clean_start",
            "client_id",
        ),
        (
            "{version: v3.1.1, password: p}",
            "password",
            "needs a `username`",
        ),
    ];
    for (settings, key, text) in cases {
        one_problem(
            Level::Error,
            &[(&sub(settings), &format!("{at}.{key}"), text)],
        );
    }
}

#[test]
fn filters_and_topics_that_cannot_be_are_told() {
    let cases = [
        ("a/#/b", "`a/#/b` is no topic filter"),
        ("$share/g", "shares a subscription"),
        ("a#", "`a#` is no topic filter"),
        ("a/+b", "`a/+b` is no topic filter"),
        // Of a template, as it is for somebody.
        ("{index}#", "`0#` is no topic filter"),
        ("{tail}/a", "`#/a` is no topic filter"),
    ];
    for (filter, text) in cases {
        let patch = format!(
            "{{clients: {{sub: {{protocol: mqtt, vars: {{tail: {{cycle: [x, '#']}}}}, subscribe: [t, '{filter}']}}, pub: {{protocol: mqtt}}}}}}"
        );
        one_problem(Level::Error, &[(&patch, "clients.sub.subscribe[1]", text)]);
    }
    let patch = "{clients: {pub: {protocol: mqtt, publish: [{topic: t, rate: 1/s}, {topic: 't/#', rate: 1/s}]}}}";
    one_problem(
        Level::Error,
        &[(patch, "clients.pub.publish[1].topic", "no wildcards")],
    );
    // Levels may be put in, wildcards among them; and of what is captured only the server can tell.
    for good in [
        "vars: {at: {cycle: [a/, b/c/]}}, subscribe: [t, '{at}#']",
        "vars: {tail: {cycle: ['#', '+/b']}}, subscribe: [t, 'a/{tail}']",
        "capture_headers: {at: X-At}, subscribe: [t, '{at}#']",
    ] {
        compiled(&format!("{{clients: {{sub: {{protocol: mqtt, {good}}}}}}}"));
    }
}

/// Who hears what is expected by the filters, so that nobody is warned of publishing to none.
#[test]
fn filters_take_what_is_published() {
    for (filter, heard) in [
        ("t", true),
        ("+", true),
        ("#", true),
        ("$share/g/+", true),
        ("t/+", false),
        ("u", false),
    ] {
        let patch = format!("{{clients: {{sub: {{protocol: mqtt, subscribe: ['{filter}']}}}}}}");
        let told = found(&patch);
        let unheard = told
            .iter()
            .any(|problem| problem.message.contains("no client group subscribes"));
        assert_eq!(unheard, !heard, "{filter}: {told:?}");
    }
}

#[test]
fn whoever_has_a_session_resumes() {
    let resume = |settings: &str, reconnect: &str| {
        let patch = format!(
            "{{clients: {{sub: {{protocol: {{mqtt: {settings}}}, reconnect: {reconnect}}}}}}}"
        );
        compiled(&patch).plan.groups()[0].resume.clone()
    };
    let five = "{session_expiry: 5s}";
    let three = "{version: v3.1.1, clean_start: false, client_id: c}";
    for reconnect in ["{}", "{resume: true}"] {
        assert!(matches!(resume(five, reconnect), Some(Resume::Protocol)));
        assert!(matches!(resume(three, reconnect), Some(Resume::Protocol)));
    }
    assert!(resume("{}", "{}").is_none());
    let patch = "{clients: {sub: {protocol: mqtt, reconnect: {resume: true}}}}";
    one_problem(
        Level::Error,
        &[(patch, "clients.sub.reconnect.resume", "session_expiry")],
    );
}

/// Each message of a shared subscription goes to one member: one shard has to have them all.
#[test]
fn shared_subscriptions_are_of_one_shard() {
    let share = "clients: {sub: {protocol: mqtt, subscribe: ['$share/g/t']}}";
    let shards = |patch: &str| compiled(patch).plan.generator().shards;
    assert_eq!(shards(&format!("{{{share}}}")), 1);
    assert_eq!(shards(&format!("{{{share}, generator: {{shards: 1}}}}")), 1);
    let two = format!("{{{share}, generator: {{shards: 2}}}}");
    one_problem(
        Level::Error,
        &[(&two, "generator.shards", "has all its members")],
    );
    let more = "{clients: {sub: {protocol: mqtt, subscribe: [t, '$share/g/t']}}}";
    one_problem(
        Level::Error,
        &[(more, "clients.sub.subscribe[1]", "another group")],
    );
    // In other protocols it is a name like any other.
    compiled("{clients: {sub: {subscribe: ['$share/g/t', t]}}, generator: {shards: 2}}");
}
