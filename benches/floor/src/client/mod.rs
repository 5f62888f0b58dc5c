//! The clients: what each kind of work costs at the least.

pub mod echo;
pub mod open;
pub mod receive;

use crate::{handshake, sys};
use libc::c_int;
use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::IntoRawFd;

/// Opens connections one after the other, ready for epoll.
fn connect(to: SocketAddrV4, connections: usize) -> io::Result<Vec<c_int>> {
    sys::raise_descriptor_limit();
    let request = handshake::request(&to.to_string());
    (0..connections)
        .map(|_| {
            let mut stream = TcpStream::connect(to)?;
            stream.set_nodelay(true)?;
            stream.write_all(request.as_bytes())?;
            let mut response = Vec::new();
            let mut buffer = [0; 512];
            while handshake::header_end(&response).is_none() {
                match stream.read(&mut buffer)? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => response.extend_from_slice(&buffer[..n]),
                }
            }
            if !handshake::accepted(&response) {
                return Err(io::Error::other("the upgrade was refused"));
            }
            stream.set_nonblocking(true)?;
            Ok(stream.into_raw_fd())
        })
        .collect()
}

/// A connection on which frames of one length come in.
struct Peer {
    fd: c_int,
    /// Bytes of the frame that is not whole yet.
    partial: usize,
}

impl Peer {
    /// Reads once, and says how many frames became whole by it.
    fn frames(&mut self, buffer: &mut [u8], frame: usize, first: u8) -> io::Result<usize> {
        let read = match sys::receive(self.fd, buffer)? {
            Some(0) => return Err(io::Error::other("the server closed a connection")),
            Some(read) => read,
            None => return Ok(0),
        };
        if self.partial == 0 && buffer[0] != first {
            return Err(io::Error::other(
                "the server sent something else than messages",
            ));
        }
        let bytes = self.partial + read;
        self.partial = bytes % frame;
        Ok(bytes / frame)
    }
}

/// A stretch of time that is measured, after one to warm up.
struct Stretch {
    from: u64,
    until: u64,
    began: Option<(u64, f64, f64)>,
}

impl Stretch {
    fn new(warmup: f64, seconds: f64) -> Self {
        let from = sys::now_ns() + (warmup * 1e9) as u64;
        Stretch {
            from,
            until: from + (seconds * 1e9) as u64,
            began: None,
        }
    }

    /// True once, when warming up is over and counting begins.
    fn begins(&mut self, now: u64) -> bool {
        let begins = self.began.is_none() && now >= self.from;
        if begins {
            let (user, sys) = sys::cpu_seconds();
            self.began = Some((now, user, sys));
        }
        begins
    }

    fn is_over(&self, now: u64) -> bool {
        now >= self.until
    }

    /// The common part of the result: what was done, in which time, at which cost.
    fn result(&self, messages: u64) -> String {
        let (user, sys) = sys::cpu_seconds();
        let (began, user_before, sys_before) = self.began.unwrap_or((self.from, user, sys));
        let seconds = (sys::now_ns() - began) as f64 / 1e9;
        let (user, sys) = (user - user_before, sys - sys_before);
        format!(
            "\"messages\":{messages},\"seconds\":{seconds:.3},\"cpu_user\":{user:.3},\"cpu_sys\":{sys:.3},\
             \"per_second\":{:.0},\"per_cpu_second\":{:.0}",
            messages as f64 / seconds,
            messages as f64 / (user + sys)
        )
    }
}

/// Messages of one size, masked with a new key each.
struct Writer {
    plain: Vec<u8>,
    frame: Vec<u8>,
    head: usize,
    random: u64,
}

impl Writer {
    fn new(size: usize) -> Self {
        let plain = vec![b'x'; size];
        let mut frame = Vec::new();
        crate::frame::put_head(TEXT, size, Some([0; 4]), &mut frame);
        let head = frame.len();
        frame.extend_from_slice(&plain);
        Writer {
            plain,
            frame,
            head,
            random: sys::now_ns() | 1,
        }
    }

    fn send(&mut self, fd: c_int) -> io::Result<()> {
        // xorshift64 (Marsaglia 2003): masks need no more.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let [a, b, c, d, ..] = self.random.to_ne_bytes();
        let key = [a, b, c, d];
        self.frame[self.head - 4..self.head].copy_from_slice(&key);
        let payload = &mut self.frame[self.head..];
        payload.copy_from_slice(&self.plain);
        crate::frame::mask(payload, key);
        match sys::send(fd, &self.frame)? == self.frame.len() {
            true => Ok(()),
            false => Err(io::Error::other("the server does not keep up")),
        }
    }

    /// Length of a server's frame with the same payload.
    fn reply_len(&self) -> usize {
        self.frame.len() - 4
    }
}

/// A whole text message.
const TEXT: u8 = 0x81;
