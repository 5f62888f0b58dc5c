//! `squall protocols`: the presets that come with squall, and their files.

use super::output;
use crate::exit::Exit;
use crate::scenario::PRESETS;
use clap::Args;

/// Lists presets, or prints one.
#[derive(Debug, Args)]
pub(super) struct Protocols {
    /// Print this one's file, to be copied and changed
    name: Option<String>,
}

/// Protocols that are no files.
const BUILT_IN: [(&str, &str); 5] = [
    ("raw", "built in: payloads as they are"),
    (
        "json",
        "built in: JSON messages, in the default mapping or `json_mapping`",
    ),
    ("stomp", "built in: STOMP 1.2, 1.1, 1.0"),
    ("mqtt", "built in: MQTT 5 and 3.1.1"),
    (
        "socket_io",
        "built in: Socket.IO 3 and 4, by WebSocket, polling, or upgraded from it",
    ),
];

impl Protocols {
    /// Prints.
    pub(super) fn execute(self) -> Exit {
        let Some(name) = self.name else {
            return output::print(&listed());
        };
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) {
            return output::print(preset.text);
        }
        let built_in = BUILT_IN.iter().any(|(other, _)| *other == name);
        output::complain(&match built_in {
            true => format!("`{name}` is built in: there is no file"),
            false => format!("there is no protocol `{name}`; `squall protocols` lists them"),
        });
        Exit::Usage
    }
}

fn listed() -> String {
    let presets = PRESETS.iter().map(|p| (p.name, p.description()));
    let row = |(name, what): (&str, &str)| format!("{name:<22}{what}\n");
    let rows: String = BUILT_IN.into_iter().chain(presets).map(row).collect();
    format!(
        "{rows}\nsquall protocols NAME prints a preset's file; a copy of it is used by its path: protocol: {{ preset: ./mine.yaml }}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_preset_says_what_it_is() {
        let text = listed();
        for preset in &PRESETS {
            assert!(preset.description().len() > 20, "{}", preset.name);
            assert!(text.contains(preset.name) && text.contains(preset.description()));
        }
    }
}
