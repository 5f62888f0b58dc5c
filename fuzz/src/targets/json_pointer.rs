//! A pointer into hostile JSON: never a panic, and serde_json's answer where the JSON is good.

use crate::protocol::pointer::lookup;
use serde_json::Value;

/// One input.
pub fn target(data: &[u8]) {
    let at = data
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(data.len());
    let (Ok(pointer), json) = (
        std::str::from_utf8(&data[..at]),
        data.get(at + 1..).unwrap_or_default(),
    ) else {
        return;
    };
    if let Some(found) = lookup(json, pointer) {
        let text = found.text();
        assert!(found.is(&text) || text.contains('\u{FFFD}'));
        let _ = found.number();
    }
    // Through text once, because of repeated keys: the first counts here, the last there.
    if let Ok(value) = serde_json::from_slice::<Value>(json) {
        let json = value.to_string();
        let value: Value = serde_json::from_str(&json).expect("it was just written");
        let found = lookup(json.as_bytes(), pointer);
        let parsed = found.map(|found| {
            serde_json::from_slice::<Value>(found.raw()).expect("a value of good JSON is good")
        });
        assert_eq!(parsed.as_ref(), value.pointer(pointer));
    }
}
