//! The upgrade of a connection to WebSocket (RFC 6455 §4.1): the request's bytes, and what may be believed of the response.

use super::ws::{Agreed, Offer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memmem;
use sha1::{Digest, Sha1};
use std::fmt;

/// Headers of a response that are accepted.
const MAX_HEADERS: usize = 64;

/// Bytes kept of a refusal's reason and of its body.
const MAX_TEXT: usize = 256;
/// Longest Location that is read, bytes.
pub const MAX_LOCATION: usize = 1024;

/// An upgrade request. All texts are final: placeholders filled in, path percent-encoded.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Host name or literal address, without brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// `wss`; decides which port goes without saying.
    pub tls: bool,
    /// Path and query, beginning with `/`.
    pub path: &'a str,
    /// Further headers. A `Host` among them replaces ours.
    pub headers: &'a [(String, String)],
    /// Subprotocols offered, in order of preference.
    pub subprotocols: &'a [String],
    /// Compression offered.
    pub compression: Option<&'a Offer>,
    /// Of this connection alone; see [`key`].
    pub key: &'a str,
}

/// A request that cannot be written without changing what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// Not a header name (RFC 9110 §5.1), or one that the handshake sets itself.
    Name(String),
    /// Control characters in the value of this header; a line break would begin another header.
    Value(String),
    /// Path, host or subprotocol with spaces or control characters, or a path that does not begin with `/`.
    Target,
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::Name(name) => write!(f, "header `{}` cannot be set", name.escape_debug()),
            RequestError::Value(name) => {
                write!(f, "value of header `{name}` holds control characters")
            }
            RequestError::Target => {
                f.write_str("path, host or subprotocol holds spaces or control characters")
            }
        }
    }
}

impl std::error::Error for RequestError {}

/// Why a connection was not upgraded. The variants carry the names of the failures that are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandshakeError {
    /// Another status than 101.
    Status {
        /// The status.
        code: u16,
        /// Its reason phrase: untrusted, at most 256 bytes.
        reason: String,
        /// Where else to ask, if it says so: untrusted, at most 1024 bytes.
        location: Option<String>,
        /// The start of the body as far as it came along: untrusted, at most 256 bytes.
        body: Vec<u8>,
    },
    /// Not valid HTTP/1.1, or not what RFC 6455 demands; says what.
    Handshake(&'static str),
    /// Sec-WebSocket-Accept is not the answer to our key.
    AcceptKey,
    /// This subprotocol, which was not offered, or none though some were.
    Subprotocol(Option<String>),
    /// An extension that was not offered, or not in this way; says what.
    Extension(&'static str),
    /// More bytes or headers than accepted.
    HeaderTooLarge,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandshakeError::Status { code, reason, .. } => write!(f, "status {code} {reason}"),
            HandshakeError::Handshake(what) | HandshakeError::Extension(what) => f.write_str(what),
            HandshakeError::AcceptKey => f.write_str("Sec-WebSocket-Accept does not match"),
            HandshakeError::Subprotocol(None) => f.write_str("it picked no subprotocol"),
            HandshakeError::Subprotocol(Some(picked)) => {
                write!(f, "it picked `{picked}`, which was not offered")
            }
            HandshakeError::HeaderTooLarge => f.write_str("response header larger than accepted"),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// What a response is held against.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The key that was sent.
    pub key: &'a str,
    /// The subprotocols that were offered.
    pub subprotocols: &'a [String],
    /// Offered too; may be picked, and need not be.
    pub also: &'a [String],
    /// The compression that was offered, which need not be accepted.
    pub compression: Option<&'a Offer>,
    /// Largest response header accepted, bytes.
    pub max_header: usize,
}

/// An upgrade that was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Length of the response; what stands behind it are the first frames.
    pub used: usize,
    /// The subprotocol picked: index among those offered.
    pub subprotocol: Option<usize>,
    /// Compression, if it was accepted.
    pub compression: Option<Agreed>,
}

/// A key of these random bytes: 24 characters of base64.
pub fn key(random: [u8; 16]) -> String {
    STANDARD.encode(random)
}

