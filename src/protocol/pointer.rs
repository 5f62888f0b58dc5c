//! JSON pointers (RFC 6901) over raw bytes, without building a tree.
//!
//! For messages that come by the hundred thousand from a service that may be hostile: no allocation,
//! no recursion, one pass over what stands before the value. JSON is not validated beyond what finding
//! a value needs; where it is broken on the way, the answer is `None`. Of repeated keys the first counts.

use memchr::memchr2;
use std::borrow::Cow;

/// A value inside a JSON text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    raw: &'a [u8],
}

impl<'a> Found<'a> {
    /// What `pointer` names in this value; the empty pointer names all of it.
    pub fn lookup(&self, pointer: &str) -> Option<Found<'a>> {
        match pointer {
            "" => Some(*self),
            pointer => lookup(self.raw, pointer),
        }
    }

    /// The value as it stands in the text, quotes included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// A string's content, anything else as it stands; what is not UTF-8 is replaced (U+FFFD).
    ///
    /// Allocates only for strings with escapes and for broken UTF-8.
    pub fn text(&self) -> Cow<'a, str> {
        match self.content() {
            Some(content) if content.contains(&b'\\') => Cow::Owned(
                String::from_utf8_lossy(&Unescape::new(content).collect::<Vec<u8>>()).into_owned(),
            ),
            Some(content) => String::from_utf8_lossy(content),
            None => String::from_utf8_lossy(self.raw),
        }
    }

    /// Whether [`text`](Self::text) is this; never allocates.
    pub fn is(&self, text: &str) -> bool {
        match self.content() {
            Some(content) => same(content, text.as_bytes()),
            None => self.raw == text.as_bytes(),
        }
    }

    /// A whole number from 0 to 2⁶⁴ − 1, also where it is written as a string (as services do beyond 2⁵³).
    pub fn number(&self) -> Option<u64> {
        let digits = self.content().unwrap_or(self.raw);
        if digits.is_empty() {
            return None;
        }
        digits.iter().try_fold(0u64, |all, c| {
            let digit = c.wrapping_sub(b'0');
            (digit <= 9).then(|| all.checked_mul(10)?.checked_add(u64::from(digit)))?
        })
    }

    /// The elements, as far as the JSON is sound, of a list; none of anything else.
    pub fn elements(&self) -> impl Iterator<Item = Found<'a>> + use<'a> {
        let mut scan = Scan {
            json: self.raw,
            at: 0,
        };
        let mut more = scan.next() == Some(b'[');
        std::iter::from_fn(move || {
            if !more {
                return None;
            }
            scan.space();
            let start = scan.at;
            scan.value()?;
            let raw = &scan.json[start..scan.at];
            scan.space();
            more = scan.next() == Some(b',');
            Some(Found { raw })
        })
    }

    /// What stands between the quotes of a string, escapes unresolved; `None` for other values.
    pub fn content(&self) -> Option<&'a [u8]> {
        self.raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
    }
}

/// The value that `pointer` names in `json`; `None` when there is none or the JSON is broken on the way.
///
/// The empty pointer names the whole document. A pointer that is neither empty nor begins with `/` names nothing.
pub fn lookup<'a>(json: &'a [u8], pointer: &str) -> Option<Found<'a>> {
    let mut scan = Scan { json, at: 0 };
    scan.space();
    let mut rest = pointer.as_bytes();
    while let Some((slash, tokens)) = rest.split_first() {
        if *slash != b'/' {
            return None;
        }
        // Tokens are short: a plain loop beats what `split` sets up.
        let end = tokens.iter().position(|c| *c == b'/');
        let (token, later) = tokens.split_at(end.unwrap_or(tokens.len()));
        match scan.next()? {
            b'{' => scan.member(token)?,
            b'[' => scan.element(token)?,
            _ => return None,
        }
        rest = later;
    }
    let start = scan.at;
    scan.value()?;
    Some(Found {
        raw: &json[start..scan.at],
    })
}

