//! The end: graceful, and within its deadline.

use super::*;
use std::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closes_everyone_with_1001_spread_over_the_window() {
    let window = Duration::from_millis(400);
    let mut gateway = Gateway::start(Config {
        drain_window: window,
        ..Config::default()
    })
    .await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(gateway.connect().await);
    }
    let begin = Instant::now();
    gateway.begin_to_stop();
    let mut waiting = Vec::new();
    for mut client in clients {
        waiting.push(tokio::spawn(async move {
            let code = closed(&mut client).await;
            (code, begin.elapsed())
        }));
    }
    let mut times = Vec::new();
    for client in waiting {
        let (code, elapsed) = within(client).await.unwrap();
        assert_eq!(code, Some(1001));
        times.push(elapsed);
    }
    // The nth of 20 is due at n twentieths of the window, none earlier.
    times.sort_unstable();
    for (n, elapsed) in (0u32..).zip(&times) {
        let due = window * n / 20;
        assert!(
            *elapsed + Duration::from_millis(2) >= due,
            "{n}: {elapsed:?}"
        );
    }
    let stats = gateway.stopped().await;
    assert_eq!(stats.closed_by_code, [(1001, 20)].into());
    assert_eq!(stats.cut_at_deadline, 0);
    assert!(stats.draining);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newcomers_hear_503_while_it_drains_and_nobody_once_it_is_over() {
    let mut gateway = Gateway::start(Config {
        drain_window: Duration::ZERO,
        ..Config::default()
    })
    .await;
    // It never answers the Close, so the drain goes on until it leaves.
    let mut lingering = gateway.connect().await.into_inner();
    let mut polite = gateway.connect().await;
    assert!(gateway.get("/healthz").await.starts_with("HTTP/1.1 200 "));
    gateway.begin_to_stop();
    assert_eq!(closed(&mut polite).await, Some(1001));
    assert!(gateway.get("/healthz").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(gateway.status("/ws", &[]).await, 503);
    let mut close = [0; 4];
    within(lingering.read_exact(&mut close)).await.unwrap();
    assert_eq!(close[2..], 1001u16.to_be_bytes());
    drop(lingering);
    let address = gateway.address;
    let stats = gateway.stopped().await;
    assert_eq!(stats.refused_by_status, [(503, 2)].into());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_cuts_those_who_do_not_leave() {
    let deadline = Duration::from_millis(200);
    let gateway = Gateway::start(Config {
        drain_window: Duration::ZERO,
        drain_deadline: deadline,
        close_timeout: Duration::from_secs(3600),
        ..Config::default()
    })
    .await;
    let _lingering = gateway.connect().await.into_inner();
    let begin = Instant::now();
    let stats = gateway.stop().await;
    assert!(begin.elapsed() >= deadline);
    assert_eq!(stats.cut_at_deadline, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_answer_a_close_is_reset_after_the_close_timeout() {
    let gateway = Gateway::start(Config {
        drain_window: Duration::ZERO,
        close_timeout: Duration::from_millis(50),
        ..Config::default()
    })
    .await;
    let mut lingering = gateway.connect().await.into_inner();
    let stats = gateway.stop().await;
    assert_eq!(stats.cut_at_deadline, 0);
    let mut close = Vec::new();
    let error = within(lingering.read_to_end(&mut close)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_is_delivered_before_the_goodbye() {
    let mut gateway = Gateway::start(Config {
        drain_window: Duration::ZERO,
        misbehave: Misbehave {
            delay: Some(Duration::from_millis(100)),
            ..Misbehave::default()
        },
        ..Config::default()
    })
    .await;
    let mut client = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut client, "numbers").await;
    for n in 1..=3 {
        publish(&mut publisher, "numbers", json!(n)).await;
    }
    gateway.begin_to_stop();
    for n in 1..=3 {
        assert_eq!(next_json(&mut client).await["seq"], n);
    }
    assert_eq!(closed(&mut client).await, Some(1001));
    assert_eq!(closed(&mut publisher).await, Some(1001));
    assert_eq!(gateway.stopped().await.discarded, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_is_what_stands_in_the_one_line_behind_another() {
    const MANY: u64 = 200;
    let mut gateway = Gateway::start(Config {
        drain_window: Duration::ZERO,
        send_buffer: Some(16 * 1024),
        misbehave: Misbehave {
            head_of_line: true,
            ..Misbehave::default()
        },
        ..Config::default()
    })
    .await;
    let mut stuck = gateway.connect().await;
    let mut client = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut stuck, "much").await;
    subscribe(&mut client, "much").await;
    for n in 1..=MANY {
        let payload = json!([n, "x".repeat(16 * 1024)]);
        assert_eq!(publish(&mut publisher, "much", payload).await, n);
    }
    let out = within(super::slow::settled(&gateway, |stats| stats.messages_out)).await;
    assert!(
        out < MANY * 3,
        "{out} went out past the one that does not read"
    );
    gateway.begin_to_stop();
    for n in 1..=MANY {
        assert_eq!(next_json(&mut client).await["seq"], n);
    }
    assert_eq!(closed(&mut client).await, Some(1001));
    drop(stuck);
    drop(gateway.stopped().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_ends_at_once_and_a_half_open_handshake_does_not_hold_it() {
    let gateway = Gateway::start(Config {
        drain_window: Duration::from_secs(3600),
        drain_deadline: Duration::from_secs(3600),
        ..Config::default()
    })
    .await;
    let _half_open = gateway.tcp().await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_is_a_request_to_end() {
    let ended = shutdown_signal(None::<fn(String)>).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGTERM).unwrap();
    within(ended).await;
}

fn badly(drain: BadDrain) -> Config {
    Config {
        drain_window: Duration::ZERO,
        drain_deadline: Duration::from_millis(400),
        misbehave: Misbehave {
            drain: Some(drain),
            ..Misbehave::default()
        },
        ..Config::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_keeps_accepting_does_so_to_its_deadline_and_cuts_them_then() {
    let mut gateway = Gateway::start(badly(BadDrain::KeepAccepting)).await;
    let mut old = gateway.connect().await;
    let begin = Instant::now();
    gateway.begin_to_stop();
    assert_eq!(closed(&mut old).await, Some(1001));
    assert!(gateway.get("/healthz").await.starts_with("HTTP/1.1 503 "));
    let mut new = gateway.connect().await;
    let stats = gateway.stopped().await;
    assert!(begin.elapsed() >= Duration::from_millis(400));
    assert_eq!((stats.opened_draining, stats.cut_at_deadline), (1, 1));
    assert_eq!(stats.closed_by_code, [(1001, 1)].into());
    let end = within(new.next()).await.expect("an end without a Close");
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_drains_closes_nobody_and_is_gone_at_its_deadline() {
    let mut gateway = Gateway::start(badly(BadDrain::Never)).await;
    let mut client = gateway.connect().await;
    let begin = Instant::now();
    gateway.begin_to_stop();
    let end = within(client.next()).await.expect("an end without a Close");
    assert!(end.is_err(), "{end:?}");
    assert!(begin.elapsed() >= Duration::from_millis(400));
    let stats = gateway.stopped().await;
    assert_eq!((stats.cut_at_deadline, stats.closed_by_code.len()), (1, 0));
    // With nobody there it has nothing to wait for.
    let gateway = Gateway::start(Config {
        drain_deadline: Duration::from_secs(3600),
        ..badly(BadDrain::Never)
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_closes_all_at_once_has_no_window() {
    let mut gateway = Gateway::start(Config {
        drain_window: Duration::from_secs(3600),
        drain_deadline: Duration::from_secs(3600),
        ..badly(BadDrain::AllAtOnce)
    })
    .await;
    let mut clients = [gateway.connect().await, gateway.connect().await];
    gateway.begin_to_stop();
    for client in &mut clients {
        assert_eq!(closed(client).await, Some(1001));
    }
    gateway.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_hurry_there_is_neither_a_window_nor_misbehaviour() {
    for drain in [BadDrain::KeepAccepting, BadDrain::Never] {
        let config = Config {
            drain_window: Duration::from_secs(3600),
            drain_deadline: Duration::from_secs(3600),
            ..badly(drain)
        };
        let (stop, stopped) = oneshot::channel();
        let (ready, address) = oneshot::channel();
        let hurry = async {
            drop(stopped.await);
            Goodbye::Hurry
        };
        let served = tokio::spawn(serve(config, hurry, move |at| _ = ready.send(at)));
        let gateway = Gateway {
            address: within(address).await.unwrap(),
            stop: Some(stop),
            served,
        };
        let mut clients = [gateway.connect().await, gateway.connect().await];
        let stopping = tokio::spawn(gateway.stop());
        for client in &mut clients {
            assert_eq!(closed(client).await, Some(1001));
        }
        assert_eq!(within(stopping).await.unwrap().cut_at_deadline, 0);
    }
}
