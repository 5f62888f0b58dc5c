//! Keeps secrets out of everything that is written.
//!
//! Works on the texts of an outcome before they are rendered, not on the rendered file: so a secret that happens
//! to be `1000` or `table` can break neither a number nor a tag. A secret inside a text may itself come escaped or
//! encoded (an echoed URL, a basic-auth header), so those forms are looked for too.

use super::DeployReport;
use super::Outcome;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What stands where a secret was.
pub const MASK: &str = "[redacted]";

/// Shortest secret looked for, in characters: shorter ones would mask ordinary words.
const SHORTEST: usize = 4;

/// A text that was cut may end in the beginning of a secret; from so many characters on it is masked.
const SHORTEST_CUT: usize = 6;

/// A JSON Web Token, or what is left of one that was cut, is at least so long, in characters.
const SHORTEST_TOKEN: usize = 20;

/// Replaces secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor {
    /// All forms of all secrets, longest first.
    forms: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    /// Says how many, never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} forms)", self.forms.len())
    }
}

impl Redactor {
    /// A redactor of these secrets; those shorter than 4 characters are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Redactor {
        let mut redact = Redactor::default();
        redact.also(secrets);
        redact
    }

    /// These are secrets too.
    pub fn also<S: AsRef<str>>(&mut self, secrets: impl IntoIterator<Item = S>) {
        let mut forms: BTreeSet<String> = std::mem::take(&mut self.forms).into_iter().collect();
        for secret in secrets {
            let secret = secret.as_ref();
            for text in [secret, secret.trim(), &super::text::clean(secret)] {
                if text.chars().count() >= SHORTEST {
                    forms.extend(all_forms(text));
                }
            }
        }
        self.forms = forms.into_iter().collect();
        self.forms
            .sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
    }

    /// The text with [`MASK`] where secrets were.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for form in &self.forms {
            if text.contains(form.as_str()) {
                text = text.replace(form.as_str(), MASK);
            }
        }
        match text.contains("eyJ") {
            true => Redactor::tokens(text),
            false => text,
        }
    }

    /// Masks what looks like a JSON Web Token: those that shards make for a run nobody else knows.
    fn tokens(text: String) -> String {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let mut out = String::new();
        let mut rest = text.as_str();
        // `eyJ` is `{"` in base64.
        while let Some(start) = rest.find("eyJ") {
            let token = &rest[start..];
            let end = token
                .find(|c| !(part(c) || c == '.'))
                .unwrap_or(token.len());
            let is_one = token[..end].split('.').count() >= 2 && end >= SHORTEST_TOKEN;
            out.push_str(&rest[..start]);
            out.push_str(if is_one { MASK } else { &token[..end] });
            rest = &token[end..];
        }
        out.push_str(rest);
        out
    }

    /// Masks the beginning of a secret at the end of a text that was cut to length.
    fn cut(&self, mut text: String) -> String {
        let body = text.trim_end_matches(['…', '.', ' ']).len();
        for form in &self.forms {
            let starts = form
                .char_indices()
                .map(|(i, _)| i)
                .filter(|&i| i >= SHORTEST_CUT);
            if let Some(found) = starts.rev().find(|&i| text[..body].ends_with(&form[..i])) {
                text.replace_range(body - found..body, MASK);
                break;
            }
        }
        text
    }

    /// The outcome without secrets: what is to be handed to [`super::terminal()`].
    pub fn outcome(&self, outcome: &Outcome) -> Outcome {
        let mut new = outcome.clone();
        // Taken apart completely, so that a new field must be thought of here.
        let Outcome {
            version: _,
            tool: _,
            name,
            description,
            seed: _,
            started: _,
            length: _,
            target,
            shards: _,
            connections: _,
            exit_code: _,
            verdict: _,
            validity,
            gates,
            phases,
            storms,
            groups,
            counts: _,
            counts_by_phase,
            counts_by_group,
            failures: _,
            statuses: _,
            expired_closes: _,
            reasons,
            revoked_closes: _,
            closes: _,
            endpoints,
            nodes,
            open_by_place,
            timers: _,
            timers_by_phase,
            timers_by_group,
            streams,
            pressure,
            per_shard,
            cost: _,
            memory,
            deploys,
            timeline: _,
            samples,
            warnings,
        } = &mut new;
        let mut texts: Vec<&mut String> = vec![name, description, target];
        texts.extend(&mut validity.reasons);
        texts.extend(
            gates
                .iter_mut()
                .flat_map(|gate| [&mut gate.text, &mut gate.actual, &mut gate.note]),
        );
        for phase in phases {
            texts.push(&mut phase.name);
            texts.extend(phase.faults.iter_mut().map(|fault| &mut fault.label));
        }
        for storm in storms {
            texts.extend([&mut storm.cause, &mut storm.phase]);
        }
        texts.extend(deploys.iter_mut().flat_map(DeployReport::texts));
        texts.extend(groups.iter_mut().map(|group| &mut group.name));
        for of in pressure {
            texts.extend([&mut of.fault, &mut of.phase, &mut of.group, &mut of.why]);
            texts.extend([&mut of.policy, &mut of.neighbour.why]);
            texts.push(&mut of.memory_unknown);
        }
        for stream in streams.iter_mut().flat_map(|streams| &mut streams.worst) {
            texts.push(&mut stream.group);
            texts.extend(&mut stream.topic);
            let parts = stream.parts.iter_mut();
            let named = parts.flat_map(|part| [&mut part.phase, &mut part.group, &mut part.fault]);
            texts.extend(named.flatten());
        }
        if let Some(of) = memory {
            texts.extend([&mut of.page, &mut of.metric, &mut of.why]);
        }
        texts.extend(per_shard.iter_mut().map(|shard| &mut shard.state));
        texts.extend(samples.iter_mut().map(|(kind, _)| kind));
        texts.extend(warnings);
        for text in texts {
            *text = self.text(text);
        }
        for reason in reasons {
            reason.text = self.cut(self.text(&reason.text));
        }
        for (_, text) in samples {
            *text = self.cut(self.text(text));
        }
        for place in open_by_place {
            place.name = self.cut(self.text(&place.name));
        }
        for place in endpoints.iter_mut().chain(&mut nodes.told) {
            place.name = self.cut(self.text(&place.name));
            self.keys(&mut place.opened_by_phase);
        }
        self.keys(counts_by_phase);
        self.keys(counts_by_group);
        self.keys(timers_by_phase);
        self.keys(timers_by_group);
        new
    }

    fn keys<V>(&self, map: &mut BTreeMap<String, V>) {
        *map = std::mem::take(map)
            .into_iter()
            .map(|(key, value)| (self.text(&key), value))
            .collect();
    }
}

