//! Several transports of one group: what leads from one to the next, and back.

use super::types::Transport;
use serde::{Deserialize, Serialize};
use std::slice;
use std::time::Duration;

/// Statuses of a service that is in trouble itself, or wants to know who comes: another transport leads to the same.
const SERVICE_TROUBLE: [u16; 5] = [401, 429, 502, 503, 504];

/// Transports that are tried in turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// At least two, none of them a ladder, each of another kind.
    pub rungs: Vec<Transport>,
    /// What leads to the next.
    pub when: Vec<StepDown>,
    /// HTTP statuses that are a refusal; `None`: all but those of a service in trouble.
    pub statuses: Option<Vec<u16>>,
    /// From the beginning of an opening to ready, over any rung but the last; `None`: as long as any opening may take.
    pub within: Option<Duration>,
    /// An event stream without a sign of life for so long is silent, and not ready before the first.
    pub silence: Option<Duration>,
    /// Openings in a row that must fail.
    pub tries: u32,
    /// When the first rung is tried again.
    pub climb: Climb,
    /// How streams and polls say how far a topic was heard.
    pub position: Position,
}

/// What leads to the next rung.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepDown {
    /// The answer is not what the transport needs.
    Refused,
    /// There is no connection.
    Unreachable,
    /// Not ready in time.
    Timeout,
    /// The stream says nothing.
    Silent,
}

/// When the first rung is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Climb {
    /// Never, once another one was ready.
    Never,
    /// Whenever the connection was lost.
    Reconnect,
    /// After so long on another one.
    After(Duration),
}

impl Ladder {
    /// Whether an answer with this status, which is none of success, is a refusal of the transport.
    pub fn is_refusal(&self, status: u16) -> bool {
        match &self.statuses {
            Some(statuses) => statuses.contains(&status),
            None => !SERVICE_TROUBLE.contains(&status),
        }
    }
}

impl Transport {
    /// All that there are, in order: of one that is no ladder itself.
    pub fn rungs(&self) -> &[Transport] {
        match self {
            Transport::Ladder(ladder) => &ladder.rungs,
            one => slice::from_ref(one),
        }
    }

    /// Whether one of them is over HTTP.
    pub fn has_http(&self) -> bool {
        self.rungs()
            .iter()
            .any(|rung| matches!(rung, Transport::Http(_)))
    }

    /// Whether one of them is WebSocket.
    pub fn has_websocket(&self) -> bool {
        self.rungs().contains(&Transport::WebSocket)
    }
}

/// The form in which a stream's ids, or a poll's cursors, say how far a topic was heard: a number, and the epoch it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Text before, between and behind the two.
    texts: [String; 3],
    /// Which is first; `None`: there is no epoch, and the middle text is empty.
    epoch_first: Option<bool>,
}

impl Position {
    /// Of a text with `{seq}` and, perhaps, `{epoch}`; `None` where they could not be told apart again.
    pub fn parse(text: &str) -> Option<Position> {
        let (seq, epoch) = ("{seq}", "{epoch}");
        let places = [text.find(seq)?, text.find(epoch).unwrap_or(usize::MAX)];
        let (texts, epoch_first): ([&str; 3], _) = match places {
            [at, usize::MAX] => ([&text[..at], "", &text[at + seq.len()..]], None),
            [s, e] if e < s => (
                [
                    &text[..e],
                    &text[e + epoch.len()..s],
                    &text[s + seq.len()..],
                ],
                Some(true),
            ),
            [s, e] => (
                [
                    &text[..s],
                    &text[s + seq.len()..e],
                    &text[e + epoch.len()..],
                ],
                Some(false),
            ),
        };
        let apart = epoch_first.is_none() || !texts[1].is_empty();
        let plain = texts.iter().all(|text| !text.contains(['{', '}']));
        (apart && plain).then(|| Position {
            texts: texts.map(str::to_owned),
            epoch_first,
        })
    }

    /// As a stream would say it.
    pub fn write(&self, seq: u64, epoch: &str) -> String {
        let [before, between, behind] = &self.texts;
        match self.epoch_first {
            None => format!("{before}{seq}{behind}"),
            Some(true) => format!("{before}{epoch}{between}{seq}{behind}"),
            Some(false) => format!("{before}{seq}{between}{epoch}{behind}"),
        }
    }

    /// What a stream says; `None` where it is of another form.
    pub fn read<'a>(&self, text: &'a str) -> Option<(u64, &'a str)> {
        let [before, between, behind] = &self.texts;
        let text = text.strip_prefix(before.as_str())?;
        let text = text.strip_suffix(behind.as_str())?;
        let (seq, epoch) = match self.epoch_first {
            None => (text, ""),
            // The number is the part that is known to hold no such text.
            Some(true) => text
                .rsplit_once(between.as_str())
                .map(|(epoch, seq)| (seq, epoch))?,
            Some(false) => text.split_once(between.as_str())?,
        };
        Some((seq.parse().ok()?, epoch))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written() {
        for (form, said) in [
            ("{epoch}:{seq}", "e:1:7"),
            ("{seq}:{epoch}", "7:e:1"),
            ("<{seq}@{epoch}>", "<7@e:1>"),
        ] {
            let position = Position::parse(form).expect(form);
            assert_eq!(position.write(7, "e:1"), said);
            assert_eq!(position.read(said), Some((7, "e:1")), "{form}");
            for other in ["", "7", "x:y", ":7:"] {
                assert_eq!(position.read(other), None, "{form} {other}");
            }
        }
        let bare = Position::parse("n{seq}").expect("a form");
        assert_eq!(bare.write(7, "e"), "n7");
        assert_eq!(bare.read("n7"), Some((7, "")));
        for bad in [
            "",
            "{epoch}",
            "{epoch}{seq}",
            "{seq}{epoch}",
            "{seq}:{seq}",
            "{seq} {x}",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn which_statuses_refuse() {
        let mut ladder = Ladder {
            rungs: Vec::new(),
            when: Vec::new(),
            statuses: None,
            within: None,
            silence: None,
            tries: 1,
            climb: Climb::Never,
            position: Position::parse("{seq}").expect("a form"),
        };
        let of = |ladder: &Ladder| [200, 204, 400, 403, 426, 501].map(|s| ladder.is_refusal(s));
        assert_eq!(of(&ladder), [true; 6]);
        assert!(
            !SERVICE_TROUBLE
                .iter()
                .any(|status| ladder.is_refusal(*status))
        );
        ladder.statuses = Some(vec![503]);
        assert_eq!(of(&ladder), [false; 6]);
        assert!(ladder.is_refusal(503));
    }
}
