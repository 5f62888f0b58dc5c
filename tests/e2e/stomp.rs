//! STOMP against the embedded gateway: what it speaks and what JSON clients speak is one service, and known faults are found over
//! either.

use crate::harness::Lab;

/// Each of 400 publishes, half of them over STOMP, reaches 10 subscribers over STOMP and 10 over JSON, at two nodes.
#[test]
fn stomp_and_json_meet_in_the_same_topics() {
    let lab = Lab::new(
        "
name: stomp-and-json
target: { embedded: { nodes: 2 } }
clients:
  stomp-subscribers: { count: 10, subscribe: [t], protocol: { stomp: { ack: client, ack_every: 7, heart_beat: { send: 1s, want: 1s } } } }
  json-subscribers: { count: 10, subscribe: [t] }
  stomp-publishers: { count: 2, protocol: stomp, publish: { topic: t, rate: 100/s, in: steady } }
  json-publishers: { count: 2, publish: { topic: t, rate: 100/s, in: steady } }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 24
  - failed dead == 0
  - errors == 0
  - received == 4000 of stomp-subscribers
  - received == 4000 of json-subscribers
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - acked == 200 of stomp-publishers
  - unacked == 0
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
",
    );
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.number("/timers/ack/count"), 200.0);
    assert_eq!(summary.count("unstamped"), 0);
}

/// 200 publishes to 10 subscribers: of the 200 deliveries of each one every tenth is not made, and every 25th twice. Every 50th would
/// be both, and is not made.
#[test]
fn known_faults_of_deliveries_are_found_exactly() {
    let lab = Lab::new(
        "
name: stomp-faults
target: { embedded: { misbehave: { drop_every: 10, duplicate_every: 25 } } }
clients:
  subscribers: { count: 10, subscribe: [t], protocol: { stomp: { versions: ['1.1'] } } }
  publishers: { count: 1, protocol: { stomp: { versions: ['1.0'] } }, publish: { topic: t, rate: 100/s, in: steady } }
phases:
  - { name: open, for: 1s }
  - { name: steady, for: 2s }
gates:
  - lost == 200
  - duplicated == 40
  - reordered == 0
  - acked == 200
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
",
    );
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.count("expected"), 2000);
    assert_eq!(summary.count("unique"), 1800);
}

/// A gateway that sends no heart-beats though it said that it would, and whose clients take it for dead by that alone: those who
/// never asked for any see nothing wrong.
#[test]
fn missing_heart_beats_are_the_end_for_those_who_want_them() {
    let lab = Lab::new(
        "
name: stomp-silence
target: { embedded: { misbehave: { pong: none } } }
clients:
  wanting: { count: 10, subscribe: [t], protocol: { stomp: { heart_beat: { want: 400ms } } } }
  sending: { count: 10, subscribe: [t], protocol: { stomp: { heart_beat: { send: 1s } } } }
  plain: { count: 10, subscribe: [t], protocol: stomp }
phases:
  - { name: silent, for: 3s }
gates:
  - failed dead == 10 of wanting
  - failed == 0 of sending
  - failed == 0 of plain
  - closed_by_target == 0
generator: { shards: 1, max_lag: 20s, max_cpu: 100% }
",
    );
    lab.run(&[]).expect(0);
}
