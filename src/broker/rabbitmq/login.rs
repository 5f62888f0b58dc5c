//! Being let in by RabbitMQ: from the first byte to an open channel.

use super::wire::{FRAME_MAX, Frame, HEADER, Method, Put, next};
use crate::broker::link::Link;
use crate::broker::{BrokerError, Endpoint, Login, RabbitMqConfig};

/// What we can do beyond the specification, as RabbitMQ calls it: with the second it says why it lets nobody in, with the third
/// that it reads nothing for now.
const CAPABILITIES: &[&str] = &[
    "publisher_confirms",
    "authentication_failure_close",
    "connection.blocked",
    "consumer_cancel_notify",
    "basic.nack",
];

/// Connects, logs in and opens a channel. Both sides then show a sign of life every `beat` seconds, or less; 0: neither does.
pub async fn admitted(
    config: &RabbitMqConfig,
    endpoint: &Endpoint,
    beat: u16,
) -> Result<Link, BrokerError> {
    let mut link = Link::connect(endpoint).await?;
    if endpoint.tls {
        link = link.secure(&config.tls, endpoint).await?;
    }
    link.write(HEADER).await?;
    let plain = until(&mut link, |method| match method {
        Method::Start(mechanisms) => Some(mechanisms.split(' ').any(|word| word == "PLAIN")),
        _ => None,
    });
    if !plain.await? {
        let why = "it does not let anybody in by user and password (PLAIN)";
        return Err(BrokerError::Refused(why.into()));
    }
    let (user, password) = match &config.login {
        Login::Password(user, password) => (user.as_str(), password.as_str()),
        _ => ("guest", "guest"),
    };
    let about = [
        ("product", "squall"),
        ("version", env!("CARGO_PKG_VERSION")),
        ("platform", "Rust"),
    ];
    let start = Put::connection(11)
        .properties(&about, CAPABILITIES)
        .text("PLAIN")
        .long_text(format!("\0{user}\0{password}").as_bytes())
        .text("en_US");
    link.write(&start.end()).await?;
    let tune = until(&mut link, |method| match *method {
        // How often signs of life are shown the client decides.
        Method::Tune(channels, frame, _) => Some((channels, frame)),
        _ => None,
    });
    let (channels, frame) = tune.await?;
    // 0 says that there is no limit, of each of them.
    let frame = if frame == 0 {
        FRAME_MAX
    } else {
        frame.min(FRAME_MAX)
    };
    let tuned = Put::connection(31).short(channels).long(frame).short(beat);
    link.write(&tuned.end()).await?;
    let open = Put::connection(40).text(&config.vhost).text("").octet(0);
    ask(&mut link, open, (10, 41)).await?;
    ask(&mut link, Put::channel(20, 10).text(""), (20, 11)).await?;
    Ok(link)
}

/// Says something, and waits for the answer of this class and method.
pub async fn ask(link: &mut Link, what: Put, answer: (u16, u16)) -> Result<(), BrokerError> {
    link.write(&what.end()).await?;
    until(link, |method| {
        let Method::Other(class, method) = *method else {
            return None;
        };
        ((class, method) == answer).then_some(())
    })
    .await
}

/// Reads on until something is found. Messages do not come yet.
pub async fn until<T>(
    link: &mut Link,
    mut found: impl FnMut(&Method<'_>) -> Option<T>,
) -> Result<T, BrokerError> {
    loop {
        while let Some((frame, length)) = next(&link.buffer)? {
            let found = match frame {
                Frame::Method(Method::Close(code, why)) => {
                    return Err(BrokerError::Refused(format!("{code} {why}")));
                }
                Frame::Method(method) => found(&method),
                _ => None,
            };
            link.buffer.drain(..length);
            if let Some(found) = found {
                return Ok(found);
            }
        }
        link.read().await?;
    }
}
