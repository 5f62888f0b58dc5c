//! A group's tokens: where they come from, where they are shown, and how they are renewed.
//!
//! The short ways to say where a token is shown are spelled out here as headers, query and cookies of the group, and compiled
//! as those are.

use super::fault::deploy::webhook;
use super::resume::matcher;
use super::target::is_token;
use super::text::{self, Scope};
use super::upgrade::Shown;
use super::{Problems, each, message};
use crate::plan::types::{Builtin, Part, Template, Transport};
use crate::plan::{Auth, Fetch, FetchFrom, Jwt, Renew, RenewBy, Secret, TokenSource};
use crate::protocol::{JwtAlgorithm, JwtSigner, ProtocolConfig};
use crate::scenario::model::{self, Claim, ClientGroup, NamedPlace, OneOrMany, Scalar, TokenPlace};
use crate::scenario::{Files, Problem};
use std::time::Duration;

/// What templates of a group with tokens may use beside its variables.
const TOKEN: &[Builtin] = &[Builtin::Token];
/// Within which tokens are fetched, and renewals accepted.
const FETCH: Duration = Duration::from_secs(10);
const ACCEPT: Duration = Duration::from_secs(5);
/// Longest secret that signs, in bytes.
const MAX_KEY: usize = 64 * 1024;

/// The built-in that groups with tokens have.
pub(super) fn builtins(group: &ClientGroup) -> &'static [Builtin] {
    match group.auth {
        Some(_) => TOKEN,
        None => &[],
    }
}

/// Spells out where the token is shown.
pub(super) fn show(
    group: &ClientGroup,
    path: &str,
    shown: &mut Shown<'_>,
    problems: &mut Problems,
) {
    let Some(auth) = &group.auth else { return };
    let at = format!("{path}.auth.in");
    let token = "{token}".to_owned();
    let has = |table: &model::Table<String>, name: &str| {
        table.keys().any(|key| key.eq_ignore_ascii_case(name))
    };
    let mut twice = |taken: bool, what: &str| {
        if taken {
            let message = format!("there is {what} already");
            problems.add(Problem::error(&at, message).help("keep one of them"));
        }
    };
    let headers =
        |shown: &Shown, name: &str| has(&shown.target.headers, name) || has(&shown.headers, name);
    match &auth.r#in {
        TokenPlace::Usual(model::UsualPlace::Template) => {}
        TokenPlace::Usual(model::UsualPlace::Header) => {
            let taken = headers(shown, "authorization");
            twice(taken, "an Authorization header");
            if !taken {
                let (name, value) = ("Authorization".into(), "Bearer {token}".into());
                shown.headers.insert(name, value);
            }
        }
        TokenPlace::Named(NamedPlace::Header(name)) => {
            let taken = headers(shown, name);
            twice(taken, "a header of this name");
            if !taken {
                shown.headers.insert(name.clone(), token);
            }
        }
        TokenPlace::Named(NamedPlace::Query(name)) => {
            twice(
                shown.target.query.contains_key(name),
                "a parameter of this name",
            );
            if name.is_empty() {
                problems.add(Problem::error(format!("{at}.query"), "it needs a name"));
            }
            shown.target.query.insert(name.clone(), token);
        }
        TokenPlace::Named(NamedPlace::Cookie(name)) => {
            twice(
                shown.target.cookies.contains_key(name),
                "a cookie of this name",
            );
            if !is_token(name) {
                let message = "this cannot be a cookie's name";
                problems.add(Problem::error(format!("{at}.cookie"), message));
            } else {
                shown.target.cookies.insert(name.clone(), token);
            }
        }
        TokenPlace::Named(NamedPlace::Subprotocol(offer)) => {
            let path = format!("{at}.subprotocol");
            if !text::has_placeholder(offer, Some("token")) {
                problems.add(Problem::error(&path, "there is no `{token}` in it"));
            }
            shown.subprotocol = Some((path, offer.clone()));
        }
        TokenPlace::Named(NamedPlace::Message(_)) => {}
    }
}

/// What a group's tokens are compiled with.
pub(super) struct Of<'a> {
    pub group: &'a ClientGroup,
    pub protocol: &'a ProtocolConfig,
    /// What an open connection has.
    pub scope: Scope<'a>,
    /// Variables alone.
    pub vars: Scope<'a>,
    pub transport: &'a Transport,
    pub target: &'a model::Target,
}

