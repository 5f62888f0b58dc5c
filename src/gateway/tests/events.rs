//! Event streams and posts, read as bytes.

use super::*;
use crate::transport::http::{Part, Responses};
use crate::transport::sse::Events;

/// A client of a stream.
struct Stream {
    tcp: TcpStream,
    responses: Responses,
    events: Events,
    status: u16,
    /// Read, and not looked at yet.
    bytes: Vec<u8>,
    over: bool,
}

/// What comes of a stream.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    /// An event: its last id and its data.
    Event(String, Value),
    /// The end of the response, as HTTP has it.
    End,
    /// The end of the connection in the middle of it.
    Cut,
}

impl Stream {
    /// Its head has come.
    async fn begin(gateway: &Gateway, request: &str) -> Stream {
        let mut tcp = gateway.tcp().await;
        within(tcp.write_all(request.as_bytes())).await.unwrap();
        let mut stream = Stream {
            tcp,
            responses: Responses::default(),
            events: Events::default(),
            status: 0,
            bytes: Vec::new(),
            over: false,
        };
        stream.events.begin();
        while stream.status == 0 {
            stream.read().await;
            let mut bytes = &stream.bytes[..];
            let part = stream.responses.next(&mut bytes, 4096, |_, _| {}).unwrap();
            if let Some(Part::Head(head)) = part {
                stream.status = head.status;
            }
            stream.bytes = bytes.to_vec();
        }
        stream
    }

    async fn of(gateway: &Gateway, topic: &str, headers: &str) -> Stream {
        let request = format!("GET /events?topic={topic} HTTP/1.1\r\nHost: here\r\n{headers}\r\n");
        Stream::begin(gateway, &request).await
    }

    async fn read(&mut self) {
        let n = within(self.tcp.read_buf(&mut self.bytes)).await;
        self.over |= n.is_ok_and(|n| n == 0);
    }

    async fn next(&mut self) -> Came {
        // Bytes of a chunk that were not an event's end are in the reader of events.
        loop {
            let mut bytes = &self.bytes[..];
            let mut found = None;
            let mut rest = Vec::new();
            while let Some(part) = self.responses.next(&mut bytes, 4096, |_, _| {}).unwrap() {
                match part {
                    Part::Body(mut body) => {
                        if let Some(event) = self.events.next(&mut body, 1 << 20).unwrap() {
                            let data = serde_json::from_slice(event.data).unwrap();
                            let id = String::from_utf8(self.events.last_id().to_vec()).unwrap();
                            assert!(body.is_empty(), "a chunk is an event");
                            found = Some(Came::Event(id, data));
                        }
                    }
                    Part::End => found = Some(Came::End),
                    Part::Head(_) => panic!("a second head"),
                }
                if found.is_some() {
                    rest.extend_from_slice(bytes);
                    break;
                }
            }
            self.bytes = rest;
            match found {
                Some(came) => return came,
                None if self.over => return Came::Cut,
                None => self.read().await,
            }
        }
    }

    async fn payload(&mut self) -> Value {
        match self.next().await {
            Came::Event(_, data) => data["payload"].clone(),
            other => panic!("{other:?}"),
        }
    }
}

async fn post(tcp: &mut TcpStream, topic: &str, payload: &[u8]) -> String {
    let head = format!(
        "POST /publish?topic={topic} HTTP/1.1\r\nHost: here\r\nContent-Length: {}\r\n\r\n",
        payload.len()
    );
    within(tcp.write_all(&[head.as_bytes(), payload].concat()))
        .await
        .unwrap();
    let mut answer = vec![0; 512];
    let n = within(tcp.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..n])
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

const OK: &str = "HTTP/1.1 200 OK";

