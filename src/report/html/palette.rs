//! The colours of the plots, light and dark, each by the role it plays.
//!
//! plotters writes colours into the SVG; there each role has a colour that only stands for it, replaced afterwards
//! by a class, so that the page's style sheet decides and follows the reader's light or dark mode.

use plotters::style::RGBColor;

/// What a shape in a plot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Ink,
    Muted,
    Grid,
    Axis,
    Band,
    Fault,
    P50,
    P90,
    P99,
    Max,
    Offered,
    Sent,
    Dropped,
    Open,
    Opening,
    Opened,
    Cpu,
    Kind1,
    Kind2,
    Kind3,
    Kind4,
    Kind5,
    Kind6,
}

use Role::*;

/// Role, class name, colour on light, colour on dark.
const ROLES: [(Role, &str, &str, &str); 23] = [
    (Ink, "ink", "#1d2433", "#e6e9f0"),
    (Muted, "muted", "#667085", "#98a2b6"),
    (Grid, "grid", "#e7eaf0", "#2a3142"),
    (Axis, "axis", "#aab2c2", "#566077"),
    (Band, "band", "#f1f4f9", "#1b2130"),
    (Fault, "fault", "#e5484d", "#ff7b7f"),
    (P50, "p50", "#2f7fe6", "#62a8ff"),
    (P90, "p90", "#7c57e0", "#a98bff"),
    (P99, "p99", "#d9580d", "#ff9a52"),
    (Max, "max", "#9aa3b5", "#737d94"),
    (Offered, "offered", "#9aa3b5", "#8a94aa"),
    (Sent, "sent", "#2f7fe6", "#62a8ff"),
    (Dropped, "dropped", "#d5343a", "#ff6f74"),
    (Open, "open", "#0e8a6d", "#3fcba7"),
    (Opening, "opening", "#c98a00", "#f2bd4b"),
    (Opened, "opened", "#0e8a6d", "#3fcba7"),
    (Cpu, "cpu", "#7c57e0", "#a98bff"),
    (Kind1, "kind1", "#d5343a", "#ff6f74"),
    (Kind2, "kind2", "#e08600", "#ffb347"),
    (Kind3, "kind3", "#7c57e0", "#a98bff"),
    (Kind4, "kind4", "#2f7fe6", "#62a8ff"),
    (Kind5, "kind5", "#0e8a6d", "#3fcba7"),
    (Kind6, "kind6", "#7a8499", "#929cb1"),
];

/// The colours for kinds of failures, in order; the last is for all others.
pub(super) const KINDS: [Role; 6] = [Kind1, Kind2, Kind3, Kind4, Kind5, Kind6];

impl Role {
    /// The class that carries its colour: `s-…` for strokes, `f-…` for fills, `b-…` for backgrounds,
    /// `d-…` for dashes.
    pub(super) fn name(self) -> &'static str {
        ROLES
            .iter()
            .find(|(role, ..)| *role == self)
            .map_or("ink", |(_, name, ..)| name)
    }

    /// Stands for the role until [`classes`] replaces it.
    pub(super) fn stand_in(self) -> RGBColor {
        RGBColor(1, 2, self as u8 + 1)
    }
}

/// Replaces stand-in colours by classes.
pub(super) fn classes(svg: &str) -> String {
    let mut svg = svg.to_owned();
    for (role, name, ..) in ROLES {
        let RGBColor(r, g, b) = role.stand_in();
        svg = svg.replace(
            &format!("fill=\"#{r:02X}{g:02X}{b:02X}\""),
            &format!("class=\"f-{name}\""),
        );
        svg = svg.replace(
            &format!("stroke=\"#{r:02X}{g:02X}{b:02X}\""),
            &format!("class=\"s-{name}\""),
        );
    }
    svg
}

/// The rules for the classes, light and dark.
pub(super) fn css() -> String {
    let mut light = String::new();
    let mut dark = String::new();
    let mut rules = String::new();
    for (_, name, on_light, on_dark) in ROLES {
        light += &format!("--{name}:{on_light};");
        dark += &format!("--{name}:{on_dark};");
        rules += &format!(
            ".s-{name}{{stroke:var(--{name})}}.f-{name}{{fill:var(--{name})}}.b-{name}{{background:var(--{name})}}.d-{name}{{--dash:var(--{name})}}\n"
        );
    }
    format!(":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{rules}")
}
