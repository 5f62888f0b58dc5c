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
