//! Frames ↔ bytes. Whatever comes in is hostile: bounded, linear in its length however it is cut, and never a panic.

use super::config::Version;
use crate::protocol::session::Violation;
use memchr::{memchr, memchr_iter};
use std::borrow::Cow;

/// Command and headers together have so many bytes at most.
pub const MAX_HEAD: usize = 16 * 1024;

/// So many headers at most.
pub const MAX_HEADERS: usize = 64;

/// Memory set aside for a frame before its bytes arrive, at most: a length alone must not cost megabytes.
const RESERVE: usize = 64 * 1024;

/// How header names and values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escapes {
    /// As they are: 1.0, and CONNECT and CONNECTED of any version. Lines may end in CR LF only for the sake of 1.2.
    Nothing,
    /// 1.1: `\n`, `\c`, `\\`.
    ThreeOf,
    /// 1.2: those and `\r`.
    FourOf,
}

impl Escapes {
    /// What a frame of this command escapes, in a version; `None`: it is not agreed on yet.
    pub fn of(command: &str, version: Option<Version>) -> Self {
        match (command, version) {
            ("CONNECT" | "STOMP" | "CONNECTED", _) | (_, None | Some(Version::V1_0)) => {
                Escapes::Nothing
            }
            (_, Some(Version::V1_1)) => Escapes::ThreeOf,
            (_, Some(Version::V1_2)) => Escapes::FourOf,
        }
    }

    /// The character that an escape stands for.
    fn meaning(self, escape: u8) -> Option<char> {
        match escape {
            b'n' => Some('\n'),
            b'c' => Some(':'),
            b'\\' => Some('\\'),
            b'r' if self == Escapes::FourOf => Some('\r'),
            _ => None,
        }
    }

    /// Appends a header's name or value. What this version has no way to write is left out: a line end would begin another
    /// header, a NUL would end the frame.
    fn write(self, text: &str, is_name: bool, out: &mut Vec<u8>) {
        for &byte in text.as_bytes() {
            let escape = match (byte, self) {
                (0, _) => continue,
                (b'\n', Escapes::Nothing) => continue,
                (b'\r', Escapes::Nothing) => continue,
                // Only values can have one.
                (b':', Escapes::Nothing) if is_name => continue,
                (b'\n', _) => b'n',
                (b':', Escapes::ThreeOf | Escapes::FourOf) => b'c',
                (b'\\', Escapes::ThreeOf | Escapes::FourOf) => b'\\',
                (b'\r', Escapes::FourOf) => b'r',
                _ => {
                    out.push(byte);
                    continue;
                }
            };
            out.extend_from_slice(&[b'\\', escape]);
        }
    }

    /// A header's name or value as it was meant.
    ///
    /// # Errors
    /// An escape that this version does not have.
    pub fn read(self, text: &str) -> Result<Cow<'_, str>, Violation> {
        if self == Escapes::Nothing || memchr(b'\\', text.as_bytes()).is_none() {
            return Ok(Cow::Borrowed(text));
        }
        let mut plain = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('\\') {
            plain.push_str(before);
            let escape = after.bytes().next().and_then(|byte| self.meaning(byte));
            plain.push(escape.ok_or(BAD_ESCAPE)?);
            rest = after.get(1..).unwrap_or_default();
        }
        plain.push_str(rest);
        Ok(Cow::Owned(plain))
    }
}

const BAD_ESCAPE: Violation = Violation("a header has an escape that there is not");
const NO_COLON: Violation = Violation("a header has no colon");
const LONG_HEAD: Violation = Violation("a frame's headers are too long");
const LONG: Violation = Violation("a frame is too long");

/// A frame, in the bytes that it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// MESSAGE, RECEIPT…
    pub command: &'a str,
    /// Header lines, each with its line end.
    lines: &'a str,
    /// The body, without the NUL.
    pub body: &'a [u8],
    escapes: Escapes,
    carriage_returns: bool,
}

