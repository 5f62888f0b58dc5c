//! A client group: variables, upgrade, steps, subscriptions, life cycle.

use super::target::Compiled as Target;
use super::text::{self, Scope};
use super::timeline::{Multiple, Timeline};
use super::{Problems, each, message, names};
use crate::plan::needs::Machine;
use crate::plan::template::percent_encode;
use crate::plan::types::{
    Backoff, Expect, Group, Heartbeat, Lifetime, Matcher, Opening, Part, Reconnect, Step, Template,
    Upgrade, Var, VarSource,
};
use crate::protocol::{Condition, Mapping, ProtocolConfig};
use crate::scenario::model::{self, ClientGroup, Scalar, Table};
use crate::scenario::{Files, Problem, Scenario};
use std::time::Duration;

/// Messages per second and core that no generator reaches: twice the fastest ever measured.
const MOST_PER_CORE: f64 = 2e6;
/// Longest random hexadecimal value.
const MAX_HEX: u32 = 4096;

/// What a group's messages are compiled with.
pub(super) struct Context<'a> {
    pub vars: &'a [Var],
    pub captured: &'a [u32],
    pub raw: bool,
    pub count: u32,
    pub limit: f64,
    pub max_queue: usize,
    pub timeline: &'a Timeline,
    pub bursts: &'a [Multiple],
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
        let mut vars = variables(&written.vars, &path, files, problems);
        let declared = vars.len();
        let mut own = Problems::default();
        let upgrade = upgrade(scenario, target, written, &path, &vars, &mut own);
        for problem in own.list {
            problems.add(explained(problem, name));
        }
        let on_open = steps(&written.on_open, &path, &mut vars, declared, problems);
        let captured: Vec<u32> = (declared as u32..vars.len() as u32).collect();
        let bursts = timeline.bursts.get(name).map_or(&[][..], Vec::as_slice);
        let raw = matches!(written.protocol, model::Protocol::Raw);
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
            protocol: protocol(&written.protocol, &listed("protocol"), problems),
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
                .map(|r| reconnect(r, &listed("reconnect"), problems)),
            lifetime: lifetime(&written.lifetime, &listed("lifetime"), problems),
            vars,
        });
        first = next;
    }
    groups
}

/// A variable that the target uses must be there in every group; says which one lacks it.
fn explained(problem: Problem, group: &str) -> Problem {
    let near = problem
        .help
        .as_ref()
        .is_some_and(|help| help.starts_with("did you mean"));
    if problem.path.starts_with("target.")
        && problem.message.starts_with("unknown variable")
        && !near
    {
        return problem.help(format!(
            "client group `{group}` does not have it: what the target uses every group needs in its `vars`"
        ));
    }
    problem
}

fn variables(
    table: &Table<model::Var>,
    path: &str,
    files: &Files,
    problems: &mut Problems,
) -> Vec<Var> {
    let mut vars = Vec::new();
    for (name, var) in table {
        let path = format!("{path}.vars.{name}");
        name_of_variable(name, &path, problems);
        let texts = |values: &[Scalar]| values.iter().map(Scalar::to_string).collect::<Vec<_>>();
        let mut some = |values: &[Scalar], key: &str| {
            if values.is_empty() {
                problems.add(Problem::error(format!("{path}.{key}"), "the list is empty"));
            }
        };
        let source = match var {
            model::Var::Cycle(values) => {
                some(values, "cycle");
                VarSource::Cycle(texts(values))
            }
            model::Var::Sequence(from) => VarSource::Sequence(*from),
            model::Var::Random(model::RandomVar::Choice(values)) => {
                some(values, "random.choice");
                VarSource::Choice(texts(values))
            }
            model::Var::Random(model::RandomVar::Int([low, high])) => {
                if low > high {
                    let message = "the first number is larger than the second";
                    problems.add(Problem::error(format!("{path}.random.int"), message));
                }
                VarSource::Int(*low, *high)
            }
            model::Var::Random(model::RandomVar::Hex(digits)) => {
                if *digits == 0 || *digits > MAX_HEX {
                    let message = format!("the number of digits is from 1 to {MAX_HEX}");
                    problems.add(Problem::error(format!("{path}.random.hex"), message));
                }
                VarSource::Hex(*digits)
            }
            model::Var::Csv(csv) => {
                VarSource::Cycle(column(csv, &format!("{path}.csv"), files, problems))
            }
        };
        vars.push(Var {
            name: name.clone(),
            source,
        });
    }
    vars
}

