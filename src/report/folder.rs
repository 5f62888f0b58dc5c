//! The report folder: written beside, then renamed, so that there is a whole report or none, and an older one
//! is never touched.

use super::{Bundle, Histograms, Outcome, Redactor, csv, hlog, html, json, junit, markdown};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Why a report could not be written.
#[derive(Debug)]
pub struct WriteError {
    /// Which file or folder.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "free some space there or choose another folder"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "allow writing there or choose another folder"
            }
            ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
                "something that is not a folder stands in the way: move it or choose another folder"
            }
            ErrorKind::FileTooLarge => "lift the limit on file sizes (`ulimit -f`)",
            _ => "look at that place or choose another folder",
        };
        write!(
            f,
            "the report could not be written: {}: {}; {advice}",
            self.path.display(),
            self.cause
        )
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}

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

/// A bundle, ready to be rendered: secrets masked, numbers as they will be read back.
struct Ready<'a> {
    outcome: Outcome,
    histograms: &'a Histograms,
    scenario_yaml: String,
}

/// Writes one form of a run's report.
type OfRun = fn(&Ready<'_>, &mut dyn Write) -> io::Result<()>;

/// Writes one form of a value.
pub(super) type Render<T> = fn(&T, &mut dyn Write) -> io::Result<()>;

/// Rendered from the others; these are what [`refresh`] makes again.
const RENDERED: [(&str, OfRun); 4] = [
    ("report.html", |ready, mut out| {
        html::html(&ready.outcome, ready.histograms, &mut out)
    }),
    ("summary.md", |ready, mut out| {
        markdown::markdown(&ready.outcome, &mut out)
    }),
    ("junit.xml", |ready, mut out| {
        junit::junit(&ready.outcome, &mut out)
    }),
    ("timeline.csv", |ready, mut out| {
        csv::csv(&ready.outcome, &mut out)
    }),
];

/// What a report can be rendered from again.
const KEPT: [(&str, OfRun); 3] = [
    (SUMMARY, |ready, mut out| {
        json::json(&ready.outcome, &mut out)
    }),
    (LOG, |ready, mut out| {
        hlog::hlog(&ready.outcome, ready.histograms, &mut out)
    }),
    (SCENARIO, |ready, out| {
        out.write_all(ready.scenario_yaml.as_bytes())
    }),
];

const SUMMARY: &str = "summary.json";
const LOG: &str = "latency.hlog";
const SCENARIO: &str = "scenario.yaml";

/// Writes every format into a new folder under `root`, named `<name>-<UTC yyyymmdd-hhmmss>` (with `-2`, `-3` …
/// when taken). Returns the files written, `report.html` first; their parent is the folder.
///
/// # Errors
/// The first file that could not be written; nothing is left behind then.
pub fn write(root: &Path, bundle: &Bundle, redact: &Redactor) -> Result<Vec<PathBuf>, WriteError> {
    let formats: Vec<(&str, OfRun)> = RENDERED.into_iter().chain(KEPT).collect();
    let ready = ready(root, bundle, redact)?;
    let name = folder_name(&ready.outcome.name, None, &ready.outcome.started);
    place(root, &name, &ready, &formats)
}

fn ready<'a>(at: &Path, bundle: &'a Bundle, redact: &Redactor) -> Result<Ready<'a>, WriteError> {
    let outcome = json::as_read(&redact.outcome(&bundle.outcome));
    Ok(Ready {
        outcome: outcome.map_err(|cause| WriteError {
            path: at.join(SUMMARY),
            cause,
        })?,
        histograms: &bundle.histograms,
        scenario_yaml: redact.text(&bundle.scenario_yaml),
    })
}

/// Writes these forms of a value into a new folder under `root`, all or none; a name that is taken gets a number.
/// Returns the files in the order of `formats`.
pub(super) fn place<T>(
    root: &Path,
    name: &str,
    value: &T,
    formats: &[(&str, Render<T>)],
) -> Result<Vec<PathBuf>, WriteError> {
    let root_was_there = root.exists();
    let at = |path: &Path| {
        let path = path.to_owned();
        move |cause| WriteError { path, cause }
    };
    fs::create_dir_all(root).map_err(at(root))?;
    let partial = root.join(format!(".{name}.{}.partial", std::process::id()));
    // Removed on every way out; after the rename there is nothing left to remove.
    let _debris = Debris {
        partial: &partial,
        root: (!root_was_there).then_some(root),
    };
    fs::create_dir(&partial).map_err(at(&partial))?;
    for (file, render) in formats {
        // The error names the file as it would have been called.
        create(&partial.join(file), value, *render).map_err(at(&root.join(name).join(file)))?;
    }
    sync(&partial).map_err(at(root))?;
    let folder = settle(root, name, &partial).map_err(at(&root.join(name)))?;
    sync(root).map_err(at(root))?;
    Ok(formats.iter().map(|(file, _)| folder.join(file)).collect())
}

