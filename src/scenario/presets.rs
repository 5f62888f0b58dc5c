//! Presets: protocols as files of YAML, with the keys of a client group that speaking them takes. Loading puts the keys in the
//! place of `protocol: phoenix`, with their places in the preset's own file, so that everything after it sees only groups.
//!
//! What the group says itself is left as it is: keys of tables (`vars`, `headers`, `capture_headers`, `heartbeat`) one by one, all else whole.

use super::files::Folder;
use super::language::nearest;
use super::node::{self, Entry, Found, Node, Value};
use super::problem::{Problem, Source, Span};

/// A preset that comes with squall.
#[derive(Debug, Clone, Copy)]
pub struct ShippedPreset {
    /// Its name, which is that of its file.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

impl ShippedPreset {
    /// What it is, in a line: the file's `description`.
    pub fn description(&self) -> &'static str {
        let mut lines = self.text.lines();
        lines
            .find_map(|line| line.strip_prefix("description: "))
            .unwrap_or_default()
    }
}

macro_rules! shipped {
    ($($name:literal),*) => {
        [$(ShippedPreset {
            name: $name,
            text: include_str!(concat!("../../scenarios/protocols/", $name, ".yaml")),
        }),*]
    };
}

/// The presets that come with squall.
pub const PRESETS: [ShippedPreset; 7] = shipped![
    "phoenix",
    "centrifugo",
    "pusher",
    "graphql_transport_ws",
    "action_cable",
    "json_rpc",
    "nats"
];

/// Largest preset, in bytes.
const LARGEST: u64 = 256 << 10;

/// Tables of a group that are joined key by key.
const JOINED: [&str; 4] = ["vars", "headers", "capture_headers", "heartbeat"];

/// Puts the keys of presets in their place. Each file that is read becomes a source.
pub(super) fn place(root: &mut Node, folder: &Folder, sources: &mut Vec<Source>) -> Vec<Found> {
    let mut found = Vec::new();
    let clients = match &mut root.value {
        Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == "clients"),
        _ => None,
    };
    let Some(Entry {
        node: Node {
            value: Value::Map(groups),
            ..
        },
        ..
    }) = clients
    else {
        return found;
    };
    for Entry { node: group, .. } in groups {
        let Some(asked) = group.get("protocol").and_then(|entry| asked(&entry.node)) else {
            continue;
        };
        match read(&asked, folder, sources) {
            Ok((preset, mut wrong)) => {
                if wrong.is_empty()
                    && let Some(problem) = join(group, preset, asked)
                {
                    wrong.push(problem);
                }
                // A file that two groups use is wrong once.
                found.extend(wrong);
            }
            Err(problem) => found.push((problem, asked.span, None)),
        }
    }
    found
}

/// What a group asks for.
struct Asked {
    name: String,
    span: Span,
    /// Keys of the mapping that take the place of the preset's.
    mapping: Vec<Entry>,
}

/// `phoenix`, `{ preset: phoenix }`, `{ preset: { name: phoenix, mapping: … } }`; whatever else is the checker's.
fn asked(protocol: &Node) -> Option<Asked> {
    let text = |node: &Node| match &node.value {
        Value::Scalar(scalar) => Some(scalar.text.clone()),
        _ => None,
    };
    let plain = |name: String, span| Asked {
        name,
        span,
        mapping: Vec::new(),
    };
    let preset = match &protocol.value {
        Value::Scalar(scalar) => {
            let known = PRESETS.iter().any(|preset| preset.name == scalar.text);
            return known.then(|| plain(scalar.text.clone(), protocol.span));
        }
        Value::Map(entries) if entries.len() == 1 => &protocol.get("preset")?.node,
        _ => return None,
    };
    let Value::Map(entries) = &preset.value else {
        return Some(plain(text(preset)?, preset.span));
    };
    let name = &preset.get("name")?.node;
    let mapping = match preset.get("mapping").map(|entry| &entry.node.value) {
        None => Vec::new(),
        Some(Value::Map(entries)) => entries.clone(),
        Some(_) => return None,
    };
    // One with a key too many is the checker's to refuse.
    let known = |entry: &Entry| matches!(entry.key.as_str(), "name" | "mapping");
    entries.iter().all(known).then_some(Asked {
        name: text(name)?,
        span: name.span,
        mapping,
    })
}

