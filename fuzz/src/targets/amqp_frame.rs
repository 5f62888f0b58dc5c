//! A hostile AMQP broker: its frames are told alike however the bytes are cut, every length is within what came, and whatever is
//! published in between is framed as it should be.

use crate::broker::rabbitmq::wire::{FRAME_MAX, Frame, Method, Publish, next, put_publish};

/// All frames until there is no more, or they make no sense; `step` bytes come at a time.
fn hear(bytes: &[u8], step: usize) -> Vec<String> {
    let (mut heard, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            match next(&held) {
                Ok(None) => {
                    assert!(held.len() < FRAME_MAX as usize + 8);
                    break;
                }
                Ok(Some((frame, length))) => {
                    assert!((8..=held.len()).contains(&length));
                    heard.push(format!("{frame:?}"));
                    held.drain(..length);
                }
                Err(error) => {
                    heard.push(error.to_string());
                    return heard;
                }
            }
        }
    }
    heard
}

/// A publish of these bytes is a method, a header that says how many they are, and all of them.
fn publish(payload: &[u8]) {
    let text = String::from_utf8_lossy(payload);
    let publish = Publish {
        exchange: "e",
        key: &text,
        mandatory: payload.len().is_multiple_of(2),
        persistent: payload.len().is_multiple_of(3),
        id: &text,
        payload,
    };
    let mut out = Vec::new();
    put_publish(&mut out, &publish);
    let (mut rest, mut frames) = (&out[..], Vec::new());
    while let Ok(Some((frame, length))) = next(rest) {
        frames.push(frame);
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    assert_eq!(frames[0], Frame::Method(Method::Other(60, 40)));
    assert_eq!(frames[1], Frame::Header(payload.len() as u64));
    let mut body = Vec::new();
    for frame in &frames[2..] {
        let Frame::Body(piece) = frame else {
            panic!("{frame:?}");
        };
        body.extend_from_slice(piece);
    }
    assert_eq!(body, payload);
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else {
        return;
    };
    let step = usize::from(how % 16) + 1;
    assert_eq!(hear(bytes, step), hear(bytes, usize::MAX));
    publish(bytes);
}
