//! permessage-deflate (RFC 7692), the server's side: between the socket and tungstenite, which does not speak it.
//!
//! What a client made smaller reaches tungstenite as the frame that it would have been, and whole frames on their way out are made
//! smaller. Written apart from squall's client, which is tested against it.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// What ends a flushed piece of deflated data, and is not sent.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// The bit of a frame's first byte that says that its message was made smaller.
const RSV1: u8 = 0x40;
/// The bit of its second byte that says that it is masked.
const MASKED: u8 = 0x80;

/// What was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Agreed {
    /// Our window.
    bits: u8,
    /// We begin anew with each message.
    server_anew: bool,
    /// So does the client.
    client_anew: bool,
}

/// Accepts the first offer that can be met, from the values of `Sec-WebSocket-Extensions`; with the value for the answer.
pub(super) fn choose<'a>(offers: impl Iterator<Item = &'a str>) -> Option<(Agreed, String)> {
    offers.into_iter().find_map(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case("permessage-deflate") {
            return None;
        }
        let mut agreed = Agreed {
            bits: 15,
            server_anew: false,
            client_anew: false,
        };
        let mut answer = String::from("permessage-deflate");
        let mut seen = Vec::new();
        for part in parts {
            // What says a thing twice is declined (RFC 7692 §7.1).
            let name = part.split('=').next()?.trim();
            if seen.contains(&name) {
                return None;
            }
            seen.push(name);
            match part
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
            {
                Some(("server_max_window_bits", value)) => {
                    // zlib makes no window of 8.
                    agreed.bits = window(value).filter(|bits| *bits > 8)?;
                }
                // Whatever it uses, we can read it.
                Some(("client_max_window_bits", value)) => {
                    window(value)?;
                    continue;
                }
                None if part == "client_max_window_bits" => continue,
                None if part == "server_no_context_takeover" => agreed.server_anew = true,
                None if part == "client_no_context_takeover" => agreed.client_anew = true,
                _ => return None,
            }
            answer.push_str("; ");
            answer.push_str(part);
        }
        Some((agreed, answer))
    })
}

fn window(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    ((8..=15).contains(&bits) && value.len() == bits.to_string().len()).then_some(bits)
}

/// A frame that is being read.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// Its header.
    Header,
    /// One that is passed on as it is: bytes to come.
    Passing(u64),
    /// A part of a message to be inflated.
    Gathering {
        left: u64,
        mask: [u8; 4],
        last: bool,
    },
}

/// The two directions of one connection.
#[derive(Debug)]
pub(super) struct Press {
    agreed: Agreed,
    /// Largest message, inflated.
    max: usize,
    inflater: Decompress,
    /// Made with the first message.
    deflater: Option<Compress>,
    reading: Reading,
    /// The beginning of a header.
    header: Vec<u8>,
    /// What came of a message that was made smaller…
    gathered: Vec<u8>,
    /// …and its opcode, 0 between such messages.
    opcode: u8,
}

impl Press {
    pub(super) fn new(agreed: Agreed, max: usize) -> Self {
        Press {
            agreed,
            max,
            inflater: Decompress::new(false),
            deflater: None,
            reading: Reading::Header,
            header: Vec::new(),
            gathered: Vec::new(),
            opcode: 0,
        }
    }

    /// Appends what bytes of the client are to tungstenite.
    pub(super) fn plain(&mut self, mut raw: &[u8], out: &mut Vec<u8>) {
        while !raw.is_empty() {
            match &mut self.reading {
                Reading::Header => {
                    self.header.push(raw[0]);
                    raw = &raw[1..];
                    self.begin(out);
                }
                Reading::Passing(left) => {
                    let (now, later) = raw.split_at(shorter(*left, raw.len()));
                    out.extend_from_slice(now);
                    *left -= now.len() as u64;
                    if *left == 0 {
                        self.reading = Reading::Header;
                    }
                    raw = later;
                }
                Reading::Gathering { left, mask, .. } => {
                    let (now, later) = raw.split_at(shorter(*left, raw.len()));
                    self.gathered.extend(
                        now.iter()
                            .zip(mask.iter().cycle())
                            .map(|(byte, mask)| byte ^ mask),
                    );
                    *left -= now.len() as u64;
                    mask.rotate_left(now.len() % 4);
                    raw = later;
                    self.end_of_frame(out);
                }
            }
        }
    }