impl<'a> Frame<'a> {
    /// Of a whole frame's bytes, with its NUL.
    fn parse(bytes: &'a [u8], extent: Extent, version: Option<Version>) -> Result<Self, Violation> {
        let head = bytes.get(..extent.head).unwrap_or_default();
        let body = bytes.get(extent.head..extent.total.saturating_sub(1));
        let head = std::str::from_utf8(head).map_err(|_| Violation("headers are not UTF-8"))?;
        if memchr(0, head.as_bytes()).is_some() {
            return Err(Violation("a frame ends within its headers"));
        }
        // Until a version is agreed on it may be one that allows them.
        let carriage_returns = matches!(version, None | Some(Version::V1_2));
        let (command, lines) = head.split_once('\n').unwrap_or_default();
        let command = trimmed(command, carriage_returns);
        let frame = Frame {
            command,
            lines,
            body: body.unwrap_or_default(),
            escapes: Escapes::of(command, version),
            carriage_returns,
        };
        frame.check()?;
        Ok(frame)
    }

    /// Headers as they came, in order.
    fn raw(&self) -> impl Iterator<Item = Option<(&'a str, &'a str)>> {
        let carriage_returns = self.carriage_returns;
        let lines = self
            .lines
            .split('\n')
            .map(move |line| trimmed(line, carriage_returns));
        lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(':'))
    }

    fn check(&self) -> Result<(), Violation> {
        let escaped = self.escapes != Escapes::Nothing && self.lines.contains('\\');
        for (count, header) in self.raw().enumerate() {
            let (name, value) = header.ok_or(NO_COLON)?;
            if count == MAX_HEADERS {
                return Err(Violation("a frame has too many headers"));
            }
            if escaped {
                self.escapes.read(name)?;
                self.escapes.read(value)?;
            }
        }
        Ok(())
    }

    /// The values of these headers as they came, escapes and all; of repeated ones the first counts.
    pub fn raw_values<const N: usize>(&self, names: [&str; N]) -> [Option<&'a str>; N] {
        let mut values = [None; N];
        for (name, value) in self.raw().flatten() {
            if let Some(at) = names.iter().position(|wanted| *wanted == name)
                && values[at].is_none()
            {
                values[at] = Some(value);
            }
        }
        values
    }

    /// A header's value as it came, escapes and all.
    pub fn raw_value(&self, name: &str) -> Option<&'a str> {
        self.raw()
            .flatten()
            .find(|(of, _)| *of == name)
            .map(|(_, value)| value)
    }

    /// A header's value.
    pub fn value(&self, name: &str) -> Option<Cow<'a, str>> {
        self.raw_value(name).map(|raw| self.plain(raw))
    }

    /// What a value that came so means.
    pub fn plain(&self, raw: &'a str) -> Cow<'a, str> {
        // Checked when the frame was read.
        self.escapes.read(raw).unwrap_or(Cow::Borrowed(raw))
    }

    /// All headers, in order.
    pub fn headers(&self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let plain = |(name, value)| (self.plain(name), self.plain(value));
        self.raw().flatten().map(plain)
    }
}

fn trimmed(line: &str, carriage_returns: bool) -> &str {
    match line.strip_suffix('\r') {
        Some(line) if carriage_returns => line,
        _ => line,
    }
}

/// Where a frame's parts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    /// Up to the body.
    head: usize,
    /// Up to and with the NUL.
    total: usize,
}

/// How far the search for a frame's end came, so that nothing is searched twice.
#[derive(Debug, Clone, Copy, Default)]
struct Search {
    /// Bytes that need not be looked at again.
    seen: usize,
    /// Where the body begins, 0 as long as that is not known.
    head: usize,
    /// The `content-length`.
    length: Option<usize>,
}

