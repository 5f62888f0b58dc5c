//! Ways to the target that are not straight: proxies, redirects, IPv6; against servers whose every byte the test decides.

use crate::bench::{
    accept_with, failures, frame, raw, read_frame, read_head, read_to_end, run, server,
};
use squall::metrics::{Counter, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

type Heads = Arc<Mutex<Vec<String>>>;

fn sampled(totals: &Totals, kind: &str) -> Vec<String> {
    let samples = totals.samples().filter(|(k, _)| *k == kind);
    samples.map(|(_, text)| text.to_owned()).collect()
}

fn only(kind: &'static str, count: u64) -> BTreeMap<&'static str, u64> {
    [(kind, count)].into()
}

/// Accepts an upgrade, and answers the Close frame that comes.
fn serve(stream: &mut TcpStream) -> String {
    let head = accept_with(stream, "");
    if let Some((opcode, payload)) = read_frame(stream) {
        let _ = stream.write_all(&frame(opcode, &payload));
    }
    head
}

fn to(target: &str, more: &str) -> String {
    let text = raw("127.0.0.1:1".parse().unwrap(), 2, "300ms", more, "");
    text.replace("ws://127.0.0.1:1/", target)
}

#[test]
fn a_proxy_is_asked_for_the_way_and_sees_no_more_than_that() {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let proxy = server(move |mut stream| {
        let asked = read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: here\r\n\r\n");
        let head = serve(&mut stream);
        told.lock().unwrap().extend([asked, head]);
    });
    // Nobody here knows the name: it is the proxy's to look up.
    let more = format!(", proxy: \"http://us%20er:pa%3Ass@{proxy}\", connect_timeout: 1s");
    let totals = run(&to("ws://rt.invalid:9000/ws", &more));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.count(Counter::Opened, None, None), 2);
    let heads = heads.lock().unwrap();
    assert_eq!(heads.len(), 4);
    for pair in heads.chunks(2) {
        // us er:pa:ss
        let asked = "CONNECT rt.invalid:9000 HTTP/1.1\r\nHost: rt.invalid:9000\r\n\
                     Proxy-Authorization: Basic dXMgZXI6cGE6c3M=\r\n\r\n";
        assert_eq!(pair[0], asked);
        assert!(pair[1].starts_with("GET /ws HTTP/1.1\r\nHost: rt.invalid:9000\r\n"));
        assert!(!pair[1].contains("Authorization"), "{}", pair[1]);
    }
}

#[test]
fn what_fails_at_the_proxy_is_the_proxys() {
    let answered = |answer: &'static str| {
        let proxy = server(move |mut stream| {
            read_head(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            read_to_end(&stream);
        });
        let more = format!(", proxy: \"http://{proxy}\", connect_timeout: 1s");
        run(&to("ws://rt.invalid/ws", &more))
    };
    for (answer, said) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            "407 Proxy Authentication Required",
        ),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\nno", "502 Bad Gateway"),
        ("garbage\r\n\r\n", "the answer to CONNECT is not HTTP"),
        ("", "eof"),
    ] {
        let totals = answered(answer);
        assert_eq!(failures(&totals), only("proxy", 2), "{answer}");
        assert_eq!(sampled(&totals, "proxy"), [said], "{answer}");
        // The target has said nothing.
        assert!(totals.statuses(None, None).is_empty());
    }
    // Nobody is there; and what the target then says is the target's.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let totals = run(&to(
        "ws://rt.invalid/ws",
        &format!(", proxy: \"http://{nobody}\""),
    ));
    assert_eq!(failures(&totals), only("proxy", 2));
    assert_eq!(sampled(&totals, "proxy"), ["refused"]);
    let proxy = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");
    });
    let totals = run(&to(
        "ws://rt.invalid/ws",
        &format!(", proxy: \"http://{proxy}\""),
    ));
    assert_eq!(failures(&totals), only("status", 2));
    assert_eq!(totals.statuses(None, None)[&503], 2);
}

#[test]
fn a_redirect_is_a_failure_that_says_where_to() {
    let address = server(|mut stream| {
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n");
    });
    let totals = run(&raw(address, 2, "300ms", "", ""));
    assert_eq!(failures(&totals), only("redirect", 2));
    assert_eq!(totals.statuses(None, None)[&302], 2);
    assert_eq!(sampled(&totals, "redirect"), ["302 to /elsewhere"]);
    // Likewise of a stream, and of polls, which follow none.
    for transport in ["sse", "long_poll"] {
        let follow = if transport == "sse" { 0 } else { 3 };
        let totals = run(&format!(
            "name: test\ntarget: {{ url: 'ws://{address}/', follow_redirects: {follow} }}\nclients:\n  some: {{ count: 2, transport: {transport}, subscribe: [t] }}\nphases: [ {{ name: only, for: 300ms }} ]\n"
        ));
        assert_eq!(failures(&totals), only("redirect", 2), "{transport}");
        assert_eq!(sampled(&totals, "redirect"), ["302 to /elsewhere"]);
    }
}

