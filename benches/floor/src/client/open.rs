//! Opening: handshakes, and what a connection at rest holds.

use crate::args::Args;
use crate::{handshake, sys};
use libc::c_int;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Openings under way at once, when they are not paced.
const WINDOW: usize = 64;

/// Opens connections, holds them, and says what both cost.
pub fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let to: SocketAddrV4 = args.need("connect")?;
    let source: Option<Ipv4Addr> = args.get("source")?;
    let wanted: usize = args.need("connections")?;
    let gap = args.get::<f64>("rate")?.map(|rate| 1e9 / rate);
    let hold: f64 = args.get("hold")?.unwrap_or(0.0);
    sys::raise_descriptor_limit();
    let request = handshake::request(&to.to_string());
    let epoll = sys::Epoll::new()?;
    let mut alarm = sys::Alarm::new(&epoll)?;
    let mut buffer = vec![0; 64 << 10];
    let mut events = sys::events(256);
    let pss_before = sys::pss_bytes()?;
    let (user_before, sys_before) = sys::cpu_seconds();
    let start = sys::now_ns();

    let mut peers: Vec<Peer> = Vec::with_capacity(wanted);
    let mut open = 0;
    while open < wanted {
        let mut block = true;
        while peers.len() < wanted {
            match gap {
                None if peers.len() - open == WINDOW => break,
                None => {}
                Some(gap) => {
                    let due = start + (peers.len() as f64 * gap) as u64;
                    block = alarm.set(due, sys::now_ns())?;
                    if block {
                        break;
                    }
                }
            }
            let fd = sys::connect(to, source)?;
            let interest = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLET;
            epoll.add(fd, interest, peers.len())?;
            peers.push(Peer { fd, asked: false });
        }
        // Nothing more is due once all are under way.
        let n = epoll.wait(&mut events, block || peers.len() == wanted)?;
        for event in &events[..n] {
            if let Some(peer) = peers.get_mut(event.u64 as usize) {
                open += usize::from(peer.turn(&request, &mut buffer)?);
            }
        }
    }

    let seconds = (sys::now_ns() - start) as f64 / 1e9;
    let (user, sys) = sys::cpu_seconds();
    let (user, sys) = (user - user_before, sys - sys_before);
    let pss = sys::pss_bytes()?;
    println!(
        "{{\"connections\":{wanted},\"seconds\":{seconds:.3},\"cpu_user\":{user:.3},\"cpu_sys\":{sys:.3},\
         \"cpu_per_10k\":{:.4},\"pss_before\":{pss_before},\"pss\":{pss},\"bytes_per_connection\":{:.1}}}",
        (user + sys) / wanted as f64 * 10_000.0,
        pss.saturating_sub(pss_before) as f64 / wanted as f64
    );
    // Nothing is to come now but the end, or the server's.
    if hold > 0.0 {
        let until = sys::now_ns() + (hold * 1e9) as u64;
        alarm.set(until, sys::now_ns())?;
        while sys::now_ns() < until {
            let n = epoll.wait(&mut events, true)?;
            if events[..n]
                .iter()
                .any(|event| event.u64 as usize != sys::ALARM)
            {
                return Err("the server ended an idle connection".into());
            }
        }
    }
    Ok(())
}

struct Peer {
    fd: c_int,
    /// The request is sent.
    asked: bool,
}

impl Peer {
    /// Goes on with the handshake; true when it is done.
    fn turn(&mut self, request: &str, buffer: &mut [u8]) -> io::Result<bool> {
        if !self.asked {
            if sys::send(self.fd, request.as_bytes())? != request.len() {
                return Ok(false);
            }
            self.asked = true;
            return Ok(false);
        }
        match sys::receive(self.fd, buffer)? {
            None => Ok(false),
            // The response is so short that it always comes whole.
            Some(n) if handshake::accepted(&buffer[..n]) => Ok(true),
            Some(_) => Err(io::Error::other("the upgrade was refused")),
        }
    }
}
