//! Consuming: what is written to a topic, all of its partitions, from now on, through losses of connections.
//!
//! No group: each consumer has all of it, and remembers itself where it is. A topic that is not there is made. What was stored
//! while the connection was lost is read behind the last that came; a partition that ends before that has lost what it had,
//! and is read from its beginning.

use super::api::{self, meaning};
use super::records::each as records;
use super::session::{Wire, reach};
use super::wire::broken;
use crate::broker::{BrokerError, Delivery, KafkaConfig};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// For connecting, and for a topic that is made.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a broker waits for something to be there: short, as there are brokers that look for it now and then only.
const WAIT_MS: i32 = 100;
/// How long we wait for a broker.
const SILENT: Duration = Duration::from_secs(5);
/// Bytes of one answer.
const MOST: i32 = 1 << 20;
/// What stands for a batch that cannot be read, which whoever reads cannot either.
const UNREADABLE: &[u8] = &[0xff];

/// A topic that is read.
pub struct KafkaConsumer {
    config: KafkaConfig,
    topic: String,
    partitions: i32,
    session: Vec<Led>,
    /// Of each partition the offset of what comes next; `None`: from its end.
    next: Vec<Option<i64>>,
}

/// A connection to a broker, and the partitions that it leads.
struct Led {
    wire: Wire,
    partitions: Vec<i32>,
}

impl KafkaConsumer {
    /// Reads this topic from its end on; it is made with so many partitions if it is not there.
    ///
    /// # Errors
    /// The brokers cannot be reached, or refuse.
    pub async fn start(
        config: KafkaConfig,
        topic: &str,
        partitions: u16,
    ) -> Result<KafkaConsumer, BrokerError> {
        let mut consumer = KafkaConsumer {
            config,
            topic: topic.to_owned(),
            partitions: i32::from(partitions),
            session: Vec::new(),
            next: Vec::new(),
        };
        consumer.assign(0).await?;
        Ok(consumer)
    }

    /// Hands on every message until dropped: under its key, or its topic if it has none.
    pub async fn run(mut self, mut each: impl FnMut(Delivery<'_>)) {
        let mut turn = 0;
        loop {
            let _why = self.listen(&mut each).await;
            loop {
                sleep(PAUSE).await;
                turn += 1;
                if self.assign(turn).await.is_ok() {
                    break;
                }
            }
        }
    }

    async fn assign(&mut self, turn: usize) -> Result<(), BrokerError> {
        let assigning = timeout(2 * PATIENCE, self.reach(turn)).await;
        assigning.unwrap_or(Err(BrokerError::Timeout))
    }

    async fn reach(&mut self, turn: usize) -> Result<(), BrokerError> {
        // What was, and an attempt that came half-way.
        self.session.clear();
        let endpoints = &self.config.endpoints;
        let endpoint = endpoints.get(turn % endpoints.len().max(1)).cloned();
        let endpoint = endpoint.ok_or_else(|| BrokerError::Refused("no address".into()))?;
        let mut wire = Wire::open(&self.config, &endpoint).await?;
        let topics = [self.topic.clone()];
        let until = Instant::now() + PATIENCE;
        let mut made = false;
        let cluster = loop {
            let why = match wire.cluster(&topics).await {
                Ok(cluster) => break cluster,
                Err(BrokerError::Refused(why)) => why,
                Err(why) => return Err(why),
            };
            if Instant::now() > until {
                return Err(BrokerError::Refused(why));
            }
            if !made && why.ends_with(&meaning(3)) {
                let create = |out: &mut Vec<u8>| api::create(out, &self.topic, self.partitions);
                let answer = wire.ask(api::CREATE_TOPICS, create).await?;
                match api::created(&answer)? {
                    0 => {
                        made = true;
                        // All that comes is new.
                        self.next.clear();
                    }
                    // Somebody else was faster.
                    36 => {}
                    error => return Err(BrokerError::Refused(meaning(error))),
                }
            }
            sleep(PAUSE).await;
        };
        let leaders = cluster.leaders(&self.topic).to_vec();
        self.next.resize(leaders.len(), made.then_some(0));
        let wires = reach(&self.config, &endpoint, Some(wire), &cluster, &topics).await?;
        for (id, mut wire) in wires {
            let led = (0..).zip(&leaders).filter(|(_, leader)| **leader == id);
            let partitions: Vec<i32> = led.map(|(partition, _)| partition).collect();
            let unknown = |p: &&i32| self.next[**p as usize].is_none();
            let unknown: Vec<i32> = partitions.iter().filter(unknown).copied().collect();
            self.locate(&mut wire, &unknown, false).await?;
            self.session.push(Led { wire, partitions });
        }
        Ok(())
    }

    /// Goes to the end, or the beginning, of these.
    async fn locate(
        &mut self,
        wire: &mut Wire,
        partitions: &[i32],
        earliest: bool,
    ) -> Result<(), BrokerError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let ask = |out: &mut Vec<u8>| api::ends(out, &self.topic, partitions, earliest);
        let answer = wire.ask(api::LIST_OFFSETS, ask).await?;
        for (partition, error, offset) in api::offsets(&answer)? {
            if error != 0 {
                return Err(BrokerError::Refused(meaning(error)));
            }
            let place = usize::try_from(partition).ok();
            if let Some(next) = place.and_then(|p| self.next.get_mut(p)) {
                *next = Some(offset.max(0));
            }
        }
        Ok(())
    }

