//! What a scenario must have in it for a metric ever to have a value: a gate on one that cannot fails at the end of the
//! whole run, which is better said before it.
//!
//! Whether a scenario has it, the plan knows. What is not listed has a value in every run.

use super::grammar::{Measure, Peak};
use super::metric::Count;
use crate::metrics::{Counter, Timer};

/// Something that a scenario has or has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Somebody publishes.
    Messages,
    /// The gate's group publishes.
    Publish,
    /// The group asks.
    Request,
    /// The group pings or asks, publishes or not: something it sends has a schedule.
    Schedule,
    /// The group has a heartbeat.
    Heartbeat,
    /// The group comes back.
    Reconnect,
    /// The group says how nodes are told.
    Node,
    /// The group resumes.
    Resume,
    /// The group has tokens.
    Auth,
    /// The group offers compression.
    Compression,
    /// Somebody has a will.
    Will,
    /// The group speaks MQTT.
    Mqtt,
    /// The group opens by polling.
    Polling,
    /// The group opens by polling, and is to be upgraded.
    Upgrade,
    /// The group has several transports.
    Ladder,
    /// An address of the target is `wss`.
    Tls,
    /// An address of the target has a name.
    HostName,
    /// A deploy, in the gate's phase or before it.
    Deploy,
    /// A fault that a target may end connections for, in the phase or before it: `slow`, `stall`, or a `drop` by `vanish`.
    Evictable,
    /// A deploy in the gate's own phase.
    DeployHere,
    /// A roll of the embedded gateway in the gate's own phase: only its nodes tell whom they let in.
    Roll,
    /// Any fault, in the phase or before it: something to lose connections by.
    Trouble,
    /// A `slow` fault in the gate's own phase.
    Slow,
    /// A `revoke` fault in the gate's own phase.
    Revoke,
}

/// What the times need; all of it.
const TIMERS: &[(Timer, &[Need])] = &[
    (Timer::Latency, &[Need::Messages]),
    (Timer::Service, &[Need::Messages]),
    (Timer::Recovery, &[Need::Messages, Need::Resume]),
    (Timer::Bunch, &[Need::Messages]),
    (Timer::Gap, &[Need::Messages]),
    (Timer::Ack, &[Need::Publish]),
    (Timer::AckService, &[Need::Publish]),
    (Timer::Expired, &[Need::Auth]),
    (Timer::Will, &[Need::Will]),
    (Timer::Revoked, &[Need::Revoke]),
    (Timer::Lag, &[Need::Schedule]),
    (Timer::Rtt, &[Need::Request]),
    (Timer::RttService, &[Need::Request]),
    (Timer::Ping, &[Need::Heartbeat]),
    (Timer::Detect, &[Need::Heartbeat]),
    (Timer::Reconnect, &[Need::Reconnect]),
    (Timer::Fallback, &[Need::Ladder]),
    (Timer::Dns, &[Need::HostName]),
    (Timer::Tls, &[Need::Tls]),
    (Timer::Switch, &[Need::Upgrade]),
    (Timer::Evicted, &[Need::Evictable]),
    (Timer::Drain, &[Need::Deploy]),
    (Timer::CutOff, &[Need::Deploy, Need::Reconnect]),
];