#[tokio::test]
async fn what_is_posted_comes_in_events_and_to_websockets() {
    let gateway = Gateway::start(brief()).await;
    let mut stream = Stream::of(&gateway, "a,b", "").await;
    let mut one = Stream::of(&gateway, "b", "").await;
    let mut websocket = gateway.connect().await;
    subscribe(&mut websocket, "a").await;
    let mut tcp = gateway.tcp().await;
    for (topic, payload) in [("a", "1"), ("b", "zwei"), ("c", "3"), ("a", "\"4\n\"")] {
        assert_eq!(post(&mut tcp, topic, payload.as_bytes()).await, OK);
    }
    for payload in ["1", "zwei", "\"4\n\""] {
        assert_eq!(stream.payload().await, payload);
    }
    let Came::Event(id, data) = one.next().await else {
        panic!("an event");
    };
    assert_eq!((id.as_str(), &data["payload"]), ("1", &json!("zwei")));
    assert_eq!(next_json(&mut websocket).await["payload"], "1");
    assert_eq!(next_json(&mut websocket).await["payload"], "\"4\n\"");
    // The other way round.
    publish(&mut websocket, "b", json!({"any": [1]})).await;
    assert_eq!(stream.payload().await, json!({"any": [1]}));
    drop((stream, one, websocket, tcp));
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_comes_back_gets_what_it_missed() {
    let gateway = Gateway::start(Config {
        history: Some(History::default()),
        ..brief()
    })
    .await;
    let mut tcp = gateway.tcp().await;
    let mut stream = Stream::of(&gateway, "t", "").await;
    post(&mut tcp, "t", b"1").await;
    let Came::Event(id, _) = stream.next().await else {
        panic!("an event");
    };
    assert!(id.ends_with(":1"), "{id}");
    drop(stream);
    for payload in ["2", "3"] {
        post(&mut tcp, "t", payload.as_bytes()).await;
    }
    let mut stream = Stream::of(&gateway, "t", &format!("Last-Event-ID: {id}\r\n")).await;
    assert_eq!(stream.payload().await, "2");
    assert_eq!(stream.payload().await, "3");
    // An id that says nothing brings nothing.
    let mut other = Stream::of(&gateway, "t", "Last-Event-ID: what\r\n").await;
    post(&mut tcp, "t", b"4").await;
    assert_eq!(other.payload().await, "4");
    drop((stream, other, tcp));
    gateway.stop().await;
}

#[tokio::test]
async fn a_drain_ends_streams_as_http_ends_them() {
    let mut gateway = Gateway::start(Config {
        drain_deadline: Duration::from_secs(20),
        drain_window: Duration::ZERO,
        ..Config::default()
    })
    .await;
    let mut stream = Stream::of(&gateway, "t", "").await;
    let mut tcp = gateway.tcp().await;
    assert_eq!(post(&mut tcp, "t", b"last").await, OK);
    gateway.begin_to_stop();
    assert_eq!(stream.payload().await, "last");
    assert_eq!(stream.next().await, Came::End);
    assert_eq!(within(tcp.read(&mut [0; 8])).await.unwrap(), 0, "FIN");
    let stats = gateway.stopped().await;
    assert_eq!(stats.cut_at_deadline, 0);
}

#[tokio::test]
async fn what_cannot_be_is_answered_by_its_status() {
    let gateway = Gateway::start(Config {
        tokens: ["secret".to_owned()].into(),
        max_message: 10,
        ..brief()
    })
    .await;
    let posted = |target: &str, more: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer secret\r\n{more}\r\n"
        )
    };
    let table = [
        (
            "GET /events?topic=t HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            "401",
        ),
        (
            "GET /events?token=secret HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            "400",
        ),
        (
            "POST /events?topic=t HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            "405",
        ),
        (
            "GET /publish?topic=t HTTP/1.1\r\nHost: here\r\n\r\n".to_owned(),
            "405",
        ),
        (posted("/publish?topic=t", ""), "411"),
        (posted("/publish?topic=t", "Content-Length: 11\r\n"), "413"),
        (posted("/publish", "Content-Length: 0\r\n"), "400"),
    ];
    for (request, status) in table {
        let answer = gateway.http(&request).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{request}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_a_slow_consumer_like_any_other() {
    let gateway = Gateway::start(Config {
        queue: 10,
        when_full: WhenFull::Disconnect,
        ..brief()
    })
    .await;
    let stream = Stream::of(&gateway, "t", "").await;
    let mut tcp = gateway.tcp().await;
    let payload = vec![b'x'; 60_000];
    // So much that no kernel's buffers hold it: it is disconnected, and nothing waits for it.
    for _ in 0..400 {
        assert_eq!(post(&mut tcp, "t", &payload).await, OK);
    }
    within(async {
        while gateway.stats().await.open > 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop((stream, tcp));
    gateway.stop().await;
}

/// One poll on a connection: status, cursor and the payloads told.
async fn poll(tcp: &mut TcpStream, target: &str) -> (u16, Option<String>, Vec<Value>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: here\r\n\r\n");
    within(tcp.write_all(request.as_bytes())).await.unwrap();
    polled(tcp).await
}

async fn polled(tcp: &mut TcpStream) -> (u16, Option<String>, Vec<Value>) {
    let (mut responses, mut status, mut cursor) = (Responses::default(), 0, None);
    let (mut bytes, mut body) = (Vec::new(), Vec::new());
    loop {
        assert!(within(tcp.read_buf(&mut bytes)).await.unwrap() > 0, "cut");
        let mut piece = &bytes[..];
        while let Some(part) = responses
            .next(&mut piece, 4096, |name, value| {
                if name == "X-Cursor" {
                    cursor = Some(String::from_utf8(value.to_vec()).unwrap());
                }
            })
            .unwrap()
        {
            match part {
                Part::Head(head) => status = head.status,
                Part::Body(more) => body.extend_from_slice(more),
                Part::End => {
                    // What is refused says why in words.
                    body.truncate(if status == 200 { body.len() } else { 0 });
                    let lines = body.split(|b| *b == b'\n').filter(|line| !line.is_empty());
                    let payloads = lines.map(|line| {
                        let told: Value = serde_json::from_slice(line).unwrap();
                        told["payload"].clone()
                    });
                    return (status, cursor, payloads.collect());
                }
            }
        }
        bytes.clear();
    }
}

#[tokio::test]
async fn a_poll_is_answered_when_there_is_something_and_misses_nothing_in_between() {
    let gateway = Gateway::start(Config {
        history: Some(History::default()),
        ..brief()
    })
    .await;
    let mut publisher = gateway.connect().await;
    let mut tcp = gateway.tcp().await;
    let request = "GET /poll?topic=t HTTP/1.1\r\nHost: here\r\n\r\n";
    within(tcp.write_all(request.as_bytes())).await.unwrap();
    // It is held: nothing is there yet.
    while gateway.stats().await.replies == 0 {
        tokio::task::yield_now().await;
    }
    publish(&mut publisher, "t", json!(1)).await;
    let (status, cursor, payloads) = polled(&mut tcp).await;
    assert_eq!((status, payloads), (200, vec![json!(1)]));
    assert!(
        cursor.as_ref().is_some_and(|c| c.ends_with(":1")),
        "{cursor:?}"
    );
    // Between two polls of a connection nothing is missed…
    for n in [2, 3] {
        publish(&mut publisher, "t", json!(n)).await;
    }
    let (_, cursor, payloads) = poll(&mut tcp, "/poll?topic=t").await;
    assert_eq!(payloads, [2, 3]);
    // …nor between two connections, by the cursor.
    drop(tcp);
    publish(&mut publisher, "t", json!(4)).await;
    let mut tcp = gateway.tcp().await;
    let target = format!("/poll?topic=t&cursor={}", cursor.unwrap());
    assert_eq!(poll(&mut tcp, &target).await.2, [4]);
    assert_eq!(poll(&mut tcp, "/poll").await.0, 400);
    drop((tcp, publisher));
    gateway.stop().await;
}

#[tokio::test]
async fn a_drain_answers_polls_that_are_held() {
    let mut gateway = Gateway::start(Config {
        drain_deadline: Duration::from_secs(20),
        drain_window: Duration::ZERO,
        ..Config::default()
    })
    .await;
    let mut tcp = gateway.tcp().await;
    let request = "GET /poll?topic=t HTTP/1.1\r\nHost: here\r\n\r\n";
    within(tcp.write_all(request.as_bytes())).await.unwrap();
    while gateway.stats().await.replies == 0 {
        tokio::task::yield_now().await;
    }
    gateway.begin_to_stop();
    assert_eq!(polled(&mut tcp).await, (204, None, Vec::new()));
    assert_eq!(within(tcp.read(&mut [0; 8])).await.unwrap(), 0, "FIN");
    gateway.stopped().await;
}

#[tokio::test]
async fn upgrades_may_be_refused_while_all_else_is_served() {
    let gateway = Gateway::misbehaving(Misbehave {
        refuse_upgrades: Some(403),
        ..Misbehave::default()
    })
    .await;
    assert_eq!(gateway.status("/ws", &[]).await, 403);
    let mut stream = Stream::of(&gateway, "a", "").await;
    let mut tcp = gateway.tcp().await;
    assert_eq!(post(&mut tcp, "a", b"1").await, OK);
    assert_eq!(stream.payload().await, "1");
    drop((stream, tcp));
    let stats = gateway.stop().await;
    assert_eq!(stats.refused_by_status, [(403, 1)].into());
}

#[tokio::test(start_paused = true)]
async fn upgrades_are_refused_for_so_long() {
    let config = Config {
        misbehave: Misbehave {
            refuse_upgrades: Some(403),
            refuse_upgrades_for: Some(Duration::from_secs(5)),
            ..Misbehave::default()
        },
        ..brief()
    };
    let hub = hub::Hub::new(config, tokio::time::Instant::now(), None);
    for (after, expected) in [(4, Some(403)), (2, None)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        assert_eq!(hub.refuses_upgrades(), expected);
    }
}

#[tokio::test]
async fn a_stream_may_be_held_back_until_so_much_has_gathered() {
    let gateway = Gateway::misbehaving(Misbehave {
        buffer_streams: Some(1000),
        ..Misbehave::default()
    })
    .await;
    let mut held = Stream::of(&gateway, "a", "").await;
    let mut websocket = gateway.connect().await;
    subscribe(&mut websocket, "a").await;
    let mut tcp = gateway.tcp().await;
    assert_eq!(post(&mut tcp, "a", b"small").await, OK);
    assert_eq!(next_json(&mut websocket).await["payload"], "small");
    // Its head has come, and nothing else.
    let soon = tokio::time::timeout(Duration::from_millis(100), held.next());
    assert!(soon.await.is_err() && held.bytes.is_empty());
    let large = "x".repeat(1000);
    assert_eq!(post(&mut tcp, "a", large.as_bytes()).await, OK);
    assert_eq!(held.payload().await, "small");
    assert_eq!(held.payload().await, large);
    drop((held, websocket, tcp));
    gateway.stop().await;
}

#[tokio::test]
async fn a_stream_begins_with_a_comment_and_goes_on_with_signs_of_life() {
    let gateway = Gateway::start(Config {
        ping: Some(Ping {
            every: Duration::from_millis(20),
            timeout: Duration::from_secs(20),
        }),
        ..brief()
    })
    .await;
    let mut stream = Stream::of(&gateway, "a", "").await;
    while stream.bytes.len() < WELCOME_AND_TWO.len() {
        stream.read().await;
    }
    assert!(
        stream.bytes.starts_with(WELCOME_AND_TWO),
        "{:?}",
        String::from_utf8_lossy(&stream.bytes)
    );
    drop(stream);
    gateway.stop().await;
}

const WELCOME_AND_TWO: &[u8] = b"5\r\n: hi\n\r\n2\r\n:\n\r\n2\r\n:\n\r\n";

#[tokio::test]
async fn who_speaks_http_1_0_gets_no_chunks() {
    let gateway = Gateway::start(brief()).await;
    let mut tcp = gateway.tcp().await;
    within(tcp.write_all(b"GET /events?topic=a HTTP/1.0\r\n\r\n"))
        .await
        .unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        within(tcp.read_buf(&mut bytes)).await.unwrap();
    }
    let head = String::from_utf8(std::mem::take(&mut bytes)).unwrap();
    assert!(head.contains("Connection: close") && !head.contains("chunked"));
    let mut publisher = gateway.tcp().await;
    assert_eq!(post(&mut publisher, "a", b"1").await, OK);
    while !bytes.ends_with(b"\n\n") {
        within(tcp.read_buf(&mut bytes)).await.unwrap();
    }
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.starts_with("id: 1\ndata: {"), "{text}");
    drop((tcp, publisher));
    gateway.stop().await;
}
