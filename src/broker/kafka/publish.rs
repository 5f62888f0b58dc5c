//! Publishing into Kafka.
//!
//! A session is a connection to each broker that leads a partition of our topics. The loss of one of them, or the news that
//! another leads, ends it, and the next asks anew who leads what. With `acks: all` brokers give a producer a name, by which
//! they know a batch that comes twice; with `acks: 1` one that was taken right before a connection was lost is stored twice.
//! With `acks: 0` a produce has no answer; but a broker does what it is asked on a connection in order, so a small question
//! behind each produce is answered once that is done.

use super::api;
use super::config::Acks;
use super::lanes::{self, Lanes};
use super::records::{Batch, partition};
use super::session::{Wire, answers, reach};
use crate::broker::link::{Link, write};
use crate::broker::publisher::{Dialect, LOOK, Message, Outlet, SILENT_NS};
use crate::broker::{BrokerError, Endpoint, Event, KafkaConfig};
use futures_util::future::{LocalBoxFuture, select_all};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWrite;
use tokio::sync::Notify;
use tokio::time::sleep;

/// How long a broker may wait for its replicas: less than we wait for it.
const REPLICAS_MS: i32 = 4_000;
/// Bytes of one request, at most, but for its last batch.
const MOST: usize = 1 << 20;

/// Kafka, as a publisher sees it.
pub struct Kafka {
    config: KafkaConfig,
    lanes: RefCell<Lanes>,
}

/// Connections to all leaders, in the order in which lanes count them.
pub struct Session {
    wires: Vec<(i32, Wire)>,
}

/// What was written to a leader and not answered, and when it answered last, of CLOCK_MONOTONIC.
#[derive(Default)]
struct Flights {
    all: RefCell<VecDeque<Flight>>,
    heard_ns: Cell<u64>,
}

struct Flight {
    /// The request that is answered when it is done.
    asked: i32,
    lanes: Vec<usize>,
    written_ns: u64,
}

impl Kafka {
    /// Into the topics of this configuration.
    pub fn new(config: KafkaConfig) -> Kafka {
        Kafka {
            config,
            lanes: RefCell::default(),
        }
    }

    /// Hands what is queued to the lanes, and rings for all who write.
    async fn sort(&self, outlet: &Outlet, bells: &[Notify]) -> BrokerError {
        loop {
            let now = (outlet.clock)();
            self.lanes.borrow_mut().sort(&outlet.queue.borrow(), now);
            bells.iter().for_each(Notify::notify_one);
            outlet.wake.notified().await;
        }
    }

    async fn lead(
        &self,
        leader: usize,
        link: Link,
        asked: i32,
        outlet: &Outlet,
        bell: &Notify,
    ) -> BrokerError {
        let flights = Flights::default();
        let (reader, writer, buffer) = link.split();
        let heard = |correlation, body: &[u8]| {
            let done = self.heard(correlation, body, &flights, outlet);
            outlet.heard.notify_one();
            bell.notify_one();
            done
        };
        tokio::select! {
            why = answers(reader, buffer, heard) => why,
            why = self.write(leader, writer, asked, &flights, outlet, bell) => why,
            why = overdue(&flights, outlet) => why,
        }
    }

