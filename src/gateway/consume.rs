//! Consuming from a broker: what is published there goes to the topic's subscribers.

use super::hub::Hub;
use super::stats::add;
use super::{Consume, GatewayError};
use crate::broker::{Consumer, NatsConfig};
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
    let failed = |why: &dyn std::fmt::Display| GatewayError::Broker(why.to_string());
    let (endpoint, login) = NatsConfig::address(&from.url).map_err(|(what, _)| failed(&what))?;
    let config = NatsConfig {
        endpoints: vec![endpoint],
        login: login.unwrap_or_default(),
        ..NatsConfig::default()
    };
    // Several gateways may consume from one broker: each has a name of its own there.
    let name = format!("gateway-{}-{}", std::process::id(), hub.config.node);
    let consumer = Consumer::start(config, &from.subject, from.stream.clone(), &name);
    let consumer = consumer.await.map_err(|why| failed(&why))?;
    let fixed = prefix(&from.subject).len();
    let hub = Arc::clone(hub);
    Ok(Consuming(tokio::spawn(async move {
        let mut wakers = Vec::new();
        consumer
            .run(|message| {
                let topic = message.subject.get(fixed..).unwrap_or_default();
                let payload = std::str::from_utf8(message.payload);
                // What is no text cannot be passed on in JSON.
                let (Ok(topic), Ok(payload)) = (hub.topic(topic), payload) else {
                    return add(&hub.counters.discarded, 1);
                };
                topic.publish(payload, None, &hub, &mut wakers);
                wakers.drain(..).for_each(std::task::Waker::wake);
            })
            .await;
    })))
}

/// What stands before the first wildcard of a subject; nothing of one without.
fn prefix(subject: &str) -> &str {
    subject.find(['*', '>']).map_or("", |at| &subject[..at])
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
            assert_eq!(prefix(subject), expected);
        }
    }
}
