//! Runs over a fabric that is made up, on a clock that is made up too.

use super::*;
use crate::fabric::Departure;
use crate::fabric::wire::WireError;
use crate::metrics::{Gauges, Snapshot};
use std::cell::RefCell;
use std::rc::Rc;

const SECOND: Duration = Duration::from_secs(1);
const NOW: u64 = 7_000_000_000;

/// What shards were told, in order: (shard or all, in a word).
type Told = Rc<RefCell<Vec<(Option<u32>, String)>>>;
/// What a shard does about a message: events after a while.
type Behaviour = dyn Fn(u32, &ToWorker) -> Vec<(Duration, Event)>;

struct Fake {
    shards: u32,
    behaviour: Box<Behaviour>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    told: Told,
    /// From when on, and for how long, the coordinator is once kept from everything.
    hold_up: Option<(Instant, Duration)>,
}

impl Fake {
    fn new(
        shards: u32,
        behaviour: impl Fn(u32, &ToWorker) -> Vec<(Duration, Event)> + 'static,
    ) -> (Fake, Told) {
        let (sender, events) = mpsc::unbounded_channel();
        let told = Told::default();
        let behaviour = Box::new(behaviour);
        (
            Fake {
                shards,
                behaviour,
                sender,
                events,
                told: told.clone(),
                hold_up: None,
            },
            told,
        )
    }

    fn react(&self, shard: u32, message: &ToWorker) {
        for (after, event) in (self.behaviour)(shard, message) {
            let sender = self.sender.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                let _ = sender.send(event);
            });
        }
    }
}

impl Fabric for Fake {
    fn shards(&self) -> u32 {
        self.shards
    }
    fn send(&mut self, shard: u32, message: &ToWorker) -> Result<(), WireError> {
        self.told.borrow_mut().push((Some(shard), word(message)));
        self.react(shard, message);
        Ok(())
    }
    fn broadcast(&mut self, message: &ToWorker) -> Result<(), WireError> {
        self.told.borrow_mut().push((None, word(message)));
        for shard in 0..self.shards {
            self.react(shard, message);
        }
        Ok(())
    }
    fn heard(&self) -> u64 {
        77
    }
    async fn next(&mut self) -> Event {
        if let Some((_, span)) = self.hold_up.take_if(|(at, _)| Instant::now() >= *at) {
            tokio::time::advance(span).await;
        }
        self.events.recv().await.expect("a sender is held")
    }
    fn kill(&mut self, shard: u32) {
        self.told.borrow_mut().push((Some(shard), "kill".into()));
        let how = Departure {
            clean: false,
            words: "was killed by SIGKILL".into(),
            stderr: String::new(),
        };
        let _ = self.sender.send(Event::Gone { shard, how });
    }
}

fn word(message: &ToWorker) -> String {
    match message {
        ToWorker::Plan(a) => format!("plan {} of {}", a.shard, a.shards),
        ToWorker::Start { at } => format!("start {at}"),
        ToWorker::Stop => "stop".into(),
        ToWorker::Streams(ends) => {
            let streams: Vec<String> = ends.iter().map(|e| e.stream.to_string()).collect();
            format!("streams {}", streams.join(" "))
        }
        ToWorker::Finish => "finish".into(),
    }
}

fn said(shard: u32, message: FromWorker) -> Event {
    Event::Said { shard, message }
}

fn gone(shard: u32) -> Event {
    let how = Departure {
        clean: true,
        words: "exited".into(),
        stderr: String::new(),
    };
    Event::Gone { shard, how }
}