/// What the counters need, as what they are judged by ([`Count::exercise`]) stays 0 without it.
const COUNTERS: &[(Counter, &[Need])] = &[
    (Counter::Reconnected, &[Need::Reconnect]),
    (Counter::GaveUp, &[Need::Reconnect]),
    (Counter::Stopped, &[Need::Reconnect]),
    (Counter::Moved, &[Need::Reconnect, Need::Node]),
    (Counter::Stayed, &[Need::Reconnect, Need::Node]),
    (Counter::Resumed, &[Need::Reconnect, Need::Resume]),
    (Counter::StateLost, &[Need::Reconnect, Need::Resume]),
    (Counter::Polled, &[Need::Polling]),
    (Counter::UnknownSession, &[Need::Polling]),
    (Counter::Upgraded, &[Need::Upgrade]),
    (Counter::StuckUnoffered, &[Need::Upgrade]),
    (Counter::StuckRefused, &[Need::Upgrade]),
    (Counter::StuckTimeout, &[Need::Upgrade]),
    (Counter::StuckFailed, &[Need::Upgrade]),
    (Counter::StepsDown, &[Need::Ladder]),
    (Counter::DownRefused, &[Need::Ladder]),
    (Counter::DownUnreachable, &[Need::Ladder]),
    (Counter::DownTimeout, &[Need::Ladder]),
    (Counter::DownSilent, &[Need::Ladder]),
    (Counter::Climbs, &[Need::Ladder]),
    (Counter::Climbed, &[Need::Ladder]),
    (Counter::OverWebsocket, &[Need::Ladder]),
    (Counter::OverSse, &[Need::Ladder]),
    (Counter::OverLongPoll, &[Need::Ladder]),
    (Counter::EndedWebsocket, &[Need::Ladder]),
    (Counter::EndedSse, &[Need::Ladder]),
    (Counter::EndedLongPoll, &[Need::Ladder]),
    (Counter::EndedNowhere, &[Need::Ladder]),
    (Counter::Renewed, &[Need::Auth]),
    (Counter::RenewalFailed, &[Need::Auth]),
    (Counter::Outlived, &[Need::Auth]),
    (Counter::Revocations, &[Need::Revoke]),
    (Counter::RevocationFailed, &[Need::Revoke]),
    (Counter::Unrevoked, &[Need::Revoke]),
    (Counter::Old, &[Need::Deploy]),
    (Counter::Severed, &[Need::Deploy]),
    (Counter::Returned, &[Need::Deploy]),
    (Counter::CutAgain, &[Need::Deploy]),
    (Counter::Sent, &[Need::Publish]),
    (Counter::Dropped, &[Need::Publish]),
    (Counter::Cancelled, &[Need::Publish]),
    (Counter::Acked, &[Need::Publish]),
    (Counter::Rejected, &[Need::Publish]),
    (Counter::Unacked, &[Need::Publish]),
    (Counter::Unroutable, &[Need::Publish]),
    (Counter::Received, &[Need::Messages]),
    (Counter::Unique, &[Need::Messages]),
    (Counter::Expected, &[Need::Messages]),
    (Counter::Unaccounted, &[Need::Messages]),
    (Counter::Lost, &[Need::Messages]),
    (Counter::Missed, &[Need::Messages]),
    (Counter::Recovered, &[Need::Messages]),
    (Counter::Duplicated, &[Need::Messages]),
    (Counter::Redelivered, &[Need::Messages]),
    (Counter::Nacked, &[Need::Messages]),
    (Counter::Reordered, &[Need::Messages]),
    (Counter::Indeterminate, &[Need::Messages]),
    (Counter::Requests, &[Need::Request]),
    (Counter::RequestsDropped, &[Need::Request]),
    (Counter::RequestsCancelled, &[Need::Request]),
    (Counter::Replies, &[Need::Request]),
    (Counter::RequestTimeouts, &[Need::Request]),
    (Counter::DeflatedSent, &[Need::Compression]),
    (Counter::InflatedSent, &[Need::Compression]),
    (Counter::DeflatedReceived, &[Need::Compression]),
    (Counter::InflatedReceived, &[Need::Compression]),
];

/// All that a measure needs.
pub(super) fn needs(measure: Measure) -> &'static [Need] {
    match measure {
        Measure::Timer(timer, _) => row(TIMERS, timer),
        Measure::Count(count) | Measure::Rate(count) | Measure::Share(count) => match count {
            Count::Counter(counter) => row(COUNTERS, counter),
            Count::ExpiredClose(_) => &[Need::Auth],
            Count::Reason(_) => &[Need::Mqtt],
            Count::RevokedClose(_) => &[Need::Revoke],
            Count::Failed(_) | Count::Status(_) | Count::Close(_) | Count::ClosedByTarget => &[],
        },
        Measure::Peak(Peak::Attempts | Peak::Opened) => &[],
        Measure::Peak(Peak::Reconnected) => &[Need::Reconnect],
        Measure::Restored(_) | Measure::Amplification | Measure::PeakShare | Measure::PeakAfter => {
            &[Need::Reconnect, Need::Trouble]
        }
        Measure::Spread => &[],
        Measure::NoisyNeighbour | Measure::Slow(_) | Measure::Policy => &[Need::Slow],
        Measure::AcceptedDraining => &[Need::Roll],
        Measure::SpreadAfter => &[Need::DeployHere],
    }
}

fn row<T: PartialEq + Copy>(table: &'static [(T, &'static [Need])], of: T) -> &'static [Need] {
    let row = table.iter().find(|(metric, _)| *metric == of);
    row.map_or(&[], |(_, needs)| needs)
}

