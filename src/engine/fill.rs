//! Filling templates with what a connection knows.

use super::shard::Shard;
use crate::plan;
use crate::protocol::escape;

impl Shard {
    /// A value of a template for a connection.
    pub(super) fn value(&self, c: usize, part: &plan::Part) -> String {
        let conn = &self.conns[c];
        let group = &self.plan.groups()[usize::from(conn.group)];
        match part {
            plan::Part::Text(text) => text.clone(),
            plan::Part::Var(slot) => {
                let captured = conn
                    .work
                    .as_ref()
                    .and_then(|w| w.captured.iter().find(|(s, _)| s == slot));
                match captured {
                    Some((_, value)) => value.clone(),
                    None => plan::var_value(self.plan.seed(), group, *slot, conn.index),
                }
            }
            plan::Part::Builtin(plan::Builtin::Connection) => {
                (group.first + conn.index).to_string()
            }
            plan::Part::Builtin(plan::Builtin::Index) => conn.index.to_string(),
            plan::Part::Builtin(plan::Builtin::Group) => group.name.clone(),
            // The message's own built-ins are put in where the message is made.
            plan::Part::Builtin(
                plan::Builtin::Topic | plan::Builtin::Id | plan::Builtin::Payload,
            ) => String::new(),
            plan::Part::Builtin(plan::Builtin::Token) => self.token(c),
            plan::Part::Builtin(plan::Builtin::Last) => conn
                .work
                .as_ref()
                .map_or_else(String::new, |work| work.last.clone()),
        }
    }

    /// A message filled for a connection: where messages are JSON, values are escaped for its strings, so that
    /// a quote in a name does not break it.
    pub(super) fn fill_message(&self, c: usize, template: &plan::Template) -> Vec<u8> {
        let g = usize::from(self.conns[c].group);
        if !self.groups[g].codec.is_json() {
            return self.fill(c, template).into_bytes();
        }
        let mut out = Vec::new();
        for part in &template.parts {
            match part {
                plan::Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                other => escape(&self.value(c, other), &mut out),
            }
        }
        out
    }

    /// A template filled for a connection.
    pub(super) fn fill(&self, c: usize, template: &plan::Template) -> String {
        plan::render(template, |part| self.value(c, part).into())
    }
}
