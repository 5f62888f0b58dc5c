//! Every metric a gate can name: what it means, what a share of it is a share of, and what must have happened for it to
//! say anything at all.

use super::grammar::Slow;
use crate::metrics::{Counter, Failure, Timer, Totals};

/// A metric as the documentation lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// As written in a gate; `N` stands for a number, `KIND` for a failure kind.
    pub name: String,
    /// Unit of the value, as written: `ms`, a number, bytes, a ratio.
    pub unit: &'static str,
    /// What `share` is a share of; `None` where there is no share, and for timers.
    pub share_of: Option<String>,
    /// One line.
    pub doc: &'static str,
}

/// Every metric, timers first, in the order of the documentation.
pub fn metrics() -> Vec<Metric> {
    let timers = Timer::ALL.iter().map(|timer| Metric {
        name: timer.name().to_owned(),
        unit: "time",
        share_of: None,
        doc: timer_doc(*timer),
    });
    let counts = Counter::ALL.iter().map(|c| Count::Counter(*c)).chain([
        Count::Failed(None),
        Count::Failed(Some(Failure::Timeout)),
        Count::Status(503),
        Count::Close(1006),
        Count::ExpiredClose(4401),
        Count::Reason(0x97),
        Count::RevokedClose(4403),
        Count::ClosedByTarget,
    ]);
    timers
        .chain(counts.map(|count| Metric {
            name: match count {
                Count::Failed(Some(_)) => "failed KIND".to_owned(),
                Count::Status(_) => "status N".to_owned(),
                Count::Close(_) => "close N".to_owned(),
                Count::ExpiredClose(_) => "expired_close N".to_owned(),
                Count::Reason(_) => "reason N".to_owned(),
                Count::RevokedClose(_) => "revoked_close N".to_owned(),
                other => other.name(),
            },
            unit: if count.bytes() { "bytes" } else { "number" },
            share_of: (!count.whole().is_empty()).then(|| names(count.whole())),
            doc: count.doc(),
        }))
        .chain(Slow::ALL.iter().map(|slow| Metric {
            name: slow.name().to_owned(),
            unit: match slow {
                Slow::CaughtUp | Slow::HeldUp => "duration",
                Slow::Taken => "bytes",
                Slow::Skipped => "number",
                Slow::MemorySlope => "bytes per second",
            },
            share_of: None,
            doc: slow_doc(*slow),
        }))
        .chain([Metric {
            name: SPREAD.to_owned(),
            unit: "ratio",
            share_of: None,
            doc: "Openings at the busiest node ÷ the mean of all that tell themselves anywhere in the run, gone ones too, or, where none does, of the addresses that anybody came to",
        }, Metric {
            name: NOISY_NEIGHBOUR.to_owned(),
            unit: "ratio",
            share_of: None,
            doc: "p99 latency of a group's other clients within a `slow` fault ÷ before it; of several faults the largest",
        }, Metric {
            name: POLICY.to_owned(),
            unit: "policy",
            share_of: None,
            doc: "What the target does with the victims of a `slow` fault: buffer, drop, disconnect or block-the-publisher; of every fault",
        }, Metric {
            name: SPREAD_AFTER.to_owned(),
            unit: "ratio",
            share_of: None,
            doc: "Connections at the busiest node (or, where none is told, address) ÷ the mean of all, of those open when a deploy's phase ended; of several the largest",
        }, Metric {
            name: ACCEPTED_DRAINING.to_owned(),
            unit: "number",
            share_of: None,
            doc: "Connections let in by a node that was leaving already, by its own count, in a deploy: a `roll` of the embedded gateway, as no other target tells",
        }])
        .collect()
}

/// The metrics that are neither a timer nor a count.
pub(super) const NOISY_NEIGHBOUR: &str = "noisy_neighbour";
pub(super) const SPREAD: &str = "spread";
pub(super) const POLICY: &str = "policy";
pub(super) const ACCEPTED_DRAINING: &str = "accepted_draining";
pub(super) const SPREAD_AFTER: &str = "spread_after";

