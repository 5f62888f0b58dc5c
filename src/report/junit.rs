//! `junit.xml`: what a CI server shows. Each gate is a test case; so is whether the run can be believed.
//! A gate that did not hold is a failure, one that could not be judged is an error.

use super::text::clean;
use super::{GateStatus, Outcome, ValidityState, story};
use crate::exit::Exit;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use std::io::{self, Write};
use std::time::Duration;

/// Writes the test cases.
///
/// # Errors
/// Those of the writer.
pub fn junit(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let name = clean(&outcome.name);
    let time = Duration::try_from_secs_f64(outcome.length).unwrap_or_default();
    let mut suite = TestSuite::new(name.clone());
    suite.set_time(time);
    for (name, value) in [
        ("tool", clean(&outcome.tool)),
        ("verdict", clean(&outcome.verdict)),
        ("exit_code", outcome.exit_code.to_string()),
        ("seed", outcome.seed.to_string()),
        ("target", clean(&outcome.target)),
    ] {
        suite.add_property((name, value.as_str()));
    }
    suite.add_test_case(case("run", "completed", completion(outcome)));
    suite.add_test_case(validity(outcome));
    for gate in &outcome.gates {
        let (actual, note) = (clean(&gate.actual), clean(&gate.note));
        let said = if note.is_empty() {
            format!("actual {actual}")
        } else {
            format!("actual {actual}: {note}")
        };
        let status = match gate.status {
            GateStatus::Passed => TestCaseStatus::success(),
            GateStatus::Failed => unsuccessful(NonSuccessKind::Failure, "gate failed", &said),
            GateStatus::NoEvidence => unsuccessful(NonSuccessKind::Error, "no evidence", &said),
        };
        let mut case = case("gate", &clean(&gate.text), status);
        case.set_system_out(said);
        suite.add_test_case(case);
    }
    let story: Vec<String> = story::lines(outcome)
        .iter()
        .map(|line| clean(&format!("{}: {}", line.label, line.parts.join(" · "))))
        .collect();
    suite.set_system_out(story.join("\n"));
    let mut report = Report::new(name);
    report.timestamp = outcome.started.parse().ok();
    report.set_time(time).add_test_suite(suite);
    report.serialize(out).map_err(io::Error::other)
}

fn case(class: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(format!("squall.{class}"));
    case
}

fn unsuccessful(kind: NonSuccessKind, r#type: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(r#type).set_message(message);
    status
}

/// An error where no gate and no validity would show that something was wrong.
fn completion(outcome: &Outcome) -> TestCaseStatus {
    let judged = [
        Exit::Passed,
        Exit::GateFailed,
        Exit::RunInvalid,
        Exit::Inconclusive,
    ];
    if judged.iter().any(|exit| exit.code() == outcome.exit_code) {
        return TestCaseStatus::success();
    }
    let said = format!("{} (exit {})", clean(&outcome.verdict), outcome.exit_code);
    unsuccessful(NonSuccessKind::Error, "not completed", &said)
}

fn validity(outcome: &Outcome) -> TestCase {
    let reasons: Vec<String> = outcome
        .validity
        .reasons
        .iter()
        .map(|reason| clean(reason))
        .collect();
    let reasons = reasons.join("\n");
    let status = match outcome.validity.state {
        ValidityState::Invalid => unsuccessful(NonSuccessKind::Error, "run invalid", &reasons),
        ValidityState::Valid | ValidityState::Degraded => TestCaseStatus::success(),
    };
    let mut case = case("run", "can be believed", status);
    if !reasons.is_empty() {
        case.set_system_out(reasons);
    }
    case
}
