//! Consuming: what is published to a subject, from now on, through losses of the connection.
//!
//! With a stream (JetStream) nothing that was stored is passed over: a connection that was lost is followed by a consumer that
//! begins behind the last message that came.

use super::login::admitted;
use super::wire::{Op, next};
use crate::broker::link::Link;
use crate::broker::{BrokerError, Delivery, NatsConfig};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// For connecting, and for each answer of JetStream's.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to come back.
const PAUSE: Duration = Duration::from_millis(50);

/// A subscription to a subject of NATS.
pub struct NatsConsumer {
    config: NatsConfig,
    subject: String,
    /// The stream that stores what is published, which is made if it is not there.
    stream: Option<String>,
    name: String,
    link: Option<Link>,
    /// Of the stream: number of the last message that came.
    last: Option<u64>,
    asked: u64,
}

impl NatsConsumer {
    /// Subscribes; `name` tells it from all others at the broker.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub async fn start(
        config: NatsConfig,
        subject: &str,
        stream: Option<String>,
        name: &str,
    ) -> Result<NatsConsumer, BrokerError> {
        let mut consumer = NatsConsumer {
            config,
            subject: subject.to_owned(),
            stream,
            name: name.to_owned(),
            link: None,
            last: None,
            asked: 0,
        };
        consumer.subscribe(0).await?;
        Ok(consumer)
    }

    /// Hands on every message until dropped.
    pub async fn run(mut self, mut each: impl FnMut(Delivery<'_>)) {
        let mut turn = 0;
        loop {
            let _why = self.listen(&mut each).await;
            self.link = None;
            loop {
                sleep(PAUSE).await;
                turn += 1;
                if self.subscribe(turn).await.is_ok() {
                    break;
                }
            }
        }
    }

    async fn subscribe(&mut self, turn: usize) -> Result<(), BrokerError> {
        let count = self.config.endpoints.len().max(1);
        let endpoint = self.config.endpoints.get(turn % count);
        let endpoint = endpoint
            .ok_or_else(|| BrokerError::Refused("no address".into()))?
            .clone();
        let connecting = timeout(PATIENCE, admitted(&self.config, &endpoint)).await;
        let link = connecting.unwrap_or(Err(BrokerError::Timeout))?;
        self.link = Some(link);
        let inbox = self.inbox();
        let Some(stream) = self.stream.clone() else {
            let line = format!("SUB {} 1\r\nPING\r\n", self.subject);
            self.write(line.as_bytes()).await?;
            return self.until(|op| matches!(op, Op::Pong).then_some(())).await;
        };
        self.write(format!("SUB {inbox}.got 1\r\nSUB {inbox}.answer.* 2\r\n").as_bytes())
            .await?;
        let made = json!({
            "name": stream, "subjects": [self.subject], "retention": "limits", "storage": "file",
            "max_bytes": 256 << 20, "discard": "old", "num_replicas": 1,
        });
        if self
            .ask(&format!("STREAM.INFO.{stream}"), &Value::Null)
            .await
            .is_err()
        {
            self.ask(&format!("STREAM.CREATE.{stream}"), &made).await?;
        }
        let mut wanted = json!({
            "deliver_subject": format!("{inbox}.got"), "ack_policy": "none", "replay_policy": "instant",
            "inactive_threshold": 30_000_000_000_u64, "deliver_policy": "new", "filter_subject": self.subject,
        });
        if let Some(last) = self.last {
            wanted["deliver_policy"] = "by_start_sequence".into();
            wanted["opt_start_seq"] = (last + 1).into();
        }
        let wanted = json!({ "stream_name": stream, "config": wanted });
        let answer = self
            .ask(&format!("CONSUMER.CREATE.{stream}"), &wanted)
            .await?;
        if self.last.is_none() {
            // What is stored from here on is ours, also if the connection is lost before the first comes.
            let info = self
                .ask(&format!("STREAM.INFO.{stream}"), &Value::Null)
                .await?;
            let behind = answer["num_pending"].as_u64().unwrap_or(0);
            self.last = info["state"]["last_seq"]
                .as_u64()
                .map(|last| last.saturating_sub(behind));
        }
        Ok(())
    }

    fn inbox(&self) -> String {
        format!("_INBOX.squall.{}", self.name)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), BrokerError> {
        match &mut self.link {
            Some(link) => link.write(bytes).await,
            None => Err(BrokerError::Timeout),
        }
    }

    /// Asks JetStream's own interface.
    async fn ask(&mut self, what: &str, body: &Value) -> Result<Value, BrokerError> {
        self.asked += 1;
        let wanted = format!("{}.answer.{}", self.inbox(), self.asked);
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let line = format!("PUB $JS.API.{what} {wanted} {}\r\n{body}\r\n", body.len());
        self.write(line.as_bytes()).await?;
        let answer = self
            .until(|op| match op {
                Op::Msg {
                    subject,
                    headers,
                    payload,
                    ..
                } if *subject == wanted => {
                    let absent = headers.starts_with(b"NATS/1.0 503");
                    Some((
                        absent,
                        serde_json::from_slice::<Value>(payload).unwrap_or_default(),
                    ))
                }
                _ => None,
            })
            .await?;
        match answer {
            (true, _) => Err(BrokerError::Refused("it has no JetStream".into())),
            (_, answer) if answer.get("error").is_some() => {
                let text = answer["error"]["description"]
                    .as_str()
                    .unwrap_or("an error");
                Err(BrokerError::Refused(text.to_owned()))
            }
            (_, answer) => Ok(answer),
        }
    }

    /// Reads on until something is found. Messages do not come yet.
    async fn until<T>(
        &mut self,
        mut found: impl FnMut(&Op<'_>) -> Option<T>,
    ) -> Result<T, BrokerError> {
        let Some(link) = &mut self.link else {
            return Err(BrokerError::Timeout);
        };
        let reading = async {
            let mut at = 0;
            loop {
                while let Some((op, length)) = next(&link.buffer[at..])? {
                    if let Op::Err(what) = op {
                        return Err(BrokerError::Refused(what.to_owned()));
                    }
                    let pinged = matches!(op, Op::Ping);
                    let found = found(&op);
                    // A message that came in between is left for later.
                    if found.is_some() || !matches!(op, Op::Msg { .. }) {
                        link.buffer.drain(at..at + length);
                    } else {
                        at += length;
                    }
                    if pinged {
                        link.write(b"PONG\r\n").await?;
                    }
                    if let Some(found) = found {
                        return Ok(found);
                    }
                }
                link.read().await?;
            }
        };
        timeout(PATIENCE, reading)
            .await
            .unwrap_or(Err(BrokerError::Timeout))
    }

    async fn listen(&mut self, each: &mut impl FnMut(Delivery<'_>)) -> Result<(), BrokerError> {
        let Some(link) = &mut self.link else {
            return Err(BrokerError::Timeout);
        };
        loop {
            let mut used = 0;
            let mut pings = 0;
            while let Some((op, length)) = next(&link.buffer[used..])? {
                used += length;
                match op {
                    Op::Ping => pings += 1,
                    Op::Err(what) => return Err(BrokerError::Refused(what.to_owned())),
                    // Of a stream the place where it would be acknowledged says which it is.
                    Op::Msg {
                        subject,
                        reply,
                        payload,
                        ..
                    } if self.stream.is_some() => {
                        let Some(number) = stored(reply) else {
                            continue;
                        };
                        if self.last.is_some_and(|last| number <= last) {
                            continue;
                        }
                        self.last = Some(number);
                        each(Delivery {
                            address: subject,
                            payload,
                        });
                    }
                    Op::Msg {
                        subject, payload, ..
                    } => each(Delivery {
                        address: subject,
                        payload,
                    }),
                    Op::Pong | Op::Ok | Op::Info(_) => {}
                }
            }
            link.buffer.drain(..used);
            for _ in 0..pings {
                link.write(b"PONG\r\n").await?;
            }
            link.read().await?;
        }
    }
}

/// The stream's number of a message, of `$JS.ACK.stream.consumer.delivered.number.…` or, since 2.10, with domain and account before.
fn stored(reply: &str) -> Option<u64> {
    let words: Vec<&str> = reply.strip_prefix("$JS.ACK.")?.split('.').collect();
    let at = if words.len() >= 9 { 5 } else { 3 };
    words.get(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_stored_message_is_read() {
        assert_eq!(stored("$JS.ACK.S.c.1.42.7.1700000000000000000.0"), Some(42));
        assert_eq!(
            stored("$JS.ACK.dom.hash.S.c.1.42.7.1700000000000000000.0.rnd"),
            Some(42)
        );
        assert_eq!(stored("$JS.ACK.S"), None);
        assert_eq!(stored("_INBOX.x"), None);
    }
}
