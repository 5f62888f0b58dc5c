//! Publishing: a queue that the engine fills, and a task that empties it into a broker.
//!
//! One buffer holds what is queued, what is written and what is not yet confirmed, in this order from its end; it is bounded.
//! Core NATS says nothing of single messages: a PING behind each batch is answered when the server has done all that came before
//! it. JetStream answers each message. When the connection is lost, all that is unconfirmed is written again to the next one, in
//! the same order: with JetStream a message has a name by which the server knows it again, in core NATS one that was taken
//! right before the loss comes twice.

use super::nats::{Link, Op, connect, next, put_publish, read_on};
use super::{BrokerError, Config, NatsConfig};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// From the first step of connecting to being let in, at most.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two attempts: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A broker that confirms nothing of what was written for so long is lost.
const SILENT_NS: u64 = 5_000_000_000;
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// Bytes written at once, at least while there are more.
const BATCH: usize = 64 << 10;
/// After a refusal, before it is tried again.
const REFUSED: Duration = Duration::from_millis(250);

/// What the engine knows a message by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Its publisher's place in the shard.
    pub place: u32,
    /// Its phase.
    pub phase: u16,
    /// When it was due, on the run's clock.
    pub intended_ns: u64,
    /// When it was queued, on the run's clock.
    pub sent_ns: u64,
}

/// What became of something, with the time of CLOCK_MONOTONIC.
#[derive(Debug)]
pub enum Event {
    /// A connection is begun.
    Attempt,
    /// It is open; how long that took.
    Open(u64, u64),
    /// It could not be opened.
    Failed(BrokerError),
    /// It was lost.
    Lost(BrokerError, u64),
    /// The broker has this message, of so many bytes with all around it.
    Taken(Tag, u32, u64),
    /// The broker refused a message, which will be tried again.
    Rejected(Tag, String),
    /// So many messages are written again, as nobody knows whether the broker that was lost took them.
    Again(u64),
}

/// A queue into a broker, and the task behind it. Dropping it ends the task, and what was not confirmed with it.
pub struct Publisher {
    shared: Rc<RefCell<Shared>>,
    wake: Rc<Notify>,
    task: JoinHandle<()>,
    limit: usize,
    inbox: Option<String>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Item {
    /// Offset of its first byte since the beginning of all.
    start: u64,
    length: u32,
    taken: bool,
    tag: Tag,
}

#[derive(Default)]
struct Shared {
    open: bool,
    bytes: VecDeque<u8>,
    /// Offset of the first of `bytes`.
    base: u64,
    items: VecDeque<Item>,
    /// Number of the first of `items`.
    first: u64,
    /// Number of the first that is not written on this connection.
    unwritten: u64,
    /// Number up to which the next PONG confirms.
    pings: VecDeque<u64>,
    /// Answers to the server's own pings.
    answers: u32,
    /// Written and unconfirmed since.
    waiting_ns: Option<u64>,
    /// All is to be written again, later.
    refused: bool,
    events: Vec<Event>,
}

impl Publisher {
    /// Connects, and goes on doing so. `name` tells it from all others at the broker; at most `limit` bytes are held. `heard` is
    /// rung for each event. To be called on a thread that runs local tasks.
    pub fn start(
        config: Config,
        name: &str,
        limit: usize,
        clock: fn() -> u64,
        heard: Rc<Notify>,
    ) -> Publisher {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let wake = Rc::new(Notify::new());
        let Config::Nats(nats) = config;
        let inbox = nats.jetstream.then(|| format!("_INBOX.squall.{name}"));
        let task = Task {
            config: *nats,
            inbox: inbox.clone(),
            shared: Rc::clone(&shared),
            wake: Rc::clone(&wake),
            heard,
            clock,
        };
        Publisher {
            shared,
            wake,
            task: tokio::task::spawn_local(task.keep()),
            limit,
            inbox,
        }
    }

    /// Whether a message can be taken now: the broker is there, and the queue is not full.
    pub fn takes(&self) -> bool {
        let shared = self.shared.borrow();
        shared.open && shared.bytes.len() < self.limit
    }

    /// Queues a message; `id` names it among all that this broker has ever had.
    pub fn push(&self, address: &str, id: &str, payload: &[u8], tag: Tag) {
        let mut shared = self.shared.borrow_mut();
        let Shared {
            bytes,
            items,
            base,
            first,
            ..
        } = &mut *shared;
        let before = bytes.len();
        let number = *first + items.len() as u64;
        let reply = self.inbox.as_ref().map(|inbox| format!("{inbox}.{number}"));
        let id = reply.is_some().then_some(id);
        put_publish(bytes, address, reply.as_deref(), id, payload);
        items.push_back(Item {
            start: *base + before as u64,
            length: (bytes.len() - before) as u32,
            taken: false,
            tag,
        });
        drop(shared);
        self.wake.notify_one();
    }

    /// What has happened since this was asked last.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.shared.borrow_mut().events)
    }

