//! Broken documents, each with all that is wrong with it and where.

use super::*;

/// A document around a piece of the language, which begins at line 4.
fn around(indent: &str, piece: &str) -> String {
    let body = piece
        .trim_matches('\n')
        .replace('\n', &format!("\n{indent}"));
    match indent {
        "" => format!(
            "name: x\ntarget: {{ embedded: {{}} }}\n#\n{body}\nclients: {{ g: {{ count: 1 }} }}\nphases: [{{ name: p, for: 1s }}]\n"
        ),
        "  " => format!(
            "name: x\ntarget:\n  embedded: {{}}\n  {body}\nclients: {{ g: {{ count: 1 }} }}\nphases: [{{ name: p, for: 1s }}]\n"
        ),
        _ => format!(
            "{{ name: x, target: {{ embedded: {{}} }}, phases: [{{ name: p, for: 1s }}],\nclients: {{ g: {{ count: 1,\n#\n{body}\n}} }} }}\n"
        ),
    }
}

#[test]
fn of_the_scenario() {
    let table: &[(&str, &[&str])] = &[
        ("", &["1:1 the file is empty"]),
        ("# nothing\n", &["1:1 the file is empty"]),
        (
            "just text",
            &[
                "1:1 the scenario takes a map with `version`, `name`, `description`, `seed`, ..., not text",
            ],
        ),
        (
            "name: x\n",
            &[
                "1:1 the scenario lacks the key `target` / `target` takes a map with `url`, `embedded`, `headers`, `query`, ...",
                "1:1 the scenario lacks the key `clients` / `clients` takes a map",
                "1:1 the scenario lacks the key `phases` / `phases` takes a list",
            ],
        ),
        (
            "name: [x\ntarget: 5\n",
            &["2:7 this is not valid YAML: illegal placement of ':' indicator"],
        ),
        (
            "name: x\n---\nname: y\n",
            &["2:1 a second document starts here; a scenario is one document"],
        ),
        (
            "name: *nowhere\n",
            &["1:7 this is not valid YAML: while parsing node, found unknown anchor"],
        ),
        (
            "name: &a [*a]\n",
            &["1:11 this alias stands inside the value it names"],
        ),
    ];
    for (text, expected) in table {
        let told = told(text, &options());
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        assert_eq!(told, *expected, "{text}");
    }
}

