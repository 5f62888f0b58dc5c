//! A gateway of several nodes: their processes, and being one of them.
//!
//! A node is this program again (`--node`, hidden) with one end of a socket pair as its standard input, over
//! which everything goes. What is said there is the gateway's affair.

use super::super::output;
use crate::exit::Exit;
use crate::fabric::parent::die_with_parent;
use crate::gateway::{Config, Summary, reserve, serve_node, shutdown_signal, supervise};
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
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
}

/// How it went.
pub(super) struct Served {
    pub summary: Summary,
    /// Nodes that ended by themselves.
    pub dead: Vec<(usize, ExitStatus)>,
}

/// Serves with `nodes` processes until SIGTERM or Ctrl-C.
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
        let shutdown = shutdown_signal(coordinated).map_err(|e| fail("the gateway", e))?;
        let shared = one_port.then(|| reserve(config.listen)).transpose();
        let shared = shared.map_err(|e| e.to_string())?;
        let orders = orders(
            config,
            nodes,
            shared.as_ref().map(|shared| shared.address()),
        )?;
        let mut links = Vec::new();
        let mut pids = Vec::new();
        let mut deaths = JoinSet::new();
        for node in 0..usize::from(nodes) {
            let (link, mut child) = start().map_err(|e| fail("a node", e))?;
            links.push(link.into_split());
            pids.push(child.id().unwrap_or(0));
            deaths.spawn(async move { (node, child.wait().await) });
        }
        let ending = Cell::new(false);
        let shutdown = async {
            shutdown.await;
            ending.set(true);
        };
        let ready = |addresses: &[SocketAddr]| tell(News::Ready(addresses, &pids));
        let mut supervised = std::pin::pin!(supervise(links, &orders, shutdown, ready));
        let mut dead = Vec::new();
        let mut note = |node, status: io::Result<ExitStatus>| {
            // Waiting for a child of ours does not fail; if it did, there would be nothing to tell.
            if let Ok(status) = status
                && !(ending.get() && status.success())
            {
                tell(News::Dead(node, status));
                dead.push((node, status));
            }
        };
        let summary = loop {
            tokio::select! {
                biased;
                Some(Ok((node, status))) = deaths.join_next() => note(node, status),
                summary = &mut supervised => break summary.map_err(|e| e.to_string())?,
            }
        };
        // Whoever has not ended by then is killed with its task.
        let rest = async {
            while let Some(Ok((node, status))) = deaths.join_next().await {
                note(node, status);
            }
        };
        let _ = timeout(END, rest).await;
        Ok(Served { summary, dead })
    })
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
            serve_node(reader, writer).await.map_err(|e| e.to_string())
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
