//! Clients that speak Socket.IO.

use super::*;

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

/// The next message; of a binary one, its content in brackets.
async fn hear(client: &mut Client) -> String {
    match next(client).await {
        Message::Text(text) => text.to_string(),
        Message::Binary(bytes) => format!("<{}>", bytes.escape_ascii()),
        other => panic!("no message: {other:?}"),
    }
}

async fn say(client: &mut Client, packet: &str) {
    send_text(client, packet).await;
}

async fn attach(client: &mut Client, bytes: &[u8]) {
    let message = Message::binary(bytes.to_vec());
    within(client.send(message)).await.unwrap();
}

impl Gateway {
    /// A client that the server has opened for.
    async fn socket_io(&self) -> Client {
        let mut client = self.try_connect(PATH, &[]).await.unwrap();
        let open = hear(&mut client).await;
        assert!(open.starts_with(r#"0{"sid":""#), "{open}");
        client
    }

    /// One that is in this namespace, whose packets begin so.
    async fn in_namespace(&self, namespace: &str) -> Client {
        let mut client = self.socket_io().await;
        say(&mut client, &format!("40{namespace}")).await;
        let answer = hear(&mut client).await;
        assert_eq!(answer, format!(r#"40{namespace}{{"sid":"s"}}"#));
        client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_published_reaches_all_whatever_they_speak() {
    let gateway = Gateway::start(brief()).await;
    let mut main = gateway.in_namespace("").await;
    let mut inner = gateway.in_namespace("/inner,").await;
    let mut json = gateway.try_connect("/ws", &[]).await.unwrap();
    say(&mut main, r#"421["subscribe","a \"b\""]"#).await;
    assert_eq!(hear(&mut main).await, "431[]");
    say(
        &mut inner,
        r#"42/inner,9007199254740993["subscribe","a \"b\""]"#,
    )
    .await;
    assert_eq!(hear(&mut inner).await, "43/inner,9007199254740993[]");
    say(&mut json, r#"{"type":"subscribe","topic":"a \"b\""}"#).await;
    assert!(hear(&mut json).await.contains("subscribed"));

    for (publish, payload) in [
        (r#"42["publish","a \"b\"","x\n"]"#, r#""x\n""#),
        (r#"42["publish","a \"b\"",{"n": 1.0}]"#, r#"{"n": 1.0}"#),
        (r#"42["publish","a \"b\""]"#, "null"),
    ] {
        say(&mut main, publish).await;
        let event = format!(r#"["message","a \"b\"",{payload}]"#);
        assert_eq!(hear(&mut main).await, format!("42{event}"));
        assert_eq!(hear(&mut inner).await, format!("42/inner,{event}"));
        assert!(hear(&mut json).await.contains(payload));
    }
    // Attachments: text comes out as a string, and what is none as it went in.
    say(
        &mut inner,
        r#"452-/inner,7["publish","a \"b\"",{"_placeholder":true,"num":1}]"#,
    )
    .await;
    attach(&mut inner, b"not this").await;
    attach(&mut inner, b"x\"").await;
    assert_eq!(hear(&mut main).await, r#"42["message","a \"b\"","x\""]"#);
    say(
        &mut inner,
        r#"451-/inner,["publish","a \"b\"",{"_placeholder":true,"num":0}]"#,
    )
    .await;
    attach(&mut inner, b"\xff\0").await;
    let head = r#"451-["message","a \"b\"",{"_placeholder":true,"num":0}]"#;
    assert_eq!(hear(&mut main).await, head);
    assert_eq!(hear(&mut main).await, r"<\xff\x00>");
    let mut heard = Vec::new();
    for _ in 0..4 {
        heard.push(hear(&mut inner).await);
    }
    // The acknowledgement beside the first of them, in whichever order.
    assert!(heard[..2].contains(&"43/inner,7[]".to_owned()), "{heard:?}");

    say(&mut main, r#"422["unsubscribe","a \"b\""]"#).await;
    assert_eq!(hear(&mut main).await, "432[]");
    say(&mut main, r#"420["publish","a \"b\"","last"]"#).await;
    assert_eq!(hear(&mut main).await, "430[]");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_are_acknowledgements_or_events() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.in_namespace("").await;
    let long = "t".repeat(257);
    let topic = "the topic must have from 1 to 256 bytes";
    let events = "the events are subscribe, unsubscribe and publish";
    for (event, why) in [
        (r#"["subscribe"]"#.to_owned(), topic),
        (r#"["subscribe",""]"#.into(), topic),
        (r#"["subscribe",7]"#.into(), topic),
        (format!(r#"["publish","{long}","p"]"#), topic),
        (r#"["dance","t"]"#.into(), events),
        (r#"[7]"#.into(), events),
    ] {
        say(&mut client, &format!("428{event}")).await;
        assert_eq!(
            hear(&mut client).await,
            format!(r#"438[{{"error":"{why}"}}]"#)
        );
        say(&mut client, &format!("42{event}")).await;
        assert_eq!(hear(&mut client).await, format!(r#"42["error","{why}"]"#));
    }
    // A second namespace is none of this connection's.
    say(&mut client, "40/inner,").await;
    let refused = r#"44/inner,{"message":"Invalid namespace"}"#;
    assert_eq!(hear(&mut client).await, refused);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_told_in_connect_or_with_the_upgrade() {
    let gateway = Gateway::start(Config {
        tokens: vec!["s3cret".into()],
        ..brief()
    })
    .await;
    for (auth, right) in [
        (r#"{"token":"s3cret"}"#, true),
        (r#"{"token":"other"}"#, false),
        ("{}", false),
        ("", false),
    ] {
        let mut client = gateway.socket_io().await;
        say(&mut client, &format!("40{auth}")).await;
        let expected = if right {
            r#"40{"sid":"s"}"#
        } else {
            r#"44{"message":"Not authorized"}"#
        };
        assert_eq!(hear(&mut client).await, expected, "{auth}");
    }
    let path = format!("{PATH}&token=s3cret");
    let mut client = gateway.try_connect(&path, &[]).await.unwrap();
    hear(&mut client).await;
    say(&mut client, "40").await;
    assert_eq!(hear(&mut client).await, r#"40{"sid":"s"}"#);
    let path = format!("{PATH}&token=other");
    assert!(gateway.try_connect(&path, &[]).await.is_err());
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_connection() {
    let gateway = Gateway::start(brief()).await;
    let attached = r#"451-["publish","t",{"_placeholder":true,"num":0}]"#;
    for (packets, why) in [
        (&["hello"][..], "of no known kind"),
        (&["0{}"], "no client says this"),
        (&[r#"42["subscribe","t"]"#], "CONNECT comes first"),
        (&["40", "42{}"], "an event is a JSON array"),
        (&["40", "49"], "of no known kind"),
        (
            &["40", attached, "3"],
            "a packet where an attachment is due",
        ),
        (&["40", "41", "42[]"], "CONNECT comes first"),
    ] {
        let mut client = gateway.socket_io().await;
        for packet in packets {
            say(&mut client, packet).await;
        }
        if packets[0] == "40" {
            hear(&mut client).await;
        }
        match next(&mut client).await {
            Message::Close(Some(close)) => {
                assert_eq!(u16::from(close.code), 1002);
                assert!(close.reason.contains(why), "{packets:?}: {close:?}");
            }
            other => panic!("{packets:?}: {other:?}"),
        }
    }
    let mut client = gateway.in_namespace("").await;
    attach(&mut client, b"x").await;
    assert_eq!(closed(&mut client).await, Some(1002));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_pings_in_its_own_words_at_its_own_pace() {
    let every = Duration::from_millis(50);
    let gateway = Gateway::start(Config {
        ping: Some(Ping {
            every,
            timeout: Duration::from_millis(300),
        }),
        ..brief()
    })
    .await;
    let mut client = gateway.try_connect(PATH, &[]).await.unwrap();
    let open = hear(&mut client).await;
    assert!(
        open.contains(r#""pingInterval":50,"pingTimeout":300,"#),
        "{open}"
    );
    say(&mut client, "40").await;
    let mut pings = 0;
    while pings < 12 {
        match next(&mut client).await {
            Message::Text(text) if text.as_str() == "2" => {
                pings += 1;
                say(&mut client, "3").await;
            }
            Message::Text(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
    gateway.stop().await;
}
