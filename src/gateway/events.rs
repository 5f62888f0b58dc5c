//! Clients that come by HTTP instead: an event stream for whoever subscribes, posts from whoever publishes.
//!
//! To the hub they are clients like any other. An event's data is the same JSON that a WebSocket is told; its id is the
//! topic's number of it, with the epoch before it where there is one, on streams of one topic. A stream is answered once all
//! its subscriptions are in place, so that its head is what an acknowledgement is elsewhere.

use std::future::{pending, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::auth::Pass;
use super::client::{Client, Close, Next};
use super::frame::Frame;
use super::history::Since;
use super::http::{self, Posted};
use super::hub::Hub;
use super::socket::Socket;
use super::stats::add;
use super::tongue::told;
use super::topic::{Ack, Topic};

/// Topics of one stream.
const MAX_TOPICS: usize = 1024;

/// Bytes gathered before they are written.
const WRITE_BUFFER: usize = 8 * 1024;

/// For the last bytes of a connection that is over: TLS's goodbye and the FIN.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a stream is to bring.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub topics: Vec<String>,
    /// `Last-Event-ID`, as it came.
    pub last_id: Option<String>,
    /// What the client has shown.
    pub pass: Pass,
    /// In chunks; who speaks HTTP/1.0 knows none, and has the end of the connection for an end.
    pub chunked: bool,
}

/// A client's place in the hub, given back when it is dropped.
pub(super) struct Guest {
    hub: Arc<Hub>,
    client: Arc<Client>,
    subscriptions: Vec<Arc<Topic>>,
    attended: bool,
    /// Closes it when its token has expired.
    expiry: Option<AbortHandle>,
}

impl Guest {
    pub(super) fn new(hub: Arc<Hub>, client: Arc<Client>) -> Self {
        Guest {
            hub,
            client,
            subscriptions: Vec::new(),
            attended: false,
            expiry: None,
        }
    }

    /// What the client has shown with its request.
    pub(super) fn shows(mut self, pass: Pass) -> Self {
        let config = &self.hub.config;
        if !self.hub.shows(&self.client, pass) {
            self.client.close(config.revoked());
        } else if let Some(at) = config.closes_at(pass) {
            let (client, close) = (Arc::clone(&self.client), config.expired());
            let task = tokio::spawn(async move {
                sleep_until(at).await;
                client.close(close);
            });
            self.expiry = Some(task.abort_handle());
        }
        self
    }

    /// The client as others see it.
    pub(super) fn client(&self) -> Arc<Client> {
        Arc::clone(&self.client)
    }

    /// Subscribes to what is wanted and not subscribed to yet; how many acknowledgements will come.
    fn subscribe(&mut self, wanted: &Wanted) -> usize {
        let one = wanted.topics.len() == 1;
        let since = wanted.last_id.as_deref().filter(|_| one).and_then(since);
        let mut unanswered = 0;
        for name in wanted.topics.iter().take(MAX_TOPICS) {
            let known = self.subscriptions.iter().any(|topic| topic.name() == name);
            let Ok(topic) = self.hub.topic(name) else {
                continue;
            };
            if known {
                continue;
            }
            self.subscriptions.push(Arc::clone(&topic));
            let ack = Ack {
                client: self.client(),
                kind: "subscribed",
                id: None,
            };
            topic.subscribe(ack, since, &self.hub);
            unanswered += 1;
        }
        unanswered
    }

    /// Its next message or its end; to be polled by its own task, and no other.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        self.attend(context);
        match self.client.next(Instant::now) {
            Next::Nothing => Poll::Pending,
            next => Poll::Ready(next),
        }
    }
}

