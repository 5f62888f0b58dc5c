//! One plot, drawn by plotters into an SVG for a page: no axis or mesh of plotters' own, so that ticks, labels and
//! phases stand where they read well at each width.

use super::palette::{Role, classes};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io;

/// Backend units for one unit of the SVG: plotters draws on whole units, which alone would make jagged lines.
const FINE: f64 = 8.0;
/// Size of the labels, in units of the SVG.
const FONT: f64 = 11.5;
/// Width of an average character of a label; SVG cannot measure.
const CHARACTER: f64 = 6.2;
/// Radius of the dots of [`Shape::Dotted`].
const DOT: f64 = 3.5;
/// Room above the plot for the names of phases.
const TOP: f64 = 20.0;
/// Room under it for the labels.
const BOTTOM: f64 = 24.0;

/// A plot: what is said about it and what is in it.
pub(super) struct Plot {
    /// Unique on the page.
    pub(super) id: String,
    pub(super) title: String,
    /// Unit and scale, in words.
    pub(super) unit: String,
    /// What it shows, for those who do not see it.
    pub(super) describe: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    /// Shaded in turn, with names; from and to on the x axis.
    pub(super) bands: Vec<(f64, f64, String)>,
    /// Marked on the x axis, from and to.
    pub(super) faults: Vec<(f64, f64)>,
    pub(super) series: Vec<Series>,
}

/// From, to, and where there are labels. On a logarithmic axis all are logarithms.
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<(f64, String)>,
}

/// Points of one role.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) shape: Shape,
    /// `None` where there is a hole.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// How a series is drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// A line of this width.
    Line(f64),
    /// A line with a dot at each point: where there are few of them.
    Dotted,
    /// A line with dashes.
    Dashed,
    /// Filled down to the axis, with a line.
    Area,
    /// A bar to the left of each point, from the given values up; widths are those between points.
    Bars,
}

type Failed = DrawingAreaErrorKind<io::Error>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What the series have to show.
pub(super) fn values(series: &[Series]) -> impl Iterator<Item = f64> {
    series
        .iter()
        .flat_map(|series| &series.points)
        .filter_map(|(_, y)| *y)
        .filter(|y| y.is_finite())
}

/// The largest of it, or zero.
pub(super) fn most(series: &[Series]) -> f64 {
    values(series).fold(0.0, f64::max)
}

impl Plot {
    /// The SVG in this size; `variant` makes its ids unique where one plot stands in several sizes.
    ///
    /// # Errors
    /// When plotters cannot draw, which in memory it always can.
    pub(super) fn svg(&self, size: (u32, u32), variant: &str) -> io::Result<String> {
        let mut svg = String::new();
        self.draw(size, &mut svg)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let start = svg.find('>').map_or(0, |at| at + 1);
        let (w, h) = (fine(size.0.into()), fine(size.1.into()));
        let id = format!("{}-{variant}", self.id);
        let body = classes(&svg[start..])
            .replace(" font-family=\"sans-serif\"", "")
            .replace("\n</text>", "</text>");
        Ok(format!(
            "<svg class=\"plot {variant}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n{body}",
            escape(&self.title),
            escape(&self.describe),
        ))
    }

    fn draw(&self, (width, height): (u32, u32), svg: &mut String) -> Result<(), Failed> {
        let root = SVGBackend::with_string(svg, (fine(width.into()), fine(height.into())))
            .into_drawing_area();
        let longest = self
            .y
            .ticks
            .iter()
            .map(|(_, label)| label.chars().count())
            .max()
            .unwrap_or(0);
        let left = longest as f64 * CHARACTER + 12.0;
        let plot_width = f64::from(width) - left - 10.0;
        let mut chart = ChartBuilder::on(&root)
            .margin_top(fine(TOP))
            .margin_right(fine(10.0))
            .set_label_area_size(LabelAreaPosition::Left, fine(left))
            .set_label_area_size(LabelAreaPosition::Bottom, fine(BOTTOM))
            .build_cartesian_2d(self.x.from..self.x.to, self.y.from..self.y.to)?;
        self.bands(&root, &mut chart, plot_width)?;
        self.grid(&root, &mut chart, plot_width)?;
        for (from, to) in &self.faults {
            self.fault(&mut chart, *from, *to, plot_width)?;
        }
        for series in &self.series {
            self.series(&mut chart, series)?;
        }
        let axis = [(self.x.from, self.y.from), (self.x.to, self.y.from)];
        chart.draw_series([PathElement::new(axis, stroke(Role::Axis, 1.0))])?;
        root.present()
    }

    fn bands(&self, root: &Root, chart: &mut Chart, width: f64) -> Result<(), Failed> {
        let style = label(Role::Muted, HPos::Left, VPos::Bottom);
        for (i, (from, to, name)) in self.bands.iter().enumerate() {
            let (from, to) = (
                from.clamp(self.x.from, self.x.to),
                to.clamp(self.x.from, self.x.to),
            );
            if i % 2 == 0 {
                let corners = [(from, self.y.from), (to, self.y.to)];
                chart.draw_series([Rectangle::new(corners, Role::Band.stand_in().filled())])?;
            }
            let room = (to - from) / (self.x.to - self.x.from) * width - 4.0;
            let fitting = super::super::text::fit(name, (room / CHARACTER).max(0.0) as usize);
            // A name of which nothing is left says nothing.
            if fitting.chars().count() >= name.chars().count().min(4) {
                let (x, y) = chart.backend_coord(&(from, self.y.to));
                root.draw(&Text::new(
                    fitting,
                    (x + fine(3.0) as i32, y - fine(3.0) as i32),
                    style.clone(),
                ))?;
            }
        }
        Ok(())
    }

