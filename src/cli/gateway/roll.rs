//! A gateway's rolling restart: one node after the other drains, ends and is started anew on its port.
//!
//! A state machine that is polled beside everything else; who ends by whose doing is decided by who asked.

use super::nodes::Processes;
use crate::gateway::{Config, Rejoin, Stats};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

/// From one node to the next when it is begun by SIGHUP.
pub(super) const BY_HAND: Duration = Duration::from_secs(1);
/// Beyond its drain deadline a node is killed after this.
const END: Duration = Duration::from_secs(3);
/// For a node to listen.
const START: Duration = Duration::from_secs(15);
/// For a node's last words, once its process has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Longer than any roll.
const NEVER: Duration = Duration::from_secs(366 * 86_400);

/// How far it is.
#[derive(Debug)]
pub(super) enum Turn {
    /// The node was asked to end.
    Draining(usize),
    /// The node had ended before its turn, and has been started anew.
    Dead(usize),
    /// It has ended; what it counted, if it told.
    Ended(usize, Option<Box<Stats>>),
    /// It listens again, as this process.
    Ready(usize, u32),
    /// All nodes have had their turn.
    Done,
    /// It stopped; says why.
    Failed(String),
}

impl Turn {
    /// As a coordinator reads it, with the number that it gave the roll.
    pub(super) fn json(&self, number: u64) -> Value {
        let mut value = match self {
            Turn::Draining(node) => json!({ "roll": "draining", "node": node }),
            Turn::Dead(node) => json!({ "roll": "dead", "node": node }),
            Turn::Ended(node, stats) => json!({ "roll": "ended", "node": node, "stats": stats }),
            Turn::Ready(node, pid) => json!({ "roll": "ready", "node": node, "pid": pid }),
            Turn::Done => json!({ "roll": "done" }),
            Turn::Failed(why) => json!({ "roll": "failed", "why": why }),
        };
        if let Some(parts) = value.as_object_mut() {
            parts.insert("number".into(), number.into());
        }
        value
    }

    /// As a person reads it.
    pub(super) fn words(&self) -> String {
        match self {
            Turn::Draining(node) => format!("node {node} drains"),
            Turn::Dead(node) => format!("node {node} was dead, and is started anew"),
            Turn::Ended(node, _) => format!("node {node} ended"),
            Turn::Ready(node, _) => format!("node {node} is ready"),
            Turn::Done => "all nodes rolled".into(),
            Turn::Failed(why) => format!("the roll failed: {why}"),
        }
    }
}

/// What a coordinator may say.
#[derive(Debug, PartialEq)]
pub(super) enum Order {
    /// `{"roll":{"number":1,"pause":2000}}`, in milliseconds: all nodes, with this time between them. All that is said
    /// of it has its number, so that the end of another is not taken for its own.
    Roll { number: u64, pause: Duration },
    /// `"stop"`: no node's turn begins any more.
    Stop,
}

/// An order, if the line is one.
pub(super) fn order(line: &str) -> Option<Order> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case", deny_unknown_fields)]
    enum Said {
        Roll { number: u64, pause: f64 },
        Stop,
    }
    match serde_json::from_str(line).ok()? {
        Said::Roll { number, pause } => Duration::try_from_secs_f64(pause / 1e3)
            .ok()
            .map(|pause| Order::Roll { number, pause }),
        Said::Stop => Some(Order::Stop),
    }
}

type Join = Rejoin<OwnedReadHalf, OwnedWriteHalf>;

enum State {
    /// There is none.
    None,
    /// This node is next, at this time.
    Next(usize, Instant),
    /// The node is to end by this time.
    Draining(usize, Instant, Waits),
    /// The node's process has ended; its last words are waited for until then.
    Over(usize, Waits, ExitStatus, Instant),
    /// The node has been started anew, and is to listen by then.
    Starting(
        usize,
        u32,
        oneshot::Receiver<Result<SocketAddr, String>>,
        Instant,
    ),
    /// The last node is ready.
    Done,
}

/// What a roll waited for.
pub(super) enum Due {
    /// A time.
    Time,
    /// What the node that ended had counted.
    Farewell(Option<Box<Stats>>),
    /// Where the new node listens.
    Listening(Option<Result<SocketAddr, String>>),
}

/// The other ends of what the bus was told.
struct Waits {
    link: oneshot::Sender<(OwnedReadHalf, OwnedWriteHalf)>,
    listening: oneshot::Receiver<Result<SocketAddr, String>>,
    farewell: oneshot::Receiver<Stats>,
}

/// A roll, or none.
pub(super) struct Roll<'a> {
    configs: &'a [Config],
    rejoin: mpsc::UnboundedSender<Join>,
    /// Of the last one that began.
    number: u64,
    pause: Duration,
    stopped: bool,
    state: State,
}

impl<'a> Roll<'a> {
    /// None yet, of nodes with these configurations.
    pub(super) fn new(configs: &'a [Config], rejoin: mpsc::UnboundedSender<Join>) -> Self {
        Roll {
            configs,
            rejoin,
            number: 0,
            pause: Duration::ZERO,
            stopped: false,
            state: State::None,
        }
    }

    /// The number of the one under way.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Begins one; false while one is under way.
    pub(super) fn begin(&mut self, number: u64, pause: Duration) -> bool {
        if !matches!(self.state, State::None) {
            return false;
        }
        self.number = number;
        self.pause = pause;
        self.stopped = false;
        self.state = State::Next(0, Instant::now());
        true
    }

    /// No node's turn begins any more; the one whose it is is done with.
    pub(super) fn stop(&mut self) {
        self.stopped = true;
    }

