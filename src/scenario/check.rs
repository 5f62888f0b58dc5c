//! The checker: walks the schema over the tree and finds every mistake at its place.
//!
//! What is wrong is replaced by something harmless, so that later stages can look at the rest of the
//! document and all mistakes are told at once.

use super::language::{Schema, either, is_quantity, listed, nearest, places};
use super::node::{Entry, Found, Node, Scalar, Value};
use super::problem::{Problem, Span};
use super::scalar::Meaning;
use super::units::{ByteSize, Count, Duration, Factor, Rate, Share};
use serde_json::{Map, Value as Json};

/// Beyond so many problems nobody reads suggestions, which cost a search through the language each.
const SUGGESTED: usize = 500;

/// The outcome of a check.
pub(super) struct Checked {
    /// What the model is made from; harmless values stand where the document is wrong.
    pub value: Json,
    /// All that is wrong.
    pub found: Vec<Found>,
    /// Values of references that ended up in texts: to be kept out of every output.
    pub secrets: Vec<String>,
}

/// Whether names of groups or phases were lost that the rest refers to: later stages would only be confused.
pub(super) fn lost_names(found: &[Found]) -> bool {
    let lost = |path: &str| {
        let phase = path
            .strip_prefix("phases[")
            .and_then(|rest| rest.split_once(']'));
        ["", "clients", "phases"].contains(&path)
            || phase.is_some_and(|(_, rest)| ["", ".name"].contains(&rest))
    };
    found.iter().any(|(problem, ..)| lost(&problem.path))
}

/// Checks a document against the schema.
pub(super) fn check(root: &Node, schema: &Json) -> Checked {
    let mut checker = Checker {
        places: places(schema),
        found: Vec::new(),
        secrets: Vec::new(),
    };
    let at = Span {
        end: root.span.start,
        ..root.span
    };
    let value = checker.value(root, Schema::root(schema), "", at);
    Checked {
        value,
        found: checker.found,
        secrets: checker.secrets,
    }
}

struct Checker<'a> {
    places: Vec<(&'a str, String)>,
    found: Vec<Found>,
    secrets: Vec<String>,
}

impl<'a> Checker<'a> {
    fn problem(&mut self, path: &str, span: Span, message: String, help: Option<String>) {
        let mut problem = Problem::error(path, message);
        problem.help = help;
        self.found.push((problem, span, None));
    }

    fn on_key(&mut self, path: &str, span: Span, message: String, help: Option<String>) {
        self.problem(path, span, message, help);
        if let Some((problem, ..)) = self.found.last_mut() {
            problem.on_key = true;
        }
    }

    /// Checks a value; `at` is its key, where something that is not there can be pointed to.
    fn value(&mut self, node: &Node, schema: Schema<'a>, path: &str, at: Span) -> Json {
        let kind = kind(node);
        if kind == "null" {
            if schema.may_be_empty() {
                return self.harmless(schema);
            }
            let help = format!("give it {}, or remove it", schema.expected());
            self.on_key(
                path,
                at,
                format!("{} has no value", named(path)),
                Some(help),
            );
            return self.harmless(schema);
        }
        if let Some(variants) = schema.alternatives("oneOf") {
            return self.variant(node, schema, &variants, path, at);
        }
        if let Some(all) = schema.alternatives("anyOf") {
            let text = matches!(&node.value, Value::Scalar(s) if s.expanded.is_some());
            let fits = all
                .iter()
                .find(|one| one.accepts(kind) || text && one.accepts("string"));
            return match fits {
                Some(one) => self.value(node, *one, path, at),
                None => self.wrong_kind(node, schema, path),
            };
        }
        match (&node.value, &schema.types()[..]) {
            (Value::Map(entries), ["object"]) => self.object(entries, schema, path, at),
            (Value::List(items), ["array"]) => self.list(items, node.span, schema, path),
            (Value::Scalar(scalar), types)
                if !["object", "array"].contains(types.first().unwrap_or(&"")) =>
            {
                self.scalar(scalar, node, schema, path)
            }
            _ => self.wrong_kind(node, schema, path),
        }
    }

    fn wrong_kind(&mut self, node: &Node, schema: Schema<'a>, path: &str) -> Json {
        let message = format!(
            "{} takes {}, not {}",
            named(path),
            schema.expected(),
            described(node)
        );
        let help = match (&node.value, &schema.types()[..]) {
            (Value::Scalar(_), ["array"]) => Some("write it as a list: [ ... ]".to_string()),
            _ => None,
        };
        self.problem(path, node.span, message, help);
        self.harmless(schema)
    }

