//! The first request of a connection: an upgrade to check, or one of the two pages.

use std::borrow::Cow;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::auth::Pass;
use super::deflate::{self, Agreed};
use super::dialect::MAX_TOPIC;
use super::events::Wanted;
use super::hub::Hub;
use super::socket::Socket;
use super::tongue::{self, Tongue};

/// Largest request head read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A subprotocol that begins so is a token and none.
const TOKEN: &str = "bearer.";

/// Most headers in a request.
const MAX_HEADERS: usize = 64;

/// What a request that may succeed leads to, with the bytes that came beside it.
#[derive(Debug)]
pub(super) enum Asked {
    /// A WebSocket, and what came behind the request.
    WebSocket(Upgrade, Vec<u8>),
    /// An event stream.
    Events(Wanted),
    /// Posts, the first of which is in these bytes, and what the client has shown.
    Posts(Vec<u8>, Pass),
    /// Long polls, likewise.
    Polls(Vec<u8>, Pass),
    /// Requests of Engine.IO's, likewise.
    EngineIo(Vec<u8>),
}

/// What the request leads to.
#[derive(Debug)]
enum Answer {
    /// 101 with this head; the connection is a WebSocket after it.
    Upgrade(Upgrade),
    /// 200, and events after it.
    Events(Wanted),
    /// Whatever comes is read as posts.
    Posts(Pass),
    /// Whatever comes is read as polls.
    Polls(Pass),
    /// Whatever comes is read as Engine.IO's requests.
    EngineIo,
    /// A token of so many bytes follows, which is revoked.
    Revoke(usize),
    /// A response, after which the connection ends.
    Page(Page),
}

/// An upgrade that may succeed.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// Of the 101.
    pub head: String,
    /// What will be spoken; `None`: JSON.
    pub tongue: Option<Box<Tongue>>,
    /// Whether messages are made smaller.
    pub compression: Option<Agreed>,
    /// What the client has shown.
    pub pass: Pass,
}

/// A response that ends the connection.
#[derive(Debug, PartialEq, Eq)]
struct Page {
    status: u16,
    /// Whole lines, each with its line end.
    headers: &'static str,
    body: String,
}

impl Page {
    fn new(status: u16, headers: &'static str, body: impl Into<String>) -> Self {
        Page {
            status,
            headers,
            body: body.into(),
        }
    }

