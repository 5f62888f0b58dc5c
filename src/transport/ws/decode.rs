//! Server frames, read where they lie.

use super::violation::Violation;

/// A frame's type (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// A text message or its first part.
    Text = 1,
    /// A binary message or its first part.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question for a sign of life.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
}

impl Opcode {
    fn parse(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => Opcode::Binary,
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return None,
        })
    }

    /// Close, Ping or Pong.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The bit of a frame's first byte that says its message was made smaller (RFC 7692 §6).
pub(super) const DEFLATED: u8 = 0x40;

/// A whole frame in the caller's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub opcode: Opcode,
    /// The last (or only) part of its message.
    pub fin: bool,
    /// Part of a message that was made smaller; only where that was agreed.
    pub deflated: bool,
    /// Its content.
    pub payload: &'a [u8],
}

/// What the bytes at hand amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// They begin with a whole frame.
    Frame {
        /// The frame.
        frame: Frame<'a>,
        /// How many bytes it takes, header included; the next frame begins there.
        used: usize,
    },
    /// They are the beginning of a frame: keep them, and come again with at least this many in one piece.
    /// As long as the header is incomplete this is the header's length. Says nothing new about a frame
    /// that was asked for before, so the decoder can be asked again as often as bytes arrive.
    Need(usize),
}

/// Reads a server's frames and holds them to the protocol. What it remembers is which message is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decoder {
    /// Bytes of the fragmented message so far.
    assembled: u32,
    under_way: UnderWay,
    /// Whether messages may be made smaller (RFC 7692).
    inflates: bool,
    /// Whether the message under way is.
    deflated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum UnderWay {
    #[default]
    Nothing,
    Text,
    Binary,
    /// The last frame ended a text message.
    TextEnded,
    /// A Close frame has come.
    Closed,
}

impl Decoder {
    /// One for a connection on which permessage-deflate was agreed.
    pub fn inflating() -> Self {
        Decoder {
            inflates: true,
            ..Decoder::default()
        }
    }

    /// The next frame of `bytes`, which begin where the last frame ended.
    ///
    /// `max_message` bounds a message's payload in bytes, over all its fragments; it is held against a frame's header, before
    /// anything of the frame is kept, and is at most 4 GiB. Content (UTF-8, what a Close says) is not looked at here. A message that
    /// was made smaller may be a little larger than that, as what does not get smaller does.
    ///
    /// # Errors
    /// A [`Violation`]; the decoder must not be used after it.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8], max_message: usize) -> Result<Step<'a>, Violation> {
        let [first, second, ..] = *bytes else {
            // One byte is enough to tell that a frame is wrong, but two come together nearly always.
            return Ok(Step::Need(2));
        };
        if first & 0x70 != 0 && !self.begins_deflated(first) {
            return Err(Violation::ReservedBit);
        }
        if second & 0x80 != 0 {
            return Err(Violation::Masked);
        }
        let opcode = Opcode::parse(first & 0x0f).ok_or(Violation::Opcode)?;
        let fin = first & 0x80 != 0;
        self.check_order(opcode, fin, second)?;
        let (header, len) = match second {
            126 => match bytes.get(2..4) {
                Some(digits) => (4, big_endian(digits, 126)?),
                None => return Ok(Step::Need(4)),
            },
            127 => match bytes.get(2..10) {
                Some(digits) => (10, big_endian(digits, 0x1_0000)?),
                None => return Ok(Step::Need(10)),
            },
            len => (2, u64::from(len)),
        };
        let whole = if opcode.is_control() {
            0
        } else {
            len.saturating_add(u64::from(self.assembled))
        };
        let deflated = match opcode {
            Opcode::Continuation => self.deflated,
            _ => first & DEFLATED != 0,
        };
        let most = match deflated {
            true => (max_message as u64).saturating_add(max_message as u64 / 256 + 64),
            false => max_message as u64,
        };
        if whole > most.min(u64::from(u32::MAX)) {
            return Err(Violation::TooLarge);
        }
        // Fits: just seen to be below 2³².
        let used = header + len as usize;
        let Some(payload) = bytes.get(header..used) else {
            return Ok(Step::Need(used));
        };
        self.advance(opcode, fin, whole as u32);
        if !opcode.is_control() {
            self.deflated = deflated && !fin;
        }
        Ok(Step::Frame {
            frame: Frame {
                opcode,
                fin,
                deflated,
                payload,
            },
            used,
        })
    }

    /// Whether a fragmented message has begun and not ended.
    pub fn in_message(&self) -> bool {
        matches!(self.under_way, UnderWay::Text | UnderWay::Binary)
    }

    /// Whether a Close frame has come; nothing behind it counts.
    pub fn is_closed(&self) -> bool {
        self.under_way == UnderWay::Closed
    }

    /// Whether the data frame just read is part of a text message.
    pub(super) fn part_of_text(&self) -> bool {
        matches!(self.under_way, UnderWay::Text | UnderWay::TextEnded)
    }

    /// Whether reserved bits are what was agreed on: the first alone, on a message's first frame.
    fn begins_deflated(&self, first: u8) -> bool {
        let data = [Opcode::Text as u8, Opcode::Binary as u8].contains(&(first & 0x0f));
        self.inflates && data && first & 0x70 == DEFLATED
    }

    #[inline]
    fn check_order(&self, opcode: Opcode, fin: bool, length: u8) -> Result<(), Violation> {
        let under_way = self.in_message();
        match opcode {
            Opcode::Continuation if !under_way => Err(Violation::Continuation),
            Opcode::Text | Opcode::Binary if under_way => Err(Violation::Interleaved),
            _ if opcode.is_control() && !fin => Err(Violation::FragmentedControl),
            _ if opcode.is_control() && length > 125 => Err(Violation::OversizedControl),
            _ => Ok(()),
        }
    }

    #[inline]
    fn advance(&mut self, opcode: Opcode, fin: bool, whole: u32) {
        let text = match opcode {
            Opcode::Ping | Opcode::Pong => return,
            Opcode::Close => {
                self.under_way = UnderWay::Closed;
                return;
            }
            Opcode::Text => true,
            Opcode::Binary => false,
            Opcode::Continuation => self.under_way == UnderWay::Text,
        };
        self.assembled = if fin { 0 } else { whole };
        self.under_way = match (text, fin) {
            (true, false) => UnderWay::Text,
            (false, false) => UnderWay::Binary,
            (true, true) => UnderWay::TextEnded,
            (false, true) => UnderWay::Nothing,
        };
    }
}

/// A length that must be at least `least`, or a shorter form would have done.
fn big_endian(digits: &[u8], least: u64) -> Result<u64, Violation> {
    let value = digits
        .iter()
        .fold(0u64, |all, digit| all << 8 | u64::from(*digit));
    if value < least || value >> 63 != 0 {
        Err(Violation::Length)
    } else {
        Ok(value)
    }
}
