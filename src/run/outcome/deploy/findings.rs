//! What is to be said of a deploy, from counts alone, by the formulas of `docs/metrics.md`.

use crate::metrics::DrainKey;
use crate::report::{DeployReport, DeployResult, Drained, Finding, Stretch};
use std::collections::BTreeMap;

/// Fewer connections than this say nothing about how they ended.
const ENOUGH: u64 = 20;
/// Tenths of a second without an end that part two stretches.
const GAP: u32 = 10;
/// At once: nine tenths of the ends fall within so many tenths of a second.
const MOMENT: u32 = 3;
/// Evenly: no further than this from an even spread, at any time.
const EVEN: f64 = 0.2;

/// Ends of one endpoint in a tenth of a second: all, and those without a Close frame.
#[derive(Debug, Clone, Copy, Default)]
struct Tenth {
    at: u32,
    all: u64,
    unclean: u64,
}

/// The stretches in which old connections ended, by endpoint and time.
pub(super) fn stretches(ends: &[(DrainKey, u64)]) -> Vec<Stretch> {
    let mut by_place: BTreeMap<(u16, u32), Tenth> = BTreeMap::new();
    for (key, count) in ends {
        let place = by_place.entry((key.endpoint, key.tenth)).or_default();
        place.at = key.tenth;
        place.all += count;
        place.unclean += if key.close.clean { 0 } else { *count };
    }
    let mut all: Vec<(u16, Vec<Tenth>)> = Vec::new();
    for ((endpoint, at), tenth) in by_place {
        match all.last_mut() {
            Some((of, tenths))
                if *of == endpoint && tenths.last().is_some_and(|last| at - last.at <= GAP) =>
            {
                tenths.push(tenth);
            }
            _ => all.push((endpoint, vec![tenth])),
        }
    }
    all.iter()
        .map(|(endpoint, tenths)| stretch(*endpoint, tenths))
        .collect()
}

fn stretch(endpoint: u16, tenths: &[Tenth]) -> Stretch {
    let first = tenths.first().map_or(0, |tenth| tenth.at);
    let last = tenths.last().map_or(0, |tenth| tenth.at);
    let connections: u64 = tenths.iter().map(|tenth| tenth.all).sum();
    let unclean: u64 = tenths.iter().map(|tenth| tenth.unclean).sum();
    let length = f64::from(last - first + 1);
    let mut so_far = 0;
    let mut unevenness: f64 = 0.0;
    for tenth in tenths {
        // Just before this tenth, and at its end.
        let even = |at: u32| f64::from(at - first) / length;
        let share = |n: u64| n as f64 / connections.max(1) as f64;
        let before = (share(so_far) - even(tenth.at)).abs();
        so_far += tenth.all;
        let after = (share(so_far) - even(tenth.at + 1)).abs();
        unevenness = unevenness.max(before).max(after);
    }
    let within = |from: u32| -> u64 {
        let moment = tenths
            .iter()
            .filter(|t| (from..from + MOMENT).contains(&t.at));
        moment.map(|tenth| tenth.all).sum()
    };
    let densest = tenths
        .iter()
        .map(|tenth| within(tenth.at))
        .max()
        .unwrap_or(0);
    let how = if connections < ENOUGH {
        Drained::Unknown
    } else if unclean * 2 > connections {
        Drained::Never
    } else if densest * 10 >= connections * 9 {
        Drained::AllAtOnce
    } else if unevenness <= EVEN {
        Drained::Evenly
    } else {
        Drained::Unevenly
    };
    Stretch {
        endpoint: endpoint.into(),
        from: f64::from(first) / 10.0,
        to: f64::from(last + 1) / 10.0,
        connections,
        unclean,
        how,
        unevenness,
    }
}

/// `1 connection`, `1,333 connections`.
fn connections(n: u64) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} connection{s}", crate::report::thousands(n))
}

