//! A group's tokens.

use super::*;
use crate::plan::{RenewBy, TokenSource};
use crate::protocol::JwtAlgorithm;

fn with(auth: &str, more: &str) -> String {
    format!("{{clients: {{sub: {{auth: {auth}{more}}}}}}}")
}

fn sub(auth: &str, more: &str) -> Group {
    compiled(&with(auth, more)).plan.groups()[0].clone()
}

/// A template with its placeholders by name.
fn shown(template: &Template) -> String {
    crate::plan::render(template, |part| format!("<{part:?}>").into())
        .replace("<Builtin(Token)>", "<token>")
}

#[test]
fn a_token_is_shown_where_it_is_said() {
    let at = |place: &str| sub(&format!("{{bearer: x, in: {place}}}"), "");
    let header = |group: &Group, name: &str| {
        let found = group.upgrade.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| shown(value))
    };
    let usual = sub("{bearer: x}", "");
    assert_eq!(header(&usual, "Authorization").unwrap(), "Bearer <token>");
    assert_eq!(header(&at("{header: X-T}"), "X-T").unwrap(), "<token>");
    assert_eq!(shown(at("{query: q}").upgrade.path(0)), "/ws?q=<token>");
    assert_eq!(header(&at("{cookie: c}"), "Cookie").unwrap(), "c=<token>");
    let offered = at("{subprotocol: 'b.{token}'}").upgrade.subprotocol;
    assert_eq!(shown(&offered.unwrap()), "b.<token>");
    let first = at("{message: '{\"t\":\"{token}\"}'}");
    assert!(matches!(&first.on_open[0], Step::Send(text) if shown(text) == "{\"t\":\"<token>\"}"));
    let by_hand = sub("{bearer: x, in: template}", ", headers: {X: 'a {token}'}");
    assert_eq!(header(&by_hand, "X").unwrap(), "a <token>");
    assert_eq!(header(&by_hand, "Authorization"), None);
}

#[test]
fn claims_are_one_template_of_json() {
    let group = sub(
        "{jwt: {secret: s, kid: k, claims: {sub: 'u\"{index}', n: 7, f: 1.5, b: true, l: [a, '{group}', 2]}}, expires: 30s}",
        "",
    );
    let auth = group.auth.unwrap();
    assert_eq!(auth.expires, Some(Duration::from_secs(30)));
    let TokenSource::Minted(jwt) = auth.source else {
        panic!("{:?}", auth.source);
    };
    assert_eq!(jwt.algorithm, JwtAlgorithm::Hs256);
    let text = crate::plan::render(&jwt.claims, |_| "X".into());
    assert_eq!(
        text,
        r#""sub":"u\"X","n":7,"f":1.5,"b":true,"l":["a","X",2],"#
    );
    // Whoever prints the plan does not print the secret.
    assert!(format!("{:?}", jwt.key).len() < 10);
}

#[test]
fn a_renewal_is_what_was_written() {
    let group = sub(
        "{bearer: x, renew: {every: 5s, asked: {contains: a}, by: {message: '{token}', accepted: {pointer: /ok}, within: 1s}}}",
        "",
    );
    let renew = group.auth.unwrap().renew.unwrap();
    assert_eq!(renew.every, Some(Duration::from_secs(5)));
    assert!(renew.asked.is_some());
    assert!(
        matches!(renew.by, RenewBy::Message { accepted: Some(_), within, .. } if within == Duration::from_secs(1))
    );
    let group = sub(
        "{bearer: x, renew: {every: 5s, by: reconnect}}",
        ", reconnect: {}",
    );
    assert!(matches!(
        group.auth.unwrap().renew.unwrap().by,
        RenewBy::Reconnect
    ));
    assert!(
        sub("{bearer: x, renew: never}", "")
            .auth
            .unwrap()
            .renew
            .is_none()
    );
}

