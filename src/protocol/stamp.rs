//! The stamp: what a payload carries so that its receiver can measure and account for it.
//!
//! Text form, 44 bytes: `sq1:` and 40 characters of base64url (RFC 4648 §5, no padding) for these 30
//! bytes, big-endian: run u32, stream u32, sequence u48, intended u56, sent u56, check u16. None of
//! the characters needs escaping in JSON, HTML, XML or a URL, so a stamp can be written over another
//! one inside a frame that is already encoded.

use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Length of a stamp's text form, bytes.
pub const STAMP_LEN: usize = MARK.len() + DIGITS;

/// Smallest payload that may carry a stamp, bytes: the stamp and room for a delimiter around it.
pub const MIN_PAYLOAD: usize = 48;

const MARK: &[u8; 4] = b"sq1:";
const BYTES: usize = 30;
const DIGITS: usize = BYTES / 3 * 4;
const SEQ_MASK: u64 = (1 << 48) - 1;
const TIME_MAX: u64 = (1 << 56) - 1;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const INVALID: u8 = 0xff;
const VALUES: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut i = 0;
    while i < ALPHABET.len() {
        table[ALPHABET[i] as usize] = i as u8;
        i += 1;
    }
    table
};

/// Who sent a message, which one it is, and when. Times are nanoseconds from the run's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Stamp {
    /// The run's tag: what is left of an earlier run is told apart by it.
    pub run: u32,
    /// The stream of messages: a publisher and what it publishes.
    pub stream: u32,
    /// Number in the stream; 48 bits are kept.
    pub seq: u64,
    /// When it was to be sent, nanoseconds; at most 2⁵⁶ − 1 (2.28 years), larger values are cut to that.
    pub intended_ns: u64,
    /// When it was sent, nanoseconds; the same limit.
    pub sent_ns: u64,
}

impl Stamp {
    /// Writes the text form to the first [`STAMP_LEN`] bytes of `out`.
    ///
    /// Returns whether there was room; without it nothing is written.
    #[must_use]
    pub fn encode(&self, out: &mut [u8]) -> bool {
        let Some(out) = out.first_chunk_mut::<STAMP_LEN>() else {
            return false;
        };
        *out = self.text();
        true
    }

    /// The text form.
    pub fn text(&self) -> [u8; STAMP_LEN] {
        let bytes = self.bytes();
        let mut out = [0; STAMP_LEN];
        let (mark, digits) = out.split_at_mut(MARK.len());
        mark.copy_from_slice(MARK);
        for (from, to) in bytes
            .as_chunks::<3>()
            .0
            .iter()
            .zip(digits.as_chunks_mut::<4>().0)
        {
            let group = u32::from_be_bytes([0, from[0], from[1], from[2]]);
            *to = [
                digit(group >> 18),
                digit(group >> 12),
                digit(group >> 6),
                digit(group),
            ];
        }
        out
    }

    /// The stamp whose text form `bytes` begins with.
    pub fn decode(bytes: &[u8]) -> Option<Stamp> {
        let digits = bytes.strip_prefix(MARK)?.first_chunk::<DIGITS>()?;
        let mut raw = [0u8; BYTES];
        let mut seen = 0u8;
        for (from, to) in digits
            .as_chunks::<4>()
            .0
            .iter()
            .zip(raw.as_chunks_mut::<3>().0)
        {
            let value = from.map(|c| VALUES[c as usize]);
            // Valid digits are below 64, so any invalid one shows in the top bits at the end.
            seen |= value[0] | value[1] | value[2] | value[3];
            let group = value
                .iter()
                .fold(0u32, |all, v| all << 6 | u32::from(v & 63));
            to.copy_from_slice(&group.to_be_bytes()[1..]);
        }
        if seen >= 64 {
            return None;
        }
        let stamp = Stamp {
            run: be(&raw[0..4]) as u32,
            stream: be(&raw[4..8]) as u32,
            seq: be(&raw[8..14]),
            intended_ns: be(&raw[14..21]),
            sent_ns: be(&raw[21..28]),
        };
        (be(&raw[28..30]) as u16 == stamp.check()).then_some(stamp)
    }

    /// The first valid stamp anywhere in `bytes`.
    pub fn find(bytes: &[u8]) -> Option<Stamp> {
        Self::locate(bytes).map(|(_, stamp)| stamp)
    }

    /// The first valid stamp and where it begins: what an encoder needs to write over it later.
    pub fn locate(bytes: &[u8]) -> Option<(usize, Stamp)> {
        // Building a searcher costs more than most searches.
        static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));
        FINDER
            .find_iter(bytes)
            .find_map(|at| Stamp::decode(&bytes[at..]).map(|stamp| (at, stamp)))
    }

    fn bytes(&self) -> [u8; BYTES] {
        let stamp = self.cut();
        let mut out = [0; BYTES];
        out[0..4].copy_from_slice(&stamp.run.to_be_bytes());
        out[4..8].copy_from_slice(&stamp.stream.to_be_bytes());
        out[8..14].copy_from_slice(&stamp.seq.to_be_bytes()[2..]);
        out[14..21].copy_from_slice(&stamp.intended_ns.to_be_bytes()[1..]);
        out[21..28].copy_from_slice(&stamp.sent_ns.to_be_bytes()[1..]);
        out[28..30].copy_from_slice(&stamp.check().to_be_bytes());
        out
    }

    /// With every field in its width.
    fn cut(&self) -> Stamp {
        Stamp {
            seq: self.seq & SEQ_MASK,
            intended_ns: self.intended_ns.min(TIME_MAX),
            sent_ns: self.sent_ns.min(TIME_MAX),
            ..*self
        }
    }

    /// Against text that merely looks like a stamp (one chance in 65,536 to pass); not a signature.
    /// Multiply-and-fold over the four words, with odd constants from the golden ratio and π.
    fn check(&self) -> u16 {
        let words = [
            u64::from(self.run) << 32 | u64::from(self.stream),
            self.seq,
            self.intended_ns,
            self.sent_ns,
        ];
        let mixed = words.iter().fold(0x243f_6a88_85a3_08d3u64, |state, word| {
            let product = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15;
            (product >> 64) as u64 ^ product as u64
        });
        (mixed >> 48) as u16 ^ mixed as u16
    }
}