/// `moved + stayed`
pub(super) fn names(counters: &[Counter]) -> String {
    counters
        .iter()
        .map(|c| c.name())
        .collect::<Vec<_>>()
        .join(" + ")
}

/// Openings of connections that have several transports.
const OVER: &[Counter] = &[
    Counter::OverWebsocket,
    Counter::OverSse,
    Counter::OverLongPoll,
];

/// What there is of such connections at all.
const LADDER: &[Counter] = &[
    Counter::OverWebsocket,
    Counter::OverSse,
    Counter::OverLongPoll,
    Counter::StepsDown,
];

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Count {
    Counter(Counter),
    /// All failures, or those of one kind.
    Failed(Option<Failure>),
    /// Requests answered with this HTTP status, which refuses.
    Status(u16),
    /// Connections ended with this close code.
    Close(u16),
    /// Connections that the target closed with this code after their token had expired.
    ExpiredClose(u16),
    /// Reasons with this code that the target gave.
    Reason(u16),
    /// Connections that the target closed with this code after their token was revoked.
    RevokedClose(u16),
    /// Connections ended by the target.
    ClosedByTarget,
}

/// What must have happened before a count means anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exercise {
    /// Nothing: the count itself is the exercise.
    Always,
    /// One of these, in the gate's phase.
    Here(&'static [Counter]),
    /// One of these, in the gate's phase or before it.
    SoFar(&'static [Counter]),
}

impl Count {
    /// As written.
    pub fn name(self) -> String {
        match self {
            Count::Counter(counter) => counter.name().to_owned(),
            Count::Failed(None) => "failed".to_owned(),
            Count::Failed(Some(kind)) => format!("failed {}", kind.name()),
            Count::Status(status) => format!("status {status}"),
            Count::Close(code) => format!("close {code}"),
            Count::ExpiredClose(code) => format!("expired_close {code}"),
            Count::Reason(code) => format!("reason {code:#04x}"),
            Count::RevokedClose(code) => format!("revoked_close {code}"),
            Count::ClosedByTarget => "closed_by_target".to_owned(),
        }
    }

    /// How many.
    pub fn read(self, totals: &Totals, phase: Option<usize>, group: Option<usize>) -> u64 {
        match self {
            Count::Counter(counter) => totals.count(counter, phase, group),
            Count::Failed(kind) => totals.failures(kind, phase, group),
            Count::Status(status) => totals
                .statuses(phase, group)
                .get(&status)
                .copied()
                .unwrap_or(0),
            Count::ExpiredClose(code) => {
                let closes = totals.expired_closes(phase, group);
                closes.get(&code).copied().unwrap_or(0)
            }
            Count::Reason(code) => {
                let reasons = totals.reasons(phase, group).into_iter();
                let of = reasons.filter(|(reason, _)| reason.code == code);
                of.map(|(_, n)| n).sum()
            }
            Count::RevokedClose(code) => {
                let closes = totals.revoked_closes(phase, group);
                closes.get(&code).copied().unwrap_or(0)
            }
            Count::Close(code) => {
                let closes = totals.closes(phase, group);
                closes
                    .iter()
                    .filter(|(key, _)| key.code == code)
                    .map(|(_, n)| n)
                    .sum()
            }
            Count::ClosedByTarget => {
                let closes = totals.closes(phase, group);
                closes
                    .iter()
                    .filter(|(key, _)| key.by_target)
                    .map(|(_, n)| n)
                    .sum()
            }
        }
    }

    /// Whether it counts bytes.
    pub fn bytes(self) -> bool {
        matches!(self, Count::Counter(counter) if counter.is_bytes())
    }

    /// The counter a share is taken of instead: of what was received, distinct messages make up what was expected.
    pub fn part(self) -> Count {
        match self {
            Count::Counter(Counter::Received) => Count::Counter(Counter::Unique),
            other => other,
        }
    }

    /// What a share is a share of; empty where a share makes no sense.
    pub fn whole(self) -> &'static [Counter] {
        use Counter as C;
        match self {
            Count::Failed(_) | Count::Status(_) => &[C::Attempts],
            Count::Close(_) | Count::ClosedByTarget => &[C::Opened],
            Count::ExpiredClose(_) => &[C::Expiries],
            Count::Reason(_) => &[],
            Count::RevokedClose(_) => &[C::Revocations],
            Count::Counter(counter) => match counter {
                C::Opened => &[C::Attempts],
                C::Reconnected | C::GaveUp | C::Stopped => &[C::Reconnected, C::GaveUp, C::Stopped],
                C::Moved | C::Stayed => &[C::Moved, C::Stayed],
                C::Resumed | C::StateLost => &[C::Resumed, C::StateLost],
                C::Churned => &[C::Opened],
                C::Upgraded
                | C::StuckUnoffered
                | C::StuckRefused
                | C::StuckTimeout
                | C::StuckFailed
                | C::UnknownSession => &[C::Polled],
                C::DownRefused | C::DownUnreachable | C::DownTimeout | C::DownSilent => {
                    &[C::StepsDown]
                }
                C::Climbed => &[C::Climbs],
                C::OverWebsocket | C::OverSse | C::OverLongPoll => OVER,
                C::EndedWebsocket | C::EndedSse | C::EndedLongPoll | C::EndedNowhere => &[
                    C::EndedWebsocket,
                    C::EndedSse,
                    C::EndedLongPoll,
                    C::EndedNowhere,
                ],
                C::Renewed | C::RenewalFailed => &[C::Renewed, C::RenewalFailed],
                C::Outlived => &[C::Expiries],
                C::Revocations | C::RevocationFailed => &[C::Revocations, C::RevocationFailed],
                C::Unrevoked => &[C::Revocations],
                C::Severed => &[C::Old],
                C::Returned | C::CutAgain => &[C::Severed],
                C::Sent | C::Dropped | C::Cancelled => &[C::Offered],
                C::Received | C::Unique | C::Lost | C::Missed | C::Recovered => &[C::Expected],
                C::Duplicated | C::Redelivered | C::Nacked | C::Reordered | C::Indeterminate => {
                    &[C::Received]
                }
                C::Acked | C::Rejected | C::Unacked | C::Unroutable => {
                    &[C::Acked, C::Rejected, C::Unacked]
                }
                C::Requests | C::RequestsDropped | C::RequestsCancelled => &[C::RequestsOffered],
                C::Replies | C::RequestTimeouts => &[C::Requests],
                C::Attempts
                | C::Polled
                | C::StepsDown
                | C::Climbs
                | C::Cut
                | C::Afflicted
                | C::Expiries
                | C::Old
                | C::Offered
                | C::Resent
                | C::Retained
                | C::WillsOwed
                | C::Wills
                | C::Expected
                | C::Unaccounted
                | C::Misrouted
                | C::Unstamped
                | C::RequestsOffered
                | C::Errors
                | C::ServiceGaps
                | C::PingsSent
                | C::PingsAnswered
                | C::Oversized
                | C::BytesSent
                | C::BytesReceived
                | C::InflatedSent
                | C::InflatedReceived
                | C::OutOfRange => &[],
                C::Compressed => &[C::Opened],
                C::DeflatedSent => &[C::InflatedSent],
                C::DeflatedReceived => &[C::InflatedReceived],
            },
        }
    }

    /// What must have happened before the count means anything.
    pub fn exercise(self) -> Exercise {
        use Counter as C;
        match self {
            // Kinds that only an opening can fail with need openings here; others can befall any open connection.
            Count::Failed(Some(kind)) if opening(kind) => Exercise::Here(&[C::Attempts]),
            Count::Status(_) => Exercise::Here(&[C::Attempts]),
            Count::Failed(_) => Exercise::SoFar(&[C::Attempts]),
            Count::Close(_) | Count::ClosedByTarget => Exercise::SoFar(&[C::Opened]),
            Count::ExpiredClose(_) => Exercise::Here(&[C::Expiries]),
            Count::Reason(_) => Exercise::SoFar(&[C::Attempts]),
            Count::RevokedClose(_) => Exercise::Here(&[C::Revocations]),
            Count::Counter(counter) => match counter {
                C::Attempts | C::Offered | C::RequestsOffered | C::BytesSent => Exercise::Always,
                // Without a deploy there is none of it, and without old connections nothing to cut or to move.
                C::Old | C::CutAgain => Exercise::Here(&[C::Old]),
                C::Polled => Exercise::Here(&[C::Polled]),
                C::UnknownSession => Exercise::SoFar(&[C::Polled]),
                // Connections that have where to go, and went or stayed.
                C::StepsDown
                | C::DownRefused
                | C::DownUnreachable
                | C::DownTimeout
                | C::DownSilent
                | C::Climbs
                | C::OverWebsocket
                | C::OverSse
                | C::OverLongPoll => Exercise::Here(LADDER),
                C::Churned
                | C::Cut
                | C::Afflicted
                | C::Resent
                | C::Retained
                | C::WillsOwed
                | C::Wills
                | C::Expiries
                | C::Errors
                | C::PingsSent
                | C::PingsAnswered
                | C::Oversized
                | C::BytesReceived
                | C::Compressed
                | C::Misrouted
                | C::OutOfRange => Exercise::SoFar(&[C::Opened]),
                C::Unstamped | C::ServiceGaps => {
                    Exercise::Here(&[C::Received, C::Unstamped, C::Replies])
                }
                C::Received | C::Unique | C::Expected | C::Unaccounted => {
                    Exercise::Here(&[C::Expected, C::Received, C::Unaccounted])
                }
                C::DeflatedSent | C::InflatedSent => Exercise::Here(&[C::InflatedSent]),
                C::DeflatedReceived | C::InflatedReceived => Exercise::Here(&[C::InflatedReceived]),
                C::Opened
                | C::Upgraded
                | C::StuckUnoffered
                | C::StuckRefused
                | C::StuckTimeout
                | C::StuckFailed
                | C::Climbed
                | C::EndedWebsocket
                | C::EndedSse
                | C::EndedLongPoll
                | C::EndedNowhere
                | C::Renewed
                | C::RenewalFailed
                | C::Outlived
                | C::Revocations
                | C::RevocationFailed
                | C::Unrevoked
                | C::Reconnected
                | C::Resumed
                | C::StateLost
                | C::GaveUp
                | C::Stopped
                | C::Moved
                | C::Stayed
                | C::Severed
                | C::Returned
                | C::Sent
                | C::Dropped
                | C::Cancelled
                | C::Lost
                | C::Missed
                | C::Recovered
                | C::Duplicated
                | C::Redelivered
                | C::Nacked
                | C::Acked
                | C::Rejected
                | C::Unacked
                | C::Unroutable
                | C::Reordered
                | C::Indeterminate
                | C::Requests
                | C::RequestsDropped
                | C::RequestsCancelled
                | C::Replies
                | C::RequestTimeouts => Exercise::Here(self.whole()),
            },
        }
    }

    /// One line.
    pub fn doc(self) -> &'static str {
        match self {
            Count::Counter(counter) => counter_doc(counter),
            Count::Failed(None) => {
                "Failures of every kind: of openings, and connections lost other than by a close"
            }
            Count::Failed(Some(_)) => {
                "Failures of one kind, such as `failed timeout`; the kinds are listed below"
            }
            Count::Status(_) => {
                "Requests answered with this HTTP status: upgrades, streams, polls and posts that were refused, such as `status 503`"
            }
            Count::Close(_) => {
                "Connections that ended with this close code, whoever ended them, such as `close 1006`"
            }
            Count::ExpiredClose(_) => {
                "Connections that the target closed with this code after their token had expired, such as `expired_close 4401`"
            }
            Count::Reason(_) => {
                "Times that the target gave this reason code (MQTT's; decimal or hexadecimal), such as `reason 0x97`"
            }
            Count::RevokedClose(_) => {
                "Connections that the target closed with this code after their token was revoked, such as `revoked_close 4403`"
            }
            Count::ClosedByTarget => {
                "Connections that the target ended, by whatever code, FIN or RST"
            }
        }
    }
}

