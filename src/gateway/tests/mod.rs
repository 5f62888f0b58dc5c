//! The gateway from outside, over real sockets, with tokio-tungstenite as the client.
//!
//! Nothing here sleeps and hopes: tests wait for messages, and where time is the matter they hold
//! it to bounds that a slow machine cannot break.

mod auth;
mod drain;
mod events;
mod history;
mod limits;
mod misbehave;
mod mqtt;
mod nodes;
mod polling;
mod service;
mod size;
mod slow;
mod socket_io;
mod stomp;
mod store;

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::*;

type Client = WebSocketStream<TcpStream>;

/// The defaults, but for a short end: most tests stop with clients that do not answer any more.
fn brief() -> Config {
    Config {
        drain_window: Duration::ZERO,
        drain_deadline: Duration::from_millis(100),
        ..Config::default()
    }
}

/// A gateway under test.
struct Gateway {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<Stats, GatewayError>>,
}

impl Gateway {
    async fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let served = tokio::spawn(serve(
            config,
            async move { drop(stopped.await) },
            move |address| _ = ready.send(address),
        ));
        let address = within(address).await.unwrap();
        Gateway {
            address,
            stop: Some(stop),
            served,
        }
    }

    async fn misbehaving(misbehave: Misbehave) -> Self {
        Gateway::start(Config {
            misbehave,
            ..brief()
        })
        .await
    }

    fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Stops and checks that every message is accounted for.
    async fn stop(mut self) -> Stats {
        self.begin_to_stop();
        self.stopped().await
    }

    async fn stopped(self) -> Stats {
        let stats = within(self.served).await.unwrap().unwrap();
        assert_eq!(stats.open, 0);
        assert_eq!(
            stats.deliveries + stats.echoes + stats.replies,
            stats.messages_out + stats.dropped_full + stats.discarded + stats.dropped_on_purpose,
            "{stats:?}"
        );
        stats
    }

    async fn tcp(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    async fn connect(&self) -> Client {
        self.try_connect("/ws", &[]).await.unwrap()
    }

    async fn try_connect(
        &self,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Client, Error> {
        let mut request = format!("ws://{}{path}", self.address)
            .into_client_request()
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let tcp = self.tcp().await;
        within(client_async(request, tcp))
            .await
            .map(|(client, _)| client)
    }

    /// The status of a refused upgrade, 101 of one that was not.
    async fn status(&self, path: &str, headers: &[(&'static str, &str)]) -> u16 {
        match self.try_connect(path, headers).await {
            Ok(_) => 101,
            Err(Error::Http(response)) => response.status().as_u16(),
            Err(other) => panic!("{other}"),
        }
    }

    /// Everything answered to a plain request.
    async fn http(&self, request: &str) -> String {
        let mut tcp = self.tcp().await;
        let mut answer = String::new();
        within(async {
            tcp.write_all(request.as_bytes()).await.unwrap();
            tcp.read_to_string(&mut answer).await.unwrap();
        })
        .await;
        answer
    }

    async fn get(&self, path: &str) -> String {
        self.http(&format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"))
            .await
    }

    async fn stats(&self) -> Stats {
        let answer = self.get("/stats").await;
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }
}

/// A bound against hanging, far above anything that is measured.
async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("this never came")
}

async fn send(client: &mut Client, message: Value) {
    send_text(client, &message.to_string()).await;
}

async fn send_text(client: &mut Client, text: &str) {
    within(client.send(Message::text(text))).await.unwrap();
}

/// The next message that is not a ping or pong.
async fn next(client: &mut Client) -> Message {
    loop {
        match within(client.next()).await.expect("the end").unwrap() {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return message,
        }
    }
}

async fn next_json(client: &mut Client) -> Value {
    match next(client).await {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("not a text: {other:?}"),
    }
}

/// The code of the next message, which must be a Close; then the end of the connection.
async fn closed(client: &mut Client) -> Option<u16> {
    let code = match next(client).await {
        Message::Close(frame) => frame.map(|frame| frame.code.into()),
        other => panic!("not a close: {other:?}"),
    };
    assert!(within(client.next()).await.is_none());
    code
}

async fn subscribe(client: &mut Client, topic: &str) -> u64 {
    send(
        client,
        json!({"type": "subscribe", "topic": topic, "id": 1}),
    )
    .await;
    let ack = next_json(client).await;
    assert_eq!(ack["type"], "subscribed");
    ack["seq"].as_u64().unwrap()
}

/// Publishes with an id and waits for the acknowledgement: all deliveries have then been queued.
async fn publish(client: &mut Client, topic: &str, payload: Value) -> u64 {
    send(
        client,
        json!({"type": "publish", "topic": topic, "id": "p", "payload": payload}),
    )
    .await;
    let ack = next_json(client).await;
    assert_eq!(ack["type"], "published", "{ack}");
    ack["seq"].as_u64().unwrap()
}

/// The sequence numbers of everything delivered before the answer to an echo.
async fn delivered(client: &mut Client) -> Vec<u64> {
    send(client, json!({"type": "echo", "id": "end"})).await;
    let mut sequences = Vec::new();
    loop {
        let message = next_json(client).await;
        if message["type"] == "echo" {
            return sequences;
        }
        assert_eq!(message["type"], "message");
        assert_eq!(
            message["payload"], message["seq"],
            "the payloads are numbered too"
        );
        sequences.push(message["seq"].as_u64().unwrap());
    }
}

/// Subscribes one client, has another publish payloads `1..=count`, and returns what arrived.
async fn numbered(gateway: &Gateway, count: u64) -> Vec<u64> {
    let mut subscriber = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut subscriber, "numbers").await;
    for n in 1..=count {
        assert_eq!(publish(&mut publisher, "numbers", json!(n)).await, n);
    }
    delivered(&mut subscriber).await
}
