use super::*;
use crate::gate::{metrics, parse};
use crate::metrics::{CloseKey, Gauges, Policy, Recorder, Verdict};

/// Three phases of 10, 20 and 10 s; groups subs and pubs.
fn phases() -> Vec<Phase> {
    let phase = |name: &str, start, seconds| Phase {
        name: name.to_owned(),
        completed: true,
        start,
        seconds,
        neighbours: Vec::new(),
        slow: Vec::new(),
        deploys: Vec::new(),
    };
    vec![
        phase("ramp", 0.0, 10.0),
        phase("steady", 10.0, 20.0),
        phase("end", 30.0, 10.0),
    ]
}

fn groups() -> Vec<String> {
    vec!["subs".to_owned(), "pubs".to_owned()]
}

fn totals(record: impl FnOnce(&mut Recorder)) -> Totals {
    let mut recorder = Recorder::new(0, 3, 2);
    record(&mut recorder);
    let mut totals = Totals::new(3, 2, 1);
    totals
        .absorb(recorder.snapshot(1_000_000_000, Gauges::default(), true))
        .unwrap();
    totals
}

fn judge(text: &str, totals: &Totals) -> Judgement {
    evaluate(&parse(text).unwrap(), totals, &phases(), &groups())
}

fn times(recorder: &mut Recorder, timer: Timer, phase: usize, ms: i64, count: usize) {
    (0..count).for_each(|_| recorder.time(timer, phase, 0, ms * 1_000_000));
}

#[track_caller]
fn passes(text: &str, totals: &Totals, actual: &str) {
    let judgement = judge(text, totals);
    assert_eq!(
        (judgement.status, judgement.actual.as_str()),
        (Status::Passed, actual),
        "{text}: {judgement:?}"
    );
}

#[track_caller]
fn fails(text: &str, totals: &Totals, actual: &str) {
    let judgement = judge(text, totals);
    assert_eq!(
        (judgement.status, judgement.actual.as_str()),
        (Status::Failed, actual),
        "{text}: {judgement:?}"
    );
}

#[track_caller]
fn has_no_evidence(text: &str, totals: &Totals, why: &str) {
    let judgement = judge(text, totals);
    assert_eq!(
        (judgement.status, judgement.actual.as_str()),
        (Status::NoEvidence, "–"),
        "{text}: {judgement:?}"
    );
    assert_eq!(judgement.value, None);
    assert!(judgement.note.contains(why), "{text}: {}", judgement.note);
}

#[test]
fn every_timer_passes_fails_and_lacks_evidence() {
    let empty = totals(|_| {});
    for timer in Timer::ALL {
        let name = timer.name();
        let full = totals(|r| times(r, *timer, 1, 5, 100));
        passes(&format!("{name} p90 < 6ms in steady"), &full, "5.0 ms");
        fails(&format!("{name} p90 < 4ms"), &full, "5.0 ms");
        has_no_evidence(
            &format!("{name} p90 < 6ms"),
            &empty,
            &format!("no {name} was recorded"),
        );
        has_no_evidence(&format!("{name} p90 < 6ms in ramp"), &full, "was recorded");
        has_no_evidence(&format!("{name} p90 < 6ms of pubs"), &full, "was recorded");
        has_no_evidence(&format!("{name} max > 1ms"), &empty, "was recorded");
    }
}

#[test]
fn every_count_passes_fails_and_lacks_evidence() {
    let empty = totals(|_| {});
    for counter in Counter::ALL {
        let name = counter.name();
        let full = totals(|r| r.count(*counter, 1, 0, 1500));
        let read = |text: &str| judge(text, &full);
        assert_eq!(
            read(&format!("{name} <= 1500")).status,
            Status::Passed,
            "{name}"
        );
        assert_eq!(
            read(&format!("{name} == 1500")).value,
            Some(1500.0),
            "{name}"
        );
        assert_eq!(
            read(&format!("{name} < 1500 in steady of subs")).status,
            Status::Failed,
            "{name}"
        );
        assert!(
            read(&format!("{name} >= 1501")).actual.starts_with("1,500"),
            "{name}"
        );
        let nothing = judge(&format!("{name} == 0"), &empty);
        let always = ["attempts", "offered", "requests_offered", "bytes_sent"].contains(&name);
        let expected = if always {
            Status::Passed
        } else {
            Status::NoEvidence
        };
        assert_eq!(nothing.status, expected, "{name}");
        if !always {
            assert!(
                nothing.note.starts_with("not exercised: "),
                "{name}: {}",
                nothing.note
            );
        }
        let rate = judge(&format!("{name} rate > 0/s"), &empty);
        assert_eq!(
            rate.status,
            if always {
                Status::Failed
            } else {
                Status::NoEvidence
            },
            "{name}"
        );
    }
}

