//! Protocols with a session: greeting, subscriptions, acknowledgements, signs of life and goodbye, against a peer whose
//! every frame the test decides. STOMP stands for all of them: what is asked is what the engine makes of a session's events.

use crate::bench::{accept_with, failures, frame, read_frame, run, server};
use squall::metrics::{Counter, Reason, Timer, Totals};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a peer does beside answering as it should.
#[derive(Debug, Clone, Copy, Default)]
struct Peer {
    /// Refuses the greeting.
    refuses: bool,
    /// Refuses the subscription.
    denies: bool,
    /// Sends no receipt for publishes from this one on.
    answers: Option<u64>,
    /// Ends TCP after so many publishes, without a word.
    ends_after: Option<u64>,
    /// What it says of heart-beats: can send and wants, in ms.
    beats: (u32, u32),
    /// Never answers the goodbye.
    stays: bool,
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\n\n").next()?;
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn say(stream: &mut TcpStream, text: &str) {
    let _ = stream.write_all(&frame(1, text.as_bytes()));
}

/// A broker for one connection that brings each message back to whoever sent it.
fn serve(peer: Peer, mut stream: TcpStream) {
    accept_with(&mut stream, "Sec-WebSocket-Protocol: v12.stomp\r\n");
    let (mut published, mut subscribed) = (0, None);
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
        let text = String::from_utf8(payload).expect("text");
        let receipt = |stream: &mut TcpStream| {
            if let Some(id) = header(&text, "receipt") {
                say(stream, &format!("RECEIPT\nreceipt-id:{id}\n\n\0"));
            }
        };
        match text.lines().next().unwrap_or_default() {
            "CONNECT" | "STOMP" if peer.refuses => {
                say(&mut stream, "ERROR\nmessage:not you\n\nreally\0");
            }
            "CONNECT" | "STOMP" => {
                let (can, wants) = peer.beats;
                say(
                    &mut stream,
                    &format!("CONNECTED\nversion:1.2\nheart-beat:{can},{wants}\n\n\0"),
                );
            }
            "SUBSCRIBE" if peer.denies => {
                let id = header(&text, "receipt").expect("a receipt is asked for");
                say(
                    &mut stream,
                    &format!("ERROR\nreceipt-id:{id}\nmessage:no such thing\n\n\0"),
                );
            }
            "SUBSCRIBE" => {
                subscribed = header(&text, "id").map(str::to_owned);
                receipt(&mut stream);
            }
            "SEND" => {
                published += 1;
                if peer.answers.is_none_or(|most| published <= most) {
                    receipt(&mut stream);
                }
                let body = text.split("\n\n").nth(1).unwrap_or_default();
                if let Some(id) = &subscribed {
                    say(
                        &mut stream,
                        &format!(
                            "MESSAGE\nsubscription:{id}\nmessage-id:{published}\ndestination:/t\n\n{body}"
                        ),
                    );
                }
                if peer.ends_after == Some(published) {
                    return;
                }
            }
            "DISCONNECT" if !peer.stays => receipt(&mut stream),
            _ => {}
        }
    }
}

fn one(peer: Peer, length: &str, rate: &str, settings: &str, more: &str) -> Totals {
    let address: SocketAddr = server(move |stream| serve(peer, stream));
    run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  some:
    count: 1
    protocol: {{ stomp: {{ {settings} }} }}
    subscribe: [/t]
    publish: {{ topic: /t, rate: {rate}, size: 100B }}
{more}
phases: [ {{ name: only, for: {length} }} ]
generator: {{ drain: 300ms }}
"
    ))
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

#[test]
fn what_is_published_is_acknowledged_delivered_and_said_goodbye_to() {
    let totals = one(Peer::default(), "500ms", "40/s", "", "");
    let sent = totals.count(Counter::Sent, None, None);
    assert!(sent > 0);
    use Counter as C;
    let [received, lost, acked, rejected, unacked, unstamped] = counts(
        &totals,
        [
            C::Received,
            C::Lost,
            C::Acked,
            C::Rejected,
            C::Unacked,
            C::Unstamped,
        ],
    );
    assert_eq!((received, lost, unstamped), (sent, 0, 0));
    assert_eq!((acked, rejected, unacked), (sent, 0, 0));
    assert_eq!(totals.histogram(Timer::Ack, None, None).len(), sent);
    assert_eq!(failures(&totals), [].into());
    // The goodbye's answer is awaited, then the WebSocket's own: 1000, and clean.
    let closes: Vec<_> = totals.closes(None, None).into_iter().collect();
    assert!(
        closes.iter().all(|(key, _)| key.code == 1000 && key.clean),
        "{closes:?}"
    );
}

#[test]
fn without_receipts_nothing_is_said_of_acknowledgements() {
    let totals = one(Peer::default(), "300ms", "40/s", "receipts: false", "");
    let [received, acked, unacked] = counts(
        &totals,
        [Counter::Received, Counter::Acked, Counter::Unacked],
    );
    assert!(received > 0);
    assert_eq!((acked, unacked), (0, 0));
}

