//! Drives a run over a fabric: ready, start, snapshots, the closing of the tail, the end.
//!
//! All shards take each step together. Every wait has a deadline, after which the run goes on without
//! whoever is missing; a shard that is lost or silent is named, never waited for without end.

use super::deploy::{Deploys, Done};
use super::progress::Progress;
use crate::fabric::wire::{Assignment, FromWorker, ToWorker};
use crate::fabric::{Event, Fabric};
use crate::metrics::{SNAPSHOT_VERSION, StreamEnd, Totals};
use crate::plan::Plan;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, interval_at, sleep_until};

/// From the start command to the start itself, so that it reaches every shard in time.
pub const LEAD: Duration = Duration::from_millis(200);
/// A shard unheard for longer than this is a telemetry gap; it reports every second.
pub const SILENCE: Duration = Duration::from_secs(5);
/// Seconds that come further apart than this were not all attended to.
const HELD_UP: Duration = Duration::from_secs(2);
/// For shards to start and take in their plan.
const PREPARE: Duration = Duration::from_secs(30);
/// Beyond what the plan says a step takes.
const GRACE: Duration = Duration::from_secs(10);
/// For a finished shard's process to end.
const EXIT: Duration = Duration::from_secs(3);

/// What became of a run.
pub struct Course {
    /// Everything the shards reported.
    pub totals: Totals,
    /// What became of each shard, by index.
    pub shards: Vec<Fate>,
    /// Time since the start at which a signal ended the run.
    pub interrupted: Option<Duration>,
    /// Up to here, from the start, the plan was carried out: by then it was interrupted, or all shards
    /// were lost, or (its whole length) it was done.
    pub reached: Duration,
    /// From the start to the last word; zero when it never started.
    pub length: Duration,
    /// Bytes of all that the shards said.
    pub heard: u64,
    /// By stream, in order: messages published, of shards that said so.
    pub published: Vec<(u32, u64)>,
    /// What came of the deploys that were begun, by the fault's number.
    pub deploys: BTreeMap<usize, Done>,
}

/// What became of a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fate {
    /// Why it is lost, in words; `None` when it did its share to the end.
    pub lost: Option<String>,
    /// Holes in its telemetry, in words.
    pub gaps: Vec<String>,
}

/// How far a shard, or the run, has come. The order is that of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Placed,
    Ready,
    Published,
    Settled,
    Finished,
    Gone,
}

struct Shard {
    reached: Step,
    heard: Instant,
    silent: bool,
    fate: Fate,
}

struct Drive<'a, F, P> {
    fabric: &'a mut F,
    plan: &'a Plan,
    progress: &'a mut P,
    shards: Vec<Shard>,
    totals: Totals,
    ledger: Vec<StreamEnd>,
    published: Vec<(u32, u64)>,
    deploys: Deploys,
    start: Option<Instant>,
    interrupted: Option<Duration>,
    /// When the last shard was lost, from the start.
    deserted: Option<Duration>,
    seconds: Interval,
    /// When the last second was looked at.
    looked: Instant,
}

/// Runs the plan to its end. `run` tags this run's messages; `now` reads `CLOCK_MONOTONIC` in
/// nanoseconds; the first of `interrupts` stops the run in order. `deploys` are carried out on the way.
pub async fn drive<F: Fabric, P: Progress>(
    fabric: &mut F,
    plan: &Plan,
    run: u32,
    now: impl Fn() -> u64,
    interrupts: &mut mpsc::UnboundedReceiver<()>,
    deploys: Deploys,
    progress: &mut P,
) -> Course {
    let shards = fabric.shards();
    let heard = Instant::now();
    let mut drive = Drive {
        fabric,
        plan,
        progress,
        shards: (0..shards)
            .map(|_| Shard {
                reached: Step::Placed,
                heard,
                silent: false,
                fate: Fate::default(),
            })
            .collect(),
        totals: Totals::new(plan.phases().len(), plan.groups().len(), shards as usize),
        ledger: Vec::new(),
        published: Vec::new(),
        deploys,
        start: None,
        interrupted: None,
        deserted: None,
        // Only used from the start on, and set anew then.
        seconds: interval(Duration::from_secs(1)),
        looked: heard,
    };
    drive.all_steps(run, now, interrupts).await;
    let heard = drive.fabric.heard();
    let Drive {
        shards,
        mut totals,
        start,
        interrupted,
        deserted,
        deploys,
        published,
        progress,
        ..
    } = drive;
    let deploys = deploys.finish(start, |said| progress.note(said)).await;
    totals.finish();
    let until = [interrupted, deserted]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Duration::MAX);
    Course {
        totals,
        reached: start.map_or(Duration::ZERO, |_| until.min(plan.length())),
        heard,
        published,
        deploys,
        shards: shards.into_iter().map(|s| s.fate).collect(),
        interrupted,
        length: start.map_or(Duration::ZERO, |at| {
            Instant::now().saturating_duration_since(at)
        }),
    }
}

