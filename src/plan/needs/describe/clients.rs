//! What is behind each group, in words: whom it talks to and how, who it says it is, and how it comes back. Never a
//! credential: of addresses only scheme, host and port, of tokens only where they come from.

use crate::broker;
use crate::plan::types::{Backoff, CodeRule, Group, OnClose, Plan, Reconnect, Transport};
use crate::plan::{Auth, Climb, FetchFrom, Ladder, RenewBy, StepDown, TokenSource};
use crate::protocol::settings::socket_io::Polling;
use crate::scenario::units;
use crate::transport::Pick;
use std::time::Duration;

/// So many are told one by one, as a scenario may have thousands.
const SHOWN: usize = 8;

/// The target's addresses, and which of them a connection dials.
pub(super) fn target(plan: &Plan) -> String {
    let target = plan.target();
    let ports = target.endpoints.len();
    // The ports of the embedded gateway are known once it runs; nobody else has this one.
    let embedded = target.endpoints.iter().all(|address| address.port == 0);
    let mut text = match embedded {
        true if ports > 1 => format!("the embedded gateway, at {ports} ports"),
        true => "the embedded gateway".to_owned(),
        false => some(target.endpoints.iter().map(ToString::to_string).collect()),
    };
    if ports > 1 {
        text += match target.pick {
            Pick::Spread => "; connections are spread over them",
            Pick::Failover => "; all to the first, and to the next when it fails",
        };
    }
    if let Some(proxy) = &target.proxy {
        text += &format!("; through the proxy {proxy}");
    }
    text
}

/// Each group's name, with one line or two about it.
pub(super) fn groups(plan: &Plan) -> Vec<(&str, Vec<String>)> {
    let groups = plan.groups();
    let mut all: Vec<(&str, Vec<String>)> = groups
        .iter()
        .take(SHOWN)
        .map(|group| (group.name.as_str(), about(group, plan)))
        .collect();
    if let Some(more) = groups.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        all.push(("…", vec![format!("and {more} more groups")]));
    }
    all
}

fn about(group: &Group, plan: &Plan) -> Vec<String> {
    if let Some(inject) = &group.inject {
        return vec![format!("publish into {}", broker(&inject.broker))];
    }
    let mut how = format!(
        "{} over {}",
        group.protocol.name(),
        transport(&group.transport)
    );
    match group.protocol.polling() {
        Polling::Never => {}
        Polling::Handshake => how += ", after a handshake by polling",
        Polling::Upgrade => how += ", taking over from polling",
        // It is all that there is.
        Polling::Only => how = format!("{} by polling", group.protocol.name()),
    }
    if group.reconnect.is_none() {
        how += "; no `reconnect`: who is lost stays away";
    }
    let others = plan.target().endpoints.len() > 1;
    let reconnect = group.reconnect.as_ref();
    let reconnect = reconnect.map(|policy| self::reconnect(policy, group, others));
    let lines = [Some(how), group.auth.as_ref().map(auth), reconnect];
    lines.into_iter().flatten().collect()
}

fn transport(of: &Transport) -> String {
    match of {
        Transport::WebSocket => "WebSocket".to_owned(),
        Transport::Http(http) if http.poll.is_some() => "long polls".to_owned(),
        Transport::Http(_) => "SSE".to_owned(),
        Transport::Ladder(ladder) => {
            let rungs: Vec<String> = ladder.rungs.iter().map(transport).collect();
            format!("{} ({})", rungs.join(", then "), falls(ladder))
        }
    }
}

/// What leads down a ladder, and up again.
fn falls(ladder: &Ladder) -> String {
    let when = ladder.when.iter().map(|when| match (when, ladder.within) {
        (StepDown::Refused, _) => "refused".to_owned(),
        (StepDown::Unreachable, _) => "unreachable".to_owned(),
        (StepDown::Timeout, Some(within)) => format!("not ready within {}", time(within)),
        (StepDown::Timeout, None) => "not ready in time".to_owned(),
        (StepDown::Silent, _) => "silent".to_owned(),
    });
    let when: Vec<String> = when.collect();
    let tries = match ladder.tries {
        1 => String::new(),
        tries => format!(" {tries} times"),
    };
    let back = match ladder.climb {
        Climb::Never => "never back".to_owned(),
        Climb::Reconnect => "from the first again when lost".to_owned(),
        Climb::After(time) => format!("the first again after {}", self::time(time)),
    };
    format!("the next when {}{tries}; {back}", when.join(" or "))
}

