//! What a group takes from the answer to its upgrade, and what that is for: variables, cookies, the node that serves.

use super::target::is_token;
use super::{Problems, names, vars};
use crate::plan::types::{NodeSource, Var, VarSource};
use crate::scenario::Problem;
use crate::scenario::model::{self, Pick, Table};

/// Variables from headers of the answer: added to `slots`, and (header in lower case, slot).
pub(super) fn captures(
    table: &Table<String>,
    path: &str,
    slots: &mut Vec<Var>,
    problems: &mut Problems,
) -> Vec<(String, u32)> {
    let mut captures = Vec::new();
    for (name, header) in table {
        let path = format!("{path}.capture_headers.{name}");
        vars::name(name, &path, problems);
        self::header(header, &path, problems);
        if slots.iter().any(|var| var.name == *name) {
            let message = format!("`{name}` is one of the group's `vars` already");
            problems.add(Problem::error(&path, message).on_key());
            continue;
        }
        captures.push((header.to_ascii_lowercase(), slots.len() as u32));
        slots.push(Var {
            name: name.clone(),
            source: VarSource::Captured,
        });
    }
    captures
}

fn header(name: &str, path: &str, problems: &mut Problems) {
    if !is_token(name) {
        problems.add(Problem::error(path, "this cannot be a header's name"));
    }
}

/// What tells the node.
pub(super) fn node(
    written: &model::NodeSource,
    path: &str,
    slots: &[Var],
    problems: &mut Problems,
) -> Option<NodeSource> {
    let path = format!("{path}.node");
    match (&written.header, &written.var) {
        (Some(name), None) => {
            header(name, &format!("{path}.header"), problems);
            Some(NodeSource::Header(name.to_ascii_lowercase()))
        }
        (None, Some(name)) => {
            let path = format!("{path}.var");
            let slot = slots.iter().position(|var| var.name == *name);
            match slot.map(|slot| (slot, &slots[slot].source)) {
                Some((slot, VarSource::Captured)) => return Some(NodeSource::Var(slot as u32)),
                Some(_) => problems.add(
                    Problem::error(
                        path,
                        format!(
                            "`{name}` is one of the group's `vars`: it says nothing of the target"
                        ),
                    )
                    .help("name a variable of `capture_headers`, or captured in `on_open`"),
                ),
                None => {
                    let captured = slots
                        .iter()
                        .filter(|var| var.source == VarSource::Captured)
                        .map(|var| var.name.as_str());
                    problems.add(names::unknown(&path, "captured variable", name, captured));
                }
            }
            None
        }
        (given, _) => {
            let message = match given {
                Some(_) => "`header` and `var` exclude each other",
                None => "what tells the node is missing",
            };
            problems.add(
                Problem::error(path, message)
                    .help("give `header`, a header of the upgrade's answer, or `var`, a captured variable")
                    .on_key(),
            );
            None
        }
    }
}

/// Warns of what is only for connections that come back, in a group whose do not.
pub(super) fn comes_back(
    written: &model::ClientGroup,
    pick: Pick,
    path: &str,
    problems: &mut Problems,
) {
    if written.reconnect.is_some() {
        return;
    }
    let mut warn = |key: &str, given: bool, message: &str| {
        if given {
            let problem = Problem::warning(format!("{path}{key}"), message);
            problems.add(problem.help("give the group `reconnect`").on_key());
        }
    };
    let moves = written.node.as_ref().map(|node| node.moves);
    warn(
        ".node",
        moves == Some(model::Moves::Forbidden),
        "no connection of this group comes back, so none can move, and its gate has no evidence",
    );
    warn(
        ".keep_cookies",
        written.keep_cookies,
        "no connection of this group comes back, so no cookie is ever sent",
    );
    warn(
        "",
        pick == Pick::Failover,
        "no connection of this group comes back, so it stays at the first address, whatever happens there",
    );
}