impl Search {
    /// Where the frame ends that begins with these bytes, which are the same as at the last call and more; `None` when it
    /// does not yet.
    fn end(
        &mut self,
        bytes: &[u8],
        max: usize,
        carriage_returns: bool,
    ) -> Result<Option<Extent>, Violation> {
        if self.head == 0 {
            let longest = MAX_HEAD.min(max);
            match self.blank_line(bytes, carriage_returns) {
                Some(head) if head > longest => return Err(LONG_HEAD),
                Some(head) => {
                    self.head = head;
                    self.seen = head;
                    self.length = content_length(&bytes[..head])?;
                }
                None if bytes.len() >= longest => return Err(LONG_HEAD),
                None => return Ok(None),
            }
        }
        let head = self.head;
        let total = match self.length {
            Some(length) => {
                let total = length.checked_add(head + 1).filter(|total| *total <= max);
                let total = total.ok_or(LONG)?;
                match bytes.get(total - 1) {
                    Some(0) => total,
                    Some(_) => return Err(Violation("there is no NUL where content-length ends")),
                    None => return Ok(None),
                }
            }
            None => match memchr(0, &bytes[self.seen..]) {
                Some(at) => self.seen + at + 1,
                None if bytes.len() >= max => return Err(LONG),
                None => {
                    self.seen = bytes.len();
                    return Ok(None);
                }
            },
        };
        if total > max {
            return Err(LONG);
        }
        Ok(Some(Extent { head, total }))
    }

    /// Behind the first empty line.
    fn blank_line(&mut self, bytes: &[u8], carriage_returns: bool) -> Option<usize> {
        for at in memchr_iter(b'\n', &bytes[self.seen..]) {
            let at = self.seen + at;
            match (bytes.get(at + 1), bytes.get(at + 2)) {
                (Some(b'\n'), _) => return Some(at + 2),
                (Some(b'\r'), Some(b'\n')) if carriage_returns => return Some(at + 3),
                (None, _) | (Some(b'\r'), None) => {
                    self.seen = at;
                    return None;
                }
                _ => {}
            }
        }
        self.seen = bytes.len();
        None
    }

    /// How many bytes the frame will have, as far as that is known.
    fn expects(&self) -> usize {
        self.length.map_or(0, |length| self.head + length + 1)
    }
}

/// The first `content-length` of command and headers.
fn content_length(head: &[u8]) -> Result<Option<usize>, Violation> {
    const NAME: &[u8] = b"content-length:";
    let mut lines = head.split(|byte| *byte == b'\n').skip(1);
    let Some(value) = lines.find_map(|line| line.strip_prefix(NAME)) else {
        return Ok(None);
    };
    let bad = Violation("content-length is not a number");
    let value = std::str::from_utf8(value).map_err(|_| bad)?.trim_ascii();
    if !value.bytes().all(|byte| byte.is_ascii_digit()) || value.is_empty() {
        return Err(bad);
    }
    // More than a number can say is more than anybody allows.
    Ok(Some(value.parse().unwrap_or(usize::MAX / 2)))
}

/// Frames out of bytes that come in pieces; holds nothing between whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    held: Option<Box<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    search: Search,
    /// The frame was handed out, and what it lies in is to be freed.
    spent: bool,
}

/// Where the next frame lies.
enum Ready<'b> {
    Here(&'b [u8], Extent),
    Held(Extent),
}

impl Decoder {
    /// The next frame of `bytes`, which are cut off by what was read; `None`: all is read, and what is incomplete is kept.
    /// Line ends between frames, which are heart-beats, are passed over. No frame may be longer than `max` bytes.
    ///
    /// # Errors
    /// When this is not STOMP, or goes beyond a bound: nothing more can be read.
    pub fn next<'a, 'b: 'a>(
        &'a mut self,
        bytes: &mut &'b [u8],
        version: Option<Version>,
        max: usize,
    ) -> Result<Option<Frame<'a>>, Violation> {
        let carriage_returns = matches!(version, None | Some(Version::V1_2));
        let Some(ready) = self.advance(bytes, max, carriage_returns)? else {
            return Ok(None);
        };
        let (bytes, extent) = match ready {
            Ready::Here(bytes, extent) => (bytes, extent),
            Ready::Held(extent) => {
                let held = self.held.as_deref().map(|held| held.bytes.as_slice());
                (held.unwrap_or_default(), extent)
            }
        };
        Frame::parse(bytes, extent, version).map(Some)
    }

    /// Forgets what is incomplete.
    pub fn clear(&mut self) {
        self.held = None;
    }

    fn advance<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        max: usize,
        carriage_returns: bool,
    ) -> Result<Option<Ready<'b>>, Violation> {
        if self.held.as_ref().is_some_and(|held| held.spent) {
            self.held = None;
        }
        if let Some(held) = &mut self.held {
            return held.advance(bytes, max, carriage_returns);
        }
        // A carriage return alone stands for nothing, but may have lost its line feed to the next piece.
        let beats = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\n' | b'\r'));
        *bytes = &bytes[beats.count()..];
        if bytes.is_empty() {
            return Ok(None);
        }
        let mut search = Search::default();
        if let Some(extent) = search.end(bytes, max, carriage_returns)? {
            let (frame, rest) = bytes.split_at(extent.total);
            *bytes = rest;
            return Ok(Some(Ready::Here(frame, extent)));
        }
        let mut held = Held {
            search,
            ..Held::default()
        };
        held.take(bytes, bytes.len(), max);
        self.held = Some(Box::new(held));
        Ok(None)
    }

    /// Bytes set aside for what is incomplete.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes.capacity())
    }
}

