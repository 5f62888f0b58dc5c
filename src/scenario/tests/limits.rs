//! Hostile documents: bombs, depth, junk. Nothing grows, nothing panics.

use super::*;
use nix::sys::resource::{UsageWho, getrusage};
use proptest::prelude::*;

/// Ten aliases to ten aliases to ...: 10⁹ values in a few hundred bytes.
fn billion_laughs() -> String {
    let mut text = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for i in 1..10 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        text.push_str(&format!("a{i}: &a{i} [{aliases}]\n"));
    }
    text
}

/// Repeated to the size that a file may have.
fn fill(piece: &str) -> String {
    piece.repeat((1 << 20) / piece.len() - 10)
}

fn numbered(count: usize, line: impl Fn(usize) -> String) -> String {
    (0..count).map(line).collect()
}

/// A name and what makes it, so that a process holds only its own.
type Bomb = (&'static str, fn() -> String);

const BOMBS: &[Bomb] = &[
    ("aliases of aliases", billion_laughs),
    ("one large text, many aliases", || {
        format!(
            "a: &a \"{}\"\nb: [{}]\n",
            "x".repeat(1 << 19),
            vec!["*a"; 5_000].join(",")
        )
    }),
    ("many small values", || format!("a: [{}]", fill("1,"))),
    ("many keys", || numbered(80_000, |i| format!("k{i}: 1\n"))),
    ("many anchors", || {
        numbered(50_000, |i| format!("k{i}: &a{i} 1\n"))
    }),
    ("depth of lists", || fill("[")),
    ("depth of maps", || fill("{a: ")),
    ("depth of block lists", || fill("- ")),
    ("depth of questions", || fill("? ")),
    ("one long text", || format!("name: {}", fill("x"))),
    ("one long quoted text", || {
        format!("name: \"{}", fill("\\n"))
    }),
    ("references", || {
        format!("name: \"{}\"", fill("${env:CANARY}"))
    }),
    ("comments", || fill("#\n")),
    ("tabs", || fill("\t")),
    ("colons", || fill(":")),
    ("bangs", || fill("! ")),
    ("tokens", || format!("name: x\n{}", fill("token: "))),
    ("tokens in lines", || format!("- [\n{}", fill("token:\n"))),
    ("addresses", || {
        format!("name: \"{}\"\nx: 1", fill("://abcd@"))
    }),
    ("keys given twice", || fill("a: 1\n")),
    ("missing references", || {
        numbered(20_000, |i| format!("k{i}: ${{env:NO}}\n"))
    }),
    ("bad values", || {
        format!("name: x\ngates: [{}]", "1,".repeat(45_000))
    }),
    ("unknown keys", || {
        numbered(20_000, |i| format!("subscirbe{i}: 1\n"))
    }),
];

#[test]
fn what_is_too_much_is_told() {
    let laughs = told(&billion_laughs(), &options());
    assert_eq!(
        laughs,
        ["5:20 the document grows beyond 50000 values here, aliases counted in full"]
    );
    let large = "#".repeat((1 << 20) + 1);
    assert_eq!(
        told(&large, &options()),
        ["cannot read x.yaml: it is larger than 1 MiB"]
    );
}

/// Each bomb in a process of its own, which measures itself: under a second of CPU, under 100 MB.
#[test]
fn bombs_cost_little() {
    const WHICH: &str = "SQUALL_TEST_BOMB";
    if let Ok(which) = std::env::var(WHICH) {
        let text = BOMBS[which.parse::<usize>().unwrap()].1();
        let cpu = || {
            let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
            let time = usage.user_time();
            time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
        };
        let before = cpu();
        let report = parse("x.yaml", &text, None, &options())
            .err()
            .map(|r| r.to_string());
        let seconds = cpu() - before;
        let megabytes = getrusage(UsageWho::RUSAGE_SELF).unwrap().max_rss() as f64 * 1024.0 / 1e6;
        println!("measured {seconds} s {megabytes} MB");
        assert!(report.is_some());
        // Without optimisation everything takes about ten times as long; what grows out of hand takes minutes.
        let limit = if cfg!(debug_assertions) { 5.0 } else { 1.0 };
        assert!(
            seconds < limit && megabytes < 100.0,
            "{seconds} s, {megabytes} MB"
        );
        return;
    }
    let exe = std::env::current_exe().unwrap();
    for (i, (name, _)) in BOMBS.iter().enumerate() {
        let mut command = std::process::Command::new(&exe);
        let test = "scenario::tests::limits::bombs_cost_little";
        command
            .args(["--exact", "--nocapture", test])
            .env(WHICH, i.to_string());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let measured = text
            .lines()
            .find(|l| l.contains("measured"))
            .unwrap_or_default();
        println!("{name}: {measured}");
        assert!(
            output.status.success() && !measured.is_empty(),
            "{name}: {text}"
        );
    }
}

/// Pieces that YAML and the language give a meaning to.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "- ",
        ": ",
        "{",
        "}",
        "[",
        "]",
        ",",
        "&a ",
        "*a",
        "|",
        ">",
        "'",
        "\"",
        "\n",
        "\n  ",
        "\n    ",
        "#",
        "!t ",
        "!!str ",
        "? ",
        "%",
        "@",
        "`",
        "---",
        "...",
        "<<",
        "name",
        "target",
        "clients",
        "phases",
        "count",
        "publish",
        "rate",
        "5/s",
        "10",
        "1s",
        "for",
        "open",
        "gates",
        "${env:CANARY}",
        "${file:/etc/passwd}",
        "$${",
        "${",
        "token",
        "ws://u:p@h/?token=x",
        "Bearer x",
        "é😀",
        "\t",
        "\r",
        "\0",
        "\u{feff}",
        "null",
        "true",
        ".inf",
        "0x",
        "embedded",
        "lifetime",
        "vars",
        "cycle",
        "~",
        "\\",
        "\u{2028}",
        "\u{85}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// A sound document with stretches cut out, doubled and replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        pieces(),
        0..3usize,
    );
    prop::collection::vec(edit, 1..6).prop_map(|edits| {
        let mut text: Vec<char> = STARTER.chars().collect();
        for (at, length, piece, kind) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length.index(30)).min(text.len());
            let with: Vec<char> = match kind {
                0 => Vec::new(),
                1 => text[at..end]
                    .iter()
                    .chain(&text[at..end])
                    .copied()
                    .collect(),
                _ => piece.chars().collect(),
            };
            text.splice(at..end, with);
        }
        text.into_iter().collect()
    })
}

