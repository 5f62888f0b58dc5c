//! Faults that last: whom and when they take, and what of them makes no sense.

use super::*;
use crate::plan::fault::{
    Action, Effect, Hit, Network, Partition, PlannedFault, Reading, Slow, Stall,
};

fn with(fault: &str) -> String {
    format!("{{phases: [{{name: a, for: 10s}}, {{name: b, for: 10s, faults: [{fault}]}}]}}")
}

/// The fault of phase `b`, which nothing was wrong with.
fn planned(fault: &str) -> PlannedFault {
    let compiled = compiled(&with(fault));
    assert_eq!(compiled.warnings, [], "{fault}");
    let [one] = &compiled.plan.phases()[1].faults[..] else {
        panic!("{fault}");
    };
    one.clone()
}

fn wrong(name: &str, cases: &[(&str, &str, &str)]) {
    for (body, key, text) in cases {
        let patch = with(&format!("{{{name}: {{{body}}}}}"));
        let path = format!("phases[1].faults[0].{name}{key}");
        one_problem(Level::Error, &[(&patch, &path, text)]);
    }
}

#[test]
fn what_all_have_in_common_is_checked() {
    wrong(
        "slow",
        &[
            (
                "clients: subs, share: 10%, read: none",
                ".clients",
                "did you mean `sub`?",
            ),
            (
                "clients: sub, read: none",
                "",
                "how many connections are slowed",
            ),
            (
                "clients: sub, count: 11, read: none",
                ".count",
                "more than the group's 10",
            ),
            (
                "clients: sub, count: 1, read: none, after: 10s",
                ".after",
                "slow begins after phase `b` is over",
            ),
            (
                "clients: sub, count: 1, read: none, after: 4s, for: 7s",
                ".for",
                "slow ends after phase `b` is over",
            ),
            (
                "clients: sub, count: 1, read: none, for: 0s",
                ".for",
                "more than 0",
            ),
            (
                "clients: sub, count: 1, read: none, for: 2s, over: 2s",
                ".over",
                "the fault lasts 2s",
            ),
        ],
    );
    // Everything wrong with one at once.
    let problems = found(&with("{slow: {clients: nobody, after: 11s}}"));
    let paths: Vec<&str> = problems.iter().map(|p| p.path.as_str()).collect();
    let path = "phases[1].faults[0].slow";
    assert_eq!(
        paths,
        ["", ".after", ".clients"].map(|key| format!("{path}{key}"))
    );
}

#[test]
fn two_of_a_kind_do_not_meet_in_a_group() {
    let slow = |group: &str, more: &str| {
        format!("{{slow: {{clients: {group}, count: 1, read: none, {more}}}}}")
    };
    let both = format!("{}, {}", slow("sub", "for: 6s"), slow("sub", "after: 5s"));
    let cases = [(&*with(&both), "phases[1].faults[1].slow", "overlap")];
    one_problem(Level::Error, &cases);
    for fine in [
        format!("{}, {}", slow("sub", "for: 5s"), slow("sub", "after: 5s")),
        format!("{}, {}", slow("sub", "for: 6s"), slow("pub", "after: 5s")),
    ] {
        assert_eq!(compiled(&with(&fine)).warnings, [], "{fine}");
    }
}

#[test]
fn slow_consumers_are_planned() {
    let ms = Duration::from_millis;
    let plain = Slow {
        read: Reading::Never,
        pong: Duration::ZERO,
        receive_buffer: None,
    };
    for (body, label, victims, (start, end, over), slow) in [
        (
            "share: 25%, read: none",
            "25% of sub read nothing",
            3,
            (10_000, 20_000, 0),
            plain,
        ),
        (
            "count: 2, read: 1KiB/s, after: 1s, for: 4s, over: 2s, receive_buffer: 4KiB",
            "2 of sub read 1KiB/s",
            2,
            (11_000, 15_000, 2_000),
            Slow {
                read: Reading::Rate(1024),
                receive_buffer: Some(4096),
                ..plain
            },
        ),
        (
            "count: 2, read: { pause: 2s, every: 5s }, pong: 3s",
            "2 of sub pause reading 2s every 5s and answer pings 3s late",
            2,
            (10_000, 20_000, 0),
            Slow {
                read: Reading::Pauses {
                    pause: ms(2_000),
                    every: ms(5_000),
                },
                pong: ms(3_000),
                ..plain
            },
        ),
        (
            "count: 2, pong: 3s",
            "2 of sub answer pings 3s late",
            2,
            (10_000, 20_000, 0),
            Slow {
                read: Reading::Normal,
                pong: ms(3_000),
                ..plain
            },
        ),
    ] {
        let expected = PlannedFault {
            label: label.into(),
            start: ms(start),
            end: ms(end),
            action: Action::Hit(Hit {
                group: 0,
                victims,
                over: ms(over),
                effect: Effect::Slow(slow),
            }),
        };
        assert_eq!(
            planned(&format!("{{slow: {{clients: sub, {body}}}}}")),
            expected
        );
    }
}

