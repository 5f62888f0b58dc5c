//! One WebSocket connection, from after the upgrade to its end: a state machine that is polled.
//!
//! One task does both directions, so nothing is shared but the queue. A write that would block
//! parks writing only; each poll does a bounded amount of work and then lets others run.

mod asks;
mod auth;
mod output;
mod times;

use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::{
    CloseFrame, Role, WebSocketConfig, WebSocketContext,
};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::PongLie;
use super::bench::Bench;
use super::client::{Client, Close};
use super::deflate::{Agreed, Press};
use super::hub::Hub;
use super::limits::Bucket;
use super::socket::{Polled, Socket};
use super::stats::add;
use super::tongue::{Tongue, told};
use super::topic::Topic;
use crate::protocol::Rhythm;
use times::{Timer, Times};

/// Messages read in one poll, at most.
const READS: usize = 32;
/// Deliveries made in one poll, about at most, as one message may have thousands of subscribers.
const DELIVERIES: usize = 4096;
/// Room that tungstenite makes ahead for reading: none. It would be kept for as long as the connection
/// lives; without, it takes what the bench holds in small steps, which costs about a nanosecond a byte.
const READ_BUFFER: usize = 0;
/// Bytes gathered before they are written.
const WRITE_BUFFER: usize = 8 * 1024;
/// For the last bytes of a connection that is over: TLS's goodbye and the FIN.
const GOODBYE: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
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
    /// Both sides have said goodbye; what is left to write is written.
    Over,
    /// The WebSocket is over; the connection underneath says goodbye.
    Gone,
}

/// A connection and everything that belongs to it alone. There may be a million of them: what is not
/// needed while a plain client waits is boxed, or on the [`Bench`].
pub(super) struct Connection<S> {
    socket: S,
    websocket: WebSocketContext,
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscriptions: Vec<Arc<Topic>>,
    /// Bytes read and not looked at yet: a poll does a bounded amount of work.
    leftover: Box<[u8]>,
    /// Bytes that the socket did not take yet.
    unsent: Vec<u8>,
    timer: Timer,
    rare: Option<Box<Rare>>,
    phase: Phase,
    attended: bool,
    /// The socket took less than it was given.
    blocked: bool,
    heard: bool,
    /// What the client still says is ignored.
    deaf: bool,
}

/// What few connections have.
#[derive(Default)]
struct Rare {
    /// With a rate limit.
    bucket: Option<Bucket>,
    /// With `block`: full queues that this one published into. Nothing more is read until all have room.
    behind: Vec<Arc<Client>>,
    /// What is spoken if it is not JSON, and where that conversation stands.
    tongue: Option<Box<Tongue>>,
    /// Its first message has to show a token.
    awaited: bool,
    /// Where that was agreed on, makes messages smaller and large again.
    press: Option<Press>,
}