/// Whether only an opening can fail this way.
pub(super) fn opening(kind: Failure) -> bool {
    match kind {
        Failure::Dns
        | Failure::Refused
        | Failure::Unreachable
        | Failure::Timeout
        | Failure::NoPort
        | Failure::NoDescriptor
        | Failure::Tls
        | Failure::Status
        | Failure::Redirect
        | Failure::Proxy
        | Failure::Handshake
        | Failure::AcceptKey
        | Failure::Subprotocol
        | Failure::HeaderTooLarge
        | Failure::Extension
        | Failure::Step
        | Failure::Denied => true,
        Failure::Reset
        | Failure::Eof
        | Failure::Protocol
        | Failure::TooLarge
        | Failure::Bomb
        | Failure::Deflate
        | Failure::Dead
        | Failure::CloseTimeout
        | Failure::Os => false,
    }
}

fn slow_doc(slow: Slow) -> &'static str {
    match slow {
        Slow::CaughtUp => {
            "A `slow` fault's end to everything being as before, its victims caught up"
        }
        Slow::HeldUp => {
            "The longest time within a `slow` fault for which the target took nothing of what a publisher had written"
        }
        Slow::Taken => {
            "Bytes that each victim of a `slow` fault took before it stalled, on the average"
        }
        Slow::Skipped => "Messages that the victims of a `slow` fault lost while connected",
        Slow::MemorySlope => {
            "Growth of the target's memory within a `slow` fault, bytes per second"
        }
    }
}

