//! The way through an HTTP proxy: CONNECT, and what may be believed of its answer (RFC 9110 §9.3.6).

use super::config::{Endpoint, Proxy};
use std::fmt;

/// Headers of an answer that are accepted.
const MAX_HEADERS: usize = 64;
/// Bytes kept of a refusal's reason.
const MAX_TEXT: usize = 256;

/// Why there is no way through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyError {
    /// Another status than one of success.
    Status(u16, String),
    /// Not an answer to CONNECT; says what.
    Invalid(&'static str),
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProxyError::Status(code, reason) => write!(f, "status {code} {reason}"),
            ProxyError::Invalid(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ProxyError {}

/// Asks a proxy for the way to an address.
pub fn request(proxy: &Proxy, to: &Endpoint) -> Vec<u8> {
    // The port is always said here.
    let authority = match to.host.contains(':') {
        true => format!("[{}]:{}", to.host, to.port),
        false => format!("{}:{}", to.host, to.port),
    };
    let mut text = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = &proxy.authorization {
        text.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Reads the answer at the start of `bytes`. True: the way is free. False: it is not complete yet.
///
/// # Errors
/// Why it never will be.
pub fn answer(bytes: &[u8], max_header: usize) -> Result<bool, ProxyError> {
    let mut rest = bytes;
    loop {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(rest);
        let Ok(parsed) = parsed else {
            return Err(ProxyError::Invalid("the answer to CONNECT is not HTTP"));
        };
        let httparse::Status::Complete(end) = parsed else {
            return match bytes.len() >= max_header {
                true => Err(ProxyError::Invalid("the answer to CONNECT is too large")),
                false => Ok(false),
            };
        };
        match response.code.unwrap_or_default() {
            100..=199 => rest = &rest[end..],
            200..=299 if rest.len() > end => {
                // Whoever is there waits for us to speak.
                let what = "there is more than the answer to CONNECT";
                return Err(ProxyError::Invalid(what));
            }
            200..=299 => return Ok(true),
            code => {
                let reason = response.reason.unwrap_or_default();
                let reason = &reason[..reason.floor_char_boundary(MAX_TEXT)];
                return Err(ProxyError::Status(code, reason.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_asked_for_by_host_and_port() {
        let to = |host: &str, port| Endpoint {
            tls: false,
            host: host.into(),
            port,
        };
        let proxy = |authorization: Option<&str>| Proxy {
            host: "p".into(),
            port: 1,
            authorization: authorization.map(str::to_owned),
        };
        assert_eq!(
            request(&proxy(None), &to("example.org", 443)),
            b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"
        );
        assert_eq!(
            request(&proxy(Some("Basic eA==")), &to("::1", 80)),
            b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nProxy-Authorization: Basic eA==\r\n\r\n"
        );
    }

    #[test]
    fn only_a_status_of_success_is_a_way() {
        let invalid = |what| Err(ProxyError::Invalid(what));
        for (bytes, expected) in [
            ("HTTP/1.1 200 Connection established\r\n\r\n", Ok(true)),
            ("HTTP/1.0 200 OK\r\nX: y\r\n\r\n", Ok(true)),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 \r\n\r\n",
                Ok(true),
            ),
            ("", Ok(false)),
            ("HTTP/1.1 200 OK\r\n", Ok(false)),
            (
                "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n<html>",
                Err(ProxyError::Status(
                    407,
                    "Proxy Authentication Required".into(),
                )),
            ),
            (
                "HTTP/1.1 301 Moved\r\n\r\n",
                Err(ProxyError::Status(301, "Moved".into())),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\nx",
                invalid("there is more than the answer to CONNECT"),
            ),
            ("SSH-2.0\r\n", invalid("the answer to CONNECT is not HTTP")),
        ] {
            assert_eq!(answer(bytes.as_bytes(), 1000), expected, "{bytes}");
        }
        let long = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(1000));
        assert_eq!(
            answer(long.as_bytes(), 1000),
            invalid("the answer to CONNECT is too large")
        );
    }
}
