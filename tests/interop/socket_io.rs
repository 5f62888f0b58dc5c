//! npm `socket.io`: rooms, acknowledgements, attachments, its own pings, and connection state recovery.

use crate::harness::{Lab, Summary};
use crate::servers::{Kind, Server, certificates, on_free_port};
use crate::{TLS, fails_only, lab, lab_at};
use nix::sys::signal::Signal;
use std::net::TcpStream;
use std::process::Command;

const TARGET: &str = "ws://127.0.0.1:PORT";

/// 20 subscribers and 2 publishers in two rooms: each publish reaches 10, 300 publishes in all.
const ROOMS: &str = r#"
name: socket-io
target: { url: TARGET }
clients:
  subscribers:
    count: 20
    vars: { room: { cycle: [red, blue] } }
    subscribe: ["{room}/news", everybody]
    protocol: PROTOCOL
  publishers:
    count: 2
    vars: { room: { cycle: [red, blue] } }
    publish: { topic: "{room}/news", rate: 150/s, in: steady }
    protocol: PROTOCOL
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 22
  - failed == 0
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - received == 3000
  - acked == 300
  - rejected == 0
  - unacked == 0
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
"#;

fn rooms(server: &Server, protocol: &str) -> Lab {
    lab(&ROOMS.replace("PROTOCOL", protocol), server, TARGET)
}

/// Every message was delivered to all it was owed to, once, and acknowledged.
fn all_delivered(summary: &Summary) {
    for (counter, expected) in [
        ("offered", 300),
        ("sent", 300),
        ("dropped", 0),
        ("cancelled", 0),
        ("expected", 3000),
        ("received", 3000),
        ("unique", 3000),
        ("missed", 0),
        ("unstamped", 0),
        ("misrouted", 0),
        ("acked", 300),
        ("errors", 0),
    ] {
        assert_eq!(summary.count(counter), expected, "{counter}");
    }
    assert_eq!(summary.number("/timers/latency/count"), 3000.0);
    assert_eq!(summary.number("/timers/ack/count"), 300.0);
}

#[test]
fn everything_is_delivered_and_acknowledged_exactly() {
    // With so many pings, one that is not answered ends its connection long before the run does.
    let server = Server::start(Kind::SocketIo, &["--ping", "100"]);
    let done = rooms(&server, "socket_io").run(&[]);
    done.expect(0);
    all_delivered(&done.summary());
    // And a gate that does not hold fails the run.
    let scenario = ROOMS.replace("PROTOCOL", "socket_io");
    let scenario = scenario.replace("acked == 300", "acked == 299");
    lab(&scenario, &server, TARGET).run(&[]).expect(99);
}

#[test]
fn attachments_in_a_namespace_that_asks_who_comes() {
    let server = Server::start(Kind::SocketIo, &["--token", "t-1", "--recovery", "10000"]);
    let protocol = "{ socket_io: { namespace: /inner, binary: true, auth: { token: t-1 } } }";
    let done = rooms(&server, protocol).run(&[]);
    done.expect(0);
    all_delivered(&done.summary());
}

#[test]
fn what_begins_by_polling_is_upgraded() {
    let server = Server::start(Kind::SocketIo, &["--ping", "400", "--recovery", "30000"]);
    for way in ["upgrade", "handshake"] {
        let done = rooms(&server, &format!("{{ socket_io: {{ polling: {way} }} }}")).run(&[]);
        done.expect(0);
        let summary = done.summary();
        all_delivered(&summary);
        assert_eq!(
            (summary.count("polled"), summary.count("upgraded")),
            (22, 22),
            "{way}"
        );
        assert_eq!(summary.number("/timers/switch/count"), 22.0);
    }
    // And comes back so, to the session that was.
    let summary = dropped_in(&by_polling("true"), &server, true, "upgraded share == 100%");
    assert_eq!((summary.count("resumed"), summary.count("missed")), (20, 0));
}

