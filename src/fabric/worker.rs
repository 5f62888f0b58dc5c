//! The worker end of every fabric: one shard, driven over two byte streams.
//!
//! Reading, decoding, encoding and writing happen on two threads of their own, so that neither a large
//! plan nor a coordinator that reads slowly ever takes time from the shard's loop. When the incoming
//! stream ends the coordinator is gone, and so is this process, whatever its loop is doing; for the
//! case that the process is stopped, the kernel is asked to kill it together with its parent.

use super::parent::die_with_parent;
use super::wire::{Assignment, Decoder, FromWorker, ToWorker, WireError, encode};
use crate::engine::{self, Control, Report};
use crate::metrics::SNAPSHOT_VERSION;
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::process;
use tokio::sync::{mpsc, oneshot};

/// Exit status of a worker whose coordinator vanished.
const ORPHANED: i32 = 3;

/// Why a worker could not do its share.
#[derive(Debug)]
pub enum WorkerError {
    /// The operating system refused something.
    Os(io::Error),
    /// The coordinator's messages made no sense.
    Wire(WireError),
    /// The first message was not the plan.
    NoPlan,
    /// The engine gave up.
    Engine(String),
}

impl fmt::Display for WorkerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WorkerError::Os(e) => write!(f, "operating system: {e}"),
            WorkerError::Wire(e) => write!(f, "the coordinator sent {e}"),
            WorkerError::NoPlan => f.write_str("the coordinator sent no plan"),
            WorkerError::Engine(e) => f.write_str(e),
        }
    }
}

impl std::error::Error for WorkerError {}

/// Runs this process as a shard: commands from standard input, reports to standard output.
///
/// # Errors
/// The share could not be done; the coordinator has been told where that was possible.
pub fn serve() -> Result<(), WorkerError> {
    die_with_parent();
    // The descriptors themselves: the standard library's own buffers would only copy once more.
    let input = File::from(
        io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(WorkerError::Os)?,
    );
    let output = File::from(
        io::stdout()
            .as_fd()
            .try_clone_to_owned()
            .map_err(WorkerError::Os)?,
    );
    let mut last_words = output.try_clone().map_err(WorkerError::Os)?;
    let result = serve_over(input, output, orphaned);
    if let Err(error) = &result
        && let Ok(frame) = encode(&FromWorker::Failed {
            text: error.to_string(),
        })
    {
        // Who reads this may be gone; the exit status tells as well.
        let _ = last_words.write_all(&frame);
    }
    result
}

/// Ends this process: nobody is left to report to.
#[expect(
    clippy::disallowed_methods,
    reason = "at once, whatever the loop is busy with; a shard has no children"
)]
fn orphaned() {
    process::exit(ORPHANED);
}

/// The same over any two streams; `orphaned` is called, on another thread, when the input ends.
fn serve_over(
    input: impl Read + Send + 'static,
    output: impl Write + Send + 'static,
    orphaned: impl Fn() + Send + Clone + 'static,
) -> Result<(), WorkerError> {
    let (plan, planned) = oneshot::channel();
    let (control, controls) = mpsc::unbounded_channel();
    let (report, reports) = mpsc::unbounded_channel();
    let gone = orphaned.clone();
    thread("commands", move || {
        let ended = listen(input, plan, &control);
        if ended.is_ok() {
            gone();
        }
        // After nonsense the control channel closes, which ends the engine.
    })?;
    let writer = thread("reports", move || {
        if tell(output, reports).is_err() {
            orphaned();
        }
    })?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(WorkerError::Os)?;
    let result = runtime.block_on(async {
        // A terminal sends SIGINT to whole groups; what it means is the coordinator's to say.
        let _ignored = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
        let assignment = planned
            .await
            .map_err(|_| WorkerError::NoPlan)?
            .map_err(WorkerError::Wire)?;
        let Assignment {
            plan,
            run,
            shard,
            shards,
        } = *assignment;
        engine::run(
            engine::Spec {
                plan,
                run,
                shard,
                shards,
            },
            controls,
            report,
        )
        .await
        .map_err(|e| WorkerError::Engine(e.to_string()))
    });
    // The engine let go of its end, so the writer ends when all is written.
    let _ = writer.join();
    result
}

fn thread(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<std::thread::JoinHandle<()>, WorkerError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(WorkerError::Os)
}

/// Takes commands until the input ends (`Ok`) or makes no sense.
fn listen(
    mut input: impl Read,
    plan: oneshot::Sender<Result<Box<Assignment>, WireError>>,
    control: &mpsc::UnboundedSender<Control>,
) -> Result<(), ()> {
    let mut decoder = Decoder::<ToWorker>::default();
    let mut buffer = vec![0; 64 << 10];
    let mut plan = Some(plan);
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => decoder.feed(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return Ok(()),
        }
        loop {
            let message = match decoder.take() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    if let Some(plan) = plan.take() {
                        let _ = plan.send(Err(error));
                    }
                    return Err(());
                }
            };
            let command = match message {
                ToWorker::Plan(assignment) => {
                    // A second plan is as good as nonsense.
                    plan.take()
                        .ok_or(())?
                        .send(Ok(assignment))
                        .map_err(|_| ())?;
                    continue;
                }
                // Anything before the plan drops the waiting end: no plan.
                _ if plan.is_some() => return Err(()),
                ToWorker::Start { at } => Control::Start { at },
                ToWorker::Stop => Control::Stop,
                ToWorker::Streams(ends) => Control::Streams(ends),
                ToWorker::Finish => Control::Finish,
            };
            // A closed channel means the engine is done; the input is still watched for its end.
            let _ = control.send(command);
        }
    }
}

/// Writes reports until the engine lets go of its end.
fn tell(mut output: impl Write, mut reports: mpsc::UnboundedReceiver<Report>) -> io::Result<()> {
    let mut say = |message: &FromWorker| -> io::Result<()> {
        let frame = encode(message).map_err(io::Error::other)?;
        output.write_all(&frame)?;
        output.flush()
    };
    say(&FromWorker::Hello {
        snapshots: SNAPSHOT_VERSION,
        pid: process::id(),
    })?;
    while let Some(report) = reports.blocking_recv() {
        say(&match report {
            Report::Ready => FromWorker::Ready,
            Report::Snapshot(snapshot) => FromWorker::Snapshot(snapshot),
            Report::Published(ends) => FromWorker::Published(ends),
            Report::Settled => FromWorker::Settled,
            Report::Finished => FromWorker::Finished,
        })?;
    }
    Ok(())
}
