//! Deploys: commands to their end, whatever it is, and rolls of the embedded gateway whose sums are known.

use crate::harness::{Gateway, Lab, Summary, assert_gone, children, files, send, squall};
use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGKILL, SIGTERM};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A run in which something is done to a target that does not mind.
fn scenario(deploy: &str) -> String {
    format!(
        "
name: deploys
target: {{ embedded: {{}} }}
clients: {{ subs: {{ count: 5, subscribe: [t], reconnect: {{}} }} }}
phases:
  - {{ name: open, for: 500ms }}
  - {{ name: deploy, for: 1500ms, faults: [ {{ deploy: {{ {deploy} }} }} ] }}
gates: ['opened >= 5']
"
    )
}

fn deploy(summary: &Summary) -> &Value {
    summary.at("/deploys/0")
}

/// The gate that every deploy has.
fn gate(summary: &Summary) -> Value {
    let gates = summary.at("/gates").as_array().expect("a list");
    let gate = gates.last().expect("at least the deploy's").clone();
    assert_eq!(gate["text"], "deploy succeeds in deploy");
    gate
}

/// Waits for a file that a command writes its process id to.
fn pid(path: &Path) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if let Some(pid) = text.strip_suffix('\n') {
            return pid.parse().expect("a process id");
        }
        assert!(Instant::now() < deadline, "no {}", path.display());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn assert_ended(pid: i32) {
    let process = crate::harness::Process {
        pid,
        arguments: Vec::new(),
    };
    assert_gone(&[process]);
}

/// Answered with any status of success, it has succeeded.
#[test]
fn a_webhook_that_is_accepted_succeeds() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("it asks");
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"v2") && stream.read(&mut byte).is_ok_and(|n| n == 1) {
            request.push(byte[0]);
        }
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\ndone\n");
        String::from_utf8_lossy(&request).into_owned()
    });
    let hook = format!("webhook: {{ url: 'http://{address}/roll', body: v2 }}, hitless: true");
    let done = Lab::new(&scenario(&hook)).run(&[]);
    let summary = done.expect(0).summary();
    let asked = asked.join().expect("no panic");
    assert!(asked.starts_with("POST /roll HTTP/1.1\r\n"), "{asked}");
    assert_eq!(deploy(&summary)["result"], "succeeded");
    assert_eq!(gate(&summary)["status"], "passed");
}

/// Over TLS it is believed if one of the system's certificates vouches for it, and is not even asked otherwise.
#[test]
fn a_webhook_over_https_is_asked_if_its_certificate_is_trusted() {
    let (cert, key) = squall::gateway::self_signed().expect("a certificate");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS");
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    let config = Arc::new(config.expect("they belong together"));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = std::thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().expect("it connects");
            let session = ServerConnection::new(config.clone()).expect("a session");
            let mut stream = StreamOwned::new(session, stream);
            let mut line = String::new();
            // Whoever does not trust it ends the handshake, and nothing is to be read.
            let _ = BufReader::new(&mut stream).read_line(&mut line);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            asked.push(line);
        }
        asked
    });
    let hook = format!("webhook: {{ url: 'https://localhost:{port}/roll' }}, hitless: true");
    let lab = Lab::untimed(&scenario(&hook));
    let store = lab.path().join("trusted.pem");
    std::fs::write(&store, cert).expect("written");
    let trusting = |store: &Path| {
        let mut command = lab.command(&["--out", store.file_stem().unwrap().to_str().unwrap()]);
        command
            .env("SSL_CERT_FILE", store)
            .env_remove("SSL_CERT_DIR");
        lab.start_command(command).wait()
    };
    trusting(&store).expect(0);
    // Another authority's, which has no say in it.
    let (other, _) = squall::gateway::self_signed().expect("a certificate");
    let store = lab.path().join("other.pem");
    std::fs::write(&store, other).expect("written");
    let done = trusting(&store);
    done.expect(106);
    let told = &done.stdout;
    assert!(
        told.contains("could not be begun") && told.contains("certificate"),
        "{told}"
    );
    let asked = asked.join().expect("no panic");
    assert_eq!(asked, ["POST /roll HTTP/1.1\r\n", ""]);
}

