//! Clients that speak STOMP.

use super::nodes::Nodes;
use super::*;

const WS: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "v12.stomp")];

impl Gateway {
    /// A client that has been greeted, in this version.
    async fn stomp(&self, version: &str) -> Client {
        let mut client = self.try_connect("/ws", &WS).await.unwrap();
        say(
            &mut client,
            &format!("CONNECT\naccept-version:{version}\n\n"),
        )
        .await;
        let greeting = hear(&mut client).await;
        assert!(greeting.starts_with("CONNECTED\n"), "{greeting}");
        client
    }
}

/// Sends a frame, whose NUL is added.
async fn say(client: &mut Client, frame: &str) {
    send_text(client, &format!("{frame}\0")).await;
}

/// The next frame without its NUL, or a heart-beat.
async fn hear(client: &mut Client) -> String {
    let text = match next(client).await {
        Message::Text(text) => text.to_string(),
        Message::Binary(bytes) => format!("{bytes:?}"),
        other => panic!("no frame: {other:?}"),
    };
    text.trim_end_matches('\0').to_owned()
}

/// The code that the connection is closed with, and what is said before: an ERROR.
async fn refused(client: &mut Client) -> (String, Option<u16>) {
    let error = hear(client).await;
    assert!(error.starts_with("ERROR\n"), "{error}");
    (error, closed(client).await)
}

