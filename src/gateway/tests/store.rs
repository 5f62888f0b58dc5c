//! A gateway whose history is in a store, with a store of the test's own: what a Redis server would do is for
//! `tests/interop`.

use super::super::bus::node::serve_with;
use super::super::store::Store;
use super::*;
use crate::gateway::History;
use tokio::net::TcpSocket;

/// Together they are more than the sockets on the way to the store hold, and less than those and what comes before them.
const BIG: usize = 16 * 1024;
const MANY: u64 = 12;

/// A store that takes nothing until it may, and then little by little to the end. Gives how many messages were published.
async fn stored(listener: tokio::net::TcpListener, may: oneshot::Receiver<()>) -> u64 {
    let (mut stream, _) = listener.accept().await.unwrap();
    may.await.unwrap();
    let mut bytes = Vec::new();
    let mut some = [0; 4 * 1024];
    loop {
        match stream.read(&mut some).await.unwrap() {
            0 => break,
            n => bytes.extend_from_slice(&some[..n]),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let publish = b"$4\r\nEVAL\r\n";
    let all = bytes.windows(publish.len());
    all.filter(|part| part == publish).count() as u64
}

#[tokio::test]
async fn what_was_taken_before_the_end_reaches_the_store() {
    let small = || {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4 * 1024).unwrap();
        socket.set_recv_buffer_size(4 * 1024).unwrap();
        socket
    };
    let server = small();
    server.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let server = server.listen(1).unwrap();
    let stream = small().connect(server.local_addr().unwrap()).await.unwrap();
    let (go, may) = oneshot::channel();
    let stored = tokio::spawn(stored(server, may));

    let config = Config {
        history: Some(History::default()),
        ..brief()
    };
    let (listener, address, tls) = begin(&config).unwrap();
    let store = Store::over(stream, History::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { drop(stopped.await) };
    let mut gateway = Gateway {
        address,
        stop: Some(stop),
        served: tokio::spawn(serve_with(store, config, listener, tls, shutdown)),
    };
    let mut publisher = gateway.connect().await;
    let payload = "x".repeat(BIG);
    for _ in 0..MANY {
        let message = json!({"type": "publish", "topic": "t", "payload": payload});
        send(&mut publisher, message).await;
    }
    within(async { while gateway.stats().await.published < MANY {} }).await;
    // When the last client has gone there is nothing but the store that the gateway could wait for.
    gateway.begin_to_stop();
    assert_eq!(closed(&mut publisher).await, Some(1001));
    go.send(()).unwrap();
    assert_eq!(gateway.stopped().await.published, MANY);
    assert_eq!(within(stored).await.unwrap(), MANY);
}
