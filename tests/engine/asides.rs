//! What a JSON service and its clients say between deliveries, against a peer whose every message the test decides: pings as
//! messages both ways, silence, refusals, several texts in one message, answers that quote.

use crate::bench::{accept_with, failures, frame, read_frame, run, server};
use squall::metrics::{Counter, Timer, Totals};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// What a peer does.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// Refuses the subscription.
    refuses: bool,
    /// Pings each time it gets a publish, in one message with the delivery.
    pings: bool,
    /// Answers heartbeats with their number and this more.
    answers: Option<u64>,
    /// Tells publishers what they published.
    quotes: bool,
}

fn say(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(&frame(1, text.as_bytes()));
}

fn serve(peer: Peer, mut stream: TcpStream) {
    accept_with(&mut stream, "");
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
        let text = String::from_utf8(payload).unwrap();
        let (kind, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match kind {
            "sub" if peer.refuses => say(&mut stream, r#"{"no":"not you"}"#),
            "sub" => say(&mut stream, r#"{"ok":1}"#),
            "beat" => {
                if let Some(more) = peer.answers {
                    let id = rest.parse::<u64>().unwrap() + more;
                    say(&mut stream, &format!(r#"{{"beat":{id}}}"#));
                }
            }
            "yes" => {}
            "pub" => {
                let mut answer = format!(r#"{{"m":"{rest}"}}"#);
                if peer.pings {
                    answer = format!("{{}}\n{answer}\n");
                }
                if peer.quotes {
                    answer.push_str(&format!("\n{{\"done\":\"{rest}\"}}"));
                }
                say(&mut stream, &answer);
            }
            _ => panic!("{text}"),
        }
    }
}

fn one(peer: Peer, mapping: &str, heartbeat: &str) -> Totals {
    let address: SocketAddr = server(move |stream| serve(peer, stream));
    run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  some:
    count: 1
    protocol:
      json_mapping:
        subscribe: 'sub {{topic}}'
        subscribed: {{ when: {{ pointer: /ok }} }}
        refused: {{ pointer: /no }}
        publish: 'pub {{payload}}'
        delivery: {{ pointer: /m }}
        type: ''
        message: ''
        error: ''
        topic: ''
        sequence: ''
        lines: true
{mapping}
    subscribe: [t]
    publish: {{ topic: t, rate: 50/s, size: 64B }}
{heartbeat}
phases: [ {{ name: only, for: 1s }} ]
generator: {{ drain: 300ms }}
"
    ))
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

#[test]
fn the_services_pings_are_answered_and_cost_no_message() {
    let peer = Peer {
        pings: true,
        ..Peer::default()
    };
    let ping = "        service_ping: { when: { equals: '{}' }, answer: 'yes' }";
    let totals = one(peer, ping, "");
    let [sent, received, answered, lost, unstamped] = counts(
        &totals,
        [
            Counter::Sent,
            Counter::Received,
            Counter::PingsAnswered,
            Counter::Lost,
            Counter::Unstamped,
        ],
    );
    assert!(sent >= 40, "{sent}");
    assert_eq!((received, answered, lost, unstamped), (sent, sent, 0, 0));
    // Those that want no answer get none, and are no message either.
    let totals = one(peer, "        service_ping: { when: { equals: '{}' } }", "");
    let [sent, received, answered, unstamped] = counts(
        &totals,
        [
            Counter::Sent,
            Counter::Received,
            Counter::PingsAnswered,
            Counter::Unstamped,
        ],
    );
    assert_eq!((received, answered, unstamped), (sent, 0, 0));
}

#[test]
fn heartbeats_are_messages_and_answered_by_their_number() {
    let mapping =
        "        beat: { client: { send: 'beat {id}', answered: { pointer: /beat }, id: /beat } }";
    let heartbeat = "    heartbeat: { every: 100ms, timeout: 200ms }";
    let dead = |totals: &Totals| failures(totals).get("dead").copied();
    let totals = one(
        Peer {
            answers: Some(0),
            ..Peer::default()
        },
        mapping,
        heartbeat,
    );
    assert_eq!(dead(&totals), None);
    let [sent] = counts(&totals, [Counter::PingsSent]);
    assert!(sent >= 5, "{sent}");
    let answered = totals.histogram(Timer::Ping, None, None).len();
    assert!(
        answered == sent || answered + 1 == sent,
        "{answered} of {sent}"
    );
    // The answer to another one, or none, is none.
    for answers in [Some(1), None] {
        let totals = one(
            Peer {
                answers,
                ..Peer::default()
            },
            mapping,
            heartbeat,
        );
        assert_eq!(dead(&totals), Some(1), "{answers:?}");
        assert_eq!(totals.histogram(Timer::Ping, None, None).len(), 0);
    }
}

#[test]
fn where_the_service_pings_its_silence_is_the_end() {
    let mapping = "        beat: service\n        service_ping: { when: { equals: '{}' } }";
    let lively = one(
        Peer::default(),
        mapping,
        "    heartbeat: { every: 300ms, timeout: 300ms }",
    );
    assert!(failures(&lively).is_empty(), "{:?}", failures(&lively));
    // With 20 ms from one message to the next there is always one.
    assert_eq!(counts(&lively, [Counter::PingsSent]), [0]);
    let address: SocketAddr = server(|mut stream| {
        accept_with(&mut stream, "");
        while read_frame(&mut stream).is_some() {}
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  some:
    count: 2
    protocol: {{ json_mapping: {{ subscribed: none, beat: service }} }}
    subscribe: [t]
    heartbeat: {{ every: 200ms, timeout: 100ms }}
phases: [ {{ name: only, for: 1s }} ]
"
    ));
    assert_eq!(failures(&totals).get("dead"), Some(&2));
    let detect = totals.histogram(Timer::Detect, None, None);
    assert!(
        detect.len() == 2 && detect.min() >= 290_000,
        "{}",
        detect.min()
    );
}

#[test]
fn a_refused_subscription_is_denied_at_once() {
    let totals = one(
        Peer {
            refuses: true,
            ..Peer::default()
        },
        "",
        "",
    );
    assert_eq!(failures(&totals).get("denied"), Some(&1));
    assert_eq!(counts(&totals, [Counter::Opened]), [0]);
}

#[test]
fn an_answer_that_quotes_a_message_is_not_its_delivery() {
    let totals = one(
        Peer {
            quotes: true,
            ..Peer::default()
        },
        "",
        "",
    );
    let [sent, received, doubled] = counts(
        &totals,
        [Counter::Sent, Counter::Received, Counter::Duplicated],
    );
    assert!(sent >= 40);
    assert_eq!((received, doubled), (sent, 0));
}