    fn object(&mut self, entries: &[Entry], schema: Schema<'a>, path: &str, at: Span) -> Json {
        let mut out = Map::new();
        let Some(keys) = schema.keys() else {
            for entry in entries {
                let path = join(path, &entry.key);
                if entry.key.is_empty() {
                    self.on_key(
                        &path,
                        entry.key_span,
                        "a name must not be empty".into(),
                        None,
                    );
                    continue;
                }
                out.insert(
                    entry.key.clone(),
                    self.value(&entry.node, schema.values(), &path, entry.key_span),
                );
            }
            return Json::Object(out);
        };
        let keys: Vec<&str> = keys.collect();
        for entry in entries {
            let path = join(path, &entry.key);
            match schema.key(&entry.key) {
                Some(child) => {
                    let required = schema.required().any(|r| r == entry.key);
                    let value = if required && kind(&entry.node) == "null" {
                        let help = format!("give it {}", child.expected());
                        self.on_key(
                            &path,
                            entry.key_span,
                            format!("{} has no value", named(&path)),
                            Some(help),
                        );
                        self.harmless(child)
                    } else {
                        self.value(&entry.node, child, &path, entry.key_span)
                    };
                    out.insert(entry.key.clone(), value);
                }
                None => self.unknown(entry, &path, &keys),
            }
        }
        for required in schema.required() {
            if out.contains_key(required) {
                continue;
            }
            let Some(child) = schema.key(required) else {
                continue;
            };
            let owner = if path.is_empty() {
                "the scenario".to_string()
            } else {
                named(path)
            };
            let help = format!("`{required}` takes {}", child.expected());
            self.on_key(
                &join(path, required),
                at,
                format!("{owner} lacks the key `{required}`"),
                Some(help),
            );
            let value = self.harmless(child);
            out.insert(required.into(), value);
        }
        Json::Object(out)
    }

    fn unknown(&mut self, entry: &Entry, path: &str, keys: &[&str]) {
        let key = entry.key.as_str();
        if self.found.len() > SUGGESTED {
            return self.on_key(path, entry.key_span, format!("unknown key `{key}`"), None);
        }
        let homes = |name: &str| {
            let mut homes: Vec<String> = Vec::new();
            for (_, place) in self.places.iter().filter(|(key, _)| *key == name) {
                if !homes.contains(place) {
                    homes.push(place.clone());
                }
            }
            homes.truncate(3);
            homes
        };
        let elsewhere = homes(key);
        let (message, help) = if !elsewhere.is_empty() {
            (
                format!("misplaced key `{key}`"),
                format!("it belongs under {}", either(&elsewhere)),
            )
        } else if key == "<<" {
            (
                format!("unknown key `{key}`"),
                "merge keys are not part of YAML 1.2; write the keys out".to_string(),
            )
        } else if let Some(near) = nearest(key, keys.iter().copied()) {
            (
                format!("unknown key `{key}`"),
                format!("did you mean `{near}`?"),
            )
        } else if let Some(near) = nearest(key, self.places.iter().map(|(key, _)| *key)) {
            (
                format!("unknown key `{key}`"),
                format!("did you mean `{near}`, under {}?", either(&homes(near))),
            )
        } else {
            let known: Vec<_> = keys.iter().map(|k| format!("`{k}`")).collect();
            (
                format!("unknown key `{key}`"),
                format!("keys known here: {}", listed(&known, 20)),
            )
        };
        self.on_key(path, entry.key_span, message, Some(help));
    }

    fn list(&mut self, items: &[Node], span: Span, schema: Schema<'a>, path: &str) -> Json {
        let (least, most) = (schema.number("minItems"), schema.number("maxItems"));
        let count = items.len() as i128;
        if least.is_some_and(|least| count < least) || most.is_some_and(|most| count > most) {
            let wanted = least.or(most).unwrap_or_default();
            self.problem(
                path,
                span,
                format!("{} takes {wanted} values, not {count}", named(path)),
                None,
            );
            return self.harmless(schema);
        }
        let mut out = Vec::new();
        for (i, item) in items.iter().enumerate() {
            // A map in a list has no key; its first key is where it starts.
            let at = match &item.value {
                Value::Map(entries) => entries.first().map_or(item.span, |e| e.key_span),
                _ => item.span,
            };
            out.push(self.value(item, schema.items(), &format!("{path}[{i}]"), at));
        }
        Json::Array(out)
    }

