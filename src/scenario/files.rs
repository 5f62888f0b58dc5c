//! The files a scenario refers to, read once at load so that nothing later touches the disk for them.

use std::collections::BTreeMap;

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
}