/// A preset's tree, and what is wrong with its YAML.
fn read(
    asked: &Asked,
    folder: &Folder,
    sources: &mut Vec<Source>,
) -> Result<(Node, Vec<Found>), Problem> {
    let name = asked.name.as_str();
    let shipped = PRESETS.iter().find(|preset| preset.name == name);
    let (shown, text) = match shipped {
        Some(preset) => (
            format!("protocols/{name}.yaml (squall protocols {name})"),
            preset.text.to_owned(),
        ),
        None if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") => {
            let bytes = folder
                .read(name, LARGEST)
                .map_err(|message| Problem::error("", message))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Problem::error("", format!("the file `{name}` is not UTF-8 text")))?;
            (name.to_owned(), text)
        }
        None => {
            let problem = Problem::error("", format!("there is no preset `{name}`"));
            return Err(match nearest(name, PRESETS.iter().map(|p| p.name)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help(
                    "`squall protocols` lists them; one of your own is a path: `./mine.yaml`",
                ),
            });
        }
    };
    let text = text
        .strip_prefix('\u{feff}')
        .unwrap_or(&text)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let source = match sources.iter().position(|source| source.name == shown) {
        Some(known) if known > 0 => known,
        _ => {
            sources.push(Source { name: shown, text });
            sources.len() - 1
        }
    };
    match node::read(&sources[source].text, source, 0) {
        (Some(root), found) => Ok((root, found)),
        (None, found) if !found.is_empty() => Ok((Node::scalar("", true, asked.span), found)),
        (None, _) => Err(Problem::error("", format!("the preset `{name}` is empty"))),
    }
}

/// Joins a preset's keys to a group's.
fn join(group: &mut Node, preset: Node, asked: Asked) -> Option<Found> {
    let span = preset.span;
    let wrong = |message: &str, span| Some((Problem::error("", message), span, None));
    let Value::Map(keys) = preset.value else {
        return wrong("a preset is a table of a client group's keys", span);
    };
    let Value::Map(entries) = &mut group.value else {
        return None;
    };
    let Some(protocol) = keys.iter().find(|entry| entry.key == "protocol") else {
        return wrong(
            "the preset does not say what is spoken: `protocol` is missing",
            span,
        );
    };
    if protocol.node.get("json_mapping").is_none() {
        let message = "a preset's `protocol` is a `json_mapping`";
        return wrong(message, protocol.node.span);
    }
    for mut entry in keys {
        let own = entries.iter_mut().find(|own| own.key == entry.key);
        match (entry.key.as_str(), own) {
            ("description", _) => {}
            ("protocol", Some(own)) => {
                replace(&mut entry.node, &asked.mapping);
                own.node = entry.node;
            }
            (_, None) => entries.push(entry),
            (key, Some(own)) => {
                if let (true, Value::Map(theirs), Value::Map(own)) =
                    (JOINED.contains(&key), entry.node.value, &mut own.node.value)
                {
                    for entry in theirs {
                        if own.iter().all(|own| own.key != entry.key) {
                            own.push(entry);
                        }
                    }
                }
            }
        }
    }
    None
}

/// Puts keys in the place of a mapping's own.
fn replace(protocol: &mut Node, keys: &[Entry]) {
    let Value::Map(entries) = &mut protocol.value else {
        return;
    };
    let mapping = entries.iter_mut().find(|entry| entry.key == "json_mapping");
    if let Some(Entry {
        node: Node {
            value: Value::Map(mapping),
            ..
        },
        ..
    }) = mapping
    {
        mapping.retain(|own| keys.iter().all(|entry| entry.key != own.key));
        mapping.extend(keys.iter().cloned());
    }
}
