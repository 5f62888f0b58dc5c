//! HTTP/1.1 as a client reads it where a response is the connection: heads, and bodies as they come (RFC 9112).
//!
//! For event streams, polls and posts; the upgrade to WebSocket has a reader of its own. Nothing of a body is kept here.

use super::handshake::{RequestError, authority, check_header};
use std::fmt;

/// Headers of a response that are accepted.
const MAX_HEADERS: usize = 64;
/// Longest line of a chunk's size, extensions included; of trailers, each.
const MAX_CHUNK_LINE: usize = 1024;

/// A request. All texts are final: placeholders filled in, path percent-encoded.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET`, `POST`.
    pub method: &'a str,
    /// Host name or literal address, without brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// `https`; decides which port goes without saying.
    pub tls: bool,
    /// Path and query, beginning with `/`.
    pub path: &'a str,
    /// Headers that squall sets itself; those of the user go before them.
    pub own: &'a [(&'a str, &'a str)],
    /// Further headers. A `Host` among them replaces ours.
    pub headers: &'a [(String, String)],
}

/// Appends a request with this body, if it has one.
///
/// # Errors
/// A part that would break out of its place; `out` is as it was.
pub fn request(
    request: &Request<'_>,
    body: Option<&[u8]>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    head(request, out)?;
    end(body, out);
    Ok(())
}

/// Appends what follows a request's headers: the length of its body, if it has one, and that.
pub fn end(body: Option<&[u8]>, out: &mut Vec<u8>) {
    use std::io::Write;
    if let Some(body) = body {
        // Writing into a Vec cannot fail.
        let _ = write!(out, "Content-Length: {}\r\n", body.len());
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.unwrap_or_default());
}

/// Appends a request's line and headers; [`end`] ends it.
///
/// # Errors
/// A part that would break out of its place; `out` is as it was.
pub fn head(request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), RequestError> {
    let visible = |text: &str| !text.is_empty() && !text.bytes().any(|c| c <= b' ' || c == 0x7f);
    if !request.path.starts_with('/') || !visible(request.path) || !visible(request.host) {
        return Err(RequestError::Target);
    }
    let own = request.own.iter().copied();
    let own = own.filter(|(name, _)| !given(request.headers, name));
    for (name, value) in own.clone() {
        check_header(name, value)?;
    }
    for (name, value) in request.headers {
        check_header(name, value)?;
    }
    let mut put = |parts: &[&str]| {
        parts
            .iter()
            .for_each(|part| out.extend_from_slice(part.as_bytes()))
    };
    put(&[request.method, " ", request.path, " HTTP/1.1\r\n"]);
    if !given(request.headers, "host") {
        let host = authority(request.host, request.port, request.tls);
        put(&["Host: ", &host, "\r\n"]);
    }
    for (name, value) in own {
        put(&[name, ": ", value.trim(), "\r\n"]);
    }
    for (name, value) in request.headers {
        put(&[name, ": ", value.trim(), "\r\n"]);
    }
    Ok(())
}

fn given(headers: &[(String, String)], name: &str) -> bool {
    headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
}

/// Why a response cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpError {
    /// More bytes or headers than accepted.
    HeadTooLarge,
    /// Not valid HTTP/1.1; says what.
    Invalid(&'static str),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::HeadTooLarge => f.write_str("response header larger than accepted"),
            HttpError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for HttpError {}

/// What a response's head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The status.
    pub status: u16,
    /// Whether another response may follow on the connection.
    pub keep_alive: bool,
    /// Whether it has a body, were it of no bytes.
    pub has_body: bool,
}

/// A part of a response.
#[derive(Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Its head. Interim responses (RFC 9110 §15.2) are passed over.
    Head(Head),
    /// Bytes of its body, as they came.
    Body(&'a [u8]),
    /// The response is complete.
    End,
}