#[test]
fn a_count_means_something_once_its_cause_happened() {
    use Counter as C;
    // What has to be there before `== 0` can pass, and in which phase of the gate's.
    let table: &[(&str, Counter, bool)] = &[
        ("opened", C::Attempts, false),
        ("failed", C::Attempts, true),
        ("failed timeout", C::Attempts, false),
        ("failed step", C::Attempts, false),
        ("failed reset", C::Attempts, true),
        ("failed dead", C::Attempts, true),
        ("status 503", C::Attempts, false),
        ("close 1006", C::Opened, true),
        ("closed_by_target", C::Opened, true),
        ("expired_close 4401", C::Expiries, false),
        ("reason 0x97", C::Attempts, true),
        ("wills_owed", C::Opened, true),
        ("wills", C::Opened, true),
        ("retained", C::Opened, true),
        ("nacked", C::Received, false),
        ("expiries", C::Opened, true),
        ("outlived", C::Expiries, false),
        ("upgraded", C::Polled, false),
        ("stuck_timeout", C::Polled, false),
        ("unknown_session", C::Polled, true),
        ("revoked_close 4403", C::Revocations, false),
        ("revocations", C::RevocationFailed, false),
        ("revocation_failed", C::Revocations, false),
        ("unrevoked", C::Revocations, false),
        ("renewed", C::RenewalFailed, false),
        ("renewal_failed", C::Renewed, false),
        ("reconnected", C::GaveUp, false),
        ("gave_up", C::Reconnected, false),
        ("stopped", C::GaveUp, false),
        ("moved", C::Stayed, false),
        ("stayed", C::Moved, false),
        ("steps_down", C::OverWebsocket, false),
        ("down_refused", C::OverSse, false),
        ("down_unreachable", C::OverLongPoll, false),
        ("down_timeout", C::StepsDown, false),
        ("down_silent", C::OverSse, false),
        ("climbs", C::OverSse, false),
        ("climbed", C::Climbs, false),
        ("over_websocket", C::OverSse, false),
        ("over_sse", C::StepsDown, false),
        ("over_long_poll", C::OverWebsocket, false),
        ("ended_websocket", C::EndedSse, false),
        ("ended_sse", C::EndedNowhere, false),
        ("ended_long_poll", C::EndedSse, false),
        ("ended_nowhere", C::EndedWebsocket, false),
        ("churned", C::Opened, true),
        ("cut", C::Opened, true),
        ("sent", C::Offered, false),
        ("dropped", C::Offered, false),
        ("cancelled", C::Offered, false),
        ("received", C::Expected, false),
        ("unique", C::Received, false),
        ("expected", C::Unaccounted, false),
        ("unaccounted", C::Expected, false),
        ("lost", C::Expected, false),
        ("missed", C::Expected, false),
        ("duplicated", C::Received, false),
        ("reordered", C::Received, false),
        ("indeterminate", C::Received, false),
        ("misrouted", C::Opened, true),
        ("unstamped", C::Received, false),
        ("service_gaps", C::Received, false),
        ("requests", C::RequestsOffered, false),
        ("requests_dropped", C::RequestsOffered, false),
        ("requests_cancelled", C::RequestsOffered, false),
        ("replies", C::Requests, false),
        ("request_timeouts", C::Requests, false),
        ("errors", C::Opened, true),
        ("pings_sent", C::Opened, true),
        ("pings_answered", C::Opened, true),
        ("oversized", C::Opened, true),
        ("bytes_received", C::Opened, true),
        ("compressed", C::Opened, true),
        ("deflated_sent", C::InflatedSent, false),
        ("deflated_received", C::InflatedReceived, false),
        ("out_of_range", C::Opened, true),
    ];
    for (name, cause, so_far) in table {
        let at = |phase: usize| totals(|r| r.count(*cause, phase, 0, 10));
        let status =
            |totals: &Totals, scope: &str| judge(&format!("{name} == 0{scope}"), totals).status;
        assert_eq!(status(&at(1), ""), Status::Passed, "{name}");
        assert_eq!(
            status(&at(1), " in steady of subs"),
            Status::Passed,
            "{name}"
        );
        assert_eq!(status(&at(1), " of pubs"), Status::NoEvidence, "{name}");
        assert_eq!(status(&at(2), " in steady"), Status::NoEvidence, "{name}");
        let before = if *so_far {
            Status::Passed
        } else {
            Status::NoEvidence
        };
        assert_eq!(status(&at(0), " in steady"), before, "{name}");
    }
}

#[test]
fn failures_statuses_and_closes_are_counted_by_number() {
    let close = |code, by_target| CloseKey {
        code,
        by_target,
        clean: false,
    };
    let full = totals(|r| {
        r.count(Counter::Attempts, 0, 0, 200);
        r.count(Counter::Opened, 0, 0, 100);
        r.fail(Failure::Timeout, 0, 0);
        r.fail(Failure::Status, 0, 0);
        r.fail(Failure::Status, 1, 1);
        r.status(503, 0, 0);
        r.status(429, 1, 1);
        r.close(close(1006, true), 1, 0);
        r.close(close(1006, false), 1, 0);
        r.close(close(1000, false), 2, 0);
    });
    fails("failed == 0", &full, "3 of 200");
    passes("failed <= 3", &full, "3 of 200");
    passes("failed timeout == 1", &full, "1 of 200");
    passes("failed dns == 0", &full, "0 of 200");
    fails("failed status < 2", &full, "2 of 200");
    passes("failed share < 2%", &full, "1.500 % (3 of 200)");
    fails("failed timeout share < 0.5%", &full, "0.500 % (1 of 200)");
    passes("status 503 == 1 in ramp", &full, "1 of 200");
    passes("status 429 == 1", &full, "1 of 200");
    passes("status 404 == 0", &full, "0 of 200");
    fails("close 1006 == 0", &full, "2 of 100");
    // No connection was opened in that phase, but there were some.
    fails("close 1006 == 0 in steady", &full, "2");
    passes("close 1000 == 0 in steady", &full, "0");
    passes("close 1006 == 0 in end", &full, "0");
    has_no_evidence(
        "close 1006 == 0 of pubs",
        &full,
        "not exercised: opened was 0",
    );
    passes("closed_by_target == 1", &full, "1 of 100");
    passes("close 1006 share == 2%", &full, "2.000 % (2 of 100)");
    has_no_evidence(
        "close 1006 share == 2% in steady",
        &full,
        "not exercised: opened was 0",
    );
}