/// The tokens of a group, and the first message that shows one.
pub(super) fn compile(
    path: &str,
    of: &Of<'_>,
    files: &Files,
    problems: &mut Problems,
) -> (Option<Auth>, Option<Template>) {
    let Some(written) = &of.group.auth else {
        return (None, None);
    };
    let path = format!("{path}.auth");
    if of.scope.vars.iter().any(|var| var.name == "token") {
        let message = "the group has a variable `token`, which is what `auth` makes";
        problems.add(
            Problem::error(&path, message)
                .help("choose another name")
                .on_key(),
        );
    }
    let expires = written.expires.map(|d| d.0);
    problems.zero(
        expires.is_some_and(|d| d.is_zero()),
        format!("{path}.expires"),
        "the life of a token",
    );
    let minted = written.jwt.is_some();
    if minted && expires.is_some_and(|d| d.subsec_nanos() != 0) {
        let message = "the `exp` of a JWT is in whole seconds";
        problems.add(Problem::error(format!("{path}.expires"), message));
    }
    let first = match &written.r#in {
        TokenPlace::Named(NamedPlace::Message(text)) => {
            let path = format!("{path}.in.message");
            said(&path, of, problems);
            if !text::has_placeholder(text, Some("token")) {
                problems.add(Problem::error(&path, "there is no `{token}` in it"));
            }
            let scope = Scope {
                message: TOKEN,
                ..of.vars
            };
            Some(text::template(text, &path, scope, problems))
        }
        TokenPlace::Named(NamedPlace::Subprotocol(_)) => {
            offered(&format!("{path}.in.subprotocol"), of.transport, problems);
            None
        }
        TokenPlace::Usual(model::UsualPlace::Template) => {
            written_somewhere(&format!("{path}.in"), of, problems);
            None
        }
        _ => None,
    };
    let renew = match &written.renew {
        model::Renew::Never(_) => None,
        model::Renew::By(renewal) => Some(self::renew(renewal, &path, of, expires, problems)),
    };
    let source = source(written, &path, of, files, problems);
    let auth = source.map(|source| Auth {
        source,
        expires,
        renew,
    });
    (auth, first)
}

/// Subprotocols are offered by an upgrade, and by nothing else.
fn offered(path: &str, transport: &Transport, problems: &mut Problems) {
    if !transport.has_http() {
        return;
    }
    let message = "over `sse` and `long_poll` no subprotocol is offered, so the token is not shown";
    let problem = match transport.has_websocket() {
        true => Problem::warning(path, message),
        false => Problem::error(path, message),
    };
    problems.add(problem.help("show it in a header, the query or a cookie"));
}

/// Who writes the token's places by hand has at least one.
fn written_somewhere(path: &str, of: &Of<'_>, problems: &mut Problems) {
    fn holds(value: &serde_json::Value) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => text::has_placeholder(text, Some("token")),
            Value::Array(values) => values.iter().any(holds),
            Value::Object(values) => values.values().any(holds),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }
    let written = [
        serde_json::to_value(of.group),
        serde_json::to_value(of.target),
    ];
    if !written.iter().flatten().any(holds) {
        let message = "`{token}` is written nowhere in this group, so the target never sees it";
        let help = "write it into `headers`, `on_open` or `protocol`, or say another `in`";
        problems.add(Problem::error(path, message).help(help));
    }
}

/// A message by hand goes over a WebSocket, and between no protocol's own words.
fn said(path: &str, of: &Of<'_>, problems: &mut Problems) {
    if of.protocol.has_session() {
        let message = format!("{} has words of its own for this", of.protocol.name());
        problems
            .add(Problem::error(path, message).help(
                "use `{token}` in `protocol`, with `in: template`, and renew by `reconnect`",
            ));
    } else if of.transport.has_http() {
        problems.add(
            Problem::error(path, "over `sse` nothing can be said")
                .help("show the token in a header or the query, and renew by `reconnect`"),
        );
    }
}

