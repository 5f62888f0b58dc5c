//! Tokens: shown, renewed, left to expire; what the embedded gateway makes of them, and that nobody else gets to see them.

use crate::harness::{Lab, Summary};

const CANARY: &str = "canary-of-the-secret";

/// Ten clients whose tokens live for two or three seconds, and what is said of the gateway and of them.
fn scenario(gateway: &str, auth: &str, more: &str, gates: &str) -> String {
    format!(
        "
name: auth
seed: 5
target: {{ embedded: {{ {gateway} }} }}
clients:
  users:
    count: 10
    vars: {{ user: {{ sequence: 1 }}, tenant: {{ cycle: [acme, globex] }} }}
    auth: {{ jwt: {{ secret: {CANARY}, claims: {{ sub: 'u{{user}}', tenant: '{{tenant}}', scope: [read, write] }} }}, {auth} }}
    subscribe: [a]
    {more}
phases:
  - {{ name: run, for: 5s }}
  - {{ name: rest, for: 1s }}
gates: [{gates}]
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    )
}

fn jwt(more: &str) -> String {
    format!("auth: {{ jwt_secret: {CANARY}{more} }}")
}

/// How many ended by this code.
fn closed(summary: &Summary, code: u16) -> u64 {
    let closes = summary.at("/closes").as_array().expect("a list").clone();
    closes
        .iter()
        .filter(|close| close["code"] == code && close["by_target"] == true)
        .map(|close| close["count"].as_u64().expect("a number"))
        .sum()
}

#[test]
fn a_token_is_shown_at_each_of_its_places() {
    for place in [
        "in: header",
        "in: { header: Authorization }",
        "in: { query: access_token }",
        "in: { cookie: token }",
        "in: { subprotocol: 'bearer.{token}' }",
        "in: { message: '{\"type\":\"auth\",\"token\":\"{token}\"}' }",
    ] {
        let written = place.contains("Authorization");
        let auth = match written {
            // Without its scheme it is no bearer token: then it is written by hand.
            true => "in: template, expires: 60s",
            false => &format!("{place}, expires: 60s"),
        };
        let more = match written {
            true => "headers: { Authorization: 'Bearer {token}' }",
            false => "",
        };
        let scenario = scenario(
            &jwt(", by_message: true"),
            auth,
            more,
            "'opened == 10', 'failed == 0'",
        )
        .replace("for: 5s", "for: 500ms")
        .replace("for: 1s", "for: 500ms");
        let done = Lab::untimed(&scenario).run(&[]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.count("opened"), 10, "{place}");
    }
}

#[test]
fn a_wrong_secret_is_refused_with_401() {
    let scenario = scenario(
        "auth: { jwt_secret: another-secret }",
        "expires: 60s",
        "",
        "'status 401 == 10'",
    )
    .replace("for: 5s", "for: 500ms");
    let done = Lab::untimed(&scenario).run(&[]);
    let summary = done.summary();
    assert_eq!(summary.count("opened"), 0);
    assert_eq!(summary.at("/statuses/401"), 10);
}

#[test]
fn expired_tokens_are_timed_to_the_targets_close_with_its_code() {
    let gates = "'expiries == 10 in run', 'expired max < 3s in run', 'expired_close 4401 == 10 in run', \
                 'expired_close 4401 share == 100% in run', 'outlived == 0 in run', 'expired_close 1000 == 0 in run'";
    for shards in ["1", "2"] {
        let done =
            Lab::untimed(&scenario(&jwt(""), "expires: 3s", "", gates)).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.count("expiries"), 10);
        assert_eq!(summary.at("/timers/expired/count"), 10);
        assert_eq!(closed(&summary, 4401), 10);
    }
}

#[test]
fn a_grace_of_the_target_is_in_the_time() {
    let gates = "'expired min >= 800ms in run'";
    let gateway = jwt(", grace: 800ms, close_expired: 4003");
    let done = Lab::untimed(&scenario(&gateway, "expires: 3s", "", gates)).run(&[]);
    let summary = done.expect(0).summary();
    assert_eq!(closed(&summary, 4003), 10);
}