    /// Looks at a header, if all of it has come.
    fn begin(&mut self, out: &mut Vec<u8>) {
        let [first, second, more @ ..] = self.header.as_slice() else {
            return;
        };
        let (first, masked) = (*first, second & MASKED != 0);
        let digits = match second & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let Some((length, mask)) = more.split_at_checked(digits) else {
            return;
        };
        let mask: [u8; 4] = match (masked, mask.try_into()) {
            (true, Ok(mask)) => mask,
            (true, Err(_)) => return,
            // tungstenite says what it thinks of that.
            (false, _) => [0; 4],
        };
        let length = match digits {
            0 => u64::from(second & !MASKED),
            _ => length
                .iter()
                .fold(0, |all, digit| all << 8 | u64::from(*digit)),
        };
        let opcode = first & 0x0f;
        let begins = first & 0x70 == RSV1 && matches!(opcode, 1 | 2) && self.opcode == 0;
        let goes_on = opcode == 0 && self.opcode != 0 && first & 0x70 == 0;
        if !masked || !(begins || goes_on) {
            out.append(&mut self.header);
            if length > 0 {
                self.reading = Reading::Passing(length);
            }
            return;
        }
        self.header.clear();
        if begins {
            self.opcode = opcode;
        }
        self.reading = Reading::Gathering {
            left: length,
            mask,
            last: first & 0x80 != 0,
        };
        // What does not get smaller gets a little larger.
        let most = self.max as u64 + self.max as u64 / 256 + 64;
        if length.saturating_add(self.gathered.len() as u64) > most {
            return self.too_large(out);
        }
        self.end_of_frame(out);
    }

    fn end_of_frame(&mut self, out: &mut Vec<u8>) {
        let Reading::Gathering { left: 0, last, .. } = self.reading else {
            return;
        };
        self.reading = Reading::Header;
        if !last {
            return;
        }
        let gathered = std::mem::take(&mut self.gathered);
        let opcode = std::mem::take(&mut self.opcode);
        let mut message = Vec::new();
        match self.inflate(&[&gathered, &TAIL], &mut message) {
            Some(true) => {
                let (header, length) = header(0x80 | opcode, MASKED, message.len() as u64);
                out.extend_from_slice(&header[..length]);
                // A mask of zeros changes nothing.
                out.extend_from_slice(&[0; 4]);
                out.extend_from_slice(&message);
            }
            Some(false) => self.too_large(out),
            // As it came, which tungstenite takes for the breach that it is.
            None => out.extend_from_slice(&[0x80 | RSV1 | opcode, MASKED, 0, 0, 0, 0]),
        }
    }

    /// Has tungstenite refuse a frame of more than it accepts.
    fn too_large(&mut self, out: &mut Vec<u8>) {
        let (header, length) = header(0x82, MASKED, self.max as u64 + 1);
        out.extend_from_slice(&header[..length]);
        out.extend_from_slice(&[0; 4]);
        self.reading = Reading::Passing(u64::MAX);
    }

    /// `None`: it cannot be inflated; false: to more than is accepted.
    fn inflate(&mut self, pieces: &[&[u8]], out: &mut Vec<u8>) -> Option<bool> {
        for piece in pieces {
            let mut rest = *piece;
            loop {
                if out.len() == out.capacity() {
                    out.reserve(rest.len().max(256));
                }
                let before = self.inflater.total_in();
                let flush = FlushDecompress::Sync;
                let status = self.inflater.decompress_vec(rest, out, flush).ok()?;
                let used = (self.inflater.total_in() - before) as usize;
                rest = rest.get(used..)?;
                if out.len() > self.max {
                    return Some(false);
                }
                if status == Status::StreamEnd {
                    self.inflater.reset(false);
                } else if out.len() < out.capacity() {
                    match rest {
                        [] => break,
                        _ => return None,
                    }
                }
            }
        }
        if self.agreed.client_anew {
            self.inflater.reset(false);
        }
        Some(true)
    }

