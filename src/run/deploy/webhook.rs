//! An HTTP/1.1 request to whoever deploys. One answer is read; a redirection is not followed, and is no success.

use super::{Carried, Ending, readable};
use crate::plan::Webhook;
use crate::transport::http::{Part, Responses};
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

/// What a request goes over.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Makes the request.
pub(super) async fn call(hook: &Webhook) -> Carried {
    match connect(hook).await {
        Ok(stream) => ask(stream, hook).await,
        Err(why) => Carried::new(Ending::NotBegun(why), String::new()),
    }
}

/// Makes the request, and returns the status and the whole body of the answer, which is so many bytes at most.
///
/// # Errors
/// Why there is no answer.
pub(in super::super) async fn fetch(hook: &Webhook, most: u64) -> Result<(u16, Vec<u8>), String> {
    let mut stream = connect(hook).await?;
    let lost = |error: io::Error| format!("no answer: {error}");
    stream
        .write_all(request(hook).as_bytes())
        .await
        .map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut responses = Responses::default();
    let (mut status, mut body) = (None, Vec::new());
    loop {
        let mut bytes = Vec::with_capacity(ANSWER);
        if stream.read_buf(&mut bytes).await.map_err(lost)? == 0 {
            let whole = status.filter(|_| responses.may_end());
            let status = whole.ok_or("the answer ended before it was whole")?;
            return Ok((status, body));
        }
        let mut bytes = bytes.as_slice();
        while let Some(part) = responses
            .next(&mut bytes, ANSWER, |_, _| {})
            .map_err(|error| error.to_string())?
        {
            match part {
                Part::Head(head) => status = Some(head.status),
                Part::Body(more) => body.extend_from_slice(more),
                Part::End => return status.map(|s| (s, body)).ok_or("no answer".into()),
            }
        }
        if body.len() as u64 > most {
            return Err(format!("the answer is over {most} bytes"));
        }
    }
}

async fn connect(hook: &Webhook) -> Result<Box<dyn Stream>, String> {
    let tcp = TcpStream::connect((hook.host.as_str(), hook.port))
        .await
        .map_err(|error| format!("{}:{}: {error}", hook.host, hook.port))?;
    if !hook.tls {
        return Ok(Box::new(tcp));
    }
    // The system's certificates: who is asked here is not the target.
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
        Ok(stream) => Ok(Box::new(stream)),
        Err(why) => Err(format!("{}: {why}", hook.host)),
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
