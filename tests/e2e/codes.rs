//! Each exit code, by the shortest way to it.

use crate::harness::{Lab, refusing, squall};

/// A run of a second with gates.
fn scenario(gates: &str) -> String {
    format!(
        "
name: codes
target: {{ embedded: {{}} }}
clients:
  publishers: {{ count: 1, publish: {{ topic: t, rate: 200/s }} }}
  subscribers: {{ count: 2, subscribe: [t] }}
phases:
  - {{ name: steady, for: 1s }}
gates: [ {gates} ]
generator: {{ shards: 1 }}
"
    )
}

#[test]
fn gates_decide_between_passed_failed_and_inconclusive() {
    for (gates, code, statuses) in [
        (
            "'lost == 0', 'sent > 100', 'latency p90 < 1s'",
            0,
            &["passed", "passed", "passed"][..],
        ),
        ("'lost == 0', 'sent < 100'", 99, &["passed", "failed"]),
        // 400 samples are too few for p99.9, and nobody reconnects here.
        (
            "'lost == 0', 'latency p99.9 < 10s'",
            107,
            &["passed", "no_evidence"],
        ),
        ("'rtt p50 < 10s'", 107, &["no_evidence"]),
        // What failed on evidence weighs more than what had none.
        (
            "'rtt p50 < 10s', 'sent < 100'",
            99,
            &["no_evidence", "failed"],
        ),
    ] {
        let done = Lab::new(&scenario(gates)).run(&["--quiet"]);
        let summary = done.expect(code).summary();
        let got = summary.at("/gates").as_array().expect("a list");
        let got: Vec<&str> = got.iter().filter_map(|g| g["status"].as_str()).collect();
        assert_eq!(got, statuses, "{gates}");
        assert_eq!(summary.at("/exit_code"), code);
    }
}

#[test]
fn wrong_usage_is_2() {
    for arguments in [
        &["fly"][..],
        &["run"],
        &["run", "x.yaml", "--shards", "0"],
        &["run", "x.yaml", "--no-such-flag"],
        &["run", "x.yaml", "--color", "sometimes"],
        &["gateway", "--listen", "nowhere"],
        &["init", "../up"],
        &[],
    ] {
        let output = squall().args(arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn an_invalid_scenario_is_104_with_the_place() {
    let lab = Lab::untimed(&scenario("'lost == 0'").replace("count: 2", "cuont: 2"));
    for verb in ["run", "check"] {
        let output = squall()
            .current_dir(lab.path())
            .args([verb, "scenario.yaml"])
            .output()
            .expect("runs");
        assert_eq!(output.status.code(), Some(104));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("scenario.yaml:6:"), "{text}");
        assert!(text.contains("cuont") && text.contains("count"), "{text}");
        assert!(output.stdout.is_empty());
    }
    assert!(
        !lab.path().join("reports").exists(),
        "nothing ran, nothing is written"
    );
    let done = lab.run(&["--set", "clients.subscribers.count=many"]);
    done.expect(104);
}

#[test]
fn a_scenario_that_is_not_there_is_104() {
    let output = squall()
        .args(["run", "/nonexistent/scenario.yaml"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(104));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/scenario.yaml"));
}

#[test]
fn an_unreachable_target_is_109() {
    let (_refusing, address) = refusing();
    let fault = "phases[0].faults=[{ burst: { clients: publishers, rate: 2x } }]";
    let target = format!("ws://{address}/");
    let done = Lab::untimed(&scenario("'lost == 0'")).run(&["--target", &target, "--set", fault]);
    let summary = done.expect(109).summary();
    // The reason is that nobody was there, not that a fault found nobody.
    assert!(!summary.reasons().contains("touched no connection"));
    assert_eq!(summary.at("/failures/refused"), 3);
    assert_eq!(summary.count("opened"), 0);
    assert_ne!(summary.text("/gates/0/status"), "passed");
}

#[test]
fn results_that_cannot_be_written_are_108() {
    // A file where the folder should be: refused before anything runs.
    let lab = Lab::untimed(&scenario("'lost == 0'"));
    std::fs::write(lab.path().join("taken"), "mine").expect("written");
    let done = lab.run(&["--out", "taken"]);
    done.expect(108);
    assert!(done.stderr.contains("taken"), "{}", done.stderr);
    assert_eq!(
        std::fs::read_to_string(lab.path().join("taken")).expect("there"),
        "mine"
    );
    assert!(done.stdout.is_empty(), "nothing ran: {}", done.stdout);

    // The folder turns into a file while the run goes on: the verdict is still shown.
    let run = lab.start(&["--set", "phases=[{ name: steady, for: 3s }]"]);
    run.wait_for_phase("steady");
    let reports = lab.path().join("reports");
    std::fs::remove_dir_all(&reports).expect("removed");
    std::fs::write(&reports, "mine").expect("written");
    let done = run.wait();
    done.expect(108);
    assert!(
        done.stderr.contains("could not be written"),
        "{}",
        done.stderr
    );
    assert!(
        done.stdout.contains("codes") && done.stdout.contains("RESULTS NOT WRITTEN"),
        "the summary is shown all the same: {}",
        done.stdout
    );
}

#[test]
fn the_generator_that_cannot_keep_its_schedule_is_106() {
    // No machine sends everything within a nanosecond of its time.
    let text = scenario("'lost == 0'").replace("shards: 1", "shards: 1, max_lag: 1ns");
    let summary = Lab::untimed(&text).run(&[]).expect(106).summary();
    assert!(
        summary.reasons().contains("generator-limited"),
        "{}",
        summary.reasons()
    );
    assert_ne!(summary.text("/gates/0/status"), "passed");
}

#[test]
fn a_fault_that_touched_nobody_makes_the_run_invalid() {
    let scenario = "name: nobody\ntarget: { embedded: {} }\nclients:\n  subs: { count: 3, subscribe: [a] }\n  \
                    pubs: { count: 2, publish: { topic: a, rate: 20/s } }\nphases:\n  \
                    - { name: one, for: 1s, faults: [ { burst: { clients: pubs, rate: 2x } } ] }\n  \
                    - { name: two, for: 1s, open: { pubs: all_at_once } }\ngates: ['lost == 0']\n";
    let summary = Lab::untimed(scenario).run(&[]).expect(106).summary();
    assert_eq!(summary.at("/phases/0/faults/0/touched"), 0);
    assert!(summary.reasons().contains("touched no connection"));
    assert_ne!(summary.text("/gates/0/status"), "passed");
}

#[test]
fn a_refusal_is_told_with_its_status_and_words() {
    let text =
        scenario("'lost == 0'").replace("{ embedded: {} }", "{ embedded: { tokens: [right] } }");
    let done = Lab::untimed(&text).run(&[]);
    done.expect(109);
    assert!(done.stdout.contains("status 401 ×3"), "{}", done.stdout);
    assert!(done.stdout.contains("heard"), "{}", done.stdout);
}