    /// Makes the messages in whole frames of ours smaller.
    pub(super) fn smaller(&mut self, frames: &mut Vec<u8>) {
        let plain = std::mem::take(frames);
        let mut rest = plain.as_slice();
        while let [first, second, ..] = *rest {
            let (header_length, length) = match second {
                126 => (4, number(rest.get(2..4))),
                127 => (10, number(rest.get(2..10))),
                short => (2, usize::from(short)),
            };
            let whole = (header_length + length).min(rest.len());
            let (frame, later) = rest.split_at(whole);
            rest = later;
            let payload = frame.get(header_length..).unwrap_or_default();
            match first {
                0x81 | 0x82 => self.deflate(first, payload, frames),
                _ => frames.extend_from_slice(frame),
            }
        }
    }

    fn deflate(&mut self, first: u8, payload: &[u8], frames: &mut Vec<u8>) {
        let bits = self.agreed.bits;
        let make = || Compress::new_with_window_bits(Compression::fast(), false, bits);
        let deflater = self.deflater.get_or_insert_with(make);
        let mut message = Vec::with_capacity(payload.len() / 2 + 256);
        let mut rest = payload;
        loop {
            let before = deflater.total_in();
            // Compressing into memory does not fail.
            let _ = deflater.compress_vec(rest, &mut message, FlushCompress::Sync);
            rest = &rest[(deflater.total_in() - before) as usize..];
            if message.len() < message.capacity() {
                break;
            }
            message.reserve(256);
        }
        if message.ends_with(&TAIL) {
            message.truncate(message.len() - TAIL.len());
        }
        if message.is_empty() {
            message.push(0);
        }
        if self.agreed.server_anew {
            deflater.reset();
        }
        let (header, length) = header(first | RSV1, 0, message.len() as u64);
        frames.extend_from_slice(&header[..length]);
        frames.extend_from_slice(&message);
    }
}

fn shorter(left: u64, length: usize) -> usize {
    usize::try_from(left).map_or(length, |left| left.min(length))
}

fn number(digits: Option<&[u8]>) -> usize {
    let digits = digits.unwrap_or_default().iter();
    digits.fold(0, |all, digit| all << 8 | usize::from(*digit))
}

