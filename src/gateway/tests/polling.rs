//! Clients that poll: every request and answer as it is on the wire.

use super::*;

const OPEN: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: here\r\n\r\n";

/// A TCP connection that brings requests.
struct Http {
    tcp: TcpStream,
    unread: Vec<u8>,
}

impl Http {
    async fn new(gateway: &Gateway) -> Self {
        Http {
            tcp: gateway.tcp().await,
            unread: Vec::new(),
        }
    }

    async fn ask(&mut self, request: &str) {
        within(self.tcp.write_all(request.as_bytes()))
            .await
            .unwrap();
    }

    async fn get(&mut self, sid: &str) {
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"))
            .await;
    }

    /// Posts, and its answer.
    async fn post(&mut self, sid: &str, body: &str) -> (u16, String) {
        let path = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let length = body.len();
        self.ask(&format!(
            "POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
        self.answer().await
    }

    /// The next answer: status and body.
    async fn answer(&mut self) -> (u16, String) {
        loop {
            let text = String::from_utf8_lossy(&self.unread).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("Content-Length: "))
                    .map_or(0, |length| length.parse().unwrap());
                if body.len() >= length {
                    self.unread.drain(..head.len() + 4 + length);
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return (status, body[..length].to_owned());
                }
            }
            let read = within(self.tcp.read_buf(&mut self.unread)).await.unwrap();
            assert!(read > 0, "the end, behind {text}");
        }
    }
}

