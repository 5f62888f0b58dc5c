//! Clients that speak MQTT.

use super::*;
use crate::protocol::mqtt::packet::{
    Ack, Connect, Farewell, Filters, Packet, Publish, Step, Subscribe, Will,
};
use crate::protocol::mqtt::{List, Name, Properties, Qos, Value as Of, Version};

const WS: [(&str, &str); 1] = [("Sec-WebSocket-Protocol", "mqtt")];
const NONE: Properties<'static> = Properties::NONE;

/// A client and the version it speaks.
struct Mqtt {
    client: Client,
    version: Version,
}

fn connect(version: Version) -> Connect<'static> {
    Connect {
        version,
        clean_start: true,
        keep_alive: 0,
        properties: NONE,
        client_id: "me",
        will: None,
        username: None,
        password: None,
    }
}

impl Mqtt {
    /// The upgrade, and nothing more.
    async fn upgraded(gateway: &Gateway, version: Version) -> Self {
        let client = gateway.try_connect("/ws", &WS).await.unwrap();
        Mqtt { client, version }
    }

    /// A client that has been greeted.
    async fn greeted(gateway: &Gateway, version: Version) -> Self {
        Mqtt::greeted_with(gateway, connect(version)).await
    }

    async fn greeted_with(gateway: &Gateway, connect: Connect<'_>) -> Self {
        let mut mqtt = Mqtt::upgraded(gateway, connect.version).await;
        let greeting = mqtt.ask(Packet::Connect(connect)).await;
        assert!(greeting.starts_with("CONNACK 0x0"), "{greeting}");
        mqtt
    }

