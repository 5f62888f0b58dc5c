//! The gateway's end of `wss://`.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::{Certificate, GatewayError};

/// Makes a certificate for `localhost`, `127.0.0.1` and `::1`, signed by itself and never stored.
///
/// Returns the certificate and its private key as PEM; clients trust the certificate as their CA.
///
/// # Errors
/// [`GatewayError::Tls`] when no key could be made.
pub fn self_signed() -> Result<(String, String), GatewayError> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| GatewayError::Tls(format!("cannot make a certificate: {error}")))?;
    Ok((made.cert.pem(), made.signing_key.serialize_pem()))
}

/// The acceptor of a certificate.
pub(super) fn acceptor(certificate: &Certificate) -> Result<TlsAcceptor, GatewayError> {
    let chain = CertificateDer::pem_slice_iter(certificate.cert.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| GatewayError::Tls(format!("cannot read the certificate: {error}")))?;
    if chain.is_empty() {
        return Err(GatewayError::Tls(
            "there is no certificate in the PEM".into(),
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes())
        .map_err(|error| GatewayError::Tls(format!("cannot read the private key: {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| GatewayError::Tls(format!("cannot use the certificate: {error}")))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serves_what_it_made_itself() {
        let (cert, key) = self_signed().unwrap();
        assert!(acceptor(&Certificate { cert, key }).is_ok());
    }

    #[test]
    fn says_what_is_wrong_with_a_certificate() {
        let (cert, key) = self_signed().unwrap();
        let (_, other) = self_signed().unwrap();
        for (cert, key, word) in [
            (String::new(), key.clone(), "no certificate"),
            (cert.clone(), String::new(), "private key"),
            (cert, other, "use the certificate"),
        ] {
            let error = acceptor(&Certificate { cert, key }).err().unwrap();
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