#[test]
fn shares_are_of_the_whole() {
    use Counter as C;
    let table: &[(&str, &[Counter])] = &[
        ("opened", &[C::Attempts]),
        ("failed", &[C::Attempts]),
        ("status 503", &[C::Attempts]),
        ("close 1006", &[C::Opened]),
        ("closed_by_target", &[C::Opened]),
        ("expired_close 4401", &[C::Expiries]),
        ("outlived", &[C::Expiries]),
        ("upgraded", &[C::Polled]),
        ("stuck_unoffered", &[C::Polled]),
        ("stuck_refused", &[C::Polled]),
        ("stuck_timeout", &[C::Polled]),
        ("stuck_failed", &[C::Polled]),
        ("unknown_session", &[C::Polled]),
        ("revoked_close 4403", &[C::Revocations]),
        ("revocation_failed", &[C::Revocations]),
        ("unrevoked", &[C::Revocations]),
        ("renewal_failed", &[C::Renewed]),
        ("down_refused", &[C::StepsDown]),
        ("climbed", &[C::Climbs]),
        ("over_sse", &[C::OverWebsocket]),
        ("ended_sse", &[C::EndedNowhere]),
        ("churned", &[C::Opened]),
        ("sent", &[C::Offered]),
        ("dropped", &[C::Offered]),
        ("cancelled", &[C::Offered]),
        ("lost", &[C::Expected]),
        ("missed", &[C::Expected]),
        ("unique", &[C::Expected]),
        ("received", &[C::Expected]),
        ("duplicated", &[C::Received]),
        ("redelivered", &[C::Received]),
        ("nacked", &[C::Received]),
        ("acked", &[C::Unacked]),
        ("rejected", &[C::Acked]),
        ("unacked", &[C::Rejected]),
        ("unroutable", &[C::Acked]),
        ("reordered", &[C::Received]),
        ("indeterminate", &[C::Received]),
        ("requests", &[C::RequestsOffered]),
        ("requests_dropped", &[C::RequestsOffered]),
        ("requests_cancelled", &[C::RequestsOffered]),
        ("replies", &[C::Requests]),
        ("request_timeouts", &[C::Requests]),
        ("reconnected", &[C::GaveUp]),
        ("gave_up", &[C::Reconnected]),
        ("stopped", &[C::Reconnected]),
        ("moved", &[C::Stayed]),
        ("stayed", &[C::Moved]),
        ("compressed", &[C::Opened]),
        ("deflated_sent", &[C::InflatedSent]),
        ("deflated_received", &[C::InflatedReceived]),
    ];
    for (name, whole) in table {
        let full = totals(|r| whole.iter().for_each(|c| r.count(*c, 0, 0, 40)));
        passes(&format!("{name} share == 0%"), &full, "0.000 % (0 of 40)");
        fails(&format!("{name} share > 0%"), &full, "0.000 % (0 of 40)");
        has_no_evidence(
            &format!("{name} share == 0% in steady"),
            &full,
            "not exercised",
        );
    }
    let full = totals(|r| {
        r.count(C::Expected, 0, 0, 1000);
        r.count(C::Unique, 0, 0, 999);
        r.count(C::Received, 0, 0, 1500);
        r.count(C::Reconnected, 0, 0, 3);
        r.count(C::GaveUp, 0, 0, 1);
    });
    // Duplicates do not make up for losses.
    passes("received share >= 99.9%", &full, "99.900 % (999 of 1,000)");
    fails("received share >= 99.95%", &full, "99.900 % (999 of 1,000)");
    passes("received == 1500", &full, "1,500");
    passes("reconnected share == 75%", &full, "75.000 % (3 of 4)");
    passes("gave_up <= 1", &full, "1 of 4");
}

#[test]
fn rates_are_over_the_phases_length() {
    let full = totals(|r| {
        r.count(Counter::Sent, 0, 0, 400);
        r.count(Counter::Sent, 1, 0, 2000);
        r.count(Counter::BytesSent, 1, 0, 2000);
    });
    passes("sent rate >= 100/s in steady", &full, "100.0/s");
    fails("sent rate > 100/s in steady", &full, "100.0/s");
    passes("sent rate >= 60/s", &full, "60.0/s");
    fails("sent rate > 60/s", &full, "60.0/s");
    passes("bytes_sent rate <= 100B/s in steady", &full, "100.0/s");
    assert_eq!(judge("sent rate > 1/s in ramp", &full).value, Some(40.0));
    let gate = parse("sent rate >= 1/s").unwrap();
    for seconds in [0.0, -1.0, f64::NAN] {
        let phases = [Phase {
            name: "x".to_owned(),
            completed: true,
            start: 0.0,
            seconds,
            neighbours: Vec::new(),
            slow: Vec::new(),
            deploys: Vec::new(),
        }];
        let judgement = evaluate(&gate, &full, &phases, &groups());
        assert_eq!(judgement.status, Status::NoEvidence, "{seconds}");
    }
    let phases = [Phase {
        name: "x".to_owned(),
        completed: true,
        start: 0.0,
        seconds: f64::MIN_POSITIVE / 1e10,
        neighbours: Vec::new(),
        slow: Vec::new(),
        deploys: Vec::new(),
    }];
    let judgement = evaluate(
        &parse("sent rate >= 1/s").unwrap(),
        &full,
        &phases,
        &groups(),
    );
    assert_eq!(
        (judgement.status, judgement.value),
        (Status::NoEvidence, None),
        "infinite"
    );
}

