//! Server-sent events as the WHATWG's HTML standard has them read (§9.2.6, "Interpreting an event stream").

/// An event that was dispatched.
#[derive(Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its type; empty: `message`.
    pub kind: &'a [u8],
    /// Its data, lines joined by line feeds. Never empty.
    pub data: &'a [u8],
}

/// An event is larger than accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The lines of one connection's stream, and what outlives the connection: the last event's id, and how long to wait before
/// coming back.
#[derive(Debug, Default)]
pub struct Events {
    /// The beginning of a line.
    line: Vec<u8>,
    data: Vec<u8>,
    kind: Vec<u8>,
    /// The id of the event that is being read.
    id: Vec<u8>,
    last_id: Vec<u8>,
    retry_ms: Option<u64>,
    /// The first line was read: no byte order mark is skipped any more.
    begun: bool,
    /// The last line ended in a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// What was read last was dispatched, and is to be forgotten.
    spent: bool,
}

impl Events {
    /// A new connection: what is not whole of the last one is forgotten.
    pub fn begin(&mut self) {
        for text in [&mut self.line, &mut self.data, &mut self.kind] {
            text.clear();
        }
        self.id.clone_from(&self.last_id);
        (self.begun, self.after_return, self.spent) = (false, false, false);
    }

    /// What `Last-Event-ID` is to say; empty: nothing.
    pub fn last_id(&self) -> &[u8] {
        &self.last_id
    }

    /// The next connection begins as if this had been the last event's id.
    pub fn begin_from(&mut self, id: &[u8]) {
        self.last_id.clear();
        if id.len() <= LONGEST_ID {
            self.last_id.extend_from_slice(id);
        }
    }

    /// How long the server wants clients to wait before they come back, milliseconds.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// The next event in these bytes, which are cut off by what was read; `None` when there is none in them. What is not whole
    /// is kept, up to `max` bytes.
    ///
    /// # Errors
    /// When an event is larger.
    pub fn next(&mut self, bytes: &mut &[u8], max: usize) -> Result<Option<Event<'_>>, TooLarge> {
        if std::mem::take(&mut self.spent) {
            self.data.clear();
            self.kind.clear();
        }
        loop {
            if self.after_return && !bytes.is_empty() {
                self.after_return = false;
                if bytes[0] == b'\n' {
                    *bytes = &bytes[1..];
                }
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', bytes) else {
                self.line.extend_from_slice(bytes);
                *bytes = &[];
                return match self.line.len() + self.data.len() > max {
                    true => Err(TooLarge),
                    false => Ok(None),
                };
            };
            self.after_return = bytes[end] == b'\r';
            let (now, rest) = (&bytes[..end], &bytes[end + 1..]);
            // A line that came whole is not copied.
            let held = std::mem::take(&mut self.line);
            let complete = match held.is_empty() {
                true => self.whole_line(now),
                false => {
                    let mut held = held;
                    held.extend_from_slice(now);
                    let complete = self.whole_line(&held);
                    held.clear();
                    self.line = held;
                    complete
                }
            };
            *bytes = rest;
            if self.data.len() > max {
                return Err(TooLarge);
            }
            if complete {
                self.last_id.clone_from(&self.id);
                if self.data.is_empty() {
                    self.kind.clear();
                    continue;
                }
                self.spent = true;
                let data = self.data.strip_suffix(b"\n").unwrap_or(&self.data);
                return Ok(Some(Event {
                    kind: &self.kind,
                    data,
                }));
            }
        }
    }

    /// Takes a line. True when it is the empty one that ends an event.
    fn whole_line(&mut self, line: &[u8]) -> bool {
        let line = match std::mem::replace(&mut self.begun, true) {
            false => line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line),
            true => line,
        };
        if line.is_empty() {
            return true;
        }
        let colon = memchr::memchr(b':', line);
        let (field, value) = match colon {
            // A comment.
            Some(0) => return false,
            Some(at) => {
                let value = &line[at + 1..];
                (&line[..at], value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &line[line.len()..]),
        };
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => {
                self.kind.clear();
                self.kind.extend_from_slice(value);
            }
            // An id is sent back in a header: one that cannot stand there is as good as none.
            b"id" if !value.contains(&0) => {
                self.id.clear();
                if value.len() <= LONGEST_ID {
                    self.id.extend_from_slice(value);
                }
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let text = std::str::from_utf8(value).ok();
                self.retry_ms = text.and_then(|text| text.parse().ok()).or(self.retry_ms);
            }
            _ => {}
        }
        false
    }
}

