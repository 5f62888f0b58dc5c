//! A scenario document: loading it, and what is kept of it.

use super::check::{self, Checked};
use super::expand::Expander;
use super::files::Folder;
use super::node::{self, Found, Node};
use super::overrides;
use super::presets;
use super::problem::{Problem, Report, Source, Span};
use super::redact;
use super::{Files, Scenario, schema};
use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// Largest scenario file, in bytes.
const LARGEST: usize = 1 << 20;
/// More problems than these are only counted.
const PROBLEMS: usize = 200;

/// Made once: it never changes.
static SCHEMA: LazyLock<serde_json::Value> = LazyLock::new(schema);

/// Reads an environment variable.
pub type Env = Box<dyn Fn(&str) -> Option<String>>;

/// What a command line adds to a scenario, and what loading may do.
pub struct Options {
    /// `path=value` overrides, in order; the value is YAML.
    pub sets: Vec<String>,
    /// Replaces `target.url` and drops `target.embedded`.
    pub target: Option<String>,
    /// Lets file references leave the scenario's folder.
    pub allow_outside: bool,
    /// Reads an environment variable for `${env:NAME}`.
    pub env: Env,
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
    root: Node,
    scenario: Scenario,
    files: Files,
    secrets: Vec<String>,
}

/// Reads a scenario file of at most 1 MiB. The error holds all that is wrong with it.
pub fn load(path: &Path, options: &Options) -> Result<Document, Report> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST as u64 + 1).read_to_end(&mut bytes));
    let text = read.map_err(|error| error.to_string()).and_then(|_| {
        let too_large = bytes.len() > LARGEST;
        String::from_utf8(bytes).map_err(|_| {
            if too_large {
                "it is larger than 1 MiB"
            } else {
                "it is not UTF-8 text"
            }
            .to_string()
        })
    });
    match text {
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

/// Reads a scenario from text, shown as `name`. `folder` is where its file references are looked up; without
/// one they are errors.
pub fn parse(
    name: &str,
    text: &str,
    folder: Option<&Path>,
    options: &Options,
) -> Result<Document, Report> {
    if text.len() > LARGEST {
        let mut report = Report::new(Arc::default());
        report.add(
            Problem::error("", format!("cannot read {name}: it is larger than 1 MiB")),
            None,
            None,
        );
        return Err(report);
    }
    // YAML treats all line breaks alike; with one form, lines and columns mean the same to everyone.
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(text)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut sources = vec![Source {
        name: name.into(),
        text,
    }];
    sources.extend(options.sets.iter().map(|set| Source {
        name: "--set".into(),
        text: set.clone(),
    }));
    sources.extend(options.target.iter().map(|url| Source {
        name: "--target".into(),
        text: url.clone(),
    }));

    let (root, mut found) = node::read(&sources[0].text, 0, 0);
    let Some(mut root) = root else {
        if found.is_empty() {
            found.push((
                Problem::error("", "the file is empty"),
                Span::default(),
                None,
            ));
        }
        return Err(report(&Arc::new(covered(sources, &[])), found, &[]));
    };
    for (i, set) in options.sets.iter().enumerate() {
        found.extend(overrides::set(&mut root, set, 1 + i));
    }
    if let Some(url) = &options.target {
        overrides::aim(&mut root, url, 1 + options.sets.len());
    }
    let folder = Folder::new(folder, options.allow_outside);
    found.extend(presets::place(&mut root, &folder, &mut sources));
    found.extend(expand(&mut root, &options.env, &folder, &sources));
    finish(root, sources, found, &folder)
}

fn expand(
    root: &mut Node,
    env: &dyn Fn(&str) -> Option<String>,
    folder: &Folder,
    sources: &[Source],
) -> Vec<Found> {
    let mut expander = Expander {
        env,
        folder,
        sources,
        found: Vec::new(),
        bytes: 0,
        count: 0,
    };
    expander.expand(root);
    expander.found
}

/// Checks the tree and makes the document of it.
fn finish(
    root: Node,
    sources: Vec<Source>,
    mut found: Vec<Found>,
    folder: &Folder,
) -> Result<Document, Report> {
    let Checked {
        value,
        found: checked,
        mut secrets,
    } = check::check(&root, &SCHEMA);
    let gutted = check::lost_names(&checked);
    // A reference that could not be replaced is one mistake, not also a bad value.
    let mut unresolved: Vec<Span> = found.iter().map(|(_, span, _)| *span).collect();
    unresolved.sort_by_key(|s| (s.source, s.start));
    let holds = |outer: Span| {
        let first =
            unresolved.partition_point(|s| (s.source, s.start) < (outer.source, outer.start));
        unresolved
            .get(first)
            .is_some_and(|s| s.source == outer.source && s.end <= outer.end)
    };
    found.extend(
        checked
            .into_iter()
            .filter(|(problem, span, _)| problem.on_key || !holds(*span)),
    );

    let credentials = redact::credentials(&root);
    secrets.extend(credentials.values);
    settle(&mut secrets);
    let sources = Arc::new(covered(sources, &credentials.spans));

    let scenario: Scenario = match serde_json::from_value(value) {
        Ok(scenario) => scenario,
        Err(error) => {
            if found.is_empty() {
                found.push((
                    Problem::error("", format!("the scenario cannot be read: {error}")),
                    Span::default(),
                    None,
                ));
            }
            return Err(report(&sources, found, &secrets));
        }
    };
    let (files, mut problems) = Files::collect(&scenario, folder);
    problems.extend(rules(&scenario, &root));
    secrets.extend(redact::columns(&root, &scenario, &files));
    settle(&mut secrets);
    let document = Document {
        sources: sources.clone(),
        root,
        scenario,
        files,
        secrets,
    };
    let mut known: HashSet<Span> = found.iter().map(|(_, span, _)| *span).collect();
    for problem in problems {
        let span = document.locate(&problem);
        // A value already found wrong need not be looked for as a file too.
        if known.insert(span) {
            found.push((problem, span, None));
        }
    }
    if found.is_empty() {
        return Ok(document);
    }
    let report = report(&sources, found, &document.secrets);
    Err(if gutted {
        report
    } else {
        report.with_partial(document)
    })
}

/// Secrets in the order of [`Document::secrets`].
fn settle(secrets: &mut Vec<String>) {
    secrets.retain(|secret| secret.len() >= redact::SHORTEST);
    secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    secrets.dedup();
}

/// What the schema cannot say.
fn rules(scenario: &Scenario, root: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    if scenario.version != 1 {
        let message = format!(
            "version {} of the scenario language is not known to this squall",
            scenario.version
        );
        problems.push(Problem::error("version", message).help("write version: 1"));
    }
    let target = root.get("target").map(|entry| &entry.node);
    let given = |key: &str| target.and_then(|t| t.get(key)).is_some();
    match (given("url"), given("embedded")) {
        (true, true) => {
            let message = "only one of `url` and `embedded` may be given";
            problems.push(Problem::error("target.embedded", message).on_key());
        }
        (false, false)
            if matches!(
                target,
                Some(Node {
                    value: node::Value::Map(_),
                    ..
                })
            ) =>
        {
            let problem = Problem::error("target", "`target` needs `url` or `embedded`").on_key();
            problems.push(problem.help("embedded: {} starts squall's own reference gateway"));
        }
        _ => {}
    }
    problems
}

/// The sources as they may be shown.
fn covered(sources: Vec<Source>, credentials: &[Span]) -> Vec<Source> {
    let cover = |(i, source): (usize, Source)| {
        let spans = credentials
            .iter()
            .filter(|s| s.source == i)
            .map(|s| s.start..s.end);
        Source {
            text: redact::cover(&source.text, spans),
            name: source.name,
        }
    };
    sources.into_iter().enumerate().map(cover).collect()
}

fn report(sources: &Arc<Vec<Source>>, mut found: Vec<Found>, secrets: &[String]) -> Report {
    found.sort_by_key(|(_, span, _)| (span.source, span.start, span.end));
    let omitted = found.len().saturating_sub(PROBLEMS);
    found.truncate(PROBLEMS);
    let mut report = Report::new(sources.clone());
    for (mut problem, span, also) in found {
        hide(&mut problem, secrets);
        report.add(problem, Some(span), also);
    }
    report.sort();
    report.omit(omitted);
    report
}

/// Takes secrets out of what a problem says.
fn hide(problem: &mut Problem, secrets: &[String]) {
    for secret in secrets {
        if problem.message.contains(secret) {
            problem.message = problem.message.replace(secret, "***");
        }
        problem.help = problem.help.take().map(|help| help.replace(secret, "***"));
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

    /// Values that must appear in no output: what `${env:}` and `${file:}` stood for in texts, credentials
    /// written literally, and the first 2,000 distinct values of CSV columns that are credentials by name or shown as one. Longest first, so that replacing them in order leaves no part of a longer one;
    /// values shorter than four bytes are left out.
    pub fn secrets(&self) -> &[String] {
        &self.secrets
    }

    /// The scenario as run, overrides applied, `${..}` as written, literal credentials masked.
    pub fn redacted_yaml(&self) -> String {
        serde_yaml::to_string(&redact::redacted(&self.root)).unwrap_or_default()
    }

    /// Gives problems found by later stages their places.
    pub fn report(&self, problems: Vec<Problem>) -> Report {
        let mut report = Report::new(self.sources.clone());
        for mut problem in problems {
            hide(&mut problem, &self.secrets);
            let span = self.locate(&problem);
            report.add(problem, Some(span), None);
        }
        report.sort();
        report
    }

    /// Whether a path leads to a text or a number.
    pub(super) fn is_scalar(&self, path: &str) -> bool {
        let (node, _) = overrides::find(&self.root, path);
        matches!(node.value, node::Value::Scalar(_))
    }

    /// The nearest place of a problem's path.
    fn locate(&self, problem: &Problem) -> Span {
        match overrides::find(&self.root, &problem.path) {
            (_, Some(key)) if problem.on_key => key,
            // The document as a whole is its beginning.
            (node, _) if problem.path.is_empty() => Span {
                end: node.span.start,
                ..node.span
            },
            (node, _) => node.span,
        }
    }
}