    fn text(&self) -> String {
        let Page {
            status,
            headers,
            body,
        } = self;
        let reason = reason(*status);
        format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

/// Reads the request and answers it, unless it is an upgrade that may succeed: then what it leads to
/// and the bytes that came after the request are returned, and nothing has been sent.
///
/// # Errors
/// When the connection fails or ends before a whole request.
pub(super) async fn negotiate(socket: &mut impl Socket, hub: &Hub) -> io::Result<Option<Asked>> {
    let mut bytes = Vec::with_capacity(1024);
    let answer = loop {
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&bytes) {
            Ok(httparse::Status::Complete(length)) => {
                let answer = answer(&request, hub);
                if !matches!(
                    answer,
                    Answer::Posts(_) | Answer::Polls(_) | Answer::EngineIo
                ) {
                    bytes.drain(..length);
                }
                break answer;
            }
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => {}
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                break Answer::Page(Page::new(431, "", "the request head is too large\n"));
            }
            Err(_) => break Answer::Page(Page::new(400, "", "this is not HTTP\n")),
        }
    };
    hub.outlast_stall().await;
    match answer {
        Answer::Upgrade(upgrade) => Ok(Some(Asked::WebSocket(upgrade, bytes))),
        Answer::Events(wanted) => Ok(Some(Asked::Events(wanted))),
        Answer::Posts(pass) => Ok(Some(Asked::Posts(bytes, pass))),
        Answer::Polls(pass) => Ok(Some(Asked::Polls(bytes, pass))),
        Answer::EngineIo => Ok(Some(Asked::EngineIo(bytes))),
        Answer::Revoke(length) => {
            while bytes.len() < length {
                if socket.read_buf(&mut bytes).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            bytes.truncate(length);
            hub.revoke(String::from_utf8_lossy(&bytes).trim());
            send(socket, hub, &Page::new(200, "", "revoked\n")).await?;
            Ok(None)
        }
        Answer::Page(page) => {
            send(socket, hub, &page).await?;
            Ok(None)
        }
    }
}

/// Refuses an upgrade because the gateway drains.
pub(super) async fn refuse_draining(socket: &mut impl Socket, hub: &Hub) -> io::Result<()> {
    send(socket, hub, &draining()).await
}

async fn send(socket: &mut impl Socket, hub: &Hub, page: &Page) -> io::Result<()> {
    if page.status >= 300 {
        hub.counters.refused(page.status);
    }
    socket.write_all(page.text().as_bytes()).await?;
    socket.shutdown().await
}

fn draining() -> Page {
    Page::new(503, "Retry-After: 1\r\n", "draining\n")
}

/// Decides. Counts an upgrade that could succeed towards `refuse_every`, so ask once per request.
fn answer(request: &httparse::Request<'_, '_>, hub: &Hub) -> Answer {
    check(request, hub).unwrap_or_else(Answer::Page)
}

fn check(request: &httparse::Request<'_, '_>, hub: &Hub) -> Result<Answer, Page> {
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if tongue::socket_io::PATHS.contains(&path) && polls(query) {
        return Ok(Answer::EngineIo);
    }
    let (method, allow) = match path {
        "/publish" | "/revoke" => ("POST", "Allow: POST\r\n"),
        _ => ("GET", "Allow: GET\r\n"),
    };
    if request.method != Some(method) {
        return Err(Page::new(405, allow, format!("only {method}\n")));
    }
    match path {
        "/healthz" if hub.draining() => return Err(draining()),
        "/healthz" => return Err(Page::new(200, "", "ok\n")),
        "/stats" => {
            let stats = serde_json::to_string(&hub.stats()).unwrap_or_default();
            return Err(Page::new(200, "Content-Type: application/json\r\n", stats));
        }
        "/revoke" if hub.config.asks_for_tokens() => return revoke(request, hub),
        "/" | "/ws" | "/events" | "/poll" | "/publish" => {}
        _ if path.starts_with("/ws/") || tongue::socket_io::PATHS.contains(&path) => {}
        _ => {
            return Err(Page::new(
                404,
                "",
                "WebSocket is spoken at /ws, events come from /events or /poll, posts go to /publish\n",
            ));
        }
    }
    let answer = match path {
        "/events" => Answer::Events(wanted(request, query)?),
        "/publish" => Answer::Posts(Pass::FREE),
        "/poll" => Answer::Polls(Pass::FREE),
        _ => {
            // Before the service is asked anything.
            if let Some(status) = hub.refuses_upgrades() {
                return Err(Page::new(status, "", "no upgrades here\n"));
            }
            Answer::Upgrade(upgrade(request, path, hub.config.node, true)?)
        }
    };
    permit(answer, request, query, hub)
}

/// The answer, to whoever may have it now.
fn permit(
    mut answer: Answer,
    request: &httparse::Request<'_, '_>,
    query: &str,
    hub: &Hub,
) -> Result<Answer, Page> {
    if hub.refuses() {
        return Err(draining());
    }
    let config = &hub.config;
    if config.asks_for_tokens() {
        let good = shown(request, query).find_map(|token| hub.accepts(&token));
        let by_message = config.auth.as_ref().is_some_and(|auth| auth.by_message);
        let nothing = shown(request, query).next().is_none();
        match (good, &mut answer) {
            (Some(pass), Answer::Upgrade(upgrade)) => {
                upgrade.pass = pass;
                if let Some(tongue) = upgrade.tongue.as_deref_mut() {
                    tongue.trust();
                }
            }
            (Some(shown), Answer::Events(Wanted { pass, .. })) => *pass = shown,
            (Some(shown), Answer::Posts(pass) | Answer::Polls(pass)) => *pass = shown,
            (Some(_), _) => {}
            // It asks by itself.
            (None, Answer::Upgrade(upgrade))
                if nothing && upgrade.tongue.as_ref().is_some_and(|t| t.logs_in()) => {}
            (None, Answer::Upgrade(upgrade))
                if nothing && by_message && upgrade.tongue.is_none() =>
            {
                upgrade.pass = Pass::Awaited;
            }
            _ => {
                return Err(Page::new(
                    401,
                    "WWW-Authenticate: Bearer\r\n",
                    "a bearer token is needed\n",
                ));
            }
        }
    }
    if !config.origins.is_empty()
        && !header(request, "Origin").is_some_and(|o| config.origins.iter().any(|known| known == o))
    {
        return Err(Page::new(403, "", "this origin is not allowed\n"));
    }
    if !hub.has_room_for_one_more() {
        let wait = "Retry-After: 1\r\n";
        return Err(Page::new(503, wait, "too many upgrades at once\n"));
    }
    if hub.refuses_on_purpose() {
        let status = config.misbehave.refuse_status.unwrap_or(503);
        return Err(Page::new(status, "", "refused on purpose\n"));
    }
    Ok(answer)
}

/// A token that is to be revoked, by whoever has it.
fn revoke(request: &httparse::Request<'_, '_>, hub: &Hub) -> Result<Answer, Page> {
    if hub.bus.is_some() {
        let text = "the nodes of this gateway do not tell each other of revoked tokens\n";
        return Err(Page::new(501, "", text));
    }
    match header(request, "Content-Length").map(str::parse::<usize>) {
        Some(Ok(length)) if length <= MAX_HEAD => Ok(Answer::Revoke(length)),
        Some(Ok(_)) => Err(Page::new(413, "", "the token is too large\n")),
        _ => Err(Page::new(411, "", "a Content-Length is needed\n")),
    }
}

/// What it leads to, if the request is a proper upgrade (RFC 6455, section 4.2.1).
fn upgrade(
    request: &httparse::Request<'_, '_>,
    path: &str,
    node: u16,
    compresses: bool,
) -> Result<Upgrade, Page> {
    let needs = |what: &'static str| Page::new(400, "", what);
    if !tokens(request, "Upgrade").any(|token| token.eq_ignore_ascii_case("websocket")) {
        return Err(Page::new(
            426,
            "Upgrade: websocket\r\n",
            "only WebSocket is spoken here\n",
        ));
    }
    if request.version != Some(1) {
        return Err(needs("an upgrade needs HTTP/1.1\n"));
    }
    if header(request, "Host").is_none() {
        return Err(needs("an upgrade needs Host\n"));
    }
    if !tokens(request, "Connection").any(|token| token.eq_ignore_ascii_case("upgrade")) {
        return Err(needs("an upgrade needs Connection: Upgrade\n"));
    }
    if header(request, "Sec-WebSocket-Version") != Some("13") {
        return Err(Page::new(
            426,
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            "only version 13 is spoken here\n",
        ));
    }
    let key = header(request, "Sec-WebSocket-Key").unwrap_or("");
    if !BASE64_STANDARD.decode(key).is_ok_and(|key| key.len() == 16) {
        return Err(needs("Sec-WebSocket-Key must be 16 bytes in base64\n"));
    }
    let mut head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\nX-Squall-Node: {node}\r\n",
        derive_accept_key(key.as_bytes())
    );
    let offered = tokens(request, "Sec-WebSocket-Protocol");
    let (tongue, taken) = Tongue::choose(path, offered.filter(|offer| !offer.starts_with(TOKEN)));
    if let Some(taken) = taken {
        head.push_str("Sec-WebSocket-Protocol: ");
        head.push_str(taken);
        head.push_str("\r\n");
    }
    let offers = tokens(request, "Sec-WebSocket-Extensions");
    let chosen = if compresses {
        deflate::choose(offers)
    } else {
        None
    };
    if let Some((_, answer)) = &chosen {
        head.push_str("Sec-WebSocket-Extensions: ");
        head.push_str(answer);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    Ok(Upgrade {
        head,
        compression: chosen.map(|(agreed, _)| agreed),
        tongue: tongue.map(Box::new),
        pass: Pass::FREE,
    })
}

/// What a stream is to bring: topics in the query, each in a parameter of its own or with commas between.
fn wanted(request: &httparse::Request<'_, '_>, query: &str) -> Result<Wanted, Page> {
    let given = url::form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "topic");
    let topics: Vec<String> = given
        .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    let good = |topic: &String| !topic.is_empty() && topic.len() <= MAX_TOPIC;
    if topics.is_empty() || !topics.iter().all(good) {
        return Err(Page::new(
            400,
            "",
            "a topic of 1 to 256 bytes is needed: ?topic=…\n",
        ));
    }
    let cursor = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "cursor");
    let cursor = cursor.map(|(_, value)| value.into_owned());
    Ok(Wanted {
        topics,
        last_id: cursor.or_else(|| header(request, "Last-Event-ID").map(str::to_owned)),
        pass: Pass::FREE,
        chunked: request.version == Some(1),
    })
}

