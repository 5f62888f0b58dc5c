mod auth;
mod bursts;
mod compression;
mod gates;
mod inject;
mod inject_kafka;
mod ladder;
mod lasting;
mod mqtt;
mod presets;
mod reconnect;
mod socket_io;
mod stomp;
mod unreached;
mod watch;

use super::*;
use crate::plan::types::*;
use crate::protocol::ProtocolConfig;
use serde_json::Value;
use std::time::Duration;

const BASE: &str = "
name: base
target: { url: 'ws://127.0.0.1:9000/ws' }
clients:
  sub: { count: 10, subscribe: [t] }
  pub: { count: 4, publish: { topic: t, rate: 100/s } }
phases:
  - { name: ramp, for: 10s, open: { sub: linear } }
  - { name: steady, for: 20s }
";

fn machine() -> Machine {
    Machine {
        cores: 2,
        descriptors: 524_288,
        file_max: 10_000_000,
        port_range: (32_768, 60_999),
        memory_available: 8 << 30,
        somaxconn: 4_096,
        ..Machine::default()
    }
}

/// JSON Merge Patch (RFC 7396): objects are merged, `null` removes, anything else replaces.
fn merge(into: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !into.is_object() {
                *into = Value::Object(Default::default());
            }
            let object = into.as_object_mut().unwrap();
            for (key, value) in patch {
                if value.is_null() {
                    object.remove(&key);
                } else {
                    merge(object.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        other => *into = other,
    }
}

fn scenario(patch: &str) -> Scenario {
    let mut value: Value = serde_yaml::from_str(BASE).unwrap();
    merge(
        &mut value,
        serde_yaml::from_str(patch).unwrap_or_else(|e| panic!("{patch}: {e}")),
    );
    serde_json::from_value(value).unwrap_or_else(|e| panic!("{patch}: {e}"))
}

fn files() -> Files {
    let mut files = Files::default();
    files.insert("users.csv", "name,token\nann,a1\nbob,b2\ncat,c3\n");
    files.insert("empty.csv", "name,token\n");
    files.insert("broken.csv", "name,token\nann\n");
    files.insert(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    );
    files.insert(
        "key.pem",
        "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    );
    files.insert("payload.json", "{\"hello\":\"world\"}");
    files.insert("binary", [0xff, 0xfe]);
    files
}

fn compiled(patch: &str) -> Compiled {
    compile(&scenario(patch), &files(), &machine())
        .unwrap_or_else(|problems| panic!("{patch}: {problems:#?}"))
}

/// Everything found, warnings of a good scenario as well.
fn found(patch: &str) -> Vec<Problem> {
    match compile(&scenario(patch), &files(), &machine()) {
        Ok(compiled) => compiled.warnings,
        Err(problems) => problems,
    }
}

/// Each patch makes exactly one problem, at this path, with this in its message or help.
fn one_problem(level: Level, cases: &[(&str, &str, &str)]) {
    for (patch, path, text) in cases {
        let problems = found(patch);
        assert_eq!(problems.len(), 1, "{patch}: {problems:#?}");
        let problem = &problems[0];
        assert_eq!(
            (problem.path.as_str(), problem.level),
            (*path, level),
            "{patch}: {problem:?}"
        );
        let said = format!(
            "{} | {}",
            problem.message,
            problem.help.as_deref().unwrap_or_default()
        );
        assert!(said.contains(text), "{patch}: `{text}` is not in: {said}");
    }
}

#[test]
fn the_base_is_without_problems() {
    assert_eq!(found("{}"), []);
}

#[test]
fn names_are_checked() {
    one_problem(
        Level::Error,
        &[
            ("{version: 2}", "version", "version 2"),
            ("{name: ''}", "name", "empty"),
            ("{name: 'a b'}", "name", "letters"),
            ("{name: .hidden}", "name", "begin with"),
            ("{clients: {'a b': {count: 1}}}", "clients.a b", "letters"),
            (
                "{phases: [{name: a, for: 1s}, {name: a, for: 1s}]}",
                "phases[1].name",
                "another phase named `a`",
            ),
            ("{phases: []}", "phases", "no phases"),
            (
                "{clients: {sub: null, pub: null}, phases: [{name: a, for: 1s}]}",
                "clients",
                "no client groups",
            ),
        ],
    );
    let long = "x".repeat(101);
    one_problem(
        Level::Error,
        &[(&format!("{{name: {long}}}"), "name", "100 characters")],
    );
    assert_eq!(found(&format!("{{name: {}}}", "x".repeat(100))), []);
    assert_eq!(found("{name: a-b_c.D9}"), []);
}

#[test]
fn there_are_limits_to_what_a_group_does() {
    let list = |n: usize, entry: &str| vec![entry; n].join(", ");
    let publishes = |n| {
        let list = list(n, "{topic: t, rate: 1/s}");
        format!("{{clients: {{pub: {{publish: [{list}]}}}}}}")
    };
    let requests = |n| {
        let list = list(n, "{rate: 1/s}");
        format!("{{clients: {{pub: {{request: [{list}]}}}}}}")
    };
    assert_eq!(found(&publishes(255)), []);
    assert_eq!(found(&requests(255)), []);
    let text = "256 entries are more than 255";
    one_problem(
        Level::Error,
        &[
            (&publishes(256), "clients.pub.publish", text),
            (&requests(256), "clients.pub.request", text),
        ],
    );
}

#[test]
fn there_are_limits_to_phases_and_groups() {
    let phases = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("{{name: p{i}, for: 1s}}")).collect();
        format!("{{phases: [{}]}}", list.join(", "))
    };
    assert_eq!(found(&phases(255)), []);
    one_problem(
        Level::Error,
        &[(&phases(256), "phases", "256 phases are more than 255")],
    );
    let groups = |n: usize| {
        let list: Vec<String> = (0..n).map(|i| format!("g{i}: {{count: 1}}")).collect();
        format!("{{clients: {{{}}}}}", list.join(", "))
    };
    assert_eq!(found(&groups(3_998)), []);
    one_problem(
        Level::Error,
        &[(
            &groups(3_999),
            "clients",
            "4001 client groups are more than 4000",
        )],
    );
}

#[test]
fn addresses_are_checked() {
    let url = |url: &str| format!("{{target: {{url: '{url}'}}}}");
    let cases = [
        ("127.0.0.1:9000/ws", "no scheme"),
        ("http://host/ws", "use ws://"),
        ("https://host/ws", "use wss://"),
        ("ftp://host/", "neither `ws` nor `wss`"),
        ("ws://host/ws#part", "fragment"),
        ("ws:///ws", "no host"),
        ("ws://host:99999/", "cannot be read"),
        ("ws://host:0/", "port 0"),
        ("ws://{tenant}.host/", "before the path"),
        ("ws://ho st/", "cannot be read"),
    ];
    for (address, text) in cases {
        one_problem(Level::Error, &[(&url(address), "target.url", text)]);
        let second = format!("{{target: {{url: ['ws://good', '{address}']}}}}");
        one_problem(Level::Error, &[(&second, "target.url[1]", text)]);
    }
    one_problem(
        Level::Error,
        &[
            (
                "{target: {url: null}}",
                "target",
                "neither `url` nor `embedded`",
            ),
            ("{target: {embedded: {}}}", "target", "exclude each other"),
            ("{target: {url: []}}", "target.url", "empty"),
            (
                "{target: {url: ['ws://a:b@x', 'ws://a:c@x']}}",
                "target.url[1]",
                "different users",
            ),
            (
                "{target: {url: 'ws://a:b@x', headers: {authorization: x}}}",
                "target.url",
                "Authorization header too",
            ),
        ],
    );
}

#[test]
fn problems_never_repeat_an_address() {
    for patch in [
        "{target: {url: 'http://user:canary@host/?token=canary'}}",
        "{target: {url: 'ws://user:canary@host/?token=canary#x'}}",
        "{target: {url: ['ws://user:canary@host/', 'ws://host/']}}",
    ] {
        assert!(!format!("{:?}", found(patch)).contains("canary"), "{patch}");
    }
}

#[test]
fn addresses_are_taken_apart() {
    let endpoint = |tls, host: &str, port| crate::transport::Endpoint {
        tls,
        host: host.into(),
        port,
    };
    for (url, expected, path) in [
        ("ws://host", endpoint(false, "host", 80), "/"),
        ("wss://host", endpoint(true, "host", 443), "/"),
        (
            "WSS://Host:8443/a/b?c=d",
            endpoint(true, "host", 8443),
            "/a/b?c=d",
        ),
        ("ws://[::1]:9000/ws", endpoint(false, "::1", 9000), "/ws"),
        ("ws://host?x=1", endpoint(false, "host", 80), "/?x=1"),
        ("ws://user:secret@host/", endpoint(false, "host", 80), "/"),
        ("ws://host/é x", endpoint(false, "host", 80), "/%C3%A9%20x"),
    ] {
        let plan = compiled(&format!("{{target: {{url: '{url}'}}}}")).plan;
        assert_eq!(plan.target().endpoints, [expected], "{url}");
        assert_eq!(plan.upgrade(0).path(0).as_text(), Some(path), "{url}");
    }
}

/// The upgrade's path and headers of a group's connection, written out.
fn written(plan: &Plan, group: usize, index: u32) -> (String, Vec<(String, String)>) {
    use crate::plan::{render, value_of};
    let of = |template: &Template| {
        let group = &plan.groups()[group];
        render(template, |part| {
            value_of(part, plan.seed(), group, index).into()
        })
    };
    let upgrade = plan.upgrade(group);
    (
        of(upgrade.path(0)),
        upgrade
            .headers
            .iter()
            .map(|(n, v)| (n.clone(), of(v)))
            .collect(),
    )
}

#[test]
fn the_upgrade_holds_query_headers_cookies_and_user() {
    let plan = compiled(
        "
target:
  url: 'ws://us%40er:pass@host/ws/{kind}?a=1'
  query: { 'a&b': 'x y', user: '{name}' }
  headers: { X-One: '1', X-Two: '{index}' }
  cookies: { sid: 's{connection}', lang: en }
clients:
  sub: { vars: { kind: { cycle: [k] }, name: { csv: { file: users.csv, column: name } } }, headers: { x-two: mine } }
  pub: { vars: { kind: { cycle: [k] }, name: { sequence: 7 } } }
",
    )
    .plan;
    let (path, headers) = written(&plan, 0, 1);
    assert_eq!(path, "/ws/k?a=1&a%26b=x%20y&user=bob");
    let expected = [
        ("X-One", "1"),
        ("x-two", "mine"),
        ("Authorization", "Basic dXNAZXI6cGFzcw=="),
        ("Cookie", "sid=s1; lang=en"),
    ];
    assert_eq!(headers, expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
    let (path, headers) = written(&plan, 1, 1);
    assert_eq!(path, "/ws/k?a=1&a%26b=x%20y&user=8");
    assert_eq!(headers[1], ("X-Two".to_owned(), "1".to_owned()));
    assert_eq!(headers[3].1, "sid=s11; lang=en");
}

#[test]
fn the_query_is_joined_to_whatever_the_address_has() {
    for (url, path) in [
        ("ws://h/p", "/p?k=v"),
        ("ws://h/p?", "/p?k=v"),
        ("ws://h/p?a", "/p?a&k=v"),
        ("ws://h/p?a&", "/p?a&k=v"),
    ] {
        let plan = compiled(&format!("{{target: {{url: '{url}', query: {{k: v}}}}}}")).plan;
        assert_eq!(
            plan.upgrade(0)
                .path(0)
                .parts
                .iter()
                .map(text_of)
                .collect::<String>(),
            path
        );
    }
}

fn text_of(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        _ => "?",
    }
}

#[test]
fn headers_and_cookies_are_checked() {
    one_problem(
        Level::Error,
        &[
            (
                "{target: {cookies: {'a b': x}}, clients: {pub: null}}",
                "target.cookies.a b",
                "cookie's name",
            ),
            (
                "{target: {cookies: {a: 'x;y'}}, clients: {pub: null}}",
                "target.cookies.a",
                "semicolons",
            ),
            (
                "{target: {cookies: {a: b}, headers: {cookie: x}}, clients: {pub: null}}",
                "target.cookies",
                "Cookie header",
            ),
            (
                "{clients: {sub: {headers: {'a b': x}}}}",
                "clients.sub.headers.a b",
                "header's name",
            ),
            (
                "{clients: {sub: {headers: {Host: x}}}}",
                "clients.sub.headers.Host",
                "upgrade itself",
            ),
            (
                "{clients: {sub: {headers: {sec-websocket-protocol: x}}}}",
                "clients.sub.headers.sec-websocket-protocol",
                "target.subprotocols",
            ),
            (
                "{clients: {sub: {headers: {A: x, a: y}}}}",
                "clients.sub.headers.a",
                "twice",
            ),
            (
                "{clients: {sub: {headers: {A: \"x\\ny\"}}}}",
                "clients.sub.headers.A",
                "line ends",
            ),
            (
                "{clients: {sub: {headers: {A: '{nam}'}}}}",
                "clients.sub.headers.A",
                "unknown variable `nam`",
            ),
            (
                "{target: {subprotocols: ['a b']}}",
                "target.subprotocols[0]",
                "a word",
            ),
            (
                "{target: {subprotocols: [a, a]}}",
                "target.subprotocols[1]",
                "twice",
            ),
        ],
    );
}

#[test]
fn the_targets_templates_are_checked_for_each_group_once() {
    let problems = found("{target: {headers: {A: '{nope}'}, cookies: {'a b': x}}}");
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        paths,
        ["target.headers.A", "target.cookies.a b"],
        "{problems:#?}"
    );
}

