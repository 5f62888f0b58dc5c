//! Round trips. Closed loop: one message under way per connection. Paced: messages leave when they are due.

use super::{Peer, Stretch, TEXT, Writer, connect};
use crate::args::Args;
use crate::histogram::Histogram;
use crate::sys;
use std::error::Error;
use std::io;
use std::net::SocketAddrV4;

/// Messages sent before answers are read again.
const SENDS: u64 = 256;

/// Asks and counts answers.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let to: SocketAddrV4 = args.need("connect")?;
    let fds = connect(to, args.need("connections")?)?;
    let epoll = sys::Epoll::new()?;
    for (i, fd) in fds.iter().enumerate() {
        epoll.add(*fd, libc::EPOLLIN, i)?;
    }
    let warmup = args.get("warmup")?.unwrap_or(1.0);
    let mut run = Echo {
        epoll,
        asked: fds.iter().map(|_| 0).collect(),
        peers: fds.into_iter().map(|fd| Peer { fd, partial: 0 }).collect(),
        writer: Writer::new(args.get("size")?.unwrap_or(64)),
        buffer: vec![0; 64 << 10],
        histogram: Histogram::new(),
        stretch: Stretch::new(warmup, args.get("seconds")?.unwrap_or(5.0)),
    };
    match args.get("rate")? {
        None => run.closed()?,
        Some(rate) => run.paced(rate)?,
    }
    let histogram = &run.histogram;
    println!(
        "{{{},\"p50_us\":{},\"p99_us\":{},\"max_us\":{}}}",
        run.stretch.result(histogram.count()),
        histogram.quantile(0.5),
        histogram.quantile(0.99),
        histogram.quantile(1.0)
    );
    Ok(())
}

struct Echo {
    epoll: sys::Epoll,
    peers: Vec<Peer>,
    /// Closed loop: when the message under way was sent. Paced: how many answers have come.
    asked: Vec<u64>,
    writer: Writer,
    buffer: Vec<u8>,
    histogram: Histogram,
    stretch: Stretch,
}

impl Echo {
    fn closed(&mut self) -> io::Result<()> {
        let reply = self.writer.reply_len();
        let mut events = sys::events(256);
        for (peer, asked) in self.peers.iter().zip(&mut self.asked) {
            *asked = sys::now_ns();
            self.writer.send(peer.fd)?;
        }
        let mut now = sys::now_ns();
        while !self.stretch.is_over(now) {
            if self.stretch.begins(now) {
                self.histogram.clear();
            }
            let n = self.epoll.wait(&mut events, true)?;
            for event in &events[..n] {
                let i = event.u64 as usize;
                let peer = &mut self.peers[i];
                if peer.frames(&mut self.buffer, reply, TEXT)? == 0 {
                    continue;
                }
                now = sys::now_ns();
                self.histogram.record(now - self.asked[i]);
                self.asked[i] = now;
                self.writer.send(peer.fd)?;
            }
        }
        Ok(())
    }

    /// Message k is due k/rate after the start, on connection k mod n; answers come in order, so the k of each is known
    /// by counting, and with it when it was due.
    fn paced(&mut self, rate: f64) -> io::Result<()> {
        let mut alarm = sys::Alarm::new(&self.epoll)?;
        let reply = self.writer.reply_len();
        let connections = self.peers.len() as u64;
        let mut events = sys::events(256);
        let start = sys::now_ns();
        let gap = 1e9 / rate;
        let due = |k: u64| start + (k as f64 * gap) as u64;
        let mut next = 0;
        let mut now = start;
        while !self.stretch.is_over(now) {
            if self.stretch.begins(now) {
                self.histogram.clear();
            }
            let limit = next + SENDS;
            while due(next) <= now && next < limit {
                self.writer
                    .send(self.peers[(next % connections) as usize].fd)?;
                next += 1;
            }
            let block = alarm.set(due(next), sys::now_ns())?;
            let n = self.epoll.wait(&mut events, block)?;
            for event in &events[..n] {
                let i = event.u64 as usize;
                if i == sys::ALARM {
                    continue;
                }
                let frames = self.peers[i].frames(&mut self.buffer, reply, TEXT)?;
                let now = sys::now_ns();
                for _ in 0..frames {
                    self.histogram
                        .record(now - due(i as u64 + self.asked[i] * connections));
                    self.asked[i] += 1;
                }
            }
            now = sys::now_ns();
        }
        Ok(())
    }
}