#[test]
fn slow_consumers_are_checked() {
    wrong(
        "slow",
        &[
            ("clients: sub, count: 1", "", "not said what is slow"),
            ("clients: sub, count: 1, pong: 0s", "", "give `read`"),
            (
                "clients: sub, count: 1, read: 0B/s",
                ".read",
                "write `none`",
            ),
            (
                "clients: sub, count: 1, read: { pause: 2s, every: 2s }",
                ".read.pause",
                "never ends",
            ),
            (
                "clients: sub, count: 1, read: { pause: 0s, every: 2s }",
                ".read.pause",
                "is none",
            ),
            (
                "clients: sub, count: 1, read: none, receive_buffer: 0B",
                ".receive_buffer",
                "1 B to 1 GiB",
            ),
            (
                "clients: sub, count: 1, read: none, receive_buffer: 2GiB",
                ".receive_buffer",
                "1 B to 1 GiB",
            ),
        ],
    );
}

/// What a fault without further words is planned to be, of the whole group.
fn effect(fault: &str, label: &str) -> Effect {
    let planned = planned(fault);
    assert_eq!(planned.label, label);
    let Action::Hit(hit) = planned.action else {
        panic!("{fault}");
    };
    assert_eq!((hit.victims, hit.over), (10, Duration::ZERO));
    hit.effect
}

#[test]
fn bad_networks_are_planned_for_all_unless_it_is_said() {
    let all =
        "{network: {clients: sub, latency: 100ms, jitter: 20ms, bandwidth: 64KiB/s, slice: 16B}}";
    let network = Network {
        latency: Duration::from_millis(100),
        jitter: Duration::from_millis(20),
        bandwidth: Some(65_536),
        slice: Some(16),
    };
    let label = "100% of sub behind 100ms ± 20ms, 64KiB/s, writes of 16B";
    assert_eq!(effect(all, label), Effect::Network(network));
    let only = Network {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        slice: None,
        ..network
    };
    let label = "100% of sub behind 64KiB/s";
    let fault = "{network: {clients: sub, bandwidth: 64KiB/s}}";
    assert_eq!(effect(fault, label), Effect::Network(only));
    let some = planned("{network: {clients: sub, count: 3, slice: 1B}}");
    assert!(matches!(some.action, Action::Hit(Hit { victims: 3, .. })));
}

#[test]
fn bad_networks_are_checked() {
    wrong(
        "network",
        &[
            ("clients: sub", "", "nothing is bad about this network"),
            ("clients: sub, latency: 0s", "", "such as 100ms"),
            (
                "clients: sub, latency: 10ms, jitter: 11ms",
                ".jitter",
                "more than the latency of 10ms",
            ),
            (
                "clients: sub, jitter: 1ms",
                ".jitter",
                "more than the latency of 0s",
            ),
            ("clients: sub, bandwidth: 0B/s", ".bandwidth", "more than 0"),
            ("clients: sub, slice: 0B", ".slice", "more than 0"),
        ],
    );
}

const TWO: &str = "target: {url: ['ws://127.0.0.1:1/a', 'ws://127.0.0.1:2/b']}, phases: [{name: a, for: 10s}, {name: b, for: 10s, faults:";

#[test]
fn partitions_are_planned_by_address() {
    let all = Effect::Partition(Partition { from: None });
    let label = "100% of sub cut off from the target";
    for from in ["", ", from: all"] {
        assert_eq!(
            effect(&format!("{{partition: {{clients: sub{from}}}}}"), label),
            all
        );
    }
    for (from, indices, label) in [
        ("1", vec![1], "address 1"),
        ("[1, 0]", vec![0, 1], "addresses 0, 1"),
        ("['ws://127.0.0.1:2/b']", vec![1], "address 1"),
        ("'ws://127.0.0.1:1/a'", vec![0], "address 0"),
    ] {
        let patch = format!("{{{TWO} [{{partition: {{clients: sub, from: {from}}}}}]}}]}}");
        let plan = compiled(&patch).plan;
        let fault = &plan.phases()[1].faults[0];
        assert_eq!(fault.label, format!("100% of sub cut off from {label}"));
        let Action::Hit(hit) = &fault.action else {
            panic!("{patch}");
        };
        let expected = Partition {
            from: Some(indices),
        };
        assert_eq!(hit.effect, Effect::Partition(expected));
    }
}

