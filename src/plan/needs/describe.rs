//! The plan in words, for `squall check`.

mod clients;

use super::{Needs, Shortage};
use crate::plan::compile::Compiled;
use crate::plan::{Action, Plan};
use std::fmt::{self, Write as _};

/// What will run and what it takes, in short aligned lines, with the command for whatever is too low.
pub fn describe(compiled: &Compiled) -> String {
    let Compiled {
        plan, needs, gates, ..
    } = compiled;
    let mut out = String::new();
    let length = plan.length().as_secs_f64();
    let _ = writeln!(
        out,
        "{} · seed {} · {} in {}, then a drain of up to {}",
        plan.name(),
        plan.seed(),
        time(length),
        many(plan.phases().len() as u64, "phase"),
        time(plan.generator().drain.as_secs_f64())
    );
    let _ = writeln!(out);
    row(&mut out, "target", &line(&clients::target(plan)));
    let groups: Vec<String> = needs
        .groups
        .iter()
        .map(|(name, count)| format!("{name} {}", whole(*count)))
        .collect();
    row(
        &mut out,
        "connections",
        &format!("{}: {}", whole(needs.connections), listed(&groups)),
    );
    clients(&mut out, plan);
    phases(&mut out, needs);
    faults(&mut out, plan);
    row(&mut out, "messages", &messages(needs));
    row(&mut out, "gates", &gates.len().to_string());
    let _ = writeln!(out);
    row(
        &mut out,
        "shards",
        &format!(
            "{}, with up to {} and {} of {}",
            needs.shards,
            many(needs.connections_per_shard, "connection"),
            many(needs.descriptors_per_shard, "descriptor"),
            known(needs.machine.descriptors)
        ),
    );
    let sources = match plan.generator().sources.as_slice() {
        [] => "chosen by the kernel".to_owned(),
        [one] => one.to_string(),
        [first, .., last] => format!("{}, {first} to {last}", needs.sources),
    };
    let (low, high) = needs.machine.port_range;
    let ports = format!(
        "{} of the ports {low}–{high} each",
        whole(needs.ports_per_source)
    );
    row(
        &mut out,
        "sources",
        &format!("{sources}, with up to {ports}"),
    );
    row(
        &mut out,
        "memory",
        &format!(
            "about {}; there {}",
            bytes(needs.memory),
            match needs.machine.memory_available {
                0 => "is an unknown amount".to_owned(),
                there => format!("are {}", bytes(there)),
            }
        ),
    );
    row(
        &mut out,
        "machine",
        &format!(
            "{}, fs.file-max {}",
            many(u64::from(needs.cores), "core"),
            known(needs.machine.file_max)
        ),
    );
    for shortage in &needs.shortages {
        let _ = writeln!(out);
        let kind = if shortage.fatal {
            "too few"
        } else {
            "rather few"
        };
        row(&mut out, kind, &amounts(shortage));
        row(&mut out, "", &shortage.command);
    }
    out
}

impl fmt::Display for Shortage {
    /// What, how much of how much, and the command: `descriptors per shard: 256 of 1,200; ulimit -n 1200`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", amounts(self), self.command)
    }
}

fn amounts(shortage: &Shortage) -> String {
    let amount = |n: u64| {
        if shortage.what.starts_with("bytes") {
            bytes(n)
        } else {
            whole(n)
        }
    };
    let (has, needs) = (amount(shortage.has), amount(shortage.needs));
    format!("{}: {has} of {needs}", shortage.what)
}

fn row(out: &mut String, label: &str, text: &str) {
    let _ = writeln!(out, "{label:<12}{text}");
}

/// One line, whatever is in it.
fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

/// Who talks how, and comes back how: each group's name, and beside it a few lines about it.
fn clients(out: &mut String, plan: &Plan) {
    let groups = clients::groups(plan);
    let width = |(name, _): &(&str, _)| name.chars().count();
    let name = groups.iter().map(width).max().unwrap_or(0);
    let mut label = "clients";
    for (group, lines) in groups {
        let mut group = line(group);
        for text in lines {
            let text = format!("{group:<name$}  {}", line(&text));
            row(out, label, &text);
            label = "";
            group.clear();
        }
    }
}

