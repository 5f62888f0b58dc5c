//! Several nodes that are one gateway, in this process, joined over memory.

use super::super::bus::supervisor::{Bounds, supervise_within};
use super::super::bus::wire::{Down, Inbox, Up, encode};
use super::*;
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::sync::mpsc;

pub(super) type Link = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

/// Nodes under test, each as a [`Gateway`].
pub(super) struct Nodes {
    pub(super) nodes: Vec<Gateway>,
    stop: oneshot::Sender<()>,
    supervised: JoinHandle<Result<Summary, GatewayError>>,
}

fn bounds() -> Bounds {
    Bounds {
        room: 8 << 20,
        patience: Duration::from_secs(20),
    }
}

/// A link: the supervisor's end and the node's.
pub(super) fn link() -> (Link, Link) {
    let (one, other) = duplex(64 * 1024);
    (split(one), split(other))
}

async fn supervised(
    bounds: Bounds,
    links: Vec<Link>,
    config: Config,
) -> (
    Vec<SocketAddr>,
    oneshot::Sender<()>,
    JoinHandle<Result<Summary, GatewayError>>,
) {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, addresses) = oneshot::channel();
    let orders = vec![config; links.len()];
    let (_, rejoins) = mpsc::unbounded_channel();
    let supervised = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        let ready = move |addresses: &[SocketAddr]| _ = ready.send(addresses.to_vec());
        supervise_within(bounds, links, &orders, rejoins, shutdown, ready).await
    });
    (within(addresses).await.unwrap(), stop, supervised)
}

impl Nodes {
    pub(super) async fn start(count: usize, config: Config) -> Nodes {
        let mut links = Vec::new();
        let mut served = Vec::new();
        for _ in 0..count {
            let (ours, (reader, writer)) = link();
            links.push(ours);
            served.push(tokio::spawn(serve_node(
                reader,
                writer,
                std::future::pending::<()>(),
            )));
        }
        let (addresses, stop, supervised) = supervised(bounds(), links, config).await;
        let nodes = addresses.into_iter().zip(served);
        let nodes = nodes.map(|(address, served)| Gateway {
            address,
            stop: None,
            served,
        });
        Nodes {
            nodes: nodes.collect(),
            stop,
            supervised,
        }
    }

    /// Stops all and checks each node's books, and that the sum is theirs.
    pub(super) async fn stop(self) -> (Vec<Stats>, Summary) {
        drop(self.stop);
        let mut all = Vec::new();
        let mut sum = Stats::default();
        for node in self.nodes {
            let stats = node.stopped().await;
            sum.absorb(&stats);
            all.push(stats);
        }
        let summary = within(self.supervised).await.unwrap().unwrap();
        assert_eq!(summary.total(), sum);
        (all, summary)
    }
}

#[tokio::test]
async fn a_publish_anywhere_is_heard_everywhere_and_numbered_once() {
    let nodes = Nodes::start(3, brief()).await;
    let mut subscribers = Vec::new();
    for node in &nodes.nodes {
        for _ in 0..2 {
            let mut client = node.connect().await;
            assert_eq!(subscribe(&mut client, "t").await, 0);
            subscribers.push(client);
        }
    }
    let mut publishers = Vec::new();
    for node in &nodes.nodes {
        publishers.push(node.connect().await);
    }
    for n in 1..=30 {
        let publisher = &mut publishers[n as usize % 3];
        assert_eq!(publish(publisher, "t", json!(n)).await, n);
    }
    for client in &mut subscribers {
        for n in 1..=30u64 {
            let message = next_json(client).await;
            assert_eq!(
                (&message["seq"], &message["payload"]),
                (&json!(n), &json!(n))
            );
        }
    }
    let (stats, summary) = nodes.stop().await;
    for node in &stats {
        assert_eq!((node.published, node.deliveries), (10, 60));
    }
    assert_eq!((summary.bus.published, summary.bus.delivered), (30, 90));
}