#[test]
fn a_quantile_needs_its_samples() {
    let table = [
        ("p50", 20),
        ("p90", 100),
        ("p99", 1000),
        ("p99.9", 10_000),
        ("p33", 15),
        ("p0.0001", 11),
        ("min", 1),
        ("mean", 1),
        ("max", 1),
    ];
    for (stat, needed) in table {
        let text = format!("latency {stat} < 1s");
        let enough = totals(|r| times(r, Timer::Latency, 0, 5, needed));
        assert_eq!(judge(&text, &enough).status, Status::Passed, "{stat}");
        let few = totals(|r| times(r, Timer::Latency, 0, 5, needed - 1));
        assert_eq!(judge(&text, &few).status, Status::NoEvidence, "{stat}");
    }
    let few = totals(|r| times(r, Timer::Latency, 0, 5, 12));
    has_no_evidence("latency p99 < 1s", &few, "too few samples: 12 of 1,000");
    has_no_evidence("latency p99.9 < 1s", &few, "too few samples: 12 of 10,000");
    // Not for a lower bound either.
    has_no_evidence("latency p99 > 1ms", &few, "too few samples");
}

#[test]
fn statistics_are_of_the_recorded_values() {
    let full = totals(|r| {
        times(r, Timer::Latency, 0, 1, 500);
        times(r, Timer::Latency, 0, 2, 490);
        times(r, Timer::Latency, 1, 40, 10);
    });
    passes("latency min <= 1.1ms", &full, "1.0 ms");
    passes("latency p50 < 1.1ms", &full, "1.0 ms");
    passes("latency p50.1 > 1.9ms", &full, "2.0 ms");
    passes("latency p99 <= 2.1ms", &full, "2.0 ms");
    fails(
        "latency p99.01 < 39ms",
        &totals(|r| {
            times(r, Timer::Latency, 0, 2, 9900);
            times(r, Timer::Latency, 0, 40, 100);
        }),
        "40.0 ms",
    );
    fails("latency max < 40ms", &full, "40.0 ms");
    passes("latency max > 39.9ms", &full, "40.0 ms");
    passes("latency mean < 1.9ms", &full, "1.9 ms");
    fails("latency mean < 1.88ms", &full, "1.9 ms");
    let value = judge("latency mean < 1.9ms", &full).value.unwrap();
    assert!((value - 1.88).abs() < 0.01, "{value}");
    let slow = totals(|r| times(r, Timer::Rtt, 0, 12_345, 100));
    let judgement = judge("rtt p50 < 20s", &slow);
    assert_eq!(judgement.status, Status::Passed);
    assert!(
        judgement.actual.starts_with("12.3") && judgement.actual.ends_with(" s"),
        "{judgement:?}"
    );
    assert!((judgement.value.unwrap() - 12_345.0).abs() < 15.0);
    // Three digits are known: the end of the bucket that makes passing harder is taken.
    let (upper, lower) = (judge("rtt p50 < 20s", &slow), judge("rtt p50 > 1s", &slow));
    assert!(upper.value.unwrap() >= 12_345.0 && lower.value.unwrap() <= 12_345.0);
    assert!(upper.value > lower.value);
    // A mean stands in no bucket.
    let (upper, lower) = (
        judge("rtt mean < 20s", &slow),
        judge("rtt mean > 1s", &slow),
    );
    assert_eq!(upper.value, lower.value);
    // Nothing is missing, and nothing is said to be.
    assert_eq!(upper.note, "");
}

