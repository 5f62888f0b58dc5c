//! The rolling restart of a running gateway: an order on its standard input, and what it says of each node's turn.

use super::super::deploy::{Carried, Ending};
use super::millis;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::ChildStdin;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};

/// Reaches a running gateway to roll its nodes.
#[derive(Debug, Clone)]
pub struct Roller {
    /// Orders; taken away, it is the gateway's end.
    pub(super) orders: Arc<Mutex<Option<ChildStdin>>>,
    pub(super) news: Arc<Mutex<mpsc::UnboundedReceiver<Turn>>>,
}

/// A node's turn in a roll.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeTimes {
    /// Its index.
    pub node: usize,
    /// When it was asked to end, from the deploy's start.
    pub draining: Duration,
    /// When its process had ended.
    pub ended: Option<Duration>,
    /// When it listened again.
    pub ready: Option<Duration>,
    /// What it had counted by its end: upgrades it let in while it drained…
    pub opened_draining: Option<u64>,
    /// …and connections that it cut at its deadline.
    pub cut_at_deadline: Option<u64>,
}

/// What the gateway says of a roll.
#[derive(Debug, Deserialize)]
#[serde(tag = "roll", rename_all = "snake_case")]
pub(super) enum Turn {
    Draining { node: usize },
    Ended { node: usize, stats: Option<Counted> },
    Ready { node: usize, pid: u32 },
    Done,
    Failed { why: String },
}

/// The part of a node's counters that a roll is judged by.
#[derive(Debug, Deserialize)]
pub(super) struct Counted {
    opened_draining: u64,
    cut_at_deadline: u64,
}

impl Roller {
    /// Has all nodes restarted one by one, and waits for the last of them.
    pub async fn roll(
        &self,
        pause: Duration,
        limit: Duration,
        stop: impl Future<Output = ()>,
    ) -> Carried {
        let mut nodes: Vec<NodeTimes> = Vec::new();
        let work = async {
            let mut news = self.news.lock().await;
            // What an earlier one said after its time is not for this one.
            while news.try_recv().is_ok() {}
            if let Err(error) = self
                .say(&json!({ "roll": { "pause": millis(pause) } }))
                .await
            {
                return Ending::NotBegun(format!("the embedded gateway: {error}"));
            }
            let began = Instant::now();
            loop {
                let Some(turn) = news.recv().await else {
                    return Ending::Failed("the embedded gateway ended".into());
                };
                if let Some(ending) = turn.take(began.elapsed(), &mut nodes) {
                    return ending;
                }
            }
        };
        let ending = tokio::select! {
            biased;
            () = stop => Ending::Interrupted,
            done = timeout(limit, work) => done.unwrap_or(Ending::TimedOut),
        };
        if ending == Ending::TimedOut {
            // The node whose turn it is cannot be called back; no other one's begins. A gateway that is gone needs no word.
            let _ = self.say(&json!("stop")).await;
        }
        Carried {
            ending,
            output: String::new(),
            nodes,
        }
    }

    async fn say(&self, order: &Value) -> io::Result<()> {
        let mut orders = self.orders.lock().await;
        let stdin = orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        stdin.write_all(format!("{order}\n").as_bytes()).await
    }
}

impl Turn {
    /// Takes what is said `at`; the end of the roll if it is that.
    fn take(self, at: Duration, nodes: &mut Vec<NodeTimes>) -> Option<Ending> {
        match self {
            Turn::Draining { node } => nodes.push(NodeTimes {
                node,
                draining: at,
                ..NodeTimes::default()
            }),
            Turn::Ended { node, stats } => {
                if let Some(times) = nodes.iter_mut().rfind(|times| times.node == node) {
                    times.ended = Some(at);
                    times.opened_draining = stats.as_ref().map(|stats| stats.opened_draining);
                    times.cut_at_deadline = stats.as_ref().map(|stats| stats.cut_at_deadline);
                }
            }
            Turn::Ready { node, .. } => {
                if let Some(times) = nodes.iter_mut().rfind(|times| times.node == node) {
                    times.ready = Some(at);
                }
            }
            Turn::Done => return Some(Ending::Succeeded),
            Turn::Failed { why } => return Some(Ending::Failed(why)),
        }
        None
    }
}
