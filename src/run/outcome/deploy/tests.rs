//! Findings from counts alone.

use super::*;
use crate::report::Drained;

/// Ends at an endpoint: (tenth, how many, clean).
fn ends(endpoint: u16, of: &[(u32, u64, bool)]) -> Vec<(DrainKey, u64)> {
    let end = |&(tenth, count, clean): &(u32, u64, bool)| {
        let code = if clean { 1001 } else { 1006 };
        let close = CloseKey {
            code,
            by_target: true,
            clean,
        };
        let key = DrainKey {
            fault: 0,
            endpoint,
            tenth,
            close,
        };
        (key, count)
    };
    of.iter().map(end).collect()
}

fn told(ends: &[(DrainKey, u64)]) -> Vec<(f64, f64, u64, Drained)> {
    stretches(ends)
        .iter()
        .map(|s| (s.from, s.to, s.connections, s.how))
        .collect()
}

fn even(from: u32, length: u32, each: u64) -> Vec<(u32, u64, bool)> {
    (from..from + length)
        .map(|tenth| (tenth, each, true))
        .collect()
}

#[test]
fn how_connections_end_is_told_by_when_they_do() {
    use Drained::{AllAtOnce, Evenly, Never, Unevenly, Unknown};
    // Ten a tenth for two seconds.
    let steady = ends(0, &even(5, 20, 10));
    assert_eq!(told(&steady), [(0.5, 2.5, 200, Evenly)]);
    assert!(stretches(&steady)[0].unevenness < 1e-9);
    // Nine tenths of them within three tenths of a second, and one fewer.
    let burst = |rest| {
        ends(
            0,
            &[(7, 80, true), (8, 9, true), (9, 1, true), (14, rest, true)],
        )
    };
    assert_eq!(told(&burst(10))[0].3, AllAtOnce);
    assert_eq!(told(&burst(11))[0].3, Unevenly);
    // Most without a goodbye; exactly half is not most.
    let cut = |unclean| ends(0, &[(1, 30, true), (6, 30, true), (12, unclean, false)]);
    assert_eq!(told(&cut(61))[0].3, Never);
    assert_ne!(told(&cut(60))[0].3, Never);
    // Nineteen say nothing.
    assert_eq!(told(&ends(0, &[(1, 19, true)]))[0].3, Unknown);
    assert_eq!(told(&ends(0, &[(1, 20, true)]))[0].3, AllAtOnce);
    assert!(told(&[]).is_empty());
}

#[test]
fn stretches_are_parted_by_a_second_of_nothing_and_by_endpoint() {
    let mut all = ends(0, &[(0, 1, true), (10, 1, true), (21, 1, true)]);
    all.extend(ends(1, &[(5, 2, true)]));
    let told: Vec<_> = stretches(&all)
        .iter()
        .map(|s| (s.endpoint, s.from, s.connections))
        .collect();
    assert_eq!(told, [(0, 0.0, 2), (0, 2.1, 1), (1, 0.5, 2)]);
}

#[test]
fn how_tcp_ended_is_told_of_those_whose_did() {
    let all = ends(0, &[(1, 30, true), (2, 12, true), (3, 9, false)]);
    let parting = |of: usize, tcp| PartingKey {
        fault: 0,
        close: all[of].0.close,
        tcp,
    };
    let partings = [
        (parting(0, TcpEnd::Fin), 30),
        (parting(0, TcpEnd::Reset), 7),
        (parting(2, TcpEnd::Reset), 8),
        (parting(2, TcpEnd::Unknown), 1),
    ];
    let told: Vec<_> = closes(&all, partings.iter().map(|(key, n)| (key, *n)))
        .into_iter()
        .map(|close| (close.code, close.clean, close.tcp, close.count))
        .collect();
    use TcpEnding::{Fin, Reset, Unknown};
    let expected = [
        (1001, true, Fin, 30),
        (1001, true, Reset, 7),
        // Of 42 that were told to go, 37 went.
        (1001, true, Unknown, 5),
        (1006, false, Reset, 8),
        (1006, false, Unknown, 1),
    ];
    assert_eq!(told, expected);
}

fn blank() -> DeployReport {
    DeployReport {
        label: "deploy: x".into(),
        phase: "deploy".into(),
        result: DeployResult::Succeeded,
        detail: "succeeded".into(),
        output: String::new(),
        start: 1.0,
        until: 20.0,
        took: Some(2.0),
        old: 0,
        cut: 0,
        moved: 0,
        cut_again: 0,
        first_cut: None,
        drain: None,
        moved_in: None,
        closes: Vec::new(),
        cut_off: None,
        refused: 0,
        refused_by_status: BTreeMap::new(),
        peak_attempts: 0,
        capacity: None,
        capacity_reached: false,
        spread: None,
        spread_after: None,
        lost: 0,
        missed: 0,
        recovered: 0,
        duplicated: 0,
        reordered: 0,
        accepted_draining: None,
        nodes: Vec::new(),
        drains: Vec::new(),
        findings: Vec::new(),
        verdict: String::new(),
    }
}

fn with(ends: &[(DrainKey, u64)]) -> DeployReport {
    let cut = ends.iter().map(|(_, n)| n).sum();
    DeployReport {
        old: cut,
        cut,
        moved: cut,
        drains: stretches(ends),
        ..blank()
    }
}

fn named(report: &DeployReport) -> Vec<(String, bool)> {
    findings(report)
        .into_iter()
        .map(|f| (f.name, f.trouble))
        .collect()
}

