//! What comes from outside of the document: `--set`, `--target`, the environment, files.

use super::*;
use std::fs;

#[test]
fn sets_change_add_and_name_by_name() {
    let options = with_sets(&[
        "clients.subs.count=5k",
        "phases[0].for=3s",
        "phases.steady.for=1m",
        "gates[1]=latency p99 < 1s in steady",
        "generator.shards=3",
        "clients.pubs.publish.size={ uniform: [64B, 1KiB] }",
        "clients.subs.subscribe=[a, b]",
        "seed=7",
    ]);
    let document = parse("x.yaml", SOUND, None, &options)
        .map_err(|r| r.to_string())
        .unwrap();
    let scenario = document.scenario();
    assert_eq!(scenario.clients["subs"].count.0, 5000);
    assert_eq!(scenario.phases[0].r#for.to_string(), "3s");
    assert_eq!(scenario.phases[1].r#for.to_string(), "1m");
    assert_eq!(scenario.gates, ["lost == 0", "latency p99 < 1s in steady"]);
    assert_eq!(scenario.generator.shards, Some(3));
    assert_eq!(scenario.clients["subs"].subscribe, ["a", "b"]);
    assert_eq!(scenario.seed, 7);
    let yaml = document.redacted_yaml();
    assert!(
        yaml.contains("count: 5k") && yaml.contains("shards: 3") && yaml.contains("1KiB"),
        "{yaml}"
    );
}

#[test]
fn sets_add_groups_and_variables_given_whole() {
    let options = with_sets(&[
        "clients.new={count: 5}",
        "clients.new.count=6",
        "clients.new.vars.user={sequence: 1}",
        "clients.new.vars.user.sequence=7",
    ]);
    let document = parse("x.yaml", SOUND, None, &options)
        .map_err(|r| r.to_string())
        .unwrap();
    let new = &document.scenario().clients["new"];
    assert_eq!(new.count.0, 6);
    assert!(matches!(new.vars["user"], model::Var::Sequence(7)));
}

#[test]
fn mistakes_of_sets_name_the_set() {
    let table: &[(&str, &str)] = &[
        (
            "clients.subs.count=lots",
            "--set 1:20 `lots` is not a whole number such as 2000, 20k or 1M",
        ),
        (
            "clients.subs.cuont=5",
            "--set 1:14 unknown key `cuont` / did you mean `count`?",
        ),
        (
            "seed",
            "--set 1:1 --set takes path=value / such as --set clients.subscribers.count=500",
        ),
        ("=5", "--set 1:1 --set: the path is missing"),
        ("a..b=5", "--set 1:3 --set: a name is missing in the path"),
        ("a.=5", "--set 1:2 --set: a name is missing in the path"),
        (
            "phases[x].for=5s",
            "--set 1:7 --set: between `[` and `]` stands a number, from 0",
        ),
        ("phases[0=5s", "--set 1:7 --set: a `[` without its `]`"),
        (
            "phases[0]for=5s",
            "--set 1:10 --set: after `]` comes `.` or `[`",
        ),
        (
            "phases[9].for=5s",
            "--set 1:7 --set: [9] is beyond the end: the list has 2, counted from 0",
        ),
        (
            "phases.burst.for=5s",
            "--set 1:8 --set: this is a list of 2, and none of it is named `burst` (known: ramp, steady)",
        ),
        (
            "phases.stedy.for=5s",
            "--set 1:8 --set: this is a list of 2, and none of it is named `stedy` (known: ramp, steady) / did you mean `steady`?",
        ),
        (
            "clients.sbus.count=50",
            "--set 1:9 --set: there is no group `sbus` (known: subs, pubs) / did you mean `subs`?",
        ),
        (
            "clients.chatters.publish.rate=5/s",
            "--set 1:9 --set: there is no group `chatters` (known: subs, pubs) / a new group is given whole: `chatters={ ... }`",
        ),
        (
            "clients.subs.vars.tok.sequence=5",
            "--set 1:19 --set: there is no variable `tok` / a new variable is given whole: `tok={ ... }`",
        ),
        (
            "clients[0].count=5",
            "--set 1:8 --set: [0] asks for a list, and this is none",
        ),
        (
            "seed=[1",
            "--set 1:8 this is not valid YAML: while parsing a flow sequence, expected ',' or ']'",
        ),
    ];
    for (set, expected) in table {
        assert_eq!(told(SOUND, &with_sets(&[set])), [*expected], "{set}");
    }
}

#[test]
fn target_replaces_where_to_connect_and_nothing_else() {
    let text = SOUND.replace("url: ws://localhost:1/ws", "embedded: {}, query: { a: b }");
    let options = Options {
        target: Some("wss://other/ws".into()),
        ..options()
    };
    for text in [text.as_str(), SOUND] {
        let document = parse("x.yaml", text, None, &options)
            .map_err(|r| r.to_string())
            .unwrap();
        let target = &document.scenario().target;
        assert_eq!(
            target.url.as_ref().map(|u| u.to_vec()),
            Some(vec!["wss://other/ws".to_string()])
        );
        assert!(target.embedded.is_none());
        assert_eq!(target.query.contains_key("a"), text != SOUND);
    }
}

#[test]
fn references_are_replaced_and_missing_ones_told() {
    let text = SOUND.replace(
        "ws://localhost:1/ws",
        "\"ws://localhost:1/${env:CANARY}?x=$${env:NO}\"",
    );
    let document = parse("x.yaml", &text, None, &options())
        .map_err(|r| r.to_string())
        .unwrap();
    let url = document.scenario().target.url.as_ref().map(|u| u.to_vec());
    assert_eq!(
        url,
        Some(vec!["ws://localhost:1/canary-env?x=${env:NO}".to_string()])
    );
    assert_eq!(document.secrets(), ["canary-env"]);

    let table: &[(&str, &[&str])] = &[
        (
            "ws://h/${env:NO}",
            &["2:24 the environment variable `NO` is not set / set it, as in NO=... squall run"],
        ),
        ("ws://h/${env:NO", &["2:24 `${env:NO` has no closing brace"]),
        (
            "ws://h/${vault:x}",
            &[
                "2:24 `${vault:x}` is not a reference squall knows / ${env:NAME} reads the environment, ${file:PATH} a file; $${ stands for a literal ${",
            ],
        ),
        (
            "ws://h/${file:x}",
            &["2:24 the file `x` cannot be looked up: no folder"],
        ),
    ];
    for (url, expected) in table {
        let text = SOUND.replace("ws://localhost:1/ws", &format!("\"{url}\""));
        assert_eq!(told(&text, &options()), *expected, "{url}");
    }
    // Numbers may come from the environment too; a wrong one is told without its value.
    let text = SOUND.replace("count: 10", "count: \"${env:CANARY}\"");
    assert_eq!(
        told(&text, &options()),
        ["4:18 the value of `${env:CANARY}` is not a whole number such as 2000, 20k or 1M"]
    );
    let options = Options {
        env: Box::new(|_| Some("25".into())),
        ..options()
    };
    let text = SOUND
        .replace("count: 10", "count: \"${env:N}\"")
        .replace("gates:", "seed: ${env:N}\ngates:");
    let document = parse("x.yaml", &text, None, &options)
        .map_err(|r| r.to_string())
        .unwrap();
    assert_eq!(
        (
            document.scenario().clients["subs"].count.0,
            document.scenario().seed
        ),
        (25, 25)
    );
}

/// A folder `inner` with files, a link and a pipe's worth of trouble, beside a file `outside`.
fn folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join("inner");
    fs::create_dir_all(inner.join("sub")).unwrap();
    fs::write(root.path().join("outside"), "canary-outside").unwrap();
    fs::write(inner.join("token"), "canary-file\n").unwrap();
    fs::write(inner.join("users.csv"), "user\nann\n").unwrap();
    fs::write(inner.join("latin1"), b"caf\xe9").unwrap();
    fs::write(inner.join("large"), vec![b'x'; (64 << 10) + 1]).unwrap();
    std::os::unix::fs::symlink("../outside", inner.join("link")).unwrap();
    root
}

#[test]
fn files_are_read_and_stay_inside() {
    let root = folder();
    let inner = root.path().join("inner");
    let text = |url: &str, csv: &str| {
        let vars = format!("count: 10, vars: {{ u: {{ csv: {{ file: {csv}, column: user }} }} }},");
        SOUND
            .replace("ws://localhost:1/ws", &format!("\"ws://h/{url}\""))
            .replace("count: 10,", &vars)
    };
    let parse = |text: &str, options: &Options| parse("x.yaml", text, Some(&inner), options);
    let messages = |text: &str| -> Vec<String> {
        let report = parse(text, &options()).err();
        report
            .iter()
            .flat_map(Report::problems)
            .map(|p| p.problem.message.clone())
            .collect()
    };
    let document = parse(&text("${file:token}", "sub/../users.csv"), &options())
        .map_err(|r| r.to_string())
        .unwrap();
    assert_eq!(
        document.files().text("sub/../users.csv"),
        Some("user\nann\n")
    );
    assert_eq!(document.secrets(), ["canary-file"]);
    assert_eq!(
        document.scenario().target.url.as_ref().map(|u| u.to_vec()),
        Some(vec!["ws://h/canary-file".to_string()])
    );

    let outside = |path: &str| {
        format!(
            "the file `{path}` is outside of the scenario's folder (--allow-outside permits it)"
        )
    };
    // Who serves is told by whoever started it, in `/run` as a rule: its file may lie anywhere.
    let pid = "version: 1\nname: n\ntarget: { url: 'ws://h', pid_file: ../outside }\nclients: { a: { count: 1 } }\nphases: [ { name: p, for: 1s } ]\n";
    assert_eq!(messages(pid), [""; 0]);
    for path in ["../outside", "link", "/etc/hostname", "sub/../../outside"] {
        if path.starts_with('/') && !std::path::Path::new(path).exists() {
            continue;
        }
        assert_eq!(
            messages(&text(&format!("${{file:{path}}}"), "users.csv")),
            [outside(path)]
        );
        assert_eq!(messages(&text("", path)), [outside(path)]);
    }
    let allowed = Options {
        allow_outside: true,
        ..options()
    };
    let document = parse(&text("${file:link}", "../outside"), &allowed)
        .map_err(|r| r.to_string())
        .unwrap();
    assert_eq!(document.files().text("../outside"), Some("canary-outside"));

    assert_eq!(
        messages(&text("${file:large}", "users.csv")),
        ["the file `large` is larger than 64 KiB"]
    );
    assert_eq!(
        messages(&text("${file:latin1}", "latin1")),
        ["the file `latin1` is not UTF-8 text"; 2]
    );
    assert_eq!(
        messages(&text("${file:sub}", "users.csv")),
        ["`sub` is not a regular file"]
    );
    assert!(messages(&text("", "gone.csv"))[0].starts_with("the file `gone.csv` cannot be read: "));
    let place = parse(&text("", "gone.csv"), &options())
        .err()
        .and_then(|r| r.problems()[0].place.clone());
    assert_eq!(place.map(|p| (p.line, p.column)), Some((4, 48)));
}

#[test]
fn unreadable_scenarios_are_told() {
    let root = folder();
    let told = |name: &str| {
        load(&root.path().join(name), &options())
            .err()
            .map(|r| r.to_string())
            .unwrap_or_default()
    };
    assert!(told("none.yaml").contains("cannot read"));
    assert!(told("inner").contains("cannot read"));
    assert!(told("inner/latin1").contains("it is not UTF-8 text"));
}