impl<S: Socket> Connection<S> {
    /// A connection right after its 101. `tongue`: what is spoken instead of JSON.
    pub(super) fn new(
        socket: S,
        tongue: Option<Box<Tongue>>,
        hub: Arc<Hub>,
        client: Arc<Client>,
    ) -> Self {
        let config = &hub.config;
        let limits = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(config.max_message))
            .max_frame_size(Some(config.max_message));
        let now = Instant::now();
        let rhythm = tongue.as_ref().map(|tongue| tongue.rhythm(config));
        let mut times = Times {
            ping: config
                .ping
                .as_ref()
                .map(|ping| now + times::phase(ping, client.id)),
            close: config.misbehave.close_after.map(|after| now + after),
            ..Times::default()
        };
        times.heard(rhythm.unwrap_or_default(), now);
        let rare = (config.rate_limit.is_some() || tongue.is_some()).then(|| {
            Box::new(Rare {
                bucket: config.rate_limit.map(|rate| Bucket::new(rate, now)),
                tongue,
                ..Rare::default()
            })
        });
        Connection {
            websocket: WebSocketContext::new(Role::Server, Some(limits)),
            phase: Phase::Open,
            attended: false,
            blocked: false,
            heard: false,
            deaf: false,
            rare,
            subscriptions: Vec::new(),
            leftover: Box::default(),
            unsent: Vec::new(),
            timer: Timer::new(times),
            socket,
            hub,
            client,
        }
    }

    /// What was agreed on about compression, and the bytes that came after the request.
    pub(super) fn begins_with(&mut self, part: Vec<u8>, compression: Option<Agreed>) {
        let Some(agreed) = compression else {
            self.leftover = part.into();
            return;
        };
        let mut press = Press::new(agreed, self.hub.config.max_message);
        let mut plain = Vec::new();
        press.plain(&part, &mut plain);
        self.leftover = plain.into();
        self.rare.get_or_insert_default().press = Some(press);
    }

    /// The socket, for its beginning and its end.
    pub(super) fn socket(&mut self) -> &mut S {
        &mut self.socket
    }

    fn tongue(&mut self) -> Option<&mut Tongue> {
        self.rare.as_mut()?.tongue.as_deref_mut()
    }

    /// What was agreed on about being silent, where what is spoken has such a thing.
    fn rhythm(&self) -> Option<Rhythm> {
        let tongue = self.rare.as_ref()?.tongue.as_ref()?;
        Some(tongue.rhythm(&self.hub.config))
    }

    /// The client as others see it.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// One poll of the whole connection, from its 101 to its last byte. Once ready it is to be dropped.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.phase != Phase::Gone {
            match self.turn(context) {
                Ok(()) => return Poll::Pending,
                Err(End::Reset) => {
                    self.socket.reset_on_drop();
                    return Poll::Ready(());
                }
                Err(End::Done) => {
                    self.phase = Phase::Gone;
                    self.timer.only_end(Instant::now() + GOODBYE);
                }
            }
        }
        // Whether the other side still listens is its own affair.
        let end = self.timer.times().end;
        if end.is_none_or(|end| end <= Instant::now())
            || Pin::new(&mut self.socket).poll_shutdown(context).is_ready()
        {
            return Poll::Ready(());
        }
        self.timer.arm(context);
        Poll::Pending
    }

    /// One turn. `Ok`: not over, and the task will be woken.
    fn turn(&mut self, context: &mut Context<'_>) -> Result<(), End> {
        if !self.attended {
            self.attended = true;
            self.client.attend(context.waker().clone());
        }
        if let Some(until) = self.hub.stalled() {
            self.timer.sleep(context, until);
            return Ok(());
        }
        let more = Bench::with(|bench| {
            let more = self.work(context, bench);
            if !bench.unread.is_empty() {
                self.leftover = bench.leftover();
            }
            // Others are owed this even when the connection has come to its end.
            for waker in bench.wakers.drain(..) {
                waker.wake();
            }
            let counters = &self.hub.counters;
            add(&counters.messages_in, bench.messages_in);
            add(&counters.messages_out, bench.messages_out);
            more
        });
        if more? {
            context.waker().wake_by_ref();
        } else {
            self.timer.arm(context);
        }
        Ok(())
    }

    /// Reads, watches the clock and writes, a bounded amount. True when there is more to do at once.
    fn work(&mut self, context: &mut Context<'_>, bench: &mut Bench) -> Result<bool, End> {
        let unread = self.read(context, bench)?;
        self.watch_the_clock(context, bench)?;
        let unwritten = self.write(context, bench)?;
        Ok(unread || unwritten)
    }

    /// Reads what is there. True when there may be more.
    fn read(&mut self, context: &mut Context<'_>, bench: &mut Bench) -> Result<bool, End> {
        match self.phase {
            Phase::Broken { .. } => return self.throw_away(context, bench),
            Phase::Over | Phase::Gone => return Ok(false),
            Phase::Open | Phase::Closing | Phase::Left => {}
        }
        // The last message lives on over the next read, so that tungstenite cannot use its memory
        // again: it would keep room for the largest message that a client ever sent.
        let mut _last = None;
        for _ in 0..READS {
            // What is published has to go somewhere before more is taken in.
            if let Some(bus) = &self.hub.bus
                && !bus.room(self.client.id, context.waker())
            {
                return Ok(false);
            }
            if !self.may_read(context) {
                return Ok(false);
            }
            let (websocket, mut io) = self.parts(context, bench);
            match websocket.read(&mut io) {
                Ok(message) => {
                    self.take(&message, context, bench)?;
                    _last = Some(message);
                }
                Err(Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Ok(false);
                }
                Err(Error::ConnectionClosed) => {
                    self.phase = Phase::Over;
                    return Ok(false);
                }
                Err(error) => return self.broken(error, context, bench),
            }
            if bench.delivered >= DELIVERIES {
                break;
            }
        }
        Ok(true)
    }

    /// Whether it is not read because of others' full queues.
    fn waits(&self) -> bool {
        self.rare
            .as_ref()
            .is_some_and(|rare| !rare.behind.is_empty())
    }

    /// Whether all have room that this one published too much for; if not, it is woken when one has.
    fn may_read(&mut self, context: &Context<'_>) -> bool {
        let Some(rare) = &mut self.rare else {
            return true;
        };
        while let Some(slow) = rare.behind.last() {
            if !slow.room(self.client.id, context.waker()) {
                return false;
            }
            rare.behind.pop();
        }
        true
    }

    /// Reading failed: the connection is over, or the client is told why it will be.
    fn broken(
        &mut self,
        error: Error,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<bool, End> {
        let (code, reason) = match error {
            Error::Capacity(_) => (1009, "message too big"),
            Error::Utf8(_) => (1007, "text is not UTF-8"),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => return Err(End::Done),
            Error::Protocol(_) => (1002, "protocol error"),
            _ => return Err(End::Done),
        };
        if self.phase == Phase::Open {
            self.close(Close::now(code, reason), context, bench)?;
        }
        self.phase = Phase::Broken { shut: false };
        // There may be more to throw away.
        Ok(true)
    }

    fn throw_away(&mut self, context: &mut Context<'_>, bench: &mut Bench) -> Result<bool, End> {
        self.leftover = Box::default();
        for _ in 0..READS {
            let mut buffer = ReadBuf::new(&mut bench.input);
            match Pin::new(&mut self.socket).poll_read(context, &mut buffer) {
                Poll::Pending => return Ok(false),
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Err(End::Done),
            }
        }
        Ok(true)
    }

    /// Acts on one message.
    fn take(
        &mut self,
        message: &Message,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<(), End> {
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
                    return self.put(Message::Pong(wrong.into()), context, bench);
                }
                Ok(())
            }
            Message::Pong(_) | Message::Frame(_) => Ok(()),
            Message::Close(_) => {
                if self.phase == Phase::Open {
                    self.phase = Phase::Left;
                    self.timer
                        .only_end(Instant::now() + self.hub.config.close_timeout);
                    add(&self.hub.counters.discarded, self.client.stop());
                }
                Ok(())
            }
            Message::Text(_) | Message::Binary(_) => {
                self.take_data(message, bench);
                Ok(())
            }
        }
    }

    /// Does what has become due.
    fn watch_the_clock(&mut self, context: &mut Context<'_>, bench: &mut Bench) -> Result<(), End> {
        // Of one that is not read nothing can be heard.
        let heard = std::mem::take(&mut self.heard) || self.waits();
        if heard
            && self.phase == Phase::Open
            && !self.deaf
            && let Some(rhythm) = self.rhythm()
        {
            self.timer.times().heard(rhythm, Instant::now());
        }
        let Some(times) = self.timer.set() else {
            return Ok(());
        };
        if heard {
            times.dead = None;
        }
        times.message = None;
        let now = Instant::now();
        if times.next().is_none_or(|next| now < next) {
            return Ok(());
        }
        let due = |time: Option<Instant>| time.is_some_and(|time| time <= now);
        if due(times.end) {
            return Err(End::Reset);
        }
        if due(times.close) {
            let code = self.hub.config.misbehave.close_code.unwrap_or(1011);
            return self.close(Close::now(code, "closed on purpose"), context, bench);
        }
        if due(times.expired) {
            return self.close(self.hub.config.expired(), context, bench);
        }
        if due(times.dead) {
            return self.close(Close::now(1011, "ping timeout"), context, bench);
        }
        if due(times.silent) {
            self.in_own_words(bench, Tongue::silent);
            return self.close(Close::now(1011, "heart-beat missed"), context, bench);
        }
        if due(times.beat) {
            // Not `+= every`: after a stall one is enough.
            let every = self.rhythm().and_then(|rhythm| rhythm.send);
            self.timer.times().beat = every.map(|every| now + every);
            if self.hub.config.misbehave.pong != Some(PongLie::None) {
                self.in_own_words(bench, Tongue::beat);
            }
        }
        let Some(times) = self.timer.set() else {
            return Ok(());
        };
        if due(times.ask) {
            times.ask = None;
            self.ask_for_a_token();
        }
        let Some(times) = self.timer.set() else {
            return Ok(());
        };
        if due(times.ping)
            && let Some(ping) = &self.hub.config.ping
        {
            // Not `+= every`: after a stall one ping is enough.
            times.ping = Some(now + ping.every);
            times.dead.get_or_insert(now + ping.timeout);
            self.put(Message::Ping(Vec::new().into()), context, bench)?;
        }
        Ok(())
    }

    /// The WebSocket layer and the socket that it works on within this poll.
    fn parts<'a, 'b>(
        &'a mut self,
        context: &'a mut Context<'b>,
        bench: &'a mut Bench,
    ) -> (&'a mut WebSocketContext, Polled<'a, 'b, S>) {
        let config = &self.hub.config;
        // A client may have one answer to many pings; one that reads nothing must not make us hoard them.
        let full = self.unsent.len() >= WRITE_BUFFER + config.max_message;
        let io = Polled {
            socket: &mut self.socket,
            context,
            bench,
            leftover: &mut self.leftover,
            press: self.rare.as_mut().and_then(|rare| rare.press.as_mut()),
            heard: &mut self.heard,
            mute_pongs: full || config.misbehave.pong == Some(PongLie::None),
        };
        (&mut self.websocket, io)
    }

    /// Begins to close: no message is taken or written any more.
    fn close(
        &mut self,
        close: Close,
        context: &mut Context<'_>,
        bench: &mut Bench,
    ) -> Result<(), End> {
        add(&self.hub.counters.discarded, self.client.stop());
        self.hub.counters.closed(close.code);
        if close.code == 1006 {
            return Err(End::Reset);
        }
        self.timer
            .only_end(Instant::now() + self.hub.config.close_timeout);
        self.phase = Phase::Closing;
        self.deaf |= !close.after_queue;
        let frame = (close.code != 1005).then(|| CloseFrame {
            code: close.code.into(),
            reason: close.reason.into(),
        });
        self.put(Message::Close(frame), context, bench)
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        for topic in &self.subscriptions {
            topic.unsubscribe(&self.client, None, &self.hub);
        }
        self.hub.dismiss(&self.client);
        let tongue = self.rare.as_mut().and_then(|rare| rare.tongue.as_mut());
        if let Some((topic, will)) = tongue.and_then(|tongue| tongue.last_will()) {
            self.publish_will(&topic, &will);
        }
    }
}

impl<S> Connection<S> {
    /// What the client left to be published. Nobody is told when there are too many topics.
    fn publish_will(&self, topic: &str, will: &[u8]) {
        let (mut room, mut wakers) = (Vec::new(), Vec::new());
        if let Ok(topic) = self.hub.topic(topic) {
            let payload = told::payload(will, &mut room);
            topic.publish(payload, None, &self.hub, &mut wakers);
        }
        for waker in wakers {
            waker.wake();
        }
    }
}
