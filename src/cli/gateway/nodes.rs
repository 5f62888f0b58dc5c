//! A gateway of several nodes: their processes, and being one of them.
//!
//! A node is this program again (`--node`, hidden) with one end of a socket pair as its standard input, over
//! which everything goes. What is said there is the gateway's affair.

use super::super::output;
use super::roll::{self, Order, Roll, Turn};
use crate::exit::Exit;
use crate::fabric::parent::die_with_parent;
use crate::gateway::{Config, Reserved, Summary, reserve, serve_node, shutdown_signal, supervise};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// For the nodes' processes to end once their streams have.
const END: Duration = Duration::from_secs(2);

/// What the supervisor says while it goes on.
pub(super) enum News<'a> {
    /// All nodes listen, and these are their processes.
    Ready(&'a [SocketAddr], &'a [u32]),
    /// A node, by index, has ended by itself.
    Dead(usize, ExitStatus),
    /// How far the roll of this number is.
    Roll(u64, Turn),
}

/// How it went.
pub(super) struct Served {
    pub summary: Summary,
    /// Nodes that ended by themselves.
    pub dead: Vec<(usize, ExitStatus)>,
}

/// Serves with `nodes` processes until SIGTERM or Ctrl-C. Under a coordinator it rolls when told so, by hand on
/// SIGHUP.
pub(super) fn serve(
    config: &Config,
    nodes: u16,
    one_port: bool,
    coordinated: bool,
    tell: impl Fn(News<'_>),
) -> Result<Served, String> {
    let fail = |what: &str, error: io::Error| format!("cannot start {what}: {error}");
    // One thread, this one: children die with the thread that started them.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| fail("the gateway", e))?;
    runtime.block_on(async {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let mut hangups = signal(SignalKind::hangup()).map_err(|e| fail("the gateway", e))?;
        let hear = move |line: String| drop(asks.send(line));
        let shutdown = shutdown_signal(coordinated.then_some(hear));
        let shutdown = shutdown.map_err(|e| fail("the gateway", e))?;
        let places = places(config, nodes, one_port)?;
        let orders: Vec<Config> = places.iter().map(|place| place.config.clone()).collect();
        let mut processes = Processes::default();
        let mut links = Vec::new();
        let mut pids = Vec::new();
        for node in 0..usize::from(nodes) {
            let (link, pid) = processes.start(node).map_err(|e| fail("a node", e))?;
            links.push(link.into_split());
            pids.push(pid);
        }
        let (serving, ending, over) = (Cell::new(false), Cell::new(false), Notify::new());
        let shutdown = async {
            let goodbye = shutdown.await;
            ending.set(true);
            over.notify_one();
            goodbye
        };
        let (rejoin, rejoins) = mpsc::unbounded_channel();
        let ready = |addresses: &[SocketAddr]| {
            serving.set(true);
            tell(News::Ready(addresses, &pids));
        };
        let mut supervised = std::pin::pin!(supervise(links, &orders, rejoins, shutdown, ready));
        let mut roll = Roll::new(&orders, rejoin);
        let mut dead = Vec::new();
        let summary = loop {
            tokio::select! {
                biased;
                Some((node, status)) = processes.ended() => {
                    if roll.expects(node) {
                        roll.ended(status);
                    } else if !(ending.get() && status.success()) {
                        tell(News::Dead(node, status));
                        dead.push((node, status));
                    }
                }
                summary = &mut supervised => break summary.map_err(|e| e.to_string())?,
                // The bus must not wait for a node that will not come any more.
                () = over.notified() => roll.abandon(),
                due = roll.due(), if !ending.get() => {
                    if let Some(turn) = roll.take(due, &mut processes) {
                        tell(News::Roll(roll.number(), turn));
                    }
                }
                Some(line) = asked.recv() => match roll::order(&line) {
                    Some(Order::Roll { number, pause }) if !roll.begin(number, pause) => {
                        tell(News::Roll(number, Turn::Failed("a roll is under way".into())));
                    }
                    Some(Order::Stop) => roll.stop(),
                    Some(Order::Roll { .. }) | None => {}
                },
                Some(()) = hangups.recv(), if !coordinated => {
                    // Before all listen there is nothing to roll.
                    if serving.get() && !roll.begin(0, roll::BY_HAND) {
                        tell(News::Roll(0, Turn::Failed("a roll is under way".into())));
                    }
                }
            }
        };
        // Whoever has not ended by then is killed with its task.
        let rest = async {
            while let Some((node, status)) = processes.ended().await {
                if !(ending.get() && status.success()) {
                    tell(News::Dead(node, status));
                    dead.push((node, status));
                }
            }
        };
        let _ = timeout(END, rest).await;
        Ok(Served { summary, dead })
    })
}

/// The nodes' processes, wherever they are in their lives.
#[derive(Default)]
pub(super) struct Processes {
    deaths: JoinSet<(usize, io::Result<ExitStatus>)>,
    /// By node: signals for its process, while that lives, or its end is not known yet.
    signals: HashMap<usize, mpsc::UnboundedSender<Signal>>,
}

impl Processes {
    /// Starts a node's process. Returns its stream and its id.
    pub(super) fn start(&mut self, node: usize) -> io::Result<(UnixStream, u32)> {
        let (link, mut child) = start()?;
        let pid = child.id().unwrap_or(0);
        let (sender, mut signals) = mpsc::unbounded_channel();
        self.signals.insert(node, sender);
        self.deaths.spawn(async move {
            loop {
                tokio::select! {
                    status = child.wait() => break (node, status),
                    Some(signal) = signals.recv() => {
                        // Not reaped yet, so the number is still its own.
                        if let Some(pid) = child.id() {
                            let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
                        }
                    }
                }
            }
        });
        Ok((link, pid))
    }

    /// Whether a node has a process whose end is still to be heard of.
    pub(super) fn lives(&self, node: usize) -> bool {
        self.signals.contains_key(&node)
    }

    /// Signals a node's process.
    pub(super) fn signal(&self, node: usize, signal: Signal) {
        if let Some(signals) = self.signals.get(&node) {
            let _ = signals.send(signal);
        }
    }

    /// Waits for the next one to end; `None` when there is none.
    async fn ended(&mut self) -> Option<(usize, ExitStatus)> {
        loop {
            // Waiting for a child of ours does not fail; if it did, there would be nothing to tell.
            if let Ok((node, Ok(status))) = self.deaths.join_next().await? {
                // The next one is started only after this has been heard.
                self.signals.remove(&node);
                return Some((node, status));
            }
        }
    }
}

/// A node's configuration, and its address, which stays taken while nobody listens on it: what a node that is rolled
/// comes back to must not be another's meanwhile.
struct Place {
    config: Config,
    _address: Rc<Reserved>,
}

fn places(config: &Config, nodes: u16, one_port: bool) -> Result<Vec<Place>, String> {
    let shared = one_port.then(|| reserve(config.listen)).transpose();
    let shared = shared.map_err(|e| e.to_string())?.map(Rc::new);
    let orders = orders(
        config,
        nodes,
        shared.as_ref().map(|shared| shared.address()),
    )?;
    let place = |mut config: Config| {
        let address = match &shared {
            Some(shared) => Rc::clone(shared),
            None => Rc::new(reserve(config.listen).map_err(|e| e.to_string())?),
        };
        config.listen = address.address();
        config.reuse_port = true;
        Ok(Place {
            config,
            _address: address,
        })
    };
    orders.into_iter().map(place).collect()
}

/// What each node is told.
fn orders(config: &Config, nodes: u16, shared: Option<SocketAddr>) -> Result<Vec<Config>, String> {
    (0..nodes)
        .map(|node| {
            let mut config = config.clone();
            config.node = node;
            match shared {
                Some(address) => {
                    config.listen = address;
                    config.reuse_port = true;
                }
                None if config.listen.port() != 0 => {
                    let port = config.listen.port().checked_add(node);
                    let port = port.ok_or("there are fewer ports than nodes above --listen's")?;
                    config.listen.set_port(port);
                }
                None => {}
            }
            Ok(config)
        })
        .collect()
}

/// Starts a node.
fn start() -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs.into_std()?);
    let child = Command::new(std::env::current_exe()?)
        .args(["gateway", "--node"])
        // Ctrl-C in a terminal is for the supervisor to decide on.
        .process_group(0)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok((ours, child))
}

