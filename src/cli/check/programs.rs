//! Programs that a run would start, looked for beforehand: whether each is there, and may be run.
//!
//! As the run finds them: with a slash in its name from the working directory on, without one in the folders of `PATH`.

use crate::scenario::model::Fault;
use crate::scenario::{Problem, Scenario};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where programs are looked for when there is no `PATH`.
const USUAL: &str = "/bin:/usr/bin";

/// Warnings of programs that cannot be started from here.
pub(super) fn missing(scenario: &Scenario, path: Option<&OsStr>) -> Vec<Problem> {
    let mut started: Vec<(String, &[String])> = Vec::new();
    for (name, group) in &scenario.clients {
        let command = group.auth.as_ref().and_then(|auth| auth.command.as_ref());
        started.extend(command.map(|it| (format!("clients.{name}.auth.command.run"), &it.run[..])));
    }
    for (i, phase) in scenario.phases.iter().enumerate() {
        for (j, fault) in phase.faults.iter().enumerate() {
            if let Fault::Deploy(deploy) = fault
                && let Some(run) = &deploy.run
            {
                started.push((format!("phases[{i}].faults[{j}].deploy.run"), run));
            }
        }
    }
    let wrong = |(at, run): (String, &[String])| {
        let (message, help) = trouble(run.first()?, path)?;
        Some(Problem::warning(format!("{at}[0]"), message).help(help))
    };
    started.into_iter().filter_map(wrong).collect()
}

/// What keeps a program from being started, and what to do.
fn trouble(program: &str, path: Option<&OsStr>) -> Option<(String, &'static str)> {
    if program.contains('/') {
        return match runs(Path::new(program)) {
            Ok(true) => None,
            Ok(false) => Some((
                format!("`{program}` cannot be executed"),
                "make it executable: chmod +x",
            )),
            Err(error) => Some((
                format!("there is no program `{program}`: {error}"),
                "it is looked for from the folder that squall is started in, not from the scenario's",
            )),
        };
    }
    let path = path.unwrap_or(OsStr::new(USUAL));
    // An empty folder is this one, as `execvp` has it.
    let there = |folder: std::path::PathBuf| runs(&Path::new(".").join(folder).join(program));
    let found = std::env::split_paths(path).any(|folder| there(folder).unwrap_or(false));
    (!found).then(|| {
        (
            format!("there is no program `{program}` in PATH"),
            "install it, or give its path, with a slash in it",
        )
    })
}

/// Whether it is a file that somebody may execute.
fn runs(program: &Path) -> std::io::Result<bool> {
    let of = fs::metadata(program)?;
    Ok(of.is_file() && of.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Options, parse};

    #[test]
    fn what_cannot_be_started_is_warned_of() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name).display().to_string();
        for (name, mode) in [("runs", 0o755), ("plain", 0o644)] {
            fs::write(at(name), "").expect("written");
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).expect("set");
        }
        let path = format!("/nowhere:{}", at(""));
        let table = [
            (at("runs"), ""),
            (at("plain"), "cannot be executed"),
            (at(""), "cannot be executed"),
            (at("none"), "there is no program"),
            ("./none".to_owned(), "there is no program"),
            ("runs".to_owned(), ""),
            ("plain".to_owned(), "in PATH"),
            ("none".to_owned(), "in PATH"),
        ];
        for (program, expected) in table {
            let said = trouble(&program, Some(OsStr::new(&path))).unwrap_or_default();
            assert!(said.0.contains(expected), "{program}: {said:?}");
            assert_eq!(
                said.0.is_empty(),
                expected.is_empty(),
                "{program}: {said:?}"
            );
        }
        assert_eq!(trouble("sh", None), None);
    }

    #[test]
    fn every_program_is_looked_for_where_it_stands() {
        let text = "
name: t
target: { url: 'ws://h/' }
clients:
  a: { count: 1, auth: { command: { run: [nothing-of-this-name, x] } } }
  b: { count: 1, auth: { command: { run: [sh] } } }
phases:
  - { name: p, for: 1s }
  - { name: q, for: 9s, faults: [ { deploy: { shell: './none' } } ] }
  - { name: r, for: 9s, faults: [ { deploy: { run: [./none, x] } } ] }
";
        let document = parse("t.yaml", text, None, &Options::default()).expect("valid");
        let found = missing(document.scenario(), None);
        let paths: Vec<&str> = found.iter().map(|p| p.path.as_str()).collect();
        let expected = [
            "clients.a.auth.command.run[0]",
            "phases[2].faults[0].deploy.run[0]",
        ];
        assert_eq!(paths, expected);
        let report = document.report(found).to_string();
        assert!(report.contains("./none"), "{report}");
    }
}