#[test]
fn a_variable_may_be_named_token_where_nobody_makes_one() {
    let own = ", vars: {token: {cycle: [a]}}, headers: {X: '{token}'}";
    let group = compiled(&format!("{{clients: {{sub: {{subscribe: [t]{own}}}}}}}"))
        .plan
        .groups()[0]
        .clone();
    assert_eq!(group.upgrade.headers[0].1.parts, [Part::Var(0)]);
    let both = with("{bearer: x}", ", vars: {token: {cycle: [a]}}");
    one_problem(Level::Error, &[(&both, "clients.sub.auth", "another name")]);
}

#[test]
fn what_cannot_be_is_said() {
    let table = [
        ("{}", "", "auth", "where tokens come from"),
        (
            "{bearer: x, jwt: {secret: s}}",
            "",
            "auth",
            "exclude each other",
        ),
        ("{bearer: []}", "", "auth.bearer", "no token"),
        ("{bearer: ''}", "", "auth.bearer", "empty"),
        ("{jwt: {}}", "", "auth.jwt", "HS256 signs by a `secret`"),
        ("{jwt: {secret: ''}}", "", "auth.jwt.secret", "empty"),
        (
            "{jwt: {secret: s, key: key.pem}}",
            "",
            "auth.jwt",
            "that alone",
        ),
        (
            "{jwt: {algorithm: ES256, secret: s}}",
            "",
            "auth.jwt",
            "private `key`",
        ),
        (
            "{jwt: {algorithm: ES256, key: key.pem}}",
            "",
            "auth.jwt.key",
            "P-256",
        ),
        (
            "{jwt: {algorithm: RS256, key: ca.pem}}",
            "",
            "auth.jwt.key",
            "no private key",
        ),
        (
            "{jwt: {secret: s, claims: {exp: 1}}}",
            "",
            "auth.jwt.claims.exp",
            "`expires`",
        ),
        (
            "{jwt: {secret: s, claims: {sub: '{nobody}'}}}",
            "",
            "auth.jwt.claims.sub",
            "nobody",
        ),
        (
            "{jwt: {secret: s}, expires: 1500ms}",
            "",
            "auth.expires",
            "whole seconds",
        ),
        (
            "{bearer: x, expires: 0s}",
            "",
            "auth.expires",
            "more than 0",
        ),
        (
            "{bearer: x}",
            ", headers: {authorization: y}",
            "auth.in",
            "already",
        ),
        (
            "{bearer: x, in: {message: hello}}",
            "",
            "auth.in.message",
            "no `{token}`",
        ),
        (
            "{bearer: x, in: {subprotocol: b}}",
            "",
            "auth.in.subprotocol",
            "no `{token}`",
        ),
        (
            "{bearer: x, in: {cookie: 'a b'}}",
            "",
            "auth.in.cookie",
            "cookie's name",
        ),
        (
            "{bearer: x, renew: {by: reconnect}}",
            ", reconnect: {}",
            "auth.renew",
            "`every`, `asked`",
        ),
        (
            "{bearer: x, renew: {every: 1s, by: reconnect}}",
            "",
            "auth.renew.by",
            "`reconnect`",
        ),
        (
            "{bearer: x, renew: {every: 1s, by: {message: m}}}",
            "",
            "auth.renew.by.message",
            "no `{token}`",
        ),
        (
            "{bearer: x, in: template, renew: {every: 1s, by: {message: '{token}'}}}",
            ", protocol: stomp",
            "auth.renew.by",
            "words of its own",
        ),
        (
            "{bearer: x, in: {subprotocol: 'b.{token}'}}",
            ", transport: sse",
            "auth.in.subprotocol",
            "no subprotocol is offered",
        ),
        (
            "{bearer: x, in: template}",
            ", headers: {X: '{{token}}'}",
            "auth.in",
            "written nowhere",
        ),
        ("{command: {run: []}}", "", "auth.command.run", "no program"),
        (
            "{command: {run: [x], pointer: t}}",
            "",
            "auth.command.pointer",
            "pointer",
        ),
        ("{http: {url: 'ftp://h'}}", "", "auth.http.url", "http://"),
        (
            "{http: {url: 'http://h', within: 0s}}",
            "",
            "auth.http.within",
            "more than 0",
        ),
    ];
    for (auth, more, path, text) in table {
        let path = format!("clients.sub.{path}");
        one_problem(Level::Error, &[(&with(auth, more), &path, text)]);
    }
    one_problem(
        Level::Warning,
        &[(
            &with(
                "{jwt: {secret: s}, expires: 5s, renew: {every: 5s, by: reconnect}}",
                ", reconnect: {}",
            ),
            "clients.sub.auth.renew.every",
            "before they are renewed",
        )],
    );
    one_problem(
        Level::Warning,
        &[(
            &with(
                "{bearer: x, in: {subprotocol: 'b.{token}'}}",
                ", transport: [websocket, long_poll]",
            ),
            "clients.sub.auth.in.subprotocol",
            "no subprotocol is offered",
        )],
    );
    // Wherever it is written by hand.
    for somewhere in [
        "on_open: [{send: '{token}'}]",
        "protocol: {mqtt: {username: u, password: '{token}'}}, subscribe: []",
    ] {
        sub("{bearer: x, in: template}", &format!(", {somewhere}"));
    }
    compiled(
        "{target: {query: {t: '{token}'}}, clients: {sub: {auth: {bearer: x, in: template}}, pub: {auth: {bearer: x, in: template}}}}",
    );
    one_problem(
        Level::Error,
        &[(
            "{clients: {sub: {headers: {X: '{token}'}}}}",
            "clients.sub.headers.X",
            "where the group has one",
        )],
    );
}

