use super::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

/// A CA and the PEM of what it signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    /// Certificate chain and key for a name.
    fn sign(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_string()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (
            certificate.pem().into_bytes(),
            key.serialize_pem().into_bytes(),
        )
    }

    fn server(&self, name: &str, demand_client: bool) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let (chain, key) = self.sign(name);
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if demand_client {
            let roots = Arc::new(roots(Some(&self.pem())).unwrap());
            builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .unwrap(),
            )
        } else {
            builder.with_no_client_auth()
        };
        let chain = certificates("server", &chain).unwrap();
        Arc::new(
            builder
                .with_single_cert(chain, PrivateKeyDer::from_pem_slice(&key).unwrap())
                .unwrap(),
        )
    }
}

/// Both sides in memory, to the end of the handshake or the first error.
fn shake(
    config: &TlsConfig,
    host: &str,
    server: Arc<ServerConfig>,
) -> Result<ClientConnection, rustls::Error> {
    let name = server_name(config, host).unwrap();
    meet(client_config(config).unwrap(), name, server)
}

fn meet(
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
    server: Arc<ServerConfig>,
) -> Result<ClientConnection, rustls::Error> {
    let mut client = ClientConnection::new(client, name)?;
    let mut server = ServerConnection::new(server)?;
    for _ in 0..8 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(client)
}

#[test]
fn only_the_given_authority_is_trusted() {
    let (ours, other) = (Authority::new(), Authority::new());
    let config = TlsConfig {
        ca: Some(ours.pem()),
        ..TlsConfig::default()
    };
    assert!(shake(&config, "localhost", ours.server("localhost", false)).is_ok());
    assert!(shake(&config, "127.0.0.1", ours.server("127.0.0.1", false)).is_ok());
    assert!(shake(&config, "localhost", other.server("localhost", false)).is_err());
    assert!(shake(&config, "localhost", ours.server("elsewhere", false)).is_err());
}

#[test]
fn the_configured_name_counts() {
    let ours = Authority::new();
    let config = TlsConfig {
        ca: Some(ours.pem()),
        server_name: Some("inner.example".into()),
        ..TlsConfig::default()
    };
    assert!(shake(&config, "127.0.0.1", ours.server("inner.example", false)).is_ok());
    assert!(shake(&config, "127.0.0.1", ours.server("127.0.0.1", false)).is_err());
    assert!(matches!(
        server_name(&TlsConfig::default(), "not a name"),
        Err(TlsError::Name(_))
    ));
}

#[test]
fn every_connection_pays_for_a_whole_handshake() {
    let ours = Authority::new();
    let config = TlsConfig {
        ca: Some(ours.pem()),
        ..TlsConfig::default()
    };
    let server = ours.server("localhost", false);
    let client = client_config(&config).unwrap();
    let name = server_name(&config, "localhost").unwrap();
    for _ in 0..3 {
        let met = meet(client.clone(), name.clone(), server.clone()).unwrap();
        assert_eq!(met.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn the_insecure_switch_takes_any_certificate() {
    let (other, config) = (
        Authority::new(),
        TlsConfig {
            insecure: true,
            ..TlsConfig::default()
        },
    );
    assert!(shake(&config, "localhost", other.server("elsewhere", false)).is_ok());
}

#[test]
fn a_client_certificate_is_shown() {
    let ours = Authority::new();
    let anonymous = TlsConfig {
        ca: Some(ours.pem()),
        ..TlsConfig::default()
    };
    assert!(shake(&anonymous, "localhost", ours.server("localhost", true)).is_err());
    let known = TlsConfig {
        client: Some(ours.sign("client")),
        ..anonymous
    };
    assert!(shake(&known, "localhost", ours.server("localhost", true)).is_ok());
}

#[test]
fn what_cannot_be_used_is_said() {
    let ours = Authority::new();
    let (chain, key) = ours.sign("client");
    let (_, other_key) = ours.sign("client");
    let error = |config: TlsConfig| client_config(&config).unwrap_err();
    let with_ca = |ca: &[u8]| TlsConfig {
        ca: Some(ca.into()),
        ..TlsConfig::default()
    };
    let with_client = |chain: &[u8], key: &[u8]| TlsConfig {
        client: Some((chain.into(), key.into())),
        ..with_ca(&ours.pem())
    };
    assert!(matches!(error(with_ca(b"")), TlsError::Empty("CA file")));
    assert!(matches!(
        error(with_ca(b"rubbish")),
        TlsError::Empty("CA file")
    ));
    assert!(matches!(error(with_ca(&key)), TlsError::Empty("CA file")));
    assert!(matches!(
        error(with_ca(
            b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"
        )),
        TlsError::Pem("CA file", _)
    ));
    assert!(matches!(
        error(with_client(&chain, b"")),
        TlsError::Pem("client key", _)
    ));
    assert!(matches!(
        error(with_client(b"", &key)),
        TlsError::Empty("client certificate")
    ));
    assert!(matches!(
        error(with_client(&chain, &other_key)),
        TlsError::Rejected(_)
    ));
}
