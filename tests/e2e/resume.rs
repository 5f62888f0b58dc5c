//! Coming back: what was missed is asked for, and the account says exactly what became of each message.

use crate::harness::{Lab, Summary};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::{Error, Message, WebSocket, accept_hdr};

/// Both sums of the account, and that what was recovered was received.
fn check_sums(summary: &Summary) {
    let n = |name| summary.count(name);
    assert_eq!(n("expected"), n("unique") + n("lost") + n("missed"));
    assert_eq!(
        n("received"),
        n("unique") + n("duplicated") + n("indeterminate")
    );
    assert!(n("recovered") <= n("unique"));
    let latency = summary
        .0
        .pointer("/timers/latency/count")
        .map_or(0, |n| n.as_u64().unwrap());
    let recovery = summary
        .0
        .pointer("/timers/recovery/count")
        .map_or(0, |n| n.as_u64().unwrap());
    assert_eq!(recovery, n("recovered"));
    assert_eq!(latency + recovery, n("unique"), "each in one distribution");
    check_streams(summary);
}

/// Each message is of one stream: told apart and the rest together are all there were.
fn check_streams(summary: &Summary) {
    let worst = summary.at("/streams/worst").as_array().expect("a list");
    let rest = summary.at("/streams/rest");
    for name in [
        "expected",
        "received",
        "lost",
        "missed",
        "recovered",
        "duplicated",
        "reordered",
        "indeterminate",
        "unaccounted",
    ] {
        let of = |row: &Value| {
            row[name]
                .as_u64()
                .unwrap_or_else(|| panic!("{name}: {row}"))
        };
        let sum = worst.iter().map(of).sum::<u64>() + of(rest);
        assert_eq!(sum, summary.count(name), "{name}");
    }
    // And what went wrong with each of them is of one phase, group and fault.
    for row in worst {
        for name in WRONG {
            assert_eq!(row[name], sum_of(parts(row), name), "{name}: {row}");
        }
    }
    let published = |row: &Value| row["published"].as_u64().expect("a number");
    let sum = worst.iter().map(published).sum::<u64>() + published(rest);
    assert_eq!(sum, summary.count("sent"));
}

/// What may be said of a message but that it came.
const WRONG: [&str; 7] = [
    "lost",
    "missed",
    "recovered",
    "duplicated",
    "reordered",
    "indeterminate",
    "unaccounted",
];

/// What went wrong with a stream, by phase, group and fault.
fn parts(stream: &Value) -> impl Iterator<Item = &Value> {
    stream["parts"].as_array().expect("a list").iter()
}

fn sum_of<'a>(rows: impl Iterator<Item = &'a Value>, name: &str) -> u64 {
    rows.map(|row| {
        row[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name}: {row}"))
    })
    .sum()
}

/// Everything that was recovered or missed here is of connections that a fault cut, and of one fault each.
fn check_faults(summary: &Summary) {
    let mut sums = [0; 3];
    for fault in summary.at("/phases/1/faults").as_array().expect("a list") {
        for (sum, name) in sums.iter_mut().zip(["recovered", "missed", "lost"]) {
            *sum += fault["absence"][name]
                .as_u64()
                .unwrap_or_else(|| panic!("{fault}"));
        }
        let touched = fault["touched"].as_u64().expect("a number");
        let absence = &fault["absence"];
        let both = absence["recovered"].as_u64().unwrap() + absence["missed"].as_u64().unwrap();
        assert!(both >= touched, "each was away for a while: {fault}");
        // By stream it is the same.
        let streams = summary.at("/streams/worst").as_array().expect("a list");
        for name in &WRONG[..6] {
            let by = |part: &&Value| part["fault"] == fault["label"];
            let sum = sum_of(streams.iter().flat_map(parts).filter(by), name);
            assert_eq!(fault["absence"][name], sum, "{name}: {fault}");
        }
    }
    assert_eq!(
        sums,
        ["recovered", "missed", "lost"].map(|name| summary.count(name))
    );
}

/// A storm over three nodes and two topics: whoever was cut comes back at a node, and asks.
fn storm(history: &str, resume: bool, gates: &str) -> String {
    format!(
        "
name: storm
seed: 3
target: {{ embedded: {{ nodes: 3{history} }} }}
clients:
  subs: {{ count: 60, subscribe: [a, b], reconnect: {{ base: 300ms, resume: {resume} }} }}
  pubs: {{ count: 4, publish: [ {{ topic: a, rate: 100/s }}, {{ topic: b, rate: 50/s }} ] }}
phases:
  - {{ name: open, for: 1s }}
  - name: storm
    for: 3s
    faults:
      - drop: {{ clients: subs, share: 40%, how: reset, after: 200ms }}
      - drop: {{ clients: subs, count: 25, how: close, code: 4000, after: 1s, over: 500ms }}
      - drop: {{ clients: subs, count: 10, how: vanish, after: 2s }}
  - {{ name: calm, for: 1s }}
gates: [{gates}]
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    )
}

