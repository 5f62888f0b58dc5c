//! YAML text to a tree that knows where every part of it stands.
//!
//! Built on parser events with a stack of our own: neither nesting nor aliases can exhaust anything,
//! since depth, nodes and text are counted while the tree grows. Knows nothing of the language.

use super::problem::{Problem, Span};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::borrow::Cow;
use std::collections::HashMap;

/// A value with its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub span: Span,
    pub value: Value,
}

/// What a node holds.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A scalar as written; what it means is decided where it is used.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    /// The text, `${..}` replaced.
    pub text: String,
    /// Unquoted, so that it may mean something else than text.
    pub plain: bool,
    /// The text before `${..}` was replaced, and what took its place.
    pub expanded: Option<(String, Vec<String>)>,
}

/// One key of a map.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl Node {
    pub fn scalar(text: impl Into<String>, plain: bool, span: Span) -> Node {
        Node {
            span,
            value: Value::Scalar(Scalar {
                text: text.into(),
                plain,
                expanded: None,
            }),
        }
    }

    pub fn get(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }
}

/// A problem with its place and, sometimes, a second one.
pub(super) type Found = (Problem, Span, Option<(Span, String)>);

/// Nesting that no scenario needs.
const DEPTH: usize = 64;
/// Nodes of a document, copies made by aliases included.
const NODES: usize = 50_000;
/// Bytes of scalar text, copies made by aliases included.
const TEXT: usize = 16 << 20;
/// Anchors of a document.
const ANCHORS: usize = 1_000;
/// Aliases of a document.
const ALIASES: usize = 10_000;

/// Reads one YAML document; `source` marks its spans, `offset` is added to them.
///
/// Line breaks must be `\n`. The tree is missing when the text is not YAML or too much of it.
pub(super) fn read(text: &str, source: usize, offset: usize) -> (Option<Node>, Vec<Found>) {
    let mut builder = Builder::new(text, source, offset);
    let root = match builder.run(text) {
        Ok(root) => root,
        Err(found) => {
            builder.found.push(*found);
            None
        }
    };
    (root, builder.found)
}

/// A map or list being filled.
struct Open {
    node: Node,
    anchor: usize,
    /// The key read, while its value is awaited; `None` as key: a broken one, its value is dropped.
    key: Option<(Option<String>, Span)>,
    /// Keys so far; a search through the entries would be quadratic.
    seen: HashMap<String, Span>,
}

/// An anchored value, with what a copy of it costs.
struct Anchored {
    node: Node,
    nodes: usize,
    text: usize,
    depth: usize,
}

struct Builder {
    /// Byte at which each line starts.
    lines: Vec<usize>,
    length: usize,
    ascii: bool,
    text: String,
    source: usize,
    offset: usize,
    stack: Vec<Open>,
    anchors: HashMap<usize, Anchored>,
    aliases: usize,
    nodes: usize,
    bytes: usize,
    root: Option<Node>,
    found: Vec<Found>,
}

type Failed = Box<Found>;