#[tokio::test]
async fn nothing_after_an_acknowledgement_is_missed_while_others_publish() {
    let nodes = Nodes::start(2, brief()).await;
    let (stop, mut stopped) = oneshot::channel::<()>();
    let mut publisher = nodes.nodes[0].connect().await;
    let publishing = tokio::spawn(async move {
        let mut count = 0u64;
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            count += 1;
            assert_eq!(publish(&mut publisher, "t", json!(count)).await, count);
        }
        count
    });
    // Coming and going, first of its node each time.
    for _ in 0..50 {
        let mut client = nodes.nodes[1].connect().await;
        let from = subscribe(&mut client, "t").await;
        for n in 1..=3 {
            assert_eq!(next_json(&mut client).await["seq"], from + n);
        }
        send(
            &mut client,
            json!({"type": "unsubscribe", "topic": "t", "id": 2}),
        )
        .await;
        let mut last = from + 3;
        loop {
            let message = next_json(&mut client).await;
            if message["type"] == "unsubscribed" {
                assert_eq!(message["seq"], last);
                break;
            }
            last += 1;
            assert_eq!(message["seq"], last);
        }
        let again = subscribe(&mut client, "t").await;
        assert!(again >= last);
        assert_eq!(next_json(&mut client).await["seq"], again + 1);
    }
    drop(stop);
    let count = within(publishing).await.unwrap();
    let mut late = nodes.nodes[1].connect().await;
    assert_eq!(subscribe(&mut late, "t").await, count);
    nodes.stop().await;
}

#[tokio::test]
async fn a_publishers_order_holds_and_its_acknowledgements_are_its_own() {
    let nodes = Nodes::start(2, brief()).await;
    let mut subscriber = nodes.nodes[1].connect().await;
    subscribe(&mut subscriber, "t").await;
    let mut publishers = Vec::new();
    for node in &nodes.nodes {
        for _ in 0..2 {
            publishers.push(node.connect().await);
        }
    }
    // All at once, not waiting for answers.
    for n in 0..50 {
        for (p, client) in publishers.iter_mut().enumerate() {
            let payload = json!([p, n]);
            let message = json!({"type": "publish", "topic": "t", "id": n, "payload": payload});
            send(client, message).await;
        }
    }
    let mut numbers = Vec::new();
    let mut next_of = [0; 4];
    for seq in 1..=200u64 {
        let message = next_json(&mut subscriber).await;
        assert_eq!(message["seq"], seq);
        let p = message["payload"][0].as_u64().unwrap() as usize;
        assert_eq!(message["payload"][1], next_of[p]);
        numbers.push((p, next_of[p], seq));
        next_of[p] += 1;
    }
    for (p, n, seq) in numbers {
        let ack = next_json(&mut publishers[p]).await;
        assert_eq!((&ack["id"], &ack["seq"]), (&json!(n), &json!(seq)));
    }
    nodes.stop().await;
}

#[tokio::test]
async fn one_that_dies_leaves_the_others_serving() {
    let nodes = Nodes::start(3, brief()).await;
    let mut doomed = nodes.nodes[1].connect().await;
    subscribe(&mut doomed, "t").await;
    let mut subscriber = nodes.nodes[2].connect().await;
    subscribe(&mut subscriber, "t").await;
    // As a kill does it: no word, the streams just end.
    nodes.nodes[1].served.abort();
    let Nodes {
        nodes: mut left,
        stop,
        supervised,
    } = nodes;
    drop(left.remove(1));
    let mut publisher = left[0].connect().await;
    for n in 1..=5 {
        assert_eq!(publish(&mut publisher, "t", json!(n)).await, n);
        assert_eq!(next_json(&mut subscriber).await["seq"], n);
    }
    drop(stop);
    for node in left {
        node.stopped().await;
    }
    let summary = within(supervised).await.unwrap().unwrap();
    let told: Vec<bool> = summary.nodes.iter().map(Option::is_some).collect();
    assert_eq!(told, [true, false, true]);
}

