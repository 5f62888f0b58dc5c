//! A hostile server's compressed messages: told alike however the bytes are cut, and never larger than is accepted.

use crate::transport::ws::{Deflater, Event, Inbound, Inflater, Violation};

const MAX: usize = 10_000;

/// Reads frames as they come, and inflates what is to be inflated.
fn hear(bytes: &[u8], step: usize, bits: u8, anew: bool) -> (Vec<Vec<u8>>, Result<(), Violation>) {
    let mut inbound = Inbound::inflating();
    let mut inflater = Inflater::new(bits, anew);
    let (mut heard, mut message) = (Vec::new(), Vec::new());
    for mut piece in bytes.chunks(step) {
        loop {
            match inbound.next(&mut piece, MAX) {
                Ok(Some(Event::Deflated { bytes, .. })) => {
                    let done = inflater.inflate(bytes, &mut message, MAX);
                    assert!(message.capacity() <= 2 * MAX);
                    if let Err(violation) = done {
                        return (heard, Err(violation));
                    }
                    assert!(message.len() <= MAX);
                    heard.push(message.clone());
                }
                Ok(Some(event)) => heard.push(event.message().unwrap_or_default().to_vec()),
                Ok(None) => break,
                Err(violation) => return (heard, Err(violation)),
            }
        }
    }
    (heard, Ok(()))
}

/// One input.
pub fn target(data: &[u8]) {
    let [how, step, bytes @ ..] = data else {
        return;
    };
    let (bits, anew) = (9 + how % 7, how & 8 != 0);
    let cut = hear(bytes, usize::from(step % 16) + 1, bits, anew);
    assert_eq!(cut, hear(bytes, usize::MAX, bits, anew));
    // And what we make smaller ourselves comes back.
    let mut packed = Vec::new();
    let mut deflater = Deflater::new(1 + how % 9, bits, anew);
    let mut inflater = Inflater::new(bits, anew);
    let mut message = Vec::new();
    for piece in bytes.chunks(usize::from(*step) + 1) {
        assert!(deflater.deflate(piece, &mut packed));
        assert_eq!(inflater.inflate(&packed, &mut message, MAX), Ok(()));
        assert_eq!(message, piece);
    }
}
