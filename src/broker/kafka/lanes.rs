//! What is on its way to each partition, without I/O.
//!
//! The queue holds messages in the order in which they came, a lane the numbers of those that go to its partition. A lane has one
//! batch on its way at most: what comes behind it waits, so a partition gets its messages in order, also if one is refused or
//! a connection lost. To a broker that gave us a name the same batch is written again, record for record, by which it knows
//! what it has.

use super::api::{self, Produced};
use super::records::{Batch, NOBODY, Producer};
use super::wire::Reader;
use crate::broker::BrokerError;
use crate::broker::queue::Queue;
use std::collections::VecDeque;
use std::ops::Range;

/// After a refusal, before the batch is written again.
const REFUSED_NS: u64 = 250_000_000;

/// Writes a message down as it is held: its topic's place, what its partition is computed of, key, payload.
pub fn put(out: &mut VecDeque<u8>, topic: usize, spread: u32, key: Option<&[u8]>, payload: &[u8]) {
    out.extend((topic as u32).to_be_bytes());
    out.extend(spread.to_be_bytes());
    out.extend(key.map_or(-1, |key| key.len() as i32).to_be_bytes());
    out.extend(key.unwrap_or_default());
    out.extend(payload);
}

/// A message that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: u64,
    length: usize,
    since: u64,
}

/// The way to a partition.
#[derive(Debug, Default)]
struct Lane {
    topic: usize,
    partition: i32,
    /// The connection to who leads it.
    leader: usize,
    waiting: VecDeque<Waiting>,
    /// Bytes of those.
    bytes: usize,
    /// So many from the front are on their way.
    flying: usize,
    /// So many from the front made up the last batch, of which nobody said that it is stored.
    batch: usize,
    /// That batch was refused.
    refused: bool,
    /// Nothing is written before.
    held_until: u64,
    /// Number of the first in the front among all that were stored under our name.
    sequence: i32,
}

/// All ways into a cluster.
#[derive(Debug, Default)]
pub struct Lanes {
    lanes: Vec<Lane>,
    /// The lanes of each topic.
    topics: Vec<Range<usize>>,
    /// All in the queue before this number are in a lane.
    sorted: u64,
    /// Our name at the brokers, and its epoch.
    pub name: Option<(i64, i16)>,
    scratch: Vec<u8>,
}

impl Lanes {
    /// There is a new session; of each topic's partitions, which connection leads to them. What was on its way is to be sorted
    /// in again.
    pub fn lead(&mut self, topics: &[Vec<usize>]) {
        let same = self.topics.len() == topics.len()
            && (self.topics.iter().zip(topics)).all(|(a, b)| a.len() == b.len());
        if !same {
            // A message may go to another partition now: what was numbered is not comparable.
            self.name = None;
            self.lanes.clear();
            self.topics.clear();
            for (topic, leaders) in topics.iter().enumerate() {
                let first = self.lanes.len();
                self.lanes.extend((0..leaders.len()).map(|partition| Lane {
                    topic,
                    partition: partition as i32,
                    ..Lane::default()
                }));
                self.topics.push(first..self.lanes.len());
            }
        }
        for (lane, leader) in self.lanes.iter_mut().zip(topics.iter().flatten()) {
            lane.leader = *leader;
            lane.waiting.clear();
            lane.bytes = 0;
            lane.flying = 0;
            lane.refused = false;
            lane.held_until = 0;
        }
        self.sorted = 0;
    }

    /// The brokers know us by this name from now on, and nothing of us before.
    pub fn named(&mut self, name: Option<(i64, i16)>) {
        self.name = name;
        for lane in &mut self.lanes {
            lane.sequence = 0;
            lane.batch = 0;
        }
    }

    /// Sorts in what has come.
    pub fn sort(&mut self, queue: &Queue, now: u64) {
        let numbers = queue.numbers();
        for number in self.sorted.max(numbers.start)..numbers.end {
            let Some((head, length)) = queue.head::<8>(number) else {
                continue;
            };
            let [a, b, c, d, spread @ ..] = head;
            let topic = u32::from_be_bytes([a, b, c, d]) as usize;
            let lanes = self.topics.get(topic).filter(|lanes| !lanes.is_empty());
            let Some(lanes) = lanes else { continue };
            let place = u32::from_be_bytes(spread) as usize % lanes.len();
            let lane = &mut self.lanes[lanes.start + place];
            lane.bytes += length;
            lane.waiting.push_back(Waiting {
                number,
                length,
                since: now,
            });
        }
        self.sorted = numbers.end;
    }

