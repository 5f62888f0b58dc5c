//! Publishing into RabbitMQ.
//!
//! The channel confirms: each message is numbered by the order in which it was written on this connection, and the broker says of
//! numbers, singly or up to one, that it has them (`ack`) or could not take them (`nack`). It does not know a message again: one
//! that it had right before a connection was lost comes twice. One that no queue takes is confirmed, too; if it is mandatory
//! it is returned before that, which is counted.

use super::login::{admitted, ask};
use super::wire::{Frame, HEARTBEAT, Method, Publish, Put, next, put_publish};
use crate::broker::link::{Link, read_on, write};
use crate::broker::publisher::{Dialect, Event, Message, Outlet};
use crate::broker::{BrokerError, Endpoint, RabbitMqConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

/// Bytes written at once, at least while there are more.
const BATCH: usize = 64 << 10;
/// Signs of life are agreed on for this time, in seconds: each side shows one twice in it, and is lost after two of it without any.
const BEAT: u16 = 10;

/// RabbitMQ, as a publisher sees it.
pub struct RabbitMq {
    config: RabbitMqConfig,
}

/// What is written on a connection and not confirmed, by the broker's numbers.
struct Written {
    /// The number of the first.
    first: u64,
    /// Their numbers in the queue; `None`: confirmed out of turn.
    items: VecDeque<Option<u64>>,
}

impl Default for Written {
    fn default() -> Self {
        Written {
            first: 1,
            items: VecDeque::new(),
        }
    }
}

impl Written {
    /// Calls for each that the broker means by this number, or (`all`) by all up to it, which it may do once.
    fn settle(&mut self, tag: u64, all: bool, mut each: impl FnMut(u64)) -> Option<BrokerError> {
        let unknown = || {
            let what = "it confirms a message that was not published";
            Some(BrokerError::Protocol(what.into()))
        };
        let last = self.first + self.items.len() as u64 - 1;
        // By 0 all are meant that there are.
        let tag = if tag == 0 && all { last } else { tag };
        if tag > last {
            return unknown();
        }
        if all {
            while self.first <= tag
                && let Some(item) = self.items.pop_front()
            {
                self.first += 1;
                item.into_iter().for_each(&mut each);
            }
            return None;
        }
        let place = tag.checked_sub(self.first).map(|place| place as usize);
        let item = place.and_then(|place| self.items.get_mut(place)?.take());
        let Some(number) = item else { return unknown() };
        each(number);
        while let Some(None) = self.items.front() {
            self.items.pop_front();
            self.first += 1;
        }
        None
    }
}

impl RabbitMq {
    /// To a broker of this configuration.
    pub fn new(config: RabbitMqConfig) -> RabbitMq {
        RabbitMq { config }
    }
}

/// Puts what is to be written next into `out`.
fn batch(out: &mut Vec<u8>, written: &mut Written, outlet: &Outlet) {
    out.clear();
    let now = (outlet.clock)();
    let mut queue = outlet.queue.borrow_mut();
    while out.len() < BATCH
        && let Some(number) = queue.next(out, now)
    {
        written.items.push_back(Some(number));
    }
}

async fn write_on(
    mut writer: impl AsyncWrite + Unpin,
    written: &RefCell<Written>,
    outlet: &Outlet,
) -> BrokerError {
    let mut out = Vec::new();
    loop {
        batch(&mut out, &mut written.borrow_mut(), outlet);
        if out.is_empty() {
            let idle = Duration::from_secs(u64::from(BEAT) / 2);
            if timeout(idle, outlet.wake.notified()).await.is_ok() {
                continue;
            }
            out.extend_from_slice(HEARTBEAT);
        }
        if let Err(why) = write(&mut writer, &out).await {
            return why;
        }
    }
}

async fn hear(
    mut reader: impl AsyncRead + Unpin,
    mut buffer: Vec<u8>,
    written: &RefCell<Written>,
    outlet: &Outlet,
) -> BrokerError {
    let silence = Duration::from_secs(2 * u64::from(BEAT));
    loop {
        let mut used = 0;
        loop {
            match next(&buffer[used..]) {
                Ok(Some((frame, length))) => {
                    used += length;
                    if let Frame::Method(method) = frame
                        && let Some(why) = heard(&method, &mut written.borrow_mut(), outlet)
                    {
                        return why;
                    }
                }
                Ok(None) => break,
                Err(why) => return why,
            }
        }
        if used > 0 {
            buffer.drain(..used);
            outlet.heard.notify_one();
        }
        match timeout(silence, read_on(&mut reader, &mut buffer)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return why,
            Err(_) => return BrokerError::Timeout,
        }
    }
}

/// What the broker says; why the connection is of no use any more, if it is not.
fn heard(method: &Method<'_>, written: &mut Written, outlet: &Outlet) -> Option<BrokerError> {
    let now = (outlet.clock)();
    let mut queue = outlet.queue.borrow_mut();
    match *method {
        Method::Ack(tag, all) => return written.settle(tag, all, |number| queue.take(number, now)),
        Method::Nack(tag, all) => {
            let why = "the broker could not take a message (nack)";
            return written.settle(tag, all, |number| queue.refuse(number, why.into()));
        }
        Method::Return(why, key) => {
            let why = format!("no queue takes messages of the routing key `{key}` ({why})");
            queue.events.push(Event::Unroutable(why));
        }
        Method::Blocked(why) => {
            let why = format!("the broker reads no publishes: {why}");
            queue.block(true, now);
            queue.events.push(Event::Blocked(why));
        }
        Method::Unblocked => queue.block(false, now),
        Method::Close(code, why) => return Some(BrokerError::Closed(format!("{code} {why}"))),
        _ => {}
    }
    None
}

impl Dialect for RabbitMq {
    type Link = Link;

    fn endpoints(&self) -> &[Endpoint] {
        &self.config.endpoints
    }

    fn put(&self, out: &mut VecDeque<u8>, _number: u64, message: &Message<'_>) {
        let publish = Publish {
            exchange: &self.config.exchange,
            key: message.address,
            mandatory: self.config.mandatory,
            persistent: self.config.persistent,
            id: message.id,
            payload: message.payload,
        };
        put_publish(out, &publish);
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Link, BrokerError> {
        let mut link = admitted(&self.config, endpoint, BEAT).await?;
        // The default one is always there, and cannot be asked for.
        if !self.config.exchange.is_empty() {
            // Only whether it is there; of which type does not matter then.
            let passive = Put::channel(40, 10)
                .short(0)
                .text(&self.config.exchange)
                .text("")
                .octet(1)
                .empty_table();
            ask(&mut link, passive, (40, 11)).await?;
        }
        ask(&mut link, Put::channel(85, 10).octet(0), (85, 11)).await?;
        Ok(link)
    }

    async fn serve(&self, link: Link, outlet: &Outlet) -> BrokerError {
        let (reader, writer, buffer) = link.split();
        let written = RefCell::default();
        tokio::select! {
            why = hear(reader, buffer, &written, outlet) => why,
            why = write_on(writer, &written, outlet) => why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::publisher::Tag;

    fn outlet(messages: u32) -> Outlet {
        let outlet = Outlet {
            queue: std::rc::Rc::default(),
            wake: std::rc::Rc::default(),
            heard: std::rc::Rc::default(),
            clock: || 7,
        };
        push(&outlet, 0..messages);
        outlet
    }

    fn push(outlet: &Outlet, places: std::ops::Range<u32>) {
        for place in places {
            let tag = Tag {
                place,
                phase: 0,
                intended_ns: 1,
                sent_ns: 2,
            };
            let put = |out: &mut VecDeque<u8>, _| out.push_back(b'a' + place as u8);
            outlet.queue.borrow_mut().push(tag, put);
        }
    }

    fn write(written: &mut Written, outlet: &Outlet) -> String {
        let mut out = Vec::new();
        batch(&mut out, written, outlet);
        String::from_utf8(out).unwrap()
    }

    /// Which were taken and refused since.
    fn told(outlet: &Outlet) -> String {
        let events = std::mem::take(&mut outlet.queue.borrow_mut().events);
        let told = events.iter().map(|event| match event {
            Event::Taken(tag, ..) => format!("+{}", tag.place),
            Event::Rejected(tag, _) => format!("-{}", tag.place),
            other => format!("{other:?}"),
        });
        told.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn confirms_are_single_or_up_to_a_number() {
        let (outlet, mut written) = (outlet(6), Written::default());
        assert_eq!(write(&mut written, &outlet), "abcdef");
        for (method, expected) in [
            (Method::Ack(2, false), "+1"),
            (Method::Ack(3, true), "+0 +2"),
            (Method::Nack(4, false), "-3"),
            (Method::Ack(0, true), "+4 +5"),
        ] {
            assert!(heard(&method, &mut written, &outlet).is_none());
            assert_eq!(told(&outlet), expected, "{method:?}");
        }
        assert_eq!(outlet.queue.borrow().pending(), 1);
        for method in [
            Method::Ack(7, true),
            Method::Ack(7, false),
            Method::Ack(3, false),
        ] {
            assert!(
                heard(&method, &mut written, &outlet).is_some(),
                "{method:?}"
            );
        }
    }

    #[test]
    fn a_new_connection_numbers_anew_and_what_is_left_goes_first() {
        let (outlet, mut written) = (outlet(4), Written::default());
        assert_eq!(write(&mut written, &outlet), "abcd");
        // The second and the last are taken; then it is lost.
        for tag in [2, 4] {
            heard(&Method::Ack(tag, false), &mut written, &outlet);
        }
        assert_eq!(outlet.queue.borrow_mut().rewind(), 2);
        let mut written = Written::default();
        push(&outlet, 4..5);
        assert_eq!(write(&mut written, &outlet), "ace");
        told(&outlet);
        heard(&Method::Ack(3, true), &mut written, &outlet);
        assert_eq!(told(&outlet), "+0 +2 +4");
        assert_eq!(outlet.queue.borrow().pending(), 0);
    }

    #[test]
    fn what_no_queue_takes_is_told_and_taken() {
        let (outlet, mut written) = (outlet(1), Written::default());
        write(&mut written, &outlet);
        heard(&Method::Return("NO_ROUTE", "x.y"), &mut written, &outlet);
        heard(&Method::Ack(1, false), &mut written, &outlet);
        let told = told(&outlet);
        assert!(
            told.contains("`x.y` (NO_ROUTE)") && told.ends_with("+0"),
            "{told}"
        );
    }

    #[test]
    fn a_broker_that_says_that_it_is_blocked_is_waited_for() {
        let (outlet, mut written) = (outlet(1), Written::default());
        write(&mut written, &outlet);
        let silent = |now| outlet.queue.borrow().silent_for(now);
        assert_eq!(silent(17), 10);
        heard(&Method::Blocked("memory"), &mut written, &outlet);
        assert_eq!(silent(17), 0);
        heard(&Method::Unblocked, &mut written, &outlet);
        assert_eq!(silent(17), 10, "from the clock's 7 on");
    }
}
