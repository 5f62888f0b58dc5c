//! What a well-behaved gateway does.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;

fn upgrade(change: impl Fn(&str) -> Option<String>) -> String {
    let lines = [
        "GET /ws HTTP/1.1",
        "Host: here",
        "Upgrade: websocket",
        "Connection: keep-alive, Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let mut request = String::new();
    for line in lines {
        if let Some(line) = change(line) {
            request.push_str(&line);
            request.push_str("\r\n");
        }
    }
    request + "\r\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_plain_requests() {
    let gateway = Gateway::start(brief()).await;
    for (path, status) in [
        ("/healthz", "200"),
        ("/stats", "200"),
        ("/", "426"),
        ("/ws?x=1", "426"),
        ("/nothing", "404"),
    ] {
        let answer = gateway.get(path).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{path}: {answer}"
        );
    }
    let post = gateway
        .http("POST /ws HTTP/1.1\r\nHost: here\r\n\r\n")
        .await;
    assert!(post.starts_with("HTTP/1.1 405 "), "{post}");
    let noise = gateway.http("\x01\x02\r\n\r\n").await;
    assert!(noise.starts_with("HTTP/1.1 400 "), "{noise}");
    let long = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(16 * 1024));
    let too_long = gateway.http(&long).await;
    assert!(too_long.starts_with("HTTP/1.1 431 "), "{too_long}");
    let stats = gateway.stop().await;
    assert_eq!(stats.refused, 6);
    assert_eq!(stats.refused_by_status[&426], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_the_upgrade() {
    let gateway = Gateway::start(brief()).await;
    type Change = fn(&str) -> Option<String>;
    let table: [(&str, Change); 7] = [
        ("400", |line| {
            (!line.starts_with("Host")).then(|| line.into())
        }),
        ("400", |line| {
            Some(line.replace("keep-alive, Upgrade", "keep-alive"))
        }),
        ("400", |line| (!line.contains("Key")).then(|| line.into())),
        ("400", |line| {
            Some(line.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="))
        }),
        ("400", |line| Some(line.replace("HTTP/1.1", "HTTP/1.0"))),
        ("426", |line| Some(line.replace("13", "12"))),
        ("404", |line| Some(line.replace("/ws", "/else"))),
    ];
    for (status, change) in table {
        let answer = gateway.http(&upgrade(change)).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
    }
    // The sample handshake of RFC 6455, section 1.3.
    let mut tcp = gateway.tcp().await;
    tcp.write_all(upgrade(|line| Some(line.into())).as_bytes())
        .await
        .unwrap();
    let mut head = vec![0; 12];
    within(tcp.read_exact(&mut head)).await.unwrap();
    assert_eq!(head, b"HTTP/1.1 101");
    let mut rest = [0; 200];
    let read = within(tcp.read(&mut rest)).await.unwrap();
    let rest = String::from_utf8_lossy(&rest[..read]).into_owned();
    assert!(
        rest.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
        "{rest}"
    );
    assert!(rest.contains("X-Squall-Node: 0\r\n"), "{rest}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asks_for_tokens_and_origins() {
    let gateway = Gateway::start(Config {
        tokens: vec!["s3cret".into(), "a b".into()],
        origins: vec!["https://here".into()],
        ..brief()
    })
    .await;
    const GOOD: (&str, &str) = ("Origin", "https://here");
    type Headers = &'static [(&'static str, &'static str)];
    let table: [(u16, &str, Headers); 8] = [
        (401, "/ws", &[GOOD]),
        (401, "/ws", &[GOOD, ("Authorization", "Bearer wrong")]),
        (401, "/ws", &[GOOD, ("Authorization", "Basic s3cret")]),
        (401, "/ws?token=wrong", &[GOOD]),
        (403, "/ws?token=s3cret", &[]),
        (403, "/ws?token=s3cret", &[("Origin", "https://there")]),
        (101, "/ws?x=1&token=a%20b", &[GOOD]),
        (101, "/ws", &[GOOD, ("Authorization", "bearer s3cret")]),
    ];
    for (status, path, headers) in table {
        assert_eq!(
            gateway.status(path, headers).await,
            status,
            "{path} {headers:?}"
        );
    }
    let stats = gateway.stop().await;
    assert_eq!(stats.refused_by_status, [(401, 4), (403, 2)].into());
    assert_eq!(stats.opened, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_the_subprotocol_wanted_most() {
    let gateway = Gateway::start(brief()).await;
    let mut request = format!("ws://{}/ws", gateway.address)
        .into_client_request()
        .unwrap();
    request.headers_mut().insert(
        "Sec-WebSocket-Protocol",
        "v2.squall, v1.squall".parse().unwrap(),
    );
    let (_, response) = within(client_async(request, gateway.tcp().await))
        .await
        .unwrap();
    assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "v2.squall");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delivers_to_the_subscribers_of_a_topic_in_order() {
    let gateway = Gateway::start(brief()).await;
    let mut both = gateway.connect().await;
    let mut one = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut both, "a").await;
    subscribe(&mut both, "b").await;
    subscribe(&mut one, "a").await;
    // Twice is once.
    subscribe(&mut one, "a").await;
    for n in 1..=3 {
        assert_eq!(publish(&mut publisher, "a", json!(n)).await, n);
    }
    assert_eq!(publish(&mut publisher, "b", json!(1)).await, 1);
    assert_eq!(delivered(&mut one).await, [1, 2, 3]);
    assert_eq!(delivered(&mut both).await, [1, 2, 3, 1]);

    send(
        &mut one,
        json!({"type": "unsubscribe", "topic": "a", "id": 9}),
    )
    .await;
    let ack = next_json(&mut one).await;
    assert_eq!(
        ack,
        json!({"type": "unsubscribed", "topic": "a", "id": 9, "seq": 3})
    );
    publish(&mut publisher, "a", json!(4)).await;
    assert_eq!(delivered(&mut one).await, [0; 0]);
    assert_eq!(delivered(&mut both).await, [4]);
    // Who comes back goes on from where the topic is.
    assert_eq!(subscribe(&mut one, "a").await, 4);

    let stats = gateway.stop().await;
    assert_eq!((stats.published, stats.deliveries), (5, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payload_is_passed_on_as_it_was_written() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.connect().await;
    subscribe(&mut client, "ä\"\n").await;
    send_text(
        &mut client,
        r#"{"type":"publish","topic":"ä\"\n","payload":{ "n": 1.50, "big": 123456789012345678901234567890 }}"#,
    )
    .await;
    let Message::Text(text) = next(&mut client).await else {
        panic!("not a text");
    };
    assert_eq!(
        text.as_str(),
        r#"{"type":"message","topic":"ä\"\n","seq":1,"payload":{ "n": 1.50, "big": 123456789012345678901234567890 }}"#
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn echoes_and_complains() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.connect().await;
    send(
        &mut client,
        json!({"type": "echo", "id": 7, "payload": ["x"]}),
    )
    .await;
    assert_eq!(
        next_json(&mut client).await,
        json!({"type": "echo", "id": 7, "payload": ["x"]})
    );
    for raw in [
        Message::text("sq1:raw"),
        Message::binary(vec![0, 255]),
        Message::text("{no"),
    ] {
        within(client.send(raw.clone())).await.unwrap();
        assert_eq!(next(&mut client).await, raw);
    }
    for (message, code) in [
        (json!({"type": "dance", "id": 1}), "unknown_type"),
        (json!({"type": "subscribe", "id": 1}), "bad_topic"),
    ] {
        send(&mut client, message).await;
        let error = next_json(&mut client).await;
        assert_eq!(
            (&error["type"], &error["code"], &error["id"]),
            (&json!("error"), &json!(code), &json!(1))
        );
    }
    // Fragments are one message.
    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    for (part, opcode, last) in [("sq", Data::Text, false), ("1", Data::Continue, true)] {
        let frame = Frame::message(part, OpCode::Data(opcode), last);
        within(client.send(Message::Frame(frame))).await.unwrap();
    }
    assert_eq!(next(&mut client).await, Message::text("sq1"));
    let stats = gateway.stop().await;
    assert_eq!((stats.echoes, stats.replies, stats.messages_in), (5, 2, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_published_after_the_acknowledgement_is_missed() {
    let gateway = Gateway::start(Config {
        queue: 100_000,
        ..brief()
    })
    .await;
    let mut publisher = gateway.connect().await;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let publishing = tokio::spawn(async move {
        let mut last = 0;
        while !stopped.load(Ordering::Relaxed) {
            last = publish(&mut publisher, "busy", json!(last + 1)).await;
        }
        last
    });
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gateway.connect().await;
        let seen = subscribe(&mut client, "busy").await;
        clients.push((client, seen));
    }
    stop.store(true, Ordering::Relaxed);
    let last = within(publishing).await.unwrap();
    for (mut client, seen) in clients {
        let expected: Vec<u64> = (seen + 1..=last).collect();
        assert_eq!(delivered(&mut client).await, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_pings_and_closes_politely() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.connect().await;
    within(client.send(Message::Ping(vec![1, 2].into())))
        .await
        .unwrap();
    assert_eq!(
        within(client.next()).await.unwrap().unwrap(),
        Message::Pong(vec![1, 2].into())
    );
    within(client.close(Some(CloseFrame {
        code: 4001.into(),
        reason: "bye".into(),
    })))
    .await
    .unwrap();
    assert_eq!(closed(&mut client).await, Some(4001));
    let stats = gateway.stop().await;
    assert_eq!(stats.pings_in, 1);
    assert!(stats.closed_by_code.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn speaks_tls_with_a_certificate_of_its_own() {
    let (cert, key) = self_signed().unwrap();
    let gateway = Gateway::start(Config {
        tls: Some(Certificate {
            cert: cert.clone(),
            key,
        }),
        ..brief()
    })
    .await;
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(rustls::pki_types::CertificateDer::from_pem_slice(cert.as_bytes()).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from("127.0.0.1").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let secured = within(connector.connect(name, gateway.tcp().await))
        .await
        .unwrap();
    let (mut client, _) = within(client_async("wss://127.0.0.1/ws", secured))
        .await
        .unwrap();
    let big = "x".repeat(100_000);
    within(client.send(Message::text(big.clone())))
        .await
        .unwrap();
    assert_eq!(
        within(client.next()).await.unwrap().unwrap(),
        Message::text(big)
    );
    within(client.close(None)).await.unwrap();
    assert_eq!(
        within(client.next()).await.unwrap().unwrap(),
        Message::Close(None)
    );
    // A clean end: TLS's close_notify came before the FIN, or rustls would report a truncation.
    assert!(within(client.next()).await.is_none());
    // Plain bytes on a TLS port are a failed handshake and nothing worse.
    gateway
        .tcp()
        .await
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let stats = gateway.stop().await;
    assert_eq!(stats.opened, 1);
}

#[tokio::test]
async fn says_why_it_cannot_serve() {
    let gateway = Gateway::start(brief()).await;
    let serve = |config| {
        serve(config, std::future::pending::<()>(), |_| {
            panic!("it is not ready")
        })
    };
    let taken = serve(Config {
        listen: gateway.address,
        ..brief()
    });
    assert!(
        matches!(taken.await, Err(GatewayError::Listen(address, _)) if address == gateway.address)
    );
    let nonsense = serve(Config {
        queue: 0,
        ..brief()
    });
    assert!(matches!(nonsense.await, Err(GatewayError::Config(_))));
    let no_key = serve(Config {
        tls: Some(Certificate {
            cert: String::new(),
            key: String::new(),
        }),
        ..brief()
    });
    assert!(matches!(no_key.await, Err(GatewayError::Tls(_))));
}
