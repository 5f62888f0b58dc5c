//! `--set path=value` and `--target URL`, and how a path names a value.

use super::language::{listed, nearest};
use super::node::{self, Entry, Found, Node, Value};
use super::problem::{Problem, Span};

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    Key(String),
    Index(usize),
}

/// A step with the bytes of the path it stands at.
type Steps = Vec<(Step, usize, usize)>;

/// `clients.subscribers.count`, `phases[0].for` → steps.
fn steps(path: &str) -> Result<Steps, (String, usize)> {
    let mut steps = Steps::new();
    let mut at = 0;
    while at < path.len() {
        let rest = &path[at..];
        if let Some(inner) = rest.strip_prefix('[') {
            let end = inner
                .find(']')
                .ok_or_else(|| ("a `[` without its `]`".to_string(), at))?;
            let index = inner[..end].parse().map_err(|_| {
                (
                    "between `[` and `]` stands a number, from 0".to_string(),
                    at,
                )
            })?;
            steps.push((Step::Index(index), at, at + end + 2));
            at += end + 2;
            if !(path[at..].is_empty() || path[at..].starts_with(['.', '['])) {
                return Err(("after `]` comes `.` or `[`".into(), at));
            }
        } else {
            let rest = if at > 0 {
                rest.strip_prefix('.').unwrap_or(rest)
            } else {
                rest
            };
            let start = path.len() - rest.len();
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return Err(("a name is missing in the path".into(), start));
            }
            steps.push((Step::Key(rest[..end].into()), start, start + end));
            at = start + end;
            if path[at..] == *"." {
                return Err(("a name is missing in the path".into(), at));
            }
        }
    }
    if steps.is_empty() {
        Err(("the path is missing".into(), 0))
    } else {
        Ok(steps)
    }
}

/// The nearest place of a path: the node and, where there is one, its key. Keys may hold dots.
pub(super) fn find<'a>(root: &'a Node, path: &str) -> (&'a Node, Option<Span>) {
    let (mut node, mut key) = (root, None);
    let mut rest = path;
    while !rest.is_empty() {
        let next = if let Some(inner) = rest.strip_prefix('[') {
            let Some((index, after)) = inner.split_once(']') else {
                break;
            };
            let item = match (&node.value, index.parse::<usize>()) {
                (Value::List(items), Ok(index)) => items.get(index),
                _ => None,
            };
            item.map(|item| (item, None, after))
        } else {
            let rest = rest.strip_prefix('.').unwrap_or(rest);
            let fits = |name: &str| {
                let after = rest.strip_prefix(name)?;
                (after.is_empty() || after.starts_with(['.', '['])).then_some(after)
            };
            match &node.value {
                Value::Map(entries) => {
                    let entries = entries.iter().filter_map(|e| Some((e, fits(&e.key)?)));
                    // The longest key that fits: `a.b` before `a`.
                    let best = entries.max_by_key(|(e, _)| e.key.len());
                    best.map(|(e, after)| (&e.node, Some(e.key_span), after))
                }
                Value::List(items) => {
                    let mut named = items
                        .iter()
                        .filter_map(|item| Some((item, fits(name(item)?)?)));
                    named.next().map(|(item, after)| (item, None, after))
                }
                Value::Scalar(_) => None,
            }
        };
        let Some((child, child_key, after)) = next else {
            break;
        };
        (node, key, rest) = (child, child_key, after);
    }
    (node, key)
}

/// The value of an item's `name`.
fn name(item: &Node) -> Option<&str> {
    match &item.get("name")?.node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// Applies one `path=value`; `source` is the index of the argument's text.
pub(super) fn set(root: &mut Node, argument: &str, source: usize) -> Vec<Found> {
    let span = |start, end| Span { source, start, end };
    let error = |message: String, span: Span| vec![(Problem::error("", message), span, None)];
    let Some((path, text)) = argument.split_once('=') else {
        let found = error("--set takes path=value".into(), span(0, argument.len()));
        return found
            .into_iter()
            .map(|(p, s, a)| (p.help("such as --set clients.subscribers.count=500"), s, a))
            .collect();
    };
    let steps = match steps(path) {
        Ok(steps) => steps,
        Err((message, at)) => return error(format!("--set: {message}"), span(at, path.len())),
    };
    let offset = path.len() + 1;
    let (value, found) = node::read(text, source, offset);
    if !found.is_empty() {
        return found;
    }
    let value = value.unwrap_or_else(|| Node::scalar("", true, span(offset, argument.len())));
    match place(root, &steps, source) {
        Ok(node) => {
            *node = value;
            Vec::new()
        }
        Err(wrong) => {
            let mut problem = Problem::error("", format!("--set: {}", wrong.message));
            problem.help = wrong.help;
            vec![(problem, wrong.span, None)]
        }
    }
}

/// Why a path names nothing.
struct Wrong {
    message: String,
    span: Span,
    help: Option<String>,
}

impl Wrong {
    fn new(message: impl Into<String>, span: Span) -> Wrong {
        Wrong {
            message: message.into(),
            span,
            help: None,
        }
    }
}

/// What is named freely in the table at these steps, if its entries are more than a value: a slip in such a name
/// would make a new entry where another was meant.
fn named(table: &[(Step, usize, usize)]) -> Option<&'static str> {
    let is = |at: usize, key: &str| matches!(&table[at].0, Step::Key(k) if k == key);
    match table.len() {
        1 if is(0, "clients") => Some("group"),
        3 if is(0, "clients") && is(2, "vars") => Some("variable"),
        _ => None,
    }
}

