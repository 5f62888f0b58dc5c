//! Several transports: over which connections ended, what led them there, and who climbed back.

use super::super::Outcome;
use super::super::number::{count, millis};
use super::{Line, total};

/// Counters by transport, as they are called here.
const TRANSPORTS: [(&str, &str); 3] = [
    ("websocket", "WebSocket"),
    ("sse", "SSE"),
    ("long_poll", "long polling"),
];

/// `ended over WebSocket 0, SSE 100 · 100 steps down (refused 100) · ready after 3.1 ms (p50), 9.8 ms at most · climbed back 0 of 0`;
/// nothing where no group has several transports.
pub(super) fn line(outcome: &Outcome) -> Option<Line> {
    let n = |name: &str| total(outcome, name);
    let by = |what: &str| {
        let all = TRANSPORTS.map(|(name, words)| (n(&format!("{what}_{name}")), words));
        all.to_vec()
    };
    let (over, mut ended) = (by("over"), by("ended"));
    ended.push((n("ended_nowhere"), "none"));
    let some = |all: &[(u64, &str)]| all.iter().any(|(n, _)| *n > 0);
    if !some(&over) && !some(&ended) && n("steps_down") == 0 {
        return None;
    }
    let listed = |all: &[(u64, &str)]| {
        let all = all.iter().filter(|(n, _)| *n > 0);
        let all: Vec<String> = all
            .map(|(n, name)| format!("{name} ×{}", count(*n)))
            .collect();
        all.join("  ")
    };
    let mut parts = Vec::new();
    if some(&ended) {
        parts.push(format!("ended over {}", listed(&ended)));
    }
    if some(&over) {
        parts.push(format!("openings over {}", listed(&over)));
    }
    parts.push(down(&n));
    if let Some(timer) = outcome.timers.get("fallback").filter(|t| t.count > 0) {
        let (p50, max) = (millis(timer.p50), millis(timer.max));
        parts.push(format!("ready after {p50} (p50), {max} at most"));
    }
    if n("climbs") > 0 {
        let (climbed, climbs) = (count(n("climbed")), count(n("climbs")));
        parts.push(format!("climbed back {climbed} of {climbs} times"));
    }
    Some(super::line("fallback", parts))
}

/// `120 steps down (refused 100, silent 20)`
fn down(n: &dyn Fn(&str) -> u64) -> String {
    let causes = ["refused", "unreachable", "timeout", "silent"];
    let causes = causes.map(|cause| (cause, n(&format!("down_{cause}"))));
    let causes: Vec<String> = causes
        .iter()
        .filter(|(_, n)| *n > 0)
        .map(|(cause, n)| format!("{cause} {}", count(*n)))
        .collect();
    let steps = super::many(n("steps_down"), "step");
    match causes.is_empty() {
        true => format!("{steps} down"),
        false => format!("{steps} down ({})", causes.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn it_says_where_connections_ended_and_why() {
        let mut outcome = fixture::bundle().outcome;
        for name in ["over_sse", "ended_sse", "steps_down"] {
            outcome.counts.remove(name);
        }
        assert_eq!(line(&outcome), None);
        for (name, n) in [
            ("over_websocket", 20),
            ("over_sse", 100),
            ("ended_websocket", 20),
            ("ended_sse", 80),
            ("ended_nowhere", 1),
            ("steps_down", 101),
            ("down_refused", 100),
            ("down_timeout", 1),
            ("climbs", 30),
            ("climbed", 20),
        ] {
            outcome.counts.insert(name.to_owned(), n);
        }
        let line = line(&outcome).expect("a line");
        assert_eq!(
            line.parts.join(" · "),
            "ended over WebSocket ×20  SSE ×80  none ×1 · openings over WebSocket ×20  SSE ×100 · \
             101 steps down (refused 100, timeout 1) · climbed back 20 of 30 times"
        );
    }
}
