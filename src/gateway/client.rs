//! One client as the others see it: a bounded queue and a request to close.
//!
//! Whoever publishes puts messages in; the client's own task takes them out. The lock is held for a
//! push or a pop and never while anything waits.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::frame::Frame;
use super::stats::{Counters, add};
use super::{Config, WhenFull};

/// Room beyond the queue's limit for acknowledgements and errors, which no policy drops. A client
/// that asks on and on without reading the answers fills it and is disconnected.
const REPLY_ROOM: usize = 256;

/// Why and how a connection shall be closed by the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Close {
    /// Close code; 1005: none is sent, 1006: the connection is reset.
    pub code: u16,
    pub reason: &'static str,
    /// Whether what is queued is written first.
    pub after_queue: bool,
}

impl Close {
    /// A close that leaves unwritten what is queued.
    pub(super) fn now(code: u16, reason: &'static str) -> Self {
        Close {
            code,
            reason,
            after_queue: false,
        }
    }

    /// A close that writes first what is queued.
    pub(super) fn after_queue(code: u16, reason: &'static str) -> Self {
        Close {
            after_queue: true,
            ..Close::now(code, reason)
        }
    }
}

/// What the client's task does next.
#[derive(Debug)]
pub(super) enum Next {
    /// What the hub has for the client, as JSON.
    Write(Frame),
    /// What the client is told in its own words.
    Say(Frame),
    /// The first message is held back until then.
    Wait(Instant),
    Close(Close),
    /// Nothing; the task will be woken.
    Nothing,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub id: u64,
    /// Its place among the hub's clients.
    pub slot: u32,
    /// Messages that fit.
    limit: usize,
    when_full: WhenFull,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    /// Of a client whose queue grows, or that others wait for.
    pressure: Option<Box<Pressure>>,
    waker: Option<Waker>,
    task: Option<AbortHandle>,
    /// The task has seen the queue empty and sleeps.
    hungry: bool,
    close: Option<Close>,
    /// No message is taken any more.
    stopped: bool,
    /// Of the queue: what was missed.
    missed: u32,
}

#[derive(Debug)]
struct Pressure {
    /// Bytes in the queue…
    bytes: usize,
    /// …and how many there may be.
    limit: usize,
    /// Others that wait until there is room, by whatever number they gave.
    waiting: Vec<(u64, Waker)>,
    /// Messages for it that stand in the line.
    in_line: u32,
}

#[derive(Debug)]
struct Queued {
    /// Not to be written before.
    due: Option<Instant>,
    sort: Sort,
    frame: Frame,
}

/// What the policy makes of a queued message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    /// A delivery, or an echo: the policy decides.
    Live,
    /// An acknowledgement or an error: no policy drops it.
    Reply,
    /// The same in the client's own words.
    Own,
    /// What the client missed and was told it would get: no policy drops it, and it takes nobody's room.
    Missed,
}

impl Client {
    pub(super) fn new(id: u64, slot: u32, config: &Config) -> Self {
        let in_line = config.misbehave.head_of_line;
        Client {
            id,
            slot,
            // The line is the queue then.
            limit: if in_line { 1 } else { config.queue },
            when_full: config.when_full,
            state: Mutex::new(State {
                pressure: (in_line || config.when_full.grows()).then(|| {
                    Box::new(Pressure {
                        bytes: 0,
                        limit: config.buffer_limit,
                        waiting: Vec::new(),
                        in_line: 0,
                    })
                }),
                ..State::default()
            }),
        }
    }

    /// Says whom to wake. Once, by the client's task, before anything is expected to wake it.
    pub(super) fn attend(&self, waker: Waker) {
        self.state().waker = Some(waker);
    }

    /// Says which task is to be cut off at the drain deadline.
    pub(super) fn served_by(&self, task: AbortHandle) {
        self.state().task = Some(task);
    }

    /// Ends the client's task wherever it is.
    pub(super) fn cut(&self) {
        if let Some(task) = self.state().task.take() {
            task.abort();
        }
    }

