//! What becomes of everybody when one client does not read.

use super::*;

/// Size of the payloads that fill a slow reader's connection, in bytes.
const BIG: usize = 16 * 1024;
/// Far more of them than the sockets of one connection hold between them.
const MANY: u64 = 1000;
/// Far more than a connection holds whose client never reads.
const ENOUGH: u64 = 200;

fn config(when_full: WhenFull) -> Config {
    Config {
        queue: 4,
        when_full,
        send_buffer: Some(16 * 1024),
        ..brief()
    }
}

fn big(n: u64) -> Value {
    json!([n, "x".repeat(BIG)])
}

/// Reads the deliveries up to one with this number.
async fn up_to(client: &mut Client, last: u64) -> Vec<u64> {
    let mut sequences = Vec::new();
    while sequences.last() != Some(&last) {
        sequences.push(next_json(client).await["seq"].as_u64().unwrap());
    }
    sequences
}

/// Publishes without waiting for anything, from a task of its own, as far as the gateway lets it.
fn publish_all(mut publisher: Client, count: u64) -> JoinHandle<Client> {
    tokio::spawn(async move {
        for n in 1..=count {
            let message = json!({"type": "publish", "topic": "much", "payload": big(n)});
            publisher
                .send(Message::text(message.to_string()))
                .await
                .unwrap();
        }
        publisher
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buffer_keeps_everything() {
    let gateway = Gateway::start(config(WhenFull::Buffer)).await;
    let mut slow = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut slow, "much").await;
    for n in 1..=MANY {
        assert_eq!(publish(&mut publisher, "much", big(n)).await, n);
    }
    // All of it is there before any of it is read.
    assert_eq!(up_to(&mut slow, MANY).await, Vec::from_iter(1..=MANY));
    let stats = gateway.stop().await;
    assert_eq!((stats.dropped_full, stats.blocked), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_buffer_that_grows_beyond_its_limit_closes_with_1013() {
    let gateway = Gateway::start(Config {
        buffer_limit: 1 << 20,
        ..config(WhenFull::Buffer)
    })
    .await;
    let mut slow = gateway.connect().await;
    let mut publisher = gateway.connect().await;
    subscribe(&mut slow, "much").await;
    for n in 1..=MANY {
        assert_eq!(publish(&mut publisher, "much", big(n)).await, n);
    }
    let stats = gateway.stop().await;
    assert_eq!((stats.disconnected_full, stats.dropped_full), (1, 1));
    assert_eq!(stats.closed_by_code[&1013], 1);
}

/// A count of the gateway's, once it does not change any more.
pub(super) async fn settled(gateway: &Gateway, count: fn(&Stats) -> u64) -> u64 {
    let (mut last, mut same) = (0, 0);
    while same < 10 {
        let now = count(&gateway.stats().await);
        same = if now == last { same + 1 } else { 0 };
        last = now;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn block_reads_no_further_from_the_publisher_until_the_slow_client_reads() {
    let gateway = Gateway::start(config(WhenFull::Block)).await;
    let mut slow = gateway.connect().await;
    let mut fast = gateway.connect().await;
    let publisher = gateway.connect().await;
    let mut bystander = gateway.connect().await;
    subscribe(&mut slow, "much").await;
    subscribe(&mut fast, "much").await;
    let publishing = publish_all(publisher, MANY);
    let reading = tokio::spawn(async move { up_to(&mut fast, MANY).await });
    let published = within(settled(&gateway, |stats| stats.published)).await;
    assert!(published < MANY / 2, "{published} messages were accepted");
    assert!(!publishing.is_finished());
    assert!(gateway.stats().await.blocked > 0);
    // Who publishes elsewhere is served.
    assert_eq!(publish(&mut bystander, "else", json!(1)).await, 1);
    // Once the slow one reads, all goes on, and nothing was lost.
    assert_eq!(up_to(&mut slow, MANY).await, Vec::from_iter(1..=MANY));
    assert_eq!(within(reading).await.unwrap(), Vec::from_iter(1..=MANY));
    drop(within(publishing).await.unwrap());
    let stats = gateway.stop().await;
    assert_eq!((stats.published, stats.dropped_full), (MANY + 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_publisher_goes_on_when_the_slow_client_is_gone() {
    let gateway = Gateway::start(config(WhenFull::Block)).await;
    let mut slow = gateway.connect().await;
    let publisher = gateway.connect().await;
    subscribe(&mut slow, "much").await;
    let publishing = publish_all(publisher, MANY);
    within(async { while gateway.stats().await.blocked == 0 {} }).await;
    drop(slow);
    let mut publisher = within(publishing).await.unwrap();
    assert_eq!(publish(&mut publisher, "much", json!(0)).await, MANY + 1);
    drop(gateway.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_one_line_a_client_that_does_not_read_holds_up_all_and_without_it_nobody() {
    for head_of_line in [true, false] {
        let gateway = Gateway::start(Config {
            misbehave: Misbehave {
                head_of_line,
                ..Misbehave::default()
            },
            ..config(WhenFull::DropNewest)
        })
        .await;
        let mut slow = gateway.connect().await;
        let mut fast = gateway.connect().await;
        let mut publisher = gateway.connect().await;
        subscribe(&mut slow, "much").await;
        subscribe(&mut fast, "much").await;
        let publishing = tokio::spawn(async move {
            for n in 1..=ENOUGH {
                assert_eq!(publish(&mut publisher, "much", big(n)).await, n);
            }
        });
        let reading = tokio::spawn(async move {
            let mut got = Vec::new();
            while got.last() != Some(&ENOUGH) {
                let message = fast.next().await.unwrap().unwrap();
                let Message::Text(text) = message else {
                    panic!("{message:?}")
                };
                let message: Value = serde_json::from_str(&text).unwrap();
                got.push(message["seq"].as_u64().unwrap());
            }
            got
        });
        within(publishing).await.unwrap();
        if head_of_line {
            // Nothing more leaves until the slow one reads, then everything does, in order.
            let out = within(settled(&gateway, |stats| stats.messages_out)).await;
            assert!(!reading.is_finished(), "{out} messages went out");
            assert_eq!(up_to(&mut slow, ENOUGH).await, Vec::from_iter(1..=ENOUGH));
        }
        let got = within(reading).await.unwrap();
        if head_of_line {
            assert_eq!(got, Vec::from_iter(1..=ENOUGH));
        }
        drop(gateway.stop().await);
    }
}
