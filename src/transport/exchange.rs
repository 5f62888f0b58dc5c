//! One request and its answer, on a connection of their own: for whoever is asked beside the load. An ordinary task's work.

use super::http::{Part, Responses};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes of a head that are read.
const HEAD: usize = 16 * 1024;

/// What a request goes over.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How TLS is spoken, and to whom.
pub type Tls = (Arc<ClientConfig>, ServerName<'static>);

/// Connects, over TLS if it is wanted.
///
/// # Errors
/// In words, with the address.
pub async fn dial(host: &str, port: u16, tls: Option<Tls>) -> Result<Box<dyn Stream>, String> {
    let tcp = TcpStream::connect((host, port)).await;
    let tcp = tcp.map_err(|error| format!("{host}:{port}: {error}"))?;
    let Some((config, name)) = tls else {
        return Ok(Box::new(tcp));
    };
    let stream = TlsConnector::from(config).connect(name, tcp).await;
    Ok(Box::new(
        stream.map_err(|error| format!("{host}: {error}"))?,
    ))
}

/// Makes a request, and reads the answer as far as its status.
///
/// # Errors
/// In words.
pub async fn status(stream: &mut (impl Stream + ?Sized), request: &[u8]) -> Result<u16, String> {
    let lost = |error: std::io::Error| format!("no answer: {error}");
    stream.write_all(request).await.map_err(lost)?;
    stream.flush().await.map_err(lost)?;
    let mut responses = Responses::default();
    loop {
        let mut bytes = Vec::with_capacity(HEAD);
        if stream.read_buf(&mut bytes).await.map_err(lost)? == 0 {
            return Err("the answer ended before it was whole".into());
        }
        let part = responses.next(&mut bytes.as_slice(), HEAD, |_, _| {});
        if let Some(Part::Head(head)) = part.map_err(|error| error.to_string())? {
            return Ok(head.status);
        }
    }
}
