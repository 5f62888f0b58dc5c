//! permessage-deflate (RFC 7692), the client's side: what is offered, what of an answer holds, and messages made smaller and
//! larger again.
//!
//! Without I/O. What each direction keeps between messages is its window, if it was agreed that it may: an [`Inflater`] is 47 KiB
//! whatever the window, a [`Deflater`] 245 KiB to 371 KiB, most of it zlib's tables. Without context takeover either begins anew
//! with each message, so one serves all connections.

use super::violation::Violation;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// The extension's name.
const NAME: &[u8] = b"permessage-deflate";

/// What ends a flushed piece of deflated data, and is not sent (RFC 7692 §7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Room that is made at once while a message is inflated or deflated, at least: zlib's flush wants more than six bytes.
const ROOM: usize = 256;

/// What a client offers, and how it makes its own messages smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The server is to use no larger window than 2 to the power of this, 9 to 15; `None`: it may choose.
    pub server_bits: Option<u8>,
    /// The client uses no larger window than this, and the server may ask for a smaller one.
    pub client_bits: Option<u8>,
    /// The server is to begin anew with each message.
    pub server_anew: bool,
    /// The client begins anew with each message.
    pub client_anew: bool,
    /// From 1, fastest, to 9, smallest.
    pub level: u8,
    /// Own messages below so many bytes are sent as they are.
    pub threshold: usize,
    /// Largest message accepted once inflated, bytes.
    pub max_inflated: usize,
}

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Window of what the server sends, 9 to 15.
    pub server_bits: u8,
    /// Window of what we send; `None`: one that zlib cannot make (8), so we send messages as they are, which is always allowed.
    pub client_bits: Option<u8>,
    /// The server begins anew with each message.
    pub server_anew: bool,
    /// We do.
    pub client_anew: bool,
}

impl Offer {
    /// The value of `Sec-WebSocket-Extensions`.
    pub fn header(&self) -> String {
        let mut text = String::from("permessage-deflate");
        if self.server_anew {
            text.push_str("; server_no_context_takeover");
        }
        if self.client_anew {
            text.push_str("; client_no_context_takeover");
        }
        // Writing to a String cannot fail.
        if let Some(bits) = self.server_bits {
            let _ = write!(text, "; server_max_window_bits={bits}");
        }
        text.push_str("; client_max_window_bits");
        if let Some(bits) = self.client_bits {
            let _ = write!(text, "={bits}");
        }
        text
    }

    /// Reads the values of `Sec-WebSocket-Extensions` in an answer; `None`: the server does not want it, which it may.
    ///
    /// # Errors
    /// What is wrong with the answer: something that was not offered, or not in this way.
    pub fn answered<'a>(
        &self,
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Option<Agreed>, &'static str> {
        let mut agreed = None;
        for extension in values.flat_map(|value| value.split(|c| *c == b',')) {
            if extension.trim_ascii().is_empty() {
                continue;
            }
            if agreed.is_some() {
                return Err("an extension that was not offered");
            }
            agreed = Some(self.accepted(extension)?);
        }
        Ok(agreed)
    }

    fn accepted(&self, extension: &[u8]) -> Result<Agreed, &'static str> {
        let mut parts = extension.split(|c| *c == b';').map(<[u8]>::trim_ascii);
        if !parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(NAME))
        {
            return Err("an extension that was not offered");
        }
        let (mut server_bits, mut client_bits) = (None, None);
        let (mut server_anew, mut client_anew) = (false, false);
        for part in parts {
            let (name, value) = match part.iter().position(|c| *c == b'=') {
                Some(at) => (part[..at].trim_ascii(), Some(part[at + 1..].trim_ascii())),
                None => (part, None),
            };
            let twice = match (name.to_ascii_lowercase().as_slice(), value) {
                (b"server_no_context_takeover", None) => std::mem::replace(&mut server_anew, true),
                (b"client_no_context_takeover", None) => std::mem::replace(&mut client_anew, true),
                (b"server_max_window_bits", Some(value)) => {
                    server_bits.replace(window(value)?).is_some()
                }
                (b"client_max_window_bits", Some(value)) => {
                    client_bits.replace(window(value)?).is_some()
                }
                _ => return Err("a parameter of permessage-deflate that there is not"),
            };
            if twice {
                return Err("a parameter of permessage-deflate comes twice");
            }
        }
        if self.server_anew && !server_anew {
            return Err("server_no_context_takeover was asked for, and is not in the answer");
        }
        let larger = |got: Option<u8>, most: Option<u8>| got.unwrap_or(15) > most.unwrap_or(15);
        if larger(server_bits, self.server_bits) {
            return Err("server_max_window_bits is more than was asked for");
        }
        let most = self.client_bits.unwrap_or(15);
        if larger(client_bits.or(Some(most)), self.client_bits) {
            return Err("client_max_window_bits is more than was offered");
        }
        Ok(Agreed {
            // Whoever reads by a larger window reads all that a smaller one makes.
            server_bits: server_bits.unwrap_or(15).max(9),
            client_bits: Some(client_bits.unwrap_or(most)).filter(|bits| *bits > 8),
            server_anew,
            client_anew: client_anew || self.client_anew,
        })
    }
}

