//! `squall storm`: one scenario's storm again and again, each time with another way of coming back, to find the shortest
//! that the target bears.
//!
//! Each try is a whole run with a report of its own; what is compared is read off its storm.

use super::{Order, interrupts, one, print, ready, say};
use crate::exit::Exit;
use crate::plan::{Action, Plan};
use crate::report::{
    self, Outcome, Redactor, SWEEP_VERSION, StormReport, Sweep, Try, ValidityState,
};
use crate::scenario::model::{Reconnect, Resume};
use crate::scenario::{Document, Options};
use serde_json::{Map, Value};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Windows that are tried where none are given and no capacity is known, seconds.
const WINDOWS: [f64; 5] = [1.0, 2.0, 5.0, 10.0, 20.0];
/// With a known capacity: these multiples of the time it takes when everybody comes in turn.
const MULTIPLES: [f64; 5] = [0.5, 1.0, 1.5, 2.0, 3.0];
/// After the longest first wait: for second attempts, and for those who are late.
const AFTER: Duration = Duration::from_secs(5);
/// Decorrelated jitter's first wait is between its base and three times that: a third of the window.
const DECORRELATED: u32 = 3;
/// For clients that are known by name: none waits longer at first.
const OWN: Duration = Duration::from_secs(5);

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
    /// The fault's words, which its storm bears in the report.
    cause: String,
    /// From the phase's start until everybody is cut.
    begun: Duration,
    /// The phase has nothing else in it: it can be as long as the storm needs.
    alone: bool,
}

/// Tries everything; prints the table to standard output. What was found is told also when it is interrupted.
pub fn storm(order: &StormOrder) -> Exit {
    swept(order).unwrap_or_else(|exit| exit)
}

fn swept(order: &StormOrder) -> Result<Exit, Exit> {
    let (document, compiled) = ready(&order.order, &order.order.options)?;
    let storm = find(&compiled.plan, order.group.as_deref()).map_err(|why| {
        say(&format!("squall: {why}\n"));
        Exit::ScenarioInvalid
    })?;
    // Whatever cannot be tried is better known before the first try has taken its time.
    let mut tries = Vec::new();
    for (policy, window) in wanted(order, storm.victims) {
        let options = options(order, &document, &storm, &policy, window);
        tries.push((policy, window, ready(&order.order, &options)?));
    }
    let mut interrupts = interrupts()?;
    let redact = Redactor::new(document.secrets());
    let mut sweep = Sweep {
        version: SWEEP_VERSION,
        tool: format!("squall {}", env!("CARGO_PKG_VERSION")),
        name: redact.text(&document.scenario().name),
        started: super::clock::wall(),
        target: String::new(),
        group: redact.text(&storm.group),
        victims: storm.victims,
        capacity: order.capacity.map(|capacity| capacity.ceil() as u64),
        tries: Vec::new(),
        recommended: None,
    };
    let all = tries.len();
    let mut cut_short = None;
    for (policy, window, (document, compiled)) in tries {
        let over = window.map_or(String::new(), |w| format!(" over {:.1} s", w.as_secs_f64()));
        let nth = sweep.tries.len() + 1;
        say(&format!("squall: storm {nth} of {all}: {policy}{over}\n"));
        let ran = match one(&document, &compiled, &order.order, &mut interrupts) {
            Ok(ran) if ran.exit == Exit::Interrupted => {
                cut_short = Some(Exit::Interrupted);
                break;
            }
            Ok(ran) => ran,
            Err(exit) => {
                cut_short = Some(exit);
                break;
            }
        };
        if ran.exit == Exit::NotWritten {
            cut_short = Some(Exit::NotWritten);
        }
        let mut tried = read(&ran.outcome, &storm, &policy, window);
        sweep.target.clone_from(&ran.outcome.target);
        let validity = &ran.outcome.validity;
        tried.valid = validity.state != ValidityState::Invalid;
        if !tried.valid {
            // Reasons stand worst first.
            tried.invalid = validity.reasons.first().cloned();
        }
        tried.against = sweep.judge(&tried);
        sweep.tries.push(tried);
    }
    if sweep.tries.is_empty() {
        return Err(cut_short.unwrap_or(Exit::NothingRan));
    }
    sweep.recommend();
    let exit = cut_short.unwrap_or_else(|| conclude(&sweep));
    Ok(tell(&sweep, &order.order.out, exit))
}

/// The table, and where the page is.
fn tell(sweep: &Sweep, out: &Path, exit: Exit) -> Exit {
    let written = report::write_sweep(out, sweep);
    let mut text = Vec::new();
    let _ = report::sweep_terminal(sweep, &mut text);
    if let Some(page) = written.iter().flatten().next() {
        let _ = writeln!(text, "{}   exit {}", page.display(), exit.code());
    }
    print(&text);
    match written {
        Ok(_) => exit,
        Err(error) => {
            say(&format!("squall: {error}\n"));
            Exit::NotWritten
        }
    }
}