#[tokio::test]
async fn drains_as_one_gateway_does() {
    let nodes = Nodes::start(
        2,
        Config {
            drain_window: Duration::ZERO,
            ..Config::default()
        },
    )
    .await;
    let mut clients = Vec::new();
    for node in &nodes.nodes {
        let mut client = node.connect().await;
        subscribe(&mut client, "t").await;
        clients.push(client);
    }
    assert_eq!(publish(&mut clients[0], "u", json!(1)).await, 1);
    let mut supervised = nodes.supervised;
    drop(nodes.stop);
    for client in &mut clients {
        assert_eq!(closed(client).await, Some(1001));
    }
    let summary = within(&mut supervised).await.unwrap().unwrap();
    let total = summary.total();
    assert_eq!((total.closed_by_code[&1001], total.open), (2, 0));
    assert_eq!(total.cut_at_deadline, 0);
}

#[tokio::test]
async fn a_node_that_cannot_serve_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (first, (reader, writer)) = link();
    let one = tokio::spawn(serve_node(reader, writer, std::future::pending::<()>()));
    let (second, (reader, writer)) = link();
    let other = tokio::spawn(serve_node(reader, writer, std::future::pending::<()>()));
    let orders = [
        brief(),
        Config {
            listen: taken.local_addr().unwrap(),
            ..brief()
        },
    ];
    let never = std::future::pending::<()>();
    let links = vec![first, second];
    let (_, rejoins) = mpsc::unbounded_channel();
    let served = supervise(links, &orders, rejoins, never, |_| panic!("not ready"));
    let error = within(served).await.unwrap_err().to_string();
    assert!(error.starts_with("node 1: cannot listen"), "{error}");
    assert!(within(other).await.unwrap().is_err());
    // Its supervisor is gone, so the other one ends too.
    within(one).await.unwrap().unwrap();
}

/// A node played by the test: listens in name only.
async fn play(link: &mut Link, topic: &str) -> Inbox {
    let mut inbox = Inbox::default();
    while !matches!(inbox.next::<Down<'_>>().unwrap(), Some(Down::Order { .. })) {
        assert!(within(inbox.fill(&mut link.0)).await.unwrap());
    }
    let mut bytes = Vec::new();
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    encode(&Up::Listening { address }, &mut bytes);
    encode(&Up::Interest { topic }, &mut bytes);
    within(link.1.write_all(&bytes)).await.unwrap();
    inbox
}

#[tokio::test]
async fn a_node_that_takes_nothing_slows_publishers_and_is_given_up() {
    let (first, mut publisher) = link();
    let (second, mut silent) = link();
    let bounds = Bounds {
        room: 100_000,
        patience: Duration::from_millis(300),
    };
    let payload = "x".repeat(1000);
    let (orders, addresses) = (
        async {
            let inbox = play(&mut publisher, "u").await;
            play(&mut silent, "t").await;
            (inbox, (publisher, silent))
        },
        supervised(bounds, vec![first, second], brief()),
    );
    let ((mut inbox, (mut publisher, silent)), (_, stop, supervised)) =
        tokio::join!(orders, addresses);
    let mut bytes = Vec::new();
    for token in 1..=2000 {
        let message = Up::Publish {
            topic: "t",
            payload: &payload,
            token: Some(token),
        };
        encode(&message, &mut bytes);
    }
    // 2 MB go nowhere while 100 kB may wait: this returns because the silent node is given up.
    let writing = tokio::spawn(async move {
        publisher.1.write_all(&bytes).await.unwrap();
        publisher.1
    });
    let mut before_room = 0;
    let mut last = 0;
    while last < 2000 {
        assert!(within(inbox.fill(&mut publisher.0)).await.unwrap());
        while let Some(message) = inbox.next::<Down<'_>>().unwrap() {
            if let Down::Published { token, sequence } = message {
                assert_eq!((token, sequence), (last + 1, Some(token)));
                last = token;
            }
        }
        if !writing.is_finished() {
            before_room = last;
        }
    }
    assert!(before_room < 2000);
    drop((within(writing).await.unwrap(), publisher.0, silent, stop));
    let summary = within(supervised).await.unwrap().unwrap();
    assert_eq!(summary.bus.given_up, 1);
    assert!(summary.bus.delivered < 400, "{:?}", summary.bus);
}

