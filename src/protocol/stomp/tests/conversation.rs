//! What a session says, and what it makes of what it hears.

use super::*;

/// A session, and what it has said since it was last asked.
struct Talk {
    session: Session,
    out: Outgoing,
}

impl Talk {
    fn new(config: Config) -> Self {
        Talk {
            session: Session::new(&config.into()),
            out: Outgoing::default(),
        }
    }

    /// One that is connected.
    fn connected(config: Config, version: Version) -> Self {
        let mut talk = Talk::new(config);
        talk.session.begin(&Introduction::default(), &mut talk.out);
        let greeting = format!("CONNECTED\nversion:{}\n\n\0", version.name());
        assert_eq!(
            talk.hear(&greeting),
            Ok(vec!["Connected { resumed: false }".to_owned()])
        );
        talk.said();
        talk
    }

    fn said(&mut self) -> Vec<String> {
        let all = self
            .out
            .messages()
            .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
        let all = all.collect();
        self.out.clear();
        all
    }

    fn hear(&mut self, text: &str) -> Result<Vec<String>, Violation> {
        let mut events = Vec::new();
        let mut bytes = text.as_bytes();
        while let Some(event) = self
            .session
            .next(&mut bytes, Form::Text, 1000, &mut self.out)?
        {
            events.push(match event {
                Event::Message {
                    topic,
                    payload,
                    again,
                    refused,
                } => {
                    let payload = String::from_utf8_lossy(payload).into_owned();
                    format!(
                        "{} on {}{}{}",
                        payload,
                        topic.unwrap_or_default(),
                        if again { " again" } else { "" },
                        if refused { " refused" } else { "" }
                    )
                }
                event => format!("{event:?}"),
            });
        }
        Ok(events)
    }
}

#[test]
fn it_introduces_itself() {
    let mut talk = Talk::new(Config {
        versions: vec![Version::V1_2, Version::V1_1],
        ..Config::default()
    });
    assert_eq!(
        Config::default().subprotocols(),
        ["v12.stomp", "v11.stomp", "v10.stomp"]
    );
    let who = Introduction::new(vec![
        (Field::Host, "broker:1".into()),
        (Field::Login, "me:\\".into()),
        (Field::Passcode, "secret".into()),
    ]);
    talk.session.begin(&who, &mut talk.out);
    let expected = "CONNECT\naccept-version:1.1,1.2\nhost:broker:1\nheart-beat:10000,10000\nlogin:me:\\\npasscode:secret\n\n\0";
    assert_eq!(talk.said(), [expected]);
    talk.session.begin(&Introduction::default(), &mut talk.out);
    assert_eq!(
        talk.said(),
        ["CONNECT\naccept-version:1.1,1.2\nhost:/\nheart-beat:10000,10000\n\n\0"]
    );
    assert!(!talk.session.asks_to_resume() && !talk.session.goodbye(&mut talk.out));
    assert!(talk.said().is_empty());
}

