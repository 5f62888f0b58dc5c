//! The client's side against a server that is played step by step.

use super::*;
use crate::protocol::session::{
    Event, Field, Form, Introduction, Outgoing, Publish as Sent, Rhythm, Violation,
};
use std::time::Duration;

const MAX: usize = 1000;

/// A session and what it has said.
struct Talk {
    version: Version,
    session: Session,
    out: Outgoing,
}

impl Talk {
    fn new(config: Config) -> Self {
        Talk {
            version: config.version,
            session: Session::new(&config.into()),
            out: Outgoing::default(),
        }
    }

    /// Connected, with these terms.
    fn connected(config: Config, terms: &List) -> Self {
        let mut talk = Talk::new(config);
        assert_eq!(talk.greeted(false, terms), "Connected { resumed: false }");
        talk
    }

    /// A connection, and the server's CONNACK.
    fn greeted(&mut self, session_present: bool, terms: &List) -> String {
        self.session.begin(&Introduction::default(), &mut self.out);
        self.said();
        self.hear(&Packet::ConnAck(ConnAck {
            session_present,
            reason: 0,
            properties: terms.properties(),
        }))
        .unwrap()
    }

    /// What it makes of a packet.
    fn hear(&mut self, packet: &Packet<'_>) -> Result<String, Violation> {
        self.hear_bytes(&bytes_of(packet, self.version))
    }

    fn hear_bytes(&mut self, bytes: &[u8]) -> Result<String, Violation> {
        let mut rest = bytes;
        let event = self
            .session
            .next(&mut rest, Form::Binary, MAX, &mut self.out)?;
        let event = event.map_or_else(|| "nothing".to_owned(), |event| tell(&event));
        assert!(rest.is_empty());
        Ok(event)
    }

    /// The packets that it said since the last time.
    fn said(&mut self) -> Vec<String> {
        let said = self.out.messages().map(|(form, message)| {
            assert_eq!(form, Form::Binary);
            let packet = Packet::decode(message, self.version).expect("a packet");
            format!("{packet:?}")
        });
        let said = said.collect();
        self.out.clear();
        said
    }

    /// The names of those, with flags and identifiers where they have some.
    fn named(&mut self) -> Vec<String> {
        let said: Vec<Vec<u8>> = self.out.messages().map(|(_, m)| m.to_vec()).collect();
        self.out.clear();
        said.iter()
            .map(|bytes| match Packet::decode(bytes, self.version).unwrap() {
                Packet::Publish(p) => {
                    let again = if p.again { " again" } else { "" };
                    format!("publish {} {}{again}", p.id, p.topic)
                }
                Packet::Ack(ack) => format!("{:?} {} {:#x}", ack.step, ack.id, ack.reason),
                Packet::Disconnect(of) => format!("disconnect {:#x}", of.reason),
                other => format!("{other:?}"),
            })
            .collect()
    }

    fn publish(&mut self, topic: &str) -> Sent {
        self.session.publish(topic, b"payload", &mut self.out)
    }

    fn ack(&mut self, step: Step, id: u16, reason: u8) -> Result<String, Violation> {
        self.hear(&Packet::Ack(Ack {
            step,
            id,
            reason,
            properties: Properties::default(),
        }))
    }

    fn delivery(
        &mut self,
        qos: Qos,
        id: u16,
        again: bool,
        list: &List,
        topic: &str,
    ) -> Result<String, Violation> {
        self.hear(&Packet::Publish(Publish {
            again,
            qos,
            retain: false,
            topic,
            id,
            properties: list.properties(),
            payload: b"x",
        }))
    }
}