/// Appends the head of a stream's answer.
pub(super) fn begin_stream(node: u16, chunked: bool, out: &mut Vec<u8>) {
    let body = match chunked {
        true => "Transfer-Encoding: chunked",
        false => "Connection: close",
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Squall-Node: {node}\r\n{body}\r\n\r\n"
    );
    out.extend_from_slice(head.as_bytes());
}

/// A request on a connection that polls.
pub(super) enum Polled {
    /// Not all of it has come.
    Part,
    /// A poll.
    Whole {
        /// Of the request, in bytes.
        length: usize,
        wanted: Wanted,
    },
    /// Answered by this, after which the connection ends.
    Refused(String),
}

/// Reads the poll that the bytes begin with.
pub(super) fn poll(bytes: &[u8]) -> Polled {
    let refuse = |status, body: &str| Polled::Refused(Page::new(status, "", body).text());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Polled::Part,
        Ok(httparse::Status::Partial) => return refuse(431, "the request head is too large\n"),
        Err(_) => return refuse(400, "this is not HTTP\n"),
    };
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if request.method != Some("GET") || path != "/poll" {
        return refuse(405, "this connection polls /poll\n");
    }
    match wanted(&request, query) {
        Ok(wanted) => Polled::Whole { length, wanted },
        Err(page) => Polled::Refused(page.text()),
    }
}

