//! Who hears whom: how many subscribers a published message has, and how much traffic that makes.

use super::Problems;
use super::protocol::mqtt::no_filter;
use crate::plan::template::{render, value_of};
use crate::plan::types::{Group, Part, Plan, Publish, Template, VarSource};
use crate::protocol::ProtocolConfig;
use crate::protocol::settings::mqtt::Filter;
use crate::scenario::Problem;
use std::borrow::Cow;
use std::collections::HashMap;

/// Topics rendered at most, over all groups: beyond it connections are sampled.
const RENDERED: usize = 200_000;
/// Patterns that are looked at for each topic.
const FILTERS: usize = 64;
/// Connections of a group whose filters are looked at: whatever is wrong with one is mostly wrong with all.
const LOOKED: u32 = 1_000;
/// Messages a core sends and receives per second while it does little else; more is likely to be too much.
const USUAL_PER_CORE: f64 = 100_000.0;

/// What moves in the run, as expected from the plan.
#[derive(Debug, Clone, Default)]
pub(super) struct Traffic {
    /// By phase: publishes, requests, deliveries.
    pub phases: Vec<[f64; 3]>,
    /// Most per second, of the three together.
    pub peak: f64,
    /// Most publishes and requests per second.
    pub peak_sent: f64,
}

impl Traffic {
    /// Of the whole run: publishes, requests, deliveries.
    pub fn total(&self) -> [f64; 3] {
        self.phases.iter().fold([0.0; 3], |sum, p| {
            [sum[0] + p[0], sum[1] + p[1], sum[2] + p[2]]
        })
    }

    /// Whether a machine is likely to be too slow for it.
    pub fn beyond(&self, cores: u32) -> Option<f64> {
        let usual = USUAL_PER_CORE * f64::from(cores.max(1));
        (self.peak > usual).then_some(usual)
    }
}

/// Subscribers by topic.
#[derive(Default)]
struct Audience {
    topics: HashMap<String, f64>,
    /// MQTT's filters, and how many hear what they take.
    filters: HashMap<String, f64>,
    /// Every subscription was looked at, and none depends on what the target says.
    complete: bool,
}

pub(super) fn traffic(plan: &Plan, problems: &mut Problems) -> Traffic {
    let templates: usize = plan
        .groups()
        .iter()
        .map(|g| g.subscribe.len() + g.publish.len())
        .sum();
    let each = (RENDERED / templates.max(1)).max(16) as u32;
    let audience = audience(plan, each);
    let mut traffic = Traffic {
        phases: vec![[0.0; 3]; plan.phases().len()],
        ..Traffic::default()
    };
    // (time, publishes, requests, deliveries per second more from here on)
    let mut steps: Vec<(std::time::Duration, [f64; 3])> = Vec::new();
    for group in plan.groups() {
        let mut add = |profile: &crate::plan::Profile, weights: [f64; 3]| {
            for segment in &profile.segments {
                let rates = weights.map(|w| w * segment.rate);
                // What is due at once is worked off over a second, or nobody would be fast enough for it.
                let length = segment.end.saturating_sub(segment.start).as_secs_f64();
                let worked_off = rates.map(|rate| rate * length.min(1.0));
                steps.push((segment.start, worked_off));
                steps.push((segment.end, worked_off.map(|r| -r)));
                for (phase, sum) in plan.phases().iter().zip(&mut traffic.phases) {
                    let overlap = segment
                        .end
                        .min(phase.end)
                        .saturating_sub(segment.start.max(phase.start));
                    for (sum, rate) in sum.iter_mut().zip(rates) {
                        *sum += rate * overlap.as_secs_f64();
                    }
                }
            }
        };
        for (ordinal, publish) in group.publish.iter().enumerate() {
            let listeners = listeners(plan.seed(), group, publish, each, &audience);
            if listeners == Some(0.0) && !publish.topic.is_empty() {
                let path = match group.publish.len() {
                    _ if group.inject.is_some() => format!("inject.{}.topic", group.name),
                    1 => format!("clients.{}.publish", group.name),
                    _ => format!("clients.{}.publish[{ordinal}]", group.name),
                };
                problems.add(
                    Problem::warning(
                        path,
                        "no client group subscribes to these topics, so no latency is measured",
                    )
                    .help("let a group `subscribe` to them"),
                );
            }
            add(&publish.profile, [1.0, 0.0, listeners.unwrap_or(0.0)]);
        }
        for request in &group.request {
            add(&request.profile, [0.0, 1.0, 0.0]);
        }
    }
    // Where one segment ends and the next begins, the end comes first.
    steps.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then(a.1[0].total_cmp(&b.1[0]))
            .then(a.1[1].total_cmp(&b.1[1]))
    });
    let mut now = [0.0; 3];
    for (_, more) in steps {
        for (now, more) in now.iter_mut().zip(more) {
            *now += more;
        }
        traffic.peak_sent = traffic.peak_sent.max(now[0] + now[1]);
        // A request comes back as well.
        traffic.peak = traffic.peak.max(now[0] + 2.0 * now[1] + now[2]);
    }
    traffic
}

