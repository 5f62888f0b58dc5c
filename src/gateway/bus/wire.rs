//! The wire between a node and its supervisor.
//!
//! A frame is a length (u32, little endian, of what follows), a version byte and a postcard-encoded
//! message. Nothing that arrives makes the reader allocate more than it got.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::super::{Goodbye, Stats};

/// Version of the frames and of the messages in them.
pub(in super::super) const VERSION: u8 = 2;

/// Largest frame, in bytes.
pub(in super::super) const MAX_FRAME: usize = 256 << 20;

/// Bytes read at once.
const READ: usize = 64 * 1024;

/// From a node to its supervisor.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) enum Up<'a> {
    /// It listens.
    Listening { address: SocketAddr },
    /// It cannot serve.
    Failed { text: &'a str },
    /// Somebody is subscribed: answered with [`Down::Interested`], then every message after that.
    Interest { topic: &'a str },
    /// A client subscribes, where there is a history: [`Up::Interest`] for it alone. Answered with [`Down::Subscribed`].
    Subscribe {
        topic: &'a str,
        token: u64,
        client: u64,
        /// The last number that it heard, and the epoch of that if it says.
        since: Option<(u64, Option<&'a str>)>,
    },
    /// Nobody is any more.
    Disinterest { topic: &'a str },
    /// To be numbered. With a token it is answered with [`Down::Published`].
    Publish {
        topic: &'a str,
        payload: &'a str,
        token: Option<u64>,
    },
    /// The last message.
    Stats(Box<Stats>),
}

/// From the supervisor to a node.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in super::super) enum Down<'a> {
    /// What to be: a [`Config`](super::super::Config) as JSON. The first message.
    Order { config: &'a str },
    /// The topic's messages after this number will come; `None`: there are too many topics.
    Interested {
        topic: &'a str,
        sequence: Option<u64>,
    },
    /// A numbered message.
    Deliver {
        topic: &'a str,
        sequence: u64,
        payload: &'a str,
    },
    /// What was published with this token has this number; `None`: there are too many topics.
    Published { token: u64, sequence: Option<u64> },
    /// The client that subscribed with this token hears the topic's messages after this number, and before them what it
    /// missed: [`Down::Missed`]. Number, epoch, and whether that is all of it, if it asked; `None`: there are too many topics.
    Subscribed {
        token: u64,
        answer: Option<(u64, u64, Option<bool>)>,
    },
    /// A message for one client that missed it.
    Missed {
        topic: &'a str,
        client: u64,
        sequence: u64,
        payload: &'a str,
    },
    /// Time to end.
    Drain {
        /// In what manner.
        goodbye: Goodbye,
    },
}

/// Why the bus has come to its end.
#[derive(Debug)]
pub enum BusError {
    /// The stream failed.
    Io(io::Error),
    /// The other end is of another version.
    Version(u8),
    /// A frame of this length, which is more than may be.
    TooLong(usize),
    /// A frame that makes no sense.
    Malformed,
}

impl fmt::Display for BusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BusError::Io(error) => write!(f, "the bus failed: {error}"),
            BusError::Version(version) => write!(f, "the bus speaks version {version}"),
            BusError::TooLong(length) => write!(f, "a frame of {length} bytes on the bus"),
            BusError::Malformed => f.write_str("nonsense on the bus"),
        }
    }
}

impl std::error::Error for BusError {}

/// Appends a message to what is to be written. Returns the bytes added; 0 if it is too long for a frame.
pub(in super::super) fn encode(message: &impl Serialize, to: &mut Vec<u8>) -> usize {
    let from = to.len();
    to.extend_from_slice(&[0, 0, 0, 0, VERSION]);
    let encoded = postcard::to_extend(message, std::mem::take(to));
    let Ok(whole) = encoded else {
        // Extending memory cannot fail, and all lengths are known.
        return 0;
    };
    *to = whole;
    let length = to.len() - from - 4;
    if length > MAX_FRAME {
        to.truncate(from);
        return 0;
    }
    to[from..from + 4].copy_from_slice(&(length as u32).to_le_bytes());
    length + 4
}

/// Takes frames out of a stream.
#[derive(Debug, Default)]
pub(in super::super) struct Inbox {
    bytes: Vec<u8>,
    from: usize,
}

impl Inbox {
    /// Reads some more. False at the stream's end.
    pub(in super::super) async fn fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<bool, BusError> {
        self.bytes.drain(..self.from);
        self.from = 0;
        if self.bytes.is_empty() {
            self.bytes.shrink_to(2 * READ);
        }
        self.bytes.reserve(READ);
        let count = stream.read_buf(&mut self.bytes).await;
        Ok(count.map_err(BusError::Io)? > 0)
    }

    /// The next whole message, if it has arrived.
    pub(in super::super) fn next<'a, T: Deserialize<'a>>(
        &'a mut self,
    ) -> Result<Option<T>, BusError> {
        let rest = self.bytes.get(self.from..).unwrap_or_default();
        let Some((length, rest)) = rest.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(BusError::TooLong(length));
        }
        let Some(frame) = rest.get(..length) else {
            return Ok(None);
        };
        self.from += 4 + length;
        match frame.split_first() {
            Some((&VERSION, message)) => match postcard::take_from_bytes(message) {
                Ok((message, [])) => Ok(Some(message)),
                _ => Err(BusError::Malformed),
            },
            Some((&version, _)) => Err(BusError::Version(version)),
            None => Err(BusError::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> Result<Vec<String>, BusError> {
        let mut inbox = Inbox::default();
        let mut all = Vec::new();
        while inbox.fill(&mut bytes).await? {
            while let Some(message) = inbox.next::<Up<'_>>()? {
                all.push(format!("{message:?}"));
            }
        }
        Ok(all)
    }

    #[tokio::test]
    async fn comes_out_as_it_went_in_however_it_is_cut() {
        let long = "x".repeat(3 * READ);
        let messages = [
            Up::Interest { topic: "a" },
            Up::Publish {
                topic: "a",
                payload: &long,
                token: Some(7),
            },
            Up::Stats(Box::default()),
            Up::Disinterest { topic: "ä" },
        ];
        let mut bytes = Vec::new();
        for message in &messages {
            assert!(encode(message, &mut bytes) > 0);
        }
        let wanted: Vec<String> = messages.iter().map(|m| format!("{m:?}")).collect();
        assert_eq!(read(&bytes).await.unwrap(), wanted);
        let mut inbox = Inbox::default();
        let mut count = 0;
        for mut byte in bytes.chunks(1) {
            inbox.fill(&mut byte).await.unwrap();
            count += usize::from(inbox.next::<Up<'_>>().unwrap().is_some());
        }
        assert_eq!(count, messages.len());
    }

    #[tokio::test]
    async fn refuses_what_it_cannot_know() {
        let mut bytes = Vec::new();
        encode(&Up::Interest { topic: "a" }, &mut bytes);
        let mut other = bytes.clone();
        other[4] = 99;
        assert!(matches!(read(&other).await, Err(BusError::Version(99))));
        let mut longer = bytes.clone();
        longer[0] += 1;
        longer.push(0);
        assert!(matches!(read(&longer).await, Err(BusError::Malformed)));
        let huge = [0xff, 0xff, 0xff, 0xff, VERSION];
        assert!(matches!(read(&huge).await, Err(BusError::TooLong(_))));
        assert!(matches!(read(&[0; 4]).await, Err(BusError::Malformed)));
    }
}