/// A secret as it stands, and as formats write it.
fn all_forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut forms = vec![secret.to_owned(), escaped(secret)];
    if let Ok(json) = serde_json::to_string(secret) {
        forms.push(json[1..json.len() - 1].replace('/', "\\/"));
        forms.push(json[1..json.len() - 1].to_owned());
    }
    for upper in [true, false] {
        forms.push(percent(bytes, upper, |b| {
            b.is_ascii_alphanumeric() || b"-._~".contains(&b)
        }));
        // As the URL standard leaves them in a path or query, and as encodeURIComponent does.
        forms.push(percent(bytes, upper, |b| {
            b.is_ascii_graphic() && !b"\"#<>?`{}%".contains(&b)
        }));
        forms.push(percent(bytes, upper, |b| {
            b.is_ascii_alphanumeric() || b"-._~!*'()".contains(&b)
        }));
        forms.push(hex(bytes, upper));
    }
    let form_encoded: Vec<String> = forms
        .iter()
        .filter(|f| f.contains("%20"))
        .map(|f| f.replace("%20", "+"))
        .collect();
    forms.extend(form_encoded);
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
        forms.push(engine.encode(bytes));
    }
    // Inside a longer text, such as `user:secret`, the secret starts at any of three places of a base64 group.
    for before in 0..3 {
        let mut shifted = vec![0; before];
        shifted.extend(bytes);
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&shifted);
            // Characters that hold bits of what stands before or after are left out.
            let from = (before * 8).div_ceil(6);
            let to = shifted.len() * 8 / 6;
            if to.saturating_sub(from) >= SHORTEST_CUT {
                forms.push(encoded[from..to].to_owned());
            }
        }
    }
    forms
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