#[tokio::test]
async fn a_slow_bus_makes_clients_wait_and_loses_nothing() {
    let (mut ours, (reader, writer)) = link();
    let node = tokio::spawn(serve_node(reader, writer, std::future::pending::<()>()));
    let mut bytes = Vec::new();
    let config = serde_json::to_string(&brief()).unwrap();
    encode(&Down::Order { config: &config }, &mut bytes);
    within(ours.1.write_all(&bytes)).await.unwrap();
    let mut inbox = Inbox::default();
    let address = loop {
        if let Some(Up::Listening { address }) = inbox.next().unwrap() {
            break address;
        }
        assert!(within(inbox.fill(&mut ours.0)).await.unwrap());
    };
    let node = Gateway {
        address,
        stop: None,
        served: node,
    };
    let mut client = node.connect().await;
    // Far more than the bus, the node and both sockets hold, to a supervisor that does not read yet.
    let payload = "x".repeat(100_000);
    let mut sent = 0u64;
    let message = json!({"type": "publish", "topic": "t", "payload": payload}).to_string();
    while tokio::time::timeout(
        Duration::from_millis(300),
        client.send(Message::text(message.clone())),
    )
    .await
    .is_ok()
    {
        sent += 1;
        assert!(sent < 1000, "100 MB are waiting somewhere");
    }
    // The one that did not fit is still on its way.
    sent += 1;
    let flushing = tokio::spawn(async move { client.flush().await });
    for _ in 0..sent {
        loop {
            if let Some(message) = inbox.next().unwrap() {
                assert!(matches!(message, Up::Publish { token: None, .. }));
                break;
            }
            assert!(within(inbox.fill(&mut ours.0)).await.unwrap());
        }
    }
    within(flushing).await.unwrap().unwrap();
    drop(ours);
    assert_eq!(node.stopped().await.published, sent);
}

#[tokio::test]
async fn a_node_takes_anothers_place_and_numbers_go_on() {
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, addresses) = oneshot::channel();
    let (rejoin, rejoins) = mpsc::unbounded_channel();
    let (first, (reader, writer)) = link();
    let one = tokio::spawn(serve_node(reader, writer, std::future::pending::<()>()));
    let (second, (reader, writer)) = link();
    let (leave, left) = oneshot::channel::<()>();
    let leaving = async { drop(left.await) };
    let other = tokio::spawn(serve_node(reader, writer, leaving));
    let supervised = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        let ready = move |addresses: &[SocketAddr]| _ = ready.send(addresses.to_vec());
        let orders = vec![brief(); 2];
        supervise_within(
            bounds(),
            vec![first, second],
            &orders,
            rejoins,
            shutdown,
            ready,
        )
        .await
    });
    let addresses = within(addresses).await.unwrap();
    let gateway = |address, served| Gateway {
        address,
        stop: None,
        served,
    };
    let (one, other) = (gateway(addresses[0], one), gateway(addresses[1], other));
    let mut publisher = one.connect().await;
    let mut subscriber = other.connect().await;
    subscribe(&mut subscriber, "t").await;
    for n in 1..=3 {
        assert_eq!(publish(&mut publisher, "t", json!(n)).await, n);
        assert_eq!(next_json(&mut subscriber).await["seq"], n);
    }
    // The bus is told first; then the node is asked to end, as by a signal.
    let (linked, to_link) = oneshot::channel();
    let (listening, listens) = oneshot::channel();
    let (farewell, told) = oneshot::channel();
    let sent = rejoin.send(Rejoin {
        node: 1,
        config: brief(),
        link: to_link,
        listening,
        farewell,
    });
    assert!(sent.is_ok());
    drop(leave);
    assert_eq!(closed(&mut subscriber).await, Some(1001));
    let stats = other.stopped().await;
    assert_eq!(within(told).await.unwrap(), stats);
    // While nobody is there, nothing is kept for it and nothing waits for it.
    assert_eq!(publish(&mut publisher, "t", json!(4)).await, 4);
    let (ours, (reader, writer)) = link();
    let anew = tokio::spawn(serve_node(reader, writer, std::future::pending::<()>()));
    assert!(linked.send(ours).is_ok());
    let address = within(listens).await.unwrap().unwrap();
    let anew = gateway(address, anew);
    let mut subscriber = anew.connect().await;
    assert_eq!(subscribe(&mut subscriber, "t").await, 4, "where it stands");
    assert_eq!(publish(&mut publisher, "t", json!(5)).await, 5);
    assert_eq!(next_json(&mut subscriber).await["seq"], 5);
    drop(stop);
    let ends = [one.stopped().await, anew.stopped().await];
    let summary = within(supervised).await.unwrap().unwrap();
    let mut sum = stats;
    ends.iter().for_each(|end| sum.absorb(end));
    assert_eq!(summary.total(), sum, "both lives of the second node count");
    assert_eq!(sum.published, 5);
}

