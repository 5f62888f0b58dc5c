use super::packet::{
    Ack, Answers, ConnAck, Connect, Farewell, Filters, Packet, Publish, Step, Subscribe, Will,
};
use super::*;
use proptest::prelude::*;

mod conversation;

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5];
const QOS: [Qos; 3] = [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];

fn bytes_of(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out);
    out
}

/// What a publish of version 5 looks like, byte by byte, after the specification's figures.
#[test]
fn bytes_are_those_of_the_specification() {
    let mut list = List::default();
    list.put(Name::SessionExpiry, Value::Four(10));
    let connect = Packet::Connect(Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 10,
        properties: list.properties(),
        client_id: "c",
        will: Some(Will {
            qos: Qos::AtLeastOnce,
            retain: false,
            properties: Properties::default(),
            topic: "w",
            payload: b"!",
        }),
        username: Some("u"),
        password: Some(b"p"),
    });
    // The flags are those of the specification's example: user name, password, a will of QoS 1, clean start.
    let expected =
        b"\x10\x20\0\x04MQTT\x05\xce\0\x0a\x05\x11\0\0\0\x0a\0\x01c\0\0\x01w\0\x01!\0\x01u\0\x01p";
    assert_eq!(bytes_of(&connect, Version::V5), expected);
    let publish = Packet::Publish(Publish {
        again: true,
        qos: Qos::ExactlyOnce,
        retain: true,
        topic: "a/b",
        id: 10,
        properties: Properties::default(),
        payload: b"hi",
    });
    assert_eq!(
        bytes_of(&publish, Version::V5),
        b"\x3d\x0a\0\x03a/b\0\x0a\0hi"
    );
    assert_eq!(
        bytes_of(&publish, Version::V3_1_1),
        b"\x3d\x09\0\x03a/b\0\x0ahi"
    );
    let cases: [(Packet<'_>, &[u8]); 4] = [
        (
            Packet::Ack(Ack {
                step: Step::Release,
                id: 258,
                reason: 0,
                properties: Properties::default(),
            }),
            b"\x62\x02\x01\x02",
        ),
        (Packet::PingReq, b"\xc0\0"),
        (
            Packet::Disconnect(Farewell {
                reason: 0,
                properties: Properties::default(),
            }),
            b"\xe0\0",
        ),
        (
            Packet::Disconnect(Farewell {
                reason: 0x8b,
                properties: Properties::default(),
            }),
            b"\xe0\x01\x8b",
        ),
    ];
    for (packet, expected) in cases {
        assert_eq!(bytes_of(&packet, Version::V5), expected);
    }
}

#[test]
fn lengths_grow_as_the_specification_says() {
    // Table 1-1, its ends.
    let cases: [(usize, &[u8]); 8] = [
        (0, b"\0"),
        (127, b"\x7f"),
        (128, b"\x80\x01"),
        (16_383, b"\xff\x7f"),
        (16_384, b"\x80\x80\x01"),
        (2_097_151, b"\xff\xff\x7f"),
        (2_097_152, b"\x80\x80\x80\x01"),
        (268_435_455, b"\xff\xff\xff\x7f"),
    ];
    for (value, bytes) in cases {
        let mut out = Vec::new();
        wire::put_variable(value, &mut out);
        assert_eq!(out, bytes, "{value}");
        assert_eq!(
            wire::variable(bytes),
            Ok(Some((value as u32, bytes.len()))),
            "{value}"
        );
    }
    assert!(wire::variable(b"\xff\xff\xff\xff").is_err());
    assert_eq!(wire::variable(b"\xff\xff\xff"), Ok(None));
}

/// What each byte that is wrong leads to.
#[test]
fn what_is_no_packet_is_refused() {
    use reason::{MALFORMED_PACKET, PROTOCOL_ERROR, UNSUPPORTED_VERSION};
    let five = Version::V5;
    let cases: [(&[u8], Version, u8); 24] = [
        (b"\0\0", five, MALFORMED_PACKET),
        (b"\xf0\0", Version::V3_1_1, MALFORMED_PACKET),
        // Flags.
        (b"\xc1\0", five, MALFORMED_PACKET),
        (b"\x60\x02\0\x01", five, MALFORMED_PACKET),
        (b"\x36\x05\0\x01a\0\x01", five, MALFORMED_PACKET),
        (b"\x38\x04\0\x01a\0", five, MALFORMED_PACKET),
        // Lengths.
        (b"\xc0\x01\0", five, MALFORMED_PACKET),
        (b"\xc0\x01", five, MALFORMED_PACKET),
        (b"\x40\x01\0", five, MALFORMED_PACKET),
        (b"\x40\x03\0\x01\0", Version::V3_1_1, MALFORMED_PACKET),
        (b"\x30\x03\0\x09a", five, MALFORMED_PACKET),
        (b"\x20\x03\0\0\x7f", five, MALFORMED_PACKET),
        // Strings.
        (b"\x30\x04\0\x01\0\0", five, MALFORMED_PACKET),
        (b"\x30\x04\0\x01\xff\0", five, MALFORMED_PACKET),
        (b"\x30\x04\0\x01#\0", five, PROTOCOL_ERROR),
        // Identifiers.
        (b"\x40\x02\0\0", five, MALFORMED_PACKET),
        (b"\x32\x06\0\x01a\0\0\0", five, MALFORMED_PACKET),
        // Properties: unknown, of another packet, twice, neither 0 nor 1, 0.
        (b"\x30\x06\0\x01a\x02\x7f\0", five, MALFORMED_PACKET),
        (b"\x30\x07\0\x01a\x03\x13\0\x01", five, PROTOCOL_ERROR),
        (
            b"\x30\x0a\0\x01a\x06\x23\0\x01\x23\0\x01",
            five,
            PROTOCOL_ERROR,
        ),
        (b"\x20\x05\0\0\x02\x24\x02", five, PROTOCOL_ERROR),
        (b"\x20\x06\0\0\x03\x21\0\0", five, PROTOCOL_ERROR),
        // Subscribe to nothing, and another version.
        (b"\x82\x03\0\x01\0", five, PROTOCOL_ERROR),
        (b"\x10\x0a\0\x04MQTT\x03\x02\0\0", five, UNSUPPORTED_VERSION),
    ];
    for (bytes, version, code) in cases {
        let refused = Packet::decode(bytes, version).expect_err(&format!("{bytes:x?}"));
        assert_eq!(refused.code, code, "{bytes:x?}: {}", refused.what);
    }
}

