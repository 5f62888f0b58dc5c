//! A TLS session between a socket and whoever reads and writes plain bytes: rustls without buffers of its own.
//!
//! rustls' buffered connection keeps 4 KiB for what it reads and its output queue, for life. Here records are
//! decrypted and encrypted in one buffer that all sessions of a shard share, and a session holds bytes only while
//! a record is incomplete or its socket takes no more.

use mio::net::TcpStream;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, Error};
use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

/// Room for the largest record (16 KiB and its overhead, RFC 8446 §5.2) behind the beginning of another.
const WIRE: usize = 40 * 1024;
/// Plain bytes encrypted at once: a record's worth.
const RECORD: usize = 16 * 1024;
/// Calls of rustls for one piece of input; each handles a record or encodes an answer, so this bounds nothing but
/// a defect.
const STEPS: usize = 10_000;

/// The buffer for records that the sessions of one shard share.
#[derive(Clone)]
pub struct Wire(Rc<RefCell<Box<[u8]>>>);

impl Wire {
    /// Of its fixed size.
    pub fn new() -> Self {
        Wire(Rc::new(RefCell::new(vec![0; WIRE].into())))
    }
}

/// One connection's session.
pub struct Session {
    tls: UnbufferedClientConnection,
    wire: Wire,
    /// The beginning of a record that is not whole yet, or whole ones that nobody asked for yet.
    incoming: Vec<u8>,
    /// Records the socket did not take yet.
    outgoing: Vec<u8>,
    /// What was decrypted before anybody asked for it.
    early: Vec<u8>,
    /// The peer said that nothing more will come.
    ended: bool,
    /// What went wrong behind bytes that were good, to be told when those are read.
    failed: Option<Error>,
}

