//! The section of each deploy: the verdict to read aloud, what was found, and the numbers behind it.

use crate::report::number::count;
use crate::report::text::clean;
use crate::report::{DeployReport, Drained, Outcome};
use maud::{Markup, html};

pub(super) fn deploys(outcome: &Outcome) -> Markup {
    html! { @for report in &outcome.deploys { (deploy(report)) } }
}

fn deploy(report: &DeployReport) -> Markup {
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
        div.pair {
            div { (facts(report)) }
            div {
                @if !report.nodes.is_empty() { (nodes(report)) }
                @if !report.drains.is_empty() { (drains(report)) }
            }
        }
    }
}

fn facts(report: &DeployReport) -> Markup {
    html! {
        div.card.scroll {
            table.table {
                tbody { @for (name, value) in report.facts() {
                    tr { th scope="row" { (name) } td.text { (clean(&value)) } }
                } }
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
        div.card.scroll {
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
}

/// The stretches in which old connections ended.
fn drains(report: &DeployReport) -> Markup {
    let how = |how: Drained| match how {
        Drained::Evenly => "evenly",
        Drained::Unevenly => "unevenly",
        Drained::AllAtOnce => "all at once",
        Drained::Never => "never drained",
        Drained::Unknown => "unknown",
    };
    html! {
        div.card.scroll {
            table.table {
                thead { tr {
                    th scope="col" { "endpoint" } th.n scope="col" { "ends" } th.n scope="col" { "connections" }
                    th.n scope="col" { "1006" } th.n scope="col" { "how" }
                } }
                tbody { @for stretch in &report.drains {
                    tr {
                        th scope="row" { (stretch.endpoint) }
                        td.n { (at(stretch.from)) " – " (at(stretch.to)) }
                        td.n { (count(stretch.connections)) }
                        td.n.zero[stretch.unclean == 0] { (count(stretch.unclean)) }
                        td.n { (how(stretch.how)) }
                    }
                } }
            }
        }
    }
}
