//! Event streams and posts, against a server whose every byte the test decides.

use crate::bench::{failures, read_head, run, server};
use squall::metrics::{Counter, Timer, Totals};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server does, each stream in turn; the last is for all that follow.
#[derive(Debug, Clone)]
enum Stream {
    /// Serves events as they are posted, in chunks, until so many were.
    Serves(usize),
    /// The same, and everything at once when so many have come.
    Hoards(usize),
    /// The same, and ends TCP in the middle of an event after so many.
    Breaks(usize),
    /// Answers this, and no more.
    Answers(&'static str),
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";

type Posted = Arc<(Mutex<Vec<String>>, std::sync::Condvar)>;
type Heads = Arc<Mutex<Vec<String>>>;

fn chunk(stream: &mut TcpStream, text: &str) {
    let _ = write!(stream, "{:x}\r\n{text}\r\n", text.len());
}

/// Reads the body of a post, and tells whoever waits.
fn take_post(head: &str, stream: &mut TcpStream, posted: &Posted) {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    posted.0.lock().unwrap().push(body);
    posted.1.notify_all();
}

/// A server of one topic: what is posted is what streams tell from then on.
fn serving(streams: Vec<Stream>, answer: &'static str) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let posted = Posted::default();
    let begun = Arc::new(Mutex::new(0));
    let address = server(move |mut stream| {
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            told.lock().unwrap().push(head.clone());
            if head.starts_with("POST") {
                take_post(&head, &mut stream, &posted);
                let _ = stream.write_all(answer.as_bytes());
                continue;
            }
            let n = {
                let mut begun = begun.lock().unwrap();
                *begun += 1;
                (*begun - 1).min(streams.len() - 1)
            };
            let from = match head.lines().find_map(|l| l.strip_prefix("Last-Event-ID: ")) {
                Some(id) => id.parse().unwrap(),
                None => posted.0.lock().unwrap().len(),
            };
            return serve(&streams[n], from, &posted, stream);
        }
    });
    (address, heads)
}

fn serve(what: &Stream, from: usize, posted: &Posted, mut stream: TcpStream) {
    let (most, hoards, breaks) = match what {
        Stream::Answers(answer) => {
            let _ = stream.write_all(answer.as_bytes());
            return;
        }
        Stream::Serves(most) => (*most, false, false),
        Stream::Hoards(most) => (*most, true, false),
        Stream::Breaks(most) => (*most, false, true),
    };
    let _ = stream.write_all(OK.as_bytes());
    chunk(&mut stream, ": welcome\n\nretry: 20\n\n");
    let mut held = String::new();
    for (n, at) in (from..).enumerate() {
        if n == most {
            break;
        }
        let text = {
            let mut all = posted.0.lock().unwrap();
            while all.len() <= at {
                let (more, waited) = posted
                    .1
                    .wait_timeout(all, std::time::Duration::from_secs(20))
                    .unwrap();
                all = more;
                if waited.timed_out() {
                    return;
                }
            }
            all[at].clone()
        };
        held.push_str(&format!("id: {}\r\ndata: {text}\r\n\r\n", at + 1));
        if !hoards || n + 1 == most {
            chunk(&mut stream, &std::mem::take(&mut held));
        }
    }
    if breaks {
        chunk(&mut stream, "data: half");
        return;
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    // Until the other side goes.
    let _ = stream.read(&mut [0; 64]);
}

const CREATED: &str = "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok";

fn one(streams: Vec<Stream>, answer: &'static str, sse: &str, more: &str) -> (Totals, Vec<String>) {
    let (address, heads) = serving(streams, answer);
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/ignored', query: {{ key: k }}, close_timeout: 300ms }}
clients:
  subs:
    count: 1
    vars: {{ tenant: {{ cycle: ['a b'] }} }}
    transport: {{ sse: {{ path: '/{{tenant}}/events?topic={{topic}}'{sse} }} }}
    protocol: raw
    subscribe: ['{{tenant}}/t', u]
{more}
  pubs:
    count: 1
    transport: sse
    protocol: raw
    publish: {{ topic: 'a b/t', rate: 50/s, size: 80B }}
phases:
  - {{ name: first, for: 200ms, open: {{ subs: all_at_once }} }}
  - {{ name: second, for: 600ms, open: {{ pubs: all_at_once }} }}
generator: {{ drain: 300ms, max_lag: 60s }}
"
    ));
    let heads = heads.lock().unwrap().clone();
    (totals, heads)
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

const ENDLESS: usize = usize::MAX;

#[test]
fn what_is_posted_comes_in_events_and_is_acknowledged() {
    let (totals, heads) = one(vec![Stream::Serves(ENDLESS)], CREATED, "", "");
    let [sent, acked, received, lost, rejected] = counts(
        &totals,
        [
            Counter::Sent,
            Counter::Acked,
            Counter::Received,
            Counter::Lost,
            Counter::Rejected,
        ],
    );
    assert!(sent >= 20, "{sent}");
    assert_eq!((acked, received, lost, rejected), (sent, sent, 0, 0));
    assert_eq!(totals.histogram(Timer::Ack, None, None).len(), sent);
    assert_eq!(failures(&totals), BTreeMap::new());
    let get = heads.iter().find(|head| head.starts_with("GET")).unwrap();
    assert!(
        get.starts_with("GET /a%20b/events?topic=a%20b%2Ft%2Cu&key=k HTTP/1.1\r\n"),
        "{get}"
    );
    assert!(get.contains("\r\nAccept: text/event-stream\r\n") && !get.contains("Last-Event-ID"));
    let post = heads.iter().find(|head| head.starts_with("POST")).unwrap();
    assert!(
        post.starts_with("POST /publish?topic=a%20b%2Ft&key=k HTTP/1.1\r\n"),
        "{post}"
    );
    assert!(post.contains("\r\nContent-Type: text/plain\r\n"));
}

#[test]
fn a_stream_that_ends_or_breaks_is_taken_up_where_it_was() {
    let resume = "    reconnect: { backoff: none, resume: true }";
    let streams = vec![
        Stream::Serves(5),
        Stream::Breaks(5),
        Stream::Serves(ENDLESS),
    ];
    let (totals, heads) = one(streams, CREATED, "", resume);
    let [sent, received, lost, missed, duplicated, back] = counts(
        &totals,
        [
            Counter::Sent,
            Counter::Received,
            Counter::Lost,
            Counter::Missed,
            Counter::Duplicated,
            Counter::Reconnected,
        ],
    );
    assert_eq!(
        (received, lost, missed, duplicated, back),
        (sent, 0, 0, 0, 2)
    );
    // One ended as it should, the other did not.
    assert_eq!(failures(&totals), [("eof", 1)].into());
    let ids: Vec<&str> = heads
        .iter()
        .filter_map(|head| head.lines().find_map(|l| l.strip_prefix("Last-Event-ID: ")))
        .collect();
    assert_eq!(ids, ["5", "10"]);
    // `retry` is the least wait, though the policy has none.
    let reconnect = totals.histogram(Timer::Reconnect, None, None);
    assert!(reconnect.min() >= 19_900, "{} µs", reconnect.min());
}

#[test]
fn an_answer_that_is_no_stream_is_final_unless_it_is_to_be_tried_again() {
    const NO: &str = "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n";
    const NEVER: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const PAGE: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi";
    let again = "    reconnect: { backoff: constant, base: 20ms }";
    let table = [
        (NO, "", "status", 1),
        (NEVER, ", keep_trying: true", "status", 1),
        (PAGE, "", "handshake", 1),
        (NO, ", keep_trying: true", "status", 2),
        (PAGE, ", keep_trying: true", "handshake", 2),
    ];
    for (answer, sse, failure, least) in table {
        let (totals, _) = one(vec![Stream::Answers(answer)], CREATED, sse, again);
        let failed = failures(&totals)[failure];
        assert!(
            failed >= least && (failed == 1) == (least == 1),
            "{answer}: {failed}"
        );
        let stopped = totals.count(Counter::Stopped, None, None);
        assert_eq!(stopped, u64::from(least == 1), "{answer}");
    }
}

#[test]
fn a_post_that_is_refused_is_rejected() {
    let (totals, _) = one(
        vec![Stream::Serves(ENDLESS)],
        "HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n",
        "",
        "",
    );
    let [sent, acked, rejected] =
        counts(&totals, [Counter::Sent, Counter::Acked, Counter::Rejected]);
    assert!(sent > 0);
    assert_eq!((acked, rejected), (0, sent));
    assert_eq!(totals.statuses(None, None), [(429, sent)].into());
}

#[test]
fn what_a_proxy_holds_back_shows_as_bunches() {
    let (freely, _) = one(vec![Stream::Serves(ENDLESS)], CREATED, "", "");
    let (held, _) = one(
        vec![Stream::Hoards(10)],
        CREATED,
        "",
        "    reconnect: { backoff: none }",
    );
    let bunch = |totals: &Totals| totals.histogram(Timer::Bunch, None, None);
    // Ten messages at 50/s are sent over 180 ms. On a busy machine some of the others come together too, but not most of them.
    assert!(bunch(&held).max() >= 150_000, "{}", bunch(&held).max());
    let alone = bunch(&freely).value_at_quantile(0.5);
    assert!(alone < 20_000, "{alone}");
}

/// A server of polls: each is answered with what was posted since its cursor, when there is something; the n-th answer of a
/// connection ends it.
fn polling(ends_after: usize) -> (SocketAddr, Heads) {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let posted = Posted::default();
    let address = server(move |mut stream| {
        let mut answers = 0;
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            told.lock().unwrap().push(head.clone());
            if head.starts_with("POST") {
                take_post(&head, &mut stream, &posted);
                let _ = stream.write_all(CREATED.as_bytes());
                continue;
            }
            let from = head.lines().find_map(|l| l.strip_prefix("If-None-Match: "));
            let from = match from {
                Some(cursor) => cursor.parse().unwrap(),
                None => posted.0.lock().unwrap().len(),
            };
            let (lines, to) = {
                let mut all = posted.0.lock().unwrap();
                while all.len() <= from {
                    let (more, waited) = posted
                        .1
                        .wait_timeout(all, std::time::Duration::from_secs(20))
                        .unwrap();
                    all = more;
                    if waited.timed_out() {
                        return;
                    }
                }
                (all[from..].join("\n"), all.len())
            };
            answers += 1;
            let last = if answers == ends_after {
                "Connection: close\r\n"
            } else {
                ""
            };
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nEtag: {to}\r\n{last}Content-Length: {}\r\n\r\n{lines}",
                lines.len()
            );
            if !last.is_empty() {
                return;
            }
        }
    });
    (address, heads)
}

