//! Conversations: what the client says, and what it makes of what it hears.

use crate::protocol::socket_io::{Config, Place, Polled, Polling, Session};
use crate::protocol::{Event, Field, Form, Introduction, Outgoing, Publish, Stamp, fill};
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;

const OPEN: &str =
    r#"0{"sid":"e1","upgrades":[],"pingInterval":300,"pingTimeout":200,"maxPayload":1000000}"#;
const MAX: usize = 10_000;

/// A session and what it said.
struct Client {
    session: Session,
    out: Outgoing,
}

/// What was heard, in short.
fn told(event: &Event<'_>) -> String {
    match event {
        Event::Message {
            topic,
            payload,
            again,
            refused: false,
        } => {
            assert!(!again);
            let topic = topic.as_deref().unwrap_or("-");
            format!("message {topic} {}", String::from_utf8_lossy(payload))
        }
        Event::Rejected { id, code: 0, text } => {
            format!("rejected {id} {}", String::from_utf8_lossy(text))
        }
        other => format!("{other:?}"),
    }
}

impl Client {
    fn new(change: impl FnOnce(&mut Config)) -> Client {
        let mut config = Config::default();
        change(&mut config);
        Client {
            session: Session::new(&Arc::new(config)),
            out: Outgoing::default(),
        }
    }

    fn begin(&mut self, auth: Option<&str>) -> &mut Self {
        let fields = auth.map(|auth| (Field::Auth, auth.to_owned()));
        let who = Introduction::new(fields.into_iter().collect());
        self.session.begin(&who, &mut self.out);
        assert_eq!(self.said(), [""; 0], "the server opens");
        self
    }

    /// What was said since.
    fn said(&mut self) -> Vec<String> {
        let all = self.out.messages().map(|(form, message)| {
            let text = String::from_utf8_lossy(message).into_owned();
            match form {
                Form::Text => text,
                Form::Binary => format!("binary {text}"),
            }
        });
        let all = all.collect();
        self.out.clear();
        all
    }

    fn hears(&mut self, form: Form, message: &[u8]) -> Vec<String> {
        let mut rest = message;
        let mut heard = Vec::new();
        loop {
            match self.session.next(&mut rest, form, MAX, &mut self.out) {
                Ok(Some(event)) => heard.push(told(&event)),
                Ok(None) => break,
                Err(violation) => {
                    heard.push(format!("violation: {violation}"));
                    break;
                }
            }
        }
        assert!(rest.is_empty());
        assert!(self.session.kept() <= MAX);
        heard
    }

    fn text(&mut self, message: &str) -> Vec<String> {
        self.hears(Form::Text, message.as_bytes())
    }

    fn binary(&mut self, message: &str) -> Vec<String> {
        self.hears(Form::Binary, message.as_bytes())
    }

