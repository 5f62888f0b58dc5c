//! STOMP.

use super::super::Problems;
use super::super::text::Scope;
use super::{Spoken, introduction};
use crate::protocol::settings::stomp::{Ack, Config, Version};
use crate::protocol::{Field, ProtocolConfig};
use crate::scenario::Problem;
use crate::scenario::model::{self, StompAck, StompVersion, Table};
use crate::scenario::units::Share;

/// Compiles the settings; `path` is their own.
pub(super) fn compile(
    written: &model::Stomp,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Spoken {
    let mut config = Config::default();
    if let Some(versions) = &written.versions {
        if versions.is_empty() {
            let problem = Problem::error(format!("{path}.versions"), "no version is offered");
            problems.add(problem.help("name one, or leave the key out to offer all"));
        }
        for (i, version) in versions.iter().enumerate() {
            if versions[..i].contains(version) {
                let path = format!("{path}.versions[{i}]");
                problems.add(Problem::error(path, "this version is offered twice"));
            }
        }
        let all = versions.iter().map(|version| match version {
            StompVersion::V12 => Version::V1_2,
            StompVersion::V11 => Version::V1_1,
            StompVersion::V10 => Version::V1_0,
        });
        config.versions = all.collect();
    }
    let beat = written.heart_beat.clone().unwrap_or_default();
    let mut milliseconds = |given: Option<crate::scenario::units::Duration>, key: &str| {
        let Some(given) = given else { return 0 };
        let ms = given.0.as_millis();
        if ms == 0 || ms > u128::from(u32::MAX) {
            let path = format!("{path}.heart_beat.{key}");
            let message = "heart-beats are agreed on in whole milliseconds, from 1 to 2³² − 1";
            problems.add(Problem::error(path, message));
        }
        u32::try_from(ms).unwrap_or(u32::MAX)
    };
    config.heartbeat.send_ms = milliseconds(beat.send, "send");
    config.heartbeat.hear_ms = milliseconds(beat.want, "want");
    config.ack = match written.ack {
        StompAck::Auto => Ack::Auto,
        StompAck::Client => Ack::Client,
        StompAck::ClientIndividual => Ack::ClientIndividual,
    };
    if let Some(every) = written.ack_every {
        let at = format!("{path}.ack_every");
        problems.zero(every.0 == 0, &at, "the number of deliveries");
        if written.ack != StompAck::Client {
            let message = "only `ack: client` acknowledges several deliveries at once";
            problems.add(Problem::error(at, message));
        }
        config.ack_every = u32::try_from(every.0).unwrap_or(u32::MAX);
    }
    if let Some(Share(share)) = written.nack {
        let at = format!("{path}.nack");
        if !(share > 0.0 && share <= 1.0) {
            let message = "a share of the deliveries is more than 0% and at most 100%";
            problems.add(Problem::error(&at, message));
        } else if written.ack == StompAck::Auto {
            let message = "with `ack: auto` there is nothing to refuse";
            problems.add(
                Problem::error(&at, message).help("give `ack: client_individual`, or `client`"),
            );
        } else if config.versions == [Version::V1_0] {
            problems.add(Problem::error(&at, "STOMP 1.0 has no NACK"));
        }
        config.nack_millionths = (share.clamp(0.0, 1.0) * 1e6).round() as u32;
    }
    config.receipts = written.receipts;
    config.prefix.clone_from(&written.prefix);
    config.suffix.clone_from(&written.suffix);
    config.subscribe_headers = headers(&written.subscribe_headers);
    config.send_headers = headers(&written.send_headers);
    let fields = [
        (Field::Host, "host", &written.host),
        (Field::Login, "login", &written.login),
        (Field::Passcode, "passcode", &written.passcode),
    ];
    Spoken {
        introduction: introduction(&fields, path, scope, problems),
        config: ProtocolConfig::Stomp(config.into()),
    }
}

/// They are escaped where they are written, so that any text may stand in them.
fn headers(written: &Table<String>) -> Vec<(String, String)> {
    let all = written.iter();
    all.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
