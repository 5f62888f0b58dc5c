use super::*;
use proptest::prelude::*;

fn count(counter: Counter) -> Measure {
    Measure::Count(Count::Counter(counter))
}

#[test]
fn good_gates_are_understood() {
    use Measure as M;
    let p99 = Stat::Quantile(990_000);
    type Row = (
        &'static str,
        Measure,
        Op,
        f64,
        Option<&'static str>,
        Option<&'static str>,
    );
    let table: &[Row] = &[
        (
            "noisy_neighbour < 1.5 in slow of subs",
            M::NoisyNeighbour,
            Op::Less,
            1.5,
            Some("slow"),
            Some("subs"),
        ),
        (
            "latency p99 < 250ms in steady",
            M::Timer(Timer::Latency, p99),
            Op::Less,
            250.0,
            Some("steady"),
            None,
        ),
        (
            "rtt p99.9 <= 1s in steady of askers",
            M::Timer(Timer::Rtt, Stat::Quantile(999_000)),
            Op::LessEqual,
            1000.0,
            Some("steady"),
            Some("askers"),
        ),
        (
            "rtt p99<1.5s of a-b in x_1.y",
            M::Timer(Timer::Rtt, p99),
            Op::Less,
            1500.0,
            Some("x_1.y"),
            Some("a-b"),
        ),
        (
            "open p50 > 250us",
            M::Timer(Timer::Open, Stat::Quantile(500_000)),
            Op::Greater,
            0.25,
            None,
            None,
        ),
        (
            "open p5 >= 10ns",
            M::Timer(Timer::Open, Stat::Quantile(50_000)),
            Op::GreaterEqual,
            1e-5,
            None,
            None,
        ),
        (
            "lag p99.9999 < 2m",
            M::Timer(Timer::Lag, Stat::Quantile(999_999)),
            Op::Less,
            120_000.0,
            None,
            None,
        ),
        (
            "lag p0.0001 < 2min",
            M::Timer(Timer::Lag, Stat::Quantile(1)),
            Op::Less,
            120_000.0,
            None,
            None,
        ),
        (
            "lag max < 1h",
            M::Timer(Timer::Lag, Stat::Max),
            Op::Less,
            3_600_000.0,
            None,
            None,
        ),
        (
            "ping min > 1µs",
            M::Timer(Timer::Ping, Stat::Min),
            Op::Greater,
            0.001,
            None,
            None,
        ),
        (
            "ping mean < 5ms",
            M::Timer(Timer::Ping, Stat::Mean),
            Op::Less,
            5.0,
            None,
            None,
        ),
        (
            "  lost   ==  0 ",
            count(Counter::Lost),
            Op::Equal,
            0.0,
            None,
            None,
        ),
        ("lost==0", count(Counter::Lost), Op::Equal, 0.0, None, None),
        (
            "opened >= 2k",
            count(Counter::Opened),
            Op::GreaterEqual,
            2000.0,
            None,
            None,
        ),
        (
            "opened >= 1.5M",
            count(Counter::Opened),
            Op::GreaterEqual,
            1.5e6,
            None,
            None,
        ),
        (
            "bytes_sent < 64MiB",
            count(Counter::BytesSent),
            Op::Less,
            67_108_864.0,
            None,
            None,
        ),
        (
            "bytes_sent < 64k",
            count(Counter::BytesSent),
            Op::Less,
            64_000.0,
            None,
            None,
        ),
        (
            "bytes_received rate < 10KiB/s",
            M::Rate(Count::Counter(Counter::BytesReceived)),
            Op::Less,
            10_240.0,
            None,
            None,
        ),
        (
            "close 1006 == 0 in deploy",
            M::Count(Count::Close(1006)),
            Op::Equal,
            0.0,
            Some("deploy"),
            None,
        ),
        (
            "close 1000 share > 90%",
            M::Share(Count::Close(1000)),
            Op::Greater,
            90.0,
            None,
            None,
        ),
        (
            "close 4999 == 0",
            M::Count(Count::Close(4999)),
            Op::Equal,
            0.0,
            None,
            None,
        ),
        (
            "reason 0x97 == 0 in deploy",
            M::Count(Count::Reason(151)),
            Op::Equal,
            0.0,
            Some("deploy"),
            None,
        ),
        (
            "reason 151 rate < 1/s",
            M::Rate(Count::Reason(0x97)),
            Op::Less,
            1.0,
            None,
            None,
        ),
        (
            "closed_by_target == 0",
            M::Count(Count::ClosedByTarget),
            Op::Equal,
            0.0,
            None,
            None,
        ),
        (
            "status 503 < 10",
            M::Count(Count::Status(503)),
            Op::Less,
            10.0,
            None,
            None,
        ),
        (
            "status 100 rate < 10/m",
            M::Rate(Count::Status(100)),
            Op::Less,
            10.0 / 60.0,
            None,
            None,
        ),
        (
            "failed == 0",
            M::Count(Count::Failed(None)),
            Op::Equal,
            0.0,
            None,
            None,
        ),
        (
            "failed<1",
            M::Count(Count::Failed(None)),
            Op::Less,
            1.0,
            None,
            None,
        ),
        (
            "failed share < 1%",
            M::Share(Count::Failed(None)),
            Op::Less,
            1.0,
            None,
            None,
        ),
        (
            "failed timeout == 0",
            M::Count(Count::Failed(Some(Failure::Timeout))),
            Op::Equal,
            0.0,
            None,
            None,
        ),
        (
            "failed no_port share <= 0.5%",
            M::Share(Count::Failed(Some(Failure::NoPort))),
            Op::LessEqual,
            0.5,
            None,
            None,
        ),
        (
            "failed rate < 36/h",
            M::Rate(Count::Failed(None)),
            Op::Less,
            0.01,
            None,
            None,
        ),
        (
            "sent rate >= 900/s in steady",
            M::Rate(Count::Counter(Counter::Sent)),
            Op::GreaterEqual,
            900.0,
            Some("steady"),
            None,
        ),
        (
            "attempts peak < 500/s in storm",
            M::Peak(Peak::Attempts),
            Op::Less,
            500.0,
            Some("storm"),
            None,
        ),
        (
            "restored p99.9<=20s",
            M::Restored(999_000),
            Op::LessEqual,
            20_000.0,
            None,
            None,
        ),
        (
            "restored p100 < 1m",
            M::Restored(1_000_000),
            Op::Less,
            60_000.0,
            None,
            None,
        ),
        (
            "attempts peak share<80% in storm",
            M::PeakShare,
            Op::Less,
            80.0,
            Some("storm"),
            None,
        ),
        (
            "attempts peak after > 2s in storm",
            M::PeakAfter,
            Op::Greater,
            2_000.0,
            Some("storm"),
            None,
        ),
        ("spread < 1.3", M::Spread, Op::Less, 1.3, None, None),
        (
            "amplification < 1.5 of subs",
            M::Amplification,
            Op::Less,
            1.5,
            None,
            Some("subs"),
        ),
        (
            "received share >= 99.9%",
            M::Share(Count::Counter(Counter::Received)),
            Op::GreaterEqual,
            99.9,
            None,
            None,
        ),
        (
            "sent share == 100%",
            M::Share(Count::Counter(Counter::Sent)),
            Op::Equal,
            100.0,
            None,
            None,
        ),
        (
            "lost == 0 in in of of",
            count(Counter::Lost),
            Op::Equal,
            0.0,
            Some("in"),
            Some("of"),
        ),
        (
            "lost < 1 in żółw",
            count(Counter::Lost),
            Op::Less,
            1.0,
            Some("żółw"),
            None,
        ),
    ];
    for (text, measure, op, limit, phase, group) in table {
        let gate = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((gate.measure, gate.op), (*measure, *op), "{text}");
        assert!(
            (gate.limit - limit).abs() <= limit * 1e-12,
            "{text}: {}",
            gate.limit
        );
        assert_eq!((gate.phase(), gate.group()), (*phase, *group), "{text}");
        assert_eq!(
            (gate.text(), gate.to_string().as_str()),
            (text.trim(), text.trim())
        );
    }
}

