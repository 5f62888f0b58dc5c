//! Whole packets out of bytes that come in pieces. What a length claims costs nothing: only bytes that came are kept.

use super::reason;
use super::wire::{Broken, variable};

/// Holds nothing between whole packets.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The beginning of a packet, or a whole one that was handed out.
    held: Vec<u8>,
    spent: bool,
}

impl Decoder {
    /// Forgets what is incomplete.
    pub fn clear(&mut self) {
        *self = Decoder::default();
    }

    /// The next packet's bytes, its header among them; `bytes` are cut off by what was read. `None` when there is none whole
    /// yet. Never keeps more than `max` bytes, or the five of a header that is not whole.
    ///
    /// # Errors
    /// A packet that is longer than `max`, or a length that is none.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        max: usize,
    ) -> Result<Option<&'a [u8]>, Broken> {
        if self.spent {
            self.clear();
        }
        let Decoder { held, spent } = self;
        if held.is_empty() {
            if let Some((packet, rest)) =
                extent(bytes, max)?.and_then(|total| bytes.split_at_checked(total))
            {
                *bytes = rest;
                return Ok(Some(packet));
            }
            held.extend_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        }
        let total = loop {
            if let Some(total) = extent(held, max)? {
                break total;
            }
            let Some((first, rest)) = bytes.split_first() else {
                return Ok(None);
            };
            held.push(*first);
            *bytes = rest;
        };
        let wanted = total.saturating_sub(held.len()).min(bytes.len());
        let (more, rest) = bytes.split_at(wanted);
        held.extend_from_slice(more);
        *bytes = rest;
        *spent = held.len() >= total;
        Ok(spent.then_some(held))
    }

    /// Bytes that are kept.
    pub fn held(&self) -> usize {
        self.held.len()
    }
}

/// How long the packet is that these bytes begin with, header and all; `None` when they do not tell yet.
fn extent(bytes: &[u8], max: usize) -> Result<Option<usize>, Broken> {
    let Some((_, length)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((length, width)) = variable(length)? else {
        return Ok(None);
    };
    let total = 1 + width + length as usize;
    if total > max {
        return Err(Broken {
            code: reason::PACKET_TOO_LARGE,
            what: "a packet is too long",
        });
    }
    Ok(Some(total))
}