/// Subscribers come one after the other while everything is published: most are upgraded between two messages of theirs, and
/// some with one under way. Whatever is due to them by then comes, once and in order.
#[test]
fn an_upgrade_under_traffic_loses_and_doubles_nothing() {
    let server = Server::start(Kind::SocketIo, &["--ping", "400"]);
    let scenario = (ROOMS.replace("PROTOCOL", "{ socket_io: { polling: true } }"))
        .replace(
            "{ name: ramp, for: 1s }",
            "{ name: ramp, for: 1s, open: { publishers: all_at_once } }",
        )
        .replace(
            "{ name: steady, for: 2s }",
            "{ name: steady, for: 2s, open: { subscribers: { stages: [{ to: 20, over: 1s }] } } }",
        )
        .replace("rate: 150/s", "rate: 600/s")
        .replace(
            "  - received == 3000\n  - acked == 300\n",
            "  - unique > 6000\n  - acked == 1200\n",
        );
    let done = lab(&scenario, &server, TARGET).run(&[]);
    done.expect(0);
    let summary = done.summary();
    let count = |name: &str| summary.count(name);
    assert_eq!((count("polled"), count("upgraded")), (22, 22));
    assert_eq!(count("unique"), count("expected"));
    assert_eq!((count("missed"), count("unaccounted")), (0, 0));
}

/// Those that are cut off and come back, by polling in this way.
fn by_polling(way: &str) -> String {
    let protocol = format!("protocol: {{ socket_io: {{ polling: {way} }} }}");
    DROPPED.replace("protocol: socket_io", &protocol)
}

#[test]
fn what_stays_on_polling_is_delivered_acknowledged_and_recovered() {
    let server = Server::start(Kind::SocketIo, &["--ping", "400", "--recovery", "30000"]);
    for protocol in [
        "{ socket_io: { polling: only } }",
        "{ socket_io: { polling: only, namespace: /inner, binary: true } }",
    ] {
        let done = rooms(&server, protocol).run(&[]);
        done.expect(0);
        let summary = done.summary();
        all_delivered(&summary);
        assert_eq!(
            (summary.count("polled"), summary.count("upgraded")),
            (22, 0)
        );
        // Whatever comes is an answer, and another GET follows it.
        assert!(summary.number("/timers/gap/count") > 22.0 * 8.0);
    }
    // Who is cut between two GETs is missed by the server when it does not answer a ping, 1.2 s later at most.
    let scenario = by_polling("only").replace("base: 1s", "base: 2s");
    let summary = dropped_in(&scenario, &server, true, "missed == 0");
    assert_eq!(
        (summary.count("resumed"), summary.count("state_lost")),
        (20, 0)
    );
    assert!(summary.count("recovered") > 500);
}

/// Half of those that poll read their answers slowly for a while: the server keeps what they have not asked for, and all of it
/// comes, late.
#[test]
fn whoever_reads_polls_slowly_gets_everything_late() {
    let server = Server::start(Kind::SocketIo, &[]);
    let late = "latency max < 400ms in steady";
    let slow = "{ name: steady, for: 2s, faults: [ { slow: { clients: subscribers, share: 50%, read: 2KiB/s, for: 1500ms } } ] }\n  - { name: rest, for: 2s }";
    let scenario = ROOMS
        .replace("PROTOCOL", "{ socket_io: { polling: only } }")
        .replace("{ name: steady, for: 2s }", slow)
        .replace(
            "generator:",
            &format!("  - closed_by_target == 0\n  - {late}\ngenerator:"),
        );
    let done = lab(&scenario, &server, TARGET).run(&[]);
    let summary = fails_only(&done, late);
    all_delivered(&summary);
    let fault = summary.at("/phases/1/faults/0");
    assert_eq!(fault["touched"], 10, "{fault}");
    let unread = fault["effects"]["unread"].as_u64();
    assert!(unread > Some(0), "{fault}");
    // What it had to wait for was published soon after its beginning, and read when it was over.
    let most = summary.number("/timers_by_phase/steady/latency/max");
    assert!(most > 700.0, "{most}");
}

#[test]
fn where_no_websocket_is_served_all_stay_on_polling_and_are_counted() {
    let server = Server::start(Kind::SocketIo, &["--transports", "polling"]);
    let done = rooms(&server, "{ socket_io: { polling: true } }").run(&[]);
    done.expect(0);
    let summary = done.summary();
    all_delivered(&summary);
    let stuck = summary.count("stuck_unoffered");
    assert_eq!((summary.count("polled"), stuck), (22, 22));
    assert_eq!(summary.count("upgraded"), 0);
}

