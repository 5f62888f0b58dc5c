//! WebSocket frames (RFC 6455 §5–7), the client's side, without I/O and without buffers of its own.
//!
//! [`Decoder`] reads frames where they lie in the caller's buffer. [`Inbound`] adds what a connection must keep
//! when a frame or a message is incomplete, and nothing otherwise. The one extension that is spoken is permessage-deflate
//! (RFC 7692), where it was agreed: [`Offer`] says what is asked for, [`Deflater`] and [`Inflater`] do it. All other RSV bits are errors.

mod close;
mod decode;
mod deflate;
mod encode;
mod inbound;
mod violation;

pub use close::Close;
pub use decode::{Decoder, Frame, Opcode, Step};
pub use deflate::{Agreed, Deflater, Inflater, Offer};
pub use encode::{MAX_HEADER, apply_mask, encode_header, push_close, push_deflated, push_frame};
pub use inbound::{Event, Inbound};
pub use violation::Violation;

#[cfg(test)]
mod tests;