#[test]
fn bad_gates_say_where_and_what_was_meant() {
    let table: &[(&str, usize, &str, Option<&str>)] = &[
        ("", 1, "expected a metric", None),
        ("   ", 1, "expected a metric", None),
        ("latncy p99 < 1s", 1, "no metric `latncy`", Some("latency")),
        (
            "  recieved > 5",
            3,
            "no metric `recieved`",
            Some("received"),
        ),
        (
            "indetrmnte < 5",
            1,
            "no metric `indetrmnte`",
            Some("indeterminate"),
        ),
        ("validity == 1", 1, "no metric `validity`", None),
        ("< 5", 1, "no metric `<`", None),
        ("latency", 8, "expected p50", None),
        ("latency < 1s", 9, "expected p50", None),
        ("latency 99 < 1s", 9, "not `99`", None),
        ("latency p100 < 1s", 9, "not `p100`", None),
        ("latency p0 < 1s", 9, "not `p0`", None),
        ("latency p99.99999 < 1s", 9, "not `p99.99999`", None),
        ("latency p99. < 1s", 9, "not `p99.`", None),
        ("latency p.9 < 1s", 9, "not `p.9`", None),
        ("latency p+9 < 1s", 9, "not `p+9`", None),
        ("latency p9.+9 < 1s", 9, "not `p9.+9`", None),
        ("latency maxx < 1s", 9, "not `maxx`", Some("max")),
        ("latency p99", 12, "expected a comparison", None),
        ("latency p99 in steady", 13, "expected a comparison", None),
        ("lost < 5kB", 8, "expected a number, such as", None),
        ("lost rate < 5kB/s", 13, "expected a rate, such as", None),
        ("lost = 0", 6, "not `=`", Some("==")),
        ("lost === 0", 6, "not `===`", Some("==")),
        ("lost =< 0", 6, "not `=<`", Some("<=")),
        ("lost => 0", 6, "not `=>`", Some(">=")),
        ("lost != 0", 6, "not `!=`", None),
        ("latency p99 == 5ms", 13, "never exactly equal", Some("<=")),
        ("policy <= drop", 8, "never more or less", Some("==")),
        ("policy == dorp", 11, "expected buffer, drop", Some("drop")),
        ("policy == unknown", 11, "expected buffer, drop", None),
        ("policy == 1", 11, "expected buffer, drop", None),
        ("taken == 5B", 7, "never exactly equal", Some("<=")),
        ("taken < 5s", 9, "expected a number of bytes", None),
        (
            "accepted_draining == 0 of subs",
            27,
            "over all client groups",
            None,
        ),
        ("sent rate == 5/s", 11, "never exactly equal", Some("<=")),
        ("lost ==", 8, "expected a number", None),
        ("lost == == 0", 9, "expected a number", None),
        ("lost == 0ms", 9, "expected a number", None),
        ("lost == 0%", 9, "expected a number", None),
        ("lost == -1", 9, "expected a number", None),
        ("lost == 1e3", 9, "expected a number", None),
        ("lost == .5", 9, "expected a number", None),
        ("lost == 5.", 9, "expected a number", None),
        ("lost == 1.2.3", 9, "expected a number", None),
        ("lost == nan", 9, "expected a number", None),
        ("lost == 5KiB", 9, "expected a number", None),
        ("bytes_sent == 5ms", 15, "expected a number of bytes", None),
        (
            "bytes_sent rate < 5ms",
            19,
            "expected a rate of bytes",
            None,
        ),
        ("latency p99 < 250", 15, "expected a time", None),
        ("latency p99 < 250 ms", 15, "expected a time", None),
        ("sent rate < 5", 13, "expected a rate", None),
        ("sent rate < 5/d", 13, "expected a rate", None),
        ("sent rate < 5ms/s", 13, "expected a rate", None),
        ("lost share < 5", 14, "expected a share", None),
        ("lost share < 100.1%", 14, "expected a share", None),
        ("lost share > 100%", 14, "can never hold", None),
        ("lost < 0", 8, "can never hold", None),
        ("latency p99 < 0ms", 15, "can never hold", None),
        ("lost peak < 5/s", 6, "`lost` has no peak", None),
        ("attempts peak < 5", 17, "expected a rate", None),
        ("restored < 5s", 10, "expected p50, p99", None),
        ("restored max < 5s", 10, "expected p50, p99", None),
        ("restored p50 == 5s", 14, "never exactly equal", Some("<=")),
        ("opened peak after > 1s", 13, "after", None),
        ("attempts peak after > 5", 23, "expected a time", None),
        (
            "attempts peak after > 1s of subs",
            29,
            "of all client groups together",
            None,
        ),
        (
            "attempts peak < 5/s of subs",
            24,
            "of all client groups together",
            None,
        ),
        ("errors share < 5%", 8, "not a share of anything", None),
        (
            "status == 0",
            8,
            "expected an HTTP status (100 to 599)",
            None,
        ),
        ("status 99 == 0", 8, "not `99`", None),
        ("status 600 == 0", 8, "not `600`", None),
        (
            "close 999 == 0",
            7,
            "expected a close code (1000 to 4999), not `999`",
            None,
        ),
        ("close 5000 == 0", 7, "not `5000`", None),
        ("reason 0x100 == 0", 8, "not `0x100`", None),
        ("reason busy == 0", 8, "not `busy`", None),
        ("close abnormal == 0", 7, "not `abnormal`", None),
        (
            "failed timeuot == 0",
            8,
            "no kind of failure `timeuot`",
            Some("timeout"),
        ),
        ("lost == 0 on steady", 11, "not `on`", Some("in")),
        ("lost == 0 steady", 11, "not `steady`", None),
        ("lost == 0 in", 13, "expected the name of a phase", None),
        (
            "lost == 0 of  ",
            13,
            "expected the name of a client group",
            None,
        ),
        ("lost == 0 in a in b", 16, "a second phase", None),
        ("lost == 0 of a of b", 16, "a second client group", None),
        ("lost == 0 in a,b", 14, "cannot be the name", None),
        ("lost == 0 in < 5", 14, "cannot be the name", None),
        ("żółć p99 < 5ms", 1, "no metric `żółć`", None),
        ("lost == 0 in ż ż", 16, "not `ż`", None),
    ];
    for (text, column, message, suggestion) in table {
        let Err(error) = parse(text) else {
            panic!("{text} was accepted")
        };
        assert_eq!(error.column, *column, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        // Suggestions are checked where a table row has one; a far word gets none.
        if suggestion.is_some() || message.starts_with("no metric") {
            assert_eq!(error.suggestion.as_deref(), *suggestion, "{text}");
        }
        assert!(error.to_string().starts_with(&format!("column {column}: ")));
    }
    let error = parse("latncy p99 < 1s").unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 1: there is no metric `latncy`; did you mean `latency`?"
    );
}

