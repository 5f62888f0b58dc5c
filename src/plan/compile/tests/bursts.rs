//! Bursts: what may be written, and what becomes of it.

use super::*;
use crate::plan::Schedule;

#[test]
fn bursts_are_checked() {
    let bursts = |bursts: &str| {
        format!("{{phases: [{{name: a, for: 10s}}, {{name: b, for: 10s, faults: [{bursts}]}}]}}")
    };
    let path = "phases[1].faults[0].burst";
    for (patch, key, text) in [
        (
            bursts("{burst: {clients: pubs, rate: 2x}}"),
            ".clients",
            "did you mean `pub`?",
        ),
        (
            bursts("{burst: {clients: sub, rate: 2x}}"),
            ".clients",
            "neither publishes nor asks",
        ),
        (
            bursts("{burst: {clients: pub, rate: 0x}}"),
            ".rate",
            "more than 0",
        ),
        (
            bursts("{burst: {clients: pub, rate: 50000x}}"),
            ".rate",
            "more than this machine",
        ),
        (
            bursts("{burst: {clients: pub, rate: 2x, after: 10s}}"),
            ".after",
            "begins after phase `b`",
        ),
        (
            bursts("{burst: {clients: pub, rate: 2x, after: 5s, for: 6s}}"),
            ".for",
            "ends after phase `b`",
        ),
        (
            bursts("{burst: {clients: pub, rate: 2x, for: 0s}}"),
            ".for",
            "more than 0",
        ),
    ] {
        one_problem(Level::Error, &[(&patch, &format!("{path}{key}"), text)]);
    }
    let two = bursts(
        "{burst: {clients: pub, rate: 2x, for: 5s}}, {burst: {clients: pub, rate: 3x, after: 4s}}",
    );
    one_problem(
        Level::Error,
        &[(&two, "phases[1].faults[1].burst", "overlap")],
    );
    let silent = "{clients: {pub: {publish: {in: ramp}}}, phases: [{name: ramp, for: 1s}, \
                  {name: b, for: 1s, faults: [{burst: {clients: pub, rate: 2x}}]}]}";
    one_problem(
        Level::Error,
        &[(
            silent,
            "phases[1].faults[0].burst.clients",
            "silent in this phase",
        )],
    );
}

#[test]
fn bursts_fold_into_the_profile_and_stay_in_the_timeline() {
    let plan = compiled(
        "{clients: {pub: {request: {rate: 10/s}}}, phases: [{name: a, for: 10s}, {name: b, for: 10s, faults: [\
         {burst: {clients: pub, rate: 3x, after: 6s}}, {burst: {clients: pub, rate: 2x, after: 1s, for: 4s}}]}, \
         {name: c, for: 10s}]}",
    )
    .plan;
    let s = Duration::from_secs;
    let expected = |rate: f64| {
        [
            (0, 11, 1.0),
            (11, 15, 2.0),
            (15, 16, 1.0),
            (16, 20, 3.0),
            (20, 30, 1.0),
        ]
        .map(|(start, end, factor)| Segment {
            start: s(start),
            end: s(end),
            rate: rate * factor,
        })
    };
    assert_eq!(
        plan.groups()[1].publish[0].profile.segments,
        expected(100.0)
    );
    assert_eq!(plan.groups()[1].request[0].profile.segments, expected(10.0));
    let burst = crate::plan::fault::Action::Burst { group: 1, opens: 0 };
    let faults: Vec<_> = plan.phases()[1]
        .faults
        .iter()
        .map(|f| (f.label.as_str(), f.start, f.end, &f.action))
        .collect();
    assert_eq!(
        faults,
        [
            ("pub at 3x", s(16), s(20), &burst),
            ("pub at 2x", s(11), s(15), &burst)
        ]
    );
    assert_eq!(
        (plan.phases()[1].start, plan.phases()[1].end, plan.length()),
        (s(10), s(20), s(30))
    );
}

#[test]
fn a_burst_is_of_one_thing_and_in_its_time() {
    let bursts = |burst: &str| {
        format!(
            "{{phases: [{{name: a, for: 10s, open: {{sub: linear}}}}, {{name: b, for: 10s, faults: [{{burst: {{{burst}}}}}]}}]}}"
        )
    };
    let path = "phases[1].faults[0].burst";
    for (burst, key, text) in [
        ("clients: pub", "", "of one thing"),
        ("clients: pub, rate: 2x, messages: 5", "", "of one thing"),
        ("clients: pub, messages: 0", ".messages", "more than 0"),
        (
            "clients: sub, connections: 0",
            ".connections",
            "more than 0",
        ),
        ("clients: pub, rate: +0/s", ".rate", "more than 0"),
        (
            "clients: pub, rate: 2x, over: 1s",
            ".over",
            "lasts `for` a time",
        ),
        (
            "clients: pub, messages: 5, for: 1s",
            ".for",
            "spread `over` a time",
        ),
        (
            "clients: pub, messages: 5, after: 9s, over: 2s",
            ".over",
            "ends after phase `b`",
        ),
        (
            "clients: pub, messages: 2M",
            ".over",
            "ends after phase `b`",
        ),
        (
            "clients: pub, rate: +5M/s",
            ".rate",
            "more than this machine",
        ),
        (
            "clients: sub, messages: 5",
            ".clients",
            "neither publishes nor asks",
        ),
        (
            "clients: sub, connections: 1",
            ".connections",
            "0 connections that are not open yet, of 10",
        ),
    ] {
        one_problem(
            Level::Error,
            &[(&bursts(burst), &format!("{path}{key}"), text)],
        );
    }
    let patch = "{clients: {pub: {publish: {arrivals: poisson}}}, phases: [{name: a, for: 10s, faults: [\
                 {burst: {clients: pub, messages: 5}}]}]}";
    let clients = "phases[0].faults[0].burst.clients";
    one_problem(Level::Error, &[(patch, clients, "would be random")]);
    let patch = "{clients: {pub: {request: {rate: 5/s}}}, phases: [{name: a, for: 10s, faults: [\
                 {burst: {clients: pub, rate: +5/s}}]}]}";
    one_problem(Level::Error, &[(patch, clients, "2 kinds of messages")]);
}

