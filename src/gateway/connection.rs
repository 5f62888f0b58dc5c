//! One WebSocket connection, from after the upgrade to its end: a state machine that is polled.
//!
//! One task does both directions, so nothing is shared but the queue. A write that would block
//! parks writing only; each poll does a bounded amount of work and then lets others run.

mod asks;

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::client::{Client, Close, Next};
use super::hub::{Hub, Topic};
use super::limits::Bucket;
use super::socket::{Polled, PongFilter, Socket};
use super::stats::add;
use super::{Ping, PongLie};

/// Messages read in one poll, at most.
const READS: usize = 32;
/// Deliveries made in one poll, about at most, as one message may have thousands of subscribers.
const DELIVERIES: usize = 4096;
/// Messages written in one poll, at most.
const WRITES: usize = 64;
/// Bytes of a connection's read buffer. tungstenite's own 128 KiB would be 256 MiB for 2,000 clients.
const READ_BUFFER: usize = 2 * 1024;
/// Bytes gathered before they are written without a flush.
const WRITE_BUFFER: usize = 8 * 1024;
/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// What had to be said has been said, or there is nobody to say it to.
    Done,
    /// The TCP connection shall be reset.
    Reset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our Close frame is on its way; the client's is awaited.
    Closing,
    /// The client's Close frame has come; ours is on its way.
    Left,
    /// The client broke the protocol, so nothing can be read any more: our Close frame is on its way,
    /// then our end is shut and the rest thrown away, lest a reset overtake the Close frame.
    Broken {
        shut: bool,
    },
}

/// A connection and everything that belongs to it alone.
pub(super) struct Connection<S> {
    socket: S,
    websocket: WebSocketContext,
    hub: Arc<Hub>,
    client: Arc<Client>,
    phase: Phase,
    attended: bool,
    /// The socket took less than it was given.
    blocked: bool,
    heard: bool,
    /// What the client still says is ignored.
    deaf: bool,
    pong_filter: Option<PongFilter>,
    bucket: Option<Bucket>,
    subscriptions: Vec<Arc<Topic>>,
    wakers: Vec<Waker>,
    delivered: usize,
    messages_in: u64,
    messages_out: u64,
    times: Times,
    timer: Option<Pin<Box<Sleep>>>,
}

/// When something has to happen without anybody's doing.
#[derive(Debug, Default)]
struct Times {
    /// The next ping of ours.
    ping: Option<Instant>,
    /// The client is dead if nothing is heard before.
    dead: Option<Instant>,
    /// `close_after`.
    close: Option<Instant>,
    /// The close handshake has taken too long.
    end: Option<Instant>,
    /// The first message of the queue is due.
    message: Option<Instant>,
}

impl Times {
    fn next(&self) -> Option<Instant> {
        [self.ping, self.dead, self.close, self.end, self.message]
            .into_iter()
            .flatten()
            .min()
    }
}

