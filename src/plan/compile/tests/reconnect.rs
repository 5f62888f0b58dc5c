//! Reconnect policies and close codes, failover, and what is taken from the upgrade's answer.

use super::*;
use crate::transport::Pick;

fn sub(sub: &str) -> String {
    format!("{{clients: {{sub: {sub}}}}}")
}

fn reconnect(text: &str) -> Reconnect {
    let compiled = compiled(&sub(&format!("{{reconnect: {text}}}")));
    compiled.plan.groups()[0].reconnect.clone().unwrap()
}

#[test]
fn policies_bring_their_times() {
    let ms = Duration::from_millis;
    for (text, backoff, base, cap) in [
        ("none", Backoff::None, None, None),
        ("constant, base: 2s", Backoff::Constant, Some(2_000), None),
        ("no_jitter", Backoff::NoJitter, Some(500), Some(30_000)),
        ("rfc6455", Backoff::Rfc6455, Some(5_000), Some(30_000)),
        ("phoenix", Backoff::Phoenix, None, None),
        ("socket_io", Backoff::SocketIo, Some(1_000), Some(5_000)),
        ("centrifuge", Backoff::Centrifuge, Some(500), Some(20_000)),
        (
            "socket_io, cap: 1m",
            Backoff::SocketIo,
            Some(1_000),
            Some(60_000),
        ),
        (
            "centrifuge, base: 30s",
            Backoff::Centrifuge,
            Some(30_000),
            Some(30_000),
        ),
    ] {
        let got = reconnect(&format!("{{backoff: {text}}}"));
        assert_eq!(got.backoff, backoff, "{text}");
        assert!(base.is_none_or(|base| got.base == ms(base)), "{text}");
        assert!(cap.is_none_or(|cap| got.cap == ms(cap)), "{text}");
    }
    for (text, key, said) in [
        ("none, base: 1s", "base", "never waits: there is no `base`"),
        ("none, cap: 1s", "cap", "never waits: there is no `cap`"),
        ("constant, cap: 1s", "cap", "every time: there is no `cap`"),
        ("phoenix, base: 1s", "base", "a table of its own"),
        ("phoenix, cap: 9s", "cap", "a table of its own"),
        ("socket_io, base: 9s, cap: 5s", "cap", "smaller"),
    ] {
        let patch = sub(&format!("{{reconnect: {{backoff: {text}}}}}"));
        let path = format!("clients.sub.reconnect.{key}");
        one_problem(Level::Error, &[(&patch, &path, said)]);
    }
}

#[test]
fn rules_for_codes_are_in_the_order_in_which_they_are_asked() {
    let rules = reconnect("{codes: {4000-4499: stop, '1012': back_off, 4001: now}}").codes;
    let ranges: Vec<(u16, u16)> = rules.iter().map(|rule| (rule.from, rule.to)).collect();
    let expected = [
        (1012, 1012),
        (4001, 4001),
        (4000, 4499),
        (1012, 1012),
        (1013, 1013),
    ];
    assert_eq!(ranges, expected);
    assert_eq!(rules[1].then, OnClose::Now);
    assert_eq!(rules[2].then, OnClose::Stop);
    let within = reconnect("{codes: {1000-1999: {within: [1s, 2s]}}}").codes[0].then;
    let seconds = Duration::from_secs;
    assert_eq!(within, OnClose::Within(seconds(1), seconds(2)));
}

#[test]
fn codes_are_checked() {
    for (codes, key, said) in [
        ("999: stop", "999", "a code from 1000 to 4999"),
        ("5000: stop", "5000", "a code from 1000 to 4999"),
        ("going-away: stop", "going-away", "neither a close code"),
        ("'+1008': stop", "+1008", "neither a close code"),
        ("4000-: stop", "4000-", "neither a close code"),
        ("4499-4000: stop", "4499-4000", "higher code"),
        (
            "4000-4400: stop, 4400-4500: now",
            "4400-4500",
            "`4400-4500` and `4000-4400`",
        ),
        ("1008: stop, 1008-1008: now", "1008-1008", "both say"),
        (
            "1012: {within: [3s, 2s]}",
            "1012.within",
            "longer than the second",
        ),
    ] {
        let patch = sub(&format!("{{reconnect: {{codes: {{{codes}}}}}}}"));
        let path = format!("clients.sub.reconnect.codes.{key}");
        one_problem(Level::Error, &[(&patch, &path, said)]);
    }
}

#[test]
fn failover_begins_at_the_first_address_and_goes_around() {
    let plan = compiled(
        "{target: {url: ['ws://a', 'ws://b', 'ws://c'], pick: failover}, \
         clients: {sub: {reconnect: {}}, pub: {reconnect: {}}}}",
    )
    .plan;
    assert_eq!(plan.target().pick, Pick::Failover);
    assert!((0..100).all(|connection| plan.endpoint_of(connection) == 0));
    assert_eq!([0, 1, 2].map(|at| plan.endpoint_after(at)), [1, 2, 0]);
    let alone = "{target: {pick: failover}, clients: {sub: {reconnect: {}}, pub: {reconnect: {}}}}";
    let never =
        "{target: {url: ['ws://a', 'ws://b'], pick: failover}, clients: {pub: {reconnect: {}}}}";
    one_problem(
        Level::Warning,
        &[
            (alone, "target.pick", "one address"),
            (never, "clients.sub", "stays at the first address"),
        ],
    );
}