    /// Queues a message as the policy allows, not to be written before `due`. The caller wakes the
    /// task returned, outside of any lock.
    #[must_use]
    pub(super) fn offer(
        &self,
        frame: Frame,
        due: Option<Instant>,
        counters: &Counters,
    ) -> Option<Waker> {
        let mut state = self.state();
        if state.stopped || state.close.is_some() {
            drop(state);
            add(&counters.discarded, 1);
            return None;
        }
        if state.counted() >= self.limit {
            match self.when_full {
                WhenFull::DropNewest => {
                    drop(state);
                    add(&counters.dropped_full, 1);
                    return None;
                }
                WhenFull::DropOldest => {
                    add(&counters.dropped_full, 1);
                    match state
                        .queue
                        .iter()
                        .position(|queued| queued.sort == Sort::Live)
                    {
                        Some(oldest) => drop(state.take(oldest)),
                        None => return None,
                    }
                }
                WhenFull::Disconnect => return disconnect(state, counters),
                WhenFull::Buffer | WhenFull::Block => {
                    if state.too_big(frame.bytes().len()) {
                        return disconnect(state, counters);
                    }
                }
            }
        }
        state.push(Queued {
            due,
            sort: Sort::Live,
            frame,
        })
    }

    /// Queues what the client missed, whatever the limit: as much as the histories of its topics hold, which is bounded.
    #[must_use]
    pub(super) fn bring(
        &self,
        frame: Frame,
        due: Option<Instant>,
        counters: &Counters,
    ) -> Option<Waker> {
        let mut state = self.state();
        if state.stopped || state.close.is_some() {
            drop(state);
            add(&counters.discarded, 1);
            return None;
        }
        state.push(Queued {
            due,
            sort: Sort::Missed,
            frame,
        })
    }

    /// A message for it joins the line; false: it takes nothing more.
    pub(super) fn enter_line(&self) -> bool {
        let mut state = self.state();
        if state.stopped || state.close.is_some() {
            return false;
        }
        if let Some(pressure) = &mut state.pressure {
            pressure.in_line += 1;
        }
        true
    }

    /// Queues the message whose turn in the line it is. The line has waited for room, which a reply may have taken since:
    /// nothing is dropped for that. A close that comes after the queue comes after this too.
    #[must_use]
    pub(super) fn leave_line(
        &self,
        frame: Frame,
        due: Option<Instant>,
        counters: &Counters,
    ) -> Option<Waker> {
        let mut state = self.state();
        if let Some(pressure) = &mut state.pressure {
            pressure.in_line = pressure.in_line.saturating_sub(1);
        }
        if state.stopped || state.close.is_some_and(|close| !close.after_queue) {
            drop(state);
            add(&counters.discarded, 1);
            return None;
        }
        state.push(Queued {
            due,
            sort: Sort::Live,
            frame,
        })
    }

    /// Queues an acknowledgement or an error.
    #[must_use]
    pub(super) fn reply(&self, frame: Frame, counters: &Counters) -> Option<Waker> {
        self.answer(frame, Sort::Reply, counters)
    }

    /// Queues an answer in the client's own words.
    #[must_use]
    pub(super) fn say(&self, frame: Frame, counters: &Counters) -> Option<Waker> {
        self.answer(frame, Sort::Own, counters)
    }

    fn answer(&self, frame: Frame, sort: Sort, counters: &Counters) -> Option<Waker> {
        let mut state = self.state();
        if state.stopped || state.close.is_some() {
            drop(state);
            add(&counters.discarded, 1);
            return None;
        }
        let too_many = if self.when_full.grows() {
            state.too_big(0)
        } else {
            state.counted() >= self.limit + REPLY_ROOM
        };
        if too_many {
            return disconnect(state, counters);
        }
        state.push(Queued {
            due: None,
            sort,
            frame,
        })
    }

