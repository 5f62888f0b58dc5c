//! The cases of the Autobahn testsuite, against squall's WebSocket client.
//!
//! What is judged is the engine itself, with its sockets, frames, close handshakes and compression: [`engine::run_echoing`] sends
//! back what the suite sends, which is all that the suite asks of a client. Each case is one connection of a group.
//!
//! The suite needs Python 2, which no registry has any more. Here its case files are run by PyPI's `kosoku`, which is made for
//! that; `ci/autobahn` runs these tests against the suite itself (`SQUALL_WSTEST` names its program).

use crate::servers::on_free_port;
use serde_json::Value;
use squall::engine::{self, Control, Report, Spec};
use squall::metrics::{Counter, Failure, Totals};
use squall::plan::{self, Machine};
use squall::scenario::{self, Options};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite;

/// What the suite may say of a case, or of its close. Not strict: within the protocol, and later than it might have been.
/// Informational: the protocol leaves it open.
const FINE: [&str; 3] = ["OK", "NON-STRICT", "INFORMATIONAL"];

/// Cases of compression by what the client must offer for them: a thousand messages each. Of all sizes and texts a few, whole
/// and in fragments, with each way to agree; all of them take half an hour.
const COMPRESSED: [(&str, &[&str], &[&str]); 2] = [
    (
        "{}",
        &[
            "12.1.4", "12.2.5", "12.3.6", "12.4.11", "12.5.3", "13.1.4", "13.3.5", "13.4.6",
            "13.7.11",
        ],
        &[
            "12.1.*", "12.2.*", "12.3.*", "12.4.*", "12.5.*", "13.1.*", "13.3.*", "13.4.*",
            "13.7.*",
        ],
    ),
    (
        "{ client_no_context_takeover: true }",
        &["13.2.4", "13.5.5", "13.6.11"],
        &["13.2.*", "13.5.*", "13.6.*"],
    ),
];

/// A fuzzing server, and where it listens.
enum Suite {
    Kosoku(Child, u16),
    Autobahn(
        #[expect(dead_code, reason = "ends with it")] crate::servers::Ends,
        u16,
    ),
}

impl Suite {
    fn start(cases: &[&str], folder: &Path) -> Suite {
        match std::env::var_os("SQUALL_WSTEST") {
            Some(program) => Suite::autobahn(&program.to_string_lossy(), cases, folder),
            None => Suite::kosoku(cases, folder),
        }
    }

    fn kosoku(cases: &[&str], folder: &Path) -> Suite {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let python = root.join("target/tools/bin/python");
        assert!(
            python.exists(),
            "{} is missing: run `ci/test` once, it installs the servers",
            python.display()
        );
        let mut child = Command::new(python)
            .arg(root.join("tests/servers/autobahn.py"))
            .arg("--out")
            .arg(folder)
            .args(cases)
            // Its end is the server's end, whatever becomes of this process.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse();
        let port = port.unwrap_or_else(|_| panic!("no port but {line:?}: run `ci/test` once"));
        Suite::Kosoku(child, port)
    }

    fn autobahn(program: &str, cases: &[&str], folder: &Path) -> Suite {
        let configured = |command: &mut Command, port: u16| {
            let spec = serde_json::json!({
                "url": format!("ws://127.0.0.1:{port}"),
                "outdir": folder,
                // Cases run side by side in its one thread: how long it is busy elsewhere is not for the client to answer for.
                "options": { "closeHandshakeTimeout": 60, "openHandshakeTimeout": 60 },
                "cases": cases,
                "exclude-cases": [],
                "exclude-agent-cases": {},
            });
            let file = folder.join("spec.json");
            std::fs::write(&file, spec.to_string()).expect("written");
            command.args(["-m", "fuzzingserver", "-u", "0", "-s"]);
            command.arg(file);
        };
        let answers = |port| TcpStream::connect(("127.0.0.1", port)).is_ok();
        let (server, port) = on_free_port(program, configured, answers);
        Suite::Autobahn(server, port)
    }

    fn port(&self) -> u16 {
        match self {
            Suite::Kosoku(_, port) | Suite::Autobahn(_, port) => *port,
        }
    }

    /// What it says when asked for this.
    fn ask(&self, path: &str) -> Option<String> {
        let address = format!("ws://127.0.0.1:{}{path}", self.port());
        let stream = TcpStream::connect(("127.0.0.1", self.port())).expect("the suite listens");
        let asked = tungstenite::client(address.as_str(), stream);
        let (mut socket, _) = asked.expect("the suite answers");
        let mut said = None;
        while let Ok(message) = socket.read() {
            if let tungstenite::Message::Text(text) = message {
                said = Some(text.to_string());
            }
        }
        said
    }
}