/// MQTT's filters that are templates, as far as their values are known: none may be one that no server can take.
pub(super) fn filters(plan: &Plan, problems: &mut Problems) {
    let speak = |group: &&Group| matches!(group.protocol, ProtocolConfig::Mqtt(_));
    for group in plan.groups().iter().filter(speak) {
        for (i, template) in group.subscribe.iter().enumerate() {
            if template.as_text().is_some() || is_captured(group, template) {
                continue;
            }
            let mut all =
                (0..group.count.min(LOOKED)).map(|at| topic(plan.seed(), group, template, at));
            if let Some(wrong) = all.find(|filter| Filter::parse(filter).is_none()) {
                problems.add(no_filter(
                    format!("clients.{}.subscribe[{i}]", group.name),
                    &wrong,
                ));
            }
        }
    }
}

impl Audience {
    fn add(&mut self, group: &Group, topic: String, weight: f64) {
        let filter = match group.protocol {
            ProtocolConfig::Mqtt(_) => Filter::parse(&topic),
            _ => None,
        };
        let Some(filter) = filter.filter(|filter| filter.share.is_some() || filter.is_pattern())
        else {
            *self.topics.entry(topic).or_default() += weight;
            return;
        };
        if self.filters.len() >= FILTERS {
            self.complete = false;
        } else if filter.share.is_some() {
            // Of those who share it, one hears each message.
            self.filters.insert(topic, 1.0);
        } else {
            *self.filters.entry(topic).or_default() += weight;
        }
    }

    /// How many hear a topic.
    fn of(&self, topic: &str) -> f64 {
        let takes = |text: &str| Filter::parse(text).is_some_and(|filter| filter.takes(topic));
        let filters = self.filters.iter().filter(|(text, _)| takes(text));
        let more = filters.map(|(_, weight)| weight).sum::<f64>();
        self.topics.get(topic).unwrap_or(&0.0) + more
    }
}

fn audience(plan: &Plan, each: u32) -> Audience {
    let mut audience = Audience {
        complete: true,
        ..Audience::default()
    };
    for group in plan.groups() {
        for template in &group.subscribe {
            if let Some(topic) = template.as_text() {
                audience.add(group, topic.to_owned(), f64::from(group.count));
                continue;
            }
            if is_captured(group, template) {
                audience.complete = false;
                continue;
            }
            audience.complete &= group.count <= each;
            let looked = group.count.min(each);
            let weight = f64::from(group.count) / f64::from(looked);
            for index in 0..looked {
                audience.add(group, topic(plan.seed(), group, template, index), weight);
            }
        }
    }
    audience
}

/// Subscribers of a message, on the average over the group's connections. `None`: not to be known.
fn listeners(
    seed: u64,
    group: &Group,
    publish: &Publish,
    each: u32,
    audience: &Audience,
) -> Option<f64> {
    if is_captured(group, &publish.topic) {
        return None;
    }
    let looked = if publish.topic.as_text().is_some() {
        1
    } else {
        group.count.min(each)
    };
    let heard = (0..looked).map(|i| audience.of(&topic(seed, group, &publish.topic, i)));
    let mean = heard.sum::<f64>() / f64::from(looked);
    let complete = audience.complete && (looked == 1 || looked == group.count);
    (mean > 0.0 || complete).then_some(mean)
}

fn topic(seed: u64, group: &Group, template: &Template, index: u32) -> String {
    render(template, |part| {
        Cow::Owned(value_of(part, seed, group, index))
    })
}

fn is_captured(group: &Group, template: &Template) -> bool {
    template.parts.iter().any(
        |part| matches!(part, Part::Var(slot) if matches!(group.vars[*slot as usize].source, VarSource::Captured)),
    )
}