    /// In the namespace, without a word said.
    fn joined(change: impl FnOnce(&mut Config)) -> Client {
        let mut client = Client::new(change);
        client.begin(None).text(OPEN);
        let namespace = client.session_namespace();
        client.text(&format!(r#"40{namespace}{{"sid":"s1"}}"#));
        client.said();
        client
    }

    fn session_namespace(&mut self) -> String {
        let said = self.said();
        said[0].strip_prefix("40").unwrap().to_owned()
    }
}

#[test]
fn it_joins_when_the_server_has_opened() {
    let mut client = Client::new(|_| ());
    client.begin(Some(r#"{"token":"t1"}"#));
    assert_eq!(client.session.rhythm(), Default::default());
    assert_eq!(client.text(OPEN), ["Other"]);
    assert_eq!(client.said(), [r#"40{"token":"t1"}"#]);
    let rhythm = client.session.rhythm();
    assert_eq!(
        (rhythm.send, rhythm.hear),
        (None, Some(Duration::from_millis(500)))
    );
    assert_eq!(
        client.text(r#"40{"sid":"s1"}"#),
        ["Connected { resumed: false }"]
    );
    assert_eq!(client.text("2"), ["Other"]);
    assert_eq!(client.said(), ["3"]);
    assert!(!client.session.goodbye(&mut client.out));
    assert_eq!(client.said(), ["41"]);
}

#[test]
fn what_was_opened_by_polling_is_probed_and_upgraded() {
    let mut client = Client::new(|c| c.polling = Polling::Handshake);
    for _ in 0..2 {
        let polled = client.session.polled(OPEN.as_bytes()).unwrap();
        assert_eq!((&*polled.sid, polled.opened), ("e1", OPEN.len()));
        let who = Introduction::new(vec![(Field::Auth, r#"{"a":1}"#.into())]);
        client.session.begin(&who, &mut client.out);
        assert_eq!(client.said(), ["2probe"]);
        assert_eq!(client.text("3probe"), ["Upgraded"]);
        assert_eq!(client.said(), ["5", r#"40{"a":1}"#]);
        let hear = client.session.rhythm().hear;
        assert_eq!(hear, Some(Duration::from_millis(500)));
        let joined = client.text(r#"40{"sid":"s1"}"#);
        assert_eq!(joined, ["Connected { resumed: false }"]);
        client.session.lost(0);
    }
    // What was agreed on is for one connection.
    client.begin(None);
    assert_eq!(
        client.text("3probe"),
        ["violation: the first packet is not open"]
    );
    for wrong in ["3", "3prob", "6", r#"40{"sid":"s1"}"#] {
        let mut client = Client::new(|_| ());
        client.session.polled(OPEN.as_bytes()).unwrap();
        client
            .session
            .begin(&Introduction::default(), &mut client.out);
        assert_eq!(client.text(wrong), ["violation: the probe is not answered"]);
    }
    for answer in [
        "",
        "ok",
        "4hello",
        "0{}",
        r#"0{"pingInterval":1,"pingTimeout":1}"#,
        r#"0{"sid":"a&b","pingInterval":1,"pingTimeout":1}"#,
        r#"0{"sid":"","pingInterval":1,"pingTimeout":1}"#,
        "0{\"sid\":\"a\",\"pingInterval\":1,\"pingTimeout\":1}\u{1e}4hello",
    ] {
        let mut client = Client::new(|_| ());
        assert!(
            client.session.polled(answer.as_bytes()).is_err(),
            "{answer}"
        );
    }
}

#[test]
fn what_goes_on_by_polling_says_connect_at_once() {
    let mut client = Client::new(|c| c.polling = Polling::Only);
    let open = r#"0{"sid":"e1","upgrades":["webtransport","websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":99}"#;
    let polled = client
        .session
        .polled(format!("{open}\u{1e}2").as_bytes())
        .unwrap();
    let expected = Polled {
        sid: "e1".into(),
        upgrades: true,
        max_payload: 99,
        opened: open.len(),
    };
    assert_eq!(polled, expected);
    client
        .session
        .begin(&Introduction::default(), &mut client.out);
    assert_eq!(client.said(), ["40"]);
    assert_eq!(client.text("2"), ["Other"]);
    assert_eq!(client.said(), ["3"]);
    let joined = client.text(r#"40{"sid":"s1"}"#);
    assert_eq!(joined, ["Connected { resumed: false }"]);
    for (more, upgrades, max_payload) in [
        ("", false, usize::MAX),
        (r#","upgrades":[],"maxPayload":0"#, false, usize::MAX),
        (r#","upgrades":["websocket"]"#, true, usize::MAX),
    ] {
        let open = format!(r#"0{{"sid":"e","pingInterval":1,"pingTimeout":1{more}}}"#);
        let polled = client.session.polled(open.as_bytes()).unwrap();
        assert_eq!(
            (polled.upgrades, polled.max_payload),
            (upgrades, max_payload)
        );
    }
}

#[test]
fn a_namespace_is_in_every_packet_and_others_are_nothing() {
    let mut client = Client::new(|c| c.namespace = "/admin".into());
    client.begin(None).text(OPEN);
    assert_eq!(client.said(), ["40/admin,"]);
    assert_eq!(client.text(r#"40{"sid":"s0"}"#), ["Other"]);
    assert_eq!(
        client.text(r#"40/admin,{"sid":"s1"}"#),
        ["Connected { resumed: false }"]
    );
    assert!(client.session.subscribe(0, "a", &mut client.out));
    assert_eq!(
        client.session.publish("a", b"p", &mut client.out),
        Publish::Awaiting(0)
    );
    assert_eq!(
        client.said(),
        [
            r#"42/admin,1["subscribe","a"]"#,
            r#"42/admin,0["publish","a","p"]"#
        ]
    );
    assert_eq!(client.text(r#"43/admin,1[]"#), ["Subscribed { place: 0 }"]);
    assert_eq!(client.text("430[]"), ["Other"]);
    assert_eq!(client.text(r#"42["message","a","p"]"#), ["Other"]);
    assert_eq!(
        client.text(r#"42/admin,["message","a","p"]"#),
        ["message a p"]
    );
    // Attachments of another namespace are heard, and not kept.
    assert_eq!(
        client.text(r#"451-["message","a",{"_placeholder":true,"num":0}]"#),
        [""; 0]
    );
    assert_eq!(client.session.kept(), 0);
    assert_eq!(client.binary("xyz"), ["Other"]);
}

#[test]
fn refusals_are_told_with_what_was_said() {
    let mut client = Client::new(|_| ());
    client.begin(Some(r#"{"token":"wrong"}"#)).text(OPEN);
    let refused = client.session.next(
        &mut &br#"44{"message":"Not authorized","data":{"code":1}}"#[..],
        Form::Text,
        MAX,
        &mut client.out,
    );
    assert_eq!(
        refused,
        Ok(Some(Event::Refused {
            code: 0,
            text: b"Not authorized"
        }))
    );
    // As older servers say it.
    let mut client = Client::new(|_| ());
    client.begin(None).text(OPEN);
    assert!(client.text(r#"44"Invalid namespace""#)[0].starts_with("Refused"));
    // And when they have enough of one that they took.
    let mut client = Client::joined(|_| ());
    assert!(client.text("41")[0].starts_with("Refused"));
    assert!(client.text("1")[0].starts_with("Refused"));
}

#[test]
fn acknowledgements_are_of_what_was_asked() {
    let mut client = Client::joined(|_| ());
    for place in 0..3 {
        assert!(
            client
                .session
                .subscribe(place, &format!("t{place}"), &mut client.out)
        );
    }
    assert_eq!(
        client.said(),
        [
            r#"421["subscribe","t0"]"#,
            r#"423["subscribe","t1"]"#,
            r#"425["subscribe","t2"]"#
        ]
    );
    assert_eq!(client.text(r#"435["ok"]"#), ["Subscribed { place: 2 }"]);
    assert_eq!(client.text("435[]"), ["Other"], "once");
    assert_eq!(client.text("437[]"), ["Other"], "of nothing");
    assert!(client.text(r#"431[{"error":"full"}]"#)[0].starts_with("NotSubscribed { place: 0"));
    let ids = [(); 2].map(|()| client.session.publish("a/\"b\"", b"p", &mut client.out));
    assert_eq!(ids, [Publish::Awaiting(0), Publish::Awaiting(2)]);
    assert_eq!(client.said()[1], r#"422["publish","a/\"b\"","p"]"#);
    assert_eq!(client.text("432[]"), ["Acknowledged { id: 2 }"]);
    assert_eq!(
        client.text(r#"430[{"error":"no"}]"#),
        [r#"rejected 0 [{"error":"no"}]"#]
    );
    assert_eq!(
        client.text("434[]"),
        ["Other"],
        "of one that is not sent yet"
    );
    assert_eq!(
        client.text("43[]"),
        ["violation: an acknowledgement without a number"]
    );
    // With attachments it counts when they are there.
    assert_eq!(
        client.text(r#"461-2[{"_placeholder":true,"num":0}]"#),
        [""; 0]
    );
    assert_eq!(client.binary("data"), ["Acknowledged { id: 2 }"]);
}

#[test]
fn numbers_of_publishes_go_on_over_connections() {
    let mut client = Client::joined(|_| ());
    client.session.publish("a", b"p", &mut client.out);
    assert!(!client.session.lost(0));
    client.said();
    client.begin(None).text(OPEN);
    client.text(r#"40{"sid":"s2"}"#);
    let id = client.session.publish("a", b"p", &mut client.out);
    assert_eq!(id, Publish::Awaiting(2));
}

#[test]
fn without_acknowledgements_nothing_is_awaited() {
    let mut client = Client::joined(|c| {
        c.subscribe_ack = false;
        c.publish_ack = false;
    });
    assert!(!client.session.subscribe(0, "a", &mut client.out));
    assert_eq!(
        client.session.publish("a", b"p", &mut client.out),
        Publish::Sent
    );
    assert_eq!(
        client.said(),
        [r#"42["subscribe","a"]"#, r#"42["publish","a","p"]"#]
    );
    let mut client = Client::joined(|c| c.subscribe = Config::event("", false));
    assert!(!client.session.subscribe(0, "a", &mut client.out));
    assert_eq!(client.said(), [""; 0]);
}

#[test]
fn deliveries_in_shapes_of_other_services() {
    let mut client = Client::joined(|c| {
        c.subscribe = Config::event(r#"["join",{"room":"{topic}"}]"#, false);
        c.publish = Config::event(r#"["chat",{"to":"{topic}","text":"{payload}"}]"#, false);
        c.message = "chat".into();
        c.topic = Place::named("/1/to");
        c.payload = Place::named("/1/text").unwrap();
    });
    client.session.subscribe(0, "a", &mut client.out);
    client.session.publish("a", b"p\"", &mut client.out);
    assert_eq!(
        client.said(),
        [
            r#"421["join",{"room":"a"}]"#,
            r#"420["chat",{"to":"a","text":"p\""}]"#
        ]
    );
    assert_eq!(
        client.text(r#"42["chat",{"text":"x","to":"a\u0062"}]"#),
        ["message ab x"]
    );
    assert_eq!(
        client.text(r#"42["chat",{"text":{"deep":1}}]"#),
        [r#"message - {"deep":1}"#]
    );
    assert_eq!(client.text(r#"42["other",{"text":"x"}]"#), ["Other"]);
    assert_eq!(client.text(r#"42["chat"]"#), ["message - "]);
    assert_eq!(client.text("42{}"), ["violation: an event without a name"]);
}

#[test]
fn events_that_want_an_answer_get_one() {
    let mut client = Client::joined(|_| ());
    assert_eq!(client.text(r#"427["message","a","p"]"#), ["message a p"]);
    assert_eq!(client.said(), ["437[]"]);
    assert_eq!(
        client.text(r#"451-8["message","a",{"_placeholder":true,"num":0}]"#),
        [""; 0]
    );
    assert_eq!(client.said(), [""; 0]);
    assert_eq!(client.binary("p"), ["message a p"]);
    assert_eq!(client.said(), ["438[]"]);
}

#[test]
fn payloads_as_attachments() {
    let mut client = Client::joined(|c| {
        c.binary = true;
        c.publish = Config::event(r#"["publish","{topic}","{payload}"]"#, true);
    });
    assert_eq!(
        client.session.publish("a", b"p\xff", &mut client.out),
        Publish::Awaiting(0)
    );
    assert_eq!(
        client.said(),
        [
            r#"451-0["publish","a",{"_placeholder":true,"num":0}]"#,
            "binary p\u{fffd}"
        ]
    );
    // Two attachments, of which the first or the last is the payload.
    for (number, expected) in [
        (0, "message a one"),
        (1, "message a two"),
        (7, "message a "),
    ] {
        let head = format!(r#"452-["message","a",{{"_placeholder":true,"num":{number}}},"x"]"#);
        assert_eq!(client.text(&head), [""; 0]);
        assert_eq!(client.binary("one"), [""; 0]);
        // One that never comes is empty.
        assert_eq!(client.binary("two"), [expected]);
    }
    // An empty one is one too, and what is left of a message is none.
    client.text(r#"452-["message","a",{"_placeholder":true,"num":1}]"#);
    assert_eq!(client.binary(""), [""; 0]);
    assert_eq!(client.binary(""), ["message a "]);
    assert_eq!(client.binary(""), [""; 0]);
    assert_eq!(
        client.binary("x"),
        ["violation: an attachment where none is due"]
    );
    client.text(r#"451-["message","a",{"_placeholder":true,"num":0}]"#);
    assert_eq!(
        client.text("2"),
        ["violation: a packet where an attachment is due"]
    );
}

#[test]
fn no_more_is_kept_than_allowed() {
    let long = "x".repeat(MAX);
    let head = r#"452-["message","a",{"_placeholder":true,"num":0}]"#;
    let mut client = Client::joined(|_| ());
    client.text(head);
    assert_eq!(
        client.binary(&long),
        ["violation: a packet with attachments is too long"]
    );
    // Of those that nobody asks for nothing is kept, and of the last one neither.
    let mut client = Client::joined(|_| ());
    client.text(r#"453-["message","a",{"_placeholder":true,"num":2}]"#);
    for _ in 0..2 {
        assert_eq!(client.binary(&long), [""; 0]);
    }
    assert_eq!(client.binary("p"), ["message a p"]);
}

#[test]
fn a_session_is_recovered_from_where_it_was_heard() {
    let mut client = Client::new(|_| ());
    client.begin(Some(r#" {"token":"t"} "#)).text(OPEN);
    client.said();
    assert!(!client.session.asks_to_resume());
    client.text(r#"40{"sid":"s1","pid":"p1"}"#);
    assert!(client.session.asks_to_resume());
    client.text(r#"42["message","a","x","o1"]"#);
    client.text(r#"42["note","o2"]"#);
    client.text(r#"451-["message","a",{"_placeholder":true,"num":0},"o3"]"#);
    client.binary("x");
    // The payload is not taken for an offset, and no number is.
    client.text(r#"42["message","a","x"]"#);
    client.text(r#"42["note",4]"#);
    client.session.lost(0);

    client.begin(Some(r#" {"token":"t"} "#)).text(OPEN);
    assert_eq!(
        client.said(),
        [r#"40{"pid":"p1","offset":"o3","token":"t"}"#]
    );
    // What was missed comes before the answer.
    assert_eq!(
        client.text(r#"42["message","a","y","o4"]"#),
        ["message a y"]
    );
    assert_eq!(
        client.text(r#"40{"sid":"s1","pid":"p1"}"#),
        ["Connected { resumed: true }"]
    );
    client.session.lost(0);

    client.begin(None).text(OPEN);
    assert_eq!(client.said(), [r#"40{"pid":"p1","offset":"o4"}"#]);
    // It is lost, and a new one begins, of which nothing is heard yet.
    assert_eq!(
        client.text(r#"40{"sid":"s2","pid":"p2"}"#),
        ["Connected { resumed: false }"]
    );
    client.session.lost(0);
    client.begin(Some("{}")).text(OPEN);
    assert_eq!(client.said(), [r#"40{"pid":"p2"}"#]);
    assert_eq!(
        client.text(r#"40{"sid":"s3"}"#),
        ["Connected { resumed: false }"]
    );
    client.session.lost(0);
    assert!(!client.session.asks_to_resume());
    client.begin(Some("[1]")).text(OPEN);
    assert_eq!(client.said(), ["40[1]"]);
}

#[test]
fn nothing_is_recovered_unasked() {
    let mut client = Client::new(|c| c.recover = false);
    client.begin(None).text(OPEN);
    client.said();
    client.text(r#"40{"sid":"s1","pid":"p1"}"#);
    client.text(r#"42["message","a","x","o1"]"#);
    client.session.lost(0);
    assert!(!client.session.asks_to_resume());
    client.begin(None).text(OPEN);
    assert_eq!(client.said(), ["40"]);
    assert_eq!(
        client.text(r#"40{"sid":"s1","pid":"p1"}"#),
        ["Connected { resumed: false }"]
    );
}

#[test]
fn what_breaks_the_protocol() {
    for (message, told) in [
        ("2", "the first packet is not open"),
        (r#"40{"sid":"s"}"#, "the first packet is not open"),
        ("0{}", "an open packet without pingInterval and pingTimeout"),
        ("x", "an Engine.IO packet of no known kind"),
    ] {
        let mut client = Client::new(|_| ());
        assert_eq!(
            client.begin(None).text(message),
            [format!("violation: {told}")]
        );
    }
    let mut client = Client::new(|_| ());
    client.begin(None).text(OPEN);
    let heard = client.text("40");
    assert_eq!(
        heard,
        ["violation: CONNECT without sid: protocol 5 is not spoken"]
    );
    for (message, told) in [
        (OPEN, "a second open packet"),
        (r#"40{"sid":"s"}"#, "a second CONNECT"),
        ("4", "an empty Socket.IO packet"),
        ("49", "a Socket.IO packet of no known kind"),
    ] {
        assert_eq!(
            Client::joined(|_| ()).text(message),
            [format!("violation: {told}")]
        );
    }
}

#[test]
fn a_stamp_comes_through() {
    let stamp = Stamp {
        run: 1,
        stream: 2,
        seq: 3,
        intended_ns: 4,
        sent_ns: 5,
    };
    let mut payload = Vec::new();
    fill(100, &mut payload);
    assert!(stamp.encode(&mut payload));
    for binary in [false, true] {
        let mut client = Client::joined(|c| c.binary = binary);
        let payload = String::from_utf8(payload.clone()).unwrap();
        let heard = if binary {
            client.text(r#"451-["message","a",{"_placeholder":true,"num":0}]"#);
            client.binary(&payload)
        } else {
            client.text(&format!(r#"42["message","a","{payload}"]"#))
        };
        assert_eq!(Stamp::find(heard[0].as_bytes()), Some(stamp));
    }
}

/// Messages that come near to packets.
fn hostile() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let near = prop_oneof![
        Just(OPEN.to_owned()),
        Just(r#"40{"sid":"s","pid":"p"}"#.to_owned()),
        r#"4[0-6][0-9]{0,2}-?[0-9]{0,3}\["message","a",\{"_placeholder":true,"num":[0-3]\}(,"o")?\]"#,
        r#"4[0-6]{1,2}-?(/a,)?[0-9]{0,3}[\[{]["a-z,:0-9\\{}\[\]]{0,30}"#,
        r#"43[0-9]\[(\{"error":1\})?\]"#,
        "[0-6].{0,20}",
    ];
    let near = near.prop_map(String::into_bytes);
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    (any::<bool>(), prop_oneof![4 => near, 1 => bytes])
}

proptest! {
    #[test]
    fn hostile_messages_are_survived(messages in proptest::collection::vec(hostile(), 0..30), opened: bool) {
        const MAX: usize = 150;
        let config = Arc::new(Config::default());
        let mut session = Session::new(&config);
        let mut out = Outgoing::default();
        session.begin(&Introduction::default(), &mut out);
        let greeting = [OPEN, r#"40{"sid":"s","pid":"p"}"#].map(|text| (false, text.as_bytes().to_vec()));
        let greeting = greeting.into_iter().filter(|_| opened);
        for (binary, message) in greeting.chain(messages) {
            session.subscribe(0, "t", &mut out);
            session.publish("t", b"p", &mut out);
            let form = if binary { Form::Binary } else { Form::Text };
            let mut rest = &message[..];
            while let Ok(Some(_)) = session.next(&mut rest, form, MAX, &mut out) {}
            prop_assert!(session.kept() <= MAX);
            out.clear();
        }
    }
}
