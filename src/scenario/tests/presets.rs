//! Presets as they are written: what goes before what, and where their mistakes are.

use super::*;

const OWN: &str = "description: mine\nprotocol:\n  json_mapping:\n    subscribe: '{topic}'\n    publish: '{payload}'\nvars: { a: { cycle: [1] }, b: { cycle: [1] } }\nheartbeat: { every: 9s, timeout: 8s }\non_open:\n  - send: hello\n";

fn scenario(group: &str) -> String {
    format!(
        "name: t\ntarget: {{ embedded: {{}} }}\nclients:\n  some:\n    count: 1\n{group}\nphases: [ {{ name: only, for: 1s }} ]\n"
    )
}

fn with_own(own: &str, group: &str) -> Result<Document, Report> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.yaml"), own).unwrap();
    parse("t.yaml", &scenario(group), Some(folder.path()), &options())
}

#[test]
fn what_the_group_says_goes_before() {
    let group = "    protocol: { preset: ./own.yaml }\n    heartbeat: { timeout: 1s, every: 2s }\n    vars: { a: { sequence: 5 } }";
    let document = with_own(OWN, group).unwrap_or_else(|e| panic!("{e}"));
    let yaml = document.redacted_yaml();
    let group = &document.scenario().clients["some"];
    let heartbeat = group.heartbeat.as_ref().unwrap();
    assert_eq!(
        (heartbeat.every.0.as_secs(), heartbeat.timeout.0.as_secs()),
        (2, 1)
    );
    assert_eq!(group.vars.len(), 2);
    assert!(matches!(group.vars["a"], model::Var::Sequence(5)));
    assert_eq!(group.on_open.len(), 1);
    // The scenario as run holds all of it, and runs without the file.
    assert!(
        yaml.contains("json_mapping") && !yaml.contains("preset"),
        "{yaml}"
    );
    parse("again.yaml", &yaml, None, &options()).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_step_or_a_key_of_the_mapping_is_replaced() {
    let group = "    on_open: []\n    protocol: { preset: { name: ./own.yaml, mapping: { publish: 'x{payload}', subscribed: none } } }";
    let document = with_own(OWN, group).unwrap_or_else(|e| panic!("{e}"));
    let group = &document.scenario().clients["some"];
    assert!(group.on_open.is_empty());
    let model::Protocol::Set(model::ProtocolSettings::Mapping(mapping)) = &group.protocol else {
        panic!("{:?}", group.protocol)
    };
    assert_eq!(mapping.publish.as_deref(), Some("x{payload}"));
    assert_eq!(mapping.subscribe.as_deref(), Some("{topic}"));
    assert!(mapping.subscribed.is_some());
}

#[test]
fn every_shipped_preset_can_be_named_in_each_way_and_copied() {
    for preset in &crate::scenario::PRESETS {
        let name = preset.name;
        for way in [
            name.to_owned(),
            format!("{{ preset: {name} }}"),
            format!("{{ preset: {{ name: {name} }} }}"),
        ] {
            let text = scenario(&format!("    protocol: {way}"));
            parse("t.yaml", &text, None, &options()).unwrap_or_else(|e| panic!("{e}"));
        }
        let own = with_own(preset.text, "    protocol: { preset: own.yaml }");
        let own = own.unwrap_or_else(|e| panic!("{e}")).redacted_yaml();
        let text = scenario(&format!("    protocol: {name}"));
        let shipped = parse("t.yaml", &text, None, &options()).unwrap();
        assert_eq!(own, shipped.redacted_yaml(), "{name}");
    }
}

/// Each mistake with where it is and a word of what is said.
#[test]
fn mistakes_are_told_where_they_are() {
    let named = "    protocol: { preset: ./own.yaml }";
    let table = [
        ("a: 1", named, "./own.yaml:1:1", "`protocol` is missing"),
        ("- 1", named, "./own.yaml:1:1", "table"),
        ("protocol: stomp", named, "./own.yaml:1:11", "json_mapping"),
        (
            "protocol: { preset: phoenix }",
            named,
            "./own.yaml:1:11",
            "json_mapping",
        ),
        (
            "protocol:\n  json_mapping: { subscrib: x }",
            named,
            "./own.yaml:2:19",
            "subscribe",
        ),
        (
            "protocol:\n  json_mapping: {}\non_opn: []",
            named,
            "./own.yaml:3:1",
            "on_open",
        ),
        (
            "protocol:\n  json_mapping: {}\non_open: [ { send: 1, x: 2 } ]",
            named,
            "./own.yaml:3:",
            "key",
        ),
        ("protocol: [", named, "./own.yaml:", "not valid YAML"),
        ("", named, "t.yaml:6:25", "empty"),
        (
            OWN,
            "    protocol: { preset: phonix }",
            "t.yaml:6:25",
            "`phoenix`",
        ),
        (
            OWN,
            "    protocol: { preset: { name: zzz } }",
            "t.yaml:6:33",
            "squall protocols",
        ),
        (
            OWN,
            "    protocol: { preset: ./other.yaml }",
            "t.yaml:6:25",
            "other.yaml",
        ),
        (
            OWN,
            "    protocol: { preset: ../own.yaml }",
            "t.yaml:6:25",
            "own.yaml",
        ),
        (
            OWN,
            "    protocol: { preset: { name: ./own.yaml, maping: {} } }",
            "t.yaml:6:",
            "maping",
        ),
        (
            OWN,
            "    protocol: { preset: { name: ./own.yaml, mapping: { publsh: x } } }",
            "t.yaml:6:56",
            "publish",
        ),
    ];
    for (own, group, place, word) in table {
        let report = match with_own(own, group) {
            Err(report) => report,
            Ok(_) => panic!("accepted: {own} {group}"),
        };
        let text = report.render(false);
        let first = &report.problems()[0];
        let at = first.place.as_ref().unwrap();
        let at = format!("{}:{}:{}", at.source, at.line, at.column);
        assert!(
            at.starts_with(place) && text.contains(word),
            "{own} | {group}\n{at}\n{text}"
        );
    }
}

/// What compiling finds in a preset is told in the preset's file too.
#[test]
fn what_compiling_finds_has_its_place_as_well() {
    let own = "protocol:\n  json_mapping:\n    subscribe: 'no'\n    refused: {}\n";
    let document = with_own(own, "    protocol: { preset: ./own.yaml }").unwrap();
    let machine = crate::plan::Machine::default();
    let problems =
        crate::plan::compile(document.scenario(), document.files(), &machine).unwrap_err();
    let report = document.report(problems);
    let places: Vec<String> = report
        .problems()
        .iter()
        .filter_map(|p| p.place.as_ref())
        .map(|at| format!("{}:{}:{}", at.source, at.line, at.column))
        .collect();
    assert_eq!(places, ["./own.yaml:3:16", "./own.yaml:4:14"], "{report}");
}