fn name_of_variable(name: &str, path: &str, problems: &mut Problems) {
    if !text::is_ident(name) {
        problems.add(
            Problem::error(
                path,
                "a variable's name is made of letters, digits and `_`, and begins with no digit",
            )
            .on_key(),
        );
    } else if text::BUILTINS.iter().any(|(builtin, _)| *builtin == name) {
        problems.add(
            Problem::error(path, format!("`{{{name}}}` is built in"))
                .help("choose another name")
                .on_key(),
        );
    }
}

/// The values of a CSV file's column.
fn column(csv: &model::CsvVar, path: &str, files: &Files, problems: &mut Problems) -> Vec<String> {
    // A file that could not be read was reported when the scenario was loaded.
    let Some(contents) = files.get(&csv.file) else {
        return Vec::new();
    };
    let mut reader = csv::Reader::from_reader(contents);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            problems.add(Problem::error(
                format!("{path}.file"),
                format!("the CSV file cannot be read: {error}"),
            ));
            return Vec::new();
        }
    };
    let Some(at) = headers.iter().position(|name| name == csv.column) else {
        problems.add(names::unknown(
            &format!("{path}.column"),
            "column",
            &csv.column,
            &headers,
        ));
        return Vec::new();
    };
    let mut values = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => values.push(record.get(at).unwrap_or_default().to_owned()),
            Err(error) => {
                problems.add(Problem::error(
                    format!("{path}.file"),
                    format!("the CSV file cannot be read: {error}"),
                ));
                return values;
            }
        }
    }
    if values.is_empty() {
        problems.add(Problem::error(
            format!("{path}.file"),
            "the CSV file has no line below its header",
        ));
    }
    values
}

fn upgrade(
    scenario: &Scenario,
    target: &Target,
    group: &ClientGroup,
    path: &str,
    vars: &[Var],
    problems: &mut Problems,
) -> Upgrade {
    let scope = Scope {
        vars,
        captured: &[],
        message: &[],
    };
    let written = &scenario.target;
    let mut query: Vec<Part> = Vec::new();
    for (i, (key, value)) in written.query.iter().enumerate() {
        let value = text::template(value, &format!("target.query.{key}"), scope, problems);
        let separator = if i == 0 { "" } else { "&" };
        query.push(Part::Text(format!("{separator}{}=", percent_encode(key))));
        query.extend(value.parts.into_iter().map(|part| match part {
            Part::Text(text) => Part::Text(percent_encode(&text)),
            other => other,
        }));
    }
    let paths = target.paths.iter().map(|(text, place)| {
        let mut path = text::template(text, place, scope, problems);
        for part in &mut path.parts {
            if let Part::Text(text) = part {
                *text = written_as_url(text);
            }
        }
        if !query.is_empty() {
            let separator = match text.split_once('?') {
                None => "?",
                Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
                Some(_) => "&",
            };
            path.parts.push(Part::Text(separator.into()));
            path.parts.extend(query.iter().cloned());
        }
        path
    });
    let paths = paths.collect();
    let own = format!("{path}.headers");
    let mut headers = message::headers(
        [("target.headers", &written.headers), (&own, &group.headers)],
        scope,
        problems,
    );
    let given = |headers: &[(String, Template)], name: &str| {
        headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    };
    if let Some(value) = &target.authorization {
        if given(&headers, "authorization") {
            problems.add(
                Problem::error(
                    "target.url",
                    "the address names a user, and there is an Authorization header too",
                )
                .help("keep one of them"),
            );
        }
        headers.push(("Authorization".into(), Template::text(value.as_str())));
    }
    if !written.cookies.is_empty() {
        if given(&headers, "cookie") {
            problems.add(
                Problem::error(
                    "target.cookies",
                    "there are `cookies` and a Cookie header too",
                )
                .help("keep one of them")
                .on_key(),
            );
        }
        headers.push(("Cookie".into(), cookies(&written.cookies, scope, problems)));
    }
    Upgrade { paths, headers }
}