#[test]
fn what_never_came_back_is_censored_not_forgotten() {
    use Counter as C;
    type Never = fn(&mut Recorder, usize);
    let table: &[(Timer, Never)] = &[
        (Timer::Latency, |r, n| r.count(C::Lost, 1, 0, n as u64)),
        (Timer::Service, |r, n| r.count(C::Lost, 1, 0, n as u64)),
        (Timer::Rtt, |r, n| {
            r.count(C::RequestTimeouts, 1, 0, n as u64)
        }),
        (Timer::RttService, |r, n| {
            r.count(C::RequestTimeouts, 1, 0, n as u64)
        }),
        (Timer::Ack, |r, n| r.count(C::Unacked, 1, 0, n as u64)),
        (Timer::AckService, |r, n| {
            r.count(C::Rejected, 1, 0, n as u64)
        }),
        (Timer::Expired, |r, n| r.count(C::Outlived, 1, 0, n as u64)),
        (Timer::Switch, |r, n| {
            r.count(C::StuckUnoffered, 1, 0, n as u64 / 2);
            r.count(C::StuckRefused, 1, 0, n as u64 - n as u64 / 2);
        }),
        (Timer::Switch, |r, n| {
            r.count(C::StuckTimeout, 1, 0, n as u64 / 2);
            r.count(C::StuckFailed, 1, 0, n as u64 - n as u64 / 2);
        }),
        (Timer::Fallback, |r, n| {
            r.count(C::EndedNowhere, 1, 0, n as u64)
        }),
        (Timer::Revoked, |r, n| r.count(C::Unrevoked, 1, 0, n as u64)),
        (Timer::Reconnect, |r, n| r.count(C::GaveUp, 1, 0, n as u64)),
        (Timer::Reconnect, |r, n| r.count(C::Stopped, 1, 0, n as u64)),
        // All that there were: those that the timer has, and these.
        (Timer::Evicted, |r, _| r.count(C::Afflicted, 1, 0, 1000)),
        (Timer::Drain, |r, _| r.count(C::Old, 1, 0, 1000)),
        (Timer::Open, |r, n| {
            (0..n).for_each(|_| r.fail(Failure::Refused, 1, 0))
        }),
        (Timer::Ping, |r, n| {
            (0..n).for_each(|_| r.fail(Failure::Dead, 1, 0))
        }),
        (Timer::Tls, |r, n| {
            (0..n).for_each(|_| r.time(Timer::Tls, 1, 0, 61_000_000_000))
        }),
        (Timer::Lag, |r, n| {
            (0..n).for_each(|_| r.time(Timer::Lag, 1, 0, -1))
        }),
    ];
    for (timer, never) in table {
        let name = timer.name();
        let with = |n| {
            totals(|r| {
                times(r, *timer, 1, 5, 1000 - n);
                never(r, n);
            })
        };
        // 1 % may be missing for p99, not more.
        passes(&format!("{name} p99 < 6ms in steady"), &with(10), "5.0 ms");
        fails(
            &format!("{name} p99 < 6ms in steady"),
            &with(11),
            "not reached",
        );
        let judgement = judge(&format!("{name} p99 < 6ms"), &with(20));
        let said = judgement.note.strip_prefix("20 of 1,000 ");
        let said = said.and_then(|note| note.strip_suffix(", or after 60 s"));
        let said = said.unwrap_or_else(|| panic!("{}", judgement.note));
        let expected = [
            (Timer::Latency, "never came"),
            (Timer::Rtt, "never answered"),
            (Timer::Reconnect, "never came back"),
            (Timer::Open, "never got there"),
            (Timer::Evicted, "not seen to be ended meanwhile"),
            (Timer::Expired, "not closed for it"),
        ];
        if let Some((_, words)) = expected.iter().find(|(of, _)| of == timer) {
            assert_eq!(said, *words);
        }
        assert_eq!(judgement.value, None);
        fails(&format!("{name} max < 6ms"), &with(1), "not reached");
        fails(&format!("{name} mean < 6ms"), &with(1), "not reached");
        passes(&format!("{name} min < 6ms"), &with(1), "5.0 ms");
        fails(&format!("{name} min < 6ms"), &with(1000), "not reached");
        // What never came does not help a lower bound.
        fails(&format!("{name} p50 > 6ms"), &with(700), "5.0 ms");
    }
    // Who was lost in a phase may give up in a later one; who gave up before it is no matter.
    let gave_up_in = |phase| {
        totals(|r| {
            times(r, Timer::Reconnect, 1, 5, 980);
            r.count(C::GaveUp, phase, 0, 20);
        })
    };
    fails(
        "reconnect p99 < 1s in steady",
        &gave_up_in(2),
        "not reached",
    );
    has_no_evidence(
        "reconnect p99 < 1s in steady",
        &gave_up_in(0),
        "too few samples",
    );
    // A connection lost later is no failed opening.
    let reset = totals(|r| {
        times(r, Timer::Open, 0, 5, 1000);
        (0..100).for_each(|_| r.fail(Failure::Reset, 0, 0));
    });
    passes("open p99 < 6ms", &reset, "5.0 ms");
}

#[test]
fn what_was_not_completed_or_is_not_there_is_not_judged() {
    let full = totals(|r| {
        r.count(Counter::Expected, 0, 0, 10);
        r.count(Counter::Expected, 2, 0, 10);
    });
    let mut cut = phases();
    cut[2].completed = false;
    let judge = |text: &str| evaluate(&parse(text).unwrap(), &full, &cut, &groups());
    assert_eq!(judge("lost == 0 in ramp").status, Status::Passed);
    for (text, why) in [
        ("lost == 0 in end", "phase `end` was not completed"),
        ("lost == 0", "phase `end` was not completed"),
        ("lost == 0 in nowhere", "there was no phase `nowhere`"),
        ("lost == 0 of nobody", "there was no client group `nobody`"),
    ] {
        let judgement = judge(text);
        assert_eq!(
            (judgement.status, judgement.note.as_str()),
            (Status::NoEvidence, why),
            "{text}"
        );
    }
    let judgement = evaluate(&parse("attempts == 0").unwrap(), &full, &[], &groups());
    assert_eq!(judgement.status, Status::NoEvidence);
}

