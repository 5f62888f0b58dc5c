//! What is published and asked: payloads, sizes, answers.

use super::Problems;
use super::group::Context;
use super::profile::{self, Wanted};
use super::text::{self, Scope};
use crate::plan::types::{Builtin, Profile, Publish, Reply, Request, Size, Template};
use crate::protocol::MIN_PAYLOAD;
use crate::scenario::model::{self, SizeDistribution, SizeSpec};
use crate::scenario::units::ByteSize;
use crate::scenario::{Files, Problem};
use std::time::Duration;

/// The embedded gateway's request.
const ECHO: &str = r#"{"type":"echo","id":{id},"payload":"{payload}"}"#;
/// Largest payload: far beyond what real-time services take, and well inside of 32 bits.
const MAX_PAYLOAD: u64 = 64 << 20;

pub(super) fn publish(
    written: &model::Publish,
    path: &str,
    context: &Context<'_>,
    files: &Files,
    problems: &mut Problems,
) -> Publish {
    let topic = match (&written.topic, context.raw) {
        (Some(topic), false) => {
            problems_if_empty(topic, &format!("{path}.topic"), problems);
            text::template(topic, &format!("{path}.topic"), context.scope(), problems)
        }
        (None, false) => {
            problems.add(
                Problem::error(path, "`json` publishes to a topic, but there is none")
                    .help("add `topic`"),
            );
            Template::default()
        }
        (Some(_), true) => {
            problems.add(
                Problem::error(format!("{path}.topic"), "`raw` knows no topics")
                    .help("remove it, or use `json`"),
            );
            Template::default()
        }
        (None, true) => Template::default(),
    };
    let payload = match (&written.payload, &written.payload_file) {
        (Some(_), Some(_)) => {
            problems.add(Problem::error(
                path,
                "`payload` and `payload_file` exclude each other",
            ));
            None
        }
        (Some(text), None) => Some((text.as_str(), format!("{path}.payload"))),
        (None, Some(file)) => {
            let path = format!("{path}.payload_file");
            match (files.get(file), files.text(file)) {
                (Some(_), None) => {
                    problems.add(Problem::error(path, "the file is not UTF-8 text"));
                    None
                }
                (_, text) => text.map(|text| (text, path)),
            }
        }
        (None, None) => None,
    };
    if written.size.is_some() && (written.payload.is_some() || written.payload_file.is_some()) {
        let message = "`size` has no meaning beside a payload, which has its own";
        problems.add(Problem::error(format!("{path}.size"), message));
    }
    let size = match (&payload, &written.size) {
        (Some((text, path)), _) => {
            within(
                text.len() as u64 + MIN_PAYLOAD as u64,
                path,
                context,
                problems,
            );
            Size::Fixed((text.len() as u32).saturating_add(MIN_PAYLOAD as u32))
        }
        (None, size) => self::size(
            size.as_ref(),
            128,
            &format!("{path}.size"),
            context,
            problems,
        ),
    };
    let payload = payload.map_or_else(Template::default, |(text, path)| {
        text::template(text, &path, context.scope(), problems)
    });
    let profile = profile(
        &written.rate,
        written.arrivals,
        written.r#in.as_ref(),
        path,
        context,
        problems,
    );
    Publish {
        topic,
        profile,
        size,
        payload,
    }
}

