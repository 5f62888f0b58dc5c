//! A Redis server as the store that gateways share: it numbers what is published at any of them, keeps the history, and
//! carries messages to all. To a gateway it looks like the bus of several nodes (`bus/wire.rs`).
//!
//! One connection does it all, as order matters: a server speaks RESP3 and answers commands and sends a channel's messages
//! in the order in which things happened. So what comes behind the answer to a subscription is newer than that, and
//! nothing between the two is missed or brought twice. (Client libraries hand both out by different ways.)

mod resp;

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::bus::wire::{Down, Inbox, Up, encode};
use super::{GatewayError, History, history};
use resp::Value;

/// For the server to take a connection and say hello, and to hang up.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ: usize = 64 * 1024;

/// Numbers a message, keeps it, and tells all. The number, the epoch, the kept messages with the times of their keeping, and
/// the channel; the payload, an epoch for a topic that has none, how many are kept, and for how long.
const PUBLISH: &str = "local n = redis.call('INCR', KEYS[1]) \
redis.call('SET', KEYS[2], ARGV[2], 'NX') \
local t = redis.call('TIME') \
redis.call('RPUSH', KEYS[3], string.format('%.0f ', t[1] * 1000 + math.floor(t[2] / 1000)) .. ARGV[1]) \
redis.call('LTRIM', KEYS[3], -tonumber(ARGV[3]), -1) \
redis.call('PEXPIRE', KEYS[3], ARGV[4]) \
redis.call('PUBLISH', KEYS[4], string.format('%.0f ', n) .. ARGV[1]) \
return n";

/// What a subscriber is told: the last number, the epoch, whether all that was missed is there (-1: it did not ask), and that.
/// The same keys; an epoch for a topic that has none, the last number heard, the epoch of that, and how long messages are kept.
const SUBSCRIBE: &str = "local n = tonumber(redis.call('GET', KEYS[1]) or '0') \
redis.call('SET', KEYS[2], ARGV[1], 'NX') \
local e = redis.call('GET', KEYS[2]) \
if ARGV[2] == '' then return {n, e, -1} end \
local missed = n - tonumber(ARGV[2]) \
if (ARGV[3] ~= '' and ARGV[3] ~= e) or missed < 0 or missed > redis.call('LLEN', KEYS[3]) then return {n, e, 0} end \
if missed == 0 then return {n, e, 1} end \
local t = redis.call('TIME') \
local now = t[1] * 1000 + math.floor(t[2] / 1000) \
local kept = redis.call('LRANGE', KEYS[3], -missed, -1) \
if now - tonumber(string.match(kept[1], '^%d+')) >= tonumber(ARGV[4]) then return {n, e, 0} end \
return {n, e, 1, kept}";

/// Before the name of each key and channel.
const PREFIX: &str = "squall:";

/// Where a store is, of a `redis://host:port/number` address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: String,
    port: u16,
    database: String,
    login: Option<(String, String)>,
}

impl Place {
    fn of(address: &str) -> Result<Self, String> {
        let bad = |why: &str| Err(format!("history.store: {why}: redis://127.0.0.1:6379/0"));
        let Ok(url) = url::Url::parse(address) else {
            return bad("an address is like this");
        };
        if url.scheme() != "redis" {
            return bad("the scheme must be redis");
        }
        let Some(host) = url.host_str().filter(|host| !host.is_empty()) else {
            return bad("there is no host");
        };
        let database = url.path().trim_matches('/');
        if !database.bytes().all(|b| b.is_ascii_digit()) {
            return bad("the path is the number of a database");
        }
        let password = url.password().map(str::to_owned);
        Ok(Place {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: url.port().unwrap_or(6379),
            database: database.to_owned(),
            login: password.map(|password| match url.username() {
                "" => ("default".to_owned(), password),
                user => (user.to_owned(), password),
            }),
        })
    }
}

/// Whether an address makes sense.
pub(super) fn check(address: &str) -> Result<(), String> {
    Place::of(address).map(|_| ())
}

/// A connection to a store.
pub(super) struct Store {
    stream: TcpStream,
    limits: History,
}

/// What the next answer is to.
enum Asked {
    Publish {
        token: Option<u64>,
    },
    Subscribe {
        topic: Box<str>,
        token: u64,
        client: u64,
    },
}

type Answers = Arc<Mutex<VecDeque<Asked>>>;

impl Store {
    /// Connects.
    ///
    /// # Errors
    /// [`GatewayError::Store`] in words.
    pub(super) async fn connect(address: &str, limits: History) -> Result<Self, GatewayError> {
        let place = Place::of(address).map_err(GatewayError::Config)?;
        let at = format!("{}:{}", place.host, place.port);
        let failed = |why: String| GatewayError::Store(format!("{at}: {why}"));
        let hello = async {
            let mut stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
            stream.set_nodelay(true)?;
            let mut hello = vec!["HELLO", "3"];
            if let Some((user, password)) = &place.login {
                hello.extend(["AUTH", user, password]);
            }
            ask(&mut stream, &hello).await?;
            if !place.database.is_empty() {
                ask(&mut stream, &["SELECT", &place.database]).await?;
            }
            Ok::<_, io::Error>(stream)
        };
        let stream = match timeout(PATIENCE, hello).await {
            Ok(stream) => stream.map_err(|e| failed(e.to_string()))?,
            Err(_) => return Err(failed("it does not answer".into())),
        };
        Ok(Store { stream, limits })
    }

