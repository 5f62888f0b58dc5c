//! Being let in by a NATS server: from its first line to its word that we are.

use super::wire::{Op, next};
use crate::broker::link::Link;
use crate::broker::{BrokerError, Endpoint, Login, NatsConfig};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};

/// Connects and logs in; returns once the server has said that we are in.
pub async fn admitted(config: &NatsConfig, endpoint: &Endpoint) -> Result<Link, BrokerError> {
    let mut link = Link::connect(endpoint).await?;
    let info = info(&mut link).await?;
    if endpoint.tls || info["tls_required"] == true {
        link = link.secure(&config.tls, endpoint).await?;
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

async fn info(link: &mut Link) -> Result<Value, BrokerError> {
    loop {
        if let Some((op, length)) = next(&link.buffer)? {
            let Op::Info(text) = op else {
                return Err(BrokerError::Protocol("it does not begin with INFO".into()));
            };
            let info = serde_json::from_slice(text)
                .map_err(|e| BrokerError::Protocol(format!("INFO: {e}")))?;
            link.buffer.drain(..length);
            return Ok(info);
        }
        link.read().await?;
    }
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
