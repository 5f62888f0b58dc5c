//! Two gateways that share a Redis server are one service: when one is killed, its clients resume at the other.

use crate::fails_only;
use crate::harness::{Lab, squall};
use crate::servers::{self, Ends};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// A Redis server with nothing in it, on a port of its own.
fn redis(folder: &std::path::Path) -> (Ends, u16) {
    let arguments = |command: &mut Command, port: u16| {
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]);
        command.arg(folder);
    };
    servers::on_free_port("redis-server", arguments, answers)
}

/// Whether a Redis server takes commands there.
fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let mut answer = [0; 7];
    stream.write_all(b"PING\r\n").is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"+PONG\r\n"
}

/// A gateway with its history in the store.
fn gateway(store: u16, messages: &str) -> (Ends, SocketAddr) {
    let store = format!("redis://127.0.0.1:{store}/3");
    servers::gateway(&["--history", messages, "--history-store", &store])
}

/// What stands before both: subscribers are led to the first while it is there, all others to the second.
fn balancer(first: SocketAddr, second: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = [0; 12];
                while client
                    .peek(&mut head)
                    .is_ok_and(|n| 0 < n && n < head.len())
                {}
                let server = match &head {
                    b"GET /ws/subs" => {
                        TcpStream::connect(first).or_else(|_| TcpStream::connect(second))
                    }
                    _ => TcpStream::connect(second),
                };
                let Ok(server) = server else { return };
                let (ours, theirs) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(ours, theirs));
                pass(server, client);
            });
        }
    });
    address
}

/// Passes bytes on in one direction until its end, which is passed on too.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn clients_of_a_gateway_that_is_killed_resume_at_another() {
    let folder = tempfile::tempdir().unwrap();
    let (redis, store) = redis(folder.path());
    let (one, first) = gateway(store, "1000");
    let (mut other, second) = gateway(store, "1000");
    let address = balancer(first, second);
    let lab = Lab::new(&format!(
        "
name: shared
target: {{ url: 'ws://{address}/ws/{{group}}' }}
clients:
  subs: {{ count: 40, subscribe: [a, b], reconnect: {{ base: 300ms, resume: true }} }}
  pubs: {{ count: 2, publish: [ {{ topic: a, rate: 100/s, in: [steady, killed] }}, {{ topic: b, rate: 50/s, in: [steady, killed] }} ] }}
phases:
  - {{ name: open, for: 1s }}
  - {{ name: steady, for: 1s }}
  - {{ name: killed, for: 3s }}
gates: ['lost == 0', 'missed == 0', 'duplicated == 0', 'reordered == 0', 'state_lost == 0', 'service_gaps == 0', 'resumed == 40', 'recovered > 0', 'recovered == 0']
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    ));
    let run = lab.start(&[]);
    run.wait_for_phase("killed");
    one.end(Signal::SIGKILL);
    let done = run.wait();
    let summary = fails_only(&done, "recovered == 0");
    assert_eq!(summary.count("expected"), summary.count("sent") * 40);
    assert_eq!(summary.count("unique"), summary.count("expected"));
    assert!(summary.count("sent") > 500, "{}", summary.count("sent"));

    // Without its store a gateway is nothing, and says so.
    drop(redis);
    let mut said = String::new();
    let mut stderr = other.0.stderr.take().expect("piped");
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("the store failed"), "{said}");
    assert!(!other.0.wait().unwrap().success());
}

#[test]
fn a_store_that_is_not_there_is_told() {
    let port = servers::free_port();
    let output = squall()
        .args(["gateway", "--history", "10", "--history-store"])
        .arg(format!("redis://127.0.0.1:{port}/0"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains(&format!("the store failed: 127.0.0.1:{port}")),
        "{said}"
    );
}

/// A client of a gateway, message by message.
struct Client(WebSocket<TcpStream>);

impl Client {
    fn at(gateway: SocketAddr) -> Client {
        let stream = TcpStream::connect(gateway).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Client(
            client(format!("ws://{gateway}/"), stream)
                .expect("an upgrade")
                .0,
        )
    }

    fn ask(&mut self, message: Value) -> Value {
        self.0.send(Message::text(message.to_string())).unwrap();
        self.next()
    }

    fn next(&mut self) -> Value {
        match self.0.read().expect("a message") {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, since: Option<(u64, &str)>) -> Value {
        let mut message = json!({"type": "subscribe", "topic": "t", "id": 1});
        if let Some((since, epoch)) = since {
            message["since"] = json!(since);
            message["epoch"] = json!(epoch);
        }
        self.ask(message)
    }

    fn publish(&mut self, number: u64) {
        let ack =
            self.ask(json!({"type": "publish", "topic": "t", "id": 1, "payload": {"n": number}}));
        assert_eq!(
            (&ack["type"], &ack["seq"]),
            (&json!("published"), &json!(number))
        );
    }
}

#[test]
fn the_store_answers_as_a_gateway_of_its_own_would() {
    let folder = tempfile::tempdir().unwrap();
    let (_redis, store) = redis(folder.path());
    let (_one, first) = gateway(store, "3");
    let (_other, second) = gateway(store, "3");
    let ack = Client::at(first).subscribe(None);
    assert_eq!((&ack["seq"], &ack["recovered"]), (&json!(0), &Value::Null));
    let epoch = ack["epoch"].as_str().unwrap().to_owned();
    let mut publisher = Client::at(first);
    for number in 1..=5 {
        publisher.publish(number);
    }
    let mut client = Client::at(second);
    let ack = client.subscribe(Some((2, &epoch)));
    assert_eq!(
        (&ack["recovered"], &ack["seq"], &ack["epoch"]),
        (&json!(true), &json!(5), &json!(epoch))
    );
    publisher.publish(6);
    for number in 3..=6 {
        let message = client.next();
        assert_eq!(
            (&message["seq"], &message["payload"]["n"]),
            (&json!(number), &json!(number))
        );
    }
    for (since, epoch, recovered) in [
        (6, &*epoch, true),
        (3, &epoch, true),
        (2, &epoch, false),
        (7, &epoch, false),
        (6, "other", false),
    ] {
        let ack = Client::at(second).subscribe(Some((since, epoch)));
        assert_eq!(ack["recovered"], recovered, "{since} {epoch}: {ack}");
    }
    // A store that has forgotten everything begins another epoch.
    let mut redis = TcpStream::connect(("127.0.0.1", store)).unwrap();
    redis.write_all(b"FLUSHALL\r\n").unwrap();
    let mut answer = [0; 5];
    redis.read_exact(&mut answer).unwrap();
    let ack = Client::at(first).subscribe(Some((6, &epoch)));
    assert_eq!((&ack["recovered"], &ack["seq"]), (&json!(false), &json!(0)));
    assert_eq!(Client::at(second).subscribe(None)["epoch"], ack["epoch"]);
}