/// The answer that a key demands (RFC 6455 §4.2.2).
pub fn accept_key(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

/// Whether a header can be added to the request: a valid name that the handshake does not set itself, and a value without
/// control characters. For checking a plan before anything connects.
///
/// # Errors
/// What is wrong with it.
pub fn check_header(name: &str, value: &str) -> Result<(), RequestError> {
    const OURS: [&str; 6] = [
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    ];
    let token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    let name_ok = !name.is_empty()
        && name.bytes().all(token)
        && !OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours));
    if !name_ok {
        Err(RequestError::Name(name.into()))
    } else if value.bytes().any(|c| c != b'\t' && c.is_ascii_control()) {
        Err(RequestError::Value(name.into()))
    } else {
        Ok(())
    }
}

/// Appends the request.
///
/// # Errors
/// A part that would break out of its place; `out` is as it was.
pub fn request(request: &Request, out: &mut Vec<u8>) -> Result<(), RequestError> {
    let visible = |text: &str| !text.is_empty() && !text.bytes().any(|c| c <= b' ' || c == 0x7f);
    let subprotocols_ok = request
        .subprotocols
        .iter()
        .all(|name| visible(name) && !name.contains(','));
    if !request.path.starts_with('/')
        || !visible(request.path)
        || !visible(request.host)
        || !subprotocols_ok
    {
        return Err(RequestError::Target);
    }
    for (name, value) in request.headers {
        check_header(name, value)?;
    }
    let mut put = |parts: &[&str]| {
        parts
            .iter()
            .for_each(|part| out.extend_from_slice(part.as_bytes()))
    };
    put(&["GET ", request.path, " HTTP/1.1\r\n"]);
    if !request
        .headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        put(&[
            "Host: ",
            &authority(request.host, request.port, request.tls),
            "\r\n",
        ]);
    }
    put(&[
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ",
        request.key,
        "\r\n",
    ]);
    if !request.subprotocols.is_empty() {
        put(&[
            "Sec-WebSocket-Protocol: ",
            &request.subprotocols.join(", "),
            "\r\n",
        ]);
    }
    if let Some(offer) = request.compression {
        put(&["Sec-WebSocket-Extensions: ", &offer.header(), "\r\n"]);
    }
    for (name, value) in request.headers {
        put(&[name, ": ", value.trim(), "\r\n"]);
    }
    put(&["\r\n"]);
    Ok(())
}

/// Reads a response as [`response_heard`] does, whatever else its headers say.
///
/// # Errors
/// Why this is no upgrade.
pub fn response(bytes: &[u8], expected: &Expected) -> Result<Option<Accepted>, HandshakeError> {
    response_heard(bytes, expected, |_, _| {})
}

/// Reads the response at the start of `bytes`; `None`: it is not complete yet.
///
/// Asking again with each byte that arrives costs a search for the header's end, no more. Each header of an upgrade that
/// was granted is given to `heard`, by name and value: names are tokens, values free of line ends and of control characters
/// but tabs, and both are the target's.
///
/// # Errors
/// Why this is no upgrade. Interim responses (RFC 9110 §15.2) are passed over.
pub fn response_heard(
    bytes: &[u8],
    expected: &Expected,
    mut heard: impl FnMut(&str, &[u8]),
) -> Result<Option<Accepted>, HandshakeError> {
    let mut start = 0;
    loop {
        let rest = &bytes[start..];
        let Some(len) = header_len(rest, expected.max_header.saturating_sub(start))? else {
            return Ok(None);
        };
        match one_response(&rest[..len], &rest[len..], expected, &mut heard)? {
            Some((subprotocol, compression)) => {
                return Ok(Some(Accepted {
                    used: start + len,
                    subprotocol,
                    compression,
                }));
            }
            None => start += len,
        }
    }
}

/// `example.org`, `example.org:8080`, `[::1]:8080`.
pub(super) fn authority(host: &str, port: u16, tls: bool) -> String {
    let (open, close) = if host.contains(':') {
        ("[", "]")
    } else {
        ("", "")
    };
    match (port, tls) {
        (80, false) | (443, true) => format!("{open}{host}{close}"),
        _ => format!("{open}{host}{close}:{port}"),
    }
}

/// Where the header ends, if it has.
fn header_len(bytes: &[u8], max: usize) -> Result<Option<usize>, HandshakeError> {
    const START: &[u8] = b"HTTP/1.1 ";
    let shared = START.len().min(bytes.len());
    if bytes[..shared] != START[..shared] {
        return Err(HandshakeError::Handshake("the answer is not HTTP/1.1"));
    }
    let within = &bytes[..bytes.len().min(max)];
    match memmem::find(within, b"\r\n\r\n") {
        Some(at) => Ok(Some(at + 4)),
        None if bytes.len() >= max => Err(HandshakeError::HeaderTooLarge),
        None => Ok(None),
    }
}