impl Held {
    /// Goes on with the frame whose beginning is held.
    fn advance<'b>(
        &mut self,
        bytes: &mut &'b [u8],
        max: usize,
        carriage_returns: bool,
    ) -> Result<Option<Ready<'b>>, Violation> {
        while !bytes.is_empty() {
            // Never beyond the end of this frame, as what follows is another's: up to a length that is known, else up to
            // where it could end.
            let wanted = match self.search {
                Search { head: 0, .. } => memchr(b'\n', bytes).map(|at| at + 1),
                Search { length: None, .. } => memchr(0, bytes).map(|at| at + 1),
                _ => self.search.expects().checked_sub(self.bytes.len()),
            };
            let wanted = wanted.unwrap_or(bytes.len()).min(bytes.len());
            self.take(bytes, wanted, max);
            if let Some(extent) = self.search.end(&self.bytes, max, carriage_returns)? {
                self.spent = true;
                return Ok(Some(Ready::Held(extent)));
            }
        }
        Ok(None)
    }

    /// Moves bytes here, up to `max` in all: as many without an end are too many already.
    fn take(&mut self, bytes: &mut &[u8], count: usize, max: usize) {
        let (now, later) = bytes.split_at(count);
        *bytes = later;
        let now = &now[..now.len().min(max.saturating_sub(self.bytes.len()))];
        let needed = self.bytes.len() + now.len();
        if self.bytes.capacity() < needed {
            let doubled = (self.bytes.capacity() * 2).min(max);
            let expected = self.search.expects().min(RESERVE);
            let target = needed.max(doubled).max(expected);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(now);
    }
}

/// Writes one frame: command, headers, then the body.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    escapes: Escapes,
}

impl<'o> Writer<'o> {
    /// Begins a frame behind what is there.
    pub fn new(command: &str, version: Option<Version>, out: &'o mut Vec<u8>) -> Self {
        out.extend_from_slice(command.as_bytes());
        out.push(b'\n');
        Writer {
            out,
            escapes: Escapes::of(command, version),
        }
    }

    /// A header whose value stands in parts.
    pub fn header(&mut self, name: &str, value: &[&str]) -> &mut Self {
        self.escapes.write(name, true, self.out);
        self.out.push(b':');
        for part in value {
            self.escapes.write(part, false, self.out);
        }
        self.out.push(b'\n');
        self
    }

    /// A header whose value came in a frame of the same version, escapes and all.
    pub fn raw_header(&mut self, name: &str, value: &str) -> &mut Self {
        self.escapes.write(name, true, self.out);
        self.out.push(b':');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'\n');
        self
    }

    /// A header whose value is a letter or none, and a number.
    pub fn numbered(&mut self, name: &str, letter: &str, number: u64) -> &mut Self {
        self.escapes.write(name, true, self.out);
        self.out.push(b':');
        self.out.extend_from_slice(letter.as_bytes());
        push_number(number, self.out);
        self.out.push(b'\n');
        self
    }

    /// The end of a frame without a body.
    pub fn end(&mut self) {
        self.out.extend_from_slice(b"\n\0");
    }

    /// The body, its length said, and the end.
    pub fn body(&mut self, body: &[u8]) {
        self.numbered("content-length", "", body.len() as u64);
        self.out.push(b'\n');
        self.out.extend_from_slice(body);
        self.out.push(0);
    }
}

fn push_number(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}
