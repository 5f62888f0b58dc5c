//! A connection to a NATS server, from the first byte to being let in.

use super::wire::{Op, next};
use crate::broker::BrokerError;
use crate::broker::config::{Endpoint, Login, NatsConfig};
use crate::transport::tls::client_config;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes asked for at once.
const READ: usize = 16 << 10;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// A connection, let in.
pub struct Link {
    stream: Box<dyn Bytes>,
    /// What was read and not used.
    pub buffer: Vec<u8>,
}

impl Link {
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
        self.stream.write_all(bytes).await?;
        Ok(self.stream.flush().await?)
    }

    /// Reads on. The end is an error.
    pub async fn read(&mut self) -> Result<(), BrokerError> {
        read_on(&mut self.stream, &mut self.buffer).await
    }
}

/// Reads what is there onto the end of a buffer. The end of the stream is an error.
pub async fn read_on(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
) -> Result<(), BrokerError> {
    buffer.reserve(READ);
    match reader.read_buf(buffer).await? {
        0 => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        _ => Ok(()),
    }
}

/// Connects and logs in; returns once the server has said that we are in.
pub async fn connect(config: &NatsConfig, endpoint: &Endpoint) -> Result<Link, BrokerError> {
    let socket = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
    socket.set_nodelay(true)?;
    let mut link = Link {
        stream: Box::new(socket),
        buffer: Vec::new(),
    };
    let info = link.info().await?;
    if endpoint.tls || info["tls_required"] == true {
        if !link.buffer.is_empty() {
            return Err(BrokerError::Protocol("more than INFO before TLS".into()));
        }
        link.stream = secure(config, endpoint, link.stream).await?;
    }
    let line = hello(&config.login, &info)?;
    link.write(format!("CONNECT {line}\r\nPING\r\n").as_bytes())
        .await?;
    loop {
        while let Some((op, length)) = next(&link.buffer)? {
            let admitted = match op {
                Op::Pong => true,
                Op::Err(what) => return Err(BrokerError::Refused(what.to_owned())),
                _ => false,
            };
            link.buffer.drain(..length);
            if admitted {
                return Ok(link);
            }
        }
        link.read().await?;
    }
}

impl Link {
    async fn info(&mut self) -> Result<Value, BrokerError> {
        loop {
            if let Some((op, length)) = next(&self.buffer)? {
                let Op::Info(text) = op else {
                    return Err(BrokerError::Protocol("it does not begin with INFO".into()));
                };
                let info = serde_json::from_slice(text)
                    .map_err(|e| BrokerError::Protocol(format!("INFO: {e}")))?;
                self.buffer.drain(..length);
                return Ok(info);
            }
            self.read().await?;
        }
    }
}

async fn secure(
    config: &NatsConfig,
    endpoint: &Endpoint,
    stream: Box<dyn Bytes>,
) -> Result<Box<dyn Bytes>, BrokerError> {
    let failed = |e: &dyn std::fmt::Display| BrokerError::Tls(e.to_string());
    let mut client = (*client_config(&config.tls).map_err(|e| failed(&e))?).clone();
    // This is no HTTP.
    client.alpn_protocols.clear();
    let name = config.tls.server_name.as_ref().unwrap_or(&endpoint.host);
    let name = ServerName::try_from(name.clone()).map_err(|e| failed(&e))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
    let stream = connector
        .connect(name, stream)
        .await
        .map_err(|e| failed(&e))?;
    Ok(Box::new(stream))
}

/// What we say of ourselves.
fn hello(login: &Login, info: &Value) -> Result<Value, BrokerError> {
    let mut hello = json!({
        "verbose": false,
        "pedantic": false,
        "lang": "rust",
        "name": "squall",
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": 1,
        "headers": true,
        "no_responders": true,
        "tls_required": false,
    });
    match login {
        Login::Nobody => {}
        Login::Token(token) => hello["auth_token"] = token.as_str().into(),
        Login::Password(user, password) => {
            hello["user"] = user.as_str().into();
            hello["pass"] = password.as_str().into();
        }
        Login::Key { jwt, seed } => {
            let nonce = info["nonce"].as_str().unwrap_or_default();
            let (public, pair) = key(seed)
                .ok_or_else(|| BrokerError::Refused("the key's seed cannot be read".into()))?;
            hello["sig"] = URL_SAFE_NO_PAD.encode(pair.sign(nonce.as_bytes())).into();
            match jwt.is_empty() {
                true => hello["nkey"] = public.into(),
                false => hello["jwt"] = jwt.as_str().into(),
            }
        }
    }
    Ok(hello)
}

/// The public name and the pair of a user's key, of its seed as NATS writes it: base 32 of two bytes that say what it is,
/// 32 of the seed, and a check of two.
pub fn key(seed: &str) -> Option<(String, Ed25519KeyPair)> {
    use ring::signature::KeyPair;
    let bytes = base32(seed)?;
    let (body, check) = bytes.split_at_checked(34)?;
    // `S` (18 << 3) with the kind behind it: `U` (20) is a user.
    let kind = (body[0] & 7) << 5 | body[1] >> 3;
    if check != crc16(body).to_le_bytes() || body[0] & 0xf8 != 18 << 3 || kind != 20 << 3 {
        return None;
    }
    let pair = Ed25519KeyPair::from_seed_unchecked(&body[2..]).ok()?;
    let mut public = vec![kind];
    public.extend_from_slice(pair.public_key().as_ref());
    public.extend_from_slice(&crc16(&public).to_le_bytes());
    Some((to_base32(&public), pair))
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::new());
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|a| *a == byte)? as u32;
        bits = (bits & 0xff) << 5 | digit;
        held += 5;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    Some(out)
}

fn to_base32(bytes: &[u8]) -> String {
    let (mut bits, mut held, mut out) = (0u32, 0, String::new());
    for byte in bytes {
        bits = (bits & 0x1f) << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(ALPHABET[(bits >> held & 31) as usize] as char);
        }
    }
    if held > 0 {
        out.push(ALPHABET[(bits << (5 - held) & 31) as usize] as char);
    }
    out
}

/// CRC-16/XMODEM, which NATS checks its keys by.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            crc << 1 ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_public_key() {
        // The example in the documentation of NATS' nkeys.
        let seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";
        let (public, _) = key(seed).unwrap();
        assert_eq!(
            public,
            "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
        );
        let wrong = seed.replace("CSSL", "CSSM");
        for no in ["", "SUA", "not base 32", wrong.as_str(), public.as_str()] {
            assert!(key(no).is_none(), "{no}");
        }
    }
}
