//! From upgraded to ready: `on_open` steps, what they wait for, and subscriptions.

use super::conn::{Mark, Stage, State};
use super::end::Cause;
use super::shard::Shard;
use super::tail::Topics;
use super::wheel::Due;
use crate::metrics::{Counter, Failure, Timer};
use crate::plan::{self, Matcher, Purpose, Step};
use crate::protocol::{Incoming, pointer};
use crate::transport::ws::Opcode;

impl Shard {
    /// Goes on with the `on_open` steps from `step` on, as far as they do not wait.
    pub(super) fn run_steps(&mut self, c: usize, mut step: u16, now: u64) {
        let g = usize::from(self.conns[c].group);
        loop {
            let Some(what) = self.plan.groups()[g].on_open.get(usize::from(step)) else {
                return self.subscribe(c, now);
            };
            let until = match what {
                Step::Send(template) => {
                    let text = self.fill_message(c, template);
                    self.queue_control(c, Opcode::Text, &text);
                    step += 1;
                    continue;
                }
                Step::Expect(expect) => now + expect.within.as_nanos() as u64,
                Step::Pause(pause) => now + pause.as_nanos() as u64,
            };
            if let Some(opening) = &mut self.conns[c].opening {
                opening.stage = Stage::Steps(step);
                opening.step_until_ns = until;
            }
            return self.set_timer(until, c, Due::Step);
        }
    }

    /// A pause is over, or an expectation was not met in time.
    pub(super) fn step_timer(&mut self, c: usize, now: u64) {
        let Some(opening) = &self.conns[c].opening else {
            return;
        };
        if opening.step_until_ns > now {
            // Of a step that is behind us.
            return;
        }
        let step = match opening.stage {
            Stage::Steps(step) => step,
            Stage::Resuming => return self.begin_anew(c, now),
            _ => return,
        };
        let g = usize::from(self.conns[c].group);
        match self.plan.groups()[g].on_open.get(usize::from(step)) {
            Some(Step::Expect(_)) => {
                self.recorder.sample(
                    "step",
                    format!("on_open[{step}]: nothing matched in time").as_bytes(),
                );
                self.lost(c, Cause::Failed(Failure::Step), now);
            }
            _ => self.run_steps(c, step + 1, now),
        }
    }

