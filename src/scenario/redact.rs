//! Credentials written literally: finding them and masking them.
//!
//! Two views of the same question. In the tree a credential is known by its key and place; in a text
//! (a source line about to be shown, a URL, a message template) by its surroundings. Both rather mask
//! too much than too little.

use super::node::{Entry, Node, Scalar, Value};
use super::problem::Span;
use super::scalar::Meaning;
use serde_json::{Map, Value as Json};
use std::ops::Range;

/// What stands in place of a credential.
const MASK: &str = "***";
/// Shorter values, in bytes, are not kept as secrets: hiding them everywhere would hide everything.
pub(super) const SHORTEST: usize = 4;

/// Whether a key, header or parameter of this name holds a credential.
fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 20] = [
        "token",
        "tokens",
        "password",
        "passwords",
        "passwd",
        "pwd",
        "secret",
        "secrets",
        "authorization",
        "cookie",
        "cookies",
        "bearer",
        "credential",
        "credentials",
        "apikey",
        "accesskey",
        "auth",
        "jwt",
        "signature",
        "sig",
    ];
    const ENDS: [&str; 6] = [
        "token",
        "password",
        "secret",
        "apikey",
        "accesskey",
        "credentials",
    ];
    let lower = name.to_ascii_lowercase();
    let joined: String = lower
        .chars()
        .filter(|c| c.is_ascii_alphanumeric())
        .collect();
    lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| WORDS.contains(&word))
        || ENDS.iter().any(|end| joined.ends_with(end))
}

/// Tables whose keys are names of groups, or whose values are JSON pointers: nothing secret in them by name.
const PLAIN_TABLES: [&str; 4] = ["clients", "open", "capture", "csv"];

/// The credentials of a document.
#[derive(Default)]
pub(super) struct Credentials {
    /// Where they stand.
    pub spans: Vec<Span>,
    /// What they are.
    pub values: Vec<String>,
}

/// Finds the literal credentials of a tree.
pub(super) fn credentials(root: &Node) -> Credentials {
    let mut out = Credentials::default();
    walk(root, "", false, &mut |node, scalar, secret| {
        let written = written(scalar);
        if secret {
            if has_literal(written) {
                out.spans.push(node.span);
                out.values.push(scalar.text.clone());
                // `Bearer x` is one credential with its scheme and another without; so is `session=x`.
                for part in scalar.text.split([' ', ';']).filter(|p| !is_scheme(p)) {
                    out.values.push(part.to_owned());
                    out.values
                        .extend(part.split_once('=').map(|(_, value)| value.to_owned()));
                }
            }
        } else {
            let ranges = secrets_in(written)
                .into_iter()
                .filter(|range| range.len() >= SHORTEST);
            out.values
                .extend(ranges.map(|range| written[range].to_owned()));
        }
    });
    out
}

/// The tree as YAML values, references as written, credentials masked.
pub(super) fn redacted(root: &Node) -> Json {
    build(root, "", false)
}

fn written(scalar: &Scalar) -> &str {
    scalar
        .expanded
        .as_ref()
        .map_or(&scalar.text, |(written, _)| written)
}

/// Whether what stands at this entry is a credential, given whether its table is.
fn inside(parent: &str, entry: &Entry, secret: bool) -> bool {
    // `token: { csv: { file: users.csv, column: token } }` says where credentials are, and holds none.
    if entry.key == "csv" && matches!(entry.node.value, Value::Map(_)) {
        return false;
    }
    secret || !PLAIN_TABLES.contains(&parent) && is_secret_name(&entry.key)
}

fn walk(node: &Node, parent: &str, secret: bool, visit: &mut impl FnMut(&Node, &Scalar, bool)) {
    match &node.value {
        Value::Scalar(scalar) => visit(node, scalar, secret),
        Value::List(items) => items
            .iter()
            .for_each(|item| walk(item, parent, secret, visit)),
        Value::Map(entries) => {
            for entry in entries {
                walk(
                    &entry.node,
                    &entry.key,
                    inside(parent, entry, secret),
                    visit,
                );
            }
        }
    }
}