impl Builder {
    fn new(text: &str, source: usize, offset: usize) -> Self {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(i, _)| i + 1);
        Builder {
            lines: std::iter::once(0).chain(starts).collect(),
            length: text.len(),
            ascii: text.is_ascii(),
            text: if text.is_ascii() {
                String::new()
            } else {
                text.to_owned()
            },
            source,
            offset,
            stack: Vec::new(),
            anchors: HashMap::new(),
            aliases: 0,
            nodes: 0,
            bytes: 0,
            root: None,
            found: Vec::new(),
        }
    }

    /// Parser marks count characters; texts are cut by bytes.
    fn byte(&self, mark: &Marker) -> usize {
        let line = mark.line().saturating_sub(1);
        let Some(start) = self.lines.get(line).copied() else {
            return self.offset + self.length;
        };
        let end = self
            .lines
            .get(line + 1)
            .map_or(self.length, |next| next - 1);
        let column = if self.ascii {
            mark.col()
        } else {
            let line = &self.text[start..end];
            line.char_indices()
                .nth(mark.col())
                .map_or(line.len(), |(i, _)| i)
        };
        self.offset + (start + column).min(end)
    }

    fn span(&self, span: saphyr_parser::Span) -> Span {
        let start = self.byte(&span.start);
        Span {
            source: self.source,
            start,
            end: self.byte(&span.end).max(start),
        }
    }

    fn fail(&self, span: Span, message: impl Into<String>) -> Failed {
        Box::new((Problem::error("", message), span, None))
    }

    fn run(&mut self, text: &str) -> Result<Option<Node>, Failed> {
        let mut parser = Parser::new_from_str(text);
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok((event, span)) => (event, self.span(span)),
                Err(error) => {
                    let at = self.byte(error.marker());
                    let span = Span {
                        source: self.source,
                        start: at,
                        end: at,
                    };
                    let mut failed =
                        self.fail(span, format!("this is not valid YAML: {}", error.info()));
                    let line = text.lines().nth(error.marker().line().saturating_sub(1));
                    if line.is_some_and(|line| line.contains("${")) {
                        let help =
                            "inside of { } and [ ] a reference is put in quotes: \"${env:NAME}\"";
                        failed.0.help = Some(help.into());
                    }
                    return Err(failed);
                }
            };
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        return Err(self.fail(
                            span,
                            "a second document starts here; a scenario is one document",
                        ));
                    }
                }
                Event::Scalar(text, style, anchor, tag) => {
                    self.scalar(text, style, anchor, tag, span)?
                }
                Event::SequenceStart(anchor, tag) => {
                    self.open(Value::List(Vec::new()), anchor, tag, span)?
                }
                Event::MappingStart(anchor, tag) => {
                    self.open(Value::Map(Vec::new()), anchor, tag, span)?
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
                Event::Alias(anchor) => self.alias(anchor, span)?,
                Event::Nothing | Event::StreamStart | Event::DocumentEnd => {}
            }
        }
        Ok(self.root.take())
    }

    /// Counts what is about to be added.
    fn charge(&mut self, nodes: usize, text: usize, span: Span) -> Result<(), Failed> {
        self.nodes += nodes;
        self.bytes += text;
        if self.nodes > NODES {
            return Err(self.fail(
                span,
                format!("the document grows beyond {NODES} values here, aliases counted in full"),
            ));
        }
        if self.bytes > TEXT {
            return Err(self.fail(
                span,
                "the document grows beyond 16 MiB of text here, aliases counted in full",
            ));
        }
        Ok(())
    }

    fn tag(&mut self, tag: Option<&Tag>, span: Span) -> bool {
        let Some(tag) = tag else { return false };
        let text = tag.handle == "!" && tag.suffix.is_empty()
            || tag.is_yaml_core_schema() && tag.suffix == "str";
        if !text && !tag.is_yaml_core_schema() {
            self.found.push((
                Problem::error("", format!("the tag `{tag}` means nothing in a scenario")),
                span,
                None,
            ));
        }
        text
    }

    fn scalar(
        &mut self,
        text: Cow<'_, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Failed> {
        self.charge(1, text.len(), span)?;
        let is_text = self.tag(tag.as_deref(), span);
        let plain = matches!(style, ScalarStyle::Plain) && !is_text;
        let node = Node::scalar(text, plain, span);
        self.put(node, anchor)
    }

    fn open(
        &mut self,
        value: Value,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        span: Span,
    ) -> Result<(), Failed> {
        self.charge(1, 0, span)?;
        if self.stack.len() >= DEPTH {
            return Err(self.fail(span, format!("nested deeper than {DEPTH} levels")));
        }
        self.tag(tag.as_deref(), span);
        self.stack.push(Open {
            node: Node { span, value },
            anchor,
            key: None,
            seen: HashMap::new(),
        });
        Ok(())
    }

    fn close(&mut self, span: Span) -> Result<(), Failed> {
        let Some(mut open) = self.stack.pop() else {
            return Ok(());
        };
        open.node.span.end = span.end.max(open.node.span.end);
        self.put(open.node, open.anchor)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Failed> {
        self.aliases += 1;
        if self.aliases > ALIASES {
            return Err(self.fail(span, format!("more than {ALIASES} aliases")));
        }
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err(self.fail(span, "this alias stands inside the value it names"));
        };
        let (nodes, text, depth) = (anchored.nodes, anchored.text, anchored.depth);
        // Charged before it is copied: that is what defuses a bomb.
        self.charge(nodes, text, span)?;
        if self.stack.len() + depth > DEPTH {
            return Err(self.fail(span, format!("nested deeper than {DEPTH} levels")));
        }
        match self.anchors.get(&anchor).map(|a| a.node.clone()) {
            Some(node) => self.put(node, 0),
            None => Ok(()),
        }
    }

    /// Adds a finished value to what is open.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Failed> {
        if anchor != 0 {
            if self.anchors.len() >= ANCHORS {
                return Err(self.fail(node.span, format!("more than {ANCHORS} anchors")));
            }
            let (nodes, text, depth) = measure(&node);
            // Anchors are copies too.
            self.charge(nodes, text, node.span)?;
            self.anchors.insert(
                anchor,
                Anchored {
                    node: node.clone(),
                    nodes,
                    text,
                    depth,
                },
            );
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.value {
            Value::List(items) => items.push(node),
            Value::Map(entries) => match open.key.take() {
                None => match node.value {
                    Value::Scalar(scalar) => open.key = Some((Some(scalar.text), node.span)),
                    _ => {
                        open.key = Some((None, node.span));
                        self.found.push((
                            Problem::error("", "a key must be a plain text"),
                            node.span,
                            None,
                        ));
                    }
                },
                Some((None, _)) => {}
                Some((Some(key), key_span)) => match open.seen.insert(key.clone(), key_span) {
                    Some(first) => {
                        let also = Some((first, "first given here".to_string()));
                        let problem = Problem::error("", format!("the key `{key}` is given twice"));
                        self.found.push((problem.on_key(), key_span, also));
                    }
                    None => entries.push(Entry {
                        key,
                        key_span,
                        node,
                    }),
                },
            },
            Value::Scalar(_) => {}
        }
        Ok(())
    }
}

/// Nodes, bytes of text and depth of a value.
fn measure(node: &Node) -> (usize, usize, usize) {
    let add = |(n, t, d): (usize, usize, usize), child: &Node| {
        let (nodes, text, depth) = measure(child);
        (n + nodes, t + text, d.max(depth + 1))
    };
    match &node.value {
        Value::Scalar(scalar) => (1, scalar.text.len(), 0),
        Value::List(items) => items.iter().fold((1, 0, 1), add),
        Value::Map(entries) => entries.iter().map(|e| &e.node).fold((1, 0, 1), add),
    }
}
