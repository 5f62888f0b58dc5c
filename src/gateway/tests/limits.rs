//! Each limit does what it says, no sooner and no later.

use super::*;

/// Size of the payloads that fill a slow reader's connection, in bytes.
const BIG: usize = 16 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_above_the_limit_closes_with_1009() {
    let gateway = Gateway::start(Config {
        max_message: 1000,
        ..brief()
    })
    .await;
    let mut client = gateway.connect().await;
    let fits = "x".repeat(1000);
    send_text(&mut client, &fits).await;
    assert_eq!(next(&mut client).await, Message::text(fits));
    // Far more than fits into any buffer: the Close must arrive although the client is still sending.
    let (mut sink, mut stream) = client.split();
    let sending = tokio::spawn(async move { sink.send(Message::text("x".repeat(8 << 20))).await });
    let close = within(stream.next()).await.unwrap().unwrap();
    assert!(matches!(close, Message::Close(Some(frame)) if u16::from(frame.code) == 1009));
    let _ = within(sending).await.unwrap();
    drop(stream);

    use tokio_tungstenite::tungstenite::protocol::frame::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let mut client = gateway.connect().await;
    for opcode in [Data::Text, Data::Continue] {
        let frame = Frame::message("x".repeat(501), OpCode::Data(opcode), false);
        within(client.send(Message::Frame(frame))).await.unwrap();
    }
    assert_eq!(closed(&mut client).await, Some(1009));
    let stats = gateway.stop().await;
    assert_eq!(stats.closed_by_code, [(1009, 2)].into());
    assert_eq!(stats.messages_in, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_close_with_1002_and_broken_text_with_1007() {
    let gateway = Gateway::start(brief()).await;
    for (frame, code) in [
        (&b"\x81\x01x"[..], 1002u16),         // not masked
        (&b"\xc1\x81\0\0\0\0x"[..], 1002),    // a reserved bit
        (&b"\x83\x81\0\0\0\0x"[..], 1002),    // a reserved opcode
        (&b"\x80\x81\0\0\0\0x"[..], 1002),    // a continuation of nothing
        (&b"\x81\x81\0\0\0\0\xff"[..], 1007), // not UTF-8
    ] {
        let mut tcp = gateway.connect().await.into_inner();
        tcp.write_all(frame).await.unwrap();
        let mut answer = Vec::new();
        within(tcp.read_to_end(&mut answer)).await.unwrap();
        assert_eq!(answer[0], 0x88, "{answer:?}");
        assert_eq!(answer[2..4], code.to_be_bytes(), "{frame:?}");
    }
    drop(gateway.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_beyond_its_rate_is_closed_with_1008() {
    // A bucket of one that refills in a quarter of an hour.
    let gateway = Gateway::start(Config {
        rate_limit: Some(0.001),
        ..brief()
    })
    .await;
    let mut client = gateway.connect().await;
    // Control frames are free.
    within(client.send(Message::Ping(vec![].into())))
        .await
        .unwrap();
    send_text(&mut client, "one").await;
    send_text(&mut client, "two").await;
    send_text(&mut client, "three").await;
    assert_eq!(next(&mut client).await, Message::text("one"));
    assert_eq!(closed(&mut client).await, Some(1008));
    // Each client has its own.
    let mut other = gateway.connect().await;
    send_text(&mut other, "mine").await;
    assert_eq!(next(&mut other).await, Message::text("mine"));
    let stats = gateway.stop().await;
    assert_eq!(stats.echoes, 2);
    assert_eq!(stats.closed_by_code[&1008], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stays_silent_after_a_ping_is_closed_with_1011() {
    let gateway = Gateway::start(Config {
        ping: Some(Ping {
            every: Duration::from_millis(20),
            timeout: Duration::from_millis(50),
        }),
        ..brief()
    })
    .await;
    let mut silent = gateway.connect().await.into_inner();
    let mut seen = Vec::new();
    let mut chunk = [0; 256];
    // Pings, then the Close; the client answers nothing at all.
    while !seen.windows(4).any(|window| window == [0x88, 14, 3, 0xf3]) {
        let read = within(silent.read(&mut chunk)).await.unwrap();
        assert_ne!(read, 0, "{seen:?}");
        seen.extend_from_slice(&chunk[..read]);
    }
    assert_eq!(seen[..2], [0x89, 0]);
    drop(silent);
    let stats = gateway.stop().await;
    assert_eq!(stats.closed_by_code, [(1011, 1)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_answers_pings_stays() {
    let gateway = Gateway::start(Config {
        ping: Some(Ping {
            every: Duration::from_millis(5),
            timeout: Duration::from_secs(10),
        }),
        ..brief()
    })
    .await;
    let mut client = gateway.connect().await;
    for _ in 0..10 {
        let message = within(client.next()).await.unwrap().unwrap();
        assert!(message.is_ping(), "{message:?}");
    }
    assert_eq!(delivered(&mut client).await, [0; 0]);
}

/// A subscriber that does not read, and `count` publishes of `BIG` payloads that it is owed.
async fn slow_reader(when_full: WhenFull, count: u64) -> (Gateway, Client) {
    let gateway = Gateway::start(Config {
        queue: 20,
        when_full,
        ..brief()
    })
    .await;
    let mut slow = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut slow, "much").await;
    let filler = "x".repeat(BIG);
    for n in 1..=count {
        assert_eq!(publish(&mut publisher, "much", json!([n, filler])).await, n);
        if n % 100 == 0 {
            let stats = gateway.stats().await;
            let written_or_gone =
                stats.messages_out - stats.replies + stats.dropped_full + stats.discarded;
            let queued = stats.deliveries.saturating_sub(written_or_gone);
            assert!(queued <= 20, "{queued} messages are queued");
        }
    }
    (gateway, slow)
}

/// Far more than the sockets of one connection hold between them.
const MANY: u64 = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_newest_keeps_what_came_first() {
    let (gateway, mut slow) = slow_reader(WhenFull::DropNewest, MANY).await;
    let dropped = gateway.stats().await.dropped_full;
    assert!(dropped > 0);
    let mut sequences = Vec::new();
    while (sequences.len() as u64) < MANY - dropped {
        let message = next_json(&mut slow).await;
        sequences.push(message["seq"].as_u64().unwrap());
    }
    // Nothing was read while it was published, so what was kept is one stretch from the start.
    let expected: Vec<u64> = (1..=MANY - dropped).collect();
    assert_eq!(sequences, expected);
    assert_eq!(gateway.stop().await.dropped_full, dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_oldest_keeps_what_came_last() {
    let (gateway, mut slow) = slow_reader(WhenFull::DropOldest, MANY).await;
    let dropped = gateway.stats().await.dropped_full;
    assert!(dropped > 0);
    let mut sequences = Vec::new();
    while sequences.last() != Some(&MANY) {
        let message = next_json(&mut slow).await;
        sequences.push(message["seq"].as_u64().unwrap());
    }
    assert_eq!(sequences.len() as u64, MANY - dropped);
    assert!(sequences.is_sorted());
    let last: Vec<u64> = (MANY - 19..=MANY).collect();
    assert_eq!(sequences[sequences.len() - 20..], last);
    assert_eq!(gateway.stop().await.dropped_full, dropped);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnect_closes_a_slow_client_with_1013() {
    let (gateway, mut slow) = slow_reader(WhenFull::Disconnect, MANY).await;
    let mut sequences = Vec::new();
    let close = loop {
        match next(&mut slow).await {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(&text).unwrap();
                sequences.push(message["seq"].as_u64().unwrap());
            }
            Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(close, Some(1013));
    let expected: Vec<u64> = (1..=sequences.len() as u64).collect();
    assert_eq!(sequences, expected);
    let stats = gateway.stop().await;
    assert_eq!(stats.disconnected_full, 1);
    assert_eq!(stats.closed_by_code[&1013], 1);
    assert_eq!(stats.dropped_full, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_may_have_1024_subscriptions() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.connect().await;
    for n in 0..1024 {
        subscribe(&mut client, &format!("t{n}")).await;
    }
    send(
        &mut client,
        json!({"type": "subscribe", "topic": "one more", "id": 5}),
    )
    .await;
    let error = next_json(&mut client).await;
    assert_eq!(
        (&error["code"], &error["id"]),
        (&json!("too_many_subscriptions"), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_beyond_the_rate_are_refused_with_503_and_nothing_else_is() {
    // A bucket of one that refills in a quarter of an hour.
    let gateway = Gateway::start(Config {
        accept_rate: Some(0.001),
        ..brief()
    })
    .await;
    let mut client = gateway.connect().await;
    for _ in 0..2 {
        assert_eq!(gateway.status("/ws", &[]).await, 503);
    }
    send_text(&mut client, "still here").await;
    assert_eq!(next(&mut client).await, Message::text("still here"));
    let stats = gateway.stop().await;
    assert_eq!(stats.refused_by_status, [(503, 2)].into());
}