fn tell(event: &Event<'_>) -> String {
    match event {
        Event::Message {
            topic,
            payload,
            again,
            refused: false,
        } => {
            let again = if *again { " again" } else { "" };
            let payload = String::from_utf8_lossy(payload);
            format!("message {} {payload}{again}", topic.as_deref().unwrap())
        }
        Event::Refused { code, text } => {
            format!("refused {code:#x} {}", String::from_utf8_lossy(text))
        }
        Event::NotSubscribed { place, code, text } => {
            format!(
                "not subscribed {place} {code:#x} {}",
                String::from_utf8_lossy(text)
            )
        }
        Event::Rejected { id, code, text } => {
            format!("rejected {id} {code:#x} {}", String::from_utf8_lossy(text))
        }
        Event::Error { code, text } => {
            format!("error {code:#x} {}", String::from_utf8_lossy(text))
        }
        other => format!("{other:?}"),
    }
}

fn v3() -> Config {
    Config {
        version: Version::V3_1_1,
        ..Config::default()
    }
}

fn qos(publish_qos: Qos) -> Config {
    Config {
        publish_qos,
        ..Config::default()
    }
}

/// One whose session is kept.
fn keeping(publish_qos: Qos) -> Config {
    Config {
        session_expiry_s: 60,
        ..qos(publish_qos)
    }
}

fn list(name: Name, value: Value<'_>) -> List {
    let mut list = List::default();
    list.put(name, value);
    list
}

#[test]
fn it_introduces_itself() {
    let who = Introduction::new(vec![
        (Field::ClientId, "me".into()),
        (Field::Login, "user".into()),
        (Field::Passcode, "secret".into()),
        (Field::WillTopic, "gone".into()),
        (Field::WillPayload, "alas".into()),
    ]);
    for version in VERSIONS {
        let mut talk = Talk::new(Config {
            version,
            will_qos: Qos::AtLeastOnce,
            will_retain: true,
            keep_alive_s: 7,
            session_expiry_s: if version == Version::V5 { 9 } else { 0 },
            ..Config::default()
        });
        talk.session.begin(&who, &mut talk.out);
        let (_, bytes) = talk.out.messages().next().unwrap();
        let Ok(Packet::Connect(connect)) = Packet::decode(bytes, version) else {
            panic!("no CONNECT");
        };
        assert_eq!((connect.version, connect.clean_start), (version, true));
        assert_eq!((connect.client_id, connect.keep_alive), ("me", 7));
        assert_eq!(connect.username, Some("user"));
        assert_eq!(connect.password, Some(&b"secret"[..]));
        let will = connect.will.unwrap();
        assert_eq!((will.topic, will.payload), ("gone", &b"alas"[..]));
        assert_eq!((will.qos, will.retain), (Qos::AtLeastOnce, true));
        let expiry = connect.properties.number(Name::SessionExpiry);
        assert_eq!(expiry, (version == Version::V5).then_some(9));
    }
}

#[test]
fn a_refusal_has_its_code_and_what_that_is_called() {
    for (version, code, said) in [
        (Version::V5, 0x89, "refused 0x89 server busy"),
        (Version::V5, 0x9f, "refused 0x9f connection rate exceeded"),
        (Version::V3_1_1, 5, "refused 0x5 not authorized"),
    ] {
        let mut talk = Talk::new(Config {
            version,
            ..Config::default()
        });
        talk.session.begin(&Introduction::default(), &mut talk.out);
        let refusal = Packet::ConnAck(ConnAck {
            session_present: false,
            reason: code,
            properties: Properties::default(),
        });
        assert_eq!(talk.hear(&refusal).unwrap(), said);
    }
    // In the server's own words, if it has some.
    let mut talk = Talk::new(Config::default());
    talk.session.begin(&Introduction::default(), &mut talk.out);
    let words = list(Name::ReasonString, Value::Text("come back later"));
    let refusal = Packet::ConnAck(ConnAck {
        session_present: false,
        reason: 0x97,
        properties: words.properties(),
    });
    assert_eq!(talk.hear(&refusal).unwrap(), "refused 0x97 come back later");
}