fn timer_doc(timer: Timer) -> &'static str {
    match timer {
        Timer::Latency => "A message's intended (scheduled) time to its arrival at a subscriber",
        Timer::Service => "A message's actual send to its arrival at a subscriber",
        Timer::Lag => "Actual send minus scheduled time: the generator's own lateness",
        Timer::Rtt => "A request's intended time to its reply",
        Timer::RttService => "A request's actual send to its reply",
        Timer::Ack => "A publish's intended time to its acknowledgement by the target",
        Timer::AckService => "A publish's actual send to its acknowledgement",
        Timer::Bunch => {
            "Between the sending of the first and the last of the deliveries that came in one read of an event stream: nothing where each comes alone, and large where a proxy holds them back"
        }
        Timer::Gap => "Between the answer to a long poll and the next poll: nobody listens",
        Timer::Ping => "Own ping to its pong",
        Timer::Detect => {
            "Last sign of life to the peer being declared dead by the heartbeat, or as it did not answer a poll"
        }
        Timer::Reconnect => "Loss of a connection to ready again",
        Timer::Dns => "Name lookup",
        Timer::Tcp => "TCP connect",
        Timer::Tls => "TLS handshake",
        Timer::Upgrade => "WebSocket upgrade, request to accepted response",
        Timer::Switch => {
            "Handshake by polling answered to the conversation going on over a WebSocket; those that are stuck on polling are slower than all others"
        }
        Timer::Ready => "Upgraded to ready: on_open steps done and subscriptions acknowledged",
        Timer::Recovery => {
            "Delivery of a recovered message, from its intended time: the time away is in it"
        }
        Timer::Fallback => {
            "First attempt of an opening to ready over a lower transport than it began with"
        }
        Timer::Open => "The whole opening, from its intended time to ready",
        Timer::OpenLag => "Start of an opening minus its scheduled time",
        Timer::Evicted => {
            "Beginning of a `slow` or `stall` fault on a connection, or its `vanish`, to the target ending it"
        }
        Timer::Expired => {
            "Expiry of the token of an open connection to the target closing it; counted in the phase of the expiry"
        }
        Timer::Will => "Loss of a connection to a subscriber's hearing of its will",
        Timer::Revoked => {
            "Confirmation that the token of an open connection is revoked to the target closing it; counted in the phase of the `revoke`"
        }
        Timer::Drain => {
            "A deploy's start to the end of a connection that was open then; the largest is the drain time"
        }
        Timer::CutOff => "A connection cut by a deploy to ready again",
    }
}