/// `a=1; b=2` (RFC 6265, section 4.2.1).
fn cookies(table: &Table<String>, scope: Scope<'_>, problems: &mut Problems) -> Template {
    let mut parts = Vec::new();
    for (i, (name, value)) in table.iter().enumerate() {
        let path = format!("target.cookies.{name}");
        if !super::target::is_token(name) {
            problems.add(Problem::error(&path, "this cannot be a cookie's name").on_key());
        }
        if value.contains([';', ',', '"', '\\'])
            || value.chars().any(|c| c.is_control() || c.is_whitespace())
        {
            let message =
                "a cookie's value cannot hold spaces, commas, semicolons, quotes or backslashes";
            problems.add(Problem::error(&path, message));
        }
        parts.push(Part::Text(format!(
            "{}{name}=",
            if i == 0 { "" } else { "; " }
        )));
        parts.extend(text::template(value, &path, scope, problems).parts);
    }
    Template { parts }
}

/// Text of a path or query as a request line takes it: what has no place there percent-encoded.
fn written_as_url(text: &str) -> String {
    let kept = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    text.chars()
        .map(|c| {
            if kept(c) {
                c.to_string()
            } else {
                percent_encode(c.encode_utf8(&mut [0; 4]))
            }
        })
        .collect()
}

fn steps(
    written: &[model::Step],
    path: &str,
    vars: &mut Vec<Var>,
    declared: usize,
    problems: &mut Problems,
) -> Vec<Step> {
    // Names first: a template that uses a captured variable too early gets a message of its own.
    let mut captures: Vec<Vec<(u32, String)>> = Vec::new();
    for (i, step) in written.iter().enumerate() {
        let mut list = Vec::new();
        if let model::Step::Expect(expect) = step {
            for (name, at) in &expect.capture {
                let path = format!("{path}.on_open[{i}].expect.capture.{name}");
                name_of_variable(name, &path, problems);
                message::pointer(at, &path, problems);
                let slot = vars
                    .iter()
                    .position(|v| v.name == *name)
                    .unwrap_or_else(|| {
                        vars.push(Var {
                            name: name.clone(),
                            source: VarSource::Captured,
                        });
                        vars.len() - 1
                    });
                if slot < declared {
                    problems.add(
                        Problem::error(
                            &path,
                            format!("`{name}` is one of the group's `vars` already"),
                        )
                        .on_key(),
                    );
                }
                list.push((slot as u32, at.clone()));
            }
        }
        captures.push(list);
    }
    let mut captured = Vec::new();
    let mut steps = Vec::new();
    for (i, (step, capture)) in written.iter().zip(captures).enumerate() {
        let path = format!("{path}.on_open[{i}]");
        let scope = Scope {
            vars,
            captured: &captured,
            message: &[],
        };
        steps.push(match step {
            model::Step::Send(text) => Step::Send(text::template(
                text,
                &format!("{path}.send"),
                scope,
                problems,
            )),
            model::Step::Pause(time) => Step::Pause(time.0),
            model::Step::Expect(expect) => {
                let path = format!("{path}.expect");
                let mut compiled = |text: &str, key: &str| {
                    text::template(text, &format!("{path}.{key}"), scope, problems)
                };
                let contains = expect
                    .contains
                    .as_deref()
                    .map(|text| compiled(text, "contains"));
                let equals = expect
                    .equals
                    .as_ref()
                    .map(|value| compiled(&value.to_string(), "equals"));
                pointed(expect.pointer.as_deref(), equals.is_some(), &path, problems);
                let within = expect.within.map_or(Duration::from_secs(5), |d| d.0);
                problems.zero(within.is_zero(), format!("{path}.within"), "a timeout");
                let matching = Matcher {
                    contains,
                    pointer: expect.pointer.clone(),
                    equals,
                };
                Step::Expect(Expect {
                    matching,
                    within,
                    capture: capture.clone(),
                })
            }
        });
        captured.extend(capture.iter().map(|(slot, _)| *slot));
    }
    steps
}

