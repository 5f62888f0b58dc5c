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
/// (`{topic}`, `{id}`, `{payload}`), for `{last}`, `{token}` and for captured variables, which only the connection knows.
pub fn value_of(part: &Part, seed: u64, group: &Group, index: u32) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Var(slot) => var_value(seed, group, *slot, index),
        Part::Builtin(Builtin::Connection) => {
            (u64::from(group.first) + u64::from(index)).to_string()
        }
        Part::Builtin(Builtin::Index) => index.to_string(),
        Part::Builtin(Builtin::Group) => group.name.clone(),
        Part::Builtin(
            Builtin::Topic | Builtin::Id | Builtin::Payload | Builtin::Last | Builtin::Token,
        ) => String::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendering_keeps_text_and_asks_for_the_rest() {
        let template = Template {
            parts: vec![
                Part::Text("a{".into()),
                Part::Var(3),
                Part::Builtin(Builtin::Id),
                Part::Text("}".into()),
            ],
        };
        let rendered = render(&template, |part| match part {
            Part::Var(slot) => format!("v{slot}").into(),
            Part::Builtin(Builtin::Id) => "7".into(),
            other => panic!("{other:?} was asked for"),
        });
        assert_eq!(rendered, "a{v37}");
    }

    #[test]
    fn only_unreserved_characters_are_kept() {
        for (text, encoded) in [
            ("", ""),
            ("azAZ09-._~", "azAZ09-._~"),
            ("a b&c=d/é%+", "a%20b%26c%3Dd%2F%C3%A9%25%2B"),
            ("\0\n\u{7f}", "%00%0A%7F"),
        ] {
            assert_eq!(percent_encode(text), encoded);
        }
    }

    #[test]
    fn plain_text_is_known_as_such() {
        assert_eq!(Template::default().as_text(), Some(""));
        assert_eq!(Template::text("x").as_text(), Some("x"));
        assert_eq!(
            Template {
                parts: vec![Part::Var(0)]
            }
            .as_text(),
            None
        );
        assert!(Template::default().is_empty() && Template::text("").is_empty());
        assert!(!Template::text("x").is_empty());
        assert!(
            !Template {
                parts: vec![Part::Var(0)]
            }
            .is_empty()
        );
    }
}
