//! In steady state a shard allocates nothing per message of a plain connection: sending, receiving, measuring and accounting are all done in memory that is
//! there already. What it allocates each second (its snapshot) does not depend on how many messages there were.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of tests are tests

use squall::engine::{self, Control, Report, Spec};
use squall::gateway;
use squall::metrics::{Counter, Snapshot, Totals};
use squall::plan::{self, Machine};
use squall::scenario::{self, Options};
use squall::transport::handshake;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tokio::sync::mpsc;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what each thread asks of it.
struct Counting;

// SAFETY: everything is passed on to the system's allocator; the count is a plain number of the thread, without a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { System.realloc(at, layout, size) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Seconds at the low rate, then as many at the high one; the first of each fill queues and histograms to their new size.
const SECONDS: usize = 4;
const SETTLING: usize = 2;
/// The high rate as a multiple of the low one.
const FACTOR: u64 = 10;
/// What a second may allocate more than another for reasons that are not messages: growing histograms, snapshots with another
/// number of entries, a timer's slot used for the first time.
const SLACK: u64 = 60;

/// A second of a run: messages sent and received, and what the shard's thread allocated.
#[derive(Debug, Clone, Copy)]
struct Second {
    messages: u64,
    allocations: u64,
}

/// Runs one shard on this thread and returns its seconds. The scenario's phases follow from the clients given.
fn seconds(address: SocketAddr, clients: &str, groups: &[&str]) -> (Vec<Second>, Totals) {
    let burst = |group: &&str| format!("{{ burst: {{ clients: {group}, rate: {FACTOR}x }} }}");
    let bursts = groups.iter().map(burst).collect::<Vec<_>>().join(", ");
    let text = format!(
        "name: test\ntarget: {{ url: \"ws://{address}/\" }}\nclients:\n{clients}\
         phases:\n  - {{ name: low, for: {SECONDS}s }}\n  - name: high\n    for: {SECONDS}s\n    \
         faults: [{bursts}]\n"
    );
    let document = scenario::parse("test.yaml", &text, None, &Options::default())
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
    let plan = plan::compile(document.scenario(), document.files(), &machine)
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
    // With room for all of them: keeping them must not count.
    let mut snapshots: Vec<(u64, Snapshot)> = Vec::with_capacity(64);
    runtime.block_on(async {
        let shard = tokio::task::spawn_local(engine::run(spec, control, report));
        while let Some(report) = reports.recv().await {
            match report {
                Report::Ready => orders
                    .send(Control::Start {
                        at: engine::monotonic_ns(),
                    })
                    .unwrap(),
                Report::Snapshot(snapshot) => snapshots.push((ALLOCATIONS.get(), *snapshot)),
                Report::Published(ends) => orders.send(Control::Streams(ends)).unwrap(),
                Report::Settled => orders.send(Control::Finish).unwrap(),
                Report::Finished => break,
            }
        }
        shard.await.unwrap().unwrap();
    });
    let (mut before, mut counted) = (0, 0);
    let mut seconds = Vec::new();
    for (allocations, snapshot) in snapshots {
        totals.absorb(snapshot).unwrap();
        let all = [
            Counter::Sent,
            Counter::Received,
            Counter::Requests,
            Counter::Replies,
        ];
        let messages = all.iter().map(|c| totals.count(*c, None, None)).sum();
        seconds.push(Second {
            messages: messages - counted,
            allocations: allocations - before,
        });
        (before, counted) = (allocations, messages);
    }
    totals.finish();
    (seconds, totals)
}

/// Compares settled seconds at the low and at the high rate.
fn assert_nothing_per_message(seconds: &[Second]) {
    // The first snapshot is the start's.
    let low = &seconds[1 + SETTLING..1 + SECONDS];
    let high = &seconds[1 + SECONDS + SETTLING..1 + 2 * SECONDS];
    let least = |of: &[Second]| of.iter().map(|s| s.messages).min().unwrap();
    let most = |of: &[Second]| of.iter().map(|s| s.messages).max().unwrap();
    assert!(
        least(high) > most(low) * FACTOR / 2 && least(high) > SLACK * 50,
        "the rates are not what the test is about: {seconds:?}"
    );
    // A second in which the machine was busy elsewhere may grow a queue once more: the best of each is compared.
    let allocations = |of: &[Second]| of.iter().map(|s| s.allocations).min().unwrap();
    assert!(
        allocations(high) <= allocations(low) + SLACK,
        "{} allocations in a second with {} messages, {} in one with {}: {seconds:?}",
        allocations(high),
        least(high),
        allocations(low),
        most(low),
    );
}