#[test]
fn a_target_that_never_closes_expired_ones_fails_the_gate() {
    let gates = "'expired p50 < 10s in run', 'outlived == 0 in run'";
    let gateway = format!("{}, misbehave: {{ keep_expired: true }}", jwt(""));
    // A median needs twenty.
    let scenario = scenario(&gateway, "expires: 3s", "", gates).replace("count: 10", "count: 30");
    let done = Lab::untimed(&scenario).run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!(summary.count("expiries"), 30);
    assert_eq!(summary.count("outlived"), 30);
    assert_eq!(summary.at("/gates/0/actual"), "not reached");
    assert_eq!(summary.at("/gates/1/status"), "failed");
}

/// The same, whose tokens live long and are revoked a second into the run.
fn revoked(gateway: &str, fault: &str, more: &str, gates: &str) -> String {
    let fault = format!(
        "{{ name: run, for: 3s, faults: [ {{ revoke: {{ clients: users, after: 1s, {fault} }} }} ] }}"
    );
    scenario(gateway, "expires: 60s", more, gates).replace("{ name: run, for: 5s }", &fault)
}

#[test]
fn revoked_tokens_are_timed_to_the_targets_close_and_their_clients_come_back_with_others() {
    let gates = "'revocations == 4 in run', 'revoked max < 3s in run', 'revoked_close 4005 == 4 in run', \
                 'unrevoked == 0 in run', 'revocation_failed == 0', 'reconnected == 4', 'failed == 0'";
    let more = "reconnect: { backoff: constant, base: 10ms }";
    let gateway = jwt(", close_revoked: 4005");
    for shards in ["1", "2"] {
        let scenario = revoked(&gateway, "count: 4, over: 500ms", more, gates);
        let done = Lab::untimed(&scenario).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.at("/timers/revoked/count"), 4);
        assert_eq!(summary.at("/revoked_closes/4005"), 4);
        assert_eq!(closed(&summary, 4005), 4);
        assert_eq!(summary.at("/phases/0/faults/0/touched"), 4);
    }
}

#[test]
fn a_target_that_keeps_revoked_ones_fails_the_gate() {
    let gates = "'revoked p50 < 10s in run', 'unrevoked == 0 in run'";
    let gateway = format!("{}, misbehave: {{ keep_revoked: true }}", jwt(""));
    let scenario = revoked(&gateway, "share: 100%", "", gates).replace("count: 10", "count: 30");
    let summary = Lab::untimed(&scenario).run(&[]).expect(99).summary();
    assert_eq!(summary.count("revocations"), 30);
    assert_eq!(summary.count("unrevoked"), 30);
    assert_eq!(summary.at("/gates/0/actual"), "not reached");
    assert_eq!(summary.at("/gates/1/status"), "failed");
}

#[test]
fn whoever_ends_otherwise_with_a_revoked_token_comes_back_with_another_too() {
    let gates =
        "'revocations == 10 in run', 'unrevoked == 10 in run', 'reconnected == 10', 'failed == 0'";
    // Of a list, as a token that is made anew is another by its time alone.
    let tokens: Vec<String> = (0..20).map(|n| format!("token-{n}")).collect();
    let tokens = tokens.join(", ");
    let more = "reconnect: { backoff: constant, base: 10ms }";
    let also = "share: 100% } }, { drop: { clients: users, share: 100%, how: reset, after: 2s";
    let made = revoked(
        &format!("tokens: [{tokens}], misbehave: {{ keep_revoked: true }}"),
        also,
        more,
        gates,
    );
    let start = made.find("auth: { jwt").expect("the group's");
    let end = made.find("60s }").expect("its end") + 5;
    let auth = format!("auth: {{ bearer: [{tokens}] }}");
    let done = Lab::untimed(&format!("{}{auth}{}", &made[..start], &made[end..])).run(&[]);
    done.expect(0);
}

#[test]
fn a_revocation_that_nobody_confirms_touches_nobody() {
    // Nobody listens at the discard port.
    let fault = "count: 3, webhook: { url: 'http://127.0.0.1:9/{user}', body: '{token}' }";
    let done = Lab::untimed(&revoked(&jwt(""), fault, "", "")).run(&[]);
    let summary = done.expect(106).summary();
    assert_eq!(summary.count("revocation_failed"), 3);
    assert_eq!(summary.count("revocations"), 0);
}

const BY_MESSAGE: &str = "by: { message: '{\"type\":\"auth\",\"token\":\"{token}\"}', accepted: { pointer: /type, equals: authenticated }, within: 4s }";