fn source(
    written: &model::Auth,
    path: &str,
    of: &Of<'_>,
    files: &Files,
    problems: &mut Problems,
) -> Option<TokenSource> {
    const WAYS: &str = "`bearer`, `jwt`, `command` or `http`";
    let mut ways = Vec::new();
    if let Some(bearer) = &written.bearer {
        ways.push(given(bearer, &format!("{path}.bearer"), of.vars, problems));
    }
    if let Some(jwt) = &written.jwt {
        ways.push(self::jwt(
            jwt,
            &format!("{path}.jwt"),
            of.vars,
            files,
            problems,
        ));
    }
    if let Some(command) = &written.command {
        let path = format!("{path}.command");
        if command.run.first().is_none_or(|program| program.is_empty()) {
            let message = "there is no program in it";
            problems.add(Problem::error(format!("{path}.run"), message));
        }
        if command.run.iter().any(|argument| argument.contains('\0')) {
            let message = "an argument cannot hold a NUL";
            problems.add(Problem::error(format!("{path}.run"), message));
        }
        let how = FetchFrom::Run(command.run.clone());
        let pointer = command.pointer.clone();
        ways.push(Some(fetched(how, pointer, command.within, &path, problems)));
    }
    if let Some(http) = &written.http {
        let path = format!("{path}.http");
        let hook = model::Webhook {
            url: http.url.clone(),
            method: http.method.clone(),
            headers: http.headers.clone(),
            body: http.body.clone(),
        };
        let pointer = http
            .pointer
            .clone()
            .unwrap_or_else(|| "/access_token".into());
        let hook = webhook(&hook, &path, problems);
        let source = hook.map(|hook| {
            let how = FetchFrom::Http(hook);
            fetched(how, Some(pointer), http.within, &path, problems)
        });
        ways.push(source);
    }
    match ways.len() {
        1 => ways.pop().flatten(),
        0 => {
            let problem = Problem::error(path, "it is not said where tokens come from");
            problems.add(problem.help(format!("give one of {WAYS}")).on_key());
            None
        }
        _ => {
            let problem = Problem::error(path, format!("{WAYS} exclude each other"));
            problems.add(problem.help("keep one of them").on_key());
            None
        }
    }
}