#[test]
fn a_greeting_or_a_subscription_refused_is_denied() {
    for peer in [
        Peer {
            refuses: true,
            ..Peer::default()
        },
        Peer {
            denies: true,
            ..Peer::default()
        },
    ] {
        let totals = one(peer, "200ms", "40/s", "", "");
        assert_eq!(failures(&totals), [("denied", 1)].into(), "{peer:?}");
        assert_eq!(counts(&totals, [Counter::Opened, Counter::Sent]), [0, 0]);
        // Counted by its `message` header.
        let reasons: Vec<_> = totals.reasons(None, None).into_iter().collect();
        let text = if peer.refuses {
            "not you"
        } else {
            "no such thing"
        };
        assert_eq!(reasons, [(Reason::of(0, text.as_bytes()), 1)]);
    }
}

#[test]
fn what_is_never_acknowledged_is_counted_when_the_run_is_over() {
    let peer = Peer {
        answers: Some(3),
        ..Peer::default()
    };
    let totals = one(peer, "400ms", "40/s", "", "");
    let [sent, acked, unacked] = counts(&totals, [Counter::Sent, Counter::Acked, Counter::Unacked]);
    assert!(sent > 3);
    assert_eq!((acked, unacked), (3, sent - 3));
}

#[test]
fn a_lost_connection_leaves_its_publishes_unacknowledged_and_begins_anew() {
    let peer = Peer {
        answers: Some(4),
        ends_after: Some(6),
        ..Peer::default()
    };
    let totals = one(
        peer,
        "500ms",
        "100/s",
        "",
        "    reconnect: { backoff: constant, base: 20ms }",
    );
    let [sent, acked, unacked, back] = counts(
        &totals,
        [
            Counter::Sent,
            Counter::Acked,
            Counter::Unacked,
            Counter::Reconnected,
        ],
    );
    assert!(back >= 2, "{back}");
    // Four of each six, and whatever the last connection came to; nothing is counted twice, nothing is forgotten.
    assert_eq!(acked + unacked, sent);
    assert!(
        unacked >= 2 * back && acked >= 4 * back,
        "{acked} {unacked} {back}"
    );
}

#[test]
fn heart_beats_are_sent_as_agreed_and_a_silent_peer_is_dead() {
    let wants = "heart_beat: { send: 20ms, want: 20ms }";
    // It wants one each 50 ms, and sends none.
    let quiet = Peer {
        beats: (0, 50),
        ..Peer::default()
    };
    let totals = one(quiet, "500ms", "1/h", wants, "");
    let beats = totals.count(Counter::PingsSent, None, None);
    // At most one each seven eighths of that, in the run and its drain; a busy machine has fewer.
    assert!((1..=18).contains(&beats), "{beats}");
    assert_eq!(failures(&totals), [].into());

    // It promises one each 50 ms, and sends none.
    let mute = Peer {
        beats: (50, 0),
        ..Peer::default()
    };
    let totals = one(mute, "600ms", "1/h", wants, "");
    assert_eq!(failures(&totals), [("dead", 1)].into());
    let detect = totals.histogram(Timer::Detect, None, None);
    assert_eq!(detect.len(), 1);
    let least = Duration::from_millis(100).as_micros() as u64;
    assert!(detect.max() >= least, "twice the interval, not sooner");
}

#[test]
fn a_goodbye_without_an_answer_is_a_close_timeout() {
    let peer = Peer {
        stays: true,
        ..Peer::default()
    };
    let totals = one(peer, "200ms", "40/s", "", "");
    assert_eq!(failures(&totals), [("close_timeout", 1)].into());
}

/// Deliveries that are to be acknowledged, without end, and nothing is read: our answers would be all the memory there is.
#[test]
fn a_peer_that_asks_for_answers_and_does_not_read_them_is_given_up() {
    let address: SocketAddr = server(|mut stream| {
        let socket = socket2::SockRef::from(&stream);
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        accept_with(&mut stream, "Sec-WebSocket-Protocol: v12.stomp\r\n");
        say(&mut stream, "CONNECTED\nversion:1.2\n\n\0");
        let id = "x".repeat(1000);
        let message =
            format!("MESSAGE\nsubscription:0\nmessage-id:{id}\nack:{id}\ndestination:/t\n\n\0");
        let message = frame(1, message.as_bytes());
        while stream.write_all(&message).is_ok() {}
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms, max_queue: 64KiB }}
clients:
  some:
    count: 1
    protocol: {{ stomp: {{ ack: client_individual, receipts: false }} }}
    subscribe: [/t]
phases: [ {{ name: only, for: 5s }} ]
generator: {{ drain: 300ms, max_lag: 60s }}
"
    ));
    assert_eq!(failures(&totals), [("protocol", 1)].into());
}
