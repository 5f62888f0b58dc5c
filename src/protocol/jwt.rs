//! JSON Web Tokens in the compact form (RFC 7519, RFC 7515): signed for load tests, and checked where the secret is known.
//!
//! Knows no clock: whoever signs writes the claims, times included, and whoever checks compares them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest token that is looked at, in bytes.
const MAX: usize = 16 * 1024;

/// How a token is signed (RFC 7518, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256, by a shared secret.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, by a private key.
    Rs256,
    /// ECDSA with P-256 and SHA-256, by a private key.
    Es256,
}

impl JwtAlgorithm {
    /// As the header of a token names it.
    pub fn name(self) -> &'static str {
        match self {
            JwtAlgorithm::Hs256 => "HS256",
            JwtAlgorithm::Rs256 => "RS256",
            JwtAlgorithm::Es256 => "ES256",
        }
    }
}

enum Key {
    Secret(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

/// Signs tokens.
pub struct JwtSigner {
    key: Key,
    /// The encoded header with the dot behind it.
    head: String,
    random: SystemRandom,
}

impl std::fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtSigner").finish_non_exhaustive()
    }
}

impl JwtSigner {
    /// Signs with a secret, or with a private key as PEM text (PKCS#8, or PKCS#1 for RSA). `kid` names the key in the header.
    ///
    /// # Errors
    /// Why this key cannot sign so; never anything of the key itself.
    pub fn new(algorithm: JwtAlgorithm, key: &[u8], kid: Option<&str>) -> Result<Self, String> {
        let no = |what: &str, why: String| format!("this is no {what} that can sign: {why}");
        let key = match algorithm {
            JwtAlgorithm::Hs256 => Key::Secret(hmac::Key::new(hmac::HMAC_SHA256, key)),
            JwtAlgorithm::Rs256 => {
                let (label, der) = pem(key)?;
                let pair = match label.as_str() {
                    "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
                    _ => RsaKeyPair::from_pkcs8(&der),
                };
                let pair = pair.map_err(|e| no("RSA key", e.to_string()))?;
                Key::Rsa(Box::new(pair))
            }
            JwtAlgorithm::Es256 => {
                let (label, der) = pem(key)?;
                if label == "EC PRIVATE KEY" {
                    return Err(
                        "the key is not in PKCS#8; `openssl pkcs8 -topk8 -nocrypt` makes it so"
                            .into(),
                    );
                }
                let random = SystemRandom::new();
                let pair =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der, &random)
                        .map_err(|e| no("P-256 key", e.to_string()))?;
                Key::Ecdsa(Box::new(pair))
            }
        };
        let mut header = Map::new();
        header.insert("alg".into(), algorithm.name().into());
        header.insert("typ".into(), "JWT".into());
        if let Some(kid) = kid {
            header.insert("kid".into(), kid.into());
        }
        let mut head = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        head.push('.');
        Ok(JwtSigner {
            key,
            head,
            random: SystemRandom::new(),
        })
    }

    /// The token with these claims, a JSON object. Empty where there is no randomness for ECDSA.
    pub fn sign(&self, claims: &str) -> String {
        let mut token = self.head.clone();
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signed = match &self.key {
            Key::Secret(key) => Ok(hmac::sign(key, token.as_bytes()).as_ref().to_vec()),
            Key::Rsa(pair) => {
                let mut signed = vec![0; pair.public().modulus_len()];
                pair.sign(
                    &RSA_PKCS1_SHA256,
                    &self.random,
                    token.as_bytes(),
                    &mut signed,
                )
                .map(|()| signed)
            }
            Key::Ecdsa(pair) => pair
                .sign(&self.random, token.as_bytes())
                .map(|signed| signed.as_ref().to_vec()),
        };
        match signed {
            Ok(signed) => {
                token.push('.');
                URL_SAFE_NO_PAD.encode_string(signed, &mut token);
                token
            }
            Err(_) => String::new(),
        }
    }
}

/// Label and contents of the private key in a PEM text.
fn pem(text: &[u8]) -> Result<(String, Vec<u8>), String> {
    let none = || "there is no private key in PEM form in it".to_owned();
    let text = std::str::from_utf8(text).map_err(|_| none())?;
    let mut label = None;
    let mut body = String::new();
    for line in text.lines().map(str::trim) {
        let mark = |edge: &str| {
            let name = line.strip_prefix("-----")?.strip_prefix(edge)?;
            Some(name.strip_suffix("-----")?.trim().to_owned())
        };
        if let Some(name) = mark("BEGIN").filter(|name| name.ends_with("PRIVATE KEY")) {
            label = Some(name);
        } else if mark("END").is_some() {
            if label.is_some() {
                break;
            }
        } else if label.is_some() {
            body.push_str(line);
        }
    }
    let label = label.ok_or_else(none)?;
    if label.starts_with("ENCRYPTED") {
        return Err("the key is encrypted".into());
    }
    let der = STANDARD.decode(body).map_err(|_| none())?;
    Ok((label, der))
}

/// The claims of a token that this secret signed with HMAC and SHA-256. Times in it are not looked at.
pub fn verified(secret: &[u8], token: &str) -> Option<Map<String, Value>> {
    let (head, claims, signed) = parts(token)?;
    let header = object(head)?;
    if header.get("alg").and_then(Value::as_str) != Some("HS256") {
        return None;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let signed = URL_SAFE_NO_PAD.decode(signed).ok()?;
    let text = &token[..head.len() + 1 + claims.len()];
    hmac::verify(&key, text.as_bytes(), &signed).ok()?;
    object(claims)
}

/// When a token says that it expires, in seconds since 1970 (its `exp`); nobody's signature is looked at. `None`: it is no
/// such token, or says nothing.
pub fn expiry(token: &str) -> Option<u64> {
    let (head, claims, _) = parts(token)?;
    object(head)?;
    exp(&object(claims)?)
}

/// The `exp` of claims, in whole seconds since 1970.
pub fn exp(claims: &Map<String, Value>) -> Option<u64> {
    let exp = claims.get("exp")?;
    exp.as_u64()
        .or_else(|| exp.as_f64().map(|seconds| seconds.max(0.0) as u64))
}

fn parts(token: &str) -> Option<(&str, &str, &str)> {
    let mut parts = token.split('.');
    let (head, claims, signed) = (parts.next()?, parts.next()?, parts.next()?);
    (token.len() <= MAX && parts.next().is_none()).then_some((head, claims, signed))
}

fn object(encoded: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    match serde_json::from_slice(&bytes).ok()? {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