pub(super) fn request(
    written: &model::Request,
    path: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Request {
    let default = if context.raw { "{payload}" } else { ECHO };
    let send = written.send.as_deref().unwrap_or(default);
    let send_path = if written.send.is_some() {
        format!("{path}.send")
    } else {
        path.to_owned()
    };
    let scope = Scope {
        message: &[Builtin::Id, Builtin::Payload],
        ..context.scope()
    };
    let has = |name| text::has_placeholder(send, Some(name));
    let reply = match &written.reply {
        None if context.raw => Reply::Stamp,
        None => Reply::Id("/id".into()),
        Some(model::Reply::Id(pointer)) => Reply::Id(pointer.clone()),
        Some(model::Reply::Stamp) => Reply::Stamp,
        Some(model::Reply::Contains(text)) => Reply::Contains(text.clone()),
    };
    match &reply {
        Reply::Id(at) => {
            let reply_path = format!("{path}.reply.id");
            pointer(
                at,
                if written.reply.is_some() {
                    &reply_path
                } else {
                    path
                },
                problems,
            );
            if !has("id") {
                let message = "the answer is known by `{id}`, but the message sent has none";
                problems.add(
                    Problem::error(&send_path, message)
                        .help("put `{id}` into `send`, or choose another `reply`"),
                );
            }
        }
        Reply::Stamp if !has("payload") => {
            let message =
                "the answer is known by the stamp in `{payload}`, but the message sent has none";
            problems.add(Problem::error(&send_path, message).help("put `{payload}` into `send`"));
        }
        Reply::Stamp => {}
        Reply::Contains(text) => {
            if text.is_empty() {
                problems.add(Problem::error(
                    format!("{path}.reply.contains"),
                    "every message contains the empty text",
                ));
            }
        }
    }
    if written.size.is_some() && !has("payload") {
        let message = "`size` is that of `{payload}`, which the message sent does not have";
        problems.add(Problem::error(format!("{path}.size"), message));
    }
    let timeout = written.timeout.map_or(Duration::from_secs(5), |d| d.0);
    problems.zero(timeout.is_zero(), format!("{path}.timeout"), "a timeout");
    Request {
        name: written.name.clone().unwrap_or_else(|| "request".into()),
        send: text::template(send, &send_path, scope, problems),
        profile: profile(
            &written.rate,
            written.arrivals,
            written.r#in.as_ref(),
            path,
            context,
            problems,
        ),
        size: size(
            written.size.as_ref(),
            64,
            &format!("{path}.size"),
            context,
            problems,
        ),
        reply,
        timeout,
    }
}

fn profile(
    rate: &model::RateSpec,
    arrivals: model::Arrivals,
    phases: Option<&model::OneOrMany<String>>,
    path: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Profile {
    let wanted = Wanted {
        rate,
        arrivals,
        phases,
        path,
        count: context.count,
        limit: context.limit,
        bursts: context.bursts,
    };
    profile::compile(&wanted, context.timeline, problems)
}

fn problems_if_empty(text: &str, path: &str, problems: &mut Problems) {
    if text.is_empty() {
        problems.add(Problem::error(path, "a topic cannot be empty"));
    }
}

/// Checks a JSON pointer (RFC 6901).
pub(super) fn pointer(text: &str, path: &str, problems: &mut Problems) {
    if !text.is_empty() && !text.starts_with('/') {
        let problem = Problem::error(path, format!("`{text}` is not a JSON pointer"));
        problems.add(problem.help(format!("a pointer begins with a `/`: `/{text}`")));
    }
    if text
        .split('~')
        .skip(1)
        .any(|after| !after.starts_with(['0', '1']))
    {
        let problem = Problem::error(path, format!("`{text}` is not a JSON pointer"));
        problems.add(problem.help("in a JSON pointer `~` is written `~0` and `/` in a key `~1`"));
    }
}

fn size(
    written: Option<&SizeSpec>,
    default: u32,
    path: &str,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Size {
    let mut least = |size: ByteSize, path: &str| {
        if size.0 < MIN_PAYLOAD as u64 {
            problems.add(
                Problem::error(
                    path,
                    format!("{size} is too small for the stamp that measures every message"),
                )
                .help(format!("{MIN_PAYLOAD}B is the least")),
            );
        }
        within(size.0, path, context, problems);
        size.0.min(u64::from(u32::MAX)) as u32
    };
    match written {
        None => Size::Fixed(default),
        Some(SizeSpec::Fixed(size)) => Size::Fixed(least(*size, path)),
        Some(SizeSpec::Drawn(SizeDistribution::Uniform([low, high]))) => {
            let size = Size::Uniform(
                least(*low, &format!("{path}.uniform[0]")),
                least(*high, &format!("{path}.uniform[1]")),
            );
            if low > high {
                problems.add(Problem::error(
                    format!("{path}.uniform"),
                    "the first size is larger than the second",
                ));
            }
            size
        }
        Some(SizeSpec::Drawn(SizeDistribution::Exponential { mean, max })) => {
            let limit = least(*max, &format!("{path}.exponential.max"));
            problems.zero(mean.0 == 0, format!("{path}.exponential.mean"), "a mean");
            if mean > max {
                problems.add(Problem::error(
                    format!("{path}.exponential"),
                    "the mean is larger than the maximum",
                ));
            }
            Size::Exponential {
                mean: mean.0 as f64,
                max: limit,
            }
        }
    }
}

/// Refuses what could never be sent.
fn within(bytes: u64, path: &str, context: &Context<'_>, problems: &mut Problems) {
    if bytes > MAX_PAYLOAD {
        problems.add(Problem::error(
            path,
            format!("{bytes} bytes are more than a payload's {MAX_PAYLOAD}"),
        ));
    } else if bytes > context.max_queue as u64 {
        let message = format!(
            "{bytes} bytes do not fit the {} that may be queued on a connection",
            context.max_queue
        );
        problems.add(Problem::error(path, message).help("raise `target.max_queue`"));
    }
}