#[test]
fn a_server_that_leaves_says_why() {
    for (code, said) in [
        (0x8b, "error 0x8b server shutting down"),
        (0x9c, "error 0x9c use another server"),
        (0x9d, "error 0x9d server moved"),
        (0x93, "error 0x93 receive maximum exceeded"),
        (0x42, "error 0x42 a code that is not in the specification"),
    ] {
        let mut talk = Talk::connected(Config::default(), &List::default());
        let farewell = Packet::Disconnect(Farewell {
            reason: code,
            properties: Properties::default(),
        });
        assert_eq!(talk.hear(&farewell).unwrap(), said);
    }
    // In 3.1.1 only clients do.
    let mut talk = Talk::connected(v3(), &List::default());
    assert!(talk.hear_bytes(b"\xe0\0").is_err());
}

#[test]
fn subscriptions_are_answered_by_place() {
    for config in [Config::default(), v3()] {
        let mut talk = Talk::connected(config, &List::default());
        for (place, topic) in [(0, "a"), (1, "b/+"), (2, "$share/g/c")] {
            assert!(talk.session.subscribe(place, topic, &mut talk.out));
        }
        assert_eq!(talk.said().len(), 3);
        let mut answer = |id, reason: u8| {
            talk.hear(&Packet::SubAck(Answers {
                id,
                properties: Properties::default(),
                reasons: &[reason],
            }))
        };
        assert_eq!(answer(3, 1).unwrap(), "Subscribed { place: 2 }");
        assert_eq!(
            answer(2, 0x87).unwrap(),
            "not subscribed 1 0x87 not authorized"
        );
        assert_eq!(answer(1, 0).unwrap(), "Subscribed { place: 0 }");
        assert!(answer(1, 0).is_err());
    }
}

#[test]
fn publishes_of_each_quality_are_acknowledged() {
    let mut talk = Talk::connected(qos(Qos::AtMostOnce), &List::default());
    assert_eq!(talk.publish("t"), Sent::Sent);
    assert_eq!(talk.named(), ["publish 0 t"]);

    let mut talk = Talk::connected(qos(Qos::AtLeastOnce), &List::default());
    assert_eq!(talk.publish("t"), Sent::Awaiting(0));
    assert_eq!(talk.publish("t"), Sent::Awaiting(1));
    assert_eq!(talk.named(), ["publish 1 t", "publish 2 t"]);
    let ack = |talk: &mut Talk, id, reason| talk.ack(Step::Ack, id, reason).unwrap();
    assert_eq!(ack(&mut talk, 2, 0x10), "Acknowledged { id: 1 }");
    assert_eq!(ack(&mut talk, 1, 0x97), "rejected 0 0x97 quota exceeded");
    let nothing = "error 0x92 an acknowledgement of nothing that was published";
    assert_eq!(ack(&mut talk, 1, 0), nothing);
    assert!(talk.said().is_empty());

    let mut talk = Talk::connected(qos(Qos::ExactlyOnce), &List::default());
    assert_eq!(talk.publish("t"), Sent::Awaiting(0));
    assert_eq!(talk.publish("t"), Sent::Awaiting(1));
    assert_eq!(talk.named(), ["publish 1 t", "publish 2 t"]);
    assert_eq!(talk.ack(Step::Received, 1, 0).unwrap(), "Other");
    assert_eq!(talk.named(), ["Release 1 0x0"]);
    assert_eq!(talk.ack(Step::Received, 1, 0).unwrap(), "Other");
    assert_eq!(talk.named(), ["Release 1 0x0"]);
    assert_eq!(
        talk.ack(Step::Received, 2, 0x87).unwrap(),
        "rejected 1 0x87 not authorized"
    );
    assert!(talk.named().is_empty());
    assert_eq!(
        talk.ack(Step::Complete, 1, 0).unwrap(),
        "Acknowledged { id: 0 }"
    );
    assert!(talk.ack(Step::Received, 1, 0).unwrap().starts_with("error"));
    assert_eq!(talk.named(), ["Release 1 0x92"]);
}

