//! A signal to a process on this machine. Never to squall itself, nor to what it started, unless that is the
//! embedded gateway.

use super::Ending;
use crate::plan::Receiver;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::str::FromStr;

/// Sends it; says to whom, or how it ended instead.
pub(super) fn send(name: &str, to: &Receiver, all: bool) -> Result<String, Ending> {
    let signal = Signal::from_str(name);
    let signal = signal.map_err(|_| Ending::NotBegun(format!("`{name}` is no signal")))?;
    let to = receivers(to, all).map_err(Ending::NotBegun)?;
    let got = give(&to, |pid| kill(Pid::from_raw(pid.cast_signed()), signal))?;
    let pids: Vec<String> = got.iter().map(u32::to_string).collect();
    Ok(format!("{name} sent to {}", pids.join(", ")))
}

/// Gives each its signal; who got one. Between the look for them and this they may end: one that is gone needs none,
/// once another has had it.
fn give(to: &[u32], signal: impl Fn(u32) -> Result<(), Errno>) -> Result<Vec<u32>, Ending> {
    let mut got = Vec::new();
    let mut gone = None;
    for &pid in to {
        match signal(pid) {
            Ok(()) => got.push(pid),
            Err(Errno::ESRCH) => gone = Some(pid),
            Err(error) => {
                let why = format!("process {pid}: {}", error.desc());
                return Err(match got.len() {
                    0 => Ending::NotBegun(why),
                    n => Ending::Failed(format!("{why}; {n} before it got the signal")),
                });
            }
        }
    }
    match (got.is_empty(), gone) {
        (true, Some(pid)) => Err(Ending::NotBegun(format!(
            "process {pid}: {}",
            Errno::ESRCH.desc()
        ))),
        _ => Ok(got),
    }
}

/// Who is to get it.
fn receivers(to: &Receiver, all: bool) -> Result<Vec<u32>, String> {
    let own = std::process::id();
    match to {
        Receiver::Pid(pid) => Ok(vec![allowed(*pid, own)?]),
        Receiver::PidFile(path) => {
            let text = fs::read_to_string(path).map_err(|e| format!("`{path}`: {e}"))?;
            let pid = text.trim().parse::<u32>().ok().filter(|pid| *pid > 1);
            let pid = pid.ok_or_else(|| format!("`{path}` holds no process id"))?;
            Ok(vec![allowed(pid, own)?])
        }
        Receiver::Process(name) => named(name, all, own),
    }
}

/// The process if it may get a signal.
fn allowed(pid: u32, own: u32) -> Result<u32, String> {
    match Process::read(pid) {
        None => Err(format!("there is no process {pid}")),
        Some(process) if process.is_ours(own) => {
            Err(format!("process {pid} belongs to this run of squall"))
        }
        Some(_) => Ok(pid),
    }
}

fn named(name: &str, all: bool, own: u32) -> Result<Vec<u32>, String> {
    let entries = fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?;
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let processes = pids.filter_map(Process::read);
    let of = processes.filter(|process| process.is_called(name) && !process.is_ours(own));
    let mut found: Vec<u32> = of.map(|process| process.pid).collect();
    found.sort_unstable();
    match found.len() {
        0 => Err(format!("there is no process called `{name}`")),
        n if n > 1 && !all => Err(format!(
            "{n} processes are called `{name}`: say `all: true`, or which by `pid` or `pid_file`"
        )),
        _ => Ok(found),
    }
}

/// What is known of a process.
struct Process {
    pid: u32,
    parent: u32,
    comm: String,
    arguments: Vec<String>,
}

impl Process {
    /// `None` for one that is gone, or a zombie.
    fn read(pid: u32) -> Option<Process> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, parentheses too.
        let (head, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = arguments.split(|b| *b == 0).filter(|a| !a.is_empty());
        let arguments = arguments.map(|a| String::from_utf8_lossy(a).into_owned());
        (!matches!(state, "Z" | "X")).then(|| Process {
            pid,
            parent,
            comm: head.split_once('(').map_or("", |(_, comm)| comm).to_owned(),
            arguments: arguments.collect(),
        })
    }

