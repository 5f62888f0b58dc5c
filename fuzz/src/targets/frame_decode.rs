//! A hostile server's frames: told alike however the bytes are cut, and never beyond the limit.

use crate::transport::ws::{Event, Inbound, Violation};

const MAX: usize = 1000;

fn hear(bytes: &[u8], step: usize) -> (Vec<String>, Result<(), Violation>) {
    let mut inbound = Inbound::default();
    let mut heard = Vec::new();
    for mut piece in bytes.chunks(step) {
        loop {
            match inbound.next(&mut piece, MAX) {
                Ok(Some(event)) => {
                    assert!(event.message().is_none_or(|message| message.len() <= MAX));
                    if let Event::Ping(content) | Event::Pong(content) = event {
                        assert!(content.len() <= 125);
                    }
                    heard.push(format!("{event:?}"));
                }
                Ok(None) => break,
                Err(violation) => return (heard, Err(violation)),
            }
        }
        assert!(piece.is_empty());
    }
    (heard, Ok(()))
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else {
        return;
    };
    let cut = hear(bytes, usize::from(*step % 16) + 1);
    assert_eq!(cut, hear(bytes, usize::MAX));
}
