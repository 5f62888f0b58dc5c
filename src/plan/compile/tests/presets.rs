//! The presets that come with squall: each is sound, and says and hears exactly its protocol's messages.

use super::*;
use crate::protocol::{Aside, Codec, Incoming, ProtocolConfig};
use crate::scenario::{Options, PRESETS, parse};

fn group(protocol: &str) -> String {
    format!(
        "name: t\ntarget: {{ url: 'ws://127.0.0.1:1/' }}\nclients:\n  some:\n    count: 1\n    protocol: {protocol}\n    subscribe: [t]\n    publish: {{ topic: t, rate: 1/s }}\nphases: [ {{ name: only, for: 1s }} ]\n"
    )
}

fn compiled(text: &str) -> Compiled {
    let document =
        parse("t.yaml", text, None, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    crate::plan::compile(document.scenario(), document.files(), &Machine::default())
        .unwrap_or_else(|problems| panic!("{}", document.report(problems)))
}

fn codec(name: &str) -> (Codec, ProtocolConfig) {
    let compiled = compiled(&group(name));
    let warnings = &compiled.warnings;
    assert!(
        warnings.iter().all(|w| !w.path.contains("protocol")),
        "{warnings:?}"
    );
    let config = compiled.plan.groups()[0].protocol.clone();
    (Codec::new(&config), config)
}

fn said(codec: &Codec) -> [String; 3] {
    let mut subscribe = Vec::new();
    assert!(codec.subscribe(r#"a"b"#, 3, &mut subscribe));
    let mut publish = Vec::new();
    codec.publish("t", 9).render("pay", &mut publish);
    let mut beat = Vec::new();
    codec.beat(7, &mut beat);
    [subscribe, publish, beat].map(|text| String::from_utf8(text).unwrap())
}

/// What each says: a subscription to `a"b`, a publish to `t`, a heartbeat.
#[test]
fn each_says_its_protocols_messages() {
    let table: [(&str, [&str; 3], &[&str]); 7] = [
        (
            "phoenix",
            [
                r#"["3","3","a\"b","phx_join",{}]"#,
                r#"[null,"p9","t","new_msg",{"body":"pay"}]"#,
                r#"[null,"7","phoenix","heartbeat",{}]"#,
            ],
            &[],
        ),
        (
            "centrifugo",
            [
                r#"{"id":3,"subscribe":{"channel":"a\"b","positioned":true,"recoverable":true}}"#,
                r#"{"id":9,"publish":{"channel":"t","data":"pay"}}"#,
                "",
            ],
            &[],
        ),
        (
            "pusher",
            [
                r#"{"event":"pusher:subscribe","data":{"channel":"a\"b"}}"#,
                r#"{"event":"client-message","channel":"t","data":{"body":"pay"}}"#,
                r#"{"event":"pusher:ping","data":{}}"#,
            ],
            &[],
        ),
        (
            "graphql_transport_ws",
            [
                r#"{"id":"3","type":"subscribe","payload":{"query":"subscription ($topic: String!) { message(topic: $topic) }","variables":{"topic":"a\"b"}}}"#,
                r#"{"id":"p9","type":"subscribe","payload":{"query":"mutation ($topic: String!, $payload: String!) { publish(topic: $topic, payload: $payload) }","variables":{"topic":"t","payload":"pay"}}}"#,
                r#"{"type":"ping"}"#,
            ],
            &["graphql-transport-ws"],
        ),
        (
            "action_cable",
            [
                r#"{"command":"subscribe","identifier":"a\"b"}"#,
                r#"{"command":"message","identifier":"t","data":"{\"action\":\"speak\",\"body\":\"pay\"}"}"#,
                "",
            ],
            &["actioncable-v1-json"],
        ),
        (
            "json_rpc",
            [
                r#"{"jsonrpc":"2.0","id":3,"method":"subscribe","params":["a\"b"]}"#,
                r#"{"jsonrpc":"2.0","method":"publish","params":["t","pay"]}"#,
                "",
            ],
            &[],
        ),
        (
            "nats",
            ["SUB a\"b 3\r\nPING\r\n", "PUB t 3\r\npay\r\n", ""],
            &[],
        ),
    ];
    assert_eq!(
        table.map(|(name, ..)| name),
        PRESETS.map(|preset| preset.name)
    );
    for (name, expected, subprotocols) in table {
        let (codec, config) = codec(name);
        assert_eq!(said(&codec), expected.map(String::from), "{name}");
        assert_eq!(config.subprotocols(), subprotocols, "{name}");
    }
}

#[derive(Debug, PartialEq)]
enum Heard {
    Subscribed,
    Refused,
    Error,
    Delivery(Option<&'static str>, Option<u64>),
    Ping(Option<&'static str>),
    Pong(Option<u64>),
    Other,
}

/// Messages of the form that the protocols' servers send, and what they are. What real servers send is tested in `tests/interop`.
#[test]
fn each_hears_its_protocols_messages() {
    use Heard::{Delivery, Error, Other, Ping, Pong, Refused, Subscribed};
    let table: [(&str, &str, Heard); 44] = [
        (
            "nats",
            r#"INFO {"server_id":"N","version":"2.9.10"}"#,
            Other,
        ),
        ("nats", "PING", Ping(Some("PONG\r\n"))),
        ("nats", "PONG", Subscribed),
        ("nats", "+OK", Other),
        ("nats", "MSG news 1 44", Other),
        (
            "nats",
            "-ERR 'Permissions Violation for Subscription to \"x\"'",
            Refused,
        ),
        ("nats", "sq1:AAAA", Delivery(None, None)),
        (
            "phoenix",
            r#"["1","1","t","phx_reply",{"status":"ok","response":{}}]"#,
            Subscribed,
        ),
        (
            "phoenix",
            r#"["1","1","t","phx_reply",{"status":"error","response":{"reason":"unmatched topic"}}]"#,
            Refused,
        ),
        (
            "phoenix",
            r#"[null,"7","phoenix","phx_reply",{"status":"ok","response":{}}]"#,
            Pong(Some(7)),
        ),
        (
            "phoenix",
            r#"[null,null,"t","new_msg",{"body":"x"}]"#,
            Delivery(Some("t"), None),
        ),
        ("phoenix", r#"["1",null,"t","presence_state",{}]"#, Other),
        ("phoenix", r#"["1","1","t","phx_error",{}]"#, Error),
        ("phoenix", r#"["1","1","t","phx_close",{}]"#, Other),
        (
            "centrifugo",
            r#"{"id":3,"subscribe":{"recoverable":true,"epoch":"abcd","offset":4,"positioned":true}}"#,
            Subscribed,
        ),
        (
            "centrifugo",
            r#"{"id":3,"error":{"code":103,"message":"permission denied"}}"#,
            Refused,
        ),
        (
            "centrifugo",
            r#"{"push":{"channel":"t","pub":{"data":"x","offset":5}}}"#,
            Delivery(Some("t"), Some(5)),
        ),
        (
            "centrifugo",
            r#"{"push":{"channel":"t","join":{"info":{"client":"x"}}}}"#,
            Other,
        ),
        ("centrifugo", "{}", Ping(Some("{}"))),
        ("centrifugo", r#"{"id":9,"publish":{}}"#, Other),
        (
            "pusher",
            r#"{"event":"pusher_internal:subscription_succeeded","data":"{}","channel":"t"}"#,
            Subscribed,
        ),
        (
            "pusher",
            r#"{"event":"pusher:subscription_error","channel":"t","data":{"type":"AuthError","status":401}}"#,
            Refused,
        ),
        (
            "pusher",
            r#"{"event":"pusher:error","data":{"code":4301,"message":"rate limit"}}"#,
            Error,
        ),
        (
            "pusher",
            r#"{"event":"any","channel":"t","data":"{\"a\":1}"}"#,
            Delivery(Some("t"), None),
        ),
        (
            "pusher",
            r#"{"event":"pusher:ping","data":{}}"#,
            Ping(Some(r#"{"event":"pusher:pong","data":{}}"#)),
        ),
        ("pusher", r#"{"event":"pusher:pong","data":{}}"#, Pong(None)),
        (
            "pusher",
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#,
            Other,
        ),
        (
            "graphql_transport_ws",
            r#"{"type":"connection_ack"}"#,
            Other,
        ),
        (
            "graphql_transport_ws",
            r#"{"type":"ping"}"#,
            Ping(Some(r#"{"type":"pong"}"#)),
        ),
        ("graphql_transport_ws", r#"{"type":"pong"}"#, Pong(None)),
        (
            "graphql_transport_ws",
            r#"{"id":"1","type":"next","payload":{"data":{"message":"x"}}}"#,
            Delivery(None, None),
        ),
        (
            "graphql_transport_ws",
            r#"{"id":"p1","type":"next","payload":{"data":{"publish":true}}}"#,
            Other,
        ),
        (
            "graphql_transport_ws",
            r#"{"id":"1","type":"error","payload":[{"message":"no"}]}"#,
            Error,
        ),
        (
            "graphql_transport_ws",
            r#"{"id":"1","type":"complete"}"#,
            Other,
        ),
        ("action_cable", r#"{"type":"welcome"}"#, Other),
        (
            "action_cable",
            r#"{"type":"ping","message":1763640000}"#,
            Ping(None),
        ),
        (
            "action_cable",
            r#"{"identifier":"{\"channel\":\"C\"}","type":"confirm_subscription"}"#,
            Subscribed,
        ),
        (
            "action_cable",
            r#"{"identifier":"{\"channel\":\"C\"}","type":"reject_subscription"}"#,
            Refused,
        ),
        (
            "action_cable",
            r#"{"identifier":"{\"channel\":\"C\"}","message":{"body":"x"}}"#,
            Delivery(Some(r#"{"channel":"C"}"#), None),
        ),
        (
            "action_cable",
            r#"{"type":"disconnect","reason":"unauthorized","reconnect":false}"#,
            Error,
        ),
        (
            "json_rpc",
            r#"{"jsonrpc":"2.0","result":true,"id":3}"#,
            Subscribed,
        ),
        (
            "json_rpc",
            r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":3}"#,
            Refused,
        ),
        (
            "json_rpc",
            r#"{"jsonrpc":"2.0","method":"message","params":["t","x"]}"#,
            Delivery(Some("t"), None),
        ),
        ("json_rpc", r#"[1,2"#, Other),
    ];
    for (name, text, expected) in table {
        let (codec, _) = codec(name);
        let message = text.as_bytes();
        assert!(codec.is_extended(), "{name}");
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        let heard = match (codec.aside(message), codec.classify(message)) {
            (Some(Aside::Ping(answer)), _) => Ping(answer.map(leak)),
            (Some(Aside::Answer(id)), _) => Pong(id),
            (None, Incoming::Subscribed) => Subscribed,
            (None, Incoming::Refused { .. }) => Refused,
            (None, Incoming::Error { .. }) => Error,
            (None, Incoming::Message { topic, sequence }) => {
                Delivery(topic.map(|topic| leak(&topic)), sequence)
            }
            (None, Incoming::Other) => Other,
        };
        assert_eq!(heard, expected, "{name} {text}");
        // By this alone a stamped message counts, or does not.
        match expected {
            Delivery(..) => assert!(codec.is_delivery(message), "{name} {text}"),
            Other => assert!(!codec.is_delivery(message), "{name} {text}"),
            _ => {}
        }
    }
}

/// By topic, as the protocol has it: the message that asks for what was missed, and the answer's parts.
#[test]
fn centrifugo_resumes_by_offset_and_epoch() {
    let (codec, _) = codec("centrifugo");
    let mut out = Vec::new();
    assert!(codec.resubscribe("t", 3, 41, "abcd", &mut out));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        r#"{"id":3,"subscribe":{"channel":"t","positioned":true,"recoverable":true,"recover":true,"offset":41,"epoch":"abcd"}}"#
    );
    let text = br#"{"id":3,"subscribe":{"recoverable":true,"epoch":"abcd","publications":[{"data":"x","offset":42},{"data":"y","offset":43}],"recovered":true,"offset":43,"positioned":true,"was_recovering":true}}"#;
    let answer = codec.acknowledgement(text);
    assert_eq!(
        (answer.topic, answer.id, answer.position),
        (None, Some(3), Some(43))
    );
    assert_eq!(
        (answer.epoch.as_deref(), answer.recovered),
        (Some("abcd"), true)
    );
    let numbers: Vec<_> = codec
        .backlog(text)
        .map(|(each, n)| (each.raw().len(), n))
        .collect();
    assert_eq!(numbers, [(24, Some(42)), (24, Some(43))]);
    // What is 0 it leaves out.
    let answer = codec.acknowledgement(br#"{"id":3,"subscribe":{"epoch":"abcd"}}"#);
    assert_eq!((answer.position, answer.recovered), (Some(0), false));
    let text = group("centrifugo\n    reconnect: { base: 1s, cap: 2s, resume: true }");
    assert!(compiled(&text).plan.groups()[0].resume.is_some());
}
