//! The schema as the checker reads it: what a place accepts, what it may be called, where a key belongs.

use serde_json::Value as Json;

/// A schema with the document its `$ref`s point into.
#[derive(Clone, Copy)]
pub(super) struct Schema<'a> {
    root: &'a Json,
    at: &'a Json,
    /// What holds where nothing is written here.
    default: Option<&'a Json>,
}

impl<'a> Schema<'a> {
    pub fn root(root: &'a Json) -> Self {
        Schema {
            root,
            at: root,
            default: None,
        }
    }

    fn to(self, at: &'a Json) -> Self {
        let mut schema = Schema {
            root: self.root,
            at,
            // It stands beside the `$ref`, at the place and not at the type.
            default: at.get("default"),
        };
        while let Some(name) = schema.at["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix("#/$defs/"))
        {
            schema.at = &self.root["$defs"][name];
        }
        // An optional value is `anyOf` of the value and null; null is judged apart.
        if let Some([one]) = schema.alternatives("anyOf").as_deref() {
            return Schema {
                default: schema.default.or(one.default),
                ..*one
            };
        }
        schema
    }

    /// `oneOf` or `anyOf`, null left out.
    pub fn alternatives(self, key: &str) -> Option<Vec<Schema<'a>>> {
        let all = self.at[key].as_array()?;
        Some(
            all.iter()
                .filter(|one| one["type"] != "null")
                .map(|one| self.to(one))
                .collect(),
        )
    }

    /// What holds where nothing is written here.
    pub fn default(self) -> Option<&'a Json> {
        self.default
    }

    pub fn constant(self) -> Option<&'a str> {
        self.at["const"].as_str()
    }

    /// The types accepted, null left out.
    pub fn types(self) -> Vec<&'a str> {
        match &self.at["type"] {
            Json::String(one) => vec![one.as_str()],
            Json::Array(all) => all
                .iter()
                .filter_map(Json::as_str)
                .filter(|t| *t != "null")
                .collect(),
            _ => Vec::new(),
        }
    }

    pub fn format(self) -> &'a str {
        self.at["format"].as_str().unwrap_or_default()
    }

    pub fn number(self, key: &str) -> Option<i128> {
        self.at[key]
            .as_i64()
            .map(i128::from)
            .or_else(|| self.at[key].as_u64().map(i128::from))
    }

    pub fn items(self) -> Schema<'a> {
        self.to(&self.at["items"])
    }

    /// The keys of an object, in order; `None` for a table, whose keys are free.
    pub fn keys(self) -> Option<impl Iterator<Item = &'a str>> {
        Some(
            self.at["properties"]
                .as_object()?
                .keys()
                .map(String::as_str),
        )
    }

    pub fn key(self, key: &str) -> Option<Schema<'a>> {
        Some(self.to(self.at["properties"].as_object()?.get(key)?))
    }

    /// What the values of a table are.
    pub fn values(self) -> Schema<'a> {
        self.to(&self.at["additionalProperties"])
    }

    pub fn required(self) -> impl Iterator<Item = &'a str> {
        self.at["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
    }

    /// The one key of a variant that is written as `key: value`.
    pub fn variant(self) -> Option<&'a str> {
        self.required().next()
    }

    /// Whether a key without a value may stand for all defaults, or for nothing.
    pub fn may_be_empty(self) -> bool {
        match self.types()[..] {
            ["object"] => self.required().next().is_none(),
            ["array"] => self.number("minItems").is_none(),
            _ => false,
        }
    }

    /// Whether this alternative is meant by a value of that kind.
    pub fn accepts(self, kind: &str) -> bool {
        if let Some(variants) = self.alternatives("oneOf") {
            return match kind {
                "object" => variants.iter().any(|v| v.constant().is_none()),
                "string" => variants.iter().any(|v| v.constant().is_some()),
                _ => false,
            };
        }
        let types = self.types();
        // `rate: 5` means a rate and lacks its unit.
        types.contains(&kind)
            || kind == "integer" && types.contains(&"number")
            || is_quantity(self.format()) && ["integer", "number"].contains(&kind)
    }

    /// What is expected here, in words.
    pub fn expected(self) -> String {
        if let Some(variants) = self.alternatives("oneOf") {
            let names = variants.iter().filter_map(|v| match v.constant() {
                Some(name) => Some(format!("`{name}`")),
                None => v.variant().map(|name| format!("`{name}: ...`")),
            });
            return either(&names.collect::<Vec<_>>());
        }
        if let Some(all) = self.alternatives("anyOf") {
            return either(&all.iter().map(|one| one.expected()).collect::<Vec<_>>());
        }
        let quantity = match self.format() {
            "duration" => "a duration such as 250ms",
            "rate" => "a rate such as 2000/s",
            "share" => "a share such as 30%",
            "size" => "a size such as 64KiB",
            "count" => "a whole number such as 2000 or 20k",
            "boost" => "a multiple such as 10x, or so many more such as +500/s",
            "byte_rate" => "a byte rate such as 1KiB/s",
            "read_rate" => "a byte rate such as 1KiB/s, or none",
            _ => "",
        };
        match self.types()[..] {
            _ if !quantity.is_empty() => quantity.into(),
            ["string", ..] => "text".into(),
            ["integer", ..] => match (self.number("minimum"), self.number("maximum")) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                _ => "a whole number".into(),
            },
            ["number", ..] => "a number".into(),
            ["boolean", ..] => "true or false".into(),
            ["array", ..] => "a list".into(),
            _ => match self.keys() {
                Some(keys) => format!(
                    "a map with {}",
                    listed(&keys.map(|k| format!("`{k}`")).collect::<Vec<_>>(), 4)
                ),
                None => "a map".into(),
            },
        }
    }
}

