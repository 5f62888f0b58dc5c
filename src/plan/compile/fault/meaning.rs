//! Faults that have no meaning over a group's transport: said before anything runs, as they would touch nobody.

use super::super::Problems;
use crate::scenario::model::{
    ClientGroup, Fault, How, Polling, PollingBy, Protocol, ProtocolName, ProtocolSettings, Stalled,
    Transport, TransportName,
};
use crate::scenario::{Problem, Scenario};

/// Adds what a fault asks of a group that cannot do it; `path` is the fault's own.
pub(super) fn check(fault: &Fault, path: &str, scenario: &Scenario, problems: &mut Problems) {
    let over_http = |name: &str| {
        let group = scenario.clients.get(name)?;
        // Where there is a WebSocket too, it has its meaning there.
        let all = group.transport.to_vec();
        let websocket = |one: &Transport| matches!(one, Transport::Named(TransportName::Websocket));
        (!all.iter().any(websocket)).then_some(group)
    };
    // Those that go on by polling have several TCP connections, of which one is read.
    let polls = |name: &str| {
        let group = scenario.clients.get(name);
        group.is_some_and(|group| match &group.protocol {
            Protocol::Set(ProtocolSettings::SocketIo(written)) => matches!(
                written.polling,
                Polling::Is(true) | Polling::By(PollingBy::Upgrade | PollingBy::Only)
            ),
            _ => false,
        })
    };
    let mut refuse = |key: String, message: &str, help: &str| {
        problems.add(Problem::error(key, message).help(help));
    };
    match fault {
        Fault::Drop(cut) if cut.how == How::Close && over_http(&cut.clients).is_some() => {
            let message = format!(
                "`{}` is not over WebSocket: there is no Close frame",
                cut.clients
            );
            refuse(
                format!("{path}.drop.clients"),
                &message,
                "say `how: fin`, `reset` or `vanish`",
            );
        }
        Fault::Network(of) if polls(&of.clients) => {
            let (message, help) = several(&of.clients);
            refuse(format!("{path}.network.clients"), &message, help);
        }
        Fault::Partition(of) if polls(&of.clients) => {
            let (message, help) = several(&of.clients);
            refuse(format!("{path}.partition.clients"), &message, help);
        }
        Fault::Stall(of) if polls(&of.clients) => {
            let (message, help) = several(&of.clients);
            refuse(format!("{path}.stall.clients"), &message, help);
        }
        Fault::Slow(slow) if slow.pong.is_some() && polls(&slow.clients) => {
            let (message, help) = several(&slow.clients);
            refuse(format!("{path}.slow.pong"), &message, help);
        }
        Fault::Slow(slow) if slow.pong.is_some() && over_http(&slow.clients).is_some() => {
            let message = format!(
                "`{}` is not over WebSocket: there are no pings to answer late",
                slow.clients
            );
            refuse(
                format!("{path}.slow.pong"),
                &message,
                "say how it reads: `read`",
            );
        }
        Fault::Slow(slow) if slow.pong.is_some() => {
            let Some(signs) = scenario.clients.get(&slow.clients).and_then(own_signs) else {
                return;
            };
            let message = format!(
                "only WebSocket's pings are answered late by `{}`: {signs} go as ever",
                slow.clients
            );
            let help = "if the target does not ping by WebSocket, say how it reads: `read`";
            let warning = Problem::warning(format!("{path}.slow.pong"), message);
            problems.add(warning.help(help));
        }
        Fault::Stall(stall) => {
            let Some(group) = over_http(&stall.clients) else {
                return;
            };
            let (what, help) = match (stall.what, group.subscribe.is_empty()) {
                (Stalled::Message, false) => (
                    "sends no messages: it is only told, over HTTP",
                    "stall its `handshake`",
                ),
                (Stalled::Handshake, true) => (
                    "asks for nothing before it posts",
                    "stall a `message` of its own",
                ),
                _ => return,
            };
            refuse(
                format!("{path}.stall.what"),
                &format!("`{}` {what}", stall.clients),
                help,
            );
        }
        _ => {}
    }
}

/// By what else than WebSocket's pings a group's protocol tells that it is alive.
fn own_signs(group: &ClientGroup) -> Option<&'static str> {
    Some(match &group.protocol {
        Protocol::Named(ProtocolName::SocketIo) | Protocol::Set(ProtocolSettings::SocketIo(_)) => {
            "Engine.IO's pings"
        }
        Protocol::Named(ProtocolName::Stomp) | Protocol::Set(ProtocolSettings::Stomp(_)) => {
            "STOMP's heart-beats"
        }
        Protocol::Named(ProtocolName::Mqtt) | Protocol::Set(ProtocolSettings::Mqtt(_)) => {
            "MQTT's own pings"
        }
        _ => return None,
    })
}

