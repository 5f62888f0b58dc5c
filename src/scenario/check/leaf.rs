//! The checker's leaves: scalars, quantities, and what stands in for a value that is wrong.

use super::{Checker, named};
use crate::scenario::language::{Schema, is_quantity};
use crate::scenario::node::{Node, Scalar, Value};
use crate::scenario::scalar::Meaning;
use crate::scenario::units::{
    Boost, ByteRate, ByteSize, Count, Duration, Rate, ReadRate, Share, UnitError,
};
use serde_json::Value as Json;

impl<'a> Checker<'a> {
    /// Checks a scalar where one belongs.
    pub(super) fn scalar(
        &mut self,
        scalar: &Scalar,
        node: &Node,
        schema: Schema<'a>,
        path: &str,
    ) -> Json {
        let text = scalar.text.as_str();
        let format = schema.format();
        if is_quantity(format) {
            if let Err(error) = quantity(format, text) {
                // What a reference stood for may be a secret that went to the wrong place.
                let message = match &scalar.expanded {
                    Some((written, _)) => {
                        format!("the value of `{written}` is not {}", error.expected)
                    }
                    None => error.to_string(),
                };
                self.problem(path, node.span, message, None);
                return self.harmless(schema);
            }
            return text.into();
        }
        // A reference's value is meant as whatever is asked for.
        let meaning = if scalar.expanded.is_some() {
            Scalar {
                text: text.into(),
                plain: true,
                expanded: None,
            }
            .meaning()
        } else {
            scalar.meaning()
        };
        match (schema.types().first().copied().unwrap_or_default(), meaning) {
            ("string", _) if scalar.expanded.is_some() => {
                self.secrets.extend(
                    scalar
                        .expanded
                        .iter()
                        .flat_map(|(_, values)| values.clone()),
                );
                text.into()
            }
            ("string", Meaning::Text) => text.into(),
            ("string", _) => {
                let message = format!("{} takes text, not {}", named(path), described(node));
                self.problem(
                    path,
                    node.span,
                    message,
                    Some(format!("put it in quotes: \"{text}\"")),
                );
                text.into()
            }
            ("integer", Meaning::Int(value)) => self.integer(value, node, schema, path),
            ("number", Meaning::Int(value)) => (value as f64).into(),
            ("number", Meaning::Float(value)) => value.into(),
            ("boolean", Meaning::Bool(value)) => value.into(),
            ("boolean", Meaning::Text)
                if ["yes", "no", "on", "off"].contains(&text.to_lowercase().as_str()) =>
            {
                let word = if ["yes", "on"].contains(&text.to_lowercase().as_str()) {
                    "true"
                } else {
                    "false"
                };
                let message = format!("{} takes true or false, not `{text}`", named(path));
                self.problem(path, node.span, message, Some(format!("write {word}")));
                self.harmless(schema)
            }
            _ => self.wrong_kind(node, schema, path),
        }
    }

    fn integer(&mut self, value: i128, node: &Node, schema: Schema<'a>, path: &str) -> Json {
        let (least, most) = match schema.format() {
            "uint8" => (0, i128::from(u8::MAX)),
            "uint16" => (0, i128::from(u16::MAX)),
            "uint32" => (0, i128::from(u32::MAX)),
            "uint64" => (0, i128::from(u64::MAX)),
            _ => (i128::from(i64::MIN), i128::from(i64::MAX)),
        };
        let least = schema.number("minimum").map_or(least, |m| m.max(least));
        let most = schema.number("maximum").map_or(most, |m| m.min(most));
        if value < least || value > most {
            let message = format!(
                "{} takes a whole number from {least} to {most}",
                named(path)
            );
            self.problem(path, node.span, message, None);
            return self.harmless(schema);
        }
        match (u64::try_from(value), i64::try_from(value)) {
            (Ok(value), _) => value.into(),
            (_, Ok(value)) => value.into(),
            _ => Json::Null,
        }
    }

    /// A value of the right form for a place whose own is wrong or missing: its default, which goes with whatever else may
    /// be written there, or else any.
    pub(super) fn harmless(&mut self, schema: Schema<'a>) -> Json {
        if let Some(default) = schema.default().filter(|default| !default.is_null()) {
            return default.clone();
        }
        if let Some(variants) = schema.alternatives("oneOf") {
            let constant = variants.iter().find_map(|v| v.constant());
            return match (constant, variants.first()) {
                (Some(name), _) => name.into(),
                (None, Some(first)) => self.harmless(*first),
                (None, None) => Json::Null,
            };
        }
        if let Some(first) = schema
            .alternatives("anyOf")
            .and_then(|all| all.first().copied())
        {
            return self.harmless(first);
        }
        match (
            schema.types().first().copied().unwrap_or_default(),
            schema.format(),
        ) {
            (_, "duration") => "1s".into(),
            (_, "rate") => "1/s".into(),
            (_, "share") => "100%".into(),
            (_, "size") => "1KiB".into(),
            (_, "boost") => "1x".into(),
            (_, "byte_rate" | "read_rate") => "1KiB/s".into(),
            (_, "count") => 1.into(),
            ("string", _) => "unknown".into(),
            ("integer" | "number", _) => 1.into(),
            ("boolean", _) => false.into(),
            ("array", _) => {
                let count = schema.number("minItems").unwrap_or_default();
                (0..count).map(|_| self.harmless(schema.items())).collect()
            }
            _ => {
                let required: Vec<_> = schema
                    .required()
                    .filter_map(|key| Some((key, schema.key(key)?)))
                    .collect();
                let values = required
                    .into_iter()
                    .map(|(key, child)| (key.to_string(), self.harmless(child)));
                Json::Object(values.collect())
            }
        }
    }
}

fn quantity(format: &str, text: &str) -> Result<(), UnitError> {
    match format {
        "duration" => text.parse::<Duration>().map(drop),
        "rate" => text.parse::<Rate>().map(drop),
        "share" => text.parse::<Share>().map(drop),
        "size" => text.parse::<ByteSize>().map(drop),
        "count" => text.parse::<Count>().map(drop),
        "byte_rate" => text.parse::<ByteRate>().map(drop),
        "read_rate" => text.parse::<ReadRate>().map(drop),
        _ => text.parse::<Boost>().map(drop),
    }
}

/// The kind of a value, in the schema's words.
pub(super) fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::List(_) => "array",
        Value::Map(_) => "object",
        Value::Scalar(scalar) => match scalar.meaning() {
            _ if scalar.expanded.is_some() => "string",
            Meaning::Null => "null",
            Meaning::Bool(_) => "boolean",
            Meaning::Int(_) => "integer",
            Meaning::Float(_) => "number",
            Meaning::Text => "string",
        },
    }
}

/// What was written, for messages; never what a reference stood for.
pub(super) fn described(node: &Node) -> String {
    match &node.value {
        Value::List(_) => "a list".into(),
        Value::Map(_) => "a map".into(),
        Value::Scalar(scalar) => match (&scalar.expanded, kind(node)) {
            (Some((written, _)), _) => format!("the value of `{written}`"),
            (None, "boolean") => format!("the truth value {}", scalar.text),
            (None, "integer" | "number") => format!("the number {}", scalar.text),
            (None, _) => "text".into(),
        },
    }
}