/// The elements of the array that `json` is, in one pass; none where it is something else. They end where it is broken.
pub fn elements(json: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut scan = Scan { json, at: 0 };
    scan.space();
    let mut open = b'[';
    std::iter::from_fn(move || {
        scan.expect(open)?;
        open = b',';
        scan.space();
        let start = scan.at;
        scan.value()?;
        let raw = &json[start..scan.at];
        scan.space();
        Some(Found { raw })
    })
}

/// Pointers that are looked up together, in one pass where each names a member of the outermost object.
///
/// Finds exactly what [`lookup`] finds for each; an empty pointer stands for "not wanted".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointers<const N: usize> {
    pointers: [String; N],
    /// None goes deeper than the outermost object or needs its tokens unescaped.
    flat: bool,
}

impl<const N: usize> Pointers<N> {
    /// Prepares these.
    pub fn new(pointers: [&str; N]) -> Self {
        let flat = |pointer: &str| match pointer.strip_prefix('/') {
            Some(token) => !token.contains(['/', '~']),
            None => pointer.is_empty(),
        };
        Pointers {
            flat: pointers.into_iter().all(flat),
            pointers: pointers.map(String::from),
        }
    }

    /// The values, in the order of the pointers.
    pub fn lookup<'a>(&self, json: &'a [u8]) -> [Option<Found<'a>>; N] {
        let mut found = [None; N];
        if self.flat {
            // An error on the way ends the search; what was found before it counts, as it does for one pointer.
            let _ = self.walk(json, &mut found);
        } else {
            for (found, pointer) in found
                .iter_mut()
                .zip(&self.pointers)
                .filter(|(_, pointer)| !pointer.is_empty())
            {
                *found = lookup(json, pointer);
            }
        }
        found
    }

    fn walk<'a>(&self, json: &'a [u8], found: &mut [Option<Found<'a>>; N]) -> Option<()> {
        let mut scan = Scan { json, at: 0 };
        let mut missing = self
            .pointers
            .iter()
            .filter(|pointer| !pointer.is_empty())
            .count();
        scan.space();
        if scan.peek()? == b'[' {
            for (found, pointer) in found.iter_mut().zip(&self.pointers) {
                *found = if pointer.is_empty() {
                    None
                } else {
                    lookup(json, pointer)
                };
            }
            return None;
        }
        scan.expect(b'{')?;
        while missing > 0 {
            let key = scan.key()?;
            let start = scan.at;
            scan.value()?;
            let value = Found {
                raw: &json[start..scan.at],
            };
            for (found, pointer) in found.iter_mut().zip(&self.pointers) {
                let wanted = pointer
                    .as_bytes()
                    .get(1..)
                    .is_some_and(|name| same(key, name));
                if wanted && found.is_none() {
                    *found = Some(value);
                    missing -= 1;
                }
            }
            scan.space();
            scan.expect(b',')?;
        }
        Some(())
    }
}

/// A position in a JSON text.
struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Past the next byte, which must be this.
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// From behind a `{` to the value of a key.
    fn member(&mut self, token: &[u8]) -> Option<()> {
        loop {
            let key = self.key()?;
            if key_is(key, token) {
                return Some(());
            }
            self.value()?;
            self.space();
            self.expect(b',')?;
        }
    }

    /// Past a key and its colon, to its value.
    fn key(&mut self) -> Option<&'a [u8]> {
        self.space();
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        self.space();
        Some(key)
    }

    /// From behind a `[` to an element.
    fn element(&mut self, token: &[u8]) -> Option<()> {
        let index = index(token)?;
        self.space();
        for _ in 0..index {
            self.value()?;
            self.space();
            self.expect(b',')?;
            self.space();
        }
        // Behind the last element stands a bracket, which is no value.
        Some(())
    }

    /// Past a string; returns what stands between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        // Keys and most values are short; for them a vectorised search does not pay for its setting up.
        let near = self
            .json
            .get(start..)?
            .iter()
            .take(16)
            .position(|c| matches!(c, b'"' | b'\\'));
        match near {
            Some(near) => self.at += near,
            None => self.at += memchr2(b'"', b'\\', &self.json[self.at..])?,
        }
        while self.json[self.at] == b'\\' {
            self.at += 2;
            self.at += memchr2(b'"', b'\\', self.json.get(self.at..)?)?;
        }
        self.at += 1;
        Some(&self.json[start..self.at - 1])
    }

    /// Past a value. Nesting is a count, not a recursion; brackets are not paired by kind.
    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' | b'[' => self.container(),
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let rest = &self.json[self.at..];
                let plain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'+' | b'.');
                self.at += rest.iter().position(|c| !plain(c)).unwrap_or(rest.len());
                Some(())
            }
            _ => None,
        }
    }

    fn container(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }
}

