//! The upgrade request of a group: the target's path, query, headers and cookies with the group's over them.

use super::Problems;
use super::protocol::At;
use super::target::{Compiled as Target, is_token};
use super::text::{self, Scope};
use crate::plan::template::percent_encode;
use crate::plan::types::{Builtin, Part, Template, Upgrade, Var};
use crate::scenario::Problem;
use crate::scenario::model::{self, Table};

/// What is shown to the target with the upgrade: as it is written, and what a group's `auth` adds.
pub(super) struct Shown<'a> {
    /// The target's part.
    pub target: model::Target,
    /// The group's headers.
    pub headers: Table<String>,
    /// One more subprotocol, with its place.
    pub subprotocol: Option<(String, String)>,
    /// What templates may use beside variables.
    pub builtins: &'static [Builtin],
    /// Where the group's protocol is spoken, if it says.
    pub at: Option<At<'a>>,
}

/// Compiles the upgrade of the group `name`.
pub(super) fn compile(
    shown: &Shown<'_>,
    target: &Target,
    name: &str,
    vars: &[Var],
    problems: &mut Problems,
) -> Upgrade {
    let mut own = Problems::default();
    let upgrade = whole(shown, target, &format!("clients.{name}"), vars, &mut own);
    for problem in own.list {
        problems.add(explained(problem, name));
    }
    upgrade
}

/// A variable that the target uses must be there in every group; says which one lacks it.
fn explained(problem: Problem, group: &str) -> Problem {
    let near = problem
        .help
        .as_ref()
        .is_some_and(|help| help.starts_with("did you mean"));
    if problem.path.starts_with("target.")
        && problem.message.starts_with("unknown variable")
        && !near
    {
        return problem.help(format!(
            "client group `{group}` does not have it: what the target uses every group needs in its `vars`"
        ));
    }
    problem
}