#[test]
fn nothing_is_missed_in_a_storm_that_is_resumed() {
    let gates = "'missed == 0', 'lost == 0', 'duplicated == 0', 'reordered == 0', 'recovered > 0', 'state_lost == 0 in storm', \
                 'service_gaps == 0'";
    let scenario = storm(", history: { messages: 1000, for: 1m }", true, gates);
    for shards in ["1", "3"] {
        let done = Lab::untimed(&scenario).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        check_sums(&summary);
        assert_eq!(summary.count("unique"), summary.count("expected"));
        assert_eq!(summary.count("cut"), 59);
        assert_eq!(summary.count("resumed"), 59);
        assert!(
            summary.count("recovered") > 59,
            "{}",
            summary.count("recovered")
        );
        check_faults(&summary);
        assert!(
            done.stdout.contains("resumed, 0 had their state lost"),
            "{}",
            done.stdout
        );
    }
}

/// Most are away for a second beside a slow consumer, and get it all: their absence is not its doing.
#[test]
fn what_is_recovered_is_no_latency_beside_a_slow_consumer() {
    let scenario = "
name: beside
seed: 3
target: { embedded: { history: { messages: 1000, for: 1m } } }
clients:
  subs: { count: 40, subscribe: [a], reconnect: { backoff: no_jitter, base: 1s, resume: true } }
  pubs: { count: 2, publish: { topic: a, rate: 50/s } }
phases:
  - { name: before, for: 2s }
  - name: slow
    for: 3s
    faults:
      - slow: { clients: subs, count: 2, pong: 1s }
      - drop: { clients: subs, share: 90%, how: reset, after: 500ms }
generator: { max_lag: 50s, max_cpu: 100% }
";
    let summary = Lab::new(scenario).run(&[]).expect(0).summary();
    assert!(summary.count("recovered") > 1000);
    let number = |at: &str| summary.at(at).as_f64().unwrap_or_else(|| panic!("{at}"));
    let during = number("/pressure/0/neighbour/during");
    let away = number("/timers/recovery/p50");
    assert!(during < away, "p99 {during} ms, away {away} ms");
}

#[test]
fn too_short_a_history_is_found() {
    let scenario = storm(
        ", history: { messages: 3 }",
        true,
        "'missed == 0', 'lost == 0', 'duplicated == 0'",
    );
    let summary = Lab::untimed(&scenario).run(&[]).expect(99).summary();
    check_sums(&summary);
    assert!(summary.count("state_lost") > 0 && summary.count("missed") > 0);
    assert_eq!(summary.count("resumed") + summary.count("state_lost"), 59);
    assert_eq!((summary.count("lost"), summary.count("duplicated")), (0, 0));
    check_faults(&summary);
    assert_eq!(
        summary.count("service_gaps"),
        0,
        "numbers of a lost state are no gaps"
    );
}

#[test]
fn an_epoch_that_was_reset_is_found() {
    let embedded = ", history: {}, misbehave: { reset_epoch_after: 2s }";
    let scenario = storm(embedded, true, "'missed == 0', 'lost == 0'");
    let summary = Lab::untimed(&scenario).run(&[]).expect(99).summary();
    check_sums(&summary);
    assert!(summary.count("state_lost") > 0 && summary.count("missed") > 0);
    assert_eq!(summary.count("lost"), 0);
}

#[test]
fn who_does_not_ask_misses() {
    let scenario = storm(", history: {}", false, "'lost == 0', 'duplicated == 0'");
    let summary = Lab::untimed(&scenario).run(&[]).expect(0).summary();
    check_sums(&summary);
    assert!(summary.count("missed") > 59);
    check_faults(&summary);
    let asked = ["resumed", "state_lost", "recovered"].map(|name| summary.count(name));
    assert_eq!(asked, [0, 0, 0]);
}

