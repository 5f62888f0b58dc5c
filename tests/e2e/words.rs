//! What a target says in its protocol's own words, against scripted servers: counted by what it is called, told, and judged.

use crate::harness::{Lab, Summary};
use serde_json::{Value, json};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept_hdr};

/// Serves every connection by `serve`, each on a thread of its own, until the test ends.
fn server(serve: fn(WebSocket<TcpStream>)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(accept(stream)));
        }
    });
    address
}

/// Accepts an upgrade, with the first of the subprotocols that are offered.
#[allow(clippy::result_large_err)] // tungstenite's signature
fn accept(stream: TcpStream) -> WebSocket<TcpStream> {
    let agree = |request: &Request, mut response: Response| {
        let name = "Sec-WebSocket-Protocol";
        let offered = request.headers().get(name).expect("subprotocols");
        let first = offered.to_str().expect("a text").split(',').next();
        let first = first.and_then(|first| first.parse().ok());
        response.headers_mut().insert(name, first.expect("one"));
        Ok(response)
    };
    accept_hdr(stream, agree).expect("an upgrade")
}

/// Ends a connection as a server should: Close, and its answer.
fn close(mut socket: WebSocket<TcpStream>) {
    let _ = socket.close(None);
    while socket.read().is_ok() {}
}

/// What became of the gates, by their text.
fn fates(summary: &Summary) -> Vec<(String, String)> {
    let gates = summary.at("/gates").as_array().expect("a list");
    let text = |gate: &Value, key: &str| gate[key].as_str().expect("a text").to_owned();
    let fate = |gate| (text(gate, "text"), text(gate, "status"));
    gates.iter().map(fate).collect()
}

/// The client's identifier says what is to become of it: `bye-8b-…` is taken and told DISCONNECT 0x8b, `no-97-…` is refused so.
fn mqtt(mut socket: WebSocket<TcpStream>) {
    let connect = socket.read().expect("CONNECT").into_data();
    let asked = String::from_utf8_lossy(&connect);
    let (taken, code) = match (asked.find("bye-"), asked.find("no-")) {
        (Some(at), _) => (true, &asked[at + 4..at + 6]),
        (_, Some(at)) => (false, &asked[at + 3..at + 5]),
        _ => panic!("who? {asked}"),
    };
    let code = u8::from_str_radix(code, 16).expect("a code");
    let connack = |code| vec![0x20, 3, 0, code, 0];
    let packets = match taken {
        true => vec![connack(0), vec![0xe0, 2, code, 0]],
        false => vec![connack(code)],
    };
    for packet in packets {
        let _ = socket.send(Message::binary(packet));
    }
    close(socket);
}

/// Each reason by which a server sends its clients away, another number of times each, so that none is taken for another.
const AWAY: [(u8, &str, u32); 5] = [
    (0x8b, "server shutting down", 1),
    (0x89, "server busy", 2),
    (0x9c, "use another server", 3),
    (0x93, "receive maximum exceeded", 4),
    (0x9f, "connection rate exceeded", 5),
];

/// Each by which it does not let them in.
const REFUSED: [(u8, &str, u32); 2] = [
    (0x97, "quota exceeded", 7),
    (0x9f, "connection rate exceeded", 6),
];

#[test]
fn reason_codes_of_mqtt_are_counted_by_name_and_judged() {
    let address = server(mqtt);
    let (mut groups, mut gates, mut expected) = (String::new(), String::new(), Vec::new());
    let mut group = |verb: &str, code: u8, count: u32| {
        let name = format!("{verb}-{code:02x}");
        groups += &format!(
            "  {name}: {{ count: {count}, protocol: {{ mqtt: {{ client_id: '{name}-{{connection}}' }} }} }}\n"
        );
        let outcome = match verb {
            "bye" => format!("errors == {count} of {name}"),
            _ => format!("failed denied == {count} of {name}"),
        };
        // By either way to write the code; and what happened is not what was not to happen.
        for (gate, fate) in [
            (outcome, "passed"),
            (format!("reason {code:#04x} == {count} of {name}"), "passed"),
            (format!("reason {code} == {count} of {name}"), "passed"),
            (format!("reason {code:#04x} == 0 of {name}"), "failed"),
            (format!("reason 0x8e == 0 of {name}"), "passed"),
        ] {
            gates += &format!("  - {gate}\n");
            expected.push((gate, fate.to_owned()));
        }
    };
    AWAY.iter()
        .for_each(|(code, _, count)| group("bye", *code, *count));
    REFUSED
        .iter()
        .for_each(|(code, _, count)| group("no", *code, *count));
    // Of both kinds together.
    gates += "  - reason 0x9f == 11\n";
    expected.push(("reason 0x9f == 11".to_owned(), "passed".to_owned()));
    let done = Lab::untimed(&format!(
        "
name: reasons
target: {{ url: 'ws://{address}/' }}
clients:
{groups}phases: [ {{ name: only, for: 1s }} ]
gates:
{gates}generator: {{ shards: 1, max_lag: 20s, max_cpu: 100% }}
"
    ))
    .run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!(fates(&summary), expected);
    let [away, refused] = [&AWAY[..], &REFUSED[..]]
        .map(|reasons| u64::from(reasons.iter().map(|(.., count)| count).sum::<u32>()));
    assert_eq!(summary.count("opened"), away);
    assert_eq!(summary.count("errors"), away);
    assert_eq!(*summary.at("/failures/denied"), json!(refused));
    // The most frequent first: whether refused or sent away, it is one reason.
    let mut reasons: Vec<(u32, u8, &str)> = vec![(11, 0x9f, "connection rate exceeded")];
    let others = AWAY
        .iter()
        .chain(&REFUSED)
        .filter(|(code, ..)| *code != 0x9f);
    reasons.extend(others.map(|(code, name, count)| (*count, *code, *name)));
    reasons.sort_by(|one, other| other.cmp(one));
    let reported: Vec<Value> = reasons
        .iter()
        .map(|(count, code, name)| json!({ "code": code, "text": name, "count": count }))
        .collect();
    assert_eq!(*summary.at("/reasons"), json!(reported));
    // In the terminal in the same order, over as many lines as that takes.
    let mut rest = &done.stdout[done.stdout.find("reasons ").expect("a line")..];
    for (count, code, name) in reasons {
        let said = format!("{code:#04x} {name} ×{count}");
        let at = rest.find(&said);
        rest = &rest[at.unwrap_or_else(|| panic!("no {said} in {}", done.stdout))..];
    }
}

