//! What is wrong with a scenario, where, and how it is shown.

use super::Document;
use annotate_snippets::{AnnotationKind, Group, Origin, Renderer, Snippet};
use std::fmt;
use std::sync::Arc;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The scenario cannot run.
    Error,
    /// It can run, but probably means something else.
    Warning,
}

/// Something wrong with a scenario, named by the path of the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: `clients.subscribers.publish.rate`, `gates[2]`, `phases[0].for`; empty: the document.
    pub path: String,
    /// Points at the key instead of the value.
    pub on_key: bool,
    /// What is wrong, in a sentence without a full stop. Never holds a secret.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// How bad it is.
    pub level: Level,
}

impl Problem {
    /// An error at a value.
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            path: path.into(),
            on_key: false,
            message: message.into(),
            help: None,
            level: Level::Error,
        }
    }

    /// A warning at a value.
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Problem {
            level: Level::Warning,
            ..Problem::error(path, message)
        }
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, pointing at the key.
    pub fn on_key(mut self) -> Self {
        self.on_key = true;
        self
    }
}

/// A stretch of a source text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Span {
    /// Index of the source: 0 is the file, others are `--set` and `--target` arguments, then presets.
    pub source: usize,
    /// First byte.
    pub start: usize,
    /// Byte after the last.
    pub end: usize,
}

/// A text that spans point into.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// File name, or `--set`.
    pub name: String,
    /// What is shown; literal credentials are masked by the same number of characters.
    pub text: String,
}

impl Source {
    /// Line and column, both from 1, the column in characters.
    fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(&self.text);
        let start = before.rfind('\n').map_or(0, |i| i + 1);
        Place {
            source: self.name.clone(),
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
        }
    }
}

/// A position in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// File name, or `--set`.
    pub source: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

/// A problem with its place.
#[derive(Debug, Clone)]
pub struct Located {
    /// What is wrong.
    pub problem: Problem,
    /// Where; `None` when it has no place in a text (an unreadable file).
    pub place: Option<Place>,
    span: Option<Span>,
    also: Option<(Span, String)>,
}

/// All problems of a scenario, ready to be shown.
#[derive(Debug, Clone)]
pub struct Report {
    sources: Arc<Vec<Source>>,
    problems: Vec<Located>,
    omitted: usize,
    partial: Option<Arc<Document>>,
}

/// More than these are counted instead of shown.
const SHOWN: usize = 100;
/// A longer line is named by its place but not shown.
const LINE: usize = 2_000;

impl Report {
    pub(super) fn new(sources: Arc<Vec<Source>>) -> Self {
        Report {
            sources,
            problems: Vec::new(),
            omitted: 0,
            partial: None,
        }
    }

    /// Adds a problem at a span, with a second place that belongs to it.
    pub(super) fn add(
        &mut self,
        problem: Problem,
        span: Option<Span>,
        also: Option<(Span, String)>,
    ) {
        let place = span.and_then(|s| {
            self.sources
                .get(s.source)
                .map(|source| source.place(s.start))
        });
        self.problems.push(Located {
            problem,
            place,
            span,
            also,
        });
    }

    /// Counts problems that were found but are not kept.
    pub(super) fn omit(&mut self, count: usize) {
        self.omitted += count;
    }

    /// Keeps the document with harmless values where it is wrong.
    pub(super) fn with_partial(mut self, document: Document) -> Self {
        self.partial = Some(Arc::new(document));
        self
    }

    /// Lets a later stage add what it finds in the rest of the document, so that all mistakes are told at
    /// once. Does nothing when too much is missing; what only follows from a problem already known is left out.
    pub fn also(mut self, stage: impl FnOnce(&Document) -> Vec<Problem>) -> Self {
        let Some(document) = self.partial.take() else {
            return self;
        };
        let of = |located: &Located| located.problem.path.clone();
        let known: Vec<String> = self.problems.iter().map(of).collect();
        // Where a key is wrong, what it was to say is missing: whatever else is wrong with its table may follow from that.
        let keys = self.problems.iter().filter(|p| p.problem.on_key);
        let tables: Vec<String> = keys.filter_map(|p| table(&p.problem.path)).collect();
        let spans: Vec<Span> = self.problems.iter().filter_map(|p| p.span).collect();
        let follows = |later: &Located| {
            let path = later.problem.path.as_str();
            // A parent near the root has other reasons to be wrong than one of its many children.
            let parent = deep(path)
                && known
                    .iter()
                    .any(|known| !known.is_empty() && under(known, path));
            let child = known
                .iter()
                .any(|known| !known.is_empty() && under(path, known));
            // A reference that could not be replaced stands in the text that then lacks something.
            let within = |outer: Span| {
                let inside = |inner: &Span| {
                    (inner.source == outer.source)
                        && (outer.start..outer.end).contains(&inner.start)
                };
                document.is_scalar(path) && spans.iter().any(inside)
            };
            parent
                || child
                || tables.iter().any(|table| under(path, table))
                || later.span.is_some_and(within)
        };
        // What only warns waits until the rest is right.
        let errors = |later: &Located| later.problem.level == Level::Error;
        let more = document.report(stage(&document)).problems.into_iter();
        let more = more.filter(|later| errors(later) && !follows(later));
        self.problems.extend(more);
        self.sort();
        self
    }

