//! Groups that publish into a broker behind the target.

use super::group::{Context, MOST_PER_CORE};
use super::target::{self, Compiled as Target};
use super::text::{self, Scope};
use super::timeline::Timeline;
use super::{Problems, each, message, vars};
use crate::broker::{Config, Endpoint, Login, NatsConfig};
use crate::plan::needs::Machine;
use crate::plan::template::{render, value_of};
use crate::plan::types::{
    Builtin, Group, Inject, Lifetime, Opening, Part, Publish, Template, Transport, Upgrade, Var,
};
use crate::protocol::ProtocolConfig;
use crate::scenario::model::{self, OneOrMany};
use crate::scenario::{Files, Problem, Scenario};
use std::borrow::Cow;

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
        let Some(nats) = &written.nats else {
            let problem = Problem::error(&path, "there is no broker to publish into");
            problems.add(
                problem
                    .help("give its address as `nats: { url: nats://… }`")
                    .on_key(),
            );
            continue;
        };
        let at = format!("{path}.nats");
        let subject = nats.subject.as_deref().unwrap_or("{topic}");
        let subject_at = match nats.subject {
            Some(_) => format!("{at}.subject"),
            None => format!("{path}.topic"),
        };
        let scope = Scope {
            message: &[Builtin::Topic],
            ..context.scope()
        };
        let inject = Inject {
            broker: Config::Nats(Box::new(config(nats, &at, files, problems))),
            address: text::template(subject, &subject_at, scope, problems),
        };
        let group = group(name, (count, first), vars, publish, inject);
        subjects(&group, scenario.seed, &subject_at, problems);
        groups.push(group);
    }
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

fn config(nats: &model::Nats, path: &str, files: &Files, problems: &mut Problems) -> NatsConfig {
    let none = OneOrMany::Many(Vec::new());
    let urls = each(nats.url.as_ref().unwrap_or(&none), &format!("{path}.url"));
    if urls.is_empty() {
        let problem = Problem::error(path, "there is no address");
        problems.add(problem.help("give it as `url: nats://host:4222`").on_key());
    }
    let mut endpoints = Vec::new();
    let mut logins = Vec::new();
    for (path, url) in urls {
        match NatsConfig::address(url) {
            Ok((endpoint, login)) => {
                endpoints.push(endpoint);
                logins.extend(login);
            }
            Err((message, help)) => problems.add(Problem::error(path, message).help(help)),
        }
    }
    let password =
        |user: &String| Login::Password(user.clone(), nats.password.clone().unwrap_or_default());
    if nats.password.is_some() && nats.user.is_none() {
        let path = format!("{path}.password");
        problems.add(Problem::error(path, "a password without a `user`"));
    }
    logins.extend(nats.user.as_ref().map(password));
    logins.extend(nats.token.clone().map(Login::Token));
    if let Some(contents) = nats.credentials.as_ref().and_then(|file| files.get(file)) {
        let read = std::str::from_utf8(contents).ok().and_then(Login::of_file);
        if read.is_none() {
            let problem = Problem::error(
                format!("{path}.credentials"),
                "the file holds no NATS credentials",
            );
            problems.add(problem.help("it is what `nsc generate creds` writes"));
        }
        logins.extend(read);
    }
    logins.dedup();
    if logins.len() > 1 {
        let message = "`user`, `token`, `credentials` and a user in the address exclude each other";
        problems.add(
            Problem::error(path, message)
                .help("keep one of them")
                .on_key(),
        );
    }
    let secure = endpoints.iter().any(|e: &Endpoint| e.tls) || endpoints.is_empty();
    NatsConfig {
        tls: target::tls(path, "tls://", nats.tls.as_ref(), secure, files, problems),
        endpoints,
        login: logins.pop().unwrap_or_default(),
        jetstream: nats.jetstream,
    }
}

/// Every subject must be one that can be published to.
fn subjects(group: &Group, seed: u64, path: &str, problems: &mut Problems) {
    let Some(inject) = &group.inject else { return };
    for index in 0..group.count {
        let value = |part: &Part| Cow::Owned(value_of(part, seed, group, index));
        let topic = |template: &Template| render(template, |part| value(part));
        let subject = render(&inject.address, |part| match part {
            Part::Builtin(Builtin::Topic) => Cow::Owned(
                group
                    .publish
                    .first()
                    .map_or_else(String::new, |p| topic(&p.topic)),
            ),
            other => value(other),
        });
        let token = |t: &str| t.is_empty() || t.contains(['*', '>']);
        if subject.split('.').any(token)
            || subject.contains(|c: char| c.is_whitespace() || c.is_control())
        {
            let message = format!("`{subject}` is no subject of NATS to publish to");
            let help = "words joined by `.`, without `*`, `>` and white space";
            return problems.add(Problem::error(path, message).help(help));
        }
    }
}