/// Whoever is given up in a partition, by itself or by the target, misses by the partition's doing.
#[test]
fn what_a_partition_made_them_miss_is_its_doing() {
    for (resume, outcome) in [(false, "missed"), (true, "recovered")] {
        let scenario = format!(
            "
name: parted
seed: 3
target: {{ embedded: {{ history: {{ messages: 1000, for: 1m }}, ping: {{ every: 500ms, timeout: 1s }} }} }}
clients:
  beating: {{ count: 5, subscribe: [a], heartbeat: {{ every: 200ms, timeout: 300ms }}, reconnect: {{ base: 100ms, resume: {resume} }} }}
  patient: {{ count: 7, subscribe: [a], reconnect: {{ base: 100ms, resume: {resume} }} }}
  pubs: {{ count: 2, publish: {{ topic: a, rate: 100/s }} }}
phases:
  - {{ name: open, for: 1s }}
  - name: parted
    for: 4s
    faults:
      - partition: {{ clients: beating, for: 3s }}
      - partition: {{ clients: patient, for: 3s }}
  - {{ name: calm, for: 1s }}
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
        );
        let summary = Lab::untimed(&scenario)
            .run(&["--shards", "2"])
            .expect(0)
            .summary();
        check_sums(&summary);
        check_faults(&summary);
        for (fault, victims) in [(0, 5), (1, 7)] {
            let absence = summary.at(&format!("/phases/1/faults/{fault}/absence"));
            let sum = absence[outcome].as_u64().expect("a number");
            assert!(sum > 10 * victims, "{outcome}: {absence}");
        }
    }
}

/// What the service does to each subscriber, by its own numbers. None is dropped within half a second of the way back: one
/// that was published before the connection was ready again, on a machine that is busy, was rightly missed and not lost.
const DROPPED: [usize; 7] = [20, 41, 55, 130, 135, 146, 245];
const DOUBLED: [usize; 3] = [30, 50, 100];
const SWAPPED: [usize; 2] = [45, 110];
/// Behind these it cuts the connection; it takes it back after as many more, and after the second in another epoch.
const CUTS: [usize; 2] = [60, 160];
const AWAY: usize = 10;
const SUBSCRIBERS: usize = 8;
const PUBLISHED: u64 = 250;

/// What the threads of the service share.
#[derive(Default)]
struct Service {
    /// Payloads; the number of the first is 1.
    published: Vec<String>,
    /// By subscriber: how often it was cut.
    cut: HashMap<String, usize>,
}

/// A service of one topic, which does exactly the above.
fn service(cuts: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let service = Arc::new(Mutex::new(Service::default()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let service = Arc::clone(&service);
            std::thread::spawn(move || serve(stream, &service, cuts));
        }
    });
    address
}

/// Serves one connection until it ends.
fn serve(stream: TcpStream, service: &Mutex<Service>, cuts: bool) {
    let mut who = String::new();
    #[expect(clippy::result_large_err, reason = "the library's own signature")]
    let name = |request: &Request, response: Response| {
        who = request.uri().query().unwrap_or_default().to_owned();
        Ok(response)
    };
    let mut socket = accept_hdr(stream, name).expect("an upgrade");
    // Reading is how the loop passes its time.
    let tick = Some(Duration::from_millis(2));
    socket.get_ref().set_read_timeout(tick).expect("a timeout");
    let life = *service.lock().unwrap().cut.entry(who.clone()).or_default();
    let mut asked = None;
    let mut next = None;
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let message: Value = serde_json::from_str(&text).expect("JSON");
                if message["type"] == "publish" {
                    let payload = message["payload"].as_str().expect("a text").to_owned();
                    service.lock().unwrap().published.push(payload);
                } else {
                    asked = Some(message);
                }
            }
            Ok(_) => {}
            Err(Error::Io(e)) if matches!(e.kind(), std::io::ErrorKind::WouldBlock) => {}
            Err(_) => return,
        }
        let published = service.lock().unwrap().published.clone();
        if let Some(message) =
            asked.take_if(|_| life == 0 || published.len() >= CUTS[life - 1] + AWAY)
        {
            next = Some(acknowledge(&mut socket, life, &message, published.len()));
        }
        let Some(next) = &mut next else { continue };
        while *next <= published.len() {
            if SWAPPED.contains(next) && *next == published.len() {
                break;
            }
            let mut numbers = vec![*next; usize::from(!DROPPED.contains(next))];
            if DOUBLED.contains(next) {
                numbers.push(*next);
            } else if SWAPPED.contains(next) {
                numbers.insert(0, *next + 1);
            }
            for number in &numbers {
                let payload = &published[number - 1];
                let message =
                    json!({"type": "message", "topic": "t", "seq": number, "payload": payload});
                socket
                    .send(Message::text(message.to_string()))
                    .expect("written");
            }
            *next += 1 + usize::from(SWAPPED.contains(next));
            if cuts && CUTS.get(life) == Some(&(*next - 1)) {
                service.lock().unwrap().cut.insert(who, life + 1);
                return;
            }
        }
    }
}

