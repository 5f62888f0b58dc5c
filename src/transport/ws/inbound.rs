//! Messages out of frames: what a connection keeps between reads, made only when there is something to keep.

use super::close::Close;
use super::decode::{Decoder, Frame, Opcode, Step};
use super::violation::Violation;

/// Memory set aside for a frame before its bytes arrive, at most: a header alone must not cost megabytes.
const RESERVE: usize = 64 * 1024;

/// What a peer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message; it is UTF-8.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// A whole message that was made smaller: for [`Inflater::inflate`](super::Inflater::inflate), in the order they come.
    Deflated {
        /// Whether it is to be text, which is not looked at before it is inflated.
        text: bool,
        /// As it came.
        bytes: &'a [u8],
    },
    /// To be answered with a Pong of the same content, at most 125 bytes.
    Ping(&'a [u8]),
    /// The answer to a Ping, or unasked for.
    Pong(&'a [u8]),
    /// The last event; whatever comes behind it is ignored (RFC 6455 §5.5.1).
    Close(Close<'a>),
}

impl<'a> Event<'a> {
    /// A message's bytes; `None` for control frames, and for what has to be inflated first.
    pub fn message(&self) -> Option<&'a [u8]> {
        match self {
            Event::Text(text) => Some(text.as_bytes()),
            Event::Binary(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn of(opcode: Opcode, payload: &'a [u8]) -> Result<Self, Violation> {
        Ok(match opcode {
            Opcode::Text => Event::Text(std::str::from_utf8(payload).map_err(|_| Violation::Utf8)?),
            Opcode::Binary | Opcode::Continuation => Event::Binary(payload),
            Opcode::Ping => Event::Ping(payload),
            Opcode::Pong => Event::Pong(payload),
            Opcode::Close => Event::Close(Close::parse(payload)?),
        })
    }
}

/// The receiving side of one connection: 16 bytes, and a heap block only while something is incomplete.
///
/// `Default` is a fresh one, so it can be taken out of a table while its events are handled:
///
/// ```
/// use squall::transport::ws::{Event, Inbound};
/// let mut inbound = Inbound::default();
/// let mut bytes: &[u8] = b"\x81\x02hi\x89\x00\x81";
/// assert_eq!(inbound.next(&mut bytes, 1024), Ok(Some(Event::Text("hi"))));
/// assert_eq!(inbound.next(&mut bytes, 1024), Ok(Some(Event::Ping(b""))));
/// assert_eq!(inbound.next(&mut bytes, 1024), Ok(None)); // the last byte is kept inside
/// assert!(bytes.is_empty() && inbound.is_partial());
/// ```
#[derive(Debug, Default)]
pub struct Inbound {
    decoder: Decoder,
    held: Option<Box<Held>>,
}

/// What is incomplete, or was until the last event.
#[derive(Debug, Default)]
struct Held {
    /// The beginning of one frame, never more than that frame.
    frame: Vec<u8>,
    /// The fragments of a message so far.
    message: Vec<u8>,
    /// How much of `message` is known to be UTF-8.
    utf8: usize,
    /// `frame` was handed out and is to be freed.
    frame_spent: bool,
    /// `message` was handed out and is to be freed.
    message_spent: bool,
}

/// Where the next event lies.
enum Ready<'b> {
    /// In the caller's buffer.
    Here(Frame<'b>),
    /// In the held frame, from there on.
    Frame {
        opcode: Opcode,
        deflated: bool,
        at: usize,
    },
    /// In the held message.
    Message { text: bool, deflated: bool },
    /// Nowhere yet.
    Nothing,
}

impl Inbound {
    /// One for a connection on which permessage-deflate was agreed.
    pub fn inflating() -> Self {
        Inbound {
            decoder: Decoder::inflating(),
            held: None,
        }
    }

    /// The next event of `bytes`, which is moved past what was read.
    ///
    /// `None`: all of `bytes` is used and what is incomplete is kept; read more from the peer. Call it until then, because what
    /// was kept is freed by the call after its event. `max_message` is in bytes; see [`Decoder::next`].
    ///
    /// # Errors
    /// A [`Violation`]; the connection must not be read any further.
    #[inline]
    pub fn next<'s, 'b: 's>(
        &'s mut self,
        bytes: &mut &'b [u8],
        max_message: usize,
    ) -> Result<Option<Event<'s>>, Violation> {
        let ready = self.advance(bytes, max_message)?;
        // Behind `advance` so that the event may borrow what is held.
        let held = self.held.as_deref();
        let (opcode, deflated, payload) = match ready {
            Ready::Here(frame) => (frame.opcode, frame.deflated, frame.payload),
            Ready::Nothing => return Ok(None),
            Ready::Frame {
                opcode,
                deflated,
                at,
            } => (
                opcode,
                deflated,
                held.and_then(|held| held.frame.get(at..))
                    .unwrap_or_default(),
            ),
            Ready::Message { text, deflated } => {
                let message = held.map(|held| held.message.as_slice()).unwrap_or_default();
                let opcode = match text {
                    true => Opcode::Text,
                    false => Opcode::Binary,
                };
                (opcode, deflated, message)
            }
        };
        if deflated {
            let text = opcode == Opcode::Text;
            return Ok(Some(Event::Deflated {
                text,
                bytes: payload,
            }));
        }
        Event::of(opcode, payload).map(Some)
    }

    /// Whether a frame or a message has begun and not ended.
    pub fn is_partial(&self) -> bool {
        self.decoder.in_message()
            || self
                .held
                .as_ref()
                .is_some_and(|held| !held.frame.is_empty() && !held.frame_spent)
    }

    /// Bytes set aside for what is incomplete.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.held
            .as_ref()
            .map_or(0, |held| held.frame.capacity() + held.message.capacity())
    }

    #[cfg(test)]
    pub(super) fn holds_memory(&self) -> bool {
        self.held.is_some()
    }

    #[inline]
    fn advance<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        max_message: usize,
    ) -> Result<Ready<'b>, Violation> {
        self.free_spent();
        if self.decoder.is_closed() {
            *bytes = &[];
            return Ok(Ready::Nothing);
        }
        loop {
            if self
                .held
                .as_ref()
                .is_some_and(|held| !held.frame.is_empty())
            {
                match self.advance_held(bytes, max_message)? {
                    Some(ready) => return Ok(ready),
                    None => continue,
                }
            }
            match self.decoder.next(bytes, max_message)? {
                Step::Need(_) if bytes.is_empty() => return Ok(Ready::Nothing),
                // The next round finds it held.
                Step::Need(need) => take(&mut self.held.get_or_insert_default().frame, bytes, need),
                Step::Frame { frame, used } => {
                    *bytes = &bytes[used..];
                    if frame.fin && frame.opcode != Opcode::Continuation {
                        return Ok(Ready::Here(frame));
                    }
                    let text = self.decoder.part_of_text();
                    let deflated = frame.deflated;
                    if self.held.get_or_insert_default().fragment(
                        frame.payload,
                        text && !deflated,
                        frame.fin,
                    )? {
                        return Ok(Ready::Message { text, deflated });
                    }
                }
            }
        }
    }

    /// Goes on with the frame whose beginning is held; `None`: go on with the next.
    fn advance_held<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        max_message: usize,
    ) -> Result<Option<Ready<'b>>, Violation> {
        let held = self.held.get_or_insert_default();
        loop {
            let (frame, used) = match self.decoder.next(&held.frame, max_message)? {
                Step::Need(_) if bytes.is_empty() => return Ok(Some(Ready::Nothing)),
                Step::Need(need) => {
                    take(&mut held.frame, bytes, need);
                    continue;
                }
                Step::Frame { frame, used } => (frame, used),
            };
            let Frame {
                opcode,
                fin,
                deflated,
                payload,
            } = frame;
            if fin && opcode != Opcode::Continuation {
                let at = used - payload.len();
                held.frame_spent = true;
                return Ok(Some(Ready::Frame {
                    opcode,
                    deflated,
                    at,
                }));
            }
            let at = used - payload.len();
            let frame = std::mem::take(&mut held.frame);
            let text = self.decoder.part_of_text();
            let done = held.fragment(&frame[at..], text && !deflated, fin)?;
            return Ok(done.then_some(Ready::Message { text, deflated }));
        }
    }

    #[inline]
    fn free_spent(&mut self) {
        let Some(held) = &mut self.held else { return };
        if held.frame_spent {
            held.frame_spent = false;
            held.frame = Vec::new();
        }
        if held.message_spent {
            held.message_spent = false;
            held.message = Vec::new();
            held.utf8 = 0;
        }
        if held.frame.is_empty() && held.message.is_empty() {
            self.held = None;
        }
    }
}

impl Held {
    /// Adds a message's part, of a text that can be read as it is or not; whether it was the last one.
    fn fragment(&mut self, payload: &[u8], text: bool, fin: bool) -> Result<bool, Violation> {
        self.message.extend_from_slice(payload);
        if text {
            let fresh = &self.message[self.utf8..];
            match std::str::from_utf8(fresh) {
                Ok(_) => self.utf8 = self.message.len(),
                // A character may be cut by the end of a fragment, but not by the end of the message.
                Err(error) if error.error_len().is_none() && !fin => {
                    self.utf8 += error.valid_up_to()
                }
                Err(_) => return Err(Violation::Utf8),
            }
        }
        self.message_spent = fin;
        Ok(fin)
    }
}

/// Moves bytes behind a held frame until it has what it needs, or there are none left.
fn take(frame: &mut Vec<u8>, bytes: &mut &[u8], need: usize) {
    let missing = need.saturating_sub(frame.len());
    let (now, later) = bytes.split_at(missing.min(bytes.len()));
    if frame.capacity() < need {
        frame.reserve(missing.min(RESERVE).max(now.len()));
    }
    frame.extend_from_slice(now);
    *bytes = later;
}