/// A frame's header without its mask, and how long it is.
fn header(first: u8, masked: u8, length: u64) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = first;
    let digits = length.to_be_bytes();
    match length {
        0..=125 => {
            header[1] = masked | length as u8;
            (header, 2)
        }
        126..=0xffff => {
            header[1] = masked | 126;
            header[2..4].copy_from_slice(&digits[6..]);
            (header, 4)
        }
        _ => {
            header[1] = masked | 127;
            header[2..].copy_from_slice(&digits);
            (header, 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_that_can_be_met() {
        let chosen = |offers: &[&str]| choose(offers.iter().copied()).map(|(_, answer)| answer);
        for (offers, answer) in [
            (&[][..], None),
            (&["x-other"], None),
            (&["permessage-deflate"], Some("permessage-deflate")),
            (
                &["permessage-deflate; client_max_window_bits"],
                Some("permessage-deflate"),
            ),
            (
                &[
                    "permessage-deflate; client_max_window_bits=9; server_max_window_bits=10; server_no_context_takeover",
                ],
                Some("permessage-deflate; server_max_window_bits=10; server_no_context_takeover"),
            ),
            (
                &[
                    "permessage-deflate; what",
                    "Permessage-Deflate; client_no_context_takeover",
                ],
                Some("permessage-deflate; client_no_context_takeover"),
            ),
            (&["permessage-deflate; server_max_window_bits=8"], None),
            (&["permessage-deflate; server_max_window_bits=09"], None),
            (&["permessage-deflate; server_max_window_bits=16"], None),
            (&["permessage-deflate; server_max_window_bits"], None),
            // A thing said twice.
            (
                &["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
                None,
            ),
            (
                &["permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"],
                None,
            ),
        ] {
            assert_eq!(chosen(offers).as_deref(), answer, "{offers:?}");
        }
    }

    fn press(max: usize) -> Press {
        let (agreed, _) = choose(["permessage-deflate"].into_iter()).unwrap();
        Press::new(agreed, max)
    }

    /// A client's frame with a mask.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 4];
        let (header, length) = header(first, MASKED, payload.len() as u64);
        let payload = payload.iter().zip(mask.iter().cycle());
        [&header[..length], &mask]
            .concat()
            .into_iter()
            .chain(payload.map(|(byte, mask)| byte ^ mask))
            .collect()
    }

    #[test]
    fn what_comes_is_as_it_would_have_been() {
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
        let raw = [
            masked(0xc1, &hello),
            masked(0x82, b"as it is"),
            masked(0x41, &again[..2]),
            masked(0x89, b"?"),
            masked(0x80, &again[2..]),
        ]
        .concat();
        let text = [&[0x81, 0x85, 0, 0, 0, 0][..], b"Hello"].concat();
        let expected = [
            text.clone(),
            masked(0x82, b"as it is"),
            masked(0x89, b"?"),
            text,
        ]
        .concat();
        for step in [1, 2, 7, 1000] {
            let (mut press, mut out) = (press(1000), Vec::new());
            raw.chunks(step)
                .for_each(|piece| press.plain(piece, &mut out));
            assert_eq!(out, expected, "{step}");
        }
    }

    #[test]
    fn what_goes_is_smaller_and_controls_are_as_they_are() {
        let text = b"again and again and again and again";
        let frame = |first: u8, payload: &[u8]| {
            let (header, length) = header(first, 0, payload.len() as u64);
            [&header[..length], payload].concat()
        };
        let mut frames = [frame(0x81, text), frame(0x8a, b"!"), frame(0x82, text)].concat();
        let mut ours = press(1000);
        ours.smaller(&mut frames);
        assert!(frames.len() < text.len() + 10);
        // The client's reader is its own mirror image, but for masks.
        let mut inflater = Decompress::new(false);
        let mut rest = frames.as_slice();
        let mut seen = Vec::new();
        while let [first, length, ..] = *rest {
            let (frame, later) = rest.split_at(2 + usize::from(length));
            let mut out = Vec::with_capacity(100);
            if first & RSV1 != 0 {
                let all = [&frame[2..], &TAIL].concat();
                let flush = FlushDecompress::Sync;
                inflater.decompress_vec(&all, &mut out, flush).unwrap();
            }
            seen.push((first, out));
            rest = later;
        }
        let expected = vec![
            (0xc1, text.to_vec()),
            (0x8a, Vec::new()),
            (0xc2, text.to_vec()),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn bombs_and_what_is_no_deflated_data_become_what_is_refused() {
        let mut bomb = Vec::with_capacity(1 << 20);
        let mut deflater = Compress::new(Compression::best(), false);
        let zeros = vec![0; 1 << 20];
        deflater
            .compress_vec(&zeros, &mut bomb, FlushCompress::Sync)
            .unwrap();
        let mut out = Vec::new();
        press(5000).plain(&masked(0xc1, &bomb[..4000.min(bomb.len())]), &mut out);
        assert_eq!(out[..4], [0x82, MASKED | 126, 0x13, 0x89]);
        out.clear();
        press(5000).plain(&masked(0xc1, &[0xff; 9]), &mut out);
        assert_eq!(out[0], 0xc1);
        // Too large already as it comes.
        out.clear();
        press(100).plain(&masked(0xc1, &[0; 1000])[..8], &mut out);
        assert_eq!(out[..2], [0x82, MASKED | 101]);
    }
}
