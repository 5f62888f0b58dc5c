//! HTTP/1.1 of the coordinator's own: one connection, one request, one answer whose head is read here.

use crate::transport::http::{Part, Responses};
use crate::transport::{TlsConfig, exchange, tls};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

pub(super) use crate::transport::exchange::Stream;

/// Bytes of a head that are read.
const HEAD: usize = 16 * 1024;

/// Connects, over TLS with the system's certificates if it is wanted: whoever is asked here is not the target.
///
/// # Errors
/// In words, with the address.
pub(super) async fn dial(host: &str, port: u16, secure: bool) -> Result<Box<dyn Stream>, String> {
    let failed = |error: tls::TlsError| format!("{host}: {error}");
    let config = TlsConfig::default();
    let tls = match secure {
        false => None,
        true => {
            let name = tls::server_name(&config, host).map_err(failed)?;
            Some((tls::client_config(&config).map_err(failed)?, name))
        }
    };
    exchange::dial(host, port, tls).await
}

/// What stands in `Host`.
pub(super) fn authority(host: &str, port: u16, secure: bool) -> String {
    let usual = if secure { 443 } else { 80 };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    match port == usual {
        true => host,
        false => format!("{host}:{port}"),
    }
}

/// Reads the whole of an answer, whose body is so many bytes at most: its status, and that.
///
/// # Errors
/// In words.
pub(super) async fn whole(
    stream: &mut (impl AsyncRead + Unpin),
    most: u64,
) -> Result<(u16, Vec<u8>), String> {
    let mut responses = Responses::default();
    let (mut status, mut body) = (None, Vec::new());
    loop {
        let mut bytes = Vec::with_capacity(HEAD);
        let read = stream.read_buf(&mut bytes).await;
        if read.map_err(|error| format!("no answer: {error}"))? == 0 {
            let whole = status.filter(|_| responses.may_end());
            let status = whole.ok_or("the answer ended before it was whole")?;
            return Ok((status, body));
        }
        let mut bytes = bytes.as_slice();
        while let Some(part) = responses
            .next(&mut bytes, HEAD, |_, _| {})
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

/// The head of an answer.
pub(super) struct Head {
    pub status: u16,
    /// Of its body, where it says so.
    pub length: Option<usize>,
    /// Whether its body comes in chunks.
    pub chunked: bool,
    /// What came of the body with it.
    pub rest: Vec<u8>,
}

/// Reads the head of the answer.
pub(super) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let nonsense = |_| io::Error::new(io::ErrorKind::InvalidData, "not HTTP");
    let mut bytes = Vec::new();
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut response = httparse::Response::new(&mut headers);
        if let httparse::Status::Complete(end) = response.parse(&bytes).map_err(nonsense)? {
            let status = response.code.unwrap_or(0);
            // 100 and its like come before the answer.
            if (200..=599).contains(&status) {
                let value = |name: &str| {
                    let header = response
                        .headers
                        .iter()
                        .find(|h| h.name.eq_ignore_ascii_case(name))?;
                    std::str::from_utf8(header.value).ok().map(str::trim)
                };
                let length = value("content-length").and_then(|text| text.parse().ok());
                let chunked = value("transfer-encoding")
                    .is_some_and(|text| text.to_ascii_lowercase().ends_with("chunked"));
                return Ok(Head {
                    status,
                    length,
                    chunked,
                    rest: bytes.split_off(end),
                });
            }
            bytes.drain(..end);
            continue;
        }
        if bytes.len() > HEAD {
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
