//! Client frames: header, mask, Close.

use super::decode::{DEFLATED, Opcode};

/// The longest header of a client frame, bytes.
pub const MAX_HEADER: usize = 14;

/// Longest close reason, bytes: a control frame's 125 less the code.
const MAX_REASON: usize = 123;

/// Writes a masked frame's header for a payload of `len` bytes; returns the header's length.
pub fn encode_header(
    opcode: Opcode,
    fin: bool,
    len: usize,
    mask: [u8; 4],
    out: &mut [u8; MAX_HEADER],
) -> usize {
    const MASKED: u8 = 0x80;
    out[0] = u8::from(fin) << 7 | opcode as u8;
    let at = match len {
        0..=125 => {
            out[1] = MASKED | len as u8;
            2
        }
        126..=0xffff => {
            out[1] = MASKED | 126;
            out[2..4].copy_from_slice(&(len as u16).to_be_bytes());
            4
        }
        _ => {
            out[1] = MASKED | 127;
            out[2..10].copy_from_slice(&(len as u64).to_be_bytes());
            10
        }
    };
    out[at..at + 4].copy_from_slice(&mask);
    at + 4
}

/// Masks or unmasks `bytes`, which begin `offset` bytes into the payload (RFC 6455 §5.3).
///
/// The offset lets a part of a frame that is already masked be written anew.
pub fn apply_mask(bytes: &mut [u8], mask: [u8; 4], offset: usize) {
    let mut turned = mask;
    turned.rotate_left(offset % 4);
    let [a, b, c, d] = turned;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in tail.iter_mut().zip(turned.iter().cycle()) {
        *byte ^= mask;
    }
}

/// Appends a whole, final frame whose payload is these parts, one behind the other.
///
/// Returns where in `out` the payload begins. Control frames over 125 bytes are the caller's mistake; use [`push_close`] for Close.
pub fn push_frame(opcode: Opcode, parts: &[&[u8]], mask: [u8; 4], out: &mut Vec<u8>) -> usize {
    let len = parts.iter().map(|part| part.len()).sum();
    let mut header = [0; MAX_HEADER];
    let header_len = encode_header(opcode, true, len, mask, &mut header);
    out.reserve(header_len + len);
    out.extend_from_slice(&header[..header_len]);
    let payload = out.len();
    for part in parts {
        out.extend_from_slice(part);
    }
    apply_mask(&mut out[payload..], mask, 0);
    payload
}

/// The same with a message that a [`Deflater`](super::Deflater) made smaller.
pub fn push_deflated(opcode: Opcode, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) -> usize {
    let frame = out.len();
    let at = push_frame(opcode, &[payload], mask, out);
    if let Some(first) = out.get_mut(frame) {
        *first |= DEFLATED;
    }
    at
}

/// Appends a Close frame; `None`: without a code. A reason over 123 bytes is cut between characters.
pub fn push_close(code: Option<u16>, reason: &str, mask: [u8; 4], out: &mut Vec<u8>) {
    match code {
        Some(code) => {
            let reason = &reason[..reason.floor_char_boundary(MAX_REASON)];
            push_frame(
                Opcode::Close,
                &[&code.to_be_bytes(), reason.as_bytes()],
                mask,
                out,
            )
        }
        None => push_frame(Opcode::Close, &[], mask, out),
    };
}
