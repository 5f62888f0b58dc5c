//! Clients that come back, at the same gateway or at another node of it, and what they are brought.

use super::super::bus::wire::{Down, Inbox, Up, encode};
use super::nodes::{Nodes, link};
use super::*;
use crate::gateway::History;

fn keeping(messages: usize) -> Config {
    Config {
        history: Some(History {
            messages,
            ..History::default()
        }),
        ..brief()
    }
}

/// Subscribes as one that comes back; the acknowledgement.
async fn resubscribe(client: &mut Client, since: u64, epoch: &str) -> Value {
    send(
        client,
        json!({"type": "subscribe", "topic": "t", "id": 1, "since": since, "epoch": epoch}),
    )
    .await;
    next_json(client).await
}

/// Subscribes for the first time; the topic's number and epoch.
async fn first(client: &mut Client) -> (u64, String) {
    send(client, json!({"type": "subscribe", "topic": "t", "id": 1})).await;
    let ack = next_json(client).await;
    assert_eq!(ack["recovered"], Value::Null, "it did not ask: {ack}");
    let epoch = ack["epoch"].as_str().unwrap().to_owned();
    (ack["seq"].as_u64().unwrap(), epoch)
}

async fn publish_up_to(publisher: &mut Client, from: u64, to: u64) {
    for n in from..=to {
        assert_eq!(publish(publisher, "t", json!(n)).await, n);
    }
}

/// A client hears 1 to 5 at `here`, is away for 6 to 12, and comes back `there`, while it goes on.
async fn comes_back(here: &Gateway, there: &Gateway) {
    let mut publisher = here.connect().await;
    let mut client = here.connect().await;
    let (last, epoch) = first(&mut client).await;
    assert_eq!(last, 0);
    publish_up_to(&mut publisher, 1, 5).await;
    assert_eq!(delivered_to(&mut client, 5).await, [1, 2, 3, 4, 5]);
    drop(client);
    publish_up_to(&mut publisher, 6, 12).await;
    let mut client = there.connect().await;
    let ack = resubscribe(&mut client, 5, &epoch).await;
    assert_eq!(
        ack,
        json!({"type": "subscribed", "topic": "t", "id": 1, "seq": 12, "epoch": epoch, "recovered": true})
    );
    publish_up_to(&mut publisher, 13, 14).await;
    let expected: Vec<u64> = (6..=14).collect();
    assert_eq!(delivered_to(&mut client, 9).await, expected);

    // Too far behind for what is kept, and with an epoch that never was.
    for (since, epoch) in [(3, epoch.as_str()), (14, "nonsense")] {
        let mut client = there.connect().await;
        let ack = resubscribe(&mut client, since, epoch).await;
        assert_eq!(
            (&ack["recovered"], &ack["seq"]),
            (&json!(false), &json!(14)),
            "{ack}"
        );
        assert_eq!(delivered(&mut client).await, [0u64; 0]);
    }
    // Nothing was missed.
    let mut client = there.connect().await;
    assert_eq!(
        resubscribe(&mut client, 14, &epoch).await["recovered"],
        true
    );
    assert_eq!(delivered(&mut client).await, [0u64; 0]);
}

/// The numbers of the next deliveries.
async fn delivered_to(client: &mut Client, count: usize) -> Vec<u64> {
    let mut all = Vec::new();
    for _ in 0..count {
        let message = next_json(client).await;
        assert_eq!(message["type"], "message", "{message}");
        all.push(message["seq"].as_u64().unwrap());
    }
    all
}

#[tokio::test]
async fn a_client_that_comes_back_is_brought_what_it_missed() {
    let gateway = Gateway::start(keeping(10)).await;
    comes_back(&gateway, &gateway).await;
    let stats = gateway.stop().await;
    assert_eq!(
        (stats.resumed, stats.state_lost, stats.recovered),
        (2, 2, 7)
    );
}

#[tokio::test]
async fn so_it_is_at_another_node() {
    let nodes = Nodes::start(2, keeping(10)).await;
    comes_back(&nodes.nodes[0], &nodes.nodes[1]).await;
    let (_, summary) = nodes.stop().await;
    let stats = summary.total();
    assert_eq!(
        (stats.resumed, stats.state_lost, stats.recovered),
        (2, 2, 7)
    );
    assert_eq!(summary.bus.recovered, 7);
}

