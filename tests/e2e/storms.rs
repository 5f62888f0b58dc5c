//! `squall storm`: which way of coming back the target bears.

use crate::harness::{Lab, squall, turn};
use serde_json::Value;

/// Thirty who come back to a gateway that takes ten a second, and ten at once.
const STORM: &str = "
name: crowd
target: { embedded: { accept_rate: 10/s } }
clients:
  subs: { count: 30, subscribe: [t], reconnect: { backoff: no_jitter, base: 9s, cap: 9s, attempts: 50 } }
phases:
  - { name: ramp, for: 5s, open: { subs: { rate: 8/s } } }
  - name: storm
    for: 60s
    faults: [ { drop: { clients: subs, share: 100%, how: reset, after: 200ms } } ]
gates: [ 'this is another test' ]
generator: { max_lag: 50s, max_cpu: 100% }
";

/// Two runs of a ramp, a window and what comes after it: it takes half a minute.
#[test]
fn the_shortest_window_that_the_target_bears_is_recommended() {
    let lab = Lab::new(&STORM.replace("'this is another test'", "'failed == 0'"));
    let _turn = turn();
    let output = squall()
        .current_dir(lab.path())
        .args(["storm", "scenario.yaml", "--quiet", "--shards", "1"])
        .args(["--policies", "full_jitter", "--windows", "200ms,8s"])
        .output()
        .expect("runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}{said}");
    assert!(
        said.contains("storm 2 of 2: full_jitter over 8.0 s"),
        "{said}"
    );
    assert!(text.contains("recommended  full_jitter over 8 s"), "{text}");
    let page = text.lines().last().and_then(|line| line.split(' ').next());
    let page = lab.path().join(page.expect("the page's path"));
    assert!(
        page.ends_with("storm.html") && page.exists(),
        "{}",
        page.display()
    );
    let json = std::fs::read(page.with_file_name("storm.json")).expect("written");
    let sweep: Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(sweep["recommended"], 1);
    assert_eq!(sweep["victims"], 30);
    let tries = sweep["tries"].as_array().expect("a list");
    // Ten of thirty are let in at once, and ten more a second: the others come again.
    assert!(tries[0]["failed"].as_u64() > Some(0), "{text}");
    let against = tries[0]["against"].as_str().expect("a text");
    assert!(against.contains("openings failed"), "{text}");
    let second = (&tries[1]["lost"], &tries[1]["back"], &tries[1]["failed"]);
    assert_eq!(second, (&30.into(), &30.into(), &0.into()), "{text}");
    assert!(
        tries[0]["peak"].as_u64() > tries[1]["peak"].as_u64(),
        "{text}"
    );
    // Each run has a report of its own.
    let reports = std::fs::read_dir(lab.path().join("reports")).expect("a folder");
    assert_eq!(reports.count(), 3);
}

#[test]
fn what_cannot_be_tried_is_known_before_anything_runs() {
    let plain = STORM.replace("'this is another test'", "");
    let twice = plain.replace("faults: [", "faults: [ { deploy: { run: ['false'] } },");
    for (text, more, told) in [
        (
            plain.as_str(),
            &["--policies", "full_jitter,fibonacci"][..],
            "fibonacci",
        ),
        (twice.as_str(), &[][..], "every try would do again"),
        (
            plain.as_str(),
            &["--clients", "pubs"][..],
            "no fault of the scenario takes connections of `pubs` away",
        ),
    ] {
        let lab = Lab::new(text);
        let output = squall()
            .current_dir(lab.path())
            .args(["storm", "scenario.yaml"])
            .args(more)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(104), "{said}");
        assert!(said.contains(told), "{said}");
        assert!(!lab.path().join("reports").exists());
    }
}
