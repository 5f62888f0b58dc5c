//! The broker to consume from, as flags.

use crate::gateway::{Consume, ConsumeNats};
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
}

impl Source {
    /// What the flags say.
    pub fn given(self) -> Option<Consume> {
        self.consume_nats.map(|url| {
            Consume::Nats(ConsumeNats {
                url,
                subject: self.consume_subject,
                stream: self.consume_stream,
            })
        })
    }
}