#[test]
fn acknowledgements_out_of_turn_break_the_protocol() {
    for (publish, step) in [
        (Qos::AtLeastOnce, Step::Received),
        (Qos::AtLeastOnce, Step::Complete),
        (Qos::ExactlyOnce, Step::Ack),
        (Qos::ExactlyOnce, Step::Complete),
    ] {
        let mut talk = Talk::connected(qos(publish), &List::default());
        talk.publish("t");
        talk.said();
        assert!(talk.ack(step, 1, 0).is_err());
        assert_eq!(talk.named(), ["disconnect 0x82"]);
    }
}

#[test]
fn no_more_are_under_way_than_the_server_allows() {
    for publish in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let terms = list(Name::ReceiveMaximum, Value::Two(2));
        let mut talk = Talk::connected(qos(publish), &terms);
        assert_eq!(talk.publish("t"), Sent::Awaiting(0));
        assert_eq!(talk.publish("t"), Sent::Awaiting(1));
        assert_eq!(talk.publish("t"), Sent::Full);
        assert_eq!(talk.said().len(), 2);
        match publish {
            Qos::ExactlyOnce => {
                talk.ack(Step::Received, 1, 0).unwrap();
                assert_eq!(talk.publish("t"), Sent::Full);
                talk.ack(Step::Complete, 1, 0).unwrap();
            }
            _ => {
                talk.ack(Step::Ack, 1, 0).unwrap();
            }
        }
        assert_eq!(talk.publish("t"), Sent::Awaiting(2));
    }
}

#[test]
fn what_the_server_cannot_take_is_not_sent() {
    let mut terms = list(Name::MaximumPacketSize, Value::Four(20));
    terms.put(Name::MaximumQos, Value::Byte(0));
    terms.put(Name::RetainAvailable, Value::Byte(0));
    let config = Config {
        retain: true,
        ..qos(Qos::ExactlyOnce)
    };
    let mut talk = Talk::connected(config.clone(), &terms);
    assert_eq!(talk.publish("t"), Sent::Sent);
    assert_eq!(talk.publish("a topic that is too long"), Sent::Full);
    assert_eq!(talk.named(), ["publish 0 t"]);
    // A size that is just enough, with an identifier: and one that did not fit holds no place.
    let mut terms = list(Name::MaximumPacketSize, Value::Four(15));
    terms.put(Name::ReceiveMaximum, Value::Two(1));
    let mut talk = Talk::connected(config, &terms);
    assert_eq!(talk.publish("tt"), Sent::Full);
    assert_eq!(talk.publish("t"), Sent::Awaiting(1));
    assert_eq!(talk.named(), ["publish 2 t"]);
}

#[test]
fn deliveries_of_each_quality_are_acknowledged() {
    for config in [Config::default(), v3()] {
        let mut talk = Talk::connected(config, &List::default());
        let none = List::default();
        let deliver =
            |talk: &mut Talk, qos, id, again| talk.delivery(qos, id, again, &none, "t").unwrap();
        assert_eq!(deliver(&mut talk, Qos::AtMostOnce, 0, false), "message t x");
        assert!(talk.named().is_empty());
        let once = Qos::AtLeastOnce;
        assert_eq!(deliver(&mut talk, once, 9, false), "message t x");
        assert_eq!(deliver(&mut talk, once, 9, true), "message t x again");
        assert_eq!(talk.named(), ["Ack 9 0x0", "Ack 9 0x0"]);
        let exactly = Qos::ExactlyOnce;
        assert_eq!(deliver(&mut talk, exactly, 9, false), "message t x");
        assert_eq!(deliver(&mut talk, exactly, 9, true), "Other");
        assert_eq!(talk.named(), ["Received 9 0x0", "Received 9 0x0"]);
        assert_eq!(talk.ack(Step::Release, 9, 0).unwrap(), "Other");
        assert_eq!(talk.named(), ["Complete 9 0x0"]);
        assert_eq!(deliver(&mut talk, exactly, 9, false), "message t x");
    }
}