impl Drop for Suite {
    fn drop(&mut self) {
        if let Suite::Kosoku(child, _) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a shard of as many connections as there are cases, begun so far apart, until all were ended by the suite.
fn echo(port: u16, cases: u64, apart: Duration, more: &str) -> Totals {
    let text = format!(
        "name: autobahn\n\
         target:\n  url: \"ws://127.0.0.1:{port}/runCase?agent=squall&case={{case}}\"\n  \
         max_message: 64MiB\n  max_queue: 256MiB\n  connect_timeout: 1m\n\
         clients:\n  cases:\n    count: {cases}\n    protocol: raw\n    vars: {{ case: {{ sequence: 1 }} }}\n{more}\
         phases:\n  - {{ name: cases, for: {}ms, open: {{ cases: linear }} }}\n  - {{ name: rest, for: 1h }}\n\
         generator: {{ drain: 1s }}\n",
        cases * apart.as_millis() as u64
    );
    let document = scenario::parse("autobahn.yaml", &text, None, &Options::default())
        .unwrap_or_else(|e| panic!("{e}"));
    let machine = Machine {
        cores: 2,
        descriptors: 20_000,
        file_max: 1 << 20,
        port_range: (32768, 60999),
        memory_available: 64 << 30,
        somaxconn: 4096,
        ..Machine::default()
    };
    let plan = plan::compile(document.scenario(), document.files(), &machine)
        .unwrap_or_else(|problems| panic!("{}", document.report(problems)))
        .plan;
    let mut totals = Totals::new(plan.phases().len(), plan.groups().len(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(Default::default())
        .expect("a runtime");
    let (orders, control) = mpsc::unbounded_channel();
    let (report, mut reports) = mpsc::unbounded_channel();
    let spec = Spec {
        plan,
        run: 7,
        shard: 0,
        shards: 1,
    };
    runtime.block_on(async {
        let shard = tokio::task::spawn_local(engine::run_echoing(spec, control, report));
        let order = |order| orders.send(order).expect("the shard hears");
        while let Some(report) = reports.recv().await {
            match report {
                Report::Ready => order(Control::Start {
                    at: engine::monotonic_ns(),
                }),
                Report::Snapshot(snapshot) => {
                    let gauges = &snapshot.gauges;
                    let nobody = gauges.open.iter().sum::<u32>() + gauges.opening == 0;
                    totals.absorb(*snapshot).expect("in order");
                    if nobody && totals.count(Counter::Attempts, None, None) == cases {
                        let _ = orders.send(Control::Stop);
                    }
                }
                Report::Published(ends) => order(Control::Streams(ends)),
                Report::Settled => order(Control::Finish),
                Report::Finished => break,
            }
        }
        shard.await.expect("no panic").expect("no error");
    });
    totals.finish();
    totals
}

/// Runs all of these cases, and fails unless each is fine.
fn pass(name: &str, cases: &[&str], apart: Duration, more: &str) -> Totals {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = match std::env::var_os("SQUALL_AUTOBAHN_REPORTS") {
        Some(reports) => Path::new(&reports).join(name),
        None => temporary.path().to_owned(),
    };
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    let suite = Suite::start(cases, &folder);
    let count = suite.ask("/getCaseCount").expect("a number");
    let count: u64 = count.trim().parse().expect("a number");
    let totals = echo(suite.port(), count, apart, more);
    suite.ask("/updateReports?agent=squall");
    let verdicts = verdicts(&folder.join("index.json"));
    let mut tally = BTreeMap::<&str, usize>::new();
    let mut bad = Vec::new();
    for (case, verdict) in &verdicts {
        let said = |key: &str| verdict[key].as_str().unwrap_or_default();
        *tally.entry(said("behavior")).or_default() += 1;
        if ![said("behavior"), said("behaviorClose")]
            .iter()
            .all(|said| FINE.contains(said))
        {
            bad.push(format!("{case}: {verdict}"));
        }
    }
    eprintln!("{count} cases: {tally:?}");
    assert!(bad.is_empty(), "{} of {count} cases: {bad:#?}", bad.len());
    assert_eq!(verdicts.len() as u64, count, "{tally:?}");
    assert_eq!(totals.count(Counter::Opened, None, None), count);
    totals
}

/// The suite's own, by case.
fn verdicts(file: &Path) -> BTreeMap<String, Value> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let text = loop {
        match std::fs::read_to_string(file).map(|text| serde_json::from_str::<Value>(&text)) {
            Ok(Ok(index)) => break index,
            _ if Instant::now() > deadline => panic!("the suite wrote no verdicts"),
            _ => std::thread::sleep(Duration::from_millis(50)),
        }
    };
    let of_squall = text["squall"].as_object().expect("squall's").clone();
    of_squall.into_iter().collect()
}

#[test]
fn autobahn_is_content_with_frames_fragments_texts_and_closes() {
    let totals = pass(
        "protocol",
        &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
        Duration::from_millis(25),
        "",
    );
    // It breaks the protocol on purpose, in every way that it knows.
    assert!(totals.failures(Some(Failure::Protocol), None, None) > 50);
}

#[test]
fn autobahn_is_content_with_large_messages_and_many() {
    pass("large", &["9.*"], Duration::from_millis(333), "");
}

#[test]
fn autobahn_is_content_with_compression() {
    // `SQUALL_AUTOBAHN_ALL`: takes long, each eighteen of a suite of their own, as a server lives for ten minutes.
    let all = std::env::var_os("SQUALL_AUTOBAHN_ALL").is_some();
    for (offer, few, every) in COMPRESSED {
        let (each, apart) = match all {
            true => (1, Duration::from_secs(5)),
            false => (few.len(), Duration::from_secs(1)),
        };
        let offer = format!("    compression: {offer}\n");
        for cases in if all { every } else { few }.chunks(each) {
            let name = format!("compression-{}", cases[0].trim_end_matches(".*"));
            let totals = pass(&name, cases, apart, &offer);
            let count = |counter| totals.count(counter, None, None);
            assert_eq!(count(Counter::Compressed), count(Counter::Opened));
            assert!(count(Counter::DeflatedSent) > 0);
        }
    }
}
