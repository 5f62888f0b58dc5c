//! Conversations that go on by polling, or go over to a WebSocket, with the embedded gateway: what is said by the end is what
//! would be over a WebSocket.

use crate::bench::{failures, run};
use squall::gateway::{self, BadUpgrade, Config, Goodbye, Misbehave};
use squall::metrics::{Counter, Timer, Totals};
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::Duration;
use tokio::sync::oneshot;

/// A gateway on a thread of its own; it ends when this is dropped.
struct Gateway {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

fn gateway(config: Config) -> Gateway {
    let (stop, stopped) = oneshot::channel();
    let (ready, address) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let shutdown = async move {
            let _: Result<(), _> = stopped.await;
            Goodbye::Hurry
        };
        let served = gateway::serve(config, shutdown, move |address| {
            ready.send(address).unwrap()
        });
        runtime.block_on(served).unwrap();
    });
    Gateway {
        address: address.recv().unwrap(),
        _stop: stop,
    }
}

fn misbehaving(upgrade: BadUpgrade) -> Gateway {
    gateway(Config {
        misbehave: Misbehave {
            upgrade: Some(upgrade),
            ..Misbehave::default()
        },
        ..Config::default()
    })
}

/// Ten subscribers and two publishers; 100 publishes, of which some are on their way when connections are upgraded.
fn scenario(address: SocketAddr, polling: &str, more: &str) -> String {
    format!(
        "name: test
target: {{ url: 'ws://{address}/', connect_timeout: 2s }}
clients:
  subs: {{ count: 10, subscribe: [t, u], keep_cookies: true, protocol: &by {{ socket_io: {{ polling: {polling} }} }}{more} }}
  pubs: {{ count: 2, publish: {{ topic: t, rate: 100/s, in: told, size: 200B }}, protocol: *by }}
phases:
  - {{ name: open, for: 300ms }}
  - {{ name: told, for: 1s }}
generator: {{ drain: 3s, max_lag: 50s }}
"
    )
}

fn counts(totals: &Totals, wanted: &[(Counter, u64)]) {
    let got = |counter| totals.count(counter, None, None);
    let told: Vec<_> = wanted
        .iter()
        .map(|(counter, _)| (counter, got(*counter)))
        .collect();
    let failed = failures(totals);
    for (counter, wanted) in wanted {
        assert_eq!(got(*counter), *wanted, "{counter:?}: {told:?}, {failed:?}");
    }
}

/// Everything was delivered and acknowledged, once.
fn all_there(totals: &Totals) {
    assert_eq!(failures(totals).into_iter().collect::<Vec<_>>(), []);
    counts(
        totals,
        &[
            (Counter::Opened, 12),
            (Counter::Sent, 100),
            (Counter::Acked, 100),
            (Counter::Unique, 1000),
            (Counter::Expected, 1000),
            (Counter::Lost, 0),
            (Counter::Duplicated, 0),
            (Counter::Reordered, 0),
            (Counter::Errors, 0),
            (Counter::UnknownSession, 0),
        ],
    );
}

#[test]
fn what_stays_on_polling_says_and_hears_all() {
    let gateway = gateway(Config {
        ping: Some(gateway::Ping {
            every: Duration::from_millis(100),
            timeout: Duration::from_secs(20),
        }),
        ..Config::default()
    });
    for polling in ["only", "only, binary: true"] {
        let totals = run(&scenario(gateway.address, polling, ""));
        all_there(&totals);
        counts(
            &totals,
            &[
                (Counter::Polled, 12),
                (Counter::Upgraded, 0),
                (Counter::StuckRefused, 0),
            ],
        );
        // Each answer is followed by another GET.
        assert!(totals.histogram(Timer::Gap, None, None).len() > 100);
    }
}

