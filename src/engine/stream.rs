//! A non-blocking byte stream: TCP, or TLS over it. Knows nothing of WebSockets.

use super::session::Session;
use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// A connected socket with its optional TLS session.
pub struct Stream {
    /// The socket.
    pub socket: TcpStream,
    /// The TLS session; boxed, so that plain connections pay a pointer.
    pub tls: Option<Box<Session>>,
}

/// A socket that gives and takes only so much at a time.
struct Limited<'a> {
    socket: &'a mut TcpStream,
    /// Bytes that may still be read.
    left: &'a mut usize,
    /// Most bytes of one write.
    slice: usize,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(*self.left);
        if most == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = self.socket.read(&mut buffer[..most])?;
        *self.left -= n;
        Ok(n)
    }
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(&bytes[..bytes.len().min(self.slice)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

impl Stream {
    /// Reads what is there: 0 is the end, `WouldBlock` means drained, `InvalidData` a TLS error.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer),
            Some(tls) => tls.read(&mut self.socket, buffer),
        }
    }

    /// The same, taking no more than `left` from the socket, and counting it down; `WouldBlock` also when that is used up.
    pub fn read_at_most(&mut self, buffer: &mut [u8], left: &mut usize) -> io::Result<usize> {
        let mut socket = Limited {
            socket: &mut self.socket,
            left,
            slice: usize::MAX,
        };
        match &mut self.tls {
            None => socket.read(buffer),
            Some(tls) => tls.read(&mut socket, buffer),
        }
    }

    /// Writes what fits and says how much; `WouldBlock` when nothing does. No write to the socket is larger than
    /// `slice`.
    pub fn write_in_slices(&mut self, bytes: &[u8], slice: usize) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write(&bytes[..bytes.len().min(slice)]),
            Some(tls) if slice == usize::MAX => tls.write(&mut self.socket, bytes),
            Some(tls) => {
                let mut socket = Limited {
                    socket: &mut self.socket,
                    left: &mut 0,
                    slice,
                };
                tls.write(&mut socket, bytes)
            }
        }
    }

    /// Writes what TLS still holds. True when it holds nothing.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            None => Ok(true),
            Some(tls) => tls.flush(&mut self.socket),
        }
    }

    /// Moves a TLS handshake on. True when it is done (always, without TLS); an error is of kind
    /// `InvalidData` when it is TLS's, of any other kind when it is the socket's.
    pub fn handshake(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            None => Ok(true),
            Some(tls) => tls.handshake(&mut self.socket),
        }
    }
}