/// Opens: the GETs' connection, the POSTs', and what the conversation is called.
async fn open(gateway: &Gateway) -> (Http, Http, String) {
    let mut gets = Http::new(gateway).await;
    gets.ask(OPEN).await;
    let (status, open) = gets.answer().await;
    assert_eq!(status, 200);
    let json: Value = serde_json::from_str(open.strip_prefix('0').unwrap()).unwrap();
    let sid = json["sid"].as_str().unwrap().to_owned();
    (gets, Http::new(gateway).await, sid)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packets_come_in_posts_and_leave_in_answers() {
    let gateway = Gateway::start(brief()).await;
    let (mut gets, mut posts, sid) = open(&gateway).await;
    gets.get(&sid).await;
    let ok = (200, "ok".to_owned());
    assert_eq!(posts.post(&sid, "40").await, ok);
    assert_eq!(gets.answer().await, (200, r#"40{"sid":"s"}"#.into()));
    // What waits goes along in one answer, attachments in base64.
    assert_eq!(
        posts
            .post(
                &sid,
                "421[\"subscribe\",\"t\"]\u{1e}451-2[\"publish\",\"t\",{\"_placeholder\":true,\"num\":0}]\u{1e}b/wA="
            )
            .await,
        ok
    );
    let mut heard = String::new();
    while !heard.contains("432[]") || !heard.contains("b/wA=") {
        gets.get(&sid).await;
        heard.push_str(&gets.answer().await.1);
    }
    let head = r#"451-["message","t",{"_placeholder":true,"num":0}]"#;
    assert!(heard.contains(&format!("{head}\u{1e}b/wA=")), "{heard}");
    // Two GETs at once: the first is released.
    gets.get(&sid).await;
    let mut other = Http::new(&gateway).await;
    other.get(&sid).await;
    assert_eq!(gets.answer().await, (200, "6".into()));
    // Goodbye is answered, and the GET that is held told.
    assert_eq!(posts.post(&sid, "41\u{1e}1").await, ok);
    assert_eq!(other.answer().await, (200, "1".into()));
    let unknown = (
        400,
        r#"{"code":1,"message":"Session ID unknown"}"#.to_owned(),
    );
    loop {
        // Until its task has ended.
        let (status, body) = posts.post(&sid, "3").await;
        if status == 400 {
            assert_eq!((status, body), unknown);
            break;
        }
    }
    posts.get("nobody").await;
    assert_eq!(posts.answer().await, unknown);
    assert_eq!(gateway.stats().await.opened, 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_conversation_and_a_drain_says_goodbye() {
    let mut gateway = Gateway::start(Config {
        drain_deadline: Duration::from_secs(20),
        tokens: vec!["s3cret".into()],
        ..brief()
    })
    .await;
    for wrong in ["4\u{1e}\u{1e}4", "b!", ""] {
        let (_, mut posts, sid) = open(&gateway).await;
        assert_eq!(posts.post(&sid, wrong).await.0, 400, "{wrong}");
    }
    // What the packets say is as wrong as over a WebSocket.
    let (mut gets, mut posts, sid) = open(&gateway).await;
    posts.post(&sid, "42[\"subscribe\",\"t\"]").await;
    gets.get(&sid).await;
    assert_eq!(gets.answer().await, (200, "1".into()));
    let wrong = OPEN.replace("polling", "polling&token=other");
    let mut refused = Http::new(&gateway).await;
    refused.ask(&wrong).await;
    assert_eq!(refused.answer().await.0, 401);

    let (mut gets, mut posts, sid) = open(&gateway).await;
    posts.post(&sid, r#"40{"token":"s3cret"}"#).await;
    gets.get(&sid).await;
    assert_eq!(gets.answer().await, (200, r#"40{"sid":"s"}"#.into()));
    gets.get(&sid).await;
    gateway.begin_to_stop();
    assert_eq!(gets.answer().await, (200, "1".into()));
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_releases_the_get_and_the_websocket_takes_over() {
    let gateway = Gateway::start(brief()).await;
    let (mut gets, mut posts, sid) = open(&gateway).await;
    posts.post(&sid, "40").await;
    gets.get(&sid).await;
    assert_eq!(gets.answer().await.1, r#"40{"sid":"s"}"#);
    gets.get(&sid).await;
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    let mut client = gateway.try_connect(&path, &[]).await.unwrap();
    send_text(&mut client, "2probe").await;
    let text = |message| match message {
        Message::Text(text) => text.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(text(next(&mut client).await), "3probe");
    assert_eq!(gets.answer().await, (200, "6".into()));
    // Nothing is held from here on; what is to be said now comes first over the WebSocket.
    assert_eq!(posts.post(&sid, "421[\"subscribe\",\"t\"]").await.0, 200);
    send_text(&mut client, "5").await;
    assert_eq!(text(next(&mut client).await), "431[]");
    send_text(&mut client, "42[\"publish\",\"t\",1]").await;
    assert_eq!(text(next(&mut client).await), r#"42["message","t",1]"#);
    // It is known by its own TCP connection only.
    assert_eq!(posts.post(&sid, "3").await.0, 400);
    client.close(None).await.unwrap();
    gateway.stop().await;
    let gateway = Gateway::start(Config {
        misbehave: Misbehave {
            upgrade: Some(BadUpgrade::Refuse),
            ..Misbehave::default()
        },
        ..brief()
    })
    .await;
    let (_gets, _posts, sid) = open(&gateway).await;
    let path = format!("/socket.io/?EIO=4&transport=websocket&sid={sid}");
    assert_eq!(gateway.status(&path, &[]).await, 400);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_over_is_not_compressed() {
    let gateway = Gateway::start(brief()).await;
    let (_gets, _posts, sid) = open(&gateway).await;
    let mut probe = Http::new(&gateway).await;
    probe
        .ask(&format!(
            "GET /socket.io/?EIO=4&transport=websocket&sid={sid} HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        ))
        .await;
    while !probe.unread.ends_with(b"\r\n\r\n") {
        let read = within(probe.tcp.read_buf(&mut probe.unread)).await.unwrap();
        assert!(read > 0, "no answer");
    }
    let head = String::from_utf8_lossy(&probe.unread);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(!head.contains("Sec-WebSocket-Extensions"), "{head}");
    gateway.stop().await;
}