fn given(
    bearer: &OneOrMany<String>,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Option<TokenSource> {
    let mut tokens = Vec::new();
    for (path, token) in each(bearer, path) {
        if token.is_empty() {
            problems.add(Problem::error(&path, "a token cannot be empty"));
        }
        tokens.push(text::template(token, &path, scope, problems));
    }
    if tokens.is_empty() {
        problems.add(Problem::error(path, "there is no token in it"));
        return None;
    }
    Some(TokenSource::Given(tokens))
}

fn fetched(
    how: FetchFrom,
    pointer: Option<String>,
    within: Option<crate::scenario::units::Duration>,
    path: &str,
    problems: &mut Problems,
) -> TokenSource {
    if let Some(at) = &pointer {
        message::pointer(at, &format!("{path}.pointer"), problems);
    }
    let within = within.map_or(FETCH, |d| d.0);
    problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
    let fetch = Fetch {
        how,
        pointer,
        within,
    };
    TokenSource::Fetched(fetch, Vec::new())
}

fn jwt(
    written: &model::Jwt,
    path: &str,
    scope: Scope<'_>,
    files: &Files,
    problems: &mut Problems,
) -> Option<TokenSource> {
    let algorithm = match written.algorithm {
        None | Some(model::Algorithm::HS256) => JwtAlgorithm::Hs256,
        Some(model::Algorithm::RS256) => JwtAlgorithm::Rs256,
        Some(model::Algorithm::ES256) => JwtAlgorithm::Es256,
    };
    let by_secret = algorithm == JwtAlgorithm::Hs256;
    let claims = claims(&written.claims, &format!("{path}.claims"), scope, problems);
    let (key, at) = match (&written.secret, &written.key) {
        (Some(secret), None) if by_secret => (secret.as_bytes(), format!("{path}.secret")),
        // A file that could not be read was reported when the scenario was loaded.
        (None, Some(file)) if !by_secret => (files.get(file)?, format!("{path}.key")),
        _ => {
            let message = match by_secret {
                true => "HS256 signs by a `secret`, and by that alone",
                false => "RS256 and ES256 sign by a private `key`, and by that alone",
            };
            problems.add(Problem::error(path, message).on_key());
            return None;
        }
    };
    if key.is_empty() || key.len() > MAX_KEY {
        problems.add(Problem::error(
            at,
            "this cannot sign: it is empty, or over 64 KiB",
        ));
        return None;
    }
    if let Err(why) = JwtSigner::new(algorithm, key, None) {
        problems.add(Problem::error(at, why));
        return None;
    }
    Some(TokenSource::Minted(Box::new(Jwt {
        algorithm,
        key: Secret(key.to_vec()),
        kid: written.kid.clone(),
        claims,
        named: !written.claims.contains_key("jti"),
    })))
}

/// `"sub":"{user}","scope":["a","b"],`
fn claims(
    table: &model::Table<Claim>,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Template {
    let mut parts: Vec<Part> = Vec::new();
    let text = |parts: &mut Vec<Part>, more: String| match parts.last_mut() {
        Some(Part::Text(text)) => text.push_str(&more),
        _ => parts.push(Part::Text(more)),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    for (name, value) in table {
        let path = format!("{path}.{name}");
        if ["exp", "iat"].contains(&name.as_str()) {
            let problem = Problem::error(&path, format!("`{name}` is set by squall"));
            problems.add(
                problem
                    .help("say how long tokens live in `expires`")
                    .on_key(),
            );
        }
        text(&mut parts, format!("{}:", quoted(name)));
        let many = matches!(value, Claim::List(_));
        if many {
            text(&mut parts, "[".into());
        }
        for (i, scalar) in value.scalars().iter().enumerate() {
            let path = if many {
                format!("{path}[{i}]")
            } else {
                path.clone()
            };
            if i > 0 {
                text(&mut parts, ",".into());
            }
            let Scalar::Text(written) = scalar else {
                let literal = match scalar {
                    Scalar::Float(value) => serde_json::Value::from(*value).to_string(),
                    other => other.to_string(),
                };
                text(&mut parts, literal);
                continue;
            };
            text(&mut parts, "\"".into());
            for part in text::template(written, &path, scope, problems).parts {
                match part {
                    Part::Text(plain) => {
                        let quoted = quoted(&plain);
                        text(&mut parts, quoted[1..quoted.len() - 1].to_owned());
                    }
                    other => parts.push(other),
                }
            }
            text(&mut parts, "\"".into());
        }
        text(&mut parts, if many { "],".into() } else { ",".into() });
    }
    Template { parts }
}

fn renew(
    written: &model::Renewal,
    path: &str,
    of: &Of<'_>,
    expires: Option<Duration>,
    problems: &mut Problems,
) -> Renew {
    let path = format!("{path}.renew");
    let every = written.every.map(|d| d.0);
    problems.zero(
        every.is_some_and(|d| d.is_zero()),
        format!("{path}.every"),
        "the time between renewals",
    );
    if every.is_none() && written.asked.is_none() {
        let problem = Problem::error(&path, "it is not said when tokens are renewed");
        problems.add(problem.help("give `every`, `asked` or both").on_key());
    }
    if let (Some(every), Some(expires)) = (every, expires)
        && every >= expires
    {
        let message = "some tokens expire before they are renewed";
        problems.add(Problem::warning(format!("{path}.every"), message));
    }
    let asked = written.asked.as_ref().map(|asked| {
        let path = format!("{path}.asked");
        said(&path, of, problems);
        matcher(asked, &path, of.scope, problems)
    });
    let by = match &written.by {
        model::RenewBy::Reconnect(_) => {
            if of.group.reconnect.is_none() {
                let message = "what if the connection is not let in again?";
                problems.add(
                    Problem::error(format!("{path}.by"), message)
                        .help("give the group `reconnect`: how it tries again"),
                );
            }
            RenewBy::Reconnect
        }
        model::RenewBy::Message(by) => {
            let path = format!("{path}.by");
            said(&path, of, problems);
            let text = format!("{path}.message");
            if !text::has_placeholder(&by.message, Some("token")) {
                problems.add(Problem::error(&text, "there is no `{token}` in it"));
            }
            let scope = Scope {
                message: TOKEN,
                ..of.scope
            };
            let within = by.within.map_or(ACCEPT, |d| d.0);
            problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
            RenewBy::Message {
                message: text::template(&by.message, &text, scope, problems),
                accepted: by
                    .accepted
                    .as_ref()
                    .map(|m| matcher(m, &format!("{path}.accepted"), of.scope, problems)),
                within,
            }
        }
    };
    Renew { every, asked, by }
}
