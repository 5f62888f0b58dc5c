//! Fan-out: one connection publishes, the others read and count frames, and do nothing else.

use super::{Peer, Stretch, TEXT, Writer, connect};
use crate::args::Args;
use crate::sys;
use std::error::Error;
use std::net::SocketAddrV4;

/// Publishes and counts what comes of it. The publisher gets its messages too, as from any hub.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let to: SocketAddrV4 = args.need("connect")?;
    let subscribers: usize = args.need("connections")?;
    let gap = 1e9 / args.need::<f64>("rate")?;
    let mut writer = Writer::new(args.get("size")?.unwrap_or(64));
    let frame = writer.reply_len();
    let fds = connect(to, subscribers + 1)?;
    let epoll = sys::Epoll::new()?;
    for (i, fd) in fds.iter().enumerate() {
        epoll.add(*fd, libc::EPOLLIN, i)?;
    }
    let publisher = fds[subscribers];
    let mut peers: Vec<_> = fds.into_iter().map(|fd| Peer { fd, partial: 0 }).collect();
    let mut buffer = vec![0; 64 << 10];
    let mut events = sys::events(256);
    let mut alarm = sys::Alarm::new(&epoll)?;
    let warmup = args.get("warmup")?.unwrap_or(1.0);
    let mut stretch = Stretch::new(warmup, args.get("seconds")?.unwrap_or(5.0));
    let start = sys::now_ns();
    let due = |k: u64| start + (k as f64 * gap) as u64;
    let (mut next, mut published, mut received) = (0, 0, 0);
    loop {
        let now = sys::now_ns();
        if stretch.is_over(now) {
            break;
        }
        if stretch.begins(now) {
            (published, received) = (0, 0);
        }
        while due(next) <= now {
            writer.send(publisher)?;
            next += 1;
            published += 1;
        }
        let block = alarm.set(due(next), now)?;
        let n = epoll.wait(&mut events, block)?;
        for event in &events[..n] {
            if let Some(peer) = peers.get_mut(event.u64 as usize) {
                received += peer.frames(&mut buffer, frame, TEXT)? as u64;
            }
        }
    }
    println!("{{{},\"published\":{published}}}", stretch.result(received));
    Ok(())
}