/// A target that nobody has a process id of is found by the name of its program. It spreads its closes over two seconds.
#[test]
fn a_signal_goes_to_a_process_by_its_name() {
    // A name that no other process has, as the kernel cuts it after 15 letters.
    let name = format!("gate{}", std::process::id());
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join(&name);
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_squall"), &program).expect("a link");
    let mut gateway = Gateway::of(Command::new(&program), "127.0.0.1:0");
    let text = format!(
        "
name: named
target: {{ url: 'ws://{}', pid: {} }}
clients: {{ subs: {{ count: 5, subscribe: [t], reconnect: {{ attempts: 1 }} }} }}
phases:
  - {{ name: open, for: 500ms }}
  - {{ name: deploy, for: 3s, faults: [ {{ deploy: {{ signal: {{ send: SIGTERM, to: {{ process: {name} }} }} }} }} ] }}
gates: ['opened >= 5']
",
        gateway.address,
        gateway.pid()
    );
    let summary = Lab::untimed(&text).run(&[]).expect(0).summary();
    let said = deploy(&summary)["output"].as_str().expect("a text");
    assert_eq!(said, format!("SIGTERM sent to {}", gateway.pid()));
    let cut = (&deploy(&summary)["old"], &deploy(&summary)["cut"]);
    assert_eq!(cut, (&5.into(), &5.into()));
    assert_eq!(gateway.wait().code(), Some(0), "it drained and ended");
    let memory = summary.at("/cost/samples/0/gateway_memory").as_u64();
    assert!(memory > Some(1 << 20), "while it was there: {memory:?}");
}

#[test]
fn a_command_that_succeeds_is_shown_with_what_it_said_and_no_secret() {
    let run = r#"run: [sh, -c, 'echo "rolled $0"; echo to stderr >&2', "${env:DEPLOY_SECRET}"], after: 500ms, hitless: true"#;
    let lab = Lab::new(&scenario(run));
    let mut command = lab.command(&[]);
    command.env("DEPLOY_SECRET", "canary-7f3a91");
    let done = lab.start_command(command).wait();
    let summary = done.expect(0).summary();
    let deploy = deploy(&summary);
    assert_eq!(deploy["result"], "succeeded");
    let said = deploy["output"].as_str().expect("a text");
    assert!(
        said.contains("rolled [redacted]") && said.contains("to stderr"),
        "{said}"
    );
    assert_eq!(gate(&summary)["status"], "passed");
    let fault = summary.at("/phases/1/faults/0");
    assert_eq!(
        (&fault["start"], &fault["touched"]),
        (&1.0.into(), &0.into())
    );
    let (start, end) = (fault["actual_start"].as_f64(), fault["actual_end"].as_f64());
    assert!(start >= Some(1.0) && end >= start, "{fault}");
    assert_eq!((&deploy["old"], &deploy["cut"]), (&5.into(), &0.into()));
    for file in files(done.folder()) {
        let bytes = std::fs::read(&file).expect("readable");
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("canary"), "{}", file.display());
    }
    assert!(!done.stdout.contains("canary") && !done.stderr.contains("canary"));
    let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
    assert!(page.contains("Deploy in deploy") && page.contains("to stderr"));
}

#[test]
fn a_command_that_fails_fails_the_run() {
    let run = "run: [sh, -c, 'echo no such deployment >&2; exit 3'], hitless: true";
    let done = Lab::new(&scenario(run)).run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!(deploy(&summary)["result"], "failed");
    let gate = gate(&summary);
    assert_eq!(
        (&gate["status"], &gate["actual"]),
        (&"failed".into(), &"failed".into())
    );
    assert_eq!(gate["note"], "failed (exit 3): no such deployment");
    assert!(done.stdout.contains("failed (exit 3)"), "{}", done.stdout);
    // A gate of the user's own is judged all the same.
    assert_eq!(summary.text("/gates/0/status"), "passed");
}

#[test]
fn a_command_that_hangs_is_ended_at_its_timeout_and_fails_the_run() {
    // The second does not end when asked to, so that the run is over before it is: its end is told all the same.
    for hangs in ["exec sleep 600", "trap \"\" TERM; sleep 600"] {
        let run = format!("run: [sh, -c, 'echo $$ > pid; {hangs}'], timeout: 1s, hitless: true");
        let lab = Lab::new(&scenario(&run));
        let done = lab.run(&[]);
        done.expect(99);
        let told = "not done in time, ended after";
        assert_eq!(done.stderr.matches(told).count(), 1, "{}", done.stderr);
        let summary = done.summary();
        assert_eq!(deploy(&summary)["result"], "timed_out");
        let took = deploy(&summary)["took"].as_f64().expect("a time");
        assert!(took >= 1.0, "{took}");
        assert_eq!(gate(&summary)["actual"], "timed out");
        assert_ended(pid(&lab.path().join("pid")));
    }
}

