//! A deploy as planned: how the target is made to change, and for how long that is measured.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How the target is deployed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// What is done.
    pub how: Rollout,
    /// How long it may take; the planned end is its start and this.
    pub timeout: Duration,
    /// It may cut nobody.
    pub hitless: bool,
}

/// What is done to the target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Rollout {
    /// A program is run with its arguments.
    Run(Vec<String>),
    /// A command line is given to the shell.
    Shell(String),
    /// A signal is sent.
    Signal {
        /// One of [`SIGNALS`].
        name: String,
        /// Who gets it.
        to: Receiver,
        /// All processes of that name, where there are several.
        all: bool,
    },
    /// An HTTP request is made.
    Webhook(Webhook),
    /// The embedded gateway's nodes are restarted one by one.
    Roll {
        /// How many nodes.
        nodes: u16,
        /// From one node ready again to the next one's turn.
        pause: Duration,
    },
}

/// Who gets a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Receiver {
    /// The process with this id.
    Pid(u32),
    /// The process whose id is in this file.
    PidFile(String),
    /// The process of this name.
    Process(String),
}

/// An HTTP request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Over TLS.
    pub tls: bool,
    /// Host, as it is looked up: an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    pub path: String,
    /// Method.
    pub method: String,
    /// Headers beside those of the request itself.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

/// Signals that a deploy may send.
pub const SIGNALS: &[&str] = &[
    "SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT",
    "SIGSTOP", "SIGTTIN", "SIGTTOU", "SIGWINCH",
];

/// Where in the run a deploy is measured: from its start to the end of its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The fault's number in the run.
    pub fault: usize,
    /// Index of the phase.
    pub phase: usize,
    /// Start, nanoseconds from the run's.
    pub start_ns: u64,
    /// End, nanoseconds from the run's start.
    pub end_ns: u64,
}

impl fmt::Display for Rollout {
    /// In full, as `squall check` shows it: what a scenario does to this machine must be seen before.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rollout::Run(arguments) => {
                f.write_str("run")?;
                arguments
                    .iter()
                    .try_for_each(|a| write!(f, " {}", quoted(a)))
            }
            Rollout::Shell(line) => write!(f, "shell {}", quoted(line)),
            Rollout::Signal { name, to, all } => {
                let all = if *all { "all of " } else { "" };
                match to {
                    Receiver::Pid(pid) => write!(f, "{name} to pid {pid}"),
                    Receiver::PidFile(path) => write!(f, "{name} to the pid in {}", quoted(path)),
                    Receiver::Process(name_of) => {
                        write!(f, "{name} to {all}process {}", quoted(name_of))
                    }
                }
            }
            Rollout::Webhook(hook) => {
                let scheme = if hook.tls { "https" } else { "http" };
                let Webhook {
                    method,
                    host,
                    port,
                    path,
                    ..
                } = hook;
                let host = match host.contains(':') {
                    true => format!("[{host}]"),
                    false => host.clone(),
                };
                write!(f, "{method} {scheme}://{host}:{port}{path}")
            }
            Rollout::Roll { nodes, pause } => {
                write!(f, "roll of {nodes} nodes, {:?} apart", pause)
            }
        }
    }
}

/// A word as it is, or in quotes as JSON has it, a form in which secrets are looked for.
pub(in super::super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    serde_json::Value::from(word).to_string()
}
