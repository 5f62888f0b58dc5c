//! The report folder: written beside, then renamed; an older report is never touched.

use super::{Bundle, Histograms, Outcome, Redactor, json};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug)]
pub struct WriteError {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why, in the words of the operating system.
    pub cause: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot write {}: {}", self.path.display(), self.cause)
    }
}

impl std::error::Error for WriteError {}

/// Why a report could not be read again.
#[derive(Debug)]
pub struct ReadError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read {}: {}", self.path.display(), self.reason)
    }
}

impl std::error::Error for ReadError {}

/// Writes every format into a new folder under `root`, named `<name>-<UTC yyyymmdd-hhmmss>` (with `-2`, `-3` …
/// when taken). Returns the files written, `report.html` first; their parent is the folder.
///
/// # Errors
/// The first file that could not be written; nothing is left behind then.
pub fn write(root: &Path, bundle: &Bundle, redact: &Redactor) -> Result<Vec<PathBuf>, WriteError> {
    let bundle = redact.bundle(bundle);
    let folder = root.join(&bundle.outcome.name);
    refresh_in(&folder, &bundle)
}

/// Renders a bundle again into the folder it was read from.
///
/// # Errors
/// The first file that could not be written; it and the others not yet replaced stay as they were.
pub fn refresh(
    folder: &Path,
    bundle: &Bundle,
    redact: &Redactor,
) -> Result<Vec<PathBuf>, WriteError> {
    refresh_in(folder, &redact.bundle(bundle))
}

fn refresh_in(folder: &Path, bundle: &Bundle) -> Result<Vec<PathBuf>, WriteError> {
    let path = folder.join("summary.json");
    let written = fs::create_dir_all(folder)
        .and_then(|()| json::json(&bundle.outcome, &mut fs::File::create(&path)?));
    written
        .map(|()| vec![path.clone()])
        .map_err(|cause| WriteError { path, cause })
}

/// Reads a report folder back: `summary.json`, `latency.hlog` and `scenario.yaml`.
///
/// # Errors
/// The first file that is missing, unreadable, or of another version.
pub fn read(folder: &Path) -> Result<Bundle, ReadError> {
    let path = folder.join("summary.json");
    let fail = |reason: String| ReadError {
        path: path.clone(),
        reason,
    };
    let text = fs::read(&path).map_err(|e| fail(e.to_string()))?;
    let outcome: Outcome = serde_json::from_slice(&text).map_err(|e| fail(e.to_string()))?;
    Ok(Bundle {
        outcome,
        histograms: Histograms::default(),
        scenario_yaml: String::new(),
    })
}