    async fn write(
        &self,
        leader: usize,
        mut writer: impl AsyncWrite + Unpin,
        mut asked: i32,
        flights: &Flights,
        outlet: &Outlet,
        bell: &Notify,
    ) -> BrokerError {
        let mut out = Vec::new();
        let linger = self.config.linger.as_nanos() as u64;
        loop {
            let now = (outlet.clock)();
            let (due, next) = (self.lanes.borrow()).due(leader, now, linger, self.config.batch);
            if due.is_empty() {
                let until = async {
                    match next {
                        Some(at) => sleep(Duration::from_nanos(at - now)).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    () = until => {}
                    () = bell.notified() => {}
                }
                continue;
            }
            asked = self.request(&due, &mut out, asked, flights, outlet);
            if let Err(why) = write(&mut writer, &out).await {
                return why;
            }
        }
    }

    /// Puts a produce of these lanes into `out`. Number of the last request.
    fn request(
        &self,
        due: &[usize],
        out: &mut Vec<u8>,
        asked: i32,
        flights: &Flights,
        outlet: &Outlet,
    ) -> i32 {
        let now = ((outlet.clock)(), wall_ms());
        let (mut batches, mut used, mut again, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
        let mut lanes = self.lanes.borrow_mut();
        for l in due.iter().copied() {
            if bytes > MOST {
                break;
            }
            let mut batch = Batch::default();
            let mut queue = outlet.queue.borrow_mut();
            again += lanes.fill(l, &mut queue, now, self.config.batch, &mut batch);
            bytes += batch.bytes().len();
            batches.push(batch);
            used.push(l);
        }
        let entries = used.iter().zip(&batches).map(|(l, batch)| {
            let (topic, partition) = lanes.goal(*l);
            let name = self.config.topics.get(topic).map_or("", String::as_str);
            (name, partition, batch.bytes())
        });
        let entries: Vec<_> = entries.collect();
        let mut asked = asked.wrapping_add(1);
        out.clear();
        let at = api::open(out, api::PRODUCE, asked);
        api::produce(out, self.config.acks.code(), REPLICAS_MS, &entries);
        api::close(out, at);
        if self.config.acks == Acks::None {
            asked = asked.wrapping_add(1);
            let at = api::open(out, api::API_VERSIONS, asked);
            api::close(out, at);
        }
        flights.all.borrow_mut().push_back(Flight {
            asked,
            lanes: used,
            written_ns: now.0,
        });
        if again > 0 {
            outlet.tell(Event::Again(again));
        }
        asked
    }

    /// A leader's answer.
    fn heard(
        &self,
        correlation: i32,
        body: &[u8],
        flights: &Flights,
        outlet: &Outlet,
    ) -> Result<(), BrokerError> {
        flights.heard_ns.set((outlet.clock)());
        let mut flights = flights.all.borrow_mut();
        let next = flights.front().is_some_and(|f| f.asked == correlation);
        let flight = next.then(|| flights.pop_front()).flatten();
        let none = self.config.acks == Acks::None;
        let Some(Flight { lanes: used, .. }) = flight else {
            return match none {
                // There are brokers that do answer it.
                true => Ok(()),
                false => Err(BrokerError::Protocol(
                    "an answer to something that was not asked".into(),
                )),
            };
        };
        let now = (outlet.clock)();
        let mut lanes = self.lanes.borrow_mut();
        let mut queue = outlet.queue.borrow_mut();
        if none {
            used.iter().for_each(|l| lanes.taken(*l, &mut queue, now));
            return Ok(());
        }
        for answer in api::produced(body)? {
            lanes.answered(&answer, &self.config.topics, &mut queue, now)?;
        }
        match used.iter().any(|l| lanes.flies(*l)) {
            true => Err(BrokerError::Protocol(
                "an answer without what was asked".into(),
            )),
            false => Ok(()),
        }
    }
}

/// Ends when a leader that owes answers has given none for too long. What others confirm says nothing of it, so that the
/// watch over the whole queue would not see it.
async fn overdue(flights: &Flights, outlet: &Outlet) -> BrokerError {
    loop {
        sleep(LOOK).await;
        let oldest = flights.all.borrow().front().map(|flight| flight.written_ns);
        // It does one after the other: those behind wait for their turn.
        let since = oldest.map(|written| written.max(flights.heard_ns.get()));
        if since.is_some_and(|since| (outlet.clock)().saturating_sub(since) > SILENT_NS) {
            return BrokerError::Timeout;
        }
    }
}

/// What brokers count the age of records by.
#[expect(
    clippy::disallowed_methods,
    reason = "records carry the time of the wall clock; nothing is measured by it"
)]
fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

impl Dialect for Kafka {
    type Link = Session;

    fn endpoints(&self) -> &[Endpoint] {
        &self.config.endpoints
    }

    fn put(&self, out: &mut VecDeque<u8>, _number: u64, message: &Message<'_>) {
        let topics = &self.config.topics;
        let topic = topics.binary_search_by(|topic| topic.as_str().cmp(message.address));
        let key = message.key.map(str::as_bytes);
        // Without a key all of a publisher go to one partition, so that they stay in order.
        let spread = key.map_or(message.publisher as usize, |key| partition(key, 1 << 31));
        lanes::put(out, topic.unwrap_or(0), spread as u32, key, message.payload);
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<Session, BrokerError> {
        let config = &self.config;
        let mut wire = Wire::open(config, endpoint).await?;
        let cluster = wire.cluster(&config.topics).await?;
        let mut wires = reach(config, endpoint, Some(wire), &cluster, &config.topics).await?;
        let leads = |topic: &String| {
            let leaders = cluster.leaders(topic).iter();
            let place = |leader| wires.iter().position(|wire| wire.0 == leader);
            leaders.map(|leader| place(*leader).unwrap_or(0)).collect()
        };
        let topics: Vec<Vec<usize>> = config.topics.iter().map(leads).collect();
        self.lanes.borrow_mut().lead(&topics);
        let unnamed = self.lanes.borrow().name.is_none();
        let first = wires.first_mut().map(|wire| &mut wire.1);
        if let (Acks::All, true, Some(wire)) = (config.acks, unnamed, first) {
            let mut name = None;
            if wire.knows(api::INIT_PRODUCER_ID) {
                let answer = wire.ask(api::INIT_PRODUCER_ID, api::name_me).await?;
                name = match api::named(&answer)? {
                    (0, id, epoch) if id >= 0 => Some((id, epoch)),
                    // A broker that knows no such thing says so without an error.
                    (0, ..) => None,
                    // We may not have one: then what comes twice is stored twice.
                    (31, ..) => None,
                    (error, ..) => return Err(BrokerError::Refused(api::meaning(error))),
                };
            }
            self.lanes.borrow_mut().named(name);
        }
        Ok(Session { wires })
    }

    async fn serve(&self, session: Session, outlet: &Outlet) -> BrokerError {
        let bells: Vec<Notify> = session.wires.iter().map(|_| Notify::new()).collect();
        let mut tasks: Vec<LocalBoxFuture<'_, BrokerError>> = Vec::new();
        tasks.push(Box::pin(self.sort(outlet, &bells)));
        for ((leader, (_, wire)), bell) in session.wires.into_iter().enumerate().zip(&bells) {
            tasks.push(Box::pin(
                self.lead(leader, wire.link, wire.asked, outlet, bell),
            ));
        }
        select_all(tasks).await.0
    }
}