#[test]
fn what_could_not_even_be_begun_makes_the_run_invalid() {
    for (way, why) in [
        ("run: [/nowhere/to-be-found]", "/nowhere/to-be-found"),
        (
            "signal: { to: { process: nobody-is-called-so } }",
            "no process called",
        ),
        ("signal: { to: { pid_file: nowhere.pid } }", "nowhere.pid"),
        ("webhook: { url: 'http://127.0.0.1:1/' }", "127.0.0.1:1"),
    ] {
        let done = Lab::untimed(&scenario(way)).run(&[]);
        let summary = done.expect(106).summary();
        assert_eq!(deploy(&summary)["result"], "not_begun", "{way}");
        let reasons = summary.reasons();
        assert!(
            reasons.contains("could not be begun") && reasons.contains(why),
            "{reasons}"
        );
        assert_ne!(gate(&summary)["status"], "passed");
    }
}

#[test]
fn a_deploy_that_touched_nobody_proves_nothing_unless_it_may() {
    let done = Lab::new(&scenario("shell: 'true'")).run(&[]);
    let summary = done.expect(106).summary();
    assert!(
        summary.reasons().contains("touched no connection"),
        "{}",
        summary.reasons()
    );
    Lab::new(&scenario("shell: 'true', hitless: true"))
        .run(&[])
        .expect(0);
}

#[test]
fn an_interrupt_ends_the_command_too() {
    let run = "shell: 'sleep 600 & echo $! > grandchild; echo $$ > pid; wait'";
    let lab = Lab::untimed(&scenario(run).replace("for: 1500ms", "for: 10m"));
    let mut running = lab.start(&[]);
    let command = pid(&lab.path().join("pid"));
    let grandchild = pid(&lab.path().join("grandchild"));
    running.signal(SIGINT);
    let summary = running.wait().expect(105).summary();
    assert_eq!(deploy(&summary)["result"], "interrupted");
    assert_ne!(gate(&summary)["status"], "passed");
    assert_ended(command);
    assert_ended(grandchild);
}

#[test]
fn a_second_interrupt_ends_all_that_the_command_started_at_once() {
    // It says when it was asked to end, and goes on; what it started does not even hear of it.
    let run = "shell: '(trap \"\" TERM; exec sleep 600) & echo $! > grandchild; trap \"echo 1 > asked\" TERM; echo $$ > pid; \
               while :; do wait; done'";
    let lab = Lab::new(&scenario(run).replace("for: 1500ms", "for: 10m"));
    let mut running = lab.start(&[]);
    let command = pid(&lab.path().join("pid"));
    let grandchild = pid(&lab.path().join("grandchild"));
    running.signal(SIGINT);
    pid(&lab.path().join("asked"));
    running.signal(SIGINT);
    let done = running.wait();
    done.expect(105);
    let at_once = "interrupted twice, ending at once";
    assert!(done.stderr.contains(at_once), "{}", done.stderr);
    assert_ended(command);
    assert_ended(grandchild);
}

#[test]
fn a_command_does_not_outlive_a_coordinator_that_is_killed() {
    let run = "run: [sh, -c, 'echo $$ > pid; exec sleep 600']";
    let lab = Lab::untimed(&scenario(run).replace("for: 1500ms", "for: 10m"));
    let mut running = lab.start(&[]);
    let command = pid(&lab.path().join("pid"));
    let children = running.children();
    assert!(
        children.iter().any(|child| child.pid == command),
        "{children:?}"
    );
    running.signal(SIGKILL);
    assert_gone(&children);
}

#[test]
fn check_shows_what_will_be_run() {
    let run = "run: [sh, -c, 'rm -rf \"$HOME\"'], after: 500ms, timeout: 800ms";
    let lab = Lab::new(&scenario(run));
    let shown = squall()
        .current_dir(lab.path())
        .args(["check", "scenario.yaml"])
        .output()
        .expect("it runs");
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let expected =
        r#"will do     in deploy, after 0.5s, for 0.8s at most: run sh -c "rm -rf \"$HOME\"""#;
    assert!(shown.contains(expected), "{shown}");
}