#[test]
fn every_listed_metric_can_be_judged() {
    let empty = totals(|_| {});
    for metric in metrics() {
        let name = metric
            .name
            .replace(" N", " 1006")
            .replace("KIND", "timeout")
            .replace("reason 1006", "reason 0x97")
            .replace("status 1006", "status 503");
        let gate = match metric.unit {
            "time" => format!("{name} p50 < 1s"),
            "duration" => format!("{name} < 1s"),
            "bytes per second" => format!("{name} < 1MiB/s"),
            "policy" => format!("{name} == drop"),
            _ => format!("{name} <= 5"),
        };
        judge(&gate, &empty);
        if metric.share_of.is_some() {
            has_no_evidence(&format!("{name} share <= 5%"), &empty, "not exercised");
        }
    }
}

/// A storm in `steady`: 100 lost at 12.0 s; 60 back by 13.0 s, 99 by 20.0 s, and the last only in the phase after.
fn stormy() -> Totals {
    totals(|r| {
        let s = 1_000_000_000;
        r.step(s).attempts = 200;
        r.step(12 * s).lost = 100;
        for (at, attempts, back) in [(12_950, 80, 60), (19_900, 45, 39), (31_000, 1, 1)] {
            let step = r.step(at * 1_000_000);
            (step.attempts, step.back, step.opened) = (attempts, back, back);
        }
        r.count(Counter::Attempts, 1, 0, 125);
        r.count(Counter::Reconnected, 1, 0, 99);
    })
}

#[test]
fn a_peak_is_that_of_the_busiest_step_of_the_phase() {
    let storm = stormy();
    passes("attempts peak <= 800/s in steady", &storm, "800.0/s");
    fails("attempts peak < 800/s in steady", &storm, "800.0/s");
    passes("attempts peak >= 2k/s", &storm, "2000.0/s");
    passes("reconnected peak < 601/s in steady", &storm, "600.0/s");
    passes("opened peak < 11/s in end", &storm, "10.0/s");
    let judgement = judge("opened peak < 1/s in ramp", &storm);
    assert_eq!(judgement.status, Status::NoEvidence, "{judgement:?}");
}

#[test]
fn a_peak_is_a_share_of_a_capacity_that_is_known() {
    let share = |waiting: u32, text: &str| {
        let totals = totals(|r| {
            // In the second before the storm 1,000 openings were completed, and so many more were waiting.
            let step = |n: u64| n * 100_000_000;
            for n in 0..10 {
                let step = r.step(step(n));
                (step.attempts, step.opened) = (if n == 0 { 1_000 + waiting } else { 0 }, 100);
            }
            r.step(step(110)).lost = 100;
            r.step(step(111)).attempts = 80;
        });
        let judgement = judge(text, &totals);
        (judgement.status, judgement.value)
    };
    let (below, above) = (
        "attempts peak share < 81% in steady",
        "attempts peak share < 79% in steady",
    );
    assert_eq!(share(500, below), (Status::Passed, Some(80.0)));
    assert_eq!(share(500, above), (Status::Failed, Some(80.0)));
    // Where the target may take more it is 80 % at most: so it can pass, and fail it cannot.
    assert_eq!(share(0, below), (Status::Passed, Some(80.0)));
    for text in [
        above,
        "attempts peak share > 79% in steady",
        "attempts peak share < 81% in ramp",
    ] {
        assert_eq!(share(0, text), (Status::NoEvidence, None), "{text}");
    }
    let nothing = judge(below, &stormy());
    assert!(
        nothing.note.contains("nothing opened before"),
        "{nothing:?}"
    );
}

#[test]
fn spread_is_over_all_places_of_the_run() {
    let endpoints = totals(|r| {
        for (endpoint, phase, n) in [(0, 0, 10), (1, 0, 10), (0, 1, 9), (1, 1, 3), (1, 2, 4)] {
            (0..n).for_each(|_| r.endpoint(endpoint, phase, 0));
        }
    });
    passes("spread <= 1 in ramp", &endpoints, "1.00");
    fails("spread < 1.5 in steady", &endpoints, "1.50");
    // Nobody came to the first.
    fails("spread < 1.5 in end of subs", &endpoints, "2.00");
    has_no_evidence("spread < 9 of pubs", &endpoints, "opened was 0");
    // What the nodes say goes before the addresses, and one place is no spread.
    let nodes = totals(|r| {
        (0..8).for_each(|n| r.endpoint(n % 2, 0, 0));
        for name in ["a", "a", "a", "b"] {
            let node = r.node(name.as_bytes());
            r.served_by(node, 0, 0);
        }
    });
    fails("spread < 1.5", &nodes, "1.50");
    let one = totals(|r| r.endpoint(0, 0, 0));
    has_no_evidence("spread < 9", &one, "one place only");
}

#[test]
fn restored_is_when_so_many_were_back_and_not_reached_is_a_failure() {
    let storm = stormy();
    passes("restored p50 <= 1s in steady", &storm, "1.000 s");
    fails("restored p60 < 1s in steady", &storm, "1.000 s");
    passes("restored p99 < 8.1s in steady", &storm, "8.000 s");
    fails("restored p100 < 1h in steady", &storm, "not reached");
    let late = judge("restored p100 < 1h in steady", &storm);
    assert!(late.note.contains("1 of 100"), "{late:?}");
    // Over the whole run it was.
    passes("restored p100 < 20s", &storm, "19.100 s");
    for gate in ["restored p50 < 1h in ramp", "restored p50 < 1h in end"] {
        assert_eq!(judge(gate, &storm).status, Status::NoEvidence, "{gate}");
    }
}

