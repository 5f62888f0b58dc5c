//! Connections that agreed on permessage-deflate: their messages are made smaller on the way out, and larger again on the way in.
//!
//! Only groups that offer it come here. What a direction keeps between messages lies in a table of those groups (`Group::presses`),
//! and is made with the first message that needs it: who only listens has no compressor. Where a direction keeps nothing, one
//! that all connections of the shard share does it.

use super::conn::Conn;
use super::shard::{Group, Shard};
use crate::metrics::{Counter, Recorder};
use crate::protocol::Form;
use crate::transport::ws::{self, Agreed, Deflater, Inbound, Inflater, Opcode, Violation};

/// Room for a message that is kept from one to the next, bytes.
const KEPT: usize = 1024 * 1024;

/// What a connection agreed on, and what it keeps for that.
pub(super) struct Press {
    agreed: Agreed,
    deflater: Option<Deflater>,
    inflater: Option<Inflater>,
}

/// What all of a shard's connections share.
#[derive(Default)]
pub(super) struct Shared {
    /// By level and window.
    deflaters: Vec<((u8, u8), Deflater)>,
    inflater: Option<Inflater>,
    /// The last message made smaller.
    packed: Vec<u8>,
    /// The last one made larger.
    inflated: Vec<u8>,
}

impl Shared {
    /// Makes a message of a connection smaller; `None`: it goes as it is.
    fn pack(&mut self, group: &mut Group, of: &Sent<'_>) -> Option<&[u8]> {
        let offer = group.compression?;
        let press = group.presses.get_mut(of.c - group.base)?.as_deref_mut()?;
        let bits = press.agreed.client_bits?;
        if of.message.len() < offer.threshold {
            return None;
        }
        // To begin anew is always allowed: what a connection says once does not buy it a window for life.
        let anew = press.agreed.client_anew || (!of.again && press.deflater.is_none());
        let make = || Deflater::new(offer.level, bits, anew);
        let deflater = if anew {
            let kind = (offer.level, bits);
            let at = self.deflaters.iter().position(|(of, _)| *of == kind);
            let at = at.unwrap_or_else(|| {
                self.deflaters.push((kind, make()));
                self.deflaters.len() - 1
            });
            &mut self.deflaters.get_mut(at)?.1
        } else {
            press.deflater.get_or_insert_with(make)
        };
        let done = deflater.deflate(of.message, &mut self.packed);
        done.then_some(self.packed.as_slice())
    }

    /// Appends the frame of a connection's message, made smaller if it was agreed on.
    pub fn push(
        &mut self,
        group: &mut Group,
        of: &Sent<'_>,
        recorder: &mut Recorder,
        mask: [u8; 4],
        out: &mut Vec<u8>,
    ) {
        let opcode = of.opcode;
        match self.pack(group, of) {
            Some(packed) => {
                ws::push_deflated(opcode, packed, mask, out);
                let (small, large) = (packed.len() as u64, of.message.len() as u64);
                recorder.count(Counter::DeflatedSent, of.phase, of.g, small);
                recorder.count(Counter::InflatedSent, of.phase, of.g, large);
            }
            None => drop(ws::push_frame(opcode, &[of.message], mask, out)),
        }
    }
}

/// A message on its way out.
pub(super) struct Sent<'a> {
    pub c: usize,
    pub g: usize,
    pub phase: usize,
    /// Whether more like it are to come: publishes and requests.
    pub again: bool,
    pub opcode: Opcode,
    pub message: &'a [u8],
}

impl Group {
    /// Whether a connection of it agreed on that.
    pub fn agreed(&self, c: usize) -> bool {
        let place = self.presses.get(c - self.base);
        place.is_some_and(Option::is_some)
    }

    /// The connection ended, and with it what it agreed on.
    pub fn forget_press(&mut self, c: usize) {
        if let Some(place) = self.presses.get_mut(c - self.base) {
            *place = None;
        }
    }
}

impl Shard {
    /// The answer to a connection's upgrade accepted compression.
    pub(super) fn agree(&mut self, c: usize, agreed: Agreed) {
        let Shard { conns, groups, .. } = self;
        let conn: &mut Conn = &mut conns[c];
        let group = &mut groups[usize::from(conn.group)];
        if let Some(place) = group.presses.get_mut(c - group.base) {
            *place = Some(Box::new(Press {
                agreed,
                deflater: None,
                inflater: None,
            }));
            conn.inbound = Inbound::inflating();
        }
    }

    /// A whole message that was made smaller.
    pub(super) fn deflated_message(
        &mut self,
        c: usize,
        text: bool,
        bytes: &[u8],
        now: u64,
    ) -> Result<(), Violation> {
        // Out of the shard while the message is looked at.
        let mut message = std::mem::take(&mut self.shared.inflated);
        let done = self.inflate(c, text, bytes, &mut message);
        if done.is_ok() {
            let g = usize::from(self.conns[c].group);
            let (small, large) = (bytes.len() as u64, message.len() as u64);
            self.recorder
                .count(Counter::DeflatedReceived, self.phase, g, small);
            self.recorder
                .count(Counter::InflatedReceived, self.phase, g, large);
            let form = if text { Form::Text } else { Form::Binary };
            self.message(c, form, &message, now);
        }
        message.clear();
        message.shrink_to(KEPT);
        self.shared.inflated = message;
        done
    }

    fn inflate(
        &mut self,
        c: usize,
        text: bool,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        let max = group.compression.map_or(0, |offer| offer.max_inflated);
        let place = group.presses.get_mut(c - group.base);
        // Without an agreement the codec has refused the frame.
        let press = place.and_then(Option::as_deref_mut);
        let press = press.ok_or(Violation::ReservedBit)?;
        let inflater = match press.agreed.server_anew {
            true => &mut self.shared.inflater,
            false => &mut press.inflater,
        };
        let Agreed {
            server_bits,
            server_anew,
            ..
        } = press.agreed;
        inflater
            .get_or_insert_with(|| Inflater::new(server_bits, server_anew))
            .inflate(bytes, out, max)?;
        if text && std::str::from_utf8(out).is_err() {
            return Err(Violation::Utf8);
        }
        Ok(())
    }
}
