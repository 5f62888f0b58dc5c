//! Runs the real binary on a scenario in a folder of its own, and reads what it leaves behind.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than any run here takes on a busy machine; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn squall() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_squall"));
    command.stdin(Stdio::null()).env_remove("NO_COLOR");
    command
}

/// A folder with a scenario in it; it lasts as long as what came of it.
#[derive(Clone)]
pub struct Lab {
    folder: Arc<tempfile::TempDir>,
    turn: FlockArg,
}

/// One run at a time, across processes too: the runs measure time, on a machine with few cores.
pub fn turn() -> Flock<File> {
    take_turn(FlockArg::LockExclusive)
}

fn take_turn(how: FlockArg) -> Flock<File> {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e.lock");
    let file = File::create(path).expect("a lock file");
    Flock::lock(file, how).unwrap_or_else(|(_, e)| panic!("no turn: {e}"))
}

impl Lab {
    pub fn new(scenario: &str) -> Lab {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("scenario.yaml"), scenario).expect("a scenario");
        Lab {
            folder: Arc::new(folder),
            turn: FlockArg::LockExclusive,
        }
    }

    /// One whose run may go on beside others of this kind, as nothing asked of it depends on time: neither how long
    /// anything took nor whether the generator kept its schedule. `.config/nextest.toml` lists them too.
    pub fn untimed(scenario: &str) -> Lab {
        Lab {
            turn: FlockArg::LockShared,
            ..Lab::new(scenario)
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `squall run scenario.yaml` with further arguments.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = squall();
        command
            .current_dir(self.path())
            .args(["run", "scenario.yaml"])
            .args(more);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, more: &[&str]) -> Done {
        self.start(more).wait()
    }

    /// Starts it.
    pub fn start(&self, more: &[&str]) -> Running {
        self.start_command(self.command(more))
    }

    pub fn start_command(&self, mut command: Command) -> Running {
        let turn = take_turn(self.turn);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("squall starts");
        let (line, lines) = channel();
        let stderr = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            let mut all = String::new();
            for text in BufReader::new(stderr).lines().map_while(Result::ok) {
                all.push_str(&text);
                all.push('\n');
                let _ = line.send(text);
            }
            all
        });
        let mut stdout = child.stdout.take().expect("piped");
        let output = std::thread::spawn(move || {
            let mut all = String::new();
            let _ = stdout.read_to_string(&mut all);
            all
        });
        Running {
            lab: self.clone(),
            _turn: turn,
            child: Some(child),
            lines,
            errors: Some(errors),
            output: Some(output),
        }
    }
}

/// A run under way; killed when the test gives up on it.
pub struct Running {
    lab: Lab,
    _turn: Flock<File>,
    child: Option<Child>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    output: Option<JoinHandle<String>>,
}

