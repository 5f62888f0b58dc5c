//! Requests to others than the target: their address and their headers.

use super::Problems;
use super::target::is_token;
use crate::scenario::Problem;
use crate::scenario::model::Table;

/// Where a request goes.
pub(super) struct Address {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub path: String,
}

/// The parts of `PATH.url`.
pub(super) fn address(url: &str, path: &str, problems: &mut Problems) -> Option<Address> {
    let at = format!("{path}.url");
    let parsed = url::Url::parse(url).ok();
    let parsed =
        parsed.filter(|url| matches!(url.scheme(), "http" | "https") && url.host().is_some());
    let Some(url) = parsed else {
        problems.add(Problem::error(
            at,
            "it is not an http:// or https:// address",
        ));
        return None;
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(Problem::error(
            at,
            "user and password do not belong into an address: give a header",
        ));
        return None;
    }
    let host = url.host_str().unwrap_or_default();
    Some(Address {
        tls: url.scheme() == "https",
        host: host.trim_matches(['[', ']']).to_owned(),
        port: url.port_or_known_default().unwrap_or(80),
        path: match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        },
    })
}

/// Those of `PATH.headers`. Wrong ones are problems, and not among them.
pub(super) fn headers(
    headers: &Table<String>,
    path: &str,
    problems: &mut Problems,
) -> Vec<(String, String)> {
    let own = ["host", "connection", "content-length", "transfer-encoding"];
    let mut good = Vec::new();
    for (name, value) in headers {
        let what = if !is_token(name) {
            format!("`{name}` is not the name of a header")
        } else if own.contains(&name.to_ascii_lowercase().as_str()) {
            format!("`{name}` is set by squall")
        } else if value.chars().any(|c| c.is_control() && c != '\t') {
            "a header is one line".into()
        } else {
            good.push((name.clone(), value.clone()));
            continue;
        };
        problems.add(Problem::error(format!("{path}.headers.{name}"), what));
    }
    good
}