    /// Messages that the broker has not confirmed.
    pub fn pending(&self) -> usize {
        self.shared
            .borrow()
            .items
            .iter()
            .filter(|item| !item.taken)
            .count()
    }

    /// Gives up: the task ends, and these are the messages that the broker never confirmed.
    pub fn give_up(&self) -> Vec<Tag> {
        self.task.abort();
        let mut shared = self.shared.borrow_mut();
        shared.open = false;
        let left = std::mem::take(&mut shared.items);
        shared.bytes.clear();
        left.iter()
            .filter(|item| !item.taken)
            .map(|item| item.tag)
            .collect()
    }
}

impl Shared {
    /// A new connection: what is unconfirmed is to be written again. How many messages that are.
    fn rewind(&mut self) -> u64 {
        let again = (self.items.iter())
            .take((self.unwritten - self.first) as usize)
            .filter(|item| !item.taken)
            .count();
        self.unwritten = self.first;
        self.pings.clear();
        self.answers = 0;
        self.waiting_ns = None;
        self.refused = false;
        again as u64
    }

    /// The broker has this one.
    fn take(&mut self, number: u64, now: u64) {
        let Some(place) = number.checked_sub(self.first) else {
            return;
        };
        let Some(item) = self.items.get_mut(place as usize) else {
            return;
        };
        if !std::mem::replace(&mut item.taken, true) {
            let event = Event::Taken(item.tag, item.length, now);
            self.events.push(event);
        }
        while let Some(item) = self.items.front().filter(|item| item.taken) {
            let length = item.length as usize;
            self.bytes.drain(..length);
            self.base += length as u64;
            self.items.pop_front();
            self.first += 1;
        }
        self.waiting_ns = (self.first < self.unwritten).then_some(now);
    }

    /// Puts what is to be written next into `out`.
    fn batch(&mut self, out: &mut Vec<u8>, core: bool, now: u64) {
        out.clear();
        for _ in 0..std::mem::take(&mut self.answers) {
            out.extend_from_slice(b"PONG\r\n");
        }
        if self.refused {
            return;
        }
        let before = self.unwritten;
        while out.len() < BATCH
            && let Some(item) = self.items.get((self.unwritten - self.first) as usize)
        {
            self.unwritten += 1;
            if item.taken {
                continue;
            }
            let start = (item.start - self.base) as usize;
            let range = start..start + item.length as usize;
            out.extend(self.bytes.range(range));
        }
        if self.unwritten > before {
            self.waiting_ns.get_or_insert(now);
            if core {
                out.extend_from_slice(b"PING\r\n");
                self.pings.push_back(self.unwritten);
            }
        }
    }
}

struct Task {
    config: NatsConfig,
    inbox: Option<String>,
    shared: Rc<RefCell<Shared>>,
    wake: Rc<Notify>,
    heard: Rc<Notify>,
    clock: fn() -> u64,
}

impl Task {
    fn tell(&self, event: Event) {
        self.shared.borrow_mut().events.push(event);
        self.heard.notify_one();
    }

    /// Connects, serves, and begins again, for ever.
    async fn keep(self) {
        let mut pause = PAUSE.0;
        for endpoint in self.config.endpoints.iter().cycle() {
            self.tell(Event::Attempt);
            let began = (self.clock)();
            let connecting = timeout(CONNECT, connect(&self.config, endpoint)).await;
            match connecting.unwrap_or(Err(BrokerError::Timeout)) {
                Ok(link) => {
                    let now = (self.clock)();
                    let again = {
                        let mut shared = self.shared.borrow_mut();
                        shared.open = true;
                        shared.rewind()
                    };
                    self.tell(Event::Open(now, now - began));
                    if again > 0 {
                        self.tell(Event::Again(again));
                    }
                    let why = self.serve(link).await;
                    self.shared.borrow_mut().open = false;
                    self.tell(Event::Lost(why, (self.clock)()));
                    pause = PAUSE.0;
                }
                Err(why) => {
                    self.tell(Event::Failed(why));
                    pause = (2 * pause).min(PAUSE.1);
                }
            }
            sleep(pause).await;
        }
    }

    /// Until the connection is lost; why it was.
    async fn serve(&self, mut link: Link) -> BrokerError {
        if let Some(inbox) = &self.inbox {
            let subscribe = format!("SUB {inbox}.* 1\r\n");
            if let Err(why) = link.write(subscribe.as_bytes()).await {
                return why;
            }
        }
        let (reader, writer, buffer) = link.split();
        tokio::select! {
            why = self.read(reader, buffer) => why,
            why = self.write(writer) => why,
            why = self.watch() => why,
        }
    }

