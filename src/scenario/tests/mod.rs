//! The loader as a whole: every mistake at its place, limits kept, nothing secret shown.

use super::*;

mod limits;
mod outside;
mod places;
mod presets;
mod secrets;
mod shipped;

/// One environment variable, `CANARY`.
fn options() -> Options {
    Options {
        env: Box::new(|name| (name == "CANARY").then(|| "canary-env".into())),
        ..Options::default()
    }
}

fn with_sets(sets: &[&str]) -> Options {
    Options {
        sets: sets.iter().map(|s| s.to_string()).collect(),
        ..options()
    }
}

/// A scenario without a mistake.
const SOUND: &str = "\
name: sound
target: { url: ws://localhost:1/ws }
clients:
  subs: { count: 10, subscribe: [news] }
  pubs:
    count: 2
    publish: { topic: news, rate: 5/s }
phases:
  - { name: ramp, for: 2s, open: { subs: linear } }
  - { name: steady, for: 5s }
gates:
  - lost == 0
";

/// `place message / help` of every problem.
fn told(text: &str, options: &Options) -> Vec<String> {
    let Err(report) = parse("x.yaml", text, None, options) else {
        return Vec::new();
    };
    assert!(report.is_error());
    report
        .problems()
        .iter()
        .map(|located| {
            let place = located.place.as_ref().map(|p| {
                let source = if p.source == "x.yaml" {
                    String::new()
                } else {
                    format!("{} ", p.source)
                };
                format!("{source}{}:{} ", p.line, p.column)
            });
            let help = located.problem.help.as_ref().map(|h| format!(" / {h}"));
            format!(
                "{}{}{}",
                place.unwrap_or_default(),
                located.problem.message,
                help.unwrap_or_default()
            )
        })
        .collect()
}
