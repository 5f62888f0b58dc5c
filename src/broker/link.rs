//! A connection to a broker: a socket, with TLS where it is wanted, and what was read of it and not used.

use super::{BrokerError, Endpoint};
use crate::transport::TlsConfig;
use crate::transport::tls::client_config;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes asked for at once.
const READ: usize = 16 << 10;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection.
pub(super) struct Link {
    stream: Box<dyn Bytes>,
    /// What was read and not used.
    pub buffer: Vec<u8>,
}

impl Link {
    /// Connects, without TLS yet.
    pub async fn connect(endpoint: &Endpoint) -> Result<Link, BrokerError> {
        let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        socket.set_nodelay(true)?;
        Ok(Link {
            stream: Box::new(socket),
            buffer: Vec::new(),
        })
    }

    /// The same connection with TLS from here on. Nothing of what the server says by TLS may have been read.
    pub async fn secure(self, tls: &TlsConfig, endpoint: &Endpoint) -> Result<Link, BrokerError> {
        let failed = |e: &dyn std::fmt::Display| BrokerError::Tls(e.to_string());
        if !self.buffer.is_empty() {
            return Err(BrokerError::Protocol("it said too much before TLS".into()));
        }
        let mut client = (*client_config(tls).map_err(|e| failed(&e))?).clone();
        // This is no HTTP.
        client.alpn_protocols.clear();
        let name = tls.server_name.as_ref().unwrap_or(&endpoint.host);
        let name = ServerName::try_from(name.clone()).map_err(|e| failed(&e))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = connector.connect(name, self.stream).await;
        Ok(Link {
            stream: Box::new(stream.map_err(|e| failed(&e))?),
            buffer: self.buffer,
        })
    }

    /// Its halves, and what was read and not used.
    pub fn split(
        self,
    ) -> (
        impl AsyncRead + Send + Unpin,
        impl AsyncWrite + Send + Unpin,
        Vec<u8>,
    ) {
        let (reader, writer) = tokio::io::split(self.stream);
        (reader, writer, self.buffer)
    }

    /// Writes all of it.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), BrokerError> {
        write(&mut self.stream, bytes).await
    }

    /// Reads on. The end is an error.
    pub async fn read(&mut self) -> Result<(), BrokerError> {
        read_on(&mut self.stream, &mut self.buffer).await
    }
}

/// Writes all of it, and out.
pub(super) async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), BrokerError> {
    writer.write_all(bytes).await?;
    Ok(writer.flush().await?)
}

/// Reads what is there onto the end of a buffer. The end of the stream is an error.
pub(super) async fn read_on(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<(), BrokerError> {
    buffer.reserve(READ);
    match reader.read_buf(buffer).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        _ => Ok(()),
    }
}
