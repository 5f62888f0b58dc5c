//! What a new connection does before it subscribes.

use super::text::{self, Scope};
use super::{Problems, message, vars};
use crate::plan::types::{Builtin, Expect, Matcher, Step, Var, VarSource};
use crate::scenario::Problem;
use crate::scenario::model;
use std::time::Duration;

/// Compiles the steps; captured variables are added to those `declared`, and those `set` before are there to be used.
pub(super) fn compile(
    written: &[model::Step],
    path: &str,
    slots: &mut Vec<Var>,
    declared: usize,
    set: &[u32],
    builtins: &[Builtin],
    problems: &mut Problems,
) -> Vec<Step> {
    // Names first: a template that uses a captured variable too early gets a message of its own.
    let mut captures: Vec<Vec<(u32, String)>> = Vec::new();
    for (i, step) in written.iter().enumerate() {
        let mut list = Vec::new();
        if let model::Step::Expect(expect) = step {
            for (name, at) in &expect.capture {
                let path = format!("{path}.on_open[{i}].expect.capture.{name}");
                vars::name(name, &path, problems);
                message::pointer(at, &path, problems);
                let slot = slots
                    .iter()
                    .position(|v| v.name == *name)
                    .unwrap_or_else(|| {
                        slots.push(Var {
                            name: name.clone(),
                            source: VarSource::Captured,
                        });
                        slots.len() - 1
                    });
                if slot < declared {
                    let whose = match set.contains(&(slot as u32)) {
                        true => "`capture_headers`",
                        false => "the group's `vars`",
                    };
                    problems.add(
                        Problem::error(&path, format!("`{name}` is one of {whose} already"))
                            .on_key(),
                    );
                }
                list.push((slot as u32, at.clone()));
            }
        }
        captures.push(list);
    }
    let mut captured = set.to_vec();
    let mut steps = Vec::new();
    for (i, (step, capture)) in written.iter().zip(captures).enumerate() {
        let path = format!("{path}.on_open[{i}]");
        let scope = Scope {
            vars: slots,
            captured: &captured,
            message: builtins,
        };
        steps.push(match step {
            model::Step::Send(text) => Step::Send(text::template(
                text,
                &format!("{path}.send"),
                scope,
                problems,
            )),
            model::Step::Pause(time) => Step::Pause(time.0),
            model::Step::Expect(expect) => {
                let path = format!("{path}.expect");
                let mut compiled = |text: &str, key: &str| {
                    text::template(text, &format!("{path}.{key}"), scope, problems)
                };
                let contains = expect
                    .contains
                    .as_deref()
                    .map(|text| compiled(text, "contains"));
                let equals = expect
                    .equals
                    .as_ref()
                    .map(|value| compiled(&value.to_string(), "equals"));
                pointed(expect.pointer.as_deref(), equals.is_some(), &path, problems);
                let within = expect.within.map_or(Duration::from_secs(5), |d| d.0);
                problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
                let matching = Matcher {
                    contains,
                    pointer: expect.pointer.clone(),
                    equals,
                };
                Step::Expect(Expect {
                    matching,
                    within,
                    capture: capture.clone(),
                })
            }
        });
        captured.extend(capture.iter().map(|(slot, _)| *slot));
    }
    steps
}

/// A value can only be compared where a pointer says which.
pub(super) fn pointed(at: Option<&str>, compared: bool, path: &str, problems: &mut Problems) {
    match at {
        Some(at) => message::pointer(at, &format!("{path}.pointer"), problems),
        None if compared => problems.add(Problem::error(
            format!("{path}.equals"),
            "`equals` needs `pointer` beside it: which value is to be this?",
        )),
        None => {}
    }
}
