//! Imports go one way: the table of who may know whom, held against every path in `src/`.
//!
//! The table is also in `ARCHITECTURE.md`, and the test compares the two. What a `#[cfg(test)]` item says does not
//! count: tests may build what they need.

#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module, and what it may name of the others. Whoever is not here may not exist.
const MAY: &[(&str, &[&str])] = &[
    ("exit", &[]),
    ("heap", &[]),
    ("scenario", &[]),
    ("protocol", &[]),
    ("transport", &[]),
    ("broker", &["transport"]),
    ("metrics", &[]),
    ("gate", &["metrics"]),
    (
        "plan",
        &["broker", "gate", "protocol", "scenario", "transport"],
    ),
    ("report", &["exit", "metrics"]),
    ("gateway", &["broker", "heap", "protocol"]),
    (
        "engine",
        &["broker", "heap", "metrics", "plan", "protocol", "transport"],
    ),
    ("fabric", &["metrics", "plan"]),
    (
        "run",
        &[
            "exit", "fabric", "gate", "gateway", "metrics", "plan", "report", "scenario",
        ],
    ),
    (
        "cli",
        &[
            "broker",
            "exit",
            "fabric",
            "gate",
            "gateway",
            "heap",
            "metrics",
            "plan",
            "protocol",
            "report",
            "run",
            "scenario",
            "transport",
        ],
    ),
];

/// What one file may name beyond its module's line.
const FILES: &[(&str, &[&str])] = &[
    ("fabric/worker.rs", &["engine"]),
    ("run/http.rs", &["transport"]),
];

/// Of these modules `plan` may name these items only: configuration, never what works with it.
const CONFIGURATION: &[(&str, &[&str])] = &[
    (
        "broker",
        &[
            "Acks",
            "Config",
            "Endpoint",
            "KafkaConfig",
            "Login",
            "Mechanism",
            "NatsConfig",
            "RabbitMqConfig",
        ],
    ),
    (
        "transport",
        &[
            "Endpoint",
            "Offer",
            "Pick",
            "Proxy",
            "TargetConfig",
            "TlsConfig",
        ],
    ),
    (
        "protocol",
        &[
            "Condition",
            "Field",
            "JwtAlgorithm",
            "JwtSigner",
            "MIN_PAYLOAD",
            "Mapping",
            "ProtocolConfig",
            "settings",
        ],
    ),
];

/// Modules that are pure: no clock, no file, no socket, no process, no environment.
const PURE: &[&str] = &["plan", "protocol", "metrics", "gate"];

/// What `fuzz/` builds from its source alone: of the crate these files name the error, of others nothing that does I/O.
const ALONE: &[&str] = &[
    "broker/error.rs",
    "broker/kafka/api.rs",
    "broker/kafka/records.rs",
    "broker/kafka/wire.rs",
    "broker/nats/wire.rs",
    "broker/rabbitmq/wire.rs",
];

/// What a pure module may not name: the paths' last two words.
const IMPURE: &[(&str, &str)] = &[
    ("std", "fs"),
    ("std", "process"),
    ("std", "thread"),
    ("std", "env"),
    ("std", "os"),
    ("net", "TcpStream"),
    ("net", "TcpListener"),
    ("net", "UdpSocket"),
    ("time", "Instant"),
    ("time", "SystemTime"),
];

/// A word or a mark of Rust, comments and the contents of literals left out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Mark(char),
}

impl Token {
    fn is(&self, mark: char) -> bool {
        *self == Token::Mark(mark)
    }

    fn word(&self) -> Option<&str> {
        match self {
            Token::Word(word) => Some(word),
            Token::Mark(_) => None,
        }
    }
}

fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let word_char = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut i = 0;
    while i < text.len() {
        match at(i) {
            '/' if at(i + 1) == '/' => {
                while i < text.len() && at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= text.len() {
                        break;
                    }
                }
            }
            '"' => i = after_string(&text, i),
            '\'' => {
                // A lifetime, unless it is closed one character later or starts an escape.
                if at(i + 1) == '\\' {
                    i += 3;
                    while i < text.len() && at(i) != '\'' {
                        i += 1;
                    }
                    i += 1;
                } else if at(i + 2) == '\'' {
                    i += 3;
                } else {
                    i += 1;
                }
            }
            c if word_char(c) => {
                let start = i;
                while word_char(at(i)) {
                    i += 1;
                }
                let word: String = text[start..i].iter().collect();
                let hashes = (i..).take_while(|&j| at(j) == '#').count();
                let raw = matches!(word.as_str(), "r" | "br" | "cr") && at(i + hashes) == '"';
                if raw {
                    i += hashes + 1;
                    while i < text.len()
                        && !(at(i) == '"' && (1..=hashes).all(|h| at(i + h) == '#'))
                    {
                        i += 1;
                    }
                    i += 1 + hashes;
                } else {
                    found.push(Token::Word(word));
                }
            }
            c if c.is_whitespace() => i += 1,
            c => {
                found.push(Token::Mark(c));
                i += 1;
            }
        }
    }
    found
}

fn after_string(text: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < text.len() && text[i] != '"' {
        i += if text[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// Index behind the bracket that closes the one at `open`.
fn behind(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token {
            Token::Mark('(' | '[' | '{') => depth += 1,
            Token::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    tokens.len()
}

/// The tokens without items under `#[cfg(test)]`, and the names of modules so marked that live in files of their own.
fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    let mut kept = Vec::new();
    let mut elsewhere = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let attribute = tokens[i].is('#') && tokens.get(i + 1).is_some_and(|t| t.is('['));
        if !attribute {
            kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let end = behind(tokens, i + 1);
        let words: Vec<&str> = tokens[i..end].iter().filter_map(Token::word).collect();
        if words != ["cfg", "test"] {
            kept.extend_from_slice(&tokens[i..end]);
            i = end;
            continue;
        }
        // The item: to its `;`, or to the end of its braces.
        i = end;
        while i < tokens.len() {
            match &tokens[i] {
                Token::Mark(';') => {
                    if let Some(name) = tokens[..i].last().and_then(Token::word)
                        && tokens[..i - 1].last().and_then(Token::word) == Some("mod")
                    {
                        elsewhere.push(name.to_owned());
                    }
                    i += 1;
                    break;
                }
                Token::Mark('{') => {
                    i = behind(tokens, i);
                    break;
                }
                Token::Mark('(' | '[') => i = behind(tokens, i),
                _ => i += 1,
            }
        }
    }
    (kept, elsewhere)
}

/// Every path in the tokens, groups in braces spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(tokens: &[Token]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        if tokens[i].word().is_some() {
            i = path(tokens, i, &[], &mut found);
        } else {
            i += 1;
        }
    }
    found
}

fn path(tokens: &[Token], mut i: usize, prefix: &[String], found: &mut Vec<Vec<String>>) -> usize {
    let mut words = prefix.to_vec();
    loop {
        match tokens.get(i) {
            Some(Token::Word(word)) => words.push(word.clone()),
            Some(Token::Mark('*')) if words.len() > prefix.len() || !prefix.is_empty() => {
                words.push("*".to_owned());
            }
            Some(Token::Mark('{')) if !words.is_empty() => {
                let end = behind(tokens, i);
                let mut j = i + 1;
                while j + 1 < end {
                    match &tokens[j] {
                        Token::Mark(',') => j += 1,
                        Token::Mark('{') => j = path(tokens, j, &words, found),
                        Token::Word(word) if word == "as" => j += 2,
                        Token::Word(_) | Token::Mark('*') => j = path(tokens, j, &words, found),
                        Token::Mark(_) => j += 1,
                    }
                }
                return end;
            }
            _ => {
                found.push(words);
                return i;
            }
        }
        i += 1;
        let more = tokens.get(i).is_some_and(|t| t.is(':'))
            && tokens.get(i + 1).is_some_and(|t| t.is(':'));
        if !more {
            found.push(words);
            return i;
        }
        i += 2;
    }
}

/// A path that another place of the crate is named by, from the crate's root; `None` for all others.
fn from_root(words: &[String], depth: usize) -> Option<&[String]> {
    if words.first().is_some_and(|w| w == "crate") {
        return Some(&words[1..]);
    }
    let supers = words.iter().take_while(|w| *w == "super").count();
    (supers > 0 && supers >= depth).then(|| &words[supers..])
}

