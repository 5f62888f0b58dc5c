//! `squall storm`: which way of coming back the target bears.

use crate::harness::{Lab, squall, turn};
use serde_json::Value;
use squall::transport::handshake::accept_key;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

/// Thirty who come back to a gateway that takes ten a second, and ten at once.
const STORM: &str = "
name: crowd
target: { embedded: { accept_rate: 10/s } }
clients:
  subs: { count: 30, subscribe: [t], reconnect: { backoff: no_jitter, base: 9s, cap: 9s, attempts: 50 } }
phases:
  - { name: ramp, for: 5s, open: { subs: { rate: 8/s } } }
  - name: storm
    for: 60s
    faults: [ { drop: { clients: subs, share: 100%, how: reset, after: 200ms } } ]
gates: [ 'this is another test' ]
generator: { max_lag: 50s, max_cpu: 100% }
";

/// Runs one policy, and says what it said on both outputs.
fn sweep(lab: &Lab, more: &[&str]) -> (String, String) {
    let _turn = turn();
    let output = squall()
        .current_dir(lab.path())
        .args(["storm", "scenario.yaml", "--quiet", "--shards", "1"])
        .args(["--policies", "full_jitter"])
        .args(more)
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{said}");
    (text, said)
}

/// What it left behind beside its page.
fn written(lab: &Lab, text: &str) -> Value {
    let page = text.lines().last().and_then(|line| line.split(' ').next());
    let page = lab.path().join(page.expect("the page's path"));
    assert!(
        page.ends_with("storm.html") && page.exists(),
        "{}",
        page.display()
    );
    let json = std::fs::read(page.with_file_name("storm.json")).expect("written");
    serde_json::from_slice(&json).expect("JSON")
}

/// Two runs of a ramp, a window and what comes after it: it takes half a minute.
#[test]
fn the_shortest_window_that_the_target_bears_is_recommended() {
    let lab = Lab::new(&STORM.replace("'this is another test'", "'failed == 0'"));
    let (text, said) = sweep(&lab, &["--windows", "200ms,8s"]);
    assert!(
        said.contains("storm 2 of 2: full_jitter over 8.0 s"),
        "{said}"
    );
    assert!(text.contains("recommended  full_jitter over 8 s"), "{text}");
    let sweep = written(&lab, &text);
    assert_eq!(sweep["recommended"], 1);
    assert_eq!(sweep["victims"], 30);
    let tries = sweep["tries"].as_array().expect("a list");
    // Ten of thirty are let in at once, and ten more a second: the others come again.
    assert!(tries[0]["failed"].as_u64() > Some(0), "{text}");
    let against = tries[0]["against"].as_str().expect("a text");
    assert!(against.contains("openings failed"), "{text}");
    let second = (&tries[1]["lost"], &tries[1]["back"], &tries[1]["failed"]);
    assert_eq!(second, (&30.into(), &30.into(), &0.into()), "{text}");
    assert!(
        tries[0]["peak"].as_u64() > tries[1]["peak"].as_u64(),
        "{text}"
    );
    // Each run has a report of its own.
    let reports = std::fs::read_dir(lab.path().join("reports")).expect("a folder");
    assert_eq!(reports.count(), 3);
}

/// A gateway that turns nobody away bears both; only one of them stays within what is said that it may be asked. Thirty
/// within a fifth of a second are 150 a second at least; over four seconds a tenth of one never sees half of them.
#[test]
fn a_window_that_asks_more_than_the_capacity_does_not_fit() {
    let lab = Lab::new(
        &(STORM.replace("accept_rate: 10/s", ""))
            .replace("for: 5s, open: { subs: { rate: 8/s } }", "for: 1s")
            .replace("'this is another test'", "'failed == 0'"),
    );
    let (text, _) = sweep(&lab, &["--windows", "200ms,4s", "--capacity", "149/s"]);
    assert!(text.contains("recommended  full_jitter over 4 s"), "{text}");
    let sweep = written(&lab, &text);
    assert_eq!(
        (&sweep["capacity"], &sweep["recommended"]),
        (&149.into(), &1.into())
    );
    let tries = sweep["tries"].as_array().expect("a list");
    let told = |n: usize| tries[n]["against"].as_str().expect("a text");
    assert!(told(0).ends_with(" % of capacity"), "{text}");
    assert_eq!((told(1), &tries[0]["failed"]), ("", &0.into()), "{text}");
}