#[test]
fn what_was_kept_by_the_server_is_no_delivery_of_now() {
    let mut talk = Talk::connected(Config::default(), &List::default());
    let retained = Packet::Publish(Publish {
        again: false,
        qos: Qos::AtLeastOnce,
        retain: true,
        topic: "t",
        id: 3,
        properties: Properties::default(),
        payload: b"old",
    });
    assert_eq!(talk.hear(&retained).unwrap(), "Retained");
    assert_eq!(talk.named(), ["Ack 3 0x0"]);
}

#[test]
fn a_server_that_sends_more_than_was_allowed_is_told_so() {
    let mut talk = Talk::connected(
        Config {
            receive_maximum: 2,
            ..Config::default()
        },
        &List::default(),
    );
    let none = List::default();
    let twice = Qos::ExactlyOnce;
    for id in [1, 2] {
        talk.delivery(twice, id, false, &none, "t").unwrap();
    }
    talk.ack(Step::Release, 1, 0).unwrap();
    talk.delivery(twice, 3, false, &none, "t").unwrap();
    talk.said();
    let broken = talk.delivery(twice, 4, false, &none, "t").unwrap_err();
    assert_eq!(broken.0, "more messages under way than were allowed");
    assert_eq!(talk.named(), ["disconnect 0x93"]);
}

#[test]
fn their_topic_aliases_stand_for_topics() {
    let config = Config {
        topic_alias_maximum: 2,
        ..Config::default()
    };
    let mut talk = Talk::connected(config, &List::default());
    let alias = |number| list(Name::TopicAlias, Value::Two(number));
    let zero = Qos::AtMostOnce;
    let mut hear = |alias: &List, topic| talk.delivery(zero, 0, false, alias, topic);
    assert_eq!(hear(&alias(2), "a/b").unwrap(), "message a/b x");
    assert_eq!(hear(&alias(2), "").unwrap(), "message a/b x");
    assert_eq!(hear(&alias(2), "c").unwrap(), "message c x");
    assert_eq!(hear(&alias(2), "").unwrap(), "message c x");
    for (wrong, topic) in [(1, ""), (3, "t"), (0, "t")] {
        assert!(hear(&alias(wrong), topic).is_err(), "{wrong}");
    }
    assert!(hear(&List::default(), "").is_err());
    // Their topics together are bounded, and another connection knows none.
    let long = "t".repeat(MAX / 2);
    hear(&alias(1), &long).unwrap();
    assert!(hear(&alias(2), &format!("{long}t")).is_err());
    talk.session.lost(0);
    talk.greeted(false, &List::default());
    assert!(talk.delivery(zero, 0, false, &alias(2), "").is_err());
}

#[test]
fn our_topic_aliases_save_the_topic() {
    let config = Config {
        topic_aliases: true,
        ..keeping(Qos::AtLeastOnce)
    };
    let terms = list(Name::TopicAliasMaximum, Value::Two(1));
    let mut talk = Talk::connected(config, &terms);
    for topic in ["a", "a", "b", "a"] {
        talk.publish(topic);
    }
    let said = talk.named();
    assert_eq!(
        said,
        ["publish 1 a", "publish 2 ", "publish 3 b", "publish 4 "]
    );
    // Sent again, each has its topic: the other connection knows no alias.
    assert!(talk.session.lost(0));
    assert_eq!(talk.greeted(true, &terms), "Connected { resumed: true }");
    assert_eq!(
        talk.named(),
        [
            "publish 1 a again",
            "publish 2 a again",
            "publish 3 b again",
            "publish 4 a again"
        ]
    );
    talk.publish("a");
    talk.publish("a");
    assert_eq!(talk.named(), ["publish 5 a", "publish 6 "]);
}

