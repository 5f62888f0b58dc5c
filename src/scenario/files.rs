//! The files a scenario refers to, read once at load so that nothing later touches the disk for them.

use super::model::{OneOrMany, Scenario, Var};
use super::problem::Problem;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Contents of the files a scenario refers to, by the path as it stands in the model.
#[derive(Debug, Clone, Default)]
pub struct Files {
    entries: BTreeMap<String, Vec<u8>>,
}

impl Files {
    /// Adds a file under the path as written.
    pub fn insert(&mut self, path: impl Into<String>, contents: impl Into<Vec<u8>>) {
        self.entries.insert(path.into(), contents.into());
    }

    /// The contents as they are (PEM files).
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.entries.get(path).map(Vec::as_slice)
    }

    /// The contents as text (CSV and payload files, which load has found to be UTF-8).
    pub fn text(&self, path: &str) -> Option<&str> {
        self.get(path)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Reads every file the scenario names; what cannot be read is a problem at its path.
    pub(super) fn collect(scenario: &Scenario, folder: &Folder) -> (Files, Vec<Problem>) {
        let mut files = Files::default();
        let mut problems = Vec::new();
        let mut left = TOGETHER;
        for (at, path, kind) in references(scenario) {
            if files.get(path).is_some() {
                continue;
            }
            match folder.read_at(path, kind.limit().min(left), kind.is_anywhere()) {
                Ok(bytes) if kind.is_text() && std::str::from_utf8(&bytes).is_err() => {
                    problems.push(Problem::error(
                        at,
                        format!("the file `{path}` is not UTF-8 text"),
                    ));
                }
                Ok(bytes) => {
                    left -= bytes.len() as u64;
                    files.insert(path, bytes);
                }
                Err(message) => problems.push(Problem::error(at, message)),
            }
        }
        (files, problems)
    }
}

/// Most that all files of a scenario may hold together, in bytes.
const TOGETHER: u64 = 128 << 20;

/// What a file is for.
#[derive(Clone, Copy)]
enum Kind {
    Csv,
    Payload,
    Pem,
    Pid,
}

impl Kind {
    /// Largest size, in bytes: more than a run could use.
    fn limit(self) -> u64 {
        match self {
            Kind::Csv => 64 << 20,
            Kind::Payload => 16 << 20,
            Kind::Pem => 4 << 20,
            Kind::Pid => 64,
        }
    }

    /// Whether it may lie outside of the scenario's folder: services keep theirs in `/run`, and it holds a number.
    fn is_anywhere(self) -> bool {
        matches!(self, Kind::Pid)
    }

    fn is_text(self) -> bool {
        !matches!(self, Kind::Pem)
    }
}

/// Every file named: where, which, what for.
fn references(scenario: &Scenario) -> Vec<(String, &str, Kind)> {
    let mut found = Vec::new();
    if let Some(tls) = &scenario.target.tls {
        for (key, path) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
            if let Some(path) = path {
                found.push((format!("target.tls.{key}"), path.as_str(), Kind::Pem));
            }
        }
    }
    if let Some(path) = &scenario.target.pid_file {
        found.push(("target.pid_file".to_owned(), path.as_str(), Kind::Pid));
    }
    for (name, inject) in &scenario.inject {
        let at = format!("inject.{name}");
        if let Some(path) = &inject.payload_file {
            found.push((format!("{at}.payload_file"), path.as_str(), Kind::Payload));
        }
        for (var, of) in &inject.vars {
            if let Var::Csv(csv) = of {
                let at = format!("{at}.vars.{var}.csv.file");
                found.push((at, csv.file.as_str(), Kind::Csv));
            }
        }
        let credentials = inject
            .nats
            .as_ref()
            .and_then(|nats| nats.credentials.as_ref());
        if let Some(path) = credentials {
            found.push((format!("{at}.nats.credentials"), path.as_str(), Kind::Pem));
        }
        let brokers = [
            ("nats", inject.nats.as_ref().and_then(|of| of.tls.as_ref())),
            (
                "rabbitmq",
                inject.rabbitmq.as_ref().and_then(|of| of.tls.as_ref()),
            ),
            (
                "kafka",
                inject.kafka.as_ref().and_then(|of| of.tls.as_ref()),
            ),
        ];
        for (broker, tls) in brokers {
            let Some(tls) = tls else { continue };
            for (key, path) in [("ca", &tls.ca), ("cert", &tls.cert), ("key", &tls.key)] {
                if let Some(path) = path {
                    found.push((format!("{at}.{broker}.tls.{key}"), path.as_str(), Kind::Pem));
                }
            }
        }
    }
    for (group, clients) in &scenario.clients {
        let jwt = clients.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
        if let Some(key) = jwt.and_then(|jwt| jwt.key.as_ref()) {
            let at = format!("clients.{group}.auth.jwt.key");
            found.push((at, key.as_str(), Kind::Pem));
        }
        for (name, var) in &clients.vars {
            if let Var::Csv(csv) = var {
                found.push((
                    format!("clients.{group}.vars.{name}.csv.file"),
                    csv.file.as_str(),
                    Kind::Csv,
                ));
            }
        }
        let publishes = match &clients.publish {
            None => Vec::new(),
            Some(OneOrMany::One(publish)) => vec![(String::new(), publish)],
            Some(OneOrMany::Many(all)) => all
                .iter()
                .enumerate()
                .map(|(i, p)| (format!("[{i}]"), p))
                .collect(),
        };
        for (index, publish) in publishes {
            if let Some(path) = &publish.payload_file {
                found.push((
                    format!("clients.{group}.publish{index}.payload_file"),
                    path.as_str(),
                    Kind::Payload,
                ));
            }
        }
    }
    found
}

/// The folder that file references stay in.
#[derive(Debug)]
pub(super) struct Folder {
    /// As given, for joining; `None`: the document did not come from a file.
    folder: Option<PathBuf>,
    allow_outside: bool,
}

impl Folder {
    pub fn new(folder: Option<&Path>, allow_outside: bool) -> Self {
        let folder = folder.map(|f| {
            if f.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                f.to_owned()
            }
        });
        Folder {
            folder,
            allow_outside,
        }
    }

    /// Reads a file of at most `limit` bytes. Links are followed before the place is judged.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>, String> {
        self.read_at(path, limit, false)
    }

    /// The same of one that may lie `anywhere`.
    fn read_at(&self, path: &str, limit: u64, anywhere: bool) -> Result<Vec<u8>, String> {
        let folder = self
            .folder
            .as_ref()
            .ok_or_else(|| format!("the file `{path}` cannot be looked up: no folder"))?;
        let failed = |error: std::io::Error| format!("the file `{path}` cannot be read: {error}");
        let folder = folder.canonicalize().map_err(failed)?;
        let file = folder.join(path).canonicalize().map_err(failed)?;
        if !self.allow_outside && !anywhere && !file.starts_with(&folder) {
            return Err(format!(
                "the file `{path}` is outside of the scenario's folder (--allow-outside permits it)"
            ));
        }
        // Opening a pipe would wait for its writer.
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(format!("`{path}` is not a regular file"));
        }
        let mut bytes = Vec::new();
        std::fs::File::open(&file)
            .map_err(failed)?
            .take(limit + 1)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        if bytes.len() as u64 > limit {
            return Err(format!(
                "the file `{path}` is larger than {} KiB",
                limit >> 10
            ));
        }
        Ok(bytes)
    }
}