/// Whatever it says, it says it in order, with places that exist.
fn survives(text: &str, options: &Options) {
    match parse("x.yaml", text, None, options) {
        Ok(document) => {
            let again = parse("y.yaml", &document.redacted_yaml(), None, options);
            assert!(
                again.is_ok() || document.redacted_yaml().contains("***"),
                "{text}"
            );
        }
        Err(report) => {
            let rendered = report.render(true);
            assert!(!report.problems().is_empty() && !rendered.is_empty());
            let lines = text
                .replace("\r\n", "\n")
                .replace('\r', "\n")
                .matches('\n')
                .count()
                + 1;
            let ok =
                |p: &Place| p.source != "x.yaml" || (1..=lines).contains(&p.line) && p.column >= 1;
            assert!(
                report
                    .problems()
                    .iter()
                    .all(|p| p.place.as_ref().is_none_or(ok))
            );
            report
                .also(|document| vec![Problem::error("gates[0]", document.redacted_yaml())])
                .to_string();
        }
    }
}

proptest! {
    #[test]
    fn junk_does_not_panic(text in ".*", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives(&text, &options());
        survives(&String::from_utf8_lossy(&bytes), &options());
    }

    #[test]
    fn yaml_like_junk_does_not_panic(text in pieces()) {
        survives(&text, &options());
    }

    #[test]
    fn broken_scenarios_do_not_panic(text in mutated()) {
        survives(&text, &options());
    }

    #[test]
    fn sets_do_not_panic(set in pieces(), path in "[a-z.\\[\\]0-9]{0,20}") {
        survives(SOUND, &with_sets(&[&set]));
        survives(SOUND, &with_sets(&[&format!("{path}={set}")]));
    }
}