/// A value can only be compared where a pointer says which.
fn pointed(at: Option<&str>, compared: bool, path: &str, problems: &mut Problems) {
    match at {
        Some(at) => message::pointer(at, &format!("{path}.pointer"), problems),
        None if compared => problems.add(Problem::error(
            format!("{path}.equals"),
            "`equals` needs `pointer` beside it: which value is to be this?",
        )),
        None => {}
    }
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

fn protocol(written: &model::Protocol, path: &str, problems: &mut Problems) -> ProtocolConfig {
    let written = match written {
        model::Protocol::Raw => return ProtocolConfig::Raw,
        model::Protocol::Json => return ProtocolConfig::Json(Box::default()),
        model::Protocol::Mapping(mapping) => mapping,
    };
    let path = format!("{path}.json_mapping");
    let mut mapping = Mapping::default();
    let mut message =
        |text: &Option<String>, key: &str, into: &mut String, known: &[&str], needed: &str| {
            let Some(text) = text else { return };
            let path = format!("{path}.{key}");
            text::check_names(text, &path, known, problems);
            if !text::has_placeholder(text, Some(needed)) {
                problems.add(Problem::error(
                    path,
                    format!("the message has no `{{{needed}}}`"),
                ));
            }
            into.clone_from(text);
        };
    message(
        &written.subscribe,
        "subscribe",
        &mut mapping.subscribe,
        &["topic", "id"],
        "topic",
    );
    message(
        &written.publish,
        "publish",
        &mut mapping.publish,
        &["topic", "payload", "id"],
        "payload",
    );
    let mut at = |text: &Option<String>, key: &str, into: &mut String| {
        if let Some(text) = text {
            message::pointer(text, &format!("{path}.{key}"), problems);
            into.clone_from(text);
        }
    };
    at(&written.r#type, "type", &mut mapping.r#type);
    at(&written.topic, "topic", &mut mapping.topic);
    at(&written.sequence, "sequence", &mut mapping.sequence);
    at(&written.payload, "payload", &mut mapping.payload);
    mapping.message = written.message.clone().unwrap_or(mapping.message);
    mapping.error = written.error.clone().unwrap_or(mapping.error);
    match &written.subscribed {
        None => {}
        Some(model::Ack::None) => mapping.subscribed = None,
        Some(model::Ack::When(when)) => {
            let path = format!("{path}.subscribed.when");
            pointed(
                when.pointer.as_deref(),
                when.equals.is_some(),
                &path,
                problems,
            );
            if when.contains.is_none() && when.pointer.is_none() {
                problems.add(
                    Problem::error(
                        &path,
                        "without `contains` or `pointer` every message would match",
                    )
                    .help("say how the acknowledgement is known, or write `none`"),
                );
            }
            mapping.subscribed = Some(Condition {
                contains: when.contains.clone().unwrap_or_default(),
                pointer: when.pointer.clone().unwrap_or_default(),
                equals: when.equals.as_ref().map(Scalar::to_string),
            });
        }
    }
    ProtocolConfig::Json(Box::new(mapping))
}

fn reconnect(written: &model::Reconnect, path: &str, problems: &mut Problems) -> Reconnect {
    let base = written.base.map_or(Duration::from_millis(500), |d| d.0);
    let cap = written
        .cap
        .map_or(Duration::from_secs(30).max(base), |d| d.0);
    problems.zero(base.is_zero(), format!("{path}.base"), "the first backoff");
    if cap < base {
        problems.add(Problem::error(
            format!("{path}.cap"),
            "the largest backoff is smaller than the first",
        ));
    }
    problems.zero(
        written.attempts == Some(0),
        format!("{path}.attempts"),
        "the number of attempts",
    );
    let backoff = match written.backoff {
        model::Backoff::NoJitter => Backoff::NoJitter,
        model::Backoff::FullJitter => Backoff::FullJitter,
        model::Backoff::EqualJitter => Backoff::EqualJitter,
        model::Backoff::Decorrelated => Backoff::Decorrelated,
    };
    Reconnect {
        backoff,
        base,
        cap,
        attempts: written.attempts,
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
