//! Deploys as they are carried out: begun at their time, within their timeout, and never outliving the run.
//!
//! What is done is a file each; all of them end in a [`Carried`]. Nothing here knows what it does to clients: shards
//! count that.

mod command;
mod signal;
pub(super) mod webhook;

use super::embedded::{NodeTimes, Roller};
use crate::plan::{Action, Deploy, Plan, Rollout};
use crate::report::Redactor;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// For a deploy that is stopped to be gone: longer than its processes are given between SIGTERM and SIGKILL.
const STOP: Duration = Duration::from_secs(5);

/// Bytes shown of what a deploy says.
const SHOWN: usize = 8 * 1024;

/// Kills the command that a deploy is running, with all that it started: for a process that ends at once, and drops
/// nothing.
pub fn kill_running() {
    command::kill_running();
}

/// How a deploy came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did what it was to do.
    Succeeded,
    /// It could not even be begun; says why.
    NotBegun(String),
    /// It was begun, and did not succeed: `exit 3`.
    Failed(String),
    /// It was not done within its timeout, and ended.
    TimedOut,
    /// The run ended before it did.
    Interrupted,
}

/// What came of a deploy.
#[derive(Debug, Clone, PartialEq)]
pub struct Carried {
    /// How it ended.
    pub ending: Ending,
    /// What was said meanwhile, bounded and free of control characters.
    pub output: String,
    /// Of a roll: each node's times, as far as it came.
    pub nodes: Vec<NodeTimes>,
}

impl Carried {
    fn new(ending: Ending, output: String) -> Self {
        Carried {
            ending,
            output,
            nodes: Vec::new(),
        }
    }
}

/// A deploy that was begun.
#[derive(Debug, Clone, PartialEq)]
pub struct Done {
    /// Start, from the run's.
    pub start: Duration,
    /// End, from the run's start.
    pub end: Duration,
    /// What came of it.
    pub carried: Carried,
}

struct Waiting {
    number: usize,
    at: Duration,
    label: String,
    deploy: Deploy,
}

struct Running {
    number: usize,
    began: Instant,
    label: String,
    task: JoinHandle<Carried>,
    stop: Option<oneshot::Sender<()>>,
}

/// The deploys of a run, in order. They never overlap.
pub struct Deploys {
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
    done: BTreeMap<usize, Done>,
    roller: Option<Roller>,
    redact: Redactor,
}

impl Deploys {
    /// Those of a plan; `roller` reaches the embedded gateway, where there is one. What is said passes through `redact`
    /// while it is whole.
    pub fn new(plan: &Plan, roller: Option<Roller>, redact: Redactor) -> Self {
        let deploys = plan.faults().enumerate().filter_map(|(number, fault)| {
            let Action::Deploy(deploy) = &fault.action else {
                return None;
            };
            Some(Waiting {
                number,
                at: fault.start,
                label: fault.label.clone(),
                deploy: deploy.clone(),
            })
        });
        Deploys {
            waiting: deploys.collect(),
            running: None,
            done: BTreeMap::new(),
            roller,
            redact,
        }
    }

    /// Waits until a deploy begins or ends, begins it, and says so. Never comes back when there is none. May be
    /// dropped at any time.
    pub async fn next(&mut self, start: Option<Instant>) -> String {
        let Some(start) = start else {
            return std::future::pending().await;
        };
        if let Some(running) = &mut self.running {
            let carried = (&mut running.task).await;
            return self.ended(start, carried.ok());
        }
        let Some(next) = self.waiting.front() else {
            return std::future::pending().await;
        };
        sleep_until(start + next.at).await;
        self.begin()
    }

    /// Begins the first that waits.
    fn begin(&mut self) -> String {
        let Some(next) = self.waiting.pop_front() else {
            return String::new();
        };
        let (stop, stopped) = oneshot::channel();
        let roller = self.roller.clone();
        let task = tokio::spawn(carry_out(next.deploy, roller, stopped));
        let said = format!("{}: begins", next.label);
        self.running = Some(Running {
            number: next.number,
            began: Instant::now(),
            label: next.label,
            task,
            stop: Some(stop),
        });
        said
    }

