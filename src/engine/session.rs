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
/// Most that a record is larger than what is in it (RFC 8446 §5.2, with its header).
const OVERHEAD: usize = 256 + 5;
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
    /// What went wrong; told when the good bytes before it are read. From then on rustls is not asked any more: it
    /// keeps places in an input that is gone, and would look them up.
    failed: Option<Error>,
}

/// What a piece of input came to.
struct Pumped {
    /// Input bytes that are done with.
    used: usize,
    /// Plain bytes written.
    plain: usize,
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
        let done = loop {
            let pumped = self.pump(&mut wire[..filled], &mut []);
            wire.copy_within(pumped.used..filled, 0);
            filled -= pumped.used;
            let flushed = self.flush(socket);
            if let Some(error) = &self.failed {
                // That our alert did not reach the peer any more is a consequence.
                break Err(invalid(error.clone()));
            }
            if flushed.is_err() || !self.tls.is_handshaking() {
                break flushed;
            }
            match room(&mut wire, filled).and_then(|room| socket.read(room)) {
                Ok(0) => break Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.incoming.extend_from_slice(&wire[..filled]);
        done
    }

    /// Reads what is there: 0 is the end, `WouldBlock` means drained, `InvalidData` a TLS error. `buffer` must be
    /// larger than the shared one, so that whatever that held fits.
    pub fn read<S: Read + Write>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        debug_assert!(buffer.len() >= WIRE);
        if !self.early.is_empty() {
            let n = self.early.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.early[..n]);
            self.early.drain(..n);
            return Ok(n);
        }
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        let wire = self.wire.clone();
        let mut wire = wire.0.borrow_mut();
        let mut filled = self.take_incoming(&mut wire);
        let done = loop {
            let pumped = self.pump(&mut wire[..filled], buffer);
            wire.copy_within(pumped.used..filled, 0);
            filled -= pumped.used;
            // Answers (key updates, alerts) leave at once; what does not fit goes with the next write.
            let flushed = self.flush(socket);
            if pumped.plain > 0 {
                break Ok(pumped.plain);
            }
            if let Some(error) = &self.failed {
                break Err(invalid(error.clone()));
            }
            if let Err(error) = flushed {
                break Err(error);
            }
            if self.ended {
                break Ok(0);
            }
            match room(&mut wire, filled).and_then(|room| socket.read(room)) {
                // A peer that ends TCP without close_notify: an end all the same; whether the WebSocket was closed
                // properly is judged by its own Close frame.
                Ok(0) => break Ok(0),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
        };
        self.incoming.extend_from_slice(&wire[..filled]);
        done
    }

    /// Encrypts and writes what fits and says how much; `WouldBlock` when nothing does. What was taken and did not
    /// leave goes with the next write or flush.
    pub fn write<S: Write>(&mut self, socket: &mut S, bytes: &[u8]) -> io::Result<usize> {
        // Nothing new is encrypted before the old has left: the queue is the caller's, where it is counted.
        if !self.flush(socket)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let wire = self.wire.clone();
        let mut wire = wire.0.borrow_mut();
        // What waits to be read stands first, as rustls may have places in it; whole records of it are opened now.
        let mut filled = self.take_incoming(&mut wire);
        if filled > 0 {
            let pumped = self.pump(&mut wire[..filled], &mut []);
            wire.copy_within(pumped.used..filled, 0);
            filled -= pumped.used;
            self.incoming.extend_from_slice(&wire[..filled]);
        }
        if let Some(error) = &self.failed {
            return Err(invalid(error.clone()));
        }
        let (held, out) = wire.split_at_mut(filled);
        // One record, with room for what is around it.
        let most = out.len().saturating_sub(OVERHEAD).min(RECORD);
        if most == 0 {
            return Err(too_long());
        }
        let bytes = &bytes[..bytes.len().min(most)];
        let sealed = match self.tls.process_tls_records(held).state {
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match traffic.encrypt(bytes, out) {
                Ok(sealed) => sealed,
                Err(EncryptError::EncryptExhausted) => {
                    return Err(invalid("the session's keys are used up"));
                }
                Err(error) => return Err(invalid(error)),
            },
            Ok(_) => return Err(invalid("nothing may be sent in this state of the session")),
            Err(error) => {
                self.failed = Some(error.clone());
                return Err(invalid(error));
            }
        };
        let mut gone = 0;
        while gone < sealed {
            match socket.write(&out[gone..sealed]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => gone += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.outgoing.extend_from_slice(&out[gone..sealed]);
        Ok(bytes.len())
    }

    /// Hands the socket the records it did not take before. True when none is left.
    pub fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<bool> {
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
        let mut pumped = Pumped { used: 0, plain: 0 };
        if self.failed.is_some() {
            pumped.used = input.len();
            return pumped;
        }
        for _ in 0..STEPS {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut input[pumped.used..]);
            let more = match state {
                Err(error) => {
                    self.failed = Some(error);
                    false
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
                            Err(error) => {
                                self.failed = Some(error);
                                break;
                            }
                        }
                    }
                    self.failed.is_none()
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let encoded = append(&mut self.outgoing, |room| data.encode(room));
                    self.failed = encoded.err();
                    self.failed.is_none()
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
        if self.failed.is_some() {
            pumped.used = input.len();
            self.say_goodbye();
        }
        pumped
    }

    /// Queues the alert that tells the peer what was wrong. As long as rustls has something to send it does not look at
    /// its input, so that this may be asked once more.
    fn say_goodbye(&mut self) {
        while self.tls.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.tls.process_tls_records(&mut []).state
            else {
                break;
            };
            if append(&mut self.outgoing, |room| data.encode(room)).is_err() {
                break;
            }
        }
    }
}

/// Where the next bytes go. A record has room, so what fills all of it is one handshake message in many records.
fn room(wire: &mut [u8], filled: usize) -> io::Result<&mut [u8]> {
    match wire.get_mut(filled..) {
        Some(room) if !room.is_empty() => Ok(room),
        _ => Err(too_long()),
    }
}

fn too_long() -> io::Error {
    invalid("a TLS handshake message is larger than 40 KiB")
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