/// Is one node until its supervisor ends it.
pub(super) fn be_one() -> Exit {
    die_with_parent();
    let _ = crate::run::machine::raise_descriptor_limit();
    let served = connect().map_err(|e| format!("cannot start: {e}"));
    match served.and_then(|runtime_and_link| {
        let (runtime, link) = runtime_and_link;
        runtime.block_on(async {
            let link = UnixStream::from_std(link).map_err(|e| format!("cannot start: {e}"))?;
            let (reader, writer) = link.into_split();
            let shutdown = shutdown_signal(None::<fn(String)>);
            let shutdown = shutdown.map_err(|e| format!("cannot start: {e}"))?;
            let served = serve_node(reader, writer, shutdown).await;
            served.map_err(|e| e.to_string())
        })
    }) {
        Ok(_) => Exit::Passed,
        Err(error) => {
            // The supervisor has been told in its own way, and tells.
            output::complain(&error);
            Exit::Usage
        }
    }
}

/// One process is one core's worth: a thread of its own for each node, and no more.
fn connect() -> io::Result<(tokio::runtime::Runtime, std::os::unix::net::UnixStream)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let link = std::io::stdin().as_fd().try_clone_to_owned()?;
    let link = std::os::unix::net::UnixStream::from(link);
    link.set_nonblocking(true)?;
    Ok((runtime, link))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(listen: &str, nodes: u16, shared: Option<&str>) -> Result<Vec<u16>, String> {
        let config = Config {
            listen: listen.parse().expect("an address"),
            ..Config::default()
        };
        let shared = shared.map(|shared| shared.parse().expect("an address"));
        let orders = orders(&config, nodes, shared)?;
        assert!(orders.iter().all(|o| o.reuse_port == shared.is_some()));
        assert!(orders.iter().map(|o| o.node).eq(0..nodes));
        Ok(orders.iter().map(|o| o.listen.port()).collect())
    }

    #[test]
    fn nodes_have_ports_of_their_own_or_share_one() {
        assert_eq!(ports("127.0.0.1:0", 2, None), Ok(vec![0, 0]));
        assert_eq!(ports("127.0.0.1:9000", 3, None), Ok(vec![9000, 9001, 9002]));
        let shared = Some("127.0.0.1:7000");
        assert_eq!(ports("127.0.0.1:0", 2, shared), Ok(vec![7000, 7000]));
        assert!(ports("127.0.0.1:65535", 2, None).is_err());
    }
}
