//! Shards as child processes of this one: commands into standard input, reports out of standard output.
//!
//! Each child is its own process group, so that Ctrl-C in a terminal reaches the coordinator alone,
//! and dies with it (see [`super::worker`]). What a child writes to standard error is kept, bounded,
//! to explain its death.

use super::wire::{Decoder, FromWorker, ToWorker, WireError, encode};
use super::{Departure, Event, Fabric};
use std::collections::VecDeque;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How much of a child's standard error is kept, in bytes; the end, where the reason stands.
const STDERR_KEPT: usize = 4096;
/// How long a child may live on after it closed its standard output.
const AFTER_EOF: Duration = Duration::from_secs(2);

/// Shards as child processes. Dropping it kills those that still run.
#[derive(Debug)]
pub struct Local {
    children: Vec<Handle>,
    events: mpsc::UnboundedReceiver<Event>,
    heard: Arc<AtomicU64>,
    // Dropped last of all: aborting a tender drops its child, which kills it.
    _tenders: JoinSet<()>,
}

#[derive(Debug)]
struct Handle {
    commands: mpsc::UnboundedSender<Arc<[u8]>>,
    kill: Arc<Notify>,
}

impl Local {
    /// Starts `program shard K` for each shard; the number is for people reading a process list. Must be called inside a Tokio runtime, on a thread that
    /// lives as long as the children should: they die with it.
    ///
    /// # Errors
    /// A process could not be started; those already started are killed.
    pub fn spawn(program: &Path, shards: u32) -> io::Result<Local> {
        Local::start(shards, |shard| {
            let mut command = Command::new(program);
            command.arg("shard").arg(shard.to_string());
            command
        })
    }

    fn start(shards: u32, command: impl Fn(u32) -> Command) -> io::Result<Local> {
        let (event, events) = mpsc::unbounded_channel();
        let mut local = Local {
            children: Vec::new(),
            events,
            heard: Arc::default(),
            _tenders: JoinSet::new(),
        };
        for shard in 0..shards {
            let child = command(shard)
                .process_group(0)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let (commands, queue) = mpsc::unbounded_channel();
            let kill = Arc::new(Notify::new());
            let says = Says {
                shard,
                events: event.clone(),
                bytes: local.heard.clone(),
            };
            local._tenders.spawn(tend(says, child, queue, kill.clone()));
            local.children.push(Handle { commands, kill });
        }
        Ok(local)
    }
}

impl Fabric for Local {
    fn shards(&self) -> u32 {
        self.children.len() as u32
    }

    fn send(&mut self, shard: u32, message: &ToWorker) -> Result<(), WireError> {
        let frame: Arc<[u8]> = encode(message)?.into();
        if let Some(child) = self.children.get(shard as usize) {
            // A closed queue means the child is gone, of which its tender tells.
            let _ = child.commands.send(frame);
        }
        Ok(())
    }

    fn broadcast(&mut self, message: &ToWorker) -> Result<(), WireError> {
        let frame: Arc<[u8]> = encode(message)?.into();
        for child in &self.children {
            let _ = child.commands.send(frame.clone());
        }
        Ok(())
    }

    async fn next(&mut self) -> Event {
        match self.events.recv().await {
            Some(event) => event,
            // Every tender has ended and told so.
            None => std::future::pending().await,
        }
    }

    fn heard(&self) -> u64 {
        self.heard.load(Relaxed)
    }

    fn kill(&mut self, shard: u32) {
        if let Some(child) = self.children.get(shard as usize) {
            child.kill.notify_one();
        }
    }
}

/// Where a child's words go.
struct Says {
    shard: u32,
    events: mpsc::UnboundedSender<Event>,
    /// Of all children together.
    bytes: Arc<AtomicU64>,
}

