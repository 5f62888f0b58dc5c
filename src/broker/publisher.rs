//! Publishing: a queue that the engine fills, and a task that empties it into a broker.
//!
//! When the connection is lost, all that is unconfirmed is written again to the next one, in the same order; how a broker says
//! what it has, and whether it knows a message again, is its [`Dialect`]'s.

use super::queue::Queue;
use super::{BrokerError, Config, Endpoint};
use crate::broker::kafka::Kafka;
use crate::broker::nats::Nats;
use crate::broker::rabbitmq::RabbitMq;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// From the first step of connecting to being let in, at most.
const CONNECT: Duration = Duration::from_secs(5);
/// Between two attempts: from, to.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// A broker that confirms nothing of what was written for so long is lost.
pub(super) const SILENT_NS: u64 = 5_000_000_000;
/// How often that is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(500);
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

/// A message as it is handed over.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Where it goes there: a subject, a routing key.
    pub address: &'a str,
    /// What brokers that have partitions choose one of them by.
    pub key: Option<&'a str>,
    /// Whose it is: the number of its publisher in the run.
    pub publisher: u32,
    /// What names it among all that this broker has ever had.
    pub id: &'a str,
    /// What it is.
    pub payload: &'a [u8],
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
    /// The broker has a message and nowhere to put it; says which.
    Unroutable(String),
    /// The broker takes nothing for now; says why.
    Blocked(String),
}

/// What a kind of broker is to a publisher. Adding one is a folder with this, and a line in [`Publisher::start`].
pub(super) trait Dialect: 'static {
    /// A connection, let in.
    type Link;

    /// Servers, tried in turn.
    fn endpoints(&self) -> &[Endpoint];

    /// Writes a message down, as [`Queue::next`] will hand it to `serve`. `number` is its own in the queue, whatever the connection.
    fn put(&self, out: &mut VecDeque<u8>, number: u64, message: &Message<'_>);

    /// Connects and logs in.
    async fn connect(&self, endpoint: &Endpoint) -> Result<Self::Link, BrokerError>;

    /// Writes what is queued, and says what the broker took or refused of it, until the connection is lost; why it was.
    async fn serve(&self, link: Self::Link, outlet: &Outlet) -> BrokerError;
}

/// The queue as the task behind it sees it.
#[derive(Clone)]
pub(super) struct Outlet {
    /// The queue. Not to be held over an await.
    pub queue: Rc<RefCell<Queue>>,
    /// Rung when there is something to write.
    pub wake: Rc<Notify>,
    /// To be rung when something has happened.
    pub heard: Rc<Notify>,
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub clock: fn() -> u64,
}

impl Outlet {
    /// Says what has happened.
    pub fn tell(&self, event: Event) {
        self.queue.borrow_mut().events.push(event);
        self.heard.notify_one();
    }

    /// Ends a connection that is silent; begins again after a refusal.
    async fn watch(&self) -> BrokerError {
        loop {
            sleep(LOOK).await;
            let silent = self.queue.borrow().silent_for((self.clock)());
            if silent > SILENT_NS {
                return BrokerError::Timeout;
            }
            if self.queue.borrow().settled_with_refusals() {
                sleep(REFUSED).await;
                let again = self.queue.borrow_mut().rewind();
                self.tell(Event::Again(again));
                self.wake.notify_one();
            }
        }
    }
}

/// How a message is written down, given its number.
type Put = dyn Fn(&mut VecDeque<u8>, u64, &Message<'_>);

/// A queue into a broker, and the task behind it. Dropping it ends the task, and what was not confirmed with it.
pub struct Publisher {
    outlet: Outlet,
    put: Box<Put>,
    task: JoinHandle<()>,
    limit: usize,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
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
        let outlet = Outlet {
            queue: Rc::default(),
            wake: Rc::default(),
            heard,
            clock,
        };
        match config {
            Config::Nats(config) => Publisher::with(Nats::new(*config, name), limit, outlet),
            Config::RabbitMq(config) => Publisher::with(RabbitMq::new(*config), limit, outlet),
            Config::Kafka(config) => Publisher::with(Kafka::new(*config), limit, outlet),
        }
    }

    fn with(dialect: impl Dialect, limit: usize, outlet: Outlet) -> Publisher {
        let dialect = Rc::new(dialect);
        let task = keep(Rc::clone(&dialect), outlet.clone());
        Publisher {
            outlet,
            put: Box::new(move |out, number, message| dialect.put(out, number, message)),
            task: tokio::task::spawn_local(task),
            limit,
        }
    }

    /// Whether a message can be taken now: the broker is there, and the queue is not full.
    pub fn takes(&self) -> bool {
        let queue = self.outlet.queue.borrow();
        queue.open && queue.held() < self.limit
    }

    /// Queues a message.
    pub fn push(&self, message: &Message<'_>, tag: Tag) {
        let mut queue = self.outlet.queue.borrow_mut();
        queue.push(tag, |out, number| (self.put)(out, number, message));
        drop(queue);
        self.outlet.wake.notify_one();
    }

    /// What has happened since this was asked last.
    pub fn events(&self) -> Vec<Event> {
        std::mem::take(&mut self.outlet.queue.borrow_mut().events)
    }

    /// Messages that the broker has not confirmed.
    pub fn pending(&self) -> usize {
        self.outlet.queue.borrow().pending()
    }

    /// Gives up: the task ends, and these are the messages that the broker never confirmed.
    pub fn give_up(&self) -> Vec<Tag> {
        self.task.abort();
        self.outlet.queue.borrow_mut().give_up()
    }
}

/// Connects, serves, and begins again, for ever.
async fn keep(dialect: Rc<impl Dialect>, outlet: Outlet) {
    let mut pause = PAUSE.0;
    for endpoint in dialect.endpoints().iter().cycle() {
        outlet.tell(Event::Attempt);
        let began = (outlet.clock)();
        let connecting = timeout(CONNECT, dialect.connect(endpoint)).await;
        match connecting.unwrap_or(Err(BrokerError::Timeout)) {
            Ok(link) => {
                let now = (outlet.clock)();
                let again = {
                    let mut queue = outlet.queue.borrow_mut();
                    queue.open = true;
                    // What the connection before it was told is not said of this one.
                    queue.block(false, now);
                    queue.rewind()
                };
                outlet.tell(Event::Open(now, now - began));
                if again > 0 {
                    outlet.tell(Event::Again(again));
                }
                let why = tokio::select! {
                    why = dialect.serve(link, &outlet) => why,
                    why = outlet.watch() => why,
                };
                outlet.queue.borrow_mut().open = false;
                outlet.tell(Event::Lost(why, (outlet.clock)()));
                pause = PAUSE.0;
            }
            Err(why) => {
                outlet.tell(Event::Failed(why));
                pause = (2 * pause).min(PAUSE.1);
            }
        }
        sleep(pause).await;
    }
}
