//! Gates that nothing in the scenario can give a value.

use super::*;

const COMES_BACK: &str = "clients: { sub: { reconnect: {} } }";
const DROP: &str = "{ drop: { clients: sub, count: 5, how: reset } }";

/// The base with these gates, and more.
fn gated(gates: &str, more: &str) -> String {
    format!("{{ gates: [{gates}], {more} }}")
}

/// Phases with a fault in the second.
fn with(fault: &str) -> String {
    format!(
        "phases: [ {{ name: ramp, for: 10s }}, {{ name: steady, for: 20s, faults: [ {fault} ] }}, {{ name: end, for: 5s }} ]"
    )
}

#[test]
fn a_gate_that_nothing_can_give_a_value_is_warned_of_by_what_is_missing() {
    let reset = format!("{COMES_BACK}, {}", with(DROP));
    let only_sub = "clients: { pub: null }";
    let cases: Vec<(String, &str)> = vec![
        (
            gated("reconnect p99 < 3s", ""),
            "no client group has `reconnect`",
        ),
        (
            gated("reconnected == 0 of sub", ""),
            "`sub` has no `reconnect`",
        ),
        (
            gated("reconnected == 0 of pub", COMES_BACK),
            "`pub` has no `reconnect`",
        ),
        (
            gated("restored p99 < 3s", ""),
            "no client group has `reconnect`",
        ),
        (
            gated("restored p99 < 3s", COMES_BACK),
            "there is no fault, so connections are lost only if",
        ),
        (
            gated("amplification < 2 in ramp", &reset),
            "there is no fault by the end of `ramp`",
        ),
        (
            gated("moved == 0", COMES_BACK),
            "no client group has `node`",
        ),
        (
            gated("state_lost == 0", COMES_BACK),
            "no client group has `reconnect.resume`",
        ),
        (
            gated("recovery p99 < 3s", &reset),
            "no client group has `reconnect.resume`",
        ),
        (gated("noisy_neighbour < 2", ""), "there is no `slow` fault"),
        (
            gated("evicted max < 2s", &reset),
            "no `slow` or `stall` fault and no `drop` by `vanish`",
        ),
        (gated("drain max < 2s", ""), "there is no `deploy`"),
        (
            gated("accepted_draining == 0", ""),
            "there is no `deploy: { roll: … }`",
        ),
        (
            gated("policy == drop", ""),
            "will have no value, and not pass: there is no `slow` fault",
        ),
        (gated("severed == 0", &reset), "there is no `deploy`"),
        (gated("rtt p99 < 2s", ""), "no client group has `request`"),
        (
            gated("request_timeouts share < 1%", ""),
            "no client group has `request`",
        ),
        (
            gated("ping p99 < 2s", ""),
            "no client group has `heartbeat`",
        ),
        (
            gated("tls p99 < 2s", ""),
            "no address of the target is `wss`",
        ),
        (gated("dns p99 < 2s", ""), "has a name to look up"),
        (gated("sent > 5 of sub", ""), "`sub` has no `publish`"),
        (
            gated("lag p99 < 5ms of sub", ""),
            "`sub` has neither `publish` nor `request`",
        ),
        (
            gated("lost == 0", only_sub),
            "no client group has `publish`",
        ),
        (
            gated("latency p99 < 1s", only_sub),
            "no client group has `publish`",
        ),
    ];
    for (patch, text) in &cases {
        one_problem(Level::Warning, &[(patch, "gates[0]", text)]);
    }
    // Where nobody speaks MQTT none of its reasons is none, and would pass.
    let reason = gated("reason 0x97 == 0", "");
    one_problem(
        Level::Error,
        &[(&reason, "gates[0]", "no client group speaks MQTT")],
    );
    // The slow fault is in `steady`, whose clients are compared.
    let slow = with("{ slow: { clients: sub, count: 2, read: none } }");
    let elsewhere = found(&gated("noisy_neighbour < 2 in end", &slow));
    assert!(
        elsewhere
            .iter()
            .any(|p| p.message.contains("there is no `slow` fault in `end`")),
        "{elsewhere:?}"
    );
    // The second of several gates; what group it is of.
    let second = gated("lost == 0, reconnected == 0", "");
    one_problem(
        Level::Warning,
        &[(&second, "gates[1]", "clients.<group>.reconnect")],
    );
}

#[test]
fn a_gate_that_something_can_give_a_value_is_not() {
    let slow = with("{ slow: { clients: sub, count: 2, read: none } }");
    let vanish = format!(
        "{COMES_BACK}, {}",
        with("{ drop: { clients: sub, count: 5, how: vanish } }")
    );
    let reset = format!("{COMES_BACK}, {}", with(DROP));
    let unfed = |patch: &str| -> Vec<Problem> {
        let mut found = found(patch);
        found.retain(|problem| problem.path.starts_with("gates"));
        found
    };
    for (gates, more) in [
        (
            "'latency p99 < 1s', 'lost == 0', 'sent > 5 of pub', 'lag p99 < 5ms'",
            "",
        ),
        (
            "'failed == 0', 'close 1006 == 0', 'closed_by_target == 0', 'open p99 < 1s', 'cut == 0', 'churned == 0'",
            "",
        ),
        (
            "'noisy_neighbour < 2', 'noisy_neighbour < 2 in steady', 'evicted max < 9s in end'",
            slow.as_str(),
        ),
        ("'noisy_neighbour < 2 of sub'", slow.as_str()),
        (
            "'evicted max < 9s in end', 'reconnect p99 < 1s in end'",
            vanish.as_str(),
        ),
        (
            "'restored p99 < 3s in steady', 'amplification < 2 in end', 'reconnected peak < 9/s', 'gave_up == 0'",
            reset.as_str(),
        ),
        (
            "'dns p99 < 1s', 'tls p99 < 1s'",
            "target: { url: 'wss://rt.example.com/ws' }",
        ),
    ] {
        assert_eq!(unfed(&gated(gates, more)), [], "{gates}");
    }
}