fn conclude(sweep: &Sweep) -> Exit {
    match sweep.recommended {
        Some(_) => Exit::Passed,
        None if sweep.tries.iter().all(|tried| !tried.valid) => Exit::RunInvalid,
        None => Exit::GateFailed,
    }
}

/// The scenario's only storm, or that of the group which was named.
fn find(plan: &Plan, wanted: Option<&str>) -> Result<Storm, String> {
    let mut found: Vec<Storm> = Vec::new();
    for phase in plan.phases() {
        for fault in &phase.faults {
            // Whatever it is, it would be done again with every try.
            if let Action::Deploy(_) = &fault.action {
                let (label, phase) = (&fault.label, &phase.name);
                return Err(format!(
                    "the scenario has `{label}` in phase `{phase}`, which every try would do again: leave it out, such as by --set 'phases.{phase}.faults=[]'"
                ));
            }
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
                    cause: fault.label.clone(),
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

/// What is to be tried, in order: each policy with each window, and those that have windows of their own once.
fn wanted(order: &StormOrder, victims: u64) -> Vec<(String, Option<Duration>)> {
    let windows = windows(order, victims);
    let mut all = Vec::new();
    for policy in &order.policies {
        match windowed(policy) {
            true => all.extend(windows.iter().map(|window| (policy.clone(), Some(*window)))),
            false => all.push((policy.clone(), None)),
        }
    }
    all
}

/// Whether a policy waits as long as it is told; clients that are known by name have windows of their own.
fn windowed(policy: &str) -> bool {
    [
        "constant",
        "no_jitter",
        "full_jitter",
        "equal_jitter",
        "decorrelated",
    ]
    .contains(&policy)
}

fn windows(order: &StormOrder, victims: u64) -> Vec<Duration> {
    if !order.windows.is_empty() {
        return order.windows.clone();
    }
    let seconds: Vec<f64> = match order.capacity {
        Some(capacity) if capacity > 0.0 => {
            let shortest = victims as f64 / capacity;
            let tenths = |n: &f64| (n * shortest * 10.0).ceil() / 10.0;
            MULTIPLES.iter().map(tenths).collect()
        }
        _ => WINDOWS.to_vec(),
    };
    seconds.into_iter().map(Duration::from_secs_f64).collect()
}

/// The scenario with this policy and window, without its gates: they were written for another.
fn options(
    order: &StormOrder,
    document: &Document,
    storm: &Storm,
    policy: &str,
    window: Option<Duration>,
) -> Options {
    let given = &order.order.options;
    let mut options = Options {
        sets: given.sets.clone(),
        target: given.target.clone(),
        allow_outside: given.allow_outside,
        ..Options::default()
    };
    options.sets.extend(sets(document, storm, policy, window));
    options
}

fn sets(document: &Document, storm: &Storm, policy: &str, window: Option<Duration>) -> Vec<String> {
    let millis = |time: Duration| format!("{}ms", time.as_millis().max(1));
    let path = format!("clients.{}.reconnect", storm.group);
    let mut way = Map::new();
    way.insert("backoff".into(), policy.into());
    if let Some(window) = window {
        let base = match policy {
            "decorrelated" => window / DECORRELATED,
            _ => window,
        };
        way.insert("base".into(), millis(base).into());
        if policy != "constant" {
            way.insert("cap".into(), millis(window).into());
        }
    }
    let group = document.scenario().clients.get(&storm.group);
    let written = group.and_then(|group| group.reconnect.as_ref());
    let mut sets = vec!["gates=[]".to_owned()];
    match written {
        // Its texts may hold secrets, which have no business in an override: it keeps all that it says beside.
        Some(Reconnect {
            resume: Some(Resume::Session(_)),
            ..
        }) => {
            sets.extend(
                way.iter()
                    .map(|(key, value)| format!("{path}.{key}={value}")),
            );
        }
        Some(written) => {
            let kept = serde_json::to_value(written).unwrap_or_default();
            let kept = kept.as_object().cloned().unwrap_or_default().into_iter();
            let ours = ["backoff", "base", "cap"];
            way.extend(kept.filter(|(key, _)| !ours.contains(&key.as_str())));
            sets.push(format!("{path}={}", Value::Object(way)));
        }
        None => sets.push(format!("{path}={}", Value::Object(way))),
    }
    let needed = storm.begun + window.unwrap_or(OWN) + AFTER;
    let phases = &document.scenario().phases;
    let given = phases.iter().find(|phase| phase.name == storm.phase);
    if storm.alone || given.is_some_and(|phase| phase.r#for.0 < needed) {
        sets.push(format!("phases.{}.for={}", storm.phase, millis(needed)));
    }
    sets
}

/// What a run's storm says.
fn read(outcome: &Outcome, of: &Storm, policy: &str, window: Option<Duration>) -> Try {
    let tried = Try {
        policy: policy.to_owned(),
        window: window.map(|window| window.as_secs_f64()),
        ..Try::default()
    };
    let caused = |storm: &&StormReport| storm.cause == of.cause && storm.phase == of.phase;
    let Some(storm) = outcome.storms.iter().find(caused) else {
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
    fn each_policy_is_tried_with_each_window_and_known_clients_once() {
        let mut order = order(&[3, 7], None);
        order.policies = ["full_jitter", "phoenix", "constant"]
            .map(str::to_owned)
            .to_vec();
        let seconds = Duration::from_secs;
        let tries: Vec<(String, Option<Duration>)> = wanted(&order, 10);
        let expected = [
            ("full_jitter", Some(seconds(3))),
            ("full_jitter", Some(seconds(7))),
            ("phoenix", None),
            ("constant", Some(seconds(3))),
            ("constant", Some(seconds(7))),
        ];
        assert_eq!(
            tries,
            expected.map(|(policy, window)| (policy.to_owned(), window))
        );
    }

    fn scenario(reconnect: &str, faults: &str) -> Document {
        let text = format!(
            "name: x\ntarget: {{ embedded: {{}} }}\nclients: {{ subs: {{ count: 9, subscribe: [t], reconnect: {reconnect} }} }}\n\
             phases:\n  - {{ name: open, for: 2s }}\n  - {{ name: storm, for: 20s, faults: [ {faults} ] }}\n"
        );
        crate::scenario::parse("x.yaml", &text, None, &Options::default())
            .unwrap_or_else(|report| panic!("{report}"))
    }

    fn found(document: &Document) -> Result<Storm, String> {
        let machine = crate::plan::Machine {
            cores: 2,
            descriptors: 20_000,
            file_max: 1 << 20,
            port_range: (32_768, 60_999),
            memory_available: 8 << 30,
            somaxconn: 4_096,
            ..crate::plan::Machine::default()
        };
        let compiled = crate::plan::compile(document.scenario(), document.files(), &machine);
        let compiled = compiled.unwrap_or_else(|problems| panic!("{problems:?}"));
        find(&compiled.plan, None)
    }

    const DROP: &str = "{ drop: { clients: subs, share: 100%, how: reset, after: 1s } }";

    #[test]
    fn what_a_policy_has_no_use_for_goes_and_all_else_stays() {
        let document = scenario(
            "{ base: 9s, cap: 20s, attempts: 3, codes: { 4000: stop }, resume: true }",
            DROP,
        );
        let storm = found(&document).expect("one storm");
        let sets = |policy: &str, window: Option<u64>| {
            sets(&document, &storm, policy, window.map(Duration::from_secs))
        };
        let way = |sets: &[String]| -> Value {
            let json = sets[1]
                .strip_prefix("clients.subs.reconnect=")
                .expect("the way back");
            serde_json::from_str(json).expect("JSON")
        };
        let rest =
            serde_json::json!({ "attempts": 3, "codes": { "4000": "stop" }, "resume": true });
        for (policy, window, ours) in [
            ("phoenix", None, serde_json::json!({ "backoff": "phoenix" })),
            (
                "constant",
                Some(4),
                serde_json::json!({ "backoff": "constant", "base": "4000ms" }),
            ),
            (
                "full_jitter",
                Some(4),
                serde_json::json!({ "backoff": "full_jitter", "base": "4000ms", "cap": "4000ms" }),
            ),
            (
                "decorrelated",
                Some(6),
                serde_json::json!({ "backoff": "decorrelated", "base": "2000ms", "cap": "6000ms" }),
            ),
        ] {
            let mut expected = ours.as_object().cloned().unwrap_or_default();
            expected.extend(rest.as_object().cloned().unwrap_or_default());
            let got = sets(policy, window);
            assert_eq!(way(&got), Value::Object(expected), "{policy}");
            assert_eq!(got[0], "gates=[]");
        }
        // Alone in its phase, which is as long as the storm needs: the drop's second, the window and what comes after.
        assert_eq!(sets("full_jitter", Some(4))[2], "phases.storm.for=10000ms");
    }

    #[test]
    fn a_scenario_has_one_storm_and_no_deploy() {
        let storm = found(&scenario("{}", DROP)).expect("one storm");
        assert_eq!((storm.group.as_str(), storm.victims), ("subs", 9));
        let none = found(&scenario("{}", "")).map(|_| ()).unwrap_err();
        assert!(none.contains("add a `drop`"), "{none}");
        let two = found(&scenario("{}", &format!("{DROP}, {DROP}")))
            .map(|_| ())
            .unwrap_err();
        assert!(two.contains("several faults"), "{two}");
        let deploy = format!("{DROP}, {{ deploy: {{ run: [\"true\"] }} }}");
        let deploy = found(&scenario("{}", &deploy)).map(|_| ()).unwrap_err();
        assert!(deploy.contains("every try would do again"), "{deploy}");
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
