//! Socket.IO: what may be written, and what it comes to.

use super::*;
use crate::protocol::settings::socket_io::{Config, Place, Polling};
use crate::protocol::{Condition, Field};

/// The group `sub` with these settings, and the target as patched.
fn group(target: &str, settings: &str) -> Group {
    let patch = format!(
        "{{target: {target}, clients: {{sub: {{vars: {{user: {{cycle: [ann]}}}}, protocol: {{socket_io: {settings}}}}}}}}}"
    );
    compiled(&patch).plan.groups()[0].clone()
}

fn config(group: &Group) -> &Config {
    match &group.protocol {
        ProtocolConfig::SocketIo(config) => config,
        other => panic!("{other:?}"),
    }
}

/// A template as it is written.
fn text(template: &Template) -> String {
    let parts = template.parts.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        other => format!("<{other:?}>"),
    });
    parts.collect()
}

#[test]
fn where_it_is_spoken() {
    const QUERY: &str = "EIO=4&transport=websocket";
    for (url, settings, path) in [
        ("ws://h", "{}", "/socket.io/?EIO=4&transport=websocket"),
        ("ws://h/", "{}", "/socket.io/?EIO=4&transport=websocket"),
        (
            "ws://h/?a=1",
            "{}",
            "/socket.io/?a=1&EIO=4&transport=websocket",
        ),
        ("ws://h/chat/", "{}", "/chat/?EIO=4&transport=websocket"),
        (
            "ws://h/chat/?a=1",
            "{path: /ws/}",
            "/ws/?a=1&EIO=4&transport=websocket",
        ),
        ("ws://h", "{polling: true}", "/socket.io/?EIO=4"),
        (
            "ws://h",
            "{path: '/{user}/'}",
            "/<Var(0)>/?EIO=4&transport=websocket",
        ),
    ] {
        let group = group(&format!("{{url: '{url}'}}"), settings);
        assert_eq!(text(&group.upgrade.paths[0]), path, "{url} {settings}");
    }
    let asked = group("{url: 'ws://h', query: {b: '2'}}", "{}");
    assert_eq!(
        text(&asked.upgrade.paths[0]),
        format!("/socket.io/?{QUERY}&b=2")
    );
    let embedded = group("{url: null, embedded: {}}", "{}");
    assert_eq!(
        text(&embedded.upgrade.paths[0]),
        format!("/socket.io/?{QUERY}")
    );
    // Others of the same target go where it is.
    let patch = "{target: {url: null, embedded: {}}, clients: {sub: {protocol: socket_io}}}";
    let plan = compiled(patch).plan;
    let paths = plan
        .groups()
        .iter()
        .map(|group| text(&group.upgrade.paths[0]));
    assert_eq!(
        paths.collect::<Vec<_>>(),
        [&format!("/socket.io/?{QUERY}"), "/ws"]
    );
}

