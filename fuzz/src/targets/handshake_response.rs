//! A hostile answer to the upgrade: what was said of its beginning holds for the whole.

use crate::transport::handshake::{Expected, HandshakeError, response};
use crate::transport::ws::Offer;

/// One input.
pub fn target(data: &[u8]) {
    let subprotocols = ["a".to_string(), "b".to_string()];
    let offer = Offer {
        server_bits: Some(12),
        client_bits: None,
        server_anew: false,
        client_anew: true,
        level: 1,
        threshold: 0,
        max_inflated: 1000,
    };
    let expected = Expected {
        key: "dGhlIHNhbXBsZSBub25jZQ==",
        subprotocols: &subprotocols[..data.len() % 3],
        also: &[],
        compression: (data.len() % 5 > 2).then_some(&offer),
        max_header: 500,
    };
    // Nearly nothing that is mutated keeps the start, so it is put there for half of the inputs.
    let bytes = match data.split_first() {
        Some((first, rest)) if first % 2 == 0 => [b"HTTP/1.1 101 \r\n", rest].concat(),
        _ => data.to_vec(),
    };
    let whole = response(&bytes, &expected);
    match &whole {
        Ok(Some(accepted)) => {
            assert!(accepted.used <= bytes.len().min(500));
            assert_eq!(
                accepted.subprotocol.is_some(),
                !expected.subprotocols.is_empty()
            );
        }
        Ok(None) => assert!(bytes.len() < 500),
        Err(HandshakeError::Status { reason, body, .. }) => {
            assert!(reason.len() <= 256 && body.len() <= 256)
        }
        Err(_) => {}
    }
    match (response(&bytes[..bytes.len() / 2], &expected), &whole) {
        (Ok(None), _) => {}
        // More of the body may have come along.
        (
            Err(HandshakeError::Status { code, .. }),
            Err(HandshakeError::Status { code: later, .. }),
        ) => {
            assert_eq!(code, *later);
        }
        (early, whole) => assert_eq!(&early, whole),
    }
}
