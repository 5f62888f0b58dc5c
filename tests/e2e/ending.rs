//! Every way a run can end, and that nothing is left running.

use crate::harness::{Lab, assert_gone, send};
use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use std::time::{Duration, Instant};

const LONG: &str = "
name: long
target: { embedded: {} }
clients:
  publishers: { count: 2, publish: { topic: t, rate: 100/s } }
  subscribers: { count: 20, subscribe: [t] }
phases: [ { name: steady, for: 10m } ]
gates: [ 'lost == 0 in steady' ]
generator: { shards: 2 }
";

#[test]
fn an_interrupt_ends_the_run_in_order_with_a_report() {
    for signal in [SIGINT, SIGTERM] {
        let lab = Lab::untimed(LONG);
        let mut run = lab.start(&[]);
        run.wait_for("messages", |line| {
            line.contains("received") && !line.contains("received       0/s")
        });
        let children = run.children();
        assert_eq!(
            children.len(),
            3,
            "two shards and the gateway: {children:?}"
        );
        run.signal(signal);
        let done = run.wait();
        let summary = done.expect(105).summary();
        assert_eq!(summary.text("/verdict"), "INTERRUPTED");
        assert_eq!(summary.at("/phases/0/completed"), false);
        assert_ne!(
            summary.text("/gates/0/status"),
            "passed",
            "the phase was not reached"
        );
        assert!(summary.count("sent") > 0);
        // Closed by us, in order, all of them.
        assert_eq!(summary.count("opened"), 22);
        for close in summary.at("/closes").as_array().expect("a list") {
            assert_eq!(
                (&close["code"], &close["by_target"]),
                (&1000.into(), &false.into()),
                "{close}"
            );
        }
        assert_gone(&children);
    }
}

#[test]
fn a_second_interrupt_ends_at_once_and_leaves_no_orphan() {
    let lab = Lab::new(LONG);
    let mut run = lab.start(&[]);
    let children = {
        run.wait_for_phase("steady");
        run.children()
    };
    // Frozen, neither the close handshakes nor the gateway itself can end in order.
    let gateway = run.gateway();
    send(gateway, SIGSTOP);
    run.signal(SIGINT);
    run.wait_for("the first interrupt", |line| line.contains("interrupted"));
    let second = Instant::now();
    run.signal(SIGINT);
    let done = run.wait();
    done.expect(105);
    assert!(
        second.elapsed() < Duration::from_secs(2),
        "took {:?}",
        second.elapsed()
    );
    assert_eq!(children.len(), 3);
    assert_gone(&children);
}

#[test]
fn children_die_with_a_killed_coordinator() {
    let lab = Lab::untimed(LONG);
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let children = run.children();
    assert_eq!(children.len(), 3);
    // A stopped child reads no end of file; the kernel must see to it.
    let shard = run.shard(0);
    send(shard, SIGSTOP);
    run.signal(SIGKILL);
    assert_gone(&children);
}

#[test]
fn a_shard_that_never_comes_back_does_not_hang_the_run() {
    let lab = Lab::untimed(&LONG.replace("10m", "2s"));
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let children = run.children();
    let shard = run.shard(1);
    send(shard, SIGSTOP);
    let done = run.wait();
    let summary = done.expect(106).summary();
    assert!(
        summary.text("/per_shard/1/state").starts_with("lost"),
        "{}",
        summary.0["per_shard"]
    );
    assert!(
        summary.reasons().contains("silent for more than 5 s"),
        "{}",
        summary.reasons()
    );
    assert_gone(&children);
}

#[test]
fn a_target_that_dies_does_not_hang_the_run() {
    let lab = Lab::untimed(&LONG.replace("10m", "2s"));
    let mut run = lab.start(&[]);
    run.wait_for_phase("steady");
    let gateway = run.gateway();
    send(gateway, SIGKILL);
    let summary = run.wait().expect(106).summary();
    assert!(
        summary.reasons().contains("embedded gateway ended"),
        "{}",
        summary.reasons()
    );
    let closed = summary.at("/closes").as_array().expect("a list");
    assert!(
        closed
            .iter()
            .any(|c| c["code"] == 1006 && c["by_target"] == true),
        "{closed:?}"
    );
}
