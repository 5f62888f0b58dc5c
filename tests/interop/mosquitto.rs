//! MQTT 5 and 3.1.1 against Debian's mosquitto, over WebSocket: every message of every quality of service accounted for, and
//! sessions that outlive their connections.

use crate::fails_only;
use crate::harness::{Lab, Summary};
use crate::servers::{Ends, on_free_port};
use std::net::TcpStream;
use std::path::Path;

/// A broker of its own in this folder, with further lines of configuration.
fn mosquitto(folder: &Path, more: &str) -> (Ends, u16) {
    let arguments = |command: &mut std::process::Command, port: u16| {
        let file = folder.join(format!("{port}.conf"));
        // With nothing but WebSocket to listen for, 2.0.11 says that it listens for nothing, and ends.
        let socket = folder.join(format!("{port}.sock"));
        let text = format!(
            "user root\nlistener 0 {}\nlistener {port} 127.0.0.1\nprotocol websockets\npersistence false\nmax_queued_messages 100000\n{more}\n",
            socket.display()
        );
        std::fs::write(&file, text).expect("a configuration");
        command.arg("-c").arg(file);
    };
    on_free_port("mosquitto", arguments, |port| {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    })
}

fn lab(scenario: &str, port: u16) -> Lab {
    Lab::new(&scenario.replace("PORT", &port.to_string()))
}

/// Six audiences of 5, one for each version and quality, and as many publishers: 40 messages each, and each twice over by a filter.
const QUALITIES: &str = r#"
name: qualities
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
GROUPS
  all: { count: 1, protocol: { mqtt: { subscribe_qos: 2, topic_alias_maximum: 10 } }, subscribe: ["news/+/#"] }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 37
  - failed == 0
  - sent == 240
  - received == 1440
  - lost == 0
  - duplicated == 0
  - acked == 160
  - unacked == 0
  - ack p50 < 2s
  - latency p50 < 2s
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
"#;

fn qualities() -> String {
    let mut groups = String::new();
    for version in ["v5", "v3.1.1"] {
        for qos in 0..3 {
            let name = format!("{}-{qos}", version.replace('.', "-"));
            let aliases = if version == "v5" {
                "topic_aliases: true, "
            } else {
                ""
            };
            groups.push_str(&format!(
                "  sub-{name}: {{ count: 5, protocol: {{ mqtt: {{ version: {version}, subscribe_qos: {qos} }} }}, subscribe: [news/{name}] }}
  pub-{name}:
    count: 1
    protocol: {{ mqtt: {{ version: {version}, {aliases}publish_qos: {qos} }} }}
    publish: {{ topic: news/{name}, rate: 20/s, in: steady }}\n"
            ));
        }
    }
    QUALITIES.replace("GROUPS", &groups)
}

#[test]
fn every_quality_is_accounted_for_exactly() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous true");
    let lab = lab(&qualities(), port);
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.count("expected"), 1440);
    assert_eq!(summary.count("redelivered"), 0);
    // What was never refused, and a time that nobody keeps.
    lab.run(&["--set", r#"gates=["ack p50 < 1us"]"#]).expect(99);
}

/// 20 subscribers and 4 publishers whose sessions are kept, half of them cut in the middle.
const RESUMED: &str = r#"
name: resumed
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
  subs:
    count: 20
    protocol: { mqtt: { client_id: "sub-{connection}", SETTINGS } }
    subscribe: [orders, quotes]
    reconnect: { backoff: constant, base: 700ms }
  pubs:
    count: 4
    protocol: { mqtt: { client_id: "pub-{connection}", publish_qos: QOS, SETTINGS } }
    publish: [ { topic: orders, rate: 100/s, in: [steady, cut] }, { topic: quotes, rate: 50/s, in: [steady, cut] } ]
    reconnect: { backoff: constant, base: 200ms }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 1s }
  - name: cut
    for: 3s
    faults:
      - drop: { clients: subs, share: 50%, how: reset, after: 500ms }
      - drop: { clients: pubs, share: 50%, how: reset, after: 600ms }
  - { name: calm, for: 1s }
gates:
  - reconnected == 12
  - resumed == 12
  - state_lost == 0
  - lost == 0
  - missed == 0
  - reordered == 0
  - recovered > 100
  - unacked == 0
  - rejected == 0
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
"#;