/// One line a phase, columns aligned.
fn phases(out: &mut String, needs: &Needs) {
    let name = needs
        .phases
        .iter()
        .map(|p| p.name.chars().count())
        .max()
        .unwrap_or(0);
    for (i, phase) in needs.phases.iter().enumerate() {
        let mut parts = Vec::new();
        if phase.opens > 0 {
            parts.push(format!("opens {}", whole(phase.opens)));
        }
        if phase.publishes > 0.0 {
            parts.push(format!("publishes {}/s", rate(phase.publishes)));
        }
        if phase.deliveries > 0.0 {
            parts.push(format!("delivers {}/s", rate(phase.deliveries)));
        }
        if phase.requests > 0.0 {
            parts.push(format!("asks {}/s", rate(phase.requests)));
        }
        if parts.is_empty() {
            parts.push("idle".into());
        }
        let text = format!(
            "{:<name$}  {:>6}  {}",
            phase.name,
            time(phase.length),
            parts.join(", ")
        );
        row(out, if i == 0 { "phases" } else { "" }, &text);
    }
}

/// The trouble on purpose, each with its time. What is done to this machine or to others stands there in full: it is to
/// be seen before it is done.
fn faults(out: &mut String, plan: &Plan) {
    let faults = plan.phases().iter();
    let faults = faults.flat_map(|p| p.faults.iter().map(move |f| (p, f)));
    for (i, (phase, fault)) in faults.enumerate() {
        let at = time((fault.start - phase.start).as_secs_f64());
        let what = match &fault.action {
            Action::Deploy(deploy) => {
                let limit = time(deploy.timeout.as_secs_f64());
                format!("for {limit} at most: {}", deploy.how)
            }
            Action::Burst { .. } | Action::Hit(_) => {
                let lasts = (fault.end - fault.start).as_secs_f64();
                let lasts = match lasts > 0.0 {
                    true => format!("for {}", time(lasts)),
                    false => "at once".to_owned(),
                };
                format!("{lasts}: {}", fault.label)
            }
        };
        let text = line(&format!("in {}, after {at}, {what}", phase.name));
        row(out, if i == 0 { "will do" } else { "" }, &text);
    }
}

fn messages(needs: &Needs) -> String {
    let mut parts = Vec::new();
    if needs.publishes > 0.0 {
        parts.push(format!(
            "{} published",
            whole(needs.publishes.round() as u64)
        ));
    }
    if needs.deliveries > 0.0 {
        parts.push(format!(
            "about {} delivered",
            whole(needs.deliveries.round() as u64)
        ));
    }
    if needs.requests > 0.0 {
        parts.push(format!("{} asked", whole(needs.requests.round() as u64)));
    }
    match parts.is_empty() {
        true => "none".into(),
        false => format!(
            "{}; at most {}/s sent",
            parts.join(", "),
            rate(needs.peak_sent)
        ),
    }
}

/// The first few, as a scenario may have thousands of groups.
fn listed(parts: &[String]) -> String {
    const SHOWN: usize = 8;
    match parts.len() {
        0..=SHOWN => parts.join(", "),
        n => format!(
            "{} and {} more groups",
            parts[..SHOWN].join(", "),
            n - SHOWN
        ),
    }
}

fn many(n: u64, what: &str) -> String {
    format!("{} {what}{}", whole(n), if n == 1 { "" } else { "s" })
}

fn known(limit: u64) -> String {
    if limit == 0 {
        "unknown".into()
    } else {
        whole(limit)
    }
}

/// With commas: 1,204,332.
fn whole(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn rate(value: f64) -> String {
    if value < 10.0 && value.fract() != 0.0 {
        format!("{value:.2}")
    } else {
        whole(value.round() as u64)
    }
}

fn time(seconds: f64) -> String {
    match seconds as u64 {
        0..60 if seconds.fract() != 0.0 => format!("{seconds:.1}s"),
        whole @ 0..60 => format!("{whole}s"),
        whole @ 60..3600 => format!("{}m {:02}s", whole / 60, whole % 60),
        whole => format!("{}h {:02}m", whole / 3600, whole / 60 % 60),
    }
}

fn bytes(n: u64) -> String {
    let mib = n as f64 / 1_048_576.0;
    if mib >= 1024.0 {
        format!("{:.1} GiB", mib / 1024.0)
    } else {
        format!("{mib:.0} MiB")
    }
}
