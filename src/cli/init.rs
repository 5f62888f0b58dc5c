//! `squall init`: a commented scenario to start from.

use super::output;
use crate::exit::Exit;
use crate::scenario::STARTER;
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// The file beside the scenario that its first line names.
const SCHEMA: &str = "schema.json";

/// Writes the starter; never over a file that exists.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Name of the scenario; the file becomes NAME.yaml
    #[arg(default_value = "scenario", value_parser = name)]
    name: String,
}

fn name(text: &str) -> Result<String, String> {
    let text = text
        .strip_suffix(".yaml")
        .or_else(|| text.strip_suffix(".yml"))
        .unwrap_or(text);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    match text {
        "" | "." | ".." => Err("a name is needed".into()),
        _ if text.starts_with('-') || !text.chars().all(plain) => Err(
            "letters, digits, `-`, `_` and `.` only; the file is written into the current folder"
                .into(),
        ),
        _ => Ok(text.into()),
    }
}

impl Init {
    /// Writes the file and says how to go on.
    pub(super) fn execute(self) -> Exit {
        let file = format!("{}.yaml", self.name);
        match write(Path::new(&file), &starter(&self.name)) {
            Ok(()) => output::print(&told(&file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                output::complain(&format!(
                    "{file} exists and is left as it is; choose another name"
                ));
                Exit::Usage
            }
            Err(error) => {
                output::complain(&format!("cannot write {file}: {error}"));
                Exit::NotWritten
            }
        }
    }
}

/// What was written, and how to go on.
fn told(file: &str) -> String {
    let verbs = [
        (format!("squall check {file}"), "what it will do"),
        (format!("squall run {file}"), "do it"),
        // The file's first line names it; nobody but editors needs it.
        (
            format!("squall schema > {SCHEMA}"),
            "for completion and checks in editors",
        ),
    ];
    let wide = verbs.iter().map(|(verb, _)| verb.len()).max().unwrap_or(0);
    let lines = verbs
        .iter()
        .map(|(verb, does)| format!("  {verb:wide$}    {does}\n"));
    format!("wrote {file}\n\n{}", lines.collect::<String>())
}

/// The starter under another name.
fn starter(name: &str) -> String {
    let rename = |line: &str| match line.starts_with("name:") {
        true => format!("name: \"{name}\"\n"),
        false => format!("{line}\n"),
    };
    STARTER.lines().map(rename).collect()
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)?
        .write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        for (given, taken) in [
            ("a", Ok("a")),
            ("b.yaml", Ok("b")),
            ("c-1_2.x", Ok("c-1_2.x")),
        ] {
            assert_eq!(
                name(given).as_deref(),
                taken.map_err(|e: &String| e),
                "{given}"
            );
        }
        for bad in ["", ".", "..", "../up", "/etc/x", "a b", "-x", "ä", ".yaml"] {
            assert!(name(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_starter_is_a_valid_scenario_under_any_name() {
        // A name that YAML would take for a number must stay a text.
        for name in ["mine", "1.5", "true"] {
            let document = crate::scenario::parse(
                "starter.yaml",
                &starter(name),
                None,
                &crate::scenario::Options::default(),
            );
            assert_eq!(document.expect("valid").scenario().name, name);
        }
    }

    /// What is commented out, each block with the lines indented under its first, uncommented: (the block, the whole text).
    fn uncommented() -> Vec<(String, String)> {
        let lines: Vec<&str> = STARTER.lines().collect();
        let body = lines.iter().position(|line| line.starts_with("version:"));
        let body = body.expect("a version");
        let comment = |at: usize| lines.get(at)?.trim_start().strip_prefix("# ");
        let inner = |at: usize| comment(at).is_some_and(|text| text.starts_with(' '));
        let begins = (body..lines.len()).filter(|at| comment(*at).is_some() && !inner(*at));
        let block = |from: usize| {
            let to = (from + 1..).find(|at| !inner(*at)).unwrap_or(from + 1);
            let text = lines.iter().enumerate().map(|(at, line)| {
                match (from..to).contains(&at) {
                    true => line.replacen("# ", "", 1) + "\n",
                    // A service takes the gateway's place.
                    false if lines[from].contains("# url:") && line.contains("embedded:") => {
                        String::new()
                    }
                    false => format!("{line}\n"),
                }
            });
            (lines[from].trim().to_owned(), text.collect())
        };
        begins.map(block).collect()
    }

    #[test]
    fn whatever_is_commented_out_is_valid_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = rcgen::generate_simple_self_signed(["h".to_owned()]).expect("made");
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).expect("written");
        let options = crate::scenario::Options {
            env: Box::new(|_| Some("secret".into())),
            ..crate::scenario::Options::default()
        };
        let machine = crate::plan::Machine {
            cores: 2,
            descriptors: 9_999,
            file_max: 9_999,
            ..crate::plan::Machine::default()
        };
        let blocks = uncommented();
        for (block, text) in &blocks {
            let parsed =
                crate::scenario::parse("starter.yaml", text, Some(folder.path()), &options);
            let document = parsed.unwrap_or_else(|problems| panic!("{block}: {problems}"));
            let compiled = crate::plan::compile(document.scenario(), document.files(), &machine);
            let warnings = compiled
                .unwrap_or_else(|problems| panic!("{block}: {problems:?}"))
                .warnings;
            // The gateway that is there then has no certificate to be verified.
            let without_tls = usize::from(block.starts_with("# tls:"));
            assert_eq!(warnings.len(), without_tls, "{block}: {warnings:?}");
        }
        for key in [
            "url:",
            "protocol:",
            "transport:",
            "auth:",
            "inject:",
            "- drop:",
            "- slow:",
            "- deploy:",
            "heartbeat:",
            "on_open:",
            "arrivals:",
        ] {
            let shown = |(block, _): &(String, String)| block.starts_with(&format!("# {key}"));
            assert!(blocks.iter().any(shown), "{key}");
        }
    }

    #[test]
    fn the_schema_that_its_first_line_names_is_made_by_what_init_says() {
        let first = STARTER.lines().next().unwrap_or_default();
        assert_eq!(first, format!("# yaml-language-server: $schema={SCHEMA}"));
        let how = format!("squall schema > {SCHEMA}");
        assert!(STARTER.contains(&how));
        let told = told("mine.yaml");
        assert!(
            told.contains(&how) && told.contains("squall run mine.yaml"),
            "{told}"
        );
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.yaml");
        write(&path, "mine").expect("written");
        let again = write(&path, "yours").expect_err("refused");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "mine");
    }
}