fn build(node: &Node, parent: &str, secret: bool) -> Json {
    match &node.value {
        Value::List(items) => items
            .iter()
            .map(|item| build(item, parent, secret))
            .collect(),
        Value::Map(entries) => {
            let values = entries.iter().map(|e| {
                (
                    e.key.clone(),
                    build(&e.node, &e.key, inside(parent, e, secret)),
                )
            });
            Json::Object(values.collect::<Map<_, _>>())
        }
        Value::Scalar(scalar) => {
            let text = written(scalar);
            match scalar.meaning() {
                _ if secret && has_literal(text) => MASK.into(),
                _ if scalar.expanded.is_some() => masked(text).into(),
                Meaning::Null => Json::Null,
                Meaning::Bool(value) => value.into(),
                Meaning::Int(value) => {
                    i64::try_from(value).map_or_else(|_| text.into(), Json::from)
                }
                Meaning::Float(value) => {
                    serde_json::Number::from_f64(value).map_or_else(|| text.into(), Json::Number)
                }
                Meaning::Text => masked(text).into(),
            }
        }
    }
}

/// Whether anything but references and the scheme is in a credential.
fn has_literal(text: &str) -> bool {
    let rest = replaced(text, &references(text), " ");
    rest.split_whitespace().any(|word| !is_scheme(word))
}

/// Whether a word is the scheme of an `Authorization` header, not its credential.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token"].contains(&word.to_ascii_lowercase().as_str())
}

/// The text with its credentials replaced.
fn masked(text: &str) -> String {
    replaced(text, &secrets_in(text), MASK)
}

fn replaced(text: &str, ranges: &[Range<usize>], with: &str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for range in ranges {
        out.push_str(&text[at..range.start]);
        out.push_str(with);
        at = range.end;
    }
    out + &text[at..]
}

/// The source text with credentials covered, character by character, so that columns stay true.
pub(super) fn cover(text: &str, spans: impl Iterator<Item = Range<usize>>) -> String {
    let mut hidden = vec![false; text.len()];
    let mut hide = |range: Range<usize>| {
        hidden
            .get_mut(range)
            .into_iter()
            .flatten()
            .for_each(|h| *h = true)
    };
    spans.for_each(&mut hide);
    secrets_in(text).into_iter().for_each(&mut hide);
    references(text).into_iter().for_each(|r| {
        hidden
            .get_mut(r)
            .into_iter()
            .flatten()
            .for_each(|h| *h = false)
    });
    let show = |(i, c): (usize, char)| {
        if hidden[i] && !c.is_whitespace() && !"\"'[],".contains(c) {
            '*'
        } else {
            c
        }
    };
    text.char_indices().map(show).collect()
}

/// Where `${..}` stand.
fn references(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = text[at..].find("${").map(|i| at + i) {
        let Some(end) = text[start..].find('}').map(|i| start + i + 1) else {
            break;
        };
        found.push(start..end);
        at = end;
    }
    found
}

/// Where credentials stand in a text: userinfo of URLs, token-like parameters and fields, `Bearer x`. Sorted, apart.
fn secrets_in(text: &str) -> Vec<Range<usize>> {
    // References hold delimiters of their own; they are blanked while looking and kept in the result.
    let references = references(text);
    let mut work = text.as_bytes().to_vec();
    references
        .iter()
        .for_each(|range| work[range.clone()].fill(b'x'));
    let work = String::from_utf8_lossy(&work);
    let mut found = Vec::new();
    for (at, _) in work.match_indices("://") {
        let start = at + 3;
        let end = work[start..]
            .find(|c: char| "/?#\"'<>,".contains(c) || c.is_whitespace())
            .map_or(work.len(), |i| start + i);
        if let Some(userinfo) = work[start..end].rfind('@') {
            found.push(start..start + userinfo);
        }
    }
    let mut at = 0;
    while let Some(start) = work[at..]
        .find(|c: char| c.is_ascii_alphabetic())
        .map(|i| at + i)
    {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = work[start..]
            .find(|c| !word(c))
            .map_or(work.len(), |i| start + i);
        at = end;
        let name = &work[start..end];
        if name.eq_ignore_ascii_case("bearer") && work[end..].starts_with(' ') {
            let value = end + 1;
            let stop = work[value..]
                .find(|c: char| "\"',}]".contains(c) || c.is_whitespace())
                .map_or(work.len(), |i| value + i);
            found.push(value..stop);
        } else if is_secret_name(name)
            && let Some(value) = after_name(&work, start, end)
        {
            at = value.end;
            found.push(value);
        }
    }
    apart(found, &references)
}

