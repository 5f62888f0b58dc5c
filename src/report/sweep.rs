//! A sweep: one storm under several ways of coming back, so that one can be chosen. Its value, and its forms.

use super::folder::{Render, WriteError, folder_name, place};
use super::number::{self, NONE, count, percent};
use super::terminal::{Look, paragraph};
use super::text::{clean, width};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Version of `storm.json`.
pub const SWEEP_VERSION: u32 = 1;

/// As the table is written: 100 columns, no colours.
const PLAIN: Look = Look {
    colour: false,
    width: 100,
};

/// One storm, several ways of coming back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// [`SWEEP_VERSION`].
    pub version: u32,
    /// `squall 0.1.0`.
    pub tool: String,
    /// The scenario's name.
    pub name: String,
    /// Wall-clock start, RFC 3339 UTC.
    pub started: String,
    /// The target in words, without secrets.
    pub target: String,
    /// The client group that is cut off.
    pub group: String,
    /// How many of its connections.
    pub victims: u64,
    /// Most attempts per second that are to be asked of the target, where it was given.
    pub capacity: Option<u64>,
    /// What was tried, in order.
    pub tries: Vec<Try>,
    /// Index of the one recommended: of those that fit the one with which 99 % were back soonest.
    pub recommended: Option<usize>,
}

/// One policy with one window, and how it went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Try {
    /// The policy (`reconnect.backoff`).
    pub policy: String,
    /// The window, seconds: the longest first wait. None: the policy has its own.
    pub window: Option<f64>,
    /// Whether the run can be believed.
    pub valid: bool,
    /// Why it cannot: the worst reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invalid: Option<String>,
    /// Attempts of the busiest 100 ms, per second.
    pub peak: u64,
    /// Connections lost.
    pub lost: u64,
    /// Of these, back before the run was over.
    pub back: u64,
    /// Openings that failed in the storm.
    pub failed: u64,
    /// Attempts for each connection that came back.
    pub amplification: Option<f64>,
    /// Seconds until half of the lost were back; none: never.
    pub restored_50: Option<f64>,
    /// The same for 99 %.
    pub restored_99: Option<f64>,
    /// For all of them.
    pub restored_100: Option<f64>,
    /// Why it does not fit, in words; empty: it does.
    pub against: String,
}

impl Try {
    /// Whether the target bore it: all came back at the first attempt, and within the capacity that was given.
    pub fn fits(&self) -> bool {
        self.against.is_empty()
    }
}

impl Sweep {
    /// Judges a try: the run's own faults come first, then the target's.
    pub fn judge(&self, tried: &Try) -> String {
        if let Some(why) = &tried.invalid {
            return format!("the run is invalid: {why}");
        }
        if tried.lost == 0 {
            return "nobody was cut off".to_owned();
        }
        // Of a storm of fewer nothing follows for one of all: with a longer window also first attempts come later.
        if 10 * tried.lost < 9 * self.victims {
            return format!(
                "only {} of {} were there to be cut off",
                count(tried.lost),
                count(self.victims)
            );
        }
        let never = tried.lost.saturating_sub(tried.back);
        let capacity = self.capacity.filter(|capacity| tried.peak > *capacity);
        if never > 0 {
            format!("{} never came back", count(never))
        } else if tried.failed > 0 {
            format!("{} openings failed", count(tried.failed))
        } else if let Some(capacity) = capacity {
            format!(
                "{} of capacity",
                percent(tried.peak as f64 / capacity as f64)
            )
        } else {
            String::new()
        }
    }

    /// Picks the one to recommend.
    pub fn recommend(&mut self) {
        let key = |tried: &Try| tried.restored_99.unwrap_or(f64::MAX);
        let fitting = self
            .tries
            .iter()
            .enumerate()
            .filter(|(_, tried)| tried.fits());
        let best = fitting.min_by(|(_, a), (_, b)| key(a).total_cmp(&key(b)));
        self.recommended = best.map(|(index, _)| index);
    }

    /// What to write into a scenario, or to tell a client's author, for the one recommended; none where none is.
    pub fn written(&self) -> Option<String> {
        let best = self.tries.get(self.recommended?)?;
        let waits = match (best.policy.as_str(), best.window) {
            (_, None) => String::new(),
            ("constant", Some(over)) => format!(", base: {over}s"),
            ("decorrelated", Some(over)) => format!(", base: {:.3}s, cap: {over}s", over / 3.0),
            (_, Some(over)) => format!(", base: {over}s, cap: {over}s"),
        };
        Some(format!("reconnect: {{ backoff: {}{waits} }}", best.policy))
    }

