//! What a connection works with while it is polled, and does not need while it is not: one to a
//! thread, lent for the length of a poll. A connection that waits holds no buffer.

use std::cell::Cell;
use std::ops::Range;
use std::task::Waker;

use super::frame::append;
use crate::protocol::Outgoing;

/// Bytes read from a socket at once.
const READ: usize = 16 * 1024;
/// Lists that grew beyond this many places or bytes give them back.
const KEPT: usize = 64 * 1024;

/// Buffers and counts of one poll.
pub(super) struct Bench {
    /// Bytes read from the socket.
    pub input: Box<[u8]>,
    /// Which of them nobody has looked at yet.
    pub unread: Range<usize>,
    /// Bytes for the socket, behind those that it did not take before.
    pub output: Vec<u8>,
    /// Messages in a client's own words.
    pub words: Outgoing,
    /// Tasks that have something to write now.
    pub wakers: Vec<Waker>,
    /// Deliveries made in this poll.
    pub delivered: usize,
    /// Data messages read in this poll…
    pub messages_in: u64,
    /// …and written.
    pub messages_out: u64,
}

thread_local! {
    static HERE: Cell<Option<Box<Bench>>> = const { Cell::new(None) };
}

impl Bench {
    fn new() -> Self {
        Bench {
            input: vec![0; READ].into_boxed_slice(),
            unread: 0..0,
            output: Vec::new(),
            words: Outgoing::default(),
            wakers: Vec::new(),
            delivered: 0,
            messages_in: 0,
            messages_out: 0,
        }
    }

    /// Works with the thread's bench, which is clear before and after.
    pub(super) fn with<T>(work: impl FnOnce(&mut Bench) -> T) -> T {
        let mut bench = HERE.take().unwrap_or_else(|| Box::new(Bench::new()));
        let done = work(&mut bench);
        bench.clear();
        HERE.set(Some(bench));
        done
    }

    /// Takes `bytes` as if they had just been read. More than there is room for makes room.
    pub(super) fn refill(&mut self, bytes: &[u8]) {
        if bytes.len() > self.input.len() {
            self.input = bytes.into();
        } else {
            self.input[..bytes.len()].copy_from_slice(bytes);
        }
        self.unread = 0..bytes.len();
    }

    /// The bytes that nobody has looked at yet, which are forgotten here.
    pub(super) fn leftover(&mut self) -> Box<[u8]> {
        let range = std::mem::replace(&mut self.unread, 0..0);
        self.input.get(range).unwrap_or_default().into()
    }

    /// Puts what a client is told in its own words behind the output.
    pub(super) fn put_words(&mut self) {
        for (form, message) in self.words.messages() {
            append(form, message, &mut self.output);
        }
        self.words.clear();
    }

    fn clear(&mut self) {
        self.unread = 0..0;
        self.output.clear();
        self.output.shrink_to(KEPT);
        self.words.clear();
        self.words.buffer().shrink_to(KEPT);
        self.wakers.clear();
        self.wakers.shrink_to(KEPT / size_of::<Waker>());
        self.delivered = 0;
        self.messages_in = 0;
        self.messages_out = 0;
    }
}
