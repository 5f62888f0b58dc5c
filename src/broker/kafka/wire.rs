//! Numbers, texts and lists as Kafka writes them, without I/O. What a broker says is read within the bytes that came: a count
//! that they cannot hold is an error before anything is made of it.

use crate::broker::BrokerError;

/// Why something cannot be read.
pub fn broken(what: &str) -> BrokerError {
    BrokerError::Protocol(what.to_owned())
}

/// Reads from the front of what came.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// So many bytes.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], BrokerError> {
        let (taken, rest) = (self.0)
            .split_at_checked(count)
            .ok_or_else(|| broken("an answer ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BrokerError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// INT8.
    pub fn i8(&mut self) -> Result<i8, BrokerError> {
        self.array().map(i8::from_be_bytes)
    }

    /// INT16.
    pub fn i16(&mut self) -> Result<i16, BrokerError> {
        self.array().map(i16::from_be_bytes)
    }

    /// INT32.
    pub fn i32(&mut self) -> Result<i32, BrokerError> {
        self.array().map(i32::from_be_bytes)
    }

    /// INT64.
    pub fn i64(&mut self) -> Result<i64, BrokerError> {
        self.array().map(i64::from_be_bytes)
    }

    /// `STRING` or `NULLABLE_STRING`, which is empty here if it is null.
    pub fn string(&mut self) -> Result<&'a str, BrokerError> {
        let length = self.i16()?;
        let bytes = self.take(usize::try_from(length).unwrap_or(0))?;
        std::str::from_utf8(bytes).map_err(|_| broken("a text is not UTF-8"))
    }

    /// `BYTES` or `NULLABLE_BYTES`, empty if they are null.
    pub fn bytes(&mut self) -> Result<&'a [u8], BrokerError> {
        let length = self.i32()?;
        self.take(usize::try_from(length).unwrap_or(0))
    }

    /// The elements of a list, none if it is null.
    pub fn list<T>(
        &mut self,
        mut each: impl FnMut(&mut Self) -> Result<T, BrokerError>,
    ) -> Result<Vec<T>, BrokerError> {
        let count = usize::try_from(self.i32()?).unwrap_or(0);
        // No element is shorter than a byte.
        if count > self.0.len() {
            return Err(broken("a list is longer than its bytes"));
        }
        (0..count).map(|_| each(self)).collect()
    }

    /// A signed number of variable length.
    pub fn varint(&mut self) -> Result<i64, BrokerError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(broken("a number does not end"))
    }

    /// Bytes with a length of variable length before them; `None`: they are null.
    pub fn short(&mut self) -> Result<Option<&'a [u8]>, BrokerError> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(Some),
            Err(_) => Ok(None),
        }
    }
}

/// Writes at the end of a buffer.
pub trait Put {
    /// `STRING`.
    fn string(&mut self, text: &str);
    /// `BYTES`.
    fn bytes(&mut self, bytes: &[u8]);
    /// INT8.
    fn i8(&mut self, value: i8);
    /// INT16.
    fn i16(&mut self, value: i16);
    /// INT32.
    fn i32(&mut self, value: i32);
    /// INT64.
    fn i64(&mut self, value: i64);
    /// How many elements follow.
    fn count(&mut self, count: usize);
    /// A signed number of variable length.
    fn varint(&mut self, value: i64);
}

impl Put for Vec<u8> {
    fn string(&mut self, text: &str) {
        self.i16(text.len() as i16);
        self.extend_from_slice(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.extend_from_slice(bytes);
    }

    fn i8(&mut self, value: i8) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    fn count(&mut self, count: usize) {
        self.i32(count as i32);
    }

    fn varint(&mut self, value: i64) {
        let mut value = (value << 1 ^ value >> 63) as u64;
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length_are_written_as_protocol_buffers_do() {
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (63, &[0x7e]),
            (-65, &[0x81, 0x01]),
            (300, &[0xd8, 0x04]),
        ] {
            let mut out = Vec::new();
            out.varint(value);
            assert_eq!(out, expected, "{value}");
        }
        for value in [i64::MIN, i64::MAX, i64::from(i32::MIN), 8191, -8192] {
            let mut out = Vec::new();
            out.varint(value);
            let mut reader = Reader(&out);
            assert_eq!((reader.varint().unwrap(), reader.0.len()), (value, 0));
        }
        assert!(Reader(&[0xff; 11]).varint().is_err());
        assert!(Reader(&[0x80]).varint().is_err());
    }

    #[test]
    fn what_is_null_is_empty_and_what_is_short_an_error() {
        assert_eq!(Reader(&[0xff, 0xff]).string().unwrap(), "");
        assert_eq!(Reader(&[0xff; 4]).bytes().unwrap(), b"");
        assert!(Reader(&[0xff; 4]).list(|r| r.i8()).unwrap().is_empty());
        assert_eq!(Reader(&[1]).short().unwrap(), None);
        assert_eq!(Reader(&[0]).short().unwrap(), Some(&b""[..]));
        assert!(Reader(&[0, 3, b'a', b'b']).string().is_err());
        assert!(Reader(&[0, 1, 0xff]).string().is_err());
        assert!(
            Reader(&[0x7f, 0xff, 0xff, 0xff, 1])
                .list(|r| r.i8())
                .is_err()
        );
    }
}
