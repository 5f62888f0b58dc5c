//! Bytes under the WebSocket: plain or TLS, and how tungstenite sees them.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, OpCode};

use super::bench::Bench;
use super::deflate::Press;

/// A connection that a client is served over.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// The TCP connection underneath; `None` where there is none of its own.
    fn tcp(&self) -> Option<&TcpStream>;

    /// Makes the coming close a reset (RST) instead of a FIN.
    fn reset_on_drop(&self) {
        if let Some(tcp) = self.tcp() {
            // Failing leaves an ordinary close, the best that is left to do.
            let _ = socket2::SockRef::from(tcp).set_linger(Some(std::time::Duration::ZERO));
        }
    }
}

impl Socket for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

/// A connection by way of another one's requests.
impl Socket for DuplexStream {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// A socket within one poll of its task, as the blocking-style `Read + Write` that tungstenite's
/// state machine wants. What would wait for input is `WouldBlock`, and the task is woken when it would
/// not; output is taken always, and lies on the bench until the connection writes it.
pub(super) struct Polled<'a, 'b, S> {
    pub socket: &'a mut S,
    pub context: &'a mut Context<'b>,
    pub bench: &'a mut Bench,
    /// Read in an earlier poll and not looked at yet.
    pub leftover: &'a mut Box<[u8]>,
    /// Makes larger again what comes smaller.
    pub press: Option<&'a mut Press>,
    /// Set when anything was read.
    pub heard: &'a mut bool,
    /// No pong leaves.
    pub mute_pongs: bool,
}

impl<S: Socket> Read for Polled<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bench = &mut *self.bench;
        while bench.unread.is_empty() {
            if self.leftover.is_empty() {
                let mut buffer = ReadBuf::new(&mut bench.input);
                match Pin::new(&mut *self.socket).poll_read(self.context, &mut buffer) {
                    Poll::Ready(result) => result?,
                    Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
                }
                let count = buffer.filled().len();
                if count == 0 {
                    return Ok(0);
                }
                *self.heard = true;
                bench.unread = 0..count;
                if let Some(press) = &mut self.press {
                    let mut plain = Vec::new();
                    press.plain(&bench.input[..count], &mut plain);
                    // Of a message that has come in part there is nothing yet.
                    bench.refill(&plain);
                }
            } else {
                bench.refill(&std::mem::take(self.leftover));
            }
        }
        let count = into.len().min(bench.unread.len());
        let from = bench.unread.start;
        into[..count].copy_from_slice(&bench.input[from..from + count]);
        bench.unread.start += count;
        Ok(count)
    }
}

impl<S: Socket> Write for Polled<'_, '_, S> {
    /// tungstenite answers pings by itself and has no switch for it. It hands over whole frames, one
    /// at a time, unmasked as a server's are, so a pong can be left out on its way: to tungstenite
    /// it is sent, to the client it never was.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !(self.mute_pongs && is_pong(bytes)) {
            self.bench.output.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_pong(frame: &[u8]) -> bool {
    frame
        .first()
        .is_some_and(|first| first & 0x0f == u8::from(OpCode::Control(Control::Pong)))
}