#[test]
fn what_is_not_acknowledged_is_sent_again_once_the_session_is_taken_up() {
    let v3_kept = Config {
        clean_start: false,
        publish_qos: Qos::ExactlyOnce,
        ..v3()
    };
    for config in [keeping(Qos::ExactlyOnce), v3_kept] {
        let v5 = config.version == Version::V5;
        let mut talk = Talk::connected(config, &List::default());
        assert!(talk.session.asks_to_resume());
        for _ in 0..5 {
            talk.publish("t");
        }
        talk.ack(Step::Received, 2, 0).unwrap();
        talk.ack(Step::Received, 3, 0).unwrap();
        talk.ack(Step::Complete, 3, 0).unwrap();
        talk.said();
        // The last one never left.
        assert!(talk.session.lost(1));
        assert_eq!(talk.publish("t"), Sent::Full);
        // A connection that came to nothing.
        talk.session.begin(&Introduction::default(), &mut talk.out);
        assert!(talk.session.lost(0));
        let terms = match v5 {
            true => list(Name::ReceiveMaximum, Value::Two(2)),
            false => List::default(),
        };
        assert_eq!(talk.greeted(true, &terms), "Connected { resumed: true }");
        if !v5 {
            let all = ["publish 1 t again", "Release 2 0x0", "publish 4 t again"];
            assert_eq!(talk.named(), all);
            continue;
        }
        // No more at once than the server allows now, and nothing new before them.
        assert_eq!(talk.named(), ["publish 1 t again", "Release 2 0x0"]);
        assert_eq!(talk.publish("t"), Sent::Full);
        assert_eq!(
            talk.ack(Step::Complete, 2, 0).unwrap(),
            "Acknowledged { id: 1 }"
        );
        assert_eq!(talk.named(), ["publish 4 t again"]);
        talk.ack(Step::Received, 1, 0).unwrap();
        talk.ack(Step::Complete, 1, 0).unwrap();
        assert_eq!(talk.named(), ["Release 1 0x0"]);
        assert_eq!(talk.publish("t"), Sent::Awaiting(5));
        assert_eq!(talk.named(), ["publish 6 t"]);
    }
}

#[test]
fn a_session_that_is_gone_takes_everything_along() {
    let mut talk = Talk::connected(keeping(Qos::AtLeastOnce), &List::default());
    talk.publish("t");
    let none = List::default();
    talk.delivery(Qos::ExactlyOnce, 1, false, &none, "t")
        .unwrap();
    assert!(talk.session.lost(0));
    assert_eq!(talk.greeted(false, &none), "Connected { resumed: false }");
    assert!(talk.said().is_empty());
    let delivered = talk.delivery(Qos::ExactlyOnce, 1, false, &none, "t");
    assert_eq!(delivered.unwrap(), "message t x");
    // Without a session nothing outlives the connection.
    let mut talk = Talk::connected(qos(Qos::AtLeastOnce), &none);
    talk.publish("t");
    assert!(!talk.session.lost(0) && !talk.session.asks_to_resume());
    // Nor when the server says so.
    let expires = list(Name::SessionExpiry, Value::Four(0));
    let mut talk = Talk::connected(keeping(Qos::AtLeastOnce), &expires);
    assert!(!talk.session.lost(0) && !talk.session.asks_to_resume());
}

#[test]
fn a_session_without_all_its_subscriptions_is_not_taken_up() {
    let mut talk = Talk::connected(keeping(Qos::AtLeastOnce), &List::default());
    talk.session.subscribe(0, "t", &mut talk.out);
    assert!(!talk.session.lost(0) && !talk.session.asks_to_resume());
    talk.out.clear();
    talk.session.begin(&Introduction::default(), &mut talk.out);
    assert!(talk.said()[0].contains("clean_start: true"));
}

#[test]
fn a_session_that_was_not_asked_for_breaks_the_protocol() {
    let present = |session_present, reason| {
        Packet::ConnAck(ConnAck {
            session_present,
            reason,
            properties: Properties::default(),
        })
    };
    let mut talk = Talk::new(keeping(Qos::AtLeastOnce));
    talk.session.begin(&Introduction::default(), &mut talk.out);
    assert!(talk.hear(&present(true, 0)).is_err());
    let mut talk = Talk::new(keeping(Qos::AtLeastOnce));
    talk.session.begin(&Introduction::default(), &mut talk.out);
    assert!(talk.hear(&present(true, 0x87)).is_err());
    // One of another run is no session of ours: what it lacks is asked for.
    let mut talk = Talk::new(Config {
        clean_start: false,
        ..v3()
    });
    assert_eq!(
        talk.greeted(true, &List::default()),
        "Connected { resumed: false }"
    );
}