/// Looks after one child until it is gone.
async fn tend(
    says: Says,
    mut child: Child,
    commands: mpsc::UnboundedReceiver<Arc<[u8]>>,
    kill: Arc<Notify>,
) {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut helpers = JoinSet::new();
    if let Some(stdin) = stdin {
        helpers.spawn(write(stdin, commands));
    }
    let mut complaint = JoinSet::new();
    if let Some(stderr) = stderr {
        complaint.spawn(tail(stderr));
    }
    let nonsense = tokio::select! {
        heard = read(stdout, &says) => heard.err(),
        () = kill.notified() => {
            let _ = child.start_kill();
            None
        }
    };
    if nonsense.is_some() {
        let _ = child.start_kill();
    }
    let status = tokio::select! {
        waited = timeout(AFTER_EOF, child.wait()) => waited.ok(),
        () = kill.notified() => None,
    };
    let status = match status {
        Some(status) => status,
        None => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    helpers.abort_all();
    // A grandchild could hold the pipe open for ever.
    let stderr = timeout(Duration::from_secs(1), complaint.join_next())
        .await
        .ok()
        .flatten();
    let stderr = clean(&stderr.and_then(Result::ok).unwrap_or_default());
    let words = match nonsense {
        Some(error) => format!("was killed because it sent {error}"),
        None => describe(&status),
    };
    let clean = status.is_ok_and(|s| s.success()) && words == EXITED;
    let _ = says.events.send(Event::Gone {
        shard: says.shard,
        how: Departure {
            clean,
            words,
            stderr,
        },
    });
}

/// Hands the queued frames to the child, until it takes no more; then its standard input closes.
async fn write(mut stdin: ChildStdin, mut commands: mpsc::UnboundedReceiver<Arc<[u8]>>) {
    while let Some(frame) = commands.recv().await {
        if stdin.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Passes on what the child says, until it says no more.
async fn read(stdout: Option<impl AsyncRead + Unpin>, says: &Says) -> Result<(), WireError> {
    let Some(mut stdout) = stdout else {
        return Ok(());
    };
    let mut decoder = Decoder::<FromWorker>::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match stdout.read(&mut buffer).await {
            // A torn last frame is the death that the exit status tells of.
            Ok(0) | Err(_) => return Ok(()),
            Ok(n) => {
                says.bytes.fetch_add(n as u64, Relaxed);
                decoder.feed(&buffer[..n]);
            }
        }
        while let Some(message) = decoder.take()? {
            let shard = says.shard;
            let _ = says.events.send(Event::Said { shard, message });
        }
    }
}

/// The last bytes of a stream.
async fn tail(mut stream: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = VecDeque::new();
    let mut buffer = [0; 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer).await {
        kept.extend(&buffer[..n]);
        let excess = kept.len().saturating_sub(STDERR_KEPT);
        kept.drain(..excess);
    }
    kept.into()
}

/// Text for a person: without control characters, lines joined.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .map(|line| line.chars().filter(|c| !c.is_control()).collect::<String>())
        .filter(|line| !line.trim().is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

const EXITED: &str = "exited";

fn describe(status: &io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => format!("could not be waited for: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(0), _) => EXITED.into(),
            (Some(code), _) => format!("exited with status {code}"),
            (None, Some(signal)) => match nix::sys::signal::Signal::try_from(signal) {
                Ok(signal) => format!("was killed by {signal}"),
                Err(_) => format!("was killed by signal {signal}"),
            },
            (None, None) => "ended".into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fabric::wire::WIRE_VERSION;

    /// A shell script stands in for the worker.
    fn scripts(shards: u32, text: &str) -> Local {
        let command = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", text]);
            command
        };
        Local::start(shards, command).expect("spawned")
    }

    fn printf(bytes: &[u8]) -> String {
        let octal: String = bytes.iter().map(|b| format!("\\{b:03o}")).collect();
        format!("printf '{octal}'")
    }

    async fn next(local: &mut Local) -> Event {
        timeout(Duration::from_secs(20), local.next())
            .await
            .expect("an event")
    }

    async fn departure(local: &mut Local) -> Departure {
        match next(local).await {
            Event::Gone { how, .. } => how,
            other => panic!("expected the end, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn messages_come_before_the_end_and_stderr_explains_it() {
        let ready = printf(&encode(&FromWorker::Ready).expect("encodes"));
        let script = &format!("{ready}\nprintf 'out of \\033[1mluck\\n' >&2\nexit 7");
        let mut local = scripts(1, script);
        assert!(matches!(
            next(&mut local).await,
            Event::Said {
                shard: 0,
                message: FromWorker::Ready
            }
        ));
        let how = departure(&mut local).await;
        assert_eq!(how.to_string(), "exited with status 7 (out of [1mluck)");
        assert!(!how.clean);
    }

    #[tokio::test]
    async fn commands_reach_the_child() {
        // Ends cleanly exactly when five bytes of the frame and the message's one arrive.
        let script = "head -c 6 | od -An -tx1 | tr -d ' \\n' >&2";
        let mut local = scripts(1, script);
        local.broadcast(&ToWorker::Finish).expect("encodes");
        let how = departure(&mut local).await;
        assert!(how.clean);
        assert_eq!(how.stderr, format!("02000000{WIRE_VERSION:02x}04"));
    }

    #[tokio::test]
    async fn a_child_that_talks_nonsense_is_killed() {
        let script = &format!("{}\nexec sleep 1000", printf(&[1, 0, 0, 0, 99]));
        let mut local = scripts(1, script);
        let how = departure(&mut local).await;
        assert!(how.words.contains("wire version 99"), "{how}");
        assert!(!how.clean);
    }

    #[tokio::test]
    async fn a_child_can_be_killed_whatever_it_does() {
        let script = "kill -STOP $$";
        let mut local = scripts(2, script);
        local.kill(1);
        local.kill(0);
        for _ in 0..2 {
            assert_eq!(departure(&mut local).await.words, "was killed by SIGKILL");
        }
    }

    #[tokio::test]
    async fn a_child_that_reads_nothing_blocks_nobody() {
        let script = "exec sleep 1000";
        let mut local = scripts(1, script);
        let ends = vec![
            crate::metrics::StreamEnd {
                stream: 1,
                first_ns: 1,
                published: vec![1; 64]
            };
            10_000
        ];
        local.broadcast(&ToWorker::Streams(ends)).expect("encodes");
        local.kill(0);
        assert_eq!(departure(&mut local).await.words, "was killed by SIGKILL");
    }

    #[tokio::test]
    async fn only_the_end_of_a_long_stderr_is_kept() {
        let script = "head -c 100000 /dev/zero | tr '\\0' x >&2; printf END >&2; exit 1";
        let mut local = scripts(1, script);
        let how = departure(&mut local).await;
        assert_eq!(how.stderr.len(), STDERR_KEPT);
        assert!(how.stderr.ends_with("xEND"));
    }
}
