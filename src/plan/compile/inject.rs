//! Groups that publish into a broker behind the target. What differs by broker is a file for each.

mod kafka;
mod nats;
mod rabbitmq;

use super::group::{Context, MOST_PER_CORE};
use super::target::Compiled as Target;
use super::text::{self, Scope};
use super::timeline::Timeline;
use super::{Problems, each, message, vars};
use crate::broker::{Config, Login};
use crate::plan::needs::Machine;
use crate::plan::template::{render, value_of};
use crate::plan::types::{
    Builtin, Group, Inject, Lifetime, Opening, Part, Publish, Template, Transport, Upgrade, Var,
};
use crate::protocol::ProtocolConfig;
use crate::scenario::model::{self, OneOrMany};
use crate::scenario::{Files, Problem, Scenario};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// Most publishers of one entry: each has a name for its messages, and an address there.
const MOST: u64 = 100_000;

pub(super) fn compile(
    scenario: &Scenario,
    timeline: &Timeline,
    target: &Target,
    files: &Files,
    machine: &Machine,
    groups: &mut Vec<Group>,
    problems: &mut Problems,
) {
    for (name, written) in &scenario.inject {
        let path = format!("inject.{name}");
        let count = written.publishers.map_or(1, |count| count.0);
        problems.zero(
            count == 0,
            format!("{path}.publishers"),
            "the number of publishers",
        );
        if count > MOST {
            problems.add(Problem::error(
                format!("{path}.publishers"),
                format!("more than {MOST} publishers of one entry are not run"),
            ));
        }
        let first = groups.last().map_or(0, |last| last.first + last.count);
        let count = count.min(MOST) as u32;
        let vars = vars::compile(&written.vars, &path, files, problems);
        let context = Context {
            vars: &vars,
            captured: &[],
            raw: false,
            count,
            limit: MOST_PER_CORE * f64::from(machine.cores.max(1)),
            max_queue: target.config.max_queue,
            timeline,
            bursts: &[],
        };
        let publish = model::Publish {
            topic: Some(written.topic.clone()),
            rate: written.rate.clone(),
            arrivals: written.arrivals,
            size: written.size.clone(),
            payload: written.payload.clone(),
            payload_file: written.payload_file.clone(),
            r#in: written.r#in.clone(),
        };
        let publish = message::publish(&publish, &path, &context, files, problems);
        let place = Place {
            inject: &path,
            scope: Scope {
                message: &[Builtin::Topic],
                ..context.scope()
            },
            files,
        };
        let mut ways = Vec::new();
        if let Some(nats) = &written.nats {
            ways.push(nats::compile(nats, &place, problems));
        }
        if let Some(rabbitmq) = &written.rabbitmq {
            ways.push(rabbitmq::compile(rabbitmq, &place, problems));
        }
        if let Some(kafka) = &written.kafka {
            ways.push(kafka::compile(kafka, &place, problems));
        }
        let several = ways.len() > 1;
        let Some(way) = ways.pop() else {
            let problem = Problem::error(&path, "there is no broker to publish into");
            problems.add(
                problem
                    .help("give its address as `nats: { url: nats://… }`, `rabbitmq: { url: amqp://… }` or `kafka: { bootstrap: host:9092 }`")
                    .on_key(),
            );
            continue;
        };
        if several {
            let problem = Problem::error(&path, "there is more than one broker");
            problems.add(problem.help("make an entry for each").on_key());
        }
        let inject = Inject {
            broker: way.broker,
            address: way.address,
            key: way.key,
        };
        let mut group = group(name, (count, first), vars, publish, inject);
        let all = addresses(
            &group,
            scenario.seed,
            (&way.address_at, way.wrong),
            problems,
        );
        if let Some(Config::Kafka(kafka)) = group.inject.as_mut().map(|i| &mut i.broker) {
            kafka.topics = all.into_iter().collect();
        }
        groups.push(group);
    }
}

/// What compiling a broker needs of where it stands.
struct Place<'a> {
    /// The entry's path.
    inject: &'a str,
    /// What may stand in a message's address.
    scope: Scope<'a>,
    files: &'a Files,
}

