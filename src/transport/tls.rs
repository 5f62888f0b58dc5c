//! The TLS side of `wss`: one client configuration for all of a shard's connections.

use super::config::TlsConfig;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::fmt;
use std::sync::Arc;

/// Why TLS cannot be set up.
#[derive(Debug)]
pub enum TlsError {
    /// Not PEM, or not what was expected in it; says of what.
    Pem(&'static str, pem::Error),
    /// No certificate in it; says in what.
    Empty(&'static str),
    /// The system has no trusted certificates.
    NoRoots,
    /// Refused by the TLS library: a key that does not match, an unusable certificate.
    Rejected(rustls::Error),
    /// Neither a DNS name nor an address.
    Name(String),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsError::Pem(what, error) => write!(f, "{what}: {error}"),
            TlsError::Empty(what) => write!(f, "{what}: no certificate in it"),
            TlsError::NoRoots => {
                f.write_str("the system has no trusted certificates; give a CA file")
            }
            TlsError::Rejected(error) => error.fmt(f),
            TlsError::Name(name) => write!(f, "`{name}` is neither a DNS name nor an address"),
        }
    }
}

impl std::error::Error for TlsError {}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        TlsError::Rejected(error)
    }
}

/// The configuration for all connections: TLS 1.2 and 1.3, `http/1.1` by ALPN, no session resumed.
///
/// Reads the system's certificates when the configuration names no CA.
///
/// # Errors
/// Certificates or keys that cannot be read or used.
pub fn client_config(config: &TlsConfig) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = if config.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
    } else {
        builder.with_root_certificates(roots(config.ca.as_deref())?)
    };
    let mut client = match &config.client {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let key =
                PrivateKeyDer::from_pem_slice(key).map_err(|e| TlsError::Pem("client key", e))?;
            builder.with_client_auth_cert(certificates("client certificate", chain)?, key)?
        }
    };
    // WebSocket over HTTP/2 is another protocol; servers that prefer h2 must know that it is not spoken.
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Connections stand for clients apart, which share no tickets: resuming one's session for another would
    // spare the target most of what its handshakes cost, in a reconnect storm above all.
    client.resumption = Resumption::disabled();
    Ok(Arc::new(client))
}

/// The name to verify and to send as SNI: the configured one, or else the host.
///
/// # Errors
/// A name that is neither a DNS name nor an address.
pub fn server_name(config: &TlsConfig, host: &str) -> Result<ServerName<'static>, TlsError> {
    let name = config.server_name.as_deref().unwrap_or(host);
    ServerName::try_from(name.to_string()).map_err(|_| TlsError::Name(name.into()))
}

fn roots(ca: Option<&[u8]>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(ca) => {
            for certificate in certificates("CA file", ca)? {
                roots.add(certificate)?;
            }
        }
        None => {
            // One odd file among the system's certificates is no reason not to use the others.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots);
            }
        }
    }
    Ok(roots)
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|e| TlsError::Pem(what, e))?;
    if list.is_empty() {
        Err(TlsError::Empty(what))
    } else {
        Ok(list)
    }
}

/// Believes any certificate, for targets with none worth the name; only by the explicit switch.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