/// A child of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    pub pid: i32,
    pub arguments: Vec<String>,
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("running")
    }

    pub fn pid(&mut self) -> i32 {
        self.child().id().cast_signed()
    }

    /// Waits for a line on standard error; fails with all that came instead.
    pub fn wait_for(&self, what: &str, matches: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = Vec::new();
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if matches(&line) => return,
                Ok(line) => seen.push(line),
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no {what} within {PATIENCE:?}: {seen:#?}")
                }
                Err(RecvTimeoutError::Disconnected) => panic!("ended without {what}: {seen:#?}"),
            }
        }
    }

    /// Waits until the progress shows a phase, with something already sent in it.
    pub fn wait_for_phase(&self, phase: &str) {
        self.wait_for(phase, |line| {
            let mut words = line.split_whitespace();
            words.next().is_some_and(|w| w.ends_with('s'))
                && words.next() == Some(phase)
                && line.contains("open")
        });
    }

    pub fn children(&mut self) -> Vec<Process> {
        children(self.pid())
    }

    /// The process of a shard.
    pub fn shard(&mut self, index: usize) -> i32 {
        let index = index.to_string();
        let found = self
            .children()
            .into_iter()
            .find(|p| p.arguments[1..] == ["shard", &index]);
        found.expect("the shard runs").pid
    }

    /// The process of the embedded gateway.
    pub fn gateway(&mut self) -> i32 {
        let found = self
            .children()
            .into_iter()
            .find(|p| p.arguments.get(1).is_some_and(|a| a == "gateway"));
        found.expect("the gateway runs").pid
    }

    pub fn signal(&mut self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Done {
        let deadline = Instant::now() + PATIENCE;
        let mut child = self.child.take().expect("running");
        let status = loop {
            if let Some(status) = child.try_wait().expect("waited") {
                break status;
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                panic!("still running after {PATIENCE:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        let text =
            |thread: Option<JoinHandle<String>>| thread.expect("once").join().expect("readable");
        Done {
            code: status.code(),
            stdout: text(self.output.take()),
            stderr: text(self.errors.take()),
            folders: folders(&self.lab.path().join("reports")),
            _lab: self.lab.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A run that is over.
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// Report folders there are.
    pub folders: Vec<PathBuf>,
    _lab: Lab,
}

impl Done {
    /// Checks the exit code, showing everything when it is another.
    pub fn expect(&self, code: i32) -> &Done {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// The only report's folder.
    pub fn folder(&self) -> &Path {
        assert_eq!(
            self.folders.len(),
            1,
            "one report: {:?}\n{}",
            self.folders,
            self.stderr
        );
        &self.folders[0]
    }

    /// The only report's `summary.json`, after checking that nothing scheduled has disappeared.
    pub fn summary(&self) -> Summary {
        let text = std::fs::read_to_string(self.folder().join("summary.json")).expect("a summary");
        let summary = Summary(serde_json::from_str(&text).expect("JSON"));
        summary.check_conservation();
        summary
    }
}

/// `summary.json` of a run.
#[derive(Debug)]
pub struct Summary(pub Value);

impl Summary {
    /// A value by JSON pointer.
    pub fn at(&self, pointer: &str) -> &Value {
        self.0
            .pointer(pointer)
            .unwrap_or_else(|| panic!("{pointer} is missing in {:#}", self.0))
    }

    pub fn number(&self, pointer: &str) -> f64 {
        self.at(pointer)
            .as_f64()
            .unwrap_or_else(|| panic!("{pointer} is no number"))
    }

    pub fn count(&self, counter: &str) -> u64 {
        self.at(&format!("/counts/{counter}"))
            .as_u64()
            .expect("a count")
    }

    pub fn text(&self, pointer: &str) -> &str {
        self.at(pointer)
            .as_str()
            .unwrap_or_else(|| panic!("{pointer} is no text"))
    }

    /// Why the run is not valid, in one text.
    pub fn reasons(&self) -> String {
        let reasons = self.at("/validity/reasons").as_array().expect("a list");
        reasons
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// offered = sent + dropped + cancelled, in each shard and in total.
    fn check_conservation(&self) {
        let mut sum = [0; 4];
        for shard in self.at("/per_shard").as_array().expect("a list") {
            let own = ["offered", "sent", "dropped", "cancelled"]
                .map(|k| shard[k].as_u64().expect("a count"));
            if shard["state"] == "finished" {
                assert_eq!(own[0], own[1] + own[2] + own[3], "in {shard}");
            }
            for (sum, own) in sum.iter_mut().zip(own) {
                *sum += own;
            }
        }
        let both = |publishes, requests| self.count(publishes) + self.count(requests);
        let total = [
            both("offered", "requests_offered"),
            both("sent", "requests"),
            both("dropped", "requests_dropped"),
            both("cancelled", "requests_cancelled"),
        ];
        assert_eq!(total, sum, "the total is the shards' sum");
    }
}

/// `squall gateway` by hand, for targets that `embedded` cannot be. Killed in the end.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
}

impl Gateway {
    pub fn start() -> Gateway {
        Gateway::at("127.0.0.1:0")
    }

    pub fn at(listen: &str) -> Gateway {
        Gateway::of(squall(), listen)
    }

    /// One of the binary under a name of the test's.
    pub fn of(mut squall: Command, listen: &str) -> Gateway {
        let mut child = squall
            .args(["gateway", "--listen", listen])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the gateway starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().strip_prefix("listening on ws://");
        let address = address.and_then(|a| a.parse().ok());
        Gateway {
            child,
            address: address.unwrap_or_else(|| panic!("where? {line}")),
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("ends")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that refuses as long as the socket lives: bound and not listening, so that nobody else can take it.
pub fn refusing() -> (socket2::Socket, SocketAddr) {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("bound");
    let address = socket.local_addr().ok().and_then(|a| a.as_socket());
    (socket, address.expect("an address"))
}

pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|e| panic!("{signal} to {pid}: {e}"));
}

/// Fails when any of the processes is still there after a moment.
pub fn assert_gone(processes: &[Process]) {
    let deadline = Instant::now() + Duration::from_secs(5);
    for process in processes {
        while alive(process.pid) {
            assert!(Instant::now() < deadline, "orphan: {process:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// State and parent of a process; `None` when it is gone.
fn stat(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, parentheses too.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}

fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

pub fn children(parent: i32) -> Vec<Process> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if stat(pid).is_none_or(|(state, of)| of != parent || state == 'Z') {
            continue;
        }
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = arguments.split(|b| *b == 0).filter(|a| !a.is_empty());
        let arguments: Vec<String> = arguments
            .map(|a| String::from_utf8_lossy(a).into_owned())
            .collect();
        if !arguments.is_empty() {
            found.push(Process { pid, arguments });
        }
    }
    found
}

fn folders(reports: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(reports) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect()
}

/// Every file below a folder.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found
}