/// Echoes every frame of one connection after its upgrade.
fn echo(stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = &stream;
    let mut key = String::new();
    for line in reader.by_ref().lines() {
        let line = line?;
        if let Some(value) = line.strip_prefix("Sec-WebSocket-Key: ") {
            key = handshake::accept_key(value);
        }
        if line.is_empty() {
            break;
        }
    }
    write!(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {key}\r\n\r\n"
    )?;
    loop {
        // Payloads here are under 126 bytes.
        let mut head = [0; 6];
        reader.read_exact(&mut head)?;
        let len = usize::from(head[1] & 0x7f);
        assert!(len < 126);
        let mut frame = vec![0; 2 + len];
        reader.read_exact(&mut frame[2..])?;
        for (i, byte) in frame[2..].iter_mut().enumerate() {
            *byte ^= head[2 + i % 4];
        }
        // A ping becomes a pong, all else goes back as it is.
        frame[0] = if head[0] == 0x89 { 0x8a } else { head[0] };
        frame[1] = len as u8;
        writer.write_all(&frame)?;
        if head[0] == 0x88 {
            return Ok(());
        }
    }
}

/// Round trips and streams of a raw protocol that come back.
#[test]
fn raw_messages_allocate_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || echo(stream));
        }
    });
    let (seconds, totals) = seconds(
        address,
        "  some:\n    count: 4\n    protocol: raw\n    heartbeat: { every: 1s, timeout: 5s }\n    reconnect: {}\n    \
         publish: { rate: 100/s, size: { uniform: [48B, 90B] } }\n    \
         request: { rate: 100/s, reply: stamp, timeout: 500ms }\n",
        &["some"],
    );
    assert_eq!(
        totals.count(Counter::Unique, None, None),
        totals.count(Counter::Sent, None, None)
    );
    assert_nothing_per_message(&seconds);
}

/// A gateway, while what is done with it lasts.
fn with_gateway(what: impl FnOnce(SocketAddr)) {
    let (ready, address) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let config = gateway::Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            history: Some(gateway::History::default()),
            ..gateway::Config::default()
        };
        let tell = move |at| ready.send(at).unwrap();
        let ended = async { drop(ended.await) };
        runtime
            .block_on(gateway::serve(config, ended, tell))
            .unwrap();
    });
    what(address.recv().unwrap());
    drop(end);
    server.join().unwrap();
}

/// Fan-out, publishes with an id of their own and questions in the gateway's JSON dialect, some of them made smaller.
#[test]
fn json_messages_allocate_nothing() {
    with_gateway(|address| {
        let (seconds, totals) = seconds(
            address,
            "  hearers:\n    count: 20\n    subscribe: [news]\n    heartbeat: { every: 1s, timeout: 5s }\n    reconnect: { resume: true }\n  \
             sitters:\n    count: 2\n    subscribe: [news]\n    compression: {}\n    \
             reconnect: { resume: { first: '{last}', last: /seq, recovered: { contains: ok } } }\n  \
             numberers:\n    count: 1\n    compression: { client_no_context_takeover: true, server_no_context_takeover: true }\n    publish: { topic: news, rate: 10/s, size: 200B }\n    protocol:\n      json_mapping: \
             { publish: '{\"type\":\"publish\",\"topic\":\"{topic}\",\"id\":{id},\"payload\":\"{payload}\"}' }\n  \
             speakers:\n    count: 2\n    compression: {}\n    publish: { topic: news, rate: 20/s, size: 200B }\n    \
             request: { rate: 50/s, timeout: 500ms }\n",
            &["numberers", "speakers"],
        );
        assert_eq!(totals.count(Counter::Lost, None, None), 0);
        assert!(totals.count(Counter::Replies, None, None) > 0);
        // With the window kept and without, both ways.
        assert_eq!(totals.count(Counter::Compressed, None, None), 5);
        assert!(totals.count(Counter::InflatedReceived, None, None) > 0);
        assert_nothing_per_message(&seconds);
    });
}

/// Fan-out and acknowledged publishes in Socket.IO, over WebSocket and by polling.
#[test]
fn socket_io_messages_allocate_nothing() {
    with_gateway(|address| {
        let (seconds, totals) = seconds(
            address,
            "  hearers:\n    count: 20\n    subscribe: [news]\n    protocol: socket_io\n    reconnect: { resume: true }\n  \
             pollers:\n    count: 5\n    subscribe: [news]\n    protocol: { socket_io: { polling: only } }\n  \
             speakers:\n    count: 2\n    protocol: socket_io\n    publish: { topic: news, rate: 20/s, size: 200B }\n  \
             posters:\n    count: 2\n    protocol: { socket_io: { polling: only } }\n    publish: { topic: news, rate: 20/s, size: 200B }\n",
            &["speakers", "posters"],
        );
        assert_eq!(totals.count(Counter::Lost, None, None), 0);
        assert_eq!(totals.count(Counter::Unacked, None, None), 0);
        assert_nothing_per_message(&seconds);
    });
}
