//! Streams of messages: one publisher's messages of one kind. What the plan alone says of each.

use super::template::{render, value_of};
use super::types::{Part, Plan, Publish, VarSource};
use std::ops::Range;

impl Plan {
    /// The numbers of the streams of each group that publishes, in order. Not each of them need be a stream: groups may
    /// have fewer than others.
    pub fn numbered_streams(&self) -> impl Iterator<Item = Range<u32>> + '_ {
        let publish = self.groups.iter().filter(|g| !g.publish.is_empty());
        publish.map(|g| self.stream(g.first, 0)..self.stream(g.first + g.count, 0))
    }

    /// What a stream is of; `None` for one that nobody publishes. Anything may be asked, as stamps come from outside.
    pub fn publish_of(&self, stream: u32) -> Option<&Publish> {
        if stream >= self.streams() {
            return None;
        }
        let (connection, ordinal) = self.stream_owner(stream);
        let group = &self.groups[self.group_of(connection)];
        group.publish.get(ordinal as usize)
    }

    /// The topic of a stream; `None` where the plan alone does not tell: it has none, or a captured variable in it.
    pub fn topic_of(&self, stream: u32) -> Option<String> {
        let topic = &self.publish_of(stream)?.topic;
        let (connection, _) = self.stream_owner(stream);
        let group = &self.groups[self.group_of(connection)];
        let captured = |slot: u32| {
            let var = group.vars.get(slot as usize);
            var.is_none_or(|var| matches!(var.source, VarSource::Captured))
        };
        let unknown = |part: &Part| matches!(part, Part::Var(slot) if captured(*slot));
        if topic.is_empty() || topic.parts.iter().any(unknown) {
            return None;
        }
        let value = |part: &Part| value_of(part, self.seed, group, connection - group.first).into();
        Some(render(topic, value))
    }
}
