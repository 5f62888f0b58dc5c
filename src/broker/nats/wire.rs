//! The text protocol, without I/O: what a server says, and publishes as they are written.

use crate::broker::BrokerError;

/// Longest line that a server may send: its INFO lists all servers of a cluster.
const MAX_LINE: usize = 1 << 20;
/// Largest message that a server may send.
const MAX_MESSAGE: usize = 64 << 20;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// About itself: JSON.
    Info(&'a [u8]),
    /// Are you there?
    Ping,
    /// All that came before our ping is done.
    Pong,
    /// Done, where a client wants to know of each.
    Ok,
    /// Something is wrong; most often the connection is closed after it.
    Err(&'a str),
    /// A message of a subscription.
    Msg {
        /// Where it was published.
        subject: &'a str,
        /// Where an answer is waited for; empty: nowhere.
        reply: &'a str,
        /// Headers, `NATS/1.0` and its status included; may be empty.
        headers: &'a [u8],
        /// What it is.
        payload: &'a [u8],
    },
}

fn broken(what: &str) -> BrokerError {
    BrokerError::Protocol(what.to_owned())
}

/// The next operation, and its length in bytes. `None`: more has to come first.
pub fn next(bytes: &[u8]) -> Result<Option<(Op<'_>, usize)>, BrokerError> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n") else {
        return match bytes.len() > MAX_LINE {
            true => Err(broken("a line without an end")),
            false => Ok(None),
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| broken("a line is not UTF-8"))?;
    let after = end + 2;
    let (word, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let rest = rest.trim();
    let op = match word.to_ascii_uppercase().as_str() {
        "PING" => Op::Ping,
        "PONG" => Op::Pong,
        "+OK" => Op::Ok,
        "-ERR" => Op::Err(rest.trim_matches('\'')),
        "INFO" => Op::Info(rest.as_bytes()),
        word @ ("MSG" | "HMSG") => return message(word == "HMSG", rest, bytes, after),
        _ => return Err(broken("an operation that does not exist")),
    };
    Ok(Some((op, after)))
}

/// `MSG subject sid [reply] size`, `HMSG subject sid [reply] headers size`.
fn message<'a>(
    headed: bool,
    rest: &'a str,
    bytes: &'a [u8],
    after: usize,
) -> Result<Option<(Op<'a>, usize)>, BrokerError> {
    let wrong = || broken("a message's line makes no sense");
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let numbers = if headed { 2 } else { 1 };
    if !(2 + numbers..=3 + numbers).contains(&words.len()) {
        return Err(wrong());
    }
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let size = number(words[words.len() - 1])?;
    let head = if headed {
        number(words[words.len() - 2])?
    } else {
        0
    };
    if size > MAX_MESSAGE || head > size {
        return Err(wrong());
    }
    let Some(body) = bytes.get(after..after + size + 2) else {
        return Ok(None);
    };
    if !body.ends_with(b"\r\n") {
        return Err(broken("a message is longer than it says"));
    }
    let reply = if words.len() == 3 + numbers {
        words[2]
    } else {
        ""
    };
    let op = Op::Msg {
        subject: words[0],
        reply,
        headers: &body[..head],
        payload: &body[head..size],
    };
    Ok(Some((op, after + size + 2)))
}

/// Writes a publish. With a reply an acknowledgement is sent there; `id` is what JetStream tells a repetition by.
pub fn put_publish(
    out: &mut impl Extend<u8>,
    subject: &str,
    reply: Option<&str>,
    id: Option<&str>,
    payload: &[u8],
) {
    let header = id.map(|id| format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n"));
    let reply = reply.map(|reply| format!("{reply} ")).unwrap_or_default();
    let line = match &header {
        None => format!("PUB {subject} {reply}{}\r\n", payload.len()),
        Some(header) => {
            let total = header.len() + payload.len();
            format!("HPUB {subject} {reply}{} {total}\r\n", header.len())
        }
    };
    out.extend(line.into_bytes());
    out.extend(header.unwrap_or_default().into_bytes());
    out.extend(payload.iter().copied());
    out.extend(*b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_server_says_is_read() {
        let table: &[(&[u8], Op<'_>)] = &[
            (b"PING\r\n", Op::Ping),
            (b"pong\r\n", Op::Pong),
            (b"+OK\r\n", Op::Ok),
            (
                b"-ERR 'Authorization Violation'\r\n",
                Op::Err("Authorization Violation"),
            ),
            (b"INFO {\"a\":1} \r\n", Op::Info(b"{\"a\":1}")),
            (
                b"MSG a.b 1 2\r\nhi\r\n",
                Op::Msg {
                    subject: "a.b",
                    reply: "",
                    headers: b"",
                    payload: b"hi",
                },
            ),
            (
                b"MSG a 1 _INBOX.1 0\r\n\r\n",
                Op::Msg {
                    subject: "a",
                    reply: "_INBOX.1",
                    headers: b"",
                    payload: b"",
                },
            ),
            (
                b"HMSG a 1 16 18\r\nNATS/1.0 503\r\n\r\nhi\r\n",
                Op::Msg {
                    subject: "a",
                    reply: "",
                    headers: b"NATS/1.0 503\r\n\r\n",
                    payload: b"hi",
                },
            ),
        ];
        for (bytes, expected) in table {
            let (op, length) = next(bytes).unwrap().unwrap();
            assert_eq!((&op, length), (expected, bytes.len()));
            // Cut anywhere it waits for the rest.
            for cut in 0..bytes.len() {
                assert!(next(&bytes[..cut]).unwrap().is_none(), "{cut} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for bytes in [
            &b"HELLO\r\n"[..],
            b"MSG a 1\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a 1 99999999999\r\n",
            b"HMSG a 1 9 3\r\n",
            b"MSG a 1 2\r\nhigh\r\n",
            b"\xff\xff\r\n",
        ] {
            assert!(next(bytes).is_err(), "{bytes:?}");
        }
        assert!(next(&vec![b'a'; MAX_LINE + 1]).is_err());
    }

    #[test]
    fn publishes_are_written() {
        let mut out = Vec::new();
        put_publish(&mut out, "a.b", None, None, b"hi");
        assert_eq!(out, b"PUB a.b 2\r\nhi\r\n");
        out.clear();
        put_publish(&mut out, "a", Some("_INBOX.7"), Some("x-1"), b"hi");
        assert_eq!(
            out,
            b"HPUB a _INBOX.7 30 32\r\nNATS/1.0\r\nNats-Msg-Id: x-1\r\n\r\nhi\r\n"
        );
    }

    /// What a server makes of a publish for subscription 7.
    fn served(publish: &[u8]) -> Vec<u8> {
        let space = |from: usize| from + memchr::memchr(b' ', &publish[from..]).unwrap();
        let verb = space(0);
        let subject = space(verb + 1);
        let word: &[u8] = match &publish[..verb] {
            b"PUB" => b"MSG",
            b"HPUB" => b"HMSG",
            other => panic!("{other:?}"),
        };
        [word, &publish[verb..subject], b" 7", &publish[subject..]].concat()
    }

    proptest! {
        #[test]
        fn what_is_published_is_read_where_it_is_served(
            subject in "[A-Za-z0-9_.$*>é-]{1,40}",
            reply in prop::option::of("_INBOX[.][A-Za-z0-9]{1,20}"),
            id in prop::option::of("[a-z0-9-]{1,20}"),
            payload in prop::collection::vec(any::<u8>(), 0..300),
            more in prop::collection::vec(any::<u8>(), 0..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut out = Vec::new();
            put_publish(&mut out, &subject, reply.as_deref(), id.as_deref(), &payload);
            let bytes = served(&out);
            let headers = id.map_or_else(Vec::new, |id| format!("NATS/1.0\r\nNats-Msg-Id: {id}\r\n\r\n").into_bytes());
            let expected = Op::Msg {
                subject: &subject,
                reply: reply.as_deref().unwrap_or_default(),
                headers: &headers,
                payload: &payload,
            };
            let cut = cut.index(bytes.len());
            prop_assert!(next(&bytes[..cut]).unwrap().is_none());
            // Whatever stands behind it.
            let all = [&bytes[..], &more].concat();
            prop_assert_eq!(next(&all).unwrap(), Some((expected, bytes.len())));
        }

        #[test]
        fn whatever_comes_is_read_or_refused(
            word in prop::sample::select(vec!["", "MSG ", "hmsg\t", "INFO ", "-ERR ", "+OK", "PING", "PONG "]),
            line in prop_oneof![
                "[a-z .\t']{0,12}( [0-9]{1,20}){0,3}",
                prop::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter),
            ],
            rest in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let mut bytes = format!("{word}{line}\r\n").into_bytes();
            bytes.extend(&rest);
            if let Ok(Some((_, length))) = next(&bytes) {
                prop_assert!((2..=bytes.len()).contains(&length));
                prop_assert!(bytes[..length].ends_with(b"\r\n"));
            }
            let _ = next(&rest);
        }
    }
}