/// Reads the responses of one connection, one after the other.
#[derive(Debug, Default)]
pub struct Responses {
    state: State,
    /// The beginning of a head, or of a line of a chunked body.
    held: Vec<u8>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// So many bytes of the body are to come.
    Length(u64),
    /// Everything to the end of the connection is body.
    ToEnd,
    /// The line with a chunk's size.
    ChunkSize,
    /// So many bytes of a chunk are to come, and the line end behind them.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, to the empty line.
    Trailers,
}

impl Responses {
    /// The next part in these bytes, which are cut off by what was read; `None` when there is nothing more in them. A head is
    /// kept up to `max_head` bytes; each of its headers is given to `heard`, names and values the target's.
    ///
    /// # Errors
    /// When nothing can be read any more.
    pub fn next<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        max_head: usize,
        mut heard: impl FnMut(&str, &[u8]),
    ) -> Result<Option<Part<'b>>, HttpError> {
        loop {
            match self.state {
                State::Head => {
                    let Some(end) = self.whole_head(bytes, max_head)? else {
                        return Ok(None);
                    };
                    let (head, state) = parse(&self.held[..end], &mut heard)?;
                    self.held.clear();
                    if let Some(head) = head {
                        self.state = state;
                        return Ok(Some(Part::Head(head)));
                    }
                }
                State::Length(0) => {
                    self.state = State::Head;
                    return Ok(Some(Part::End));
                }
                _ if bytes.is_empty() => return Ok(None),
                State::Length(left) => {
                    let body = take(bytes, left);
                    self.state = State::Length(left - body.len() as u64);
                    return Ok(Some(Part::Body(body)));
                }
                State::ToEnd => return Ok(Some(Part::Body(std::mem::take(bytes)))),
                State::ChunkSize => {
                    if !self.whole_line(bytes)? {
                        return Ok(None);
                    }
                    let size = chunk_size(&self.held)
                        .ok_or(HttpError::Invalid("a chunk's size is not a number"))?;
                    self.held.clear();
                    self.state = match size {
                        0 => State::Trailers,
                        size => State::Chunk(size),
                    };
                }
                State::Chunk(left) => {
                    let body = take(bytes, left);
                    self.state = match left - body.len() as u64 {
                        0 => State::ChunkEnd,
                        left => State::Chunk(left),
                    };
                    return Ok(Some(Part::Body(body)));
                }
                State::ChunkEnd => {
                    if !self.whole_line(bytes)? {
                        return Ok(None);
                    }
                    if !self.held.is_empty() {
                        return Err(HttpError::Invalid("a chunk is longer than its size"));
                    }
                    self.state = State::ChunkSize;
                }
                State::Trailers => {
                    if !self.whole_line(bytes)? {
                        return Ok(None);
                    }
                    if self.held.is_empty() {
                        self.state = State::Head;
                        return Ok(Some(Part::End));
                    }
                    self.held.clear();
                }
            }
        }
    }

    /// Whether the end of the connection is here the end of a response, rather than in the middle of one.
    pub fn may_end(&self) -> bool {
        match self.state {
            State::ToEnd => true,
            State::Head => self.held.is_empty(),
            _ => false,
        }
    }

    /// Moves bytes into `held` until a whole head is there; how long that is.
    fn whole_head(
        &mut self,
        bytes: &mut &[u8],
        max_head: usize,
    ) -> Result<Option<usize>, HttpError> {
        while !bytes.is_empty() {
            // An end may lie across what is held and what came.
            let before = self.held.len();
            let line = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
            self.held.extend_from_slice(take(bytes, line as u64));
            if self.held.len() > max_head {
                return Err(HttpError::HeadTooLarge);
            }
            let shared = HTTP.len().min(self.held.len());
            if before < HTTP.len() && self.held[..shared] != HTTP[..shared] {
                return Err(HttpError::Invalid("the answer is not HTTP/1.1"));
            }
            if self.held.ends_with(b"\r\n\r\n") || self.held.ends_with(b"\n\n") {
                return Ok(Some(self.held.len()));
            }
        }
        Ok(None)
    }

    /// Moves bytes into `held` until a line is whole; its end is not in it. True when it is.
    fn whole_line(&mut self, bytes: &mut &[u8]) -> Result<bool, HttpError> {
        let end = memchr::memchr(b'\n', bytes);
        let line = end.map_or(bytes.len(), |at| at + 1);
        self.held.extend_from_slice(take(bytes, line as u64));
        if self.held.len() > MAX_CHUNK_LINE {
            return Err(HttpError::Invalid("a line of a chunked body is too long"));
        }
        if end.is_none() {
            return Ok(false);
        }
        self.held.pop();
        if self.held.last() == Some(&b'\r') {
            self.held.pop();
        }
        Ok(true)
    }
}

