//! Tests of incoming messages.

use super::config::Condition;
use super::pointer;
use memchr::memmem;

impl Condition {
    /// Whether all given parts hold for a message. An empty condition holds for every message.
    pub fn matches(&self, message: &[u8]) -> bool {
        if !self.contains.is_empty() && memmem::find(message, self.contains.as_bytes()).is_none() {
            return false;
        }
        match (self.pointer.is_empty(), &self.equals) {
            (true, None) => true,
            // Without a pointer the value is the message itself.
            (true, Some(equals)) => message == equals.as_bytes(),
            (false, equals) => pointer::lookup(message, &self.pointer)
                .is_some_and(|found| equals.as_ref().is_none_or(|equals| found.is(equals))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(contains: &str, pointer: &str, equals: Option<&str>) -> Condition {
        Condition {
            contains: contains.into(),
            pointer: pointer.into(),
            equals: equals.map(String::from),
        }
    }

    #[test]
    fn all_parts_must_hold() {
        let message = br#"{"type":"ok","n":12,"deep":{"yes":true},"quoted":"a\"b"}"#;
        let table = [
            (condition("", "", None), true),
            (condition("deep", "", None), true),
            (condition("shallow", "", None), false),
            (condition("", "/type", None), true),
            (condition("", "/kind", None), false),
            (condition("", "/type", Some("ok")), true),
            (condition("", "/type", Some("\"ok\"")), false),
            (condition("", "/n", Some("12")), true),
            (condition("", "/n", Some("1")), false),
            (condition("", "/deep/yes", Some("true")), true),
            (condition("", "/quoted", Some("a\"b")), true),
            (condition("deep", "/type", Some("ok")), true),
            (condition("shallow", "/type", Some("ok")), false),
            (condition("deep", "/type", Some("no")), false),
            (condition("", "", Some("ok")), false),
        ];
        for (condition, expected) in table {
            assert_eq!(condition.matches(message), expected, "{condition:?}");
        }
        assert!(condition("", "", Some("pong")).matches(b"pong"));
    }
}
