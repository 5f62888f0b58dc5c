//! AMQP 0-9-1, without I/O: what a server says, and what is said to it. One channel is used, the first.

use crate::broker::BrokerError;

/// What a client says first.
pub const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// Largest frame that either side may send, in bytes, all of it.
pub const FRAME_MAX: u32 = 128 << 10;
/// What every server takes: bodies are cut into frames of this size, so that a message can be written down before there is a connection.
const FRAME_MIN: usize = 4096;
/// What is around a frame's payload.
const AROUND: usize = 8;
/// The last byte of each frame.
const END: u8 = 0xce;
/// A frame that says that we are alive.
pub const HEARTBEAT: &[u8] = &[8, 0, 0, 0, 0, 0, 0, END];

/// What a server says, frame by frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A method.
    Method(Method<'a>),
    /// A content follows, of so many bytes.
    Header(u64),
    /// A piece of it.
    Body(&'a [u8]),
    /// It is alive.
    Heartbeat,
}

/// Those methods that mean something here.
#[derive(Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// The ways to log in that it knows, apart by spaces.
    Start(&'a str),
    /// Largest number of a channel, largest frame in bytes, heartbeats in seconds. 0: no limit, none.
    Tune(u16, u32, u16),
    /// A queue is there, under this name.
    QueueDeclared(&'a str),
    /// The connection, or our channel, is closed: code and reason.
    Close(u16, &'a str),
    /// It reads no publishes for now; why.
    Blocked(&'a str),
    /// It does again.
    Unblocked,
    /// No queue took a message, which follows: reason and routing key.
    Return(&'a str, &'a str),
    /// A message follows: its number, and its routing key.
    Deliver(u64, &'a str),
    /// The consumer is ended, as its queue is gone.
    Cancel,
    /// The broker has the message of this number, or (true) all up to it.
    Ack(u64, bool),
    /// The same, of those that it could not take.
    Nack(u64, bool),
    /// Any other, by class and method.
    Other(u16, u16),
}

fn broken(what: &str) -> BrokerError {
    BrokerError::Protocol(what.to_owned())
}

/// The next frame, and its length in bytes. `None`: more has to come first.
pub fn next(bytes: &[u8]) -> Result<Option<(Frame<'_>, usize)>, BrokerError> {
    let Some((head, rest)) = bytes.split_at_checked(7) else {
        return Ok(None);
    };
    if head.starts_with(b"AMQP") {
        return Err(broken("it speaks another version of AMQP"));
    }
    let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    if size > FRAME_MAX {
        return Err(broken("a frame is longer than was agreed"));
    }
    let size = size as usize;
    let Some(end) = rest.get(size) else {
        return Ok(None);
    };
    if *end != END {
        return Err(broken("a frame does not end where it says"));
    }
    let payload = &rest[..size];
    let frame = match head[0] {
        1 => Frame::Method(method(payload)?),
        2 => {
            let mut fields = Fields(payload);
            fields.long()?;
            Frame::Header(fields.longlong()?)
        }
        3 => Frame::Body(payload),
        8 => Frame::Heartbeat,
        _ => return Err(broken("a frame of a kind that does not exist")),
    };
    Ok(Some((frame, size + AROUND)))
}

fn method(payload: &[u8]) -> Result<Method<'_>, BrokerError> {
    let mut of = Fields(payload);
    Ok(match (of.short()?, of.short()?) {
        (10, 10) => {
            of.short()?;
            of.long_text()?;
            let mechanisms = of.long_text()?;
            Method::Start(std::str::from_utf8(mechanisms).unwrap_or_default())
        }
        (10, 30) => Method::Tune(of.short()?, of.long()?, of.short()?),
        (10, 50) | (20, 40) => Method::Close(of.short()?, of.text()?),
        (10, 60) => Method::Blocked(of.text()?),
        (10, 61) => Method::Unblocked,
        (50, 11) => Method::QueueDeclared(of.text()?),
        (60, 30) => Method::Cancel,
        (60, 50) => {
            of.short()?;
            let why = of.text()?;
            of.text()?;
            Method::Return(why, of.text()?)
        }
        (60, 60) => {
            of.text()?;
            let number = of.longlong()?;
            of.octet()?;
            of.text()?;
            Method::Deliver(number, of.text()?)
        }
        (60, 80) => Method::Ack(of.longlong()?, of.octet()? & 1 == 1),
        (60, 120) => Method::Nack(of.longlong()?, of.octet()? & 1 == 1),
        (class, method) => Method::Other(class, method),
    })
}

/// What is left of a method's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], BrokerError> {
        let (taken, rest) = (self.0)
            .split_at_checked(count)
            .ok_or_else(|| broken("a method is cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<u64, BrokerError> {
        let taken = self.take(bytes)?;
        Ok(taken
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn octet(&mut self) -> Result<u8, BrokerError> {
        Ok(self.number(1)? as u8)
    }

    fn short(&mut self) -> Result<u16, BrokerError> {
        Ok(self.number(2)? as u16)
    }

    fn long(&mut self) -> Result<u32, BrokerError> {
        Ok(self.number(4)? as u32)
    }

    fn longlong(&mut self) -> Result<u64, BrokerError> {
        self.number(8)
    }

    fn text(&mut self) -> Result<&'a str, BrokerError> {
        let length = self.octet()?;
        let text = self.take(length.into())?;
        std::str::from_utf8(text).map_err(|_| broken("a name is not UTF-8"))
    }

    /// Also what a table is, from outside.
    fn long_text(&mut self) -> Result<&'a [u8], BrokerError> {
        let length = self.long()?;
        self.take(length as usize)
    }
}

/// A method that is being written.
pub struct Put {
    channel: u16,
    payload: Vec<u8>,
}

impl Put {
    /// A method of the connection itself.
    pub fn connection(method: u16) -> Put {
        Put::on(0).short(10).short(method)
    }

    /// A method of the one channel.
    pub fn channel(class: u16, method: u16) -> Put {
        Put::on(1).short(class).short(method)
    }

    fn on(channel: u16) -> Put {
        let payload = Vec::new();
        Put { channel, payload }
    }

    fn bytes(mut self, bytes: &[u8]) -> Put {
        self.payload.extend_from_slice(bytes);
        self
    }

    /// One byte; flags are in one from its lowest bit on.
    pub fn octet(self, number: u8) -> Put {
        self.bytes(&[number])
    }

    /// Two bytes.
    pub fn short(self, number: u16) -> Put {
        self.bytes(&number.to_be_bytes())
    }

    /// Four bytes.
    pub fn long(self, number: u32) -> Put {
        self.bytes(&number.to_be_bytes())
    }

    /// Eight bytes.
    pub fn longlong(self, number: u64) -> Put {
        self.bytes(&number.to_be_bytes())
    }

    /// A text of at most 255 bytes; what is behind them is left out.
    pub fn text(self, text: &str) -> Put {
        let text = short(text);
        self.octet(text.len() as u8).bytes(text)
    }

    /// A text of any length.
    pub fn long_text(self, text: &[u8]) -> Put {
        self.long(text.len() as u32).bytes(text)
    }

    /// A table with nothing in it.
    pub fn empty_table(self) -> Put {
        self.long(0)
    }

    /// A table of these texts, and under `capabilities` another in which all of those are true.
    pub fn properties(self, texts: &[(&str, &str)], capabilities: &[&str]) -> Put {
        let mut inner = Put::on(0);
        for name in capabilities {
            inner = inner.text(name).octet(b't').octet(1);
        }
        let mut outer = Put::on(0);
        for (name, text) in texts {
            outer = outer.text(name).octet(b'S').long_text(text.as_bytes());
        }
        outer = outer.text("capabilities").octet(b'F');
        outer = outer.long_text(&inner.payload);
        self.long_text(&outer.payload)
    }

    /// The frame.
    pub fn end(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.payload.len() + AROUND);
        put_head(&mut out, 1, self.channel, self.payload.len());
        out.extend_from_slice(&self.payload);
        out.push(END);
        out
    }
}

fn short(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(255)]
}

fn put_head(out: &mut impl Extend<u8>, kind: u8, channel: u16, size: usize) {
    out.extend([kind]);
    out.extend(channel.to_be_bytes());
    out.extend((size as u32).to_be_bytes());
}

/// A message to be published.
#[derive(Debug, Clone, Copy)]
pub struct Publish<'a> {
    /// Where to.
    pub exchange: &'a str,
    /// Which of its queues; at most 255 bytes.
    pub key: &'a str,
    /// It is to be returned if there are none.
    pub mandatory: bool,
    /// It is to survive a restart.
    pub persistent: bool,
    /// Its name; at most 255 bytes.
    pub id: &'a str,
    /// What it is.
    pub payload: &'a [u8],
}

/// Writes a publish: its method, its header, and its body in pieces.
pub fn put_publish(out: &mut impl Extend<u8>, of: &Publish<'_>) {
    let (exchange, key, id) = (short(of.exchange), short(of.key), short(of.id));
    put_head(out, 1, 1, 9 + exchange.len() + key.len());
    // Class and method, and two bytes that mean nothing any more.
    out.extend([0, 60, 0, 40, 0, 0]);
    for text in [exchange, key] {
        out.extend([text.len() as u8]);
        out.extend(text.iter().copied());
    }
    out.extend([u8::from(of.mandatory), END]);

    put_head(out, 2, 1, 16 + id.len());
    out.extend([0, 60, 0, 0]);
    out.extend((of.payload.len() as u64).to_be_bytes());
    // Which properties follow: whether it is kept (bit 12), and its name (bit 7).
    out.extend(0x1080_u16.to_be_bytes());
    out.extend([1 + u8::from(of.persistent), id.len() as u8]);
    out.extend(id.iter().copied());
    out.extend([END]);

    for piece in of.payload.chunks(FRAME_MIN - AROUND) {
        put_head(out, 3, 1, piece.len());
        out.extend(piece.iter().copied());
        out.extend([END]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(mut bytes: &[u8]) -> Vec<Frame<'_>> {
        let mut frames = Vec::new();
        while let Some((frame, length)) = next(bytes).unwrap() {
            frames.push(frame);
            bytes = &bytes[length..];
        }
        assert!(bytes.is_empty());
        frames
    }

    #[test]
    fn what_a_server_says_is_read() {
        let start = Put::connection(10)
            .octet(0)
            .octet(9)
            .properties(&[("product", "RabbitMQ")], &["basic.nack"])
            .long_text(b"PLAIN AMQPLAIN")
            .long_text(b"en_US");
        let tune = Put::connection(30).short(2047).long(131_072).short(60);
        let close = Put::channel(20, 40)
            .short(404)
            .text("NOT_FOUND")
            .short(60)
            .short(40);
        let declared = Put::channel(50, 11).text("amq.gen-1").long(0).long(0);
        let returned = Put::channel(60, 50).short(312).text("NO_ROUTE").text("x");
        let deliver = Put::channel(60, 60).text("tag").longlong(7).octet(1);
        let table = [
            (start, Method::Start("PLAIN AMQPLAIN")),
            (tune, Method::Tune(2047, 131_072, 60)),
            (close, Method::Close(404, "NOT_FOUND")),
            (
                Put::connection(50).short(320).text("CONNECTION_FORCED"),
                Method::Close(320, "CONNECTION_FORCED"),
            ),
            (
                Put::connection(60).text("low on memory"),
                Method::Blocked("low on memory"),
            ),
            (Put::connection(61), Method::Unblocked),
            (declared, Method::QueueDeclared("amq.gen-1")),
            (returned.text("a.b"), Method::Return("NO_ROUTE", "a.b")),
            (
                deliver.text("x").text("squall.red"),
                Method::Deliver(7, "squall.red"),
            ),
            (Put::channel(60, 30).text("tag").octet(0), Method::Cancel),
            (
                Put::channel(60, 80).longlong(1 << 40).octet(1),
                Method::Ack(1 << 40, true),
            ),
            (
                Put::channel(60, 120).longlong(3).octet(2),
                Method::Nack(3, false),
            ),
            (Put::channel(85, 11), Method::Other(85, 11)),
        ];
        for (put, expected) in table {
            let bytes = put.end();
            assert_eq!(all(&bytes), [Frame::Method(expected)]);
            // Cut anywhere it waits for the rest.
            for cut in 0..bytes.len() {
                assert!(next(&bytes[..cut]).unwrap().is_none(), "{cut} of {bytes:?}");
            }
        }
        assert_eq!(all(HEARTBEAT), [Frame::Heartbeat]);
    }

    #[test]
    fn a_publish_is_a_method_a_header_and_pieces_that_every_server_takes() {
        let payload = vec![b'x'; 10_000];
        let mut out = Vec::new();
        let publish = Publish {
            exchange: "e",
            key: "k.ey",
            mandatory: true,
            persistent: true,
            id: "id",
            payload: &payload,
        };
        put_publish(&mut out, &publish);
        let frames = all(&out);
        assert_eq!(frames[0], Frame::Method(Method::Other(60, 40)));
        assert_eq!(frames[1], Frame::Header(10_000));
        let sizes = frames[2..].iter().map(|frame| match frame {
            Frame::Body(piece) => piece.len(),
            _ => 0,
        });
        assert_eq!(sizes.collect::<Vec<_>>(), [4088, 4088, 1824]);
        // By the letter of the specification, as the reader above passes over it.
        let method = b"\x01\x00\x01\x00\x00\x00\x0e\x00\x3c\x00\x28\x00\x00\x01e\x04k.ey\x01\xce";
        assert!(out.starts_with(method));
        let header = b"\x02\x00\x01\x00\x00\x00\x12\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x27\x10\x10\x80\x02\x02id\xce";
        assert!(out[method.len()..].starts_with(header));

        out.clear();
        put_publish(
            &mut out,
            &Publish {
                mandatory: false,
                persistent: false,
                payload: b"",
                ..publish
            },
        );
        assert_eq!(all(&out).len(), 2, "nothing has no pieces");
        assert_eq!((out[method.len() - 2], out[out.len() - 5]), (0, 1));
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for bytes in [
            // Another version, as a server says it.
            &b"AMQP\x00\x01\x00\x00"[..],
            // Too long.
            b"\x01\x00\x01\x7f\xff\xff\xff",
            // No end.
            b"\x08\x00\x00\x00\x00\x00\x00\x00",
            // Of no kind.
            b"\x09\x00\x00\x00\x00\x00\x00\xce",
            // Cut short.
            b"\x01\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x50\xce",
            b"\x01\x00\x01\x00\x00\x00\x02\x00\x3c\xce",
            b"\x02\x00\x01\x00\x00\x00\x04\x00\x3c\x00\x00\xce",
        ] {
            assert!(next(bytes).is_err(), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(
            kind in 0u8..10,
            class in 0u16..130,
            method in 0u16..130,
            rest in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut payload = class.to_be_bytes().to_vec();
            payload.extend(method.to_be_bytes());
            payload.extend(&rest);
            let mut bytes = Vec::new();
            put_head(&mut bytes, kind, 1, payload.len());
            bytes.extend(&payload);
            bytes.push(END);
            if let Ok(frame) = next(&bytes) {
                prop_assert_eq!(frame.map(|(_, length)| length), Some(bytes.len()));
            }
            let _ = next(&rest);
        }
    }
}