/// Appends the answer to a poll: these lines, or that there are none.
pub(super) fn answer_poll(node: u16, cursor: &str, lines: &[u8], out: &mut Vec<u8>) {
    if lines.is_empty() {
        let head = format!("HTTP/1.1 204 No Content\r\nX-Squall-Node: {node}\r\n\r\n");
        return out.extend_from_slice(head.as_bytes());
    }
    let cursor = match cursor {
        "" => String::new(),
        cursor => format!("X-Cursor: {cursor}\r\n"),
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nCache-Control: no-store\r\nX-Squall-Node: {node}\r\n{cursor}Content-Length: {}\r\n\r\n",
        lines.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(lines);
}

/// A request on a connection that posts.
pub(super) enum Posted {
    /// Not all of it has come.
    Part,
    /// A publish.
    Whole {
        /// Of the request, in bytes.
        length: usize,
        topic: String,
        /// Where its payload lies.
        payload: std::ops::Range<usize>,
    },
    /// Answered by this, after which the connection ends.
    Refused(String),
}

/// Reads the request that the bytes begin with.
pub(super) fn post(bytes: &[u8], hub: &Hub) -> Posted {
    let refuse = |status, body: &str| Posted::Refused(Page::new(status, "", body).text());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Posted::Part,
        Ok(httparse::Status::Partial) => return refuse(431, "the request head is too large\n"),
        Err(_) => return refuse(400, "this is not HTTP\n"),
    };
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if request.method != Some("POST") || path != "/publish" {
        return refuse(405, "this connection posts to /publish\n");
    }
    let length = header(&request, "Content-Length").map(str::parse::<usize>);
    let Some(Ok(length)) = length else {
        return refuse(411, "a Content-Length is needed\n");
    };
    if length > hub.config.max_message {
        return refuse(413, "the message is too large\n");
    }
    if bytes.len() < head + length {
        return Posted::Part;
    }
    let topic = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "topic");
    match topic {
        Some((_, topic)) if !topic.is_empty() && topic.len() <= MAX_TOPIC => Posted::Whole {
            length: head + length,
            topic: topic.into_owned(),
            payload: head..head + length,
        },
        _ => refuse(400, "a topic of 1 to 256 bytes is needed: ?topic=…\n"),
    }
}

/// Whether a query is one of Engine.IO's by polling, or names a conversation that began so.
fn polls(query: &str) -> bool {
    url::form_urlencoded::parse(query.as_bytes())
        .any(|(name, value)| name == "sid" || name == "transport" && value == "polling")
}

/// A request on a connection that speaks Engine.IO over HTTP.
pub(super) enum EngineIo {
    /// Not all of it has come.
    Part,
    /// One of these, of so many bytes.
    Whole(usize, Polling),
    /// Answered by this, after which the connection ends; counted by its status.
    Refused(u16, String),
}

/// What is asked for over HTTP.
pub(super) enum Polling {
    /// A conversation, by a client that has shown this.
    Open(Box<Upgrade>),
    /// What there is to say in this one.
    Get(String),
    /// To hear this.
    Post(String, std::ops::Range<usize>),
    /// To go on over a WebSocket; the head of the 101.
    Upgrade(String, String),
}

