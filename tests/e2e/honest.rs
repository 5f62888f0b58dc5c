//! Rules of measurement: each test here fails when its rule is broken.

use crate::harness::{Lab, send};
use nix::sys::signal::Signal::{SIGCONT, SIGKILL, SIGSTOP};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// One publisher (shard 0 of two) and one subscriber (shard 1), 500 messages a second for a time.
fn scenario(seconds: u32, generator: &str) -> String {
    format!(
        "
name: honest
target: {{ embedded: {{ queue: 100000 }} }}
clients:
  publishers: {{ count: 1, publish: {{ topic: t, rate: 500/s, size: 64B }} }}
  subscribers: {{ count: 1, subscribe: [t] }}
phases:
  - {{ name: open, for: 1s }}
  - {{ name: steady, for: {seconds}s }}
generator: {generator}
"
    )
    // The group starts at once, so the first phase is for opening only.
    .replace("rate: 500/s", "rate: 500/s, in: steady")
}

/// Stops a process for a time; returns how long it really was.
fn freeze(pid: i32, time: Duration) -> Duration {
    let start = Instant::now();
    send(pid, SIGSTOP);
    sleep(time);
    send(pid, SIGCONT);
    start.elapsed()
}

/// Sends follow the schedule whatever the target does: one that is frozen for S seconds of T shows in
/// the quantiles as x_q = S − (1 − q)·T, of deliveries and of requests. A closed loop, which waits for the
/// answer before it asks again, has next to no samples of the freeze. (That latency is counted from the intended time is what the
/// blocked shard below shows: here the generator is on time, so both times are the same.)
#[test]
fn a_frozen_target_shows_in_the_quantiles_by_the_formula() {
    let seconds = 10;
    let asking =
        "clients:\n  askers: { count: 1, request: { rate: 500/s, in: steady, timeout: 10s } }\n";
    let lab =
        Lab::new(&scenario(seconds, "{ shards: 2, max_lag: 2s }").replace("clients:\n", asking));
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let gateway = run.gateway();
    sleep(Duration::from_secs(2));
    let frozen = freeze(gateway, Duration::from_millis(1400)).as_secs_f64() * 1e3;
    let done = run.wait();
    let summary = done.expect(0).summary();
    let total = f64::from(seconds) * 1e3;
    for (name, quantile) in [
        ("latency/p99", 0.99),
        ("latency/p999", 0.999),
        ("rtt/p99", 0.99),
        ("rtt/p999", 0.999),
    ] {
        let expected = frozen - (1.0 - quantile) * total;
        let measured = summary.number(&format!("/timers_by_phase/steady/{name}"));
        let error = (measured - expected).abs() / expected;
        assert!(
            error < 0.10,
            "{name}: {measured} ms instead of {expected} ms ({:.1} %)",
            error * 100.0
        );
    }
    assert_eq!(summary.count("lost"), 0);
    assert_eq!(summary.count("received"), summary.count("sent"));
    assert_eq!(summary.count("sent"), 500 * u64::from(seconds));
    assert_eq!(summary.count("replies"), 500 * u64::from(seconds));
}

/// The generator is judged too: its own lateness is in the lag and in the response time, not in the
/// service time, and the run is not to be believed.
#[test]
fn a_blocked_shard_is_the_generators_fault() {
    let lab = Lab::new(&scenario(4, "{ shards: 2 }"));
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let publisher = run.shard(0);
    sleep(Duration::from_secs(1));
    freeze(publisher, Duration::from_millis(200));
    let done = run.wait();
    let summary = done.expect(106).summary();
    let max = |timer: &str| summary.number(&format!("/timers_by_phase/steady/{timer}/max"));
    assert!(max("lag") >= 190.0, "lag max {} ms", max("lag"));
    assert!(
        max("latency") >= 190.0,
        "response time max {} ms",
        max("latency")
    );
    assert!(
        max("service") < 100.0,
        "service time max {} ms",
        max("service")
    );
    assert_eq!(summary.text("/validity/state"), "invalid");
    assert!(
        summary.reasons().contains("generator-limited"),
        "{}",
        summary.reasons()
    );
}

