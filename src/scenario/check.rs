//! The checker: walks the schema over the tree and finds every mistake at its place.
//!
//! What is wrong is replaced by something harmless, so that later stages can look at the rest of the
//! document and all mistakes are told at once.

mod leaf;

use super::language::{Schema, either, listed, nearest, places};
use super::node::{Entry, Found, Node, Value};
use super::problem::{Problem, Span};
use leaf::{described, kind};
use serde_json::{Map, Value as Json};

/// Beyond so many problems nobody reads suggestions, which cost a search through the language each.
const SUGGESTED: usize = 500;

/// Keys as they are called elsewhere, and in the tables that have it the one that is meant.
const CALLED: [(&str, &str); 4] = [
    ("url", "bootstrap"),
    ("brokers", "bootstrap"),
    ("servers", "bootstrap"),
    ("bootstrap_servers", "bootstrap"),
];

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
        let meant = CALLED
            .iter()
            .find(|(called, meant)| *called == key && keys.contains(meant));
        let elsewhere = homes(key);
        let (message, help) = if let Some((_, meant)) = meant {
            (
                format!("unknown key `{key}`"),
                format!("did you mean `{meant}`?"),
            )
        } else if !elsewhere.is_empty() {
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