impl Guest {
    fn attend(&mut self, context: &Context<'_>) {
        if !self.attended {
            self.attended = true;
            self.client.attend(context.waker().clone());
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(expiry) = &self.expiry {
            expiry.abort();
        }
        for topic in &self.subscriptions {
            topic.unsubscribe(&self.client, None, &self.hub);
        }
        self.hub.dismiss(&self.client);
    }
}

/// The first of a stream: whoever gets it knows that nothing holds the stream back.
const WELCOME: &[u8] = b": hi\n";

/// A sign of life, as often as WebSockets are pinged. Both are said where those are.
const ALIVE: &[u8] = b":\n";

/// What a stream does next.
enum Step {
    Write(Frame),
    /// Nothing was said for a while.
    Alive,
    Wait(Instant),
    Close(Close),
    /// The client has gone.
    Left,
}

/// What the hub says, as far as it matters here.
#[derive(Deserialize)]
struct Said<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a str,
    #[serde(default)]
    seq: u64,
    #[serde(default, borrow)]
    epoch: Option<&'a str>,
}

/// An event stream to its end.
pub(super) async fn stream<S: Socket>(mut socket: S, mut guest: Guest, wanted: Wanted) {
    let hub = Arc::clone(&guest.hub);
    let client = guest.client();
    let close = match told(&mut socket, &mut guest, &wanted).await {
        Ok(Some(close)) => close,
        // It went, or cannot be told anything more.
        Ok(None) | Err(_) => return,
    };
    add(&hub.counters.discarded, client.stop());
    hub.counters.closed(close.code);
    if close.code == 1006 {
        return socket.reset_on_drop();
    }
    let goodbye = async {
        if wanted.chunked {
            socket.write_all(b"0\r\n\r\n").await?;
        }
        socket.shutdown().await
    };
    drop(timeout(GOODBYE, goodbye).await);
}

/// Tells a stream everything; how it is to be closed, or `None` when the client left first.
async fn told<S: Socket>(
    socket: &mut S,
    guest: &mut Guest,
    wanted: &Wanted,
) -> io::Result<Option<Close>> {
    let hub = Arc::clone(&guest.hub);
    let one = wanted.topics.len() == 1;
    let mut unanswered = guest.subscribe(wanted);
    let mut epoch = String::new();
    let mut out = Vec::new();
    let mut held = Held::new(hub.config.misbehave.buffer_streams);
    let every = hub.config.ping.as_ref().map(|ping| ping.every);
    let chunked = wanted.chunked;
    if unanswered == 0 {
        http::begin_stream(hub.config.node, chunked, &mut out);
        held.begins(&out);
        if every.is_some() {
            put(&[WELCOME], chunked, &mut out);
        }
    }
    loop {
        let alive = async {
            match every {
                Some(every) => sleep(every).await,
                None => pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            step = poll_fn(|context| next(socket, guest, context)) => step,
            () = alive => Step::Alive,
        };
        match step {
            Step::Alive if unanswered == 0 => put(&[ALIVE], chunked, &mut out),
            Step::Alive => {}
            Step::Left => return Ok(None),
            Step::Close(close) => {
                // Whoever holds something back lets go of it at the end.
                if unanswered == 0 && close.code != 1006 {
                    drop(timeout(GOODBYE, socket.write_all(&out)).await);
                }
                return Ok(Some(close));
            }
            Step::Wait(until) => {
                sleep_until(until).await;
                continue;
            }
            Step::Write(frame) => {
                add(&hub.counters.messages_out, 1);
                event(&frame, (one, chunked), &mut epoch, &mut out);
                let said = serde_json::from_slice::<Said<'_>>(frame.payload());
                if unanswered > 0 && said.is_ok_and(|said| said.kind == "subscribed") {
                    unanswered -= 1;
                    if unanswered == 0 {
                        let events = std::mem::take(&mut out);
                        http::begin_stream(hub.config.node, chunked, &mut out);
                        held.begins(&out);
                        if every.is_some() {
                            put(&[WELCOME], chunked, &mut out);
                        }
                        out.extend_from_slice(&events);
                    }
                }
            }
        }
        if unanswered > 0 || out.is_empty() {
            continue;
        }
        // What is there already goes along.
        while out.len() < WRITE_BUFFER
            && let Next::Write(frame) = guest.client.next(Instant::now)
        {
            add(&hub.counters.messages_out, 1);
            event(&frame, (one, chunked), &mut epoch, &mut out);
        }
        hub.outlast_stall().await;
        let client = &guest.client;
        let leaves = held.leaves(&out);
        if leaves == 0 {
            continue;
        }
        tokio::select! {
            written = socket.write_all(&out[..leaves]) => written?,
            // A slow reader must not keep its connection from being closed.
            close = poll_fn(|_| match client.closing_at_once() {
                Some(close) => Poll::Ready(close),
                None => Poll::Pending,
            }) => return Ok(Some(close)),
        }
        socket.flush().await?;
        out.drain(..leaves);
    }
}

/// What a proxy that buffers would hold back of a stream.
struct Held {
    /// So many bytes at once; `None`: nothing is held.
    size: Option<usize>,
    /// Of these, so many are the head, which is not.
    head: usize,
}

impl Held {
    fn new(size: Option<usize>) -> Self {
        Held { size, head: 0 }
    }

    /// The head is what is there now.
    fn begins(&mut self, head: &[u8]) {
        self.head = head.len();
    }

    /// How many of the bytes leave now.
    fn leaves(&mut self, out: &[u8]) -> usize {
        let head = std::mem::take(&mut self.head);
        match self.size {
            Some(size) if out.len() - head < size => head,
            _ => out.len(),
        }
    }
}

/// What there is to do, or whether the client went. Whatever else it says is ignored.
fn next<S: Socket>(socket: &mut S, guest: &mut Guest, context: &mut Context<'_>) -> Poll<Step> {
    loop {
        let mut bytes = [0; 256];
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *socket).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(_) => return Poll::Ready(Step::Left),
            Poll::Pending => break,
        }
    }
    guest.poll_next(context).map(|next| match next {
        // Nobody has own words here.
        Next::Write(frame) | Next::Say(frame) => Step::Write(frame),
        Next::Wait(until) => Step::Wait(until),
        Next::Close(close) => Step::Close(close),
        Next::Nothing => Step::Left,
    })
}

