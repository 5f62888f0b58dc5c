//! Each knob does exactly what it says.

use super::*;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drops_every_nth_delivery() {
    let gateway = Gateway::misbehaving(Misbehave {
        drop_every: Some(3),
        ..Misbehave::default()
    })
    .await;
    assert_eq!(numbered(&gateway, 10).await, [1, 2, 4, 5, 7, 8, 10]);
    assert_eq!(gateway.stop().await.dropped_on_purpose, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_each_subscription_by_itself() {
    let gateway = Gateway::misbehaving(Misbehave {
        drop_every: Some(4),
        ..Misbehave::default()
    })
    .await;
    let mut publisher = gateway.connect().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.connect().await;
        subscribe(&mut client, "numbers").await;
        clients.push(client);
    }
    for n in 1..=9 {
        publish(&mut publisher, "numbers", json!(n)).await;
    }
    for client in &mut clients {
        assert_eq!(delivered(client).await, [1, 2, 3, 5, 6, 7, 9]);
    }
    assert_eq!(gateway.stop().await.dropped_on_purpose, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duplicates_every_nth_delivery() {
    let gateway = Gateway::misbehaving(Misbehave {
        duplicate_every: Some(2),
        ..Misbehave::default()
    })
    .await;
    assert_eq!(numbered(&gateway, 5).await, [1, 2, 2, 3, 4, 4, 5]);
    let stats = gateway.stop().await;
    assert_eq!((stats.duplicated, stats.deliveries), (2, 7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_every_nth_delivery_with_the_next() {
    let gateway = Gateway::misbehaving(Misbehave {
        reorder_every: Some(3),
        ..Misbehave::default()
    })
    .await;
    assert_eq!(
        numbered(&gateway, 10).await,
        [1, 2, 4, 3, 5, 7, 6, 8, 10, 9]
    );
    assert_eq!(gateway.stop().await.reordered, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_nothing_follows_is_late_but_not_lost() {
    let gateway = Gateway::misbehaving(Misbehave {
        reorder_every: Some(2),
        ..Misbehave::default()
    })
    .await;
    let mut client = gateway.connect().await;
    subscribe(&mut client, "numbers").await;
    let mut publisher = gateway.connect().await;
    for n in 1..=2 {
        publish(&mut publisher, "numbers", json!(n)).await;
    }
    assert_eq!(next_json(&mut client).await["seq"], 1);
    assert_eq!(next_json(&mut client).await["seq"], 2);
    assert_eq!(gateway.stop().await.reordered, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_together_stay_exact() {
    let gateway = Gateway::misbehaving(Misbehave {
        drop_every: Some(4),
        duplicate_every: Some(3),
        reorder_every: Some(6),
        ..Misbehave::default()
    })
    .await;
    // 4, 8 and 12 dropped; 3 and 9 doubled; 6 waits for 7. 12 would be doubled and swapped too, but it is dropped.
    assert_eq!(
        numbered(&gateway, 13).await,
        [1, 2, 3, 3, 5, 7, 6, 9, 9, 10, 11, 13]
    );
    let stats = gateway.stop().await;
    assert_eq!(
        (stats.dropped_on_purpose, stats.duplicated, stats.reordered),
        (3, 2, 1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refuses_every_nth_upgrade() {
    for (status, given) in [(Some(429), 429), (None, 503)] {
        let gateway = Gateway::start(Config {
            tokens: vec!["t".into()],
            misbehave: Misbehave {
                refuse_every: Some(3),
                refuse_status: status,
                ..Misbehave::default()
            },
            ..brief()
        })
        .await;
        for attempt in 1..=9 {
            // One that would have been refused anyway does not count.
            assert_eq!(gateway.status("/ws", &[]).await, 401);
            let expected = if attempt % 3 == 0 { given } else { 101 };
            assert_eq!(
                gateway.status("/ws?token=t", &[]).await,
                expected,
                "{attempt}"
            );
        }
        let stats = gateway.stop().await;
        assert_eq!(stats.refused_by_status, [(401, 9), (given, 3)].into());
        assert_eq!(stats.opened, 6);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn delays_deliveries_and_echoes_in_order() {
    let delay = Duration::from_millis(150);
    let gateway = Gateway::misbehaving(Misbehave {
        delay: Some(delay),
        ..Misbehave::default()
    })
    .await;
    let begin = Instant::now();
    let mut client = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut client, "numbers").await;
    let published = Instant::now();
    for n in 1..=3 {
        publish(&mut publisher, "numbers", json!(n)).await;
    }
    assert_eq!(next_json(&mut client).await["seq"], 1);
    assert!(published.elapsed() >= delay);
    assert_eq!(delivered(&mut client).await, [2, 3]);
    assert!(begin.elapsed() >= 2 * delay);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_stops_once_for_a_while() {
    let (after, length) = (Duration::from_millis(300), Duration::from_millis(400));
    let begin = Instant::now();
    let gateway = Gateway::misbehaving(Misbehave {
        stall_after: Some(after),
        stall_for: Some(length),
        ..Misbehave::default()
    })
    .await;
    let ready = Instant::now();
    let mut client = gateway.connect().await;
    subscribe(&mut client, "numbers").await;
    let inside = ready + after + Duration::from_millis(1);
    tokio::time::sleep_until(inside.into()).await;
    // Asked within the stall, or on a slow machine after it: not answered before its end either way.
    let (echoed, opened) = tokio::join!(
        async {
            assert_eq!(delivered(&mut client).await, [0; 0]);
            Instant::now()
        },
        async {
            gateway.connect().await;
            Instant::now()
        },
    );
    assert!(echoed >= begin + after + length);
    assert!(opened >= begin + after + length);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lies_about_pongs() {
    for (lie, expected) in [
        (
            None,
            vec![
                Message::Pong(vec![7, 8].into()),
                Message::Pong(vec![].into()),
            ],
        ),
        (Some(PongLie::None), vec![]),
        (
            Some(PongLie::Wrong),
            vec![
                Message::Pong(vec![0xf8, 8].into()),
                Message::Pong(vec![0xff].into()),
            ],
        ),
    ] {
        let gateway = Gateway::misbehaving(Misbehave {
            pong: lie,
            ..Misbehave::default()
        })
        .await;
        let mut client = gateway.connect().await;
        let mut seen = Vec::new();
        for payload in [vec![7, 8], vec![]] {
            within(client.send(Message::Ping(payload.into())))
                .await
                .unwrap();
            // The echo comes after any pong.
            send_text(&mut client, "and?").await;
            loop {
                match within(client.next()).await.unwrap().unwrap() {
                    Message::Text(_) => break,
                    other => seen.push(other),
                }
            }
        }
        assert_eq!(seen, expected, "{lie:?}");
        let stats = gateway.stop().await;
        assert_eq!((stats.pings_in, stats.echoes), (2, 2));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_connections_after_a_while() {
    let after = Duration::from_millis(100);
    for (code, seen) in [
        (None, Some(1011)),
        (Some(4000), Some(4000)),
        (Some(1005), None),
    ] {
        let gateway = Gateway::misbehaving(Misbehave {
            close_after: Some(after),
            close_code: code,
            ..Misbehave::default()
        })
        .await;
        let begin = Instant::now();
        let mut client = gateway.connect().await;
        assert_eq!(closed(&mut client).await, seen);
        assert!(begin.elapsed() >= after);
        let stats = gateway.stop().await;
        assert_eq!(stats.closed_by_code, [(code.unwrap_or(1011), 1)].into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_connections_when_the_code_is_1006() {
    let gateway = Gateway::misbehaving(Misbehave {
        close_after: Some(Duration::from_millis(50)),
        close_code: Some(1006),
        ..Misbehave::default()
    })
    .await;
    let mut tcp = gateway.connect().await.into_inner();
    let error = within(tcp.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(gateway.stop().await.closed_by_code, [(1006, 1)].into());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_gateway_answers_no_request() {
    let gateway = Gateway::misbehaving(Misbehave {
        mute: true,
        ..Misbehave::default()
    })
    .await;
    let mut client = gateway.connect().await;
    subscribe(&mut client, "numbers").await;
    send(&mut client, json!({"type": "echo", "id": 1})).await;
    send_text(&mut client, "raw").await;
    // All else goes on.
    send(
        &mut client,
        json!({"type": "publish", "topic": "numbers", "payload": 1}),
    )
    .await;
    assert_eq!(next_json(&mut client).await["seq"], 1);
    let stats = gateway.stop().await;
    assert_eq!((stats.messages_in, stats.echoes), (4, 0));
}
