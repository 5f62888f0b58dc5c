//! A gateway whose history is in a store, with a store of the test's own: what a Redis server would do is for
//! `tests/interop`.

use super::*;
use crate::gateway::History;
use tokio::net::TcpSocket;

/// Payload in bytes, and far more of them than all sockets and queues on the way to the store hold between them.
const BIG: usize = 16 * 1024;
const MANY: u64 = 10_000;

/// A store that says hello, then takes nothing until it may, and then little by little to the end. Gives how many messages
/// were published.
async fn store(may: oneshot::Receiver<()>) -> (SocketAddr, JoinHandle<u64>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n3\r\n") {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        }
        stream.write_all(b"+OK\r\n").await.unwrap();
        may.await.unwrap();
        let (mut count, mut bytes) = (0, Vec::new());
        let publish = b"$4\r\nEVAL\r\n";
        loop {
            let mut some = [0; 16 * 1024];
            match stream.read(&mut some).await.unwrap() {
                0 => return count,
                n => bytes.extend_from_slice(&some[..n]),
            }
            count += bytes
                .windows(publish.len())
                .filter(|part| part == publish)
                .count() as u64;
            // The beginning of one may be there.
            let rest = bytes.len().saturating_sub(publish.len() - 1);
            bytes.drain(..rest);
            tokio::time::sleep(Duration::from_micros(100)).await;
        }
    });
    (address, served)
}

#[tokio::test]
async fn what_was_taken_before_the_end_reaches_the_store() {
    let (go, may) = oneshot::channel();
    let (address, stored) = store(may).await;
    let mut gateway = Gateway::start(Config {
        history: Some(History {
            store: Some(format!("redis://{address}")),
            ..History::default()
        }),
        ..brief()
    })
    .await;
    let mut publisher = gateway.connect().await;
    let publishing = tokio::spawn(async move {
        let payload = "x".repeat(BIG);
        for _ in 0..MANY {
            let message = json!({"type": "publish", "topic": "t", "payload": payload});
            if publisher
                .send(Message::text(message.to_string()))
                .await
                .is_err()
            {
                break;
            }
        }
        publisher
    });
    let published = within(slow::settled(&gateway, |stats| stats.published)).await;
    assert!(!publishing.is_finished() && published > 0);
    // All that is on the way is full when it is to end; the store goes on.
    gateway.begin_to_stop();
    go.send(()).unwrap();
    let stats = gateway.stopped().await;
    publishing.abort();
    assert_eq!(within(stored).await.unwrap(), stats.published);
}
