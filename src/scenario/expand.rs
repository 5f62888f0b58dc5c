//! `${env:NAME}` and `${file:PATH}` inside string values. `$${` stands for a literal `${`.

use super::files::Folder;
use super::node::{Found, Node, Scalar, Value};
use super::problem::{Problem, Source, Span};

/// References of a document.
const REFERENCES: usize = 1_000;
/// Text that all references of a document together may bring in, in bytes.
const TEXT: usize = 4 << 20;

pub(super) struct Expander<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub folder: &'a Folder,
    pub sources: &'a [Source],
    pub found: Vec<Found>,
    /// Bytes brought in so far.
    pub bytes: usize,
    /// References met so far.
    pub count: usize,
}

impl Expander<'_> {
    /// Replaces every reference in the tree; what cannot be replaced is found wrong and left as it is.
    pub fn expand(&mut self, node: &mut Node) {
        let span = node.span;
        match &mut node.value {
            Value::List(items) => items.iter_mut().for_each(|item| self.expand(item)),
            Value::Map(entries) => entries.iter_mut().for_each(|e| self.expand(&mut e.node)),
            Value::Scalar(scalar) if scalar.text.contains("${") => self.scalar(scalar, span),
            Value::Scalar(_) => {}
        }
    }

    fn scalar(&mut self, scalar: &mut Scalar, span: Span) {
        let written = scalar.text.clone();
        let (mut text, mut values) = (String::new(), Vec::new());
        let mut rest = written.as_str();
        while let Some(at) = rest.find("${").filter(|_| self.count <= REFERENCES) {
            if rest[..at].ends_with('$') {
                text.push_str(&rest[..at - 1]);
                text.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            text.push_str(&rest[..at]);
            let (reference, after) = match rest[at..].find('}') {
                Some(end) => rest[at..].split_at(end + 1),
                None => (&rest[at..], ""),
            };
            self.count += 1;
            if self.count > REFERENCES {
                let message = format!("more than {REFERENCES} references");
                self.found.push((Problem::error("", message), span, None));
                break;
            }
            match self.value(reference) {
                Ok(value) => {
                    self.bytes += value.len();
                    text.push_str(&value);
                    values.push(value);
                }
                Err((message, help)) => {
                    let mut problem = Problem::error("", message);
                    problem.help = help;
                    self.found
                        .push((problem, self.locate(reference, span), None));
                }
            }
            rest = after;
        }
        text.push_str(rest);
        scalar.text = text;
        scalar.expanded = Some((written, values));
    }

    fn value(&self, reference: &str) -> Result<String, (String, Option<String>)> {
        let Some(inner) = reference
            .strip_prefix("${")
            .and_then(|r| r.strip_suffix('}'))
        else {
            return Err((format!("`{reference}` has no closing brace"), None));
        };
        let value = match inner.split_once(':') {
            Some(("env", name)) => (self.env)(name).ok_or_else(|| {
                (
                    format!("the environment variable `{name}` is not set"),
                    Some(format!("set it, as in {name}=... squall run")),
                )
            })?,
            Some(("file", path)) => {
                let bytes = self
                    .folder
                    .read(path, 64 << 10)
                    .map_err(|message| (message, None))?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| (format!("the file `{path}` is not UTF-8 text"), None))?;
                // Editors end a file with a line break that is not part of the secret.
                let text = text.strip_suffix('\n').unwrap_or(&text);
                text.strip_suffix('\r').unwrap_or(text).to_owned()
            }
            _ => {
                let help = "${env:NAME} reads the environment, ${file:PATH} a file; $${ stands for a literal ${";
                return Err((
                    format!("`{reference}` is not a reference squall knows"),
                    Some(help.into()),
                ));
            }
        };
        if self.bytes + value.len() > TEXT {
            return Err((
                "the references bring in more than 4 MiB of text".into(),
                None,
            ));
        }
        Ok(value)
    }

    /// The reference itself where it stands in the source as it is, else the whole scalar.
    fn locate(&self, reference: &str, span: Span) -> Span {
        let text = self
            .sources
            .get(span.source)
            .and_then(|s| s.text.get(span.start..span.end));
        match text.and_then(|t| t.find(reference)) {
            Some(at) => Span {
                start: span.start + at,
                end: span.start + at + reference.len(),
                ..span
            },
            None => span,
        }
    }
}
