//! Deploys from text to plan, and what is wrong with them.

use crate::plan::{Compiled, Machine, compile};
use crate::scenario::Problem;

/// A scenario whose second phase, of a minute, has these faults.
fn deployed(target: &str, faults: &str) -> String {
    format!(
        "name: x\ntarget: {target}\nclients: {{ a: {{ count: 3, reconnect: {{}} }} }}\n\
         phases: [{{ name: one, for: 10s }}, {{ name: two, for: 1m, faults: [{faults}] }}]\n"
    )
}

fn compiled(text: &str) -> Result<Compiled, Vec<Problem>> {
    let options = crate::scenario::Options::default();
    let document =
        crate::scenario::parse("x", text, None, &options).unwrap_or_else(|e| panic!("{e}"));
    compile(document.scenario(), document.files(), &Machine::default())
}

#[test]
fn a_deploy_is_planned_within_its_phase() {
    let nodes = "{ embedded: { nodes: 3 } }";
    for (deploy, label, start, end) in [
        (
            "run: [kubectl, rollout, restart, deploy/gateway]",
            "deploy: run kubectl rollout restart deploy/gateway",
            10,
            70,
        ),
        (
            "run: [echo, 'a b'], after: 5s",
            "deploy: run echo \"a b\"",
            15,
            70,
        ),
        (
            "shell: 'a; b', after: 5s, timeout: 10s",
            "deploy: shell \"a; b\"",
            15,
            25,
        ),
        (
            "signal: { to: { pid: 77 } }",
            "deploy: SIGTERM to pid 77",
            10,
            70,
        ),
        (
            "signal: { send: SIGHUP, to: { process: haproxy }, all: true }",
            "deploy: SIGHUP to all of process haproxy",
            10,
            70,
        ),
        (
            "signal: { to: { pid_file: /run/x.pid } }",
            "deploy: SIGTERM to the pid in /run/x.pid",
            10,
            70,
        ),
        (
            "webhook: { url: 'http://[::1]:8080/x?y=z' }",
            "deploy: POST to ::1",
            10,
            70,
        ),
        ("roll: {}", "deploy: roll of 3 nodes, 1s apart", 10, 70),
    ] {
        let plan = compiled(&deployed(nodes, &format!("{{ deploy: {{ {deploy} }} }}")))
            .expect(deploy)
            .plan;
        let fault = plan.faults().next().expect("one");
        let told = (
            fault.label.as_str(),
            fault.start.as_secs(),
            fault.end.as_secs(),
        );
        assert_eq!(told, (label, start, end));
        let window = plan.deploys()[0];
        let second = 1_000_000_000;
        let measured = (window.fault, window.phase, window.start_ns, window.end_ns);
        assert_eq!(
            measured,
            (0, 1, start * second, 70 * second),
            "to the end of its phase"
        );
    }
    // An argument is there whole or not at all: a part of a secret could not be found any more.
    let long = format!("run: [echo, {}, c]", "b".repeat(60));
    let plan = compiled(&deployed(nodes, &format!("{{ deploy: {{ {long} }} }}")))
        .expect("valid")
        .plan;
    assert_eq!(
        plan.faults().next().map(|f| f.label.as_str()),
        Some("deploy: run echo …")
    );
}

#[test]
fn what_makes_no_sense_of_a_deploy_is_told_at_its_place() {
    let here = "phases[1].faults[0].deploy";
    let one = "{ embedded: {} }";
    for (deploy, place, words) in [
        ("after: 1s", "", "not said how"),
        ("run: [a], shell: b", "", "exclude each other"),
        ("run: []", ".run", "no program"),
        ("run: ['']", ".run[0]", "empty"),
        ("run: [a, \"b\\0\"]", ".run[1]", "NUL"),
        ("shell: ' '", ".shell", "empty"),
        (
            "signal: { send: SIGTERN, to: { pid: 5 } }",
            ".signal.send",
            "SIGTERN",
        ),
        ("signal: { to: { pid: 1 } }", ".signal.to.pid", "not the id"),
        (
            "signal: { to: { process: /usr/bin/x } }",
            ".signal.to.process",
            "file's name",
        ),
        (
            "signal: { to: { pid: 5 }, all: true }",
            ".signal.all",
            "several",
        ),
        ("webhook: { url: 'ftp://x/' }", ".webhook.url", "http"),
        (
            "webhook: { url: 'http://u:p@x/' }",
            ".webhook.url",
            "password",
        ),
        (
            "webhook: { url: 'http://x/', method: 'A B' }",
            ".webhook.method",
            "method",
        ),
        (
            "webhook: { url: 'http://x/', headers: { host: y } }",
            ".webhook.headers.host",
            "set by squall",
        ),
        (
            "webhook: { url: 'http://x/', headers: { a: \"b\\nc\" } }",
            ".webhook.headers.a",
            "one line",
        ),
        ("roll: {}", ".roll", "several nodes"),
        ("run: [a], after: 1m", ".after", "after phase"),
        (
            "run: [a], after: 50s, timeout: 11s",
            ".timeout",
            "after phase",
        ),
        ("run: [a], timeout: 0s", ".timeout", "more than 0"),
    ] {
        let problems =
            compiled(&deployed(one, &format!("{{ deploy: {{ {deploy} }} }}"))).map(|_| ());
        let problems = problems.expect_err(deploy);
        let found = problems
            .iter()
            .any(|p| p.path == format!("{here}{place}") && p.message.contains(words));
        assert!(found, "{deploy}: {problems:?}");
    }
    let twice = "{ deploy: { run: [a], timeout: 1s } }, { deploy: { run: [b], after: 30s } }";
    let problems = compiled(&deployed(one, twice))
        .map(|_| ())
        .expect_err("two at once");
    assert!(
        problems[0].path == "phases[1].faults[1].deploy" && problems[0].message.contains("already")
    );
}