#[test]
fn a_message_renews_a_token_and_the_connection_stays() {
    let auth = format!("expires: 3s, renew: {{ every: 1s, {BY_MESSAGE} }}");
    let gates = "'renewed >= 40', 'renewal_failed == 0', 'opened == 10'";
    let done = Lab::untimed(&scenario(&jwt(""), &auth, "", gates)).run(&[]);
    let summary = done.expect(0).summary();
    assert_eq!(summary.count("expiries"), 0);
    assert_eq!(closed(&summary, 4401), 0);
}

#[test]
fn a_target_that_asks_for_a_token_gets_one() {
    let auth = format!(
        "expires: 3s, renew: {{ asked: {{ pointer: /type, equals: token_expires }}, {BY_MESSAGE} }}"
    );
    let gates = "'renewed >= 20', 'renewal_failed == 0', 'expiries == 0'";
    let gateway = jwt(", ask_before: 2s");
    let done = Lab::untimed(&scenario(&gateway, &auth, "", gates)).run(&[]);
    assert_eq!(done.expect(0).summary().count("opened"), 10);
}

/// And comes back with another at once, where that is how it renews.
#[test]
fn who_is_asked_for_a_token_may_come_back_with_one() {
    let auth =
        "expires: 3s, renew: { asked: { pointer: /type, equals: token_expires }, by: reconnect }";
    let gates = "'renewed >= 20', 'renewal_failed == 0', 'expiries == 0', 'gave_up == 0'";
    let gateway = jwt(", ask_before: 2s");
    let done = Lab::untimed(&scenario(&gateway, auth, "reconnect: {}", gates)).run(&[]);
    let summary = done.expect(0).summary();
    assert_eq!(summary.count("renewed"), summary.count("reconnected"));
    assert_eq!(summary.count("opened"), 10 + summary.count("renewed"));
    assert_eq!(closed(&summary, 4401), 0);
}

/// Tokens of a list instead of made ones: the gateway knows the first ten alone.
fn listed(renew: &str, more: &str, gates: &str) -> String {
    let made = scenario("tokens: [first-one]", "X", more, gates);
    let start = made.find("auth: { jwt").expect("the group's");
    let end = made.find("X }").expect("its end") + 3;
    let tokens = "first-one, ".repeat(10) + &"wrong-one, ".repeat(99) + "wrong-one";
    let auth = format!("auth: {{ bearer: [{tokens}], renew: {renew} }}");
    format!("{}{auth}{}", &made[..start], &made[end..])
}

#[test]
fn a_renewal_that_is_not_accepted_fails() {
    let by = BY_MESSAGE.replace("4s", "500ms");
    let gates = "'renewed == 0', 'renewal_failed >= 30', 'opened == 10', 'closed_by_target == 0'";
    let done = Lab::untimed(&listed(&format!("{{ every: 1s, {by} }}"), "", gates)).run(&[]);
    let summary = done.expect(0).summary();
    assert!(summary.count("errors") >= 30, "each was answered");
}