/// A window's size: 8 to 15, without leading zeros, as a token or in quotes.
fn window(value: &[u8]) -> Result<u8, &'static str> {
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|rest| rest.strip_suffix(b"\""))
        .unwrap_or(value);
    match bare {
        [digit @ b'8'..=b'9'] => Ok(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Ok(10 + digit - b'0'),
        _ => Err("a window of permessage-deflate that is not from 8 to 15"),
    }
}

/// Makes messages smaller.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    anew: bool,
}

impl Deflater {
    /// With a window of 2 to the power of `bits` (9 to 15) and this level (1 to 9); `anew`: without context takeover.
    pub fn new(level: u8, bits: u8, anew: bool) -> Self {
        let level = Compression::new(u32::from(level.min(9)));
        Deflater {
            stream: Compress::new_with_window_bits(level, false, bits.clamp(9, 15)),
            anew,
        }
    }

    /// Puts a message, made smaller, into `out` instead of what is there. False when it cannot be (it has no memory), and must
    /// be sent as it is.
    pub fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        let mut rest = message;
        loop {
            if out.capacity() - out.len() < ROOM {
                out.reserve(ROOM.max(rest.len() / 2));
            }
            let before = self.stream.total_in();
            let flush = FlushCompress::Sync;
            if self.stream.compress_vec(rest, out, flush).is_err() {
                return false;
            }
            let used = (self.stream.total_in() - before) as usize;
            rest = rest.get(used..).unwrap_or_default();
            // With room left it has said all.
            if rest.is_empty() && out.len() < out.capacity() {
                break;
            }
        }
        if out.ends_with(&TAIL) {
            out.truncate(out.len() - TAIL.len());
        }
        if out.is_empty() {
            // A message of no bytes (RFC 7692 §7.2.3.6).
            out.push(0);
        }
        if self.anew {
            self.stream.reset();
        }
        true
    }
}

/// Makes messages as large as they were.
#[derive(Debug)]
pub struct Inflater {
    stream: Decompress,
    anew: bool,
}

impl Inflater {
    /// For a window of 2 to the power of `bits` (9 to 15) or smaller; `anew`: without context takeover.
    pub fn new(bits: u8, anew: bool) -> Self {
        // One that begins anew is to do so without an allocation, which only one of the largest window does.
        let bits = if anew { 15 } else { bits.clamp(9, 15) };
        Inflater {
            stream: Decompress::new_with_window_bits(false, bits),
            anew,
        }
    }

    /// Puts a message, as large as it was, into `out` instead of what is there. Of one that gets larger than `max` bytes no more is
    /// made than that, or than there was room for already.
    ///
    /// # Errors
    /// [`Violation::Bomb`] and [`Violation::Deflate`]; the connection must not be read any further.
    pub fn inflate(
        &mut self,
        message: &[u8],
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), Violation> {
        out.clear();
        // Even a message of no bytes is one byte, made smaller (RFC 7692 §7.2.3.6); without it the tail is half a block.
        let done = match message {
            [] => Err(Violation::Deflate),
            _ => self.feed(message, out, max).and_then(|ended| match ended {
                // A stream that says it has ended has no tail to come.
                true => Ok(()),
                false => self.feed(&TAIL, out, max).map(drop),
            }),
        };
        if self.anew {
            self.stream.reset(false);
        }
        done
    }

    /// Inflates a piece; whether the deflated stream ended with it.
    fn feed(&mut self, mut rest: &[u8], out: &mut Vec<u8>, max: usize) -> Result<bool, Violation> {
        loop {
            if out.len() == out.capacity() {
                // One more than accepted is enough to tell.
                let more = rest.len().saturating_mul(4).max(out.len()).max(ROOM);
                let most = max.saturating_add(1).saturating_sub(out.len());
                out.reserve_exact(more.min(most).max(1));
            }
            let before = self.stream.total_in();
            let flush = FlushDecompress::Sync;
            let status = self.stream.decompress_vec(rest, out, flush);
            let status = status.map_err(|_| Violation::Deflate)?;
            let used = (self.stream.total_in() - before) as usize;
            rest = rest.get(used..).unwrap_or_default();
            if out.len() > max {
                return Err(Violation::Bomb);
            }
            if status == Status::StreamEnd {
                // A last block (RFC 7692 §7.2.3.5): what follows begins anew, window and all, as with zlib's own.
                self.stream.reset(false);
                if rest.is_empty() {
                    return Ok(true);
                }
            } else if out.len() < out.capacity() {
                // With room left it has said all.
                return match rest {
                    [] => Ok(false),
                    _ => Err(Violation::Deflate),
                };
            }
        }
    }
}

#[cfg(test)]
mod tests;
