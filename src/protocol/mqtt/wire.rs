//! The pieces that packets are made of: numbers, strings, lengths. Reading is total and copies nothing.

use super::reason;
use memchr::memchr;

/// The other side broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken {
    /// The reason code that says so.
    pub code: u8,
    /// In our words.
    pub what: &'static str,
}

/// Bytes that are no packet.
pub(super) const fn malformed(what: &'static str) -> Broken {
    Broken {
        code: reason::MALFORMED_PACKET,
        what,
    }
}

/// A packet that may not be, or not here.
pub(super) const fn protocol_error(what: &'static str) -> Broken {
    Broken {
        code: reason::PROTOCOL_ERROR,
        what,
    }
}

const SHORT: Broken = malformed("a packet ends too early");

/// The longest string or binary value.
const LONGEST: usize = u16::MAX as usize;

/// What is left to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, Broken> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub fn two(&mut self) -> Result<u16, Broken> {
        self.array().map(u16::from_be_bytes)
    }

    pub fn four(&mut self) -> Result<u32, Broken> {
        self.array().map(u32::from_be_bytes)
    }

    /// A variable byte integer.
    pub fn variable(&mut self) -> Result<u32, Broken> {
        match variable(self.rest)? {
            Some((value, length)) => {
                self.take(length)?;
                Ok(value)
            }
            None => Err(SHORT),
        }
    }

    /// Binary data behind its length.
    pub fn binary(&mut self) -> Result<&'a [u8], Broken> {
        let length = self.two()?;
        self.take(usize::from(length))
    }

    /// A string behind its length.
    pub fn text(&mut self) -> Result<&'a str, Broken> {
        let bytes = self.binary()?;
        if memchr(0, bytes).is_some() {
            return Err(malformed("a string holds a NUL"));
        }
        std::str::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))
    }

    /// A packet identifier.
    pub fn id(&mut self) -> Result<u16, Broken> {
        match self.two()? {
            0 => Err(malformed("a packet identifier is 0")),
            id => Ok(id),
        }
    }
}

/// The variable byte integer that these bytes begin with, and its length; `None` when they end within it.
///
/// # Errors
/// More than four bytes.
pub(super) fn variable(bytes: &[u8]) -> Result<Option<(u32, usize)>, Broken> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(4).enumerate() {
        value |= u32::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Ok(Some((value, i + 1)));
        }
    }
    match bytes.len() {
        0..4 => Ok(None),
        _ => Err(malformed("a length has more than four bytes")),
    }
}

/// A variable byte integer, and how many of the bytes it has. What is more than one can say is cut off at the most.
fn variable_bytes(value: usize) -> ([u8; 4], usize) {
    let mut rest = value.min(0x0fff_ffff);
    let mut bytes = [0; 4];
    let mut length = 0;
    loop {
        bytes[length] = (rest & 0x7f) as u8;
        rest >>= 7;
        if rest == 0 {
            return (bytes, length + 1);
        }
        bytes[length] |= 0x80;
        length += 1;
    }
}

pub(super) fn put_variable(value: usize, out: &mut Vec<u8>) {
    let (bytes, length) = variable_bytes(value);
    out.extend_from_slice(&bytes[..length]);
}

/// Puts a length at `at`, of all that stands behind and of `more` bytes that are still to come.
pub(super) fn insert_length(at: usize, more: usize, out: &mut Vec<u8>) {
    let behind = out.len() - at;
    let (bytes, length) = variable_bytes(behind + more);
    out.extend_from_slice(&[0; 4][..length]);
    out.copy_within(at..at + behind, at + length);
    out[at..at + length].copy_from_slice(&bytes[..length]);
}

/// Binary data; what is more than a length can say is cut off.
pub(super) fn put_binary(bytes: &[u8], out: &mut Vec<u8>) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    out.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A string; what is more than a length can say is cut off, whole characters at a time.
pub(super) fn put_text(text: &str, out: &mut Vec<u8>) {
    put_binary(&text.as_bytes()[..text.floor_char_boundary(LONGEST)], out);
}
