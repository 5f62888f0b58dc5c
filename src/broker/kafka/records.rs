//! Batches of records, version 2 of their format (Kafka 0.11 and later), without I/O, and which partition a record belongs to.

use super::wire::{Put, Reader, broken};
use crate::broker::BrokerError;

/// From the offset to the number of records.
const HEAD: usize = 61;
/// Of those, what comes before the bytes that the length counts.
const BEFORE_LENGTH: usize = 12;
/// Where the bytes begin that the check is of.
const CHECKED: usize = 21;

/// Who a batch is of, by which the broker knows it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producer {
    /// What the broker called us.
    pub id: i64,
    /// Which life of that.
    pub epoch: i16,
    /// Number of the batch's first record among all that we wrote to the partition.
    pub sequence: i32,
}

/// Nobody: a batch that comes twice is stored twice.
pub const NOBODY: Producer = Producer {
    id: -1,
    epoch: -1,
    sequence: -1,
};

/// A batch as it grows.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    record: Vec<u8>,
    count: i32,
}

impl Batch {
    /// Adds a record.
    pub fn push(&mut self, key: Option<&[u8]>, value: &[u8]) {
        if self.count == 0 {
            self.bytes.resize(HEAD, 0);
        }
        let record = &mut self.record;
        record.clear();
        // No attributes, and the batch's time.
        record.i8(0);
        record.varint(0);
        record.varint(i64::from(self.count));
        match key {
            Some(key) => {
                record.varint(key.len() as i64);
                record.extend_from_slice(key);
            }
            None => record.varint(-1),
        }
        record.varint(value.len() as i64);
        record.extend_from_slice(value);
        // No headers.
        record.varint(0);
        self.bytes.varint(record.len() as i64);
        self.bytes.extend_from_slice(record);
        self.count += 1;
    }

    /// Writes what stands before the records. `now_ms` is the time of the wall clock.
    pub fn finish(&mut self, now_ms: i64, producer: Producer) {
        if self.count == 0 {
            self.bytes.resize(HEAD, 0);
        }
        let mut head = Vec::with_capacity(HEAD);
        head.i64(0);
        head.count(self.bytes.len() - BEFORE_LENGTH);
        head.i32(-1);
        head.i8(2);
        head.i32(0);
        // Not compressed, of the time that the producer says, no transaction.
        head.i16(0);
        head.i32(self.count - 1);
        head.i64(now_ms);
        head.i64(now_ms);
        head.i64(producer.id);
        head.i16(producer.epoch);
        head.i32(producer.sequence);
        head.i32(self.count);
        self.bytes[..HEAD].copy_from_slice(&head);
        let check = crc32c(&self.bytes[CHECKED..]);
        self.bytes[CHECKED - 4..CHECKED].copy_from_slice(&check.to_be_bytes());
    }

    /// The bytes so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A record.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// What it is.
    pub value: &'a [u8],
}

/// What was found in a partition's bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Offset of what comes next.
    pub next: i64,
    /// Batches that were passed over, as they are compressed or of an older format.
    pub skipped: u64,
}

/// Hands on each record from this offset on. What is cut off at the end is left, as brokers do cut.
pub fn each<'a>(
    bytes: &'a [u8],
    from: i64,
    mut on: impl FnMut(Record<'a>),
) -> Result<Found, BrokerError> {
    let mut rest = Reader(bytes);
    let mut found = Found {
        next: from,
        skipped: 0,
    };
    while rest.0.len() >= HEAD {
        let mut batch = rest;
        let base = batch.i64()?;
        let length = usize::try_from(batch.i32()?).unwrap_or(0);
        if length + BEFORE_LENGTH < HEAD {
            return Err(broken("a batch of records is too short"));
        }
        let Ok(mut batch) = batch.take(length).map(Reader) else {
            break;
        };
        rest.take(BEFORE_LENGTH + length)?;
        batch.i32()?;
        if batch.i8()? != 2 {
            // Not since 0.11 of ours; its offset is that of its last.
            found.skipped += 1;
            found.next = found.next.max(base.saturating_add(1));
            continue;
        }
        let check = batch.i32()? as u32;
        if crc32c(batch.0) != check {
            return Err(broken("a batch of records is damaged"));
        }
        let attributes = batch.i16()?;
        let last = batch.i32()?;
        batch.take(8 + 8 + 8 + 2 + 4)?;
        let count = batch.i32()?;
        let after = base.saturating_add(i64::from(last)).saturating_add(1);
        if after <= found.next {
            // All of it came before.
            continue;
        }
        match attributes & 0x27 {
            0 => records(batch, base, count, found.next, &mut on)?,
            // A mark of a transaction's end.
            0x20 => {}
            _ => found.skipped += 1,
        }
        found.next = after;
    }
    Ok(found)
}

