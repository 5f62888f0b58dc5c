//! Every format, rendered from a friendly and from a hostile run.

use super::*;
use std::collections::BTreeMap;
use std::path::Path;

/// All files of a report of the hostile run, by name.
fn hostile_files() -> Vec<(String, String)> {
    let folder = tempfile::tempdir().unwrap();
    let files = write(
        folder.path(),
        &fixture::hostile(),
        &Redactor::new(fixture::CANARIES),
    )
    .unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .collect()
}

fn hostile_file(name: &str) -> String {
    hostile_files()
        .into_iter()
        .find(|(file, _)| file == name)
        .unwrap()
        .1
}

#[test]
fn no_file_holds_a_canary_or_a_control_character() {
    let files = hostile_files();
    assert_eq!(files.len(), 7);
    for (name, text) in files {
        for canary in fixture::CANARIES {
            assert!(!text.contains(canary), "{name} holds {canary}");
            let json = serde_json::to_string(canary).unwrap();
            assert!(
                !text.contains(json.trim_matches('"')),
                "{name} holds {canary} escaped"
            );
        }
        for part in ["canary", "5ecr3t", "w/rd"] {
            assert!(!text.contains(part), "{name} holds {part}");
        }
        let control = text
            .chars()
            .find(|c| c.is_control() && *c != '\n' && *c != '\r');
        assert_eq!(control, None, "{name}");
    }
}

#[test]
fn a_deploys_drains_are_told_by_address_and_faults_to_the_millisecond() {
    let mut of = fixture::bundle();
    let fault = (of.outcome.phases.iter_mut())
        .find_map(|phase| phase.faults.first_mut())
        .expect("a fault");
    (fault.start, fault.actual_start, fault.actual_end) = (120.0, Some(120.0006), None);
    let mut html = Vec::new();
    super::html::html(&of.outcome, &of.histograms, &mut html).expect("memory takes it");
    let html = String::from_utf8(html).expect("text");
    let drained = html.split("<th scope=\"col\">address</th>").nth(1);
    let drained = drained.and_then(|rest| rest.split("</table>").next());
    let drained = drained.expect("a table of drains");
    for row in [
        "<th scope=\"row\">wss://rt.example.com:443</th>",
        // Of an address that the report does not name, its number.
        "<th scope=\"row\">1</th>",
    ] {
        assert!(drained.contains(row), "{row}: {drained}");
    }
    assert!(html.contains("120.001 s –"), "the actual start");
}

#[test]
fn html_lets_nothing_out() {
    let html = hostile_file("report.html");
    for raw in [
        "<script",
        "</script",
        "javascript:alert(1)\"",
        "onerror",
        "\u{202e}",
        "http://",
        "https://",
        "<a ",
    ] {
        assert!(!html.contains(raw), "{raw}");
    }
    assert!(html.contains("&lt;script&gt;"));
    // Every id once, every reference to one there.
    let ids: Vec<&str> = html
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let unique: std::collections::BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len());
    let references = html
        .split("aria-labelledby=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next());
    assert!(
        references
            .flat_map(|ids| ids.split(' '))
            .all(|id| unique.contains(id))
    );
    // No colour is left that the style sheet does not decide.
    for svg in html
        .split("<svg ")
        .skip(1)
        .filter_map(|rest| rest.split("</svg>").next())
    {
        assert!(!svg.contains("=\"#"), "{svg:.300}");
        well_formed(&format!("<svg {svg}</svg>"));
    }
    assert_eq!(html.matches("<svg ").count(), 28);
    // A deploy is there with all that was said of it, and what was said ends where it should.
    for part in [
        "Deploy in deploy",
        "What it said",
        "messages out of order",
        "messages recovered by resuming",
        "1006 ×309 (cut, by the target, RST)",
        "p99 of the openings in its seconds: open 911 ms",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(html.matches("</pre>").count(), html.matches("<pre").count());
}

/// Tags are balanced and attributes quoted: a small check of what XML demands.
fn well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains("]]>"), "]]> in text");
        rest = &rest[at..];
        let end = if rest.starts_with("<!") {
            rest.find('>')
        } else {
            tag_end(rest)
        };
        let end = end.unwrap_or_else(|| panic!("a tag without an end: {rest:.80}"));
        let tag = &rest[1..end];
        rest = &rest[end + 1..];
        if tag.starts_with(['?', '!']) || tag.ends_with('/') {
            continue;
        }
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name.trim())),
            None => open.push(tag.split_whitespace().next().unwrap()),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.char_indices().find_map(|(i, c)| {
        quoted ^= c == '"';
        (c == '>' && !quoted).then_some(i)
    })
}

