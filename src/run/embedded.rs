//! The reference gateway as a child process, for scenarios with `embedded:`.
//!
//! Its configuration goes over standard input, never through the argument list; the other end of this
//! small agreement is `squall gateway --coordinated`.

mod roll;

pub use roll::{NodeTimes, Roller};

use super::cost::Processes;
use crate::plan::Plan;
use crate::scenario::model::{Consume, Embedded, Misbehave};
use roll::{Heard, News, Turn};
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long the gateway may take to listen, and what each of its nodes adds: more than it waits for them itself, so that
/// it can say that not all of them did.
const START: Duration = Duration::from_secs(20);
const START_OF_EACH: Duration = Duration::from_millis(50);
/// How long the gateway may take to end once it was asked to, beyond its own drain.
const END: Duration = Duration::from_secs(5);
/// Bytes that it may say: its addresses, which nodes ended, and how rolls went.
const SAID: u64 = 16 << 20;

/// Why there is no gateway.
#[derive(Debug)]
pub enum EmbeddedError {
    /// The process could not be started or spoken to.
    Os(io::Error),
    /// It ended, or did not say where it listens.
    Silent(String),
}

impl fmt::Display for EmbeddedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmbeddedError::Os(e) => write!(f, "cannot start the embedded gateway: {e}"),
            EmbeddedError::Silent(why) => write!(f, "the embedded gateway did not start: {why}"),
        }
    }
}

impl std::error::Error for EmbeddedError {}

/// A running gateway. Dropping it kills it.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    listen: Vec<SocketAddr>,
    processes: Processes,
    ca: Option<String>,
    /// Tells at the gateway's end which nodes had ended before.
    dead: JoinHandle<Vec<Dead>>,
    roller: Roller,
}

/// What the gateway says first.
#[derive(Deserialize)]
struct Answer {
    /// By node.
    listen: Vec<SocketAddr>,
    /// The nodes' processes.
    #[serde(default)]
    pids: Vec<u32>,
    ca: Option<String>,
}

/// What it says of a node that ended by itself.
#[derive(Debug, Deserialize)]
struct Dead {
    node: u32,
    status: String,
}

impl Gateway {
    /// Starts `program gateway` and waits until it listens on loopback.
    ///
    /// # Errors
    /// It could not be started or did not answer in time; then it is gone again.
    pub async fn start(program: &Path, embedded: &Embedded) -> Result<Gateway, EmbeddedError> {
        let mut child = Command::new(program)
            .args(["gateway", "--coordinated"])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(EmbeddedError::Os)?;
        let nodes = embedded.nodes.unwrap_or(1);
        let order = json!({
            "config": config(embedded),
            "self_signed": embedded.tls,
            "nodes": nodes,
            "one_port": embedded.one_port,
        });
        let mut line = String::new();
        let mut stdout = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout.take(SAID)));
        let conversation = async {
            // Standard input stays open: its end tells the gateway that we are gone.
            if let Some(stdin) = &mut child.stdin {
                // A gateway that is gone already explains itself below.
                let _ = stdin.write_all(format!("{order}\n").as_bytes()).await;
            }
            if let Some(stdout) = &mut stdout {
                let _ = stdout.read_line(&mut line).await;
            }
        };
        // One that takes in nothing is as silent as one that says nothing.
        let patience = START + START_OF_EACH * u32::from(nodes);
        let _ = timeout(patience, conversation).await;
        match serde_json::from_str::<Answer>(&line) {
            Ok(Answer { listen, pids, ca }) if !listen.is_empty() => {
                // Read on, so that it never blocks on a full pipe.
                if let Some(mut stderr) = child.stderr.take() {
                    tokio::spawn(async move {
                        tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await
                    });
                }
                let processes = Processes::default();
                // A gateway of one names itself as its node.
                child
                    .id()
                    .into_iter()
                    .chain(pids)
                    .for_each(|pid| processes.add(pid));
                let (turns, news) = mpsc::unbounded_channel();
                let dead = tokio::spawn(hear(stdout, turns, processes.clone()));
                let roller = Roller {
                    orders: Arc::new(Mutex::new(child.stdin.take())),
                    heard: Arc::new(Mutex::new(Heard::new(news))),
                };
                Ok(Gateway {
                    roller,
                    child,
                    listen,
                    processes,
                    ca,
                    dead,
                })
            }
            _ => {
                let _ = child.start_kill();
                let mut why = Vec::new();
                if let Some(stderr) = child.stderr.take() {
                    let _ = timeout(END, stderr.take(4096).read_to_end(&mut why)).await;
                }
                let why: String = String::from_utf8_lossy(&why)
                    .chars()
                    .filter(|c| !c.is_control())
                    .collect();
                let why = why.trim_start_matches("squall: ").trim();
                Err(EmbeddedError::Silent(if why.is_empty() {
                    "no answer".into()
                } else {
                    why.into()
                }))
            }
        }
    }

    /// The processes that serve, and those that will.
    pub fn processes(&self) -> Processes {
        self.processes.clone()
    }

    /// Aims a plan at this gateway.
    pub fn aim(&self, plan: &mut Plan) {
        let mut target = plan.target().clone();
        // As many endpoints as nodes with a port of their own.
        let listen = self.listen.iter().cycle();
        for (endpoint, address) in target.endpoints.iter_mut().zip(listen) {
            endpoint.tls = self.ca.is_some();
            endpoint.host = address.ip().to_string();
            endpoint.port = address.port();
        }
        if let Some(ca) = &self.ca {
            target.tls.ca = Some(ca.clone().into_bytes());
        }
        plan.aim(target);
    }

    /// Whether it has ended by itself, and how: a target that died is worth telling.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(status.to_string()),
            _ => None,
        }
    }

    /// What reaches it to roll its nodes.
    pub fn roller(&self) -> Roller {
        self.roller.clone()
    }

    /// Asks it to end, and makes it. Returns which nodes had ended by themselves, and how.
    pub async fn stop(mut self, patience: Duration) -> Vec<String> {
        // The end of its standard input is the end in a hurry; SIGTERM would be a drain in all its length.
        drop(self.roller.orders.lock().await.take());
        if timeout(patience + END, self.child.wait()).await.is_err() {
            let _ = self.child.start_kill();
            let _ = self.child.wait().await;
        }
        let dead = timeout(END, self.dead).await;
        let dead = dead.ok().and_then(Result::ok).unwrap_or_default();
        dead.iter()
            .map(|dead| {
                format!(
                    "node {} of the embedded gateway ended during the run ({})",
                    dead.node, dead.status
                )
            })
            .collect()
    }
}

