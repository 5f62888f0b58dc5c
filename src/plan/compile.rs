//! From what was written to what will run: every mistake at once, each with its path.
//!
//! The scenario was already checked against its schema; here is what no schema can say: names that must
//! exist, rates that must fit into their time, parts that exclude each other, limits of the machine.

mod answer;
mod auth;
mod compression;
mod consume;
mod fault;
mod gates;
mod generator;
mod group;
mod http;
mod inject;
mod ladder;
mod message;
mod names;
mod page;
mod process;
mod profile;
mod protocol;
mod reconnect;
mod resume;
mod steps;
mod target;
mod text;
mod timeline;
mod topics;
mod transport;
mod upgrade;
mod vars;

use super::needs::{Machine, Needs};
use super::page::Page;
use super::types::Plan;
use crate::gate::Gate;
use crate::scenario::model::OneOrMany;
use crate::scenario::{Files, Level, Problem, Scenario};
use std::collections::HashSet;

/// A scenario that can run, and everything worth knowing before it does.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What will run.
    pub plan: Plan,
    /// What must hold.
    pub gates: Vec<Gate>,
    /// What can run but probably means something else.
    pub warnings: Vec<Problem>,
    /// What it takes, and what the machine is short of.
    pub needs: Needs,
    /// The target's process, where the scenario names it.
    pub process: Option<u32>,
    /// Where the target tells its memory, where the scenario says so.
    pub page: Option<Page>,
}

/// Compiles a scenario.
///
/// # Errors
/// All problems, warnings included, when at least one of them keeps it from running.
pub fn compile(
    scenario: &Scenario,
    files: &Files,
    machine: &Machine,
) -> Result<Compiled, Vec<Problem>> {
    let mut problems = Problems::default();
    names::check(scenario, &mut problems);
    let timeline = timeline::compile(scenario, &mut problems);
    let target = target::compile(&scenario.target, files, &mut problems);
    let process = process::compile(&scenario.target, files, &mut problems);
    let page = scenario.target.metrics.as_ref();
    let page = page.and_then(|page| page::compile(page, &mut problems));
    let mut groups = group::compile(scenario, &timeline, &target, files, machine, &mut problems);
    inject::compile(
        scenario,
        &timeline,
        &target,
        files,
        machine,
        &mut groups,
        &mut problems,
    );
    let stride = groups
        .iter()
        .map(|g| g.publish.len())
        .max()
        .unwrap_or(0)
        .max(1) as u32;
    let connections: u64 = groups.iter().map(|g| u64::from(g.count)).sum();
    // The last ones are for what is no publish: requests, and wills.
    if connections * u64::from(stride) > u64::from(u32::MAX - 512) {
        problems.add(Problem::error(
            "clients",
            format!("{connections} connections with up to {stride} publish streams each are more than 2³²"),
        ));
    }
    let gates = gates::compile(scenario, &mut problems);
    let generator = generator::compile(scenario, &mut problems);
    if problems.fatal() {
        return Err(problems.list);
    }
    let mut plan = Plan {
        name: scenario.name.clone(),
        seed: scenario.seed,
        target: target.config,
        groups,
        phases: timeline.phases,
        generator,
        stride,
    };
    gates::unfed(&gates, &plan, scenario, &mut problems);
    fault::unreached(&plan, &mut problems);
    topics::filters(&plan, &mut problems);
    let traffic = topics::traffic(&plan, &mut problems);
    let needs = generator::fit(&mut plan, scenario, machine, &traffic, &mut problems);
    if problems.fatal() {
        return Err(problems.list);
    }
    Ok(Compiled {
        plan,
        gates,
        warnings: problems.list,
        needs,
        process,
        page,
    })
}

/// What was found so far.
#[derive(Debug, Default)]
struct Problems {
    list: Vec<Problem>,
    /// Path and message of each: the target's texts are compiled for every group, but wrong only once.
    seen: HashSet<(String, String)>,
}

impl Problems {
    /// Adds an error or warning, whichever it is.
    fn add(&mut self, problem: Problem) {
        if self
            .seen
            .insert((problem.path.clone(), problem.message.clone()))
        {
            self.list.push(problem);
        }
    }

    fn fatal(&self) -> bool {
        self.list.iter().any(|p| p.level == Level::Error)
    }

    /// The problem with a zero where there must be something, as `what` cannot be without.
    fn zero(&mut self, is_zero: bool, path: impl Into<String>, what: &str) {
        if is_zero {
            self.add(Problem::error(path, format!("{what} must be more than 0")));
        }
    }
}

/// The values with the path of each: `path` for a single one, `path[i]` in a list.
fn each<'a, T>(values: &'a OneOrMany<T>, path: &str) -> Vec<(String, &'a T)> {
    match values {
        OneOrMany::One(value) => vec![(path.to_owned(), value)],
        OneOrMany::Many(values) => values
            .iter()
            .enumerate()
            .map(|(i, v)| (format!("{path}[{i}]"), v))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