#[test]
fn nothing_is_lost_or_doubled_on_the_way_to_a_websocket() {
    let gateway = gateway(Config::default());
    for polling in ["true", "upgrade, binary: true", "handshake"] {
        // What is published comes to those that are open while others open, and is said by whoever has just opened.
        let text = scenario(gateway.address, polling, "")
            .replace("rate: 100/s, in: told", "rate: 1000/s")
            .replace("for: 300ms }", "for: 300ms, open: { subs: linear } }");
        let totals = run(&text);
        assert_eq!(
            failures(&totals).into_iter().collect::<Vec<_>>(),
            [],
            "{polling}"
        );
        counts(
            &totals,
            &[
                (Counter::Polled, 12),
                (Counter::Upgraded, 12),
                (Counter::Lost, 0),
                (Counter::Duplicated, 0),
                (Counter::Reordered, 0),
                (Counter::Errors, 0),
            ],
        );
        let sent = totals.count(Counter::Sent, None, None);
        assert_eq!(totals.count(Counter::Acked, None, None), sent);
        assert!(sent > 0);
        assert_eq!(totals.histogram(Timer::Switch, None, None).len(), 12);
    }
}

#[test]
fn who_is_stuck_on_polling_is_told_apart_by_cause_and_misses_nothing() {
    for (upgrade, cause) in [
        (BadUpgrade::NotOffered, Counter::StuckUnoffered),
        (BadUpgrade::Refuse, Counter::StuckRefused),
        (BadUpgrade::Mute, Counter::StuckTimeout),
        (BadUpgrade::Cut, Counter::StuckFailed),
    ] {
        let gateway = misbehaving(upgrade);
        let text = scenario(gateway.address, "true", "");
        // So that the wait for the probe is over before the run is.
        let text = text.replace("connect_timeout: 2s", "connect_timeout: 900ms");
        let totals = run(&text);
        all_there(&totals);
        let causes = [
            Counter::StuckUnoffered,
            Counter::StuckRefused,
            Counter::StuckTimeout,
            Counter::StuckFailed,
        ];
        let wanted = causes.map(|of| (of, if of == cause { 12 } else { 0 }));
        counts(&totals, &wanted);
        counts(&totals, &[(Counter::Polled, 12), (Counter::Upgraded, 0)]);
    }
}

#[test]
fn nodes_without_stickiness_show_as_unknown_sessions() {
    let reserved = gateway::reserve("127.0.0.1:0".parse().unwrap()).unwrap();
    let node = |node| {
        gateway(Config {
            listen: reserved.address(),
            reuse_port: true,
            node,
            ..Config::default()
        })
    };
    let _nodes = [node(0), node(1)];
    let text = scenario(reserved.address(), "only", "").replace("count: 10", "count: 100");
    let totals = run(&text);
    let unknown = totals.count(Counter::UnknownSession, None, None);
    let statuses = totals.statuses(None, None);
    // Of a hundred each has its posts come to the other node as likely as not.
    assert!((10..=100).contains(&unknown), "{unknown}: {statuses:?}");
    assert_eq!(statuses.get(&400), Some(&unknown), "{statuses:?}");
    assert_eq!(failures(&totals).get("status"), Some(&unknown));
    let opened = totals.count(Counter::Opened, None, None);
    assert_eq!(
        opened + unknown,
        totals.count(Counter::Attempts, None, None)
    );
}

#[test]
fn who_is_cut_while_polling_comes_back() {
    let gateway = gateway(Config::default());
    for (polling, how) in [
        ("only", "reset"),
        ("only", "fin"),
        ("only", "close"),
        ("true", "reset"),
    ] {
        let more = ", reconnect: { backoff: constant, base: 100ms }";
        let text = scenario(gateway.address, polling, more).replace(
            "name: told, for: 1s",
            &format!("name: told, for: 1s, faults: [ {{ drop: {{ clients: subs, share: 50%, how: {how}, after: 300ms }} }} ]"),
        );
        let totals = run(&text);
        counts(
            &totals,
            &[
                (Counter::Cut, 5),
                (Counter::Reconnected, 5),
                (Counter::Lost, 0),
                (Counter::Duplicated, 0),
                (Counter::Unacked, 0),
                (Counter::Polled, 17),
            ],
        );
    }
}