    /// It is over, wherever it is: all nodes are ending.
    pub(super) fn abandon(&mut self) {
        self.state = State::None;
    }

    /// Whether the end of this node is the roll's doing.
    pub(super) fn expects(&self, node: usize) -> bool {
        matches!(self.state, State::Draining(draining, ..) if draining == node)
    }

    /// The node that was expected to has ended.
    pub(super) fn ended(&mut self, status: ExitStatus) {
        self.state = match std::mem::replace(&mut self.state, State::None) {
            State::Draining(node, _, waits) => {
                State::Over(node, waits, status, Instant::now() + LAST_WORDS)
            }
            other => other,
        };
    }

    /// Waits until there is something to be done. May be dropped at any time.
    pub(super) async fn due(&mut self) -> Due {
        match &mut self.state {
            State::None => std::future::pending().await,
            State::Next(_, at) | State::Draining(_, at, _) => sleep_until(*at).await,
            State::Over(_, waits, _, until) => {
                let told = timeout_at(*until, &mut waits.farewell).await;
                return Due::Farewell(told.ok().and_then(Result::ok).map(Box::new));
            }
            State::Starting(_, _, listening, until) => {
                let heard = timeout_at(*until, listening).await;
                return Due::Listening(heard.ok().and_then(Result::ok));
            }
            State::Done => {}
        }
        Due::Time
    }

    /// Does it; tells what there is to tell.
    pub(super) fn take(&mut self, due: Due, processes: &mut Processes) -> Option<Turn> {
        match due {
            Due::Farewell(told) => return Some(self.start(processes, told.map(|told| *told))),
            Due::Listening(heard) => return Some(self.started(heard)),
            Due::Time => {}
        }
        match std::mem::replace(&mut self.state, State::None) {
            State::Next(..) if self.stopped => Some(Turn::Failed("it was stopped".into())),
            State::Next(node, _) => Some(self.drain(node, processes)),
            State::Draining(node, at, waits) => {
                processes.signal(node, Signal::SIGKILL);
                // Its end is heard of elsewhere.
                self.state = State::Draining(node, at + NEVER, waits);
                None
            }
            State::Done => Some(Turn::Done),
            other => {
                self.state = other;
                None
            }
        }
    }

    /// Asks a node to end; the bus is told first that another will come. One that is dead already is started anew.
    fn drain(&mut self, node: usize, processes: &mut Processes) -> Turn {
        let Some(config) = self.configs.get(node) else {
            return Turn::Done;
        };
        let (link, linked) = oneshot::channel();
        let (told, listening) = oneshot::channel();
        let (last, farewell) = oneshot::channel();
        let rejoin = Rejoin {
            node,
            config: config.clone(),
            link: linked,
            listening: told,
            farewell: last,
        };
        if self.rejoin.send(rejoin).is_err() {
            return Turn::Failed("the gateway is ending".into());
        }
        let deadline = Instant::now() + config.drain_deadline + END;
        let waits = Waits {
            link,
            listening,
            farewell,
        };
        if !processes.lives(node) {
            // Nobody would tell of its end, nor is there anything to drain.
            return match self.launch(node, waits, processes) {
                Ok(()) => Turn::Dead(node),
                Err(failed) => failed,
            };
        }
        processes.signal(node, Signal::SIGTERM);
        self.state = State::Draining(node, deadline, waits);
        Turn::Draining(node)
    }

    /// Starts a node anew. Its end is told in any case.
    fn start(&mut self, processes: &mut Processes, told: Option<Stats>) -> Turn {
        let State::Over(node, waits, status, _) = std::mem::replace(&mut self.state, State::None)
        else {
            return Turn::Failed("out of turn".into());
        };
        if !status.success() {
            return Turn::Failed(format!("node {node} did not end as it should: {status}"));
        }
        match self.launch(node, waits, processes) {
            Ok(()) => Turn::Ended(node, told.map(Box::new)),
            Err(failed) => failed,
        }
    }

    /// Starts a node's process.
    fn launch(&mut self, node: usize, waits: Waits, processes: &mut Processes) -> Result<(), Turn> {
        let (link, pid) = processes
            .start(node)
            .map_err(|error| Turn::Failed(format!("node {node} cannot be started: {error}")))?;
        let _ = waits.link.send(link.into_split());
        self.state = State::Starting(node, pid, waits.listening, Instant::now() + START);
        Ok(())
    }

    fn started(&mut self, heard: Option<Result<SocketAddr, String>>) -> Turn {
        let State::Starting(node, pid, ..) = std::mem::replace(&mut self.state, State::None) else {
            return Turn::Failed("out of turn".into());
        };
        match heard {
            Some(Ok(_)) => {
                self.state = match node + 1 == self.configs.len() {
                    true => State::Done,
                    false => State::Next(node + 1, Instant::now() + self.pause),
                };
                Turn::Ready(node, pid)
            }
            Some(Err(why)) => Turn::Failed(format!("node {node}: {why}")),
            None => Turn::Failed(format!("node {node} does not listen in time")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_understood_and_nonsense_is_none() {
        let roll = order("{\"roll\":{\"number\":7,\"pause\":2000}}\n");
        let (number, pause) = (7, Duration::from_secs(2));
        assert_eq!(roll, Some(Order::Roll { number, pause }));
        assert_eq!(order("\"stop\"\n"), Some(Order::Stop));
        for line in [
            "",
            "roll",
            "{\"roll\":{}}",
            "{\"roll\":{\"pause\":1}}",
            "{\"roll\":{\"number\":1,\"pause\":-1}}",
            "{\"rolls\":{\"number\":1,\"pause\":1}}",
        ] {
            assert_eq!(order(line), None, "{line}");
        }
    }
}