/// Resumes three topics at once, of each of which it missed as much as its queue holds.
async fn resumes_many(here: &Gateway, what: &str) {
    const TOPICS: [&str; 3] = ["a", "b", "c"];
    let mut publisher = here.connect().await;
    for topic in TOPICS {
        for n in 1..=8 {
            assert_eq!(publish(&mut publisher, topic, json!(n)).await, n);
        }
    }
    let mut client = here.connect().await;
    for topic in TOPICS {
        let ask = json!({"type": "subscribe", "topic": topic, "id": 1, "since": 0});
        client.feed(Message::text(ask.to_string())).await.unwrap();
    }
    within(client.flush()).await.unwrap();
    let mut got = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for _ in 0..TOPICS.len() * 9 {
        let message = next_json(&mut client).await;
        let of = got
            .entry(message["topic"].as_str().unwrap().to_owned())
            .or_default();
        match message["type"].as_str() {
            Some("subscribed") => assert_eq!(message["recovered"], true, "{what}"),
            _ => of.push(message["seq"].as_u64().unwrap()),
        }
    }
    for topic in TOPICS {
        assert_eq!(got[topic], Vec::from_iter(1..=8), "{topic}, {what}");
    }
}

#[tokio::test]
async fn no_policy_drops_what_a_client_was_told_it_would_get() {
    use WhenFull::{Block, Buffer, Disconnect, DropNewest, DropOldest};
    for when_full in [DropNewest, DropOldest, Disconnect, Buffer, Block] {
        for head_of_line in [false, true] {
            let mut config = Config {
                queue: 8,
                when_full,
                ..keeping(8)
            };
            config.misbehave.head_of_line = head_of_line;
            let what = format!("{when_full:?}, {head_of_line}");
            let gateway = Gateway::start(config.clone()).await;
            resumes_many(&gateway, &what).await;
            let stats = gateway.stop().await;
            assert_eq!((stats.recovered, stats.dropped_full), (24, 0), "{what}");
            let nodes = Nodes::start(1, config).await;
            resumes_many(&nodes.nodes[0], &what).await;
            let (_, summary) = nodes.stop().await;
            assert_eq!(summary.total().dropped_full, 0, "{what}");
        }
    }
}

/// Whoever comes back while others publish gets each message once and in order, whatever the moment.
async fn comes_and_goes(here: &Gateway, there: &Gateway) {
    let mut client = there.connect().await;
    let (_, epoch) = first(&mut client).await;
    let (stop, mut stopped) = oneshot::channel::<()>();
    let mut publisher = here.connect().await;
    let publishing = tokio::spawn(async move {
        let mut count = 0u64;
        while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            count += 1;
            assert_eq!(publish(&mut publisher, "t", json!(count)).await, count);
        }
    });
    let mut heard = 0;
    for round in 0..40 {
        for _ in 0..5 {
            heard += 1;
            assert_eq!(delivered_to(&mut client, 1).await, [heard], "round {round}");
        }
        client = there.connect().await;
        let ack = resubscribe(&mut client, heard, &epoch).await;
        assert_eq!(ack["recovered"], true, "{ack}");
    }
    drop(stop);
    publishing.await.unwrap();
}

#[tokio::test]
async fn coming_back_while_others_publish_leaves_no_hole() {
    let gateway = Gateway::start(keeping(1000)).await;
    comes_and_goes(&gateway, &gateway).await;
    gateway.stop().await;
    let nodes = Nodes::start(2, keeping(1000)).await;
    comes_and_goes(&nodes.nodes[0], &nodes.nodes[1]).await;
    nodes.stop().await;
}

#[tokio::test]
async fn without_a_history_nothing_is_told_and_nothing_recovered() {
    let gateway = Gateway::start(brief()).await;
    let mut client = gateway.connect().await;
    let ack = resubscribe(&mut client, 0, "any").await;
    assert_eq!(
        ack,
        json!({"type": "subscribed", "topic": "t", "id": 1, "seq": 0})
    );
    gateway.stop().await;
}

