//! `squall storm`: one scenario's storm again and again, each time with another way of coming back, to find the shortest
//! that the target bears.
//!
//! Each try is a whole run with a report of its own; what is compared is read off its storm.

use super::{Order, Ran, one, prepare, say};
use crate::exit::Exit;
use crate::plan::{Action, Plan};
use crate::report::{self, Outcome, SWEEP_VERSION, Sweep, Try, ValidityState};
use crate::scenario::{Document, Options};
use std::io;
use std::time::Duration;

/// Windows that are tried where none are given and no capacity is known, seconds.
const WINDOWS: [f64; 5] = [1.0, 2.0, 5.0, 10.0, 20.0];
/// With a known capacity: these multiples of the time it takes when everybody comes in turn.
const MULTIPLES: [f64; 5] = [0.5, 1.0, 1.5, 2.0, 3.0];
/// After the longest first wait: for second attempts, and for those who are late.
const AFTER: Duration = Duration::from_secs(5);
/// Decorrelated jitter waits from its base up to its cap: a window is the cap, and this part of it the base.
const DECORRELATED: u32 = 10;

/// What to try.
pub struct StormOrder {
    /// The scenario, and how its runs are shown.
    pub order: Order,
    /// The group whose way back is varied; `None`: the one that a fault cuts.
    pub group: Option<String>,
    /// Policies, as `reconnect.backoff` names them.
    pub policies: Vec<String>,
    /// Windows; none: chosen by the number of connections and the capacity.
    pub windows: Vec<Duration>,
    /// Attempts per second that the target is to be asked for at most.
    pub capacity: Option<f64>,
}

/// The storm that a scenario makes.
struct Storm {
    group: String,
    victims: u64,
    phase: String,
    /// From the phase's start until everybody is cut.
    begun: Duration,
    /// The phase has nothing else in it: it can be as long as the storm needs.
    alone: bool,
}

/// Tries everything; prints the table to standard output.
pub fn storm(order: &StormOrder) -> Exit {
    let (document, compiled) = match prepare(&order.order.file, &order.order.options) {
        Ok(prepared) => prepared,
        Err(problems) => {
            say(&problems.render(order.order.styled));
            return Exit::ScenarioInvalid;
        }
    };
    let storm = match find(&compiled.plan, order.group.as_deref()) {
        Ok(storm) => storm,
        Err(why) => {
            say(&format!("squall: {why}\n"));
            return Exit::ScenarioInvalid;
        }
    };
    let windows = windows(order, storm.victims);
    let mut sweep = Sweep {
        version: SWEEP_VERSION,
        tool: format!("squall {}", env!("CARGO_PKG_VERSION")),
        name: document.scenario().name.clone(),
        started: super::clock::wall(),
        target: String::new(),
        group: storm.group.clone(),
        victims: storm.victims,
        capacity: order.capacity.map(|capacity| capacity as u64),
        tries: Vec::new(),
        recommended: None,
    };
    let all = order.policies.len() * windows.len();
    for policy in &order.policies {
        for window in &windows {
            say(&format!(
                "squall: storm {} of {all}: {policy} over {:.1} s\n",
                sweep.tries.len() + 1,
                window.as_secs_f64()
            ));
            let ran = match attempt(order, &document, &storm, policy, *window) {
                Ok(ran) => ran,
                Err(exit) => return exit,
            };
            let tried = read(&ran.outcome, policy, *window);
            sweep.target = ran.outcome.target.clone();
            let invalid = (ran.outcome.validity.state == ValidityState::Invalid).then(|| {
                ran.outcome
                    .validity
                    .reasons
                    .first()
                    .map_or("", String::as_str)
            });
            let against = sweep.judge(&tried, invalid);
            sweep.tries.push(Try { against, ..tried });
            if ran.exit == Exit::Interrupted {
                return Exit::Interrupted;
            }
        }
    }
    sweep.recommend();
    let exit = conclude(&sweep);
    let _ = report::sweep_terminal(&sweep, &mut io::stdout().lock());
    match report::write_sweep(&order.order.out, &sweep) {
        Ok(page) => println_path(&page.display().to_string(), exit),
        Err(error) => {
            say(&format!("squall: the page could not be written: {error}\n"));
            return Exit::NotWritten;
        }
    }
    exit
}

fn println_path(page: &str, exit: Exit) {
    use std::io::Write;
    // A reader that left early still gets the exit code.
    let _ = writeln!(io::stdout(), "{page}   exit {}", exit.code());
}

fn conclude(sweep: &Sweep) -> Exit {
    match sweep.recommended {
        Some(_) => Exit::Passed,
        None if sweep
            .tries
            .iter()
            .all(|tried| tried.against.starts_with("the run is invalid")) =>
        {
            Exit::RunInvalid
        }
        None => Exit::GateFailed,
    }
}