/// What is wrong with one file, whose path is relative to `src`.
fn judge(file: &str, source: &str) -> Vec<String> {
    let (kept, _) = without_tests(&tokens(source));
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = stem.split('/').count();
    let module = stem.split('/').next().unwrap_or_default();
    let Some((_, may)) = MAY.iter().find(|(name, _)| *name == module) else {
        return vec![format!("{file}: the module `{module}` is not in the table")];
    };
    let extra = FILES
        .iter()
        .find(|(name, _)| *name == file)
        .map_or(&[][..], |(_, more)| more);
    let mut wrong = BTreeSet::new();
    for words in paths(&kept) {
        if let Some(rest) = from_root(&words, depth) {
            match rest.first().map(String::as_str) {
                None => {} // `pub(crate)`
                Some("self" | "*") => {
                    wrong.insert(format!(
                        "{file}: imports the crate's root, which hides what it uses"
                    ));
                }
                Some(other) => {
                    let allowed = other == module || may.contains(&other) || extra.contains(&other);
                    if !allowed {
                        wrong.insert(format!("{file}: `{module}` may not know `{other}`"));
                    }
                    let items = CONFIGURATION.iter().find(|(name, _)| *name == other);
                    if let (true, Some((_, items)), Some(item)) =
                        (module == "plan", items, rest.get(1))
                        && !items.contains(&item.as_str())
                    {
                        wrong.insert(format!(
                            "{file}: `plan` may see configuration of `{other}`, not `{item}`"
                        ));
                    }
                }
            }
        }
        if ALONE.contains(&file) {
            let own = from_root(&words, depth).is_none_or(|rest| rest == ["broker", "BrokerError"]);
            let impure = (words.windows(2)).any(|pair| IMPURE.contains(&(&pair[0], &pair[1])));
            if !own || impure || ["tokio", "mio", "rustls"].contains(&words[0].as_str()) {
                wrong.insert(format!(
                    "{file}: is fuzzed alone, but names `{}`",
                    words.join("::")
                ));
            }
        }
        if PURE.contains(&module) {
            for pair in words.windows(2) {
                if IMPURE.contains(&(&pair[0], &pair[1])) {
                    wrong.insert(format!(
                        "{file}: `{module}` is pure, but names `{}`",
                        words.join("::")
                    ));
                }
            }
        }
    }
    wrong.into_iter().collect()
}

