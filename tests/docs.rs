//! The documentation against the code: what it shows works, and what there is it mentions.

#![allow(clippy::expect_used, clippy::panic)]

use serde_json::Value;
use squall::exit::Exit;
use squall::plan::{self, Machine};
use squall::scenario::{self, Options};
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What an example leaves out.
const REST: [(&str, &str); 4] = [
    ("name", "name: example\n"),
    ("target", "target: { embedded: {} }\n"),
    (
        "clients",
        "clients:\n  subscribers: { count: 2k, subscribe: [orders] }\n  publishers: { count: 2, publish: { topic: orders, rate: 60/s } }\n",
    ),
    (
        "phases",
        "phases:\n  - { name: ramp, for: 5s }\n  - { name: steady, for: 5s }\n",
    ),
];

#[test]
fn every_example_of_the_language_is_valid() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("users.csv"), "user,token\na,t1\nb,t2\n").expect("written");
    let page = read("docs/scenario.md") + &read("docs/proxies.md");
    let examples: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert!(examples.len() >= 10, "{} examples", examples.len());
    for example in examples {
        let mut text = example.to_owned();
        for (key, rest) in REST {
            if !example
                .lines()
                .any(|line| line.starts_with(&format!("{key}:")))
            {
                text.push_str(rest);
            }
        }
        let options = Options {
            env: Box::new(|name| (name == "RT_TOKEN").then(|| "secret".to_owned())),
            ..Options::default()
        };
        let document = scenario::parse("example.yaml", &text, Some(folder.path()), &options)
            .unwrap_or_else(|report| panic!("{report}"));
        let machine = Machine {
            cores: 2,
            ..Machine::default()
        };
        let compiled = plan::compile(document.scenario(), document.files(), &machine);
        if let Err(problems) = compiled {
            panic!("{}\n{text}", document.report(problems));
        }
    }
}

#[test]
fn every_key_of_the_language_is_documented() {
    let page = read("docs/scenario.md");
    let mut keys = BTreeSet::new();
    collect(&scenario::schema(), &mut keys);
    assert!(keys.len() > 80, "{} keys", keys.len());
    let missing: Vec<&String> = keys
        .iter()
        .filter(|key| {
            let shown = [
                format!("`{key}`"),
                format!("`{key}:"),
                format!("{{ {key}:"),
                format!(" {key}: "),
            ];
            !shown.iter().any(|form| page.contains(form))
        })
        .collect();
    assert!(missing.is_empty(), "not in docs/scenario.md: {missing:?}");
}

/// Names of properties and words of choices.
fn collect(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            for words in ["enum", "const"].iter().filter_map(|key| map.get(*key)) {
                let words = words
                    .as_array()
                    .map_or(std::slice::from_ref(words), Vec::as_slice);
                keys.extend(words.iter().filter_map(Value::as_str).map(str::to_owned));
            }
            map.values().for_each(|value| collect(value, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, keys)),
        _ => {}
    }
}

#[test]
fn every_exit_code_is_in_the_readme() {
    let page = read("README.md");
    for exit in Exit::ALL {
        let row = format!("| {} |", exit.code());
        assert!(page.contains(&row), "{row}");
    }
}

/// What a heading is called in links.
fn heading(line: &str) -> Option<String> {
    let text = line.trim_start_matches('#');
    let name = text.strip_prefix(' ').filter(|_| line.starts_with('#'))?;
    let kept = name.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    Some(kept.map(|c| if c == ' ' { '-' } else { c }).collect())
}

#[test]
fn links_between_pages_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for page in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/gateway.md",
        "docs/metrics.md",
        "docs/performance.md",
        "docs/proxies.md",
        "docs/scenario.md",
        "docs/storm.md",
        "reports/README.md",
    ] {
        let folder = root.join(page).parent().expect("a folder").to_owned();
        for link in read(page).split("](").skip(1) {
            let target = link
                .split([')', '#'])
                .next()
                .expect("split gives at least one");
            if target.contains("://") {
                continue;
            }
            let to = match target {
                "" => root.join(page),
                target => folder.join(target),
            };
            assert!(to.exists(), "{page}: {target}");
            let anchor = link.split(')').next().and_then(|link| link.split_once('#'));
            if let Some((_, anchor)) = anchor {
                let text = std::fs::read_to_string(&to).expect("a page");
                let found = text.lines().filter_map(heading).any(|name| name == anchor);
                assert!(found, "{page}: {target}#{anchor}");
            }
        }
    }
}