#[test]
fn tls_and_limits_are_checked() {
    let wss = |tls: &str| format!("{{target: {{url: 'wss://h', tls: {tls}}}}}");
    one_problem(
        Level::Error,
        &[
            (&wss("{cert: ca.pem}"), "target.tls.cert", "needs `key`"),
            (&wss("{key: key.pem}"), "target.tls.key", "needs `cert`"),
            (
                &wss("{ca: users.csv}"),
                "target.tls.ca",
                "no PEM `CERTIFICATE`",
            ),
            (
                &wss("{cert: ca.pem, key: ca.pem}"),
                "target.tls.key",
                "no PEM `PRIVATE KEY`",
            ),
            (
                &wss("{server_name: 'a b'}"),
                "target.tls.server_name",
                "host name",
            ),
            (
                "{target: {connect_timeout: 0s}}",
                "target.connect_timeout",
                "more than 0",
            ),
            (
                "{target: {close_timeout: 0s}}",
                "target.close_timeout",
                "more than 0",
            ),
            (
                "{target: {max_message: 0B}}",
                "target.max_message",
                "more than 0",
            ),
            (
                "{target: {max_header: 0B}}",
                "target.max_header",
                "more than 0",
            ),
        ],
    );
    one_problem(
        Level::Warning,
        &[
            (
                &wss("{insecure: true}"),
                "target.tls.insecure",
                "not verified",
            ),
            ("{target: {tls: {ca: ca.pem}}}", "target.tls", "no effect"),
        ],
    );
    let plan = compiled(&wss(
        "{ca: ca.pem, cert: ca.pem, key: key.pem, server_name: other.example}",
    ))
    .plan;
    let tls = &plan.target().tls;
    assert!(tls.ca.is_some() && tls.client.is_some() && !tls.insecure);
    assert_eq!(tls.server_name.as_deref(), Some("other.example"));
    let target = compiled("{}").plan.target().clone();
    assert_eq!(
        (target.connect_timeout, target.close_timeout),
        (Duration::from_secs(10), Duration::from_secs(5))
    );
    assert_eq!(
        (target.max_message, target.max_header, target.max_queue),
        (1 << 20, 16 << 10, 1 << 20)
    );
}

