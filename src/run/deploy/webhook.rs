//! An HTTP/1.1 request to whoever deploys. One answer is read; a redirection is not followed, and is no success.

use super::super::http;
use super::{Carried, Ending, readable};
use crate::plan::Webhook;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;
/// For the body, which decides nothing.
const BODY: Duration = Duration::from_secs(1);

/// Makes the request.
pub(super) async fn call(hook: &Webhook) -> Carried {
    match http::dial(&hook.host, hook.port, hook.tls).await {
        Ok(stream) => ask(stream, hook).await,
        Err(why) => Carried::new(Ending::NotBegun(why), String::new()),
    }
}

/// Makes the request, and returns the status and the whole body of the answer, which is so many bytes at most.
///
/// # Errors
/// Why there is no answer.
pub(in super::super) async fn fetch(hook: &Webhook, most: u64) -> Result<(u16, Vec<u8>), String> {
    let mut stream = http::dial(&hook.host, hook.port, hook.tls).await?;
    let lost = |error: io::Error| format!("no answer: {error}");
    stream
        .write_all(request(hook).as_bytes())
        .await
        .map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    http::whole(&mut stream, most).await
}

async fn ask(mut stream: impl http::Stream, hook: &Webhook) -> Carried {
    let answer = async {
        stream.write_all(request(hook).as_bytes()).await?;
        stream.flush().await?;
        http::head(&mut stream).await
    };
    match answer.await {
        Err(error) => {
            let why = format!("no answer: {error}");
            Carried::new(Ending::Failed(why), String::new())
        }
        Ok(head) => {
            let http::Head {
                status,
                length,
                rest: mut bytes,
                ..
            } = head;
            let wanted = length.unwrap_or(ANSWER).min(ANSWER);
            let rest = async {
                while bytes.len() < wanted && stream.read_buf(&mut bytes).await.is_ok_and(|n| n > 0)
                {
                }
            };
            let _ = timeout(BODY, rest).await;
            let said = format!("HTTP {status}\n{}", readable(&bytes));
            let ending = match status {
                200..=299 => Ending::Succeeded,
                _ => Ending::Failed(format!("HTTP {status}")),
            };
            Carried::new(ending, said.trim().to_owned())
        }
    }
}

fn request(hook: &Webhook) -> String {
    let host = http::authority(&hook.host, hook.port, hook.tls);
    let mut text = format!("{} {} HTTP/1.1\r\nHost: {host}\r\n", hook.method, hook.path);
    for (name, value) in &hook.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = hook.body.len();
    text.push_str(&format!(
        "Connection: close\r\nContent-Length: {length}\r\n\r\n{}",
        hook.body
    ));
    text
}
