//! Stamps in hostile payloads: what is found is written there.

use crate::protocol::{STAMP_LEN, Stamp};

/// One input.
pub fn target(data: &[u8]) {
    if let Some((at, stamp)) = Stamp::locate(data) {
        assert_eq!(&data[at..at + STAMP_LEN], stamp.text());
    }
    // A true one between the parts of the input, unless the input itself holds one before it.
    let (before, after) = data.split_at(data.len() / 2);
    let stamp = Stamp {
        run: data.len() as u32,
        stream: 7,
        seq: 1 << 40,
        intended_ns: 5,
        sent_ns: 6,
    };
    let bytes = [before, &stamp.text(), after].concat();
    let (at, found) = Stamp::locate(&bytes).expect("one was put there");
    assert!(at < before.len() || (at, found) == (before.len(), stamp));
}
