//! The scenarios and the schema that come with squall.

use super::*;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_committed_schema_is_the_languages() {
    let committed =
        std::fs::read_to_string(root().join("scenarios/schema.json")).unwrap_or_default();
    assert_eq!(
        committed,
        schema_text(),
        "write it anew: squall schema > scenarios/schema.json"
    );
}

#[test]
fn every_shipped_scenario_is_sound_and_names_its_schema() {
    let ci = std::fs::read_to_string(root().join("ci/test")).unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(root().join("scenarios")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(
                text.starts_with("# yaml-language-server: $schema=schema.json\n"),
                "{}",
                path.display()
            );
            let document = load(&path, &options()).unwrap_or_else(|report| panic!("{report}"));
            let stem = path
                .file_stem()
                .map(|s| s.to_string_lossy().into_owned())
                .unwrap_or_default();
            assert_eq!(document.scenario().name, stem);
            assert!(!document.scenario().gates.is_empty());
            // A target that is not squall's own, or a broker behind it: then the script that starts it is named, and CI runs it with just that.
            let brokers = !document.scenario().inject.is_empty();
            let folder = if brokers { "broker" } else { "haproxy" };
            let how = format!("scenarios/{folder}/rehearse scenarios/{stem}.yaml");
            let run = |text: &str| text.lines().any(|line| line.contains(&how));
            assert!(
                document.scenario().target.embedded.is_some() && !brokers
                    || (run(&text) && run(&ci)),
                "{stem} can be run by nobody"
            );
            names.push(stem);
        }
    }
    names.sort();
    assert_eq!(
        names,
        [
            "auth-renewal",
            "broker-kafka",
            "broker-nats",
            "broker-rabbitmq",
            "burst",
            "capacity",
            "deploy-rehearsal",
            "echo-latency",
            "failover",
            "fallback",
            "half-open",
            "haproxy-reload",
            "haproxy-roll",
            "long-poll",
            "million",
            "mqtt",
            "quickstart",
            "slow-consumers",
            "soak",
            "socket-io",
            "sse",
            "stomp",
            "storm"
        ]
    );
}

#[test]
fn the_schema_describes_every_key_and_names_no_host() {
    fn walk(schema: &serde_json::Value, path: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            for (key, property) in properties {
                // The one key of a variant is described by its variant.
                let described =
                    property["description"].is_string() || schema["description"].is_string();
                assert!(described, "{path}.{key}");
            }
        }
        match schema {
            serde_json::Value::Object(map) => map
                .iter()
                .for_each(|(key, value)| walk(value, &format!("{path}.{key}"))),
            serde_json::Value::Array(all) => all.iter().for_each(|value| walk(value, path)),
            _ => {}
        }
    }
    let schema = schema();
    walk(&schema, "");
    assert_eq!(schema["$id"], "urn:squall:scenario:1");
    assert!(schema["title"].is_string() && schema["description"].is_string());
}
