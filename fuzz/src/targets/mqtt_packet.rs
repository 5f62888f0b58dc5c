//! A hostile MQTT server: packets told alike however the bytes are cut, never more kept than allowed, and whatever a session
//! makes of them is answered in packets.

use crate::protocol::mqtt::packet::Packet;
use crate::protocol::mqtt::{Config, Decoder, Qos, Session, Version};
use crate::protocol::{Event, Form, Introduction, Outgoing};

const MAX: usize = 1000;

fn hear(bytes: &[u8], step: usize, version: Version) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut heard = Vec::new();
    for mut piece in bytes.chunks(step) {
        loop {
            match decoder.next(&mut piece, MAX) {
                Ok(None) => break,
                Ok(Some(packet)) => {
                    assert!(packet.len() <= MAX);
                    let packet = Packet::decode(packet, version);
                    if let Ok(packet) = &packet {
                        let mut again = Vec::new();
                        packet.encode(version, &mut again);
                        assert_eq!(Packet::decode(&again, version), Ok(*packet));
                    }
                    heard.push(format!("{packet:?}"));
                }
                Err(broken) => {
                    heard.push(format!("{broken:?}"));
                    return heard;
                }
            }
        }
        assert!(piece.is_empty() && decoder.held() <= MAX);
    }
    heard
}

/// Two connections of one session, the server's bytes on each.
fn converse(bytes: &[u8], step: usize, version: Version, publish_qos: Qos) {
    let config = Config {
        version,
        publish_qos,
        clean_start: version == Version::V5,
        session_expiry_s: 5,
        receive_maximum: 4,
        topic_alias_maximum: 3,
        topic_aliases: true,
        ..Config::default()
    };
    let mut session = Session::new(&config.into());
    let mut out = Outgoing::default();
    for _ in 0..2 {
        session.begin(&Introduction::default(), &mut out);
        'said: for mut piece in bytes.chunks(step) {
            loop {
                match session.next(&mut piece, Form::Binary, MAX, &mut out) {
                    Ok(Some(Event::Connected { .. })) => {
                        session.subscribe(0, "t", &mut out);
                        for _ in 0..3 {
                            session.publish("t", b"payload", &mut out);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => break 'said,
                }
            }
        }
        session.beat(&mut out);
        session.lost(1);
    }
    for (_, message) in out.messages() {
        assert!(Packet::decode(message, version).is_ok());
    }
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else {
        return;
    };
    let step = usize::from(how % 16) + 1;
    let version = if how & 0x10 == 0 {
        Version::V5
    } else {
        Version::V3_1_1
    };
    let qos = Qos::of_level(how >> 5 & 3).unwrap_or(Qos::ExactlyOnce);
    assert_eq!(hear(bytes, step, version), hear(bytes, usize::MAX, version));
    converse(bytes, step, version, qos);
}