#[tokio::test]
async fn another_epoch_begins_once() {
    let mut config = keeping(10);
    config.misbehave.reset_epoch_after = Some(Duration::from_millis(300));
    let gateway = Gateway::start(config).await;
    let mut client = gateway.connect().await;
    let (_, before) = first(&mut client).await;
    // The clock decides, and it is asked until it has.
    let after = loop {
        let mut client = gateway.connect().await;
        let (_, epoch) = first(&mut client).await;
        if epoch != before {
            break epoch;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mut client = gateway.connect().await;
    assert_eq!(
        resubscribe(&mut client, 0, &before).await["recovered"],
        false
    );
    let mut client = gateway.connect().await;
    let ack = resubscribe(&mut client, 0, &after).await;
    assert_eq!(
        (&ack["recovered"], &ack["epoch"]),
        (&json!(true), &json!(after))
    );
    gateway.stop().await;
}

/// A topic too many, or a client that leaves before the bus has answered: nothing is owed for ever.
#[tokio::test]
async fn leaving_before_the_answer_is_no_trouble() {
    let nodes = Nodes::start(2, keeping(10)).await;
    for _ in 0..50 {
        let mut client = nodes.nodes[0].connect().await;
        for kind in ["subscribe", "unsubscribe", "subscribe"] {
            send(&mut client, json!({"type": kind, "topic": "t"})).await;
        }
        drop(client);
    }
    let mut client = nodes.nodes[0].connect().await;
    let (last, _) = first(&mut client).await;
    let mut publisher = nodes.nodes[1].connect().await;
    publish_up_to(&mut publisher, last + 1, last + 3).await;
    assert_eq!(delivered_to(&mut client, 3).await, [1, 2, 3]);
    nodes.stop().await;
}

/// The next thing that a node says to its supervisor, as the test that plays it needs to know it.
async fn said<R: tokio::io::AsyncRead + Unpin>(
    inbox: &mut Inbox,
    reader: &mut R,
) -> (&'static str, SocketAddr, u64, u64) {
    let nobody = SocketAddr::from(([0, 0, 0, 0], 0));
    loop {
        match inbox.next::<Up<'_>>().unwrap() {
            Some(Up::Listening { address }) => return ("listening", address, 0, 0),
            Some(Up::Subscribe { token, client, .. }) => {
                return ("subscribe", nobody, token, client);
            }
            Some(Up::Disinterest { .. }) => return ("disinterest", nobody, 0, 0),
            Some(other) => panic!("{other:?}"),
            None => assert!(within(inbox.fill(reader)).await.unwrap(), "the end"),
        }
    }
}

/// What is on its way while the supervisor has not answered is not for whoever waits: that comes behind the answer, in order.
#[tokio::test]
async fn nothing_is_delivered_before_the_supervisors_answer() {
    let ((mut reader, mut writer), (theirs, to)) = link();
    let node = tokio::spawn(serve_node(theirs, to, std::future::pending::<()>()));
    let mut inbox = Inbox::default();
    let mut bytes = Vec::new();
    let config = serde_json::to_string(&keeping(10)).unwrap();
    encode(&Down::Order { config: &config }, &mut bytes);
    within(writer.write_all(&bytes)).await.unwrap();
    let (_, address, ..) = said(&mut inbox, &mut reader).await;
    let gateway = Gateway {
        address,
        stop: None,
        served: node,
    };
    let deliver = |sequence| Down::Deliver {
        topic: "t",
        sequence,
        payload: "0",
    };
    let answer = |token, sequence, recovered| Down::Subscribed {
        token,
        answer: Some((sequence, 0xe, recovered)),
    };
    // One is there already, so that the topic is heard.
    let mut there = gateway.connect().await;
    send(&mut there, json!({"type": "subscribe", "topic": "t"})).await;
    let (.., token, _) = said(&mut inbox, &mut reader).await;
    bytes.clear();
    encode(&answer(token, 3, None), &mut bytes);
    within(writer.write_all(&bytes)).await.unwrap();
    assert_eq!(next_json(&mut there).await["seq"], 3);

    let mut back = gateway.connect().await;
    let message =
        json!({"type": "subscribe", "topic": "t", "since": 3, "epoch": "000000000000000e"});
    send(&mut back, message).await;
    let (.., token, client) = said(&mut inbox, &mut reader).await;
    bytes.clear();
    encode(&deliver(4), &mut bytes);
    // Missed by whoever asked before and is not there any more, or asked again.
    let mut missed = |sequence, client| {
        let message = Down::Missed {
            topic: "t",
            client,
            sequence,
            payload: "0",
        };
        encode(&message, &mut bytes);
    };
    missed(4, client);
    missed(4, client + 1);
    encode(&answer(token, 5, Some(true)), &mut bytes);
    for sequence in [4, 5] {
        let message = Down::Missed {
            topic: "t",
            client,
            sequence,
            payload: "0",
        };
        encode(&message, &mut bytes);
    }
    encode(&deliver(6), &mut bytes);
    within(writer.write_all(&bytes)).await.unwrap();
    let ack = next_json(&mut back).await;
    assert_eq!(
        (&ack["type"], &ack["seq"], &ack["recovered"]),
        (&json!("subscribed"), &json!(5), &json!(true))
    );
    assert_eq!(delivered_to(&mut back, 3).await, [4, 5, 6]);
    assert_eq!(
        delivered_to(&mut there, 2).await,
        [4, 6],
        "what was told to all"
    );
    drop((back, there));
    assert_eq!(said(&mut inbox, &mut reader).await.0, "disinterest");
    drop((reader, writer));
    gateway.stopped().await;
}