#[test]
fn versions_and_heartbeats_are_negotiated() {
    let ms = Duration::from_millis;
    // Ours, theirs, how often a beat goes out, what silence is too long.
    let table = [
        (
            (1000, 500),
            "heart-beat:2000,800\n",
            Some(ms(875)),
            Some(ms(4000)),
        ),
        (
            (1000, 500),
            "heart-beat:100,3000\n",
            Some(ms(2625)),
            Some(ms(1000)),
        ),
        ((1000, 500), "heart-beat:0,800\n", Some(ms(875)), None),
        ((1000, 500), "heart-beat:800,0\n", None, Some(ms(1600))),
        ((0, 500), "heart-beat:800,800\n", None, Some(ms(1600))),
        ((1000, 0), "heart-beat:800, 800\n", Some(ms(875)), None),
        ((1000, 500), "", None, None),
    ];
    for ((send_ms, hear_ms), theirs, send, hear) in table {
        let mut talk = Talk::new(Config {
            heartbeat: Heartbeat { send_ms, hear_ms },
            ..Config::default()
        });
        assert_eq!(talk.session.rhythm(), Rhythm::default());
        assert!(
            talk.hear(&format!("CONNECTED\nversion:1.1\n{theirs}\n\0\n"))
                .is_ok()
        );
        assert_eq!(talk.session.rhythm(), Rhythm { send, hear }, "{theirs}");
    }
    let bad = [
        "CONNECTED\nversion:1.3\n\n\0",
        // Not offered.
        "CONNECTED\nversion:1.2\n\n\0",
        "CONNECTED\nversion:1.1\nheart-beat:1\n\n\0",
        "CONNECTED\nversion:1.1\nheart-beat:-1,1\n\n\0",
        "RECEIPT\nreceipt-id:m0\n\n\0",
    ];
    for text in bad {
        let mut talk = Talk::new(Config {
            versions: vec![Version::V1_1, Version::V1_0],
            ..Config::default()
        });
        assert!(talk.hear(text).is_err(), "{text:?}");
    }
    // A server that knows of no versions.
    let mut talk = Talk::new(Config::default());
    assert!(talk.hear("CONNECTED\nsession:1\n\n\0").is_ok());
    talk.session.subscribe(0, "a:b\\", &mut talk.out);
    assert_eq!(
        talk.said(),
        ["SUBSCRIBE\nid:0\ndestination:a:b\\\nack:auto\nreceipt:s0\n\n\0"]
    );
}

#[test]
fn a_refusal_says_why() {
    let mut talk = Talk::new(Config::default());
    let text = b"Bad CONNECT".as_slice();
    let refused = format!("{:?}", Event::Refused { code: 0, text });
    assert_eq!(
        talk.hear("ERROR\nmessage:Bad CONNECT\n\nmore\0"),
        Ok(vec![refused])
    );
}