fn resumed(port: u16, settings: &str, qos: u8) -> Summary {
    let scenario = RESUMED
        .replace("SETTINGS", settings)
        .replace("QOS", &qos.to_string());
    lab(&scenario, port).run(&[]).expect(0).summary()
}

#[test]
fn whoever_comes_back_takes_its_session_up_and_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous true");
    for (settings, qos) in [
        ("session_expiry: 60s", 1),
        ("session_expiry: 60s, subscribe_qos: 2", 2),
        ("version: v3.1.1, clean_start: false", 1),
    ] {
        let summary = resumed(port, settings, qos);
        let sent = summary.count("sent");
        assert_eq!(summary.count("expected"), sent * 20, "{settings}");
        assert_eq!(summary.count("unique"), sent * 20, "{settings}");
        assert_eq!(summary.count("acked"), sent, "{settings}");
        if qos == 2 {
            assert_eq!(summary.count("duplicated"), 0, "{settings}");
        }
    }
}

/// Without a session the same clients miss what was published meanwhile.
#[test]
fn without_a_session_it_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous true");
    let scenario = RESUMED
        .replace("SETTINGS", "keep_alive: 60s")
        .replace("QOS", "1");
    let lab = lab(&scenario, port);
    let missed = r#"gates=["missed == 0"]"#;
    let summary = lab.run(&["--set", missed]).expect(99).summary();
    assert!(summary.count("missed") > 100 && summary.count("recovered") == 0);
    assert_eq!(summary.count("lost"), 0);
}

/// Four who say nothing for five times their keep-alive, and six who come back when their sessions are gone: the broker needs a
/// moment to forget them.
#[test]
fn who_is_silent_is_kept_alive_and_a_session_that_expired_is_told_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous true");
    let scenario = r#"
name: silence
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
  idle: { count: 4, protocol: { mqtt: { keep_alive: 1s } }, subscribe: [quiet] }
  late:
    count: 6
    protocol: { mqtt: { client_id: "late-{connection}", session_expiry: 1s } }
    subscribe: [quiet]
    reconnect: { backoff: constant, base: 4s }
phases:
  - { name: open, for: 1s }
  - { name: cut, for: 6s, faults: [ { drop: { clients: late, share: 100%, how: reset } } ] }
gates:
  - closed_by_target == 0
  - failed == 0
  - opened == 4 of idle
  - reconnected == 6 of late
  - state_lost == 6 of late
  - resumed == 0
generator: { max_lag: 50s, max_cpu: 100% }
"#;
    lab(scenario, port).run(&[]).expect(0);
}

/// Two shares of one topic, by 4 and by 3 members, and one who hears all: each share has each message once.
#[test]
fn a_shared_subscription_has_each_message_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous true");
    let scenario = r#"
name: shared
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
  four: { count: 4, protocol: mqtt, subscribe: ["$share/four/jobs"] }
  three: { count: 3, protocol: mqtt, subscribe: ["$share/three/+"] }
  all: { count: 1, protocol: mqtt, subscribe: [jobs] }
  pubs: { count: 2, protocol: mqtt, publish: { topic: jobs, rate: 100/s, in: steady } }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - lost == 0
  - duplicated == 0
  - misrouted == 0
  - received == 600
  - received == 200 of four
  - received == 200 of three