#[test]
fn a_peaks_time_is_counted_from_the_first_loss() {
    let s = 1_000_000_000;
    let storm = totals(|r| {
        r.step(12 * s).lost = 100;
        // Before the loss it is no storm's.
        for (at, attempts) in [(11, 90), (12, 3), (14, 40), (15, 40), (16, 2)] {
            r.step(at * s).attempts = attempts;
        }
    });
    // Of two that are as busy the first.
    passes(
        "attempts peak after >= 2s in steady",
        &storm,
        "2.000 s (400.0/s)",
    );
    fails(
        "attempts peak after > 2s in steady",
        &storm,
        "2.000 s (400.0/s)",
    );
    let none = "attempts peak after > 1s in ramp";
    has_no_evidence(none, &storm, "no connection was lost");
    let nobody = totals(|r| r.step(12 * s).lost = 100);
    has_no_evidence("attempts peak after > 1s", &nobody, "attempts was 0");
}

#[test]
fn amplification_is_attempts_for_each_that_came_back() {
    let storm = stormy();
    passes(
        "amplification < 1.27 in steady",
        &storm,
        "1.263 (125 for 99)",
    );
    fails(
        "amplification < 1.26 in steady of subs",
        &storm,
        "1.263 (125 for 99)",
    );
    let judgement = judge("amplification < 9 in end", &storm);
    assert_eq!(judgement.status, Status::NoEvidence, "{judgement:?}");
    // Ten came back at the first attempt, and ninety never: that is no 1.0.
    let few = totals(|r| {
        let s = 1_000_000_000;
        r.step(12 * s).lost = 100;
        let step = r.step(13 * s);
        (step.attempts, step.back) = (10, 10);
        r.count(Counter::Attempts, 1, 0, 10);
        r.count(Counter::Reconnected, 1, 0, 10);
    });
    let judgement = judge("amplification < 9 in steady", &few);
    assert_eq!(judgement.status, Status::NoEvidence, "{judgement:?}");
    assert!(judgement.note.contains("10 of 100"), "{judgement:?}");
}

#[test]
fn the_noisy_neighbour_is_the_worst_faults_and_none_may_be_unknown() {
    let ratio = |value, low, high| Ok(Ratio { value, low, high });
    let short = || {
        Err(NoRatio::Evidence(
            "before it: 7 latencies, and 1000 are needed".to_owned(),
        ))
    };
    let mut phases = phases();
    phases[1].neighbours = vec![(0, ratio(1.2, 0.9, None)), (1, ratio(5.5, 4.0, Some(7.0)))];
    phases[2].neighbours = vec![(0, short())];
    let totals = totals(|_| {});
    let judge = |text: &str| evaluate(&parse(text).unwrap(), &totals, &phases, &groups());
    let one = judge("noisy_neighbour < 1.5 in steady of subs");
    assert_eq!((one.status, one.value), (Status::Passed, Some(1.2)));
    assert_eq!(
        (one.actual.as_str(), one.note.as_str()),
        (
            "1.20",
            "95 % interval 0.90 or more: too few messages to say how much more"
        )
    );
    let worst = judge("noisy_neighbour < 1.5 in steady");
    assert_eq!((worst.status, worst.value), (Status::Failed, Some(5.5)));
    for text in ["noisy_neighbour < 1.5", "noisy_neighbour < 1.5 in end"] {
        let unknown = judge(text);
        assert_eq!(unknown.status, Status::NoEvidence);
        assert!(unknown.note.contains("7 latencies"), "{}", unknown.note);
    }
    let idle = judge("noisy_neighbour < 1.5 in ramp");
    assert_eq!(idle.status, Status::NoEvidence);
    assert!(idle.note.contains("not exercised"), "{}", idle.note);
    phases[0].neighbours = vec![(0, ratio(1.0, 0.9, None)), (1, Err(NoRatio::NotReached))];
    for (text, status) in [
        ("noisy_neighbour < 1.5 in ramp", Status::Failed),
        // That what never came would be slower than this is no evidence that it is.
        ("noisy_neighbour > 1.5 in ramp", Status::NoEvidence),
    ] {
        let gate = parse(text).unwrap();
        let beyond = evaluate(&gate, &totals, &phases, &groups());
        assert_eq!((beyond.status, beyond.value), (status, None), "{text}");
    }
}

