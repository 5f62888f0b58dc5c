//! A hostile event stream: its events are told alike however the bytes are cut, nothing is kept beyond the limit, and what outlives the
//! connection can stand where it is sent back.

use crate::transport::sse::Events;

const MAX: usize = 1000;

/// What was heard, and whether it came to its end.
fn hear(events: &mut Events, bytes: &[u8], step: usize) -> (Vec<String>, bool) {
    events.begin();
    let mut heard = Vec::new();
    for mut piece in bytes.chunks(step) {
        loop {
            match events.next(&mut piece, MAX) {
                Ok(Some(event)) => {
                    assert!(!event.kind.contains(&b'\n') && !event.kind.contains(&b'\r'));
                    assert!(event.data.len() <= MAX);
                    heard.push(format!("{event:?}"));
                }
                Ok(None) => break,
                // Where it is too large depends on how much of a line was there to be seen.
                Err(_) => return (heard, false),
            }
        }
        assert!(piece.is_empty());
    }
    (heard, true)
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((step, bytes)) = data.split_first() else {
        return;
    };
    let (mut whole, mut cut) = (Events::default(), Events::default());
    // Twice: the second connection begins with what the first left.
    for _ in 0..2 {
        let (all, ended) = hear(&mut whole, bytes, usize::MAX);
        let (pieces, pieces_ended) = hear(&mut cut, bytes, usize::from(*step % 16) + 1);
        if ended && pieces_ended {
            assert_eq!(pieces, all);
            assert_eq!(cut.last_id(), whole.last_id());
            assert_eq!(cut.retry_ms(), whole.retry_ms());
        }
        let id = whole.last_id();
        assert!(id.len() <= 1024 && !id.contains(&0) && !id.contains(&b'\n'));
    }
}