#[test]
fn junit_is_xml_with_a_case_for_each_gate_and_for_validity() {
    let mut xml = Vec::new();
    junit(&fixture::bundle().outcome, &mut xml).unwrap();
    let xml = String::from_utf8(xml).unwrap();
    well_formed(&xml);
    assert!(
        xml.contains("tests=\"6\"")
            && xml.contains("failures=\"1\"")
            && xml.contains("errors=\"1\""),
        "{xml}"
    );
    assert!(xml.contains("timestamp=\"2026-11-22T10:15:00"), "{xml}");
    assert!(
        xml.contains("name=\"latency p99 &lt; 250ms in steady\""),
        "{xml}"
    );
    let hostile = hostile_file("junit.xml");
    well_formed(&hostile);
    // Whether the run was completed, whether it can be believed (not), and four gates.
    assert!(
        hostile.contains("tests=\"6\"") && hostile.contains("errors=\"2\""),
        "{hostile}"
    );
}

#[test]
fn an_interrupted_run_is_an_error_in_junit_even_without_gates() {
    let mut outcome = fixture::bundle().outcome;
    (outcome.exit_code, outcome.verdict) = (105, "INTERRUPTED".into());
    outcome.gates.clear();
    let mut xml = Vec::new();
    junit(&outcome, &mut xml).unwrap();
    assert!(
        String::from_utf8(xml)
            .unwrap()
            .contains("INTERRUPTED (exit 105)")
    );
}

#[test]
fn markdown_lets_nothing_out() {
    let text = hostile_file("summary.md").replace("\\]", "");
    for raw in [
        "<script", "](", "@admin", "`", "\u{202e}", "https://", "wss://",
    ] {
        assert!(!text.contains(raw), "{raw}");
    }
    // Every row of a table has as many cells as its head.
    let mut columns = None;
    for line in text.lines() {
        let pipes = line.matches('|').count();
        match (line.starts_with('|'), columns) {
            (false, _) => columns = None,
            (true, None) => columns = Some(pipes),
            (true, Some(columns)) => assert_eq!(pipes, columns, "{line}"),
        }
    }
}

