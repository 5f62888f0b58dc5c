//! Several transports, against a server that grants each of them or not, as the test decides.

use crate::bench::{accept_with, frame, read_frame, read_head, run, server};
use squall::metrics::{Counter, Failure, Timer, Totals};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How a stream is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// By events, from the first moment on.
    Flows,
    /// By a head, and nothing more.
    Held,
    /// By nothing.
    Mute,
    /// By this status.
    Status(u16),
    /// By a sign of life, and nothing more.
    Dies,
}

type Posted = Arc<(Mutex<Vec<String>>, Condvar)>;
type Heads = Arc<Mutex<Vec<String>>>;

/// What is posted there, from this one on, once there is something; `None` when nothing came for long.
fn since(from: usize, posted: &Posted) -> Option<Vec<String>> {
    let all = posted.0.lock().unwrap();
    let patience = Duration::from_secs(20);
    let (all, waited) = posted
        .1
        .wait_timeout_while(all, patience, |all| all.len() <= from)
        .unwrap();
    (!waited.timed_out()).then(|| all[from..].to_vec())
}

fn chunk(stream: &mut TcpStream, text: &str) -> bool {
    write!(stream, "{:x}\r\n{text}\r\n", text.len()).is_ok()
}

/// A server of one topic that refuses upgrades by `upgrades`, answers streams like that, and polls as they should be.
fn serving(upgrades: u16, streams: Stream) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let posted = Posted::default();
    let address = server(move |mut stream| {
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            told.lock().unwrap().push(head.clone());
            let now = posted.0.lock().unwrap().len();
            if head.contains("Sec-WebSocket-Key") {
                let _ = write!(
                    stream,
                    "HTTP/1.1 {upgrades} No\r\nContent-Length: 0\r\n\r\n"
                );
                return;
            } else if head.starts_with("POST") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "));
                let mut body = vec![0; length.unwrap().parse().unwrap()];
                stream.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                posted.0.lock().unwrap().push(body);
                posted.1.notify_all();
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            } else if head.starts_with("GET /poll") {
                let cursor = head.split("cursor=").nth(1);
                let from = cursor.and_then(|rest| rest.split([' ', '&']).next()?.parse().ok());
                let from = from.unwrap_or(now);
                let Some(lines) = since(from, &posted) else {
                    return;
                };
                let (body, to) = (lines.join("\n"), from + lines.len());
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nX-Cursor: {to}\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
            } else {
                return answer_stream(stream, streams, now, &posted);
            }
        }
    });
    (address, heads)
}

fn answer_stream(mut stream: TcpStream, how: Stream, mut from: usize, posted: &Posted) {
    match how {
        Stream::Mute => {}
        Stream::Status(status) => {
            let _ = write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n");
            return;
        }
        _ => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
        }
    }
    if matches!(how, Stream::Flows | Stream::Dies) {
        chunk(&mut stream, ": hi\n");
    }
    if how == Stream::Flows {
        while let Some(messages) = since(from, posted) {
            for message in messages {
                from += 1;
                if !chunk(&mut stream, &format!("id: {from}\ndata: {message}\n\n")) {
                    return;
                }
            }
        }
    }
    // Until the other side goes.
    let _ = stream.read(&mut [0; 64]);
}

const MANY: u64 = 5;