#[test]
fn knobs_of_the_embedded_gateway_are_checked() {
    let embedded = |knobs: &str| format!("{{target: {{url: null, embedded: {knobs}}}}}");
    let misbehave = |knobs: &str| embedded(&format!("{{misbehave: {knobs}}}"));
    assert_eq!(found(&embedded("{}")), []);
    let path = "target.embedded";
    let at = |key: &str| format!("{path}.{key}");
    let knob = |key: &str| format!("{path}.misbehave.{key}");
    for (patch, path, text) in [
        (embedded("{nodes: 0}"), at("nodes"), "from 1 to 1024"),
        (embedded("{nodes: 1025}"), at("nodes"), "from 1 to 1024"),
        (embedded("{queue: 0}"), at("queue"), "more than 0"),
        (
            embedded("{max_message: 0B}"),
            at("max_message"),
            "more than 0",
        ),
        (
            embedded("{rate_limit: 0/s}"),
            at("rate_limit"),
            "more than 0",
        ),
        (
            embedded("{ping: {every: 0s, timeout: 1s}}"),
            at("ping.every"),
            "more than 0",
        ),
        (
            embedded("{ping: {every: 1s, timeout: 0s}}"),
            at("ping.timeout"),
            "more than 0",
        ),
        (
            misbehave("{drop_every: 0}"),
            knob("drop_every"),
            "more than 0",
        ),
        (
            misbehave("{duplicate_every: 0}"),
            knob("duplicate_every"),
            "more than 0",
        ),
        (
            misbehave("{reorder_every: 0}"),
            knob("reorder_every"),
            "more than 0",
        ),
        (
            misbehave("{refuse_every: 0}"),
            knob("refuse_every"),
            "more than 0",
        ),
        (
            misbehave("{stall_after: 1s}"),
            knob("stall_after"),
            "needs `stall_for`",
        ),
        (
            misbehave("{stall_for: 1s}"),
            knob("stall_for"),
            "needs `stall_after`",
        ),
        (
            misbehave("{close_code: 1001}"),
            knob("close_code"),
            "needs `close_after`",
        ),
        (
            misbehave("{close_after: 1s, close_code: 999}"),
            knob("close_code"),
            "1000 to 4999",
        ),
        (
            misbehave("{refuse_status: 503}"),
            knob("refuse_status"),
            "needs `refuse_every`",
        ),
        (
            misbehave("{refuse_every: 2, refuse_status: 101}"),
            knob("refuse_status"),
            "300 to 599",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &path, text)]);
    }
    let patch = embedded("{one_port: true}");
    one_problem(Level::Warning, &[(&patch, &at("one_port"), "no effect")]);
    for (knobs, endpoints) in [
        ("{}", 1),
        ("{nodes: 3}", 3),
        ("{nodes: 3, one_port: true}", 1),
    ] {
        let plan = compiled(&embedded(knobs)).plan;
        assert_eq!(plan.target().endpoints.len(), endpoints, "{knobs}");
    }
    let plan = compiled(&embedded("{tls: true}")).plan;
    assert!(plan.target().endpoints[0].tls);
    assert_eq!(plan.upgrade(1).path(3).as_text(), Some("/ws"));
}

#[test]
fn variables_are_checked() {
    let var = |var: &str| format!("{{clients: {{sub: {{vars: {var}}}}}}}");
    let path = "clients.sub.vars";
    for (patch, key, text) in [
        (var("{'1a': {sequence: 1}}"), "1a", "begins with no digit"),
        (var("{a-b: {sequence: 1}}"), "a-b", "letters"),
        (var("{topic: {sequence: 1}}"), "topic", "built in"),
        (var("{a: {cycle: []}}"), "a.cycle", "empty"),
        (
            var("{a: {random: {choice: []}}}"),
            "a.random.choice",
            "empty",
        ),
        (
            var("{a: {random: {int: [2, 1]}}}"),
            "a.random.int",
            "larger than the second",
        ),
        (
            var("{a: {random: {hex: 0}}}"),
            "a.random.hex",
            "from 1 to 4096",
        ),
        (
            var("{a: {random: {hex: 4097}}}"),
            "a.random.hex",
            "from 1 to 4096",
        ),
        (
            var("{a: {csv: {file: users.csv, column: nmae}}}"),
            "a.csv.column",
            "did you mean `name`?",
        ),
        (
            var("{a: {csv: {file: empty.csv, column: name}}}"),
            "a.csv.file",
            "no line",
        ),
        (
            var("{a: {csv: {file: broken.csv, column: name}}}"),
            "a.csv.file",
            "cannot be read",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}.{key}"), text)]);
    }
    let vars = "{a: {cycle: [x, 1, true, 1.5]}, b: {sequence: -3}, c: {random: {int: [5, 5]}}, \
                d: {random: {hex: 4096}}, e: {csv: {file: users.csv, column: token}}, f: {random: {choice: [z]}}}";
    let plan = compiled(&var(vars)).plan;
    let texts = |list: &[&str]| list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
    let sources: Vec<VarSource> = plan.groups()[0]
        .vars
        .iter()
        .map(|v| v.source.clone())
        .collect();
    let expected = [
        VarSource::Cycle(texts(&["x", "1", "true", "1.5"])),
        VarSource::Sequence(-3),
        VarSource::Int(5, 5),
        VarSource::Hex(4096),
        VarSource::Cycle(texts(&["a1", "b2", "c3"])),
        VarSource::Choice(texts(&["z"])),
    ];
    assert_eq!(sources, expected);
}

#[test]
fn steps_capture_before_they_use() {
    let steps = |steps: &str| {
        format!("{{clients: {{sub: {{vars: {{u: {{sequence: 1}}}}, on_open: {steps}}}}}}}")
    };
    let path = "clients.sub.on_open";
    for (patch, key, text) in [
        (
            steps("[{send: '{s}'}, {expect: {capture: {s: /s}}}]"),
            "[0].send",
            "before it is captured",
        ),
        (
            steps("[{expect: {contains: '{s}', capture: {s: /s}}}]"),
            "[0].expect.contains",
            "before it is captured",
        ),
        (
            steps("[{expect: {capture: {u: /s}}}]"),
            "[0].expect.capture.u",
            "already",
        ),
        (
            steps("[{expect: {capture: {s: s}}}]"),
            "[0].expect.capture.s",
            "begins with a `/`",
        ),
        (
            steps("[{expect: {capture: {id: /s}}}]"),
            "[0].expect.capture.id",
            "built in",
        ),
        (
            steps("[{expect: {equals: x}}]"),
            "[0].expect.equals",
            "needs `pointer`",
        ),
        (
            steps("[{expect: {pointer: '/a~2'}}]"),
            "[0].expect.pointer",
            "`~0`",
        ),
        (
            steps("[{expect: {within: 0s}}]"),
            "[0].expect.within",
            "more than 0",
        ),
        (steps("[{send: '{id}'}]"), "[0].send", "no meaning here"),
        (
            steps("[{send: '{usr} {u}'}]"),
            "[0].send",
            "unknown variable `usr`",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    let plan = compiled(&steps(
        "[{send: '{\"u\":{u}}'}, {expect: {pointer: /t, equals: 5, capture: {s: /s}}}, {pause: 1s}, {send: '{s}'}]",
    ))
    .plan;
    let steps = &plan.groups()[0].on_open;
    let Step::Send(first) = &steps[0] else {
        panic!("{steps:?}")
    };
    assert_eq!(
        first.parts,
        [
            Part::Text("{\"u\":".into()),
            Part::Var(0),
            Part::Text("}".into())
        ]
    );
    let Step::Expect(expect) = &steps[1] else {
        panic!("{steps:?}")
    };
    assert_eq!(expect.capture, [(1, "/s".to_owned())]);
    assert_eq!(expect.within, Duration::from_secs(5));
    assert_eq!(expect.matching.equals, Some(Template::text("5")));
    assert!(matches!(&steps[2], Step::Pause(time) if *time == Duration::from_secs(1)));
    let Step::Send(last) = &steps[3] else {
        panic!("{steps:?}")
    };
    assert_eq!(last.parts, [Part::Var(1)]);
    assert_eq!(plan.groups()[0].vars[1].source, VarSource::Captured);
}

#[test]
fn a_captured_variable_may_name_a_topic_but_not_an_address() {
    let steps = "on_open: [{expect: {capture: {room: /r}}}]";
    let ok = format!("{{clients: {{sub: {{{steps}, subscribe: ['{{room}}']}}}}}}");
    // Who hears whom is then known only later: no warning.
    assert_eq!(found(&ok), []);
    let header = format!("{{clients: {{sub: {{{steps}, headers: {{A: '{{room}}'}}}}}}}}");
    let problems = found(&header);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].path, "clients.sub.headers.A");
}

