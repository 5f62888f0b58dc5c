//! `deploy`: something is done to the target, at most once in a phase, and measured to the phase's end.

use super::super::target::{is_token, nodes};
use super::super::{Problems, http, names};
use super::{beyond, left};
use crate::plan::fault::{
    Action, Deploy, PlannedFault, Receiver, Rollout, SIGNALS, Webhook, quoted,
};
use crate::plan::types::Phase;
use crate::scenario::model;
use crate::scenario::{Problem, Scenario};
use std::time::Duration;

/// How long a deploy may take where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(60);
/// From one node to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest label; the whole command is shown by `squall check`.
const LABEL: usize = 60;

/// Checks a deploy.
pub(super) fn compile(
    deploy: &model::Deploy,
    path: &str,
    scenario: &Scenario,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<PlannedFault> {
    let how = how(deploy, path, scenario, problems);
    let span = span(deploy, path, phase, problems);
    if phase
        .faults
        .iter()
        .any(|f| matches!(f.action, Action::Deploy(_)))
    {
        let message = format!("phase `{}` has a deploy already", phase.name);
        problems.add(Problem::error(path, message).help(
            "a deploy is measured to the end of its phase: give this one a phase of its own",
        ));
        return None;
    }
    let (how, (start, end)) = (how?, span?);
    Some(PlannedFault {
        label: label(&how),
        start,
        end,
        action: Action::Deploy(Deploy {
            how,
            timeout: end - start,
            hitless: deploy.hitless,
        }),
    })
}

/// In words: `deploy: run kubectl rollout restart deploy/gateway`. What is too long is left out in whole words, as a
/// part of a secret could not be found any more.
fn label(how: &Rollout) -> String {
    let words = match how {
        Rollout::Run(arguments) => {
            let words = arguments.iter().map(|argument| quoted(argument));
            std::iter::once("run".to_owned()).chain(words).collect()
        }
        Rollout::Shell(line) => vec!["shell".to_owned(), quoted(line)],
        // Path and query may be long, and hold what concerns nobody.
        Rollout::Webhook(hook) => vec![format!("{} to {}", hook.method, hook.host)],
        other => vec![other.to_string()],
    };
    let mut label = "deploy:".to_owned();
    for (i, word) in words.iter().enumerate() {
        if i > 0 && label.chars().count() + 1 + word.chars().count() > LABEL {
            return label + " …";
        }
        label.push(' ');
        label.push_str(word);
    }
    label
}

/// What is done: exactly one thing.
fn how(
    deploy: &model::Deploy,
    path: &str,
    scenario: &Scenario,
    problems: &mut Problems,
) -> Option<Rollout> {
    const WAYS: &str = "`run`, `shell`, `signal`, `webhook` and `roll`";
    let mut ways = Vec::new();
    if let Some(run) = &deploy.run {
        ways.push(program(run, path, problems));
    }
    if let Some(line) = &deploy.shell {
        let empty = line.trim().is_empty();
        if empty {
            problems.add(Problem::error(
                format!("{path}.shell"),
                "the command is empty",
            ));
        }
        ways.push((!empty).then(|| Rollout::Shell(line.clone())));
    }
    if let Some(signal) = &deploy.signal {
        ways.push(self::signal(signal, &format!("{path}.signal"), problems));
    }
    if let Some(hook) = &deploy.webhook {
        let hook = webhook(hook, &format!("{path}.webhook"), problems);
        ways.push(hook.map(Rollout::Webhook));
    }
    if let Some(roll) = &deploy.roll {
        ways.push(self::roll(
            roll,
            &format!("{path}.roll"),
            scenario,
            problems,
        ));
    }
    match ways.len() {
        0 => {
            problems.add(
                Problem::error(path, "it is not said how the target is deployed")
                    .help(format!("give one of {WAYS}")),
            );
            None
        }
        1 => ways.pop().flatten(),
        _ => {
            problems.add(
                Problem::error(path, format!("{WAYS} exclude each other")).help("keep one of them"),
            );
            None
        }
    }
}

fn program(run: &[String], path: &str, problems: &mut Problems) -> Option<Rollout> {
    let path = format!("{path}.run");
    match run.first() {
        None => {
            problems.add(
                Problem::error(path, "there is no program in it")
                    .help("such as [kubectl, rollout, restart, deploy/gateway]"),
            );
            return None;
        }
        Some(program) if program.is_empty() => {
            problems.add(Problem::error(
                format!("{path}[0]"),
                "the program's name is empty",
            ));
            return None;
        }
        Some(program) if run.len() == 1 && program.contains(' ') => {
            let message =
                format!("`{program}` is taken for the name of a program, spaces included");
            let help = "give program and arguments as a list, or use `shell`";
            problems.add(Problem::warning(format!("{path}[0]"), message).help(help));
        }
        Some(_) => {}
    }
    if let Some(i) = run.iter().position(|argument| argument.contains('\0')) {
        problems.add(Problem::error(
            format!("{path}[{i}]"),
            "an argument cannot hold a NUL",
        ));
        return None;
    }
    Some(Rollout::Run(run.to_vec()))
}

fn signal(signal: &model::SendSignal, path: &str, problems: &mut Problems) -> Option<Rollout> {
    let name = signal.send.as_deref().unwrap_or("SIGTERM");
    let known = SIGNALS.contains(&name);
    if !known {
        let known = SIGNALS.iter().copied();
        problems.add(names::unknown(
            &format!("{path}.send"),
            "signal",
            name,
            known,
        ));
    }
    let to = match &signal.to {
        // 0 and 1 are not one process of the user's: the group of squall itself, and init.
        model::To::Pid(pid) if !(2..=i32::MAX as u32).contains(pid) => {
            let message = format!("{pid} is not the id of a process to be deployed");
            problems.add(Problem::error(format!("{path}.to.pid"), message));
            return None;
        }
        model::To::Pid(pid) => Receiver::Pid(*pid),
        model::To::PidFile(file) => Receiver::PidFile(file.clone()),
        model::To::Process(name) if name.is_empty() || name.contains('/') => {
            let message = "a process is named by its file's name, without folders";
            problems.add(Problem::error(format!("{path}.to.process"), message));
            return None;
        }
        model::To::Process(name) => Receiver::Process(name.clone()),
    };
    if signal.all && !matches!(to, Receiver::Process(_)) {
        let message = "only a process name can mean several";
        problems.add(
            Problem::error(format!("{path}.all"), message)
                .help("leave `all` out")
                .on_key(),
        );
    }
    known.then(|| Rollout::Signal {
        name: name.to_owned(),
        to,
        all: signal.all,
    })
}

/// An HTTP request, of a deploy or whoever else makes one.
pub(in super::super) fn webhook(
    hook: &model::Webhook,
    path: &str,
    problems: &mut Problems,
) -> Option<Webhook> {
    let before = problems.list.len();
    let address = http::address(&hook.url, path, problems);
    let method = hook.method.as_deref().unwrap_or("POST");
    if !is_token(method) {
        let what = format!("`{method}` is not a method of HTTP");
        problems.add(Problem::error(format!("{path}.method"), what));
    }
    let headers = http::headers(&hook.headers, path, problems);
    let address = address?;
    if problems.list.len() > before {
        return None;
    }
    Some(Webhook {
        tls: address.tls,
        host: address.host,
        port: address.port,
        path: address.path,
        method: method.to_owned(),
        headers,
        body: hook.body.clone().unwrap_or_default(),
    })
}

fn roll(
    roll: &model::Roll,
    path: &str,
    scenario: &Scenario,
    problems: &mut Problems,
) -> Option<Rollout> {
    let nodes = scenario.target.embedded.as_ref().map(nodes);
    let Some(nodes) = nodes.filter(|nodes| *nodes > 1) else {
        let message = "only the embedded gateway with several nodes can be rolled";
        problems.add(
            Problem::error(path, message)
                .help("give `target.embedded.nodes`, or use `run`, `shell`, `signal` or `webhook`")
                .on_key(),
        );
        return None;
    };
    Some(Rollout::Roll {
        nodes,
        pause: roll.pause.map_or(PAUSE, |pause| pause.0),
    })
}

/// Start and planned end, counted from the run's start.
fn span(
    deploy: &model::Deploy,
    path: &str,
    phase: &Phase,
    problems: &mut Problems,
) -> Option<(Duration, Duration)> {
    let start = super::start("deploy", deploy.after, path, phase, problems)?;
    let rest = phase.end - start;
    let Some(timeout) = deploy.timeout else {
        return Some((start, start + TIMEOUT.min(rest)));
    };
    if timeout.0.is_zero() {
        problems.zero(true, format!("{path}.timeout"), "a timeout");
        return None;
    }
    if timeout.0 > rest {
        problems.add(
            beyond("deploy may end", format!("{path}.timeout"), phase).help(left(start, phase)),
        );
        return None;
    }
    Some((start, start + timeout.0))
}

#[cfg(test)]
mod tests;