    async fn say(&mut self, packet: Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes);
        self.bytes(&bytes).await;
    }

    async fn bytes(&mut self, bytes: &[u8]) {
        let message = Message::binary(bytes.to_vec());
        within(self.client.send(message)).await.unwrap();
    }

    /// The next packet, in short.
    async fn hear(&mut self) -> String {
        let Message::Binary(bytes) = next(&mut self.client).await else {
            panic!("no packet");
        };
        match Packet::decode(&bytes, self.version).expect("a packet") {
            Packet::ConnAck(ack) => format!("CONNACK {:#x}", ack.reason),
            Packet::Publish(of) => {
                let text = String::from_utf8_lossy(of.payload);
                format!("{} {} {} {text}", of.qos.level(), of.id, of.topic)
            }
            Packet::Ack(ack) => format!("{:?} {} {:#x}", ack.step, ack.id, ack.reason),
            Packet::SubAck(of) => format!("SUBACK {} {:x?}", of.id, of.reasons),
            Packet::UnsubAck(of) => format!("UNSUBACK {} {:x?}", of.id, of.reasons),
            Packet::Disconnect(of) => format!("DISCONNECT {:#x}", of.reason),
            other => format!("{other:?}"),
        }
    }

    async fn ask(&mut self, packet: Packet<'_>) -> String {
        self.say(packet).await;
        self.hear().await
    }

    async fn subscribe(&mut self, id: u16, filters: &[(&str, u8)]) -> String {
        let mut bytes = Vec::new();
        for (filter, options) in filters {
            Filters::put(filter, Some(*options), &mut bytes);
        }
        self.ask(Packet::Subscribe(Subscribe {
            id,
            properties: NONE,
            filters: Filters::of(&bytes, true),
        }))
        .await
    }

    async fn publish(&mut self, qos: u8, id: u16, topic: &str, payload: &str) {
        self.say(Packet::Publish(Publish {
            again: false,
            qos: Qos::of_level(qos).unwrap(),
            retain: false,
            topic,
            id,
            properties: NONE,
            payload: payload.as_bytes(),
        }))
        .await;
    }

    async fn ack(&mut self, step: Step, id: u16) {
        self.say(Packet::Ack(Ack {
            step,
            id,
            reason: 0,
            properties: NONE,
        }))
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_and_deliveries_are_acknowledged() {
    let gateway = Gateway::start(brief()).await;
    for version in [Version::V5, Version::V3_1_1] {
        let mut hears = Mqtt::greeted(&gateway, version).await;
        assert_eq!(
            hears
                .subscribe(7, &[("zero", 0), ("one", 1), ("two", 2)])
                .await,
            "SUBACK 7 [0, 1, 1]"
        );
        let mut says = Mqtt::greeted(&gateway, version).await;
        says.publish(0, 0, "zero", "a").await;
        assert_eq!(hears.hear().await, "0 0 zero a");
        says.publish(1, 9, "one", "b").await;
        assert_eq!(says.hear().await, "Ack 9 0x0");
        assert_eq!(hears.hear().await, "1 1 one b");
        hears.ack(Step::Ack, 1).await;
        // Twice, and passed on once.
        for _ in 0..2 {
            says.publish(2, 9, "two", "c").await;
            assert_eq!(says.hear().await, "Received 9 0x0");
        }
        says.ack(Step::Release, 9).await;
        assert_eq!(says.hear().await, "Complete 9 0x0");
        assert_eq!(hears.hear().await, "1 2 two c");
        says.publish(2, 9, "two", "d").await;
        assert_eq!(says.hear().await, "Received 9 0x0");
        assert_eq!(hears.hear().await, "1 3 two d");
        assert_eq!(says.ask(Packet::PingReq).await, "PingResp");

        let mut filters = Vec::new();
        for filter in ["one", "never"] {
            Filters::put(filter, None, &mut filters);
        }
        let unsubscribe = Packet::Unsubscribe(Subscribe {
            id: 8,
            properties: NONE,
            filters: Filters::of(&filters, false),
        });
        let expected = match version {
            Version::V5 => "UNSUBACK 8 [0, 11]",
            Version::V3_1_1 => "UNSUBACK 8 []",
        };
        assert_eq!(hears.ask(unsubscribe).await, expected);
        says.publish(1, 10, "one", "e").await;
        assert_eq!(says.hear().await, "Ack 10 0x0");
        assert_eq!(hears.ask(Packet::PingReq).await, "PingResp");
        hears
            .say(Packet::Disconnect(Farewell {
                reason: 0,
                properties: NONE,
            }))
            .await;
        assert_eq!(closed(&mut hears.client).await, Some(1000));
    }
    // Among tongues it is all one hub.
    let mut json = gateway.connect().await;
    subscribe(&mut json, "one").await;
    let mut says = Mqtt::greeted(&gateway, Version::V5).await;
    says.publish(1, 1, "one", "text").await;
    assert_eq!(next_json(&mut json).await["payload"], "text");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_there_is_not_is_refused_by_its_reason() {
    let gateway = Gateway::start(brief()).await;
    let long = "t".repeat(300);
    let filters = [
        ("a/+", 0),
        ("$share/g/a", 0),
        ("a#", 0),
        (&*long, 0),
        ("a", 4),
        ("a", 1),
    ];
    let mut new = Mqtt::greeted(&gateway, Version::V5).await;
    assert_eq!(
        new.subscribe(1, &filters).await,
        "SUBACK 1 [a2, 9e, 8f, 8f, 83, 1]"
    );
    assert_eq!(new.subscribe(2, &[("#", 0)]).await, "SUBACK 2 [a2]");
    let mut old = Mqtt::greeted(&gateway, Version::V3_1_1).await;
    let filters = [("a/+", 0), ("a", 1)];
    assert_eq!(old.subscribe(1, &filters).await, "SUBACK 1 [80, 1]");
    gateway.stop().await;

    let gateway = Gateway::start(Config {
        tokens: vec!["secret".into()],
        ..brief()
    })
    .await;
    let will = Will {
        qos: Qos::AtMostOnce,
        retain: false,
        properties: NONE,
        topic: "t/+",
        payload: b"",
    };
    for (version, login, broken) in [
        (Version::V5, "CONNACK 0x86", "CONNACK 0x90"),
        (Version::V3_1_1, "CONNACK 0x4", "CONNACK 0x3"),
    ] {
        let right = Connect {
            username: Some("anybody"),
            password: Some(b"secret"),
            ..connect(version)
        };
        let wrong = Connect {
            password: Some(b"wrong"),
            ..right
        };
        let dying = Connect {
            will: Some(will),
            ..right
        };
        for (connect, said) in [(connect(version), login), (wrong, login), (dying, broken)] {
            let mut client = Mqtt::upgraded(&gateway, version).await;
            assert_eq!(client.ask(Packet::Connect(connect)).await, said);
            assert_eq!(closed(&mut client.client).await, Some(1008));
        }
        Mqtt::greeted_with(&gateway, right).await;
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_is_under_way_than_the_client_allows() {
    let gateway = Gateway::start(brief()).await;
    let mut list = List::default();
    list.put(Name::ReceiveMaximum, Of::Two(2))
        .put(Name::MaximumPacketSize, Of::Four(20));
    let mut hears = Mqtt::greeted_with(
        &gateway,
        Connect {
            properties: list.properties(),
            ..connect(Version::V5)
        },
    )
    .await;
    hears.subscribe(1, &[("t", 1)]).await;
    let mut says = Mqtt::greeted(&gateway, Version::V5).await;
    for n in 1..=5 {
        says.publish(1, n, "t", &n.to_string()).await;
        says.hear().await;
    }
    says.publish(1, 6, "t", "longer than the client takes")
        .await;
    says.publish(1, 7, "t", "7").await;
    assert_eq!(hears.hear().await, "1 1 t 1");
    assert_eq!(hears.hear().await, "1 2 t 2");
    // No third before one of them is acknowledged.
    assert_eq!(hears.ask(Packet::PingReq).await, "PingResp");
    hears.ack(Step::Ack, 2).await;
    assert_eq!(hears.hear().await, "1 3 t 3");
    hears.ack(Step::Ack, 3).await;
    assert_eq!(hears.hear().await, "1 4 t 4");
    hears.ack(Step::Ack, 1).await;
    assert_eq!(hears.hear().await, "1 5 t 5");
    hears.ack(Step::Ack, 5).await;
    assert!(hears.hear().await.ends_with(" t 7"));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_will_is_published_when_its_client_goes_without_a_word() {
    let gateway = Gateway::start(brief()).await;
    let mut hears = Mqtt::greeted(&gateway, Version::V5).await;
    hears.subscribe(1, &[("gone", 0)]).await;
    let dying = |payload: &'static str| Connect {
        will: Some(Will {
            qos: Qos::AtMostOnce,
            retain: false,
            properties: NONE,
            topic: "gone",
            payload: payload.as_bytes(),
        }),
        ..connect(Version::V5)
    };
    // Cut off; told goodbye; told goodbye and to publish it all the same.
    drop(Mqtt::greeted_with(&gateway, dying("a")).await);
    assert_eq!(hears.hear().await, "0 0 gone a");
    for (payload, reason) in [("b", 0), ("c", 4)] {
        let mut client = Mqtt::greeted_with(&gateway, dying(payload)).await;
        let properties = NONE;
        let farewell = Farewell { reason, properties };
        client.say(Packet::Disconnect(farewell)).await;
        assert_eq!(closed(&mut client.client).await, Some(1000));
    }
    assert_eq!(hears.hear().await, "0 0 gone c");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topic_aliases_stand_for_topics() {
    let gateway = Gateway::start(brief()).await;
    let mut client = Mqtt::greeted(&gateway, Version::V5).await;
    client.subscribe(1, &[("a topic", 0)]).await;
    let mut list = List::default();
    list.put(Name::TopicAlias, Of::Two(16));
    for topic in ["a topic", ""] {
        let publish = Packet::Publish(Publish {
            again: false,
            qos: Qos::AtMostOnce,
            retain: false,
            topic,
            id: 0,
            properties: list.properties(),
            payload: b"x",
        });
        assert_eq!(client.ask(publish).await, "0 0 a topic x");
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_ends_the_connection_and_says_why() {
    let gateway = Gateway::start(Config {
        max_message: 1000,
        ..brief()
    })
    .await;
    let cases: [(&[u8], &str); 9] = [
        (b"\xc1\0", "DISCONNECT 0x81"),
        (b"\xd0\0", "DISCONNECT 0x82"),
        (b"\x20\x03\0\0\0", "DISCONNECT 0x82"),
        (b"\x30\xff\x7f", "DISCONNECT 0x95"),
        // A retained message, an alias of nothing, one that there is not, a PUBACK of nothing, a subscription identifier.
        (b"\x31\x04\0\x01t\0", "DISCONNECT 0x9a"),
        (b"\x30\x06\0\0\x03\x23\0\x01", "DISCONNECT 0x94"),
        (b"\x30\x07\0\x01t\x03\x23\0\x11", "DISCONNECT 0x94"),
        (b"\x40\x02\0\x01", "DISCONNECT 0x82"),
        (b"\x82\x09\0\x01\x02\x0b\x01\0\x01t\0", "DISCONNECT 0xa1"),
    ];
    for (bytes, said) in cases {
        let mut client = Mqtt::greeted(&gateway, Version::V5).await;
        client.bytes(bytes).await;
        assert_eq!(client.hear().await, said, "{bytes:x?}");
        assert_eq!(closed(&mut client.client).await, Some(1002), "{bytes:x?}");
    }
    // 3.1.1 has no way to say it, and before CONNECT nobody has.
    let mut old = Mqtt::greeted(&gateway, Version::V3_1_1).await;
    old.bytes(b"\xd0\0").await;
    assert_eq!(closed(&mut old.client).await, Some(1002));
    let mut new = Mqtt::upgraded(&gateway, Version::V5).await;
    new.bytes(b"\xc0\0").await;
    assert_eq!(closed(&mut new.client).await, Some(1002));
    let mut text = Mqtt::greeted(&gateway, Version::V5).await;
    send_text(&mut text.client, "{}").await;
    assert_eq!(text.hear().await, "DISCONNECT 0x82");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_silent_for_too_long_is_told_so() {
    let gateway = Gateway::start(brief()).await;
    let mut client = Mqtt::greeted_with(
        &gateway,
        Connect {
            keep_alive: 1,
            ..connect(Version::V5)
        },
    )
    .await;
    assert_eq!(client.hear().await, "DISCONNECT 0x8d");
    assert_eq!(closed(&mut client.client).await, Some(1011));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_drains_says_goodbye() {
    let mut gateway = Gateway::start(brief()).await;
    let mut new = Mqtt::greeted(&gateway, Version::V5).await;
    let mut old = Mqtt::greeted(&gateway, Version::V3_1_1).await;
    gateway.begin_to_stop();
    assert_eq!(new.hear().await, "DISCONNECT 0x8b");
    assert_eq!(closed(&mut new.client).await, Some(1001));
    assert_eq!(closed(&mut old.client).await, Some(1001));
    gateway.stopped().await;
}
