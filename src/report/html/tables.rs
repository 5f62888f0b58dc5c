//! The tables: all that was measured, for those who look something up.

use crate::metrics::{Counter, Timer};
use crate::report::text::clean;
use crate::report::{
    FaultReport, Outcome, PlaceReport, PressureReport, StreamMessages, StreamPart, StreamReport,
    StreamsReport, TimerReport, WrongMessages, number, story,
};
use maud::{Markup, html};
use std::collections::BTreeMap;

pub(super) fn tables(outcome: &Outcome) -> Markup {
    let phases: Vec<&str> = outcome
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    let groups: Vec<&str> = outcome
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    html! {
        (phase_table(outcome))
        (super::storm::table(outcome))
        (pressure(outcome))
        h2 { "Times" }
        (times(&outcome.timers))
        (times_by("phase", &phases, &outcome.timers_by_phase))
        (times_by("client group", &groups, &outcome.timers_by_group))
        h2 { "Counts by phase" }
        (counts(outcome, &phases, &outcome.counts_by_phase))
        @if groups.len() > 1 {
            h2 { "Counts by client group" }
            (counts(outcome, &groups, &outcome.counts_by_group))
        }
        (streams(outcome))
        (places(outcome, &phases))
        div.pair {
            div { (closes(outcome)) }
            div { (failures(outcome)) }
        }
        (shards(outcome))
        (samples(outcome))
    }
}

/// A table in a card, its first column headings, the others numbers.
fn table(head: &[String], rows: &[Vec<String>]) -> Markup {
    cells("n", head, rows)
}

/// The same of words: to the left, and as many lines of them as it takes.
fn words(head: &[String], rows: &[Vec<String>]) -> Markup {
    cells("text", head, rows)
}