/// Reads the request that the bytes begin with.
pub(super) fn engine_io(bytes: &[u8], hub: &Hub) -> EngineIo {
    let refuse = |page: Page| EngineIo::Refused(page.status, page.text());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return EngineIo::Part,
        Ok(httparse::Status::Partial) => {
            return refuse(Page::new(431, "", "the request head is too large\n"));
        }
        Err(_) => return refuse(Page::new(400, "", "this is not HTTP\n")),
    };
    let target = request.path.unwrap_or("/");
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !tongue::socket_io::PATHS.contains(&path) {
        return refuse(Page::new(404, "", "this connection speaks Engine.IO\n"));
    }
    let sid = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "sid");
    let sid = sid.map(|(_, sid)| sid.into_owned());
    let length = header(&request, "Content-Length").map(str::parse::<usize>);
    let body = match (request.method, length) {
        (Some("GET"), _) => 0,
        (Some("POST"), Some(Ok(length))) if length <= hub.config.max_message => length,
        (Some("POST"), Some(Ok(_))) => {
            return refuse(Page::new(413, "", "the message is too large\n"));
        }
        (Some("POST"), _) => return refuse(Page::new(411, "", "a Content-Length is needed\n")),
        _ => {
            return refuse(Page::new(
                405,
                "Allow: GET, POST\r\n",
                "only GET and POST\n",
            ));
        }
    };
    if bytes.len() < head + body {
        return EngineIo::Part;
    }
    let upgrades = tokens(&request, "Upgrade").any(|token| token.eq_ignore_ascii_case("websocket"));
    let asked = match sid {
        // What takes over from polling speaks as it is: see `polling.rs`.
        Some(sid) if upgrades => match upgrade(&request, path, hub.config.node, false) {
            Ok(upgrade) => Polling::Upgrade(sid, upgrade.head),
            Err(page) => return refuse(page),
        },
        Some(sid) if request.method == Some("POST") => Polling::Post(sid, head..head + body),
        Some(sid) => Polling::Get(sid),
        None => {
            let opened = Answer::Upgrade(Upgrade {
                head: String::new(),
                tongue: Some(Box::new(Tongue::SocketIo(Default::default()))),
                compression: None,
                pass: Pass::FREE,
            });
            match permit(opened, &request, query, hub) {
                Ok(Answer::Upgrade(upgrade)) => Polling::Open(Box::new(upgrade)),
                Ok(_) => return refuse(Page::new(405, "", "this connection polls\n")),
                Err(page) => return refuse(page),
            }
        }
    };
    EngineIo::Whole(head + body, asked)
}

/// Appends the answer to one of these.
pub(super) fn answer_polling(node: u16, status: u16, body: &[u8], out: &mut Vec<u8>) {
    let reason = reason(status);
    let kind = match status {
        200 => "text/plain; charset=UTF-8",
        _ => "application/json",
    };
    let head = format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nCache-Control: no-store\r\nX-Squall-Node: {node}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// The tokens that a request shows: in the Authorization header, the query, a cookie or as a subprotocol.
fn shown<'h>(
    request: &'h httparse::Request<'_, '_>,
    query: &'h str,
) -> impl Iterator<Item = Cow<'h, str>> {
    let bearer = header(request, "Authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        let bearer = scheme.eq_ignore_ascii_case("bearer");
        bearer.then(|| Cow::Borrowed(token.trim()))
    });
    let query = url::form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| name == "token" || name == "access_token")
        .map(|(_, value)| value);
    let cookies = values(request, "Cookie")
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix("token="))
        .map(Cow::Borrowed);
    let offered = tokens(request, "Sec-WebSocket-Protocol")
        .filter_map(|offered| offered.strip_prefix(TOKEN))
        .map(Cow::Borrowed);
    bearer
        .into_iter()
        .chain(query)
        .chain(cookies)
        .chain(offered)
}

fn header<'h>(request: &'h httparse::Request<'_, '_>, name: &'h str) -> Option<&'h str> {
    values(request, name).next()
}

/// The elements of a list header, over all its lines.
fn tokens<'h>(
    request: &'h httparse::Request<'_, '_>,
    name: &'h str,
) -> impl Iterator<Item = &'h str> {
    values(request, name)
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn values<'h>(
    request: &'h httparse::Request<'_, '_>,
    name: &'h str,
) -> impl Iterator<Item = &'h str> {
    request
        .headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .filter_map(|header| std::str::from_utf8(header.value).ok())
        .map(str::trim)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        413 => "Content Too Large",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        501 => "Not Implemented",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}
