//! Into RabbitMQ.

use super::{Place, Way, login, password, servers};
use crate::broker::{Config, Login, RabbitMqConfig};
use crate::plan::compile::{Problems, target};
use crate::scenario::{Problem, model};

/// Longest name of anything in AMQP 0-9-1, in bytes.
const NAME: usize = 255;

pub(super) fn compile(of: &model::RabbitMq, place: &Place<'_>, problems: &mut Problems) -> Way {
    let at = format!("{}.rabbitmq", place.inject);
    let key_at = format!("{at}.routing_key");
    let (address, address_at) = place.address(of.routing_key.as_ref(), key_at, problems);
    Way {
        broker: Config::RabbitMq(Box::new(config(of, &at, place, problems))),
        address,
        key: None,
        address_at,
        wrong: routing_key,
    }
}

fn config(
    of: &model::RabbitMq,
    path: &str,
    place: &Place<'_>,
    problems: &mut Problems,
) -> RabbitMqConfig {
    let (urls, example) = (of.url.as_ref(), "amqp://host:5672");
    let servers = servers(urls, path, example, RabbitMqConfig::address, problems);
    let mut logins: Vec<Login> = servers.iter().filter_map(|(_, l, _)| l.clone()).collect();
    let mut vhosts: Vec<String> = servers.iter().filter_map(|(.., v)| v.clone()).collect();
    logins.extend(password(
        of.user.as_ref(),
        of.password.as_ref(),
        path,
        problems,
    ));
    vhosts.extend(of.vhost.clone());
    vhosts.dedup();
    if vhosts.len() > 1 {
        let problem = Problem::error(path, "`vhost` and those in the addresses differ");
        problems.add(problem.help("all servers have one virtual host").on_key());
    }
    for (key, name) in [("vhost", &of.vhost), ("exchange", &of.exchange)] {
        if name.as_ref().is_some_and(|name| name.len() > NAME) {
            let message = format!("a name has at most {NAME} bytes");
            problems.add(Problem::error(format!("{path}.{key}"), message));
        }
    }
    let endpoints: Vec<_> = servers.into_iter().map(|(endpoint, ..)| endpoint).collect();
    let which = "`user` and those in the addresses";
    let secure = endpoints.iter().any(|e| e.tls) || endpoints.is_empty();
    let tls = of.tls.as_ref();
    RabbitMqConfig {
        tls: target::tls(path, "amqps://", tls, secure, place.files, problems),
        endpoints,
        login: login(logins, path, which, problems).unwrap_or_default(),
        vhost: (vhosts.pop()).unwrap_or_else(|| RabbitMqConfig::VHOST.to_owned()),
        exchange: (of.exchange.clone()).unwrap_or_else(|| RabbitMqConfig::EXCHANGE.to_owned()),
        mandatory: of.mandatory.unwrap_or(true),
        persistent: of.persistent,
    }
}

/// What is wrong with a routing key.
fn routing_key(key: &str) -> Option<(String, &'static str)> {
    (key.len() > NAME).then(|| {
        (
            format!("a routing key of {} bytes", key.len()),
            "RabbitMQ takes 255 at most",
        )
    })
}
