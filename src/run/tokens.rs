//! Tokens that come from a command or an HTTP endpoint: fetched once, before the shards start.
//!
//! What is fetched goes into the plan, and to the redactor; of an answer that is of no use only its kind is told, as it may
//! hold a token all the same.

use super::deploy::webhook;
use crate::plan::{Fetch, FetchFrom, Plan};
use serde_json::Value;
use std::process::Stdio;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;

/// Bytes of an answer that are read.
const ANSWER: u64 = 16 << 20;
/// Tokens that a group may have.
const TOKENS: usize = 1 << 20;

/// Fetches what the plan needs, and returns the tokens.
///
/// # Errors
/// Whose tokens could not be had, and why.
pub async fn fetch(plan: &mut Plan) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    let fetches: Vec<(usize, Fetch)> = plan.fetches().map(|(g, f)| (g, f.clone())).collect();
    for (group, fetch) in fetches {
        let why = |why: String| {
            let name = &plan.groups()[group].name;
            format!("no tokens for `{name}`: {why}")
        };
        let answer = match timeout(fetch.within, ask(&fetch.how)).await {
            Err(_) => Err(format!("not within {:?}", fetch.within)),
            Ok(answer) => answer,
        };
        let tokens = answer
            .and_then(|answer| tokens(&answer, fetch.pointer.as_deref()))
            .map_err(why)?;
        all.extend(tokens.iter().cloned());
        plan.supply(group, tokens);
    }
    Ok(all)
}

async fn ask(how: &FetchFrom) -> Result<Vec<u8>, String> {
    match how {
        FetchFrom::Run(arguments) => run(arguments).await,
        FetchFrom::Http(hook) => match webhook::fetch(hook, ANSWER).await? {
            (200..=299, body) => Ok(body),
            (status, _) => Err(format!("HTTP {status}")),
        },
    }
}

/// Runs a program to its end; what it writes to standard error nobody gets to see.
async fn run(arguments: &[String]) -> Result<Vec<u8>, String> {
    let (program, arguments) = arguments.split_first().ok_or("there is no program")?;
    let named = |error: std::io::Error| format!("`{program}`: {error}");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(named)?;
    let output = match child.stdout.take() {
        Some(stdout) => read(stdout).await?,
        None => Vec::new(),
    };
    let status = child.wait().await.map_err(named)?;
    match status.success() {
        true => Ok(output),
        false => Err(format!("`{program}`: {status}")),
    }
}

async fn read(from: impl AsyncRead + Unpin) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = from.take(ANSWER + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| error.to_string())?;
    match bytes.len() as u64 > ANSWER {
        true => Err("it is over 16 MiB".into()),
        false => Ok(bytes),
    }
}

/// The tokens in an answer: what is at the pointer, or each line.
fn tokens(answer: &[u8], pointer: Option<&str>) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "the answer is not UTF-8")?;
    let found: Vec<String> = match pointer {
        None => text
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect(),
        Some(at) => {
            let json: Value = serde_json::from_str(text).map_err(|_| "the answer is not JSON")?;
            let nothing = || format!("there is no token at `{at}` of the answer");
            let texts = match json.pointer(at).ok_or_else(nothing)? {
                Value::Array(items) => items.as_slice(),
                one => std::slice::from_ref(one),
            };
            let texts = texts.iter().map(|item| item.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(nothing)?
        }
    };
    if found.is_empty() || found.iter().any(String::is_empty) {
        return Err("there is no token in the answer, or an empty one".into());
    }
    if found
        .iter()
        .any(|token| token.chars().any(char::is_control))
    {
        return Err("there are control characters in a token".into());
    }
    if found.len() > TOKENS {
        return Err(format!("{} tokens are too many", found.len()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_in_lines_and_in_json() {
        let table = [
            ("a\n b \r\n\nc", None, vec!["a", "b", "c"]),
            (r#"{"access_token":"a"}"#, Some("/access_token"), vec!["a"]),
            (r#"{"t":["a","b"]}"#, Some("/t"), vec!["a", "b"]),
            (r#"["a"]"#, Some(""), vec!["a"]),
        ];
        for (answer, pointer, expected) in table {
            assert_eq!(tokens(answer.as_bytes(), pointer).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_of_no_use_is_not_repeated() {
        for (answer, pointer) in [
            ("", None),
            (" \n", None),
            ("canary", Some("/t")),
            (r#"{"x":"canary"}"#, Some("/t")),
            (r#"{"t":["canary",7]}"#, Some("/t")),
            (r#"{"t":{"canary":"canary"}}"#, Some("/t")),
            (r#"{"t":["canary",""]}"#, Some("/t")),
            ("{\"t\":\"canary\\u0000\"}", Some("/t")),
        ] {
            let why = tokens(answer.as_bytes(), pointer).unwrap_err();
            assert!(!why.contains("canary"), "{why}");
        }
        assert!(tokens(b"\xff", None).is_err());
    }
}
