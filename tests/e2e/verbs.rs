//! The verbs that run nothing, and printing to readers that leave.

use crate::harness::{Gateway, Lab, squall, turn};
use nix::sys::signal::Signal;
use std::process::Stdio;

/// Each preset by name, and as the file that it is.
#[test]
fn protocols_are_listed_and_presets_printed() {
    let protocols = |arguments: &[&str]| {
        let output = squall().arg("protocols").args(arguments).output();
        let output = output.expect("runs");
        let said = String::from_utf8(output.stdout).expect("text");
        (output.status.code(), said)
    };
    let (code, list) = protocols(&[]);
    assert_eq!(code, Some(0));
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/protocols");
    let mut presets = 0;
    for file in std::fs::read_dir(folder).expect("the presets") {
        let path = file.expect("readable").path();
        let name = path.file_stem().expect("a name").to_string_lossy();
        let text = std::fs::read_to_string(&path).expect("a preset");
        assert!(list.contains(name.as_ref()), "{name}: {list}");
        assert_eq!(protocols(&[&name]), (Some(0), text), "{name}");
        presets += 1;
    }
    assert!(presets >= 6, "{presets}");
    for built_in in ["json", "stomp", "mqtt", "socket_io", "raw"] {
        assert!(list.contains(built_in), "{built_in}: {list}");
    }
    assert_eq!(protocols(&["nonsense"]), (Some(2), String::new()));
}

#[test]
fn a_started_scenario_checks_and_init_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let squall = |arguments: &[&str]| {
        squall()
            .current_dir(folder.path())
            .args(arguments)
            .output()
            .expect("runs")
    };
    assert_eq!(squall(&["init", "mine"]).status.code(), Some(0));
    let output = squall(&["check", "mine.yaml"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.starts_with("mine"), "{text}");
    let before = std::fs::read(folder.path().join("mine.yaml")).expect("there");
    assert_eq!(squall(&["init", "mine"]).status.code(), Some(2));
    assert_eq!(
        std::fs::read(folder.path().join("mine.yaml")).expect("there"),
        before
    );
}

#[test]
fn the_schema_is_json() {
    let output = squall().arg("schema").output().expect("runs");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(schema["properties"]["clients"].is_object());
}

#[test]
fn a_reader_that_leaves_is_no_reason_to_panic() {
    for arguments in [&["schema"][..], &["--help"], &["--version"]] {
        let mut child = squall()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("ends");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("panicked"), "{arguments:?}: {text}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {text}");
    }
}

#[test]
fn a_run_whose_reader_leaves_keeps_its_verdict() {
    let lab = Lab::new(
        "
name: unread
target: { embedded: {} }
clients: { all: { count: 2, subscribe: [t], publish: { topic: t, rate: 50/s } } }
phases: [ { name: only, for: 1s } ]
gates: [ 'lost == 1' ]
",
    );
    let _turn = turn();
    let mut child = lab
        .command(&[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("ends").code(), Some(99));
}

#[test]
fn a_report_can_be_rendered_again() {
    let lab = Lab::new(
        "
name: again
target: { embedded: {} }
clients: { all: { count: 2, subscribe: [t], publish: { topic: t, rate: 50/s } } }
phases: [ { name: only, for: 1s } ]
",
    );
    let done = lab.run(&[]);
    let before = done.expect(0).summary();
    let html = done.folder().join("report.html");
    std::fs::remove_file(&html).expect("was there");
    let output = squall()
        .arg("report")
        .arg(done.folder())
        .output()
        .expect("runs");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(html.exists());
    assert_eq!(done.summary().0, before.0, "nothing is lost on the way");
    assert!(String::from_utf8_lossy(&output.stdout).contains("again"));
    let output = squall()
        .args(["report", "/nonexistent"])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_gateway_says_where_it_listens_and_ends_on_sigterm() {
    let mut gateway = Gateway::start();
    std::net::TcpStream::connect(gateway.address).expect("listens");
    gateway.signal(Signal::SIGTERM);
    assert_eq!(gateway.wait().code(), Some(0));
}

/// What the language, the plan and the gates' grammar each find comes in one go.
#[test]
fn all_mistakes_of_a_file_come_at_once() {
    let lab = Lab::new(
        "
name: mistakes
target: { embedded: {} }
clients:
  all: { cuont: 3, count: 2, subscribe: [t], publish: { topic: t, rate: 50/s, in: nowhere } }
phases: [ { name: only, for: 1s } ]
gates: [ 'latncy p99 < 1s', 'lost == 0 in never' ]
",
    );
    for verb in ["check", "run"] {
        let output = squall()
            .current_dir(lab.path())
            .args([verb, "scenario.yaml"])
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(104), "{text}");
        for word in ["cuont", "nowhere", "latncy", "never"] {
            assert!(text.contains(word), "{verb} does not name {word}: {text}");
        }
    }
}

/// A plan that this machine cannot hold is refused with the command that helps, before anything starts.
#[test]
fn a_machine_too_small_is_refused_before_the_run() {
    let lab = Lab::new(
        "
name: large
target: { embedded: {} }
clients: { all: { count: 900, subscribe: [t] } }
phases: [ { name: only, for: 1s } ]
generator: { shards: 1 }
",
    );
    for verb in ["check", "run"] {
        let script = format!(
            "ulimit -n 300 && exec {} {verb} scenario.yaml",
            env!("CARGO_BIN_EXE_squall")
        );
        let output = std::process::Command::new("sh")
            .current_dir(lab.path())
            .args(["-c", &script])
            .output()
            .expect("runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(104), "{verb}: {text}");
        assert!(text.contains("ulimit -n 1100"), "{verb}: {text}");
    }
    assert!(!lab.path().join("reports").exists(), "nothing ran");
}

#[test]
fn a_secret_in_a_name_is_not_printed_with_the_plan() {
    let lab = Lab::new(
        "
name: '${env:SQUALL_CANARY}'
target: { embedded: {} }
clients: { all: { count: 2 } }
phases: [ { name: '${env:SQUALL_CANARY}', for: 1s } ]
",
    );
    let output = squall()
        .current_dir(lab.path())
        .args(["check", "scenario.yaml"])
        .env("SQUALL_CANARY", "canary-77")
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(0));
    for text in [output.stdout, output.stderr] {
        assert!(!String::from_utf8_lossy(&text).contains("canary-77"));
    }
}