#[test]
fn what_a_slow_fault_did_is_the_worst_faults_and_none_may_be_unknown() {
    let told = |policy| Verdict {
        policy,
        why: format!("so it {}", policy.name()),
    };
    let fault = |group, caught_up, held_up, slope| SlowFault {
        group,
        caught_up: Ok(caught_up),
        held_up: Ok(held_up),
        taken: Ok(held_up * 1e3),
        skipped: Ok((held_up * 10.0) as u64),
        policy: told(Policy::Drop),
        memory_slope: Ok(slope),
    };
    let mut phases = phases();
    phases[1].slow = vec![
        fault(0, Some(2.0), 0.5, -9.0),
        fault(1, Some(3.0), 1.5, 2_048.0),
    ];
    phases[2].slow = vec![fault(0, None, 0.0, 0.0)];
    let totals = totals(|_| {});
    let judge = |phases: &[Phase], text: &str| {
        let judgement = evaluate(&parse(text).unwrap(), &totals, phases, &groups());
        (judgement.status, judgement.actual)
    };
    for (text, status, actual) in [
        (
            "caught_up < 2500ms in steady of subs",
            Status::Passed,
            "2.000 s",
        ),
        ("caught_up < 2500ms in steady", Status::Failed, "3.000 s"),
        ("caught_up < 1h", Status::Failed, "not reached"),
        ("caught_up > 1s", Status::NoEvidence, "–"),
        ("held_up < 1s in steady of subs", Status::Passed, "500.0 ms"),
        ("held_up < 1s", Status::Failed, "1.500 s"),
        (
            "memory_slope < 1KiB/s in steady of subs",
            Status::Passed,
            "-9.0/s",
        ),
        ("memory_slope < 1KiB/s", Status::Failed, "2048.0/s"),
        ("held_up < 1s in ramp", Status::NoEvidence, "–"),
        ("taken < 501B in steady of subs", Status::Passed, "500"),
        ("skipped == 5 in steady of subs", Status::Passed, "5"),
        ("skipped <= 14 in steady", Status::Failed, "15"),
        ("skipped == 5 in steady", Status::Failed, "15"),
        ("skipped >= 5 in steady", Status::Passed, "5"),
        ("taken <= 1KB in steady", Status::Failed, "1,500"),
        ("taken >= 1KB in steady", Status::Failed, "500"),
        ("taken >= 500B in steady", Status::Passed, "500"),
        ("policy == drop", Status::Passed, "drop"),
        ("policy == buffer in steady", Status::Failed, "drop"),
        ("policy == drop in ramp", Status::NoEvidence, "–"),
    ] {
        assert_eq!(judge(&phases, text), (status, actual.to_owned()), "{text}");
    }
    let unknown = || Err("nobody tells it".to_owned());
    phases[1].slow[1].policy = told(Policy::Unknown);
    for (text, status, actual) in [
        ("policy == drop", Status::NoEvidence, "–"),
        // Whatever the unknown one is.
        ("policy == buffer", Status::Failed, "drop"),
        ("policy == drop in steady of subs", Status::Passed, "drop"),
        ("policy == drop of pubs", Status::NoEvidence, "–"),
    ] {
        assert_eq!(judge(&phases, text), (status, actual.to_owned()), "{text}");
    }
    phases[2].slow[0].policy = told(Policy::Disconnect);
    for text in ["policy == drop", "policy == drop in end"] {
        let other = (Status::Failed, "disconnect".to_owned());
        assert_eq!(judge(&phases, text), other, "{text}");
    }
    phases[1].slow[1].taken = unknown();
    assert_eq!(judge(&phases, "taken > 1B").0, Status::NoEvidence);
    phases[1].slow[1].held_up = unknown();
    assert_eq!(judge(&phases, "held_up < 1h").0, Status::NoEvidence);
    (phases[1].slow[0].memory_slope, phases[1].slow[0].caught_up) = (unknown(), Err(String::new()));
    for text in ["memory_slope < 1GiB/s", "caught_up < 1h in steady"] {
        assert_eq!(judge(&phases, text).0, Status::NoEvidence, "{text}");
    }
}

#[test]
fn who_was_let_in_while_leaving_is_the_sum_of_deploys_and_none_may_be_unknown() {
    let mut phases = phases();
    let deployed = |accepted_draining, spread_after| Deployed {
        accepted_draining,
        spread_after,
    };
    phases[0].deploys = vec![deployed(Some(0), Some(1.0))];
    phases[1].deploys = vec![deployed(Some(2), Some(1.25)), deployed(Some(3), Some(1.5))];
    let totals = totals(|_| {});
    let judge = |phases: &[Phase], text: &str| {
        let judgement = evaluate(&parse(text).unwrap(), &totals, phases, &groups());
        (judgement.status, judgement.actual, judgement.value)
    };
    for (text, status, actual, value) in [
        (
            "accepted_draining == 0 in ramp",
            Status::Passed,
            "0",
            Some(0.0),
        ),
        (
            "accepted_draining < 5 in steady",
            Status::Failed,
            "5",
            Some(5.0),
        ),
        ("accepted_draining < 6", Status::Passed, "5", Some(5.0)),
        (
            "accepted_draining == 0 in end",
            Status::NoEvidence,
            "–",
            None,
        ),
        (
            "spread_after < 1.01 in ramp",
            Status::Passed,
            "1.00",
            Some(1.0),
        ),
        ("spread_after < 1.5", Status::Failed, "1.50", Some(1.5)),
        ("spread_after < 9 in end", Status::NoEvidence, "–", None),
    ] {
        let judgement = (status, actual.to_owned(), value);
        assert_eq!(judge(&phases, text), judgement, "{text}");
    }
    phases[2].deploys = vec![deployed(None, None)];
    // Of those that told, too many were let in already.
    assert_eq!(judge(&phases, "accepted_draining == 0").0, Status::Failed);
    for text in [
        "accepted_draining == 0 in end",
        "accepted_draining < 9",
        "accepted_draining > 1",
        "spread_after < 9",
    ] {
        assert_eq!(judge(&phases, text).0, Status::NoEvidence, "{text}");
    }
}