/// Puts a payload of `size` bytes (at least [`MIN_PAYLOAD`]) at the end of `out`: room for a stamp, then filler.
///
/// Returns where the stamp goes. The payload is plain ASCII that JSON need not escape.
pub fn fill(size: usize, out: &mut Vec<u8>) -> usize {
    let at = out.len();
    out.extend_from_slice(&Stamp::default().text());
    out.resize(at + size.max(MIN_PAYLOAD), b'.');
    at
}

fn digit(group: u32) -> u8 {
    ALPHABET[(group & 63) as usize]
}

fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    fn any_stamp() -> impl Strategy<Value = Stamp> {
        (
            any::<u32>(),
            any::<u32>(),
            0..=SEQ_MASK,
            0..=TIME_MAX,
            0..=TIME_MAX,
        )
            .prop_map(|(run, stream, seq, intended_ns, sent_ns)| Stamp {
                run,
                stream,
                seq,
                intended_ns,
                sent_ns,
            })
    }

    proptest! {
        #[test]
        fn round_trip_amid_anything(stamp in any_stamp(), before: Vec<u8>, after: Vec<u8>) {
            let bytes = [&before[..], &stamp.text(), &after].concat();
            prop_assert_eq!(Stamp::locate(&bytes), Some((before.len(), stamp)));
        }

        #[test]
        fn digits_are_base64url(stamp in any_stamp()) {
            let text = stamp.text();
            let digits = URL_SAFE_NO_PAD.encode(stamp.bytes());
            prop_assert_eq!(digits.as_bytes(), &text[4..]);
            let json = serde_json::to_string(std::str::from_utf8(&text).unwrap()).unwrap();
            prop_assert_eq!(json.len(), STAMP_LEN + 2);
        }

        #[test]
        fn arbitrary_bytes_are_harmless(bytes: Vec<u8>) {
            let mut marked = MARK.repeat(3);
            marked.extend(&bytes);
            let _ = Stamp::find(&marked);
        }

        #[test]
        fn a_changed_digit_is_seen(stamp in any_stamp(), at in 4..STAMP_LEN, to in 0..64usize) {
            let mut text = stamp.text();
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            // 16 bits of check: a false accept is possible, a wrong value accepted as the same is not.
            prop_assert_ne!(Stamp::decode(&text), Some(stamp));
        }
    }

    #[test]
    fn fields_in_their_place() {
        let stamp = Stamp {
            run: 0x0102_0304,
            stream: 0x0506_0708,
            seq: 0x090a_0b0c_0d0e,
            intended_ns: 0x0f_1011_1213_1415,
            sent_ns: 0x16_1718_191a_1b1c,
        };
        let expected: Vec<u8> = (1..=28).collect();
        assert_eq!(&stamp.bytes()[..28], &expected);
    }

    #[test]
    fn the_check_rejects_nearly_all_changes() {
        let stamp = Stamp {
            run: 7,
            stream: 3,
            seq: 99,
            intended_ns: 5_000_000,
            sent_ns: 5_000_400,
        };
        let text = stamp.text();
        let accepted = (4..STAMP_LEN)
            .flat_map(|at| (0..64).map(move |to| (at, ALPHABET[to])))
            .filter(|(at, to)| text[*at] != *to)
            .filter(|(at, to)| {
                let mut changed = text;
                changed[*at] = *to;
                Stamp::decode(&changed).is_some()
            })
            .count();
        assert!(accepted <= 2, "{accepted} of 2520 single changes passed");
    }

    #[test]
    fn too_wide_values_are_cut() {
        let stamp = Stamp {
            seq: u64::MAX,
            intended_ns: u64::MAX,
            sent_ns: 1 << 56,
            ..Stamp::default()
        };
        let back = Stamp::decode(&stamp.text()).unwrap();
        assert_eq!(
            (back.seq, back.intended_ns, back.sent_ns),
            (SEQ_MASK, TIME_MAX, TIME_MAX)
        );
    }

    #[test]
    fn false_starts_are_passed_over() {
        let stamp = Stamp {
            run: 1,
            stream: 2,
            seq: 3,
            intended_ns: 4,
            sent_ns: 5,
        };
        let text = stamp.text();
        let mut bytes = b"sq1:sq1:".to_vec();
        bytes.extend(&text[..20]);
        bytes.extend(&text);
        assert_eq!(Stamp::find(&bytes), Some(stamp));
        assert_eq!(Stamp::find(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Stamp::find(b"sq1:"), None);
        assert_eq!(Stamp::find(b""), None);
        assert!(!stamp.encode(&mut [0; STAMP_LEN - 1]));
    }

    #[test]
    fn payloads_have_the_size_asked_for() {
        for (size, real) in [(0, 48), (48, 48), (64, 64), (1000, 1000)] {
            let mut out = b"ab".to_vec();
            let at = fill(size, &mut out);
            assert_eq!((at, out.len()), (2, 2 + real));
            assert!(Stamp::decode(&out[at..]).is_some());
        }
    }
}