#[test]
fn publishes_are_checked() {
    let publish = |publish: &str| format!("{{clients: {{pub: {{publish: {publish}}}}}}}");
    let path = "clients.pub.publish";
    for (patch, key, text) in [
        (publish("{topic: null}"), "", "no"),
        (publish("{topic: ''}"), ".topic", "empty"),
        (
            publish("{topic: '{tenant}'}"),
            ".topic",
            "unknown variable `tenant`",
        ),
        (publish("{topic: '{id}'}"), ".topic", "no meaning here"),
        (publish("{rate: 0/s}"), ".rate", "more than 0"),
        (
            publish("{rate: {per_connection: 0/s}}"),
            ".rate.per_connection",
            "more than 0",
        ),
        (
            publish("{rate: 4000001/s}"),
            ".rate",
            "more than this machine can offer",
        ),
        (
            publish("{rate: {per_connection: 1000001/s}}"),
            ".rate.per_connection",
            "more than this machine",
        ),
        (publish("{size: 47B}"), ".size", "48B is the least"),
        (
            publish("{size: {uniform: [47B, 48B]}}"),
            ".size.uniform[0]",
            "48B is the least",
        ),
        (
            publish("{size: {uniform: [50B, 49B]}}"),
            ".size.uniform",
            "larger than the second",
        ),
        (
            publish("{size: {exponential: {mean: 10B, max: 47B}}}"),
            ".size.exponential.max",
            "48B is the least",
        ),
        (
            publish("{size: {exponential: {mean: 0B, max: 48B}}}"),
            ".size.exponential.mean",
            "more than 0",
        ),
        (
            publish("{size: {exponential: {mean: 49B, max: 48B}}}"),
            ".size.exponential",
            "mean is larger",
        ),
        (publish("{size: 65MiB}"), ".size", "more than a payload's"),
        (publish("{size: 2MiB}"), ".size", "raise `target.max_queue`"),
        (
            publish("{size: 64B, payload: x}"),
            ".size",
            "beside a payload",
        ),
        (
            publish("{size: 64B, payload_file: payload.json}"),
            ".size",
            "beside a payload",
        ),
        (
            publish("{payload: x, payload_file: payload.json}"),
            "",
            "exclude each other",
        ),
        (
            publish("{payload_file: binary}"),
            ".payload_file",
            "not UTF-8",
        ),
        (
            publish("{payload: '{nope}'}"),
            ".payload",
            "unknown variable `nope`",
        ),
        (publish("{in: stedy}"), ".in", "did you mean `steady`?"),
        (publish("{in: [ramp, x]}"), ".in[1]", "known: ramp, steady"),
        (publish("{in: []}"), ".in", "never active"),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    assert_eq!(found(&publish("{rate: 4000/s, size: 48B}")), []);
    one_problem(
        Level::Error,
        &[(
            "{clients: {pub: {count: 0}}}",
            "clients.pub.count",
            "more than 0",
        )],
    );
    one_problem(
        Level::Error,
        &[(
            "{clients: {pub: {publish: [{topic: t, rate: 1/s}, {topic: t, rate: 0/s}]}}}",
            "clients.pub.publish[1].rate",
            "0",
        )],
    );
}

#[test]
fn publishes_are_compiled() {
    let publish = |publish: &str| {
        let plan = compiled(&format!("{{clients: {{pub: {{publish: {publish}}}}}}}")).plan;
        plan.groups()[1].publish[0].clone()
    };
    let plain = publish("{}");
    assert_eq!(plain.size, Size::Fixed(128));
    assert_eq!(plain.profile.arrivals, Arrivals::Constant);
    let second = Duration::from_secs(1);
    let whole = |rate| {
        vec![Segment {
            start: Duration::ZERO,
            end: second * 30,
            rate,
        }]
    };
    assert_eq!(plain.profile.segments, whole(100.0));
    assert_eq!(
        publish("{rate: {per_connection: 5/s}}").profile.segments,
        whole(20.0)
    );
    assert_eq!(
        publish("{arrivals: poisson}").profile.arrivals,
        Arrivals::Poisson
    );
    let late = publish("{in: steady}").profile.segments;
    assert_eq!(
        late,
        [Segment {
            start: second * 10,
            end: second * 30,
            rate: 100.0
        }]
    );
    assert_eq!(
        publish("{size: {uniform: [48B, 1KiB]}}").size,
        Size::Uniform(48, 1024)
    );
    assert_eq!(
        publish("{size: {exponential: {mean: 100B, max: 1KiB}}}").size,
        Size::Exponential {
            mean: 100.0,
            max: 1024
        }
    );
    let with = publish("{payload_file: payload.json}");
    assert_eq!(with.payload.as_text(), Some("{\"hello\":\"world\"}"));
    assert_eq!(with.size, Size::Fixed(17 + 48));
}

#[test]
fn raw_has_no_topics() {
    one_problem(
        Level::Error,
        &[
            (
                "{clients: {sub: {protocol: raw}}}",
                "clients.sub.subscribe",
                "no subscriptions",
            ),
            (
                "{clients: {pub: {protocol: raw}}}",
                "clients.pub.publish.topic",
                "no topics",
            ),
        ],
    );
    let patch = "{clients: {sub: null, pub: {protocol: raw, publish: {topic: null}, request: {rate: 1/s}}}, \
                 phases: [{name: a, for: 1s}]}";
    assert_eq!(found(patch), []);
    let plan = compiled(patch).plan;
    assert_eq!(plan.groups()[0].protocol, ProtocolConfig::Raw);
    let request = &plan.groups()[0].request[0];
    assert_eq!(request.reply, Reply::Stamp);
    assert_eq!(request.send.parts, [Part::Builtin(Builtin::Payload)]);
}

#[test]
fn requests_are_checked() {
    let request = |request: &str| format!("{{clients: {{sub: {{request: {request}}}}}}}");
    let path = "clients.sub.request";
    for (patch, key, text) in [
        (request("{rate: 0/s}"), ".rate", "more than 0"),
        (
            request("{rate: 1/s, send: x}"),
            ".send",
            "put `{id}` into `send`",
        ),
        (
            request("{rate: 1/s, send: x, reply: stamp}"),
            ".send",
            "put `{payload}` into `send`",
        ),
        (
            request("{rate: 1/s, reply: {id: id}}"),
            ".reply.id",
            "begins with a `/`",
        ),
        (
            request("{rate: 1/s, reply: {contains: ''}}"),
            ".reply.contains",
            "every message",
        ),
        (
            request("{rate: 1/s, timeout: 0s}"),
            ".timeout",
            "more than 0",
        ),
        (
            request("{rate: 1/s, size: 47B}"),
            ".size",
            "48B is the least",
        ),
        (
            request("{rate: 1/s, send: '{id}', size: 64B}"),
            ".size",
            "does not have",
        ),
        (
            request("{rate: 1/s, send: '{id}{x}'}"),
            ".send",
            "unknown variable `x`",
        ),
        (
            request("{rate: 1/s, send: '{id}{topic}'}"),
            ".send",
            "no meaning here",
        ),
        (
            request("{rate: 1/s, in: rmap}"),
            ".in",
            "did you mean `ramp`?",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    let plan = compiled(&request(
        "[{rate: 3/s}, {name: b, rate: 1/s, send: q, reply: {contains: a}, timeout: 1s}]",
    ))
    .plan;
    let [a, b] = plan.groups()[0].request.as_slice() else {
        panic!()
    };
    assert_eq!(
        (a.name.as_str(), &a.reply, a.size, a.timeout),
        (
            "request",
            &Reply::Id("/id".into()),
            Size::Fixed(64),
            Duration::from_secs(5)
        )
    );
    assert!(
        a.send.parts.contains(&Part::Builtin(Builtin::Id))
            && a.send.parts.contains(&Part::Builtin(Builtin::Payload))
    );
    assert_eq!(
        (b.name.as_str(), &b.reply, b.timeout),
        ("b", &Reply::Contains("a".into()), Duration::from_secs(1))
    );
}

#[test]
fn subscriptions_are_checked() {
    one_problem(
        Level::Error,
        &[
            (
                "{clients: {sub: {subscribe: [t, '']}}}",
                "clients.sub.subscribe[1]",
                "empty",
            ),
            (
                "{clients: {sub: {subscribe: [t, t]}}}",
                "clients.sub.subscribe[1]",
                "twice",
            ),
            (
                "{clients: {sub: {subscribe: ['{x}']}}}",
                "clients.sub.subscribe[0]",
                "unknown variable `x`",
            ),
        ],
    );
}

#[test]
fn who_hears_whom_is_looked_at() {
    one_problem(
        Level::Warning,
        &[
            (
                "{clients: {sub: {subscribe: [u]}}}",
                "clients.pub.publish",
                "no client group subscribes",
            ),
            (
                "{clients: {pub: {publish: [{topic: t, rate: 1/s}, {topic: v, rate: 1/s}]}}}",
                "clients.pub.publish[1]",
                "no client group subscribes",
            ),
        ],
    );
    // Ten subscribers over two tenants, publishers in one of three: on the average 5/3 hear a message.
    let fan = "{clients: {sub: {vars: {t: {cycle: [a, b]}}, subscribe: ['{t}/x']}, \
               pub: {count: 3, vars: {t: {cycle: [a, c, d]}}, publish: {topic: '{t}/x'}}}}";
    let needs = compiled(fan).needs;
    assert_eq!(needs.publishes, 3_000.0);
    assert!(
        (needs.deliveries - 5_000.0).abs() < 1e-6,
        "{}",
        needs.deliveries
    );
}

#[test]
fn mappings_are_checked() {
    let mapping =
        |mapping: &str| format!("{{clients: {{sub: {{protocol: {{json_mapping: {mapping}}}}}}}}}");
    let path = "clients.sub.protocol.json_mapping";
    for (patch, key, text) in [
        (
            mapping("{subscribe: '{\"t\":\"{topik}\",\"x\":\"{topic}\"}'}"),
            ".subscribe",
            "did you mean `topic`?",
        ),
        (mapping("{subscribe: hello}"), ".subscribe", "no `{topic}`"),
        (
            mapping("{publish: '{topic}'}"),
            ".publish",
            "no `{payload}`",
        ),
        (
            mapping("{publish: '{payload} {length}'}"),
            ".publish",
            "is of the `{payload}` behind it",
        ),
        (
            mapping("{publish: '{length} {length} {payload}'}"),
            ".publish",
            "stands once",
        ),
        (mapping("{type: type}"), ".type", "begins with a `/`"),
        (mapping("{topic: t}"), ".topic", "begins with a `/`"),
        (mapping("{sequence: s}"), ".sequence", "begins with a `/`"),
        (mapping("{payload: p}"), ".payload", "begins with a `/`"),
        (
            mapping("{subscribed: {when: {}}}"),
            ".subscribed.when",
            "every message would match",
        ),
        (
            mapping("{subscribed: {when: {contains: x, equals: y}}}"),
            ".subscribed.when.equals",
            "needs `pointer`",
        ),
        (
            mapping("{subscribed: {when: {pointer: x}}}"),
            ".subscribed.when.pointer",
            "begins with a `/`",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    let plan = compiled(&mapping(
        "{subscribe: 'S{topic}', subscribed: {when: {contains: ok, pointer: /a, equals: 1}}, publish: 'P{payload}', \
         type: /y, message: m, error: e, topic: /t, sequence: /s, payload: ''}",
    ))
    .plan;
    let ProtocolConfig::Json(got) = &plan.groups()[0].protocol else {
        panic!()
    };
    let expected = crate::protocol::Mapping {
        subscribe: "S{topic}".into(),
        subscribed: Some(crate::protocol::Condition {
            contains: "ok".into(),
            pointer: "/a".into(),
            equals: Some("1".into()),
        }),
        publish: "P{payload}".into(),
        r#type: "/y".into(),
        message: "m".into(),
        error: "e".into(),
        topic: "/t".into(),
        sequence: "/s".into(),
        payload: String::new(),
        // The default dialect's says nothing of a service that subscribes in another way.
        resubscribe: String::new(),
        ..Default::default()
    };
    assert_eq!(**got, expected);
    let plan = compiled(&mapping("{subscribed: none}")).plan;
    let ProtocolConfig::Json(got) = &plan.groups()[0].protocol else {
        panic!()
    };
    assert_eq!(
        **got,
        crate::protocol::Mapping {
            subscribed: None,
            ..Default::default()
        }
    );
}

#[test]
fn life_cycles_are_checked() {
    let sub = |sub: &str| format!("{{clients: {{sub: {sub}}}}}");
    for (patch, key, text) in [
        (
            sub("{heartbeat: {every: 0s, timeout: 1s}}"),
            "heartbeat.every",
            "more than 0",
        ),
        (
            sub("{heartbeat: {every: 1s, timeout: 0s}}"),
            "heartbeat.timeout",
            "more than 0",
        ),
        (
            sub("{reconnect: {base: 0s}}"),
            "reconnect.base",
            "more than 0",
        ),
        (
            sub("{reconnect: {base: 2s, cap: 1s}}"),
            "reconnect.cap",
            "smaller than the first",
        ),
        (
            sub("{reconnect: {attempts: 0}}"),
            "reconnect.attempts",
            "more than 0",
        ),
        (
            sub("{lifetime: {fixed: 0s}}"),
            "lifetime.fixed",
            "more than 0",
        ),
        (
            sub("{lifetime: {uniform: [0s, 0s]}}"),
            "lifetime.uniform",
            "more than 0",
        ),
        (
            sub("{lifetime: {uniform: [2s, 1s]}}"),
            "lifetime.uniform",
            "longer than the second",
        ),
        (
            sub("{lifetime: {exponential: 0s}}"),
            "lifetime.exponential",
            "more than 0",
        ),
    ] {
        one_problem(
            Level::Error,
            &[(&patch, &format!("clients.sub.{key}"), text)],
        );
    }
    let reconnect = |text: &str| {
        compiled(&sub(&format!("{{reconnect: {text}}}")))
            .plan
            .groups()[0]
            .reconnect
            .clone()
            .unwrap()
    };
    let defaults = reconnect("{}");
    assert_eq!(
        (defaults.backoff, defaults.attempts),
        (Backoff::FullJitter, None)
    );
    assert_eq!(
        (defaults.base, defaults.cap),
        (Duration::from_millis(500), Duration::from_secs(30))
    );
    assert_eq!(reconnect("{base: 60s}").cap, Duration::from_secs(60));
    for (name, backoff) in [
        ("no_jitter", Backoff::NoJitter),
        ("full_jitter", Backoff::FullJitter),
        ("equal_jitter", Backoff::EqualJitter),
        ("decorrelated", Backoff::Decorrelated),
    ] {
        assert_eq!(
            reconnect(&format!("{{backoff: {name}, attempts: 3}}")).backoff,
            backoff
        );
    }
    let second = Duration::from_secs(1);
    for (text, lifetime) in [
        ("forever", Lifetime::Forever),
        ("{fixed: 1s}", Lifetime::Fixed(second)),
        ("{uniform: [1s, 2s]}", Lifetime::Uniform(second, second * 2)),
        ("{exponential: 1s}", Lifetime::Exponential(second)),
    ] {
        assert_eq!(
            compiled(&sub(&format!("{{lifetime: {text}}}")))
                .plan
                .groups()[0]
                .lifetime,
            lifetime
        );
    }
    let heartbeat = compiled(&sub("{heartbeat: {every: 2s, timeout: 1s}}"))
        .plan
        .groups()[0]
        .heartbeat;
    assert_eq!(
        heartbeat,
        Some(Heartbeat {
            every: second * 2,
            timeout: second
        })
    );
}

#[test]
fn openings_are_checked() {
    let open = |open: &str| {
        format!("{{phases: [{{name: a, for: 10s, open: {open}}}, {{name: b, for: 10s}}]}}")
    };
    let path = "phases[0].open";
    for (patch, key, text) in [
        (open("{subs: linear}"), "subs", "did you mean `sub`?"),
        (open("{sub: {rate: 0/s}}"), "sub.rate", "more than 0"),
        (
            open("{sub: {rate: 0.9/s}}"),
            "sub.rate",
            "open at 1/s or more",
        ),
        (
            open("{sub: {stages: [{to: 5, over: 5s}, {to: 4, over: 5s}, {to: 10, over: 0s}]}}"),
            "sub.stages[1].to",
            "fewer than the 5",
        ),
        (
            open("{sub: {stages: [{to: 11, over: 5s}]}}"),
            "sub.stages[0].to",
            "more than the group's 10",
        ),
        (
            open("{sub: {stages: [{to: 5, over: 5s}, {to: 10, over: 6s}]}}"),
            "sub.stages",
            "take 11.0 s",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}.{key}"), text)]);
    }
    one_problem(
        Level::Warning,
        &[(
            &open("{sub: {stages: [{to: 5, over: 5s}]}}"),
            "phases[0].open.sub.stages",
            "open 5 of 10",
        )],
    );
    one_problem(
        Level::Error,
        &[
            (
                "{phases: [{name: a, for: 1s, open: {sub: linear}}, {name: b, for: 1s, open: {sub: linear}}]}",
                "phases[1].open.sub",
                "already opens in phase `a`",
            ),
            (
                "{phases: [{name: a, for: 0s}]}",
                "phases[0].for",
                "more than 0",
            ),
            (
                "{phases: [{name: a, for: 5000h}, {name: b, for: 5000h}]}",
                "phases",
                "longer than a year",
            ),
        ],
    );
    let s = Duration::from_secs;
    for (text, knots) in [
        ("{}", vec![(s(0), 10)]),
        ("{sub: all_at_once}", vec![(s(0), 10)]),
        ("{sub: linear}", vec![(s(0), 0), (s(10), 10)]),
        ("{sub: {rate: 1/s}}", vec![(s(0), 0), (s(10), 10)]),
        ("{sub: {rate: 5/s}}", vec![(s(0), 0), (s(2), 10)]),
        (
            "{sub: {stages: [{to: 4, over: 2s}, {to: 10, over: 8s}]}}",
            vec![(s(0), 0), (s(2), 4), (s(10), 10)],
        ),
    ] {
        assert_eq!(
            compiled(&open(text)).plan.groups()[0].opening.knots,
            knots,
            "{text}"
        );
    }
    let later = "{phases: [{name: a, for: 10s}, {name: b, for: 10s, open: {sub: all_at_once}}]}";
    assert_eq!(
        compiled(later).plan.groups()[0].opening.knots,
        [(s(10), 10)]
    );
}

#[test]
fn drops_are_checked() {
    let back = "{clients: {sub: {reconnect: {}}}, phases: [{name: a, for: 10s}, {name: b, for: 10s, faults: [{drop: ";
    let drop = |drop: &str| format!("{back}{drop}}}]}}]}}");
    let path = "phases[1].faults[0].drop";
    for (body, key, text) in [
        (
            "{clients: subs, share: 10%, how: fin}",
            ".clients",
            "did you mean `sub`?",
        ),
        (
            "{clients: sub, share: 0%, how: fin}",
            ".share",
            "more than 0",
        ),
        (
            "{clients: sub, share: 4%, how: fin}",
            ".share",
            "4% of the 10 connections of `sub` is none",
        ),
        (
            "{clients: sub, count: 0, how: fin}",
            ".count",
            "more than 0",
        ),
        (
            "{clients: sub, count: 11, how: fin}",
            ".count",
            "more than the group's 10",
        ),
        (
            "{clients: sub, count: 1, share: 10%, how: fin}",
            "",
            "exclude each other",
        ),
        ("{clients: sub, how: fin}", "", "give `share`, such as 10%"),
        (
            "{clients: sub, count: 1, how: reset, code: 1001}",
            ".code",
            "say `how: close`",
        ),
        (
            "{clients: sub, count: 1, how: close, code: 1005}",
            ".code",
            "1005 is not a code that a Close frame may carry",
        ),
        (
            "{clients: sub, count: 1, how: close, code: 1006}",
            ".code",
            "such as 1000",
        ),
        (
            "{clients: sub, count: 1, how: close, code: 1015}",
            ".code",
            "1015 is not",
        ),
        (
            "{clients: sub, count: 1, how: close, code: 2999}",
            ".code",
            "2999 is not",
        ),
        (
            "{clients: sub, count: 1, how: fin, after: 10s}",
            ".after",
            "begins after phase `b` is over (10.0 s)",
        ),
        (
            "{clients: sub, count: 1, how: fin, after: 4s, over: 7s}",
            ".over",
            "there are 6s left",
        ),
    ] {
        one_problem(
            Level::Error,
            &[(&drop(body), &format!("{path}{key}"), text)],
        );
    }
    // Everything wrong with one at once.
    let problems = found(&drop("{clients: nobody, how: fin, code: 1000, after: 11s}"));
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(
        paths,
        [".code", ".after", ".clients"].map(|key| format!("{path}{key}"))
    );
}

#[test]
fn whoever_cannot_come_back_is_warned_of() {
    let patch = "{phases: [{name: a, for: 10s, faults: [{drop: {clients: sub, count: 1, how: fin, after: 1s}}]}]}";
    one_problem(
        Level::Warning,
        &[(
            patch,
            "phases[0].faults[0].drop.clients",
            "give `clients.sub.reconnect`",
        )],
    );
}

#[test]
fn drops_are_planned_in_number_way_and_time() {
    use crate::plan::fault::{Action, Effect, Hit, How, PlannedFault};
    let ms = Duration::from_millis;
    for (body, label, victims, how, start, end) in [
        (
            "share: 25%, how: reset",
            "25% of sub reset",
            3,
            How::Reset,
            10_000,
            10_000,
        ),
        (
            "share: 100%, how: close, over: 10s",
            "100% of sub closed with 1001 over 10s",
            10,
            How::Close(1001),
            10_000,
            20_000,
        ),
        (
            "count: 2, how: close, code: 4000, after: 1s, over: 500ms",
            "2 of sub closed with 4000 over 500ms",
            2,
            How::Close(4000),
            11_000,
            11_500,
        ),
        (
            "share: 14%, how: fin, over: 0s",
            "14% of sub ended by FIN",
            1,
            How::Fin,
            10_000,
            10_000,
        ),
        (
            "count: 10, how: vanish, after: 9999ms",
            "10 of sub vanished",
            10,
            How::Vanish,
            19_999,
            19_999,
        ),
    ] {
        let patch = format!(
            "{{clients: {{sub: {{reconnect: {{}}}}}}, phases: [{{name: a, for: 10s}}, \
             {{name: b, for: 10s, faults: [{{drop: {{clients: sub, {body}}}}}]}}]}}"
        );
        let compiled = compiled(&patch);
        assert_eq!(compiled.warnings, [], "{body}");
        let planned = PlannedFault {
            label: label.into(),
            start: ms(start),
            end: ms(end),
            action: Action::Hit(Hit {
                group: 0,
                victims,
                over: ms(end - start),
                effect: Effect::Cut(how),
            }),
        };
        assert_eq!(compiled.plan.phases()[1].faults, [planned], "{body}");
    }
}

#[test]
fn gates_are_checked() {
    let found = |gate: &str| {
        let mut scenario = scenario("{}");
        scenario.gates = vec!["latency p99 < 250ms in steady".into(), gate.into()];
        compile(&scenario, &files(), &machine()).map_or_else(
            |p| p,
            |c| {
                assert_eq!(c.gates.len(), 2);
                c.warnings
            },
        )
    };
    assert_eq!(found("lost == 0"), []);
    for gate in [
        "latnecy p99 < 1s",
        "latency p99 < 1s in stedy",
        "latency p99 <",
    ] {
        let problems = found(gate);
        assert_eq!(problems.len(), 1, "{gate}: {problems:?}");
        assert_eq!(
            (problems[0].path.as_str(), problems[0].level),
            ("gates[1]", Level::Error)
        );
    }
    assert!(
        found("latency p99 < 1s in stedy")[0]
            .help
            .as_deref()
            .unwrap_or_default()
            .contains("steady")
    );
}

#[test]
fn the_generator_is_checked() {
    let generator = |generator: &str| format!("{{generator: {generator}}}");
    for (patch, key, text) in [
        (generator("{shards: 0}"), "shards", "more than 0"),
        (generator("{shards: 1025}"), "shards", "1024"),
        (
            generator("{sources: [127.0.0.2, here]}"),
            "sources[1]",
            "not an IP address",
        ),
        (
            generator("{sources: [127.0.0.2, 127.0.0.2]}"),
            "sources[1]",
            "twice",
        ),
        (generator("{max_lag: 0s}"), "max_lag", "more than 0"),
        (generator("{max_cpu: 0%}"), "max_cpu", "more than 0"),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("generator.{key}"), text)]);
    }
    one_problem(
        Level::Warning,
        &[(&generator("{shards: 15}"), "generator.shards", "14 are run")],
    );
    let plan = compiled("{}").plan;
    let defaults = plan.generator();
    assert_eq!(
        (defaults.max_lag, defaults.drain),
        (Duration::from_millis(100), Duration::from_secs(5))
    );
    assert_eq!((defaults.max_cpu, defaults.shards), (0.95, 1));
    let plan = compiled(&generator(
        "{shards: 3, max_lag: 1s, max_cpu: 50%, drain: 0s, sources: ['::1']}",
    ))
    .plan;
    assert_eq!(plan.generator().shards, 3);
    assert_eq!(
        (plan.generator().max_cpu, plan.generator().drain),
        (0.5, Duration::ZERO)
    );
    assert_eq!(
        plan.source_of(7, "::2".parse().unwrap()),
        Some("::1".parse().unwrap())
    );
}

#[test]
fn what_is_likely_too_much_is_a_warning() {
    one_problem(
        Level::Warning,
        &[
            (
                "{clients: {sub: {count: 2000}}}",
                "clients",
                "about 200100 messages per second, on 2 cores",
            ),
            (
                "{clients: {sub: {count: 30k, subscribe: [x]}, pub: null}, phases: [{name: a, for: 1s, open: {sub: linear}}]}",
                "clients.sub",
                "opens 30000 connections per second",
            ),
            (
                "{clients: {sub: {count: 21k, subscribe: [x], lifetime: {fixed: 1s}}, pub: null}}",
                "clients.sub.lifetime",
                "replaces 21000 connections per second",
            ),
        ],
    );
}

#[test]
fn connections_and_streams_have_their_numbers() {
    one_problem(
        Level::Error,
        &[(
            "{clients: {sub: {count: 5000000000, subscribe: null}}}",
            "clients.sub.count",
            "2³²",
        )],
    );
    one_problem(
        Level::Error,
        &[(
            "{clients: {sub: {count: 3000000000}, pub: {publish: [{topic: t, rate: 1/s}, {topic: t, rate: 1/s}]}}}",
            "clients",
            "publish streams",
        )],
    );
    let plan =
        compiled("{clients: {pub: {publish: [{topic: t, rate: 1/s}, {topic: t, rate: 2/s}]}}}")
            .plan;
    assert_eq!(plan.connections(), 14);
    assert_eq!(plan.streams(), 28);
    assert_eq!(
        (plan.stream(10, 0), plan.stream(10, 1), plan.stream(11, 0)),
        (20, 21, 22)
    );
    assert_eq!(
        (plan.stream_owner(21), plan.stream_owner(22)),
        ((10, 1), (11, 0))
    );
    assert_eq!((plan.groups()[0].first, plan.groups()[1].first), (0, 10));
    assert_eq!(
        (
            plan.group_of(0),
            plan.group_of(9),
            plan.group_of(10),
            plan.group_of(99)
        ),
        (0, 0, 1, 1)
    );
    let ms = |n: u64| n * 1_000_000;
    assert_eq!(
        (
            plan.phase_at(0),
            plan.phase_at(ms(9_999)),
            plan.phase_at(ms(10_000)),
            plan.phase_at(ms(99_000))
        ),
        (0, 0, 1, 1)
    );
    assert_eq!((Plan::shard_of(7, 2), Plan::shard_of(8, 2)), (1, 0));
}

#[test]
fn every_endpoint_and_source_has_its_even_share() {
    let plan = compiled(
        "{target: {url: ['ws://a', 'ws://b', 'ws://c']}, generator: {sources: [127.0.0.2, 127.0.0.3]}}",
    )
    .plan;
    let mut used = std::collections::BTreeMap::new();
    for c in 0..6_000 {
        let pair = (
            plan.endpoint_of(c),
            plan.source_of(c, [127, 0, 0, 1].into())
                .unwrap()
                .to_string(),
        );
        *used.entry(pair).or_insert(0) += 1;
    }
    assert_eq!(used.len(), 6, "{used:?}");
    assert!(used.values().all(|count| *count == 1_000), "{used:?}");
    assert_eq!([0, 1, 2].map(|c| plan.endpoint_of(c)), [0, 1, 2]);
    assert_eq!(
        compiled("{}").plan.source_of(0, [127, 0, 0, 1].into()),
        None
    );
}

#[test]
fn every_shard_meets_every_endpoint() {
    let plan = compiled("{target: {url: ['ws://a', 'ws://b', 'ws://c', 'ws://d']}}").plan;
    for shards in [1, 2, 3, 4, 8, 16, 64] {
        for shard in 0..shards {
            let own = (0..64_000u32).filter(|c| Plan::shard_of(*c, shards) == shard);
            let mut counts = [0u32; 4];
            own.for_each(|c| counts[plan.endpoint_of(c)] += 1);
            let (all, least) = (counts.iter().sum::<u32>(), counts.iter().min().unwrap());
            assert!(least * 5 >= all, "shard {shard} of {shards}: {counts:?}");
        }
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let problems = found(
        "{target: {url: 'http://x'}, clients: {pub: {publish: {rate: 0/s, in: nope}}}, generator: {shards: 0}, \
         gates: ['nonsense'], phases: [{name: a, for: 0s, open: {x: linear}}]}",
    );
    let mut paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "clients.pub.publish.in",
        "clients.pub.publish.rate",
        "gates[0]",
        "generator.shards",
        "phases[0].for",
        "phases[0].open.x",
        "target.url",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn problems_have_their_place_in_the_document() {
    let text = "name: x\ntarget: { url: 'ws://h' }\nclients:\n  pub: { count: 1, publish: { topic: t, rate: 0/s } }\n\
                phases:\n  - { name: a, for: 1s, open: { pubs: linear } }\n";
    let document = crate::scenario::parse("x.yaml", text, None, &Default::default()).unwrap();
    let problems = compile(document.scenario(), document.files(), &machine()).unwrap_err();
    let report = document.report(problems);
    let places: Vec<(usize, usize)> = report
        .problems()
        .iter()
        .map(|p| p.place.as_ref().map_or((0, 0), |p| (p.line, p.column)))
        .collect();
    let column = |line: usize, part: &str| {
        text.lines()
            .nth(line - 1)
            .and_then(|l| l.find(part))
            .unwrap()
            + 1
    };
    assert_eq!(places, [(4, column(4, "0/s")), (6, column(6, "pubs"))]);
}

#[test]
fn the_plan_survives_its_way_to_a_shard() {
    let plan = compiled("{clients: {sub: {vars: {a: {sequence: 1}}, on_open: [{send: '{a}'}], request: {rate: 1/s}}}}").plan;
    let bytes = postcard::to_stdvec(&plan).unwrap();
    let back: Plan = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(format!("{plan:?}"), format!("{back:?}"));
}

#[test]
fn what_is_shipped_compiles_without_a_word() {
    let compiles = |name: &str, text: &str| {
        let document = crate::scenario::parse(name, text, None, &Default::default())
            .unwrap_or_else(|report| panic!("{name}: {report}"));
        let compiled = compile(document.scenario(), document.files(), &machine());
        let compiled = compiled.unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
        assert_eq!(compiled.warnings, [], "{name}");
        assert_eq!(compiled.needs.shortages, [], "{name}");
    };
    compiles("starter", crate::scenario::STARTER);
    compiles(
        "quickstart",
        include_str!("../../../scenarios/quickstart.yaml"),
    );
    compiles("capacity", include_str!("../../../scenarios/capacity.yaml"));
    compiles(
        "haproxy-roll",
        include_str!("../../../scenarios/haproxy-roll.yaml"),
    );
    compiles(
        "haproxy-reload",
        include_str!("../../../scenarios/haproxy-reload.yaml"),
    );
    compiles(
        "echo-latency",
        include_str!("../../../scenarios/echo-latency.yaml"),
    );
}

#[test]
fn publishing_before_the_group_is_open_is_a_warning() {
    let patch = |publish: &str| {
        format!(
            "{{clients: {{pub: {{publish: {publish}}}}}, phases: [{{name: ramp, for: 10s, open: {{pub: linear}}}}, \
             {{name: steady, for: 10s}}]}}"
        )
    };
    one_problem(
        Level::Warning,
        &[(
            &patch("{}"),
            "clients.pub.publish",
            "begins 10.0 s before all of the group is to be open",
        )],
    );
    one_problem(
        Level::Warning,
        &[(
            "{clients: {sub: {request: {rate: 1/s}}}}",
            "clients.sub.request",
            "begins 10.0 s before all of the group is to be open",
        )],
    );
    assert_eq!(found(&patch("{in: steady}")), []);
}

#[test]
fn resuming_needs_what_the_service_must_tell() {
    let sub = |sub: &str| format!("{{clients: {{sub: {sub}}}}}");
    let on = "reconnect: {resume: true}";
    let mapped = |mapping: &str| sub(&format!("{{{on}, protocol: {{json_mapping: {mapping}}}}}"));
    let session = |resume: &str| sub(&format!("{{reconnect: {{resume: {resume}}}}}"));
    let path = "clients.sub.reconnect.resume";
    for (patch, key, text) in [
        (
            sub(&format!("{{{on}, subscribe: null}}")),
            "",
            "subscribes to nothing",
        ),
        (
            sub(&format!("{{{on}, subscribe: ['a.*']}}")),
            "",
            "`a.*` is a pattern",
        ),
        (mapped("{sequence: ''}"), "", "sequence numbers"),
        (mapped("{topic: ''}"), "", "which topic"),
        (mapped("{subscribed: none}"), "", "must be acknowledged"),
        (mapped("{recovered: ''}"), "", "whether it was recovered"),
        (mapped("{resubscribe: 'S{topic}'}"), "", "has no `{seq}`"),
        (
            mapped("{subscribe: 'S{topic}'}"),
            "",
            "json_mapping.resubscribe",
        ),
        (mapped("{epoch: ''}"), "", "has an `{epoch}`"),
        (session("{recovered: {contains: ok}}"), "", "give `query`"),
        (
            session("{first: x, recovered: {}}"),
            ".recovered",
            "every message would match",
        ),
        (
            session("{first: x, recovered: {contains: ok}, lost: {equals: 1, contains: a}}"),
            ".lost.equals",
            "needs `pointer`",
        ),
        (
            session("{first: '{last}', recovered: {contains: ok}}"),
            ".first",
            "no meaning here",
        ),
        (
            session("{first: x, last: seq, recovered: {contains: ok}}"),
            ".last",
            "begins with a `/`",
        ),
        (
            session("{first: x, recovered: {contains: ok}, within: 0s}"),
            ".within",
            "more than 0",
        ),
        (
            session("{headers: {Upgrade: x}, recovered: {contains: ok}}"),
            ".headers.Upgrade",
            "the upgrade itself",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    let raw =
        "{clients: {sub: {protocol: raw, subscribe: null, reconnect: {resume: true}}, pub: null}}";
    one_problem(Level::Error, &[(raw, path, "no topics")]);

    // What tells over HTTP is not asked for a session.
    let over = |transport: &str| {
        format!(
            "{{clients: {{sub: {{transport: {transport}, reconnect: {{resume: {{query: {{s: a}}, recovered: {{contains: x}}}}}}}}}}}}"
        )
    };
    for transport in ["sse", "long_poll", "[sse, long_poll]"] {
        one_problem(Level::Error, &[(&over(transport), path, "`resume: true`")]);
    }
    let both = over("[websocket, sse]");
    one_problem(Level::Warning, &[(&both, path, "no session is named")]);

    let resume = |patch: &str| compiled(patch).plan.groups()[0].resume.clone();
    assert!(resume(&sub("{reconnect: {resume: false}}")).is_none());
    assert!(matches!(
        resume(&sub(&format!("{{{on}}}"))),
        Some(Resume::Topics)
    ));
    // Without epochs, numbers alone say it.
    let own = "{subscribe: 'S{topic}', resubscribe: 'R{topic}:{seq}', epoch: ''}";
    assert!(matches!(resume(&mapped(own)), Some(Resume::Topics)));
    let Some(Resume::Session(session)) = resume(&session(
        "{query: {'a b': 'x {last}', c: d}, last: /n, recovered: {contains: ok}}",
    )) else {
        panic!()
    };
    assert_eq!(
        session.query.parts,
        [
            Part::Text("a%20b=".into()),
            Part::Text("x%20".into()),
            Part::Builtin(Builtin::Last),
            Part::Text("&c=".into()),
            Part::Text("d".into()),
        ]
    );
}

#[test]
fn what_the_embedded_gateway_keeps_is_checked() {
    let embedded = |embedded: &str| format!("{{target: {{url: null, embedded: {embedded}}}}}");
    for (patch, key, text) in [
        (
            "{history: {messages: 0}}",
            "history.messages",
            "more than 0",
        ),
        ("{history: {for: 0s}}", "history.for", "more than 0"),
        ("{history: {messages: 1025}}", "history", "raise `queue`"),
        ("{history: {}, queue: 999}", "history", "queue of 999"),
        (
            "{history: {store: 'http://h'}}",
            "history.store",
            "redis://",
        ),
        (
            "{nodes: 2, history: {store: 'redis://h'}}",
            "history.store",
            "together already",
        ),
        (
            "{history: {store: 'redis://h'}, misbehave: {reset_epoch_after: 1s}}",
            "history.store",
            "the epoch is the store's",
        ),
        (
            "{misbehave: {reset_epoch_after: 1s}}",
            "misbehave.reset_epoch_after",
            "needs `history`",
        ),
    ] {
        let path = format!("target.embedded.{key}");
        one_problem(Level::Error, &[(&embedded(patch), &path, text)]);
    }
    let unkept = "{target: {url: null, embedded: {}}, clients: {sub: {reconnect: {resume: true}}}}";
    let path = "clients.sub.reconnect.resume";
    one_problem(Level::Warning, &[(unkept, path, "target.embedded.history")]);
}
