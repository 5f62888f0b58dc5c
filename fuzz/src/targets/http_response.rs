//! A hostile HTTP server: its responses are told alike however the bytes are cut, nothing is kept beyond the limit, and what is no response
//! ends it in the same place.

use crate::transport::http::{Part, Responses};

const MAX_HEAD: usize = 500;

/// What was heard: heads with their headers, bodies put together, ends; and whether it may end there, `None` where it cannot be read on. Why
/// not depends on how much was there to be seen.
fn hear(bytes: &[u8], step: usize) -> (Vec<String>, Vec<u8>, Option<bool>) {
    let mut responses = Responses::default();
    let (mut heard, mut body, mut headers) = (Vec::new(), Vec::new(), Vec::new());
    for mut piece in bytes.chunks(step) {
        loop {
            let part = responses.next(&mut piece, MAX_HEAD, |name, value| {
                headers.push(format!("{name}: {value:?}"));
            });
            match part {
                Ok(Some(Part::Body(part))) => body.extend_from_slice(part),
                Ok(Some(part)) => {
                    heard.append(&mut headers);
                    assert!(heard.iter().all(|line| line.len() <= 8 * MAX_HEAD));
                    heard.push(format!("{part:?} after {}", body.len()));
                }
                Ok(None) => break,
                Err(_) => return (heard, body, None),
            }
        }
        assert!(piece.is_empty());
    }
    (heard, body, Some(responses.may_end()))
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else {
        return;
    };
    // Nearly nothing that is mutated keeps the start, so it is put there for half of the inputs.
    let bytes = match choice % 2 {
        0 => [b"HTTP/1.1 200 OK\r\n", bytes].concat(),
        _ => bytes.to_vec(),
    };
    let whole = hear(&bytes, usize::MAX);
    assert_eq!(hear(&bytes, usize::from(choice / 2 % 16) + 1), whole);
    assert!(whole.1.len() <= bytes.len());
}