#[tokio::test]
async fn a_node_that_never_comes_back_leaves_the_others_to_end() {
    let (_stop, stopped) = oneshot::channel::<()>();
    let (rejoin, rejoins) = mpsc::unbounded_channel();
    let (ours, (reader, writer)) = link();
    let (leave, left) = oneshot::channel::<()>();
    let leaving = async { drop(left.await) };
    let node = tokio::spawn(serve_node(reader, writer, leaving));
    let (ready, is_ready) = oneshot::channel();
    let supervised = tokio::spawn(async move {
        let shutdown = async { drop(stopped.await) };
        let orders = [brief()];
        let ready = move |_: &[SocketAddr]| _ = ready.send(());
        supervise_within(bounds(), vec![ours], &orders, rejoins, shutdown, ready).await
    });
    within(is_ready).await.unwrap();
    let (linked, link) = oneshot::channel::<Link>();
    let (listening, listens) = oneshot::channel();
    let (farewell, _told) = oneshot::channel();
    let config = brief();
    let sent = rejoin.send(Rejoin {
        node: 0,
        config,
        link,
        listening,
        farewell,
    });
    assert!(sent.is_ok());
    drop(leave);
    within(node).await.unwrap().unwrap();
    assert!(!supervised.is_finished(), "one is to come");
    drop(linked);
    assert!(within(listens).await.is_err());
    within(supervised).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_on_which_another_gateway_listens_is_not_to_be_had() {
    let shared = Config {
        reuse_port: true,
        ..brief()
    };
    let other = Gateway::start(shared).await;
    let error = reserve(other.address).unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 127.0.0.1"), "{error}");
    let address = other.address;
    other.stop().await;
    let reserved = reserve(address).unwrap();
    assert_eq!(reserved.address(), address);
    // Held by somebody who does not listen, it is free for those who share it.
    let node = Gateway::start(Config {
        listen: address,
        reuse_port: true,
        ..brief()
    })
    .await;
    assert_eq!(node.address, address);
    node.stop().await;
}

/// Slow clients hold up who publishes at their own node; for the others their queue grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_block_a_publisher_waits_for_those_at_its_own_node() {
    const COUNT: u64 = 200;
    let config = Config {
        queue: 4,
        when_full: WhenFull::Block,
        send_buffer: Some(16 * 1024),
        ..brief()
    };
    let nodes = Nodes::start(2, config).await;
    let [here, there] = &nodes.nodes[..] else {
        panic!("two nodes");
    };
    let mut slow = here.connect().await;
    subscribe(&mut slow, "much").await;
    let filler = "x".repeat(16 * 1024);
    let mut elsewhere = there.connect().await;
    for n in 1..=COUNT {
        assert_eq!(publish(&mut elsewhere, "much", json!(filler)).await, n);
    }
    // Numbered is not yet delivered.
    within(async { while here.stats().await.deliveries < COUNT {} }).await;
    let mut beside = here.connect().await;
    let publishing = tokio::spawn(async move {
        for n in 1..=3 {
            assert_eq!(publish(&mut beside, "much", json!(n)).await, COUNT + n);
        }
    });
    let published = within(super::slow::settled(here, |stats| stats.published)).await;
    assert_eq!(published, 1, "the second is not read");
    assert!(!publishing.is_finished());
    for n in 1..=COUNT + 3 {
        assert_eq!(next_json(&mut slow).await["seq"], n);
    }
    within(publishing).await.unwrap();
    let (stats, _) = nodes.stop().await;
    assert_eq!((stats[1].blocked, stats[0].dropped_full), (0, 0));
    assert!(stats[0].blocked > 0);
}
