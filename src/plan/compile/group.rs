//! A client group, put together of its parts.

use super::target::Compiled as Target;
use super::text::{self, Scope};
use super::timeline::{Boosted, Timeline};
use super::{
    Problems, answer, auth, compression, each, message, protocol, reconnect, resume, steps,
    transport, upgrade, vars,
};
use crate::plan::needs::Machine;
use crate::plan::types::{Group, Heartbeat, Lifetime, Opening, Resume, Step, Template, Var};
use crate::scenario::model;
use crate::scenario::{Files, Problem, Scenario};
use std::time::Duration;

/// Messages per second and core that no generator reaches: twice the fastest ever measured.
pub(super) const MOST_PER_CORE: f64 = 2e6;

/// What a group's messages are compiled with.
pub(super) struct Context<'a> {
    pub vars: &'a [Var],
    pub captured: &'a [u32],
    /// Nothing is subscribed to: payloads as they are, over a WebSocket.
    pub raw: bool,
    pub count: u32,
    pub limit: f64,
    pub max_queue: usize,
    pub timeline: &'a Timeline,
    pub bursts: &'a [Boosted],
}

impl<'a> Context<'a> {
    /// What templates of an open connection may use.
    pub fn scope(&self) -> Scope<'a> {
        Scope {
            vars: self.vars,
            captured: self.captured,
            message: &[],
        }
    }
}

pub(super) fn compile(
    scenario: &Scenario,
    timeline: &Timeline,
    target: &Target,
    files: &Files,
    machine: &Machine,
    problems: &mut Problems,
) -> Vec<Group> {
    let mut groups = Vec::new();
    let mut first: u32 = 0;
    for (name, written) in &scenario.clients {
        let path = format!("clients.{name}");
        problems.zero(
            written.count.0 == 0,
            format!("{path}.count"),
            "the number of connections",
        );
        let count = written.count.0.min(u64::from(u32::MAX)) as u32;
        let Some(next) = first
            .checked_add(count)
            .filter(|_| u64::from(count) == written.count.0)
        else {
            problems.add(Problem::error(
                format!("{path}.count"),
                "these are more connections than can be numbered (2³²)",
            ));
            continue;
        };
        let mut vars = vars::compile(&written.vars, &path, files, problems);
        let declared = vars.len();
        let mut shown = upgrade::Shown {
            target: scenario.target.clone(),
            headers: written.headers.clone(),
            subprotocol: None,
            builtins: auth::builtins(written),
            at: protocol::address(written, &path),
        };
        auth::show(written, &path, &mut shown, problems);
        let upgrade = upgrade::compile(&shown, target, name, &vars, problems);
        let capture_headers =
            answer::captures(&written.capture_headers, &path, &mut vars, problems);
        let set: Vec<u32> = capture_headers.iter().map(|(_, slot)| *slot).collect();
        let mut on_open = steps::compile(
            &written.on_open,
            &path,
            &mut vars,
            declared + set.len(),
            &set,
            shown.builtins,
            problems,
        );
        let captured: Vec<u32> = (declared as u32..vars.len() as u32).collect();
        let node = written
            .node
            .as_ref()
            .and_then(|node| answer::node(node, &path, &vars, problems));
        answer::comes_back(written, scenario.target.pick, &path, problems);
        let bursts = timeline.bursts.get(name).map_or(&[][..], Vec::as_slice);
        let websocket = |one: &model::Transport| {
            matches!(
                one,
                model::Transport::Named(model::TransportName::Websocket)
            )
        };
        let raw = matches!(
            &written.protocol,
            model::Protocol::Named(model::ProtocolName::Raw)
        ) && written.transport.to_vec().iter().all(websocket);
        let context = Context {
            vars: &vars,
            captured: &captured,
            raw,
            count,
            limit: MOST_PER_CORE * f64::from(machine.cores.max(1)),
            max_queue: target.config.max_queue,
            timeline,
            bursts,
        };
        let listed = |key: &str| format!("{path}.{key}");
        let publish: Vec<_> = written
            .publish
            .as_ref()
            .map_or_else(Vec::new, |p| each(p, &listed("publish")));
        let publish: Vec<_> = publish
            .into_iter()
            .map(|(path, p)| message::publish(p, &path, &context, files, problems))
            .collect();
        let request: Vec<_> = written
            .request
            .as_ref()
            .map_or_else(Vec::new, |r| each(r, &listed("request")));
        let request: Vec<_> = request
            .into_iter()
            .map(|(path, r)| message::request(r, &path, &context, problems))
            .collect();
        for burst in bursts {
            let profiles = publish
                .iter()
                .map(|p| &p.profile)
                .chain(request.iter().map(|r| &r.profile));
            if !profiles
                .flat_map(|p| &p.segments)
                .any(|s| s.start < burst.end && burst.start < s.end)
            {
                let message =
                    format!("`{name}` is silent in this phase, so there is nothing to multiply");
                problems.add(
                    Problem::error(format!("{}.clients", burst.path), message).help("see its `in`"),
                );
            }
        }
        let at_opening = Scope {
            vars: &vars,
            captured: &set,
            message: shown.builtins,
        };
        let protocol::Spoken {
            config: protocol,
            introduction,
        } = protocol::compile(written, &path, at_opening, problems);
        if protocol.polling().goes_on() {
            beside(written, target, &path, problems);
        }
        let of_vars = Scope {
            captured: &[],
            ..at_opening
        };
        // What is wrong with the query itself the upgrade has said.
        let query = upgrade::query(
            &shown.target.query,
            "target.query",
            of_vars,
            &mut Problems::default(),
        );
        let transport = transport::compile(written, &path, of_vars, &query, problems);
        transport::speaks(&transport, &protocol, &path, problems);
        let of = auth::Of {
            group: written,
            protocol: &protocol,
            scope: context.scope(),
            vars: Scope {
                message: &[],
                ..of_vars
            },
            transport: &transport,
            target: &scenario.target,
        };
        let (tokens, first_message) = auth::compile(&path, &of, files, problems);
        if let Some(message) = first_message {
            on_open.insert(0, Step::Send(message));
        }
        let resume = written
            .reconnect
            .as_ref()
            .and_then(|r| r.resume.as_ref())
            .and_then(|resume| {
                let of = resume::Of {
                    group: written,
                    protocol: &protocol,
                    transport: &transport,
                    vars: &vars,
                    captured: &captured,
                    unkept: scenario
                        .target
                        .embedded
                        .as_ref()
                        .is_some_and(|embedded| embedded.history.is_none()),
                };
                resume::compile(resume, &listed("reconnect.resume"), of, problems)
            })
            // Where the protocol keeps a session, whoever comes back takes it up.
            .or_else(|| {
                (written.reconnect.is_some() && protocol.resumes()).then_some(Resume::Protocol)
            });
        groups.push(Group {
            name: name.clone(),
            count,
            first,
            opening: timeline
                .openings
                .get(name)
                .cloned()
                .unwrap_or_else(|| Opening {
                    knots: vec![(Duration::ZERO, count)],
                }),
            upgrade,
            transport,
            protocol,
            introduction,
            capture_headers,
            keep_cookies: written.keep_cookies,
            compression: compression::compile(written, &path, target.config.max_message, problems),
            node,
            resume,
            auth: tokens,
            on_open,
            subscribe: subscriptions(&written.subscribe, &path, &context, problems),
            publish,
            request,
            heartbeat: written.heartbeat.as_ref().map(|h| {
                problems.zero(
                    h.every.0.is_zero(),
                    listed("heartbeat.every"),
                    "the time between pings",
                );
                problems.zero(
                    h.timeout.0.is_zero(),
                    listed("heartbeat.timeout"),
                    "a timeout",
                );
                Heartbeat {
                    every: h.every.0,
                    timeout: h.timeout.0,
                }
            }),
            reconnect: written
                .reconnect
                .as_ref()
                .map(|r| reconnect::compile(r, &listed("reconnect"), problems)),
            lifetime: lifetime(&written.lifetime, &listed("lifetime"), problems),
            inject: None,
            vars,
        });
        first = next;
    }
    groups
}