/// Why a group that polls cannot have a fault of its one TCP connection, and what it can have.
fn several(name: &str) -> (String, &'static str) {
    (
        format!("`{name}` goes on by polling, over several TCP connections at once"),
        "`drop` them, have them `read` slowly, or say `polling: handshake`",
    )
}

#[cfg(test)]
mod tests {
    use crate::plan::Machine;
    use crate::scenario::{self, Options};

    /// The first error of a scenario with these groups and this fault; empty: there is none.
    fn compile(groups: &str, fault: &str) -> String {
        both(groups, fault).0
    }

    /// That, and the warnings where there is none.
    fn both(groups: &str, fault: &str) -> (String, String) {
        let text = format!(
            "name: t\ntarget: {{ url: 'ws://127.0.0.1:1' }}\nclients:\n{groups}phases: [ {{ name: a, for: 9s, faults: [ {{ {fault} }} ] }} ]\n"
        );
        let document = scenario::parse("t.yaml", &text, None, &Options::default())
            .unwrap_or_else(|e| panic!("{e}"));
        let machine = Machine {
            cores: 2,
            descriptors: 9999,
            file_max: 9999,
            ..Machine::default()
        };
        match crate::plan::compile(document.scenario(), document.files(), &machine) {
            Ok(compiled) => {
                let warnings = compiled.warnings.iter().map(|of| of.message.as_str());
                (String::new(), warnings.collect::<Vec<_>>().join("\n"))
            }
            Err(problems) => (problems[0].message.clone(), String::new()),
        }
    }

    #[test]
    fn late_pongs_are_those_of_websocket_and_of_no_protocol_over_it() {
        for (protocol, signs) in [
            ("json", ""),
            ("raw", ""),
            ("phoenix", ""),
            ("stomp", "STOMP's heart-beats"),
            ("{ mqtt: { keep_alive: 9s } }", "MQTT's own pings"),
            ("socket_io", "Engine.IO's pings"),
        ] {
            let groups = format!(
                "  subs: {{ count: 9, protocol: {protocol}, reconnect: {{ backoff: none }} }}\n"
            );
            let fault = "slow: { clients: subs, share: 50%, pong: 1s }";
            let (error, warnings) = both(&groups, fault);
            assert_eq!(error, "", "{protocol}");
            let told = warnings.contains("are answered late");
            assert_eq!(told, !signs.is_empty(), "{protocol}: {warnings}");
            assert!(warnings.contains(signs), "{protocol}: {warnings}");
        }
    }

    #[test]
    fn what_has_no_meaning_over_several_connections_is_said() {
        let several = "over several TCP connections";
        for (fault, expected) in [
            ("drop: { clients: subs, share: 50%, how: close }", ""),
            ("drop: { clients: subs, share: 50%, how: vanish }", ""),
            ("slow: { clients: subs, share: 50%, read: none }", ""),
            ("slow: { clients: subs, share: 50%, pong: 1s }", several),
            (
                "network: { clients: subs, share: 50%, latency: 1s }",
                several,
            ),
            ("partition: { clients: subs, share: 50%, for: 1s }", several),
            (
                "stall: { clients: subs, share: 50%, what: handshake }",
                several,
            ),
        ] {
            for (polling, several) in [("true", true), ("only", true), ("handshake", false)] {
                let groups = format!(
                    "  subs: {{ count: 9, protocol: {{ socket_io: {{ polling: {polling} }} }}, subscribe: [t], reconnect: {{ backoff: none }} }}\n"
                );
                let got = compile(&groups, fault);
                let expected = if several { expected } else { "" };
                assert!(
                    got.contains(expected) && got.is_empty() == expected.is_empty(),
                    "{polling}, {fault}: {got}"
                );
            }
        }
    }

    #[test]
    fn what_has_no_meaning_over_a_stream_is_said() {
        let groups = "  subs: { count: 9, transport: sse, subscribe: [t], reconnect: { backoff: none } }\n  pubs: { count: 9, transport: sse, publish: { topic: t, rate: 9/s } }\n";
        let table = [
            (
                "drop: { clients: subs, share: 50%, how: close }",
                "there is no Close frame",
            ),
            ("drop: { clients: subs, share: 50%, how: fin }", ""),
            ("drop: { clients: subs, share: 50%, how: vanish }", ""),
            (
                "slow: { clients: subs, share: 50%, pong: 1s }",
                "no pings to answer late",
            ),
            ("slow: { clients: subs, share: 50%, read: none }", ""),
            (
                "stall: { clients: subs, share: 50%, what: message }",
                "sends no messages",
            ),
            ("stall: { clients: subs, share: 50%, what: handshake }", ""),
            (
                "stall: { clients: pubs, share: 50%, what: handshake }",
                "asks for nothing",
            ),
            ("stall: { clients: pubs, share: 50%, what: message }", ""),
        ];
        for (fault, expected) in table {
            let got = compile(groups, fault);
            assert!(
                got.contains(expected) && got.is_empty() == expected.is_empty(),
                "{fault}: {got}"
            );
        }
    }
}
