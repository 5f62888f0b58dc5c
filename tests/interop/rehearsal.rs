//! What `scenarios/haproxy/rehearse` starts ends with it, in whatever way it ends: the gateway's nodes, HAProxy's master, and its
//! workers, also one that a reload has left with a client.

use crate::harness::{Process, assert_gone, children, send};
use nix::sys::signal::Signal::{self, SIGINT, SIGKILL, SIGTERM, SIGUSR2};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::client;

/// The script, serving. Ends with the test.
struct Rehearsal {
    script: Child,
    address: String,
    folder: PathBuf,
}

impl Drop for Rehearsal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
        // Killed, it could not.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Rehearsal {
    fn start() -> Rehearsal {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/haproxy/rehearse");
        let mut script = Command::new(script)
            .env("SQUALL", env!("CARGO_BIN_EXE_squall"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is there");
        let mut line = String::new();
        let stdout = script.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let parts = line
            .trim()
            .split_once("/ws, nodes at ")
            .and_then(|(at, rest)| Some((at.strip_prefix("ws://")?, rest.rsplit_once(" in ")?.1)));
        let (address, folder) =
            parts.unwrap_or_else(|| panic!("{line:?}; see above, and run `ci/test` once"));
        Rehearsal {
            script,
            address: address.into(),
            folder: folder.into(),
        }
    }

    fn haproxy(&self) -> i32 {
        let pid = std::fs::read_to_string(self.folder.join("haproxy.pid")).expect("a pid file");
        pid.trim().parse().expect("a process id")
    }
}

/// All that came of a process.
fn descendants(of: i32) -> Vec<Process> {
    let mut all = Vec::new();
    for child in children(of) {
        all.extend(descendants(child.pid));
        all.push(child);
    }
    all
}

fn ends_with_it(signal: Signal) {
    let mut rehearsal = Rehearsal::start();
    let pid = rehearsal.script.id().cast_signed();
    // A client that stays, for the old worker's sake.
    let stream = TcpStream::connect(&rehearsal.address).expect("HAProxy");
    let url = format!("ws://{}/ws", rehearsal.address);
    let _client = client(url, stream).expect("an upgrade");
    let master = rehearsal.haproxy();
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut told = None::<Instant>;
    while children(master).len() < 2 {
        assert!(Instant::now() < deadline, "no reload");
        // A master that has only just begun may miss it: its workers serve before it listens to signals.
        if told.is_none_or(|at| at.elapsed() > Duration::from_secs(3)) {
            send(master, SIGUSR2);
            told = Some(Instant::now());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // The gateway and its three nodes, the master and its workers. A master that reloads runs itself anew, and has no
    // arguments to be seen for that moment: it is looked for until it is there.
    let all = loop {
        let all = descendants(pid);
        if all.len() >= 7 {
            break all;
        }
        assert!(Instant::now() < deadline, "{all:?}");
        std::thread::sleep(Duration::from_millis(10));
    };
    send(pid, signal);
    rehearsal.script.wait().expect("ended");
    assert_gone(&all);
    assert_eq!(rehearsal.folder.exists(), signal == SIGKILL);
}

#[test]
fn nothing_that_it_started_survives_it() {
    for signal in [SIGTERM, SIGINT, SIGKILL] {
        ends_with_it(signal);
    }
}