    /// The lanes to a leader whose next batch is due, and when the first of the others will be.
    pub fn due(
        &self,
        leader: usize,
        now: u64,
        linger: u64,
        full: usize,
    ) -> (Vec<usize>, Option<u64>) {
        let (mut due, mut next) = (Vec::new(), None::<u64>);
        for (l, lane) in self.lanes.iter().enumerate() {
            let Some(first) = lane.waiting.front().filter(|_| lane.flying == 0) else {
                continue;
            };
            if lane.leader != leader {
                continue;
            }
            let at = match lane.batch > 0 || lane.bytes >= full {
                true => lane.held_until,
                false => lane.held_until.max(first.since.saturating_add(linger)),
            };
            match at <= now {
                true => due.push(l),
                false => next = Some(next.map_or(at, |next| next.min(at))),
            }
        }
        (due, next)
    }

    /// Takes a lane's next batch on its way. How many messages of it are written again after a refusal.
    pub fn fill(
        &mut self,
        l: usize,
        queue: &mut Queue,
        (now, now_ms): (u64, i64),
        full: usize,
        batch: &mut Batch,
    ) -> u64 {
        let lane = &mut self.lanes[l];
        let mut count = 0;
        while let Some(waiting) = lane.waiting.get(count) {
            let enough = match lane.batch {
                0 => count > 0 && batch.bytes().len() + waiting.length > full,
                same => count == same,
            };
            if enough {
                break;
            }
            self.scratch.clear();
            queue.write(waiting.number, &mut self.scratch, now);
            if let Some((key, payload)) = parts(&self.scratch) {
                batch.push(key, payload);
            }
            count += 1;
        }
        lane.flying = count;
        lane.batch = count;
        let producer = self.name.map_or(NOBODY, |(id, epoch)| Producer {
            id,
            epoch,
            sequence: lane.sequence,
        });
        batch.finish(now_ms, producer);
        match std::mem::take(&mut lane.refused) {
            true => count as u64,
            false => 0,
        }
    }

    /// Where a lane leads: topic and partition.
    pub fn goal(&self, l: usize) -> (usize, i32) {
        (self.lanes[l].topic, self.lanes[l].partition)
    }

    /// A broker says what became of a batch.
    ///
    /// # Errors
    /// Why the session is of no use any more.
    pub fn answered(
        &mut self,
        answer: &Produced<'_>,
        topics: &[String],
        queue: &mut Queue,
        now: u64,
    ) -> Result<(), BrokerError> {
        let topic = topics.iter().position(|topic| topic == answer.topic);
        let lanes = topic.and_then(|topic| self.topics.get(topic).cloned());
        let place = usize::try_from(answer.partition).ok();
        let l = lanes.and_then(|mut lanes| lanes.nth(place?));
        let Some(l) = l else {
            return Err(BrokerError::Protocol(
                "an answer of a partition that was not written to".into(),
            ));
        };
        match answer.error {
            // The second: it has had the batch before.
            0 | 46 => self.taken(l, queue, now),
            // It knows our name no more, or not what we wrote by it.
            45 | 47 | 59 if self.name.is_some() => {
                self.name = None;
                return Err(BrokerError::Refused(api::meaning(answer.error)));
            }
            // Somebody else leads it now, or nobody.
            3 | 5 | 6 | 13 => return Err(BrokerError::Refused(api::meaning(answer.error))),
            error => {
                let lane = &mut self.lanes[l];
                for waiting in lane.waiting.iter().take(lane.flying) {
                    queue.reject(waiting.number, api::meaning(error), now);
                }
                lane.flying = 0;
                lane.refused = true;
                lane.held_until = now + REFUSED_NS;
            }
        }
        Ok(())
    }

    /// Whether something is on its way on this lane.
    pub fn flies(&self, l: usize) -> bool {
        self.lanes[l].flying > 0
    }