/// A drain's deadline that only a hang reaches.
const FAR: &str = "20s";
/// One that is reached on purpose, long after a client that is busy is back.
const NEAR: &str = "3s";

/// Subscribers and publishers on three nodes that are rolled; every connection has to come back in time.
fn rolled(deadline: &str, embedded: &str, gates: &str) -> String {
    format!(
        "
name: rolled
target: {{ embedded: {{ nodes: 3, drain_window: 1200ms, drain_deadline: {deadline}{embedded} }} }}
clients:
  publishers: {{ count: 6, publish: {{ topic: t, rate: 60/s }}, reconnect: {{ base: 100ms, cap: 500ms }} }}
  subscribers: {{ count: 69, subscribe: [t], reconnect: {{ base: 100ms, cap: 500ms }} }}
phases:
  - {{ name: open, for: 1s }}
  - {{ name: deploy, for: 14s, faults: [ {{ deploy: {{ roll: {{ pause: 300ms }} }} }} ] }}
gates: [{gates}]
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    )
}

const ALL: u64 = 75;

fn n(summary: &Summary, counter: &str) -> u64 {
    let counts = summary
        .at("/counts_by_phase/deploy")
        .as_object()
        .expect("a table");
    counts
        .get(counter)
        .map_or(0, |n| n.as_u64().expect("a count"))
}

fn findings(summary: &Summary) -> Vec<String> {
    let findings = deploy(summary)["findings"].as_array().expect("a list");
    let name = |finding: &Value| finding["name"].as_str().expect("a text").to_owned();
    findings.iter().map(name).collect()
}

impl Summary {
    /// Of the run's ends those that were the target's, by code.
    fn closed_by_target(&self, code: u64) -> u64 {
        let closes = self.at("/closes").as_array().expect("a list").iter();
        let those = closes.filter(|close| close["by_target"] == true && close["code"] == code);
        those
            .map(|close| close["count"].as_u64().expect("a count"))
            .sum()
    }
}

#[test]
fn three_nodes_rolled_cut_everybody_once_and_lose_nothing() {
    for shards in ["1", "3"] {
        let gates = "'lost == 0', 'duplicated == 0', 'reordered == 0', 'severed share == 100% in deploy', \
                     'returned share == 100% in deploy', 'cut_again == 0 in deploy', 'close 1006 == 0', 'drain max < 14s in deploy', \
                     'cut_off max < 14s in deploy', 'closed_by_target == 75 in deploy'";
        let done = Lab::new(&rolled(FAR, "", gates)).run(&["--shards", shards]);
        let summary = done.expect(0).summary();
        // What is too long for a line is told in several.
        let told: Vec<&str> = done.stdout.split_whitespace().collect();
        let told = told.join(" ");
        for counter in ["old", "severed", "returned"] {
            assert_eq!(n(&summary, counter), ALL, "{counter}");
        }
        assert_eq!(n(&summary, "cut_again"), 0);
        assert_eq!(summary.closed_by_target(1001), ALL);
        let deploy = deploy(&summary);
        assert_eq!(deploy["closes"].as_array().map(Vec::len), Some(1));
        assert_eq!(deploy["closes"][0]["clean"], true);
        // Whoever said goodbye ended TCP in order, too.
        assert_eq!(deploy["closes"][0]["tcp"], "fin");
        assert!(
            told.contains("1001 ×75 (clean, by the target, FIN)"),
            "{told}"
        );
        assert_eq!(deploy["accepted_draining"], 0);
        let nodes = deploy["nodes"].as_array().expect("a list");
        assert_eq!(nodes.len(), 3);
        let mut before = 0.0;
        for (i, node) in nodes.iter().enumerate() {
            assert_eq!(node["node"], i);
            for step in ["draining", "ended", "ready"] {
                let at = node[step].as_f64().unwrap_or_else(|| panic!("{node}"));
                assert!(at >= before, "{nodes:?}");
                before = at;
            }
            assert_eq!(node["cut_at_deadline"], 0);
        }
        // A third of the connections each, at its own time; a client that was busy for a second sees a drain in two parts.
        let stretches = deploy["drains"].as_array().expect("a list");
        let mut sums = [0, 0, 0];
        for stretch in stretches {
            let n = |key: &str| stretch[key].as_u64().expect("a count");
            sums[n("endpoint") as usize] += n("connections");
        }
        assert_eq!(sums, [25, 25, 25], "{stretches:?}");
        let verdict = deploy["verdict"].as_str().expect("a text");
        assert!(verdict.starts_with("75 connections moved in "), "{verdict}");
        // Who is away misses something, and nobody here resumes.
        let missed = deploy["missed"].as_u64().expect("a count");
        assert!(missed > 0 && deploy["recovered"] == 0, "{deploy}");
        // All that was missed is the deploy's doing, and stands so beside the fault and by stream.
        assert_eq!(missed, summary.count("missed"));
        let fault = summary.at("/phases/1/faults/0");
        assert_eq!(fault["absence"]["missed"], missed);
        for stream in summary.at("/streams/worst").as_array().expect("a list") {
            for part in stream["parts"].as_array().expect("a list") {
                assert_eq!(part["fault"], fault["label"], "{stream}");
            }
        }
        assert!(verdict.contains(", 0 messages lost, "), "{verdict}");
        assert!(verdict.contains(" missed while away, peak "), "{verdict}");
        assert!(findings(&summary).contains(&"missed".to_owned()));
        assert!(told.contains(verdict), "{told}");
        let heading = "#### Deploy in deploy";
        let page = std::fs::read_to_string(done.folder().join("summary.md")).expect("a page");
        assert!(page.contains(heading) && page.contains(verdict), "{page}");
        assert!(!findings(&summary).iter().any(|name| name == "cut_again"));
    }
}

