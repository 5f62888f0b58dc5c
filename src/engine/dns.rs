//! Addresses of the target's endpoints: literal ones at once, names looked up beside the loop and kept a
//! minute, so that a million connections do not mean a million lookups.

use super::clock::monotonic_ns;
use crate::transport::TargetConfig;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::sync::mpsc;

/// A lookup's answer is used this long.
const KEEP_NS: u64 = 60_000_000_000;

/// Places that a target redirects to are remembered up to this number.
const MOST_ELSEWHERE: usize = 256;

/// The end of a lookup.
pub struct Looked {
    endpoint: usize,
    took_ns: u64,
    result: io::Result<Vec<SocketAddr>>,
}

#[derive(Default)]
struct Entry {
    addresses: Vec<SocketAddr>,
    turn: usize,
    /// Monotonic; `u64::MAX` for literals.
    valid_until: u64,
    asking: bool,
    waiting: Vec<(u32, u32)>,
}

impl Entry {
    /// Of a name, or of an address that needs no lookup.
    fn of((host, port): &(String, u16)) -> Entry {
        match host.parse::<IpAddr>() {
            Ok(ip) => Entry {
                addresses: vec![SocketAddr::new(ip, *port)],
                valid_until: u64::MAX,
                ..Entry::default()
            },
            Err(_) => Entry::default(),
        }
    }
}

/// Looks up and remembers.
pub struct Resolver {
    entries: Vec<Entry>,
    names: Vec<(String, u16)>,
    /// All go through one proxy.
    proxied: bool,
    /// Behind so many the target's own end.
    first: usize,
    sender: mpsc::UnboundedSender<Looked>,
    receiver: mpsc::UnboundedReceiver<Looked>,
}

/// What a lookup brought.
pub struct Answer {
    /// How long it took, nanoseconds.
    pub took_ns: u64,
    /// Connections (index, generation) that waited.
    pub waiting: Vec<(u32, u32)>,
    /// Why it failed.
    pub error: Option<io::Error>,
}

impl Resolver {
    /// Of the target's endpoints; nothing is looked up yet.
    pub fn new(target: &TargetConfig) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let names: Vec<(String, u16)> = match &target.proxy {
            // Whatever the address, the proxy is who is dialled.
            Some(proxy) => vec![(proxy.host.clone(), proxy.port); target.endpoints.len()],
            None => target
                .endpoints
                .iter()
                .map(|e| (e.host.clone(), e.port))
                .collect(),
        };
        Resolver {
            entries: names.iter().map(Entry::of).collect(),
            proxied: target.proxy.is_some(),
            first: names.len(),
            names,
            sender,
            receiver,
        }
    }

    /// Where the name of somebody whom the target redirects to is looked up; `None` when those are too many.
    pub fn place(&mut self, name: (String, u16)) -> Option<usize> {
        if self.proxied {
            return Some(0);
        }
        if let Some(known) = self.names.iter().position(|known| *known == name) {
            return Some(known);
        }
        if self.names.len() >= self.first + MOST_ELSEWHERE {
            return None;
        }
        self.entries.push(Entry::of(&name));
        self.names.push(name);
        Some(self.names.len() - 1)
    }

    /// An address of the endpoint (in turn, when it has several), or `None`: the connection is told by
    /// the answer to come.
    pub fn address(&mut self, endpoint: usize, conn: u32, generation: u32) -> Option<SocketAddr> {
        let entry = self.entries.get_mut(endpoint)?;
        if entry.valid_until > monotonic_ns() && !entry.addresses.is_empty() {
            entry.turn += 1;
            return Some(entry.addresses[entry.turn % entry.addresses.len()]);
        }
        entry.waiting.push((conn, generation));
        if !entry.asking {
            entry.asking = true;
            let (host, port) = self.names[endpoint].clone();
            let sender = self.sender.clone();
            let asked = monotonic_ns();
            tokio::task::spawn_local(async move {
                let result = tokio::net::lookup_host((host.as_str(), port))
                    .await
                    .map(|found| found.collect());
                // The shard may have ended meanwhile; then nobody needs the answer.
                let _ = sender.send(Looked {
                    endpoint,
                    took_ns: monotonic_ns() - asked,
                    result,
                });
            });
        }
        None
    }

    /// Nobody is there at this address. Where the name has addresses of the other family too, those are the
    /// ones to use until the next lookup (`localhost` is ::1 and 127.0.0.1, and many servers listen on one):
    /// true, and asking again gives one of them.
    pub fn unreachable(&mut self, endpoint: usize, ip: IpAddr) -> bool {
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return false;
        };
        let other = |address: &SocketAddr| address.is_ipv4() != ip.is_ipv4();
        let found = entry.addresses.iter().any(other);
        if found {
            entry.addresses.retain(other);
        }
        found
    }

    /// Waits for a lookup to end. Cancel-safe.
    pub async fn next(&mut self) -> Option<Looked> {
        self.receiver.recv().await
    }

    /// A lookup that has ended, if there is one: for a shard too busy to wait.
    pub fn try_next(&mut self) -> Option<Looked> {
        self.receiver.try_recv().ok()
    }

    /// Keeps an answer.
    pub fn keep(&mut self, looked: Looked) -> Answer {
        let entry = &mut self.entries[looked.endpoint];
        entry.asking = false;
        let error = match looked.result {
            Ok(addresses) if addresses.is_empty() => Some(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            )),
            Ok(addresses) => {
                entry.addresses = addresses;
                entry.valid_until = monotonic_ns() + KEEP_NS;
                None
            }
            Err(e) => Some(e),
        };
        Answer {
            took_ns: looked.took_ns,
            waiting: std::mem::take(&mut entry.waiting),
            error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// A resolver that has just learned these addresses of a name.
    fn knowing(addresses: &[&str]) -> Resolver {
        let (sender, receiver) = mpsc::unbounded_channel();
        let entry = Entry {
            addresses: addresses.iter().map(|a| address(a)).collect(),
            valid_until: u64::MAX,
            ..Entry::default()
        };
        Resolver {
            entries: vec![entry],
            names: vec![("name".into(), 80)],
            proxied: false,
            first: 1,
            sender,
            receiver,
        }
    }

    #[test]
    fn a_family_nobody_listens_on_is_left_for_the_other_one() {
        let (v6, v4) = (address("[::1]:80"), address("127.0.0.1:80"));
        let mut resolver = knowing(&["[::1]:80", "127.0.0.1:80"]);
        assert!(resolver.unreachable(0, v6.ip()));
        for _ in 0..3 {
            assert_eq!(resolver.address(0, 0, 0), Some(v4));
        }
        // Told again by a connection that was on its way there: still the same way out.
        assert!(resolver.unreachable(0, v6.ip()));
        // And when that one refuses as well, it is a refusal.
        assert!(!resolver.unreachable(0, v4.ip()));
        assert_eq!(resolver.address(0, 0, 0), Some(v4));
    }

    #[test]
    fn addresses_of_one_family_are_used_in_turn_and_never_left() {
        let mut resolver = knowing(&["127.0.0.1:80", "127.0.0.2:80"]);
        assert!(!resolver.unreachable(0, address("127.0.0.1:80").ip()));
        let first = resolver.address(0, 0, 0);
        assert_ne!(first, resolver.address(0, 0, 0));
        assert_eq!(first, resolver.address(0, 0, 0));
    }
}