    /// The broker has what is on its way on this lane.
    pub fn taken(&mut self, l: usize, queue: &mut Queue, now: u64) {
        let lane = &mut self.lanes[l];
        let flying = std::mem::take(&mut lane.flying);
        for waiting in lane.waiting.drain(..flying) {
            lane.bytes -= waiting.length;
            queue.take(waiting.number, now);
        }
        // Begins at 0 again behind the largest.
        let sequence = i64::from(lane.sequence) + flying as i64;
        lane.sequence = (sequence & i64::from(i32::MAX)) as i32;
        lane.batch = 0;
    }
}

/// Key and payload of what [`put`] wrote down.
fn parts(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut r = Reader(bytes.get(8..)?);
    let length = r.i32().ok()?;
    let key = match usize::try_from(length) {
        Ok(length) => Some(r.take(length).ok()?),
        Err(_) => None,
    };
    Some((key, r.0))
}

#[cfg(test)]
mod tests {
    use super::super::records::each;
    use super::*;
    use crate::broker::{Event, Tag};

    const FULL: usize = 16 << 10;
    const LINGER: u64 = 5;

    /// Two topics: `a` with partitions 0 and 1 at the first leader, `b` with one at the second.
    fn cluster() -> (Lanes, Queue, Vec<String>) {
        let mut lanes = Lanes::default();
        lanes.lead(&[vec![0, 0], vec![1]]);
        (lanes, Queue::default(), vec!["a".into(), "b".into()])
    }

    fn push(queue: &mut Queue, topic: usize, spread: u32, text: &str) {
        let tag = Tag {
            place: spread,
            phase: 0,
            intended_ns: 1,
            sent_ns: 2,
        };
        queue.push(tag, |out, _| {
            put(out, topic, spread, Some(b"key"), text.as_bytes());
        });
    }

    /// What is in a lane's next batch, and the number of its first record.
    fn flies(lanes: &mut Lanes, l: usize, queue: &mut Queue, now: u64) -> (String, i32) {
        let mut batch = Batch::default();
        lanes.fill(l, queue, (now, 3), FULL, &mut batch);
        let bytes = batch.bytes();
        let mut text = String::new();
        each(bytes, 0, |record| {
            assert_eq!(record.key, Some(&b"key"[..]));
            text.push_str(std::str::from_utf8(record.value).unwrap());
        })
        .unwrap();
        let sequence = i32::from_be_bytes(bytes[53..57].try_into().unwrap());
        (text, sequence)
    }