/// Strings that MQTT can say.
fn text(most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::char::range('\u{1}', '\u{2ff}'), 0..most)
        .prop_map(|all| all.into_iter().collect())
}

fn topic() -> impl Strategy<Value = String> {
    "[a-z/$]{1,200}"
}

/// Properties that may stand in this packet.
fn properties(names: &'static [Name]) -> impl Strategy<Value = List> {
    prop::sample::subsequence(names, 0..=names.len()).prop_flat_map(|names| {
        (Just(names), any::<u16>(), text(150), 0..=1u8).prop_map(|(names, number, text, flag)| {
            let mut list = List::default();
            for name in names {
                let value = match name {
                    Name::PayloadFormat | Name::MaximumQos | Name::RetainAvailable => {
                        Value::Byte(flag)
                    }
                    Name::TopicAlias | Name::ServerKeepAlive | Name::TopicAliasMaximum => {
                        Value::Two(number)
                    }
                    Name::ReceiveMaximum => Value::Two(number.max(1)),
                    Name::SessionExpiry | Name::MessageExpiry | Name::WillDelay => {
                        Value::Four(number.into())
                    }
                    Name::SubscriptionIdentifier => Value::Variable(u32::from(number) + 1),
                    Name::CorrelationData => Value::Binary(text.as_bytes()),
                    Name::UserProperty => Value::Pair("name", &text),
                    _ => Value::Text(&text),
                };
                list.put(name, value);
            }
            list
        })
    })
}

/// A packet is what it was when it has been written and read.
fn survives(packet: Packet<'_>, version: Version) -> Result<(), TestCaseError> {
    let bytes = bytes_of(&packet, version);
    let mut cut = &bytes[..];
    let mut decoder = Decoder::default();
    let whole = decoder.next(&mut cut, usize::MAX).unwrap().unwrap();
    prop_assert_eq!(whole, &bytes[..]);
    prop_assert_eq!(Packet::decode(whole, version), Ok(packet));
    // None of its beginnings is one.
    for end in 0..bytes.len().min(40) {
        prop_assert!(Packet::decode(&bytes[..end], version).is_err());
    }
    Ok(())
}

/// In 3.1.1 there are none.
fn fitting(list: &List, version: Version) -> Properties<'_> {
    match version {
        Version::V5 => list.properties(),
        Version::V3_1_1 => Properties::default(),
    }
}

/// All that is read of hostile bytes, in pieces of this length.
fn read(bytes: &[u8], step: usize, version: Version, max: usize) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut heard = Vec::new();
    for mut piece in bytes.chunks(step.max(1)) {
        loop {
            match decoder.next(&mut piece, max) {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    assert!(packet.len() <= max);
                    heard.push(format!("{:?}", Packet::decode(packet, version)));
                }
                Err(broken) => {
                    heard.push(format!("{broken:?}"));
                    return heard;
                }
            }
        }
        // A header may have five bytes, and how long its packet is it says with its last.
        assert!(piece.is_empty() && decoder.held() <= max.max(5));
    }
    heard
}