pub(super) fn is_quantity(format: &str) -> bool {
    [
        "duration",
        "rate",
        "share",
        "size",
        "count",
        "boost",
        "byte_rate",
        "read_rate",
    ]
    .contains(&format)
}

/// `a`, `a or b`, `a, b or c`.
pub(super) fn either(names: &[String]) -> String {
    match names {
        [] => "nothing".into(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

/// The first few names.
pub(super) fn listed(names: &[String], most: usize) -> String {
    let more = if names.len() > most { ", ..." } else { "" };
    format!("{}{more}", names[..names.len().min(most)].join(", "))
}

/// The name nearest to what was written, if near enough to have been meant.
pub(super) fn nearest<'a>(written: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Long junk cannot be near anything, and distance is quadratic.
    if written.len() > 64 {
        return None;
    }
    let lower = written.to_lowercase().replace('-', "_");
    let scored = names.filter_map(|name| {
        let distance = strsim::damerau_levenshtein(&lower, name);
        let prefix = lower.len() >= 3 && name.starts_with(&lower)
            || name.len() >= 3 && lower.starts_with(name);
        let allowed = match name.len().min(lower.len()) {
            0..=2 => 0,
            3..=5 => 1,
            6..=8 => 2,
            _ => 3,
        };
        (distance <= allowed || prefix).then_some((distance, name))
    });
    scored
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Every key of the language with the places it belongs to, nearest to the root first.
pub(super) fn places(root: &Json) -> Vec<(&str, String)> {
    let mut out = Vec::new();
    let mut queue = std::collections::VecDeque::from([(Schema::root(root), String::new(), 0)]);
    while let Some((schema, path, depth)) = queue.pop_front() {
        // The language does not nest deeper; a recursive schema would.
        if depth > 10 {
            continue;
        }
        let mut push = |schema, path| queue.push_back((schema, path, depth + 1));
        for key in ["oneOf", "anyOf"] {
            schema
                .alternatives(key)
                .into_iter()
                .flatten()
                .for_each(|one| push(one, path.clone()));
        }
        match schema.keys() {
            Some(keys) => {
                for key in keys {
                    out.push((
                        key,
                        if path.is_empty() {
                            "the top level".into()
                        } else {
                            format!("`{path}`")
                        },
                    ));
                    let dot = if path.is_empty() { "" } else { "." };
                    schema
                        .key(key)
                        .into_iter()
                        .for_each(|child| push(child, format!("{path}{dot}{key}")));
                }
            }
            None if schema.types() == ["object"] => {
                let name = match path.as_str() {
                    "clients" => "<group>",
                    p if p.ends_with("open") => "<group>",
                    _ => "<name>",
                };
                push(schema.values(), format!("{path}.{name}"));
            }
            None if schema.types() == ["array"] => push(schema.items(), format!("{path}[]")),
            None => {}
        }
    }
    out
}