    async fn listen(&mut self, each: &mut impl FnMut(Delivery<'_>)) -> Result<(), BrokerError> {
        let mut asked = FuturesUnordered::new();
        for led in std::mem::take(&mut self.session) {
            let from = self.from(&led);
            asked.push(fetch(led, self.topic.clone(), from));
        }
        while let Some((mut led, answer)) = asked.next().await {
            for place in self.take(&answer?, each)? {
                self.locate(&mut led.wire, &[place], true).await?;
            }
            let from = self.from(&led);
            asked.push(fetch(led, self.topic.clone(), from));
        }
        Err(broken("nobody leads the topic"))
    }

    fn from(&self, led: &Led) -> Vec<(i32, i64)> {
        let next = |p: &i32| self.next[*p as usize].unwrap_or(0);
        led.partitions.iter().map(|p| (*p, next(p))).collect()
    }

    /// Hands on what came; partitions that have lost what was there.
    fn take(
        &mut self,
        answer: &[u8],
        each: &mut impl FnMut(Delivery<'_>),
    ) -> Result<Vec<i32>, BrokerError> {
        let mut lost = Vec::new();
        for fetched in api::fetched(answer)? {
            let place = usize::try_from(fetched.partition).ok();
            let Some(next) = place.and_then(|p| self.next.get_mut(p)) else {
                return Err(broken("a partition that was not asked for"));
            };
            match fetched.error {
                0 => {}
                1 => {
                    lost.push(fetched.partition);
                    continue;
                }
                error => return Err(BrokerError::Refused(meaning(error))),
            }
            let from = next.unwrap_or(0);
            let found = records(fetched.records, from, |record| {
                let key = record.key.map(std::str::from_utf8);
                let (address, payload) = match key {
                    None => (self.topic.as_str(), record.value),
                    Some(Ok(key)) => (key, record.value),
                    Some(Err(_)) => (self.topic.as_str(), UNREADABLE),
                };
                each(Delivery { address, payload });
            })?;
            for _ in 0..found.skipped {
                each(Delivery {
                    address: &self.topic,
                    payload: UNREADABLE,
                });
            }
            if found.next == from && !fetched.records.is_empty() {
                return Err(broken("a batch of records that is not whole"));
            }
            *next = Some(found.next);
        }
        Ok(lost)
    }
}

/// Asks a broker for what its partitions have, and waits for it.
async fn fetch(
    mut led: Led,
    topic: String,
    from: Vec<(i32, i64)>,
) -> (Led, Result<Vec<u8>, BrokerError>) {
    let ask = |out: &mut Vec<u8>| api::fetch(out, &topic, &from, WAIT_MS, MOST);
    let answer = timeout(SILENT, led.wire.ask(api::FETCH, ask)).await;
    (led, answer.unwrap_or(Err(BrokerError::Timeout)))
}