fn counter_doc(counter: Counter) -> &'static str {
    match counter {
        Counter::Attempts => "Connections started, reconnects included",
        Counter::Opened => "Connections that became ready, reconnects included",
        Counter::Reconnected => "Connections that became ready again after a loss",
        Counter::Resumed => "Reconnected with the answer that all they missed follows",
        Counter::StateLost => "Reconnected with the answer that what they missed is gone",
        Counter::GaveUp => {
            "Connections that gave up reconnecting, or were lost in time and still away when the run ended"
        }
        Counter::Stopped => {
            "Lost connections that a rule for their close code kept from coming back"
        }
        Counter::Moved => "Reconnected on another node of the target than before, as it tells them",
        Counter::Stayed => "Reconnected on the same node of the target as before",
        Counter::Polled => {
            "Connections that opened by polling (Socket.IO): the target answered their handshake; reconnects included"
        }
        Counter::Upgraded => "Of these, those that went on over a WebSocket",
        Counter::StuckUnoffered => {
            "Of these, those that stayed on polling as the target offers no WebSocket"
        }
        Counter::StuckRefused => {
            "The same, as the upgrade was answered with something else than 101, or its probe with something else than it should"
        }
        Counter::StuckTimeout => {
            "The same, as the upgrade or its probe was not answered within `connect_timeout`"
        }
        Counter::StuckFailed => "The same, as the upgrade's own connection failed or was lost",
        Counter::UnknownSession => {
            "Polls, posts and upgrades answered with 400, Session ID unknown: they came to another node than the handshake did, so stickiness is broken, or the session is over"
        }
        Counter::Cut => "Connections cut on purpose by a fault",
        Counter::Afflicted => {
            "Times that a `slow` or `stall` took hold of a connection, or that it vanished; `evicted` has those that the target ended meanwhile"
        }
        Counter::Old => "Connections open when a deploy began",
        Counter::Severed => {
            "Of these, those that the target ended (or let go silent) during the deploy"
        }
        Counter::Returned => "Of these, those that are ready again, whenever that was",
        Counter::CutAgain => {
            "Connections opened after a deploy began that the target ended during it: cut once more, or let in by who was leaving"
        }
        Counter::Renewed => {
            "Tokens renewed: the target accepted the new one, by a message or by letting the connection in again"
        }
        Counter::RenewalFailed => {
            "Renewals that the target did not accept in time, or whose connection was lost meanwhile or not let in again"
        }
        Counter::Expiries => "Tokens that expired while their connection was open",
        Counter::Outlived => {
            "Of these, connections that the target never closed for it: they were open to their end, or to the run's"
        }
        Counter::StepsDown => {
            "Times that a connection of a group with several transports went on to the next"
        }
        Counter::DownRefused => {
            "Of these, because the answer was not what the transport needs, or the target hung up"
        }
        Counter::DownUnreachable => "Of these, because there was no connection: name, TCP or TLS",
        Counter::DownTimeout => "Of these, because it was not ready in time",
        Counter::DownSilent => "Of these, because its event stream said nothing",
        Counter::Climbs => {
            "Times that a connection tried a higher transport than it was ready over last"
        }
        Counter::Climbed => "Of these, those that were ready over a higher one then",
        Counter::OverWebsocket => {
            "Connections of such groups that became ready over WebSocket, reconnects included"
        }
        Counter::OverSse => {
            "Connections of such groups that became ready over server-sent events, reconnects included"
        }
        Counter::OverLongPoll => {
            "Connections of such groups that became ready over long polling, reconnects included"
        }
        Counter::EndedWebsocket => {
            "Connections of such groups, each once when the run ends, that were ready over WebSocket last"
        }
        Counter::EndedSse => "The same, that were ready over server-sent events last",
        Counter::EndedLongPoll => "The same, that were ready over long polling last",
        Counter::EndedNowhere => {
            "The same, that were never ready, or went down and were not ready since"
        }
        Counter::Revocations => {
            "Tokens of open connections that a `revoke` has had revoked, and that was confirmed"
        }
        Counter::RevocationFailed => {
            "Revocations that were not confirmed: refused, too late, or their connection ended otherwise before"
        }
        Counter::Unrevoked => {
            "Of those revoked, connections that the target never closed for it: they were open to their end, or to the run's"
        }
        Counter::Churned => "Connections replaced because their lifetime was over",
        Counter::Offered => "Publishes due by the schedule; offered = sent + dropped + cancelled",
        Counter::Sent => "Publishes written; of `inject`, those that the broker has confirmed",
        Counter::Dropped => {
            "Publishes due while the connection could not take them; of `inject`, also those that the broker never confirmed"
        }
        Counter::Cancelled => "Publishes due that the end of the run or an interruption cut off",
        Counter::Acked => "Publishes that the target acknowledged",
        Counter::Rejected => "Publishes that the target refused, in answer to them",
        Counter::Unacked => {
            "Publishes that were to be acknowledged and never were: the connection was lost, or the run over"
        }
        Counter::Nacked => {
            "Deliveries that were refused by us (STOMP's NACK); they are received all the same"
        }
        Counter::Retained => {
            "Messages that the target had kept from before the subscription, as it says itself; in no other count"
        }
        Counter::WillsOwed => {
            "Connections with a will that were lost or ended without a goodbye: the target owes it to whoever subscribes"
        }
        Counter::Wills => "Their wills, as subscribers hear them: each hearer counts",
        Counter::Resent => {
            "Messages written to a broker again, as it was lost, or refused them, before it had confirmed them"
        }
        Counter::Unroutable => {
            "Messages that a broker confirmed and returned, as no queue took them"
        }
        Counter::Received => {
            "Stamped messages received by subscribers, duplicates included; the share is of distinct ones"
        }
        Counter::Unique => "Distinct stamped messages received",
        Counter::Expected => {
            "Messages that subscribers should have received; expected = unique + lost + missed"
        }
        Counter::Lost => "Expected, never received, while connected",
        Counter::Missed => "Published while the subscriber was away and never received",
        Counter::Recovered => {
            "Distinct messages sent before the subscriber was ready again and received after, by resuming"
        }
        Counter::Duplicated => "Received again",
        Counter::Redelivered => "Deliveries of which the target says that it sends them again",
        Counter::Reordered => "Received after a later one of the same stream",
        Counter::Indeterminate => "Received too late or too early to tell whether new or again",
        Counter::Unaccounted => {
            "Published while a subscriber was joining and not received; owed to it or not, nobody can tell"
        }
        Counter::Misrouted => "Received without a subscription to its topic",
        Counter::Unstamped => "Received without squall's stamp",
        Counter::RequestsOffered => {
            "Requests due by the schedule; = requests + requests_dropped + requests_cancelled"
        }
        Counter::Requests => "Requests written",
        Counter::RequestsDropped => "Requests due while the connection could not take them",
        Counter::RequestsCancelled => "Requests due that the end of the run cut off",
        Counter::Replies => "Replies in time",
        Counter::RequestTimeouts => {
            "Requests without a reply in time, or whose connection was lost"
        }
        Counter::Errors => "Messages of the service's error type",
        Counter::ServiceGaps => "Gaps in the service's own per-topic sequence numbers, in messages",
        Counter::PingsSent => "Pings sent",
        Counter::PingsAnswered => "Pings of the target answered",
        Counter::Oversized => "Messages over the accepted size",
        Counter::BytesSent => "Bytes of messages sent, frames included",
        Counter::BytesReceived => "Bytes of messages received, frames included",
        Counter::Compressed => {
            "Of those that became ready, connections that agreed on permessage-deflate"
        }
        Counter::DeflatedSent => {
            "Bytes of messages sent that were made smaller, as they were queued; the share is what is left of them"
        }
        Counter::InflatedSent => "Bytes of the same messages before",
        Counter::DeflatedReceived => {
            "Bytes of messages received that the target had made smaller, as they came; the share is what was left of them"
        }
        Counter::InflatedReceived => "Bytes of the same messages after",
        Counter::OutOfRange => "Times that were negative or over 60 s and stand in no distribution",
    }
}

#[cfg(test)]
mod tests;