#[test]
fn polls_posts_and_upgrades_go_over_tls_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let server = Server::start(
        Kind::SocketIo,
        &["--ping", "400", "--cert", &cert, "--key", &key],
    );
    let scenario = |way: &str| {
        ROOMS.replace(
            "PROTOCOL",
            &format!("{{ socket_io: {{ polling: {way} }} }}"),
        )
    };
    let over_tls = |lab: &Lab, upgraded: u64| {
        let done = lab.run(&[]);
        let summary = done.expect(0).summary();
        all_delivered(&summary);
        let counts = ["polled", "upgraded"].map(|counter| summary.count(counter));
        assert_eq!(counts, [22, upgraded]);
        assert_eq!(summary.number("/timers/tls/count"), 22.0);
    };
    for (way, upgraded) in [("upgrade", 22), ("handshake", 22), ("only", 0)] {
        let lab = lab(&scenario(way), &server, TLS);
        std::fs::copy(file("ca.pem"), lab.path().join("ca.pem")).unwrap();
        over_tls(&lab, upgraded);
    }
    // The embedded gateway does the same.
    let gateway = scenario("upgrade").replace("{ url: TARGET }", "{ embedded: { tls: true } }");
    over_tls(&Lab::new(&gateway), 22);
    // The authority of this lab is not the one that signed the server's certificate: not even a poll is let through.
    let stranger = lab(&scenario("only"), &server, TLS);
    let summary = stranger.run(&[]).expect(109).summary();
    let failures = summary.at("/failures");
    assert_eq!(failures["tls"], 22, "{failures:#}");
    assert_eq!(summary.count("polled"), 0);
}

/// HAProxy before two servers, requests in turn unless a cookie says where.
const BALANCER: &str = "
global
    maxconn 200
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout tunnel 1h
listen servers
    bind 127.0.0.1:PORT
    balance roundrobin
    cookie SERVER insert indirect nocache
    server a 127.0.0.1:ONE cookie a
    server b 127.0.0.1:OTHER cookie b
";

#[test]
fn where_nothing_is_sticky_the_upgrade_is_refused_and_counted() {
    let servers = [(); 2].map(|()| Server::start(Kind::SocketIo, &[]));
    let folder = tempfile::tempdir().unwrap();
    let configured = |command: &mut Command, port: u16| {
        let config = BALANCER
            .replace("PORT", &port.to_string())
            .replace("ONE", &servers[0].port.to_string())
            .replace("OTHER", &servers[1].port.to_string());
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        command.arg("-db").arg("-f").arg(file);
    };
    let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    let (_balancer, port) = on_free_port("haproxy", configured, listens);
    // One that is alone has each of its requests answered by another server; those who keep the cookie stay.
    for (way, count, cookies, code) in [
        ("handshake", 1, false, 109),
        ("only", 1, false, 109),
        ("handshake", 21, true, 0),
        ("true", 21, true, 0),
    ] {
        let scenario = format!(
            "
name: sticky
target: {{ url: TARGET }}
clients:
  members: {{ count: {count}, subscribe: [a], keep_cookies: {cookies}, protocol: {{ socket_io: {{ polling: {way} }} }} }}
phases: [ {{ name: ramp, for: 1s }} ]
gates: [ 'opened == {count}', 'failed == 0', 'unknown_session == 0' ]
generator: {{ shards: 1, max_lag: 50s, max_cpu: 100% }}
"
        );
        let done = lab_at(&scenario, port, TARGET).run(&[]);
        let summary = done.expect(code).summary();
        if code == 0 {
            let upgraded = (summary.count("polled"), summary.count("upgraded"));
            assert_eq!(upgraded, (21, 21), "{way}");
            continue;
        }
        assert_eq!(summary.count("opened"), 0);
        assert_eq!(
            summary.at("/statuses/400"),
            1,
            "{:#}",
            summary.at("/failures")
        );
        assert_eq!(
            (summary.count("polled"), summary.count("unknown_session")),
            (1, 1)
        );
        let samples = summary.at("/samples").to_string();
        assert!(samples.contains("Session ID unknown"), "{samples}");
    }
}

#[test]
fn whoever_is_refused_is_counted() {
    let server = Server::start(Kind::SocketIo, &["--token", "t-1", "--refuse", "blue/news"]);
    let done = rooms(&server, "{ socket_io: { auth: { token: wrong } } }").run(&[]);
    done.expect(109);
    let summary = done.summary();
    assert_eq!(summary.count("opened"), 0);
    assert_eq!(
        summary.at("/failures/denied"),
        22,
        "{:#}",
        summary.at("/failures")
    );
    let samples = summary.at("/samples").to_string();
    assert!(samples.contains("Not authorized"), "{samples}");
    // Half of the subscribers want what is refused to them, and half of what is published is.
    let done = rooms(&server, "{ socket_io: { auth: { token: t-1 } } }").run(&[]);
    done.expect(99);
    let summary = done.summary();
    assert_eq!(summary.count("opened"), 12);
    assert_eq!(
        summary.at("/failures/denied"),
        10,
        "{:#}",
        summary.at("/failures")
    );
    for (counter, expected) in [
        ("sent", 300),
        ("acked", 150),
        ("rejected", 150),
        ("received", 1500),
    ] {
        assert_eq!(summary.count(counter), expected, "{counter}");
    }
}