    fn ended(&mut self, start: Instant, carried: Option<Carried>) -> String {
        let Some(running) = self.running.take() else {
            return String::new();
        };
        // A task that was lost is as one that was ended.
        let lost = || Carried::new(Ending::Interrupted, String::new());
        let mut carried = carried.unwrap_or_else(lost);
        carried.output = shown(self.redact.text(&carried.output));
        let now = Instant::now();
        let took = now.saturating_duration_since(running.began).as_secs_f64();
        let said = format!(
            "{}: {} after {took:.1} s",
            running.label,
            carried.ending.words()
        );
        self.done.insert(
            running.number,
            Done {
                start: running.began.saturating_duration_since(start),
                end: now.saturating_duration_since(start),
                carried,
            },
        );
        said
    }

    /// Ends what runs and begins nothing any more; [`Deploys::next`] tells of its end.
    pub fn stop(&mut self) {
        self.waiting.clear();
        if let Some(running) = &mut self.running
            && let Some(stop) = running.stop.take()
        {
            let _ = stop.send(());
        }
    }

    /// Ends what runs, and gives what came of each that was begun, by the fault's number. `say` hears of an end that
    /// [`Deploys::next`] was not there any more to tell of: a command that is not done in time may still be at its
    /// putting things in order when the run is over.
    pub async fn finish(
        mut self,
        start: Option<Instant>,
        say: impl FnOnce(&str),
    ) -> BTreeMap<usize, Done> {
        self.stop();
        if let Some(start) = start
            && let Some(running) = &mut self.running
        {
            let carried = timeout(STOP, &mut running.task).await;
            say(&self.ended(start, carried.ok().and_then(Result::ok)));
        }
        std::mem::take(&mut self.done)
    }
}

impl Drop for Deploys {
    fn drop(&mut self) {
        if let Some(running) = &self.running {
            running.task.abort();
        }
    }
}

impl Ending {
    /// In words: `succeeded`, `failed (exit 3)`.
    pub fn words(&self) -> String {
        match self {
            Ending::Succeeded => "succeeded".into(),
            Ending::NotBegun(why) => format!("could not be begun: {why}"),
            Ending::Failed(how) => format!("failed ({how})"),
            Ending::TimedOut => "not done in time, ended".into(),
            Ending::Interrupted => "ended with the run".into(),
        }
    }
}

async fn carry_out(deploy: Deploy, roller: Option<Roller>, stop: oneshot::Receiver<()>) -> Carried {
    // A sender that is gone is a run that is over.
    let stop = async { drop(stop.await) };
    let limit = deploy.timeout;
    match &deploy.how {
        Rollout::Run(arguments) => command::run(arguments, limit, stop).await,
        Rollout::Shell(line) => {
            let arguments = ["/bin/sh".to_owned(), "-c".to_owned(), line.clone()];
            command::run(&arguments, limit, stop).await
        }
        Rollout::Signal { name, to, all } => match signal::send(name, to, *all) {
            Ok(said) => Carried::new(Ending::Succeeded, said),
            Err(ending) => Carried::new(ending, String::new()),
        },
        Rollout::Webhook(hook) => within(limit, stop, webhook::call(hook)).await,
        Rollout::Roll { pause, .. } => match roller {
            Some(roller) => roller.roll(*pause, limit, stop).await,
            None => {
                let why = "there is no embedded gateway".to_owned();
                Carried::new(Ending::NotBegun(why), String::new())
            }
        },
    }
}

/// What is simply dropped when its time is over.
async fn within(
    limit: Duration,
    stop: impl Future<Output = ()>,
    work: impl Future<Output = Carried>,
) -> Carried {
    tokio::select! {
        biased;
        () = stop => Carried::new(Ending::Interrupted, String::new()),
        done = timeout(limit, work) => {
            done.unwrap_or_else(|_| Carried::new(Ending::TimedOut, String::new()))
        }
    }
}

/// The end of what was said, as the reason of a failure comes last.
fn shown(text: String) -> String {
    let from = text.len().saturating_sub(SHOWN);
    match text.char_indices().find(|(at, _)| *at >= from) {
        Some((at, _)) if at > 0 => {
            format!(
                "… ({at} bytes before)\n{}",
                text.get(at..).unwrap_or_default()
            )
        }
        _ => text,
    }
}

/// Text from outside as it may be kept: whole lines, no terminal escapes, nothing that drives a terminal.
pub(super) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '\u{1b}' => {
                // CSI: parameters up to the letter that ends it. Anything else: one character.
                if letters.next() == Some('[') {
                    while letters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                    letters.next();
                }
            }
            '\n' => out.push('\n'),
            '\t' => out.push(' '),
            c if c.is_control() || hidden(c) => {}
            c => out.push(c),
        }
    }
    out.trim().to_owned()
}

/// Marks that change the direction or the place of what is beside them.
fn hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests;