    /// One at the other end of a stream, which has said hello.
    #[cfg(test)]
    pub(super) fn over(stream: TcpStream, limits: History) -> Self {
        Store { stream, limits }
    }

    /// Carries messages between a gateway and the store until one of them ends. What the gateway said before its end is
    /// carried to its own: until the store, told that there is no more, hangs up.
    pub(super) async fn carry<R, W>(self, from: R, to: W) -> io::Result<()>
    where
        R: AsyncRead + Unpin + Send,
        W: AsyncWrite + Unpin + Send,
    {
        let answers = Answers::default();
        let (reader, writer) = self.stream.into_split();
        let said = say(from, writer, self.limits, Arc::clone(&answers));
        let heard = hear(reader, to, answers);
        let mut heard = pin!(heard);
        tokio::select! {
            ended = said => ended?,
            ended = &mut heard => return ended,
        }
        // To hang up first, with answers unread, would be a reset, and might undo what is on its way.
        let _ = timeout(PATIENCE, heard).await;
        Ok(())
    }
}

/// Asks while nothing else is under way.
async fn ask(stream: &mut TcpStream, parts: &[&str]) -> io::Result<()> {
    let mut out = Vec::new();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    resp::command(&parts, &mut out);
    stream.write_all(&out).await?;
    let mut bytes = Vec::new();
    loop {
        match resp::parse(&bytes).map_err(io::Error::other)? {
            Some((Value::Error(text), _)) => return Err(io::Error::other(text)),
            Some(_) => return Ok(()),
            None if stream.read_buf(&mut bytes).await? == 0 => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            None => {}
        }
    }
}

/// What the gateway says, to the store.
async fn say(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limits: History,
    answers: Answers,
) -> io::Result<()> {
    let mut inbox = Inbox::default();
    let mut out = Vec::new();
    let mut heard: HashSet<Box<str>> = HashSet::new();
    // For topics that nobody has begun: the keys that the standard library seeds its tables with are random.
    let epoch = history::text(RandomState::new().build_hasher().finish());
    let messages = limits.messages.to_string();
    let lasts = limits.lasts.as_millis().max(1).to_string();
    let expect = |asked| {
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        answers.push_back(asked);
    };
    while inbox.fill(&mut from).await.map_err(io::Error::other)? {
        out.clear();
        while let Some(message) = inbox.next::<Up<'_>>().map_err(io::Error::other)? {
            match message {
                Up::Publish {
                    topic,
                    payload,
                    token,
                } => {
                    expect(Asked::Publish { token });
                    let arguments = [payload, &epoch, &messages, &lasts];
                    script(PUBLISH, topic, arguments, &mut out);
                }
                Up::Subscribe {
                    topic,
                    token,
                    client,
                    since,
                } => {
                    let topic_name = topic;
                    let topic: Box<str> = topic.into();
                    if heard.insert(topic.clone()) {
                        resp::command(&[b"SUBSCRIBE", channel(topic_name).as_bytes()], &mut out);
                    }
                    expect(Asked::Subscribe {
                        topic,
                        token,
                        client,
                    });
                    let last = since.map_or(String::new(), |(last, _)| last.to_string());
                    let of = since.and_then(|(_, epoch)| epoch).unwrap_or_default();
                    let arguments = [&epoch, last.as_str(), of, &lasts];
                    script(SUBSCRIBE, topic_name, arguments, &mut out);
                }
                Up::Disinterest { topic } => {
                    if heard.remove(topic) {
                        resp::command(&[b"UNSUBSCRIBE", channel(topic).as_bytes()], &mut out);
                    }
                }
                // Of nodes only.
                Up::Interest { .. } | Up::Listening { .. } | Up::Failed { .. } | Up::Stats(_) => {}
            }
        }
        to.write_all(&out).await?;
        out.shrink_to(READ);
    }
    to.shutdown().await
}

fn channel(topic: &str) -> String {
    format!("{PREFIX}{topic}")
}

/// Appends a script's call. What is of one topic lies at one place of a cluster.
fn script(script: &str, topic: &str, arguments: [&str; 4], out: &mut Vec<u8>) {
    let key = |what: &str| format!("{PREFIX}{what}:{{{topic}}}");
    let keys = [key("number"), key("epoch"), key("kept"), channel(topic)];
    let mut parts: Vec<&[u8]> = vec![b"EVAL", script.as_bytes(), b"4"];
    parts.extend(keys.iter().map(|key| key.as_bytes()));
    parts.extend(arguments.iter().map(|argument| argument.as_bytes()));
    resp::command(&parts, out);
}

