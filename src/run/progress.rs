//! What is seen while a run goes on: a line a second, as a bar where there is a terminal.

use crate::metrics::{Counter, Totals};
use crate::plan::Plan;
use crate::report::Redactor;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// Someone who watches a run.
pub trait Progress {
    /// A shard runs, as this process.
    fn placed(&mut self, _shard: u32, _pid: u32) {}
    /// Called every second from the start on.
    fn second(&mut self, plan: &Plan, elapsed: Duration, totals: &Totals);
    /// Something worth a line of its own.
    fn note(&mut self, text: &str);
}

/// Standard error as watcher.
pub struct Display {
    form: Form,
    redact: Redactor,
}

enum Form {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

impl Display {
    /// A bar on a terminal, plain lines otherwise, only notes when `quiet`. Whatever is shown passes
    /// through `redact`.
    pub fn new(quiet: bool, redact: Redactor) -> Display {
        let form = if quiet {
            Form::Quiet
        } else if io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            // Two lines, so that 80 columns show all of it.
            if let Ok(style) = ProgressStyle::with_template("{bar:40} {prefix}\n{wide_msg}") {
                bar.set_style(style);
            }
            Form::Bar(bar)
        } else {
            Form::Lines
        };
        Display { form, redact }
    }

    /// Clears the bar.
    pub fn end(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Display {
    fn second(&mut self, plan: &Plan, elapsed: Duration, totals: &Totals) {
        match &self.form {
            Form::Quiet => {}
            Form::Bar(bar) => {
                bar.set_length(plan.length().as_millis() as u64);
                bar.set_position(elapsed.min(plan.length()).as_millis() as u64);
                let (head, figures) = line(plan, elapsed, totals);
                bar.set_prefix(self.redact.text(&head));
                bar.set_message(self.redact.text(&figures));
            }
            Form::Lines => {
                let (head, figures) = line(plan, elapsed, totals);
                let text = format!("{head}  {figures}");
                let _ = writeln!(io::stderr(), "{}", self.redact.text(&text));
            }
        }
    }

    fn note(&mut self, text: &str) {
        let text = self.redact.text(text);
        match &self.form {
            Form::Bar(bar) => bar.println(format!("squall: {text}")),
            _ => {
                let _ = writeln!(io::stderr(), "squall: {text}");
            }
        }
    }
}

/// A second in a line, in two parts: time and phase; open connections, rates, p99, errors so far.
fn line(plan: &Plan, elapsed: Duration, totals: &Totals) -> (String, String) {
    // The figures are of the last second that is over, and so is the phase.
    let told = totals.timeline().last();
    let at = told.map_or(elapsed, |second| Duration::from_secs(second.index.into()));
    let phase = match plan.phases().get(plan.phase_at(at.as_nanos() as u64)) {
        _ if at >= plan.length() => "closing",
        Some(phase) => phase.name.as_str(),
        None => "",
    };
    let errors = totals.failures(None, None, None) + totals.count(Counter::Errors, None, None);
    let head = format!("{:>4}s  {phase:<10}", elapsed.as_secs());
    let Some(second) = told else {
        return (head, "waiting for the first second".into());
    };
    let sent = second.count(Counter::Sent) + second.count(Counter::Requests);
    let received =
        [Counter::Received, Counter::Replies, Counter::Unstamped].map(|c| second.count(c));
    let p99 = match second.response() {
        Some(response) => format!("{:.1} ms", response.p99 as f64 / 1e3),
        None => "–".into(),
    };
    let figures = format!(
        "open {:>6}  sent {:>6}/s  received {:>7}/s  p99 {p99:>9}  errors {errors}",
        second.open.iter().sum::<u64>(),
        sent,
        received.iter().sum::<u64>(),
    );
    (head, figures)
}
