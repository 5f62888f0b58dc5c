//! An HTTP/1.1 request to whoever deploys. One answer is read; a redirection is not followed, and is no success.

use super::{Carried, Ending, readable};
use crate::plan::Webhook;
use crate::transport::{TlsConfig, tls};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Bytes of an answer that are read.
const ANSWER: usize = 16 * 1024;
/// For the body, which decides nothing.
const BODY: Duration = Duration::from_secs(1);

/// Makes the request.
pub(super) async fn call(hook: &Webhook) -> Carried {
    let not_begun = |why: String| Carried::new(Ending::NotBegun(why), String::new());
    let tcp = match TcpStream::connect((hook.host.as_str(), hook.port)).await {
        Ok(tcp) => tcp,
        Err(error) => return not_begun(format!("{}:{}: {error}", hook.host, hook.port)),
    };
    if !hook.tls {
        return ask(tcp, hook).await;
    }
    // The system's certificates: whoever deploys is not the target.
    let config = TlsConfig::default();
    let secured = async {
        let name = tls::server_name(&config, &hook.host).map_err(|e| e.to_string())?;
        let client = tls::client_config(&config).map_err(|e| e.to_string())?;
        let connector = TlsConnector::from(client);
        connector
            .connect(name, tcp)
            .await
            .map_err(|e| e.to_string())
    };
    match secured.await {
        Ok(stream) => ask(stream, hook).await,
        Err(why) => not_begun(format!("{}: {why}", hook.host)),
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, hook: &Webhook) -> Carried {
    let answer = async {
        stream.write_all(request(hook).as_bytes()).await?;
        stream.flush().await?;
        head(&mut stream).await
    };
    match answer.await {
        Err(error) => {
            let why = format!("no answer: {error}");
            Carried::new(Ending::Failed(why), String::new())
        }
        Ok((status, length, mut bytes)) => {
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
    let usual = if hook.tls { 443 } else { 80 };
    let host = match hook.host.contains(':') {
        true => format!("[{}]", hook.host),
        false => hook.host.clone(),
    };
    let port = match hook.port == usual {
        true => String::new(),
        false => format!(":{}", hook.port),
    };
    let mut text = format!(
        "{} {} HTTP/1.1\r\nHost: {host}{port}\r\n",
        hook.method, hook.path
    );
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

/// The answer's status, the length of its body where it says so, and what came of the body with the head.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u16, Option<usize>, Vec<u8>)> {
    let nonsense = |_| io::Error::new(io::ErrorKind::InvalidData, "not HTTP");
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(end) = response.parse(&bytes).map_err(nonsense)? {
            let status = response.code.unwrap_or(0);
            // 100 and its like come before the answer.
            if (200..=599).contains(&status) {
                let length = response
                    .headers
                    .iter()
                    .find(|h| h.name.eq_ignore_ascii_case("content-length"));
                let length =
                    length.and_then(|h| std::str::from_utf8(h.value).ok()?.trim().parse().ok());
                return Ok((status, length, bytes.split_off(end)));
            }
            bytes.drain(..end);
            continue;
        }
        if bytes.len() > ANSWER {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a head without end",
            ));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