fn snapshot(shard: u32, number: u32, last: bool) -> FromWorker {
    FromWorker::Snapshot(Box::new(Snapshot {
        version: SNAPSHOT_VERSION,
        shard,
        number,
        at_ns: i64::from(number + 1) * 1_000_000_000,
        last,
        counts: Vec::new(),
        failures: Vec::new(),
        statuses: Vec::new(),
        expired_closes: Vec::new(),
        reasons: Vec::new(),
        revoked_closes: Vec::new(),
        closes: Vec::new(),
        endpoints: Vec::new(),
        nodes: Vec::new(),
        faults: Vec::new(),
        steps: Vec::new(),
        absences: Vec::new(),
        drains: Vec::new(),
        partings: Vec::new(),
        moved: Vec::new(),
        timers: Vec::new(),
        neighbours: Vec::new(),
        streams: Vec::new(),
        gauges: Gauges::default(),
        samples: Vec::new(),
    }))
}

/// What a good shard does in a run of ten seconds; without the snapshots of the seconds left out.
fn good(shard: u32, message: &ToWorker, silent: std::ops::Range<u32>) -> Vec<(Duration, Event)> {
    match message {
        ToWorker::Plan(_) => vec![
            (
                SECOND / 10,
                said(
                    shard,
                    FromWorker::Hello {
                        snapshots: SNAPSHOT_VERSION,
                        pid: 1,
                    },
                ),
            ),
            (SECOND / 5, said(shard, FromWorker::Ready)),
        ],
        ToWorker::Start { .. } => {
            let ledger = vec![StreamEnd {
                stream: 10 - shard,
                first_ns: 1,
                published: vec![1],
            }];
            let seconds = (0..10).filter(|n| !silent.contains(n));
            let mut events: Vec<_> = seconds
                .map(|n| {
                    (
                        LEAD + SECOND * (n + 1),
                        said(shard, snapshot(shard, n, false)),
                    )
                })
                .collect();
            events.push((
                LEAD + SECOND * 10 + SECOND / 10,
                said(shard, FromWorker::Published(ledger)),
            ));
            events
        }
        ToWorker::Stop => vec![(SECOND / 10, said(shard, FromWorker::Published(Vec::new())))],
        ToWorker::Streams(_) => vec![(SECOND / 10, said(shard, FromWorker::Settled))],
        ToWorker::Finish => vec![
            (SECOND / 10, said(shard, snapshot(shard, 10, true))),
            (SECOND / 10, said(shard, FromWorker::Finished)),
            (SECOND / 5, gone(shard)),
        ],
    }
}

struct Deaf;

impl Progress for Deaf {
    fn second(&mut self, _: &Plan, _: Duration, _: &Totals) {}
    fn note(&mut self, _: &str) {}
}

fn plan() -> Plan {
    let text = "
name: made-up
target: { url: 'ws://127.0.0.1:1' }
clients: { all: { count: 4, publish: { topic: a, rate: 10/s } } }
phases: [ { name: only, for: 10s } ]
generator: { drain: 3s }
";
    let options = crate::scenario::Options::default();
    let document = crate::scenario::parse("made-up", text, None, &options).expect("valid");
    let machine = crate::plan::Machine::default();
    crate::plan::compile(document.scenario(), document.files(), &machine)
        .expect("compiles")
        .plan
}

/// Drives a run; Ctrl-C after `interrupt`, where given. Fails when the run takes longer than `most`.
async fn driven(mut fabric: Fake, interrupt: Option<Duration>, most: Duration) -> Course {
    let (signal, mut interrupts) = mpsc::unbounded_channel();
    // The sender is kept, or the receiver would be closed.
    let kept = signal.clone();
    if let Some(after) = interrupt {
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = signal.send(());
        });
    }
    let plan = plan();
    let mut deaf = Deaf;
    let deploys = Deploys::new(&plan, None, crate::report::Redactor::default());
    let run = drive(
        &mut fabric,
        &plan,
        1,
        || NOW,
        &mut interrupts,
        deploys,
        &mut deaf,
    );
    let course = tokio::time::timeout(most, run).await.expect("no hang");
    drop(kept);
    course
}