#[test]
fn on_one_port_whoever_moves_to_a_node_still_to_be_rolled_is_cut_again_and_counted() {
    let gates = "'lost == 0', 'old == 75 in deploy', 'returned share == 100% in deploy'";
    let summary = Lab::new(&rolled(FAR, ", one_port: true", gates))
        .run(&[])
        .expect(0)
        .summary();
    let again = n(&summary, "cut_again");
    assert_eq!(n(&summary, "severed"), ALL);
    assert_eq!(
        summary.closed_by_target(1001) + summary.closed_by_target(1006),
        ALL + again
    );
    assert_eq!(
        findings(&summary).contains(&"cut_again".to_owned()),
        again > 0
    );
}

#[test]
fn each_way_to_drain_badly_is_found_by_name() {
    for (drain, finding, code) in [
        ("keep_accepting", "accepted_while_draining", 1001),
        ("never", "never_drained", 1006),
        ("all_at_once", "closed_all_at_once", 1001),
    ] {
        let embedded = format!(", misbehave: {{ drain: {drain} }}");
        // All at once within 0.3 s, as a client sees it, is found if one node of the three looks so; a drain over 1.2 s looks so
        // only to one that is busy for most of that.
        // What a publisher had written to a connection that is cut is lost with it: nothing is asked of that here.
        let gates = "'old == 75 in deploy', 'severed == 75 in deploy', 'returned == 75 in deploy'";
        let summary = Lab::new(&rolled(NEAR, &embedded, gates))
            .run(&[])
            .expect(0)
            .summary();
        let found = findings(&summary);
        for name in [
            "accepted_while_draining",
            "never_drained",
            "closed_all_at_once",
        ] {
            assert_eq!(
                found.contains(&name.to_owned()),
                name == finding,
                "{drain}: {found:?}"
            );
        }
        assert_eq!(summary.closed_by_target(code), ALL, "{drain}");
        let again = n(&summary, "cut_again");
        let accepted = deploy(&summary)["accepted_draining"].as_u64();
        match drain {
            // All came back to the node that was leaving, and were cut with it.
            "keep_accepting" => {
                assert_eq!((again, accepted), (ALL, Some(ALL)), "{found:?}");
                assert_eq!(summary.closed_by_target(1006), ALL);
                assert!(found.contains(&"cut_again".to_owned()));
            }
            _ => assert_eq!((again, accepted), (0, Some(0)), "{found:?}"),
        }
    }
}