fn subscriptions(
    written: &[String],
    path: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Vec<Template> {
    if context.raw && !written.is_empty() {
        problems.add(
            Problem::error(format!("{path}.subscribe"), "`raw` knows no subscriptions")
                .help("send what the service wants in `on_open`, or use `json`")
                .on_key(),
        );
        return Vec::new();
    }
    let mut topics = Vec::new();
    for (i, topic) in written.iter().enumerate() {
        let path = format!("{path}.subscribe[{i}]");
        if topic.is_empty() {
            problems.add(Problem::error(&path, "a topic cannot be empty"));
        } else if written[..i].contains(topic) {
            problems.add(Problem::error(&path, "this topic is subscribed to twice"));
        }
        topics.push(text::template(topic, &path, context.scope(), problems));
    }
    topics
}

/// What goes on by polling has connections beside its own, which cannot have all that the own one may have.
fn beside(written: &model::ClientGroup, target: &Target, path: &str, problems: &mut Problems) {
    let path = format!("{path}.protocol");
    let help = "only the handshake can be polled then: `polling: handshake`";
    if target.config.proxy.is_some() {
        let message = "what is polled and posted beside the handshake does not go through a proxy";
        problems.add(Problem::error(&path, message).help(help).on_key());
    }
    if written.compression.is_some() {
        let message = "the WebSocket that takes over from polling offers no compression";
        problems.add(Problem::error(&path, message).help(help).on_key());
    }
}

fn lifetime(written: &model::Lifetime, path: &str, problems: &mut Problems) -> Lifetime {
    match written {
        model::Lifetime::Forever => Lifetime::Forever,
        model::Lifetime::Fixed(time) => {
            problems.zero(time.0.is_zero(), format!("{path}.fixed"), "a lifetime");
            Lifetime::Fixed(time.0)
        }
        model::Lifetime::Uniform([low, high]) => {
            problems.zero(high.0.is_zero(), format!("{path}.uniform"), "a lifetime");
            if low > high {
                problems.add(Problem::error(
                    format!("{path}.uniform"),
                    "the first time is longer than the second",
                ));
            }
            Lifetime::Uniform(low.0, high.0)
        }
        model::Lifetime::Exponential(mean) => {
            problems.zero(
                mean.0.is_zero(),
                format!("{path}.exponential"),
                "a mean lifetime",
            );
            Lifetime::Exponential(mean.0)
        }
    }
}