/// Where tokens come from, how long they live and how they are renewed; never one of them.
fn auth(auth: &Auth) -> String {
    let mut text = match &auth.source {
        TokenSource::Given(tokens) if tokens.len() == 1 => "a token as written".to_owned(),
        TokenSource::Given(tokens) => format!("{} tokens as written, in turn", tokens.len()),
        TokenSource::Minted(jwt) => {
            format!("a JWT each, signed by {}", jwt.algorithm.name())
        }
        TokenSource::Fetched(fetch, _) => match &fetch.how {
            // Its arguments may be anything.
            FetchFrom::Run(run) => {
                let program = run.first().map_or("", String::as_str);
                format!("tokens that `{program}` prints before the run")
            }
            FetchFrom::Http(hook) => {
                let host = &hook.host;
                format!("tokens asked of {host}:{} before the run", hook.port)
            }
        },
    };
    if let Some(life) = auth.expires {
        text += &format!(", good for {}", time(life));
    }
    let Some(renew) = &auth.renew else {
        return text + ", never renewed";
    };
    let every = renew.every.map(|every| format!("every {}", time(every)));
    let asked = renew.asked.as_ref().map(|_| "when asked".to_owned());
    let when: Vec<String> = every.into_iter().chain(asked).collect();
    let by = match &renew.by {
        RenewBy::Message { .. } => "by a message",
        RenewBy::Reconnect => "by connecting again",
    };
    format!("{text}, renewed {} {by}", when.join(" and "))
}

/// The policy, and what close codes lead to instead: those that IANA's registry gives a meaning, too.
fn reconnect(policy: &Reconnect, group: &Group, others: bool) -> String {
    let (base, cap) = (time(policy.base), time(policy.cap));
    let mut text = match (policy.backoff, policy.backoff.uses()) {
        (Backoff::None, _) => "come back at once".to_owned(),
        (backoff, (false, _)) => format!("come back by {}", name(backoff)),
        (backoff, (true, false)) => format!("come back by {}: {base}", name(backoff)),
        (backoff, (true, true)) => format!("come back by {}: {base} to {cap}", name(backoff)),
    };
    if let Some(attempts) = policy.attempts {
        text += &format!(", {attempts} attempts at most");
    }
    // Only a WebSocket ends with a code.
    let codes = group.transport.has_websocket() && group.protocol.polling() != Polling::Only;
    let rules = policy.codes.iter().filter(|rule| applies(rule, policy));
    let rules: Vec<String> = rules.map(|rule| self::rule(rule, others)).collect();
    if codes && !rules.is_empty() {
        text += &format!("; on close code {}", rules.join(", "));
    }
    text
}

/// Whether a rule decides of any code: one of the registry's does not where the scenario says otherwise.
fn applies(rule: &CodeRule, policy: &Reconnect) -> bool {
    let has = |other: &&CodeRule| (other.from..=other.to).contains(&rule.from);
    rule.from != rule.to
        || policy
            .codes
            .iter()
            .find(has)
            .is_some_and(|first| first == rule)
}

fn rule(rule: &CodeRule, others: bool) -> String {
    let codes = match rule.from == rule.to {
        true => rule.from.to_string(),
        false => format!("{}-{}", rule.from, rule.to),
    };
    let then = match rule.then {
        OnClose::Stop => "stop".to_owned(),
        OnClose::Now => "now".to_owned(),
        OnClose::BackOff => "back_off".to_owned(),
        OnClose::Within(low, high) => format!("within [{}, {}]", time(low), time(high)),
        OnClose::Elsewhere if others => "elsewhere".to_owned(),
        OnClose::Elsewhere => "longest wait (no other address)".to_owned(),
    };
    format!("{codes}: {then}")
}

/// As scenarios call it.
fn name(backoff: Backoff) -> &'static str {
    match backoff {
        Backoff::None => "none",
        Backoff::Constant => "constant",
        Backoff::NoJitter => "no_jitter",
        Backoff::FullJitter => "full_jitter",
        Backoff::EqualJitter => "equal_jitter",
        Backoff::Decorrelated => "decorrelated",
        Backoff::Rfc6455 => "rfc6455",
        Backoff::Phoenix => "phoenix",
        Backoff::SocketIo => "socket_io",
        Backoff::Centrifuge => "centrifuge",
    }
}

/// Which broker, and where.
fn broker(config: &broker::Config) -> String {
    let endpoints = match config {
        broker::Config::Nats(nats) => &nats.endpoints,
        broker::Config::RabbitMq(rabbitmq) => &rabbitmq.endpoints,
        broker::Config::Kafka(kafka) => &kafka.endpoints,
    };
    let at = endpoints.iter().map(|at| match at.host.contains(':') {
        true => format!("[{}]:{}", at.host, at.port),
        false => format!("{}:{}", at.host, at.port),
    });
    let tls = match endpoints.iter().any(|at| at.tls) {
        true => " over TLS",
        false => "",
    };
    format!("{} at {}{tls}", config.name(), some(at.collect()))
}

/// The first few.
fn some(all: Vec<String>) -> String {
    match all.len().checked_sub(SHOWN) {
        None | Some(0) => all.join(", "),
        Some(more) => format!("{} and {more} more", all[..SHOWN].join(", ")),
    }
}

/// As scenarios write it: `500ms`.
fn time(time: Duration) -> String {
    units::Duration(time).to_string()
}