#[test]
fn polls_say_how_far_they_heard_and_nothing_is_lost_between_them() {
    for ends_after in [ENDLESS, 7] {
        let (address, heads) = polling(ends_after);
        let totals = run(&format!(
            "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  subs:
    count: 1
    transport: {{ long_poll: {{ cursor: {{ from: ETag, header: If-None-Match }} }} }}
    protocol: raw
    subscribe: [t]
    reconnect: {{ backoff: none, resume: true }}
  pubs:
    count: 1
    transport: sse
    protocol: raw
    publish: {{ topic: t, rate: 50/s, size: 80B }}
phases:
  - {{ name: first, for: 200ms, open: {{ subs: all_at_once }} }}
  - {{ name: second, for: 600ms, open: {{ pubs: all_at_once }} }}
generator: {{ drain: 300ms, max_lag: 60s }}
"
        ));
        let [sent, received, lost, missed, duplicated, back] = counts(
            &totals,
            [
                Counter::Sent,
                Counter::Received,
                Counter::Lost,
                Counter::Missed,
                Counter::Duplicated,
                Counter::Reconnected,
            ],
        );
        assert!(sent >= 20, "{sent}");
        assert_eq!((received, lost, missed, duplicated), (sent, 0, 0, 0));
        assert_eq!(back > 0, ends_after == 7, "{back}");
        let polls = heads.lock().unwrap();
        let polls: Vec<_> = polls
            .iter()
            .filter(|head| head.starts_with("GET"))
            .collect();
        assert!(polls[0].starts_with("GET /poll?topic=t HTTP/1.1\r\n"));
        assert!(!polls[0].contains("If-None-Match"));
        assert!(
            polls[1..]
                .iter()
                .all(|head| head.contains("If-None-Match: "))
        );
        let gaps = totals.histogram(Timer::Gap, None, None);
        assert_eq!(
            gaps.len(),
            polls.len() as u64 - 1 - back,
            "one between two of a connection"
        );
        assert_eq!(failures(&totals), BTreeMap::new());
    }
}

