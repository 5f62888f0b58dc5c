//! A non-blocking byte stream: TCP, or TLS over it. Knows nothing of WebSockets.

use mio::net::TcpStream;
use rustls::ClientConnection;
use std::io::{self, Read, Write};

/// A connected socket with its optional TLS session.
pub struct Stream {
    /// The socket.
    pub socket: TcpStream,
    /// The TLS session; boxed, so that plain connections pay a pointer.
    pub tls: Option<Box<ClientConnection>>,
}

/// Hands the socket what the session has for it. True when nothing is left.
fn drain(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(socket) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e),
        }
    }
    Ok(true)
}

/// Takes what the socket has into the session; 0 is the end of TCP. The session's answers (handshake
/// flights, key updates, alerts) leave at once; what does not fit goes with the next write.
fn fill(tls: &mut ClientConnection, socket: &mut TcpStream) -> io::Result<usize> {
    let read = tls.read_tls(socket)?;
    let processed = tls.process_new_packets();
    let drained = drain(tls, socket);
    // Why TLS failed comes first: that our alert did not reach the peer any more is a consequence.
    processed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    drained?;
    Ok(read)
}

impl Stream {
    /// Reads what is there: 0 is the end, `WouldBlock` means drained, `InvalidData` a TLS error.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that ends TCP without close_notify: an end all the same; whether the WebSocket
                // was closed properly is judged by its own Close frame.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                done => return done,
            }
            if fill(tls, &mut self.socket)? == 0 {
                return Ok(0);
            }
        }
    }

    /// Writes what fits and says how much; `WouldBlock` when nothing does.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        // Nothing new enters the session before the old has left: the queue is ours, where it is counted.
        if !drain(tls, &mut self.socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let taken = tls.writer().write(bytes)?;
        drain(tls, &mut self.socket)?;
        Ok(taken)
    }

    /// Writes what TLS still holds. True when it holds nothing.
    pub fn flush(&mut self) -> io::Result<bool> {
        match &mut self.tls {
            Some(tls) => drain(tls, &mut self.socket),
            None => Ok(true),
        }
    }

    /// Moves a TLS handshake on. True when it is done (always, without TLS); an error is of kind
    /// `InvalidData` when it is TLS's, of any other kind when it is the socket's.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        loop {
            let flushed = drain(tls, &mut self.socket)?;
            if !tls.is_handshaking() {
                return Ok(true);
            }
            if !flushed && !tls.wants_read() {
                return Ok(false);
            }
            match fill(tls, &mut self.socket) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
    }
}