#[test]
fn an_identifier_that_the_server_found_is_used_again() {
    let id = list(Name::AssignedClientIdentifier, Value::Text("you"));
    let mut talk = Talk::connected(keeping(Qos::AtLeastOnce), &id);
    talk.session.lost(0);
    talk.session.begin(&Introduction::default(), &mut talk.out);
    let said = talk.said();
    assert!(said[0].contains(r#"client_id: "you""#) && said[0].contains("clean_start: false"));
}

#[test]
fn it_beats_as_agreed_on() {
    let seconds = Duration::from_secs_f64;
    let rhythm = |send, hear| Rhythm {
        send: Some(seconds(send)),
        hear: Some(seconds(hear)),
    };
    let config = Config {
        keep_alive_s: 8,
        ..Config::default()
    };
    let mut talk = Talk::new(config.clone());
    assert_eq!(talk.session.rhythm(), Rhythm::default());
    talk.greeted(false, &List::default());
    assert_eq!(talk.session.rhythm(), rhythm(7.0, 12.0));
    let theirs = list(Name::ServerKeepAlive, Value::Two(16));
    let mut talk = Talk::connected(config, &theirs);
    assert_eq!(talk.session.rhythm(), rhythm(14.0, 24.0));
    talk.session.beat(&mut talk.out);
    assert_eq!(talk.said(), ["PingReq"]);
    assert_eq!(talk.hear(&Packet::PingResp).unwrap(), "Other");
    let none = Config {
        keep_alive_s: 0,
        ..Config::default()
    };
    let talk = Talk::connected(none, &List::default());
    assert_eq!(talk.session.rhythm(), Rhythm::default());
}

#[test]
fn goodbye_ends_the_session() {
    let mut talk = Talk::connected(keeping(Qos::AtLeastOnce), &List::default());
    assert!(!talk.session.goodbye(&mut talk.out));
    let (_, bytes) = talk.out.messages().next().unwrap();
    assert_eq!(bytes, b"\xe0\x07\0\x05\x11\0\0\0\0");
    assert!(!talk.session.lost(0));
    let mut talk = Talk::connected(v3(), &List::default());
    talk.session.goodbye(&mut talk.out);
    assert_eq!(talk.named(), ["disconnect 0x0"]);
}

#[test]
fn text_and_other_nonsense_break_the_protocol() {
    let mut talk = Talk::connected(Config::default(), &List::default());
    let mut bytes = &b"\xd0\0"[..];
    let text = talk
        .session
        .next(&mut bytes, Form::Text, MAX, &mut talk.out);
    assert!(text.is_err());
    assert_eq!(talk.named(), ["disconnect 0x82"]);
    let cases: [(&[u8], &str); 6] = [
        (b"\x20\x03\0\0\0", "disconnect 0x82"),
        (b"\xc0\0", "disconnect 0x82"),
        (b"\xb0\x04\0\x01\0\0", "disconnect 0x82"),
        (b"\xf0\0", "disconnect 0x82"),
        (b"\xd1\0", "disconnect 0x81"),
        (b"\x30\xff\xff\x03", "disconnect 0x95"),
    ];
    for (bytes, said) in cases {
        let mut talk = Talk::connected(Config::default(), &List::default());
        assert!(talk.hear_bytes(bytes).is_err(), "{bytes:x?}");
        assert_eq!(talk.named(), [said], "{bytes:x?}");
    }
    // Before the CONNACK there is nobody to tell, and in 3.1.1 no way.
    let mut talk = Talk::new(Config::default());
    assert!(talk.hear_bytes(b"\xd0\0").is_err());
    assert!(talk.said().is_empty());
    let mut talk = Talk::connected(v3(), &List::default());
    assert!(talk.hear_bytes(b"\xd1\0").is_err());
    assert!(talk.said().is_empty());
}

#[test]
fn packets_lie_in_messages_as_they_like() {
    let mut talk = Talk::connected(Config::default(), &List::default());
    let mut stream = Vec::new();
    for payload in ["one", "two", "three"] {
        let message = Packet::Publish(Publish {
            again: false,
            qos: Qos::AtLeastOnce,
            retain: false,
            topic: "t",
            id: 1,
            properties: Properties::default(),
            payload: payload.as_bytes(),
        });
        message.encode(Version::V5, &mut stream);
    }
    for step in 1..=stream.len() {
        let mut heard = Vec::new();
        for mut piece in stream.chunks(step) {
            while let Some(event) = talk
                .session
                .next(&mut piece, Form::Binary, MAX, &mut talk.out)
                .unwrap()
            {
                heard.push(tell(&event));
            }
        }
        assert_eq!(
            heard,
            ["message t one", "message t two", "message t three"],
            "{step}"
        );
        assert_eq!(talk.said().len(), 3);
    }
}

proptest! {
    #[test]
    fn a_hostile_server_never_makes_a_session_panic(
        parts in prop::collection::vec(prop_oneof![
            prop::sample::select(vec![
                b"\x20\x03\0\0\0".to_vec(), b"\x20\x02\0\0".to_vec(), b"\x20\x06\x01\0\x03\x21\0\x01".to_vec(),
                b"\x40\x02\0\x01".to_vec(), b"\x50\x02\0\x01".to_vec(), b"\x62\x02\0\x01".to_vec(), b"\x70\x02\0\x02".to_vec(),
                b"\x90\x04\0\x01\0\0".to_vec(), b"\x34\x08\0\x01a\0\x07\0hi".to_vec(), b"\x34\x07\0\x01a\0\x07hi".to_vec(),
                b"\x30\x08\0\x01a\x03\x23\0\x01x".to_vec(), b"\xd0\0".to_vec(), b"\xe0\x01\x8b".to_vec(),
            ]),
            prop::collection::vec(any::<u8>(), 0..12),
        ], 0..20),
        version in prop::sample::select(&VERSIONS[..]),
        publish_qos in prop::sample::select(&QOS[..]),
        step in 1..30usize,
        lose in any::<bool>(),
    ) {
        let config = Config {
            version, publish_qos, clean_start: version == Version::V5, topic_alias_maximum: 3, topic_aliases: true,
            session_expiry_s: 5, receive_maximum: 4, ..Config::default()
        };
        let mut talk = Talk::new(config);
        talk.session.begin(&Introduction::default(), &mut talk.out);
        let mut greeting = bytes_of(&Packet::ConnAck(ConnAck {
            session_present: false, reason: 0, properties: Properties::default(),
        }), version);
        for _ in 0..2 {
            let said = [&greeting[..], &parts.concat()].concat();
            'said: for mut piece in said.chunks(step) {
                loop {
                    match talk.session.next(&mut piece, Form::Binary, 500, &mut talk.out) {
                        Ok(Some(Event::Connected { .. })) => {
                            talk.session.subscribe(0, "t", &mut talk.out);
                            for _ in 0..3 {
                                talk.session.publish("t", b"payload", &mut talk.out);
                            }
                        }
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'said,
                    }
                }
            }
            talk.session.beat(&mut talk.out);
            if !lose {
                talk.session.goodbye(&mut talk.out);
            }
            let kept = talk.session.lost(1);
            prop_assert_eq!(kept, talk.session.asks_to_resume());
            talk.session.begin(&Introduction::default(), &mut talk.out);
            // The session of before, where it was asked for.
            greeting[2] = kept.into();
        }
        // Whatever was said are packets.
        for (_, message) in talk.out.messages() {
            prop_assert!(Packet::decode(message, version).is_ok(), "{message:x?}");
        }
    }
}
