//! Tokens at a service that checks them by another library than ours: signed by a secret and by keys, and taken from a file.

use crate::harness::Lab;
use crate::servers::{Kind, Server};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

/// Connections of a group: each pair of tenant and scope once.
const MANY: u32 = 6;

/// The service, and the folder that it leaves its keys in.
fn service() -> (Server, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    (Server::start(Kind::Tokens, &["--folder", place]), folder)
}

/// Who was let in.
fn seen(server: &Server) -> Vec<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.write_all(b"GET /seen HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    serde_json::from_str(body).unwrap()
}

fn copy(keys: &Path, lab: &Lab, name: &str) {
    std::fs::copy(keys.join(name), lab.path().join(name)).unwrap();
}

/// A group of each way to sign, whose tokens say of each connection its own user, tenant and scope.
fn signed(port: u16, keys: &Path, ways: &[(&str, &str, &str)], gates: &str) -> Lab {
    let groups: String = ways
        .iter()
        .map(|(name, way, key)| {
            format!(
                "
  {name}:
    count: {MANY}
    headers: {{ X-Index: '{{index}}' }}
    vars: {{ way: {{ cycle: [{way}] }}, user: {{ sequence: 100 }}, tenant: {{ cycle: [acme, globex, initech] }}, may: {{ cycle: [read, write] }} }}
    auth:
      jwt: {{ {key}, claims: {{ sub: 'user-{{user}}', tenant: '{{tenant}}', scope: ['{{may}}', chat] }} }}
      expires: 60s"
            )
        })
        .collect();
    let lab = Lab::new(&format!(
        "
name: signed
target: {{ url: 'ws://127.0.0.1:{port}/{{way}}' }}
clients:{groups}
phases: [ {{ name: only, for: 1s }} ]
gates: [{gates}]
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    ));
    for name in ["es256.pem", "rs256.pem", "rsa.pem"] {
        copy(keys, &lab, name);
    }
    lab
}

#[test]
fn jwts_signed_by_a_secret_or_a_key_are_good_elsewhere_and_say_each_ones_tenant_and_scope() {
    let (server, keys) = service();
    let secret = std::fs::read_to_string(keys.path().join("secret")).unwrap();
    let secret = format!("secret: '{secret}'");
    let ways = [
        ("by-secret", "hs256", secret.as_str()),
        (
            "by-ec",
            "es256",
            "algorithm: ES256, key: es256.pem, kid: ec-1",
        ),
        (
            "by-rsa",
            "rs256",
            "algorithm: RS256, key: rs256.pem, kid: rsa-1",
        ),
        (
            "by-rsa-of-old",
            "rs256",
            "algorithm: RS256, key: rsa.pem, kid: rsa-2",
        ),
    ];
    let gates = "opened == 24, failed == 0";
    let done = signed(server.port, keys.path(), &ways, gates).run(&[]);
    done.expect(0);
    let seen = seen(&server);
    assert_eq!(seen.len(), 24);
    let named = |kid: &str| {
        seen.iter()
            .filter(|one| one["header"]["kid"] == kid)
            .count()
    };
    assert_eq!(["ec-1", "rsa-1", "rsa-2"].map(named), [6; 3]);
    for one in &seen {
        let claims = &one["claims"];
        let index: usize = one["index"].as_str().unwrap().parse().unwrap();
        assert_eq!(claims["sub"], format!("user-{}", 100 + index), "{one}");
        assert_eq!(
            claims["tenant"],
            ["acme", "globex", "initech"][index % 3],
            "{one}"
        );
        let may = ["read", "write"][index % 2];
        let scope = serde_json::json!([may, "chat"]);
        assert_eq!(claims["scope"], scope, "{one}");
        let second = |name: &str| claims[name].as_u64().unwrap();
        assert_eq!(second("exp") - second("iat"), 60, "{one}");
    }
    // Each is a token of its own.
    let jti: BTreeSet<_> = seen
        .iter()
        .map(|one| one["claims"]["jti"].as_str().unwrap())
        .collect();
    assert_eq!(jti.len(), 24);
}

#[test]
fn jwts_by_another_key_are_refused() {
    let (server, _) = service();
    let (_, others) = service();
    let ways = [
        ("by-secret", "hs256", "secret: of-somebody-else"),
        ("by-ec", "es256", "algorithm: ES256, key: es256.pem"),
        ("by-rsa", "rs256", "algorithm: RS256, key: rs256.pem"),
        // The right way to sign, at who wants another.
        ("by-rsa-for-ec", "es256", "algorithm: RS256, key: rs256.pem"),
    ];
    let gates = "status 401 == 24, failed status == 24";
    let summary = signed(server.port, others.path(), &ways, gates)
        .run(&[])
        .expect(109)
        .summary();
    let gates = summary.at("/gates").as_array().unwrap();
    assert!(
        gates.iter().all(|gate| gate["status"] == "passed"),
        "{gates:?}"
    );
    assert_eq!(seen(&server).len(), 0);
}

/// Seven connections that show what stands in a file of three, at this path.
fn from_file(port: u16, path: &str, gate: &str) -> Lab {
    let lab = Lab::new(&format!(
        "
name: from-file
target: {{ url: 'ws://127.0.0.1:{port}/{path}' }}
clients:
  users:
    count: 7
    headers: {{ X-Index: '{{index}}' }}
    vars: {{ pass: {{ csv: {{ file: users.csv, column: shown }} }} }}
    auth: {{ bearer: '{{pass}}' }}
phases: [ {{ name: only, for: 1s }} ]
gates: ['{gate}']
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    ));
    let users = "user,shown\nann,canary-of-ann\nbob,canary-of-bob\ncy,\"canary, of \"\"cy\"\"\"\n";
    std::fs::write(lab.path().join("users.csv"), users).unwrap();
    lab
}

#[test]
fn each_connection_shows_its_own_row_of_a_file() {
    let (server, _keys) = service();
    from_file(server.port, "open", "opened == 7")
        .run(&[])
        .expect(0);
    let mut seen: Vec<(u64, String)> = seen(&server)
        .iter()
        .map(|one| {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            (text("index").parse().unwrap(), text("token"))
        })
        .collect();
    seen.sort();
    // Row by row, and over and over.
    let rows = ["canary-of-ann", "canary-of-bob", "canary, of \"cy\""];
    let rows = rows.into_iter().cycle().map(str::to_owned);
    assert_eq!(seen, (0..7).zip(rows).collect::<Vec<_>>());
}

/// What is shown as a token is one, whatever its column is called: a target that refuses it and repeats it tells nobody.
#[test]
fn tokens_of_a_file_that_a_target_repeats_are_in_no_output() {
    let (server, _keys) = service();
    let done = from_file(server.port, "es256", "status 401 == 7").run(&[]);
    let summary = done.expect(109).summary();
    let samples = summary.at("/samples").to_string();
    assert!(samples.contains("[redacted]"), "nothing heard: {samples}");
    let mut outputs = vec![done.stdout.clone(), done.stderr.clone()];
    for file in crate::harness::files(done.folder()) {
        outputs.push(String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned());
    }
    for text in outputs {
        assert!(!text.contains("canary"), "{text}");
    }
}
