//! A hostile NATS server: what it says is told alike however the bytes are cut, every length is within what came, and what was
//! read can be said again.

use crate::broker::nats::wire::{Op, next};

/// All that is said until there is no more, or it makes no sense; `step` bytes come at a time.
fn hear(bytes: &[u8], step: usize) -> Vec<String> {
    let (mut heard, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            match next(&held) {
                Ok(None) => break,
                Ok(Some((op, length))) => {
                    assert!((2..=held.len()).contains(&length));
                    let again = written(&op);
                    let whole = again.len();
                    assert_eq!(next(&again).ok(), Some(Some((op, whole))));
                    heard.push(again.escape_ascii().to_string());
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

/// As a server would say it.
fn written(op: &Op<'_>) -> Vec<u8> {
    match *op {
        Op::Ping => b"PING\r\n".to_vec(),
        Op::Pong => b"PONG\r\n".to_vec(),
        Op::Ok => b"+OK\r\n".to_vec(),
        Op::Err(why) => format!("-ERR '{why}'\r\n").into_bytes(),
        Op::Info(json) => [b"INFO ", json, b"\r\n"].concat(),
        Op::Msg {
            subject,
            reply,
            headers,
            payload,
        } => {
            let (head, all) = (headers.len(), headers.len() + payload.len());
            let line = match headers {
                [] => format!("MSG {subject} 1 {reply} {all}\r\n"),
                _ => format!("HMSG {subject} 1 {reply} {head} {all}\r\n"),
            };
            [line.as_bytes(), headers, payload, b"\r\n"].concat()
        }
    }
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else {
        return;
    };
    let step = usize::from(how % 16) + 1;
    assert_eq!(hear(bytes, step), hear(bytes, usize::MAX));
}