#[test]
fn partitions_are_checked() {
    for (from, key, text) in [
        ("2", "", "they are numbered from 0, and there are 2"),
        ("[0, 7]", "[1]", "no address 7"),
        ("[]", "", "leave `from` out"),
        ("[all, 0]", "[0]", "unknown address of the target `all`"),
        ("'ws://127.0.0.1:2/a'", "", "did you mean"),
    ] {
        let patch = format!("{{{TWO} [{{partition: {{clients: sub, from: {from}}}}}]}}]}}");
        let path = format!("phases[1].faults[0].partition.from{key}");
        one_problem(Level::Error, &[(&patch, &path, text)]);
    }
    let embedded = |nodes: &str, from: u32| {
        format!(
            "{{target: {{url: null, embedded: {{{nodes}}}}}, phases: [{{name: a, for: 10s}}, \
             {{name: b, for: 10s, faults: [{{partition: {{clients: sub, from: {from}}}}}]}}]}}"
        )
    };
    let path = "phases[1].faults[0].partition.from";
    one_problem(
        Level::Error,
        &[
            (&embedded("nodes: 3", 3), path, "there are 3"),
            (
                &embedded("nodes: 3, one_port: true", 1),
                path,
                "there are 1",
            ),
        ],
    );
    assert_eq!(found(&embedded("nodes: 3", 2)), []);
}

#[test]
fn stalls_are_planned() {
    let back = "clients: {sub: {reconnect: {}}}";
    for (body, label, expected) in [
        (
            "what: message",
            "stop in the middle of a message",
            Stall::Message { finish: true },
        ),
        (
            "what: message, finish: false",
            "leave in the middle of a message",
            Stall::Message { finish: false },
        ),
        (
            "what: handshake",
            "open at 1B/s",
            Stall::Handshake { rate: 1 },
        ),
        (
            "what: handshake, rate: 1KiB/s",
            "open at 1KiB/s",
            Stall::Handshake { rate: 1024 },
        ),
    ] {
        let patch = format!(
            "{{{back}, phases: [{{name: a, for: 10s}}, {{name: b, for: 10s, faults: [{{stall: {{clients: sub, count: 2, {body}}}}}]}}]}}"
        );
        let compiled = compiled(&patch);
        assert_eq!(compiled.warnings, [], "{body}");
        let fault = &compiled.plan.phases()[1].faults[0];
        assert_eq!(fault.label, format!("2 of sub {label}"));
        let Action::Hit(hit) = &fault.action else {
            panic!("{body}");
        };
        assert_eq!((hit.victims, &hit.effect), (2, &Effect::Stall(expected)));
    }
}

#[test]
fn stalls_are_checked() {
    wrong(
        "stall",
        &[
            (
                "clients: sub, what: message",
                "",
                "how many connections are stalled",
            ),
            (
                "clients: sub, count: 1, what: message, rate: 1B/s",
                ".rate",
                "say `what: handshake`",
            ),
            (
                "clients: sub, count: 1, what: handshake, finish: true",
                ".finish",
                "say `what: message`",
            ),
            (
                "clients: sub, count: 1, what: handshake, rate: 0B/s",
                ".rate",
                "more than 0",
            ),
        ],
    );
    // Nobody would open then.
    let stall = "{stall: {clients: sub, count: 1, what: handshake}}";
    let path = "phases[1].faults[0].stall.clients";
    one_problem(
        Level::Warning,
        &[(&with(stall), path, "no handshakes to stall")],
    );
    for opens in [
        format!("{{phases: [{{name: a, for: 10s, faults: [{stall}]}}]}}"),
        format!(
            "{{phases: [{{name: a, for: 10s}}, {{name: b, for: 10s, open: {{sub: linear}}, faults: [{stall}]}}]}}"
        ),
    ] {
        assert_eq!(found(&opens), [], "{opens}");
    }
}