/// Two nodes that refuse whoever comes too fast, and say some things twice or in the wrong order, behind a proxy that lets
/// forty a second through: in what a deploy cost there is some of everything.
#[test]
fn all_that_a_deploy_cost_is_in_its_sums_and_its_verdict() {
    let (proxy, _) = crate::detours::proxy("Basic dTpw", Duration::from_millis(25));
    let scenario = format!(
        "
name: costly
target:
  proxy: 'http://u:p@{proxy}'
  embedded:
    nodes: 2
    accept_rate: 16/s
    drain_window: 300ms
    drain_deadline: {FAR}
    history: {{ messages: 1000, for: 1m }}
    misbehave: {{ duplicate_every: 41, reorder_every: 59 }}
clients:
  subs: {{ count: 59, subscribe: [t], reconnect: {{ base: 300ms, cap: 600ms, resume: true }} }}
  pubs: {{ count: 1, publish: {{ topic: t, rate: 80/s }}, reconnect: {{ base: 300ms, cap: 600ms }} }}
phases:
  - {{ name: open, for: 3s, open: {{ subs: all_at_once, pubs: all_at_once }} }}
  - {{ name: deploy, for: 6s, faults: [ {{ deploy: {{ roll: {{ pause: 300ms }} }} }} ] }}
gates: ['attempts peak > 0/s in deploy', 'returned == 60 in deploy']
generator: {{ max_lag: 50s, max_cpu: 100% }}
"
    );
    let done = Lab::new(&scenario).run(&[]);
    let summary = done.expect(0).summary();
    let deploy = deploy(&summary);
    let of = |name: &str| {
        let n = deploy[name].as_u64();
        n.unwrap_or_else(|| panic!("{name}: {deploy}"))
    };
    for name in ["old", "cut", "moved"] {
        assert_eq!(of(name), 60, "{name}");
    }
    // Of its phase.
    for name in ["duplicated", "reordered", "lost"] {
        assert_eq!(of(name), n(&summary, name), "{name}");
    }
    assert!(of("duplicated") > 0 && of("reordered") > 0, "{deploy}");
    // Nobody was refused before, and who was came again.
    let refused = of("refused");
    assert!(refused > 0, "{deploy}");
    assert_eq!(deploy["refused_by_status"]["503"], refused);
    assert_eq!(summary.at("/statuses/503"), refused);
    assert_eq!(summary.at("/failures/status"), refused);
    // Of the connections that it cut, whenever that was found; and nobody else was ever away.
    assert!(of("recovered") > 0, "{deploy}");
    for name in ["recovered", "missed"] {
        assert_eq!(of(name), summary.count(name), "{name}");
    }
    let (peak, capacity) = (of("peak_attempts"), of("capacity"));
    assert_eq!(summary.number("/gates/0/value"), peak as f64);
    // More waited at the proxy all the time, which takes a second and a half for all.
    assert_eq!(deploy["capacity_reached"], true, "{deploy}");
    assert!((20..60).contains(&capacity), "{deploy}");
    let share = (peak as f64 / capacity as f64 * 100.0).round();
    let missed = match of("missed") {
        0 => String::new(),
        missed => format!(", {missed} missed while away"),
    };
    let expected = format!(
        "60 connections moved in {:.1} s, {} messages lost{missed}, {} recovered, peak {peak} handshakes/s ({share} % of capacity)",
        deploy["moved_in"].as_f64().expect("a time"),
        of("lost"),
        of("recovered"),
    );
    // Thousands have a comma there.
    let verdict = deploy["verdict"].as_str().expect("a text");
    let plain = |text: &str| text.replace(", ", "; ").replace(',', "");
    assert_eq!(plain(verdict), plain(&expected));
    let page = std::fs::read_to_string(done.folder().join("report.html")).expect("a page");
    assert!(page.contains(verdict), "{verdict}");
    assert!(
        page.contains(&format!("{refused}: 503 ×{refused}")),
        "{refused}"
    );
}