fn cells(class: &str, head: &[String], rows: &[Vec<String>]) -> Markup {
    let class_of = |column: usize| (column > 0).then_some(class);
    let nothing = |cell: &str| cell == "0" || cell == number::NONE;
    html! {
        div.card.scroll {
            table.table {
                thead { tr { @for (i, cell) in head.iter().enumerate() { th class=[class_of(i)] scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (i, cell) in row.iter().enumerate() {
                                @if i == 0 { th scope="row" { (cell) } }
                                @else { td.(class).zero[nothing(cell)] { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A column for each `slow` fault: there are few of them, and much to say of each.
fn pressure(outcome: &Outcome) -> Markup {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| number::NONE.into());
    let closed = |of: &PressureReport| {
        let ways: Vec<String> = (of.closed.iter())
            .map(|closed| format!("{} ×{}", closed.code, number::count(closed.count)))
            .collect();
        or_none((!ways.is_empty()).then(|| ways.join("  ")))
    };
    type Cell<'a> = &'a dyn Fn(&PressureReport) -> String;
    let lines: [(&str, Cell<'_>); 13] = [
        ("target's policy", &|of| clean(&of.policy)),
        ("because", &|of| clean(&of.why)),
        ("owed to each", &|of| or_none(of.owed.map(number::bytes))),
        ("taken by each", &|of| number::bytes(of.taken)),
        ("messages skipped", &|of| number::count(of.skipped)),
        ("closed by the target", &closed),
        ("closed after (p50)", &|of| {
            or_none(
                of.evicted
                    .as_ref()
                    .map(|evicted| number::millis(evicted.p50)),
            )
        }),
        ("the others", &|of| clean(&story::noisy(&of.neighbour))),
        ("publishers held up", &|of| at(of.publishers.held_up)),
        ("sends dropped", &|of| {
            let publishers = &of.publishers;
            let (dropped, offered) = (publishers.dropped, publishers.offered);
            format!("{} of {}", number::count(dropped), number::count(offered))
        }),
        ("after it", &|of| story::recovery(of)),
        ("memory at most", &|of| {
            or_none(
                of.memory
                    .as_ref()
                    .map(|memory| number::bytes(memory.most as f64)),
            )
        }),
        ("memory's slope", &|of| {
            let slope = of.memory.as_ref().and_then(story::grown);
            let unknown = || format!("unknown: {}", clean(&of.memory_unknown));
            let asked = !of.memory_unknown.is_empty();
            or_none(slope.or_else(|| asked.then(unknown)))
        }),
    ];
    let faults = outcome.pressure.iter();
    let head: Vec<String> = std::iter::once(String::new())
        .chain(faults.map(|of| clean(&format!("{} in {}", of.fault, of.phase))))
        .collect();
    let row = |(name, cell): &(&str, Cell<'_>)| {
        let cells = outcome.pressure.iter().map(cell);
        std::iter::once((*name).to_owned()).chain(cells).collect()
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    html! {
        @if !outcome.pressure.is_empty() {
            h2 { "Slow consumers" }
            (words(&head, &rows))
        }
    }
}

fn owned(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

fn at(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// To the millisecond: to a tenth what was done would look as what was planned.
fn precisely(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

/// The four cells of a fault.
fn fault(fault: Option<&FaultReport>) -> Markup {
    html! {
        @if let Some(fault) = fault {
            td.text { (clean(&fault.label)) }
            td.n { (at(fault.start)) " – " (at(fault.end)) }
            td.n {
                @match (fault.actual_start, fault.actual_end) {
                    (Some(start), Some(end)) => { (precisely(start)) " – " (precisely(end)) }
                    (Some(start), None) => { (precisely(start)) " –" }
                    _ => { span.bad { "never started" } }
                }
            }
            td.n { @if fault.touched == 0 { span.bad { "nobody" } } @else {
                (number::count(fault.touched))
                @if let Some(of) = story::absence(fault) { span.soft { " " (of) } }
            } }
        } @else {
            td {} td {} td {} td {}
        }
    }
}

fn phase_table(outcome: &Outcome) -> Markup {
    html! {
        h2 { "Phases and faults" }
        div.card.scroll {
            table.table {
                thead { tr {
                    th scope="col" { "phase" } th.n scope="col" { "from" } th.n scope="col" { "to" }
                    th scope="col" { "fault" } th.n scope="col" { "planned" } th.n scope="col" { "actual" }
                    th.n scope="col" { "touched" }
                } }
                tbody {
                    @for phase in &outcome.phases {
                        tr {
                            th scope="row" { (clean(&phase.name)) @if !phase.completed { span.warn { " cut short" } } }
                            td.n { (at(phase.start)) } td.n { (at(phase.end)) }
                            (fault(phase.faults.first()))
                        }
                        @for more in phase.faults.iter().skip(1) { tr { td {} td {} td {} (fault(Some(more))) } }
                    }
                }
            }
        }
    }
}

const TIMES: [&str; 9] = [
    "", "values", "min", "mean", "p50", "p90", "p99", "p99.9", "max",
];

fn time_row(name: &str, timer: &TimerReport) -> Vec<String> {
    let mut row = vec![name.to_owned(), number::count(timer.count)];
    let times = [
        timer.min, timer.mean, timer.p50, timer.p90, timer.p99, timer.p999, timer.max,
    ];
    row.extend(times.map(number::millis));
    row
}

/// In the order in which they are declared, which is that of a connection's life.
fn times(timers: &BTreeMap<String, TimerReport>) -> Markup {
    let known = Timer::ALL.iter().map(|timer| timer.name());
    let rows: Vec<Vec<String>> = known
        .filter_map(|name| {
            timers
                .get(name)
                .filter(|t| t.count > 0)
                .map(|t| time_row(&story::words(name), t))
        })
        .collect();
    html! {
        @if rows.is_empty() { p.soft { "Nothing was timed." } } @else { (table(&owned(&TIMES), &rows)) }
    }
}

fn times_by(
    by: &str,
    names: &[&str],
    timers: &BTreeMap<String, BTreeMap<String, TimerReport>>,
) -> Markup {
    let mut rows = Vec::new();
    for timer in Timer::ALL {
        for name in names {
            let found = timers
                .get(*name)
                .and_then(|timers| timers.get(timer.name()));
            if let Some(found) = found.filter(|found| found.count > 0) {
                rows.push(time_row(
                    &format!("{} · {}", story::words(timer.name()), clean(name)),
                    found,
                ));
            }
        }
    }
    html! {
        @if !rows.is_empty() {
            details { summary { "by " (by) } (table(&owned(&TIMES), &rows)) }
        }
    }
}

fn counts(
    outcome: &Outcome,
    names: &[&str],
    by: &BTreeMap<String, BTreeMap<String, u64>>,
) -> Markup {
    let mut head = vec![String::new()];
    head.extend(names.iter().map(|name| clean(name)));
    head.push("run".into());
    let mut rows = Vec::new();
    for counter in Counter::ALL {
        let name = counter.name();
        let each: Vec<u64> = names
            .iter()
            .map(|n| {
                by.get(*n)
                    .and_then(|counts| counts.get(name))
                    .copied()
                    .unwrap_or(0)
            })
            .collect();
        let total = story::total(outcome, name);
        // What never happened is left out, but not loss: that nothing was lost is worth a row.
        if total == 0
            && each.iter().all(|n| *n == 0)
            && !matches!(counter, Counter::Lost | Counter::Dropped)
        {
            continue;
        }
        let show = |n: u64| {
            if counter.is_bytes() {
                number::bytes(n as f64)
            } else {
                number::count(n)
            }
        };
        let mut row = vec![story::words(name)];
        row.extend(each.into_iter().map(show));
        row.push(show(total));
        rows.push(row);
    }
    table(&head, &rows)
}

/// What became of each publisher's messages of each topic, the worst first.
fn streams(outcome: &Outcome) -> Markup {
    let names = WrongMessages::default().named().map(|(name, _)| name);
    let cells = |of: &WrongMessages| of.named().map(|(_, n)| number::count(n));
    let head: Vec<&str> = ["stream", "published", "expected", "received"]
        .into_iter()
        .chain(names)
        .collect();
    let row = |name: String, of: &StreamMessages| {
        let known = [of.published, of.expected, of.received];
        let known = known.map(|n| n.map_or(number::NONE.into(), number::count));
        let cells = known.into_iter().chain(cells(&of.wrong));
        std::iter::once(name).chain(cells).collect::<Vec<_>>()
    };
    html! {
        @if let Some(streams) = &outcome.streams {
            @let rows = streams.worst.iter().map(|of| row(clean(&story::stream_name(of)), &of.messages));
            @let others = streams.others > 0 || !streams.told_apart;
            @let rest = others.then(|| row(format!("{} others", number::count(streams.others)), &streams.rest));
            h2 { "Streams" }
            p.soft {
                "One publisher's messages of one topic, over all subscribers; the worst first."
                @if !streams.told_apart { " There are too many to tell apart: only what went wrong is known of each." }
            }
            (table(&owned(&head), &rows.chain(rest).collect::<Vec<_>>()))
            (stream_parts(streams))
        }
    }
}

/// What went wrong with these, by phase, group and fault: for those who look for the cause.
fn stream_parts(streams: &StreamsReport) -> Markup {
    let mut head = owned(&["stream", "phase", "group", "fault"]);
    let names = WrongMessages::default().named();
    head.extend(names.map(|(name, _)| name.to_owned()));
    let row = |stream: &StreamReport, part: &StreamPart| {
        let name = |text: &Option<String>| text.as_deref().map_or(number::NONE.into(), clean);
        let mut row = vec![clean(&story::stream_name(stream))];
        row.push(part.phase.as_deref().map_or("all others".into(), clean));
        row.extend([name(&part.group), name(&part.fault)]);
        row.extend(part.wrong.named().map(|(_, n)| number::count(n)));
        row
    };
    let parts = |stream: &StreamReport| -> Vec<Vec<String>> {
        let parts = stream.parts.iter();
        parts.map(|part| row(stream, part)).collect()
    };
    let rows: Vec<Vec<String>> = streams.worst.iter().flat_map(parts).collect();
    html! {
        @if !rows.is_empty() {
            details { summary { "by phase, group and fault" } (table(&head, &rows)) }
        }
    }
}

/// Openings by node and by address of the target, where there is anything to compare.
fn places(outcome: &Outcome, phases: &[&str]) -> Markup {
    let several = outcome.endpoints.len() > 1;
    let addresses = outcome.endpoints.iter().filter(|_| several);
    let nodes = &outcome.nodes;
    let mut head = vec!["place".to_owned()];
    head.extend(phases.iter().map(|phase| clean(phase)));
    head.push("run".into());
    let row = |what: &str, place: &PlaceReport| {
        let in_phase = |phase: &&str| place.opened_by_phase.get(*phase).copied().unwrap_or(0);
        let mut row = vec![format!("{what} {}", clean(&place.name))];
        row.extend(phases.iter().map(in_phase).map(number::count));
        row.push(number::count(place.opened));
        row
    };
    let mut rows: Vec<Vec<String>> = nodes.told.iter().map(|place| row("node", place)).collect();
    let unnamed = [
        ("node not told", nodes.untold),
        ("still other nodes", nodes.beyond),
    ];
    for (what, opened) in unnamed.into_iter().filter(|(_, n)| *n > 0) {
        let mut row = vec![what.to_owned()];
        row.extend(phases.iter().map(|_| String::new()));
        row.push(number::count(opened));
        rows.push(row);
    }
    rows.extend(addresses.map(|place| row("address", place)));
    html! {
        @if !rows.is_empty() {
            h2 { "Opened by node and address" }
            (table(&head, &rows))
        }
    }
}

fn closes(outcome: &Outcome) -> Markup {
    let row = |close: &crate::report::CloseReport| {
        let by = if close.by_target { "target" } else { "squall" };
        let how = if close.clean { "clean" } else { "cut" };
        vec![
            close.code.to_string(),
            by.into(),
            how.into(),
            number::count(close.count),
        ]
    };
    let rows: Vec<Vec<String>> = outcome.closes.iter().map(row).collect();
    html! {
        h2 { "Ended connections" }
        @if rows.is_empty() { p.soft { "None." } }
        @else { (table(&owned(&["close code", "by", "how", "count"]), &rows)) }
    }
}

fn failures(outcome: &Outcome) -> Markup {
    let failures = outcome.failures.iter().filter(|(_, n)| **n > 0);
    let mut rows: Vec<Vec<String>> = failures
        .map(|(kind, n)| vec![clean(&story::words(kind)), number::count(*n)])
        .collect();
    rows.extend(
        outcome
            .statuses
            .iter()
            .map(|(status, n)| vec![format!("HTTP {status}"), number::count(*n)]),
    );
    html! {
        h2 { "Failures" }
        @if rows.is_empty() { p.soft { "None." } } @else { (table(&owned(&["kind", "count"]), &rows)) }
    }
}

fn shards(outcome: &Outcome) -> Markup {
    let head = [
        "shard",
        "offered",
        "sent",
        "dropped",
        "cancelled",
        "cpu max",
        "lag p99 max",
        "memory",
        "snapshots",
        "state",
    ];
    let row = |shard: &crate::report::ShardReport| {
        let mut row = vec![shard.shard.to_string()];
        row.extend([shard.offered, shard.sent, shard.dropped, shard.cancelled].map(number::count));
        row.extend([
            number::percent(shard.cpu_max),
            number::millis(shard.lag_p99_max),
            number::bytes(shard.rss_max as f64),
        ]);
        row.extend([shard.snapshots.to_string(), clean(&shard.state)]);
        row
    };
    let rows: Vec<Vec<String>> = outcome.per_shard.iter().map(row).collect();
    html! {
        @if !rows.is_empty() {
            h2 { "Shards" }
            (table(&owned(&head), &rows))
        }
    }
}

fn samples(outcome: &Outcome) -> Markup {
    html! {
        @if !outcome.samples.is_empty() {
            h2 { "What the target said" }
            div.card.scroll {
                table.table { tbody {
                    @for (kind, text) in &outcome.samples {
                        tr { th scope="row" { (clean(kind)) } td.text { code { (clean(text)) } } }
                    }
                } }
            }
        }
    }
}
