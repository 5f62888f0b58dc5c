//! The presets against what speaks their protocols. graphql-transport-ws, JSON-RPC and Action Cable: servers nobody here wrote (npm
//! `graphql-ws` and `rpc-websockets`, Rails). Phoenix, Centrifugo and Pusher, whose servers no registry here has: a server of
//! ours, which their own clients from npm hold to the protocol in the same run, by working with it and by sending what squall sends.

use crate::lab_at;
use crate::servers::{Kind, Server};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ten subscribers, 100 messages, each to all; one that asks 40 times.
const GRAPHQL: &str = r#"
name: graphql
target: { url: TARGET }
clients:
  subscribers: { count: 10, protocol: graphql_transport_ws, subscribe: [news], heartbeat: { every: 300ms, timeout: 5s } }
  publishers: { count: 2, protocol: graphql_transport_ws, publish: { topic: news, rate: 50/s, in: steady } }
  askers:
    count: 1
    protocol: graphql_transport_ws
    request:
      send: '{"id":"{id}","type":"subscribe","payload":{"query":"query ($p: String!) { echo(payload: $p) }","variables":{"p":"{payload}"}}}'
      reply: { id: /id }
      rate: 20/s
      in: steady
phases: [ { name: ramp, for: 1s }, { name: steady, for: 2s } ]
gates: [ opened == 13, failed == 0, lost == 0, duplicated == 0, received == 1000, replies == 40, errors == 0 ]
generator: { shards: 1, max_lag: 2s }
"#;

/// The same by methods of this server's own.
const RPC: &str = r#"
name: rpc
target: { url: TARGET }
clients:
  subscribers:
    count: 10
    protocol:
      preset:
        name: json_rpc
        mapping:
          subscribe: '{"jsonrpc":"2.0","id":{id},"method":"rpc.on","params":["{topic}"]}'
          topic: /notification
    subscribe: [news]
  publishers: { count: 2, protocol: json_rpc, publish: { topic: news, rate: 50/s, in: steady } }
  askers:
    count: 1
    protocol: json_rpc
    request: { send: '{"jsonrpc":"2.0","id":{id},"method":"echo","params":["{payload}"]}', reply: { id: /id }, rate: 20/s, in: steady }
phases: [ { name: ramp, for: 1s }, { name: steady, for: 2s } ]
gates: [ opened == 13, failed == 0, lost == 0, duplicated == 0, received == 1000, replies == 40, errors == 0 ]
generator: { shards: 1, max_lag: 2s }
"#;

/// Long enough for the server's pings, each 3 s, to be what keeps those alive who are told nothing.
const ACTION_CABLE: &str = r#"
name: cable
target: { url: TARGET }
clients:
  subscribers: { count: 10, protocol: action_cable, subscribe: ['{"channel":"ChatChannel","room":"red"}'] }
  idle: { count: 2, protocol: action_cable, subscribe: ['{"channel":"ChatChannel","room":"blue"}'] }
  publishers:
    count: 2
    protocol: action_cable
    subscribe: ['{"channel":"ChatChannel","room":"red"}']
    publish: { topic: '{"channel":"ChatChannel","room":"red"}', rate: 50/s, in: steady }
phases: [ { name: ramp, for: 1s }, { name: steady, for: 2s }, { name: idle, for: 6s } ]
gates: [ opened == 14, failed == 0, lost == 0, duplicated == 0, received == 1200, errors == 0 ]
generator: { shards: 1, max_lag: 2s }
"#;

#[test]
fn graphql_transport_ws_against_graphql_ws() {
    // It pings each 500 ms, and closes whoever does not answer.
    let server = Server::start(Kind::Graphql, &["--ping", "500"]);
    let done = lab_at(GRAPHQL, server.port, "ws://127.0.0.1:PORT/graphql").run(&[]);
    done.expect(0);
    let summary = done.summary();
    assert!(summary.number("/timers/ping/count") > 10.0);
    assert!(summary.number("/counts/pings_answered") > 10.0);
}

#[test]
fn json_rpc_against_rpc_websockets() {
    let server = Server::start(Kind::Rpc, &[]);
    lab_at(RPC, server.port, "ws://127.0.0.1:PORT/")
        .run(&[])
        .expect(0);
    // An event that it does not have is refused by name.
    let unknown = RPC.replace("subscribe: [news]", "subscribe: [nothing]");
    let gates = "gates: [ failed denied == 10, opened == 3 ]";
    let unknown = with_gates(&unknown, gates);
    // It answers such a subscription with a result that says so, not with an error: see the server.
    let own = unknown.replace(
        "topic: /notification",
        "topic: /notification\n          refused: { contains: 'provided event invalid' }\n          subscribed: { when: { contains: '\"ok\"' } }",
    );
    lab_at(&own, server.port, "ws://127.0.0.1:PORT/")
        .run(&[])
        .expect(0);
}

