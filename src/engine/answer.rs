//! What a connection takes from the answer to its upgrade: variables, cookies, and the node that serves it.
//!
//! Only groups that ask for something pay for it: two bytes a connection for the node, a pointer for cookies.

use super::end::Cause;
use super::shard::Shard;
use crate::metrics::{Counter, Failure, Node};
use crate::plan::{Group, NodeSource};
use crate::transport::cookies::Jar;

/// Longest value of a header that becomes a variable, bytes.
const LONGEST: usize = 1024;

/// Cookies of a connection and the address they came from.
pub(super) struct Kept {
    endpoint: u16,
    jar: Jar,
}

/// What a group wanted of an answer's headers.
#[derive(Default)]
pub(super) struct Heard {
    captured: Vec<(u32, Vec<u8>)>,
    jar: Jar,
    node: Vec<u8>,
}

impl Heard {
    /// Takes a header, if the group wants it. Of several with one name the first counts; of cookies, each.
    pub fn take(&mut self, group: &Group, name: &str, value: &[u8]) {
        for (header, slot) in &group.capture_headers {
            if name.eq_ignore_ascii_case(header) && self.captured.iter().all(|(s, _)| s != slot) {
                self.captured.push((*slot, value.to_vec()));
            }
        }
        if group.keep_cookies && name.eq_ignore_ascii_case("set-cookie") {
            self.jar.keep(value);
        }
        if let Some(NodeSource::Header(header)) = &group.node
            && name.eq_ignore_ascii_case(header)
            && self.node.is_empty()
        {
            self.node = value.to_vec();
        }
    }
}

impl Heard {
    /// Whether there are cookies to keep among it.
    pub fn has_cookies(&self) -> bool {
        !self.jar.is_empty()
    }
}

impl Shard {
    /// Keeps what was heard of an upgrade that was granted. False when the opening failed over it.
    pub(super) fn keep_heard(&mut self, c: usize, heard: Heard, now: u64) -> bool {
        let g = usize::from(self.conns[c].group);
        for (header, slot) in &self.plan.groups()[g].capture_headers {
            let value = heard.captured.iter().find(|(s, _)| s == slot);
            let text = value.map(|(_, value)| std::str::from_utf8(value));
            let wrong = match text {
                None => "is not in the answer to the upgrade",
                Some(Err(_)) => "is not UTF-8",
                Some(Ok(text)) if text.len() > LONGEST => "is longer than 1024 bytes",
                Some(Ok(text)) => {
                    let work = self.conns[c].work.get_or_insert_default();
                    work.captured.retain(|(s, _)| s != slot);
                    work.captured.push((*slot, text.to_owned()));
                    continue;
                }
            };
            let said = format!("capture_headers: {header} {wrong}");
            self.recorder.sample("step", said.as_bytes());
            self.lost(c, Cause::Failed(Failure::Step), now);
            return false;
        }
        if !heard.node.is_empty()
            && let Some(opening) = &mut self.conns[c].opening
        {
            opening.node = self.recorder.node(&heard.node);
        }
        self.keep_cookies(c, heard);
        true
    }

    /// Keeps the cookies that were heard, if the group does.
    pub(super) fn keep_cookies(&mut self, c: usize, heard: Heard) {
        let endpoint = self.conns[c].endpoint;
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if !heard.jar.is_empty()
            && let Some(kept) = group.cookies.get_mut(c - group.base)
        {
            match kept {
                Some(kept) if same_host(&self.plan, kept.endpoint, endpoint) => {
                    kept.jar.add(heard.jar);
                }
                _ => {
                    let jar = heard.jar;
                    *kept = Some(Box::new(Kept { endpoint, jar }));
                }
            }
        }
    }

    /// Puts the cookies that the address's host has set into an upgrade's headers.
    pub(super) fn send_cookies(&self, c: usize, headers: &mut Vec<(String, String)>) {
        let conn = &self.conns[c];
        let group = &self.groups[usize::from(conn.group)];
        let Some(Some(kept)) = group.cookies.get(c - group.base) else {
            return;
        };
        if !same_host(&self.plan, kept.endpoint, conn.endpoint) {
            return;
        }
        let given = headers
            .iter_mut()
            .find(|(name, _)| name.eq_ignore_ascii_case("cookie"));
        match given {
            Some((_, given)) => *given = kept.jar.beside(given),
            None => headers.push(("Cookie".into(), kept.jar.beside(""))),
        }
    }

    /// A connection that takes another's place has none of what the other was given.
    pub(super) fn forget_answer(&mut self, c: usize) {
        let group = &mut self.groups[usize::from(self.conns[c].group)];
        if let Some(kept) = group.cookies.get_mut(c - group.base) {
            *kept = None;
        }
    }

    /// Counts where a connection became ready: the address, and the node where its group is told. One that came back is
    /// held against where it was before, as far as both are known. `resumed`: without its steps.
    pub(super) fn placed(&mut self, c: usize, told: Node, back: bool, resumed: bool) {
        let conn = &self.conns[c];
        let g = usize::from(conn.group);
        self.recorder.endpoint(conn.endpoint, self.phase, g);
        let node = match &self.plan.groups()[g].node {
            None => return,
            Some(NodeSource::Header(_)) => told,
            // A session that goes on has skipped the steps that would have told: what they captured is of another life.
            Some(NodeSource::Var(slot))
                if resumed
                    && !self.plan.groups()[g]
                        .capture_headers
                        .iter()
                        .any(|(_, s)| s == slot) =>
            {
                Node::UNTOLD
            }
            Some(NodeSource::Var(slot)) => {
                let captured = conn.work.as_ref().map(|work| &work.captured);
                let value = captured.and_then(|all| all.iter().find(|(s, _)| s == slot));
                value.map_or(Node::UNTOLD, |(_, value)| {
                    self.recorder.node(value.as_bytes())
                })
            }
        };
        self.recorder.served_by(node, self.phase, g);
        let group = &mut self.groups[g];
        let Some(place) = group.nodes.get_mut(c - group.base) else {
            return;
        };
        let before = std::mem::replace(place, node);
        if back && before.is_known() && node.is_known() {
            let counter = match before == node {
                true => Counter::Stayed,
                false => Counter::Moved,
            };
            self.recorder.count(counter, self.phase, g, 1);
        }
    }
}

/// Cookies go by host; ports do not matter to them (RFC 6265, section 8.5).
fn same_host(plan: &crate::plan::Plan, one: u16, other: u16) -> bool {
    let host = |endpoint: u16| {
        let endpoint = plan.target().endpoints.get(usize::from(endpoint));
        endpoint.map(|endpoint| endpoint.host.as_str())
    };
    host(one) == host(other)
}