    fn answer(topic: &str, partition: i32, error: i16) -> Produced<'_> {
        Produced {
            topic,
            partition,
            error,
        }
    }

    #[test]
    fn a_batch_waits_for_more_and_the_next_for_its_answer() {
        let (mut lanes, mut queue, topics) = cluster();
        for (topic, spread, text) in [(0, 4, "x"), (0, 1, "y"), (1, 7, "z"), (0, 2, "w")] {
            push(&mut queue, topic, spread, text);
        }
        lanes.sort(&queue, 10);
        assert_eq!(lanes.due(0, 10, LINGER, FULL), (vec![], Some(15)));
        assert_eq!(lanes.due(0, 15, LINGER, FULL), (vec![0, 1], None));
        assert_eq!(lanes.due(1, 15, LINGER, FULL), (vec![2], None));
        // What is full waits for nothing.
        assert_eq!(lanes.due(0, 10, LINGER, 20), (vec![0], Some(15)));
        assert_eq!(lanes.goal(1), (0, 1));
        assert_eq!(flies(&mut lanes, 0, &mut queue, 15).0, "xw");
        push(&mut queue, 0, 0, "v");
        lanes.sort(&queue, 16);
        assert_eq!(lanes.due(0, 99, LINGER, FULL), (vec![1], None));
        lanes
            .answered(&answer("a", 0, 0), &topics, &mut queue, 20)
            .unwrap();
        assert_eq!(lanes.due(0, 99, LINGER, FULL), (vec![0, 1], None));
        assert_eq!(queue.pending(), 3);
        assert!(
            lanes
                .answered(&answer("c", 0, 0), &topics, &mut queue, 20)
                .is_err()
        );
        assert!(
            lanes
                .answered(&answer("b", 1, 0), &topics, &mut queue, 20)
                .is_err()
        );
    }

    #[test]
    fn after_a_loss_the_same_batch_is_written_again() {
        let (mut lanes, mut queue, topics) = cluster();
        lanes.named(Some((9, 0)));
        push(&mut queue, 0, 0, "a");
        push(&mut queue, 0, 0, "b");
        lanes.sort(&queue, 0);
        assert_eq!(flies(&mut lanes, 0, &mut queue, 9), ("ab".into(), 0));
        lanes
            .answered(&answer("a", 0, 0), &topics, &mut queue, 9)
            .unwrap();
        for text in ["c", "d"] {
            push(&mut queue, 0, 0, text);
        }
        lanes.sort(&queue, 9);
        assert_eq!(flies(&mut lanes, 0, &mut queue, 9), ("cd".into(), 2));
        push(&mut queue, 0, 0, "e");
        lanes.sort(&queue, 9);
        // The connection is lost, and another made; `e` was never written.
        assert_eq!(queue.rewind(), 2);
        lanes.lead(&[vec![1, 0], vec![0]]);
        lanes.sort(&queue, 20);
        assert_eq!(lanes.due(1, 20, LINGER, FULL).0, [0]);
        assert_eq!(flies(&mut lanes, 0, &mut queue, 20), ("cd".into(), 2));
        // It has it already.
        lanes
            .answered(&answer("a", 0, 46), &topics, &mut queue, 21)
            .unwrap();
        assert_eq!(flies(&mut lanes, 0, &mut queue, 30), ("e".into(), 4));
        // It has forgotten us: all begins anew under another name.
        assert!(
            lanes
                .answered(&answer("a", 0, 59), &topics, &mut queue, 31)
                .is_err()
        );
        assert_eq!(lanes.name, None);
        lanes.lead(&[vec![1, 0], vec![0]]);
        lanes.named(Some((10, 0)));
        queue.rewind();
        lanes.sort(&queue, 40);
        assert_eq!(flies(&mut lanes, 0, &mut queue, 50), ("e".into(), 0));
        assert_eq!(queue.pending(), 1);
    }

    #[test]
    fn what_is_refused_holds_up_its_own_partition_only() {
        let (mut lanes, mut queue, topics) = cluster();
        for (topic, spread, text) in [(0, 0, "x"), (0, 0, "y"), (0, 1, "z")] {
            push(&mut queue, topic, spread, text);
        }
        lanes.sort(&queue, 0);
        flies(&mut lanes, 0, &mut queue, 5);
        lanes
            .answered(&answer("a", 0, 19), &topics, &mut queue, 5)
            .unwrap();
        let rejected = |event: &&Event| matches!(event, Event::Rejected(..));
        assert_eq!(queue.events.iter().filter(rejected).count(), 2);
        assert_eq!(
            lanes.due(0, 5, LINGER, FULL),
            (vec![1], Some(5 + REFUSED_NS))
        );
        let mut batch = Batch::default();
        let later = 5 + REFUSED_NS;
        assert_eq!(lanes.due(0, later, LINGER, FULL).0, [0, 1]);
        assert_eq!(lanes.fill(0, &mut queue, (later, 3), FULL, &mut batch), 2);
        // A leader that is none is a session that is over.
        assert!(
            lanes
                .answered(&answer("a", 0, 6), &topics, &mut queue, 9)
                .is_err()
        );
    }

    #[test]
    fn another_number_of_partitions_is_another_order_and_another_name() {
        let (mut lanes, mut queue, _) = cluster();
        lanes.named(Some((1, 1)));
        push(&mut queue, 0, 1, "a");
        lanes.lead(&[vec![0], vec![1]]);
        assert_eq!(lanes.name, None);
        lanes.sort(&queue, 0);
        assert_eq!(flies(&mut lanes, 0, &mut queue, 9).0, "a");
    }

    #[test]
    fn numbers_begin_again_behind_the_largest() {
        let (mut lanes, mut queue, _) = cluster();
        lanes.lanes[0].sequence = i32::MAX;
        push(&mut queue, 0, 0, "a");
        push(&mut queue, 0, 0, "b");
        lanes.sort(&queue, 0);
        flies(&mut lanes, 0, &mut queue, 9);
        lanes.taken(0, &mut queue, 10);
        assert_eq!(lanes.lanes[0].sequence, 1);
        assert_eq!(parts(b""), None);
    }
}
