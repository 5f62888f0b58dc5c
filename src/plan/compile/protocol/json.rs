//! JSON in a mapping of the user's own.

use super::super::steps::pointed;
use super::super::{Problems, message, text};
use crate::protocol::{Condition, Mapping};
use crate::scenario::Problem;
use crate::scenario::model::{self, Scalar};

/// Compiles a mapping; `path` is its own.
pub(super) fn compile(written: &model::Mapping, path: &str, problems: &mut Problems) -> Mapping {
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
        &["topic", "payload", "id", "length"],
        "payload",
    );
    message(
        &written.resubscribe,
        "resubscribe",
        &mut mapping.resubscribe,
        &["topic", "id", "seq", "epoch"],
        "topic",
    );
    if let Some(text) = &written.publish {
        let wrong = |message: &str| Problem::error(format!("{path}.publish"), message);
        if text.find("{length}") > text.find("{payload}") {
            problems.add(wrong("`{length}` is of the `{payload}` behind it"));
        } else if text.matches("{length}").count() > 1 {
            problems.add(wrong("`{length}` stands once"));
        }
    }
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
    at(&written.recovered, "recovered", &mut mapping.recovered);
    at(&written.epoch, "epoch", &mut mapping.epoch);
    at(&written.position, "position", &mut mapping.position);
    // How the default dialect resumes says nothing of a service that subscribes in another way.
    if written.subscribe.is_some() && written.resubscribe.is_none() {
        mapping.resubscribe.clear();
    }
    mapping.extension = super::extension::compile(written, path, problems);
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
    mapping
}