    /// Asks the client's task to close; the first request counts.
    pub(super) fn close(&self, close: Close) {
        let (waker, waiting) = {
            let mut state = self.state();
            if state.stopped || state.close.is_some() {
                return;
            }
            state.close = Some(close);
            (state.waker.clone(), state.waiting())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        wake(waiting);
    }

    /// Whether one more message would find room, or would be thrown away anyhow; if not, whoever asks is woken
    /// when it would. `who`: one that asks again replaces its waker.
    pub(super) fn room(&self, who: u64, waker: &Waker) -> bool {
        let mut state = self.state();
        if !state.full(self.limit) {
            return true;
        }
        let Some(pressure) = &mut state.pressure else {
            return true;
        };
        let waiting = &mut pressure.waiting;
        match waiting.iter_mut().find(|(known, _)| *known == who) {
            Some((_, old)) => old.clone_from(waker),
            None => waiting.push((who, waker.clone())),
        }
        false
    }

    /// Whether the queue is full.
    pub(super) fn full(&self) -> bool {
        self.state().full(self.limit)
    }

    /// The next thing to do, given what time it is. After [`Next::Nothing`] the task is woken by the
    /// next message.
    pub(super) fn next(&self, now: impl FnOnce() -> Instant) -> Next {
        let mut state = self.state();
        if let Some(close) = state.close
            && (!close.after_queue || state.is_served())
        {
            return Next::Close(close);
        }
        match state.queue.front() {
            Some(Queued { due: Some(due), .. }) if *due > now() => return Next::Wait(*due),
            Some(_) => {}
            None => {
                state.hungry = true;
                // Of a million connections most have nothing to say most of the time.
                state.queue = VecDeque::new();
                return Next::Nothing;
            }
        }
        match state.take(0) {
            Some(queued) => {
                let waiting = if state.full(self.limit) {
                    Vec::new()
                } else {
                    state.waiting()
                };
                drop(state);
                wake(waiting);
                match queued.sort {
                    Sort::Own => Next::Say(queued.frame),
                    Sort::Live | Sort::Reply | Sort::Missed => Next::Write(queued.frame),
                }
            }
            None => Next::Nothing,
        }
    }

    /// A close that does not wait for the queue, if one is asked for.
    pub(super) fn closing_at_once(&self) -> Option<Close> {
        self.state().close.filter(|close| !close.after_queue)
    }

    /// Takes no more messages and forgets those queued. Returns how many were forgotten.
    pub(super) fn stop(&self) -> u64 {
        let mut state = self.state();
        state.stopped = true;
        let (forgotten, waiting) = (state.forget(), state.waiting());
        drop(state);
        wake(waiting);
        forgotten
    }

    /// Messages queued now.
    #[cfg(test)]
    pub(super) fn queued(&self) -> usize {
        self.state().queue.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Messages that take room in the queue.
    fn counted(&self) -> usize {
        self.queue.len() - self.missed as usize
    }

    /// Whether nothing is queued for it, here or in the line.
    fn is_served(&self) -> bool {
        let pressure = self.pressure.as_ref();
        self.queue.is_empty() && pressure.is_none_or(|pressure| pressure.in_line == 0)
    }

    /// Nobody is to wait for a client that takes nothing more.
    fn full(&self, limit: usize) -> bool {
        self.counted() >= limit && !self.stopped && self.close.is_none()
    }

    /// Whether so many bytes more are too many.
    fn too_big(&self, more: usize) -> bool {
        let pressure = self.pressure.as_ref();
        pressure.is_some_and(|pressure| pressure.bytes + more > pressure.limit)
    }

    /// Those who wait, who do so no longer.
    fn waiting(&mut self) -> Vec<(u64, Waker)> {
        let pressure = self.pressure.as_mut();
        pressure.map_or_else(Vec::new, |pressure| std::mem::take(&mut pressure.waiting))
    }

    /// Removes one message.
    fn take(&mut self, place: usize) -> Option<Queued> {
        let queued = self.queue.remove(place)?;
        if queued.sort == Sort::Missed {
            self.missed -= 1;
        } else if let Some(pressure) = &mut self.pressure {
            pressure.bytes -= queued.frame.bytes().len();
        }
        Some(queued)
    }

    /// Removes all. Returns how many there were.
    fn forget(&mut self) -> u64 {
        if let Some(pressure) = &mut self.pressure {
            pressure.bytes = 0;
        }
        self.missed = 0;
        std::mem::take(&mut self.queue).len() as u64
    }

    fn push(&mut self, queued: Queued) -> Option<Waker> {
        if queued.sort == Sort::Missed {
            self.missed += 1;
        } else if let Some(pressure) = &mut self.pressure {
            pressure.bytes += queued.frame.bytes().len();
        }
        self.queue.push_back(queued);
        if std::mem::take(&mut self.hungry) {
            self.waker.clone()
        } else {
            None
        }
    }
}

/// The queue is full and that ends the connection: what did not fit is dropped, the rest discarded.
fn disconnect(mut state: MutexGuard<'_, State>, counters: &Counters) -> Option<Waker> {
    state.close = Some(Close::now(1013, "client too slow"));
    let (forgotten, waiting) = (state.forget(), state.waiting());
    let waker = state.waker.clone();
    drop(state);
    wake(waiting);
    add(&counters.dropped_full, 1);
    add(&counters.discarded, forgotten);
    add(&counters.disconnected_full, 1);
    waker
}

fn wake(waiting: Vec<(u64, Waker)>) {
    for (_, waker) in waiting {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn client(limit: usize, when_full: WhenFull) -> (Client, Counters, Arc<Bell>) {
        let config = Config {
            queue: limit,
            when_full,
            buffer_limit: 64,
            ..Config::default()
        };
        let client = Client::new(1, 0, &config);
        let bell = Arc::new(Bell::default());
        client.attend(Waker::from(Arc::clone(&bell)));
        (client, Counters::default(), bell)
    }

    fn offer(client: &Client, counters: &Counters, text: &str) {
        if let Some(waker) = client.offer(Frame::text(text.to_owned()), None, counters) {
            waker.wake();
        }
    }

    fn take_all(client: &Client) -> Vec<String> {
        let mut all = Vec::new();
        while let Next::Write(frame) = client.next(Instant::now) {
            all.push(String::from_utf8(frame.bytes()[2..].to_vec()).unwrap());
        }
        all
    }

    #[test]
    fn each_policy_keeps_what_it_says() {
        for (policy, kept) in [
            (WhenFull::DropNewest, vec!["0", "1", "2"]),
            (WhenFull::DropOldest, vec!["2", "3", "4"]),
        ] {
            let (client, counters, _) = client(3, policy);
            for n in 0..5 {
                offer(&client, &counters, &n.to_string());
                assert!(client.queued() <= 3);
            }
            assert_eq!(take_all(&client), kept);
            assert_eq!(counters.stats(0, false).dropped_full, 2);
        }
    }

    #[test]
    fn a_buffer_grows_to_its_bytes_and_not_beyond() {
        for policy in [WhenFull::Buffer, WhenFull::Block] {
            let (client, counters, _) = client(3, policy);
            // Frames of 16 bytes, of which four are 64.
            for n in 10..14 {
                offer(&client, &counters, &format!("{n}").repeat(7));
            }
            assert_eq!(client.queued(), 4, "{policy:?}");
            assert_eq!(take_all(&client).len(), 4);
            for n in 10..15 {
                offer(&client, &counters, &format!("{n}").repeat(7));
            }
            let next = client.next(Instant::now);
            assert!(
                matches!(next, Next::Close(Close { code: 1013, .. })),
                "{next:?}"
            );
            let stats = counters.stats(0, false);
            assert_eq!((stats.dropped_full, stats.discarded), (1, 4));
        }
    }

    #[test]
    fn whoever_waits_for_room_is_woken_by_it_or_by_the_end() {
        type Relief = fn(&Client);
        let table: [Relief; 3] = [
            |client| _ = client.next(Instant::now),
            |client| _ = client.stop(),
            |client| client.close(Close::after_queue(1001, "")),
        ];
        for relief in table {
            let (client, counters, _) = client(2, WhenFull::Block);
            let other = Arc::new(Bell::default());
            let waker = Waker::from(Arc::clone(&other));
            assert!(client.room(7, &waker));
            offer(&client, &counters, "a");
            offer(&client, &counters, "b");
            assert!(!client.room(7, &waker));
            assert!(!client.room(7, &waker), "asking twice is waiting once");
            assert_eq!(other.0.load(Ordering::Relaxed), 0);
            relief(&client);
            assert_eq!(other.0.load(Ordering::Relaxed), 1);
            assert!(client.room(7, &waker));
        }
    }

    #[test]
    fn what_was_missed_is_dropped_by_no_policy_and_takes_nobodys_room() {
        for policy in [
            WhenFull::DropNewest,
            WhenFull::DropOldest,
            WhenFull::Disconnect,
            WhenFull::Buffer,
            WhenFull::Block,
        ] {
            let (client, counters, _) = client(3, policy);
            let many = 3 + REPLY_ROOM + 10;
            for n in 0..many {
                let _ = client.bring(Frame::text(format!("missed {n}")), None, &counters);
            }
            let _ = client.reply(Frame::text("ack".to_owned()), &counters);
            for n in 0..2 {
                offer(&client, &counters, &n.to_string());
            }
            let all = take_all(&client);
            assert_eq!(all.len(), many + 3, "{policy:?}");
            assert_eq!(all[many..], ["ack", "0", "1"]);
            // The books are even: there is as much room as at first.
            for n in 0..3 {
                offer(&client, &counters, &n.to_string());
            }
            assert_eq!(take_all(&client), ["0", "1", "2"]);
            let stats = counters.stats(0, false);
            assert_eq!((stats.dropped_full, stats.discarded), (0, 0), "{policy:?}");
        }
    }

    #[test]
    fn a_polite_close_waits_for_the_line_and_a_reply_takes_nothing_from_it() {
        let mut config = Config {
            when_full: WhenFull::Disconnect,
            ..Config::default()
        };
        config.misbehave.head_of_line = true;
        let client = Client::new(1, 0, &config);
        let bell = Arc::new(Bell::default());
        client.attend(Waker::from(Arc::clone(&bell)));
        let counters = Counters::default();
        let leave = |text: &str| {
            if let Some(waker) = client.leave_line(Frame::text(text.to_owned()), None, &counters) {
                waker.wake();
            }
        };
        for _ in 0..3 {
            assert!(client.enter_line());
        }
        // There was room, and then a reply took it.
        assert!(client.room(0, Waker::noop()));
        let _ = client.reply(Frame::text("ack".to_owned()), &counters);
        leave("1");
        assert_eq!(take_all(&client), ["ack", "1"]);
        client.close(Close::after_queue(1001, ""));
        assert!(!client.enter_line(), "what comes later is not for it");
        assert!(matches!(client.next(Instant::now), Next::Nothing));
        let rung = bell.0.load(Ordering::Relaxed);
        leave("2");
        assert_eq!(bell.0.load(Ordering::Relaxed), rung + 1);
        leave("3");
        assert_eq!(take_all(&client), ["2", "3"]);
        assert!(matches!(
            client.next(Instant::now),
            Next::Close(Close { code: 1001, .. })
        ));
        let stats = counters.stats(0, false);
        let lost = (stats.dropped_full, stats.discarded, stats.disconnected_full);
        assert_eq!(lost, (0, 0, 0));
    }

    #[test]
    fn drop_oldest_spares_acknowledgements() {
        let (client, counters, _) = client(2, WhenFull::DropOldest);
        let _ = client.reply(Frame::text("ack".to_owned()), &counters);
        offer(&client, &counters, "0");
        offer(&client, &counters, "1");
        assert_eq!(take_all(&client), ["ack", "1"]);
    }

    #[test]
    fn disconnect_forgets_the_queue_and_wakes_a_task_that_is_not_hungry() {
        let (client, counters, bell) = client(2, WhenFull::Disconnect);
        for n in 0..5 {
            offer(&client, &counters, &n.to_string());
        }
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(matches!(
            client.next(Instant::now),
            Next::Close(Close { code: 1013, .. })
        ));
        let stats = counters.stats(0, false);
        // The third did not fit, two were queued, the last two came too late.
        assert_eq!(
            (stats.disconnected_full, stats.dropped_full, stats.discarded),
            (1, 1, 4)
        );
    }

    #[test]
    fn wakes_once_per_sleep() {
        let (client, counters, bell) = client(10, WhenFull::DropNewest);
        assert!(take_all(&client).is_empty());
        offer(&client, &counters, "a");
        offer(&client, &counters, "b");
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert_eq!(take_all(&client), ["a", "b"]);
        offer(&client, &counters, "c");
        assert_eq!(bell.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_message_is_held_until_due_and_so_is_what_follows() {
        let (client, counters, _) = client(10, WhenFull::DropNewest);
        let due = Instant::now() + std::time::Duration::from_secs(60);
        let _ = client.offer(Frame::text("late".to_owned()), Some(due), &counters);
        offer(&client, &counters, "behind");
        assert!(matches!(client.next(Instant::now), Next::Wait(at) if at == due));
        assert!(matches!(client.next(|| due), Next::Write(_)));
        assert_eq!(take_all(&client), ["behind"]);
    }

    #[test]
    fn a_polite_close_comes_after_the_queue_and_takes_nothing_more() {
        let (client, counters, bell) = client(10, WhenFull::DropNewest);
        offer(&client, &counters, "a");
        client.close(Close::after_queue(1001, ""));
        client.close(Close::now(1011, ""));
        offer(&client, &counters, "too late");
        assert_eq!(bell.0.load(Ordering::Relaxed), 1);
        assert!(matches!(client.next(Instant::now), Next::Write(_)));
        assert!(matches!(
            client.next(Instant::now),
            Next::Close(Close { code: 1001, .. })
        ));
        assert_eq!(counters.stats(0, false).discarded, 1);
    }

    #[test]
    fn answers_to_a_client_that_does_not_read_are_bounded() {
        let (client, counters, _) = client(4, WhenFull::DropNewest);
        for _ in 0..4 + REPLY_ROOM {
            let _ = client.reply(Frame::text("ack".to_owned()), &counters);
        }
        assert_eq!(client.queued(), 4 + REPLY_ROOM);
        let _ = client.reply(Frame::text("ack".to_owned()), &counters);
        assert_eq!(client.queued(), 0);
        assert!(matches!(
            client.next(Instant::now),
            Next::Close(Close { code: 1013, .. })
        ));
    }
}