pub(super) fn findings(report: &DeployReport) -> Vec<Finding> {
    let mut all = Vec::new();
    let mut find = |name: &str, trouble: bool, text: String| {
        all.push(Finding {
            name: name.into(),
            text,
            trouble,
        });
    };
    let of = |how: Drained| {
        report
            .drains
            .iter()
            .filter(move |stretch| stretch.how == how)
    };
    let sum = |how: Drained| of(how).map(|stretch| stretch.connections).sum::<u64>();
    // `over 2.0 s`, or of several the shortest and the longest.
    let over = |how: Drained| {
        let lengths = of(how).map(|stretch| stretch.to - stretch.from);
        let least = lengths.clone().fold(f64::INFINITY, f64::min);
        let most = lengths.fold(0.0, f64::max);
        match most - least < 0.05 {
            true => format!("{most:.1} s"),
            false => format!("{least:.1} to {most:.1} s"),
        }
    };
    let unclean: u64 = report.drains.iter().map(|stretch| stretch.unclean).sum();
    let never = sum(Drained::Never);
    if never > 0 {
        let first = of(Drained::Never)
            .map(|stretch| stretch.from)
            .fold(f64::INFINITY, f64::min);
        let cut = connections(of(Drained::Never).map(|stretch| stretch.unclean).sum());
        find(
            "never_drained",
            true,
            format!("never drained: {cut} cut with 1006, the first after {first:.1} s"),
        );
    } else if unclean > 0 {
        let text = format!("not all drained: {} cut with 1006", connections(unclean));
        find("not_all_drained", true, text);
    }
    if sum(Drained::AllAtOnce) > 0 {
        let most = of(Drained::AllAtOnce)
            .map(|stretch| stretch.connections)
            .max()
            .unwrap_or(0);
        find(
            "closed_all_at_once",
            true,
            format!(
                "closed all at once: up to {} within 0.3 s",
                connections(most)
            ),
        );
    }
    if sum(Drained::Evenly) > 0 {
        let text = format!("drains: evenly over {}", over(Drained::Evenly));
        find("drains_evenly", false, text);
    }
    if sum(Drained::Unevenly) > 0 {
        let text = format!("drains: unevenly over {}", over(Drained::Unevenly));
        find("drains_unevenly", false, text);
    }
    if report.cut > 0
        && report
            .drains
            .iter()
            .all(|stretch| stretch.how == Drained::Unknown)
    {
        let text =
            format!("how it drains is unknown: fewer than {ENOUGH} connections ended at any place");
        find("drains_unknown", false, text);
    }
    if let Some(n) = report.accepted_draining.filter(|n| *n > 0) {
        let text = format!("accepted {} while draining", connections(n));
        find("accepted_while_draining", true, text);
    }
    if report.cut_again > 0 {
        let text = format!(
            "{} cut again, opened after it began",
            connections(report.cut_again)
        );
        find("cut_again", true, text);
    }
    let away = report.cut.saturating_sub(report.moved);
    if away > 0 {
        find(
            "never_back",
            true,
            format!("{} never came back", connections(away)),
        );
    }
    if report.missed > 0 {
        let text = match report.missed {
            1 => "1 message missed while away".into(),
            n => format!("{} messages missed while away", crate::report::thousands(n)),
        };
        find("missed", true, text);
    }
    let stayed = report.old.saturating_sub(report.cut);
    if stayed > 0 && report.cut > 0 {
        find(
            "stayed",
            false,
            format!("{} stayed open", connections(stayed)),
        );
    }
    all
}

/// `12,431 connections moved in 18.0 s, 0 messages lost, peak 2,100 handshakes/s`.
pub(super) fn verdict(report: &DeployReport) -> String {
    let mut parts = Vec::new();
    match (report.cut, report.moved_in) {
        (0, _) => parts.push(format!("none of {} cut", connections(report.old))),
        (_, Some(within)) => {
            let moved = connections(report.moved);
            parts.push(format!("{moved} moved in {within:.1} s"));
        }
        (cut, None) => parts.push(format!("{} cut, none came back", connections(cut))),
    }
    let away = report.cut.saturating_sub(report.moved);
    if away > 0 && report.moved > 0 {
        parts.push(format!(
            "{} never came back",
            crate::report::thousands(away)
        ));
    }
    if report.cut_again > 0 {
        let again = crate::report::thousands(report.cut_again);
        parts.push(format!("{again} cut again"));
    }
    let lost = crate::report::thousands(report.lost);
    parts.push(format!("{lost} messages lost"));
    for (n, what) in [
        (report.missed, "missed while away"),
        (report.recovered, "recovered"),
    ] {
        if n > 0 {
            parts.push(format!("{} {what}", crate::report::thousands(n)));
        }
    }
    let capacity = report.of_capacity();
    parts.push(format!(
        "peak {} handshakes/s{}",
        crate::report::thousands(report.peak_attempts),
        capacity.map_or_else(String::new, |share| format!(" ({share})"))
    ));
    let told = parts.join(", ");
    match report.result {
        DeployResult::Succeeded => told,
        _ => format!("{}; {told}", report.detail),
    }
}
