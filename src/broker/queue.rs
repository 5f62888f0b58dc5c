//! What a publisher holds: one buffer with what is queued, what is written and what is not yet confirmed, in this order from its end.
//! It is bounded by who fills it. Knows no protocol.

use super::publisher::{Event, Tag};
use std::collections::VecDeque;
use std::ops::Range;

struct Item {
    /// Offset of its first byte since the beginning of all.
    start: u64,
    length: u32,
    /// On this connection.
    written: bool,
    taken: bool,
    refused: bool,
    tag: Tag,
}

/// Messages on their way to a broker, numbered from 0 in the order in which they were queued.
#[derive(Default)]
pub(super) struct Queue {
    /// There is a connection, and it is let in.
    pub open: bool,
    /// What has happened and nobody has heard of.
    pub events: Vec<Event>,
    bytes: VecDeque<u8>,
    /// Offset of the first of `bytes`.
    base: u64,
    items: VecDeque<Item>,
    /// Number of the first of `items`.
    first: u64,
    /// Number of the first that is not written on this connection.
    unwritten: u64,
    /// Written and unconfirmed since.
    waiting_ns: Option<u64>,
    /// Nothing more is written until what was refused is written again.
    refused: bool,
    /// The broker has said that it confirms nothing for now.
    blocked: bool,
}

impl Queue {
    /// Bytes held.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Queues a message; `put` writes the one of this number.
    pub fn push(&mut self, tag: Tag, put: impl FnOnce(&mut VecDeque<u8>, u64)) {
        let before = self.bytes.len();
        let number = self.first + self.items.len() as u64;
        put(&mut self.bytes, number);
        self.items.push_back(Item {
            start: self.base + before as u64,
            length: (self.bytes.len() - before) as u32,
            written: false,
            taken: false,
            refused: false,
            tag,
        });
    }

    /// Messages that the broker has not confirmed.
    pub fn pending(&self) -> usize {
        self.items.iter().filter(|item| !item.taken).count()
    }

    /// Gives all of it up: the messages that the broker never confirmed.
    pub fn give_up(&mut self) -> Vec<Tag> {
        self.open = false;
        self.bytes.clear();
        let left = std::mem::take(&mut self.items);
        left.iter()
            .filter(|item| !item.taken)
            .map(|item| item.tag)
            .collect()
    }

    /// What is unconfirmed is to be written again, in the same order: to a new connection, or after a refusal. How many messages that are.
    pub fn rewind(&mut self) -> u64 {
        let written = (self.unwritten - self.first) as usize;
        let mut again = 0;
        for item in self.items.iter_mut().take(written) {
            item.refused = false;
            again += u64::from(item.written && !item.taken);
            item.written = false;
        }
        self.unwritten = self.first;
        self.waiting_ns = None;
        self.refused = false;
        again
    }

    /// Puts the next message that is to be written behind what is in `out`. Its number; `None`: there is none now.
    pub fn next(&mut self, out: &mut Vec<u8>, now: u64) -> Option<u64> {
        if self.refused {
            return None;
        }
        loop {
            let number = self.unwritten;
            let item = self.items.get_mut((number - self.first) as usize)?;
            self.unwritten += 1;
            if item.taken {
                continue;
            }
            item.written = true;
            let start = (item.start - self.base) as usize;
            out.extend(self.bytes.range(start..start + item.length as usize));
            self.waiting_ns.get_or_insert(now);
            return Some(number);
        }
    }

    /// Numbers of all that are held, those among them that the broker has included.
    pub fn numbers(&self) -> Range<u64> {
        self.first..self.first + self.items.len() as u64
    }

    /// The first bytes of a message that the broker has not, and its length; `None`: it has, or it is shorter.
    pub fn head<const N: usize>(&self, number: u64) -> Option<([u8; N], usize)> {
        let place = number.checked_sub(self.first)? as usize;
        let item = self.items.get(place).filter(|item| !item.taken)?;
        let length = item.length as usize;
        let start = (item.start - self.base) as usize;
        let mut head = [0; N];
        for (i, byte) in head.iter_mut().enumerate().filter(|_| N <= length) {
            *byte = *self.bytes.get(start + i)?;
        }
        (N <= length).then_some((head, length))
    }

    /// Puts a message behind what is in `out`, whatever else is to be written before it: where messages go several ways, each
    /// with an order of its own.
    pub fn write(&mut self, number: u64, out: &mut Vec<u8>, now: u64) {
        let place = number.checked_sub(self.first).map(|place| place as usize);
        let Some(item) = place.and_then(|place| self.items.get_mut(place)) else {
            return;
        };
        item.written = true;
        let start = (item.start - self.base) as usize;
        out.extend(self.bytes.range(start..start + item.length as usize));
        self.unwritten = self.unwritten.max(number + 1);
        self.waiting_ns.get_or_insert(now);
    }

    /// The broker has refused this one, and is not silent. Others go on, other than by [`Queue::refuse`]: whoever wrote it
    /// will write it again.
    pub fn reject(&mut self, number: u64, why: String, now: u64) {
        if let Some(place) = self.place(number) {
            let event = Event::Rejected(self.items[place].tag, why);
            self.events.push(event);
            self.waiting_ns = Some(now);
        }
    }

    /// The broker has this one. What it has already, or never got, it may say again.
    pub fn take(&mut self, number: u64, now: u64) {
        let Some(place) = self.place(number) else {
            return;
        };
        let item = &mut self.items[place];
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
        self.unwritten = self.unwritten.max(self.first);
        self.waiting_ns = (self.first < self.unwritten).then_some(now);
    }