#[test]
fn of_every_kind() {
    let table: &[(&str, &str, &[&str])] = &[
        // Keys.
        (
            "",
            "sed: 4",
            &["4:1 unknown key `sed` / did you mean `seed`?"],
        ),
        (
            "",
            "gate: []",
            &["4:1 unknown key `gate` / did you mean `gates`?"],
        ),
        (
            "",
            "subscirbe: [a]",
            &[
                "4:1 unknown key `subscirbe` / did you mean `subscribe`, under `clients.<group>`, `clients.<group>.protocol.json_mapping` or `clients.<group>.protocol.socket_io`?",
            ],
        ),
        (
            "",
            "count: 4",
            &[
                "4:1 misplaced key `count` / it belongs under `clients.<group>`, `phases[].faults[].drop` or `phases[].faults[].slow`",
            ],
        ),
        (
            "",
            "<<: {}",
            &["4:1 unknown key `<<` / merge keys are not part of YAML 1.2; write the keys out"],
        ),
        ("", "? [a]\n: b", &["4:3 a key must be a plain text"]),
        (
            "",
            "seed: 1\nseed: 2",
            &["5:1 the key `seed` is given twice"],
        ),
        (
            "",
            "seed: !secret 1",
            &["4:7 the tag `!secret` means nothing in a scenario"],
        ),
        (
            "",
            "zzzzzz: 1",
            &[
                "4:1 unknown key `zzzzzz` / keys known here: `version`, `name`, `description`, `seed`, `target`, `clients`, `inject`, `phases`, `gates`, `generator`",
            ],
        ),
        // Kinds.
        (
            "",
            "seed: many",
            &["4:7 `seed` takes a whole number, not text"],
        ),
        (
            "",
            "seed: -1",
            &["4:7 `seed` takes a whole number from 0 to 18446744073709551615"],
        ),
        (
            "",
            "description: 5",
            &["4:14 `description` takes text, not the number 5 / put it in quotes: \"5\""],
        ),
        (
            "",
            "description:",
            &["4:1 `description` has no value / give it text, or remove it"],
        ),
        (
            "",
            "gates: lost == 0",
            &["4:8 `gates` takes a list, not text / write it as a list: [ ... ]"],
        ),
        (
            "",
            "gates: [{ a: 1 }]",
            &["4:9 `gates[0]` takes text, not a map"],
        ),
        (
            "",
            "version: 2",
            &[
                "4:10 version 2 of the scenario language is not known to this squall / write version: 1",
            ],
        ),
        (
            "",
            "generator: []",
            &[
                "4:12 `generator` takes a map with `shards`, `sources`, `max_lag`, `max_cpu`, ..., not a list",
            ],
        ),
        (
            "",
            "generator: { max_cpu: 0.9, shards: 2.5, max_lag: 5 }",
            &[
                "4:23 `0.9` is not a share such as 30% (0% to 100%)",
                "4:36 `shards` takes a whole number, not the number 2.5",
                "4:50 `5` is not a duration such as 250ms, 5s, 2m or 1m30s",
            ],
        ),
        // The target.
        (
            "  ",
            "url: ws://x/",
            &["3:3 only one of `url` and `embedded` may be given"],
        ),
        (
            "  ",
            "tls: { insecure: yes }",
            &["4:20 `insecure` takes true or false, not `yes` / write true"],
        ),
        (
            "  ",
            "subprotocols: [a, 5]",
            &["4:21 `subprotocols[1]` takes text, not the number 5 / put it in quotes: \"5\""],
        ),
        (
            "  ",
            "headers:\n  X: true",
            &["5:8 `X` takes text, not the truth value true / put it in quotes: \"true\""],
        ),
        (
            "  ",
            "max_message: 1 megabyte",
            &["4:16 `1 megabyte` is not a size such as 256B, 64KiB or 1MB"],
        ),
        // Groups.
        (
            "g",
            "vars: { a: cycle }",
            &["4:12 `a` does not know `cycle` / `cycle` needs a value: cycle: ..."],
        ),
        (
            "g",
            "vars: { a: { cycel: [1] } }",
            &["4:14 unknown key `cycel` / did you mean `cycle`?"],
        ),
        (
            "g",
            "vars: { a: { cycle: [1], sequence: 1 } }",
            &["4:26 only one of `cycle` and `sequence` may be given"],
        ),
        (
            "g",
            "vars: { a: { random: { int: [1] } } }",
            &["4:29 `int` takes 2 values, not 1"],
        ),
        (
            "g",
            "vars: { a: { } }",
            &[
                "4:9 `a` is empty / expected `cycle: ...`, `sequence: ...`, `random: ...` or `csv: ...`",
            ],
        ),
        (
            "g",
            "vars: { a: { cycle: [[1]] } }",
            &["4:22 `cycle[0]` takes true or false, a whole number, a number or text, not a list"],
        ),
        (
            "g",
            "vars: { a: { csv: { file: x.csv } } }",
            &[
                "4:14 `csv` lacks the key `column` / `column` takes text",
                "4:27 the file `x.csv` cannot be looked up: no folder",
            ],
        ),
        (
            "g",
            "protocol: jsn",
            &[
                "4:11 `protocol` does not know `jsn` / did you mean `json`? expected `raw`, `json`, `stomp`, `mqtt`, `socket_io`, `phoenix`, `centrifugo`, `pusher`, `graphql_transport_ws`, `action_cable`, `json_rpc`, `nats`, `json_mapping: ...`, `stomp: ...`, `mqtt: ...`, `socket_io: ...` or `preset: ...`",
            ],
        ),
        (
            "g",
            "protocol: { raw: {} }",
            &["4:13 `raw` takes no value / write just raw"],
        ),
        (
            "g",
            "protocol: [json]",
            &[
                "4:11 `protocol` takes `raw`, `json`, `stomp`, `mqtt`, `socket_io`, `phoenix`, `centrifugo`, `pusher`, `graphql_transport_ws`, `action_cable`, `json_rpc`, `nats`, `json_mapping: ...`, `stomp: ...`, `mqtt: ...`, `socket_io: ...` or `preset: ...`, not a list",
            ],
        ),
        (
            "g",
            "lifetime: { fixed: 5 }",
            &["4:20 `5` is not a duration such as 250ms, 5s, 2m or 1m30s"],
        ),
        (
            "g",
            "publish: { topic: a, rate: 5 }",
            &["4:28 `5` is not a rate such as 2000/s, 2k/s or 30/m"],
        ),
        (
            "g",
            "publish: [{ topic: a, rates: 5/s }]",
            &[
                "4:13 `publish[0]` lacks the key `rate` / `rate` takes a rate such as 2000/s or a map with `per_connection`",
                "4:23 unknown key `rates` / did you mean `rate`?",
            ],
        ),
        (
            "g",
            "publish: { rate: { per_connection: fast } }",
            &["4:36 `fast` is not a rate such as 2000/s, 2k/s or 30/m"],
        ),
        (
            "g",
            "publish: { rate: [5/s] }",
            &["4:18 `rate` takes a rate such as 2000/s or a map with `per_connection`, not a list"],
        ),
        (
            "g",
            "publish: { rate: 1/s, arrivals: possion }",
            &[
                "4:33 `arrivals` does not know `possion` / did you mean `poisson`? expected `constant` or `poisson`",
            ],
        ),
        (
            "g",
            "publish: { rate: 1/s, size: 12 }",
            &["4:29 `12` is not a size such as 256B, 64KiB or 1MB"],
        ),
        (
            "g",
            "on_open: [{ send: a, pause: 1s }, { sned: b }]",
            &[
                "4:22 only one of `send` and `pause` may be given",
                "4:37 unknown key `sned` / did you mean `send`?",
            ],
        ),
        (
            "g",
            "heartbeat: { every: 5s }",
            &["4:1 `heartbeat` lacks the key `timeout` / `timeout` takes a duration such as 250ms"],
        ),
        (
            "g",
            "reconnect: { backoff: full-jitter }",
            &[
                "4:23 `backoff` does not know `full-jitter` / did you mean `full_jitter`? expected `none`, `constant`, `no_jitter`, `full_jitter`, `equal_jitter`, `decorrelated`, `rfc6455`, `phoenix`, `socket_io` or `centrifuge`",
            ],
        ),
        (
            "g",
            "request: { rate: 1/s, reply: { id: /id, stamp: 1 } }",
            &["4:41 `stamp` takes no value / write just stamp"],
        ),
    ];
    for (indent, piece, expected) in table {
        let text = around(indent, piece);
        let told = told(&text, &options());
        let told: Vec<_> = told.iter().map(String::as_str).collect();
        assert_eq!(told, *expected, "{text}");
    }
}