/// The value after a name: `name=value`, `"name": "value"`, `name: value`, or the lines indented under it.
fn after_name(text: &str, start: usize, end: usize) -> Option<Range<usize>> {
    let skip = |at: usize, set: &str| {
        at + text[at..]
            .find(|c| !set.contains(c))
            .unwrap_or(text.len() - at)
    };
    let mut at = skip(end, "\"'\\ ");
    if !text[at..].starts_with([':', '=']) || text[at..].starts_with("://") {
        return None;
    }
    let parameter = text[at..].starts_with('=');
    at = skip(at + 1, " \t");
    let rest = &text[at..];
    let line_end = rest.find('\n').unwrap_or(rest.len());
    let length = if rest[..line_end].trim().is_empty() || rest.starts_with(['|', '>']) {
        // Its value is on the lines that are indented deeper, or are items of a list.
        let from = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let indent = start - from;
        let mut length = line_end;
        for line in rest[line_end..].split_inclusive('\n').skip(1) {
            let depth = line.len() - line.trim_start().len();
            let inside = line.trim().is_empty()
                || depth > indent
                || depth == indent && line.trim_start().starts_with('-');
            if !inside {
                break;
            }
            length += line.len();
        }
        (length + 1).min(rest.len())
    } else if let Some(close) = rest.chars().next().filter(|c| "\"'[".contains(*c)) {
        let close = if close == '[' { ']' } else { close };
        rest[1..].find(close).map_or(rest.len(), |i| i + 2)
    } else if parameter {
        rest.find(|c: char| "&#\"',;}".contains(c) || c.is_whitespace())
            .unwrap_or(rest.len())
    } else {
        rest.find(|c: char| ",}]\"\\\n".contains(c))
            .unwrap_or(rest.len())
    };
    (length > 0).then_some(at..at + length)
}

/// Sorted and apart, without what is referred to.
fn apart(mut ranges: Vec<Range<usize>>, without: &[Range<usize>]) -> Vec<Range<usize>> {
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        let start = out
            .last()
            .map_or(range.start, |last| range.start.max(last.end));
        let mut at = start;
        for hole in without
            .iter()
            .filter(|h| h.start < range.end && h.end > start)
        {
            if at < hole.start {
                out.push(at..hole.start);
            }
            at = at.max(hole.end);
        }
        if at < range.end {
            out.push(at..range.end);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for name in [
            "token",
            "Authorization",
            "Cookie",
            "X-Api-Key",
            "accessToken",
            "refresh_token",
            "PASSWORD",
            "tokens",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in [
            "key",
            "tenant",
            "author",
            "topic",
            "cookie_free_zone2",
            "tokenizer",
            "name",
        ] {
            assert_eq!(is_secret_name(name), name == "cookie_free_zone2", "{name}");
        }
    }

    #[test]
    fn texts() {
        for (text, expected) in [
            ("wss://u:p@h/ws", "wss://***@h/ws"),
            ("wss://u:${env:P}@h/ws", "wss://***${env:P}@h/ws"),
            (
                "wss://h/ws?a=b&token=canary&c=d",
                "wss://h/ws?a=b&token=***&c=d",
            ),
            ("wss://h/ws?token=${env:T}", "wss://h/ws?token=${env:T}"),
            (
                r#"{"type":"auth","token":"canary"}"#,
                r#"{"type":"auth","token":***}"#,
            ),
            (r#"{"token": 12, "a": 1}"#, r#"{"token": ***, "a": 1}"#),
            ("Bearer canary", "Bearer ***"),
            ("nothing here: at all", "nothing here: at all"),
            ("token bucket", "token bucket"),
            ("wss://h/p@th", "wss://h/p@th"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn lines_under_a_name_are_covered() {
        let text = "a: 1\ntokens:\n  - canary1\n  - canary2\nb: seen\npassword: canary3\nAuthorization: 'x canary4'\nc: seen";
        let covered = cover(text, std::iter::empty());
        assert!(!covered.contains("canary"), "{covered}");
        assert_eq!(covered.matches("seen").count(), 2);
        assert_eq!(covered.chars().count(), text.chars().count());
    }
}
