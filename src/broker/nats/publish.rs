//! Publishing into NATS.
//!
//! Core NATS says nothing of single messages: a PING behind each batch is answered when the server has done all that came before
//! it. JetStream answers each message. With JetStream a message has a name by which the server knows it again; in core NATS
//! one that was taken right before a connection was lost comes twice.

use super::login::admitted;
use super::wire::{Op, next, put_publish};
use crate::broker::link::{Link, read_on, write};
use crate::broker::publisher::{Dialect, Message, Outlet};
use crate::broker::{BrokerError, Endpoint, NatsConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use tokio::io::{AsyncRead, AsyncWrite};

/// Bytes written at once, at least while there are more.
const BATCH: usize = 64 << 10;

/// NATS, as a publisher sees it.
pub struct Nats {
    config: NatsConfig,
    /// Where JetStream's answers go.
    inbox: Option<String>,
}

/// What a connection is owed.
#[derive(Default)]
struct Owed {
    /// Number up to which the next PONG confirms.
    pings: VecDeque<u64>,
    /// Answers to the server's own pings.
    answers: u32,
}

impl Nats {
    /// `name` tells it from all others at the broker.
    pub fn new(config: NatsConfig, name: &str) -> Nats {
        let inbox = config.jetstream.then(|| format!("_INBOX.squall.{name}"));
        Nats { config, inbox }
    }

    /// Puts what is to be written next into `out`.
    fn batch(&self, out: &mut Vec<u8>, owed: &mut Owed, outlet: &Outlet) {
        out.clear();
        for _ in 0..std::mem::take(&mut owed.answers) {
            out.extend_from_slice(b"PONG\r\n");
        }
        let now = (outlet.clock)();
        let mut queue = outlet.queue.borrow_mut();
        let mut last = None;
        while out.len() < BATCH
            && let Some(number) = queue.next(out, now)
        {
            last = Some(number);
        }
        if let (Some(last), None) = (last, &self.inbox) {
            out.extend_from_slice(b"PING\r\n");
            owed.pings.push_back(last + 1);
        }
    }

    async fn write(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        owed: &RefCell<Owed>,
        outlet: &Outlet,
    ) -> BrokerError {
        let mut out = Vec::new();
        loop {
            self.batch(&mut out, &mut owed.borrow_mut(), outlet);
            if out.is_empty() {
                outlet.wake.notified().await;
                continue;
            }
            if let Err(why) = write(&mut writer, &out).await {
                return why;
            }
        }
    }

    async fn read(
        &self,
        mut reader: impl AsyncRead + Unpin,
        mut buffer: Vec<u8>,
        owed: &RefCell<Owed>,
        outlet: &Outlet,
    ) -> BrokerError {
        loop {
            let mut used = 0;
            loop {
                match next(&buffer[used..]) {
                    Ok(Some((op, length))) => {
                        if let Some(why) = heard(&op, &mut owed.borrow_mut(), outlet) {
                            return why;
                        }
                        used += length;
                    }
                    Ok(None) => break,
                    Err(why) => return why,
                }
            }
            if used > 0 {
                buffer.drain(..used);
                outlet.heard.notify_one();
            }
            if let Err(why) = read_on(&mut reader, &mut buffer).await {
                return why;
            }
        }
    }
}

impl Dialect for Nats {
    type Link = Link;

    fn endpoints(&self) -> &[Endpoint] {
        &self.config.endpoints
    }

    fn put(&self, out: &mut VecDeque<u8>, number: u64, message: &Message<'_>) {
        let reply = self.inbox.as_ref().map(|inbox| format!("{inbox}.{number}"));
        let id = reply.is_some().then_some(message.id);
        put_publish(out, message.address, reply.as_deref(), id, message.payload);
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link, BrokerError> {
        let mut link = admitted(&self.config, endpoint).await?;
        if let Some(inbox) = &self.inbox {
            link.write(format!("SUB {inbox}.* 1\r\n").as_bytes())
                .await?;
        }
        Ok(link)
    }

    async fn serve(&self, link: Link, outlet: &Outlet) -> BrokerError {
        let (reader, writer, buffer) = link.split();
        let owed = RefCell::default();
        tokio::select! {
            why = self.read(reader, buffer, &owed, outlet) => why,
            why = self.write(writer, &owed, outlet) => why,
        }
    }
}

/// What the server says; why the connection is of no use any more, if it is not.
fn heard(op: &Op<'_>, owed: &mut Owed, outlet: &Outlet) -> Option<BrokerError> {
    let now = (outlet.clock)();
    let mut queue = outlet.queue.borrow_mut();
    match op {
        Op::Ping => {
            owed.answers += 1;
            outlet.wake.notify_one();
        }
        Op::Pong => {
            let Some(bound) = owed.pings.pop_front() else {
                return Some(BrokerError::Protocol("a PONG without a PING".into()));
            };
            queue.take_before(bound, now);
        }
        Op::Err(what) => return Some(BrokerError::Refused((*what).to_owned())),
        Op::Msg {
            subject,
            headers,
            payload,
            ..
        } => {
            let number = subject.rsplit('.').next();
            let number = number.and_then(|n| n.parse::<u64>().ok())?;
            match refusal(headers, payload) {
                None => queue.take(number, now),
                Some(why) => queue.refuse(number, why),
            }
        }
        Op::Info(_) | Op::Ok => {}
    }
    None
}

/// Why JetStream did not store a message, in its answer to it.
fn refusal(headers: &[u8], payload: &[u8]) -> Option<String> {
    if headers.starts_with(b"NATS/1.0 503") {
        return Some("no stream takes messages of this subject".into());
    }
    let Ok(answer) = serde_json::from_slice::<serde_json::Value>(payload) else {
        return Some("an answer that makes no sense".into());
    };
    let error = answer.get("error")?;
    Some(
        error["description"]
            .as_str()
            .unwrap_or("an error without a description")
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::publisher::Tag;
    use std::rc::Rc;

    #[test]
    fn a_ping_stands_behind_each_batch_and_its_answer_confirms_that() {
        let outlet = Outlet {
            queue: Rc::default(),
            wake: Rc::default(),
            heard: Rc::default(),
            clock: || 7,
        };
        let nats = Nats::new(NatsConfig::default(), "x");
        let tag = Tag {
            place: 0,
            phase: 0,
            intended_ns: 1,
            sent_ns: 2,
        };
        let push = |text: &str| {
            let put = |out: &mut VecDeque<u8>, _| out.extend(text.as_bytes());
            outlet.queue.borrow_mut().push(tag, put);
        };
        let (mut out, mut owed) = (Vec::new(), Owed::default());
        push("a");
        push("b");
        nats.batch(&mut out, &mut owed, &outlet);
        assert_eq!(out, b"abPING\r\n");
        push("c");
        assert!(heard(&Op::Ping, &mut owed, &outlet).is_none());
        nats.batch(&mut out, &mut owed, &outlet);
        assert_eq!(out, b"PONG\r\ncPING\r\n");
        nats.batch(&mut out, &mut owed, &outlet);
        assert_eq!(out, b"");
        assert!(heard(&Op::Pong, &mut owed, &outlet).is_none());
        assert_eq!(outlet.queue.borrow().pending(), 1);
        assert!(heard(&Op::Pong, &mut owed, &outlet).is_none());
        assert_eq!(outlet.queue.borrow().pending(), 0);
        assert!(heard(&Op::Pong, &mut owed, &outlet).is_some());
    }

    #[test]
    fn a_refusal_is_told_by_its_answer() {
        assert_eq!(
            refusal(b"", br#"{"stream":"S","seq":7,"duplicate":true}"#),
            None
        );
        let full = br#"{"error":{"code":503,"description":"maximum messages exceeded"}}"#;
        assert_eq!(
            refusal(b"", full).as_deref(),
            Some("maximum messages exceeded")
        );
        assert!(refusal(b"NATS/1.0 503\r\n\r\n", b"").is_some());
        assert!(refusal(b"", b"?").is_some());
    }
}