/// Appends what is said at once, as a chunk where there are any.
fn put(parts: &[&[u8]], chunked: bool, out: &mut Vec<u8>) {
    if chunked {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
    }
    parts.iter().for_each(|part| out.extend_from_slice(part));
    if chunked {
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a delivery as one event. Acknowledgements are none, but tell the epoch.
fn event(frame: &Frame, (one, chunked): (bool, bool), epoch: &mut String, out: &mut Vec<u8>) {
    let json = frame.payload();
    let Ok(said) = serde_json::from_slice::<Said<'_>>(json) else {
        return;
    };
    if said.kind != "message" {
        if let Some(told) = said.epoch {
            epoch.clear();
            epoch.push_str(told);
        }
        return;
    }
    let id = match (one, epoch.is_empty()) {
        (false, _) => String::new(),
        (true, true) => format!("id: {}\n", said.seq),
        (true, false) => format!("id: {epoch}:{}\n", said.seq),
    };
    // JSON of this gateway's has no line ends in it.
    put(&[id.as_bytes(), b"data: ", json, b"\n\n"], chunked, out);
}

/// How far a client heard its topic, as its last id says.
fn since(last_id: &str) -> Option<Since<'_>> {
    let (epoch, sequence) = match last_id.rsplit_once(':') {
        Some((epoch, sequence)) => (Some(epoch), sequence),
        None => (None, last_id),
    };
    let sequence = sequence.parse().ok()?;
    Some(Since { sequence, epoch })
}