#[test]
fn all_at_once_in_the_order_of_the_lines() {
    let text = "\
name: x
heartbeat: { every: 1s, timeout: 1s }
target: { embedded: { queue: -1, when_full: explode } }
clients:
  a: { count: 12x }
  a: { count: 1 }
phases:
  - name: ramp
    for: 5
    open: { a: liner }
  - name: steady
    for: 1s
    faults: [{ brust: { clients: a, rate: 10 } }]
";
    let expected = [
        "2:1 misplaced key `heartbeat` / it belongs under `clients.<group>`",
        "3:30 `queue` takes a whole number from 0 to 4294967295",
        "3:45 `when_full` does not know `explode` / expected `drop_newest`, `drop_oldest`, `disconnect`, `buffer` or `block`",
        "5:15 `12x` is not a whole number such as 2000, 20k or 1M",
        "6:3 the key `a` is given twice",
        "9:10 `5` is not a duration such as 250ms, 5s, 2m or 1m30s",
        "10:16 `a` does not know `liner` / did you mean `linear`? expected `all_at_once`, `linear`, `rate: ...` or `stages: ...`",
        "13:16 unknown key `brust` / did you mean `burst`?",
    ];
    assert_eq!(told(text, &options()), expected);
}

#[test]
fn columns_count_characters_whatever_the_line_breaks() {
    for text in [
        "name: x\r\ndescription: \"ä€😀\" \r\nseed: \"é\"",
        "\u{feff}name: x\rdescription: \"ä€😀\" \rseed: \"é\"",
    ] {
        let told = told(text, &options());
        assert!(
            told.contains(&"3:7 `seed` takes a whole number, not text".to_string()),
            "{told:?}"
        );
    }
    let told = told("{ name: \"ä€😀\", seed: é }", &options());
    assert!(
        told.contains(&"1:22 `seed` takes a whole number, not text".to_string()),
        "{told:?}"
    );
}