/// What a piece of input came to.
struct Pumped {
    /// Input bytes that are done with.
    used: usize,
    /// Plain bytes written.
    plain: usize,
    /// What rustls says is wrong.
    error: Option<Error>,
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Session {
    /// A session that has not begun.
    ///
    /// # Errors
    /// The name or the settings cannot be used.
    pub fn new(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        wire: Wire,
    ) -> Result<Self, Error> {
        Ok(Session {
            tls: UnbufferedClientConnection::new(config, name)?,
            wire,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            early: Vec::new(),
            ended: false,
            failed: None,
        })
    }

    /// Moves the handshake on. True when it is done; an error is of kind `InvalidData` when it is TLS's, of any
    /// other kind when it is the socket's.
    pub fn handshake(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        let wire = self.wire.clone();
        let mut wire = wire.0.borrow_mut();
        let mut filled = self.take_incoming(&mut wire);
        loop {
            let pumped = self.pump(&mut wire[..filled], &mut []);
            wire.copy_within(pumped.used..filled, 0);
            filled -= pumped.used;
            let flushed = self.flush(socket);
            if let Some(error) = pumped.error {
                // That our alert did not reach the peer any more is a consequence.
                return Err(invalid(error));
            }
            let flushed = flushed?;
            if !self.tls.is_handshaking() {
                self.incoming.extend_from_slice(&wire[..filled]);
                return Ok(flushed);
            }
            match socket.read(&mut wire[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.incoming.extend_from_slice(&wire[..filled]);
                    return Ok(false);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads what is there: 0 is the end, `WouldBlock` means drained, `InvalidData` a TLS error. `buffer` must be
    /// larger than the shared one, so that whatever that held fits.
    pub fn read(&mut self, socket: &mut TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
        debug_assert!(buffer.len() >= WIRE);
        if let Some(error) = self.failed.take() {
            return Err(invalid(error));
        }
        if !self.early.is_empty() {
            let n = self.early.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.early[..n]);
            self.early.drain(..n);
            return Ok(n);
        }
        let wire = self.wire.clone();
        let mut wire = wire.0.borrow_mut();
        let mut filled = self.take_incoming(&mut wire);
        loop {
            let pumped = self.pump(&mut wire[..filled], buffer);
            wire.copy_within(pumped.used..filled, 0);
            filled -= pumped.used;
            // Answers (key updates, alerts) leave at once; what does not fit goes with the next write.
            let flushed = self.flush(socket);
            if pumped.plain > 0 {
                self.failed = pumped.error;
                self.incoming.extend_from_slice(&wire[..filled]);
                return Ok(pumped.plain);
            }
            if let Some(error) = pumped.error {
                return Err(invalid(error));
            }
            flushed?;
            if self.ended {
                return Ok(0);
            }
            match socket.read(&mut wire[filled..]) {
                // A peer that ends TCP without close_notify: an end all the same; whether the WebSocket was closed
                // properly is judged by its own Close frame.
                Ok(n) => {
                    filled += n;
                    if n == 0 {
                        return Ok(0);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.incoming.extend_from_slice(&wire[..filled]);
                    return Err(e);
                }
            }
        }
    }

    /// Encrypts and writes what fits and says how much; `WouldBlock` when nothing does. What was taken and did not
    /// leave goes with the next write or flush.
    pub fn write(&mut self, socket: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
        // Nothing new is encrypted before the old has left: the queue is the caller's, where it is counted.
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = &bytes[..bytes.len().min(RECORD)];
        let wire = self.wire.clone();
        let mut wire = wire.0.borrow_mut();
        let sealed = match self.tls.process_tls_records(&mut []).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                match traffic.encrypt(bytes, &mut wire) {
                    Ok(sealed) => sealed,
                    Err(EncryptError::EncryptExhausted) => {
                        return Err(invalid("the session's keys are used up"));
                    }
                    Err(error) => return Err(invalid(error)),
                }
            }
            Ok(_) => return Err(invalid("nothing may be sent in this state of the session")),
            Err(error) => return Err(invalid(error)),
        };
        let mut gone = 0;
        while gone < sealed {
            match socket.write(&wire[gone..sealed]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => gone += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.outgoing.extend_from_slice(&wire[gone..sealed]);
        Ok(bytes.len())
    }

    /// Hands the socket the records it did not take before. True when none is left.
    pub fn flush(&mut self, socket: &mut TcpStream) -> io::Result<bool> {
        let mut gone = 0;
        let result = loop {
            if gone == self.outgoing.len() {
                break Ok(true);
            }
            match socket.write(&self.outgoing[gone..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => gone += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.outgoing.drain(..gone);
        if self.outgoing.is_empty() {
            self.outgoing = Vec::new();
        }
        result
    }

    /// Moves what was kept of the input to the front of the shared buffer; its length.
    fn take_incoming(&mut self, wire: &mut [u8]) -> usize {
        let kept = std::mem::take(&mut self.incoming);
        wire[..kept.len()].copy_from_slice(&kept);
        kept.len()
    }

    /// Has rustls work on `input` until it wants more: plain bytes go to `plain` as far as there is room and are
    /// kept beyond it, records to be sent to the queue.
    fn pump(&mut self, input: &mut [u8], plain: &mut [u8]) -> Pumped {
        let mut pumped = Pumped {
            used: 0,
            plain: 0,
            error: None,
        };
        for _ in 0..STEPS {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut input[pumped.used..]);
            let more = match state {
                Err(error) => {
                    // Once more for the alert that tells the peer, but never with the same input: rustls has given
                    // up on it, and asserts that it is not asked again.
                    (pumped.used, discard) = (input.len(), 0);
                    let first = pumped.error.is_none();
                    pumped.error.get_or_insert(error);
                    first
                }
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        match record {
                            Ok(record) => {
                                discard += record.discard;
                                let room = plain.len() - pumped.plain;
                                let fits = record.payload.len().min(room);
                                plain[pumped.plain..][..fits]
                                    .copy_from_slice(&record.payload[..fits]);
                                pumped.plain += fits;
                                self.early.extend_from_slice(&record.payload[fits..]);
                            }
                            Err(error) => drop(pumped.error.get_or_insert(error)),
                        }
                    }
                    true
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if let Err(error) = append(&mut self.outgoing, |room| data.encode(room)) {
                        pumped.error.get_or_insert(error);
                    }
                    true
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    true
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.ended = true;
                    false
                }
                Ok(_) => false,
            };
            pumped.used += discard;
            if !more {
                break;
            }
        }
        pumped
    }
}

/// Appends what rustls encodes, which says how much room it wants.
fn append(
    out: &mut Vec<u8>,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), Error> {
    let at = out.len();
    let required = match encode(&mut []) {
        Err(EncodeError::InsufficientSize(size)) => size.required_size,
        Ok(_) => return Ok(()),
        Err(error) => return Err(Error::General(error.to_string())),
    };
    out.resize(at + required, 0);
    let written = encode(&mut out[at..]).map_err(|error| Error::General(error.to_string()))?;
    out.truncate(at + written);
    Ok(())
}

#[cfg(test)]
mod tests;