/// The same run undisturbed is valid, so it is the disturbance that the others see.
#[test]
fn an_undisturbed_run_is_valid() {
    let lab = Lab::new(&scenario(2, "{ shards: 2 }"));
    let summary = lab.run(&[]).expect(0).summary();
    assert_ne!(summary.text("/validity/state"), "invalid");
    assert!(summary.number("/timers_by_phase/steady/latency/p50") < 50.0);
    assert_eq!(summary.count("offered"), 1000);
    assert_eq!(summary.count("received"), 1000);
}

/// A lost shard is named, the others go on, and the run is invalid.
#[test]
fn a_killed_shard_is_named_and_the_run_is_invalid() {
    let lab = Lab::new(
        &scenario(3, "{ shards: 2 }")
            .replace("name: honest", "name: honest\ngates: [ 'lost == 0' ]"),
    );
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let subscriber = run.shard(1);
    send(subscriber, SIGKILL);
    let done = run.wait();
    let summary = done.expect(106).summary();
    assert_eq!(summary.text("/per_shard/0/state"), "finished");
    assert!(
        summary.text("/per_shard/1/state").contains("SIGKILL"),
        "{}",
        summary.text("/per_shard/1/state")
    );
    assert!(
        summary.reasons().contains("shard 1 was lost"),
        "{}",
        summary.reasons()
    );
    assert_ne!(
        summary.text("/gates/0/status"),
        "passed",
        "an invalid run passes no gate"
    );
    // The publisher's shard did all of its share.
    assert_eq!(summary.at("/per_shard/0/offered"), 1500);
    assert!(done.stderr.contains("shard 1 is lost"), "{}", done.stderr);
}

/// Same seed, same plan: two shards offer together exactly what one does.
#[test]
fn shards_together_do_what_one_would() {
    let text = |shards| {
        scenario(2, &format!("{{ shards: {shards} }}")).replace(
            "count: 1, publish: { topic: t,",
            "count: 7, publish: { topic: t, arrivals: poisson,",
        )
    };
    let offered: Vec<u64> = [1, 2, 3]
        .map(|n| {
            Lab::new(&text(n))
                .run(&[])
                .expect(0)
                .summary()
                .count("offered")
        })
        .into();
    assert!(offered[0] > 500, "{offered:?}");
    assert!(offered.iter().all(|n| *n == offered[0]), "{offered:?}");
}

/// Loss is counted: known faults of the gateway are found, in number.
#[test]
fn known_faults_of_the_target_are_counted() {
    let faults = |knob: &str| {
        let text = scenario(2, "{ shards: 2 }")
            .replace("queue: 100000", &format!("misbehave: {{ {knob}: 10 }}"));
        Lab::new(&text).run(&[]).expect(0).summary()
    };
    let summary = faults("drop_every");
    assert_eq!(summary.count("sent"), 1000);
    assert_eq!(summary.count("lost"), 100, "the last one of all included");
    assert_eq!(summary.count("received"), 900);
    let summary = faults("duplicate_every");
    assert_eq!(
        (summary.count("duplicated"), summary.count("lost")),
        (100, 0)
    );
    let summary = faults("reorder_every");
    assert!(
        (90..=100).contains(&summary.count("reordered")),
        "{}",
        summary.count("reordered")
    );
    assert_eq!(summary.count("lost"), 0);
}

/// A request has the whole of its own timeout, also at the end, when the drain is shorter.
#[test]
fn requests_at_the_end_are_not_timed_out_before_their_time() {
    let lab = Lab::new(
        "
name: patient
target: { embedded: { misbehave: { stall_after: 1500ms, stall_for: 4s } } }
clients: { askers: { count: 1, request: { rate: 50/s, timeout: 20s } } }
phases: [ { name: only, for: 2s } ]
generator: { shards: 1, drain: 1s }
",
    );
    let summary = lab.run(&[]).expect(0).summary();
    assert_eq!(summary.count("request_timeouts"), 0);
    assert_eq!(summary.count("replies"), summary.count("requests"));
    assert!(summary.number("/timers/rtt/max") > 2_000.0, "it stalled");
}