    fn is_called(&self, name: &str) -> bool {
        let file = self.arguments.first();
        let file = file.and_then(|path| path.rsplit('/').next());
        self.comm == name || file == Some(name)
    }

    /// Whether it is squall, or was started by it, and is not the embedded gateway.
    fn is_ours(&self, own: u32) -> bool {
        if self.pid == own {
            return true;
        }
        if self.arguments.get(1).is_some_and(|verb| verb == "gateway") {
            return false;
        }
        let mut parent = self.parent;
        // Parents may change while one looks: a bound, so that this ends.
        for _ in 0..64 {
            if parent == own {
                return true;
            }
            let Some(process) = (parent > 1).then(|| Process::read(parent)).flatten() else {
                return false;
            };
            parent = process.parent;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SIGNALS;

    #[test]
    fn every_signal_that_may_be_written_is_one() {
        for name in SIGNALS {
            assert!(Signal::from_str(name).is_ok(), "{name}");
        }
    }

    fn refused(name: &str, to: &Receiver, all: bool) -> String {
        match send(name, to, all) {
            Err(Ending::NotBegun(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_that_was_sent_in_part_was_begun() {
        use Errno::{EPERM, ESRCH};
        let give = |answers: &[Result<(), Errno>]| {
            let to: Vec<u32> = (0..answers.len() as u32).collect();
            super::give(&to, |pid| answers[pid as usize])
        };
        assert_eq!(give(&[Ok(()), Ok(())]), Ok(vec![0, 1]));
        assert_eq!(give(&[Ok(()), Err(ESRCH), Ok(())]), Ok(vec![0, 2]));
        assert_eq!(give(&[Err(ESRCH), Ok(())]), Ok(vec![1]));
        for none in [
            &[Err(ESRCH)][..],
            &[Err(ESRCH), Err(ESRCH)],
            &[Err(EPERM), Ok(())],
            &[Err(ESRCH), Err(EPERM)],
        ] {
            let told = give(none);
            assert!(matches!(told, Err(Ending::NotBegun(_))), "{told:?}");
        }
        let told = give(&[Ok(()), Err(ESRCH), Err(EPERM), Ok(())]);
        let Err(Ending::Failed(why)) = told else {
            panic!("{told:?}");
        };
        assert!(why.starts_with("process 2: ") && why.ends_with("1 before it got the signal"));
    }

    #[test]
    fn squall_itself_and_what_it_started_get_none() {
        let own = std::process::id();
        let told = refused("SIGCONT", &Receiver::Pid(own), false);
        assert!(told.contains("belongs to this run"), "{told}");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let told = refused("SIGKILL", &Receiver::Pid(child.id()), false);
        assert!(told.contains("belongs to this run"), "{told}");
        assert!(child.try_wait().unwrap().is_none(), "it lives");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_name_is_matched_exactly_and_a_pid_file_read() {
        let of = |comm: &str, arguments: &[&str]| Process {
            pid: 7,
            parent: 1,
            comm: comm.into(),
            arguments: arguments.iter().map(|&a| a.to_owned()).collect(),
        };
        assert!(of("gate", &["/usr/bin/gateway", "-v"]).is_called("gateway"));
        assert!(of("gateway", &["python3", "gateway.py"]).is_called("gateway"));
        for other in ["gatewayd", "gatewa", "/usr/bin/gateway"] {
            assert!(
                !of("gateway", &["/usr/bin/gateway"]).is_called(other),
                "{other}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let path = file.to_str().unwrap().to_owned();
        let sent = || refused("SIGCONT", &Receiver::PidFile(path.clone()), false);
        assert!(sent().contains("No such file"));
        std::fs::write(&file, "0\n").unwrap();
        assert!(sent().contains("holds no process id"));
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert!(sent().contains("belongs to this run"));
        let nobody = Receiver::Process("nobody-is-called-so".into());
        assert!(refused("SIGCONT", &nobody, true).contains("no process"));
    }
}