#[test]
fn everything_asked_for_is_answered_by_its_receipt() {
    let mut talk = Talk::connected(
        Config {
            prefix: "/topic/".into(),
            suffix: ".x".into(),
            subscribe_headers: vec![("prefetch-count".into(), "5".into())],
            send_headers: vec![("content-type".into(), "text/plain".into())],
            ..Config::default()
        },
        Version::V1_2,
    );
    assert!(talk.session.subscribe(3, "a:b", &mut talk.out));
    assert_eq!(
        talk.said(),
        [
            "SUBSCRIBE\nid:3\ndestination:/topic/a\\cb.x\nack:auto\nprefetch-count:5\nreceipt:s3\n\n\0"
        ]
    );
    for number in 0..2 {
        let publish = talk.session.publish("a", b"hello", &mut talk.out);
        assert_eq!(publish, Publish::Awaiting(number));
    }
    let send = |number| {
        format!(
            "SEND\ndestination:/topic/a.x\ncontent-type:text/plain\nreceipt:m{number}\ncontent-length:5\n\nhello\0"
        )
    };
    assert_eq!(talk.said(), [send(0), send(1)]);
    talk.session.publish("a", b"\xff", &mut talk.out);
    assert_eq!(talk.out.messages().next().unwrap().0, Form::Binary);
    talk.said();
    assert!(talk.session.goodbye(&mut talk.out));
    let unsubscribe = |place| format!("UNSUBSCRIBE\nid:{place}\n\n\0");
    let mut goodbye: Vec<String> = (0..4).map(unsubscribe).collect();
    goodbye.push("DISCONNECT\nreceipt:bye\n\n\0".into());
    assert_eq!(talk.said(), goodbye);

    let table = [
        ("RECEIPT\nreceipt-id:s3\n\n\0", "Subscribed { place: 3 }"),
        ("RECEIPT\nreceipt-id:m1\n\n\0", "Acknowledged { id: 1 }"),
        ("RECEIPT\nreceipt-id:bye\n\n\0", "Gone"),
        // Never asked for.
        ("RECEIPT\nreceipt-id:m3\n\n\0", "Other"),
        ("RECEIPT\nreceipt-id:s4\n\n\0", "Other"),
        ("RECEIPT\nreceipt-id:m-1\n\n\0", "Other"),
        ("RECEIPT\nreceipt-id:\n\n\0", "Other"),
        (
            "ERROR\nreceipt-id:m0\n\nno\0",
            "Rejected { id: 0, code: 0, text: [110, 111] }",
        ),
        (
            "ERROR\nreceipt-id:s3\n\n\0",
            "NotSubscribed { place: 3, code: 0, text: [] }",
        ),
        ("ERROR\n\nno\0", "Error { code: 0, text: [110, 111] }"),
        (
            "MESSAGE\ndestination:/topic/a.x\nmessage-id:1\nsubscription:3\n\nhi\0",
            "hi on a",
        ),
        (
            "MESSAGE\ndestination:/queue/a\\cb\n\nhi\0",
            "hi on /queue/a:b",
        ),
        (
            "MESSAGE\ndestination:/topic/a\\cb.x\nredelivered:true\n\nhi\0",
            "hi on a:b again",
        ),
        ("MESSAGE\nredelivered:false\n\nhi\0", "hi on "),
    ];
    for (heard, event) in table {
        assert_eq!(talk.hear(heard), Ok(vec![event.to_owned()]), "{heard:?}");
    }
    // One that names nothing is of the subscription that waits.
    talk.session.subscribe(4, "b", &mut talk.out);
    let event = "NotSubscribed { place: 4, code: 0, text: [110, 111] }";
    assert_eq!(
        talk.hear("ERROR\nmessage:no\n\n\0"),
        Ok(vec![event.to_owned()])
    );
    for wrong in [
        "RECEIPT\n\n\0",
        "CONNECTED\nversion:1.2\n\n\0",
        "SEND\n\n\0",
        "A\n\n\0",
    ] {
        assert!(talk.hear(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn without_receipts_nobody_waits() {
    let config = Config {
        receipts: false,
        ..Config::default()
    };
    let mut talk = Talk::connected(config, Version::V1_1);
    assert!(!talk.session.subscribe(0, "a", &mut talk.out));
    assert_eq!(
        talk.session.publish("a", b"x", &mut talk.out),
        Publish::Sent
    );
    assert_eq!(
        talk.said(),
        [
            "SUBSCRIBE\nid:0\ndestination:a\nack:auto\n\n\0",
            "SEND\ndestination:a\ncontent-length:1\n\nx\0"
        ]
    );
}

fn message(subscription: u32, id: &str) -> String {
    format!(
        "MESSAGE\nsubscription:{subscription}\nmessage-id:i{id}\nack:a{id}\ndestination:t\n\n\0"
    )
}

#[test]
fn each_message_is_acknowledged_as_its_version_does() {
    let table = [
        (Version::V1_2, "ACK\nid:a\\c1\n\n\0"),
        (Version::V1_1, "ACK\nmessage-id:i\\c1\nsubscription:7\n\n\0"),
        (Version::V1_0, "ACK\nmessage-id:i\\c1\nsubscription:7\n\n\0"),
    ];
    for (version, ack) in table {
        for mode in [Ack::ClientIndividual, Ack::Client] {
            let config = Config {
                ack: mode,
                ..Config::default()
            };
            let mut talk = Talk::connected(config, version);
            assert!(talk.hear(&message(7, "\\c1")).is_ok());
            assert_eq!(talk.said(), [ack]);
        }
        let mut talk = Talk::connected(Config::default(), version);
        assert!(talk.hear(&message(7, "1")).is_ok());
        assert!(talk.said().is_empty());
    }
    let config = Config {
        ack: Ack::Client,
        ..Config::default()
    };
    let mut talk = Talk::connected(config, Version::V1_2);
    assert!(talk.hear("MESSAGE\nmessage-id:1\n\n\0").is_err());
}

#[test]
fn one_acknowledgement_covers_many_of_its_subscription() {
    let config = Config {
        ack: Ack::Client,
        ack_every: 3,
        ..Config::default()
    };
    let mut talk = Talk::connected(config, Version::V1_2);
    let acks = |of: &[&str]| {
        of.iter()
            .map(|id| format!("ACK\nid:a{id}\n\n\0"))
            .collect::<Vec<_>>()
    };
    for id in ["1", "2", "3", "4"] {
        assert!(talk.hear(&message(0, id)).is_ok());
    }
    assert_eq!(talk.said(), acks(&["3"]));
    // Another's covers nothing of this one's.
    assert!(talk.hear(&message(1, "5")).is_ok());
    assert_eq!(talk.said(), acks(&["4"]));
    talk.session.beat(&mut talk.out);
    assert_eq!(talk.said(), acks(&["5"]));
    talk.session.beat(&mut talk.out);
    assert_eq!(talk.said(), ["\n"]);
    assert!(talk.hear(&message(1, "6")).is_ok());
    talk.session.goodbye(&mut talk.out);
    assert_eq!(talk.said()[..1], acks(&["6"]));
    // What a connection is owed is gone with it.
    assert!(talk.hear(&message(1, "7")).is_ok());
    talk.session.begin(&Introduction::default(), &mut talk.out);
    talk.said();
    assert!(talk.hear("CONNECTED\nversion:1.2\n\n\0").is_ok());
    talk.session.goodbye(&mut talk.out);
    assert_eq!(talk.said(), ["DISCONNECT\nreceipt:bye\n\n\0"]);
}

#[test]
fn a_share_is_refused_and_taken_when_it_comes_again() {
    let nacks = |ack, version| {
        let mut talk = Talk::connected(
            Config {
                ack,
                ack_every: 10,
                nack_millionths: 400_000,
                ..Config::default()
            },
            version,
        );
        let mut refused = Vec::new();
        for id in 0..10 {
            let events = talk.hear(&message(7, &id.to_string())).unwrap();
            refused.extend(events[0].ends_with(" refused").then_some(id));
        }
        let again = "MESSAGE\nsubscription:7\nmessage-id:i9\nack:a9\nredelivered:true\n\n\0";
        assert_eq!(
            talk.hear(again).unwrap(),
            ["on  again".replace("on ", " on ")]
        );
        (refused, talk.said())
    };
    let (refused, said) = nacks(Ack::ClientIndividual, Version::V1_2);
    assert_eq!(refused, [2, 4, 7, 9], "evenly");
    assert_eq!(said.len(), 11, "each is answered");
    assert_eq!(said[2], "NACK\nid:a2\n\n\0");
    assert_eq!(said[10], "ACK\nid:a9\n\n\0");
    // What came before it is acknowledged first, or it would be refused too.
    let (refused, said) = nacks(Ack::Client, Version::V1_1);
    assert_eq!(refused, [2, 4, 7, 9]);
    let id = |word: &str, id: u8| format!("{word}\nmessage-id:i{id}\nsubscription:7\n\n\0");
    let expected = [
        id("ACK", 1),
        id("NACK", 2),
        id("ACK", 3),
        id("NACK", 4),
        id("ACK", 6),
        id("NACK", 7),
        id("ACK", 8),
        id("NACK", 9),
    ];
    assert_eq!(said, expected);
    // The first version has no word for it.
    let (refused, said) = nacks(Ack::ClientIndividual, Version::V1_0);
    assert!(refused.is_empty() && said.iter().all(|said| said.starts_with("ACK")));
}

#[test]
fn numbers_go_on_over_connections_and_half_a_frame_does_not() {
    let mut talk = Talk::connected(Config::default(), Version::V1_2);
    talk.session.publish("a", b"x", &mut talk.out);
    assert_eq!(talk.hear("RECEIPT\nreceipt-"), Ok(vec![]));
    talk.session.begin(&Introduction::default(), &mut talk.out);
    assert!(talk.hear("CONNECTED\nversion:1.2\n\n\0").is_ok());
    assert_eq!(
        talk.session.publish("a", b"x", &mut talk.out),
        Publish::Awaiting(1)
    );
}
