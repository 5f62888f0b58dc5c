//! What each step of a message costs by itself: `cargo bench --bench micro [FILTER]`.
//!
//! Only what the library offers anyway. The timer wheel is the engine's own and not reachable from here; sockets, and with
//! them nearly all of a message's real cost, are `ci/bench`'s subject.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // helpers of benchmarks, as of tests

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use squall::fabric::wire::{Decoder, FromWorker, encode};
use squall::metrics::{Counter, Delivery, Gauges, Recorder, Snapshot, Timer, Totals};
use squall::plan::{self, Machine, Plan, Schedule};
use squall::protocol::{Codec, ProtocolConfig, Stamp};
use squall::scenario::{self, Options};
use squall::transport::ws::{Event, Inbound, Opcode, apply_mask, push_frame};

fn main() {
    divan::main();
}

const SIZES: [usize; 3] = [64, 512, 16 << 10];

/// Frames, as they are sent and as they come.
mod frames {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn push(bencher: Bencher, size: usize) {
        let payload = vec![b'x'; size];
        let mut out = Vec::with_capacity(2 * size);
        bencher.counter(BytesCount::new(size)).bench_local(|| {
            out.clear();
            push_frame(Opcode::Text, &[black_box(&payload)], [1, 2, 3, 4], &mut out)
        });
    }

    #[divan::bench(args = SIZES)]
    fn mask(bencher: Bencher, size: usize) {
        let mut payload = vec![b'x'; size];
        bencher
            .counter(BytesCount::new(size))
            .bench_local(|| apply_mask(black_box(&mut payload), black_box([1, 2, 3, 4]), 0));
    }

    /// A read's worth of whole frames; the time is of all of them.
    #[divan::bench(args = SIZES)]
    fn decode_a_full_buffer(bencher: Bencher, size: usize) {
        let frames = (64 << 10) / (size + 4);
        let mut bytes = Vec::new();
        for _ in 0..frames {
            let masked = bytes.len();
            push_frame(Opcode::Text, &[&vec![b'x'; size]], [0; 4], &mut bytes);
            // As a server sends it: without a mask.
            let head = if size < 126 { 2 } else { 4 };
            bytes[masked + 1] &= 0x7f;
            bytes.drain(masked + head..masked + head + 4);
        }
        let mut inbound = Inbound::default();
        bencher.counter(ItemsCount::new(frames)).bench_local(|| {
            let mut rest = black_box(&bytes[..]);
            let mut seen = 0;
            while let Ok(Some(Event::Text(text))) = inbound.next(&mut rest, 1 << 20) {
                seen += text.len();
            }
            assert_eq!(seen, frames * size);
        });
    }
}

fn stamp(seq: u64) -> Stamp {
    Stamp {
        run: 7,
        stream: 3,
        seq,
        intended_ns: 1_234_567_890,
        sent_ns: 1_234_667_890,
    }
}

/// Stamps and the messages around them.
mod messages {
    use super::*;

    #[divan::bench]
    fn stamp_write(bencher: Bencher) {
        let stamp = stamp(1_000_000);
        bencher.bench_local(|| black_box(&stamp).text());
    }

    /// With this much in front of it.
    #[divan::bench(args = [0, 64, 1024])]
    fn stamp_find(bencher: Bencher, before: usize) {
        let mut message = vec![b'{'; before];
        message.extend_from_slice(&stamp(1_000_000).text());
        message.resize(message.len() + 20, b'.');
        bencher.bench_local(|| Stamp::find(black_box(&message)).unwrap());
    }

    /// The gateway's dialect: the service's own number of a delivery.
    #[divan::bench]
    fn json_numbered(bencher: Bencher) {
        let codec = Codec::new(&ProtocolConfig::Json(Box::default()));
        let stamp = stamp(1_000_000).text();
        let payload = std::str::from_utf8(&stamp).unwrap();
        let message =
            format!(r#"{{"type":"message","topic":"acme/orders","seq":77,"payload":"{payload}"}}"#);
        bencher.bench_local(|| codec.numbered(black_box(message.as_bytes())).unwrap().1);
    }
}

/// A second's worth of recording, as a shard of two groups in a run of four phases.
fn recorded(messages: u64) -> Recorder {
    let mut recorder = Recorder::new(0, 4, 2);
    for i in 0..messages {
        recorder.count(Counter::Received, 1, 0, 1);
        recorder.time(
            Timer::Latency,
            1,
            0,
            300_000 + (i * 7919 % 4_000_000) as i64,
        );
        recorder.time(
            Timer::Service,
            1,
            0,
            200_000 + (i * 104_729 % 3_000_000) as i64,
        );
        recorder.time(Timer::Lag, 1, 1, 10_000 + (i * 31 % 90_000) as i64);
    }
    recorder
}

fn gauges() -> Gauges {
    Gauges {
        open: vec![1000, 1],
        opening: 0,
        waiting: 0,
        blocked: 0,
        cpu_ns: 1,
        rss: 1,
        descriptors: 1009,
        ..Gauges::default()
    }
}

fn snapshot() -> Snapshot {
    recorded(100_000).snapshot(1_000_000_000, gauges(), false)
}

/// What is measured, from the hot path to the totals.
mod metrics {
    use super::*;

