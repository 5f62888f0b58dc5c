//! Templates: text with `{placeholders}`, filled per connection or per message.

use super::seeded::var_value;
use super::types::{Builtin, Group, Part, Template};
use std::borrow::Cow;

/// Fills a template: text as it is, everything else by what `value` says of the part.
pub fn render<'a>(template: &Template, mut value: impl FnMut(&Part) -> Cow<'a, str>) -> String {
    let mut out = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => out.push_str(text),
            other => out.push_str(&value(other)),
        }
    }
    out
}

/// What a part stands for on the connection at `index` of a group. Empty for what belongs to a message
/// (`{topic}`, `{id}`, `{payload}`) and for captured variables, which only the connection knows.
pub fn value_of(part: &Part, seed: u64, group: &Group, index: u32) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Var(slot) => var_value(seed, group, *slot, index),
        Part::Builtin(Builtin::Connection) => {
            (u64::from(group.first) + u64::from(index)).to_string()
        }
        Part::Builtin(Builtin::Index) => index.to_string(),
        Part::Builtin(Builtin::Group) => group.name.clone(),
        Part::Builtin(Builtin::Topic | Builtin::Id | Builtin::Payload) => String::new(),
    }
}

/// Percent-encodes a value for a path segment or a query: all but RFC 3986's unreserved characters.
pub fn percent_encode(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(byte as char)
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)] as char);
                out.push(HEX[usize::from(byte & 15)] as char);
            }
        }
    }
    out
}

impl Template {
    /// A template that is plain text.
    pub fn text(text: impl Into<String>) -> Template {
        Template {
            parts: vec![Part::Text(text.into())],
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.parts
            .iter()
            .all(|part| matches!(part, Part::Text(text) if text.is_empty()))
    }

    /// The text, when it is the same for every connection and message.
    pub fn as_text(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}