#[test]
fn settings_come_through() {
    let plain = group("{}", "{}");
    assert_eq!(
        *config(&plain),
        Config {
            recover: false,
            ..Config::default()
        }
    );
    assert_eq!(plain.introduction, []);
    let group = group(
        "{}",
        "{polling: true, namespace: /admin, auth: {token: 't-{user}', n: 3, yes: true, quote: '\"'}, subscribe: '[\"join\",\"{topic}\"]', \
         subscribe_ack: false, publish: '[\"say\",{\"to\":\"{topic}\",\"what\":\"{payload}\"}]', publish_ack: false, binary: true, \
         message: said, topic: '', payload: /1/what, refused: {pointer: /0, equals: 'no'}}",
    );
    let expected = Config {
        namespace: "/admin".into(),
        subscribe: Config::event(r#"["join","{topic}"]"#, false),
        subscribe_ack: false,
        publish: Config::event(r#"["say",{"to":"{topic}","what":{payload}}]"#, false),
        publish_ack: false,
        binary: true,
        polling: Polling::Upgrade,
        message: "said".into(),
        topic: None,
        payload: Place {
            index: 1,
            pointer: "/what".into(),
        },
        refused: Some(Condition {
            contains: String::new(),
            pointer: "/0".into(),
            equals: Some("no".into()),
        }),
        recover: false,
    };
    assert_eq!(*config(&group), expected);
    let (field, auth) = &group.introduction[0];
    assert_eq!(*field, Field::Auth);
    assert_eq!(
        text(auth),
        r#"{"token":"t-<Var(0)>","n":3,"yes":true,"quote":"\""}"#
    );
}

#[test]
fn polling_has_a_name_for_each_way() {
    for (written, polling) in [
        ("false", Polling::Never),
        ("true", Polling::Upgrade),
        ("upgrade", Polling::Upgrade),
        ("handshake", Polling::Handshake),
        ("only", Polling::Only),
    ] {
        let group = group("{}", &format!("{{polling: {written}}}"));
        assert_eq!(config(&group).polling, polling, "{written}");
        assert_eq!(
            group.protocol.polls_first().is_some(),
            polling != Polling::Never
        );
    }
}

#[test]
fn whoever_resumes_is_recovered() {
    for (resume, recover) in [("true", true), ("false", false)] {
        let patch = format!(
            "{{clients: {{sub: {{protocol: socket_io, reconnect: {{resume: {resume}}}}}}}}}"
        );
        let plan = compiled(&patch).plan;
        let group = &plan.groups()[0];
        assert_eq!(config(group).recover, recover);
        let resume = group.resume.is_some();
        assert_eq!(resume, recover);
    }
}

#[test]
fn what_makes_no_sense_is_told() {
    let at = |key: &str| format!("clients.sub.protocol.socket_io.{key}");
    for (settings, key, said) in [
        ("{namespace: admin}", "namespace", "begins with a `/`"),
        ("{namespace: '/a,b'}", "namespace", "no `,`"),
        ("{subscribe: '[\"join\"]'}", "subscribe", "no `{topic}`"),
        (
            "{subscribe: '{topic}'}",
            "subscribe",
            "begins with its name",
        ),
        (
            "{subscribe: '[1,\"{topic}\"]'}",
            "subscribe",
            "begins with its name",
        ),
        (
            "{publish: '[\"say\",\"{topic}\"]'}",
            "publish",
            "no `{payload}`",
        ),
        (
            "{publish: '[\"say\",\"{pay}\",\"{payload}\"]'}",
            "publish",
            "unknown placeholder",
        ),
        (
            "{binary: true, publish: '[\"say\",\"a{payload}\"]'}",
            "publish",
            "stands alone",
        ),
        ("{topic: '1'}", "topic", "/1"),
        ("{topic: /0}", "topic", "its first argument"),
        ("{payload: /x}", "payload", "no argument"),
        ("{payload: ''}", "payload", "without a payload"),
        ("{refused: {}}", "refused", "every acknowledgement"),
        (
            "{refused: {contains: a, equals: 1}}",
            "refused.equals",
            "needs `pointer`",
        ),
        ("{auth: {token: '{who}'}}", "auth", "unknown variable"),
        ("{path: '/{who}'}", "path", "unknown variable"),
    ] {
        let patch = format!("{{clients: {{sub: {{protocol: {{socket_io: {settings}}}}}}}}}");
        one_problem(Level::Error, &[(&patch, &at(key), said)]);
    }
    for (more, path) in [
        ("on_open: [{send: hello}]", "clients.sub.on_open[0]"),
        ("request: {rate: 1/s}", "clients.sub.request"),
    ] {
        let patch = format!("{{clients: {{sub: {{protocol: socket_io, {more}}}}}}}");
        one_problem(Level::Error, &[(&patch, path, "this protocol")]);
    }
    // Its connections beside its own have neither.
    for polling in ["only", "upgrade"] {
        let polled = format!("protocol: {{socket_io: {{polling: {polling}}}}}");
        for (target, more, said) in [
            ("{proxy: 'http://p:1'}", "", "through a proxy"),
            ("{}", ", compression: {}", "no compression"),
        ] {
            let patch = format!("{{target: {target}, clients: {{sub: {{{polled}{more}}}}}}}");
            one_problem(Level::Error, &[(&patch, "clients.sub.protocol", said)]);
        }
    }
}