/// Every source file below `src`, relative to it; `main.rs` and `lib.rs` are the door and the map, and know all.
/// Files that only tests use are left out.
fn sources(src: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![src.to_path_buf()];
    let mut tests: BTreeSet<PathBuf> = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)
            .expect("src can be read")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(&path).expect("UTF-8");
                let home = match path.file_stem().and_then(|s| s.to_str()) {
                    Some("mod" | "lib" | "main") => folder.clone(),
                    _ => path.with_extension(""),
                };
                for name in without_tests(&tokens(&source)).1 {
                    tests.insert(home.join(format!("{name}.rs")));
                    tests.insert(home.join(name));
                }
                files.push((path, source));
            }
        }
    }
    files.retain(|(path, _)| !path.ancestors().any(|p| tests.contains(p)));
    let relative = |path: &Path| {
        let path = path.strip_prefix(src).expect("below src");
        path.to_string_lossy().into_owned()
    };
    let mut files: Vec<(String, String)> =
        files.into_iter().map(|(p, s)| (relative(&p), s)).collect();
    files.retain(|(file, _)| file != "main.rs" && file != "lib.rs");
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn imports_go_one_way() {
    let files = sources(&root().join("src"));
    assert!(files.len() > 50, "only {} files found", files.len());
    let wrong: Vec<String> = files
        .iter()
        .flat_map(|(file, source)| judge(file, source))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_table_has_no_circle() {
    // Each line may name earlier lines only.
    for (i, (module, may)) in MAY.iter().enumerate() {
        for other in *may {
            let earlier = MAY[..i].iter().any(|(name, _)| name == other);
            assert!(earlier, "`{module}` names `{other}`, which stands below it");
        }
    }
}

#[test]
fn the_page_shows_the_same_table() {
    let page = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for (module, may) in MAY {
        let row = page
            .lines()
            .find(|line| line.starts_with(&format!("| `{module}` |")))
            .unwrap_or_else(|| panic!("no row for `{module}`"));
        let cell = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        let said: BTreeSet<&str> = cell.split('`').skip(1).step_by(2).collect();
        let mut table: BTreeSet<&str> = may.iter().copied().collect();
        if cell.contains("everything but `engine`") {
            assert_eq!(*module, "cli");
            let all = MAY
                .iter()
                .map(|(name, _)| *name)
                .filter(|m| *m != "cli" && *m != "engine");
            assert_eq!(table, all.collect());
            continue;
        }
        for (file, more) in FILES {
            if file.split('/').next() == Some(module) {
                table.insert(file);
                table.extend(*more);
            }
        }
        assert_eq!(said, table, "the row of `{module}`");
    }
}

#[test]
fn what_breaks_the_table_is_found() {
    let cases: &[(&str, &str, usize)] = &[
        ("gate/a.rs", "use crate::metrics::Timer;", 0),
        ("gate/a.rs", "use crate::plan::Plan;", 1),
        ("gate.rs", "use crate::plan::Plan;", 1),
        (
            "report/deep/er.rs",
            "fn f() { let x = crate::gate::parse(\"\"); }",
            1,
        ),
        (
            "metrics/mod.rs",
            "use crate::{gate, plan::{self, Plan as P}};",
            2,
        ),
        ("metrics/mod.rs", "use super::gate::Gate;", 1),
        ("metrics/a.rs", "use super::gate::Gate;", 0),
        ("metrics/a.rs", "use super::super::gate::Gate;", 1),
        ("fabric/worker.rs", "use crate::engine::Spec;", 0),
        ("fabric/local.rs", "use crate::engine::Spec;", 1),
        ("gateway/serve.rs", "use crate::transport::ws;", 1),
        ("engine/a.rs", "use crate::scenario;", 1),
        (
            "scenario/a.rs",
            "pub(crate) fn f<'a>(x: &'a str) -> char { 'x' }",
            0,
        ),
        (
            "scenario/a.rs",
            "/// [`crate::plan`]\n/* crate::plan /* */ crate::plan */ const A: &str = \"crate::plan\\\" crate::plan\";",
            0,
        ),
        (
            "scenario/a.rs",
            "const A: &str = r#\"crate::plan \"quoted\" crate::plan\"#; const B: char = '\"'; use crate::plan;",
            1,
        ),
        (
            "scenario/a.rs",
            "#[cfg(test)]\nmod tests { use crate::plan; fn f() {} }",
            0,
        ),
        (
            "scenario/a.rs",
            "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { use crate::plan; }\nuse crate::gate;",
            1,
        ),
        ("scenario/a.rs", "#[cfg(unix)]\nuse crate::plan;", 1),
        ("scenario/a.rs", "use crate::*;", 1),
        ("scenario/a.rs", "use crate::{self as all};", 1),
        ("plan/a.rs", "use crate::transport::TargetConfig;", 0),
        (
            "plan/a.rs",
            "use crate::transport::{TlsConfig, socket::connect};",
            1,
        ),
        ("plan/a.rs", "use std::{fs, net::{IpAddr, TcpStream}};", 2),
        (
            "plan/a.rs",
            "use std::time::Duration; fn f() { std::time::Instant::now(); }",
            1,
        ),
        ("engine/a.rs", "use std::time::Instant;", 0),
        (
            "broker/link.rs",
            "use crate::transport::TlsConfig; use tokio::net;",
            0,
        ),
        (
            "broker/nats/wire.rs",
            "use crate::broker::BrokerError; use super::other;",
            0,
        ),
        (
            "broker/nats/wire.rs",
            "use crate::transport::TlsConfig; use crate::broker::Login; use tokio::net;",
            3,
        ),
        ("helpers/a.rs", "", 1),
    ];
    for (file, source, expected) in cases {
        let wrong = judge(file, source);
        assert_eq!(wrong.len(), *expected, "{file}: {source}\n{wrong:?}");
    }
}
