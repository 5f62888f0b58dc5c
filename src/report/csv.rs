//! `timeline.csv`: the run second by second, for spreadsheets and scripts. Columns never depend on the run.

use super::{Outcome, text};
use crate::metrics::Failure;
use std::io::{self, Write};

/// Writes the timeline; times in seconds from the start, latencies in milliseconds, empty where nothing was measured.
///
/// # Errors
/// Those of the writer.
pub fn csv(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let mut rows = ::csv::Writer::from_writer(out);
    let mut header: Vec<String> = [
        "at_s",
        "phase",
        "open",
        "opening",
        "opened",
        "attempts",
        "closed_by_target",
        "offered",
        "sent",
        "dropped",
        "received",
        "p50_ms",
        "p90_ms",
        "p99_ms",
        "max_ms",
        "lag_p99_ms",
        "lag_max_ms",
        "cpu",
        "rss_bytes",
    ]
    .map(String::from)
    .to_vec();
    header.extend(
        Failure::ALL
            .iter()
            .map(|failure| format!("failed_{}", failure.name())),
    );
    rows.write_record(&header)?;
    let maybe = |value: Option<f64>| value.map(|v| format!("{v:.3}")).unwrap_or_default();
    for second in &outcome.timeline {
        let phase = outcome
            .phases
            .get(second.phase)
            .map(|phase| text::cell(&phase.name))
            .unwrap_or_default();
        let mut row = vec![format!("{:.3}", second.at), phase];
        let counts = [
            second.open,
            second.opening,
            second.opened,
            second.attempts,
            second.closed,
            second.offered,
            second.sent,
            second.dropped,
            second.received,
        ];
        row.extend(counts.map(|n| n.to_string()));
        row.extend(
            [
                second.p50,
                second.p90,
                second.p99,
                second.max,
                second.lag_p99,
                second.lag_max,
            ]
            .map(maybe),
        );
        row.extend([format!("{:.4}", second.cpu), second.rss.to_string()]);
        let failures = Failure::ALL
            .iter()
            .map(|kind| second.failures.get(kind.name()).copied().unwrap_or(0));
        row.extend(failures.map(|n| n.to_string()));
        rows.write_record(&row)?;
    }
    rows.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_row_a_second_with_the_same_columns_and_no_formulas() {
        let mut outcome = fixture::bundle().outcome;
        outcome.phases[0].name = "=HYPERLINK(\"x\",\"y\")\n,\"".into();
        let mut out = Vec::new();
        csv(&outcome, &mut out).unwrap();
        let mut reader = ::csv::Reader::from_reader(&out[..]);
        let columns = reader.headers().unwrap().len();
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), outcome.timeline.len());
        assert!(rows.iter().all(|row| row.len() == columns));
        assert_eq!(&rows[0][1], "'=HYPERLINK(\"x\",\"y\") ,\"");
    }
}