/// What was picked of what was offered: the subprotocol's index, and compression.
type Picked = (Option<usize>, Option<Agreed>);

/// One response's header; `None` for an interim one.
fn one_response(
    header: &[u8],
    body: &[u8],
    expected: &Expected,
    heard: &mut impl FnMut(&str, &[u8]),
) -> Result<Option<Picked>, HandshakeError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(header) {
        Ok(httparse::Status::Complete(end)) if end == header.len() => {}
        // Ended before (a line break alone) or behind what was taken for the end: not a header to guess about.
        Ok(_) => {
            return Err(HandshakeError::Handshake("the answer is not valid HTTP"));
        }
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::HeaderTooLarge),
        Err(_) => return Err(HandshakeError::Handshake("the answer is not valid HTTP")),
    }
    let code = response.code.unwrap_or_default();
    match code {
        101 => {
            let picked = accepted(response.headers, expected)?;
            for header in response.headers.iter() {
                heard(header.name, header.value.trim_ascii());
            }
            Ok(Some(picked))
        }
        100..=199 => Ok(None),
        _ => Err(HandshakeError::Status {
            code,
            reason: {
                let reason = response.reason.unwrap_or_default();
                reason[..reason.floor_char_boundary(MAX_TEXT)].into()
            },
            location: location(response.headers),
            body: body[..body.len().min(MAX_TEXT)].to_vec(),
        }),
    }
}

fn location(headers: &[httparse::Header]) -> Option<String> {
    let value = values(headers, "location").next()?;
    let text = std::str::from_utf8(value).ok()?;
    (text.len() <= MAX_LOCATION).then(|| text.to_owned())
}

/// RFC 6455 §4.1, the list of what a client must check; which of what was offered was picked.
fn accepted(headers: &[httparse::Header], expected: &Expected) -> Result<Picked, HandshakeError> {
    if !has_token(headers, "upgrade", "websocket") {
        return Err(HandshakeError::Handshake(
            "no `Upgrade: websocket` in the answer",
        ));
    }
    if !has_token(headers, "connection", "upgrade") {
        return Err(HandshakeError::Handshake(
            "no `Connection: Upgrade` in the answer",
        ));
    }
    if single(headers, "sec-websocket-accept")? != Some(accept_key(expected.key).as_bytes()) {
        return Err(HandshakeError::AcceptKey);
    }
    let mut extensions = values(headers, "sec-websocket-extensions");
    let compression = match expected.compression {
        Some(offer) => offer
            .answered(extensions)
            .map_err(HandshakeError::Extension)?,
        None if extensions.any(|value| !value.is_empty()) => {
            return Err(HandshakeError::Extension(
                "an extension that was not offered",
            ));
        }
        None => None,
    };
    let subprotocol = match single(headers, "sec-websocket-protocol")? {
        None if expected.subprotocols.is_empty() => None,
        None => return Err(HandshakeError::Subprotocol(None)),
        Some(picked) => {
            let index = expected
                .subprotocols
                .iter()
                .chain(expected.also)
                .position(|offered| offered.as_bytes() == picked);
            let picked = || String::from_utf8_lossy(picked).into_owned();
            Some(index.ok_or_else(|| HandshakeError::Subprotocol(Some(picked())))?)
        }
    };
    Ok((subprotocol, compression))
}

fn values<'a>(
    headers: &'a [httparse::Header<'a>],
    name: &'a str,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// The value of a header that must not come twice.
fn single<'a>(
    headers: &'a [httparse::Header<'a>],
    name: &'a str,
) -> Result<Option<&'a [u8]>, HandshakeError> {
    let mut all = values(headers, name);
    let first = all.next();
    match all.next() {
        Some(_) => Err(HandshakeError::Handshake(
            "a header of the handshake came twice",
        )),
        None => Ok(first),
    }
}

fn has_token(headers: &[httparse::Header], name: &str, token: &str) -> bool {
    values(headers, name)
        .flat_map(|value| value.split(|c| *c == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests;
