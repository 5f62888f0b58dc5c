//! Bytes under the WebSocket: plain or TLS, and the lie about pongs.

use std::io::{self, Cursor, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

/// A connection that a client is served over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP connection underneath.
    fn tcp(&self) -> &TcpStream;

    /// Makes the coming close a reset (RST) instead of a FIN.
    fn reset_on_drop(&self) {
        // Failing leaves an ordinary close, the best that is left to do.
        let _ = socket2::SockRef::from(self.tcp()).set_linger(Some(std::time::Duration::ZERO));
    }
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A socket within one poll of its task, as the blocking-style `Read + Write` that tungstenite's
/// state machine wants: what would wait is `WouldBlock`, and the task is woken when it would not.
pub(super) struct Polled<'a, 'b, S> {
    pub socket: &'a mut S,
    pub context: &'a mut Context<'b>,
    /// Set when anything was read.
    pub heard: &'a mut bool,
    /// `Some`: no pong leaves.
    pub mute_pongs: Option<&'a mut PongFilter>,
}

impl<S: Socket> Polled<'_, '_, S> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<usize> {
        ready_or_would_block(Pin::new(&mut *self.socket).poll_write(self.context, bytes))
    }
}

impl<S: Socket> Read for Polled<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut buffer = ReadBuf::new(into);
        ready_or_would_block(Pin::new(&mut *self.socket).poll_read(self.context, &mut buffer))?;
        let read = buffer.filled().len();
        *self.heard |= read > 0;
        Ok(read)
    }
}

impl<S: Socket> Write for Polled<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(filter) = self.mute_pongs.take() else {
            return self.put(bytes);
        };
        let result = filter.write(bytes, |bytes| self.put(bytes));
        self.mute_pongs = Some(filter);
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        ready_or_would_block(Pin::new(&mut *self.socket).poll_flush(self.context))
    }
}

fn ready_or_would_block<T>(poll: Poll<io::Result<T>>) -> io::Result<T> {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

/// Takes the pongs out of an outgoing stream of frames.
///
/// tungstenite answers pings by itself and has no switch for it. Its output is whole frames, unmasked
/// as a server's are, so the pongs can be left out on their way to the socket: to tungstenite
/// they are sent, to the client they never were.
#[derive(Debug, Default)]
pub(super) struct PongFilter {
    /// Bytes of the frame in passing that are still to come.
    rest: usize,
}

impl PongFilter {
    fn write(
        &mut self,
        bytes: &[u8],
        put: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.rest == 0 {
            let mut cursor = Cursor::new(bytes);
            let parsed = FrameHeader::parse(&mut cursor).map_err(io::Error::other)?;
            // tungstenite never hands over less than a header at the beginning of a frame.
            let (header, length) = parsed.ok_or(io::ErrorKind::InvalidData)?;
            let whole = usize::try_from(cursor.position() + length).map_err(io::Error::other)?;
            if header.opcode == OpCode::Control(Control::Pong) {
                return Ok(whole.min(bytes.len()));
            }
            self.rest = whole;
        }
        let written = put(&bytes[..self.rest.min(bytes.len())])?;
        self.rest -= written;
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::Data;

    proptest! {
        #[test]
        fn exactly_the_pongs_are_missing_however_writes_are_cut(
            kinds in prop::collection::vec((any::<bool>(), 0usize..126), 1..20),
            cut in 1usize..400,
        ) {
            let (mut all, mut wanted) = (Vec::new(), Vec::new());
            for (pong, length) in kinds {
                let payload = vec![0x8a; length];
                let frame = if pong {
                    Frame::pong(payload)
                } else {
                    Frame::message(payload, OpCode::Data(Data::Binary), true)
                };
                frame.clone().format(&mut all).unwrap();
                if !pong {
                    frame.format(&mut wanted).unwrap();
                }
            }
            let mut filter = PongFilter::default();
            let mut sent = Vec::new();
            let mut rest = &all[..];
            while !rest.is_empty() {
                let written = filter
                    .write(rest, |bytes| {
                        let taken = bytes.len().min(cut);
                        sent.extend_from_slice(&bytes[..taken]);
                        Ok(taken)
                    })
                    .unwrap();
                rest = &rest[written..];
            }
            prop_assert_eq!(sent, wanted);
        }
    }
}
