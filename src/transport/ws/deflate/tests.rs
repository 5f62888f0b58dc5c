//! What is smaller gets as large as it was, whatever was agreed on; the examples of RFC 7692; answers that do not hold.

use super::*;
use crate::transport::ws::{Event, Inbound, Opcode, push_deflated, push_frame};
use proptest::prelude::*;

const OFFER: Offer = Offer {
    server_bits: None,
    client_bits: None,
    server_anew: false,
    client_anew: false,
    level: 6,
    threshold: 0,
    max_inflated: 1 << 20,
};

fn inflated(inflater: &mut Inflater, bytes: &[u8]) -> Result<Vec<u8>, Violation> {
    let mut out = Vec::new();
    inflater.inflate(bytes, &mut out, 1 << 20).map(|()| out)
}

/// RFC 7692, section 7.2.3.
#[test]
fn the_examples_of_the_rfc() {
    let hello = b"Hello".to_vec();
    let mut inflater = Inflater::new(15, false);
    let first = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(inflated(&mut inflater, &first), Ok(hello.clone()));
    // The window of the first is still there.
    assert_eq!(
        inflated(&mut inflater, &[0xf2, 0x00, 0x11, 0x00, 0x00]),
        Ok(hello.clone())
    );
    // Without compression; the last block of a stream; two blocks; and no bytes at all.
    for bytes in [
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ][..],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
    ] {
        let mut inflater = Inflater::new(15, false);
        assert_eq!(inflated(&mut inflater, bytes), Ok(hello.clone()));
        assert_eq!(inflated(&mut inflater, &[0x00]), Ok(Vec::new()));
        assert_eq!(inflated(&mut inflater, &first), Ok(hello.clone()));
    }
    let mut out = Vec::new();
    let mut deflater = Deflater::new(6, 15, false);
    assert!(deflater.deflate(&hello, &mut out));
    assert_eq!(out, first);
    for _ in 0..2 {
        assert!(deflater.deflate(b"", &mut out));
        assert_eq!(out, [0x00]);
    }
}

#[test]
fn without_context_takeover_each_message_begins_anew() {
    let text = b"the same words again and again, the same words";
    let sizes = |anew: bool| {
        let (mut deflater, mut out) = (Deflater::new(6, 15, anew), Vec::new());
        [(); 3].map(|()| {
            assert!(deflater.deflate(text, &mut out));
            out.len()
        })
    };
    let [first, second, third] = sizes(true);
    assert!(first == second && second == third);
    let [first, second, _] = sizes(false);
    assert!(second < first / 2);
    // One that keeps no window cannot read what needs one; and is as good as new for the next connection.
    let (mut deflater, mut out) = (Deflater::new(6, 15, false), Vec::new());
    let mut inflater = Inflater::new(15, true);
    assert!(deflater.deflate(text, &mut out));
    assert_eq!(inflated(&mut inflater, &out).as_deref(), Ok(&text[..]));
    assert!(deflater.deflate(text, &mut out));
    assert_eq!(inflated(&mut inflater, &out), Err(Violation::Deflate));
    let mut other = Deflater::new(6, 15, true);
    assert!(other.deflate(text, &mut out));
    assert_eq!(inflated(&mut inflater, &out).as_deref(), Ok(&text[..]));
}

#[test]
fn a_bomb_is_stopped_at_the_size_that_is_accepted() {
    let zeros = vec![0; 32 << 20];
    let mut bomb = Vec::new();
    assert!(Deflater::new(9, 15, true).deflate(&zeros, &mut bomb));
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    for anew in [false, true] {
        let mut inflater = Inflater::new(15, anew);
        let mut out = Vec::new();
        let end = inflater.inflate(&bomb, &mut out, 100_000);
        assert_eq!(end, Err(Violation::Bomb));
        assert!(out.capacity() <= 200_000, "{} bytes", out.capacity());
    }
    // Exactly as much as is accepted, and one byte more.
    let mut deflater = Deflater::new(6, 15, true);
    for (size, fits) in [(4096, true), (4097, false), (0, true)] {
        assert!(deflater.deflate(&zeros[..size], &mut bomb));
        let end = Inflater::new(15, false).inflate(&bomb, &mut Vec::new(), 4096);
        assert_eq!(end.is_ok(), fits, "{size}");
    }
    assert_eq!(Violation::Bomb.close_code(), 1009);
}