#[test]
fn failover_may_bring_all_connections_to_one_address() {
    let needs = |pick: &str| {
        let patch = format!(
            "{{target: {{url: ['ws://127.0.0.1:1', 'ws://127.0.0.1:2'], pick: {pick}}}, \
             clients: {{sub: {{count: 20000, reconnect: {{}}}}, pub: {{reconnect: {{}}}}}}}}"
        );
        let compiled = compiled(&patch);
        (
            compiled.plan.generator().sources.len(),
            compiled.needs.ports_per_source,
        )
    };
    assert_eq!(needs("spread"), (0, 10_002));
    assert_eq!(needs("failover"), (2, 10_002));
}

#[test]
fn what_the_answer_tells_is_a_variable_like_any_other() {
    let plan = compiled(&sub(
        "{vars: {user: {sequence: 1}}, capture_headers: {session: X-Session, place: X-Node}, \
          on_open: [{send: '{session}'}, {expect: {contains: '{session}', capture: {more: /x}}}], \
          subscribe: ['{session}/{user}/{more}'], node: {var: place}}",
    ))
    .plan;
    let group = &plan.groups()[0];
    let headers: Vec<(&str, &str)> = group
        .capture_headers
        .iter()
        .map(|(header, slot)| (header.as_str(), group.vars[*slot as usize].name.as_str()))
        .collect();
    assert_eq!(headers, [("x-session", "session"), ("x-node", "place")]);
    assert_eq!(group.node, Some(NodeSource::Var(2)));
    let header = compiled(&sub("{node: {header: X-Node}}"));
    let node = NodeSource::Header("x-node".into());
    assert_eq!(header.plan.groups()[0].node, Some(node));
    for (patch, key, said) in [
        (
            "{capture_headers: {a: 'x y'}}",
            "capture_headers.a",
            "header's name",
        ),
        (
            "{capture_headers: {id: X-A}}",
            "capture_headers.id",
            "built in",
        ),
        (
            "{vars: {a: {sequence: 1}}, capture_headers: {a: X-A}}",
            "capture_headers.a",
            "one of the group's `vars`",
        ),
        (
            "{capture_headers: {a: X-A}, on_open: [{expect: {contains: x, capture: {a: /a}}}]}",
            "on_open[0].expect.capture.a",
            "one of `capture_headers` already",
        ),
        // It is not there before the answer is.
        (
            "{capture_headers: {a: X-A}, headers: {X-B: '{a}'}}",
            "headers.X-B",
            "unknown variable `a`",
        ),
        ("{node: {}}", "node", "give `header`"),
        ("{node: {header: a, var: b}}", "node", "exclude each other"),
        ("{node: {header: 'a b'}}", "node.header", "header's name"),
        (
            "{node: {var: nope}}",
            "node.var",
            "unknown captured variable",
        ),
        (
            "{vars: {a: {sequence: 1}}, node: {var: a}}",
            "node.var",
            "says nothing of the target",
        ),
    ] {
        let path = format!("clients.sub.{key}");
        one_problem(Level::Error, &[(&sub(patch), &path, said)]);
    }
}

#[test]
fn a_group_whose_connections_must_not_move_has_a_gate_for_it() {
    let gates = |patch: &str| -> Vec<String> {
        let compiled = compiled(patch);
        compiled.gates.iter().map(|g| g.text().to_owned()).collect()
    };
    let strict = "{clients: {sub: {node: {header: X-Node, moves: forbidden}, reconnect: {}}}}";
    assert_eq!(gates(strict), ["moved == 0 of sub"]);
    assert_eq!(found(strict), []);
    let twice = strict.replacen('{', "{gates: ['lost == 0', 'moved == 0 of sub'], ", 1);
    assert_eq!(gates(&twice), ["lost == 0", "moved == 0 of sub"]);
    let loose = "{clients: {sub: {node: {header: X-Node}, reconnect: {}}}}";
    assert!(gates(loose).is_empty());
    one_problem(
        Level::Warning,
        &[
            (
                &sub("{node: {header: X-Node, moves: forbidden}}"),
                "clients.sub.node",
                "none can move",
            ),
            (
                &sub("{keep_cookies: true}"),
                "clients.sub.keep_cookies",
                "no cookie is ever sent",
            ),
        ],
    );
}

#[test]
fn a_misspelt_policy_makes_no_problem_of_what_is_written_beside_it() {
    let text = "
name: x
target: { url: 'ws://127.0.0.1:9000/ws' }
clients:
  sub: { count: 9, subscribe: [t], reconnect: { backoff: BACKOFF, base: 2s, cap: 1min } }
phases: [ { name: open, for: 2s } ]
";
    let told = |backoff: &str| -> Vec<(String, String)> {
        let text = text.replace("BACKOFF", backoff);
        let options = crate::scenario::Options::default();
        let report = crate::scenario::parse("x.yaml", &text, None, &options).expect_err("misspelt");
        let report = report.also(|rest| {
            compile(rest.scenario(), rest.files(), &machine())
                .err()
                .unwrap_or_default()
        });
        let problems = report.problems().iter();
        problems
            .map(|p| (p.problem.path.clone(), p.problem.message.clone()))
            .collect()
    };
    for backoff in ["full_jiter", "nnone", "unheard-of", "[phoenix]"] {
        let told = told(backoff);
        assert_eq!(told.len(), 1, "{backoff}: {told:?}");
        assert_eq!(told[0].0, "clients.sub.reconnect.backoff", "{told:?}");
    }
}