fn scenario(address: SocketAddr, fallback: &str, more: &str) -> String {
    format!(
        "name: test
target: {{ url: 'ws://{address}/ws', close_timeout: 300ms }}
clients:
  subs:
    count: {MANY}
    transport: [websocket, sse, long_poll]
    fallback: {{ {fallback} }}
    protocol: raw
    subscribe: [t]
{more}
  pubs:
    count: 1
    transport: [websocket, sse]
    protocol: raw
    publish: {{ topic: t, rate: 50/s, size: 80B, in: told }}
phases:
  - {{ name: open, for: 900ms }}
  - {{ name: told, for: 500ms }}
generator: {{ drain: 500ms, max_lag: 60s }}
"
    )
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

/// All that was sent came to every subscriber.
fn nothing_is_lost(totals: &Totals) {
    let all = [
        Counter::Sent,
        Counter::Received,
        Counter::Lost,
        Counter::Missed,
    ];
    let [sent, received, lost, missed] = counts(totals, all);
    assert!(sent >= 15, "{sent}");
    assert_eq!((received, lost, missed), (sent * MANY, 0, 0));
}

#[test]
fn who_is_refused_an_upgrade_goes_on_over_a_stream() {
    // A redirect that is not followed is a refusal, too.
    for status in [403, 302] {
        refused_with(status);
    }
}

fn refused_with(status: u16) {
    let (address, _) = serving(status, Stream::Flows);
    let totals = run(&scenario(address, "silence: 20s", ""));
    nothing_is_lost(&totals);
    let both = MANY + 1;
    use Counter as C;
    assert_eq!(
        counts(
            &totals,
            [
                C::StepsDown,
                C::DownRefused,
                C::OverWebsocket,
                C::OverSse,
                C::OverLongPoll,
                C::EndedSse,
                C::EndedNowhere,
                C::Attempts,
                C::Opened,
            ]
        ),
        [both, both, 0, both, 0, both, 0, 2 * both, both]
    );
    assert_eq!(totals.statuses(None, None), [(status, both)].into());
    assert_eq!(totals.histogram(Timer::Fallback, None, None).len(), both);
}

#[test]
fn a_stream_that_is_held_back_or_refused_leads_to_polls() {
    let table = [
        // Its head comes, and then nothing; or not even that.
        (Stream::Held, Counter::DownSilent),
        (Stream::Mute, Counter::DownTimeout),
        (Stream::Status(404), Counter::DownRefused),
    ];
    for (stream, why) in table {
        let (address, _) = serving(426, stream);
        let totals = run(&scenario(address, "silence: 300ms", ""));
        nothing_is_lost(&totals);
        use Counter as C;
        let of_subs = |counter| totals.count(counter, None, Some(0));
        assert_eq!(
            [C::OverLongPoll, C::EndedLongPoll, C::OverSse, C::StepsDown].map(of_subs),
            [MANY, MANY, 0, 2 * MANY],
            "{stream:?}"
        );
        let expected = if why == C::DownRefused {
            2 * MANY
        } else {
            MANY
        };
        assert_eq!(of_subs(why), expected, "{stream:?}");
        // Publishers post, whatever becomes of streams.
        assert_eq!(totals.count(C::EndedSse, None, Some(1)), 1);
    }
}

#[test]
fn a_service_in_trouble_is_no_reason_to_go_down_unless_it_is_said() {
    let again = "    reconnect: { backoff: constant, base: 100ms }";
    for (fallback, down) in [
        ("climb: never", 0),
        ("statuses: [503]", MANY),
        ("when: [timeout], statuses: [503]", 0),
    ] {
        let (address, _) = serving(503, Stream::Flows);
        let totals = run(&scenario(address, fallback, again));
        let of_subs = |counter| totals.count(counter, None, Some(0));
        assert_eq!(of_subs(Counter::StepsDown), down, "{fallback}");
        assert_eq!(of_subs(Counter::OverSse), down, "{fallback}");
        // Nobody who never got anywhere is forgotten.
        assert_eq!(of_subs(Counter::EndedNowhere), MANY - down, "{fallback}");
        let refused = totals.failures(Some(Failure::Status), None, Some(0));
        assert_eq!(refused > MANY, down == 0, "{fallback}: {refused}");
    }
}

#[test]
fn a_transport_is_tried_as_often_as_is_said() {
    let again = "    reconnect: { backoff: constant, base: 20ms }";
    let (address, heads) = serving(400, Stream::Flows);
    let totals = run(&scenario(address, "tries: 3", again));
    nothing_is_lost(&totals);
    let heads = heads.lock().unwrap();
    let upgrades = heads.iter().filter(|h| h.contains("Sec-WebSocket-Key"));
    // The publisher's are as many as without it: one.
    assert_eq!(upgrades.count() as u64, 3 * MANY + 1);
    assert_eq!(totals.count(Counter::StepsDown, None, Some(0)), MANY);
}

#[test]
fn a_stream_that_falls_silent_is_given_up() {
    let again = "    reconnect: { backoff: constant, base: 20ms }";
    let (address, _) = serving(403, Stream::Dies);
    let totals = run(&scenario(address, "silence: 300ms", again));
    nothing_is_lost(&totals);
    use Counter as C;
    let of_subs = |counter| totals.count(counter, None, Some(0));
    assert_eq!(
        [C::OverSse, C::DownSilent, C::OverLongPoll, C::EndedLongPoll].map(of_subs),
        [MANY; 4]
    );
    assert_eq!(totals.failures(Some(Failure::Dead), None, None), MANY);
}

/// The JSON of a delivery as the default mapping has it.
fn delivery(seq: u64) -> String {
    format!(r#"{{"type":"message","topic":"t","seq":{seq},"payload":"x"}}"#)
}

/// Accepts an upgrade; the text of the message that subscribes.
fn subscribed(stream: &mut TcpStream, position: u64) -> String {
    let (_, text) = read_frame(stream).unwrap();
    let answer = format!(
        r#"{{"type":"subscribed","topic":"t","id":1,"seq":{position},"epoch":"e1","recovered":true}}"#
    );
    stream.write_all(&frame(1, answer.as_bytes())).unwrap();
    String::from_utf8(text).unwrap()
}

#[test]
fn what_was_heard_is_taken_along_down_and_up_again() {
    let asked = Heads::default();
    let told = Arc::clone(&asked);
    let openings = AtomicUsize::new(0);
    let openings = Arc::new(openings);
    let address = server(move |mut stream| {
        let n = openings.fetch_add(1, Ordering::SeqCst);
        match n {
            // A WebSocket that hears three messages, and is cut off.
            0 => {
                accept_with(&mut stream, "");
                subscribed(&mut stream, 0);
                for seq in 1..=3 {
                    let message = delivery(seq);
                    stream.write_all(&frame(1, message.as_bytes())).unwrap();
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            // Nor is there another: the proxy was told something new.
            1 => {
                read_head(&mut stream);
                let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
            }
            2 => {
                told.lock().unwrap().push(read_head(&mut stream));
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes());
                for seq in 4..=5 {
                    let message = delivery(seq);
                    chunk(&mut stream, &format!("id: e1:{seq}\ndata: {message}\n\n"));
                }
                let _ = stream.read(&mut [0; 64]);
            }
            // It climbs, and is let through.
            _ => {
                accept_with(&mut stream, "");
                let text = subscribed(&mut stream, 5);
                told.lock().unwrap().push(text);
                while read_frame(&mut stream).is_some_and(|(opcode, _)| opcode != 8) {}
            }
        }
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/ws', close_timeout: 300ms }}
clients:
  subs:
    count: 1
    transport: [websocket, sse]
    fallback: {{ climb: {{ after: 400ms }} }}
    subscribe: [t]
    reconnect: {{ backoff: constant, base: 20ms, resume: true }}
phases: [ {{ name: only, for: 1500ms }} ]
generator: {{ drain: 200ms, max_lag: 60s }}
"
    ));
    let asked = asked.lock().unwrap();
    assert!(
        asked[0].contains("\r\nLast-Event-ID: e1:3\r\n"),
        "{}",
        asked[0]
    );
    assert_eq!(
        asked[1],
        r#"{"type":"subscribe","topic":"t","id":1,"since":5,"epoch":"e1"}"#
    );
    use Counter as C;
    assert_eq!(
        counts(
            &totals,
            [
                C::OverWebsocket,
                C::OverSse,
                C::StepsDown,
                C::Climbs,
                C::Climbed,
                C::EndedWebsocket,
                C::Reconnected,
                C::Resumed,
                C::ServiceGaps,
            ]
        ),
        [2, 1, 1, 1, 1, 1, 2, 1, 0]
    );
}

#[test]
fn who_is_lost_begins_at_the_top_again_or_stays_where_it_was() {
    for (climb, upgrades) in [("reconnect", 3), ("never", 1)] {
        let heads = Heads::default();
        let told = Arc::clone(&heads);
        let streams = Arc::new(AtomicUsize::new(0));
        let address = server(move |mut stream| {
            let head = read_head(&mut stream);
            told.lock().unwrap().push(head.clone());
            if head.contains("Sec-WebSocket-Key") {
                let _ = stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
                return;
            }
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            // Two of three streams end.
            if streams.fetch_add(1, Ordering::SeqCst) < 2 {
                std::thread::sleep(Duration::from_millis(50));
                let _ = stream.write_all(b"0\r\n\r\n");
            }
            let _ = stream.read(&mut [0; 64]);
        });
        let totals = run(&format!(
            "name: test
target: {{ url: 'ws://{address}/ws', close_timeout: 300ms }}
clients:
  subs:
    count: 1
    transport: [websocket, sse]
    fallback: {{ climb: {climb} }}
    subscribe: [t]
    reconnect: {{ backoff: constant, base: 20ms }}
phases: [ {{ name: only, for: 1s }} ]
generator: {{ drain: 200ms, max_lag: 60s }}
"
        ));
        let heads = heads.lock().unwrap();
        let of = |what: &str| heads.iter().filter(|head| head.contains(what)).count();
        assert_eq!((of("Sec-WebSocket-Key"), of("GET /events")), (upgrades, 3));
        use Counter as C;
        let climbs = upgrades as u64 - 1;
        assert_eq!(
            counts(&totals, [C::Climbs, C::Climbed, C::OverSse, C::EndedSse]),
            [climbs, 0, 3, 1],
            "{climb}"
        );
    }
}
