//! WebSocket frames (RFC 6455 §5.2): heads read and written, payloads masked.

/// Opcode of a Close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// A frame's head.
pub struct Head {
    /// FIN and opcode, as they stand on the wire.
    pub first: u8,
    /// The masking key; zeros where there is none.
    pub mask: [u8; 4],
    /// Bytes of the head.
    pub len: usize,
    /// Bytes of the payload.
    pub payload: usize,
}

/// The head at the start of these bytes; `None` while it is incomplete.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (payload, at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(array(bytes, 2)?)), 4),
        127 => (u64::from_be_bytes(array(bytes, 2)?) as usize, 10),
        short => (usize::from(short), 2),
    };
    let masked = second & 0x80 != 0;
    let mask = if masked { array(bytes, at)? } else { [0; 4] };
    Some(Head {
        first,
        mask,
        len: at + if masked { 4 } else { 0 },
        payload,
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Appends a head.
pub fn put_head(first: u8, payload: usize, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    out.push(first);
    if payload < 126 {
        out.push(masked | payload as u8);
    } else if let Ok(payload) = u16::try_from(payload) {
        out.push(masked | 126);
        out.extend_from_slice(&payload.to_be_bytes());
    } else {
        out.push(masked | 127);
        out.extend_from_slice(&(payload as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask.unwrap_or_default()[..if mask.is_some() { 4 } else { 0 }]);
}

/// Masks or unmasks, eight bytes at a time.
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for payload in [0, 1, 125, 126, 65_535, 65_536, 1 << 20] {
            for key in [None, Some([1, 2, 3, 4])] {
                let mut out = Vec::new();
                put_head(0x82, payload, key, &mut out);
                let head = head(&out).unwrap();
                assert_eq!(
                    (head.first, head.len, head.payload),
                    (0x82, out.len(), payload)
                );
                assert_eq!(head.mask, key.unwrap_or_default());
                assert!((0..out.len()).all(|n| super::head(&out[..n]).is_none()));
            }
        }
    }

    #[test]
    fn masking_twice_changes_nothing_and_once_is_the_rfcs_example() {
        let mut hello = *b"Hello";
        mask(&mut hello, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(hello, [0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        let mut long: Vec<u8> = (0..77).collect();
        mask(&mut long, [9, 8, 7, 6]);
        assert!(
            long.iter()
                .enumerate()
                .all(|(i, b)| *b == i as u8 ^ [9, 8, 7, 6][i % 4])
        );
    }
}