fn whole(
    shown: &Shown<'_>,
    target: &Target,
    path: &str,
    vars: &[Var],
    problems: &mut Problems,
) -> Upgrade {
    let scope = Scope {
        vars,
        captured: &[],
        message: shown.builtins,
    };
    let written = &shown.target;
    let mut query = query(&written.query, "target.query", scope, problems).parts;
    let at = shown.at.as_ref();
    if let Some(At { query: asked, .. }) = at {
        let separator = if query.is_empty() { "" } else { "&" };
        query.insert(0, Part::Text(format!("{asked}{separator}")));
    }
    let paths = target.paths.iter().map(|(text, place)| {
        let (text, place) = &at.map_or_else(
            || (text.clone(), place.clone()),
            |at| spoken_at(at, text, place, written.url.is_none()),
        );
        let mut path = text::template(text, place, scope, problems);
        for part in &mut path.parts {
            if let Part::Text(text) = part {
                *text = written_as_url(text);
            }
        }
        if !query.is_empty() {
            let separator = match text.split_once('?') {
                None => "?",
                Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
                Some(_) => "&",
            };
            path.parts.push(Part::Text(separator.into()));
            path.parts.extend(query.iter().cloned());
        }
        path
    });
    let paths = paths.collect();
    let own = format!("{path}.headers");
    let mut headers = headers(
        [("target.headers", &written.headers), (&own, &shown.headers)],
        scope,
        problems,
    );
    let given = |headers: &[(String, Template)], name: &str| {
        headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if let Some(value) = &target.authorization {
        if given(&headers, "authorization") {
            problems.add(
                Problem::error(
                    "target.url",
                    "the address names a user, and there is an Authorization header too",
                )
                .help("keep one of them"),
            );
        }
        headers.push(("Authorization".into(), Template::text(value.as_str())));
    }
    if !written.cookies.is_empty() {
        if given(&headers, "cookie") {
            problems.add(
                Problem::error(
                    "target.cookies",
                    "there are `cookies` and a Cookie header too",
                )
                .help("keep one of them")
                .on_key(),
            );
        }
        headers.push(("Cookie".into(), cookies(&written.cookies, scope, problems)));
    }
    let subprotocol = shown.subprotocol.as_ref();
    Upgrade {
        paths,
        headers,
        subprotocol: subprotocol.map(|(path, text)| text::template(text, path, scope, problems)),
    }
}

/// The path of a protocol that has one of its own, with the address's query; and where it is written.
fn spoken_at(at: &At<'_>, text: &str, place: &str, embedded: bool) -> (String, String) {
    let end = text.find('?').unwrap_or(text.len());
    let (path, query) = text.split_at(end);
    match &at.path {
        Some((own, place)) => (format!("{own}{query}"), place.clone()),
        None if embedded || path.len() <= 1 => (format!("{}{query}", at.usual), place.into()),
        None => (text.into(), place.into()),
    }
}

/// `a=1&b=2`, its text encoded; the values put in are still to be.
pub(super) fn query(
    table: &Table<String>,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Template {
    let mut parts: Vec<Part> = Vec::new();
    for (i, (key, value)) in table.iter().enumerate() {
        let value = text::template(value, &format!("{path}.{key}"), scope, problems);
        let separator = if i == 0 { "" } else { "&" };
        parts.push(Part::Text(format!("{separator}{}=", percent_encode(key))));
        parts.extend(value.parts.into_iter().map(|part| match part {
            Part::Text(text) => Part::Text(percent_encode(&text)),
            other => other,
        }));
    }
    Template { parts }
}

/// `a=1; b=2` (RFC 6265, section 4.2.1).
fn cookies(table: &Table<String>, scope: Scope<'_>, problems: &mut Problems) -> Template {
    let mut parts = Vec::new();
    for (i, (name, value)) in table.iter().enumerate() {
        let path = format!("target.cookies.{name}");
        if !is_token(name) {
            problems.add(Problem::error(&path, "this cannot be a cookie's name").on_key());
        }
        if value.contains([';', ',', '"', '\\'])
            || value.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            let message =
                "a cookie's value cannot hold spaces, commas, semicolons, quotes or backslashes";
            problems.add(Problem::error(&path, message));
        }
        parts.push(Part::Text(format!(
            "{}{name}=",
            if i == 0 { "" } else { "; " }
        )));
        parts.extend(text::template(value, &path, scope, problems).parts);
    }
    Template { parts }
}

/// Text of a path or query as a request line takes it: what has no place there percent-encoded.
pub(super) fn written_as_url(text: &str) -> String {
    let kept = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    text.chars()
        .map(|c| {
            if kept(c) {
                c.to_string()
            } else {
                percent_encode(c.encode_utf8(&mut [0; 4]))
            }
        })
        .collect()
}

/// Headers as templates; `target`'s first, those of the group over them.
pub(super) fn headers<const N: usize>(
    tables: [(&str, &Table<String>); N],
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Vec<(String, Template)> {
    /// Written by the upgrade itself.
    const OWN: [&str; 7] = [
        "host",
        "connection",
        "upgrade",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
        "sec-websocket-extensions",
    ];
    let mut headers: Vec<(String, Template)> = Vec::new();
    for (path, table) in tables {
        let mut names: Vec<String> = Vec::new();
        for (name, value) in table {
            let path = format!("{path}.{name}");
            let lower = name.to_ascii_lowercase();
            if !is_token(name) {
                problems.add(Problem::error(&path, "this cannot be a header's name").on_key());
            } else if OWN.contains(&lower.as_str()) {
                let mut problem =
                    Problem::error(&path, "this header is written by the upgrade itself").on_key();
                if lower == "sec-websocket-protocol" {
                    problem = problem.help("use `target.subprotocols`");
                }
                problems.add(problem);
            } else if names.contains(&lower) {
                problems.add(Problem::error(&path, "this header is given twice").on_key());
            }
            if value.chars().any(|c| c.is_control() && c != '\t') {
                problems.add(Problem::error(
                    &path,
                    "a header's value cannot hold control characters or line ends",
                ));
            }
            let value = text::template(value, &path, scope, problems);
            headers.retain(|(n, _)| n.to_ascii_lowercase() != lower);
            names.push(lower);
            headers.push((name.clone(), value));
        }
    }
    headers
}