    /// The broker has all that were written before this one.
    pub fn take_before(&mut self, bound: u64, now: u64) {
        let bound = bound.min(self.unwritten);
        while self.first < bound && !self.items.is_empty() {
            self.take(self.first, now);
        }
    }

    /// The broker has refused this one; nothing more is written until it is written again.
    pub fn refuse(&mut self, number: u64, why: String) {
        let Some(place) = self.place(number) else {
            return;
        };
        let item = &mut self.items[place];
        if !item.taken && !std::mem::replace(&mut item.refused, true) {
            self.refused = true;
            let event = Event::Rejected(item.tag, why);
            self.events.push(event);
        }
    }

    /// Where one that is written stands.
    fn place(&self, number: u64) -> Option<usize> {
        let place = number.checked_sub(self.first)? as usize;
        (number < self.unwritten && place < self.items.len()).then_some(place)
    }

    /// Some were refused, and of all others that were written the broker has said what became of them: so that none that it
    /// may yet take is written twice.
    pub fn settled_with_refusals(&self) -> bool {
        let written = (self.unwritten - self.first) as usize;
        let settled = |item: &Item| item.taken || item.refused;
        self.refused && self.items.iter().take(written).all(settled)
    }

    /// The broker says that it takes nothing for now, or that it does again.
    pub fn block(&mut self, blocked: bool, now: u64) {
        self.blocked = blocked;
        self.waiting_ns = self.waiting_ns.map(|_| now);
    }

    /// For how long the broker has confirmed nothing of what is written, in nanoseconds; 0 while it says that it cannot.
    pub fn silent_for(&self, now: u64) -> u64 {
        let waiting = self.waiting_ns.filter(|_| !self.blocked);
        waiting.map_or(0, |since| now.saturating_sub(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(texts: &[&str]) -> Queue {
        let mut queue = Queue::default();
        for text in texts {
            push(&mut queue, text);
        }
        queue
    }

    fn push(queue: &mut Queue, text: &str) {
        let tag = Tag {
            place: 0,
            phase: 0,
            intended_ns: 1,
            sent_ns: 2,
        };
        queue.push(tag, |out, _| out.extend(text.as_bytes()));
    }

    fn all(queue: &mut Queue) -> String {
        let mut out = Vec::new();
        while queue.next(&mut out, 7).is_some() {}
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_confirmed_is_written_again_in_order() {
        let mut queue = queue(&["a", "b", "c"]);
        assert_eq!(all(&mut queue), "abc");
        assert_eq!(all(&mut queue), "");
        queue.take(0, 9);
        // The connection is lost, and another made.
        assert_eq!(queue.rewind(), 2);
        push(&mut queue, "d");
        assert_eq!(all(&mut queue), "bcd");
        assert_eq!(queue.events.len(), 1);
        queue.take_before(3, 9);
        assert_eq!((queue.events.len(), queue.pending()), (3, 1));
    }

    #[test]
    fn what_was_confirmed_out_of_turn_is_not_written_again() {
        let mut queue = queue(&["a", "b", "c"]);
        assert_eq!(all(&mut queue), "abc");
        queue.take(1, 9);
        queue.take(1, 9);
        assert_eq!((queue.first, queue.events.len()), (0, 1));
        assert_eq!(queue.rewind(), 2);
        assert_eq!(all(&mut queue), "ac");
        for number in [2, 0, 7] {
            queue.take(number, 9);
        }
        assert_eq!((queue.first, queue.base, queue.items.len()), (3, 3, 0));
        assert!(queue.bytes.is_empty() && queue.waiting_ns.is_none());
    }

    #[test]
    fn what_is_said_of_what_was_not_written_is_passed_over() {
        let mut queue = queue(&["a", "b"]);
        queue.next(&mut Vec::new(), 7);
        queue.take(1, 9);
        queue.refuse(1, String::new());
        queue.take_before(1, 9);
        assert_eq!((queue.events.len(), queue.pending()), (1, 1));
        assert_eq!(all(&mut queue), "b");
    }

    #[test]
    fn what_goes_several_ways_is_written_in_any_order() {
        let mut queue = queue(&["ab", "cd", "ef"]);
        assert_eq!(queue.numbers(), 0..3);
        assert_eq!(queue.head::<1>(1), Some(([b'c'], 2)));
        assert_eq!(queue.head::<3>(1), None);
        let mut out = Vec::new();
        queue.write(2, &mut out, 7);
        queue.write(0, &mut out, 7);
        assert_eq!(out, b"efab");
        queue.take(2, 8);
        assert_eq!((queue.head::<1>(2), queue.pending()), (None, 2));
        queue.reject(0, "full".into(), 9);
        assert!(!queue.settled_with_refusals());
        assert_eq!(queue.silent_for(10), 1);
        // The one that was never written is none of those that are written again.
        assert_eq!(queue.rewind(), 1);
        assert_eq!(queue.rewind(), 0);
    }

    #[test]
    fn after_a_refusal_all_others_are_waited_for() {
        let mut queue = queue(&["a", "b", "c"]);
        queue.next(&mut Vec::new(), 7);
        queue.next(&mut Vec::new(), 7);
        queue.refuse(0, "full".into());
        queue.refuse(0, "full".into());
        assert_eq!(all(&mut queue), "", "nothing overtakes it");
        assert!(!queue.settled_with_refusals());
        queue.take(1, 9);
        assert!(queue.settled_with_refusals());
        assert_eq!(queue.rewind(), 1);
        assert_eq!(all(&mut queue), "ac");
        let rejected = |event: &&Event| matches!(event, Event::Rejected(..));
        assert_eq!(queue.events.iter().filter(rejected).count(), 1);
    }
}