/// 20 subscribers, all cut off while two publishers go on, who are back after a second.
const DROPPED: &str = r#"
name: socket-io-drop
target: { url: TARGET }
clients:
  subscribers:
    count: 20
    vars: { room: { cycle: [red, blue] } }
    subscribe: ["{room}/news"]
    protocol: socket_io
    reconnect: { backoff: constant, base: 1s, resume: RESUME }
  publishers:
    count: 2
    vars: { room: { cycle: [red, blue] } }
    publish: { topic: "{room}/news", rate: 100/s, in: [steady, drop] }
    protocol: socket_io
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 1s }
  - { name: drop, for: 4s, faults: [ { drop: { clients: subscribers, share: 100%, how: reset, after: 500ms } } ] }
gates:
  - close 1006 == 20
  - reconnected == 20
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - GATE
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
"#;

fn dropped(server: &Server, resume: bool, gate: &str) -> Summary {
    dropped_in(DROPPED, server, resume, gate)
}

fn dropped_in(scenario: &str, server: &Server, resume: bool, gate: &str) -> Summary {
    let scenario = scenario.replace("RESUME", &resume.to_string());
    let lab = lab(&scenario.replace("GATE", gate), server, TARGET);
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.count("expected"), summary.count("sent") * 10);
    assert_eq!(summary.count("acked"), summary.count("sent"));
    summary
}

#[test]
fn what_was_missed_is_recovered_where_the_server_keeps_it() {
    let server = Server::start(Kind::SocketIo, &["--recovery", "30000"]);
    let summary = dropped(&server, true, "missed == 0");
    assert_eq!(summary.count("resumed"), 20);
    assert_eq!(summary.count("state_lost"), 0);
    assert_eq!(summary.count("unique"), summary.count("expected"));
    assert!(
        summary.count("recovered") > 500,
        "{}",
        summary.count("recovered")
    );
}

#[test]
fn what_was_missed_is_missed_where_nobody_keeps_it_or_asks() {
    for (arguments, resume) in [(&[][..], true), (&["--recovery", "30000"], false)] {
        let server = Server::start(Kind::SocketIo, arguments);
        let summary = dropped(&server, resume, "missed > 500");
        assert_eq!(summary.count("resumed"), 0);
        assert_eq!(summary.count("state_lost"), 0);
        let ended = summary.count("unique") + summary.count("missed");
        assert_eq!(ended, summary.count("expected"));
    }
}

#[test]
fn a_session_that_the_server_has_forgotten_is_lost_and_said_so() {
    // Kept for a tenth of a second, and asked for after one.
    let server = Server::start(Kind::SocketIo, &["--recovery", "100"]);
    let summary = dropped(&server, true, "missed > 500");
    assert_eq!(summary.count("resumed"), 0);
    assert_eq!(summary.count("state_lost"), 20);
}

#[test]
fn a_server_that_pings_no_more_is_dead() {
    let server = Server::start(Kind::SocketIo, &["--ping", "200"]);
    let scenario = ROOMS.replace("PROTOCOL", "socket_io");
    let gates = scenario.find("gates:").unwrap()..scenario.find("generator:").unwrap();
    let mut frozen = scenario.replace(
        "- { name: steady, for: 2s }",
        "- { name: steady, for: 1s }\n  - { name: frozen, for: 3s }",
    );
    frozen = frozen.replace(&scenario[gates], "gates: [ 'opened == 22' ]\n");
    let run = lab(&frozen, &server, TARGET).start(&[]);
    run.wait_for_phase("frozen");
    server.signal(Signal::SIGSTOP);
    let summary = run.wait().expect(0).summary();
    assert_eq!(
        summary.at("/failures/dead"),
        22,
        "{:#}",
        summary.at("/failures")
    );
    // After the interval and the timeout, counted from the last ping; a histogram says the least of three digits: 600 ms are told as 599.552.
    let detect = summary.number("/timers/detect/min");
    assert!(detect >= 600.0 * 0.999, "{detect}");
}
