//! Faults that are over before anybody of their group opens.

use super::*;

/// A fault in phase `a`, from 0 to 10 s, of a group that opens so in `a` or in `b`, from 10 s on.
fn with(fault: &str, open: [&str; 2]) -> String {
    let [a, b] = open.map(|how| match how {
        "" => String::new(),
        how => format!(", open: {{ sub: {how} }}"),
    });
    format!(
        "{{ clients: {{ sub: {{ reconnect: {{}} }} }}, phases: [{{ name: a, for: 10s{a}, faults: [{{ {fault} }}] }}, {{ name: b, for: 10s{b} }}] }}"
    )
}

#[test]
fn a_fault_before_its_group_is_warned_of() {
    const RESET: &str = "drop: { clients: sub, count: 2, how: reset, after: 9s, over: 1s }";
    const SLOW: &str = "slow: { clients: sub, count: 2, read: none }";
    let late = "{ stages: [{ to: 0, over: 9.5s }, { to: 10, over: 500ms }] }";
    for (fault, name, open, from) in [
        (RESET, "drop", ["", "linear"], "10s on, in `b`"),
        (SLOW, "slow", ["", "all_at_once"], "10s on, in `b`"),
        (
            "drop: { clients: sub, count: 2, how: fin, after: 9s, over: 500ms }",
            "drop",
            [late, ""],
            "9500ms on, in `a`",
        ),
        // At the very moment nobody is ready yet.
        (
            "drop: { clients: sub, count: 2, how: fin }",
            "drop",
            ["all_at_once", ""],
            "0s on, in `a`",
        ),
        (
            "partition: { clients: sub, count: 2, for: 5s }",
            "partition",
            ["", "{ rate: 5/s }"],
            "10s on, in `b`",
        ),
    ] {
        let path = format!("phases[0].faults[0].{name}.clients");
        let text = format!("`sub` opens from {from}, and this is over by then");
        one_problem(
            Level::Warning,
            &[(with(fault, open).as_str(), path.as_str(), text.as_str())],
        );
    }
    // Somebody is there before it ends; and a burst opens them itself.
    for (fault, open) in [
        (RESET, ["linear", ""]),
        (RESET, [late, ""]),
        (SLOW, [late, ""]),
        (SLOW, ["", ""]),
        ("burst: { clients: pub, rate: 2x }", ["", "linear"]),
    ] {
        assert_eq!(found(&with(fault, open)), [], "{fault} {open:?}");
    }
}