fn summary(outcome: &Outcome, look: Look) -> String {
    let mut out = Vec::new();
    let files = ["reports/deploy-rehearsal-20261122-101500/report.html".into()];
    terminal(outcome, &files, &look, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

const PLAIN: Look = Look {
    colour: false,
    width: 100,
};

#[test]
fn the_terminal_summary_tells_the_story_in_order() {
    let outcome = fixture::bundle().outcome;
    told_in_order(
        &summary(&outcome, PLAIN),
        &[
            "FAILED · run valid",
            "gates",
            "✓ latency p99 < 250ms in steady",
            "41.2 ms",
            "✗ close 1006 == 0 in deploy",
            "← nodes 2 and 3",
            "? rtt",
            "connections",
            "handshake",
            "latency",
            "delivery",
            "phases",
            "latency p50",
            "deploy  ",
            "19,998 connections moved in 30.1 s",
            "8,114 messages missed while away",
            "storm",
            "peak 2,100 attempts/s",
            "generator",
            "report.html",
            "exit 99",
        ],
    );
}

#[test]
fn reasons_are_told_by_name_and_the_most_frequent_first() {
    let mut outcome = fixture::bundle().outcome;
    let reason = |code, text: &str, count| ReasonReport {
        code,
        text: text.into(),
        count,
    };
    outcome.reasons = vec![
        reason(0x89, "server busy", 1200),
        reason(0, "Bad CONNECT", 22),
        reason(0, "", 9),
    ];
    outcome
        .reasons
        .extend((0..5).map(|n| reason(n + 1, "x", 1)));
    let text = summary(&outcome, PLAIN);
    told_in_order(
        &text,
        &[
            "reasons     0x89 server busy ×1,200 · Bad CONNECT ×22 · beyond those told apart ×9 · 0x01 x ×1",
            "2 others ×2",
            "delivery",
        ],
    );
}

#[test]
fn colours_say_nothing_that_is_not_said_without() {
    for bundle in [fixture::bundle(), fixture::hostile()] {
        let look = Look {
            colour: true,
            ..PLAIN
        };
        let coloured = summary(&bundle.outcome, look);
        let mut text = String::new();
        for (i, part) in coloured.split('\x1b').enumerate() {
            match part.split_once('m') {
                Some((_, rest)) if i > 0 => text.push_str(rest),
                _ => text.push_str(part),
            }
        }
        // A padded label that is painted keeps its spaces where the row ends with it.
        let trimmed = |text: &str| -> Vec<String> {
            text.lines()
                .map(|line| line.trim_end().to_owned())
                .collect()
        };
        assert_eq!(trimmed(&text), trimmed(&summary(&bundle.outcome, PLAIN)));
    }
}

/// The rows of the table by phase, split into words, the headings first.
fn table(text: &str) -> Vec<Vec<&str>> {
    let from = text.lines().skip_while(|line| !line.starts_with("phases "));
    let rows = from
        .enumerate()
        .take_while(|(i, line)| *i == 0 || line.starts_with("            "));
    rows.map(|(_, line)| line.split_whitespace().collect())
        .collect()
}

#[test]
fn each_of_several_phases_has_a_row_of_its_own() {
    let mut outcome = fixture::bundle().outcome;
    let phase = |name: &str, completed| PhaseReport {
        name: name.into(),
        start: 0.0,
        end: 10.0,
        completed,
        faults: Vec::new(),
    };
    outcome.phases = vec![
        phase("calm", true),
        phase("storm", false),
        phase("never", false),
    ];
    outcome.deploys.clear();
    outcome.pressure.clear();
    outcome.storms.clear();
    let counts = |of: &[(&str, u64)]| -> BTreeMap<String, u64> {
        of.iter().map(|(name, n)| ((*name).into(), *n)).collect()
    };
    outcome.counts_by_phase = BTreeMap::from([
        ("calm".into(), counts(&[("received", 1_200)])),
        (
            "storm".into(),
            counts(&[("received", 80), ("lost", 7), ("reconnected", 5_000)]),
        ),
    ]);
    let times = |p50, p99| TimerReport {
        count: 9,
        p50,
        p99,
        ..TimerReport::default()
    };
    let timers = |name: &str, of| BTreeMap::from([(name.to_owned(), of)]);
    outcome.timers_by_phase = BTreeMap::from([
        ("calm".into(), timers("latency", times(3.1, 41.2))),
        ("storm".into(), timers("latency", times(9.0, 1_500.0))),
    ]);
    let text = summary(&outcome, PLAIN);
    let headings = "phases length latency p50 p99 received lost reconnected";
    let expected = [
        headings,
        "calm 10 s 3.1 ms 41.2 ms 1,200 0 0",
        "storm (cut short) 10 s 9 ms 1.5 s 80 7 5,000",
        "never (cut short) 10 s – – – – –",
    ];
    let rows: Vec<String> = table(&text).iter().map(|row| row.join(" ")).collect();
    assert_eq!(rows, expected, "{text}");
    // What was missed has a column where something was; requests are told of where there are no messages.
    for counts in outcome.counts_by_phase.values_mut() {
        counts.insert("missed".into(), 4);
    }
    let text = summary(&outcome, PLAIN);
    assert!(
        table(&text)[0].ends_with(&["lost", "missed", "reconnected"]),
        "{text}"
    );
    outcome.counts_by_phase = BTreeMap::from([
        (
            "calm".into(),
            counts(&[("requests_offered", 9), ("replies", 8)]),
        ),
        ("storm".into(), counts(&[("request_timeouts", 1)])),
    ]);
    outcome.timers_by_phase = BTreeMap::from([("calm".into(), timers("rtt", times(3.1, 41.2)))]);
    let text = summary(&outcome, PLAIN);
    let rows: Vec<String> = table(&text).iter().map(|row| row.join(" ")).collect();
    assert_eq!(
        rows[..3],
        [
            "phases length rtt p50 p99 replies timed out reconnected",
            "calm 10 s 3.1 ms 41.2 ms 8 0 0",
            "storm (cut short) 10 s – – 0 1 0",
        ],
        "{text}"
    );
    // One phase's row would say what the totals say.
    outcome.phases.truncate(1);
    assert!(!summary(&outcome, PLAIN).contains("\nphases"));
}

fn told_in_order(text: &str, words: &[&str]) {
    assert!(text.lines().all(|line| text::width(line) <= 100), "{text}");
    let mut from = 0;
    for word in words {
        let at = text[from..]
            .find(word)
            .unwrap_or_else(|| panic!("no {word} from {from}:\n{text}"));
        from += at;
    }
}

#[test]
fn nothing_drives_the_terminal() {
    let outcome = Redactor::new(fixture::CANARIES).outcome(&fixture::hostile().outcome);
    let text = summary(
        &outcome,
        Look {
            colour: false,
            width: 100,
        },
    );
    assert_eq!(text.chars().find(|c| c.is_control() && *c != '\n'), None);
    assert!(!text.contains(fixture::CANARIES[0]) && !text.contains('\u{202e}'));
    assert!(
        text.lines()
            .filter(|line| !line.contains("report.html"))
            .all(|line| text::width(line) <= 100),
        "{text}"
    );
    // Colours are ours alone: only those sequences, and none of them the target's.
    let coloured = summary(
        &outcome,
        Look {
            colour: true,
            width: 100,
        },
    );
    let ours = ["[1m", "[2m", "[0m", "[1;31m", "[1;32m", "[1;33m"];
    assert!(
        coloured
            .split('\x1b')
            .skip(1)
            .all(|rest| ours.iter().any(|code| rest.starts_with(code)))
    );
    assert!(coloured.contains('\x1b'));
}

#[test]
fn every_gate_is_shown_with_its_value_and_of_many_those_that_did_not_hold_first() {
    let mut outcome = fixture::bundle().outcome;
    let (passed, failed) = (outcome.gates[0].clone(), outcome.gates[1].clone());
    outcome.gates = (0..40)
        .map(|i| GateReport {
            text: format!("lost <= {i}"),
            actual: format!("value-{i}"),
            ..passed.clone()
        })
        .collect();
    outcome.gates.push(failed);
    let text = summary(&outcome, PLAIN);
    assert!(text.lines().all(|line| text::width(line) <= 100), "{text}");
    let first = text.lines().find(|line| line.starts_with("gates"));
    assert!(
        first.is_some_and(|line| line.contains("✗ close 1006")),
        "{text}"
    );
    for i in 0..40 {
        let row = format!("✓ lost <= {i} ");
        let row = text.lines().find(|line| line.contains(&row));
        assert!(
            row.is_some_and(
                |row| row.contains(&format!("value-{i} ")) || row.ends_with(&format!("value-{i}"))
            ),
            "{i}: {text}"
        );
    }
    assert!(text.contains("40 of 41 gates passed · 1 failed"), "{text}");
    // Few stay in the order in which they were written.
    outcome.gates.drain(..37);
    let text = summary(&outcome, PLAIN);
    told_in_order(&text, &["✓ lost <= 37", "✓ lost <= 39", "✗ close 1006"]);
}

#[test]
fn of_very_many_phases_and_reasons_the_rest_is_counted() {
    let mut outcome = fixture::bundle().outcome;
    let storm = outcome
        .phases
        .iter()
        .find(|p| !p.faults.is_empty())
        .unwrap();
    outcome.phases = (0..40)
        .map(|i| PhaseReport {
            name: format!("storm{i}"),
            ..storm.clone()
        })
        .collect();
    outcome.validity = Validity {
        state: ValidityState::Invalid,
        reasons: (0..200).map(|i| format!("shard {i} is lost")).collect(),
    };
    let text = summary(&outcome, PLAIN);
    assert!(text.lines().count() <= 80, "{text}");
    told_in_order(
        &text,
        &[
            "shard 0 is lost",
            "197 more in the report",
            "phases",
            "storm23 ",
            "… 16 more phases in the report",
            "storm0 ",
            "more phases in the report",
            "generator",
            "exit 99",
        ],
    );
    // None is left out where there are few.
    let text = summary(&fixture::bundle().outcome, PLAIN);
    assert!(!text.contains("more phase"), "{text}");
}

#[test]
fn a_run_without_anything_renders_too() {
    let mut outcome = fixture::bundle().outcome;
    for map in [&mut outcome.counts, &mut outcome.failures] {
        map.clear();
    }
    outcome.timers.clear();
    outcome.timers_by_phase.clear();
    outcome.counts_by_phase.clear();
    (outcome.timeline, outcome.per_shard, outcome.gates) = (vec![], vec![], vec![]);
    (outcome.phases, outcome.groups, outcome.samples) = (vec![], vec![], vec![]);
    outcome.length = 0.0;
    let bundle = Bundle {
        outcome,
        histograms: Histograms::default(),
        scenario_yaml: String::new(),
    };
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        write(folder.path(), &bundle, &Redactor::default())
            .unwrap()
            .len(),
        7
    );
    assert!(
        summary(
            &bundle.outcome,
            Look {
                colour: true,
                width: 100
            }
        )
        .contains("judges nothing")
    );
}

/// For looking at: `SQUALL_FIXTURE=DIR cargo test fixture_report` writes the fixture's report there.
#[test]
fn fixture_report() {
    let temporary = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("SQUALL_FIXTURE").map(std::path::PathBuf::from);
    let root = kept.as_deref().unwrap_or(temporary.path());
    let files = write(root, &fixture::bundle(), &Redactor::default()).unwrap();
    assert!(files[0].ends_with("report.html") && files[0].metadata().unwrap().len() < 1 << 20);
    if kept.is_some() {
        println!(
            "{}\n{}",
            files[0].display(),
            summary(
                &fixture::bundle().outcome,
                Look {
                    colour: false,
                    width: 100
                }
            )
        );
    }
}

#[test]
fn memory_is_that_of_connections_at_rest_and_the_most_at_any_time() {
    let mut outcome = fixture::bundle().outcome;
    // Opening, at rest, a broadcast under way, everyone saying goodbye.
    let moments = [
        (5_000, 3),
        (20_000, 150),
        (20_000, 200),
        (19_999, 600),
        (100, 900),
    ];
    let sample = |(open, mib): (u64, u64)| CostSample {
        open,
        shards_memory: mib << 20,
        gateway_memory: mib << 21,
        ..CostSample::default()
    };
    outcome.cost.samples = moments.map(sample).to_vec();
    let line = |outcome: &Outcome| {
        let look = Look {
            colour: false,
            width: 200,
        };
        let text = summary(outcome, look);
        let line = text.lines().find(|line| line.starts_with("memory"));
        line.map(|line| line.trim_start_matches("memory").trim().to_owned())
            .expect("a line")
    };
    assert_eq!(
        line(&outcome),
        "a connection at rest: generator 10.2 KiB  gateway 20.5 KiB · at most 2.6 GiB in all · the target at most 96 MiB"
    );
    // Too few to tell a connection's share from the processes'; no page of the target's, but its processes.
    outcome.memory = None;
    for sample in &mut outcome.cost.samples {
        sample.open /= 3;
    }
    assert_eq!(
        line(&outcome),
        "at most 2.6 GiB in all · the target at most 1.8 GiB"
    );
    // Nothing is known of the target, and the kernel's is not the generator's.
    for sample in &mut outcome.cost.samples {
        sample.kernel_memory = std::mem::take(&mut sample.gateway_memory);
    }
    assert_eq!(
        line(&outcome),
        "at most 2.6 GiB in all (1.8 GiB of it the whole machine's kernel)"
    );
}

#[test]
fn the_spread_over_nodes_is_told_by_name_as_long_as_there_are_few() {
    let mut outcome = fixture::bundle().outcome;
    let plain = Look {
        colour: false,
        width: 200,
    };
    let spread = |outcome: &Outcome| {
        let text = summary(outcome, plain);
        let line = text.lines().find(|line| line.starts_with("spread"));
        line.map(str::to_owned)
    };
    let expected = "spread      3 nodes: gw-1 ×9,210  gw-2 ×8,830  gw-3 ×8,020, max ÷ mean 1.06 · node not told 3";
    assert_eq!(spread(&outcome).as_deref(), Some(expected));
    let place = |n: usize| PlaceReport {
        name: format!("ws://gw-{n}"),
        opened: n as u64,
        opened_by_phase: BTreeMap::new(),
    };
    outcome.nodes = NodesReport {
        told: (0..7).map(place).collect(),
        untold: 0,
        beyond: 2,
    };
    outcome.endpoints = (2..4).map(place).collect();
    outcome.counts.insert("moved".into(), 1);
    outcome.counts.insert("stayed".into(), 9);
    let expected = "spread      2 addresses: ws://gw-2 ×2  ws://gw-3 ×3, max ÷ mean 1.20 · 7 nodes, max ÷ mean 2.00 · \
                    2 at still other nodes · 1 of 10 came back on another node";
    assert_eq!(spread(&outcome).as_deref(), Some(expected));
    // One address, and a target that tells no nodes: nothing to say.
    outcome.nodes = NodesReport::default();
    outcome.endpoints.pop();
    outcome.counts.insert("moved".into(), 0);
    outcome.counts.insert("stayed".into(), 0);
    assert_eq!(spread(&outcome), None);
}

#[test]
fn what_compression_made_of_messages_is_a_line_where_it_was_used() {
    let mut outcome = fixture::bundle().outcome;
    let plain = Look {
        colour: false,
        width: 200,
    };
    let compressed = |outcome: &Outcome| {
        let text = summary(outcome, plain);
        let line = text.lines().find(|line| line.starts_with("compressed"));
        line.map(str::to_owned)
    };
    assert_eq!(compressed(&outcome), None);
    outcome.counts.insert("compressed".into(), 20);
    outcome.counts.insert("opened".into(), 24);
    outcome.counts.insert("inflated_received".into(), 4 << 20);
    outcome.counts.insert("deflated_received".into(), 1 << 20);
    let expected = "compressed  on 20 of 24 connections · received 4 MiB as 1 MiB (25 %)";
    assert_eq!(compressed(&outcome).as_deref(), Some(expected));
}

#[test]
fn what_opened_by_polling_is_told_and_why_it_stayed_there() {
    let told = |counts: &[(&str, u64)]| {
        let mut outcome = fixture::bundle().outcome;
        for (name, n) in counts {
            outcome.counts.insert((*name).to_owned(), *n);
        }
        let lines = story::lines(&outcome);
        let line = lines.into_iter().find(|line| line.label == "polling");
        line.map(|line| line.parts.join(" · "))
    };
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[("polled", 5)]).as_deref(), Some("5 opened by it"));
    let all = [
        ("polled", 1000),
        ("upgraded", 900),
        ("stuck_refused", 70),
        ("stuck_timeout", 30),
        ("unknown_session", 2),
    ];
    let expected = "1,000 opened by it · 900 upgraded (90 %) · stuck on it 100 (refused 70, not answered 30) · \
                    2 answered with Session ID unknown: not every request comes to the node of its handshake";
    assert_eq!(told(&all).as_deref(), Some(expected));
}