/// Renames to the first name that is free.
fn settle(root: &Path, name: &str, partial: &Path) -> io::Result<PathBuf> {
    for n in 1..1000 {
        let folder = root.join(if n == 1 {
            name.to_owned()
        } else {
            format!("{name}-{n}")
        });
        if folder.symlink_metadata().is_ok() {
            continue;
        }
        match fs::rename(partial, &folder) {
            Ok(()) => return Ok(folder),
            // Another run took the name in between.
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::other(
        "a thousand reports of this name and second are there already",
    ))
}

struct Debris<'a> {
    partial: &'a Path,
    root: Option<&'a Path>,
}

impl Drop for Debris<'_> {
    fn drop(&mut self) {
        // Nothing more can be done where removing fails too; the name says what it is.
        let _ = fs::remove_dir_all(self.partial);
        if let Some(root) = self.root {
            // Only if empty, so never with a report in it.
            let _ = fs::remove_dir(root);
        }
    }
}

fn create<T>(path: &Path, value: &T, render: Render<T>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create_new(path)?);
    render(value, &mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// `<name>[-<what>]-<yyyymmdd-hhmmss>`, of characters that every file system takes.
pub(super) fn folder_name(title: &str, what: Option<&str>, started: &str) -> String {
    let mut name = String::new();
    for c in title.chars() {
        match c {
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
        if name.len() == 64 {
            break;
        }
    }
    let name = name.trim_matches(['-', '.']);
    let digits: String = started
        .chars()
        .filter(char::is_ascii_digit)
        .take(14)
        .collect();
    let stamp = if digits.len() == 14 {
        format!("{}-{}", &digits[..8], &digits[8..])
    } else {
        "undated".into()
    };
    let name = if name.is_empty() { "run" } else { name };
    let parts = [Some(name), what, Some(&stamp)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("-")
}

/// Renders `report.html`, `summary.md`, `junit.xml` and `timeline.csv` again in the folder that a bundle was
/// [`read`] from. Returns them.
///
/// # Errors
/// The first file that could not be written. All are written beside before any is put in place, so a full disk
/// leaves them as they were; each is replaced whole, but where the system fails between two of the four, the
/// first are new and the rest old. Rendering again mends that.
pub fn refresh(
    folder: &Path,
    bundle: &Bundle,
    redact: &Redactor,
) -> Result<Vec<PathBuf>, WriteError> {
    let ready = ready(folder, bundle, redact)?;
    let partial = folder.join(format!(".refresh.{}.partial", std::process::id()));
    let at = |path: PathBuf| move |cause| WriteError { path, cause };
    // What an earlier one of the same number left when it was killed; in a container the number is always the same.
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(at(partial.clone())(error));
        }
        _ => {}
    }
    fs::create_dir(&partial).map_err(at(folder.to_owned()))?;
    let _debris = Debris {
        partial: &partial,
        root: None,
    };
    for (file, render) in RENDERED {
        create(&partial.join(file), &ready, render).map_err(at(folder.join(file)))?;
    }
    for (file, _) in RENDERED {
        fs::rename(partial.join(file), folder.join(file)).map_err(at(folder.join(file)))?;
    }
    sync(folder).map_err(at(folder.to_owned()))?;
    Ok(RENDERED.iter().map(|(file, _)| folder.join(file)).collect())
}

/// Reads a report folder back: `summary.json`, `latency.hlog` and `scenario.yaml`.
///
/// # Errors
/// The first file that is missing, unreadable, or of another version.
pub fn read(folder: &Path) -> Result<Bundle, ReadError> {
    let open = |file: &str| {
        let path = folder.join(file);
        fs::read(&path).map_err(|error| ReadError {
            path,
            reason: error.to_string(),
        })
    };
    let fail = |file: &str, reason: String| ReadError {
        path: folder.join(file),
        reason,
    };
    let outcome = json::read_json(&open(SUMMARY)?).map_err(|reason| fail(SUMMARY, reason))?;
    let histograms = hlog::read_hlog(&outcome, &open(LOG)?).map_err(|reason| fail(LOG, reason))?;
    let scenario_yaml =
        String::from_utf8(open(SCENARIO)?).map_err(|error| fail(SCENARIO, error.to_string()))?;
    Ok(Bundle {
        outcome,
        histograms,
        scenario_yaml,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    const NAME: &str = "deploy-rehearsal-20261122-101500";

    /// A format that fills the disk after some bytes.
    const FULL: (&str, OfRun) = ("timeline.csv", |_, out| {
        out.write_all(&[b'x'; 20_000])?;
        Err(io::Error::from(ErrorKind::StorageFull))
    });

    fn plain(bundle: &Bundle) -> Ready<'_> {
        ready(Path::new(""), bundle, &Redactor::default()).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn a_report_is_written_whole_and_read_again() {
        let root = tempfile::tempdir().unwrap();
        let bundle = fixture::bundle();
        let files = write(root.path(), &bundle, &Redactor::default()).unwrap();
        let folder = files[0].parent().unwrap();
        assert_eq!(folder, root.path().join("deploy-rehearsal-20261122-101500"));
        let all = [
            "junit.xml",
            "latency.hlog",
            "report.html",
            "scenario.yaml",
            "summary.json",
            "summary.md",
            "timeline.csv",
        ];
        assert_eq!(names(folder), all);
        assert_eq!(names(root.path()), ["deploy-rehearsal-20261122-101500"]);

        let again = read(folder).unwrap();
        assert!(again.histograms == bundle.histograms);
        assert_eq!(again.scenario_yaml, bundle.scenario_yaml);
        // What is rendered from it again is the same, byte for byte.
        let before: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        fs::write(&files[0], "spoiled").unwrap();
        // Left by one that was killed.
        let debris = folder.join(format!(".refresh.{}.partial", std::process::id()));
        fs::create_dir(&debris).unwrap();
        fs::write(debris.join("report.html"), "half").unwrap();
        assert_eq!(
            refresh(folder, &again, &Redactor::default()).unwrap(),
            files[..4]
        );
        let after: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
        assert!(before == after);
        assert_eq!(names(folder), all);
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let root = tempfile::tempdir().unwrap();
        let bundle = fixture::bundle();
        for name in [
            "deploy-rehearsal-20261122-101500",
            "deploy-rehearsal-20261122-101500-2",
        ] {
            assert!(
                write(root.path(), &bundle, &Redactor::default()).unwrap()[0]
                    .starts_with(root.path().join(name))
            );
        }
    }

    #[test]
    fn a_full_disk_leaves_no_debris_and_the_older_report_untouched() {
        let root = tempfile::tempdir().unwrap();
        let bundle = fixture::bundle();
        let older = write(root.path(), &bundle, &Redactor::default()).unwrap();
        let text = fs::read(&older[0]).unwrap();
        let error = place(root.path(), NAME, &plain(&bundle), &[RENDERED[1], FULL]).unwrap_err();
        assert!(
            error
                .path
                .ends_with("deploy-rehearsal-20261122-101500/timeline.csv"),
            "{error}"
        );
        assert!(error.to_string().contains("free some space"), "{error}");
        assert_eq!(names(root.path()), ["deploy-rehearsal-20261122-101500"]);
        assert!(fs::read(&older[0]).unwrap() == text);

        // The root itself goes too where it was not there before.
        let fresh = root.path().join("reports");
        assert!(place(&fresh, NAME, &plain(&bundle), &[FULL]).is_err());
        assert!(!fresh.exists());
    }

    /// A real device without room, where there is one: every write to it fails with ENOSPC.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_s_own_words_are_passed_on() {
        let full: OfRun = |ready, _| {
            html::html(
                &ready.outcome,
                ready.histograms,
                &mut File::create("/dev/full")?,
            )
        };
        let root = tempfile::tempdir().unwrap();
        let error = place(
            root.path(),
            NAME,
            &plain(&fixture::bundle()),
            &[("report.html", full)],
        )
        .unwrap_err();
        assert_eq!(error.cause.kind(), ErrorKind::StorageFull);
        let text = error.to_string();
        assert!(
            text.contains("report.html") && text.contains("No space left on device"),
            "{text}"
        );
        assert_eq!(names(root.path()), [""; 0]);
    }

    #[test]
    fn a_file_in_place_of_the_folder_is_an_error_that_says_so() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("reports");
        fs::write(&file, "mine").unwrap();
        let error = write(&file, &fixture::bundle(), &Redactor::default()).unwrap_err();
        assert!(error.to_string().contains("stands in the way"), "{error}");
        let error = write(
            &file.join("deeper"),
            &fixture::bundle(),
            &Redactor::default(),
        )
        .unwrap_err();
        assert!(error.to_string().contains("stands in the way"), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            read(root.path())
                .unwrap_err()
                .to_string()
                .contains("summary.json")
        );
        let files = write(root.path(), &fixture::bundle(), &Redactor::default()).unwrap();
        let folder = files[0].parent().unwrap();
        fs::write(folder.join("latency.hlog"), "nothing").unwrap();
        assert!(
            read(folder)
                .unwrap_err()
                .to_string()
                .contains("latency.hlog")
        );
        fs::write(folder.join("summary.json"), r#"{"version": 7}"#).unwrap();
        assert!(read(folder).unwrap_err().to_string().contains("version 7"));
    }

    #[test]
    fn folder_names_suit_every_file_system() {
        let mut outcome = fixture::bundle().outcome;
        for (name, folder) in [
            ("../../etc/passwd", "etc-passwd"),
            ("a b/c\\d:e", "a-b-c-d-e"),
            ("名前", "run"),
            ("..", "run"),
            (&"x".repeat(300), &"x".repeat(64)),
        ] {
            outcome.name = name.into();
            assert_eq!(
                folder_name(&outcome.name, None, &outcome.started),
                format!("{folder}-20261122-101500")
            );
        }
        (outcome.name, outcome.started) = ("x".into(), "whenever".into());
        assert_eq!(
            folder_name(&outcome.name, None, &outcome.started),
            "x-undated"
        );
    }
}
