//! The server: one epoll loop, connections in a flat array by descriptor, one buffer for all reads.

use crate::args::Args;
use crate::{frame, handshake, sys};
use libc::c_int;
use std::error::Error;
use std::io;
use std::net::SocketAddrV4;

/// Bytes that may wait for one connection; beyond it the connection is closed.
const QUEUE: usize = 16 << 20;
/// The longest frame or request.
const LONGEST: usize = 16 << 20;
/// Connections accepted before others get their turn.
const ACCEPTS: usize = 64;

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Echo,
    Fanout,
    Sink,
}

/// A connection; the default is a descriptor that is none.
#[derive(Default)]
struct Conn {
    live: bool,
    /// Upgraded.
    open: bool,
    /// Its Close frame is answered: it ends once everything is written.
    closing: bool,
    /// Where it stands in the list of open ones.
    place: usize,
    /// The start of a frame or request whose end has not come yet.
    rest: Vec<u8>,
    /// What the socket did not take.
    queue: Vec<u8>,
}

struct Server {
    epoll: sys::Epoll,
    mode: Mode,
    conns: Vec<Conn>,
    open: Vec<c_int>,
    broadcast: Vec<u8>,
    accepted: u64,
    messages: u64,
    /// Closed for not reading.
    cut_off: u64,
}

/// Serves until it is told to end.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let at: SocketAddrV4 = args.need("listen")?;
    let ports: u16 = args.get("ports")?.unwrap_or(1);
    let mode = match (args.flag("fanout"), args.flag("sink")) {
        (false, false) => Mode::Echo,
        (true, false) => Mode::Fanout,
        (false, true) => Mode::Sink,
        _ => return Err("either --fanout or --sink".into()),
    };
    sys::raise_descriptor_limit();
    let listeners = (0..ports)
        .map(|i| sys::listen(SocketAddrV4::new(*at.ip(), at.port() + i)))
        .collect::<io::Result<Vec<_>>>()?;
    println!("listening on {at} and {} ports above it", ports - 1);
    let mut children = Vec::new();
    let mut own = listeners[0];
    for listener in &listeners[1..] {
        match sys::fork()? {
            Some(child) => children.push(child),
            None => {
                children.clear();
                own = *listener;
                break;
            }
        }
    }
    listeners
        .iter()
        .filter(|fd| **fd != own)
        .for_each(|fd| sys::close(*fd));
    let server = Server {
        epoll: sys::Epoll::new()?,
        mode,
        conns: Vec::new(),
        open: Vec::new(),
        broadcast: Vec::new(),
        accepted: 0,
        messages: 0,
        cut_off: 0,
    };
    let result = server.serve(own);
    children.into_iter().for_each(sys::end_child);
    Ok(result?)
}