    #[divan::bench]
    fn count(bencher: Bencher) {
        let mut recorder = recorded(1);
        bencher.bench_local(|| recorder.count(black_box(Counter::Received), 1, 0, 1));
    }

    #[divan::bench]
    fn time(bencher: Bencher) {
        let mut recorder = recorded(1);
        let mut ns = 0;
        bencher.bench_local(|| {
            ns = (ns + 7_919_000) % 10_000_000;
            recorder.time(black_box(Timer::Latency), 1, 0, ns);
        });
    }

    /// In order, the next message of one (connection, stream) after the other's; long enough to go round all of them.
    #[divan::bench(args = [1, 1000, 100_000], min_time = 0.1)]
    fn delivery_of_pairs(bencher: Bencher, pairs: u32) {
        let mut delivery = Delivery::new();
        for conn in 0..pairs {
            delivery.receive(conn, 0, 0, 0, true);
        }
        let (mut conn, mut seq) = (0, 1);
        bencher.bench_local(|| {
            let arrival = delivery.receive(conn, 0, seq, 0, true);
            conn += 1;
            if conn == pairs {
                (conn, seq) = (0, seq + 1);
            }
            arrival
        });
    }

    /// Of a second with 100,000 deliveries.
    #[divan::bench]
    fn snapshot_make(bencher: Bencher) {
        bencher
            .with_inputs(|| recorded(100_000))
            .bench_local_refs(|recorder| recorder.snapshot(1_000_000_000, gauges(), false));
    }

    #[divan::bench]
    fn snapshot_encode(bencher: Bencher) {
        let message = FromWorker::Snapshot(Box::new(snapshot()));
        let bytes = encode(&message).unwrap().len();
        bencher
            .counter(BytesCount::new(bytes))
            .bench_local(|| encode(black_box(&message)).unwrap());
    }

    #[divan::bench]
    fn snapshot_decode(bencher: Bencher) {
        let bytes = encode(&FromWorker::Snapshot(Box::new(snapshot()))).unwrap();
        let mut decoder = Decoder::<FromWorker>::default();
        bencher
            .counter(BytesCount::new(bytes.len()))
            .bench_local(|| {
                decoder.feed(black_box(&bytes));
                decoder.take().unwrap().unwrap()
            });
    }

    #[divan::bench]
    fn snapshot_merge(bencher: Bencher) {
        let mut totals = Totals::new(4, 2, 1);
        let mut next = snapshot();
        bencher
            .with_inputs(|| {
                let snapshot = next.clone();
                next.number += 1;
                next.at_ns += 1_000_000_000;
                snapshot
            })
            .bench_local_values(|snapshot| totals.absorb(snapshot).unwrap());
    }
}

/// The schedule that says what is due when.
mod pacing {
    use super::*;

    fn plan(arrivals: &str) -> Plan {
        let text = format!(
            "name: bench\ntarget: {{ url: \"ws://127.0.0.1:9/\" }}\nclients:\n  some:\n    count: 1000\n    protocol: raw\n    \
             publish: {{ rate: 100k/s, arrivals: {arrivals} }}\nphases:\n  - {{ name: only, for: 1h }}\n"
        );
        let document = scenario::parse("bench.yaml", &text, None, &Options::default()).unwrap();
        let machine = Machine {
            cores: 2,
            descriptors: 20_000,
            file_max: 1 << 20,
            port_range: (32768, 60999),
            memory_available: 8 << 30,
            somaxconn: 4096,
            ..Machine::default()
        };
        plan::compile(document.scenario(), document.files(), &machine)
            .unwrap()
            .plan
    }

    #[divan::bench(args = ["constant", "poisson"])]
    fn next(bencher: Bencher, arrivals: &str) {
        let plan = plan(arrivals);
        let group = &plan.groups()[0];
        let mut schedule = Schedule::new(&group.publish[0].profile, group, 0, 1, 0, 1);
        bencher.bench_local(|| schedule.next());
    }
}
