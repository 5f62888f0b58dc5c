//! Credentials written literally: finding them and masking them.
//!
//! Two views of the same question. In the tree a credential is known by its key and place; in a text
//! (a source line about to be shown, a URL, a message template) by its surroundings. Both rather mask
//! too much than too little.

use super::Files;
use super::model::{Scenario, Var};
use super::node::{Entry, Node, Scalar, Value};
use super::problem::Span;
use super::scalar::Meaning;
use serde_json::{Map, Value as Json};
use std::collections::HashSet;
use std::ops::Range;

/// What stands in place of a credential.
const MASK: &str = "***";
/// Shorter values, in bytes, are not kept as secrets: hiding them everywhere would hide everything.
pub(super) const SHORTEST: usize = 4;

/// Whether a key, header or parameter of this name holds a credential.
fn is_secret_name(name: &str) -> bool {
    const WORDS: [&str; 22] = [
        "token",
        "tokens",
        "password",
        "passwords",
        "passwd",
        "passcode",
        "passphrase",
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
const PLAIN_TABLES: [&str; 6] = ["clients", "inject", "open", "capture", "csv", "in"];

/// Kinds of variables that hold numbers, which say how values are made and are none themselves.
const MADE: [&str; 3] = ["sequence", "int", "hex"];
/// Lists whose texts are no templates: a brace in them is part of a credential.
const UNTEMPLATED: [&str; 3] = ["tokens", "cycle", "choice"];
/// Distinct values of CSV columns kept as secrets: each is looked for, in many forms, in all that is printed.
const COLUMN_VALUES: usize = 2_000;

/// The credentials of a document.
#[derive(Default)]
pub(super) struct Credentials {
    /// Where they stand.
    pub spans: Vec<Span>,
    /// What they are.
    pub values: Vec<String>,
}

/// Names of variables that are shown as a credential, whatever they are called.
type Shown = HashSet<String>;

/// Those of which a credential is made and nothing else: `bearer: "{t}"`, `Authorization: "Bearer {t}"`, `Cookie: "session={t}"`,
/// `?token={t}`. Of `{tenant}-x` the variable may be anything, and is in half of all names: that one is judged by its own name. A
/// variable of that name is one in every group.
fn shown(root: &Node) -> Shown {
    let mut out = Shown::new();
    walk(
        root,
        "",
        false,
        &Shown::new(),
        &mut |_, scalar, parent, secret| {
            let text = written(scalar);
            let holes = holes(text);
            let places = match secret {
                true if UNTEMPLATED.contains(&parent) => Vec::new(),
                true => std::iter::once(0..text.len()).collect(),
                false => places_in(text, &holes, false),
            };
            for place in places {
                // An object under such a field has fields of its own, which are what their names say.
                if !secret && field_before(text, place.start).is_some_and(|f| !is_secret_name(f)) {
                    continue;
                }
                let (before, whole) = (&text[..place.start], &text[place]);
                let userinfo = before.ends_with("://").then(|| whole.split_once(':'));
                let shown = userinfo.flatten().map_or(whole, |(_, password)| password);
                out.extend(lone_variables(shown).map(str::to_owned));
            }
        },
    );
    out
}

/// The variables that are whole parts of it, as [`with_parts`] has them.
fn lone_variables(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split([' ', ';']).filter(|part| !is_scheme(part));
    parts.filter_map(|part| {
        let part = match part.split_once('=') {
            Some((name, value)) if !name.contains('{') => value,
            _ => part,
        };
        let whole = matches!(&holes(part)[..], [hole] if *hole == (0..part.len()));
        // A reference, `${env:X}`, is none.
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        whole.then_some(name)
    })
}

/// The name of the JSON field whose text begins here.
fn field_before(text: &str, at: usize) -> Option<&str> {
    let name = text[..at].trim_end_matches(['"', '\\']).trim_end();
    let name = name.strip_suffix(':')?.trim_end().strip_suffix('"')?;
    let name = name.strip_suffix('\\').unwrap_or(name);
    name.rsplit('"').next()
}

/// Finds the literal credentials of a tree.
pub(super) fn credentials(root: &Node) -> Credentials {
    let mut out = Credentials::default();
    let shown = shown(root);
    walk(
        root,
        "",
        false,
        &shown,
        &mut |node, scalar, parent, secret| {
            let written = written(scalar);
            if secret {
                if !literals(written, parent).is_empty() {
                    out.spans.push(node.span);
                    out.values.extend(with_parts(&scalar.text));
                }
            } else {
                let ranges = secrets_in(written, &holes(written), false)
                    .into_iter()
                    .filter(|range| range.len() >= SHORTEST);
                for range in ranges {
                    out.values.push(written[range.clone()].to_owned());
                    if written[..range.start].ends_with("://") {
                        out.values.extend(password(&written[range]));
                    }
                }
            }
        },
    );
    out
}

/// The password of an address's userinfo, as it stands and as it is sent: whoever refuses it may repeat it.
fn password(userinfo: &str) -> Vec<String> {
    let Some((_, password)) = userinfo.split_once(':') else {
        return Vec::new();
    };
    let pair = format!("p={}", password.replace('+', "%2B"));
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    let decoded = decoded.map(|(_, value)| value.into_owned());
    let all = decoded.into_iter().chain([password.to_owned()]);
    all.filter(|text| text.len() >= SHORTEST).collect()
}

/// The first values of CSV columns that, or whose variables, are named like a credential or shown as one.
pub(super) fn columns(root: &Node, scenario: &Scenario, files: &Files) -> Vec<String> {
    let mut found = HashSet::new();
    let shown = shown(root);
    let vars = scenario.clients.values().map(|group| &group.vars);
    let injected = scenario.inject.values().map(|inject| &inject.vars);
    for (name, var) in vars.chain(injected).flatten() {
        let Var::Csv(csv) = var else { continue };
        let named = is_secret_name(name) || is_secret_name(&csv.column);
        if !named && !shown.contains(name) {
            continue;
        }
        let mut reader = csv::Reader::from_reader(files.get(&csv.file).unwrap_or_default());
        let headers = reader.headers().ok();
        let Some(at) = headers.and_then(|h| h.iter().position(|column| column == csv.column))
        else {
            continue;
        };
        // What is wrong with the file is said where its values are used.
        for record in reader.records().map_while(Result::ok) {
            if found.len() >= COLUMN_VALUES {
                break;
            }
            let value = record.get(at).unwrap_or_default();
            if value.len() >= SHORTEST && !found.contains(value) {
                found.insert(value.to_owned());
            }
        }
    }
    found.iter().flat_map(|value| with_parts(value)).collect()
}

/// A credential with its parts: `Bearer x` is one with its scheme and another without; so is `session=x`.
fn with_parts(text: &str) -> Vec<String> {
    let mut out = vec![text.to_owned()];
    for part in text.split([' ', ';']).filter(|p| !is_scheme(p)) {
        out.push(part.to_owned());
        out.extend(part.split_once('=').map(|(_, value)| value.to_owned()));
    }
    out
}

/// The tree as YAML values, references as written, credentials masked.
pub(super) fn redacted(root: &Node) -> Json {
    build(root, "", false, &shown(root))
}

fn written(scalar: &Scalar) -> &str {
    scalar
        .expanded
        .as_ref()
        .map_or(&scalar.text, |(written, _)| written)
}

/// Whether what stands at this entry is a credential, given whether its table is.
fn inside(parent: &str, entry: &Entry, secret: bool, shown: &Shown) -> bool {
    // `token: { csv: { file: users.csv, column: token } }` says where credentials are, and holds none.
    if entry.key == "csv" && matches!(entry.node.value, Value::Map(_)) {
        return false;
    }
    // `auth` says where credentials come from and how they are used; those in it are found by their own names.
    let settings = matches!((entry.key.as_str(), parent), ("auth", parent) if parent != "vars")
        || (entry.key == "jwt" && parent == "auth");
    if settings && matches!(entry.node.value, Value::Map(_)) {
        return secret;
    }
    if secret && MADE.contains(&entry.key.as_str()) {
        return false;
    }
    secret
        || parent == "vars" && shown.contains(&entry.key)
        || !PLAIN_TABLES.contains(&parent) && is_secret_name(&entry.key)
}

fn walk(
    node: &Node,
    parent: &str,
    secret: bool,
    shown: &Shown,
    visit: &mut impl FnMut(&Node, &Scalar, &str, bool),
) {
    match &node.value {
        Value::Scalar(scalar) => visit(node, scalar, parent, secret),
        Value::List(items) => items
            .iter()
            .for_each(|item| walk(item, parent, secret, shown, visit)),
        Value::Map(entries) => {
            for entry in entries {
                walk(
                    &entry.node,
                    &entry.key,
                    inside(parent, entry, secret, shown),
                    shown,
                    visit,
                );
            }
        }
    }
}

fn build(node: &Node, parent: &str, secret: bool, shown: &Shown) -> Json {
    match &node.value {
        Value::List(items) => items
            .iter()
            .map(|item| build(item, parent, secret, shown))
            .collect(),
        Value::Map(entries) => {
            let values = entries.iter().map(|e| {
                (
                    e.key.clone(),
                    build(&e.node, &e.key, inside(parent, e, secret, shown), shown),
                )
            });
            Json::Object(values.collect::<Map<_, _>>())
        }
        Value::Scalar(scalar) => {
            let text = written(scalar);
            let literals = if secret {
                literals(text, parent)
            } else {
                Vec::new()
            };
            match scalar.meaning() {
                _ if !literals.is_empty() => replaced(text, &literals, |_| MASK).into(),
                _ if secret && scalar.meaning() == Meaning::Text => text.into(),
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

/// The parts of a credential that are written literally: neither references, placeholders nor the scheme.
fn literals(text: &str, parent: &str) -> Vec<Range<usize>> {
    let holes = if UNTEMPLATED.contains(&parent) {
        references(text)
    } else {
        holes(text)
    };
    apart(text, std::iter::once(0..text.len()).collect(), &holes)
}

/// Whether a part of a credential tells nothing: the scheme, and next to references what joins them.
fn is_harmless(part: &str, joins: bool) -> bool {
    let glue = |c: char| c.is_whitespace() || joins && "\"',:;[].|/-_=&".contains(c);
    part.split(glue)
        .all(|word| word.is_empty() || is_scheme(word))
}

/// Whether a word is the scheme of an `Authorization` header, not its credential.
fn is_scheme(word: &str) -> bool {
    ["bearer", "basic", "token"].contains(&word.to_ascii_lowercase().as_str())
}

/// The text with its credentials replaced; JSON in it stays JSON.
fn masked(text: &str) -> String {
    replaced(text, &secrets_in(text, &holes(text), false), |before| {
        let before = before.trim_end();
        if before.ends_with("\\\":") {
            "\\\"***\\\""
        } else if before.ends_with("\":") || before.ends_with('[') {
            "\"***\""
        } else {
            MASK
        }
    })
}

/// The text with ranges replaced by what is given for the text before each.
fn replaced(text: &str, ranges: &[Range<usize>], with: impl Fn(&str) -> &'static str) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for range in ranges {
        out.push_str(&text[at..range.start]);
        out.push_str(with(&text[..range.start]));
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
    let references = references(text);
    secrets_in(text, &references, true)
        .into_iter()
        .for_each(&mut hide);
    references.into_iter().for_each(|r| {
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

/// Where `${..}` and template placeholders, `{name}`, stand.
fn holes(text: &str) -> Vec<Range<usize>> {
    let mut found = references(text);
    let work = blanked(text, &found);
    let bytes = work.as_bytes();
    let ident = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (start, _) in work.match_indices('{') {
        let rest = &work[start + 1..];
        let length = rest.find(|c| !ident(c)).unwrap_or(rest.len());
        let end = start + 1 + length;
        let named = length > 0 && !rest.starts_with(|c: char| c.is_ascii_digit());
        // `{{name}}` is literal text.
        let doubled = start > 0 && bytes[start - 1] == b'{' && bytes.get(end + 1) == Some(&b'}');
        if named && bytes.get(end) == Some(&b'}') && !doubled {
            found.push(start..end + 1);
        }
    }
    found.sort_by_key(|range| range.start);
    found
}

/// The text with ranges of it made unremarkable, byte by byte.
fn blanked(text: &str, ranges: &[Range<usize>]) -> String {
    let mut work = text.as_bytes().to_vec();
    ranges
        .iter()
        .for_each(|range| work[range.clone()].fill(b'x'));
    String::from_utf8_lossy(&work).into_owned()
}

/// Where credentials stand in a text: userinfo of URLs, token-like parameters and fields, `Bearer x`. Sorted, apart,
/// without the holes. `source`: the text is YAML source, perhaps broken, where nothing need stay well-formed.
fn secrets_in(text: &str, holes: &[Range<usize>], source: bool) -> Vec<Range<usize>> {
    apart(text, places_in(text, holes, source), holes)
}

/// The same as they are found, holes and all.
fn places_in(text: &str, holes: &[Range<usize>], source: bool) -> Vec<Range<usize>> {
    // Holes have delimiters of their own; they are blanked while looking and kept in the result.
    let work = blanked(text, holes);
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
            if source && name == "auth" && !parameter_like(&work, end) {
                // Its keys are settings, and a mistake in one has to be seen.
                let value = whole(&work, value);
                at = value.end;
                found.extend(settings(&work, value));
                continue;
            }
            // In an object there may be more names.
            at = if work[value.clone()].starts_with('{') {
                value.start + 1
            } else {
                value.end
            };
            if source {
                found.push(value);
            } else {
                found.extend(within(&work, value));
            }
        }
    }
    found
}

/// Whether what follows a name is no YAML: `auth=x`.
fn parameter_like(text: &str, end: usize) -> bool {
    !text[end..].starts_with(':')
}

/// The value up to where its own brace closes; to the end of the text where it does not.
fn whole(text: &str, value: Range<usize>) -> Range<usize> {
    if !text[value.start..].starts_with('{') {
        return value;
    }
    let (mut depth, mut at) = (0_usize, value.start);
    while let Some(c) = text[at..].chars().next() {
        let next = at + c.len_utf8();
        at = match c {
            '"' | '\'' => quoted(text, at).map_or(next, |inside| (inside.end + 1).min(text.len())),
            '#' if text[..at].ends_with([' ', '\n', '\t']) => {
                text[at..].find('\n').map_or(text.len(), |line| at + line)
            }
            _ => next,
        };
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return value.start..at;
        }
    }
    value.start..text.len()
}

/// Keys of `auth` whose values are no credentials: words, times and pointers.
const HARMLESS: [&str; 9] = [
    "in",
    "expires",
    "renew",
    "every",
    "by",
    "within",
    "pointer",
    "algorithm",
    "method",
];

/// What of a table of settings, in YAML and perhaps broken, is to be covered: all but its keys, its braces, and the values of
/// harmless keys. A key stands first on its line or in its braces; whatever could be something else is covered.
fn settings(text: &str, value: Range<usize>) -> Vec<Range<usize>> {
    let part = &text[value.clone()];
    let (mark, tight) = ([" |", " >"], ['|', '>']);
    let block_scalar =
        |line: &str| mark.iter().any(|m| line.contains(m)) || line.starts_with(tight);
    if part.lines().any(block_scalar) {
        // Its lines may look like anything.
        return vec![value];
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let length = |from: usize, what: &dyn Fn(char) -> bool| {
        part[from..].find(|c| !what(c)).unwrap_or(part.len() - from)
    };
    let (mut found, mut open, mut first, mut at) = (Vec::new(), Vec::new(), true, 0);
    while let Some(c) = part[at..].chars().next() {
        let next = at + c.len_utf8();
        let key = length(at, &word);
        let after = &part[at + key..];
        let is_key = first && key > 0 && after.starts_with(':');
        at = match c {
            // In braces a line may go on with what the one before began.
            '\n' => {
                first |= open.is_empty();
                next
            }
            _ if c.is_whitespace() => next,
            '{' | '[' => {
                open.push(c);
                first = c == '{';
                next
            }
            '}' | ']' => {
                open.pop();
                first = false;
                next
            }
            ',' => {
                first = open.last() == Some(&'{');
                next
            }
            _ if is_key && after[1..].starts_with([' ', '\n', '\t']) => {
                let from = at + key + 1;
                let from = from + length(from, &|c| c == ' ');
                let plain = length(from, &|c| word(c) || c == '/');
                let ends = part[from + plain..].trim_start_matches(' ');
                let ends = ends.is_empty() || ends.starts_with(['\n', ',', '}']);
                first = false;
                match ends && HARMLESS.contains(&&part[at..at + key]) {
                    true => from + plain,
                    false => from,
                }
            }
            '"' | '\'' => {
                let inside = quoted(part, at).map_or(part.len(), |inside| inside.end + 1);
                let inside = inside.min(part.len());
                found.push(value.start + at..value.start + inside);
                first = false;
                inside
            }
            _ => {
                let stop = |c: char| c == '\n' || !open.is_empty() && ",{}[]".contains(c);
                let rest = length(next, &|c| !stop(c));
                found.push(value.start + at..value.start + next + rest);
                first = false;
                next + rest
            }
        };
    }
    found
}

/// What of a value is to be masked so that quotes, lists and objects around it stay.
fn within(text: &str, value: Range<usize>) -> Vec<Range<usize>> {
    let part = &text[value.clone()];
    let shifted = |r: Range<usize>| value.start + r.start..value.start + r.end;
    match part.chars().next() {
        Some('"' | '\'' | '\\') => quoted(part, 0).map(shifted).into_iter().collect(),
        Some(open @ ('{' | '[')) => {
            let end = part.len() - usize::from(part.len() > 1 && part.ends_with(['}', ']']));
            let (mut found, mut at, mut bare) = (Vec::new(), 1, String::new());
            while let Some(start) = part[at..end].find('"').map(|i| at + i) {
                let Some(string) = quoted(&part[..end], start) else {
                    break;
                };
                bare.push_str(&part[at..start]);
                at = (string.end + 1).min(end);
                // A key is no value.
                if !part[at..].trim_start().starts_with(':') {
                    found.push(shifted(string));
                }
            }
            bare.push_str(&part[at..end]);
            // No JSON, or a list of more than texts: all of it.
            if at == 1 || open == '[' && bare.contains(char::is_alphanumeric) {
                found = vec![shifted(1..end)];
            }
            found
        }
        _ => {
            let length = part.trim_end().len();
            let plain = ["true", "false", "null"].contains(&part.trim_end());
            if plain {
                Vec::new()
            } else {
                vec![shifted(0..length)]
            }
        }
    }
}

/// The inside of the string whose quote stands at `at`, `"`, `'` or `\"`.
fn quoted(text: &str, at: usize) -> Option<Range<usize>> {
    if let Some(rest) = text[at..].strip_prefix("\\\"") {
        let length = rest.find("\\\"").unwrap_or(rest.len());
        return Some(at + 2..at + 2 + length);
    }
    let quote = text[at..].chars().next()?;
    let mut escaped = false;
    let end = text[at + 1..].find(|c: char| {
        let closes = c == quote && !escaped;
        escaped = quote == '"' && c == '\\' && !escaped;
        closes
    });
    Some(at + 1..end.map_or(text.len(), |i| at + 1 + i))
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
    } else if rest.starts_with("\\\"") {
        quoted(rest, 0).map_or(rest.len(), |r| (r.end + 2).min(rest.len()))
    } else if rest.starts_with(['"', '\'']) {
        quoted(rest, 0).map_or(rest.len(), |r| (r.end + 1).min(rest.len()))
    } else if let Some(close) = rest.chars().next().filter(|c| "[{".contains(*c)) {
        let close = if close == '[' { ']' } else { '}' };
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

/// Sorted and apart, without what is referred to and what tells nothing.
fn apart(text: &str, mut ranges: Vec<Range<usize>>, without: &[Range<usize>]) -> Vec<Range<usize>> {
    ranges.sort_by_key(|r| (r.start, r.end));
    let mut out: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        let start = out
            .last()
            .map_or(range.start, |last| range.start.max(last.end));
        let mut at = start;
        let mut joins = false;
        let mut parts = Vec::new();
        for hole in without
            .iter()
            .filter(|h| h.start < range.end && h.end > start)
        {
            parts.push(at..hole.start);
            at = at.max(hole.end);
            joins = true;
        }
        parts.push(at..range.end);
        let tells =
            |part: &Range<usize>| part.start < part.end && !is_harmless(&text[part.clone()], joins);
        out.extend(parts.into_iter().filter(tells));
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
                r#"{"type":"auth","token":"***"}"#,
            ),
            (r#"{"token": 12, "a": 1}"#, r#"{"token": "***", "a": 1}"#),
            (
                r#"{"token":"${env:T}","x":1}"#,
                r#"{"token":"${env:T}","x":1}"#,
            ),
            (
                r#"{"token":"Bearer ${env:T}"}"#,
                r#"{"token":"Bearer ${env:T}"}"#,
            ),
            (
                r#"{"token":"{tok}","id":{id}}"#,
                r#"{"token":"{tok}","id":{id}}"#,
            ),
            (r#"{"token":{tok},"id":1}"#, r#"{"token":{tok},"id":1}"#),
            (r#"{"token":"{{tok}}"}"#, r#"{"token":"***"}"#),
            (r#"{"token":"a{tok}b"}"#, r#"{"token":"***{tok}***"}"#),
            (
                r#"{"password":"plainly","a":"b"}"#,
                r#"{"password":"***","a":"b"}"#,
            ),
            (r#"{"password":"a\"canary"}"#, r#"{"password":"***"}"#),
            (
                r#"{"body":"{\"token\":\"canary\",\"a\":1}"}"#,
                r#"{"body":"{\"token\":\"***\",\"a\":1}"}"#,
            ),
            (
                r#"{"tokens":["canary","${env:T}"],"a":1}"#,
                r#"{"tokens":["***","${env:T}"],"a":1}"#,
            ),
            (r#"{"tokens":[1, 2]}"#, r#"{"tokens":["***"]}"#),
            (
                r#"{"auth":{"user":"u","password":"canary"},"a":1}"#,
                r#"{"auth":{"user":"***","password":"***"},"a":1}"#,
            ),
            (
                r#"{"auth":{"a":"b","token":5}}"#,
                r#"{"auth":{"a":"***","token":"***"}}"#,
            ),
            ("auth: {user: canary}", "auth: {***}"),
            (r#"{"tokens":[5,"canary"]}"#, r#"{"tokens":["***"]}"#),
            ("token=[", "token=["),
            ("token=\\é", "token=\\***"),
            (r#"{"auth":true}"#, r#"{"auth":true}"#),
            ("wss://${env:U}:${env:P}@h/", "wss://${env:U}:${env:P}@h/"),
            ("wss://h/?token={tok}&a=b", "wss://h/?token={tok}&a=b"),
            ("Bearer canary", "Bearer ***"),
            ("nothing here: at all", "nothing here: at all"),
            ("token bucket", "token bucket"),
            ("wss://h/p@th", "wss://h/p@th"),
        ] {
            assert_eq!(masked(text), expected);
        }
    }

    #[test]
    fn of_auth_the_keys_stay_readable() {
        for (text, expected) in [
            (
                "auth: { bearrer: canary, in: header, renew: { every: 4s, by: reconnect } }, x: seen",
                "auth: { bearrer: ******, in: header, renew: { every: 4s, by: reconnect } }, x: seen",
            ),
            (
                "auth:\n  jwt: { secrt: canary a, kid: canary }\n  bearer:\n    - canary: x\n  bear: \"a, canary: {b\"\n  expires: 6s\nb: seen",
                "auth:\n  jwt: { secrt: ****** *, kid: ****** }\n  bearer:\n    * ******* *\n  bear: \"*, ******* **\"\n  expires: 6s\nb: seen",
            ),
            // What could be a credential, or a part of one, is covered.
            ("auth: { in: x:canary }", "auth: { in: ******** }"),
            ("auth: { in: 'canary' }", "auth: { in: '******' }"),
            (
                "auth: { bearer: [a, canary: x] }",
                "auth: { bearer: [*, ******* *] }",
            ),
            ("auth: { bearer: canary: x }", "auth: { bearer: ******* * }"),
            ("auth: { a: 'canary", "auth: { a: '******"),
            ("auth: { canary", "auth: { ******"),
            (
                "auth:\n  a: |\n    canary: x",
                "auth:\n  ** *\n    ******* *",
            ),
            (
                "auth:\n  a: !!str |2\n    canary: x",
                "auth:\n  ** ***** **\n    ******* *",
            ),
            (
                "auth: { a: é\n canary: x,\n b: é }",
                "auth: { a: *\n ******* *,\n b: * }",
            ),
            ("auth: canary", "auth: ******"),
            ("auth=canary&b=seen", "auth=******&b=seen"),
            (
                "\"auth\": {\"user\": \"canary\"}",
                "\"auth\": *\"****\"* \"******\"*",
            ),
            (
                "auth: { headers: { X: \"${env:X}\" } }",
                "auth: { headers: { X: \"${env:X}\" } }",
            ),
        ] {
            assert_eq!(cover(text, std::iter::empty()), expected);
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