#[test]
fn a_revocation_is_a_request_for_each_token() {
    let at = |fault: &str| {
        format!(
            "{{target: {{url: 'ws://127.0.0.1:1'}}, clients: {{sub: {{auth: {{bearer: x}}, vars: {{u: {{sequence: 1}}}}}}}}, phases: [{{name: a, for: 9s, faults: [{{revoke: {{clients: sub, {fault}}}}}]}}]}}"
        )
    };
    let plan = compiled(&at("count: 1, after: 1s, over: 2s, webhook: {url: 'https://[::1]:8/r/{u}?a=b c', method: DELETE, headers: {X: 'a {token}'}, body: '{\"t\":\"{token}\"}'}")).plan;
    let fault = plan.faults().next().unwrap();
    let crate::plan::Action::Hit(hit) = &fault.action else {
        panic!("{fault:?}");
    };
    let crate::plan::Effect::Revoke(revoke) = &hit.effect else {
        panic!("{hit:?}");
    };
    let seconds = Duration::from_secs;
    assert_eq!(
        (fault.start, fault.end, hit.over),
        (seconds(1), seconds(3), seconds(2))
    );
    let who = revoke.at.as_ref().unwrap();
    assert_eq!((who.tls, who.host.as_str(), who.port), (true, "::1", 8));
    assert_eq!(shown(&revoke.path), "/r/<Var(0)>?a=b%20c");
    assert_eq!(shown(&revoke.headers[0].1), "a <token>");
    assert_eq!(shown(&revoke.body), "{\"t\":\"<token>\"}");
    assert!(revoke.json && revoke.method == "DELETE");
    for (fault, path, message) in [
        ("count: 1", "revoke", "not said how tokens are revoked"),
        (
            "count: 1, webhook: {url: 'http://h/'}",
            "revoke.webhook",
            "every request is the same",
        ),
        (
            "count: 1, webhook: {url: 'http://h/{v}'}",
            "revoke.webhook.url",
            "unknown variable",
        ),
        (
            "count: 1, webhook: {url: 'ftp://h/{u}'}",
            "revoke.webhook.url",
            "not an http",
        ),
        (
            "count: 1, over: 20s, webhook: {url: 'http://h/{u}'}",
            "revoke.over",
            "after phase",
        ),
    ] {
        let path = format!("phases[0].faults[0].{path}");
        let problems = found(&at(fault));
        let found = problems
            .iter()
            .any(|p| p.path == path && p.message.contains(message));
        assert!(found, "{fault}: {problems:?}");
    }
}
