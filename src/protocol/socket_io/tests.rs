//! Packets, and conversations with whoever says what.

mod conversation;

use super::engine_io::{self, Open};
use super::packet::{Kind, MAX_ATTACHMENTS, Packet};
use super::{Config, Place};
use proptest::prelude::*;
use std::time::Duration;

fn packet(kind: Kind, namespace: &str, id: Option<u64>, data: &'static str) -> Packet<'static> {
    Packet {
        kind,
        attachments: 0,
        namespace: Box::leak(namespace.to_owned().into_boxed_str()).as_bytes(),
        id,
        data: data.as_bytes(),
    }
}

#[test]
fn packets_of_the_specification() {
    let binary = |kind, attachments, namespace, id, data| Packet {
        attachments,
        ..packet(kind, namespace, id, data)
    };
    let table = [
        ("0", packet(Kind::Connect, "/", None, "")),
        (
            r#"0/admin,{"sid":"x"}"#,
            packet(Kind::Connect, "/admin", None, r#"{"sid":"x"}"#),
        ),
        ("1/admin,", packet(Kind::Disconnect, "/admin", None, "")),
        (r#"2["foo"]"#, packet(Kind::Event, "/", None, r#"["foo"]"#)),
        (
            r#"2/admin,12["foo"]"#,
            packet(Kind::Event, "/admin", Some(12), r#"["foo"]"#),
        ),
        (
            r#"3/admin,13["bar"]"#,
            packet(Kind::Ack, "/admin", Some(13), r#"["bar"]"#),
        ),
        (
            r#"4{"message":"Not authorized"}"#,
            packet(
                Kind::ConnectError,
                "/",
                None,
                r#"{"message":"Not authorized"}"#,
            ),
        ),
        (
            r#"51-["baz",{"_placeholder":true,"num":0}]"#,
            binary(
                Kind::BinaryEvent,
                1,
                "/",
                None,
                r#"["baz",{"_placeholder":true,"num":0}]"#,
            ),
        ),
        (
            r#"62-/admin,15[{"_placeholder":true,"num":1}]"#,
            binary(
                Kind::BinaryAck,
                2,
                "/admin",
                Some(15),
                r#"[{"_placeholder":true,"num":1}]"#,
            ),
        ),
    ];
    for (text, packet) in table {
        assert_eq!(Packet::decode(text.as_bytes()), Ok(packet), "{text}");
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
    // Without a comma the namespace is all there is.
    assert_eq!(
        Packet::decode(b"1/admin"),
        Ok(packet(Kind::Disconnect, "/admin", None, ""))
    );
}

#[test]
fn what_is_no_packet() {
    for bad in [
        "",
        "7",
        "x",
        "5",
        r#"5["foo"]"#,
        r#"51["foo"]"#,
        "5-[]",
        "5257-[]",
        "54294967297-[]",
        "299999999999999999999999[]",
    ] {
        assert!(Packet::decode(bad.as_bytes()).is_err(), "{bad}");
    }
    let most = format!("5{MAX_ATTACHMENTS}-[]");
    assert_eq!(
        Packet::decode(most.as_bytes()).unwrap().attachments,
        MAX_ATTACHMENTS
    );
    for bad in ["", "7", "b64", " 2"] {
        assert!(engine_io::decode(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn an_open_packet_says_when_pings_come() {
    let of = |interval, timeout| Open {
        ping_interval: Duration::from_millis(interval),
        ping_timeout: Duration::from_millis(timeout),
    };
    let mut out = Vec::new();
    of(25_000, 20_000).write("abc", false, 1_000_000, &mut out);
    let text = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    assert_eq!(std::str::from_utf8(&out).unwrap(), text);
    let (kind, rest) = engine_io::decode(&out).unwrap();
    assert_eq!(
        (kind, Open::read(rest)),
        (engine_io::Kind::Open, Ok(of(25_000, 20_000)))
    );
    // A time beyond all times is a long time, not an overflow.
    let long = br#"{"pingInterval":18446744073709551615,"pingTimeout":1}"#;
    assert_eq!(Open::read(long), Ok(of(u64::from(u32::MAX), 1)));
    for bad in [
        "",
        "{}",
        r#"{"pingInterval":25000}"#,
        r#"{"pingInterval":-1,"pingTimeout":1}"#,
    ] {
        assert!(Open::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn places_are_pointers_into_an_event() {
    let table = [
        ("/1", Some((1, ""))),
        ("/12/data/text", Some((12, "/data/text"))),
        ("/0", None),
        ("/01", None),
        ("/+1", None),
        ("/a", None),
        ("/", None),
        ("", None),
        ("1", None),
    ];
    for (pointer, expected) in table {
        let place = Place::named(pointer);
        let told = place.as_ref().map(|place| (place.index, &*place.pointer));
        assert_eq!(told, expected, "{pointer}");
    }
}

#[test]
fn what_an_acknowledgement_refuses() {
    let config = Config::default();
    let table = [
        ("[]", false),
        (r#"["ok"]"#, false),
        (r#"[{"error":"no"}]"#, true),
        (r#"[{"error":null}]"#, false),
        (r#"[{"error":false}]"#, false),
        (r#"[{"status":"ok"}]"#, false),
        ("", false),
    ];
    for (arguments, refused) in table {
        assert_eq!(config.refuses(arguments.as_bytes()), refused, "{arguments}");
    }
}

fn packets() -> impl Strategy<Value = (usize, u32, String, Option<u64>, String)> {
    let namespace = prop_oneof![Just("/".to_owned()), "/[^,]{1,12}"];
    let data = prop_oneof![Just(String::new()), r#"[\[{"].{0,40}"#];
    (
        0..Kind::ALL.len(),
        0..=MAX_ATTACHMENTS,
        namespace,
        any::<Option<u64>>(),
        data,
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read((kind, attachments, namespace, id, data) in packets()) {
        let kind = Kind::ALL[kind];
        let packet = Packet {
            kind,
            attachments: if kind.is_binary() { attachments } else { 0 },
            namespace: namespace.as_bytes(),
            id,
            data: data.as_bytes(),
        };
        let mut out = Vec::new();
        packet.encode(&mut out);
        prop_assert_eq!(Packet::decode(&out), Ok(packet));
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = engine_io::decode(&bytes);
        let _ = Open::read(&bytes);
        if let Ok(packet) = Packet::decode(&bytes) {
            prop_assert!(packet.attachments <= MAX_ATTACHMENTS);
        }
    }
}
