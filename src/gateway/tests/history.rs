//! Clients that come back, at the same gateway or at another node of it, and what they are brought.

use super::nodes::Nodes;
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