#[test]
fn a_reconnect_renews_a_token_and_nothing_is_lost_by_it() {
    let auth = "expires: 4s, renew: { every: 1500ms, by: reconnect }";
    let gates = "'renewed >= 20', 'renewal_failed == 0', 'expiries == 0', 'gave_up == 0'";
    for shards in ["1", "2"] {
        let done = Lab::untimed(&scenario(&jwt(""), auth, "reconnect: {}", gates))
            .run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.count("renewed"), summary.count("reconnected"));
        assert_eq!(summary.count("opened"), 10 + summary.count("renewed"));
        // They went of their own accord, which is no storm.
        assert_eq!(summary.at("/storms").as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn a_reconnect_that_is_not_let_in_has_failed() {
    let gates = "'renewed == 0', 'renewal_failed == 10', 'gave_up == 10'";
    let more = "reconnect: { attempts: 1, base: 100ms }";
    let scenario = listed("{ every: 2s, by: reconnect }", more, gates);
    let summary = Lab::untimed(&scenario).run(&[]).expect(0).summary();
    // Who is not let in again is one.
    assert_eq!(summary.at("/storms/0/lost"), 10);
}

/// The secret is in no output and no report, and neither is a token made with it, though the target repeats it.
#[test]
fn neither_secret_nor_token_is_in_anything_that_is_written() {
    let more = "on_open: [ { send: '{\"type\":\"no {token}\",\"topic\":\"{token}\"}' } ]\n    request: { send: '{token}', rate: 10/s, reply: { contains: '{{never}}' } }";
    let more = more.split("\n").next().expect("a line");
    let lab = Lab::untimed(&scenario(&jwt(""), "expires: 3s", more, "'opened == 10'"));
    let done = lab.run(&[]);
    done.expect(0);
    let check = crate::harness::squall()
        .current_dir(lab.path())
        .args(["check", "scenario.yaml"])
        .output()
        .expect("it runs");
    let mut all = vec![done.stdout.clone(), done.stderr.clone()];
    all.push(String::from_utf8_lossy(&check.stdout).into_owned());
    all.push(String::from_utf8_lossy(&check.stderr).into_owned());
    let reports = lab.path().join("reports");
    for run in std::fs::read_dir(reports).expect("reports") {
        for file in std::fs::read_dir(run.expect("a run").path()).expect("a report") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
            all.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    assert!(all.len() > 8, "{} texts", all.len());
    for text in &all {
        assert!(!text.contains(CANARY), "{text}");
        assert!(!text.contains("eyJ"), "{text}");
    }
}

/// A command's and an endpoint's tokens: one for each, and none of them in anything that is written.
#[test]
fn tokens_are_fetched_from_a_command_and_from_an_endpoint() {
    let endpoint = endpoint(r#"{"access_token":"canary-from-http"}"#);
    for (source, canary) in [
        (
            "command: { run: [printf, 'canary-from-lines\\n%s\\n', canary-from-lines] }".to_owned(),
            "canary-from-lines",
        ),
        (
            "command: { run: [echo, '{\"t\":[\"canary-from-json\"]}'], pointer: /t }".to_owned(),
            "canary-from-json",
        ),
        (
            format!("http: {{ url: 'http://{endpoint}/token', body: grant }}"),
            "canary-from-http",
        ),
    ] {
        let made = scenario(&format!("tokens: [{canary}]"), "X", "", "'opened == 10'");
        let start = made.find("auth: { jwt").expect("the group's");
        let end = made.find("X }").expect("its end") + 3;
        let text = format!("{}auth: {{ {source} }}{}", &made[..start], &made[end..]);
        let text = text
            .replace("for: 5s", "for: 500ms")
            .replace("for: 1s", "for: 500ms");
        let done = Lab::untimed(&text).run(&[]);
        done.expect(0);
        for file in std::fs::read_dir(done.folder()).expect("a report") {
            let path = file.expect("a file").path();
            let text =
                String::from_utf8_lossy(&std::fs::read(&path).expect("readable")).into_owned();
            // What the scenario itself says of the command is its own affair.
            let own = path.ends_with("scenario.yaml") && source.contains("command");
            assert!(
                own || !text.contains(canary),
                "{canary} in {}",
                path.display()
            );
        }
    }
}

#[test]
fn a_run_without_tokens_does_not_begin() {
    for (source, why) in [
        (
            "command: { run: ['false'] }",
            "no tokens for `users`: `false`: exit status: 1",
        ),
        (
            "command: { run: [sleep, '30'], within: 200ms }",
            "not within 200ms",
        ),
        (
            "command: { run: [no-such-program-here] }",
            "no-such-program-here",
        ),
        ("http: { url: 'http://127.0.0.1:1/token' }", "127.0.0.1:1"),
    ] {
        let made = scenario("", "X", "", "'opened == 10'");
        let start = made.find("auth: { jwt").expect("the group's");
        let end = made.find("X }").expect("its end") + 3;
        let text = format!("{}auth: {{ {source} }}{}", &made[..start], &made[end..]);
        let done = Lab::untimed(&text).run(&[]);
        assert!(done.stderr.contains(why), "{}", done.stderr);
        assert!(done.folders.is_empty() && done.code != Some(0));
    }
}

/// An HTTP server that answers each request with this body, in chunks.
fn endpoint(body: &'static str) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        while let Ok((mut tcp, _)) = listener.accept() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\ngrant") && tcp.read(&mut byte).is_ok_and(|n| n > 0) {
                request.push(byte[0]);
            }
            let answer = format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
                body.len()
            );
            let _ = tcp.write_all(answer.as_bytes());
        }
    });
    address
}