/// `squall gateway --nodes 3` by hand, and what it says.
struct ByHand {
    child: std::process::Child,
    addresses: Vec<String>,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl ByHand {
    fn start() -> ByHand {
        let json = r#"{"drain_window":300,"drain_deadline":40000}"#;
        let mut child = squall()
            .args(["gateway", "--nodes", "3", "--config-json", json])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the gateway starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let lines = stdout.lines().take(3).map(|line| line.expect("a line"));
        let address = |line: String| {
            line.strip_prefix("listening on ")
                .expect("an address")
                .to_owned()
        };
        let addresses = lines.map(address).collect();
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        ByHand {
            child,
            addresses,
            lines,
        }
    }

    fn says(&mut self) -> String {
        let line = self.lines.next().expect("more to say").expect("a line");
        line.trim_start_matches("squall: ").to_owned()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_to_a_gateway_of_ones_own_rolls_it() {
    let mut gateway = ByHand::start();
    let pid = gateway.child.id();
    let before = children(pid.cast_signed());
    let urls = gateway.addresses.join("/ws, ") + "/ws";
    let text = rolled(
        FAR,
        "",
        "'lost == 0', 'cut_again == 0', 'old == 75', 'returned == 75'",
    )
    .replace(
        "roll: { pause: 300ms }",
        &format!("signal: {{ send: SIGHUP, to: {{ pid: {pid} }} }}"),
    );
    let target = text
        .lines()
        .find(|line| line.starts_with("target:"))
        .expect("it has one");
    let text = text.replace(target, &format!("target: {{ url: [{urls}] }}"));
    let summary = Lab::new(&text).run(&[]).expect(0).summary();
    assert_eq!(deploy(&summary)["output"], format!("SIGHUP sent to {pid}"));
    assert_eq!(summary.closed_by_target(1001), ALL);
    // What another service than the embedded gateway let in while it drained nobody knows.
    assert!(deploy(&summary)["accepted_draining"].is_null());
    for node in 0..3 {
        for step in ["drains", "ended", "is ready"] {
            assert_eq!(gateway.says(), format!("node {node} {step}"));
        }
    }
    assert_eq!(gateway.says(), "all nodes rolled");
    assert_gone(&before);
    assert_eq!(children(pid.cast_signed()).len(), 3);
    send(pid.cast_signed(), SIGTERM);
    assert!(gateway.says().starts_with("gateway: {\"accepted\":"));
    assert_eq!(gateway.child.wait().expect("ended").code(), Some(0));
}

#[test]
fn a_roll_starts_a_dead_node_anew() {
    let mut gateway = ByHand::start();
    let pid = gateway.child.id().cast_signed();
    send(children(pid)[0].pid, SIGKILL);
    let told = gateway.says();
    let dead = told
        .strip_prefix("node ")
        .and_then(|rest| rest.split_once(" of the gateway ended: signal: 9"))
        .unwrap_or_else(|| panic!("{told}"))
        .0;
    let dead: usize = dead.parse().expect("a node");
    send(pid, SIGHUP);
    for node in 0..3 {
        let steps: &[&str] = match node == dead {
            true => &["was dead, and is started anew", "is ready"],
            false => &["drains", "ended", "is ready"],
        };
        for step in steps {
            assert_eq!(gateway.says(), format!("node {node} {step}"));
        }
    }
    assert_eq!(gateway.says(), "all nodes rolled");
    assert_eq!(children(pid).len(), 3);
    // It is one of them again: it can be rolled like the others.
    send(pid, SIGHUP);
    while gateway.says() != "all nodes rolled" {}
    send(pid, SIGTERM);
    assert!(gateway.says().starts_with("gateway: {\"accepted\":"));
    // That one died is not forgotten.
    assert_eq!(gateway.child.wait().expect("ended").code(), Some(106));
}

#[test]
fn a_gateway_that_is_asked_to_end_in_the_midst_of_a_roll_ends() {
    let mut gateway = ByHand::start();
    let pid = gateway.child.id().cast_signed();
    send(pid, SIGHUP);
    assert_eq!(gateway.says(), "node 0 drains");
    let nodes = children(pid);
    let asked = Instant::now();
    send(pid, SIGTERM);
    while !gateway.says().starts_with("gateway: {") {}
    assert_eq!(gateway.child.wait().expect("ended").code(), Some(0));
    // It would wait for the deadline of a node that is not to come.
    assert!(asked.elapsed() < Duration::from_secs(30));
    assert_gone(&nodes);
}

#[test]
fn a_roll_that_is_not_done_in_time_fails_the_run_and_stops_after_the_node_it_is_at() {
    let text = rolled(
        FAR,
        "",
        "'lost == 0', 'old == 75', 'severed == 25', 'returned == 25'",
    )
    .replace("pause: 300ms } }", "pause: 5s }, timeout: 3s }");
    let done = Lab::new(&text).run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!(deploy(&summary)["result"], "timed_out");
    let nodes = deploy(&summary)["nodes"].as_array().map(Vec::len);
    assert_eq!(nodes, Some(1));
    for gate in 0..4 {
        assert_eq!(summary.text(&format!("/gates/{gate}/status")), "passed");
    }
    assert!(findings(&summary).contains(&"stayed".to_owned()));
}
