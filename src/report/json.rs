//! `summary.json`: the outcome itself, for machines; `docs/summary.schema.json` describes it.

use super::{OUTCOME_VERSION, Outcome};
use serde_json::Value;
use std::io::{self, Write};

/// Writes the outcome as indented JSON.
///
/// # Errors
/// Those of the writer.
pub fn json(outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    let value = rounded(outcome).map_err(io::Error::from)?;
    serde_json::to_writer_pretty(&mut *out, &value).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// The outcome as it will be read back, so that what is rendered now and what is rendered again is the same.
pub(super) fn as_read(outcome: &Outcome) -> io::Result<Outcome> {
    rounded(outcome)
        .and_then(serde_json::from_value)
        .map_err(io::Error::from)
}

fn rounded(outcome: &Outcome) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(outcome)?;
    round(&mut value);
    Ok(value)
}

/// To six decimals, a nanosecond in milliseconds: digits beyond are noise, and read back not quite the same.
fn round(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(round),
        Value::Object(map) => map.values_mut().for_each(round),
        Value::Number(number) if number.is_f64() => {
            let rounded = number
                .as_f64()
                .map(|n| (n * 1e6).round() / 1e6)
                .and_then(serde_json::Number::from_f64);
            *number = rounded.unwrap_or_else(|| number.clone());
        }
        _ => {}
    }
}

/// Reads what [`json`] wrote.
///
/// # Errors
/// In words, with line and column: not JSON, not an outcome, or one of another version.
pub fn read_json(text: &[u8]) -> Result<Outcome, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // Before the rest, which another version may have otherwise.
    let Version { version } =
        serde_json::from_slice(text).map_err(|e| format!("not a summary of a run: {e}"))?;
    if version != OUTCOME_VERSION {
        return Err(format!(
            "version {version} of the summary; this squall reads version {OUTCOME_VERSION}"
        ));
    }
    serde_json::from_slice(text).map_err(|e| e.to_string())
}

/// The JSON Schema of `summary.json`.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(Outcome);
    schema.insert("title".into(), "summary.json of a squall run".into());
    schema.to_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_is_written_is_read_again() {
        let outcome = fixture::bundle().outcome;
        let mut text = Vec::new();
        json(&outcome, &mut text).unwrap();
        let read = read_json(&text).unwrap();
        let mut again = Vec::new();
        json(&read, &mut again).unwrap();
        assert!(text == again);
        assert_eq!(read.gates, outcome.gates);
        assert_eq!(read.counts_by_phase, outcome.counts_by_phase);
        assert_eq!(read.timers["open"].count, outcome.timers["open"].count);
        assert!((read.timers["open"].p99 - outcome.timers["open"].p99).abs() < 1e-6);
    }

    #[test]
    fn another_version_and_other_files_are_refused() {
        assert_eq!(
            read_json(br#"{"version": 99}"#).unwrap_err(),
            "version 99 of the summary; this squall reads version 1"
        );
        assert!(read_json(b"{}").unwrap_err().contains("not a summary"));
        assert!(
            read_json(br#"{"version": 1}"#)
                .unwrap_err()
                .contains("missing field")
        );
    }

    /// `SQUALL_BLESS=1 cargo test summary_schema` writes it anew.
    #[test]
    fn the_summary_schema_in_docs_is_the_one_of_the_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/summary.schema.json");
        let now = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
        if std::env::var_os("SQUALL_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, &now).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), now);
    }
}