impl Need {
    /// What is missing, in words, and what to do about it. `group` and `phase` are the gate's; none: all of them.
    pub fn missing(self, group: Option<&str>, phase: Option<&str>) -> (String, String) {
        let nobody = |has: &str| match group {
            Some(group) => format!("`{group}` has no `{has}`"),
            None => format!("no client group has `{has}`"),
        };
        let give = |key: &str| {
            let group = group.unwrap_or("<group>");
            format!("give `clients.{group}.{key}`, or leave the gate out")
        };
        let key = |key: &str| (nobody(key), give(key));
        let fault = |what: &str, example: &str| {
            let by = phase.map_or(String::new(), |phase| format!(" by the end of `{phase}`"));
            (
                format!("there is {what}{by}"),
                format!("add {example} to a phase, or leave the gate out"),
            )
        };
        let place = phase.map_or(String::new(), |phase| format!(" in `{phase}`"));
        match self {
            Need::Messages => (
                "no client group has `publish`".to_owned(),
                "give one `publish`, or leave the gate out".to_owned(),
            ),
            Need::Publish => key("publish"),
            Need::Request => key("request"),
            Need::Schedule => (
                match group {
                    Some(group) => format!("`{group}` has neither `publish` nor `request`"),
                    None => "no client group has `publish` or `request`".to_owned(),
                },
                give("publish"),
            ),
            Need::Heartbeat => key("heartbeat"),
            Need::Reconnect => key("reconnect"),
            Need::Node => key("node"),
            Need::Auth => key("auth"),
            Need::Compression => key("compression"),
            Need::Will => (
                "nobody has a will".to_owned(),
                "give a group `protocol: { mqtt: { will: … } }`, or leave the gate out".to_owned(),
            ),
            Need::Mqtt => (
                match group {
                    Some(group) => format!("`{group}` does not speak MQTT"),
                    None => "no client group speaks MQTT".to_owned(),
                },
                "reason codes are MQTT's: leave the gate out".to_owned(),
            ),
            Need::Ladder => (
                match group {
                    Some(group) => format!("`{group}` has one `transport`"),
                    None => "no client group has several transports".to_owned(),
                },
                "list several, such as `transport: [websocket, sse]`, or leave the gate out"
                    .to_owned(),
            ),
            Need::Resume => (nobody("reconnect.resume"), give("reconnect.resume")),
            Need::Polling => key("protocol.socket_io.polling"),
            Need::Upgrade => (
                match group {
                    Some(group) => format!("`{group}` is not upgraded from polling"),
                    None => "no client group is upgraded from polling".to_owned(),
                },
                give("protocol.socket_io.polling: true"),
            ),
            Need::Tls => (
                "no address of the target is `wss`".to_owned(),
                "leave the gate out".to_owned(),
            ),
            Need::HostName => (
                "no address of the target has a name to look up".to_owned(),
                "leave the gate out".to_owned(),
            ),
            Need::Deploy => fault("no `deploy`", "a `deploy`"),
            Need::DeployHere => (
                format!("there is no `deploy`{place}"),
                "add one there, or leave the gate out".to_owned(),
            ),
            Need::Roll => (
                format!(
                    "there is no `deploy: {{ roll: … }}`{place}: who was let in by a leaving node, only the embedded gateway tells"
                ),
                "add one there, or leave the gate out".to_owned(),
            ),
            Need::Evictable => fault(
                "no `slow` or `stall` fault and no `drop` by `vanish`",
                "one",
            ),
            Need::Trouble => {
                let (what, help) = fault("no fault", "one such as a `drop`");
                (
                    format!("{what}, so connections are lost only if the target ends them itself"),
                    help,
                )
            }
            Need::Slow | Need::Revoke => {
                let what = if self == Need::Slow { "slow" } else { "revoke" };
                let of = group.map_or(String::new(), |group| format!(" of `{group}`"));
                (
                    format!("there is no `{what}` fault{of}{place}"),
                    "add one there, or leave the gate out".to_owned(),
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{Phase, Status, evaluate, parse};
    use crate::metrics::{Gauges, Recorder, Totals};

    /// A run in which connections opened, and nothing else happened.
    fn judged(text: &str) -> Status {
        let mut recorder = Recorder::new(0, 1, 1);
        recorder.count(Counter::Attempts, 0, 0, 9);
        recorder.count(Counter::Opened, 0, 0, 9);
        let mut totals = Totals::new(1, 1, 1);
        let snapshot = recorder.snapshot(1_000_000_000, Gauges::default(), true);
        totals.absorb(snapshot).expect("in order");
        let phase = Phase {
            name: "steady".to_owned(),
            completed: true,
            start: 0.0,
            seconds: 10.0,
            neighbours: Vec::new(),
            slow: Vec::new(),
            deploys: Vec::new(),
        };
        let gate = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        evaluate(&gate, &totals, &[phase], &["subs".to_owned()]).status
    }

    #[test]
    fn what_needs_something_has_no_value_in_a_run_without_and_all_else_has() {
        // The target may send either of its own accord.
        let unasked = [Counter::Unstamped, Counter::ServiceGaps];
        for counter in Counter::ALL.iter().filter(|c| !unasked.contains(c)) {
            let unjudged = judged(&format!("{} == 0", counter.name())) == Status::NoEvidence;
            let needs = row(COUNTERS, *counter);
            assert_eq!(unjudged, !needs.is_empty(), "{}", counter.name());
        }
        // Every opening is timed; the scenario has nothing to add.
        let opening = [
            Timer::Tcp,
            Timer::Upgrade,
            Timer::Ready,
            Timer::Open,
            Timer::OpenLag,
        ];
        for timer in Timer::ALL {
            assert_eq!(
                row(TIMERS, *timer).is_empty(),
                opening.contains(timer),
                "{}",
                timer.name()
            );
        }
        for text in [
            "restored p99 < 3s",
            "attempts peak after > 1s",
            "amplification < 2",
            "noisy_neighbour < 2",
            "caught_up < 2s",
            "held_up < 2s",
            "taken < 2MiB",
            "skipped == 0",
            "policy == drop",
            "accepted_draining == 0",
            "spread_after < 2",
            "memory_slope < 1MiB/s",
            "reconnected peak < 9/s",
        ] {
            assert_eq!(judged(text), Status::NoEvidence, "{text}");
            let gate = parse(text).expect("a gate");
            assert!(!needs(gate.measure).is_empty(), "{text}");
        }
    }
}
