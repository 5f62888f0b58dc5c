//! Compression: what is offered.

use super::Problems;
use crate::scenario::Problem;
use crate::scenario::model::{ClientGroup, Compression, Transport, TransportName};
use crate::transport::Offer;

/// Compiles what a group offers; `path` is the group's.
pub(super) fn compile(
    group: &ClientGroup,
    path: &str,
    max_message: usize,
    problems: &mut Problems,
) -> Option<Offer> {
    let written: &Compression = group.compression.as_ref()?;
    let path = format!("{path}.compression");
    let websocket = |of: &Transport| matches!(of, Transport::Named(TransportName::Websocket));
    if !group.transport.to_vec().iter().any(websocket) {
        let message = "only messages over a WebSocket are made smaller";
        problems.add(Problem::error(&path, message).on_key());
    }
    let mut within = |key: &str, value: Option<u8>, least: u8, most: u8, what: &str| {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            let message = format!("{what} is from {least} to {most}");
            problems.add(Problem::error(format!("{path}.{key}"), message));
        }
        value
    };
    let window = "a window, as a power of two,";
    let server = written.server_max_window_bits;
    let client = written.client_max_window_bits;
    Some(Offer {
        server_bits: within("server_max_window_bits", server, 9, 15, window),
        client_bits: within("client_max_window_bits", client, 9, 15, window),
        server_anew: written.server_no_context_takeover,
        client_anew: written.client_no_context_takeover,
        level: within("level", written.level, 1, 9, "a level").unwrap_or(6),
        threshold: written.threshold.map_or(0, |size| size.0 as usize),
        max_inflated: written
            .max_inflated
            .map_or(max_message, |size| size.0 as usize),
    })
}