fn message(subscription: &str, id: u64, topic: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "MESSAGE\nsubscription:{subscription}\nmessage-id:{id}\ndestination:{topic}\ncontent-length:{length}\n\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_agreed_on_and_the_subprotocol_taken() {
    let gateway = Gateway::start(brief()).await;
    let server = concat!("server:squall/", env!("CARGO_PKG_VERSION"));
    let table = [
        (
            "accept-version:1.0,1.1,1.2\nheart-beat:0,0\n",
            "version:1.2\nheart-beat:50,50\n",
        ),
        (
            "accept-version:1.1,2.0\n",
            "version:1.1\nheart-beat:50,50\n",
        ),
        ("", ""),
    ];
    for (asked, answered) in table {
        let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
        say(&mut client, &format!("CONNECT\n{asked}\n")).await;
        assert_eq!(
            hear(&mut client).await,
            format!("CONNECTED\n{answered}{server}\n\n")
        );
    }
    let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
    say(&mut client, "STOMP\naccept-version:3.0\n\n").await;
    let (error, code) = refused(&mut client).await;
    assert!(
        error.contains("\nversion:1.0,1.1,1.2\n") && code == Some(1002),
        "{error}"
    );

    // The first that names a tongue decides, and without any it is JSON.
    for (offered, taken, stomp) in [
        ("feed, v11.stomp, v12.stomp", "v11.stomp", true),
        ("feed, else", "feed", false),
    ] {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offered}\r\n\r\n"
        );
        let mut tcp = gateway.tcp().await;
        // A text message: {} of JSON, no frame of STOMP.
        let asked = [request.as_bytes(), b"\x81\x84\0\0\0\0{}\n\n"].concat();
        within(tcp.write_all(&asked)).await.unwrap();
        let mut answer = Vec::new();
        let expected: &[u8] = if stomp { b"ERROR" } else { b"unknown_type" };
        while !answer
            .windows(expected.len())
            .any(|window| window == expected)
        {
            assert_ne!(within(tcp.read_buf(&mut answer)).await.unwrap(), 0);
            if stomp
                && answer.windows(4).any(|window| window == b"\r\n\r\n")
                && answer.ends_with(b"\r\n\r\n")
            {
                // What it was sent so far is half a frame: the rest of it is nonsense.
                within(tcp.write_all(b"\x81\x81\0\0\0\0\0")).await.unwrap();
            }
        }
        let head = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            head.contains(&format!("Sec-WebSocket-Protocol: {taken}\r\n")),
            "{head}"
        );
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_is_delivered_and_answered_by_receipts() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.stomp("1.2").await;
    let mut json = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut json, "a:b").await;

    say(
        &mut client,
        "SUBSCRIBE\nid:x\\c1\ndestination:a\\cb\nreceipt:s\\c1\n\n",
    )
    .await;
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:s\\c1\n\n");
    // The same topic twice, by a subscription that acknowledges.
    say(
        &mut client,
        "SUBSCRIBE\nid:2\ndestination:a\\cb\nack:client\nreceipt:s2\n\n",
    )
    .await;
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:s2\n\n");
    say(
        &mut client,
        "SEND\ndestination:a\\cb\nreceipt:m1\n\nhello \"you\"",
    )
    .await;
    assert_eq!(
        hear(&mut client).await,
        message("x\\c1", 1, "a\\cb", "hello \"you\"")
    );
    let acked = message("2", 2, "a\\cb", "hello \"you\"").replace("content-", "ack:2\ncontent-");
    assert_eq!(hear(&mut client).await, acked);
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:m1\n\n");
    let heard = next_json(&mut json).await;
    assert_eq!(
        (&heard["payload"], &heard["topic"]),
        (&json!("hello \"you\""), &json!("a:b"))
    );
    for frame in ["ACK\nid:2\nreceipt:a\n\n", "NACK\nid:2\nreceipt:a\n\n"] {
        say(&mut client, frame).await;
        assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:a\n\n");
    }

    // The topic is left with the last subscription to it.
    say(&mut client, "UNSUBSCRIBE\nid:2\nreceipt:u2\n\n").await;
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:u2\n\n");
    publish(&mut publisher, "a:b", json!({"n": 1})).await;
    assert_eq!(
        hear(&mut client).await,
        message("x\\c1", 3, "a\\cb", r#"{"n":1}"#)
    );
    say(&mut client, "UNSUBSCRIBE\nid:x\\c1\nreceipt:u1\n\n").await;
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:u1\n\n");
    publish(&mut publisher, "a:b", json!(2)).await;

    // Bytes that are no text, and no receipt: what comes next is the goodbye's.
    let mut other = gateway.stomp("1.1").await;
    say(
        &mut other,
        "SUBSCRIBE\nid:0\ndestination:bytes\nreceipt:s\n\n",
    )
    .await;
    hear(&mut other).await;
    let frame = b"SEND\ndestination:bytes\ncontent-length:3\n\n\xff\0\xfe\0".to_vec();
    within(client.send(Message::binary(frame))).await.unwrap();
    say(&mut client, "DISCONNECT\nreceipt:bye\n\n").await;
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:bye\n\n");
    assert_eq!(closed(&mut client).await, Some(1000));
    match next(&mut other).await {
        Message::Binary(bytes) => {
            let expected = b"MESSAGE\nsubscription:0\nmessage-id:1\ndestination:bytes\ncontent-length:3\n\n\xff\0\xfe\0";
            assert_eq!(&bytes[..], expected);
        }
        other => panic!("{other:?}"),
    }
    let stats = gateway.stop().await;
    assert_eq!((stats.published, stats.deliveries), (4, 6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_be_cut_and_messages_may_hold_several() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
    let frames = "CONNECT\naccept-version:1.2\n\n\0\n\nSUBSCRIBE\nid:1\ndestination:t\nreceipt:r1\n\n\0SEND\ndestination:t\nreceipt:r2\n\nbody\0\r\n";
    for piece in frames.as_bytes().chunks(9) {
        send_text(&mut client, std::str::from_utf8(piece).unwrap()).await;
    }
    assert!(hear(&mut client).await.starts_with("CONNECTED\n"));
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:r1\n\n");
    assert_eq!(hear(&mut client).await, message("1", 1, "t", "body"));
    assert_eq!(hear(&mut client).await, "RECEIPT\nreceipt-id:r2\n\n");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_is_answered_by_an_error_and_the_end() {
    let gateway = Gateway::start(Config {
        max_message: 4000,
        ..brief()
    })
    .await;
    let long = format!("SEND\ndestination:{}\n\n", "t".repeat(257));
    let table = [
        ("SEND\nreceipt:7\n\nx", "destination"),
        (&long, "destination"),
        ("SUBSCRIBE\ndestination:a\n\n", "id is missing"),
        (
            "SUBSCRIBE\ndestination:a\nid:1\nack:perhaps\n\n",
            "ack must be",
        ),
        ("SUBSCRIBE\ndestination:a\nid:0\n\n", "with this id"),
        ("UNSUBSCRIBE\nid:1\n\n", "no subscription"),
        ("ACK\nmessage-id:1\n\n", "which message"),
        ("BEGIN\ntransaction:1\n\n", "transactions"),
        ("CONNECT\naccept-version:1.2\n\n", "not now"),
        ("SEND\ndestination:\\t\n\n", "escape"),
        ("SEND\nno colon\n\n", "no colon"),
        ("SEND\ncontent-length:5000\n\n", "too long"),
    ];
    for (frame, why) in table {
        let mut client = gateway.stomp("1.2").await;
        say(&mut client, "SUBSCRIBE\nid:0\ndestination:t\nreceipt:s\n\n").await;
        hear(&mut client).await;
        say(&mut client, frame).await;
        let (error, code) = refused(&mut client).await;
        assert!(
            error.contains(why) && code == Some(1002),
            "{error} for {frame}"
        );
        assert_eq!(
            error.contains("receipt-id:7"),
            frame.contains("receipt:7"),
            "{error}"
        );
    }
    // Before all of that one introduces oneself.
    let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
    say(&mut client, "SUBSCRIBE\nid:0\ndestination:t\n\n").await;
    assert!(refused(&mut client).await.0.contains("CONNECT comes first"));
    let stats = gateway.stop().await;
    assert_eq!(stats.closed_by_code[&1002], 13);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_passcode_is_as_good_as_a_token() {
    let gateway = Gateway::start(Config {
        tokens: vec!["s3cret".into()],
        ..brief()
    })
    .await;
    let connect = |passcode: &str| format!("CONNECT\naccept-version:1.2\nlogin:me\n{passcode}\n");
    for (path, passcode, right) in [
        ("/ws", "passcode:s3cret\n", true),
        ("/ws?token=s3cret", "", true),
        ("/ws", "", false),
        ("/ws", "passcode:wrong\n", false),
    ] {
        let mut client = gateway.try_connect(path, &WS).await.unwrap();
        say(&mut client, &connect(passcode)).await;
        if right {
            assert!(hear(&mut client).await.starts_with("CONNECTED\n"));
        } else {
            assert!(refused(&mut client).await.0.contains("passcode"));
        }
    }
    assert_eq!(gateway.status("/ws?token=wrong", &WS).await, 401);
    // JSON has no login of its own.
    assert_eq!(gateway.status("/ws", &[]).await, 401);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heart_beats_come_as_agreed_and_are_missed() {
    let gateway = Gateway::start(brief()).await;
    let mut hearer = gateway.try_connect("/ws", &WS).await.unwrap();
    say(
        &mut hearer,
        "CONNECT\naccept-version:1.2\nheart-beat:0,100\n\n",
    )
    .await;
    hear(&mut hearer).await;
    for _ in 0..5 {
        assert_eq!(hear(&mut hearer).await, "\n");
    }
    // One that promised and is silent. It never asked for any itself.
    let mut silent = gateway.try_connect("/ws", &WS).await.unwrap();
    say(
        &mut silent,
        "CONNECT\naccept-version:1.2\nheart-beat:300,0\n\n",
    )
    .await;
    hear(&mut silent).await;
    let began = std::time::Instant::now();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        send_text(&mut silent, "\n").await;
    }
    let (error, code) = refused(&mut silent).await;
    assert!(error.contains("too long") && code == Some(1011), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(4 * 200 + 600));
    gateway.stop().await;

    // One that is never greeted waits no longer than for the upgrade.
    let gateway = Gateway::start(Config {
        handshake_timeout: Duration::from_millis(300),
        ..brief()
    })
    .await;
    let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
    assert_eq!(refused(&mut client).await.1, Some(1011));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_answers_no_pings_sends_no_heart_beats() {
    let gateway = Gateway::misbehaving(Misbehave {
        pong: Some(PongLie::None),
        ..Misbehave::default()
    })
    .await;
    let mut client = gateway.try_connect("/ws", &WS).await.unwrap();
    say(
        &mut client,
        "CONNECT\naccept-version:1.2\nheart-beat:0,50\n\n",
    )
    .await;
    hear(&mut client).await;
    let beat = tokio::time::timeout(Duration::from_millis(400), client.next()).await;
    assert!(beat.is_err(), "{beat:?}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_spoken_at_every_node() {
    let nodes = Nodes::start(2, brief()).await;
    let mut here = nodes.nodes[0].stomp("1.2").await;
    let mut there = nodes.nodes[1].stomp("1.2").await;
    say(&mut here, "SUBSCRIBE\nid:0\ndestination:t\nreceipt:s\n\n").await;
    assert_eq!(hear(&mut here).await, "RECEIPT\nreceipt-id:s\n\n");
    for n in 1..=20u64 {
        say(
            &mut there,
            &format!("SEND\ndestination:t\nreceipt:m{n}\n\n{n}"),
        )
        .await;
    }
    for n in 1..=20u64 {
        assert_eq!(
            hear(&mut there).await,
            format!("RECEIPT\nreceipt-id:m{n}\n\n")
        );
        assert_eq!(hear(&mut here).await, message("0", n, "t", &n.to_string()));
    }
    nodes.stop().await;
}