/// Hears the gateway to its end.
async fn hear(
    stdout: Option<impl AsyncBufRead + Unpin>,
    turns: mpsc::UnboundedSender<News>,
    processes: Processes,
) -> Vec<Dead> {
    let mut all = Vec::new();
    let Some(stdout) = stdout else {
        return all;
    };
    let mut lines = stdout.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<News>(&line) {
            Ok(news) => {
                if let Turn::Ready { pid, .. } = &news.turn {
                    processes.add(*pid);
                }
                let _ = turns.send(news);
            }
            Err(_) => all.extend(serde_json::from_str::<Dead>(&line)),
        }
    }
    all
}

/// The gateway's configuration: the same knobs in its own units (milliseconds, bytes, events per
/// second). Keys left out have the gateway's default.
fn config(embedded: &Embedded) -> Value {
    let mut config = json!({
        "tokens": embedded.tokens,
        "origins": embedded.origins,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            config[key] = value;
        }
    };
    set("queue", embedded.queue.map(Value::from));
    set("when_full", embedded.when_full.map(|w| json!(w)));
    set("buffer_limit", embedded.buffer_limit.map(|b| b.0.into()));
    set("send_buffer", embedded.send_buffer.map(|b| b.0.into()));
    set("max_message", embedded.max_message.map(|b| b.0.into()));
    set("rate_limit", embedded.rate_limit.map(|r| r.0.into()));
    set("accept_rate", embedded.accept_rate.map(|r| r.0.into()));
    set(
        "ping",
        embedded
            .ping
            .as_ref()
            .map(|p| json!({ "every": millis(p.every.0), "timeout": millis(p.timeout.0) })),
    );
    set(
        "auth",
        embedded.auth.as_ref().map(|auth| {
            let mut asked = json!({ "by_message": auth.by_message });
            asked["jwt_secret"] = auth.jwt_secret.clone().unwrap_or_default().into();
            if let Some(code) = auth.close_expired {
                asked["close_expired"] = code.into();
            }
            if let Some(code) = auth.close_revoked {
                asked["close_revoked"] = code.into();
            }
            if let Some(grace) = auth.grace {
                asked["grace"] = millis(grace.0).into();
            }
            if let Some(before) = auth.ask_before {
                asked["ask_before"] = millis(before.0).into();
            }
            asked
        }),
    );
    set(
        "history",
        embedded.history.as_ref().map(|history| {
            let mut kept = json!({});
            if let Some(messages) = history.messages {
                kept["messages"] = messages.0.into();
            }
            if let Some(time) = history.r#for {
                kept["for"] = millis(time.0).into();
            }
            if let Some(store) = &history.store {
                kept["store"] = store.as_str().into();
            }
            kept
        }),
    );
    set("consume", embedded.consume.as_ref().and_then(consume));
    let time = |time: Option<crate::scenario::units::Duration>| time.map(|t| millis(t.0).into());
    set("drain_window", time(embedded.drain_window));
    set("drain_deadline", time(embedded.drain_deadline));
    set("misbehave", embedded.misbehave.as_ref().map(misbehave));
    config
}

