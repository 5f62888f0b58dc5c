//! The memory of a target that tells it: a page in Prometheus' text format, read about once a second.
//!
//! What is on it is the target's, so that it is bounded in bytes and in time. A read that failed is counted with its
//! reason, and is never a value.

use super::http;
use crate::metrics::clean;
use crate::plan::Page;
use crate::report::{MemorySample, TargetMemory};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// From the first byte to the last.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a page that are read.
const PAGE: usize = 4 << 20;
/// Names that are told where the wanted one is not there.
const NAMES: usize = 3;

/// Reads a page when it is asked to.
pub struct Scraper {
    asks: mpsc::UnboundedSender<Duration>,
    seen: Arc<Mutex<TargetMemory>>,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Begins to wait for questions, on the runtime that this is called on.
    pub fn start(page: Page) -> Self {
        let (asks, mut asked) = mpsc::unbounded_channel::<Duration>();
        let scheme = if page.tls { "https" } else { "http" };
        let seen = Arc::new(Mutex::new(TargetMemory {
            // Its path and query may hold a secret.
            page: format!("{scheme}://{}", authority(&page)),
            metric: page.memory.clone(),
            ..TargetMemory::default()
        }));
        let notes = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Some(mut at) = asked.recv().await {
                // One read that took long is not followed by all those that it held up.
                while let Ok(later) = asked.try_recv() {
                    at = later;
                }
                let began = Instant::now();
                let read = timeout(PATIENCE, read(&page)).await;
                let read = read.unwrap_or_else(|_| {
                    Err(format!(
                        "no answer within {} s: is the address right, and does the target still run?",
                        PATIENCE.as_secs()
                    ))
                });
                let at = (at + began.elapsed()).as_secs_f64();
                let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
                match read {
                    Ok(bytes) => notes.samples.push(MemorySample { at, bytes }),
                    Err(why) => {
                        notes.failed += 1;
                        notes.why = why;
                    }
                }
            }
        });
        Scraper { asks, seen, task }
    }

    /// Where to send the time of the run at which to read.
    pub fn asks(&self) -> mpsc::UnboundedSender<Duration> {
        self.asks.clone()
    }

    /// What was read. A read that is under way is given up.
    pub fn finish(self) -> TargetMemory {
        self.task.abort();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clone()
    }
}

fn authority(page: &Page) -> String {
    http::authority(&page.host, page.port, page.tls)
}

/// The value of the page's metric now; or what is wrong, and what to do about it.
async fn read(page: &Page) -> Result<u64, String> {
    let mut stream = http::dial(&page.host, page.port, page.tls).await?;
    let mut request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\n",
        page.path,
        authority(page)
    );
    for (name, value) in &page.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("Accept: text/plain\r\nConnection: close\r\n\r\n");
    let answer = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let head = http::head(&mut stream).await?;
        match head.status {
            200..=299 => Ok((head.status, body(&mut stream, head).await?)),
            status => Ok((status, Vec::new())),
        }
    };
    let answer: io::Result<(u16, Vec<u8>)> = answer.await;
    let (status, body) = answer.map_err(|error| format!("no answer: {error}"))?;
    match status {
        200..=299 => memory(&String::from_utf8_lossy(&body), &page.memory),
        300..=399 => Err(format!(
            "HTTP {status}: redirections are not followed, give the address that it leads to"
        )),
        401 | 403 => Err(format!(
            "HTTP {status}: give what it asks for in `target.metrics.headers`"
        )),
        _ => Err(format!(
            "HTTP {status}: is the path of `target.metrics.url` right?"
        )),
    }
}

async fn body(stream: &mut (impl AsyncRead + Unpin), head: http::Head) -> io::Result<Vec<u8>> {
    let mut bytes = head.rest;
    let length = head.length.filter(|_| !head.chunked);
    while length.is_none_or(|length| bytes.len() < length) {
        if bytes.len() > PAGE {
            let what = format!("a page of more than {} MiB", PAGE >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if head.chunked
            && bytes.ends_with(b"\r\n\r\n")
            && let Some(whole) = unchunked(&bytes)?
        {
            return Ok(whole);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    match (head.chunked, length) {
        (true, _) => unchunked(&bytes)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        (_, Some(length)) if bytes.len() < length => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(bytes),
    }
}

/// What a chunked body holds; `None` while it has not come whole (RFC 9112 §7.1).
fn unchunked(mut bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "not chunks");
    let mut whole = Vec::new();
    loop {
        match httparse::parse_chunk_size(bytes).map_err(|_| nonsense())? {
            httparse::Status::Complete((_, 0)) => return Ok(Some(whole)),
            httparse::Status::Complete((at, size)) => {
                let size = usize::try_from(size).map_err(|_| nonsense())?;
                let end = at.saturating_add(size);
                let Some(chunk) = bytes.get(at..end) else {
                    return Ok(None);
                };
                whole.extend_from_slice(chunk);
                match bytes.get(end..end + 2) {
                    Some(b"\r\n") => bytes = &bytes[end + 2..],
                    Some(_) => return Err(nonsense()),
                    None => return Ok(None),
                }
            }
            httparse::Status::Partial => return Ok(None),
        }
    }
}

/// The sum of all that has this name on a page.
fn memory(page: &str, name: &str) -> Result<u64, String> {
    let mut found = false;
    let mut sum = 0.0;
    for line in page.lines() {
        let Some(rest) = line.trim_start().strip_prefix(name) else {
            continue;
        };
        let rest = match rest.chars().next() {
            Some('{') => after_labels(rest).unwrap_or(""),
            Some(' ' | '\t') => rest,
            // Another metric, whose name is longer.
            _ => continue,
        };
        let text = rest.split_ascii_whitespace().next().unwrap_or("");
        let value = text.parse::<f64>().ok();
        let value = value.filter(|v| v.is_finite() && *v >= 0.0);
        let Some(value) = value else {
            let text = clean(text.as_bytes());
            return Err(format!(
                "`{name}` is `{text}`, which is no number of bytes: name another one in `target.metrics.memory`"
            ));
        };
        found = true;
        sum += value;
    }
    match found {
        true => Ok(sum as u64),
        false => Err(without(page, name)),
    }
}

/// What follows the labels that a text begins with. Their values may hold anything.
fn after_labels(text: &str) -> Option<&str> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '}' if !quoted => return text.get(at + 1..),
            _ => {}
        }
    }
    None
}

/// That the page does not have the metric, and what it has instead.
fn without(page: &str, name: &str) -> String {
    let mut names: Vec<&str> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ', '\t']).next())
        .filter(|name| name.contains("memory") || name.contains("resident"))
        .collect();
    names.dedup();
    names.truncate(NAMES);
    let names: Vec<String> = names.iter().map(|name| clean(name.as_bytes())).collect();
    let there = match names.is_empty() {
        true => String::new(),
        false => format!(" (it has {})", names.join(", ")),
    };
    format!("there is no `{name}` on the page{there}: name the metric in `target.metrics.memory`")
}

#[cfg(test)]
mod tests;
