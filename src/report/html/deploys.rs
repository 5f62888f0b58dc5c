//! The section of each deploy: the verdict to read aloud, what was found, and the numbers behind it.

use crate::report::number::count;
use crate::report::text::clean;
use crate::report::{DeployReport, Drained, Outcome, PlaceReport, Stretch};
use maud::{Markup, html};

pub(super) fn deploys(outcome: &Outcome) -> Markup {
    html! { @for report in &outcome.deploys { (deploy(report, &outcome.endpoints)) } }
}

fn deploy(report: &DeployReport, places: &[PlaceReport]) -> Markup {
    html! {
        h2 { "Deploy in " (clean(&report.phase)) }
        div.card.deploy {
            p.aloud { (clean(&report.verdict)) }
            ul {
                @for finding in &report.findings {
                    li { span.bad[finding.trouble] { (clean(&finding.text)) } }
                }
            }
            p.soft { code { (clean(&report.label)) } }
            @if !report.output.is_empty() {
                details {
                    summary { "What it said" }
                    pre { @for line in report.output.lines() { (clean(line)) "\n" } }
                }
            }
        }
        div.pair.behind {
            (facts(report))
            // A row each: beside each other neither has room for its columns.
            @if !report.nodes.is_empty() { div.card.scroll.whole { (nodes(report)) } }
            @if !report.drains.is_empty() { div.card.scroll.whole { (drains(report, places)) } }
        }
    }
}

/// In two halves side by side: there are many of them, and beside anything else they would be a narrow tower.
fn facts(report: &DeployReport) -> Markup {
    let facts = report.facts();
    let half = facts.len().div_ceil(2).max(1);
    html! {
        @for facts in facts.chunks(half) {
            div.card.scroll {
                table.table.pairs {
                    tbody { @for (name, value) in facts {
                        tr { th scope="row" { (name) } td.text { (clean(value)) } }
                    } }
                }
            }
        }
    }
}

fn at(seconds: f64) -> String {
    format!("{seconds:.1} s")
}

/// A roll, node by node; times from the deploy's start.
fn nodes(report: &DeployReport) -> Markup {
    let told = |value: Option<u64>| value.map_or("unknown".to_owned(), count);
    html! {
        table.table {
            thead { tr {
                th scope="col" { "node" } th.n scope="col" { "drains" } th.n scope="col" { "ended" }
                th.n scope="col" { "ready" } th.n scope="col" { "let in while draining" } th.n scope="col" { "cut at its deadline" }
            } }
            tbody { @for node in &report.nodes {
                tr {
                    th scope="row" { (node.node) }
                    td.n { (at(node.draining)) }
                    td.n { (node.ended.map_or("–".to_owned(), at)) }
                    td.n { (node.ready.map_or("–".to_owned(), at)) }
                    td.n { (told(node.opened_draining)) }
                    td.n { (told(node.cut_at_deadline)) }
                }
            } }
        }
    }
}

/// The stretches in which old connections ended, each at its address.
fn drains(report: &DeployReport, places: &[PlaceReport]) -> Markup {
    let how = |how: Drained| match how {
        Drained::Evenly => "evenly",
        Drained::Unevenly => "unevenly",
        Drained::AllAtOnce => "all at once",
        Drained::Never => "never drained",
        Drained::Unknown => "unknown",
    };
    html! {
        table.table {
            thead { tr {
                th scope="col" { "address" } th.n scope="col" { "ends" } th.n scope="col" { "connections" }
                th.n scope="col" { "1006" } th.n scope="col" { "how" }
            } }
            tbody { @for stretch in &report.drains {
                tr {
                    th scope="row" { (address(stretch, places)) }
                    td.n { (at(stretch.from)) " – " (at(stretch.to)) }
                    td.n { (count(stretch.connections)) }
                    td.n.zero[stretch.unclean == 0] { (count(stretch.unclean)) }
                    td.n { (how(stretch.how)) }
                }
            } }
        }
    }
}

fn address(stretch: &Stretch, places: &[PlaceReport]) -> String {
    let place = usize::try_from(stretch.endpoint).ok();
    let place = place.and_then(|place| places.get(place));
    // A report that tells of no addresses has at least its number.
    place.map_or_else(|| stretch.endpoint.to_string(), |place| clean(&place.name))
}
