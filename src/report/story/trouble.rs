//! What was broken on purpose, and what came of it: a line for each phase in which something was.

use super::super::number::{NONE, count, percent};
use super::super::{FaultReport, Outcome, StormReport};
use super::{Line, line};

/// Attempts for each connection that came back, beyond which they are worth a word.
const AMPLIFIED: f64 = 1.005;

/// A line for each phase in which something was broken or connections came back.
pub(super) fn lines(outcome: &Outcome) -> Vec<Line> {
    let mut lines = Vec::new();
    for phase in &outcome.phases {
        let mut parts: Vec<String> = phase.faults.iter().map(fault).collect();
        let storms = outcome.storms.iter().filter(|s| s.phase == phase.name);
        let counts = outcome.counts_by_phase.get(&phase.name);
        let n = |name: &str| {
            counts
                .and_then(|counts| counts.get(name))
                .copied()
                .unwrap_or(0)
        };
        if n("resumed") + n("state_lost") > 0 {
            let (resumed, lost) = (count(n("resumed")), count(n("state_lost")));
            parts.push(format!("{resumed} resumed, {lost} had their state lost"));
        }
        if n("stopped") > 0 {
            parts.push(format!(
                "{} not to come back by how they were ended",
                count(n("stopped"))
            ));
        }
        parts.extend(storms_of(&storms.collect::<Vec<_>>()));
        if !parts.is_empty() {
            lines.push(Line {
                of_phase: true,
                ..line(&phase.name, parts)
            });
        }
    }
    lines
}

fn fault(fault: &FaultReport) -> String {
    let touched = match (fault.actual_start, fault.touched) {
        (None, _) => "never started".into(),
        (_, 0) => "touched nobody".into(),
        (_, n) => format!("touched {}{}", count(n), effects(fault)),
    };
    let of = absence(fault).map_or_else(String::new, |of| format!(" ({of})"));
    format!("{}: {touched}{of}", fault.label)
}

/// What came of the messages of those whom a fault cut off, in words; nothing where it was nothing.
pub fn absence(fault: &FaultReport) -> Option<String> {
    let absence = fault.absence?;
    let parts: Vec<String> = [
        ("recovered", absence.recovered),
        ("missed", absence.missed),
        ("lost", absence.lost),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(name, n)| format!("{name} {}", count(n)))
    .collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What stands out of how the target fared under a fault.
fn effects(fault: &FaultReport) -> String {
    let effects = &fault.effects;
    let ended: u64 = effects.ended.iter().map(|end| end.count).sum();
    let mut text = String::new();
    if ended > 0 {
        text += &format!(", the target ended {}", count(ended));
    }
    if effects.unread > 0 {
        text += &format!(", {} B left unread", count(effects.unread));
    }
    if effects.receive_buffer > 0 {
        text += &format!(", receive buffer {} B", count(effects.receive_buffer));
    }
    text
}

/// Of several in one phase the one that knocked hardest.
fn storms_of(storms: &[&StormReport]) -> Vec<String> {
    let Some(worst) = storms.iter().max_by_key(|storm| storm.peak) else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    if storms.len() > 1 {
        parts.push(format!("the hardest of {} storms", storms.len()));
    }
    parts.extend(storm(worst));
    parts
}

/// A storm in words, each a thought of its own.
pub fn storm(storm: &StormReport) -> Vec<String> {
    let never = storm.lost - storm.back.min(storm.lost);
    let mut parts = vec![match never {
        0 => format!("{} lost, all back", count(storm.lost)),
        _ => format!(
            "{} lost, {} {}",
            count(storm.lost),
            count(never),
            match storm.overtaken {
                true => "not back when the next storm began",
                false => "never came back",
            }
        ),
    }];
    if storm.back > 0 {
        let after = [
            storm.restored_50,
            storm.restored_90,
            storm.restored_99,
            storm.restored_100,
        ];
        parts.push(format!("50/90/99/100 % back after {}", times(&after)));
    }
    if storm.peak > 0 {
        parts.push(format!(
            "peak {} attempts/s{}",
            count(storm.peak),
            capacity(storm).map_or_else(String::new, |words| format!(" ({words})"))
        ));
    }
    if let Some(each) = storm.amplification.filter(|each| *each > AMPLIFIED) {
        parts.push(format!("{each:.2} attempts for each that came back"));
    }
    parts
}

/// What part of the target's capacity the peak was; an upper bound where that was never reached.
fn capacity(storm: &StormReport) -> Option<String> {
    let capacity = storm.capacity.filter(|capacity| *capacity > 0)?;
    let share = percent(storm.peak as f64 / capacity as f64);
    Some(match storm.capacity_reached {
        true => format!("{share} of capacity"),
        false => format!("{}/s at most were asked of it before", count(capacity)),
    })
}

/// `0.5/0.9/1.2/– s`: what was not reached has no time. Known to a tenth of a second.
fn times(after: &[Option<f64>]) -> String {
    let words: Vec<String> = after
        .iter()
        .map(|time| time.map_or(NONE.to_owned(), |seconds| format!("{seconds:.1}")))
        .collect();
    format!("{} s", words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_storm() -> StormReport {
        StormReport {
            lost: 6_063,
            back: 6_063,
            attempts: 6_063,
            peak: 2_100,
            capacity: Some(2_958),
            capacity_reached: true,
            amplification: Some(1.0),
            restored_50: Some(1.9),
            restored_90: Some(6.2),
            restored_99: Some(17.8),
            restored_100: Some(21.0),
            ..StormReport::default()
        }
    }

    #[test]
    fn a_storm_in_words() {
        assert_eq!(
            storm(&a_storm()),
            [
                "6,063 lost, all back",
                "50/90/99/100 % back after 1.9/6.2/17.8/21.0 s",
                "peak 2,100 attempts/s (71 % of capacity)",
            ]
        );
    }

    #[test]
    fn what_never_came_back_is_said_and_has_no_time() {
        let half = StormReport {
            back: 3_100,
            restored_90: None,
            restored_99: None,
            restored_100: None,
            amplification: Some(1.956),
            capacity_reached: false,
            ..a_storm()
        };
        assert_eq!(
            storm(&half),
            [
                "6,063 lost, 2,963 never came back",
                "50/90/99/100 % back after 1.9/–/–/– s",
                "peak 2,100 attempts/s (2,958/s at most were asked of it before)",
                "1.96 attempts for each that came back",
            ]
        );
        let nobody = StormReport {
            back: 0,
            capacity: None,
            amplification: None,
            ..a_storm()
        };
        assert_eq!(
            storm(&nobody),
            ["6,063 lost, 6,063 never came back", "peak 2,100 attempts/s"]
        );
    }

    #[test]
    fn of_several_storms_the_hardest_is_told() {
        let (one, other) = (
            a_storm(),
            StormReport {
                peak: 9_000,
                ..a_storm()
            },
        );
        let told = storms_of(&[&one, &other]);
        assert_eq!(told[0], "the hardest of 2 storms");
        assert!(told[3].starts_with("peak 9,000"), "{told:?}");
        assert!(storms_of(&[]).is_empty());
    }
}