    /// Puts the problems in the order of their places and drops repetitions (an alias repeats what it copies).
    pub(super) fn sort(&mut self) {
        let key = |p: &Located| p.span.map(|s| (s.source, s.start, s.end));
        self.problems.sort_by_key(key);
        self.problems
            .dedup_by(|a, b| key(a) == key(b) && a.problem.message == b.problem.message);
    }

    /// The problems, in the order of their places; of very many only the first 200.
    pub fn problems(&self) -> &[Located] {
        &self.problems
    }

    /// Whether any of them keeps the scenario from running.
    pub fn is_error(&self) -> bool {
        self.problems
            .iter()
            .any(|p| p.problem.level == Level::Error)
    }

    /// Shown with the lines they are about; `styled` with colours for a terminal.
    pub fn render(&self, styled: bool) -> String {
        let renderer = if styled {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for located in self.problems.iter().take(SHOWN) {
            out.push_str(renderer.render(&[self.group(located)]).trim_end());
            out.push_str("\n\n");
        }
        let more = self.problems.len().saturating_sub(SHOWN) + self.omitted;
        if more > 0 {
            out.push_str(&format!("... and {more} more problems\n\n"));
        }
        out.truncate(out.trim_end().len());
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }

    fn group<'a>(&'a self, located: &'a Located) -> Group<'a> {
        let problem = &located.problem;
        let level = match problem.level {
            Level::Error => annotate_snippets::Level::ERROR,
            Level::Warning => annotate_snippets::Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(clean(&problem.message)));
        if let Some((source, span)) = located
            .span
            .and_then(|s| Some((self.sources.get(s.source)?, s)))
        {
            let also = located
                .also
                .as_ref()
                .filter(|(s, _)| s.source == span.source);
            let (start, end) = match also {
                Some((other, _)) => (span.start.min(other.start), span.end.max(other.end)),
                None => (span.start, span.end),
            };
            let (start, end) = lines(&source.text, start, end);
            let shown = &source.text[start..end];
            if shown.lines().all(|line| line.len() <= LINE) {
                let local = |s: Span| first_line(&source.text, s.start, s.end, start);
                let mut snippet = Snippet::source(shown)
                    .path(source.name.as_str())
                    .line_start(source.text[..start].matches('\n').count() + 1)
                    .annotation(AnnotationKind::Primary.span(local(span)));
                if let Some((other, label)) = also {
                    snippet = snippet.annotation(
                        AnnotationKind::Context
                            .span(local(*other))
                            .label(label.as_str()),
                    );
                }
                group = group.element(snippet);
            } else if let Some(place) = &located.place {
                let origin = Origin::path(source.name.as_str())
                    .line(place.line)
                    .char_column(place.column);
                group = group.element(origin);
            }
        }
        if let Some(help) = &problem.help {
            group = group.element(annotate_snippets::Level::HELP.message(clean(help)));
        }
        group
    }
}

/// Whether a path is another one, or of something in it.
fn under(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Whether a path is of something in a group or phase.
fn deep(path: &str) -> bool {
    path.matches(['.', '[']).count() >= 2
}

/// The path of the table that a key is in, unless that is one of the first, which hold much that is not about it.
fn table(key: &str) -> Option<String> {
    let (table, _) = key.rsplit_once('.')?;
    (table.contains(['.', '['])).then(|| table.to_owned())
}

/// The range widened to whole lines, without the last line break.
fn lines(text: &str, start: usize, end: usize) -> (usize, usize) {
    let start = floor(text, start);
    let end = floor(text, end).max(start);
    let from = text[..start].rfind('\n').map_or(0, |i| i + 1);
    // A span that ends after a line break does not show the line that follows.
    let end = if end > start && text[..end].ends_with('\n') {
        end - 1
    } else {
        end
    };
    let to = text[end..].find('\n').map_or(text.len(), |i| end + i);
    (from, to)
}

/// The part of a span on its first line, relative to `base`; at least one character where there is one.
fn first_line(text: &str, start: usize, end: usize, base: usize) -> std::ops::Range<usize> {
    let start = floor(text, start).max(base);
    let line_end = text[start..].find('\n').map_or(text.len(), |i| start + i);
    let end = floor(text, end).clamp(start, line_end);
    start - base..end - base
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Text from the document made safe for a terminal: no control characters, bounded length.
pub(super) fn clean(text: &str) -> String {
    const LONGEST: usize = 400;
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
    }
    out
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