    /// A message while opening. True when it is used up; deliveries that come early are not.
    pub(super) fn step_message(&mut self, c: usize, message: &[u8], now: u64) -> bool {
        let g = usize::from(self.conns[c].group);
        let Some(opening) = &mut self.conns[c].opening else {
            return false;
        };
        match opening.stage {
            Stage::Steps(step) => {
                let Some(Step::Expect(expect)) =
                    self.plan.groups()[g].on_open.get(usize::from(step))
                else {
                    return false;
                };
                if !self.matches(c, &expect.matching, message) {
                    return false;
                }
                let mut captured = Vec::new();
                for (slot, path) in &expect.capture {
                    let Some(found) = pointer::lookup(message, path) else {
                        self.recorder.sample(
                            "step",
                            format!("on_open[{step}]: nothing at {path}").as_bytes(),
                        );
                        self.lost(c, Cause::Failed(Failure::Step), now);
                        return true;
                    };
                    captured.push((*slot, found.text().into_owned()));
                }
                if !captured.is_empty() {
                    let work = self.conns[c].work.get_or_insert_default();
                    work.captured
                        .retain(|(slot, _)| captured.iter().all(|(s, _)| s != slot));
                    work.captured.extend(captured);
                }
                self.run_steps(c, step + 1, now);
                true
            }
            Stage::Resuming => self.session_message(c, message, now),
            Stage::Subscribing(left) => match self.groups[g].codec.classify(message) {
                Incoming::Subscribed => {
                    opening.stage = Stage::Subscribing(left - 1);
                    let asked = self.plan.groups()[g].subscribe.len() as u32;
                    self.acknowledged(c, asked.saturating_sub(u32::from(left)), message, now);
                    if left == 1 {
                        self.ready(c, now);
                    }
                    true
                }
                Incoming::Refused { text } => {
                    self.recorder.sample("denied", text);
                    self.lost(c, Cause::Failed(Failure::Denied), now);
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    pub(super) fn matches(&self, c: usize, matcher: &Matcher, message: &[u8]) -> bool {
        let contains = matcher.contains.as_ref().map(|t| self.fill(c, t));
        if contains.is_some_and(|text| memchr::memmem::find(message, text.as_bytes()).is_none()) {
            return false;
        }
        let Some(path) = &matcher.pointer else {
            return true;
        };
        let Some(found) = pointer::lookup(message, path) else {
            return false;
        };
        matcher
            .equals
            .as_ref()
            .is_none_or(|wanted| found.is(&self.fill(c, wanted)))
    }

    fn subscribe(&mut self, c: usize, now: u64) {
        let g = usize::from(self.conns[c].group);
        let topics = self.plan.groups()[g].subscribe.len();
        let mut sent = 0;
        let names: Vec<String> = (0..topics)
            .map(|t| self.fill(c, &self.plan.groups()[g].subscribe[t]))
            .collect();
        let converses = self.converses(c);
        // Over HTTP the address has said it.
        let over_http = self.is_over_http(c);
        let named = converses || over_http || self.groups[g].codec.is_json();
        let subscribed = match named {
            true => match names
                .iter()
                .find(|name| self.plan.groups()[g].protocol.is_shared(name))
            {
                Some(shared) => self.join_share(c, shared),
                None => Topics::of(&names, &self.plan.groups()[g].protocol),
            },
            false => Topics::Any,
        };
        self.set_topics(c, subscribed);
        if over_http {
            return self.ready(c, now);
        }
        for (t, topic) in names.iter().enumerate() {
            if converses {
                sent += u16::from(self.say_subscribe(c, t as u32, topic));
                continue;
            }
            let mut message = Vec::new();
            if self.put_subscribe(c, t as u32, topic, &mut message) {
                self.queue_control(c, Opcode::Text, &message);
                sent += 1;
            }
        }
        if sent == 0 || !(converses || self.groups[g].codec.acknowledges()) {
            return self.ready(c, now);
        }
        if let Some(opening) = &mut self.conns[c].opening {
            opening.stage = Stage::Subscribing(sent);
        }
    }

    pub(super) fn ready(&mut self, c: usize, now: u64) {
        self.step_done(c, Timer::Ready, now);
        let phase = self.phase;
        let number = self.number(c);
        let conn = &mut self.conns[c];
        let g = usize::from(conn.group);
        let Some(opening) = conn.opening.take() else {
            return;
        };
        self.opening -= 1;
        self.recorder.time(
            Timer::Open,
            phase,
            g,
            now as i64 - opening.scheduled_ns as i64,
        );
        self.recorder.count(Counter::Opened, phase, g, 1);
        if self.groups[g].agreed(c) {
            self.recorder.count(Counter::Compressed, phase, g, 1);
        }
        let step = self.recorder.step(now);
        step.opened += 1;
        let lost_ns = conn.lost_ns;
        let back = lost_ns > 0;
        if back {
            step.back += u32::from(!conn.mark(Mark::Planned, false));
            self.recorder.count(Counter::Reconnected, phase, g, 1);
            self.recorder
                .time(Timer::Reconnect, phase, g, now as i64 - conn.lost_ns as i64);
            conn.lost_ns = 0;
            self.back(c, opening.asked, now);
        }
        let conn = &mut self.conns[c];
        conn.state = State::Ready;
        conn.mark(Mark::WasReady, true);
        if !conn.is(Mark::SentOn) {
            conn.attempt = 0;
            conn.backoff_ms = 0;
        }
        conn.first_ready_ns = conn.first_ready_ns.min(now);
        conn.ping_ns = 0;
        // Those that are open when it begins are counted before this one is.
        self.begin_deploys(now);
        self.ready_in_deploy(c, lost_ns, now);
        self.groups[g].open += 1;
        let conn = &self.conns[c];
        let (index, life) = (conn.index, u32::from(conn.life));
        let resumed = opening.stage == Stage::Resuming;
        self.placed(c, opening.node, back, resumed);
        self.comes_to_place(c);
        let group = &self.plan.groups()[g];
        let lifetime = plan::lifetime(self.plan.seed(), group, index, life);
        let heartbeat = group.heartbeat.filter(|_| !self.groups[g].over_http(c));
        if let Some(lifetime) = lifetime {
            self.set_timer(now + lifetime.as_nanos() as u64, c, Due::Lifetime);
        }
        if let Some(heartbeat) = heartbeat
            && !self.begin_to_listen(c, now)
        {
            // Each connection pings at its own place in the interval, so that they do not all at once.
            let mut place = plan::rng(self.plan.seed(), Purpose::Heartbeat, &[u64::from(number)]);
            let first = (heartbeat.every.as_nanos() as f64 * place.unit()) as u64;
            self.set_timer(now + first, c, Due::Ping);
        }
        self.token_accepted(c, now);
        self.holds_rung(c, now);
        self.prepare_work(c);
        self.afflict(c, now);
    }
}