/// A publisher's connection to its end. `bytes`: what has come of it, from its first request on.
pub(super) async fn posts<S: Socket>(mut socket: S, mut guest: Guest, mut bytes: Vec<u8>) {
    let hub = Arc::clone(&guest.hub);
    let mut room = Vec::new();
    loop {
        let mut out = Vec::new();
        let mut last = false;
        while !last {
            match http::post(&bytes, &hub) {
                Posted::Part => break,
                Posted::Refused(page) => {
                    out.extend_from_slice(page.as_bytes());
                    last = true;
                }
                Posted::Whole {
                    length,
                    topic,
                    payload,
                } => {
                    if let Some(bus) = &hub.bus {
                        let id = guest.client.id;
                        poll_fn(|context| match bus.room(id, context.waker()) {
                            true => Poll::Ready(()),
                            false => Poll::Pending,
                        })
                        .await;
                    }
                    add(&hub.counters.messages_in, 1);
                    let answer = match hub.topic(&topic) {
                        Ok(topic) => {
                            let mut wakers = Vec::new();
                            let payload = told::payload(&bytes[payload], &mut room);
                            topic.publish(payload, None, &hub, &mut wakers);
                            wakers.into_iter().for_each(std::task::Waker::wake);
                            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                        }
                        Err(_) => "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 0\r\n\r\n",
                    };
                    out.extend_from_slice(answer.as_bytes());
                    bytes.drain(..length);
                }
            }
        }
        hub.outlast_stall().await;
        if socket.write_all(&out).await.is_err() || socket.flush().await.is_err() {
            return;
        }
        if last {
            break;
        }
        let left = tokio::select! {
            read = socket.read_buf(&mut bytes) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => None,
            },
            next = poll_fn(|context| guest.poll_next(context)) => match next {
                Next::Close(close) => Some(close),
                _ => None,
            },
        };
        if let Some(close) = left {
            add(&hub.counters.discarded, guest.client.stop());
            hub.counters.closed(close.code);
            if close.code == 1006 {
                return socket.reset_on_drop();
            }
            break;
        }
    }
    drop(timeout(GOODBYE, socket.shutdown()).await);
}

/// How long a poll is held when there is nothing to tell.
const HELD: Duration = Duration::from_secs(25);

/// A polling client's connection to its end. It stays subscribed between its polls, for as long as the connection lasts.
/// `bytes`: what has come of it, from its first request on.
pub(super) async fn polls<S: Socket>(mut socket: S, mut guest: Guest, mut bytes: Vec<u8>) {
    let hub = Arc::clone(&guest.hub);
    let client = guest.client();
    let close = match answered(&mut socket, &mut guest, &mut bytes).await {
        Ok(Some(close)) => close,
        Ok(None) | Err(_) => return,
    };
    add(&hub.counters.discarded, client.stop());
    hub.counters.closed(close.code);
    if close.code == 1006 {
        return socket.reset_on_drop();
    }
    drop(timeout(GOODBYE, socket.shutdown()).await);
}

