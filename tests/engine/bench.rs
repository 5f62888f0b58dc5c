//! A shard without fabric, and a server of a few scripted bytes.

use squall::engine::{self, Control, Report, Spec};
use squall::metrics::{Counter, Failure, Step, Totals};
use squall::plan::{self, Machine};
use squall::scenario::{self, Options};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::sync::mpsc;

/// Compiles a scenario text, runs all of it as one shard, and returns what it measured.
pub fn run(text: &str) -> Totals {
    run_when_ready(text, || Control::Start {
        at: engine::monotonic_ns(),
    })
}

/// The same, with the first order to be given.
pub fn run_when_ready(text: &str, first: impl Fn() -> Control) -> Totals {
    let document = scenario::parse("test.yaml", text, None, &Options::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let machine = Machine {
        cores: 2,
        descriptors: 20_000,
        file_max: 1 << 20,
        port_range: (32768, 60999),
        memory_available: 8 << 30,
        somaxconn: 4096,
        ..Machine::default()
    };
    let compiled = plan::compile(document.scenario(), document.files(), &machine);
    let plan = compiled
        .unwrap_or_else(|problems| panic!("{}", document.report(problems)))
        .plan;
    let mut totals = Totals::new(plan.phases().len(), plan.groups().len(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .unwrap();
    let (orders, control) = mpsc::unbounded_channel();
    let (report, mut reports) = mpsc::unbounded_channel();
    let spec = Spec {
        plan,
        run: 7,
        shard: 0,
        shards: 1,
    };
    runtime.block_on(async {
        let shard = tokio::task::spawn_local(engine::run(spec, control, report));
        while let Some(report) = reports.recv().await {
            match report {
                Report::Ready => orders.send(first()).unwrap(),
                Report::Snapshot(snapshot) => totals.absorb(*snapshot).unwrap(),
                Report::Published(ends) => orders.send(Control::Streams(ends)).unwrap(),
                Report::Settled => orders.send(Control::Finish).unwrap(),
                Report::Finished => break,
            }
        }
        shard.await.unwrap().unwrap();
    });
    totals.finish();
    // Whatever a test is about, nothing that was scheduled may disappear.
    let count = |counter| totals.count(counter, None, None);
    assert_eq!(
        count(Counter::Offered),
        count(Counter::Sent) + count(Counter::Dropped) + count(Counter::Cancelled)
    );
    assert_eq!(
        count(Counter::RequestsOffered),
        count(Counter::Requests)
            + count(Counter::RequestsDropped)
            + count(Counter::RequestsCancelled)
    );
    // Nor may the steps of 100 ms tell another story than the counters.
    let steps = totals.steps().between(0, u64::MAX);
    let sum = |of: fn(&Step) -> u32| steps.iter().map(|step| u64::from(of(step))).sum::<u64>();
    // What a fault of ours kept from the target is told apart.
    assert_eq!(
        sum(|step| step.attempts) + sum(|step| step.vain),
        count(Counter::Attempts)
    );
    assert!(
        sum(|step| step.opened) + sum(|step| step.failed) <= sum(|step| step.attempts),
        "of those that the target heard of"
    );
    assert_eq!(sum(|step| step.opened), count(Counter::Opened));
    assert!(sum(|step| step.crowded) <= sum(|step| step.failed));
    // Those that came back by their own plan are no part of a storm.
    let (back, again) = (sum(|step| step.back), count(Counter::Reconnected));
    let planned = count(Counter::Renewed) + count(Counter::Climbed);
    assert!(
        back <= again && again <= back + planned,
        "{back} of {again}, {planned}"
    );
    assert_eq!(
        count(Counter::Requests),
        count(Counter::Replies) + count(Counter::RequestTimeouts)
    );
    totals
}

/// Runs a shard that is held up from 300 ms on for 900 ms.
pub fn held_up(text: &str) -> Totals {
    run_when_ready(text, || {
        tokio::task::spawn_local(async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::thread::sleep(Duration::from_millis(900));
        });
        Control::Start {
            at: engine::monotonic_ns(),
        }
    })
}

/// Failures by kind, only those that happened.
pub fn failures(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let all = Failure::ALL
        .iter()
        .map(|f| (f.name(), totals.failures(Some(*f), None, None)));
    all.filter(|(_, count)| *count > 0).collect()
}

/// Serves every connection by `serve`, each on a thread of its own, until the test ends.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads a request's header.
pub fn read_head(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).into_owned()
}

/// Reads a request's header; its key.
pub fn read_request(stream: &mut TcpStream) -> String {
    key_of(&read_head(stream))
}

fn key_of(head: &str) -> String {
    let key = head
        .lines()
        .find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    key.unwrap_or_default().to_owned()
}

/// Accepts the upgrade as it should be.
pub fn accept(stream: &mut TcpStream) {
    accept_with(stream, "");
}

/// The same with further headers, each with its line end; the request's header.
pub fn accept_with(stream: &mut TcpStream, headers: &str) -> String {
    let head = read_head(stream);
    let accept = squall::transport::handshake::accept_key(&key_of(&head));
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
    );
    let _ = stream.write_all(answer.as_bytes());
    head
}

/// Reads until the peer ends the connection.
pub fn read_to_end(mut stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Reads one masked frame: opcode and payload; `None` at the end.
pub fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    read_whole_frame(stream).map(|(first, payload)| (first & 0x0f, payload))
}

/// The same with the whole of its first byte.
pub fn read_whole_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let len = match head[1] & 0x7f {
        126 => {
            let mut wide = [0; 2];
            stream.read_exact(&mut wide).ok()?;
            usize::from(u16::from_be_bytes(wide))
        }
        127 => {
            let mut wide = [0; 8];
            stream.read_exact(&mut wide).ok()?;
            u64::from_be_bytes(wide) as usize
        }
        len => usize::from(len),
    };
    assert_eq!(head[1] & 0x80, 0x80, "client frames are masked");
    let mut mask = [0; 4];
    stream.read_exact(&mut mask).ok()?;
    let mut payload = vec![0; len];
    stream.read_exact(&mut payload).ok()?;
    payload
        .iter_mut()
        .zip(mask.iter().cycle())
        .for_each(|(byte, mask)| *byte ^= mask);
    Some((head[0], payload))
}

/// A server's frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    match payload.len() {
        len @ 0..=125 => out.push(len as u8),
        len => {
            out.push(126);
            out.extend_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

/// What the kernel knows of a connection: `struct tcp_info` of linux/tcp.h, 0 where it knows less.
pub fn tcp_info(stream: &TcpStream) -> [u8; 256] {
    let mut info = [0; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the kernel writes at most `len` bytes.
    let asked = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    assert_eq!(asked, 0);
    info
}

/// A scenario of `count` raw connections that open at once, with `more` lines in the group.
pub fn raw(address: SocketAddr, count: u32, length: &str, target: &str, more: &str) -> String {
    format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\"{target} }}\nclients:\n  some:\n    count: {count}\n    protocol: raw\n{more}\
         phases:\n  - {{ name: only, for: {length} }}\ngenerator: {{ drain: 200ms }}\n"
    )
}