#[test]
fn action_cable_against_rails() {
    let server = Server::start(Kind::ActionCable, &[]);
    let target = "ws://127.0.0.1:PORT/cable";
    lab_at(ACTION_CABLE, server.port, target).run(&[]).expect(0);
    // A room without a name is rejected by the channel.
    let rejected = ACTION_CABLE.replace(r#""room":"blue""#, r#""room":"""#);
    let rejected = with_gates(
        &rejected,
        "gates: [ failed denied == 2, opened == 12, lost == 0 ]",
    );
    lab_at(&rejected, server.port, target).run(&[]).expect(0);
}

fn with_gates(scenario: &str, gates: &str) -> String {
    let line = |line: &str| match line.starts_with("gates:") {
        true => format!("{gates}\n"),
        false => format!("{line}\n"),
    };
    scenario.lines().map(line).collect()
}

/// One of a protocol's own clients, at work beside squall.
struct Official(Child, BufReader<std::process::ChildStdout>);

impl Official {
    fn start(protocol: &str, port: u16) -> Official {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/official.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .args([protocol, &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node");
        let out = BufReader::new(child.stdout.take().expect("piped"));
        let mut official = Official(child, out);
        assert_eq!(official.line(), "ready", "{protocol}");
        official
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.1.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// How many messages it got of what squall published.
    fn end(mut self) -> u64 {
        drop(self.0.stdin.take());
        let got = self.line().parse().expect("a number");
        self.0.wait().expect("ended");
        got
    }
}

/// What squall and the protocol's own client sent, by shape.
fn shapes(port: u16) -> (Vec<String>, Vec<String>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the server");
    stream
        .write_all(b"GET /shapes HTTP/1.0\r\n\r\n")
        .expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    let all: Value = serde_json::from_str(body).expect("JSON");
    let of = |who: &str| {
        let list = all[who].as_array().expect("a list").iter();
        list.map(|each| each.as_str().expect("text").to_owned())
            .collect()
    };
    (of("squall"), of("official"))
}

const BESIDE: &str = r#"
name: beside
target: { url: TARGET }
clients:
  subscribers:
    count: 10
    protocol: PRESET
    subscribe: [news]
    heartbeat: { every: 300ms, timeout: 5s }
  publishers:
    count: 2
    protocol: PRESET
    subscribe: [news]
    publish: { topic: news, rate: 50/s, in: steady }
  unwanted: { count: 1, protocol: PRESET, subscribe: [forbidden] }
phases: [ { name: ramp, for: 1s }, { name: steady, for: 2s } ]
gates: [ opened == 12, failed denied == 1, lost == 0 of subscribers, duplicated == 0, received == 1000 of subscribers, errors == 0, unstamped > 0 ]
generator: { shards: 1, max_lag: 2s }
"#;

/// Runs squall beside the protocol's own client against our server of it; what squall sent that the client does not.
fn beside(protocol: &str, target: &str) -> Vec<String> {
    let server = Server::start(Kind::Dialects, &[protocol]);
    let official = Official::start(protocol, server.port);
    let text = BESIDE.replace("PRESET", protocol);
    let done = lab_at(&text, server.port, target).run(&[]);
    done.expect(0);
    assert_eq!(official.end(), 100, "{protocol}");
    let (squall, official) = shapes(server.port);
    assert!(squall.len() >= 3, "{squall:?}");
    squall
        .into_iter()
        .filter(|each| !official.contains(each))
        .collect()
}

#[test]
fn phoenix_beside_its_own_client() {
    let target = "ws://127.0.0.1:PORT/socket/websocket?vsn=2.0.0&agent=squall";
    // Which join a push belongs to its client says, and the server does not ask.
    assert_eq!(
        beside("phoenix", target),
        [r#"[null,"text","text","new_msg",{"body":"text"}]"#]
    );
}

#[test]
fn centrifugo_beside_its_own_client() {
    let target = "ws://127.0.0.1:PORT/connection/websocket?agent=squall";
    // `flag` is an optional one of its client's.
    assert_eq!(
        beside("centrifugo", target),
        [r#"{"id":"number","subscribe":{"channel":"text","positioned":true,"recoverable":true}}"#]
    );
}

#[test]
fn pusher_beside_its_own_client() {
    let target = "ws://127.0.0.1:PORT/app/key?protocol=7&client=squall&version=1&agent=squall";
    // Its client sends an empty `auth` for public channels.
    assert_eq!(
        beside("pusher", target),
        [r#"{"data":{"channel":"text"},"event":"pusher:subscribe"}"#]
    );
}

/// What was published while they were away comes inside the acknowledgement, and all of it.
#[test]
fn centrifugo_recovers_by_offset_and_epoch() {
    let server = Server::start(Kind::Dialects, &["centrifugo"]);
    let text = r#"
name: recovery
target: { url: TARGET }
clients:
  subscribers:
    count: 10
    protocol: centrifugo
    subscribe: [news, more]
    reconnect: { base: 100ms, cap: 200ms, resume: true }
  publishers:
    count: 2
    protocol: centrifugo
    publish:
      - { topic: news, rate: 50/s, in: [steady, cut] }
      - { topic: more, rate: 50/s, in: [steady, cut] }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 1s }
  - { name: cut, for: 2s, faults: [ { drop: { clients: subscribers, share: 100%, how: reset, over: 500ms } } ] }
gates: [ reconnected == 10, resumed == 10, recovered > 0, received == 3000, lost == 0, missed == 0, duplicated == 0, service_gaps == 0, errors == 0 ]
generator: { shards: 1, max_lag: 2s }
"#;
    let target = "ws://127.0.0.1:PORT/connection/websocket?agent=squall";
    lab_at(text, server.port, target).run(&[]).expect(0);
}