#[test]
fn findings_have_names_and_say_whether_they_are_trouble() {
    let of = |pairs: &[(&str, bool)]| -> Vec<(String, bool)> {
        pairs
            .iter()
            .map(|(name, trouble)| ((*name).to_owned(), *trouble))
            .collect()
    };
    let good = with(&ends(0, &even(0, 20, 10)));
    assert_eq!(named(&good), of(&[("drains_evenly", false)]));
    assert_eq!(findings(&good)[0].text, "drains: evenly over 2.0 s");
    let killed = with(&ends(0, &[(100, 312, false)]));
    assert_eq!(named(&killed), of(&[("never_drained", true)]));
    assert_eq!(
        findings(&killed)[0].text,
        "never drained: 312 connections cut with 1006, the first after 10.0 s"
    );
    let mut stragglers = even(0, 20, 10);
    stragglers.push((100, 3, false));
    let some = with(&ends(0, &stragglers));
    assert_eq!(
        named(&some),
        of(&[("not_all_drained", true), ("drains_evenly", false)])
    );
    let burst = with(&ends(0, &[(3, 1_333, true)]));
    assert_eq!(named(&burst), of(&[("closed_all_at_once", true)]));
    let few = with(&ends(0, &[(3, 5, true)]));
    assert_eq!(named(&few), of(&[("drains_unknown", false)]));
    let mut late = with(&ends(0, &even(0, 20, 10)));
    late.accepted_draining = Some(57);
    late.cut_again = 57;
    late.moved -= 2;
    late.old += 9;
    late.missed = 1_204;
    let expected = [
        ("drains_evenly", false),
        ("accepted_while_draining", true),
        ("cut_again", true),
        ("never_back", true),
        ("missed", true),
        ("stayed", false),
    ];
    assert_eq!(named(&late), of(&expected));
    let missed = |report: &DeployReport| {
        let all = findings(report).into_iter();
        all.filter(|finding| finding.name == "missed")
            .map(|finding| finding.text)
            .collect::<Vec<_>>()
    };
    assert_eq!(missed(&late), ["1,204 messages missed while away"]);
    // What came after all is no trouble.
    (late.missed, late.recovered) = (0, 1_204);
    assert!(missed(&late).is_empty());
    // What is not known is not found, and nobody cut is nothing to say anything of.
    late.accepted_draining = Some(0);
    late.cut_again = 0;
    assert!(
        !named(&late)
            .iter()
            .any(|(name, _)| name.starts_with("accepted"))
    );
    assert!(findings(&blank()).is_empty());
}

#[test]
fn the_verdict_can_be_read_aloud() {
    let mut report = with(&ends(0, &even(0, 20, 10)));
    (report.cut, report.moved, report.old) = (12_431, 12_431, 12_431);
    (report.moved_in, report.peak_attempts) = (Some(18.04), 2_100);
    assert_eq!(
        verdict(&report),
        "12,431 connections moved in 18.0 s, 0 messages lost, peak 2,100 handshakes/s"
    );
    (report.capacity, report.capacity_reached) = (Some(2_958), true);
    assert!(verdict(&report).ends_with("peak 2,100 handshakes/s (71 % of capacity)"));
    report.capacity = None;
    (report.missed, report.recovered) = (4_711, 1_200);
    assert_eq!(
        verdict(&report),
        "12,431 connections moved in 18.0 s, 0 messages lost, 4,711 missed while away, 1,200 recovered, peak 2,100 handshakes/s"
    );
    (report.missed, report.recovered) = (0, 0);
    report.cut_again = 57;
    assert!(verdict(&report).contains("moved in 18.0 s, 57 cut again, 0 messages lost"));
    report.cut_again = 0;
    report.moved -= 31;
    report.result = DeployResult::Failed;
    report.detail = "failed (exit 3)".into();
    assert_eq!(
        verdict(&report),
        "failed (exit 3); 12,400 connections moved in 18.0 s, 31 never came back, 0 messages lost, peak 2,100 handshakes/s"
    );
    let nobody = verdict(&DeployReport { old: 5, ..blank() });
    assert!(
        nobody.starts_with("none of 5 connections cut, 0 messages lost"),
        "{nobody}"
    );
    let gone = verdict(&DeployReport { cut: 1, ..blank() });
    assert!(
        gone.starts_with("1 connection cut, none came back"),
        "{gone}"
    );
}

#[test]
fn a_deploy_that_did_not_happen_is_never_passed() {
    for (result, believed, status) in [
        (DeployResult::Succeeded, true, GateStatus::Passed),
        (DeployResult::Succeeded, false, GateStatus::NoEvidence),
        (DeployResult::Failed, true, GateStatus::Failed),
        (DeployResult::TimedOut, true, GateStatus::Failed),
        (DeployResult::NotBegun, true, GateStatus::Failed),
        (DeployResult::Interrupted, true, GateStatus::NoEvidence),
        (DeployResult::NeverStarted, true, GateStatus::NoEvidence),
    ] {
        let report = DeployReport {
            result,
            output: "one\nthe last line".into(),
            detail: "in words".into(),
            ..blank()
        };
        let gate = gate(&report, believed);
        assert_eq!(gate.status, status, "{result:?}");
        let told = gate.note.is_empty() || gate.note.contains("invalid");
        assert!(
            told || gate.note == "in words: the last line",
            "{}",
            gate.note
        );
    }
}