/// What the store says, to the gateway.
async fn hear(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    answers: Answers,
) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(READ);
    let mut out = Vec::new();
    loop {
        bytes.reserve(READ);
        if from.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut used = 0;
        while let Some((value, length)) = resp::parse(&bytes[used..]).map_err(io::Error::other)? {
            used += length;
            match value {
                Value::Push(parts) => deliver(&parts, &mut out),
                Value::Error(text) => return Err(io::Error::other(text)),
                answer => {
                    let asked = {
                        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                        answers.pop_front()
                    };
                    asked
                        .and_then(|asked| tell(asked, &answer, &mut out))
                        .ok_or_else(|| io::Error::other("an answer that makes no sense"))?;
                }
            }
        }
        bytes.drain(..used);
        to.write_all(&out).await?;
        out.clear();
        out.shrink_to(READ);
    }
}

/// A message of a channel, `number payload`; anything else that is pushed is of no interest.
fn deliver(parts: &[Value], out: &mut Vec<u8>) {
    if let [kind, channel, message] = parts
        && kind.text() == Some("message")
        && let (Some(channel), Some(message)) = (channel.text(), message.text())
        && let Some(topic) = channel.strip_prefix(PREFIX)
        && let Some((sequence, payload)) = numbered(message)
    {
        let message = Down::Deliver {
            topic,
            sequence,
            payload,
        };
        encode(&message, out);
    }
}

/// `number payload`.
fn numbered(text: &str) -> Option<(u64, &str)> {
    let (number, rest) = text.split_once(' ')?;
    Some((number.parse().ok()?, rest))
}

/// An answer to what was asked; `None` for one that cannot be.
fn tell(asked: Asked, answer: &Value, out: &mut Vec<u8>) -> Option<()> {
    match (asked, answer) {
        (Asked::Publish { token }, Value::Int(number)) => {
            let sequence = Some(u64::try_from(*number).ok()?);
            if let Some(token) = token {
                encode(&Down::Published { token, sequence }, out);
            }
        }
        (
            Asked::Subscribe {
                topic,
                token,
                client,
            },
            Value::List(parts),
        ) => {
            let [Value::Int(last), epoch, Value::Int(recovered), rest @ ..] = parts.as_slice()
            else {
                return None;
            };
            let last = u64::try_from(*last).ok()?;
            let epoch = u64::from_str_radix(epoch.text()?, 16).ok()?;
            let recovered = match recovered {
                -1 => None,
                said => Some(*said == 1),
            };
            let answer = Some((last, epoch, recovered));
            encode(&Down::Subscribed { token, answer }, out);
            if let [Value::List(kept)] = rest {
                let first = (last + 1).checked_sub(kept.len() as u64)?;
                for (sequence, kept) in (first..).zip(kept) {
                    let (_, payload) = numbered(kept.text()?)?;
                    let message = Down::Missed {
                        topic: &topic,
                        client,
                        sequence,
                        payload,
                    };
                    encode(&message, out);
                }
            }
        }
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let place = |address: &str| Place::of(address).map(|p| (p.host, p.port, p.database));
        let local = |port, database: &str| Ok(("127.0.0.1".to_owned(), port, database.to_owned()));
        assert_eq!(place("redis://127.0.0.1:7000/3"), local(7000, "3"));
        assert_eq!(place("redis://127.0.0.1"), local(6379, ""));
        assert_eq!(place("redis://[::1]:1/").map(|p| p.0), Ok("::1".into()));
        let login = Place::of("redis://:pw@h/0").ok().and_then(|p| p.login);
        assert_eq!(login, Some(("default".into(), "pw".into())));
        for bad in [
            "",
            "127.0.0.1:1",
            "rediss://h/0",
            "redis://h/x",
            "redis:///0",
        ] {
            assert!(check(bad).unwrap_err().contains("history.store"), "{bad}");
        }
    }

    /// A store is believed no more than any other peer.
    #[test]
    fn answers_that_make_no_sense_are_refused() {
        let publish = || Asked::Publish { token: Some(1) };
        let subscribe = || Asked::Subscribe {
            topic: "t".into(),
            token: 1,
            client: 2,
        };
        let list = |parts: &[&str]| {
            let part = |text: &&str| match text.parse() {
                Ok(number) => Value::Int(number),
                Err(_) => Value::Text(text.as_bytes().to_vec()),
            };
            Value::List(parts.iter().map(part).collect())
        };
        let mut out = Vec::new();
        assert!(tell(publish(), &Value::Int(4), &mut out).is_some());
        assert!(tell(subscribe(), &list(&["4", "ab", "1"]), &mut out).is_some());
        for (asked, answer) in [
            (publish(), Value::Int(-1)),
            (publish(), list(&["1"])),
            (subscribe(), Value::Nil),
            (subscribe(), list(&["4", "ab"])),
            (subscribe(), list(&["4", "xyz", "1"])),
            (subscribe(), list(&["-4", "ab", "1"])),
        ] {
            assert!(tell(asked, &answer, &mut out).is_none(), "{answer:?}");
        }
    }
}