impl<F: Fabric, P: Progress> Drive<'_, F, P> {
    async fn all_steps(
        &mut self,
        run: u32,
        now: impl Fn() -> u64,
        interrupts: &mut mpsc::UnboundedReceiver<()>,
    ) {
        let shards = self.fabric.shards();
        for shard in 0..shards {
            let plan = self.plan.clone();
            self.tell(
                shard,
                &ToWorker::Plan(Box::new(Assignment {
                    plan,
                    run,
                    shard,
                    shards,
                })),
            );
        }
        let all = self.reach(Step::Ready, PREPARE, interrupts).await;
        // With a part of the load missing from the first moment there is nothing to learn.
        if !all || self.interrupted.is_some() {
            return self.end_by_force();
        }

        let lead = LEAD.as_nanos() as u64;
        let start = Instant::now() + LEAD;
        self.start = Some(start);
        // Shards report at whole seconds; a little later all have.
        self.seconds = interval_at(start + Duration::from_millis(1250), Duration::from_secs(1));
        self.seconds
            .set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.tell_all(&ToWorker::Start { at: now() + lead });
        // What a socket does not take, or a broker does not confirm, a shard waits for as long as it drains.
        let publishing = self.plan.length() + self.plan.generator().drain;
        self.reach(Step::Published, LEAD + publishing + GRACE, interrupts)
            .await;

        let mut ledger = std::mem::take(&mut self.ledger);
        ledger.sort_by_key(|end| end.stream);
        self.published = ledger.iter().map(|end| (end.stream, end.total())).collect();
        self.tell_all(&ToWorker::Streams(ledger));
        self.reach(Step::Settled, self.longest_wait() + GRACE, interrupts)
            .await;

        self.tell_all(&ToWorker::Finish);
        // Twice what it takes when nobody answers, as a machine that closes a million connections is a busy one.
        let closing = 2 * self.plan.closing() + self.plan.target().close_timeout;
        self.reach(Step::Finished, closing + GRACE, interrupts)
            .await;
        self.reach(Step::Gone, EXIT, interrupts).await;
    }

    /// What may still be under way when publishing is over.
    fn longest_wait(&self) -> Duration {
        let requests = self
            .plan
            .groups()
            .iter()
            .flat_map(|g| &g.request)
            .map(|r| r.timeout);
        requests
            .chain([self.plan.generator().drain])
            .chain([self.plan.target().connect_timeout])
            .max()
            .unwrap_or_default()
    }

    /// Waits until every shard that is not lost has taken a step; true when none is lost. Who has not
    /// taken it in time is lost and killed.
    async fn reach(
        &mut self,
        step: Step,
        patience: Duration,
        interrupts: &mut mpsc::UnboundedReceiver<()>,
    ) -> bool {
        let mut deadline = Instant::now() + patience;
        while self.shards.iter().any(|s| s.reached < step) {
            tokio::select! {
                biased;
                Some(()) = interrupts.recv(), if self.interrupted.is_none() => {
                    self.interrupt();
                    if step == Step::Ready {
                        return false;
                    }
                    deadline = deadline.min(Instant::now() + GRACE);
                }
                event = self.fabric.next() => self.take(event),
                said = self.deploys.next(self.start) => self.progress.note(&said),
                _ = self.seconds.tick() => self.second(),
                () = sleep_until(deadline) => {
                    self.give_up(step, patience);
                    break;
                }
            }
        }
        self.shards.iter().all(|s| s.fate.lost.is_none())
    }

    /// Everyone who has not taken the step by now is lost.
    fn give_up(&mut self, step: Step, patience: Duration) {
        for index in 0..self.shards.len() {
            let Some(shard) = self.shards.get_mut(index) else {
                continue;
            };
            if shard.reached >= step {
                continue;
            }
            // Once finished it has done its share; its process may be as slow to end as it likes.
            if shard.reached < Step::Finished {
                let patience = patience.as_secs_f64();
                self.lose(
                    index as u32,
                    format!("did not get to `{}` within {patience:.1} s", step.words()),
                );
            } else {
                shard.reached = Step::Gone;
                self.fabric.kill(index as u32);
            }
        }
    }

    fn end_by_force(&mut self) {
        for index in 0..self.fabric.shards() {
            self.fabric.kill(index);
        }
    }

    fn interrupt(&mut self) {
        let at = self
            .start
            .map(|start| Instant::now().saturating_duration_since(start));
        self.interrupted = Some(at.unwrap_or_default());
        self.progress
            .note("interrupted: closing in order; once more ends at once");
        self.tell_all(&ToWorker::Stop);
        self.deploys.stop();
    }

    fn tell(&mut self, shard: u32, message: &ToWorker) {
        if let Err(error) = self.fabric.send(shard, message) {
            self.lose(shard, format!("could not be told: {error}"));
        }
    }

    fn tell_all(&mut self, message: &ToWorker) {
        if let Err(error) = self.fabric.broadcast(message) {
            for shard in 0..self.fabric.shards() {
                self.lose(shard, format!("could not be told: {error}"));
            }
        }
    }

    fn lose(&mut self, shard: u32, why: String) {
        let Some(lost) = self.shards.get_mut(shard as usize) else {
            return;
        };
        lost.reached = Step::Gone;
        self.fabric.kill(shard);
        if lost.fate.lost.is_none() {
            self.progress
                .note(&format!("shard {shard} is lost: it {why}"));
            self.totals.lose(shard, &why);
            lost.fate.lost = Some(why);
        }
        if let Some(start) = self.start
            && self.shards.iter().all(|s| s.fate.lost.is_some())
        {
            self.deserted
                .get_or_insert_with(|| Instant::now().saturating_duration_since(start));
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Said { shard, message } => self.hear(shard, message),
            Event::Gone { shard, how } => {
                let Some(gone) = self.shards.get_mut(shard as usize) else {
                    return;
                };
                if gone.reached < Step::Finished {
                    self.lose(shard, how.to_string());
                } else {
                    gone.reached = Step::Gone;
                }
            }
        }
    }

    fn hear(&mut self, index: u32, message: FromWorker) {
        let Some(shard) = self.shards.get_mut(index as usize) else {
            return;
        };
        shard.heard = Instant::now();
        shard.silent = false;
        // A lost shard's last words still count.
        let step = match message {
            FromWorker::Hello {
                snapshots: SNAPSHOT_VERSION,
                pid,
            } => return self.progress.placed(index, pid),
            FromWorker::Hello { snapshots, .. } => {
                return self.lose(
                    index,
                    format!("speaks snapshot version {snapshots} instead of {SNAPSHOT_VERSION}"),
                );
            }
            FromWorker::Failed { text } => return self.lose(index, format!("failed: {text}")),
            FromWorker::Snapshot(snapshot) => {
                if let Err(error) = self.totals.absorb(*snapshot) {
                    shard.fate.gaps.push(error.to_string());
                }
                return;
            }
            FromWorker::Published(ends) => {
                self.ledger.extend(ends);
                Step::Published
            }
            FromWorker::Ready => Step::Ready,
            FromWorker::Settled => Step::Settled,
            FromWorker::Finished => Step::Finished,
        };
        shard.reached = shard.reached.max(step);
    }

    /// Once a second: who is silent, and how it goes.
    fn second(&mut self) {
        let Some(start) = self.start else { return };
        let now = Instant::now();
        // Whoever was held up itself has not heard yet what was said meanwhile, and waits for the next second.
        if now.saturating_duration_since(self.looked) <= HELD_UP {
            self.name_the_silent(start, now);
        }
        self.looked = now;
        self.progress.second(
            self.plan,
            now.saturating_duration_since(start),
            &self.totals,
        );
    }

    fn name_the_silent(&mut self, start: Instant, now: Instant) {
        for (index, shard) in self.shards.iter_mut().enumerate() {
            let unheard = now.saturating_duration_since(shard.heard.max(start));
            if shard.reached < Step::Finished && !shard.silent && unheard > SILENCE {
                shard.silent = true;
                let at = now.saturating_duration_since(start) - unheard;
                let words = format!(
                    "silent for more than {} s from {:.1} s on",
                    SILENCE.as_secs(),
                    at.as_secs_f64()
                );
                self.progress.note(&format!("shard {index} is {words}"));
                shard.fate.gaps.push(words);
            }
        }
    }
}

impl Step {
    fn words(self) -> &'static str {
        match self {
            Step::Placed => "started",
            Step::Ready => "ready",
            Step::Published => "all published",
            Step::Settled => "all received",
            Step::Finished => "all closed",
            Step::Gone => "ended",
        }
    }
}

#[cfg(test)]
mod tests;