generator: { max_lag: 50s, max_cpu: 100% }
"#;
    let lab = lab(scenario, port);
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.count("expected"), 600);
    let text = summary.0.to_string();
    for said in ["$share/four/jobs: 4 members", "$share/three/+: 3 members"] {
        assert!(text.contains(said), "{text}");
    }
    // Had each member all messages, that would be told.
    let each = lab.run(&["--set", r#"gates=["received == 800 of four"]"#]);
    each.expect(99);
}

/// Two who are cut, and whose wills two others hear; what is retained greets those two when they are back, and three who come late. In
/// between, 60 messages at once through a broker that takes five at a time, to two who take two at a time: mosquitto 2.0.11 gives them a
/// third, when PUBCOMP of one comes and the other's is still to come. The long topic has an alias.
const MANNERS: &str = r#"
name: manners
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
  mortal:
    count: 2
    protocol: { mqtt: { subscribe_qos: 2, will: { topic: "gone/{connection}", qos: 1 } } }
    subscribe: [STATE]
    reconnect: { backoff: constant, base: 300ms }
  narrow: { count: 2, protocol: { mqtt: { subscribe_qos: 2, receive_maximum: 2 } }, subscribe: [all] }
  late: { count: 3, protocol: mqtt, subscribe: [STATE] }
  mourners: { count: 2, protocol: mqtt, subscribe: ["gone/+"] }
  keeper: { count: 1, protocol: { mqtt: { retain: true, topic_aliases: ALIASES } }, publish: { topic: STATE, rate: 20/s, in: told } }
  hasty: { count: 1, protocol: { mqtt: { publish_qos: 2 } }, publish: { topic: all, rate: 1/s, in: told } }
phases:
  - { name: open, for: 1s, open: { mortal: all_at_once, narrow: all_at_once, mourners: all_at_once, keeper: all_at_once, hasty: all_at_once } }
  - { name: told, for: 1s, faults: [ { burst: { clients: hasty, messages: 60 } } ] }
  - { name: cut, for: 2s, faults: [ { drop: { clients: mortal, share: 100%, how: reset } } ] }
  - { name: later, for: 1s, open: { late: all_at_once } }
gates:
  - opened == 13
  - reconnected == 2
  - wills_owed == 2
  - wills == 4 of mourners
  - will max < 2s
  - retained == 5
  - unstamped == 0
  - received == 40 of mortal
  - lost == 0
  - duplicated == 0
  - misrouted == 0
  - errors == 0
  - failed protocol == 2 of narrow
  - failed == 2
  - reason 0x93 == 0
  - wills == 5
generator: { shards: 1, max_lag: 50s, max_cpu: 100% }
"#;

#[test]
fn wills_retained_messages_receive_maxima_and_aliases_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let five = "allow_anonymous true\nmax_inflight_messages 5";
    let (_broker, port) = mosquitto(folder.path(), five);
    let topic = "a/topic/that/takes/more/than/a/hundred/bytes".repeat(3);
    let run = |aliases: &str| {
        // What is retained of one run is not the other's.
        let scenario = MANNERS
            .replace("STATE", &format!("{topic}/{aliases:-<5}"))
            .replace("ALIASES", aliases);
        let done = lab(&scenario, port).run(&[]);
        fails_only(&done, "wills == 5")
    };
    let with = run("true");
    assert_eq!(with.at("/timers/will/count"), 4);
    // Who exceeds our receive maximum is found, and named.
    let reason = with.at("/reasons/0");
    assert_eq!(
        (&reason["text"], &reason["count"]),
        (
            &"more messages under way than were allowed".into(),
            &2.into()
        )
    );
    // It takes five at a time, and was given no more: the rest was not sent.
    let counts = |summary: &Summary, name: &str| {
        let of = summary.at(&format!("/counts_by_group/hasty/{name}"));
        of.as_u64().unwrap()
    };
    assert_eq!(counts(&with, "offered"), 61);
    assert!(counts(&with, "sent") < 30 && counts(&with, "dropped") > 30);
    // The same without aliases: 19 of 20 messages say the topic again.
    let without = run("false");
    let bytes = |summary: &Summary| {
        let sent = summary.at("/counts_by_group/keeper/bytes_sent");
        sent.as_u64().unwrap()
    };
    let (short, long) = (bytes(&with), bytes(&without));
    assert!(long > short + 19 * 100, "{short} {long}");
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, port) = mosquitto(folder.path(), "allow_anonymous false");
    let scenario = r#"
name: refused
target: { url: "ws://127.0.0.1:PORT/mqtt" }
clients:
  new: { count: 3, protocol: { mqtt: { username: nobody, password: nothing } } }
  old: { count: 2, protocol: { mqtt: { version: v3.1.1 } } }
phases: [ { name: only, for: 1s } ]
gates: ['opened == 5']
"#;
    // Nothing ran, and why is in the summary.
    let summary = lab(scenario, port).run(&[]).expect(109).summary();
    let text = summary.0.to_string();
    assert!(text.contains("0x87 not authorized"), "{text}");
    assert!(text.contains("0x05 not authorized"), "{text}");
    // And counted.
    let reasons = summary.at("/reasons").as_array().unwrap().iter();
    let counted: Vec<_> = reasons
        .map(|reason| (&reason["code"], &reason["count"], &reason["text"]))
        .map(|(code, count, text)| format!("{code} {count} {text}"))
        .collect();
    assert_eq!(
        counted,
        [r#"135 3 "not authorized""#, r#"5 2 "not authorized""#]
    );
}
