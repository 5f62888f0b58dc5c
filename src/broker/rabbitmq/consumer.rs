//! Consuming: what is published to an exchange under routing keys, from now on, through losses of the connection.
//!
//! A queue of our own goes with the connection, and what is published meanwhile passes us by. One with a name stays: what it
//! takes meanwhile comes later, and what had come and was not acknowledged comes twice.

use super::login::{admitted, ask, until};
use super::wire::{Frame, Method, Put, next};
use crate::broker::link::Link;
use crate::broker::{BrokerError, Delivery, RabbitMqConfig};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// For connecting and subscribing.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts to come back.
const PAUSE: Duration = Duration::from_millis(50);
/// Messages that come before those before them are acknowledged, at most.
const AHEAD: u16 = 1000;
/// Largest message.
const MAX_MESSAGE: u64 = 64 << 20;

/// A queue that is bound to an exchange of RabbitMQ.
pub struct RabbitMqConsumer {
    config: RabbitMqConfig,
    binding: String,
    /// The queue, which stays; `None`: one of our own.
    queue: Option<String>,
    link: Option<Link>,
}

/// A message of which not all has come.
#[derive(Default)]
struct Coming {
    /// Its number; 0: there is none.
    number: u64,
    key: String,
    size: u64,
    payload: Vec<u8>,
}

impl RabbitMqConsumer {
    /// Subscribes. The configuration's exchange is made if it is not there, of type `topic`; and so is the queue.
    ///
    /// # Errors
    /// The broker cannot be reached, or refuses.
    pub async fn start(
        config: RabbitMqConfig,
        binding: &str,
        queue: Option<String>,
    ) -> Result<RabbitMqConsumer, BrokerError> {
        let mut consumer = RabbitMqConsumer {
            config,
            binding: binding.to_owned(),
            queue,
            link: None,
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
        let subscribing = timeout(PATIENCE, self.subscribed(turn)).await;
        self.link = Some(subscribing.unwrap_or(Err(BrokerError::Timeout))?);
        Ok(())
    }

    async fn subscribed(&mut self, turn: usize) -> Result<Link, BrokerError> {
        let count = self.config.endpoints.len().max(1);
        let endpoint = self.config.endpoints.get(turn % count);
        let endpoint = endpoint.ok_or_else(|| BrokerError::Refused("no address".into()))?;
        let mut link = admitted(&self.config, endpoint, 0).await?;
        let exchange = &self.config.exchange;
        // Those are there already.
        if !exchange.starts_with("amq.") {
            let durable = Put::channel(40, 10)
                .short(0)
                .text(exchange)
                .text("topic")
                .octet(0b10)
                .empty_table();
            ask(&mut link, durable, (40, 11)).await?;
        }
        // Durable, or exclusive and deleted when nobody consumes from it.
        let flags = if self.queue.is_some() { 0b10 } else { 0b1100 };
        let declare = Put::channel(50, 10)
            .short(0)
            .text(self.queue.as_deref().unwrap_or_default())
            .octet(flags)
            .empty_table();
        link.write(&declare.end()).await?;
        let queue = until(&mut link, |method| match method {
            Method::QueueDeclared(name) => Some((*name).to_owned()),
            _ => None,
        });
        let queue = queue.await?;
        let bind = Put::channel(50, 20)
            .short(0)
            .text(&queue)
            .text(exchange)
            .text(&self.binding)
            .octet(0)
            .empty_table();
        ask(&mut link, bind, (50, 21)).await?;
        let ahead = Put::channel(60, 10).long(0).short(AHEAD).octet(0);
        ask(&mut link, ahead, (60, 11)).await?;
        // Nobody waits for the acknowledgements of what goes with the connection. The answer is one of the frames that
        // `listen` passes over, as the first messages may be right behind it.
        let flags = if self.queue.is_some() { 0 } else { 0b10 };
        let consume = Put::channel(60, 20)
            .short(0)
            .text(&queue)
            .text("")
            .octet(flags)
            .empty_table();
        link.write(&consume.end()).await?;
        Ok(link)
    }

    async fn listen(&mut self, each: &mut impl FnMut(Delivery<'_>)) -> Result<(), BrokerError> {
        let Some(link) = &mut self.link else {
            return Err(BrokerError::Timeout);
        };
        let mut coming = Coming::default();
        loop {
            let (mut used, mut last) = (0, 0);
            while let Some((frame, length)) = next(&link.buffer[used..])? {
                used += length;
                if coming.frame(&frame)? {
                    each(Delivery {
                        address: &coming.key,
                        payload: &coming.payload,
                    });
                    last = std::mem::take(&mut coming.number);
                }
            }
            link.buffer.drain(..used);
            if last > 0 && self.queue.is_some() {
                // This one, and all before it.
                let ack = Put::channel(60, 80).longlong(last).octet(1);
                link.write(&ack.end()).await?;
            }
            link.read().await?;
        }
    }
}

impl Coming {
    /// Takes the next frame in; whether the message is complete now.
    fn frame(&mut self, frame: &Frame<'_>) -> Result<bool, BrokerError> {
        match *frame {
            Frame::Method(Method::Deliver(number, key)) => {
                self.number = number;
                self.size = u64::MAX;
                self.key.clear();
                self.key.push_str(key);
                self.payload.clear();
            }
            Frame::Method(Method::Close(code, why)) => {
                return Err(BrokerError::Closed(format!("{code} {why}")));
            }
            Frame::Method(Method::Cancel) => {
                return Err(BrokerError::Closed("the queue is gone".into()));
            }
            Frame::Header(size) if size > MAX_MESSAGE => {
                return Err(BrokerError::Protocol("a message is too long".into()));
            }
            Frame::Header(size) => self.size = size,
            Frame::Body(piece) => {
                self.payload.extend_from_slice(piece);
                if self.payload.len() as u64 > self.size.min(MAX_MESSAGE) {
                    let what = "a message is longer than it says";
                    return Err(BrokerError::Protocol(what.into()));
                }
            }
            _ => return Ok(false),
        }
        Ok(self.number > 0 && self.payload.len() as u64 == self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_with_its_last_piece() {
        let mut coming = Coming::default();
        let deliver = || Frame::Method(Method::Deliver(7, "a.b"));
        for (frame, complete) in [
            (Frame::Method(Method::Other(60, 21)), false),
            (deliver(), false),
            (Frame::Header(3), false),
            (Frame::Body(b"ab"), false),
            (Frame::Heartbeat, false),
            (Frame::Body(b"c"), true),
            // The next, of nothing.
            (deliver(), false),
            (Frame::Header(0), true),
            (deliver(), false),
        ] {
            assert_eq!(coming.frame(&frame).unwrap(), complete, "{frame:?}");
        }
        assert_eq!(coming.key, "a.b");
        coming.frame(&Frame::Header(1)).unwrap();
        assert!(coming.frame(&Frame::Body(b"ab")).is_err());
        for end in [
            Frame::Method(Method::Cancel),
            Frame::Method(Method::Close(320, "CONNECTION_FORCED")),
            Frame::Header(MAX_MESSAGE + 1),
        ] {
            assert!(Coming::default().frame(&end).is_err(), "{end:?}");
        }
    }
}