/// Takes the first SEND of a connection, and answers the second by an ERROR, which in STOMP is the end. The login says whether
/// it names what it answers, as ActiveMQ's does, or not, as RabbitMQ's; `patient` hears none.
fn stomp(mut socket: WebSocket<TcpStream>) {
    let (mut login, mut sends) = (String::new(), 0);
    while let Ok(message) = socket.read() {
        let Ok(text) = message.into_text() else {
            return;
        };
        let header = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name));
            found.map(str::to_owned)
        };
        let receipt = header("receipt:").unwrap_or_default();
        let command = text.lines().next().unwrap_or_default();
        sends += u32::from(command == "SEND");
        let answer = match (command, login.as_str()) {
            ("CONNECT" | "STOMP", _) => {
                login = header("login:").expect("a login");
                "CONNECTED\nversion:1.2\n\n\0".to_owned()
            }
            ("SEND", "named") if sends == 2 => {
                format!("ERROR\nreceipt-id:{receipt}\nmessage:queue is full\n\nof 10\0")
            }
            ("SEND", "unnamed") if sends == 2 => {
                "ERROR\nmessage:access refused\n\nto /t\0".to_owned()
            }
            ("SEND" | "DISCONNECT", _) => format!("RECEIPT\nreceipt-id:{receipt}\n\n\0"),
            _ => continue,
        };
        let over = answer.starts_with("ERROR");
        let _ = socket.send(Message::text(answer));
        if over {
            return close(socket);
        }
    }
}

#[test]
fn an_error_of_stomp_on_a_connection_that_is_ready_is_counted_told_and_judged() {
    let address = server(stomp);
    let group = |name: &str, count: u32| {
        format!(
            "  {name}: {{ count: {count}, protocol: {{ stomp: {{ login: {name} }} }}, publish: {{ topic: /t, rate: 20/s }} }}\n"
        )
    };
    let groups = group("named", 2) + &group("unnamed", 3) + &group("patient", 1);
    let judged = [
        // What names its SEND is that one's refusal.
        ("rejected == 2 of named", "passed"),
        ("rejected == 0 of named", "failed"),
        ("errors == 0 of named", "passed"),
        ("acked == 2 of named", "passed"),
        // What names none is an error, and its SEND was never answered.
        ("errors == 3 of unnamed", "passed"),
        ("errors == 0 of unnamed", "failed"),
        ("rejected == 0 of unnamed", "passed"),
        ("unacked >= 3 of unnamed", "passed"),
        ("acked == 3 of unnamed", "passed"),
        ("errors == 0 of patient", "passed"),
        ("rejected == 0 of patient", "passed"),
        ("acked >= 3 of patient", "passed"),
        ("opened == 6", "passed"),
        ("closed_by_target == 5", "passed"),
        ("failed == 0", "passed"),
    ];
    let gates: String = judged
        .iter()
        .map(|(gate, _)| format!("  - {gate}\n"))
        .collect();
    let done = Lab::untimed(&format!(
        "
name: errors
target: {{ url: 'ws://{address}/' }}
clients:
{groups}phases: [ {{ name: only, for: 2s }} ]
gates:
{gates}generator: {{ shards: 1, max_lag: 20s, max_cpu: 100% }}
"
    ))
    .run(&[]);
    let summary = done.expect(99).summary();
    let judged = judged.map(|(gate, fate)| (gate.to_owned(), fate.to_owned()));
    assert_eq!(fates(&summary), judged);
    let reasons = json!([
        { "code": 0, "text": "access refused", "count": 3 },
        { "code": 0, "text": "queue is full", "count": 2 },
    ]);
    assert_eq!(*summary.at("/reasons"), reasons);
    let told = "access refused ×3 · queue is full ×2";
    assert!(done.stdout.contains(told), "{}", done.stdout);
}
