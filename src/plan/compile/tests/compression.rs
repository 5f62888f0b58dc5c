//! What a group offers to make messages smaller.

use super::*;
use crate::transport::Offer;

fn sub(sub: &str) -> String {
    format!("{{clients: {{sub: {sub}}}}}")
}

#[test]
fn offers_are_as_written() {
    let offer = |text: &str| compiled(&sub(text)).plan.groups()[0].compression;
    assert_eq!(offer("{}"), None);
    let usual = Offer {
        server_bits: None,
        client_bits: None,
        server_anew: false,
        client_anew: false,
        level: 6,
        threshold: 0,
        max_inflated: 1 << 20,
    };
    assert_eq!(offer("{compression: {}}"), Some(usual));
    let all = "{compression: {server_max_window_bits: 9, client_max_window_bits: 15, server_no_context_takeover: true, \
               client_no_context_takeover: true, level: 1, threshold: 1KiB, max_inflated: 4KiB}}";
    let written = Offer {
        server_bits: Some(9),
        client_bits: Some(15),
        server_anew: true,
        client_anew: true,
        level: 1,
        threshold: 1024,
        max_inflated: 4096,
    };
    assert_eq!(offer(all), Some(written));
    // What is accepted at all is accepted inflated, unless it says so.
    let smaller = "{target: {max_message: 10kB}, clients: {sub: {compression: {}}}}";
    let offered = compiled(smaller).plan.groups()[0].compression;
    assert_eq!(offered.map(|offer| offer.max_inflated), Some(10_000));
}

#[test]
fn windows_and_levels_are_those_there_are() {
    for (key, value, said) in [
        ("server_max_window_bits", 8, "from 9 to 15"),
        ("client_max_window_bits", 16, "from 9 to 15"),
        ("level", 0, "from 1 to 9"),
        ("level", 10, "from 1 to 9"),
    ] {
        let patch = sub(&format!("{{compression: {{{key}: {value}}}}}"));
        let path = format!("clients.sub.compression.{key}");
        one_problem(Level::Error, &[(&patch, &path, said)]);
    }
    let patch = sub("{transport: sse, compression: {}}");
    let path = "clients.sub.compression";
    one_problem(Level::Error, &[(&patch, path, "over a WebSocket")]);
}
