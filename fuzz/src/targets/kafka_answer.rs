//! A hostile Kafka broker: whatever it answers is read or refused, within what came, and records that are written are read.

use crate::broker::kafka::api;
use crate::broker::kafka::records::{Batch, Found, NOBODY, each};

/// Each answer, and the records in one of a fetch.
fn hear(body: &[u8]) {
    if let Ok(cluster) = api::cluster(body) {
        let said = cluster.nodes.iter().map(|node| node.host.len());
        let said = said.sum::<usize>() + cluster.topics.iter().map(|t| t.name.len()).sum::<usize>();
        assert!(said <= body.len());
    }
    for fetched in api::fetched(body).unwrap_or_default() {
        records(fetched.records, 0);
    }
    let _ = api::produced(body);
    let _ = api::offsets(body);
    let _ = api::created(body);
    let _ = api::named(body);
    let _ = api::versions(body);
    let _ = api::mechanisms(body);
    let _ = api::step(body);
}

fn records(bytes: &[u8], from: i64) {
    let mut said = 0;
    let found = each(bytes, from, |record| {
        said += record.value.len() + record.key.map_or(0, <[u8]>::len);
    });
    assert!(said <= bytes.len());
    if let Ok(found) = found {
        assert!(found.next >= from);
    }
}

/// These bytes in pieces, as records with and without a key.
fn write(bytes: &[u8], step: usize) {
    let mut batch = Batch::default();
    let mut written = Vec::new();
    for (n, piece) in bytes.chunks(step).enumerate() {
        let key = (n % 2 == 0).then_some(&piece[..piece.len() / 2]);
        batch.push(key, piece);
        written.push((key, piece));
    }
    batch.finish(7, NOBODY);
    let mut read = Vec::new();
    let found = each(batch.bytes(), 0, |record| {
        read.push((record.key, record.value))
    });
    assert_eq!(read, written);
    let next = written.len() as i64;
    assert_eq!(found.ok(), Some(Found { next, skipped: 0 }));
}

/// One input.
pub fn target(data: &[u8]) {
    let Some((how, bytes)) = data.split_first() else {
        return;
    };
    hear(bytes);
    records(bytes, i64::from(*how));
    write(bytes, usize::from(*how) + 1);
}
