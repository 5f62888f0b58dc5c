//! What the plots hold, against the numbers that they are drawn from.

use super::*;
use crate::report::Bundle;
use crate::report::fixture::bundle;

/// A plot of the fixture by its id.
fn plot(of: &Bundle, id: &str) -> Plot {
    let charts = charts(&of.outcome, &of.histograms);
    let found = charts.into_iter().find(|chart| chart.plot.id == id);
    found.unwrap_or_else(|| panic!("no plot {id}")).plot
}

fn series<'a>(plot: &'a Plot, name: &str) -> &'a Series {
    let found = plot.series.iter().find(|series| series.name == name);
    found.unwrap_or_else(|| panic!("no {name} in {}", plot.id))
}

/// The value at a time that has one.
fn at(series: &Series, time: f64) -> f64 {
    let point = series.points.iter().find(|(at, _)| *at == time);
    let value = point.and_then(|(_, value)| *value);
    value.unwrap_or_else(|| panic!("nothing at {time} in {}", series.name))
}

fn last(series: &Series) -> f64 {
    let value = series.points.last().and_then(|(_, value)| *value);
    value.expect("a last value")
}

#[test]
fn a_run_with_every_trouble_has_every_plot_once() {
    let of = bundle();
    let charts = charts(&of.outcome, &of.histograms);
    let ids: Vec<&str> = charts.iter().map(|chart| chart.plot.id.as_str()).collect();
    let expected = [
        "latency",
        "deploy-180",
        "deploy-places-180",
        "percentiles",
        "rates",
        "connections",
        "openings",
        "failures",
        "lag",
        "cpu",
        "throughput-0",
        "backlog-0",
        "storm-0",
        "recovery-0",
    ];
    assert_eq!(ids, expected);
}

/// Attempts a second in steps of 100 ms, the capacity as a level, and the time of the fault that began it.
#[test]
fn the_storm_curve_is_a_rate_beside_the_capacity() {
    let mut of = bundle();
    let fault = &mut of
        .outcome
        .phases
        .iter_mut()
        .flat_map(|phase| &mut phase.faults);
    let drop = fault.find(|fault| fault.label.contains("reset"));
    let drop = drop.expect("the storm's own");
    (drop.actual_start, drop.actual_end) = (Some(115.0), Some(117.5));
    let plot = plot(&of, "storm-0");
    assert!(plot.faults.contains(&(115.0, 117.5)), "{:?}", plot.faults);
    let storm = &of.outcome.storms[0];
    let step = &storm.curve[7];
    let drawn = at(series(&plot, "attempts"), step.at);
    assert!(
        (drawn - 10.0 * step.attempts as f64).abs() < 1e-6,
        "{drawn}"
    );
    let level = series(&plot, "capacity before");
    assert!(level.shape == Shape::Dashed && level.points.iter().all(|(_, y)| *y == Some(2_958.0)));
    assert!(plot.title.contains(&storm.cause), "{}", plot.title);
}

#[test]
fn the_recovery_curve_ends_at_the_share_that_came_back() {
    let of = bundle();
    let plot = plot(&of, "recovery-0");
    let storm = &of.outcome.storms[0];
    let came: u64 = storm.curve.iter().map(|step| step.back).sum();
    let share = last(series(&plot, "back"));
    assert!(
        (share - came as f64 / storm.lost as f64).abs() < 1e-9,
        "{share}"
    );
    assert_eq!(last(series(&plot, "lost")), 1.0);
    let shares = series(&plot, "back").points.iter().filter_map(|(_, y)| *y);
    assert!(shares.is_sorted(), "nobody who is back is lost in it again");
}

/// One line a node, with what it had, and the window from the trigger to the last old connection's end.
#[test]
fn connections_by_node_are_drawn_through_the_deploy() {
    let of = bundle();
    let deploy = &of.outcome.deploys[0];
    let plot = plot(&of, "deploy-places-180");
    let last = deploy.start + deploy.took.expect("it was carried out");
    assert_eq!(plot.faults, [(deploy.start, last)]);
    let names: Vec<&str> = plot.series.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names, ["gw-1", "gw-2", "gw-3"]);
    for (line, place) in plot.series.iter().zip(&of.outcome.open_by_place) {
        for (second, open) in of.outcome.timeline.iter().zip(&place.open) {
            assert_eq!(at(line, second.at), *open as f64, "{}", line.name);
        }
        assert!(values(std::slice::from_ref(line)).any(|open| open == 0.0));
    }
    assert_eq!(super::tests::plot(&of, "deploy-180").faults, plot.faults);
}

#[test]
fn throughput_and_backlog_are_drawn_through_a_slow_consumers_window() {
    let of = bundle();
    let slow = &of.outcome.pressure[0];
    let (throughput, backlog) = (plot(&of, "throughput-0"), plot(&of, "backlog-0"));
    for plot in [&throughput, &backlog] {
        assert_eq!(plot.faults, [(slow.start, slow.end)], "{}", plot.id);
    }
    for second in &slow.seconds {
        let both = ["the others", "slow consumers"].map(|n| at(series(&throughput, n), second.at));
        assert_eq!(both, [second.others, second.victims]);
        assert_eq!(at(series(&backlog, "behind"), second.at), second.backlog);
    }
}
