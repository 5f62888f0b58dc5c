//! Message templates: JSON texts with `{topic}`, `{id}`, `{payload}`, `{seq}` and `{epoch}` in them; that of a publish may
//! also say `{length}`, how many bytes its payload has, for protocols that count them.

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
/// they are put in as they are, for payloads that are JSON themselves. In a string that holds JSON itself
/// (`"data":"{\"body\":\"{payload}\"}"`) what stands in a string there is escaped for both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Part {
    Text(String),
    Hole { hole: Hole, quoted: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Hole {
    Topic,
    Id,
    Payload,
    Seq,
    Epoch,
    Length,
}

const HOLES: [(&str, Hole); 6] = [
    ("{topic}", Hole::Topic),
    ("{id}", Hole::Id),
    ("{payload}", Hole::Payload),
    ("{seq}", Hole::Seq),
    ("{epoch}", Hole::Epoch),
    ("{length}", Hole::Length),
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
                quoted: quotes.hole(),
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

    /// Appends what stands before the first `{payload}` and what stands behind it; how many JSON strings it is in.
    /// Without one the whole message is before it. Further payload holes are filled from `values`.
    pub(super) fn split(&self, values: Values, before: &mut Vec<u8>, behind: &mut Vec<u8>) -> u8 {
        let at = self.payload_at();
        let hole = at.unwrap_or(self.parts.len());
        render(&self.parts[..hole], values, before);
        render(
            self.parts.get(hole + 1..).unwrap_or_default(),
            values,
            behind,
        );
        match at.map(|at| &self.parts[at]) {
            Some(Part::Hole { quoted, .. }) => *quoted,
            _ => 0,
        }
    }

    /// Where, in what stands before the payload, its length goes.
    pub(super) fn length_at(&self, values: Values) -> Option<usize> {
        let is_length = |part: &Part| {
            matches!(
                part,
                Part::Hole {
                    hole: Hole::Length,
                    ..
                }
            )
        };
        let at = self.parts.iter().position(is_length)?;
        let mut before = Vec::new();
        render(&self.parts[..at], values, &mut before);
        (Some(at) < self.payload_at()).then_some(before.len())
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

/// The same for a string in a string, and so on; 0 times: as it is.
pub(super) fn escape_times(value: &str, times: u8, out: &mut Vec<u8>) {
    match times {
        0 => out.extend_from_slice(value.as_bytes()),
        1 => escape(value, out),
        more => {
            let mut once = Vec::new();
            escape_times(value, more - 1, &mut once);
            // Escaping text makes text.
            escape(&String::from_utf8_lossy(&once), out);
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
}

fn render(parts: &[Part], values: Values, out: &mut Vec<u8>) {
    for part in parts {
        let (value, quoted) = match part {
            Part::Text(text) => (text.as_str(), 0),
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
            // Put in once the payload is there.
            Part::Hole {
                hole: Hole::Length, ..
            } => continue,
        };
        escape_times(value, quoted, out);
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

/// Whether a place in a JSON text is inside a string, and inside one of the JSON that such a string holds.
#[derive(Default)]
struct Quotes {
    outer: Level,
    inner: Level,
    /// What the string begins like, once that is known: JSON or anything else.
    holds_json: Option<bool>,
}

#[derive(Default)]
struct Level {
    inside: bool,
    escaped: bool,
}

impl Level {
    /// Reads a byte. A byte of a string's content is returned, with an escape resolved as far as quotes go.
    fn read(&mut self, byte: u8) -> Option<u8> {
        match byte {
            _ if self.escaped => {
                self.escaped = false;
                Some(match byte {
                    b'"' | b'\\' => byte,
                    _ => b' ',
                })
            }
            b'\\' if self.inside => {
                self.escaped = true;
                None
            }
            b'"' => {
                self.inside = !self.inside;
                None
            }
            _ => self.inside.then_some(byte),
        }
    }
}

impl Quotes {
    fn read(&mut self, text: &str) {
        for byte in text.bytes() {
            let content = self.outer.read(byte);
            if !self.outer.inside {
                (self.inner, self.holds_json) = (Level::default(), None);
            }
            let Some(byte) = content else { continue };
            if *self.holds_json.get_or_insert(matches!(byte, b'{' | b'[')) {
                self.inner.read(byte);
            }
        }
    }

    /// A hole is here: how many strings it is in. One that a string begins with is no JSON.
    fn hole(&mut self) -> u8 {
        if self.outer.inside {
            self.holds_json.get_or_insert(false);
        }
        u8::from(self.outer.inside) + u8::from(self.inner.inside)
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

    #[test]
    fn json_in_a_string_is_escaped_for_both() {
        let values = Values {
            topic: "a\"b\\",
            payload: "c\"d",
            ..Values::default()
        };
        let outer: serde_json::Value = serde_json::from_str(&rendered(
            r#"{"i":"{topic}","d":"{\"n\":1,\"t\":\"{topic}\",\"p\":[\"x\\\"{payload}\"]}","s":"say \"{payload}\"","z":"{payload}{"}"#,
            values,
        ))
        .unwrap();
        assert_eq!(outer["i"], values.topic);
        // A string that is not JSON is escaped once, whatever quotes it has.
        assert_eq!(outer["s"], "say \"c\"d\"");
        assert_eq!(outer["z"], "c\"d{");
        let inner: serde_json::Value = serde_json::from_str(outer["d"].as_str().unwrap()).unwrap();
        assert_eq!(inner["t"], values.topic);
        assert_eq!(inner["p"][0], "x\"c\"d");
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