impl<S: Socket> Connection<S> {
    /// A connection right after its 101. `part`: bytes that came after the request.
    pub(super) fn new(socket: S, part: Vec<u8>, hub: Arc<Hub>, client: Arc<Client>) -> Self {
        let config = &hub.config;
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(config.max_message))
            .max_frame_size(Some(config.max_message));
        let now = Instant::now();
        let times = Times {
            ping: config
                .ping
                .as_ref()
                .map(|ping| now + phase(ping, client.id)),
            close: config.misbehave.close_after.map(|after| now + after),
            ..Times::default()
        };
        Connection {
            websocket: WebSocketContext::from_partially_read(part, Role::Server, Some(limits)),
            phase: Phase::Open,
            attended: false,
            blocked: false,
            heard: false,
            deaf: false,
            pong_filter: (config.misbehave.pong == Some(PongLie::None)).then(PongFilter::default),
            bucket: config.rate_limit.map(|rate| Bucket::new(rate, now)),
            subscriptions: Vec::new(),
            wakers: Vec::new(),
            delivered: 0,
            messages_in: 0,
            messages_out: 0,
            times,
            timer: None,
            socket,
            hub,
            client,
        }
    }

    /// Serves the connection to its end; the socket then is to be dropped.
    pub(super) async fn run(&mut self) -> End {
        std::future::poll_fn(|context| match self.turn(context) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        })
        .await
    }

    /// The socket, for its end.
    pub(super) fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    /// One poll. `Ok`: not over, and the task will be woken.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if !self.attended {
            self.attended = true;
            self.client.attend(context.waker().clone());
        }
        if let Some(until) = self.hub.stalled() {
            self.sleep(context, until);
            return Ok(());
        }
        self.delivered = 0;
        let more = self.work(context);
        // Others are owed this even when the connection has come to its end.
        for waker in self.wakers.drain(..) {
            waker.wake();
        }
        add(
            &self.hub.counters.messages_in,
            std::mem::take(&mut self.messages_in),
        );
        add(
            &self.hub.counters.messages_out,
            std::mem::take(&mut self.messages_out),
        );
        if more? {
            context.waker().wake_by_ref();
        } else if let Some(next) = self.times.next() {
            self.sleep(context, next);
        }
        Ok(())
    }

    /// Reads, watches the clock and writes, a bounded amount. True when there is more to do at once.
    fn work(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let unread = self.read(context)?;
        self.watch_the_clock(context)?;
        let unwritten = self.write(context)?;
        Ok(unread || unwritten)
    }

    fn sleep(&mut self, context: &mut Context<'_>, until: Instant) {
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        if timer.as_mut().poll(context).is_ready() {
            context.waker().wake_by_ref();
        }
    }

    /// Reads what is there. True when there may be more.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if let Phase::Broken { .. } = self.phase {
            return self.throw_away(context);
        }
        for _ in 0..READS {
            let (websocket, mut io) = self.parts(context);
            match websocket.read(&mut io) {
                Ok(message) => self.take(message, context)?,
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(false);
                }
                Err(error) => return self.broken(error, context),
            }
            if self.delivered >= DELIVERIES {
                break;
            }
        }
        Ok(true)
    }

    /// Reading failed: the connection is over, or the client is told why it will be.
    fn broken(&mut self, error: Error, context: &mut Context<'_>) -> Result<bool, End> {
        let (code, reason) = match error {
            Error::Capacity(_) => (1009, "message too big"),
            Error::Utf8(_) => (1007, "text is not UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Err(End::Done),
            Error::Protocol(_) => (1002, "protocol error"),
            _ => return Err(End::Done),
        };
        if self.phase == Phase::Open {
            self.close(Close::now(code, reason), context)?;
        }
        self.phase = Phase::Broken { shut: false };
        // There may be more to throw away.
        Ok(true)
    }

    fn throw_away(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        let mut waste = [0; 4096];
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut waste);
            match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Err(End::Done),
            }
        }
        Ok(true)
    }

    /// Acts on one message.
    fn take(&mut self, message: Message, context: &mut Context<'_>) -> Result<(), End> {
        match message {
            Message::Ping(payload) => {
                add(&self.hub.counters.pings_in, 1);
                if self.hub.config.misbehave.pong == Some(PongLie::Wrong)
                    && self.phase == Phase::Open
                {
                    // Replaces the automatic pong, as tungstenite documents.
                    let mut wrong = payload.to_vec();
                    match wrong.first_mut() {
                        Some(first) => *first ^= 0xff,
                        None => wrong.push(0xff),
                    }
                    return self.put(Message::Pong(wrong.into()), context);
                }
                Ok(())
            }
            Message::Pong(_) | Message::Frame(_) => Ok(()),
            Message::Close(_) => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Left;
                    self.times = Times {
                        end: Some(Instant::now() + self.hub.config.close_timeout),
                        ..Times::default()
                    };
                    add(&self.hub.counters.discarded, self.client.stop());
                }
                Ok(())
            }
            Message::Text(_) | Message::Binary(_) => {
                self.take_data(message);
                Ok(())
            }
        }
    }

    /// Does what has become due.
    fn watch_the_clock(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if std::mem::take(&mut self.heard) {
            self.times.dead = None;
        }
        self.times.message = None;
        let Some(next) = self.times.next() else {
            return Ok(());
        };
        let now = Instant::now();
        if now < next {
            return Ok(());
        }
        let due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if due(self.times.end) {
            return Err(End::Reset);
        }
        if due(self.times.close) {
            let code = self.hub.config.misbehave.close_code.unwrap_or(1011);
            return self.close(Close::now(code, "closed on purpose"), context);
        }
        if due(self.times.dead) {
            return self.close(Close::now(1011, "ping timeout"), context);
        }
        if due(self.times.ping)
            && let Some(ping) = &self.hub.config.ping
        {
            // Not `+= every`: after a stall one ping is enough.
            self.times.ping = Some(now + ping.every);
            self.times.dead.get_or_insert(now + ping.timeout);
            self.put(Message::Ping(Vec::new().into()), context)?;
        }
        Ok(())
    }

    /// Writes what is queued. True when there is more and the socket would take it.
    fn write(&mut self, context: &mut Context<'_>) -> Result<bool, End> {
        if self.blocked {
            self.flush(context)?;
        }
        let mut written = 0;
        let mut more = false;
        while self.phase == Phase::Open && !self.blocked && !more {
            match self.client.next(Instant::now) {
                Next::Write(message) => {
                    written += 1;
                    self.messages_out += 1;
                    more = written >= WRITES;
                    self.put(message, context)?;
                }
                Next::Wait(until) => {
                    self.times.message = Some(until);
                    break;
                }
                Next::Close(close) => self.close(close, context)?,
                Next::Nothing => break,
            }
        }
        // Closing must not wait for a slow reader to read what it will never get.
        if self.blocked
            && self.phase == Phase::Open
            && let Some(close) = self.client.closing_at_once()
        {
            self.close(close, context)?;
        }
        self.flush(context)?;
        if self.phase == (Phase::Broken { shut: false }) && !self.blocked {
            self.phase = Phase::Broken { shut: true };
        }
        if self.phase == (Phase::Broken { shut: true })
            && let Poll::Ready(Err(_)) = Pin::new(&mut self.socket).poll_shutdown(context)
        {
            return Err(End::Done);
        }
        Ok(more)
    }

    /// The WebSocket layer and the socket that it works on within this poll.
    fn parts<'a, 'b>(
        &'a mut self,
        context: &'a mut Context<'b>,
    ) -> (&'a mut WebSocketContext, Polled<'a, 'b, S>) {
        let io = Polled {
            socket: &mut self.socket,
            context,
            heard: &mut self.heard,
            mute_pongs: self.pong_filter.as_mut(),
        };
        (&mut self.websocket, io)
    }

    /// Hands a message to the WebSocket layer, which takes it even when the socket would block.
    fn put(&mut self, message: Message, context: &mut Context<'_>) -> Result<(), End> {
        let (websocket, mut io) = self.parts(context);
        let result = websocket.write(&mut io, message);
        self.settle(result)
    }

    fn flush(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        let (websocket, mut io) = self.parts(context);
        let result = websocket.flush(&mut io);
        self.settle(result)
    }

    fn settle(&mut self, result: Result<(), Error>) -> Result<(), End> {
        match result {
            Ok(()) => self.blocked = false,
            Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
            }
            Err(_) => return Err(End::Done),
        }
        Ok(())
    }

    /// Begins to close: no message is taken or written any more.
    fn close(&mut self, close: Close, context: &mut Context<'_>) -> Result<(), End> {
        add(&self.hub.counters.discarded, self.client.stop());
        self.hub.counters.closed(close.code);
        self.times = Times::default();
        if close.code == 1006 {
            return Err(End::Reset);
        }
        self.times.end = Some(Instant::now() + self.hub.config.close_timeout);
        self.phase = Phase::Closing;
        self.deaf |= !close.after_queue;
        let frame = (close.code != 1005).then(|| CloseFrame {
            code: close.code.into(),
            reason: close.reason.into(),
        });
        self.put(Message::Close(frame), context)
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        for topic in &self.subscriptions {
            topic.unsubscribe(&self.client, &self.hub.counters);
        }
        self.hub.dismiss(&self.client);
    }
}

/// Each connection's first ping comes at its own place within the interval: the golden ratio's
/// multiples modulo 1 spread evenly whatever their number.
fn phase(ping: &Ping, id: u64) -> Duration {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let place = (id.wrapping_mul(GOLDEN) >> 11) as f64 / (1u64 << 53) as f64;
    ping.every.mul_f64(place)
}
