//! Engine.IO by polling: clients whose packets come in POSTs and leave in the answers to GETs, and that may go on over a WebSocket.
//!
//! To the rest of the gateway such a client is a [`Connection`] like any other, over a pipe within the process. At its other
//! end a task of the client's own turns WebSocket messages into packets of bodies, and later into messages of a real WebSocket. It
//! is known by its `sid` to whatever TCP connection brings a request. That is slower than a connection of its own, which does
//! not matter to a reference target, and every policy, limit and knob holds as it is.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::BadUpgrade;
use super::connection::Connection;
use super::http::{self, EngineIo, Polling, Upgrade};
use super::hub::Hub;
use super::listener::serve;
use super::socket::Socket;
use super::tongue::Tongue;
use crate::protocol::Form;
use crate::protocol::socket_io::{engine_io, payload};

/// Bytes in the pipe to a client's connection, each way.
const PIPE: usize = 16 * 1024;
/// Bytes that wait for a GET before no more are taken from the connection, whose queue and policies then act.
const WAITING: usize = 64 * 1024;
/// Requests of one client that wait.
const REQUESTS: usize = 16;
/// A client that is told to go has so long to ask for what there is to say.
const LAST_POLL: Duration = Duration::from_secs(5);

/// What Engine.IO servers answer whoever names a conversation that they do not have.
const UNKNOWN: &[u8] = br#"{"code":1,"message":"Session ID unknown"}"#;
const BAD: &[u8] = br#"{"code":3,"message":"Bad request"}"#;

/// Conversations by their `sid`.
#[derive(Debug, Default)]
pub(super) struct Polls(Mutex<HashMap<String, mpsc::Sender<Request>>>);