fn percent(bytes: &[u8], upper: bool, keep: impl Fn(u8) -> bool) -> String {
    let mut out = String::new();
    for &b in bytes {
        // Writing to a String cannot fail.
        let _ = match (keep(b), upper) {
            (true, _) => write!(out, "{}", b as char),
            (false, true) => write!(out, "%{b:02X}"),
            (false, false) => write!(out, "%{b:02x}"),
        };
    }
    out
}

fn hex(bytes: &[u8], upper: bool) -> String {
    let digit = |b: &u8| {
        if upper {
            format!("{b:02X}")
        } else {
            format!("{b:02x}")
        }
    };
    bytes.iter().map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s3cr&t/\"<tök en>";

    #[test]
    fn every_form_is_masked() {
        let redactor = Redactor::new([SECRET]);
        let url = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect::<String>();
        let parsed =
            url::Url::parse(&format!("ws://h/?t={SECRET}")).map(|u| u.query().map(str::to_owned));
        let query = parsed.ok().flatten().unwrap_or_default();
        for form in [
            SECRET.to_owned(),
            serde_json::to_string(SECRET).unwrap_or_default(),
            url,
            query.trim_start_matches("t=").to_owned(),
            escaped(SECRET),
            hex(SECRET.as_bytes(), false),
            STANDARD.encode(SECRET),
            URL_SAFE_NO_PAD.encode(SECRET),
        ] {
            let text = redactor.text(&format!("before {form} after"));
            assert!(text.contains(MASK), "{form}");
            assert_eq!(
                text.trim_matches(|c| c != '[' && c != ']')
                    .matches(MASK)
                    .count(),
                1,
                "{text}"
            );
            assert!(
                text.starts_with("before ") && text.ends_with(" after"),
                "{text}"
            );
        }
    }

    #[test]
    fn tokens_are_known_by_their_look_and_fetched_ones_are_learnt() {
        let mut redactor = Redactor::default();
        let jwt =
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1MSJ9.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        for (text, expected) in [
            (format!("bad token {jwt}!"), format!("bad token {MASK}!")),
            (format!("{jwt} {jwt}"), format!("{MASK} {MASK}")),
            (format!("cut {}…", &jwt[..30]), format!("cut {MASK}…")),
            (
                "eyJ is no token, and no eyJa.b either".into(),
                "eyJ is no token, and no eyJa.b either".into(),
            ),
        ] {
            assert_eq!(redactor.text(&text), expected);
        }
        redactor.also(["opaque-token"]);
        assert_eq!(redactor.text("an opaque-token."), format!("an {MASK}."));
    }

    #[test]
    fn base64_around_the_secret_does_not_hide_it() {
        let redactor = Redactor::new(["correct-horse"]);
        for before in ["", "u", "us", "user:"] {
            for after in ["", "x", "xy"] {
                let text = STANDARD.encode(format!("{before}correct-horse{after}"));
                assert!(redactor.text(&text).contains(MASK), "{before}…{after}");
            }
        }
    }

    #[test]
    fn the_longest_goes_first_and_short_ones_are_ignored() {
        let redactor = Redactor::new(["token", "token-with-more", "abc", ""]);
        assert_eq!(redactor.text("x token-with-more abc"), "x [redacted] abc");
        assert_eq!(redactor.text("a token b"), "a [redacted] b");
        assert!(!format!("{redactor:?}").contains("token"));
    }

    #[test]
    fn a_cut_secret_is_masked_too() {
        let redactor = Redactor::new(["abcdefghijklmnop"]);
        assert_eq!(redactor.cut("said abcdefghij…".into()), "said [redacted]…");
        assert_eq!(redactor.cut("said abcdefgh".into()), "said [redacted]");
        assert_eq!(redactor.cut("said abcde".into()), "said abcde");
    }
}