#[test]
fn what_cannot_be_tried_is_known_before_anything_runs() {
    let plain = STORM.replace("'this is another test'", "");
    let twice = plain.replace("faults: [", "faults: [ { deploy: { run: ['false'] } },");
    for (text, more, told) in [
        (
            plain.as_str(),
            &["--policies", "full_jitter,fibonacci"][..],
            "fibonacci",
        ),
        (twice.as_str(), &[][..], "every try would do again"),
        (
            plain.as_str(),
            &["--clients", "pubs"][..],
            "no fault of the scenario takes connections of `pubs` away",
        ),
    ] {
        let lab = Lab::new(text);
        let output = squall()
            .current_dir(lab.path())
            .args(["storm", "scenario.yaml"])
            .args(more)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(104), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!lab.path().join("reports").exists());
    }
}

/// Takes one upgrade after the other, each in so long, and keeps all that it took. Of those that come after the first hundred it
/// refuses one with 503 and resets one, and a quarter is told that it is at node `b`; all others are at `a`.
fn one_by_one(each: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let (mut taken, mut asked) = (Vec::new(), 0);
        for mut stream in listener.incoming().flatten() {
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
                request.push(byte[0]);
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let key = |line: &str| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then(|| value.to_owned())
            };
            let Some(key) = request.lines().find_map(key) else {
                continue;
            };
            asked += 1;
            match asked {
                120 => {
                    let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
                    continue;
                }
                140 => {
                    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                    continue;
                }
                _ => {}
            }
            let second = taken.len() >= 100 && taken.len() % 4 == 3;
            let node = if second { "b" } else { "a" };
            std::thread::sleep(each);
            let _ = write!(
                stream,
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\nX-Node: {node}\r\n\r\n",
                accept_key(&key)
            );
            taken.push(stream);
        }
    });
    format!("ws://{address}/")
}

/// A target at its limit, for as long as it takes a hundred to get in, and all of them again at once. A second of that has to be
/// seen for it to be known as the target's limit.
#[test]
fn a_storm_is_held_against_what_the_target_was_seen_to_take() {
    let url = one_by_one(Duration::from_millis(20));
    let scenario = format!(
        "
name: crowd
target: {{ url: '{url}', close_timeout: 100ms }}
clients: {{ subs: {{ count: 100, protocol: raw, node: {{ header: X-Node }}, reconnect: {{ backoff: constant, base: 50ms }} }} }}
phases:
  - {{ name: open, for: 4s, open: {{ subs: all_at_once }} }}
  - {{ name: storm, for: 6s, faults: [ {{ drop: {{ clients: subs, share: 100%, how: reset }} }} ] }}
gates: [attempts peak share > 90% in storm, attempts peak share < 90% in storm, upgrade p90 > 500ms in storm, upgrade p90 < 500ms in storm]
generator: {{ max_lag: 50s, max_cpu: 100%, drain: 1s }}
"
    );
    let summary = Lab::new(&scenario).run(&[]).expect(99).summary();
    let fates = |n: usize| summary.text(&format!("/gates/{n}/status"));
    // Fifty a second at most, of which a hundred come within a tenth of one.
    assert_eq!([fates(0), fates(1)], ["passed", "failed"]);
    // Most of them wait for more than half of the two seconds that it takes all.
    assert_eq!([fates(2), fates(3)], ["passed", "failed"]);
    let storm = summary.at("/storms/0");
    assert_eq!(storm["capacity_reached"], true, "{storm}");
    let capacity = storm["capacity"].as_u64();
    assert!(capacity > Some(0) && capacity <= Some(51), "{storm}");
    assert_eq!((&storm["lost"], &storm["back"]), (&100.into(), &100.into()));
    let peak = storm["peak"].as_u64().expect("a number");
    assert!(peak > 100, "twice what it takes: {storm}");
    // One was refused and one was reset: both came again.
    let failures = serde_json::json!({ "reset": 1, "status": 1 });
    assert_eq!(storm["failures"], failures, "{storm}");
    assert_eq!(storm["attempts"], 102, "{storm}");
    // 75 of a hundred at one of two nodes, half as many again as the mean; in the whole run it is 175 of two hundred.
    assert_eq!(storm["spread"], 1.5, "{storm}");
    // The handshakes of its seconds, of which it has nearly all and the phase before has none.
    let upgrades = &storm["openings"]["upgrade"];
    assert_eq!(upgrades["count"], 100, "{storm}");
    assert_eq!(*upgrades, *summary.at("/timers_by_phase/storm/upgrade"));
    let all = summary.at("/timers/upgrade/count");
    assert_eq!(all, 200, "the first hundred are no part of it");
}
