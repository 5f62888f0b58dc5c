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
    pub(super) heard: Arc<Mutex<Heard>>,
}

/// What the gateway says of rolls, and how many were ordered so far.
#[derive(Debug)]
pub(super) struct Heard {
    rolls: u64,
    news: mpsc::UnboundedReceiver<News>,
}

impl Heard {
    pub(super) fn new(news: mpsc::UnboundedReceiver<News>) -> Self {
        Heard { rolls: 0, news }
    }
}

/// A node's turn in a roll.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeTimes {
    /// Its index.
    pub node: usize,
    /// When it was asked to end, from the deploy's start; of one that was dead already, when it was started anew.
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

/// What the gateway says of the roll of this number.
#[derive(Debug, Deserialize)]
pub(super) struct News {
    pub number: u64,
    #[serde(flatten)]
    pub turn: Turn,
}

/// What the gateway says of a roll.
#[derive(Debug, Deserialize)]
#[serde(tag = "roll", rename_all = "snake_case")]
pub(super) enum Turn {
    Draining { node: usize },
    Dead { node: usize },
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
            let mut heard = self.heard.lock().await;
            heard.rolls += 1;
            let number = heard.rolls;
            let order = json!({ "roll": { "number": number, "pause": millis(pause) } });
            if let Err(error) = self.say(&order).await {
                return Ending::NotBegun(format!("the embedded gateway: {error}"));
            }
            let began = Instant::now();
            loop {
                let Some(news) = heard.news.recv().await else {
                    return Ending::Failed("the embedded gateway ended".into());
                };
                // What is said of an earlier one after its time is not for this one.
                if news.number == number
                    && let Some(ending) = news.turn.take(began.elapsed(), &mut nodes)
                {
                    return ending;
                }
            }
        };
        let ending = tokio::select! {
            biased;
            () = stop => Ending::Interrupted,
            done = timeout(limit, work) => done.unwrap_or(Ending::TimedOut),
        };
        if matches!(ending, Ending::TimedOut | Ending::Interrupted) {
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
            Turn::Dead { node } => nodes.push(NodeTimes {
                node,
                draining: at,
                ended: Some(at),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use tokio::io::{AsyncBufReadExt, BufReader};

    const LONG: Duration = Duration::from_secs(60);

    fn news(text: &str) -> News {
        serde_json::from_str(text).unwrap()
    }

    #[tokio::test]
    async fn a_roll_that_is_given_up_is_stopped_and_its_end_is_not_the_next_ones() {
        // A gateway that repeats what it is told.
        let mut echo = tokio::process::Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut told = BufReader::new(echo.stdout.take().unwrap()).lines();
        let (say, said) = mpsc::unbounded_channel();
        let roller = Roller {
            orders: Arc::new(Mutex::new(echo.stdin.take())),
            heard: Arc::new(Mutex::new(Heard::new(said))),
        };
        let pause = Duration::from_secs(1);
        let (mut order, mut stop) = (String::new(), String::new());
        let gave_up = async { order = told.next_line().await.unwrap().unwrap() };
        let done = roller.roll(pause, LONG, gave_up).await;
        assert_eq!(done.ending, Ending::Interrupted);
        assert_eq!(order, r#"{"roll":{"number":1,"pause":1000.0}}"#);
        // The next one: the first one's end comes while it is under way.
        let hear = async {
            stop = told.next_line().await.unwrap().unwrap();
            order = told.next_line().await.unwrap().unwrap();
            say.send(news(
                r#"{"roll":"failed","why":"it was stopped","number":1}"#,
            ))
            .unwrap();
            for turn in [
                r#"{"roll":"dead","node":0,"number":2}"#,
                r#"{"roll":"ready","node":0,"pid":7,"number":2}"#,
                r#"{"roll":"done","number":2}"#,
            ] {
                say.send(news(turn)).unwrap();
            }
        };
        let rolling = roller.roll(pause, LONG, std::future::pending());
        let (done, ()) = tokio::join!(rolling, hear);
        assert_eq!(stop, r#""stop""#);
        assert_eq!(order, r#"{"roll":{"number":2,"pause":1000.0}}"#);
        assert_eq!(done.ending, Ending::Succeeded);
        assert!(matches!(
            &done.nodes[..],
            [NodeTimes {
                node: 0,
                ended: Some(_),
                ready: Some(_),
                ..
            }]
        ));
    }
}