    async fn write(&self, mut writer: impl AsyncWrite + Unpin) -> BrokerError {
        let mut out = Vec::new();
        loop {
            let core = self.inbox.is_none();
            self.shared
                .borrow_mut()
                .batch(&mut out, core, (self.clock)());
            if out.is_empty() {
                self.wake.notified().await;
                continue;
            }
            if let Err(why) = writer.write_all(&out).await {
                return why.into();
            }
            if let Err(why) = writer.flush().await {
                return why.into();
            }
        }
    }

    async fn read(&self, mut reader: impl AsyncRead + Unpin, mut buffer: Vec<u8>) -> BrokerError {
        loop {
            let mut used = 0;
            loop {
                match next(&buffer[used..]) {
                    Ok(Some((op, length))) => {
                        if let Some(why) = self.heard(&op) {
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
                self.heard.notify_one();
            }
            if let Err(why) = read_on(&mut reader, &mut buffer).await {
                return why;
            }
        }
    }

    /// What the server says; why the connection is of no use any more, if it is not.
    fn heard(&self, op: &Op<'_>) -> Option<BrokerError> {
        let now = (self.clock)();
        let mut shared = self.shared.borrow_mut();
        match op {
            Op::Ping => {
                shared.answers += 1;
                self.wake.notify_one();
            }
            Op::Pong => {
                let Some(bound) = shared.pings.pop_front() else {
                    return Some(BrokerError::Protocol("a PONG without a PING".into()));
                };
                while shared.first < bound {
                    let first = shared.first;
                    shared.take(first, now);
                }
            }
            Op::Err(what) => return Some(BrokerError::Refused((*what).to_owned())),
            Op::Msg {
                subject,
                headers,
                payload,
                ..
            } => {
                let number = subject
                    .rsplit('.')
                    .next()
                    .and_then(|n| n.parse::<u64>().ok());
                let number = number?;
                match refusal(headers, payload) {
                    None => shared.take(number, now),
                    Some(why) => {
                        let place = number.checked_sub(shared.first).map(|p| p as usize);
                        if let Some(item) = place.and_then(|p| shared.items.get(p)) {
                            let event = Event::Rejected(item.tag, why);
                            shared.events.push(event);
                        }
                        shared.refused = true;
                    }
                }
            }
            Op::Info(_) | Op::Ok => {}
        }
        None
    }

    /// Ends a connection that is silent; begins again after a refusal.
    async fn watch(&self) -> BrokerError {
        loop {
            sleep(LOOK).await;
            let now = (self.clock)();
            let refused = {
                let shared = self.shared.borrow();
                if shared
                    .waiting_ns
                    .is_some_and(|since| now.saturating_sub(since) > SILENT_NS)
                {
                    return BrokerError::Timeout;
                }
                shared.refused
            };
            if refused {
                sleep(REFUSED).await;
                let again = self.shared.borrow_mut().rewind();
                self.tell(Event::Again(again));
                self.wake.notify_one();
            }
        }
    }
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

    fn tag(place: u32) -> Tag {
        Tag {
            place,
            phase: 0,
            intended_ns: 1,
            sent_ns: 2,
        }
    }

    fn push(shared: &mut Shared, place: u32, payload: &[u8]) {
        let start = shared.base + shared.bytes.len() as u64;
        shared.bytes.extend(payload);
        let length = payload.len() as u32;
        shared.items.push_back(Item {
            start,
            length,
            taken: false,
            tag: tag(place),
        });
    }

    fn batch(shared: &mut Shared, core: bool) -> String {
        let mut out = Vec::new();
        shared.batch(&mut out, core, 7);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_confirmed_is_written_again_in_order() {
        let mut shared = Shared::default();
        for (place, text) in [b"a", b"b", b"c"].iter().enumerate() {
            push(&mut shared, place as u32, *text);
        }
        assert_eq!(batch(&mut shared, true), "abcPING\r\n");
        assert_eq!(batch(&mut shared, true), "");
        assert_eq!(shared.pings, [3]);
        shared.take(0, 9);
        // The connection is lost, and another made.
        assert_eq!(shared.rewind(), 2);
        push(&mut shared, 3, b"d");
        assert_eq!(batch(&mut shared, true), "bcdPING\r\n");
        assert_eq!(shared.pings, [4]);
        assert_eq!(shared.events.len(), 1);
    }

    #[test]
    fn what_was_confirmed_out_of_turn_is_not_written_again() {
        let mut shared = Shared::default();
        for (place, text) in [b"a", b"b", b"c"].iter().enumerate() {
            push(&mut shared, place as u32, *text);
        }
        assert_eq!(batch(&mut shared, false), "abc");
        shared.take(1, 9);
        shared.take(1, 9);
        assert_eq!((shared.first, shared.events.len()), (0, 1));
        assert_eq!(shared.rewind(), 2);
        assert_eq!(batch(&mut shared, false), "ac");
        for number in [2, 0, 7] {
            shared.take(number, 9);
        }
        assert_eq!((shared.first, shared.base, shared.items.len()), (3, 3, 0));
        assert!(shared.bytes.is_empty() && shared.waiting_ns.is_none());
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
