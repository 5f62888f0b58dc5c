use super::*;
use std::collections::BTreeSet;

/// A row of the tables in `docs/metrics.md`.
fn row(metric: &Metric) -> String {
    match (&metric.share_of, metric.unit) {
        (_, "time") => format!("| `{}` | {} |", metric.name, metric.doc),
        (Some(of), _) => format!("| `{}` | {} | `{of}` |", metric.name, metric.doc),
        (None, unit) => {
            let unit = if unit == "bytes" {
                "– (bytes)"
            } else {
                "–"
            };
            format!("| `{}` | {} | {unit} |", metric.name, metric.doc)
        }
    }
}

#[test]
fn the_page_is_complete() {
    let page = include_str!("../../../docs/metrics.md");
    let missing: Vec<String> = metrics()
        .iter()
        .map(row)
        .filter(|row| !page.lines().any(|line| line == row))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/metrics.md lacks:\n{}",
        missing.join("\n")
    );
    for kind in Failure::ALL {
        assert!(
            page.contains(&format!("`{}`", kind.name())),
            "docs/metrics.md lacks kind {}",
            kind.name()
        );
    }
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(
        rows,
        metrics().len() + Failure::ALL.len(),
        "docs/metrics.md lists what does not exist"
    );
}

#[test]
fn names_are_distinct_and_all_there() {
    let all = metrics();
    let names: BTreeSet<&str> = all.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names.len(), all.len());
    assert_eq!(all.len(), Timer::ALL.len() + Counter::ALL.len() + 18);
    for name in [
        "latency",
        "lost",
        "failed",
        "failed KIND",
        "status N",
        "close N",
        "closed_by_target",
    ] {
        assert!(names.contains(name), "{name}");
    }
    let docs: BTreeSet<&str> = all.iter().map(|m| m.doc).collect();
    assert_eq!(
        docs.len(),
        all.len(),
        "every line says something of its own"
    );
    let unit = |name: &str| all.iter().find(|m| m.name == name).map(|m| m.unit);
    assert_eq!(
        [
            unit("latency"),
            unit("lost"),
            unit("bytes_sent"),
            unit("bytes_received")
        ],
        [Some("time"), Some("number"), Some("bytes"), Some("bytes")]
    );
    let share = |name: &str| {
        all.iter()
            .find(|m| m.name == name)
            .and_then(|m| m.share_of.clone())
    };
    assert_eq!(
        share("gave_up").as_deref(),
        Some("reconnected + gave_up + stopped")
    );
    assert_eq!(share("errors"), None);
}

#[test]
fn counts_are_named_as_written() {
    let table = [
        (Count::Counter(Counter::Lost), "lost"),
        (Count::Failed(None), "failed"),
        (Count::Failed(Some(Failure::Dns)), "failed dns"),
        (Count::Status(503), "status 503"),
        (Count::Close(1006), "close 1006"),
        (Count::ClosedByTarget, "closed_by_target"),
        (Count::ExpiredClose(4401), "expired_close 4401"),
        (Count::Reason(0x97), "reason 0x97"),
        (Count::RevokedClose(4403), "revoked_close 4403"),
    ];
    for (count, name) in table {
        assert_eq!(count.name(), name);
    }
}