proptest! {
    #[test]
    fn connect_survives(
        version in prop::sample::select(&VERSIONS[..]),
        (clean_start, keep_alive) in any::<(bool, u16)>(),
        list in properties(&[Name::SessionExpiry, Name::ReceiveMaximum, Name::UserProperty]),
        client_id in text(300),
        will in prop::option::of((prop::sample::select(&QOS[..]), any::<bool>(), topic(), text(100),
            properties(&[Name::WillDelay, Name::ContentType]))),
        username in prop::option::of(text(20)),
        password in prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
    ) {
        let packet = Packet::Connect(Connect {
            version, clean_start, keep_alive,
            properties: fitting(&list, version),
            client_id: &client_id,
            will: will.as_ref().map(|(qos, retain, topic, payload, list)| Will {
                qos: *qos, retain: *retain, topic, payload: payload.as_bytes(), properties: fitting(list, version),
            }),
            username: username.as_deref(),
            password: password.as_deref().filter(|_| version == Version::V5 || username.is_some()),
        });
        survives(packet, version)?;
    }

    #[test]
    fn publish_survives(
        version in prop::sample::select(&VERSIONS[..]),
        qos in prop::sample::select(&QOS[..]),
        (again, retain) in any::<(bool, bool)>(),
        topic in topic(),
        id in 1..=u16::MAX,
        list in properties(&[Name::PayloadFormat, Name::MessageExpiry, Name::TopicAlias, Name::CorrelationData,
            Name::SubscriptionIdentifier, Name::ResponseTopic, Name::UserProperty]),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let acknowledged = qos > Qos::AtMostOnce;
        let packet = Packet::Publish(Publish {
            again: again && acknowledged, qos, retain, topic: &topic,
            id: if acknowledged { id } else { 0 },
            properties: fitting(&list, version),
            payload: &payload,
        });
        survives(packet, version)?;
    }

    #[test]
    fn answers_survive(
        version in prop::sample::select(&VERSIONS[..]),
        id in 1..=u16::MAX,
        reason in any::<u8>(),
        session_present in any::<bool>(),
        list in properties(&[Name::ReasonString, Name::UserProperty]),
        terms in properties(&[Name::AssignedClientIdentifier, Name::ServerKeepAlive, Name::ReceiveMaximum,
            Name::TopicAliasMaximum, Name::MaximumQos, Name::RetainAvailable, Name::ReasonString]),
        reasons in prop::collection::vec(any::<u8>(), 1..5),
        step in prop::sample::select(vec![Step::Ack, Step::Received, Step::Release, Step::Complete]),
    ) {
        let (properties, terms) = (fitting(&list, version), fitting(&terms, version));
        survives(Packet::ConnAck(ConnAck { session_present, reason, properties: terms }), version)?;
        survives(Packet::SubAck(Answers { id, properties, reasons: &reasons }), version)?;
        let few = if version == Version::V5 { &reasons[..] } else { &[] };
        survives(Packet::UnsubAck(Answers { id, properties, reasons: few }), version)?;
        let reason = if version == Version::V5 { reason } else { 0 };
        survives(Packet::Ack(Ack { step, id, reason, properties }), version)?;
        survives(Packet::Disconnect(Farewell { reason, properties }), version)?;
        if version == Version::V5 {
            survives(Packet::Auth(Farewell { reason, properties }), version)?;
        }
        survives(Packet::PingResp, version)?;
    }

    #[test]
    fn subscribe_survives(
        version in prop::sample::select(&VERSIONS[..]),
        id in 1..=u16::MAX,
        list in properties(&[Name::SubscriptionIdentifier, Name::UserProperty]),
        filters in prop::collection::vec((text(40), 0..=2u8), 1..5),
    ) {
        for asks in [true, false] {
            let mut bytes = Vec::new();
            for (filter, qos) in &filters {
                Filters::put(filter, asks.then_some(*qos), &mut bytes);
            }
            let none = List::default();
            let subscribe = Subscribe {
                id,
                properties: fitting(if asks { &list } else { &none }, version),
                filters: Filters::of(&bytes, asks),
            };
            let read: Vec<_> = subscribe.filters.iter().map(|(filter, qos)| (filter.to_owned(), qos)).collect();
            let expected: Vec<_> = filters.iter().map(|(filter, qos)| (filter.clone(), if asks { *qos } else { 0 })).collect();
            prop_assert_eq!(read, expected);
            survives(if asks { Packet::Subscribe(subscribe) } else { Packet::Unsubscribe(subscribe) }, version)?;
        }
    }

    #[test]
    fn hostile_bytes_are_told_alike_however_they_are_cut(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                &b"\x20"[..], b"\x03\0\0\0", b"\x30", b"\x32", b"\x35", b"\x0a", b"\0\x03a/b", b"\0\x0a", b"\0", b"\x02",
                b"\x23\0\x01", b"\x40\x02\0\x01", b"\x62\x02\0\x01", b"\xd0\0", b"\xe0\x01\x8b", b"\xff", b"\x80", b"\x90\x04\0\x01\0\0",
            ]), 0..30),
        version in prop::sample::select(&VERSIONS[..]),
        step in 1..20usize,
        max in 1..80usize,
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(read(&bytes, step, version, max), read(&bytes, usize::MAX, version, max));
    }

    #[test]
    fn anything_at_all_is_read_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 2..60),
        version in prop::sample::select(&VERSIONS[..]),
    ) {
        let _ = Packet::decode(&bytes, version);
        // The same with a length that is right, so that more than its header is read.
        bytes[1] = (bytes.len() - 2) as u8;
        if let Ok(packet) = Packet::decode(&bytes, version) {
            // What was taken can be written, and is the same then.
            let again = bytes_of(&packet, version);
            prop_assert_eq!(Packet::decode(&again, version), Ok(packet));
        }
    }
}
