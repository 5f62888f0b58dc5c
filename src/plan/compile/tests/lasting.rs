//! Faults that last: whom and when they take, and what of them makes no sense.

use super::*;
use crate::plan::fault::{Action, Effect, Hit, PlannedFault, Reading, Slow};

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

/// The stretch before a fault that it is compared with, in seconds from the run's start.
#[test]
fn a_slow_fault_is_compared_with_the_quiet_stretch_before_it() {
    let watch = |patch: &str| {
        let watches = compiled(patch).plan.watches();
        let [watch] = &watches[..] else {
            panic!("{patch}: {watches:?}");
        };
        let seconds = [watch.before, watch.start, watch.end].map(|at| at.as_secs_f64());
        (watch.fault, watch.group, seconds)
    };
    const SLOW: &str = "{slow: {clients: sub, count: 1, read: none, after: 5s, for: 10s}}";
    let phases = |before: &str, faults: &str, length: &str| {
        format!("{{phases: [{before}, {{name: b, for: {length}, faults: [{faults}{SLOW}]}}]}}")
    };
    // Half a minute, or the length of the fault if that is more.
    let long = "{name: a, for: 100s}";
    assert_eq!(
        watch(&phases(long, "", "20s")),
        (0, 0, [75.0, 105.0, 115.0])
    );
    let longer = phases(long, "", "60s").replace("for: 10s", "for: 40s");
    assert_eq!(watch(&longer), (0, 0, [65.0, 105.0, 145.0]));
    // Not from before the run, nor while anything opens or has just done so: all at once at the start.
    let short = "{name: a, for: 10s}";
    assert_eq!(watch(&phases(short, "", "20s")).2, [1.0, 15.0, 25.0]);
    let opening = "{name: a, for: 12s, open: {sub: linear}}";
    assert_eq!(watch(&phases(opening, "", "20s")).2, [13.0, 17.0, 27.0]);
    // Nor while another fault lasts.
    let burst = "{burst: {clients: pub, rate: 2x, for: 3s}}, ";
    assert_eq!(
        watch(&phases(long, burst, "20s")),
        (1, 0, [103.0, 105.0, 115.0])
    );
    // Where nothing is left it is empty, not negative.
    let burst = "{burst: {clients: pub, rate: 2x, for: 9s}}, ";
    assert_eq!(watch(&phases(long, burst, "20s")).2, [105.0, 105.0, 115.0]);
}
