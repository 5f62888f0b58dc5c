//! The wire of a Redis server, RESP3, as far as it is needed: commands out, values in. Without I/O.

use std::fmt;

/// Largest text accepted.
const MAX_TEXT: usize = 256 << 20;
/// Most values in a list.
const MAX_LIST: usize = 1 << 20;
/// Deepest nesting.
const MAX_DEPTH: usize = 8;

/// What a server says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Nothing, and what is of no interest here: booleans and fractions.
    Nil,
    Int(i64),
    Text(Vec<u8>),
    Error(String),
    /// A list; of a map, keys and values in turn.
    List(Vec<Value>),
    /// What nobody asked for: messages of a channel.
    Push(Vec<Value>),
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }
}

/// Not RESP3, or more than is accepted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it does not speak RESP3")
    }
}

impl std::error::Error for Malformed {}

/// Appends a command.
pub(super) fn command(parts: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        out.extend_from_slice(part);
        out.extend_from_slice(b"\r\n");
    }
}

/// The first value of the bytes, and how many it took; `None` while it is not whole.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, Malformed> {
    let mut rest = bytes;
    let value = value(&mut rest, 0)?;
    Ok(value.map(|value| (value, bytes.len() - rest.len())))
}

fn value(rest: &mut &[u8], depth: usize) -> Result<Option<Value>, Malformed> {
    let Some(head) = line(rest)? else {
        return Ok(None);
    };
    let (&kind, head) = head.split_first().ok_or(Malformed)?;
    let number = || -> Result<i64, Malformed> {
        let text = std::str::from_utf8(head).map_err(|_| Malformed)?;
        text.parse().map_err(|_| Malformed)
    };
    let length = |most: usize| -> Result<Option<usize>, Malformed> {
        match number()? {
            -1 => Ok(None),
            n => usize::try_from(n)
                .ok()
                .filter(|n| *n <= most)
                .map(Some)
                .ok_or(Malformed),
        }
    };
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Some(match kind {
        b'+' => Value::Text(head.to_vec()),
        b'-' => Value::Error(said(head)),
        b':' => Value::Int(number()?),
        b'_' | b'#' | b',' | b'(' => Value::Nil,
        b'$' | b'=' | b'!' => {
            let Some(length) = length(MAX_TEXT)? else {
                return Ok(Some(Value::Nil));
            };
            let Some((text, behind)) = rest.split_at_checked(length) else {
                return Ok(None);
            };
            if behind.len() < 2 {
                return Ok(None);
            }
            *rest = behind.strip_prefix(b"\r\n").ok_or(Malformed)?;
            match kind {
                b'!' => Value::Error(said(text)),
                _ => Value::Text(text.to_vec()),
            }
        }
        b'*' | b'~' | b'>' | b'%' => {
            let Some(length) = length(MAX_LIST)? else {
                return Ok(Some(Value::Nil));
            };
            if depth == MAX_DEPTH {
                return Err(Malformed);
            }
            let count = length * if kind == b'%' { 2 } else { 1 };
            let mut list = Vec::new();
            for _ in 0..count {
                match value(rest, depth + 1)? {
                    Some(value) => list.push(value),
                    None => return Ok(None),
                }
            }
            match kind {
                b'>' => Value::Push(list),
                _ => Value::List(list),
            }
        }
        _ => return Err(Malformed),
    }))
}

/// The bytes up to the next line end, which is taken too.
fn line<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    /// Heads and simple texts are short.
    const MAX_LINE: usize = 64 * 1024;
    let Some(end) = memchr::memchr(b'\n', rest) else {
        return match rest.len() > MAX_LINE {
            true => Err(Malformed),
            false => Ok(None),
        };
    };
    let (head, behind) = rest.split_at(end + 1);
    *rest = behind;
    head.strip_suffix(b"\r\n").map(Some).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Value {
        Value::Text(text.as_bytes().to_vec())
    }

    #[test]
    fn reads_every_kind_however_it_is_cut() {
        let table = [
            ("+OK\r\n", text("OK")),
            ("-ERR no\r\n", Value::Error("ERR no".into())),
            (":-7\r\n", Value::Int(-7)),
            ("$3\r\na\nb\r\n", text("a\nb")),
            ("$0\r\n\r\n", text("")),
            ("$-1\r\n", Value::Nil),
            ("_\r\n", Value::Nil),
            ("#t\r\n", Value::Nil),
            ("!5\r\nERR x\r\n", Value::Error("ERR x".into())),
            (
                "*2\r\n:1\r\n*0\r\n",
                Value::List(vec![Value::Int(1), Value::List(vec![])]),
            ),
            (
                "%1\r\n+k\r\n:2\r\n",
                Value::List(vec![text("k"), Value::Int(2)]),
            ),
            (
                ">2\r\n+message\r\n$1\r\nx\r\n",
                Value::Push(vec![text("message"), text("x")]),
            ),
        ];
        for (bytes, expected) in table {
            let whole = bytes.len();
            let more = format!("{bytes}+next\r\n");
            assert_eq!(
                parse(more.as_bytes()),
                Ok(Some((expected, whole))),
                "{bytes:?}"
            );
            for cut in 0..whole {
                assert_eq!(
                    parse(&bytes.as_bytes()[..cut]),
                    Ok(None),
                    "{bytes:?} cut at {cut}"
                );
            }
        }
    }

    #[test]
    fn refuses_what_it_cannot_know() {
        let deep = "*1\r\n".repeat(MAX_DEPTH + 2);
        for bytes in [
            "?\r\n",
            ":x\r\n",
            "$-2\r\n",
            "$999999999999\r\n",
            "*99999999\r\n",
            "+a\n",
            "\r\n",
            "$1\r\nabc\r\n",
            &deep,
        ] {
            assert_eq!(parse(bytes.as_bytes()), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_come_in(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn a_command_is_a_list_of_texts(parts: Vec<Vec<u8>>) {
            let mut out = Vec::new();
            command(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>(), &mut out);
            let expected = Value::List(parts.into_iter().map(Value::Text).collect());
            let whole = out.len();
            prop_assert_eq!(parse(&out), Ok(Some((expected, whole))));
        }
    }
}