impl Polls {
    fn of(&self, sid: &str) -> Option<mpsc::Sender<Request>> {
        self.table().get(sid).cloned()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Request>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a TCP connection brings for a conversation.
enum Request {
    /// A GET, to be answered with a body when there is one.
    Get(oneshot::Sender<Vec<u8>>),
    /// A POST, and whether it made sense.
    Post(Vec<u8>, oneshot::Sender<bool>),
    /// A WebSocket was probed: GETs are held no longer.
    Probed,
    /// It is gone.
    Gone,
    /// It is to take over.
    Upgrade(Box<dyn Wire>),
}

/// A WebSocket over whatever carries it.
trait Wire: Send {
    fn run(self: Box<Self>, by: Conversation)
    -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<S: Socket> Wire for WebSocketStream<S> {
    fn run(
        self: Box<Self>,
        by: Conversation,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(by.go_over_to(*self))
    }
}

/// The requests of one TCP connection to its end. `bytes`: what has come of them.
pub(super) async fn requests<S: Socket>(mut socket: S, hub: Arc<Hub>, mut bytes: Vec<u8>) {
    if let Ok(Some((sid, left))) = answer_all(&mut socket, &hub, &mut bytes).await {
        websocket(socket, &hub, &sid, left).await;
    }
}

/// Answers requests; what is to be a WebSocket then, and what came of that.
async fn answer_all<S: Socket>(
    socket: &mut S,
    hub: &Arc<Hub>,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<(String, Vec<u8>)>> {
    loop {
        let (length, asked) = match http::engine_io(bytes, hub) {
            EngineIo::Whole(length, asked) => (length, asked),
            EngineIo::Refused(status, page) => {
                hub.outlast_stall().await;
                hub.counters.refused(status);
                socket.write_all(page.as_bytes()).await?;
                socket.shutdown().await?;
                return Ok(None);
            }
            EngineIo::Part => match socket.read_buf(bytes).await? {
                0 => return Ok(None),
                _ => continue,
            },
        };
        hub.outlast_stall().await;
        let (status, body) = match asked {
            Polling::Open(upgrade) => match open(*upgrade, hub) {
                Some(conversation) => held(socket, bytes, length, conversation).await?,
                None => return http::refuse_draining(socket, hub).await.map(|()| None),
            },
            Polling::Get(sid) => match hub.polls.of(&sid) {
                Some(conversation) => held(socket, bytes, length, conversation).await?,
                None => (400, UNKNOWN.to_vec()),
            },
            Polling::Post(sid, body) => {
                let body = bytes[body].to_vec();
                match hub.polls.of(&sid) {
                    Some(conversation) => post(&conversation, body).await,
                    None => (400, UNKNOWN.to_vec()),
                }
            }
            Polling::Upgrade(sid, head) => {
                let known = hub.polls.of(&sid).is_some();
                if known && hub.config.misbehave.upgrade != Some(BadUpgrade::Refuse) {
                    socket.write_all(head.as_bytes()).await?;
                    socket.flush().await?;
                    return Ok(Some((sid, bytes.split_off(length))));
                }
                (400, if known { BAD } else { UNKNOWN }.to_vec())
            }
        };
        bytes.drain(..length);
        let mut out = Vec::new();
        http::answer_polling(hub.config.node, status, &body, &mut out);
        if status >= 300 {
            hub.counters.refused(status);
        }
        hub.outlast_stall().await;
        socket.write_all(&out).await?;
        socket.flush().await?;
    }
}

/// A new conversation; `None` while the gateway drains.
fn open(upgrade: Upgrade, hub: &Arc<Hub>) -> Option<mpsc::Sender<Request>> {
    let client = hub.admit()?;
    // Of no other node's, and of no earlier process's.
    let sid = format!(
        "{:x}-{:x}-{:x}",
        hub.config.node,
        std::process::id(),
        client.id
    );
    let mut tongue = upgrade.tongue;
    if let Some(Tongue::SocketIo(socket_io)) = tongue.as_deref_mut() {
        let offered = hub.config.misbehave.upgrade != Some(BadUpgrade::NotOffered);
        socket_io.polled = Some((sid.as_str().into(), offered));
    }
    let (pipe, own) = tokio::io::duplex(PIPE);
    let mut connection = Connection::new(own, tongue, Arc::clone(hub), client);
    connection.shows(upgrade.pass);
    connection.greet();
    let client = connection.client();
    client.served_by(tokio::spawn(serve(connection)).abort_handle());
    hub.counters.opened();
    if hub.draining() {
        hub.counters.opened_draining();
    }
    let (sender, requests) = mpsc::channel(REQUESTS);
    hub.polls.table().insert(sid.clone(), sender.clone());
    let hub = Arc::clone(hub);
    tokio::spawn(async move {
        let limits = WebSocketConfig::default()
            .read_buffer_size(4096)
            .write_buffer_size(0);
        let conversation = Conversation {
            inner: WebSocketStream::from_raw_socket(pipe, Role::Client, Some(limits)).await,
            waiting: Vec::new(),
            held: None,
            probed: false,
            over: false,
        };
        let leave = Leave { hub, sid };
        conversation.poll(requests, leave).await;
    });
    Some(sender)
}

/// Asks for what there is to say, for as long as the client waits for it.
async fn held<S: Socket>(
    socket: &mut S,
    bytes: &mut Vec<u8>,
    length: usize,
    conversation: mpsc::Sender<Request>,
) -> io::Result<(u16, Vec<u8>)> {
    let (answer, answered) = oneshot::channel();
    if conversation.send(Request::Get(answer)).await.is_err() {
        return Ok((400, UNKNOWN.to_vec()));
    }
    tokio::pin!(answered);
    loop {
        tokio::select! {
            biased;
            answer = &mut answered => return match answer {
                Ok(body) => Ok((200, body)),
                // It ended without a word: so does this.
                Err(_) => {
                    socket.reset_on_drop();
                    Err(io::ErrorKind::ConnectionReset.into())
                }
            },
            // A second request before this one is answered waits its turn; an end does not.
            read = socket.read_buf(bytes), if bytes.len() <= length => if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            },
        }
    }
}

async fn post(conversation: &mpsc::Sender<Request>, body: Vec<u8>) -> (u16, Vec<u8>) {
    let (heard, answer) = oneshot::channel();
    let sent = conversation.send(Request::Post(body, heard)).await;
    match (sent, answer.await) {
        (Ok(()), Ok(true)) => (200, b"ok".to_vec()),
        (Ok(()), Ok(false)) => (400, BAD.to_vec()),
        _ => (400, UNKNOWN.to_vec()),
    }
}

/// A WebSocket that was asked for beside polling: its probe, and what follows.
async fn websocket<S: Socket>(socket: S, hub: &Hub, sid: &str, left: Vec<u8>) {
    let Some(conversation) = hub.polls.of(sid) else {
        return;
    };
    let limits = WebSocketConfig::default()
        .read_buffer_size(4096)
        .write_buffer_size(0)
        .max_message_size(Some(hub.config.max_message))
        .max_frame_size(Some(hub.config.max_message));
    let mut websocket =
        WebSocketStream::from_partially_read(socket, left, Role::Server, Some(limits)).await;
    let deadline = Instant::now() + hub.config.handshake_timeout;
    while let Ok(Some(Ok(message))) = timeout_at(deadline, websocket.next()).await {
        let Message::Text(text) = message else {
            continue;
        };
        hub.outlast_stall().await;
        match (text.as_bytes(), hub.config.misbehave.upgrade) {
            (engine_io::PROBE, Some(BadUpgrade::Mute)) => {}
            (engine_io::PROBE, Some(BadUpgrade::Cut)) => {
                return websocket.get_ref().reset_on_drop();
            }
            (engine_io::PROBE, _) => {
                let probed = conversation.send(Request::Probed).await;
                let answer = String::from_utf8_lossy(engine_io::PROBED).into_owned();
                if probed.is_err() || websocket.send(Message::text(answer)).await.is_err() {
                    break;
                }
            }
            (engine_io::UPGRADE, _) => {
                return drop(
                    conversation
                        .send(Request::Upgrade(Box::new(websocket)))
                        .await,
                );
            }
            _ => break,
        }
    }
    drop(conversation.send(Request::Gone).await);
}

/// Takes a conversation out of the table when it is over.
struct Leave {
    hub: Arc<Hub>,
    sid: String,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.hub.polls.table().remove(&self.sid);
    }
}

/// A client that polls, from the other end of its connection's pipe.
struct Conversation {
    inner: WebSocketStream<DuplexStream>,
    /// Packets for the next GET.
    waiting: Vec<u8>,
    /// The GET that is held.
    held: Option<oneshot::Sender<Vec<u8>>>,
    /// A WebSocket is about to take over: nothing is held.
    probed: bool,
    /// The connection has closed: what waits is the last.
    over: bool,
}

impl Conversation {
    /// By polling, until it is over or a WebSocket takes over.
    async fn poll(mut self, mut requests: mpsc::Receiver<Request>, leave: Leave) {
        let mut until = None;
        loop {
            let takes = !self.over && self.waiting.len() < WAITING;
            tokio::select! {
                message = self.inner.next(), if takes => match message {
                    Some(Ok(Message::Text(text))) => self.say(Form::Text, text.as_bytes()),
                    Some(Ok(Message::Binary(bytes))) => self.say(Form::Binary, &bytes),
                    Some(Ok(Message::Close(_))) => {
                        self.over = true;
                        until = Some(Instant::now() + LAST_POLL);
                        self.say(Form::Text, engine_io::CLOSE);
                        // The rest of the handshake, which nobody waits for.
                        drop(self.inner.flush().await);
                    }
                    Some(Ok(_)) => {}
                    // Cut: nothing is said.
                    Some(Err(_)) | None => return,
                },
                request = requests.recv() => match request {
                    Some(Request::Upgrade(websocket)) if !self.over => {
                        // Its TCP connection is what it is known by now.
                        drop(leave);
                        return websocket.run(self).await;
                    }
                    Some(request) => {
                        if !self.take(request).await {
                            return;
                        }
                    }
                    None => return,
                },
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => return,
            }
            if self.over && self.waiting.is_empty() {
                return;
            }
        }
    }

    /// Whether it goes on.
    async fn take(&mut self, request: Request) -> bool {
        match request {
            // Two at once are against the rules: so the first is answered.
            Request::Get(answer) => {
                if let Some(before) = self.held.replace(answer) {
                    drop(before.send(engine_io::NOOP.to_vec()));
                }
                if self.probed && self.waiting.is_empty() {
                    self.say(Form::Text, engine_io::NOOP);
                }
                self.answer();
            }
            Request::Post(body, heard) => {
                let sound = self.hear(&body).await;
                let _ = heard.send(sound);
                return sound;
            }
            Request::Probed => {
                self.probed = true;
                if self.held.is_some() {
                    self.say(Form::Text, engine_io::NOOP);
                }
            }
            Request::Gone => self.probed = false,
            Request::Upgrade(_) => {}
        }
        true
    }

    /// Gives the packets of a body to the connection. False when they make no sense.
    async fn hear(&mut self, body: &[u8]) -> bool {
        let mut room = Vec::new();
        for packet in payload::packets(body) {
            let message = match payload::message(packet, &mut room) {
                Ok((Form::Text, text)) => Message::text(String::from_utf8_lossy(text).into_owned()),
                Ok((Form::Binary, bytes)) => Message::binary(bytes.to_vec()),
                Err(_) => return false,
            };
            // To one that has closed meanwhile nothing can be said: the next GET tells.
            if !self.over && self.inner.send(message).await.is_err() {
                break;
            }
        }
        true
    }

    /// A packet for the client.
    fn say(&mut self, form: Form, message: &[u8]) {
        if !self.waiting.is_empty() {
            self.waiting.push(payload::SEPARATOR);
        }
        payload::push(form, message, &mut self.waiting);
        self.answer();
    }

    /// Answers the GET that is held with what waits.
    fn answer(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        if let Some(held) = self.held.take()
            && let Err(unheard) = held.send(std::mem::take(&mut self.waiting))
        {
            // Whoever asked has gone: it is for the next.
            self.waiting = unheard;
        }
    }

    /// Over a WebSocket, to its end; what waits comes first.
    async fn go_over_to<S: Socket>(mut self, mut outer: WebSocketStream<S>) {
        let mut room = Vec::new();
        for packet in payload::packets(&std::mem::take(&mut self.waiting)) {
            let message = match payload::message(packet, &mut room) {
                Ok((_, engine_io::NOOP)) | Err(_) => continue,
                Ok((Form::Text, text)) => Message::text(String::from_utf8_lossy(text).into_owned()),
                Ok((Form::Binary, bytes)) => Message::binary(bytes.to_vec()),
            };
            if outer.send(message).await.is_err() {
                return;
            }
        }
        loop {
            tokio::select! {
                message = self.inner.next() => match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                        if outer.send(message).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        drop(outer.close(frame).await);
                        // Until the client has answered, or has gone.
                        let patience = Instant::now() + LAST_POLL;
                        while let Ok(Some(Ok(_))) = timeout_at(patience, outer.next()).await {}
                        return;
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return outer.get_ref().reset_on_drop(),
                },
                message = outer.next() => match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                        if self.inner.send(message).await.is_err() {
                            return outer.get_ref().reset_on_drop();
                        }
                    }
                    Some(Ok(Message::Close(frame))) => {
                        drop(self.inner.close(frame).await);
                        drop(outer.flush().await);
                        let patience = Instant::now() + LAST_POLL;
                        while let Ok(Some(Ok(_))) = timeout_at(patience, self.inner.next()).await {}
                        return;
                    }
                    Some(Ok(_)) => {}
                    // What the connection is told is that it is gone.
                    Some(Err(_)) | None => return,
                },
            }
        }
    }
}