/// Longest id that is kept, bytes.
const LONGEST_ID: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_in(bytes: &[u8], piece: usize) -> (Vec<(String, String)>, Events) {
        let mut events = Events::default();
        events.begin();
        let mut all = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for mut piece in bytes.chunks(piece.max(1)) {
            while let Some(event) = events.next(&mut piece, 1000).unwrap() {
                all.push((text(event.kind), text(event.data)));
            }
        }
        (all, events)
    }

    /// Most of these are the standard's own examples.
    #[test]
    fn streams_are_read_as_the_standard_has_it() {
        type Expected = &'static [(&'static str, &'static str)];
        let table: &[(&str, Expected, &str, Option<u64>)] = &[
            (
                "data: YHOO\ndata: +2\ndata: 10\n\n",
                &[("", "YHOO\n+2\n10")],
                "",
                None,
            ),
            (
                ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
                &[
                    ("", "first event"),
                    ("", "second event"),
                    ("", " third event"),
                ],
                "",
                None,
            ),
            (
                "data\n\ndata\ndata\n\ndata:\n",
                &[("", ""), ("", "\n")],
                "",
                None,
            ),
            (
                "data:test\n\ndata: test\n\n",
                &[("", "test"), ("", "test")],
                "",
                None,
            ),
            (
                "\u{feff}data: a\r\rdata: b\r\n\r\ndata: c\n\n",
                &[("", "a"), ("", "b"), ("", "c")],
                "",
                None,
            ),
            ("data: \u{feff}a\n\n", &[("", "\u{feff}a")], "", None),
            (
                "event: add\ndata: x\n\ndata: y\n\n",
                &[("add", "x"), ("", "y")],
                "",
                None,
            ),
            // A type without data is no event, and none of the next one's.
            ("event: add\n\ndata: y\n\n", &[("", "y")], "", None),
            (
                "retry: 1500\nretry: x\nretry: -1\nretry:\n\n",
                &[],
                "",
                Some(1500),
            ),
            // What is not ended is not an event, nor is its id the last one.
            (
                "id: 7\ndata: a\n\nid: 8\ndata: b\n",
                &[("", "a")],
                "7",
                None,
            ),
            ("id: 7\n\nid: a\0b\ndata: c\n\n", &[("", "c")], "7", None),
            ("datas: x\n: y\nDATA: z\n\n", &[], "", None),
        ];
        for (stream, expected, last_id, retry) in table {
            // An event with one empty line of data has the data buffer "\n", which is dispatched as the empty text.
            let expected: Vec<(String, String)> = expected
                .iter()
                .map(|(kind, data)| ((*kind).into(), (*data).into()))
                .collect();
            for piece in 1..=stream.len() {
                let (got, events) = read_in(stream.as_bytes(), piece);
                assert_eq!(got, expected, "{stream:?} by {piece}");
                assert_eq!(events.last_id(), last_id.as_bytes(), "{stream:?}");
                assert_eq!(events.retry_ms(), *retry, "{stream:?}");
            }
        }
    }

    #[test]
    fn a_connection_that_begins_anew_keeps_the_last_id_and_nothing_else() {
        let mut events = Events::default();
        events.begin();
        let mut bytes: &[u8] = b"id: 5\ndata: a\n\nid: 6\nevent: x\ndata: half";
        assert!(events.next(&mut bytes, 100).unwrap().is_some());
        assert!(events.next(&mut bytes, 100).unwrap().is_none());
        events.begin();
        assert_eq!(events.last_id(), b"5");
        let mut bytes: &[u8] = b"\xef\xbb\xbfdata: b\n\n";
        let event = events.next(&mut bytes, 100).unwrap().unwrap();
        assert_eq!((event.kind, event.data), (&b""[..], &b"b"[..]));
        assert_eq!(events.last_id(), b"5", "an event without an id leaves it");
    }

    #[test]
    fn an_event_is_bounded_however_it_comes() {
        for stream in [
            "data: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "data: aaaaaaaaaa\ndata: aaaaaaaaaaa\n",
        ] {
            for piece in 1..=stream.len() {
                let mut events = Events::default();
                let mut pieces = stream.as_bytes().chunks(piece);
                let failed = pieces.any(|mut piece| events.next(&mut piece, 20).is_err());
                assert!(failed, "{stream:?} by {piece}");
            }
        }
    }

    proptest! {
        #[test]
        fn however_it_is_cut_it_says_the_same(
            lines in proptest::collection::vec("(data|id|event|retry|:|x)?:? ?[a-z0-9]{0,6}(\r\n|\n|\r|\n\n)", 0..20),
            piece in 1usize..20,
        ) {
            let stream = lines.concat();
            let (whole, one) = read_in(stream.as_bytes(), stream.len().max(1));
            let (cut, other) = read_in(stream.as_bytes(), piece);
            prop_assert_eq!(whole, cut);
            prop_assert_eq!(one.last_id(), other.last_id());
        }
    }
}
