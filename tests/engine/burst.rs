//! Bursts: when a shard came to them, and who was there.

use crate::bench::{accept, held_up, raw, read_to_end, run, server};
use squall::metrics::{Counter, FaultTally, Totals};
use std::net::TcpStream;

const MS: u64 = 1_000_000;
const PUBLISH: &str = "    publish: { rate: 10/s }\n";

/// Connections that publish for so long to a server that reads all, with one burst.
fn scenario(count: u32, length: &str, burst: &str) -> String {
    let serve = |mut stream: TcpStream| {
        accept(&mut stream);
        read_to_end(&stream);
    };
    raw(
        server(serve),
        count,
        length,
        ", close_timeout: 200ms",
        PUBLISH,
    )
    .replace(
        &format!("for: {length} }}"),
        &format!("for: {length}, faults: [{{ burst: {{ clients: some, {burst} }} }}] }}"),
    )
}

fn did(totals: &Totals) -> FaultTally {
    totals.fault(0).expect("its time came")
}

#[test]
fn it_touches_who_is_there_in_its_time_and_sends_what_it_says() {
    let burst = "messages: 50, after: 300ms, over: 200ms";
    let totals = run(&scenario(3, "1s", burst));
    let did = did(&totals);
    assert_eq!((did.due, did.touched, did.ended), (1, 3, 1));
    assert!(
        did.first_ns >= 300 * MS && did.ended_ns >= 500 * MS,
        "{did:?}"
    );
    assert!(did.first_ns < did.ended_ns, "{did:?}");
    assert_eq!(totals.count(Counter::Offered, None, None), 10 + 50);
}

/// Times are the shard's own, not the plan's: of one that is held up beyond a burst both are late.
#[test]
fn a_shard_that_was_late_says_so() {
    let burst = "rate: 3x, after: 500ms, for: 400ms";
    let totals = held_up(&scenario(1, "1500ms", burst));
    let did = did(&totals);
    assert!(
        did.first_ns >= 1200 * MS && did.ended_ns >= did.first_ns,
        "{did:?}"
    );
    assert_eq!((did.touched, did.ended), (1, 1));
}