#[test]
fn redirects_are_followed_as_far_as_they_may() {
    // From `/` to `/1`, and so on up to `/3`, which is it.
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let address = server(move |mut stream| {
        let mut peeked = [0; 512];
        let n = stream.peek(&mut peeked).unwrap_or(0);
        let line = String::from_utf8_lossy(&peeked[..n]).into_owned();
        if line.starts_with("GET /3?x ") {
            let head = serve(&mut stream);
            told.lock().unwrap().push(head);
            return;
        }
        read_head(&mut stream);
        let next = match &line[..6] {
            "GET / " => "1",
            "GET /1" => "/2?y",
            _ => "?x",
        };
        // The last one is relative: `/2?y` to `/3?x` by its whole address.
        let next = match next {
            "?x" => format!("http://{}/3?x", stream.local_addr().unwrap()),
            next => next.to_owned(),
        };
        let _ = write!(
            stream,
            "HTTP/1.1 307 Go\r\nLocation: {next}\r\nContent-Length: 0\r\n\r\n"
        );
        read_to_end(&stream);
    });
    let more = ", follow_redirects: 3, headers: { Authorization: Basic abcd }";
    let totals = run(&raw(address, 2, "400ms", more, ""));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.count(Counter::Opened, None, None), 2);
    assert_eq!(totals.count(Counter::Attempts, None, None), 2);
    // What is followed is no refusal.
    assert_eq!(totals.statuses(None, None), BTreeMap::new());
    // It is the same host: it may know.
    let heads = heads.lock().unwrap();
    assert!(
        heads.iter().all(|head| head.contains("Basic abcd")),
        "{heads:?}"
    );
    let more = ", follow_redirects: 2";
    let totals = run(&raw(address, 2, "400ms", more, ""));
    assert_eq!(failures(&totals), only("redirect", 2));
    let said = sampled(&totals, "redirect");
    assert!(
        said[0].ends_with(": these are more redirects than are followed"),
        "{said:?}"
    );
}

#[test]
fn another_host_is_sent_no_credentials() {
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    let other = server(move |mut stream| {
        let head = serve(&mut stream);
        told.lock().unwrap().push(head);
    });
    let first = server(move |mut stream| {
        read_head(&mut stream);
        let _ = write!(
            stream,
            "HTTP/1.1 301 Moved\r\nLocation: ws://{other}/there\r\n\r\n"
        );
        read_to_end(&stream);
    });
    let more = ", follow_redirects: 1, cookies: { session: canary1 }, query: { token: canary2 }, \
                headers: { Authorization: Bearer canary3, X-Key: canary4, Origin: 'https://seen' }";
    let totals = run(&raw(first, 2, "300ms", more, ""));
    assert_eq!(failures(&totals), BTreeMap::new());
    for head in heads.lock().unwrap().iter() {
        assert!(
            head.starts_with(&format!("GET /there HTTP/1.1\r\nHost: {other}\r\n")),
            "{head}"
        );
        assert!(
            head.contains("Origin: https://seen") && !head.contains("canary"),
            "{head}"
        );
    }
    assert_eq!(heads.lock().unwrap().len(), 2);
    // Who would have to say who it is does not go there.
    let group = "    auth: { bearer: canary5, in: { message: 'hello {token}' } }\n";
    let totals = run(&raw(first, 2, "300ms", ", follow_redirects: 1", group));
    assert_eq!(failures(&totals), only("redirect", 2));
    let said = sampled(&totals, "redirect");
    assert!(
        said[0].ends_with(": another host is not shown who the client is"),
        "{said:?}"
    );
    assert_eq!(heads.lock().unwrap().len(), 2);
}

#[test]
fn a_stream_follows_too() {
    let address = server(|mut stream| {
        let head = read_head(&mut stream);
        if head.starts_with("GET /events") {
            let _ = stream
                .write_all(b"HTTP/1.1 308 Go\r\nLocation: /other?a=b\r\nContent-Length: 0\r\n\r\n");
        } else {
            assert!(head.starts_with("GET /other?a=b HTTP/1.1\r\n"), "{head}");
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        }
        read_to_end(&stream);
    });
    let totals = run(&format!(
        "name: test\ntarget: {{ url: 'ws://{address}/', follow_redirects: 1 }}\nclients:\n  some: {{ count: 2, transport: sse, subscribe: [t] }}\nphases: [ {{ name: only, for: 300ms }} ]\n"
    ));
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.count(Counter::Opened, None, None), 2);
}

#[test]
fn ipv6_is_dialled_from_its_own_addresses_and_named_in_brackets() {
    let listener = TcpListener::bind("[::1]:0").expect("this machine has IPv6 on its loopback");
    let address: SocketAddr = listener.local_addr().unwrap();
    let heads = Heads::default();
    let told = Arc::clone(&heads);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let told = Arc::clone(&told);
            std::thread::spawn(move || {
                let head = serve(&mut stream);
                told.lock().unwrap().push(head);
            });
        }
    });
    // Of the sources those of the other family are of no use.
    let text = raw(address, 4, "300ms", "", "").replace(
        "generator: { ",
        "generator: { sources: [127.0.0.1, '::1', 127.0.0.2], ",
    );
    let totals = run(&text);
    assert_eq!(failures(&totals), BTreeMap::new());
    assert_eq!(totals.count(Counter::Opened, None, None), 4);
    let host = format!("Host: [::1]:{}\r\n", address.port());
    let heads = heads.lock().unwrap();
    assert!(
        heads.len() == 4 && heads.iter().all(|head| head.contains(&host)),
        "{heads:?}"
    );
}

#[test]
fn a_poll_that_is_never_answered_is_given_up() {
    let address = server(|mut stream| {
        // The first one is answered.
        read_head(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        read_to_end(&stream);
    });
    let totals = run(&format!(
        "name: test\ntarget: {{ url: 'ws://{address}/' }}\nclients:\n  some: {{ count: 2, transport: {{ long_poll: {{ timeout: 300ms }} }}, subscribe: [t] }}\nphases: [ {{ name: only, for: 2s }} ]\ngates: ['failed dead == 2', 'detect max < 10s']\n"
    ));
    assert_eq!(failures(&totals), only("dead", 2));
    let detected = totals.histogram(squall::metrics::Timer::Detect, None, None);
    assert_eq!(detected.len(), 2);
    assert!(detected.min() >= 290_000, "{} µs", detected.min());
}