#[test]
fn what_is_no_deflated_data_is_refused() {
    for bytes in [
        &[][..],
        &[0xff, 0xff, 0xff],
        &[0x06],
        &[0xf2, 0x00, 0x11, 0x00, 0x00],
    ] {
        let mut inflater = Inflater::new(15, false);
        assert_eq!(
            inflated(&mut inflater, bytes),
            Err(Violation::Deflate),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn what_is_offered() {
    let all = Offer {
        server_bits: Some(10),
        client_bits: Some(12),
        server_anew: true,
        client_anew: true,
        ..OFFER
    };
    assert_eq!(OFFER.header(), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        all.header(),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12"
    );
}

#[test]
fn answers() {
    let answered = |offer: Offer, text: &str| offer.answered([text.as_bytes()].into_iter());
    let agreed = Agreed {
        server_bits: 15,
        client_bits: Some(15),
        server_anew: false,
        client_anew: false,
    };
    assert_eq!(OFFER.answered([].into_iter()), Ok(None));
    assert_eq!(answered(OFFER, ""), Ok(None));
    let fine = [
        ("permessage-deflate", agreed),
        ("Permessage-Deflate", agreed),
        (
            "permessage-deflate; server_no_context_takeover",
            Agreed {
                server_anew: true,
                ..agreed
            },
        ),
        (
            "permessage-deflate;client_no_context_takeover",
            Agreed {
                client_anew: true,
                ..agreed
            },
        ),
        (
            "permessage-deflate; client_max_window_bits=9; server_max_window_bits=\"10\"",
            Agreed {
                client_bits: Some(9),
                server_bits: 10,
                ..agreed
            },
        ),
        // zlib has no window of 8: it reads by one of 9, and what we send is sent as it is.
        (
            "permessage-deflate; client_max_window_bits=8; server_max_window_bits=8",
            Agreed {
                client_bits: None,
                server_bits: 9,
                ..agreed
            },
        ),
    ];
    for (text, expected) in fine {
        assert_eq!(answered(OFFER, text), Ok(Some(expected)), "{text}");
    }
    let strict = Offer {
        server_bits: Some(10),
        client_bits: Some(10),
        server_anew: true,
        client_anew: true,
        ..OFFER
    };
    let held = "permessage-deflate; server_no_context_takeover; server_max_window_bits=10";
    assert_eq!(
        answered(strict, held),
        Ok(Some(Agreed {
            server_bits: 10,
            client_bits: Some(10),
            server_anew: true,
            client_anew: true,
        }))
    );
    let wrong = [
        (OFFER, "x-webkit-deflate-frame"),
        (OFFER, "permessage-deflate, permessage-deflate"),
        (OFFER, "permessage-deflate, other"),
        (OFFER, "permessage-deflate; what"),
        (OFFER, "permessage-deflate;"),
        (OFFER, "permessage-deflate; server_no_context_takeover=1"),
        (OFFER, "permessage-deflate; client_max_window_bits"),
        (OFFER, "permessage-deflate; server_max_window_bits"),
        (OFFER, "permessage-deflate; server_max_window_bits=7"),
        (OFFER, "permessage-deflate; server_max_window_bits=16"),
        (OFFER, "permessage-deflate; server_max_window_bits=09"),
        (OFFER, "permessage-deflate; server_max_window_bits="),
        (
            OFFER,
            "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
        ),
        (
            OFFER,
            "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        ),
        (strict, "permessage-deflate"),
        (strict, "permessage-deflate; server_no_context_takeover"),
        (strict, "permessage-deflate; server_max_window_bits=10"),
        (
            strict,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
        ),
        (
            strict,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
        ),
    ];
    for (offer, text) in wrong {
        assert!(answered(offer, text).is_err(), "{text}");
    }
    let two = [&b"permessage-deflate"[..], b"permessage-deflate"];
    assert!(OFFER.answered(two.into_iter()).is_err());
}

/// A message as a server sends it: whether it is made smaller, and where its frames are cut.
#[derive(Debug, Clone)]
struct Said {
    bytes: Vec<u8>,
    deflated: bool,
    cuts: Vec<usize>,
}

fn any_said() -> impl Strategy<Value = Said> {
    let repeats = (prop::collection::vec(any::<u8>(), 1..40), 0..400usize);
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        repeats.prop_map(|(piece, times)| piece.repeat(times)),
    ];
    let cuts = prop::collection::vec(any::<usize>(), 0..4);
    (bytes, prop::bool::weighted(0.8), cuts).prop_map(|(bytes, deflated, cuts)| Said {
        bytes,
        deflated,
        cuts,
    })
}

/// A server's frames of a message, unmasked.
fn frames(payload: &[u8], deflated: bool, cuts: &[usize], out: &mut Vec<u8>) {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    places.sort_unstable();
    places.push(payload.len());
    let mut from = 0;
    for (i, to) in places.iter().enumerate() {
        let opcode = if i == 0 { 2 } else { 0 };
        let rsv1 = if i == 0 && deflated { 0x40 } else { 0 };
        let fin = if i + 1 == places.len() { 0x80 } else { 0 };
        let piece = &payload[from..*to];
        out.push(opcode | rsv1 | fin);
        match piece.len() {
            len @ 0..=125 => out.push(len as u8),
            len => {
                out.push(126);
                out.extend((len as u16).to_be_bytes());
            }
        }
        out.extend(piece);
        // Between fragments there may be a ping.
        if fin == 0 {
            out.extend([0x89, 1, i as u8]);
        }
        from = *to;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the window, the level and the takeover, and however frames and reads are cut.
    #[test]
    fn what_was_made_smaller_gets_as_large_as_it_was(
        said in prop::collection::vec(any_said(), 1..8),
        bits in 9..=15u8,
        level in 1..=9u8,
        anew: bool,
        read in 1..2000usize,
    ) {
        let mut deflater = Deflater::new(level, bits, anew);
        let (mut wire, mut packed) = (Vec::new(), Vec::new());
        for message in &said {
            match message.deflated {
                true => {
                    prop_assert!(deflater.deflate(&message.bytes, &mut packed));
                    frames(&packed, true, &message.cuts, &mut wire);
                }
                false => frames(&message.bytes, false, &message.cuts, &mut wire),
            }
        }
        let mut inbound = Inbound::inflating();
        let mut inflater = Inflater::new(bits, anew);
        let (mut heard, mut out) = (Vec::new(), Vec::new());
        for mut piece in wire.chunks(read) {
            while let Some(event) = inbound.next(&mut piece, 1 << 20).unwrap() {
                match event {
                    Event::Binary(bytes) => heard.push(bytes.to_vec()),
                    Event::Deflated { text: false, bytes } => {
                        inflater.inflate(bytes, &mut out, 1 << 20).unwrap();
                        heard.push(out.clone());
                    }
                    Event::Ping(_) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
        prop_assert!(!inbound.is_partial() && !inbound.holds_memory());
        let expected: Vec<Vec<u8>> = said.into_iter().map(|message| message.bytes).collect();
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn hostile_bytes_make_no_more_than_is_accepted(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 1..5), bits in 9..=15u8, anew: bool, max in 0..5000usize) {
        let mut inflater = Inflater::new(bits, anew);
        let mut out = Vec::new();
        for piece in pieces {
            match inflater.inflate(&piece, &mut out, max) {
                Ok(()) => prop_assert!(out.len() <= max),
                Err(_) if anew => {}
                Err(_) => break,
            }
            prop_assert!(out.capacity() <= max + ROOM + 1);
        }
    }
}

/// The mark is for messages' first frames, where it was agreed, and for nothing else.
#[test]
fn the_mark_is_where_it_may_be() {
    let mut sent = Vec::new();
    push_deflated(Opcode::Text, b"abc", [0; 4], &mut sent);
    assert_eq!(sent[0], 0xc1);
    push_frame(Opcode::Text, &[b"abc"], [0; 4], &mut sent);
    assert_eq!(sent[9], 0x81);
    let table: [(&[u8], bool); 8] = [
        (&[0xc1, 1, 0], true),
        (&[0xc2, 1, 0], true),
        (&[0x41, 0, 0x80, 1, 0], true),
        (&[0x41, 0, 0xc0, 1, 0], false),
        (&[0xc9, 0], false),
        (&[0xc8, 0], false),
        (&[0xe1, 0], false),
        (&[0xa1, 0], false),
    ];
    for (bytes, fine) in table {
        let mut inbound = Inbound::inflating();
        let heard = inbound.next(&mut &bytes[..], 100);
        assert_eq!(heard.is_ok(), fine, "{bytes:02x?}");
        if let Ok(event) = heard {
            assert!(matches!(event, Some(Event::Deflated { .. })), "{event:?}");
        }
        let mut inbound = Inbound::default();
        let heard = inbound.next(&mut &bytes[..], 100);
        assert_eq!(heard, Err(Violation::ReservedBit), "{bytes:02x?}");
    }
    // What follows one that was made smaller is as it is, and UTF-8.
    let mut inbound = Inbound::inflating();
    let mut bytes: &[u8] = &[0x41, 1, 0xff, 0x80, 1, 0xff, 0x81, 1, 0xff];
    let first = inbound.next(&mut bytes, 100);
    assert_eq!(
        first,
        Ok(Some(Event::Deflated {
            text: true,
            bytes: &[0xff, 0xff]
        }))
    );
    assert_eq!(inbound.next(&mut bytes, 100), Err(Violation::Utf8));
}