#[test]
fn a_mistake_in_an_anchor_is_told_once_where_it_stands() {
    let text = SOUND
        .replace("count: 10,", "count: 10, reconnect: &r { base: 5 },")
        .replace("count: 2\n", "count: 2\n    reconnect: *r\n");
    assert_eq!(
        told(&text, &options()),
        ["4:44 `5` is not a duration such as 250ms, 5s, 2m or 1m30s"]
    );
}

#[test]
fn rendered_with_line_caret_and_help() {
    let report = parse(
        "x.yaml",
        &SOUND.replace("rate: 5/s", "rtae: 5/s"),
        None,
        &options(),
    )
    .err();
    let report = report.map(|r| r.to_string()).unwrap_or_default();
    let expected = "\
error: `publish` lacks the key `rate`
 --> x.yaml:7:5
  |
7 |     publish: { topic: news, rtae: 5/s }
  |     ^^^^^^^
  |
  = help: `rate` takes a rate such as 2000/s or a map with `per_connection`

error: unknown key `rtae`
 --> x.yaml:7:29
  |
7 |     publish: { topic: news, rtae: 5/s }
  |                             ^^^^
  |
  = help: did you mean `rate`?
";
    assert_eq!(report, expected);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let report = parse("x.yaml", "name: x\n\"\\e[31mred\": 1\n", None, &options()).err();
    let text = report.map(|r| r.to_string()).unwrap_or_default();
    assert!(
        text.contains("unknown key `\\u{1b}[31mred`") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn a_quality_is_of_three_and_a_broker_has_no_url() {
    let inject = "inject: { k: { kafka: { url: 'h:1' }, topic: t, rate: 1/s } }";
    let of = |qos: &str| {
        let group = format!("protocol: {{ mqtt: {{ publish_qos: {qos} }} }}, subscribe");
        told(&SOUND.replacen("subscribe", &group, 1), &options())
    };
    for (given, expected) in [
        (
            "two",
            "4:55 `publish_qos` takes a whole number from 0 to 2, not text",
        ),
        ("3", "4:55 `publish_qos` takes a whole number from 0 to 2"),
    ] {
        assert_eq!(of(given), [expected], "{given}");
    }
    assert_eq!(of("2"), [""; 0]);
    let expected = "3:25 unknown key `url` / did you mean `bootstrap`?";
    let text = SOUND.replacen("clients:", &format!("{inject}\nclients:"), 1);
    assert_eq!(told(&text, &options()), [expected]);
}

#[test]
fn later_stages_add_to_what_is_already_wrong() {
    let text = SOUND
        .replace("rate: 5/s", "rate: 5")
        .replace("lost == 0", "lots == 0");
    let report = parse("x.yaml", &text, None, &options());
    let stage = |document: &Document| {
        assert_eq!(document.scenario().phases.len(), 2);
        vec![
            Problem::error("clients.pubs.publish.rate", "too slow"),
            Problem::error("clients.pubs.publish", "has a slow rate"),
            Problem::error("gates[0]", "no such metric"),
            Problem::error("clients.subs", "never heard of").on_key(),
            // That may be otherwise once the rest is right.
            Problem::warning("clients.subs.count", "many"),
        ]
    };
    let report = report.map_err(|r| r.also(stage)).err();
    let told: Vec<_> = report
        .iter()
        .flat_map(Report::problems)
        .map(|p| {
            (
                p.place.as_ref().map(|p| (p.line, p.column)),
                p.problem.message.as_str(),
            )
        })
        .collect();
    let expected = [
        (Some((4, 3)), "never heard of"),
        (
            Some((7, 35)),
            "`5` is not a rate such as 2000/s, 2k/s or 30/m",
        ),
        (Some((12, 5)), "no such metric"),
    ];
    assert_eq!(told, expected);
    // Without the names, everything that refers to them would look wrong.
    let report = parse(
        "x.yaml",
        &SOUND.replace("phases:", "phase:"),
        None,
        &options(),
    )
    .err();
    let count = report.as_ref().map(|r| r.problems().len());
    assert_eq!(
        report.map(|r| r
            .also(|_| vec![Problem::error("gates[0]", "no phase")])
            .problems()
            .len()),
        count
    );
}

/// Where a key is wrong or a reference leads nowhere, what they were to say is missing: that needs no word of its own.
#[test]
fn what_follows_from_what_is_wrong_already_is_not_told() {
    let told = |from: &str, to: &str, later: &[&str]| -> Vec<String> {
        assert!(SOUND.contains(from), "{from}");
        let report = parse("x.yaml", &SOUND.replace(from, to), None, &options()).err();
        let before = report.as_ref().map_or(0, |report| report.problems().len());
        assert_eq!(before, 1, "{to}");
        let stage = |_: &Document| {
            later
                .iter()
                .map(|at| Problem::error(*at, "later"))
                .collect()
        };
        let report = report.map(|report| report.also(stage));
        let all = report.iter().flat_map(Report::problems);
        let later = all.filter(|p| p.problem.message == "later");
        later.map(|p| p.problem.path.clone()).collect()
    };
    let group = [
        "clients.subs.count",
        "clients.subs",
        "clients.pubs.publish.size",
        "gates[0]",
    ];
    // A typo, wherever in the group it is: of the table it is in, and of that alone.
    assert_eq!(told("subscribe:", "subscibe:", &group), group[2..]);
    let deeper = ["clients.pubs.publish.size", "clients.pubs.count"];
    assert_eq!(told("rate:", "arte: 1, rate:", &deeper), deeper[1..]);
    // The document's own keys are about everything, and so about nothing.
    assert_eq!(told("gates:", "zeal: 1\ngates:", &group).len(), group.len());
    // A text that lacks what a reference should have brought.
    let secret = ["clients.subs.auth.jwt.secret", "clients.subs.auth.jwt"];
    let to = "auth: { jwt: { secret: '${env:NOWHERE}' } }, subscribe:";
    assert_eq!(told("subscribe:", to, &secret), secret[1..]);
}

#[test]
fn problems_of_later_stages_find_their_places() {
    let text = SOUND
        .replace("subs:", "a.b:")
        .replace("subs: linear", "a.b: linear");
    let document = parse("x.yaml", &text, None, &options()).map_err(|r| r.to_string());
    let report = document.map(|d| {
        d.report(vec![
            Problem::error("clients.a.b.count", "1"),
            Problem::error("phases[1].for", "2"),
            Problem::error("phases.steady.name", "3").on_key(),
            Problem::error("clients.pubs.publish.topic.deeper", "4"),
            Problem::error("", "5"),
        ])
    });
    let places = report.map(|r| {
        r.problems()
            .iter()
            .map(|p| {
                (
                    p.problem.message.clone(),
                    p.place.clone().map(|p| (p.line, p.column)),
                )
            })
            .collect::<Vec<_>>()
    });
    let expected = [
        ("5", 1, 1),
        ("1", 4, 17),
        ("4", 7, 23),
        ("3", 10, 7),
        ("2", 10, 26),
    ];
    assert_eq!(
        places,
        Ok(expected
            .map(|(m, l, c)| (m.to_string(), Some((l, c))))
            .to_vec())
    );
}
