//! `partition`: a part of a group's connections cannot reach the target, or some of its addresses.

use super::super::target::ports;
use super::super::{Problems, names};
use super::lasting::{Lasting, or_all};
use crate::plan::fault::{Effect, Partition, PlannedFault};
use crate::plan::types::Phase;
use crate::scenario::model::{self, Address, Addresses};
use crate::scenario::{Problem, Scenario};
use std::collections::BTreeSet;

/// Who is cut off from what, and when.
pub(super) fn compile(
    partition: &model::Partition,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let from = from(partition, path, scenario, problems);
    let lasting = Lasting {
        name: "partition",
        done: "cut off",
        clients: &partition.clients,
        share: or_all(partition.share, partition.count),
        count: partition.count,
        after: partition.after,
        length: partition.r#for,
        over: partition.over,
    };
    let checked = lasting.check(path, scenario, phase, problems)?;
    let from = from?;
    let label = label(&checked.who, from.as_ref());
    let what = Effect::Partition(Partition {
        from: from.map(|from| from.into_iter().collect()),
    });
    checked.planned(label, what, path, phase, problems)
}

/// In words: `100% of subscribers cut off from address 1`.
fn label(who: &str, from: Option<&BTreeSet<u32>>) -> String {
    let from = match from {
        None => "the target".to_owned(),
        Some(some) => {
            let numbers: Vec<String> = some.iter().map(u32::to_string).collect();
            let word = if some.len() == 1 {
                "address"
            } else {
                "addresses"
            };
            format!("{word} {}", numbers.join(", "))
        }
    };
    format!("{who} cut off from {from}")
}

/// The addresses by number; `Some(None)`: all of them.
fn from(
    partition: &model::Partition,
    path: &str,
    scenario: &Scenario,
    problems: &mut Problems,
) -> Option<Option<BTreeSet<u32>>> {
    let Some(given) = &partition.from else {
        return Some(None);
    };
    let urls: Vec<String> = scenario
        .target
        .url
        .iter()
        .flat_map(|url| url.to_vec())
        .collect();
    let addresses = match &scenario.target.embedded {
        Some(embedded) if urls.is_empty() => ports(embedded).into(),
        _ => urls.len() as u64,
    };
    let path = format!("{path}.from");
    let given = match given {
        Addresses::Text(word) if word == "all" => return Some(None),
        Addresses::Text(one) => vec![(path, Address::Text(one.clone()))],
        Addresses::Number(one) => vec![(path, Address::Number(*one))],
        Addresses::Many(none) if none.is_empty() => {
            problems.add(
                Problem::error(path, "the list of addresses is empty")
                    .help("leave `from` out for all of them"),
            );
            return None;
        }
        Addresses::Many(several) => {
            let each = several.iter().enumerate();
            each.map(|(i, one)| (format!("{path}[{i}]"), one.clone()))
                .collect()
        }
    };
    let before = problems.list.len();
    let mut from = BTreeSet::new();
    for (path, address) in given {
        match address {
            Address::Number(number) if u64::from(number) < addresses => {
                from.insert(number);
            }
            Address::Number(number) => {
                let message = format!("the target has no address {number}");
                let help = format!("they are numbered from 0, and there are {addresses}");
                problems.add(Problem::error(path, message).help(help));
            }
            Address::Text(written) => match urls.iter().position(|url| *url == written) {
                Some(index) => {
                    from.insert(index as u32);
                }
                None => {
                    let known = urls.iter().map(String::as_str);
                    let unknown = names::unknown(&path, "address of the target", &written, known);
                    problems.add(unknown);
                }
            },
        }
    }
    (problems.list.len() == before).then_some(Some(from))
}
