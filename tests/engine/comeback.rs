//! How lost connections come back: what their close code leads to, to which address, and what became of each of them.

use crate::bench::{accept, failures, frame, raw, read_frame, read_to_end, run, server};
use squall::metrics::{Counter, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

/// Waits so long that nobody who waits comes back in a test.
const NEVER: &str = "backoff: constant, base: 60s";

/// Answers our Close as a good server does, and lives until then.
fn stay(mut stream: TcpStream) {
    while let Some((opcode, payload)) = read_frame(&mut stream) {
        if opcode == 8 {
            let _ = stream.write_all(&frame(8, &payload));
            return;
        }
    }
}

/// Closes by this code.
fn close(mut stream: TcpStream, code: u16) {
    let _ = stream.write_all(&frame(8, &code.to_be_bytes()));
    read_frame(&mut stream);
}

/// Upgrades; the first so many connections are closed by this code, all others stay.
fn closing(first: u32, code: u16) -> SocketAddr {
    let accepted = Arc::new(AtomicU32::new(0));
    server(move |mut stream| {
        accept(&mut stream);
        if accepted.fetch_add(1, Ordering::SeqCst) < first {
            close(stream, code);
        } else {
            stay(stream);
        }
    })
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

const FATES: [Counter; 4] = [
    Counter::Attempts,
    Counter::Reconnected,
    Counter::GaveUp,
    Counter::Stopped,
];

/// Two connections with a policy, of which the target closes the first ones.
fn two(first: u32, code: u16, reconnect: &str) -> Totals {
    let group = format!("    reconnect: {{ {reconnect} }}\n");
    run(&raw(closing(first, code), 2, "500ms", "", &group))
}

#[test]
fn a_code_can_stop_a_connection_for_good() {
    let totals = two(2, 4001, "backoff: none, codes: { 4000-4099: stop }");
    assert_eq!(counts(&totals, FATES), [2, 0, 0, 2]);
    assert_eq!(failures(&totals), BTreeMap::new());
}

#[test]
fn a_code_can_bring_it_back_at_once_whatever_the_policy() {
    let totals = two(6, 4001, &format!("{NEVER}, codes: {{ 4001: now }}"));
    assert_eq!(counts(&totals, FATES), [8, 6, 0, 0]);
}

#[test]
fn a_code_without_a_rule_waits_by_the_policy() {
    let totals = two(2, 4001, &format!("{NEVER}, codes: {{ 4002: now }}"));
    assert_eq!(counts(&totals, FATES), [2, 0, 2, 0]);
    let totals = two(6, 1008, "backoff: none");
    assert_eq!(counts(&totals, FATES), [8, 6, 0, 0]);
}

#[test]
fn a_code_can_have_a_time_of_its_own() {
    let totals = two(
        4,
        4001,
        &format!("{NEVER}, codes: {{ 4001: {{ within: [1ms, 20ms] }} }}"),
    );
    assert_eq!(counts(&totals, FATES), [6, 4, 0, 0]);
}

#[test]
fn a_service_that_restarts_is_given_its_time() {
    // 1012: not before 5 s, though the policy would have it at once.
    let totals = two(2, 1012, "backoff: none");
    assert_eq!(counts(&totals, FATES), [2, 0, 2, 0]);
    let waited = |totals: &Totals| totals.samples().any(|(kind, _)| kind == "reconnect");
    assert!(waited(&totals), "it had no time to try");
    let totals = two(4, 1012, "backoff: none, codes: { 1012: back_off }");
    assert_eq!(counts(&totals, FATES), [6, 4, 0, 0]);
    assert!(!waited(&totals));
}

#[test]
fn a_close_before_it_was_ready_has_its_rule_too() {
    let group = format!(
        "    on_open: [{{ expect: {{ contains: welcome, within: 5s }} }}]\n    reconnect: {{ {NEVER}, codes: {{ 1008: stop }} }}\n"
    );
    let totals = run(&raw(closing(2, 1008), 2, "500ms", "", &group));
    assert_eq!(counts(&totals, FATES), [2, 0, 0, 2]);
    assert_eq!(failures(&totals), BTreeMap::from([("step", 2)]));
}

#[test]
fn an_end_without_a_close_frame_is_1006_to_the_rules() {
    let accepted = Arc::new(AtomicU32::new(0));
    let address = server(move |mut stream| {
        accept(&mut stream);
        if accepted.fetch_add(1, Ordering::SeqCst) >= 2 {
            stay(stream);
        }
    });
    let group = "    reconnect: { backoff: none, codes: { 1006: stop } }\n";
    let totals = run(&raw(address, 2, "500ms", "", group));
    assert_eq!(counts(&totals, FATES), [2, 0, 0, 2]);
}

#[test]
fn codes_of_our_own_are_no_word_of_the_targets() {
    let group = "    reconnect: { backoff: none, codes: { 4001: stop, 1006: stop } }\n";
    let faults = "only, for: 600ms, faults: [ { drop: { clients: some, count: 1, how: close, code: 4001, after: 100ms } }, \
                  { drop: { clients: some, count: 2, how: fin, after: 300ms } } ] }";
    let text = raw(closing(0, 0), 2, "600ms", "", group).replace("only, for: 600ms }", faults);
    let totals = run(&text);
    assert_eq!(totals.count(Counter::Cut, None, None), 3);
    assert_eq!(counts(&totals, FATES), [5, 3, 0, 0]);
}

#[test]
fn whatever_is_lost_is_back_or_gave_up_or_was_stopped() {
    let accepted = Arc::new(AtomicU32::new(0));
    let address = server(move |mut stream| {
        accept(&mut stream);
        match accepted.fetch_add(1, Ordering::SeqCst) {
            n @ 0..200 => match n % 5 {
                0 => close(stream, 4001),
                1 => close(stream, 4002),
                2 => close(stream, 4003),
                3 => close(stream, 1001),
                // A FIN.
                _ => {}
            },
            _ => stay(stream),
        }
    });
    let group = "    reconnect: { backoff: constant, base: 10ms, \
                 codes: { 4001: stop, 4002: now, 4003: { within: [60s, 61s] } } }\n";
    let totals = run(&raw(address, 60, "1s", "", group));
    let [attempts, back, gave_up, stopped] = counts(&totals, FATES);
    let closes = totals.closes(None, None);
    let lost: u64 = closes
        .iter()
        .filter(|(key, _)| key.by_target)
        .map(|(_, count)| count)
        .sum();
    assert_eq!(back + gave_up + stopped, lost, "{closes:?}");
    assert_eq!(attempts, 60 + back);
    let code = |wanted: u16| -> u64 {
        let of = closes.iter().filter(|(key, _)| key.code == wanted);
        of.map(|(_, count)| count).sum()
    };
    assert!(code(4001) > 0 && code(4002) > 0 && code(4003) > 0);
    assert_eq!(stopped, code(4001));
    assert_eq!(gave_up, code(4003));
}

/// A group of raw connections to several addresses.
fn at(addresses: &[SocketAddr], pick: &str, count: u32, reconnect: &str) -> String {
    let urls: Vec<String> = addresses.iter().map(|a| format!("ws://{a}/")).collect();
    let url = format!("{urls:?}");
    format!(
        "name: test\ntarget: {{ url: {url}, pick: {pick} }}\nclients:\n  some: {{ count: {count}, protocol: raw, reconnect: {{ {reconnect} }} }}\n\
         phases:\n  - {{ name: only, for: 500ms }}\ngenerator: {{ drain: 200ms }}\n"
    )
}

fn opened(totals: &Totals) -> Vec<(u16, u64)> {
    totals.endpoints(None, None).into_iter().collect()
}

#[test]
fn who_is_to_try_again_later_goes_to_another_address_at_once() {
    let (busy, idle) = (closing(u32::MAX, 1013), closing(0, 0));
    let totals = run(&at(&[busy, idle], "spread", 10, NEVER));
    assert_eq!(counts(&totals, FATES), [15, 5, 0, 0]);
    assert_eq!(opened(&totals), [(0, 5), (1, 10)]);
}

#[test]
fn who_was_sent_around_all_addresses_waits() {
    let busy = [1, 2, 3].map(|_| closing(u32::MAX, 1013));
    let totals = run(&at(&busy, "spread", 6, NEVER));
    // Each was at every address once.
    assert_eq!(counts(&totals, FATES), [18, 12, 6, 0]);
    assert_eq!(opened(&totals), [(0, 6), (1, 6), (2, 6)]);
    // With one address there is nowhere to go.
    let totals = run(&at(&busy[..1], "spread", 6, NEVER));
    assert_eq!(counts(&totals, FATES), [6, 0, 6, 0]);
}

#[test]
fn in_a_spread_a_connection_comes_back_to_its_own_address() {
    let (restless, calm) = (closing(5, 4000), closing(0, 0));
    let totals = run(&at(&[restless, calm], "spread", 2, "backoff: none"));
    assert_eq!(opened(&totals), [(0, 6), (1, 1)]);
}

/// An address where nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn failover_goes_past_addresses_that_do_not_take_a_connection() {
    let addresses = [nobody(), nobody(), closing(0, 0)];
    let totals = run(&at(&addresses, "failover", 20, "backoff: none"));
    assert_eq!(failures(&totals), BTreeMap::from([("refused", 40)]));
    assert_eq!(opened(&totals), [(2, 20)]);
    assert_eq!(totals.count(Counter::Opened, None, None), 20);
    // Without trouble all are at the first.
    let addresses = [closing(0, 0), closing(0, 0)];
    let totals = run(&at(&addresses, "failover", 20, "backoff: none"));
    assert_eq!(opened(&totals), [(0, 20)]);
}

#[test]
fn failover_goes_on_after_each_loss_and_from_the_last_to_the_first() {
    let visits = Arc::new(Mutex::new(String::new()));
    let addresses = ["a", "b", "c"].map(|name| {
        let visits = Arc::clone(&visits);
        server(move |mut stream| {
            accept(&mut stream);
            let so_far = {
                let mut visits = visits.lock().unwrap();
                visits.push_str(name);
                visits.len()
            };
            if so_far < 8 {
                close(stream, 1001);
            } else {
                read_to_end(&stream);
            }
        })
    });
    let totals = run(&at(&addresses, "failover", 1, "backoff: none")
        .replace("pick: failover", "pick: failover, close_timeout: 100ms"));
    assert_eq!(*visits.lock().unwrap(), "abcabcab");
    assert_eq!(opened(&totals), [(0, 3), (1, 3), (2, 2)]);
}