/// The scenario's only storm, or that of the group which was named.
fn find(plan: &Plan, wanted: Option<&str>) -> Result<Storm, String> {
    let mut found: Vec<Storm> = Vec::new();
    for phase in plan.phases() {
        for fault in &phase.faults {
            let Action::Hit(hit) = &fault.action else {
                continue;
            };
            let Some(group) = plan.groups().get(hit.group as usize) else {
                continue;
            };
            if fault.action.cuts() && wanted.is_none_or(|name| group.name == name) {
                found.push(Storm {
                    group: group.name.clone(),
                    victims: hit.victims.into(),
                    phase: phase.name.clone(),
                    begun: fault.end - phase.start,
                    alone: phase.faults.len() == 1,
                });
            }
        }
    }
    match (found.len(), wanted) {
        (1, _) => found.pop().ok_or_else(String::new),
        (0, None) => Err("the scenario has no fault that takes connections away: add a `drop` to a phase".into()),
        (0, Some(name)) => Err(format!("no fault of the scenario takes connections of `{name}` away")),
        (_, None) => Err("several faults take connections away: say which group is meant with --clients, and leave one fault of it".into()),
        (_, Some(name)) => Err(format!("several faults take connections of `{name}` away: leave one of them")),
    }
}

fn windows(order: &StormOrder, victims: u64) -> Vec<Duration> {
    if !order.windows.is_empty() {
        return order.windows.clone();
    }
    let seconds: Vec<f64> = match order.capacity {
        Some(capacity) if capacity > 0.0 => {
            let shortest = victims as f64 / capacity;
            MULTIPLES
                .iter()
                .map(|n| (n * shortest * 10.0).ceil() / 10.0)
                .collect()
        }
        _ => WINDOWS.to_vec(),
    };
    seconds.into_iter().map(Duration::from_secs_f64).collect()
}

/// One run of the scenario with this policy and window, without its gates: they were written for another.
fn attempt(
    order: &StormOrder,
    document: &Document,
    storm: &Storm,
    policy: &str,
    window: Duration,
) -> Result<Ran, Exit> {
    let given = &order.order.options;
    let mut options = Options {
        sets: given.sets.clone(),
        target: given.target.clone(),
        allow_outside: given.allow_outside,
        ..Options::default()
    };
    options.sets.extend(sets(document, storm, policy, window));
    let (document, compiled) = prepare(&order.order.file, &options).map_err(|problems| {
        say(&problems.render(order.order.styled));
        Exit::ScenarioInvalid
    })?;
    one(&document, &compiled, &order.order)
}

fn sets(document: &Document, storm: &Storm, policy: &str, window: Duration) -> Vec<String> {
    let millis = |time: Duration| format!("{}ms", time.as_millis());
    let way = format!("clients.{}.reconnect", storm.group);
    let mut sets = vec!["gates=[]".to_owned(), format!("{way}.backoff={policy}")];
    // Clients that are known by name have their own windows.
    let base = match policy {
        "decorrelated" => Some(window / DECORRELATED),
        "no_jitter" | "full_jitter" | "equal_jitter" | "constant" => Some(window),
        _ => None,
    };
    if let Some(base) = base {
        sets.push(format!("{way}.base={}", millis(base)));
    }
    if base.is_some() && policy != "constant" {
        sets.push(format!("{way}.cap={}", millis(window)));
    }
    let needed = storm.begun + window + AFTER;
    let phases = &document.scenario().phases;
    let given = phases
        .iter()
        .find(|phase| phase.name == storm.phase)
        .map(|phase| phase.r#for.0);
    if storm.alone || given.is_some_and(|given| given < needed) {
        sets.push(format!("phases.{}.for={}", storm.phase, millis(needed)));
    }
    sets
}

/// What a run's storm says.
fn read(outcome: &Outcome, policy: &str, window: Duration) -> Try {
    let tried = Try {
        policy: policy.to_owned(),
        window: window.as_secs_f64(),
        ..Try::default()
    };
    let Some(storm) = outcome.storms.iter().max_by_key(|storm| storm.lost) else {
        return tried;
    };
    Try {
        peak: storm.peak,
        lost: storm.lost,
        back: storm.back,
        failed: storm.curve.iter().map(|step| step.failed).sum(),
        amplification: storm.amplification,
        restored_50: storm.restored_50,
        restored_99: storm.restored_99,
        restored_100: storm.restored_100,
        ..tried
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(windows: &[u64], capacity: Option<f64>) -> StormOrder {
        StormOrder {
            order: Order {
                file: "x.yaml".into(),
                options: Default::default(),
                out: "reports".into(),
                quiet: true,
                styled: false,
                look: report::Look {
                    colour: false,
                    width: 100,
                },
            },
            group: None,
            policies: Vec::new(),
            windows: windows.iter().map(|s| Duration::from_secs(*s)).collect(),
            capacity,
        }
    }

    #[test]
    fn windows_follow_from_what_is_known() {
        let seconds = |order: &StormOrder| -> Vec<f64> {
            windows(order, 5_000)
                .iter()
                .map(Duration::as_secs_f64)
                .collect()
        };
        assert_eq!(seconds(&order(&[3, 7], Some(500.0))), [3.0, 7.0]);
        assert_eq!(
            seconds(&order(&[], Some(500.0))),
            [5.0, 10.0, 15.0, 20.0, 30.0]
        );
        assert_eq!(seconds(&order(&[], None)), WINDOWS);
    }
}