/// Answers polls; how the connection is to be closed, or `None` when the client left first.
async fn answered<S: Socket>(
    socket: &mut S,
    guest: &mut Guest,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<Close>> {
    let hub = Arc::clone(&guest.hub);
    // Of the topic's numbering, and the last number told.
    let (mut epoch, mut last) = (String::new(), String::new());
    loop {
        let wanted = match http::poll(bytes) {
            http::Polled::Whole { length, wanted } => {
                bytes.drain(..length);
                wanted
            }
            http::Polled::Refused(page) => {
                socket.write_all(page.as_bytes()).await?;
                return Ok(Some(Close::now(1000, "")));
            }
            http::Polled::Part => {
                let closed = poll_fn(|context| match guest.client.closing_at_once() {
                    Some(close) => Poll::Ready(close),
                    None => {
                        guest.attend(context);
                        Poll::Pending
                    }
                });
                tokio::select! {
                    read = socket.read_buf(bytes) => match read? {
                        0 => return Ok(None),
                        _ => continue,
                    },
                    close = closed => return Ok(Some(close)),
                }
            }
        };
        let one = wanted.topics.len() == 1;
        guest.subscribe(&wanted);
        let until = Instant::now() + HELD;
        let mut lines = Vec::new();
        let close = loop {
            let step = tokio::select! {
                step = poll_fn(|context| guest.poll_next(context)) => step,
                () = sleep_until(until) => break None,
                // A second request before this one is answered waits its turn; an end does not.
                read = socket.read_buf(bytes), if bytes.is_empty() => match read? {
                    0 => return Ok(None),
                    _ => continue,
                },
            };
            match step {
                Next::Close(close) => break Some(close),
                Next::Wait(until) => sleep_until(until).await,
                Next::Nothing => {}
                Next::Write(frame) | Next::Say(frame) => {
                    add(&hub.counters.messages_out, 1);
                    line(&frame, &mut epoch, &mut last, &mut lines);
                    // What is there already goes along.
                    while lines.len() < WRITE_BUFFER
                        && let Next::Write(frame) = guest.client.next(Instant::now)
                    {
                        add(&hub.counters.messages_out, 1);
                        line(&frame, &mut epoch, &mut last, &mut lines);
                    }
                    if !lines.is_empty() {
                        break None;
                    }
                }
            }
        };
        hub.outlast_stall().await;
        let cursor = match (one, epoch.is_empty()) {
            (false, _) => String::new(),
            (true, true) => last.clone(),
            (true, false) => format!("{epoch}:{last}"),
        };
        let mut out = Vec::new();
        http::answer_poll(hub.config.node, &cursor, &lines, &mut out);
        socket.write_all(&out).await?;
        socket.flush().await?;
        if close.is_some() {
            return Ok(close);
        }
    }
}

/// Appends a delivery as a line, and keeps its number. Acknowledgements are none, but tell the epoch.
fn line(frame: &Frame, epoch: &mut String, last: &mut String, lines: &mut Vec<u8>) {
    let json = frame.payload();
    let Ok(said) = serde_json::from_slice::<Said<'_>>(json) else {
        return;
    };
    if said.kind == "message" {
        *last = said.seq.to_string();
        lines.extend_from_slice(json);
        lines.push(b'\n');
    } else if let Some(told) = said.epoch {
        *epoch = told.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let of = |last_id| since(last_id).map(|since| (since.epoch, since.sequence));
        assert_eq!(of("7"), Some((None, 7)));
        assert_eq!(of("abc:7"), Some((Some("abc"), 7)));
        for bad in ["", "x", "abc:", ":x", "-1", "1.5"] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_event_is_one_chunk_of_its_length() {
        let told = |text: &str| Frame::text(text.into());
        let (mut epoch, mut out) = (String::new(), Vec::new());
        event(
            &told(r#"{"type":"message","topic":"t","seq":3,"payload":"ü"}"#),
            (true, true),
            &mut epoch,
            &mut out,
        );
        event(
            &told(r#"{"type":"subscribed","topic":"t","seq":3,"epoch":"e1"}"#),
            (true, true),
            &mut epoch,
            &mut out,
        );
        event(
            &told(r#"{"type":"message","topic":"t","seq":4,"payload":0}"#),
            (true, true),
            &mut epoch,
            &mut out,
        );
        event(
            &told(r#"{"type":"message","topic":"t","seq":5,"payload":0}"#),
            (false, true),
            &mut epoch,
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        let mut rest = text.as_bytes();
        let mut responses = crate::transport::http::Responses::default();
        let mut events = crate::transport::sse::Events::default();
        let mut head: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert!(responses.next(&mut head, 100, |_, _| {}).unwrap().is_some());
        let mut ids = Vec::new();
        while let Some(crate::transport::http::Part::Body(mut body)) =
            responses.next(&mut rest, 100, |_, _| {}).unwrap()
        {
            while let Some(event) = events.next(&mut body, 1000).unwrap() {
                assert!(event.data.starts_with(br#"{"type":"message""#));
                ids.push(String::from_utf8(events.last_id().to_vec()).unwrap());
            }
        }
        assert_eq!(ids, ["3", "e1:4", "e1:4"]);
    }
}
