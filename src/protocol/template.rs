//! Message templates: JSON texts with `{topic}`, `{id}`, `{payload}`, `{seq}` and `{epoch}` in them.

use serde::{Deserialize, Serialize};

/// What a template's holes are filled with.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a> {
    /// For `{topic}`.
    pub topic: &'a str,
    /// For `{id}`.
    pub id: u64,
    /// For `{payload}`.
    pub payload: &'a str,
    /// For `{seq}`.
    pub seq: u64,
    /// For `{epoch}`.
    pub epoch: &'a str,
}

/// A compiled message template.
///
/// Only the known names make a hole; every other brace is text, so that JSON can be written plainly.
/// Inside a JSON string of the template values are escaped; outside of one (`"payload":{payload}`)
/// they are put in as they are, for payloads that are JSON themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Text(String),
    Hole { hole: Hole, quoted: bool },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Hole {
    Topic,
    Id,
    Payload,
    Seq,
    Epoch,
}

const HOLES: [(&str, Hole); 5] = [
    ("{topic}", Hole::Topic),
    ("{id}", Hole::Id),
    ("{payload}", Hole::Payload),
    ("{seq}", Hole::Seq),
    ("{epoch}", Hole::Epoch),
];

impl MessageTemplate {
    /// Compiles a template; every text is one.
    pub fn compile(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut quotes = Quotes::default();
        let mut rest = text;
        let mut from = 0;
        while let Some(at) = rest[from..].find('{').map(|at| from + at) {
            let Some((name, hole)) = HOLES
                .into_iter()
                .find(|(name, _)| rest[at..].starts_with(name))
            else {
                from = at + 1;
                continue;
            };
            quotes.read(&rest[..at]);
            push_text(&mut parts, &rest[..at]);
            parts.push(Part::Hole {
                hole,
                quoted: quotes.inside,
            });
            rest = &rest[at + name.len()..];
            from = 0;
        }
        push_text(&mut parts, rest);
        MessageTemplate { parts }
    }

    /// Whether there is a `{payload}`.
    pub fn has_payload(&self) -> bool {
        self.payload_at().is_some()
    }

    /// Whether it is no text at all.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether there is an `{id}`.
    pub fn has_id(&self) -> bool {
        self.parts
            .iter()
            .any(|part| matches!(part, Part::Hole { hole: Hole::Id, .. }))
    }

    /// Appends the message.
    pub fn render(&self, values: Values, out: &mut Vec<u8>) {
        render(&self.parts, values, out);
    }

    /// Appends what stands before the first `{payload}` and what stands behind it; true when it is in a JSON string.
    /// Without one the whole message is before it. Further payload holes are filled from `values`.
    pub(super) fn split(&self, values: Values, before: &mut Vec<u8>, behind: &mut Vec<u8>) -> bool {
        let at = self.payload_at();
        let hole = at.unwrap_or(self.parts.len());
        render(&self.parts[..hole], values, before);
        render(
            self.parts.get(hole + 1..).unwrap_or_default(),
            values,
            behind,
        );
        at.is_some_and(|at| matches!(self.parts[at], Part::Hole { quoted: true, .. }))
    }

    fn payload_at(&self) -> Option<usize> {
        self.parts.iter().position(|part| {
            matches!(
                part,
                Part::Hole {
                    hole: Hole::Payload,
                    ..
                }
            )
        })
    }
}

/// Appends `value` as it must stand inside a JSON string (RFC 8259 §7), without quotes around it.
pub fn escape(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut plain = 0;
    let bytes = value.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' | b'\\' => *byte,
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        match short {
            0 => out.extend_from_slice(&[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ]),
            _ => out.extend_from_slice(&[b'\\', short]),
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
}

fn render(parts: &[Part], values: Values, out: &mut Vec<u8>) {
    for part in parts {
        let (value, quoted) = match part {
            Part::Text(text) => (text.as_str(), false),
            Part::Hole {
                hole: Hole::Topic,
                quoted,
            } => (values.topic, *quoted),
            Part::Hole {
                hole: Hole::Payload,
                quoted,
            } => (values.payload, *quoted),
            Part::Hole {
                hole: Hole::Epoch,
                quoted,
            } => (values.epoch, *quoted),
            Part::Hole { hole: Hole::Id, .. } => {
                decimal(values.id, out);
                continue;
            }
            Part::Hole {
                hole: Hole::Seq, ..
            } => {
                decimal(values.seq, out);
                continue;
            }
        };
        if quoted {
            escape(value, out);
        } else {
            out.extend_from_slice(value.as_bytes());
        }
    }
}

pub(super) fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Whether a place in a JSON text is inside a string.
#[derive(Default)]
struct Quotes {
    inside: bool,
    escaped: bool,
}

impl Quotes {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.inside => self.escaped = true,
                b'"' => self.inside = !self.inside,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rendered(template: &str, values: Values) -> String {
        let mut out = Vec::new();
        MessageTemplate::compile(template).render(values, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table() {
        let values = Values {
            topic: "a\"b",
            id: 1230,
            payload: "{\"x\":1}",
            seq: 41,
            epoch: "e\"1",
        };
        let table = [
            ("", ""),
            ("plain {braces} {", "plain {braces} {"),
            (r#"{"t":"{topic}","i":{id}}"#, r#"{"t":"a\"b","i":1230}"#),
            (r#"{"p":{payload}}"#, r#"{"p":{"x":1}}"#),
            (r#"{"p":"{payload}"}"#, r#"{"p":"{\"x\":1}"}"#),
            (
                r#"{"p":"\"{payload}","q":{payload}}"#,
                r#"{"p":"\"{\"x\":1}","q":{"x":1}}"#,
            ),
            ("{{id}}", "{1230}"),
            (r#"{"s":{seq},"e":"{epoch}"}"#, r#"{"s":41,"e":"e\"1"}"#),
            ("{id}{id}", "12301230"),
            ("é{id}é", "é1230é"),
        ];
        for (template, expected) in table {
            assert_eq!(rendered(template, values), expected, "{template}");
        }
        assert_eq!(
            rendered(
                "{id}",
                Values {
                    id: u64::MAX,
                    ..values
                }
            ),
            u64::MAX.to_string()
        );
        assert_eq!(rendered("{id}", Values { id: 0, ..values }), "0");
    }

    proptest! {
        #[test]
        fn escapes_are_what_serde_json_reads(value: String) {
            let mut out = b"\"".to_vec();
            escape(&value, &mut out);
            out.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), value);
        }

        #[test]
        fn any_text_is_a_template(text: String, topic: String) {
            let _ = rendered(&text, Values { topic: &topic, id: 1, payload: &topic, seq: 2, epoch: &topic });
        }

        #[test]
        fn values_never_break_the_message(topic: String, payload: String) {
            let json = rendered(r#"{"t":"{topic}","p":"{payload}"}"#, Values { topic: &topic, id: 1, payload: &payload, ..Values::default() });
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&value["t"], topic.as_str());
            prop_assert_eq!(&value["p"], payload.as_str());
        }
    }
}
