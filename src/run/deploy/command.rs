//! A command of the user's: in a process group of its own, with what it says kept, to the end of its time.
//!
//! Whatever ends squall in order ends the group, whole. The group of the one that runs is known to [`kill_running`] too,
//! for an end that drops nothing.

use super::{Carried, Ending, readable};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// Bytes kept of what a command says: the last ones, and more than are shown, so that a secret in what is shown is whole.
const KEPT: usize = 64 * 1024;
/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks whether anybody is left of a group that was asked to end: nothing tells of the end of a grandchild.
const LOOK: Duration = Duration::from_millis(20);
/// For the last words of a command that has ended: what it left running in the background may hold its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// The process group of the command that runs, 0: none does. Deploys never overlap, so there is one at most.
pub(super) static RUNNING: AtomicI32 = AtomicI32::new(0);

/// Kills the command that runs, with all that it started. For a process that ends at once.
pub(super) fn kill_running() {
    let id = RUNNING.swap(0, Ordering::SeqCst);
    if id > 0 {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}

/// Runs it.
pub(super) async fn run(
    arguments: &[String],
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Carried {
    let mut group = match start(arguments) {
        Ok(group) => group,
        Err(error) => {
            let program = arguments.first().map_or("", String::as_str);
            let why = format!("`{program}`: {error}");
            return Carried::new(Ending::NotBegun(why), String::new());
        }
    };
    let mut said = Said::default();
    let (mut stdout, mut stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let ending = {
        let listening = said.hear(&mut stdout, &mut stderr);
        attend(&mut group, listening, limit, stop).await
    };
    Carried::new(ending, readable(&said.bytes))
}

/// Waits for its end, or ends it, and listens meanwhile.
async fn attend(
    group: &mut Group,
    listening: impl Future<Output = ()>,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Ending {
    let mut listening = std::pin::pin!(listening);
    let mut open = true;
    let ended = {
        let mut stop = std::pin::pin!(stop);
        let mut deadline = std::pin::pin!(sleep(limit));
        loop {
            tokio::select! {
                biased;
                status = group.child.wait() => break Ok(status),
                () = &mut stop => break Err(Ending::Interrupted),
                () = &mut deadline => break Err(Ending::TimedOut),
                () = &mut listening, if open => open = false,
            }
        }
    };
    let ending = match ended {
        Ok(Ok(status)) => {
            // It may have started what shall go on running.
            group.over();
            judged(status)
        }
        Ok(Err(error)) => Ending::Failed(error.to_string()),
        Err(ending) => {
            group
                .end(async {
                    if open {
                        listening.as_mut().await;
                        open = false;
                    }
                    std::future::pending().await
                })
                .await;
            ending
        }
    };
    if open {
        let _ = timeout(LAST_WORDS, listening).await;
    }
    ending
}

fn judged(status: ExitStatus) -> Ending {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ending::Succeeded,
        (Some(code), _) => Ending::Failed(format!("exit {code}")),
        (None, Some(number)) => {
            let name = Signal::try_from(number).map_or("a signal", Signal::as_str);
            Ending::Failed(format!("killed by {name}"))
        }
        (None, None) => Ending::Failed(status.to_string()),
    }
}

/// A command and whatever it starts.
struct Group {
    child: Child,
    id: Option<Pid>,
    over: bool,
}

fn start(arguments: &[String]) -> std::io::Result<Group> {
    let (program, arguments) = arguments
        .split_first()
        .ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let parent = nix::unistd::getpid();
    // SAFETY: between fork and exec only system calls are made, which are async-signal-safe, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            crate::fabric::parent::die_with_parent();
            // A parent that died before that is not heard of any more.
            match nix::unistd::getppid() == parent {
                true => Ok(()),
                false => Err(std::io::ErrorKind::BrokenPipe.into()),
            }
        });
    }
    let child = command.spawn()?;
    let id = child.id().map(|id| Pid::from_raw(id.cast_signed()));
    RUNNING.store(id.map_or(0, Pid::as_raw), Ordering::SeqCst);
    Ok(Group {
        child,
        id,
        over: false,
    })
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id {
            // Nobody left is as good.
            let _ = killpg(id, signal);
        }
    }

    /// Nothing more is done to it.
    fn over(&mut self) {
        self.over = true;
        if let Some(id) = self.id {
            // Unless it is another's by now.
            let _ = RUNNING.compare_exchange(id.as_raw(), 0, Ordering::SeqCst, Ordering::SeqCst);
        }
    }

    /// Waits until nobody is left: a shell may be gone at once, and what it started still have to put things in order.
    async fn gone(&mut self) {
        let _ = self.child.wait().await;
        while self.id.is_some_and(|id| killpg(id, None).is_ok()) {
            sleep(LOOK).await;
        }
    }

    /// Ends all of it, asking first. `meanwhile` is done beside it, so that nobody blocks on a full pipe.
    async fn end(&mut self, meanwhile: impl Future<Output = ()>) {
        self.signal(Signal::SIGTERM);
        tokio::select! {
            _ = timeout(GRACE, self.gone()) => {}
            () = meanwhile => {}
        }
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait().await;
        self.over();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.over {
            self.signal(Signal::SIGKILL);
            self.over();
        }
    }
}

/// The end of what was said on both streams, in the order in which it came.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
}

impl Said {
    async fn hear(
        &mut self,
        one: &mut Option<impl AsyncRead + Unpin>,
        other: &mut Option<impl AsyncRead + Unpin>,
    ) {
        let (mut first, mut second) = ([0; 4096], [0; 4096]);
        while one.is_some() || other.is_some() {
            tokio::select! {
                count = read(one, &mut first) => match count {
                    Some(count) => self.keep(&first, count),
                    None => *one = None,
                },
                count = read(other, &mut second) => match count {
                    Some(count) => self.keep(&second, count),
                    None => *other = None,
                },
            }
        }
    }

    fn keep(&mut self, bytes: &[u8], count: usize) {
        self.bytes
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        let over = self.bytes.len().saturating_sub(KEPT);
        self.bytes.drain(..over);
    }
}

/// Reads once; `None` at the end. A stream that is gone has nothing to say, for ever.
async fn read(stream: &mut Option<impl AsyncRead + Unpin>, into: &mut [u8]) -> Option<usize> {
    match stream {
        Some(stream) => stream.read(into).await.ok().filter(|count| *count > 0),
        None => std::future::pending().await,
    }
}
