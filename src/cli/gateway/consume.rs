//! The broker to consume from, as flags.

use crate::gateway::{Consume, ConsumeKafka, ConsumeNats};
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
    /// Broker of Kafka to consume from
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "consume_nats")]
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
        let kafka = self.consume_kafka.map(|bootstrap| {
            Consume::Kafka(ConsumeKafka {
                bootstrap,
                topic: self.consume_topic,
                partitions: self.consume_partitions,
            })
        });
        nats.or(kafka)
    }
}
