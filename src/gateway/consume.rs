//! Consuming from a broker: what is published there goes to the topic's subscribers.

use super::GatewayError;
use super::config::{Consume, ConsumeKafka, ConsumeNats, ConsumeRabbitMq};
use super::hub::Hub;
use super::stats::add;
use crate::broker::{
    BrokerError, Delivery, Endpoint, KafkaConfig, KafkaConsumer, NatsConfig, NatsConsumer,
    RabbitMqConfig, RabbitMqConsumer,
};
use std::sync::Arc;
use tokio::task::JoinHandle;

/// The task that consumes. Dropping it ends that.
#[derive(Debug)]
pub(super) struct Consuming(JoinHandle<()>);

impl Drop for Consuming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Subscribes at the broker; messages go to the hub from then on.
pub(super) async fn start(from: &Consume, hub: &Arc<Hub>) -> Result<Consuming, GatewayError> {
    // Several gateways may consume from one broker: each has a name of its own there.
    let name = format!("gateway-{}-{}", std::process::id(), hub.config.node);
    let hub = Arc::clone(hub);
    let task = match from {
        Consume::Nats(from) => {
            let consumer = nats(from, &name).await?;
            tokio::spawn(consumer.run(hand_on(prefix(&from.subject, &['*', '>']), hub)))
        }
        Consume::RabbitMq(from) => {
            let consumer = rabbitmq(from).await?;
            tokio::spawn(consumer.run(hand_on(prefix(&from.binding, &['*', '#']), hub)))
        }
        Consume::Kafka(from) => {
            let consumer = kafka(from).await?;
            tokio::spawn(consumer.run(hand_on(0, hub)))
        }
    };
    Ok(Consuming(task))
}

/// Which broker failed, and how.
fn failed(kind: &str, endpoint: &Endpoint) -> impl FnOnce(BrokerError) -> GatewayError + use<> {
    let at = format!("{kind} at {}:{}", endpoint.host, endpoint.port);
    move |why| GatewayError::Broker(format!("{at}: {why}"))
}

fn unread(what: &str) -> GatewayError {
    GatewayError::Broker(what.to_owned())
}

async fn nats(from: &ConsumeNats, name: &str) -> Result<NatsConsumer, GatewayError> {
    let address = NatsConfig::address(&from.url);
    let (endpoint, login) = address.map_err(|(what, _)| unread(what))?;
    let failed = failed("NATS", &endpoint);
    let config = NatsConfig {
        endpoints: vec![endpoint],
        login: login.unwrap_or_default(),
        ..NatsConfig::default()
    };
    NatsConsumer::start(config, &from.subject, from.stream.clone(), name)
        .await
        .map_err(failed)
}

async fn rabbitmq(from: &ConsumeRabbitMq) -> Result<RabbitMqConsumer, GatewayError> {
    let address = RabbitMqConfig::address(&from.url);
    let (endpoint, login, vhost) = address.map_err(|(what, _)| unread(what))?;
    let failed = failed("RabbitMQ", &endpoint);
    let exchange = from.exchange.as_deref();
    let config = RabbitMqConfig {
        endpoints: vec![endpoint],
        login: login.unwrap_or_default(),
        vhost: vhost.unwrap_or_else(|| RabbitMqConfig::VHOST.to_owned()),
        exchange: exchange.unwrap_or(RabbitMqConfig::EXCHANGE).to_owned(),
        ..RabbitMqConfig::default()
    };
    RabbitMqConsumer::start(config, &from.binding, from.queue.clone())
        .await
        .map_err(failed)
}

async fn kafka(from: &ConsumeKafka) -> Result<KafkaConsumer, GatewayError> {
    let endpoint = KafkaConfig::address(&from.bootstrap, false);
    let endpoint = endpoint.map_err(|(what, _)| unread(what))?;
    let failed = failed("Kafka", &endpoint);
    let config = KafkaConfig {
        endpoints: vec![endpoint],
        ..KafkaConfig::default()
    };
    KafkaConsumer::start(config, &from.topic, from.partitions)
        .await
        .map_err(failed)
}

/// Publishes each message in the hub. Its topic is its address without so many bytes at the beginning.
fn hand_on(fixed: usize, hub: Arc<Hub>) -> impl FnMut(Delivery<'_>) + Send {
    let mut wakers = Vec::new();
    move |message| {
        let topic = message.address.get(fixed..).unwrap_or_default();
        let payload = std::str::from_utf8(message.payload);
        // What is no text cannot be passed on in JSON.
        let (Ok(topic), Ok(payload)) = (hub.topic(topic), payload) else {
            return add(&hub.counters.discarded, 1);
        };
        topic.publish(payload, None, &hub, &mut wakers);
        wakers.drain(..).for_each(std::task::Waker::wake);
    }
}

/// Length of what stands before the first wildcard of an address; nothing of one without.
fn prefix(address: &str, wildcards: &[char]) -> usize {
    address.find(wildcards).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_the_subject_without_its_beginning() {
        for (subject, expected) in [
            ("squall.>", "squall."),
            (">", ""),
            ("orders", ""),
            ("a.*.c", "a."),
        ] {
            assert_eq!(prefix(subject, &['*', '>']), expected.len());
        }
    }
}