    /// What is recommended, in a sentence.
    pub fn advice(&self) -> String {
        match self.recommended.and_then(|index| self.tries.get(index)) {
            Some(best) => format!(
                "{}{}: peak {} attempts/s, 99 % of {} back after {}, nobody turned away",
                best.policy,
                best.window
                    .map_or(String::new(), |over| format!(" over {}", window(over))),
                count(best.peak),
                count(best.lost),
                seconds(best.restored_99)
            ),
            None => match self.tries.iter().filter(|tried| !tried.valid).count() {
                0 => "none of these fits: try longer windows, or give the target more capacity".into(),
                n if n == self.tries.len() => {
                    "nothing can be said: every run was invalid; mend what made it so, and try again".into()
                }
                n => format!(
                    "none fits of those that can be judged, and {} invalid: mend what made them so, try longer windows, or give the target more capacity",
                    if n == 1 { "1 run was".to_owned() } else { format!("{n} runs were") }
                ),
            },
        }
    }
}

/// `20 s`, `0.5 s`.
pub(super) fn window(seconds: f64) -> String {
    format!("{} s", number::plain(seconds))
}

/// `19.9 s`, or that it never was.
pub(super) fn seconds(time: Option<f64>) -> String {
    time.map_or(NONE.to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// The columns of a try's figures, after policy and window.
pub(super) const FIGURES: [&str; 6] = [
    "peak",
    "50 %",
    "99 %",
    "all back",
    "failed",
    "attempts each",
];

/// The last column: [`fits`].
pub(super) const FITS: &str = "fits";

/// A try's cells in [`FIGURES`].
pub(super) fn figures(tried: &Try) -> [String; 6] {
    [
        format!("{}/s", count(tried.peak)),
        seconds(tried.restored_50),
        seconds(tried.restored_99),
        seconds(tried.restored_100),
        count(tried.failed),
        tried
            .amplification
            .map_or(NONE.to_owned(), |each| format!("{each:.2}")),
    ]
}

/// Whether a try fits, and why not; of an invalid one nothing is known.
pub(super) fn fits(tried: &Try) -> String {
    match (tried.fits(), tried.valid) {
        (true, _) => "yes".to_owned(),
        (false, true) => format!("no: {}", clean(&tried.against)),
        (false, false) => format!("unknown: {}", clean(&tried.against)),
    }
}

/// `full_jitter over 5 s`.
fn called(tried: &Try) -> String {
    let over = tried.window.map(|over| format!(" over {}", window(over)));
    format!("{}{}", clean(&tried.policy), over.unwrap_or_default())
}

/// Why runs were invalid, below the table: a reason is too long for a column.
fn reasons(sweep: &Sweep) -> Vec<String> {
    let mut lines = Vec::new();
    let invalid = sweep
        .tries
        .iter()
        .filter_map(|tried| Some((tried, tried.invalid.as_ref()?)));
    for (i, (tried, why)) in invalid.enumerate() {
        let label = if i == 0 { "invalid" } else { "" };
        let text = format!("{}: {}", called(tried), clean(why));
        paragraph(label, &[text], "", &PLAIN, &mut lines);
    }
    lines
}

/// Writes the sweep as a table for a terminal.
///
/// # Errors
/// Those of the writer.
pub fn sweep_terminal(sweep: &Sweep, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "{} · storm of {} {} · {}\n",
        clean(&sweep.name),
        count(sweep.victims),
        clean(&sweep.group),
        clean(&sweep.target)
    )?;
    let mut rows = vec![["policy", "window"].map(str::to_owned).to_vec()];
    rows[0].extend(FIGURES.map(str::to_owned));
    rows[0].push(FITS.to_owned());
    for tried in &sweep.tries {
        let over = tried.window.map_or(NONE.to_owned(), window);
        let mut row = vec![clean(&tried.policy), over];
        row.extend(figures(tried));
        row.push(match &tried.invalid {
            Some(_) => "unknown: run invalid".to_owned(),
            None => fits(tried),
        });
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|i| rows.iter().map(|row| width(&row[i])).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let mut line = String::new();
        for (i, (cell, wide)) in row.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(wide - width(cell));
            // Words stand left, numbers right.
            let words = i == 0 || i + 1 == row.len();
            line += &if words {
                format!("{cell}{pad}  ")
            } else {
                format!("{pad}{cell}  ")
            };
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    for (i, line) in reasons(sweep).iter().enumerate() {
        writeln!(out, "{}{line}", if i == 0 { "\n" } else { "" })?;
    }
    writeln!(out, "\nrecommended  {}", clean(&sweep.advice()))?;
    if let Some(written) = sweep.written() {
        writeln!(
            out,
            "             {}      (after several failed attempts a client does well to wait longer: a larger cap)",
            clean(&written)
        )?;
    }
    Ok(())
}

/// Writes `storm.html` and `storm.json` into a new folder under `root`, as a run's report is written, named
/// `<name>-storms-<UTC yyyymmdd-hhmmss>`. Returns them in this order.
///
/// # Errors
/// The first file that could not be written; nothing is left behind then.
pub fn write_sweep(root: &Path, sweep: &Sweep) -> Result<Vec<PathBuf>, WriteError> {
    let name = folder_name(&sweep.name, Some("storms"), &sweep.started);
    let formats: [(&str, Render<Sweep>); 2] = [
        ("storm.html", |sweep, mut out| {
            super::html::sweep(sweep, &mut out)
        }),
        ("storm.json", |sweep, out| {
            serde_json::to_writer_pretty(out, sweep).map_err(io::Error::from)
        }),
    ];
    place(root, &name, sweep, &formats)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn tried(policy: &str, window: f64, peak: u64, failed: u64, back: u64) -> Try {
        Try {
            policy: policy.into(),
            window: Some(window),
            valid: true,
            invalid: None,
            peak,
            lost: 1_000,
            back,
            failed,
            amplification: Some(1.0),
            restored_50: Some(window / 2.0),
            restored_99: Some(window),
            restored_100: Some(window + 0.1),
            against: String::new(),
        }
    }

    fn sweep(capacity: Option<u64>) -> Sweep {
        let mut sweep = Sweep {
            version: SWEEP_VERSION,
            tool: "squall 0.1.0".into(),
            name: "storm <b>".into(),
            started: "2026-11-25T10:15:00Z".into(),
            target: "ws://127.0.0.1:1".into(),
            group: "subs".into(),
            victims: 1_000,
            capacity,
            tries: vec![
                tried("full_jitter", 1.0, 1_200, 80, 1_000),
                tried("full_jitter", 5.0, 300, 0, 1_000),
                tried("equal_jitter", 5.0, 500, 0, 1_000),
                tried("full_jitter", 10.0, 150, 0, 1_000),
                tried("no_jitter", 0.5, 9_000, 0, 900),
            ],
            recommended: None,
        };
        for i in 0..sweep.tries.len() {
            sweep.tries[i].against = sweep.judge(&sweep.tries[i]);
        }
        sweep.recommend();
        sweep
    }

    #[test]
    fn the_shortest_that_fits_is_recommended() {
        let free = sweep(None);
        let fits: Vec<bool> = free.tries.iter().map(Try::fits).collect();
        assert_eq!(fits, [false, true, true, true, false]);
        assert_eq!(free.recommended, Some(1));
        assert!(
            free.advice().starts_with("full_jitter over 5 s: peak 300"),
            "{}",
            free.advice()
        );
        // Within 200 a second only ten seconds do.
        let bound = sweep(Some(200));
        assert_eq!(bound.recommended, Some(3));
        assert_eq!(bound.tries[1].against, "150 % of capacity");
        // As many as nine tenths tell of all.
        let mut fewer = bound.tries[3].clone();
        (fewer.lost, fewer.back) = (900, 900);
        assert_eq!(bound.judge(&fewer), "");
        (fewer.lost, fewer.back) = (899, 899);
        assert_eq!(
            bound.judge(&fewer),
            "only 899 of 1,000 were there to be cut off"
        );
        let none = sweep(Some(100));
        assert_eq!(none.recommended, None);
        assert!(none.advice().contains("longer windows"));
    }

    #[test]
    fn the_one_that_is_back_soonest_is_whatever_it_is_called() {
        let mut both = sweep(None);
        both.tries[2].restored_99 = Some(4.0);
        both.recommend();
        assert_eq!(both.recommended, Some(2));
        both.tries[2].window = None;
        assert!(
            both.advice().starts_with("equal_jitter: peak 500"),
            "{}",
            both.advice()
        );
    }

    #[test]
    fn an_invalid_run_is_neither_fit_nor_unfit_and_says_why_everywhere() {
        let why = "generator-limited: shard 0 sent late, schedule lag max 67.9 ms in the second ending at 22 s; the limit is 1 ms: use more shards";
        let mut sweep = sweep(None);
        let all = sweep.tries.len();
        for i in 0..all {
            sweep.tries[i].valid = false;
            sweep.tries[i].invalid = Some(why.to_owned());
            sweep.tries[i].against = sweep.judge(&sweep.tries[i]);
        }
        sweep.recommend();
        assert_eq!(sweep.recommended, None);
        assert_eq!(sweep.tries[1].against, format!("the run is invalid: {why}"));
        assert!(sweep.advice().contains("every run was invalid"));
        let mut text = Vec::new();
        sweep_terminal(&sweep, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for said in [
            "unknown: run invalid",
            &format!("full_jitter over 5 s: {why}"),
            "nothing can be said",
        ] {
            assert!(one_line.contains(said), "no {said}: {text}");
        }
        assert!(!text.contains("no: the run"), "{text}");
        assert!(text.lines().all(|line| width(line) <= 100), "{text}");
        let folder = tempfile::tempdir().unwrap();
        let files = write_sweep(folder.path(), &sweep).unwrap();
        let html = fs::read_to_string(&files[0]).unwrap();
        assert!(html.contains(&format!("unknown: the run is invalid: {why}")));
        assert!(html.contains("RUNS INVALID") && !html.contains("NONE FITS"));
        let json: serde_json::Value =
            serde_json::from_slice(&fs::read(&files[1]).unwrap()).unwrap();
        assert_eq!(json["tries"][0]["invalid"], why);
        // One that can be judged, and does not fit, is not hidden among them.
        (sweep.tries[0].valid, sweep.tries[0].invalid) = (true, None);
        sweep.tries[0].against = sweep.judge(&sweep.tries[0]);
        assert!(
            sweep.advice().contains("4 runs were invalid"),
            "{}",
            sweep.advice()
        );
        // A run without a victim says so.
        let nobody = Try {
            lost: 0,
            back: 0,
            ..sweep.tries[0].clone()
        };
        assert_eq!(sweep.judge(&nobody), "nobody was cut off");
    }

    #[test]
    fn of_one_window_there_is_a_bar_for_each_policy() {
        let folder = tempfile::tempdir().unwrap();
        let page = |sweep: &Sweep| {
            let files = write_sweep(folder.path(), sweep).unwrap();
            fs::read_to_string(&files[0]).unwrap()
        };
        let mut sweep = sweep(Some(200));
        let several = page(&sweep);
        assert!(several.contains("attempts per second, by window"));
        assert!(several.contains("<circle"), "a dot at each try");
        sweep.tries.retain(|tried| tried.window == Some(5.0));
        sweep.started = "2026-11-25T10:16:00Z".into();
        let one = page(&sweep);
        assert!(one.contains("attempts per second, by policy over 5 s"));
        assert!(!one.contains("<circle"));
        let bars = |name: &str| one.matches(&format!("class=\"f-{name}\"")).count();
        // Two plots in two sizes.
        assert_eq!((bars("kind1"), bars("kind2")), (4, 4));
    }

    #[test]
    fn what_is_written_is_read_again_and_shown() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = sweep(Some(200));
        let files = write_sweep(folder.path(), &sweep).unwrap();
        let html = fs::read_to_string(&files[0]).unwrap();
        assert!(!html.contains("<b>") && html.contains("storm &lt;b&gt;"));
        assert!(html.contains("full_jitter over 10 s"));
        let json = fs::read(&files[1]).unwrap();
        assert_eq!(serde_json::from_slice::<Sweep>(&json).unwrap(), sweep);
        let mut text = Vec::new();
        sweep_terminal(&sweep, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("reconnect: { backoff: full_jitter, base: 10s, cap: 10s }"),
            "{text}"
        );
        assert!(text.contains("no: 80 openings failed"), "{text}");
        assert!(
            text.contains("recommended  full_jitter over 10 s"),
            "{text}"
        );
    }
}
