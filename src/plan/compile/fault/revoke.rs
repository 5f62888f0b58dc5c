//! `revoke`: the tokens of a part of a group's connections are revoked, by a request for each.

use super::super::target::{is_token, nodes};
use super::super::text::{self, Scope};
use super::super::upgrade::written_as_url;
use super::super::{Problems, http};
use super::{Many, beyond, group, left};
use crate::plan::fault::{Action, Effect, Elsewhere, Hit, PlannedFault, Revoke};
use crate::plan::types::{Builtin, Part, Phase, Template, Var, VarSource};
use crate::scenario::model;
use crate::scenario::{Problem, Scenario};
use std::time::Duration;

/// How long an answer may take where nothing is said.
const WITHIN: Duration = Duration::from_secs(10);
/// Where the embedded gateway revokes.
const EMBEDDED: &str = "/revoke";

/// Tokens that are revoked: how many, by which request, and when.
pub(super) fn compile(
    revoke: &model::Revoke,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let span = span(revoke, path, phase, problems);
    let (index, group) = group(&revoke.clients, path, scenario, problems)?;
    let many = Many {
        share: revoke.share,
        count: revoke.count,
        done: "revoked",
        of: (&revoke.clients, group.count.0),
    };
    let victims = many.victims(path, problems);
    if group.auth.is_none() {
        let message = format!("`{}` has no tokens to revoke", revoke.clients);
        let help = format!("give `clients.{}.auth`", revoke.clients);
        problems.add(Problem::error(format!("{path}.clients"), message).help(help));
        return None;
    }
    let within = revoke.within.map_or(WITHIN, |within| within.0);
    problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
    let request = request(revoke, path, scenario, group, problems);
    let (victims, request, (start, end)) = (victims?, request?, span?);
    let over = revoke.over.filter(|over| !over.0.is_zero());
    let over = over.map_or(String::new(), |over| format!(" over {over}"));
    Some(PlannedFault {
        label: format!(
            "tokens of {} of {} revoked{over}",
            many.words(),
            revoke.clients
        ),
        start,
        end,
        action: Action::Hit(Hit {
            group: index as u32,
            victims,
            over: end - start,
            effect: Effect::Revoke(Box::new(Revoke { within, ..request })),
        }),
    })
}

/// The request for each token, but for its time.
fn request(
    revoke: &model::Revoke,
    path: &str,
    scenario: &Scenario,
    group: &model::ClientGroup,
    problems: &mut Problems,
) -> Option<Revoke> {
    let Some(hook) = &revoke.webhook else {
        return embedded(path, scenario, problems);
    };
    // Of variables only the places matter here: what is wrong with them is said where they are.
    let vars: Vec<Var> = group.vars.keys().map(|name| named(name)).collect();
    let scope = Scope {
        vars: &vars,
        captured: &[],
        message: &[Builtin::Token],
    };
    let path = format!("{path}.webhook");
    let before = problems.list.len();
    let (base, rest) = parted(&hook.url);
    let address = http::address(base, &path, problems);
    let mut template = text::template(rest, &format!("{path}.url"), scope, problems);
    for part in &mut template.parts {
        if let Part::Text(text) = part {
            *text = written_as_url(text);
        }
    }
    let method = hook.method.as_deref().unwrap_or("POST");
    if !is_token(method) {
        let what = format!("`{method}` is not a method of HTTP");
        problems.add(Problem::error(format!("{path}.method"), what));
    }
    let headers = http::headers(&hook.headers, &path, problems);
    let headers = headers.into_iter().map(|(name, value)| {
        let at = format!("{path}.headers.{name}");
        let value = text::template(&value, &at, scope, problems);
        (name, value)
    });
    let headers: Vec<(String, Template)> = headers.collect();
    let written = hook.body.as_deref().unwrap_or_default();
    let body = text::template(written, &format!("{path}.body"), scope, problems);
    let tells = |template: &Template| template.parts.iter().any(|p| !matches!(p, Part::Text(_)));
    let told = tells(&template) || tells(&body) || headers.iter().any(|(_, value)| tells(value));
    if !told {
        let message = "every request is the same: none says whose token is revoked";
        problems.add(
            Problem::error(&path, message)
                .help("put `{token}`, or a variable that names the client, into `url`, `headers` or `body`")
                .on_key(),
        );
    }
    let address = address?;
    if problems.list.len() > before {
        return None;
    }
    Some(Revoke {
        at: Some(Elsewhere {
            tls: address.tls,
            host: address.host,
            port: address.port,
        }),
        method: method.to_owned(),
        path: template,
        headers,
        body,
        json: written.trim_start().starts_with(['{', '[']),
        within: WITHIN,
    })
}

/// The embedded gateway's own way.
fn embedded(path: &str, scenario: &Scenario, problems: &mut Problems) -> Option<Revoke> {
    let embedded = scenario.target.embedded.as_ref();
    let Some(embedded) = embedded.filter(|_| scenario.target.url.is_none()) else {
        problems.add(
            Problem::error(path, "it is not said how tokens are revoked")
                .help("give the request as `webhook`: `{ url: https://…, body: \"{token}\" }`")
                .on_key(),
        );
        return None;
    };
    if nodes(embedded) > 1 {
        let message = "the nodes of the embedded gateway do not tell each other of revoked tokens";
        problems.add(Problem::error(path, message).help("use one node").on_key());
        return None;
    }
    let token = Part::Builtin(Builtin::Token);
    Some(Revoke {
        at: None,
        method: "POST".into(),
        path: Template::text(EMBEDDED),
        headers: Vec::new(),
        body: Template { parts: vec![token] },
        json: false,
        within: WITHIN,
    })
}

fn named(name: &str) -> Var {
    Var {
        name: name.to_owned(),
        source: VarSource::Sequence(0),
    }
}

/// An address up to its path, which may hold placeholders, and from there on.
fn parted(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    match url[host..].find(['/', '?']).map(|at| host + at) {
        Some(at) if url[at..].starts_with('/') => url.split_at(at),
        _ => (url, "/"),
    }
}

/// Start and end, counted from the run's start.
fn span(
    revoke: &model::Revoke,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<(Duration, Duration)> {
    let start = super::start("revoke", revoke.after, path, phase, problems)?;
    let end = start + revoke.over.map_or(Duration::ZERO, |d| d.0);
    if end > phase.end {
        problems.add(beyond("revoke ends", format!("{path}.over"), phase).help(left(start, phase)));
        return None;
    }
    Some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_parted_before_its_path() {
        for (url, base, rest) in [
            ("http://a:1/b/{token}?c", "http://a:1", "/b/{token}?c"),
            ("https://[::1]/", "https://[::1]", "/"),
            ("http://a", "http://a", "/"),
            ("http://a?b", "http://a?b", "/"),
            ("nonsense", "nonsense", "/"),
        ] {
            assert_eq!(parted(url), (base, rest), "{url}");
        }
    }
}