impl Place<'_> {
    /// The address of messages, where they go unless it is written: where their topic says. And where it stands.
    fn address(
        &self,
        written: Option<&String>,
        at: String,
        problems: &mut Problems,
    ) -> (Template, String) {
        let (text, at) = match written {
            Some(text) => (text.as_str(), at),
            None => ("{topic}", format!("{}.topic", self.inject)),
        };
        (text::template(text, &at, self.scope, problems), at)
    }
}

/// What is wrong with an address, and what to do; `None`: nothing.
type Wrong = fn(&str) -> Option<(String, &'static str)>;

/// Where an entry's messages go.
struct Way {
    broker: Config,
    address: Template,
    /// What its partition is chosen by, where it has such.
    key: Option<Template>,
    /// Where the address is written.
    address_at: String,
    wrong: Wrong,
}

/// Takes the addresses of servers apart by the kind's own rules.
fn servers<T>(
    urls: Option<&OneOrMany<String>>,
    path: &str,
    example: &str,
    read: impl Fn(&str) -> Result<T, (&'static str, &'static str)>,
    problems: &mut Problems,
) -> Vec<T> {
    let none = OneOrMany::Many(Vec::new());
    let urls = each(urls.unwrap_or(&none), &format!("{path}.url"));
    if urls.is_empty() {
        let problem = Problem::error(path, "there is no address");
        problems.add(
            problem
                .help(format!("give it as `url: {example}`"))
                .on_key(),
        );
    }
    let mut servers = Vec::new();
    for (path, url) in urls {
        match read(url) {
            Ok(server) => servers.push(server),
            Err((message, help)) => problems.add(Problem::error(path, message).help(help)),
        }
    }
    servers
}

/// The login of `user` and `password`.
fn password(
    user: Option<&String>,
    password: Option<&String>,
    path: &str,
    problems: &mut Problems,
) -> Option<Login> {
    if password.is_some() && user.is_none() {
        let path = format!("{path}.password");
        problems.add(Problem::error(path, "a password without a `user`"));
    }
    let password = password.cloned().unwrap_or_default();
    user.map(|user| Login::Password(user.clone(), password))
}

/// The one login there may be; `which` says what they could be written as.
fn login(
    mut logins: Vec<Login>,
    path: &str,
    which: &str,
    problems: &mut Problems,
) -> Option<Login> {
    logins.dedup();
    if logins.len() > 1 {
        let message = format!("{which} exclude each other");
        problems.add(
            Problem::error(path, message)
                .help("keep one of them")
                .on_key(),
        );
    }
    logins.pop()
}

fn group(
    name: &str,
    (count, first): (u32, u32),
    vars: Vec<Var>,
    publish: Publish,
    inject: Inject,
) -> Group {
    Group {
        name: name.to_owned(),
        count,
        first,
        // They never open a connection to the target.
        opening: Opening { knots: Vec::new() },
        vars,
        upgrade: Upgrade::default(),
        auth: None,
        transport: Transport::WebSocket,
        protocol: ProtocolConfig::Raw,
        introduction: Vec::new(),
        capture_headers: Vec::new(),
        keep_cookies: false,
        compression: None,
        node: None,
        on_open: Vec::new(),
        subscribe: Vec::new(),
        publish: vec![publish],
        request: Vec::new(),
        heartbeat: None,
        reconnect: None,
        resume: None,
        lifetime: Lifetime::Forever,
        inject: Some(inject),
    }
}

/// All addresses. Each must be one that can be published to.
fn addresses(
    group: &Group,
    seed: u64,
    (path, wrong): (&str, Wrong),
    problems: &mut Problems,
) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let Some(inject) = &group.inject else {
        return all;
    };
    for index in 0..group.count {
        let value = |part: &Part| Cow::Owned(value_of(part, seed, group, index));
        let topic = |template: &Template| render(template, |part| value(part));
        let address = render(&inject.address, |part| match part {
            Part::Builtin(Builtin::Topic) => Cow::Owned(
                group
                    .publish
                    .first()
                    .map_or_else(String::new, |p| topic(&p.topic)),
            ),
            other => value(other),
        });
        if let Some((message, help)) = wrong(&address) {
            problems.add(Problem::error(path, message).help(help));
            break;
        }
        all.insert(address);
    }
    all
}