/// However a service says that nothing came, the next poll goes out.
#[test]
fn polls_answered_by_nothing_go_on() {
    for status in ["204 None", "304 Same", "408 Late"] {
        answered_by(status);
    }
}

fn answered_by(status: &'static str) {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let address = server(move |mut stream| {
        loop {
            let head = read_head(&mut stream);
            if head.is_empty() {
                return;
            }
            told.lock().unwrap().push(head);
            std::thread::sleep(std::time::Duration::from_millis(20));
            let length = if status.starts_with("408") {
                "Content-Length: 0\r\n"
            } else {
                ""
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\n{length}\r\n");
        }
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  subs: {{ count: 1, transport: long_poll, protocol: raw, subscribe: [t] }}
phases: [ {{ name: only, for: 600ms }} ]
generator: {{ drain: 100ms, max_lag: 60s }}
"
    ));
    assert!(heads.lock().unwrap().len() > 3, "{status}");
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.statuses(None, None), BTreeMap::new());
}

#[test]
fn a_poll_that_is_refused_is_tried_again() {
    let address = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n");
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/' }}
clients:
  subs: {{ count: 1, transport: long_poll, subscribe: [t], reconnect: {{ backoff: constant, base: 50ms }} }}
phases: [ {{ name: only, for: 400ms }} ]
"
    ));
    let refused = totals.statuses(None, None)[&502];
    assert!(refused >= 2, "{refused}");
    assert_eq!(failures(&totals), [("status", refused)].into());
}

/// The first poll is answered at once, while its connection is still in the steps of its opening.
#[test]
fn what_is_answered_before_a_connection_is_ready_is_followed_by_a_poll() {
    let polls = Arc::new(Mutex::new(0));
    let told = Arc::clone(&polls);
    let address = server(move |mut stream| {
        while !read_head(&mut stream).is_empty() {
            let first = {
                let mut polls = told.lock().unwrap();
                *polls += 1;
                *polls == 1
            };
            if !first {
                // Until the other side goes.
                let _ = stream.read(&mut [0; 64]);
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let totals = run(&format!(
        "name: test
target: {{ url: 'ws://{address}/', close_timeout: 300ms }}
clients:
  subs: {{ count: 1, transport: long_poll, protocol: raw, subscribe: [t], on_open: [{{ pause: 200ms }}] }}
phases: [{{ name: only, for: 600ms, open: {{ subs: all_at_once }} }}]
generator: {{ drain: 100ms, max_lag: 60s }}
"
    ));
    assert_eq!(*polls.lock().unwrap(), 2);
    assert_eq!(totals.count(Counter::Opened, None, None), 1);
    assert_eq!(failures(&totals), BTreeMap::new());
}
