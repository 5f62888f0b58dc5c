//! The real binary through a proxy, to a target on IPv6, and what nobody gets to read of the credentials on the way.

use crate::harness::{Gateway, Lab, squall};
use std::io::{Read, Write, copy};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A proxy that lets through whoever says this, and takes so long before it turns to the next; how many it let. It ends with the test's process.
pub(crate) fn proxy(authorization: &'static str, each: Duration) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let passed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&passed);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::sleep(each);
            let counted = Arc::clone(&counted);
            std::thread::spawn(move || pass(stream, authorization, &counted));
        }
    });
    (address, passed)
}

fn pass(mut client: TcpStream, authorization: &str, counted: &AtomicU64) {
    let head = read_head(&mut client);
    if !head.contains(&format!("Proxy-Authorization: {authorization}\r\n")) {
        let _ = client.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n");
        return;
    }
    let to = head
        .strip_prefix("CONNECT ")
        .and_then(|rest| rest.split(' ').next());
    let Some(mut target) = to.and_then(|to| TcpStream::connect(to).ok()) else {
        let _ = client.write_all(b"HTTP/1.1 502 Nobody there\r\n\r\n");
        return;
    };
    counted.fetch_add(1, Ordering::Relaxed);
    let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
    let (mut from, mut back) = (
        client.try_clone().expect("a socket"),
        target.try_clone().expect("a socket"),
    );
    std::thread::spawn(move || {
        let _ = copy(&mut from, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Write);
    });
    let _ = copy(&mut target, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

/// WebSockets, streams, polls and posts, plain or over TLS, all through one proxy.
#[test]
fn whatever_goes_through_a_proxy_is_delivered_exactly() {
    // u:canary-proxy
    let (address, passed) = proxy("Basic dTpjYW5hcnktcHJveHk=", Duration::ZERO);
    for tls in [false, true] {
        let before = passed.load(Ordering::Relaxed);
        let scenario = format!(
            "
name: proxied
target: {{ embedded: {{ tls: {tls} }}, proxy: 'http://u:canary-proxy@{address}' }}
clients:
  sockets: {{ count: 4, subscribe: [t] }}
  streams: {{ count: 3, transport: sse, subscribe: [t] }}
  polls: {{ count: 2, transport: long_poll, subscribe: [t] }}
  posts: {{ count: 1, transport: sse, publish: {{ topic: t, rate: 40/s, in: told }} }}
phases:
  - {{ name: open, for: 500ms }}
  - {{ name: told, for: 1s }}
gates: ['opened == 10', 'failed == 0', 'sent == 40', 'expected == 360', 'lost == 0', 'duplicated == 0']
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
        );
        let done = Lab::new(&scenario).run(&[]);
        let summary = done.expect(0).summary();
        assert_eq!(summary.0.pointer("/timers/tls").is_some(), tls);
        assert_eq!(passed.load(Ordering::Relaxed) - before, 10);
    }
}

/// The proxy says in its refusal all that it might have read: of what is written nothing has it.
#[test]
fn credentials_of_proxies_brokers_and_protocols_are_in_nothing_that_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let proxy = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            read_head(&mut stream);
            // By itself, and as it was sent: u:canary-proxy.
            let said = "canary-proxy canary-stomp canary-mqtt canary-nats canary-hook dTpjYW5hcnktcHJveHk=";
            let _ = write!(stream, "HTTP/1.1 403 {said}\r\n\r\n");
        }
    });
    let scenario = format!(
        "
name: canaries
target: {{ url: 'ws://seen.invalid/ws', proxy: 'http://u:canary-proxy@{proxy}' }}
clients:
  s: {{ count: 1, protocol: {{ stomp: {{ login: me, passcode: canary-stomp }} }}, subscribe: [t] }}
  m: {{ count: 1, protocol: {{ mqtt: {{ username: me, password: canary-mqtt }} }}, subscribe: [t] }}
  r: {{ count: 1, auth: {{ jwt: {{ secret: a-secret }} }}, subscribe: [t] }}
inject:
  n: {{ nats: {{ url: 'nats://u:canary-nats@127.0.0.1:9', subject: seen }}, topic: t, rate: 1/s }}
phases:
  - name: p
    for: 1s
    faults:
      - revoke: {{ clients: r, count: 1, webhook: {{ url: 'https://127.0.0.1:9/', body: '{{token}}', headers: {{ Authorization: Basic canary-hook }} }} }}
gates: ['failed proxy == 3']
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    );
    let lab = Lab::new(&scenario);
    let done = lab.run(&[]);
    assert_eq!(done.summary().at("/failures/proxy"), 3);
    let check = squall()
        .current_dir(lab.path())
        .args(["check", "scenario.yaml"])
        .output()
        .expect("it runs");
    let mut all = vec![done.stdout.clone(), done.stderr.clone()];
    all.push(String::from_utf8_lossy(&check.stdout).into_owned());
    all.push(String::from_utf8_lossy(&check.stderr).into_owned());
    for file in std::fs::read_dir(done.folder()).expect("a report") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        all.push(String::from_utf8_lossy(&bytes).into_owned());
    }
    assert!(all.len() > 8, "{} texts", all.len());
    // What was said is there, and nothing of what was hidden in it.
    assert!(all.iter().any(|text| text.contains("403 ")), "{all:?}");
    for text in &all {
        for secret in ["canary-", "dTpjYW5hcnk"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_target_on_ipv6_is_a_target_like_any_other() {
    let gateway = Gateway::at("[::1]:0");
    assert!(gateway.address.is_ipv6());
    let scenario = "
name: six
target: { url: 'ws://127.0.0.1:1/ws' }
clients:
  subs: { count: 4, subscribe: [t] }
  streams: { count: 2, transport: sse, subscribe: [t] }
  pubs: { count: 1, publish: { topic: t, rate: 40/s, in: told } }
phases:
  - { name: open, for: 500ms }
  - { name: told, for: 1s }
gates: ['opened == 7', 'failed == 0', 'sent == 40', 'expected == 240', 'lost == 0']
generator: { max_lag: 50s, max_cpu: 100%, sources: ['::1'] }
";
    let target = format!("ws://{}/ws", gateway.address);
    let done = Lab::new(scenario).run(&["--target", &target]);
    let summary = done.expect(0).summary();
    assert_eq!(
        summary.text("/endpoints/0/name"),
        target.trim_end_matches("/ws")
    );
}
