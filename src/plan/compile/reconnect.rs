//! What a lost connection does: the policy with its times, and the rules for close codes.

use super::Problems;
use crate::plan::backoff::REGISTERED;
use crate::plan::types::{Backoff, CodeRule, OnClose, Reconnect};
use crate::scenario::Problem;
use crate::scenario::model::{self, Table};

/// Codes that a connection can end with: RFC 6455, section 7.4.2. Those below 1000 are not used.
const CODES: std::ops::RangeInclusive<u16> = 1000..=4999;

pub(super) fn compile(
    written: &model::Reconnect,
    path: &str,
    problems: &mut Problems,
) -> Reconnect {
    let backoff = match written.backoff {
        model::Backoff::None => Backoff::None,
        model::Backoff::Constant => Backoff::Constant,
        model::Backoff::NoJitter => Backoff::NoJitter,
        model::Backoff::FullJitter => Backoff::FullJitter,
        model::Backoff::EqualJitter => Backoff::EqualJitter,
        model::Backoff::Decorrelated => Backoff::Decorrelated,
        model::Backoff::Rfc6455 => Backoff::Rfc6455,
        model::Backoff::Phoenix => Backoff::Phoenix,
        model::Backoff::SocketIo => Backoff::SocketIo,
        model::Backoff::Centrifuge => Backoff::Centrifuge,
    };
    let (has_base, has_cap) = backoff.uses();
    for (key, given, used) in [
        ("base", written.base.is_some(), has_base),
        ("cap", written.cap.is_some(), has_cap),
    ] {
        if given && !used {
            let why = match backoff {
                Backoff::None => "`none` never waits",
                Backoff::Constant => "`constant` waits `base`, every time",
                _ => "`phoenix` waits by a table of its own",
            };
            problems.add(
                Problem::error(
                    format!("{path}.{key}"),
                    format!("{why}: there is no `{key}`"),
                )
                .help("remove it, or choose another `backoff`")
                .on_key(),
            );
        }
    }
    let (base, cap) = backoff.usual();
    let base = written.base.map_or(base, |d| d.0);
    let cap = written.cap.map_or(cap.max(base), |d| d.0);
    problems.zero(base.is_zero(), format!("{path}.base"), "the first backoff");
    if cap < base {
        problems.add(Problem::error(
            format!("{path}.cap"),
            "the largest backoff is smaller than the first",
        ));
    }
    problems.zero(
        written.attempts == Some(0),
        format!("{path}.attempts"),
        "the number of attempts",
    );
    Reconnect {
        backoff,
        base,
        cap,
        attempts: written.attempts,
        codes: codes(&written.codes, &format!("{path}.codes"), problems),
    }
}

/// The rules in the order in which they are asked: single codes, ranges, and last what is registered.
fn codes(table: &Table<model::OnClose>, path: &str, problems: &mut Problems) -> Vec<CodeRule> {
    let mut rules: Vec<(CodeRule, &str)> = Vec::new();
    for (key, then) in table {
        let path = format!("{path}.{key}");
        let (from, to) = match range(key) {
            Ok(range) => range,
            Err((message, help)) => {
                problems.add(Problem::error(&path, message).help(help).on_key());
                continue;
            }
        };
        let single = from == to;
        let overlapping = rules.iter().find(|(other, _)| {
            single == (other.from == other.to) && from <= other.to && other.from <= to
        });
        if let Some((_, other)) = overlapping {
            let message = format!("`{key}` and `{other}` both say what some codes lead to");
            problems.add(
                Problem::error(&path, message)
                    .help("a single code goes before a range; ranges must not overlap")
                    .on_key(),
            );
        }
        let then = match then {
            model::OnClose::Stop => OnClose::Stop,
            model::OnClose::Now => OnClose::Now,
            model::OnClose::BackOff => OnClose::BackOff,
            model::OnClose::Elsewhere => OnClose::Elsewhere,
            model::OnClose::Within([low, high]) => {
                if low > high {
                    problems.add(Problem::error(
                        format!("{path}.within"),
                        "the first time is longer than the second",
                    ));
                }
                OnClose::Within(low.0, high.0)
            }
        };
        rules.push((CodeRule { from, to, then }, key));
    }
    let mut rules: Vec<CodeRule> = rules.into_iter().map(|(rule, _)| rule).collect();
    rules.sort_by_key(|rule| (rule.from != rule.to, rule.from));
    rules.extend(REGISTERED);
    rules
}

/// `1008` or `4000-4499`. Errors are (what is wrong, what to do).
fn range(text: &str) -> Result<(u16, u16), (String, &'static str)> {
    let number = |text: &str| {
        let digits = text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>()
            .ok()
            .filter(|code| digits && CODES.contains(code))
    };
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (number(from.trim()), number(to.trim())) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        (Some(_), Some(_)) => Err((
            format!("`{text}` begins with the higher code"),
            "write the lower one first",
        )),
        _ => Err((
            format!("`{text}` is neither a close code nor a range of them"),
            "write a code from 1000 to 4999, or two as in 4000-4499; 1006 stands for no Close frame",
        )),
    }
}