fn did_you_mean(key: &str, names: &[String]) -> Option<String> {
    nearest(key, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"))
}

/// The node a path names, made where it does not exist yet.
fn place<'a>(root: &'a mut Node, steps: &Steps, source: usize) -> Result<&'a mut Node, Wrong> {
    let mut node = root;
    for (i, (step, start, end)) in steps.iter().enumerate() {
        let span = Span {
            source,
            start: *start,
            end: *end,
        };
        if matches!(node.value, Value::Scalar(_)) && matches!(step, Step::Key(_)) {
            *node = Node {
                span,
                value: Value::Map(Vec::new()),
            };
        }
        node = match (&mut node.value, step) {
            (Value::Map(entries), Step::Key(key)) => {
                if let Some(kind) = named(&steps[..i])
                    && i + 1 < steps.len()
                    && entries.iter().all(|e| e.key != *key)
                {
                    let names: Vec<_> = entries.iter().map(|e| e.key.clone()).collect();
                    let known = if names.is_empty() {
                        String::new()
                    } else {
                        format!(" (known: {})", listed(&names, 20))
                    };
                    let whole = || format!("a new {kind} is given whole: `{key}={{ ... }}`");
                    return Err(Wrong {
                        message: format!("there is no {kind} `{key}`{known}"),
                        span,
                        help: Some(did_you_mean(key, &names).unwrap_or_else(whole)),
                    });
                }
                let at = entries
                    .iter()
                    .position(|e| e.key == *key)
                    .unwrap_or_else(|| {
                        let node = Node {
                            span,
                            value: Value::Map(Vec::new()),
                        };
                        entries.push(Entry {
                            key: key.clone(),
                            key_span: span,
                            node,
                        });
                        entries.len() - 1
                    });
                &mut entries[at].node
            }
            (Value::List(items), Step::Key(key)) => {
                let names: Vec<_> = items
                    .iter()
                    .filter_map(|i| name(i).map(str::to_owned))
                    .collect();
                let length = items.len();
                let named = items.iter_mut().find(|item| name(item) == Some(key));
                named.ok_or_else(|| {
                    let known = if names.is_empty() {
                        String::new()
                    } else {
                        format!(" (known: {})", names.join(", "))
                    };
                    Wrong {
                        message: format!(
                            "this is a list of {length}, and none of it is named `{key}`{known}"
                        ),
                        span,
                        help: did_you_mean(key, &names),
                    }
                })?
            }
            (Value::List(items), Step::Index(index)) => {
                let length = items.len();
                if *index == length {
                    items.push(Node {
                        span,
                        value: Value::Map(Vec::new()),
                    });
                }
                let missing = || {
                    Wrong::new(
                        format!(
                            "[{index}] is beyond the end: the list has {length}, counted from 0"
                        ),
                        span,
                    )
                };
                items.get_mut(*index).ok_or_else(missing)?
            }
            (_, Step::Index(index)) => {
                return Err(Wrong::new(
                    format!("[{index}] asks for a list, and this is none"),
                    span,
                ));
            }
            (Value::Scalar(_), Step::Key(_)) => {
                return Err(Wrong::new("this holds a plain value", span));
            }
        };
    }
    Ok(node)
}

/// Aims at another target: `url` replaced, `embedded` dropped.
pub(super) fn aim(root: &mut Node, url: &str, source: usize) {
    let span = Span {
        source,
        start: 0,
        end: url.len(),
    };
    let Value::Map(entries) = &mut root.value else {
        return;
    };
    let url = Entry {
        key: "url".into(),
        key_span: span,
        node: Node::scalar(url, false, span),
    };
    match entries.iter_mut().find(|e| e.key == "target") {
        Some(Entry {
            node: Node {
                value: Value::Map(target),
                ..
            },
            ..
        }) => {
            target.retain(|e| e.key != "url" && e.key != "embedded");
            target.insert(0, url);
        }
        Some(entry) => {
            entry.node = Node {
                span,
                value: Value::Map(vec![url]),
            }
        }
        None => {
            let node = Node {
                span,
                value: Value::Map(vec![url]),
            };
            entries.push(Entry {
                key: "target".into(),
                key_span: span,
                node,
            });
        }
    }
}