const HTTP: &[u8] = b"HTTP/1.1 ";

fn take<'b>(bytes: &mut &'b [u8], most: u64) -> &'b [u8] {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    let (taken, rest) = bytes.split_at(most);
    *bytes = rest;
    taken
}

/// Hexadecimal, before an extension.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|c| *c == b';').next()?.trim_ascii();
    // As u64's own parser takes a sign.
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok()?;
    u64::from_str_radix(text, 16).ok().filter(|_| plain)
}

/// What a head says, `None` for an interim response, and how its body is delimited (RFC 9112 §6.3).
fn parse(
    bytes: &[u8],
    heard: &mut impl FnMut(&str, &[u8]),
) -> Result<(Option<Head>, State), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(end)) if end == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HttpError::HeadTooLarge),
        _ => return Err(HttpError::Invalid("the answer is not valid HTTP")),
    }
    let status = response.code.unwrap_or_default();
    if (100..200).contains(&status) {
        if status == 101 {
            return Err(HttpError::Invalid("an upgrade that was not asked for"));
        }
        return Ok((None, State::Head));
    }
    let (mut length, mut chunked, mut keep_alive) = (None, false, true);
    for header in response.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value).ok();
            let digits = text.filter(|t| !t.is_empty() && t.bytes().all(|c| c.is_ascii_digit()));
            let parsed = digits.and_then(|digits| digits.parse::<u64>().ok());
            let parsed = parsed.ok_or(HttpError::Invalid("Content-Length is not a number"))?;
            if length.is_some_and(|length| length != parsed) {
                return Err(HttpError::Invalid("two Content-Lengths"));
            }
            length = Some(parsed);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(HttpError::Invalid("a Transfer-Encoding other than chunked"));
            }
            chunked = true;
        } else if header.name.eq_ignore_ascii_case("connection") {
            let mut tokens = value.split(|c| *c == b',');
            keep_alive &= !tokens.any(|t| t.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        heard(header.name, value);
    }
    let state = match (status, chunked, length) {
        (204 | 304, _, _) => State::Length(0),
        (_, true, Some(_)) => {
            return Err(HttpError::Invalid(
                "both Content-Length and Transfer-Encoding",
            ));
        }
        (_, true, None) => State::ChunkSize,
        (_, false, Some(length)) => State::Length(length),
        (_, false, None) => State::ToEnd,
    };
    let head = Head {
        status,
        keep_alive: keep_alive && state != State::ToEnd,
        has_body: state != State::Length(0),
    };
    Ok((Some(head), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Read {
        Head(u16, bool),
        Body(Vec<u8>),
        End,
    }

    /// Reads in pieces of this size; bodies put together.
    fn read(bytes: &[u8], piece: usize) -> Result<(Vec<Read>, bool), HttpError> {
        let mut responses = Responses::default();
        let mut all: Vec<Read> = Vec::new();
        for mut piece in bytes.chunks(piece.max(1)) {
            while let Some(part) = responses.next(&mut piece, 4096, |_, _| {})? {
                match (part, all.last_mut()) {
                    (Part::Head(head), _) => all.push(Read::Head(head.status, head.keep_alive)),
                    (Part::Body(more), Some(Read::Body(body))) => body.extend_from_slice(more),
                    (Part::Body(more), _) => all.push(Read::Body(more.into())),
                    (Part::End, _) => all.push(Read::End),
                }
            }
            assert!(piece.is_empty());
        }
        Ok((all, responses.may_end()))
    }

    #[test]
    fn bodies_of_every_kind_are_read_in_pieces_of_every_size() {
        use Read::{Body, End, Head};
        let body = |text: &str| Body(text.into());
        let table: &[(&str, Vec<Read>, bool)] = &[
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 204 No\r\n\r\n",
                vec![Head(200, true), body("hello"), End, Head(204, true), End],
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\n",
                vec![Head(200, true), body("hello!"), End],
                true,
            ),
            (
                "HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                vec![Head(404, false), End],
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nto the end",
                vec![Head(200, false), body("to the end")],
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
                vec![Head(200, true), body("hel")],
                false,
            ),
        ];
        for (bytes, expected, may_end) in table {
            for piece in 1..=bytes.len() {
                let (got, end) = read(bytes.as_bytes(), piece).unwrap();
                assert_eq!((&got, end), (expected, *may_end), "{bytes:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for (bytes, why) in [
            ("HTTP/1.0 200 OK\r\n\r\n", "the answer is not HTTP/1.1"),
            ("SSH-2.0", "the answer is not HTTP/1.1"),
            (
                "HTTP/1.1 101 Switching\r\n\r\n",
                "an upgrade that was not asked for",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
                "Content-Length is not a number",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                "two Content-Lengths",
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                "both Content-Length and Transfer-Encoding",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                "a Transfer-Encoding other than chunked",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+5\r\n",
                "a chunk's size is not a number",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                "a chunk is longer than its size",
            ),
        ] {
            for piece in [1, bytes.len()] {
                let got = read(bytes.as_bytes(), piece).unwrap_err();
                assert_eq!(got, HttpError::Invalid(why), "{bytes:?}");
            }
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(5000));
        assert_eq!(read(long.as_bytes(), 100), Err(HttpError::HeadTooLarge));
        let long = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
            "x".repeat(2000)
        );
        assert!(read(long.as_bytes(), 100).is_err());
    }

    #[test]
    fn a_request_says_what_it_is_told_and_nothing_breaks_out_of_its_place() {
        let headers = [("Authorization".to_owned(), "Bearer x".to_owned())];
        let plain = Request {
            method: "POST",
            host: "::1",
            port: 8080,
            tls: false,
            path: "/publish?topic=a",
            own: &[("Accept", "*/*"), ("Authorization", "none")],
            headers: &headers,
        };
        let mut out = Vec::new();
        request(&plain, Some(b"hi"), &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "POST /publish?topic=a HTTP/1.1\r\nHost: [::1]:8080\r\nAccept: */*\r\nAuthorization: Bearer x\r\nContent-Length: 2\r\n\r\nhi"
        );
        for path in ["", "x", "/a b", "/a\r\nX: y"] {
            let mut out = Vec::new();
            let bad = Request { path, ..plain };
            assert_eq!(request(&bad, None, &mut out), Err(RequestError::Target));
            assert!(out.is_empty());
        }
        let bad = [("X".to_owned(), "a\r\nY: b".to_owned())];
        let bad = Request {
            headers: &bad,
            ..plain
        };
        assert!(request(&bad, None, &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_are_never_kept(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), any::<u8>()], 0..600),
            piece in 1usize..50,
        ) {
            let mut whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            whole.extend(bytes);
            let _ = read(&whole, piece);
        }

        #[test]
        fn a_chunked_body_comes_out_as_it_went_in(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..10),
            piece in 1usize..50,
        ) {
            let mut whole = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            for chunk in &chunks {
                whole.extend(format!("{:x}\r\n", chunk.len()).bytes());
                whole.extend(chunk);
                whole.extend(b"\r\n");
            }
            whole.extend(b"0\r\n\r\n");
            let (got, _) = read(&whole, piece).unwrap();
            let mut expected = vec![Read::Head(200, true)];
            if !chunks.is_empty() {
                expected.push(Read::Body(chunks.concat()));
            }
            expected.push(Read::End);
            prop_assert_eq!(got, expected);
        }
    }
}