fn records<'a>(
    mut batch: Reader<'a>,
    base: i64,
    count: i32,
    from: i64,
    on: &mut impl FnMut(Record<'a>),
) -> Result<(), BrokerError> {
    for _ in 0..count {
        let record = batch.short()?.ok_or_else(|| broken("a record is null"))?;
        let mut record = Reader(record);
        record.i8()?;
        record.varint()?;
        let offset = base.saturating_add(record.varint()?);
        let key = record.short()?;
        let value = record.short()?.unwrap_or_default();
        if offset >= from {
            on(Record { key, value });
        }
    }
    Ok(())
}

/// The partition of a key among so many, as Kafka's own producers choose it.
pub fn partition(key: &[u8], count: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % count.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = value >> 1 ^ (if value & 1 == 1 { 0x82f6_3b78 } else { 0 });
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

/// CRC-32C (Castagnoli).
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ crc >> 8;
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Pair = (Option<Vec<u8>>, Vec<u8>);

    fn read(bytes: &[u8], from: i64) -> Result<(Vec<Pair>, Found), BrokerError> {
        let mut all = Vec::new();
        let found = each(bytes, from, |r| {
            all.push((r.key.map(<[u8]>::to_vec), r.value.to_vec()));
        })?;
        Ok((all, found))
    }

    fn batch(pairs: &[Pair], base: i64) -> Vec<u8> {
        let mut batch = Batch::default();
        for (key, value) in pairs {
            batch.push(key.as_deref(), value);
        }
        batch.finish(1_700_000_000_000, NOBODY);
        let mut bytes = batch.bytes().to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        bytes
    }

    #[test]
    fn checks_and_hashes_are_those_of_the_others() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        // Of the tests of Kafka's own client.
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), expected, "{key}");
        }
        assert_eq!(partition(b"abc", 7), 479_470_107 % 7);
        assert_eq!(partition(b"", 0), 0);
    }

    #[test]
    fn what_came_before_is_not_handed_on_again() {
        let value = |n: u8| (None, vec![n]);
        let mut bytes = batch(&[value(0), value(1), value(2)], 10);
        bytes.extend(batch(&[value(3)], 13));
        let (all, found) = read(&bytes, 12).unwrap();
        assert_eq!(all, [value(2), value(3)]);
        assert_eq!(found.next, 14);
        // Cut off anywhere: what is whole is there.
        for cut in 0..bytes.len() {
            let (all, found) = read(&bytes[..cut], 10).unwrap();
            assert!(all.len() == 3 && found.next == 13 || all.is_empty() && found.next == 10);
        }
        bytes[30] ^= 1;
        assert!(read(&bytes, 10).is_err());
    }

    #[test]
    fn a_compressed_batch_is_passed_over_and_counted() {
        let mut bytes = batch(&[(None, b"x".to_vec())], 5);
        bytes[22] = 1;
        let check = crc32c(&bytes[CHECKED..]);
        bytes[CHECKED - 4..CHECKED].copy_from_slice(&check.to_be_bytes());
        let (all, found) = read(&bytes, 5).unwrap();
        assert_eq!((all.len(), found.next, found.skipped), (0, 6, 1));
    }

    #[test]
    fn a_producer_stands_where_brokers_look_for_it() {
        let mut batch = Batch::default();
        batch.push(Some(b"k"), b"v");
        let producer = Producer {
            id: 7,
            epoch: 2,
            sequence: 9,
        };
        batch.finish(3, producer);
        let bytes = batch.bytes();
        assert_eq!(bytes[43..51], 7_i64.to_be_bytes());
        assert_eq!(bytes[51..53], 2_i16.to_be_bytes());
        assert_eq!(bytes[53..57], 9_i32.to_be_bytes());
        assert_eq!(bytes[8..12], ((bytes.len() - 12) as i32).to_be_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            pairs in prop::collection::vec((prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), prop::collection::vec(any::<u8>(), 0..300)), 1..20),
            base in 0..i64::from(u32::MAX),
        ) {
            let (all, found) = read(&batch(&pairs, base), base).unwrap();
            prop_assert_eq!(&all, &pairs);
            prop_assert_eq!(found, Found { next: base + pairs.len() as i64, skipped: 0 });
        }

        #[test]
        fn what_is_hostile_is_an_error_at_most(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), from in any::<i64>(),
        ) {
            let _ = read(&bytes, from);
            // The same with a length and a check that are right.
            if bytes.len() >= HEAD {
                let length = (bytes.len() - BEFORE_LENGTH) as i32;
                bytes[8..12].copy_from_slice(&length.to_be_bytes());
                bytes[16] = 2;
                bytes[21..23].copy_from_slice(&[0, 0]);
                let check = crc32c(&bytes[CHECKED..]);
                bytes[17..21].copy_from_slice(&check.to_be_bytes());
                let _ = read(&bytes, from);
            }
        }
    }
}
