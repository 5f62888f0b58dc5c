//! `latency.hlog`: the full distributions in HdrHistogram's own interval-log format, for its tools and for
//! rendering a report again.
//!
//! Values are microseconds. Tags: `latency` for the second-by-second intervals of a timer, `run/latency` for
//! the whole run, `phase/steady/latency` for a phase (percent-encoded where a tag may not hold a character).

use super::{Histograms, Outcome, SecondHistogram};
use crate::metrics::Timer;
use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriter, IntervalLogWriterBuilder, IntervalLogWriterError,
    LogEntry, Tag,
};
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer, V2Serializer};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Writes the histograms; the outcome says when the run and its phases were.
///
/// # Errors
/// Those of the writer, or that a second's encoding is not one of HdrHistogram's.
pub fn hlog(outcome: &Outcome, histograms: &Histograms, out: &mut impl Write) -> io::Result<()> {
    let mut builder = IntervalLogWriterBuilder::new();
    builder.add_comment(
        "[squall interval log, microseconds; tags: TIMER by second, run/TIMER, phase/NAME/TIMER]",
    );
    let start =
        unix_seconds(&outcome.started).and_then(|s| UNIX_EPOCH.checked_add(Duration::from_secs(s)));
    if let Some(start) = start {
        builder.with_start_time(start).with_base_time(start);
    }
    let mut deflate = V2DeflateSerializer::new();
    let mut log = builder.begin_log_with(out, &mut deflate)?;
    for (timer, histogram) in &histograms.total {
        let tag = format!("run/{}", timer.name());
        interval(&mut log, histogram, 0.0, outcome.length, &tag)?;
    }
    for ((phase, timer), histogram) in &histograms.by_phase {
        if let Some(phase) = outcome.phases.get(*phase) {
            let tag = format!("phase/{}/{}", encode(&phase.name), timer.name());
            interval(
                &mut log,
                histogram,
                phase.start,
                phase.end - phase.start,
                &tag,
            )?;
        }
    }
    let mut deserializer = Deserializer::new();
    for second in &histograms.seconds {
        let histogram: Histogram<u64> = deserializer
            .deserialize(&mut &second.v2[..])
            .map_err(io::Error::other)?;
        interval(
            &mut log,
            &histogram,
            second.start_ms as f64 / 1e3,
            second.length_ms as f64 / 1e3,
            second.timer.name(),
        )?;
    }
    Ok(())
}

fn interval<W: Write, S: Serializer>(
    log: &mut IntervalLogWriter<'_, '_, W, S>,
    histogram: &Histogram<u64>,
    start: f64,
    length: f64,
    tag: &str,
) -> io::Result<()> {
    let duration = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default();
    log.write_histogram(histogram, duration(start), duration(length), Tag::new(tag))
        .map_err(|error| match error {
            IntervalLogWriterError::IoError(error) => error,
            IntervalLogWriterError::SerializeError(_) => {
                io::Error::other("a histogram cannot be encoded")
            }
        })
}

/// Reads back what [`hlog`] wrote; phases are found by the names in `outcome`. Tags of others are passed over.
///
/// # Errors
/// In words, with the place, where the text is not such a log.
pub fn read_hlog(outcome: &Outcome, log: &[u8]) -> Result<Histograms, String> {
    let mut histograms = Histograms::default();
    let mut deserializer = Deserializer::new();
    for (number, entry) in IntervalLogIterator::new(log).enumerate() {
        let LogEntry::Interval(entry) = entry.map_err(|e| format!("not an interval log: {e:?}"))?
        else {
            continue;
        };
        let tag = entry
            .tag()
            .map(|tag| tag.as_str().to_owned())
            .unwrap_or_default();
        let place = |what: String| format!("entry {} (tag `{tag}`): {what}", number + 1);
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(entry.encoded_histogram().trim_end());
        let bytes = bytes.map_err(|e| place(e.to_string()))?;
        let histogram: Histogram<u64> = deserializer
            .deserialize(&mut &bytes[..])
            .map_err(|e| place(e.to_string()))?;
        let parts: Vec<&str> = tag.split('/').collect();
        let Some(timer) = parts.last().and_then(|name| Timer::parse(name)) else {
            continue;
        };
        match parts[..] {
            [_] => histograms.seconds.push(SecondHistogram {
                start_ms: millis(entry.start_timestamp()),
                length_ms: millis(entry.duration()),
                timer,
                v2: encode_v2(&histogram).map_err(place)?,
            }),
            ["run", _] => {
                histograms.total.insert(timer, histogram);
            }
            ["phase", name, _] => {
                if let Some(phase) = outcome
                    .phases
                    .iter()
                    .position(|phase| encode(&phase.name) == name)
                {
                    histograms.by_phase.insert((phase, timer), histogram);
                }
            }
            _ => {}
        }
    }
    Ok(histograms)
}

fn millis(duration: Duration) -> u64 {
    (duration.as_secs_f64() * 1e3).round() as u64
}

/// HdrHistogram V2, as snapshots carry it.
pub(super) fn encode_v2(histogram: &Histogram<u64>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let written = V2Serializer::new().serialize(histogram, &mut bytes);
    written
        .map(|_| bytes)
        .map_err(|_| "a histogram cannot be encoded".into())
}

/// A name as it may stand in a tag.
fn encode(name: &str) -> String {
    let mut out = String::new();
    for &b in name.as_bytes() {
        if b.is_ascii_alphanumeric() || b"-._".contains(&b) {
            out.push(b as char);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{b:02X}");
        }
    }
    out
}

/// Seconds since 1970 of an RFC 3339 time in UTC; days by Howard Hinnant's `days_from_civil`.
pub(super) fn unix_seconds(rfc3339: &str) -> Option<u64> {
    let number = |from: usize, to: usize| rfc3339.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days * 86_400 + hour * 3_600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_is_written_is_read_again() {
        let bundle = fixture::bundle();
        let mut log = Vec::new();
        hlog(&bundle.outcome, &bundle.histograms, &mut log).unwrap();
        let read = read_hlog(&bundle.outcome, &log).unwrap();
        assert!(!read.total.is_empty() && !read.by_phase.is_empty() && read.seconds.len() > 10);
        assert!(read.total == bundle.histograms.total);
        assert!(read.by_phase == bundle.histograms.by_phase);
        assert!(read.seconds == bundle.histograms.seconds);
    }

    #[test]
    fn tags_hold_names_that_tags_cannot() {
        assert_eq!(encode("steady"), "steady");
        assert_eq!(encode("a b,c/d\n%"), "a%20b%2Cc%2Fd%0A%25");
    }

    #[test]
    fn a_broken_log_is_an_error_with_its_place() {
        let outcome = fixture::bundle().outcome;
        assert!(
            read_hlog(&outcome, b"what is this")
                .unwrap_err()
                .contains("not an interval log")
        );
        let error = read_hlog(&outcome, b"Tag=run/latency,0.000,1.000,1.000,AAAA\n").unwrap_err();
        assert!(error.contains("run/latency"), "{error}");
    }

    #[test]
    fn seconds_since_1970() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T12:34:56Z", Some(951_827_696)),
            ("2026-11-22T10:15:00.123Z", Some(1_795_342_500)),
            ("yesterday", None),
        ] {
            assert_eq!(unix_seconds(text), seconds, "{text}");
        }
    }
}
