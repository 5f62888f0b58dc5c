//! Canaries: nothing secret in what is shown, kept or printed.

use super::*;

const CREDENTIALS: &str = r#"
name: secrets
target:
  url: "wss://canary01:canary02@h/ws?access_token=canary03&room=seen"
  headers:
    Authorization: Bearer canary04
    X-Api-Key: canary05
    X-Trace: seen
    Cookie: "session=canary06; theme=canary07"
    Proxy-Authorization: "Basic ${env:CANARY}"
  query: { token: canary08, room: seen }
  cookies: { session: canary09 }
  tls: { key: seen.pem }
clients:
  g:
    count: 1
    vars:
      password: { cycle: [canary10, canary11] }
      user: { cycle: [seen] }
    headers: { authorization: "${env:CANARY}" }
    on_open:
      - send: '{"type":"auth","token":"canary12","user":"seen"}'
      - expect: { pointer: /type, capture: { token: /token } }
phases:
  - { name: p, for: 1s, open: { g: linear } }
"#;

/// In `auth` the credentials are secret, and how they are used is not.
#[test]
fn of_auth_the_credentials_alone_are_masked() {
    let text = "
name: auth
target: { embedded: { tokens: [canary01], auth: { jwt_secret: canary02, close_expired: 4401 } } }
clients:
  a: { count: 1, auth: { bearer: [canary03, canary04], in: { cookie: seen-cookie }, renew: never } }
  b: { count: 1, auth: { jwt: { secret: canary05, algorithm: HS256, claims: { sub: seen-sub } }, expires: 33s } }
  c: { count: 1, auth: { http: { url: 'http://h/seen', headers: { Authorization: Bearer canary06 } } } }
  d: { count: 1, vars: { auth: { cycle: [canary07] } }, headers: { X: '{auth}' } }
phases:
  - { name: p, for: 1s }
";
    let document = parse("x.yaml", text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let yaml = document.redacted_yaml();
    assert_clean(&yaml);
    for kept in [
        "seen-cookie",
        "seen-sub",
        "HS256",
        "33s",
        "4401",
        "never",
        "http://h/seen",
    ] {
        assert!(yaml.contains(kept), "{kept} in {yaml}");
        assert!(!document.secrets().iter().any(|s| s == kept), "{kept}");
    }
    for n in 1..=7 {
        let canary = format!("canary{n:02}");
        assert!(
            document.secrets().contains(&canary),
            "{canary} in {:?}",
            document.secrets()
        );
    }
}

fn assert_clean(text: &str) {
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn the_scenario_as_run_masks_credentials_and_keeps_references() {
    let text = CREDENTIALS.replace("  tls: { key: seen.pem }\n", "");
    let document = parse("x.yaml", &text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let yaml = document.redacted_yaml();
    assert_clean(&yaml);
    assert_eq!(yaml.matches("seen").count(), 5, "{yaml}");
    for kept in [
        "Basic ${env:CANARY}",
        "authorization: ${env:CANARY}",
        "token: /token",
        "g: linear",
        "***:",
        "wss://***@h/ws?access_token=***&room=seen",
    ] {
        assert_eq!(yaml.contains(kept), kept != "***:", "{kept} in {yaml}");
    }
    // Whatever else prints the scenario can hide them.
    for n in 1..=12 {
        let canary = format!("canary{n:02}");
        assert!(
            document.secrets().iter().any(|s| s.contains(&canary)),
            "{canary} in {:?}",
            document.secrets()
        );
    }
    assert!(document.secrets().contains(&"canary-env".to_string()));
    assert!(
        document
            .secrets()
            .windows(2)
            .all(|w| w[0].len() >= w[1].len())
    );
    // The model itself is not touched.
    assert!(document.scenario().target.headers["Authorization"].contains("canary04"));
}

#[test]
fn tokens_of_the_embedded_gateway_are_masked() {
    let text = SOUND.replace(
        "url: ws://localhost:1/ws",
        "embedded: { tokens: [canary1, canary2] }",
    );
    let document = parse("x.yaml", &text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    assert_clean(&document.redacted_yaml());
    assert_eq!(document.secrets(), ["canary1", "canary2"]);
}

#[test]
fn problems_show_lines_without_their_credentials() {
    // A mistake on every line that holds a credential, and on the credentials themselves.
    let broken = CREDENTIALS.lines().map(|line| {
        if line.contains("canary")
            && !line.contains("- send")
            && line.ends_with(['}', '"'])
            && line.contains('{')
        {
            line.replace('{', "{ bad: [1],").to_string()
        } else {
            line.to_string()
        }
    });
    let broken = broken
        .collect::<Vec<_>>()
        .join("\n")
        .replace("count: 1", "count: canary-env1");
    let report = parse(
        "x.yaml",
        &broken.replace("canary-env1", "1x"),
        None,
        &options(),
    )
    .err()
    .map(|r| (r.to_string(), r.render(true)));
    let (plain, styled) = report.unwrap_or_default();
    assert!(plain.matches("error").count() >= 4, "{plain}");
    assert_clean(&plain);
    assert_clean(&styled);
    for text in [
        // No tree at all.
        SOUND.replace(
            "url: ws://localhost:1/ws",
            "url: ws://localhost:1/ws\n  auth: { bearer: \"aaa}canary-brace\", in: header }\n  - [oops",
        ),
        SOUND.replace(
            "url: ws://localhost:1/ws",
            "url: ws://localhost:1/ws\n  auth: { in: header, # }\n    json: { x: canary-remark } }\n  - [oops",
        ),
        format!("{CREDENTIALS}\n  - [oops"),
        CREDENTIALS.replace("Bearer canary04", "Bearer canary04: ]"),
        CREDENTIALS.replace("session: canary09 }", "session: canary09"),
        CREDENTIALS.replace(
            "token: canary08, room: seen }",
            "token: canary08, room: seen ]",
        ),
        // The credential is the mistake.
        SOUND.replace("url: ws://localhost:1/ws", "embedded: { tokens: canary1 }"),
        SOUND.replace(
            "url: ws://localhost:1/ws",
            "url: ws://h/, headers: { Authorization: [canary] }",
        ),
        SOUND.replace("url: ws://localhost:1/ws", "url: { token: canary }"),
    ] {
        let report = parse("x.yaml", &text, None, &options())
            .err()
            .map(|r| r.to_string());
        assert_clean(&report.expect(&text));
    }
    // A number is a credential too.
    let text = SOUND.replace(
        "url: ws://localhost:1/ws",
        "url: ws://h/, query: { token: 987654321 }",
    );
    let report = parse("x.yaml", &text, None, &options())
        .err()
        .map(|r| r.to_string())
        .unwrap_or_default();
    assert!(
        report.contains("takes text") && !report.contains("987654321"),
        "{report}"
    );
}

#[test]
fn sets_and_targets_are_covered_too() {
    for set in [
        "target.headers.Authorization=[Bearer canary]",
        "target.tokens=canary",
        "target.url=[wss://u:canary@h/, 5]",
        "target.query.token={ a: canary }",
    ] {
        let report = parse("x.yaml", SOUND, None, &with_sets(&[set]))
            .err()
            .map(|r| r.to_string());
        assert_clean(&report.expect(set));
    }
}

#[test]
fn later_stages_cannot_leak_either() {
    let text = SOUND.replace("ws://localhost:1/ws", "\"gopher://${env:CANARY}/\"");
    let document = parse("x.yaml", &text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let url = document
        .scenario()
        .target
        .url
        .as_ref()
        .map(|u| u.to_vec().concat())
        .unwrap_or_default();
    let problem =
        Problem::error("target.url", format!("`{url}` is not a WebSocket address")).help(url);
    assert_clean(&document.report(vec![problem]).to_string());
}

/// Where credentials are read from is no credential: the copy of the scenario runs again, and the word
/// `token` stays readable elsewhere.
#[test]
fn a_column_of_tokens_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("users.csv"), "token\ncanary01\n").unwrap();
    let text = SOUND.replace(
        "count: 10,",
        "count: 10, vars: { token: { csv: { file: users.csv, column: token } }, secret: { cycle: [canary02] } },",
    );
    assert_ne!(text, SOUND);
    let document = parse("x.yaml", &text, Some(folder.path()), &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let yaml = document.redacted_yaml();
    assert_clean(&yaml);
    for kept in ["file: users.csv", "column: token"] {
        assert!(yaml.contains(kept), "{kept} in {yaml}");
    }
    assert_eq!(document.secrets(), ["canary01", "canary02"]);
}

#[test]
fn values_of_columns_and_lists_named_like_credentials_are_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..3_000)
        .map(|i| format!("u{i:06},t{i:06},p{i:06}\n"))
        .collect();
    std::fs::write(
        folder.path().join("users.csv"),
        format!("user,token,other\nadmin,abc,seen\n{rows}"),
    )
    .unwrap();
    let with = |vars: &str| {
        let text = SOUND.replace("count: 10,", &format!("count: 10, vars: {{ {vars} }},"));
        let document = parse("x.yaml", &text, Some(folder.path()), &options())
            .map_err(|r| r.to_string())
            .unwrap();
        document.secrets().to_vec()
    };
    let csv = |name: &str, column: &str| {
        with(&format!(
            "{name}: {{ csv: {{ file: users.csv, column: {column} }} }}"
        ))
    };
    // By the column's name, and by the variable's; too short a value is left out, and so is what is too many.
    let (column, variable) = (csv("who", "token"), csv("password", "other"));
    assert_eq!((column.len(), variable.len()), (2_000, 2_000));
    assert_eq!(
        (column[0].as_str(), column[1_999].as_str()),
        ("t000000", "t001999")
    );
    assert!(variable.contains(&"seen".to_string()));
    assert_eq!(csv("user", "user"), [""; 0]);
    assert_eq!(with("secret: { cycle: [canary1, abc] }"), ["canary1"]);
    assert_eq!(
        with("secret: { random: { choice: [canary1] } }"),
        ["canary1"]
    );
    assert_eq!(with("user: { random: { choice: [canary1] } }"), [""; 0]);
    // Whatever it is called, a variable that is shown as a credential and nothing else is one.
    for place in [
        "auth: { bearer: '{who}' }",
        "auth: { bearer: [other-token, '{who}'] }",
        "headers: { Authorization: 'Bearer {who}' }",
        "protocol: { stomp: { login: me, passcode: '{who}' } }",
        "on_open: [ { send: '{\"type\":\"auth\",\"token\":\"{who}\"}' } ]",
        "on_open: [ { send: '{\"type\":\"auth\",\"auth\": {\"token\" : \"{who}\"}}' } ]",
        "headers: { Cookie: 'session={who}' }",
        "headers: { Cookie: 'a=b; session={who}' }",
        "headers: { Authorization: 'ApiKey {who}' }",
        "headers: { X-Next: 'https://me:{who}@h/' }",
    ] {
        let secrets = |vars: &str| with(&format!("{vars} }}, {place}, capture_headers: {{ "));
        let column = secrets("who: { csv: { file: users.csv, column: other } }");
        assert!(column.contains(&"seen".to_string()), "{place}");
        for list in ["{ cycle: [canary1] }", "{ random: { choice: [canary1] } }"] {
            let found = secrets(&format!("who: {list}, room: {{ cycle: [red-room] }}"));
            assert!(found.contains(&"canary1".to_string()), "{place}");
            assert!(!found.contains(&"red-room".to_string()), "{place}");
        }
    }
    // What stands beside a token is no token.
    let beside = "on_open: [ { send: '{\"type\":\"publish\",\"auth\":{\"tenant\":\"{who}\"}}' } ]";
    let found = with(&format!(
        "who: {{ cycle: [visible] }} }}, {beside}, headers: {{ X-A: b "
    ));
    assert!(!found.contains(&"visible".to_string()));
    // Of which more is made, it is whatever its name says.
    let composed = with("who: { cycle: [visible] } }, headers: { X-Token: 'a-{who}' ");
    assert!(!composed.contains(&"visible".to_string()));
    // Numbers that values are made from are none.
    assert_eq!(with("token: { sequence: 10000 }"), [""; 0]);
}

/// What is saved of a run is a scenario: it means the same wherever nothing had to be masked.
#[test]
fn the_redacted_scenario_runs() {
    let text = r#"
name: redacted
target:
  url: "wss://h/ws?token={tok}"
  headers: { Authorization: "Bearer {tok}", Cookie: "{tok}" }
  query: { token: "x{tok}" }
clients:
  g:
    count: 1
    vars:
      tok: { sequence: 1 }
      token: { sequence: 1000 }
      secret: { random: { hex: 16 } }
      password: { cycle: ["{canary1}"] }
    on_open:
      - send: '{"op":"hello","token":"${env:CANARY}","x":1}'
      - send: '{"token":"Bearer ${env:CANARY}"}'
      - send: '{"token":"{tok}"}'
      - send: '{"password":"canary2","x":1}'
phases:
  - { name: p, for: 1s }
"#;
    let document = parse("x.yaml", text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let yaml = document.redacted_yaml();
    assert_clean(&yaml);
    let again = parse("y.yaml", &yaml, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let written = |document: &Document| serde_json::to_value(document.scenario()).unwrap();
    let mut expected = written(&document);
    expected["target"]["query"]["token"] = "***{tok}".into();
    expected["clients"]["g"]["vars"]["password"]["cycle"][0] = "***".into();
    expected["clients"]["g"]["on_open"][3]["send"] = r#"{"password":"***","x":1}"#.into();
    assert_eq!(written(&again), expected, "{yaml}");
}

/// What brokers, protocols and proxies are shown is masked wherever it stands.
#[test]
fn credentials_of_brokers_protocols_and_proxies_are_masked() {
    let text = "
name: protocols
target:
  url: wss://h/ws
  proxy: \"http://seen-user:canary01@proxy:3128\"
clients:
  s: { count: 1, protocol: { stomp: { login: seen-login, passcode: canary02 } }, subscribe: [t] }
  m: { count: 1, protocol: { mqtt: { username: seen-name, password: canary03 } }, subscribe: [t] }
inject:
  n:
    nats: { url: \"nats://u:canary04@h:4222\", subject: seen }
    topic: t
    rate: 1/s
  p:
    nats: { url: \"nats://h:4222\", subject: seen, user: seen-broker, password: canary05 }
    topic: t
    rate: 1/s
  k:
    nats: { url: \"nats://h:4222\", subject: seen, token: canary06 }
    topic: t
    rate: 1/s
phases:
  - name: p
    for: 1s
    faults:
      - revoke: { clients: s, count: 1, webhook: { url: \"https://h/\", headers: { Authorization: \"Basic canary07\" }, body: 'token={token}&client_secret=canary08' } }
";
    let document = parse("x.yaml", text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let yaml = document.redacted_yaml();
    assert_clean(&yaml);
    for kept in [
        "seen-login",
        "seen-name",
        "seen-broker",
        "@proxy:3128",
        "@h:4222",
        "{token}",
    ] {
        assert!(yaml.contains(kept), "{kept} in {yaml}");
    }
    // Each alone, as whoever refuses it may repeat it.
    for n in 1..=8 {
        let canary = format!("canary{n:02}");
        assert!(
            document.secrets().contains(&canary),
            "{canary} in {:?}",
            document.secrets()
        );
    }
    // And so are they where a line of the source is shown.
    let wrong = text.replace("passcode: canary02", "passcode: canary02, pascode: x");
    let Err(report) = parse("x.yaml", &wrong, None, &options()) else {
        panic!("a wrong key was taken");
    };
    assert_clean(&report.to_string());
}