#[test]
fn so_many_more_come_on_top_also_where_it_is_silent() {
    let plan = compiled(
        "{clients: {pub: {publish: {rate: 40/s, in: a}}}, phases: [{name: a, for: 10s, faults: [\
         {burst: {clients: pub, rate: +60/s, after: 2s, for: 3s}}]}, {name: b, for: 10s, faults: [\
         {burst: {clients: pub, rate: +5/s, after: 1s, for: 2s}}]}]}",
    )
    .plan;
    let s = Duration::from_secs;
    let expected =
        [(0, 2, 40.0), (2, 5, 100.0), (5, 10, 40.0), (11, 13, 5.0)].map(|(start, end, rate)| {
            Segment {
                start: s(start),
                end: s(end),
                rate,
            }
        });
    assert_eq!(plan.groups()[1].publish[0].profile.segments, expected);
}

/// On any number of shards, at once and spread, beside other messages and alone.
#[test]
fn so_many_messages_are_exactly_so_many() {
    for (messages, more, base) in [
        (5_000u64, "", "rate: 100/s"),
        (7, ", over: 3s", "rate: 100/s"),
        (1, "", "rate: 3/s, in: a"),
        (10, ", over: 3s", "rate: 3/s, in: a"),
        (12_345, ", over: 777ms", "rate: 3/s, in: a"),
    ] {
        let phases = |burst: &str| {
            format!(
                "{{clients: {{pub: {{publish: {{{base}}}}}}}, phases: [{{name: a, for: 10s}}, \
                 {{name: b, for: 10s, faults: [{burst}]}}]}}"
            )
        };
        let due = |patch: &str, shards: u32| -> u64 {
            let plan = compiled(patch).plan;
            let group = &plan.groups()[1];
            let profile = &group.publish[0].profile;
            let of = |shard| Schedule::new(profile, group, 0, plan.seed(), shard, shards).count();
            (0..shards).map(|shard| of(shard) as u64).sum()
        };
        let burst = phases(&format!(
            "{{burst: {{clients: pub, messages: {messages}, after: 1s{more}}}}}"
        ));
        for shards in [1, 3] {
            let before = due(&phases(""), shards);
            assert_eq!(
                due(&burst, shards),
                before + messages,
                "{messages}{more} {base}"
            );
        }
    }
}

#[test]
fn new_connections_open_by_the_curve() {
    let ms = Duration::from_millis;
    let knots = |patch: &str| {
        let compiled = compiled(patch);
        assert_eq!(compiled.warnings, [], "{patch}");
        let faults = &compiled.plan.phases()[1].faults;
        let labels: Vec<String> = faults.iter().map(|f| f.label.clone()).collect();
        (compiled.plan.groups()[0].opening.knots.clone(), labels)
    };
    let (curve, labels) = knots(
        "{phases: [{name: a, for: 10s, open: {sub: {stages: [{to: 4, over: 2s}]}}}, {name: b, for: 10s, faults: [\
         {burst: {clients: sub, connections: 2, after: 1s}}, {burst: {clients: sub, connections: 4, after: 2s, over: 500ms}}]}]}",
    );
    let expected = [(0, 0), (2_000, 4), (11_000, 6), (12_000, 6), (12_500, 10)];
    assert_eq!(curve, expected.map(|(at, n)| (ms(at), n)));
    assert_eq!(
        labels,
        [
            "2 more of sub open at once",
            "4 more of sub open over 500ms"
        ]
    );
    // Who is opened by bursts alone does not open at the start.
    let (curve, _) = knots(
        "{phases: [{name: a, for: 10s}, {name: b, for: 10s, faults: [{burst: {clients: sub, connections: 10}}]}]}",
    );
    assert_eq!(curve, [(ms(10_000), 0), (ms(10_000), 10)]);
}

#[test]
fn new_connections_come_after_the_others() {
    let path = "phases[0].faults[0].burst.connections";
    let early = "{phases: [{name: a, for: 10s, open: {sub: {stages: [{to: 4, over: 5s}]}}, faults: [\
                 {burst: {clients: sub, connections: 2, after: 1s}}]}]}";
    let problems = found(early);
    assert!(
        problems
            .iter()
            .any(|p| p.path == path && p.message.contains("still opening")),
        "{problems:?}"
    );
    let late = "{phases: [{name: a, for: 10s, faults: [{burst: {clients: sub, connections: 10}}]}, \
                {name: b, for: 10s, open: {sub: linear}}]}";
    one_problem(
        Level::Error,
        &[(
            late,
            "phases[1].open.sub",
            "a burst opens connections of `sub` before",
        )],
    );
    let left = "{phases: [{name: a, for: 10s, open: {sub: {stages: [{to: 4, over: 5s}]}}, faults: [\
                {burst: {clients: sub, connections: 2, after: 6s}}]}]}";
    one_problem(
        Level::Warning,
        &[(left, "phases[0].open.sub.stages", "the others never open")],
    );
}
