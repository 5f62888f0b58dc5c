//! Which process the target is, where somebody says so: its memory is watched.

use super::Problems;
use crate::scenario::model::Target;
use crate::scenario::{Files, Problem};

/// The target's process. Whether there is one with that number only the machine knows.
pub(super) fn compile(target: &Target, files: &Files, problems: &mut Problems) -> Option<u32> {
    let given = [
        target.pid.map(|_| "pid"),
        target.pid_file.as_ref().map(|_| "pid_file"),
        target.metrics.as_ref().map(|_| "metrics"),
        target.embedded.as_ref().map(|_| "embedded"),
    ];
    let mut given = given.into_iter().flatten();
    if let (Some(one), Some(other)) = (given.next(), given.next()) {
        let message = format!("`{one}` and `{other}` exclude each other");
        problems.add(
            Problem::error(format!("target.{one}"), message).help(
                "the processes of the embedded gateway are known; of any other target give one of `pid`, `pid_file` and `metrics`",
            ),
        );
        return None;
    }
    if let Some(pid) = target.pid {
        problems.zero(pid == 0, "target.pid", "a process number");
        return Some(pid).filter(|pid| *pid > 0);
    }
    let path = target.pid_file.as_ref()?;
    // One that could not be read is a problem already.
    let text = files.text(path)?;
    let pid = text.trim().parse::<u32>().ok().filter(|pid| *pid > 0);
    if pid.is_none() {
        let message = format!("the file `{path}` does not hold a process number");
        problems.add(Problem::error("target.pid_file", message));
    }
    pid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_the_one_that_is_named() {
        let mut files = Files::default();
        files.insert("good.pid", "4711\n");
        files.insert("bad.pid", "4711 4712");
        let table: &[(&str, Option<u32>, &[&str])] = &[
            ("{ url: 'ws://h' }", None, &[]),
            ("{ url: 'ws://h', pid: 7 }", Some(7), &[]),
            ("{ url: 'ws://h', pid_file: good.pid }", Some(4711), &[]),
            ("{ url: 'ws://h', pid: 0 }", None, &["target.pid"]),
            (
                "{ url: 'ws://h', pid_file: bad.pid }",
                None,
                &["target.pid_file"],
            ),
            // Told already when it was loaded.
            ("{ url: 'ws://h', pid_file: none.pid }", None, &[]),
            (
                "{ url: 'ws://h', pid: 7, pid_file: good.pid }",
                None,
                &["target.pid"],
            ),
            (
                "{ url: 'ws://h', pid: 7, metrics: { url: 'http://h/' } }",
                None,
                &["target.pid"],
            ),
            (
                "{ embedded: {}, metrics: { url: 'http://h/' } }",
                None,
                &["target.metrics"],
            ),
            ("{ embedded: {}, pid: 7 }", None, &["target.pid"]),
            (
                "{ embedded: {}, pid_file: good.pid }",
                None,
                &["target.pid_file"],
            ),
        ];
        for (yaml, pid, paths) in table {
            let target: Target = serde_yaml::from_str(yaml).unwrap();
            let mut problems = Problems::default();
            assert_eq!(compile(&target, &files, &mut problems), *pid, "{yaml}");
            let found: Vec<&str> = problems.list.iter().map(|p| p.path.as_str()).collect();
            assert_eq!(found, *paths, "{yaml}");
        }
    }
}