#[test]
fn names_are_checked_with_their_place() {
    let gate = parse("latency p99 < 1s in stedy of subs").unwrap();
    let error = gate
        .check_names(&["ramp", "steady"], &["subs"])
        .unwrap_err();
    assert_eq!(
        (error.column, error.suggestion.as_deref()),
        (21, Some("steady"))
    );
    assert_eq!(error.message, "there is no phase `stedy`");
    let error = gate.check_names(&["stedy"], &["publishers"]).unwrap_err();
    assert_eq!((error.column, error.suggestion), (30, None));
    assert_eq!(error.message, "there is no client group `subs`");
    assert_eq!(gate.check_names(&["stedy"], &["subs"]), Ok(()));
    assert_eq!(parse("lost == 0").unwrap().check_names(&[], &[]), Ok(()));
}

#[test]
fn operators_compare() {
    let table = [
        (Op::Less, [true, false, false]),
        (Op::LessEqual, [true, true, false]),
        (Op::Equal, [false, true, false]),
        (Op::GreaterEqual, [false, true, true]),
        (Op::Greater, [false, false, true]),
    ];
    for (op, expected) in table {
        assert_eq!(
            [1.0, 2.0, 3.0].map(|value| op.holds(value, 2.0)),
            expected,
            "{op:?}"
        );
        assert!(!op.holds(f64::NAN, 2.0));
        assert_eq!(
            op.is_upper(),
            expected == [true, false, false] || op == Op::LessEqual
        );
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_parser(text in "\\PC{0,60}") {
        if let Err(error) = parse(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&error.column));
        }
    }

    #[test]
    fn no_words_break_it_either(words in proptest::collection::vec(
        prop_oneof![
            Just("latency"), Just("p99"), Just("<"), Just("=="), Just("250ms"), Just("in"), Just("of"), Just("failed"),
            Just("share"), Just("rate"), Just("5%"), Just("0"), Just("close"), Just("1006"), Just("lost"), Just("9/s"),
        ], 0..9)) {
        let text = words.join(" ");
        match parse(&text) {
            Ok(gate) => prop_assert_eq!(parse(gate.text()), Ok(gate)),
            Err(error) => prop_assert!((1..=text.chars().count() + 1).contains(&error.column)),
        }
    }
}