/// The one broker that is given.
fn consume(from: &Consume) -> Option<Value> {
    let nats = from
        .nats
        .as_ref()
        .map(|of| json!({ "nats": { "url": of.url, "subject": of.subject, "stream": of.stream } }));
    let rabbitmq = || {
        let of = from.rabbitmq.as_ref()?;
        Some(json!({ "rabbitmq": {
            "url": of.url, "exchange": of.exchange, "binding": of.binding, "queue": of.queue,
        } }))
    };
    let kafka = || {
        let of = from.kafka.as_ref()?;
        let partitions = of.partitions.map_or(3, |p| p.0);
        Some(json!({ "kafka": {
            "bootstrap": of.bootstrap, "topic": of.topic, "partitions": partitions,
        } }))
    };
    nats.or_else(rabbitmq).or_else(kafka)
}

fn misbehave(knobs: &Misbehave) -> Value {
    let time = |t: Option<crate::scenario::units::Duration>| t.map(|t| millis(t.0));
    json!({
        "drop_every": knobs.drop_every,
        "duplicate_every": knobs.duplicate_every,
        "reorder_every": knobs.reorder_every,
        "refuse_every": knobs.refuse_every,
        "refuse_status": knobs.refuse_status,
        "refuse_upgrades": knobs.refuse_upgrades,
        "refuse_upgrades_for": time(knobs.refuse_upgrades_for),
        "buffer_streams": knobs.buffer_streams.map(|size| size.0),
        "delay": time(knobs.delay),
        "stall_after": time(knobs.stall_after),
        "stall_for": time(knobs.stall_for),
        "pong": knobs.pong,
        "close_after": time(knobs.close_after),
        "close_code": knobs.close_code,
        "mute": knobs.mute,
        "keep_expired": knobs.keep_expired,
        "keep_revoked": knobs.keep_revoked,
        "reset_epoch_after": time(knobs.reset_epoch_after),
        "drain": knobs.drain,
        "upgrade": knobs.upgrade,
        "head_of_line": knobs.head_of_line,
    })
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    // The one place outside `cli` that names both sides, to hold them together.
    use crate::gateway::{BadDrain, BadUpgrade, Config, PongLie, WhenFull};

    fn understood(yaml: &str) -> Config {
        let embedded: Embedded = serde_yaml::from_str(yaml).expect("a scenario's part");
        serde_json::from_value(config(&embedded)).expect("the gateway understands it")
    }

    #[test]
    fn the_gateway_understands_every_knob() {
        let config = understood(
            "{ queue: 9, when_full: disconnect, max_message: 2KiB, rate_limit: 30/m, accept_rate: 500/s, tokens: [abc], origins: [o],
               ping: { every: 2s, timeout: 1500ms }, misbehave: { drop_every: 1, duplicate_every: 2, reorder_every: 3,
               refuse_every: 4, refuse_status: 429, delay: 5ms, stall_after: 6s, stall_for: 7ms, pong: wrong,
               close_after: 8s, close_code: 1006, mute: true, keep_expired: true, keep_revoked: true, reset_epoch_after: 9s, drain: never, upgrade: mute,
               head_of_line: true, refuse_upgrades: 403, refuse_upgrades_for: 10s, buffer_streams: 4KiB }, buffer_limit: 3MiB, auth: { jwt_secret: s3, close_expired: 4001, close_revoked: 4002, grace: 2s,
               ask_before: 3s, by_message: true }, send_buffer: 8KiB,
               drain_window: 3s, drain_deadline: 4s, history: { messages: 7, for: 2s } }",
        );
        assert_eq!(
            (config.queue, config.when_full, config.max_message),
            (9, WhenFull::Disconnect, 2048)
        );
        assert_eq!(config.rate_limit, Some(0.5));
        assert_eq!(config.accept_rate, Some(500.0));
        assert_eq!(
            (config.tokens, config.origins),
            (vec!["abc".to_owned()], vec!["o".to_owned()])
        );
        assert_eq!(
            config.ping.map(|p| p.timeout),
            Some(Duration::from_millis(1500))
        );
        let knobs = config.misbehave;
        assert_eq!(
            (knobs.drop_every, knobs.duplicate_every, knobs.reorder_every),
            (Some(1), Some(2), Some(3))
        );
        assert_eq!(
            (knobs.refuse_every, knobs.refuse_status),
            (Some(4), Some(429))
        );
        assert_eq!(
            (
                knobs.refuse_upgrades,
                knobs.refuse_upgrades_for,
                knobs.buffer_streams
            ),
            (Some(403), Some(Duration::from_secs(10)), Some(4096))
        );
        assert_eq!(knobs.delay, Some(Duration::from_millis(5)));
        assert_eq!(knobs.stall_after, Some(Duration::from_secs(6)));
        assert_eq!(knobs.stall_for, Some(Duration::from_millis(7)));
        assert_eq!(knobs.pong, Some(PongLie::Wrong));
        assert_eq!(
            (knobs.close_after, knobs.close_code),
            (Some(Duration::from_secs(8)), Some(1006))
        );
        assert!(knobs.mute && knobs.keep_expired && knobs.keep_revoked);
        let auth = crate::gateway::Auth {
            jwt_secret: "s3".into(),
            close_expired: 4001,
            close_revoked: 4002,
            grace: Duration::from_secs(2),
            ask_before: Some(Duration::from_secs(3)),
            by_message: true,
        };
        assert_eq!(config.auth, Some(auth));
        let plain = understood("{ auth: { jwt_secret: s } }").auth;
        assert_eq!(plain.map(|auth| auth.close_expired), Some(4401));
        assert_eq!(knobs.reset_epoch_after, Some(Duration::from_secs(9)));
        let kept = config.history.map(|h| (h.messages, h.lasts));
        assert_eq!(kept, Some((7, Duration::from_secs(2))));
        let from = understood(
            "{ consume: { nats: { url: 'nats://127.0.0.1:1', subject: 'a.>', stream: S } } }",
        );
        assert_eq!(
            from.consume,
            Some(crate::gateway::Consume::Nats(crate::gateway::ConsumeNats {
                url: "nats://127.0.0.1:1".into(),
                subject: "a.>".into(),
                stream: Some("S".into()),
            }))
        );
        let from = understood(
            "{ consume: { rabbitmq: { url: 'amqp://127.0.0.1:1', binding: 'a.#', queue: Q } } }",
        );
        let rabbitmq = crate::gateway::ConsumeRabbitMq {
            url: "amqp://127.0.0.1:1".into(),
            exchange: None,
            binding: "a.#".into(),
            queue: Some("Q".into()),
        };
        let rabbitmq = crate::gateway::Consume::RabbitMq(rabbitmq);
        assert_eq!(from.consume, Some(rabbitmq));
        let from = understood("{ consume: { kafka: { bootstrap: 'h:1', topic: t } } }");
        assert_eq!(
            from.consume,
            Some(crate::gateway::Consume::Kafka(
                crate::gateway::ConsumeKafka {
                    bootstrap: "h:1".into(),
                    topic: "t".into(),
                    partitions: 3,
                }
            ))
        );
        let store = understood("{ history: { store: 'redis://127.0.0.1:1/0' } }").history;
        let store = store.and_then(|h| h.store);
        assert_eq!(store.as_deref(), Some("redis://127.0.0.1:1/0"));
        let default = understood("{ history: {} }").history;
        assert_eq!(default, Some(crate::gateway::History::default()));
        assert_eq!(knobs.drain, Some(BadDrain::Never));
        assert_eq!(knobs.upgrade, Some(BadUpgrade::Mute));
        let drain = (config.drain_window, config.drain_deadline);
        assert_eq!(drain, (Duration::from_secs(3), Duration::from_secs(4)));
        assert!(knobs.head_of_line);
        assert_eq!(
            (config.buffer_limit, config.send_buffer),
            (3 << 20, Some(8 << 10))
        );
    }

    #[test]
    fn nothing_said_is_the_gateways_default() {
        let plain = understood("{}");
        assert_eq!(plain, Config::default());
    }
}
