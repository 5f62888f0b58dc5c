//! The broker to consume from, as flags.

use crate::gateway::{Consume, ConsumeKafka, ConsumeNats, ConsumeRabbitMq};
use clap::Args;

/// One broker at most.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// NATS server to consume from: what is published there goes to subscribers
    #[arg(long, value_name = "URL")]
    consume_nats: Option<String>,
    /// Subject to consume; its fixed beginning is no part of the topic
    #[arg(
        long,
        value_name = "SUBJECT",
        requires = "consume_nats",
        default_value = "squall.>"
    )]
    consume_subject: String,
    /// Consume from this stream of JetStream, made if it is not there
    #[arg(long, value_name = "NAME", requires = "consume_nats")]
    consume_stream: Option<String>,
    /// RabbitMQ server to consume from: what is published there goes to subscribers
    #[arg(long, value_name = "URL", conflicts_with = "consume_nats")]
    consume_rabbitmq: Option<String>,
    /// Exchange to consume from, made if it is not there [default: amq.topic]
    #[arg(long, value_name = "NAME", requires = "consume_rabbitmq")]
    consume_exchange: Option<String>,
    /// Binding key; its fixed beginning is no part of the topic
    #[arg(
        long,
        value_name = "KEY",
        requires = "consume_rabbitmq",
        default_value = "squall.#"
    )]
    consume_binding: String,
    /// Consume from this durable queue, made if it is not there
    #[arg(long, value_name = "NAME", requires = "consume_rabbitmq")]
    consume_queue: Option<String>,
    /// Broker of Kafka to consume from
    #[arg(long, value_name = "HOST:PORT", conflicts_with_all = ["consume_nats", "consume_rabbitmq"])]
    consume_kafka: Option<String>,
    /// Topic to consume; messages go to the topics that their keys name
    #[arg(
        long,
        value_name = "NAME",
        requires = "consume_kafka",
        default_value = "squall"
    )]
    consume_topic: String,
    /// Partitions of that topic, which is made if it is not there
    #[arg(
        long,
        value_name = "COUNT",
        requires = "consume_kafka",
        default_value = "3"
    )]
    consume_partitions: u16,
}

impl Source {
    /// What the flags say.
    pub fn given(self) -> Option<Consume> {
        let nats = self.consume_nats.map(|url| {
            Consume::Nats(ConsumeNats {
                url,
                subject: self.consume_subject,
                stream: self.consume_stream,
            })
        });
        let rabbitmq = self.consume_rabbitmq.map(|url| {
            Consume::RabbitMq(ConsumeRabbitMq {
                url,
                exchange: self.consume_exchange,
                binding: self.consume_binding,
                queue: self.consume_queue,
            })
        });
        let kafka = self.consume_kafka.map(|bootstrap| {
            Consume::Kafka(ConsumeKafka {
                bootstrap,
                topic: self.consume_topic,
                partitions: self.consume_partitions,
            })
        });
        nats.or(rabbitmq).or(kafka)
    }
}
