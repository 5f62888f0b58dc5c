//! A non-blocking byte stream: TCP, or TLS over it. Knows nothing of WebSockets.

use mio::net::TcpStream;
use std::io::{self, Read, Write};

/// A connected socket with its optional TLS session.
pub struct Stream {
    /// The socket.
    pub socket: TcpStream,
    /// The TLS session; boxed, so that plain connections pay a pointer.
    pub tls: Option<Box<rustls::ClientConnection>>,
}

impl Stream {
    /// Reads what is there: 0 is the end, `WouldBlock` means drained.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(buffer);
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(n) => return Ok(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // A peer that ends the TCP stream without close_notify: an end all the same; whether
                // the WebSocket was closed properly is judged by its own Close frame.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) => return Err(e),
            }
            if tls.read_tls(&mut self.socket)? == 0 {
                return Ok(0);
            }
            let processed = tls.process_new_packets();
            // Answers (key updates, alerts) leave at once; if they can't, the next write takes them along.
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            processed.map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        }
    }

    /// Writes what fits and says how much; `WouldBlock` when nothing does.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        // Nothing new enters the session before the old has left: the queue is ours, where it is counted.
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        let taken = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(taken)
    }

    /// Moves a TLS handshake on. True when it is done (always, without TLS); `Err` of kind
    /// `InvalidData` for a TLS error, any other kind from the socket.
    pub fn handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else {
            return Ok(true);
        };
        loop {
            let mut moved = false;
            while tls.wants_write() {
                match tls.write_tls(&mut self.socket) {
                    Ok(_) => moved = true,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e),
                }
            }
            if !tls.is_handshaking() {
                return Ok(true);
            }
            if tls.wants_read() {
                match tls.read_tls(&mut self.socket) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {
                        moved = true;
                        if let Err(e) = tls.process_new_packets() {
                            // The alert tells the peer why.
                            let _ = tls.write_tls(&mut self.socket);
                            return Err(io::Error::new(io::ErrorKind::InvalidData, e));
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Err(e),
                }
            }
            if !moved {
                return Ok(false);
            }
        }
    }

    /// Whether TLS still holds bytes that wait for the socket.
    pub fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }
}