/// Answers a subscription; the first number that follows.
fn acknowledge(
    socket: &mut WebSocket<TcpStream>,
    life: usize,
    message: &Value,
    published: usize,
) -> usize {
    let epoch = if life < 2 { "one" } else { "two" };
    let mut ack = json!({"type": "subscribed", "topic": "t", "epoch": epoch, "seq": published});
    let mut next = published + 1;
    if life > 0 {
        // Those that are not there any more; what has come since is.
        let cut = CUTS[life - 1];
        next = cut + AWAY + 1;
        ack["seq"] = json!(next - 1);
        if message["since"] != Value::Null {
            // It has the last one, in the epoch that was told.
            assert_eq!(
                (&message["since"], &message["epoch"]),
                (&json!(cut), &json!("one")),
                "{message}"
            );
            ack["recovered"] = json!(life < 2);
            if life < 2 {
                next = cut + 1;
            }
        }
    }
    socket
        .send(Message::text(ack.to_string()))
        .expect("written");
    next
}

/// Runs subscribers and a publisher against it; the counts that it is about, for each subscriber.
fn account(cuts: bool, resume: bool, shards: &str) -> (Summary, HashMap<&'static str, f64>) {
    let address = service(cuts);
    let scenario = format!(
        "
name: account
target: {{ url: 'ws://{address}/?{{connection}}' }}
clients:
  subs: {{ count: {SUBSCRIBERS}, subscribe: [t], reconnect: {{ backoff: no_jitter, base: 20ms, resume: {resume} }} }}
  pub: {{ count: 1, publish: {{ topic: t, rate: 100/s, in: steady }} }}
phases:
  - {{ name: open, for: 1s }}
  - {{ name: steady, for: 2500ms }}
generator: {{ max_lag: 50s, max_cpu: 100%, drain: 2s }}
"
    );
    let summary = Lab::untimed(&scenario)
        .run(&["--shards", shards])
        .expect(0)
        .summary();
    check_sums(&summary);
    assert_eq!(summary.count("sent"), PUBLISHED);
    let names = [
        "expected",
        "lost",
        "missed",
        "duplicated",
        "reordered",
        "indeterminate",
        "unaccounted",
        "misrouted",
        "reconnected",
        "resumed",
        "state_lost",
        "service_gaps",
    ];
    let each = names.map(|name| (name, summary.count(name) as f64 / SUBSCRIBERS as f64));
    (
        summary,
        each.into_iter().filter(|(_, n)| *n != 0.0).collect(),
    )
}

/// Seven dropped, three doubled, two swapped and one epoch reset are reported as exactly that.
#[test]
fn what_a_service_did_is_reported_as_exactly_that() {
    check_account("1");
}

#[test]
fn and_on_four_shards_as_well() {
    check_account("4");
}

fn check_account(shards: &str) {
    let expected = PUBLISHED as f64;
    let always = [
        ("expected", expected),
        ("lost", 7.0),
        ("duplicated", 3.0),
        ("reordered", 2.0),
        ("service_gaps", 7.0),
    ];
    let (summary, each) = account(false, true, shards);
    assert_eq!(
        each,
        HashMap::from(always),
        "without reconnects, {shards} shards"
    );
    assert_eq!(summary.count("recovered"), 0);

    let stream = |summary: &Summary| summary.at("/streams/worst/0").clone();
    let all = SUBSCRIBERS as u64;
    let row = json!({
        "group": "pub", "publisher": 0, "publish": 0, "topic": "t", "published": PUBLISHED,
        "expected": PUBLISHED * all, "received": (PUBLISHED - 7 + 3) * all, "lost": 7 * all, "missed": 0,
        "recovered": 0, "duplicated": 3 * all, "reordered": 2 * all, "indeterminate": 0, "unaccounted": 0,
        "parts": [{
            "phase": "steady", "group": "subs", "fault": null, "lost": 7 * all, "missed": 0, "recovered": 0,
            "duplicated": 3 * all, "reordered": 2 * all, "indeterminate": 0, "unaccounted": 0,
        }],
    });
    assert_eq!(stream(&summary), row, "{shards} shards");

    let (summary, each) = account(true, true, shards);
    let mut resumed = HashMap::from(always);
    let more = [
        ("missed", 10.0),
        ("reconnected", 2.0),
        ("resumed", 1.0),
        ("state_lost", 1.0),
    ];
    resumed.extend(more);
    assert_eq!(each, resumed, "resumed, {shards} shards");
    // Those of the first absence, and the few that were sent while it was answered.
    let recovered = summary.count("recovered") as usize;
    assert!(recovered >= AWAY * SUBSCRIBERS, "{recovered}");

    let (summary, each) = account(true, false, shards);
    let mut anew = HashMap::from(always);
    anew.extend([("missed", 20.0), ("reconnected", 2.0)]);
    assert_eq!(each, anew, "subscribed anew, {shards} shards");
    assert_eq!(summary.count("recovered"), 0);
}