impl Server {
    fn serve(mut self, listener: c_int) -> io::Result<()> {
        let end = sys::termination()?;
        self.epoll.add(listener, libc::EPOLLIN, listener as usize)?;
        self.epoll.add(end, libc::EPOLLIN, end as usize)?;
        let mut events = sys::events(256);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let n = self.epoll.wait(&mut events, true)?;
            for event in &events[..n] {
                let fd = event.u64 as c_int;
                let writable = event.events & libc::EPOLLOUT as u32 != 0;
                if fd == listener {
                    self.accept(listener)?;
                } else if fd == end {
                    self.tell();
                    return Ok(());
                } else if self.conns[fd as usize].live
                    && self.turn(fd, writable, &mut buffer).is_err()
                {
                    self.close(fd);
                }
            }
        }
    }

    fn accept(&mut self, listener: c_int) -> io::Result<()> {
        for _ in 0..ACCEPTS {
            let fd = match sys::accept(listener) {
                Ok(Some(fd)) => fd,
                Ok(None) => break,
                // It was gone before it was accepted.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(e) => return Err(e),
            };
            let at = fd as usize;
            if self.conns.len() <= at {
                self.conns.resize_with(at + 1, Conn::default);
            }
            self.conns[at].live = true;
            self.accepted += 1;
            self.epoll.add(fd, libc::EPOLLIN, at)?;
        }
        Ok(())
    }

    fn close(&mut self, fd: c_int) {
        let conn = std::mem::take(&mut self.conns[fd as usize]);
        if conn.open {
            self.open.swap_remove(conn.place);
            if let Some(moved) = self.open.get(conn.place) {
                self.conns[*moved as usize].place = conn.place;
            }
        }
        sys::close(fd);
    }

    /// A connection can be read or written; an error ends it.
    fn turn(&mut self, fd: c_int, writable: bool, buffer: &mut [u8]) -> io::Result<()> {
        if writable {
            self.flush(fd)?;
        }
        // Who does not read is not read from.
        if !self.conns[fd as usize].queue.is_empty() {
            return Ok(());
        }
        let read = match sys::receive(fd, buffer)? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(read) => read,
            None => return Ok(()),
        };
        let mut rest = std::mem::take(&mut self.conns[fd as usize].rest);
        if rest.is_empty() {
            let taken = self.bytes(fd, &mut buffer[..read])?;
            rest.extend_from_slice(&buffer[taken..read]);
        } else {
            rest.extend_from_slice(&buffer[..read]);
            let taken = self.bytes(fd, &mut rest)?;
            rest.drain(..taken);
        }
        // An empty one is freed: nothing is kept for connections at rest.
        if !rest.is_empty() {
            self.conns[fd as usize].rest = rest;
        }
        Ok(())
    }

    /// Handles all that is whole in these bytes, and says how many those are.
    fn bytes(&mut self, fd: c_int, bytes: &mut [u8]) -> io::Result<usize> {
        let mut taken = 0;
        if !self.conns[fd as usize].open {
            let Some(end) = handshake::header_end(bytes) else {
                return too_long(bytes.len()).map(|()| 0);
            };
            let answer = handshake::answer(&bytes[..end]).ok_or(io::ErrorKind::InvalidData)?;
            let conn = &mut self.conns[fd as usize];
            (conn.open, conn.place) = (true, self.open.len());
            self.open.push(fd);
            self.send(fd, answer.as_bytes())?;
            taken = end;
        }
        // All that one read brought leaves in one write.
        let mut reply = Vec::new();
        let mut out = std::mem::take(&mut self.broadcast);
        out.clear();
        while let Some(head) = frame::head(&bytes[taken..]) {
            too_long(head.payload)?;
            let start = taken + head.len;
            let Some(payload) = bytes.get_mut(start..start + head.payload) else {
                break;
            };
            taken = start + head.payload;
            match head.first & 0x0f {
                frame::CLOSE | frame::PING => {
                    frame::mask(payload, head.mask);
                    let closes = head.first & 0x0f == frame::CLOSE;
                    let first = 0x80 | if closes { frame::CLOSE } else { frame::PONG };
                    frame::put_head(first, payload.len(), None, &mut reply);
                    reply.extend_from_slice(payload);
                    self.conns[fd as usize].closing |= closes;
                }
                frame::PONG => {}
                _ => {
                    self.messages += u64::from(head.first >> 7);
                    if self.mode != Mode::Sink {
                        frame::mask(payload, head.mask);
                        frame::put_head(head.first, payload.len(), None, &mut out);
                        out.extend_from_slice(payload);
                    }
                }
            }
        }
        let result = self.distribute(fd, &out);
        self.broadcast = out;
        result?;
        if !reply.is_empty() {
            self.send(fd, &reply)?;
        }
        let conn = &self.conns[fd as usize];
        match conn.closing && conn.queue.is_empty() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(taken),
        }
    }

    /// Messages on their way: back, or to everybody.
    fn distribute(&mut self, fd: c_int, messages: &[u8]) -> io::Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        if self.mode == Mode::Echo {
            return self.send(fd, messages);
        }
        let mut i = 0;
        while let Some(to) = self.open.get(i).copied() {
            match self.send(to, messages) {
                // Closing moves the last one into this place.
                Err(_) if to != fd => self.close(to),
                Err(e) => return Err(e),
                Ok(()) => i += 1,
            }
        }
        Ok(())
    }

    fn send(&mut self, fd: c_int, bytes: &[u8]) -> io::Result<()> {
        let queue = &mut self.conns[fd as usize].queue;
        let waits = !queue.is_empty();
        let sent = if waits { 0 } else { sys::send(fd, bytes)? };
        if sent == bytes.len() {
            return Ok(());
        }
        queue.extend_from_slice(&bytes[sent..]);
        if queue.len() > QUEUE {
            self.cut_off += 1;
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        match waits {
            true => Ok(()),
            false => self.epoll.modify(fd, libc::EPOLLOUT, fd as usize),
        }
    }

    fn flush(&mut self, fd: c_int) -> io::Result<()> {
        let conn = &mut self.conns[fd as usize];
        let sent = sys::send(fd, &conn.queue)?;
        conn.queue.drain(..sent);
        if !conn.queue.is_empty() {
            return Ok(());
        }
        conn.queue = Vec::new();
        match conn.closing {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => self.epoll.modify(fd, libc::EPOLLIN, fd as usize),
        }
    }

    fn tell(&self) {
        let (user, sys) = sys::cpu_seconds();
        println!(
            "{{\"accepted\":{},\"messages\":{},\"cut_off\":{},\"cpu_user\":{user:.3},\"cpu_sys\":{sys:.3}}}",
            self.accepted, self.messages, self.cut_off
        );
    }
}

fn too_long(bytes: usize) -> io::Result<()> {
    match bytes > LONGEST {
        true => Err(io::ErrorKind::InvalidData.into()),
        false => Ok(()),
    }
}