    fn grid(&self, root: &Root, chart: &mut Chart, width: f64) -> Result<(), Failed> {
        for (y, text) in &self.y.ticks {
            let ends = [(self.x.from, *y), (self.x.to, *y)];
            chart.draw_series([PathElement::new(ends, stroke(Role::Grid, 1.0))])?;
            let (px, py) = chart.backend_coord(&(self.x.from, *y));
            let style = label(Role::Muted, HPos::Right, VPos::Center);
            root.draw(&Text::new(text.clone(), (px - fine(7.0) as i32, py), style))?;
        }
        // Labels that would touch the one before them are left out.
        let mut free_from = f64::MIN;
        for (x, text) in &self.x.ticks {
            let place = (x - self.x.from) / (self.x.to - self.x.from) * width;
            let half = text.chars().count() as f64 * CHARACTER / 2.0;
            let (px, py) = chart.backend_coord(&(*x, self.y.from));
            let below = |by: f64| py + fine(by) as i32;
            root.draw(&PathElement::new(
                [(px, py), (px, below(4.0))],
                stroke(Role::Axis, 1.0),
            ))?;
            // At the right edge a label moves in to fit.
            let inward = (place + half - width - 10.0).max(0.0);
            if place - half - inward < free_from {
                continue;
            }
            free_from = place + half + 8.0;
            let style = label(Role::Muted, HPos::Center, VPos::Top);
            root.draw(&Text::new(
                text.clone(),
                (px - fine(inward) as i32, below(8.0)),
                style,
            ))?;
        }
        Ok(())
    }

    fn fault(&self, chart: &mut Chart, from: f64, to: f64, width: f64) -> Result<(), Failed> {
        let from = from.clamp(self.x.from, self.x.to);
        // At least two units wide, so that a moment shows too.
        let least = (self.x.to - self.x.from) * 2.0 / width;
        let to = to.max(from + least).min(self.x.to);
        let height = self.y.to - self.y.from;
        let corners = [(from, self.y.from), (to, self.y.to)];
        chart.draw_series([Rectangle::new(
            corners,
            Role::Fault.stand_in().mix(0.10).filled(),
        )])?;
        let cap = [(from, self.y.to - 0.015 * height), (to, self.y.to)];
        chart
            .draw_series([Rectangle::new(cap, Role::Fault.stand_in().filled())])
            .map(drop)
    }

    fn series(&self, chart: &mut Chart, series: &Series) -> Result<(), Failed> {
        let inside = |(x, y): (f64, f64)| {
            (
                x.clamp(self.x.from, self.x.to),
                y.clamp(self.y.from, self.y.to),
            )
        };
        if series.shape == Shape::Bars {
            return self.bars(chart, series);
        }
        // Holes part a series; a point alone is a dot.
        for run in series.points.split(|(_, y)| y.is_none()) {
            let points: Vec<(f64, f64)> = run
                .iter()
                .filter_map(|(x, y)| y.map(|y| inside((*x, y))))
                .collect();
            let width = if let Shape::Line(width) = series.shape {
                width
            } else {
                1.75
            };
            if series.shape == Shape::Dotted {
                let dot =
                    |at: &(f64, f64)| Circle::new(*at, fine(DOT), series.role.stand_in().filled());
                chart.draw_series(points.iter().map(dot))?;
            }
            match &points[..] {
                [] => {}
                [point] => {
                    let dot = Circle::new(*point, fine(1.75), series.role.stand_in().filled());
                    chart.draw_series([dot])?;
                }
                [first, .., last] => {
                    if series.shape == Shape::Area {
                        let mut area = points.clone();
                        area.extend([(last.0, self.y.from), (first.0, self.y.from)]);
                        chart
                            .draw_series([Polygon::new(area, series.role.stand_in().mix(0.14))])?;
                    }
                    let mut style = stroke(series.role, width);
                    if series.shape == Shape::Dashed {
                        // Told apart by its opacity, which the style sheet turns into dashes.
                        style.color = series.role.stand_in().mix(0.99);
                    }
                    chart.draw_series([PathElement::new(points, style)])?;
                }
            }
        }
        Ok(())
    }

    fn bars(&self, chart: &mut Chart, series: &Series) -> Result<(), Failed> {
        // Points come in pairs: the foot and the head of each bar, at its left and right edge.
        let style = series.role.stand_in().filled();
        for pair in series.points.chunks_exact(2) {
            if let [(left, Some(foot)), (right, Some(head))] = pair
                && head > foot
            {
                chart.draw_series([Rectangle::new([(*left, *foot), (*right, *head)], style)])?;
            }
        }
        Ok(())
    }
}

type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn fine(units: f64) -> u32 {
    (units * FINE).round() as u32
}

fn stroke(role: Role, width: f64) -> ShapeStyle {
    role.stand_in().stroke_width(fine(width))
}

fn label(role: Role, h: HPos, v: VPos) -> TextStyle<'static> {
    // plotters writes a font's size divided by 1.24.
    ("sans-serif", FONT * FINE * 1.24)
        .into_font()
        .color(&role.stand_in())
        .pos(Pos::new(h, v))
}

fn escape(text: &str) -> String {
    maud::Render::render(text).into_string()
}