    /// A choice: a bare name, or a map of exactly one key.
    fn variant(
        &mut self,
        node: &Node,
        schema: Schema<'a>,
        variants: &[Schema<'a>],
        path: &str,
        at: Span,
    ) -> Json {
        let keyed = |key: &str| {
            variants
                .iter()
                .find(|v| v.constant().is_none() && v.variant() == Some(key))
                .copied()
        };
        let names = || {
            variants
                .iter()
                .filter_map(|v| v.constant().or_else(|| v.variant()))
        };
        let expected = || format!("expected {}", schema.expected());
        match &node.value {
            Value::List(_) => self.wrong_kind(node, schema, path),
            Value::Scalar(scalar) => {
                let text = scalar.text.as_str();
                if variants.iter().any(|v| v.constant() == Some(text)) {
                    return text.into();
                }
                let help = if keyed(text).is_some() {
                    format!("`{text}` needs a value: {text}: ...")
                } else {
                    match nearest(text, names()) {
                        Some(near) => format!("did you mean `{near}`? {}", expected()),
                        None => expected(),
                    }
                };
                let message = match scalar.expanded {
                    Some(_) => format!("{} does not know {}", named(path), described(node)),
                    None => format!("{} does not know `{text}`", named(path)),
                };
                self.problem(path, node.span, message, Some(help));
                self.harmless(schema)
            }
            Value::Map(entries) => {
                let mut chosen: Option<(&Entry, Json)> = None;
                for entry in entries {
                    let key = entry.key.as_str();
                    let path = join(path, key);
                    if let Some(variant) = keyed(key) {
                        let Some(child) = variant.key(key) else {
                            continue;
                        };
                        let value = self.value(&entry.node, child, &path, entry.key_span);
                        match &chosen {
                            Some((first, _)) => {
                                let message =
                                    format!("only one of `{}` and `{key}` may be given", first.key);
                                let also = Some((first.key_span, "the first".to_string()));
                                let problem = Problem::error(path, message).on_key();
                                self.found.push((problem, entry.key_span, also));
                            }
                            None => chosen = Some((entry, value)),
                        }
                    } else if variants.iter().any(|v| v.constant() == Some(key)) {
                        let help = Some(format!("write just {key}"));
                        self.on_key(
                            &path,
                            entry.key_span,
                            format!("`{key}` takes no value"),
                            help,
                        );
                    } else {
                        self.unknown(entry, &path, &names().collect::<Vec<_>>());
                    }
                }
                match chosen {
                    Some((entry, value)) => {
                        Json::Object(Map::from_iter([(entry.key.clone(), value)]))
                    }
                    None => {
                        if entries.is_empty() {
                            self.problem(
                                path,
                                at,
                                format!("{} is empty", named(path)),
                                Some(expected()),
                            );
                        }
                        self.harmless(schema)
                    }
                }
            }
        }
    }

    fn scalar(&mut self, scalar: &Scalar, node: &Node, schema: Schema<'a>, path: &str) -> Json {
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

    /// A value of the right form for a place whose own is wrong or missing.
    fn harmless(&mut self, schema: Schema<'a>) -> Json {
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
            (_, "factor") => "1x".into(),
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

fn quantity(format: &str, text: &str) -> Result<(), super::units::UnitError> {
    match format {
        "duration" => text.parse::<Duration>().map(drop),
        "rate" => text.parse::<Rate>().map(drop),
        "share" => text.parse::<Share>().map(drop),
        "size" => text.parse::<ByteSize>().map(drop),
        "count" => text.parse::<Count>().map(drop),
        _ => text.parse::<Factor>().map(drop),
    }
}

/// The kind of a value, in the schema's words.
fn kind(node: &Node) -> &'static str {
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
fn described(node: &Node) -> String {
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

/// The last name of a path, as it is called in messages.
fn named(path: &str) -> String {
    match path.rsplit('.').next() {
        None | Some("") => "the scenario".into(),
        Some(last) => format!("`{last}`"),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.into()
    } else {
        format!("{path}.{key}")
    }
}