/// An array index as RFC 6901 §4 allows it: digits without leading zeros.
fn index(token: &[u8]) -> Option<usize> {
    match token {
        [b'0'] => Some(0),
        [b'1'..=b'9', ..] => std::str::from_utf8(token).ok()?.parse().ok(),
        _ => None,
    }
}

/// Whether a key as it stands in the text is what a token of a pointer names.
fn key_is(key: &[u8], token: &[u8]) -> bool {
    if token.contains(&b'~') {
        Unescape::new(key).eq(untilde(token))
    } else {
        same(key, token)
    }
}

fn same(content: &[u8], text: &[u8]) -> bool {
    // An escape is longer than what it stands for: what has one is never the same text as it stands.
    content == text && !content.contains(&b'\\')
        || content.len() > text.len()
            && content.contains(&b'\\')
            && Unescape::new(content).eq(text.iter().copied())
}

/// A pointer's token with `~1` and `~0` resolved; any other tilde stands for itself.
fn untilde(token: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        let (byte, length) = match token.get(at..)? {
            [b'~', b'1', ..] => (b'/', 2),
            [b'~', b'0', ..] => (b'~', 2),
            [byte, ..] => (*byte, 1),
            [] => return None,
        };
        at += length;
        Some(byte)
    })
}

/// A string's content with its escapes resolved, byte by byte. Unknown escapes stand for the character
/// behind the backslash; half a surrogate pair becomes U+FFFD.
struct Unescape<'a> {
    content: &'a [u8],
    /// UTF-8 of an escaped character that is not yet handed out.
    pending: [u8; 4],
    pending_at: u8,
    pending_len: u8,
}

impl<'a> Unescape<'a> {
    fn new(content: &'a [u8]) -> Self {
        Unescape {
            content,
            pending: [0; 4],
            pending_at: 0,
            pending_len: 0,
        }
    }

    fn hold(&mut self, character: char) -> u8 {
        self.pending_len = character.encode_utf8(&mut self.pending).len() as u8;
        self.pending_at = 1;
        self.pending[0]
    }

    /// The four digits of a `\u` escape that the rest begins with.
    fn unit(content: &[u8]) -> Option<u32> {
        let digits = content.strip_prefix(b"\\u")?.first_chunk::<4>()?;
        digits
            .iter()
            .try_fold(0, |all, c| Some(all << 4 | char::from(*c).to_digit(16)?))
    }

    fn escaped_unit(&mut self) -> Option<char> {
        let high = Self::unit(self.content)?;
        self.content = &self.content[6..];
        if !(0xd800..0xdc00).contains(&high) {
            return Some(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        match Self::unit(self.content) {
            Some(low @ 0xdc00..0xe000) => {
                self.content = &self.content[6..];
                char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
            }
            _ => Some(char::REPLACEMENT_CHARACTER),
        }
    }
}

impl Iterator for Unescape<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        if self.pending_at < self.pending_len {
            self.pending_at += 1;
            return Some(self.pending[usize::from(self.pending_at) - 1]);
        }
        let (&first, rest) = self.content.split_first()?;
        if first != b'\\' {
            self.content = rest;
            return Some(first);
        }
        if let Some(character) = self.escaped_unit() {
            return Some(self.hold(character));
        }
        let (&kind, rest) = rest.split_first()?;
        self.content = rest;
        Some(match kind {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            other => other,
        })
    }
}

#[cfg(test)]
mod tests;