fn words(told: &Told) -> Vec<String> {
    told.borrow().iter().map(|(_, word)| word.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_step_is_taken_together_and_in_order() {
    let (fabric, told) = Fake::new(2, |shard, message| good(shard, message, 0..0));
    let course = driven(fabric, None, SECOND * 12).await;
    let start = format!("start {}", NOW + 200_000_000);
    // The ledger holds both shards' streams, sorted.
    let expected = [
        "plan 0 of 2",
        "plan 1 of 2",
        &start,
        "streams 9 10",
        "finish",
    ];
    assert_eq!(words(&told), expected);
    assert_eq!(course.shards, vec![Fate::default(); 2]);
    assert_eq!(course.reached, SECOND * 10);
    assert!(course.interrupted.is_none());
    assert!(course.length > SECOND * 10 && course.length < SECOND * 11);
    assert!(
        course
            .totals
            .shards()
            .iter()
            .all(|s| s.snapshots == 11 && s.finished)
    );
}

#[tokio::test(start_paused = true)]
async fn the_others_go_on_without_a_lost_shard() {
    let (fabric, told) = Fake::new(2, |shard, message| match message {
        ToWorker::Start { .. } if shard == 1 => {
            let how = Departure {
                clean: false,
                words: "was killed by SIGKILL".into(),
                stderr: "oom".into(),
            };
            vec![(SECOND * 3, Event::Gone { shard, how })]
        }
        _ if shard == 1 && !matches!(message, ToWorker::Plan(_)) => vec![],
        _ => good(shard, message, 0..0),
    });
    let course = driven(fabric, None, SECOND * 12).await;
    assert_eq!(course.shards[0], Fate::default());
    assert_eq!(
        course.shards[1].lost.as_deref(),
        Some("was killed by SIGKILL (oom)")
    );
    assert!(course.totals.shards()[1].lost.is_some());
    assert_eq!(course.reached, SECOND * 10);
    assert!(words(&told).contains(&"streams 10".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_falls_silent_is_named_but_not_lost() {
    let (fabric, _) = Fake::new(2, |shard, message| {
        good(shard, message, if shard == 0 { 2..8 } else { 0..0 })
    });
    let course = driven(fabric, None, SECOND * 12).await;
    assert_eq!(course.shards[0].lost, None);
    assert_eq!(
        course.shards[0].gaps,
        ["silent for more than 5 s from 2.0 s on"]
    );
    assert_eq!(course.shards[1], Fate::default());
}

#[tokio::test(start_paused = true)]
async fn a_pause_shorter_than_that_is_no_gap() {
    let (fabric, _) = Fake::new(1, |shard, message| good(shard, message, 2..6));
    let course = driven(fabric, None, SECOND * 12).await;
    assert_eq!(course.shards[0], Fate::default());
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_that_was_held_up_does_not_call_shards_silent() {
    let (mut fabric, _) = Fake::new(2, |shard, message| good(shard, message, 0..0));
    fabric.hold_up = Some((Instant::now() + SECOND * 3, SILENCE + SECOND));
    let course = driven(fabric, None, SECOND * 12).await;
    assert_eq!(course.shards, vec![Fate::default(); 2]);
    // A shard that does not speak afterwards either is told as ever.
    let (mut fabric, _) = Fake::new(1, |shard, message| good(shard, message, 2..10));
    fabric.hold_up = Some((Instant::now() + SECOND * 3, SECOND * 3));
    let course = driven(fabric, None, SECOND * 12).await;
    let gap = "silent for more than 5 s from 2.0 s on";
    assert_eq!(course.shards[0].gaps, [gap]);
}

#[tokio::test(start_paused = true)]
async fn a_run_does_not_start_without_all_shards() {
    for silent_for_good in [true, false] {
        let (fabric, told) = Fake::new(3, move |shard, message| match (shard, message) {
            (2, _) if silent_for_good => vec![],
            (2, ToWorker::Plan(_)) => vec![(
                SECOND,
                said(shard, FromWorker::Failed { text: "no".into() }),
            )],
            _ => good(shard, message, 0..0),
        });
        let course = driven(fabric, None, PREPARE + SECOND).await;
        let expected = if silent_for_good {
            "did not get to `ready` within 30.0 s"
        } else {
            "failed: no"
        };
        assert_eq!(course.shards[2].lost.as_deref(), Some(expected));
        assert_eq!(
            (course.length, course.reached),
            (Duration::ZERO, Duration::ZERO)
        );
        let words = words(&told);
        assert!(!words.iter().any(|w| w.starts_with("start")), "{words:?}");
        assert!(
            words.iter().filter(|w| *w == "kill").count() >= 3,
            "{words:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn no_step_waits_for_ever() {
    // Deaf from one step on, each in turn.
    for step in ["start", "streams", "finish"] {
        let (fabric, told) = Fake::new(2, move |shard, message| match shard {
            1 if word(message).starts_with(step) => vec![],
            _ => good(shard, message, 0..0),
        });
        let course = driven(fabric, None, SECOND * 60).await;
        assert!(course.shards[1].lost.is_some(), "{step}");
        assert_eq!(course.shards[0].lost, None, "{step}");
        assert!(told.borrow().contains(&(Some(1), "kill".into())), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_will_not_end_is_killed_but_not_lost() {
    let (fabric, told) = Fake::new(1, |shard, message| {
        let mut events = good(shard, message, 0..0);
        events.retain(|(_, event)| !matches!(event, Event::Gone { .. }));
        events
    });
    let course = driven(fabric, None, SECOND * 15).await;
    assert_eq!(course.shards[0], Fate::default());
    assert_eq!(words(&told).last().map(String::as_str), Some("kill"));
}

#[tokio::test(start_paused = true)]
async fn when_all_are_lost_the_run_is_over() {
    let (fabric, _) = Fake::new(2, |shard, message| match message {
        ToWorker::Plan(_) => good(shard, message, 0..0),
        ToWorker::Start { .. } => vec![(LEAD + SECOND * (3 + shard), gone(shard))],
        _ => vec![],
    });
    let course = driven(fabric, None, SECOND * 6).await;
    assert!(
        course
            .shards
            .iter()
            .all(|s| s.lost.as_deref() == Some("exited"))
    );
    assert_eq!(course.reached, SECOND * 4);
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_ends_the_run_in_order() {
    let (fabric, told) = Fake::new(1, |shard, message| {
        let mut events = good(shard, message, 0..0);
        if matches!(message, ToWorker::Start { .. }) {
            // Interrupted, it does not go on to the end.
            events.truncate(3);
        }
        events
    });
    let course = driven(fabric, Some(SECOND * 4), SECOND * 6).await;
    assert_eq!(words(&told)[2..], ["stop", "streams ", "finish"]);
    let at = course.interrupted.expect("interrupted");
    assert!(at > SECOND * 3 && at < SECOND * 4, "{at:?} from the start");
    assert_eq!(course.reached, at);
    assert_eq!(course.shards[0], Fate::default());
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_before_the_start_prevents_it() {
    let (fabric, told) = Fake::new(1, |_, _| vec![]);
    let course = driven(fabric, Some(SECOND), SECOND * 2).await;
    assert_eq!(course.interrupted, Some(Duration::ZERO));
    assert_eq!(words(&told)[1..], ["stop", "kill"]);
}

#[tokio::test(start_paused = true)]
async fn a_shard_of_another_version_is_refused() {
    let (fabric, _) = Fake::new(1, |shard, message| match message {
        ToWorker::Plan(_) => {
            vec![(
                SECOND,
                said(
                    shard,
                    FromWorker::Hello {
                        snapshots: SNAPSHOT_VERSION + 1,
                        pid: 1,
                    },
                ),
            )]
        }
        _ => vec![],
    });
    let course = driven(fabric, None, SECOND * 2).await;
    let lost = course.shards[0].lost.clone().expect("lost");
    assert!(
        lost.contains(&format!("snapshot version {}", SNAPSHOT_VERSION + 1)),
        "{lost}"
    );
}
