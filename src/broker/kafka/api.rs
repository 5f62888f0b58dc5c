//! The requests that we make and what is answered, without I/O: of each the newest version that every broker from 0.11 to 4
//! knows and that needs no tagged fields; but for a producer's name, which brokers give in such a version too since 2.5.

use super::wire::{Put, Reader, broken};
use crate::broker::BrokerError;

/// A kind of request, with the version that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api(pub i16, pub i16);

/// Appends batches to partitions.
pub const PRODUCE: Api = Api(0, 3);
/// Reads batches of partitions.
pub const FETCH: Api = Api(1, 4);
/// Where partitions begin and end.
pub const LIST_OFFSETS: Api = Api(2, 1);
/// Which brokers there are, and which of them leads what.
pub const METADATA: Api = Api(3, 4);
/// Begins a login.
pub const SASL_HANDSHAKE: Api = Api(17, 1);
/// What the broker speaks.
pub const API_VERSIONS: Api = Api(18, 0);
/// Makes topics.
pub const CREATE_TOPICS: Api = Api(19, 2);
/// Gives a producer a name.
pub const INIT_PRODUCER_ID: Api = Api(22, 3);
/// Each step of a login.
pub const SASL_AUTHENTICATE: Api = Api(36, 0);

/// Begins a request: its length, which [`close`] fills in, and its head.
pub fn open(out: &mut Vec<u8>, api: Api, correlation: i32) -> usize {
    let at = out.len();
    out.i32(0);
    out.i16(api.0);
    out.i16(api.1);
    out.i32(correlation);
    out.string("squall");
    if api == INIT_PRODUCER_ID {
        // No tagged fields.
        out.i8(0);
    }
    at
}

/// Ends the request that was begun there.
pub fn close(out: &mut [u8], at: usize) {
    let length = (out.len() - at - 4) as i32;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// A broker of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: i32,
    /// Name or address that clients are to use.
    pub host: String,
    /// And its port.
    pub port: u16,
}

/// What is known of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// What is wrong with it; 0: nothing.
    pub error: i16,
    /// Its name.
    pub name: String,
    /// Of each partition, by its number: the node that leads it, or -1.
    pub leaders: Vec<i32>,
}

/// What a cluster says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its brokers.
    pub nodes: Vec<Node>,
    /// The topics that were asked for.
    pub topics: Vec<Topic>,
}

/// Asks for topics; none of them is to be made.
pub fn metadata<'a>(out: &mut Vec<u8>, topics: impl ExactSizeIterator<Item = &'a str>) {
    out.count(topics.len());
    topics.for_each(|topic| out.string(topic));
    out.i8(0);
}

/// What is answered to that.
pub fn cluster(body: &[u8]) -> Result<Cluster, BrokerError> {
    let mut r = Reader(body);
    r.i32()?;
    let nodes = r.list(|r| {
        let node = Node {
            id: r.i32()?,
            host: r.string()?.to_owned(),
            port: u16::try_from(r.i32()?).unwrap_or(0),
        };
        r.string()?;
        Ok(node)
    })?;
    r.string()?;
    r.i32()?;
    let topics = r.list(|r| {
        let error = r.i16()?;
        let name = r.string()?.to_owned();
        r.i8()?;
        let mut partitions = r.list(|r| {
            r.i16()?;
            let partition = (r.i32()?, r.i32()?);
            r.list(Reader::i32)?;
            r.list(Reader::i32)?;
            Ok(partition)
        })?;
        partitions.sort_unstable();
        // A gap in the numbers has no leader.
        let numbered = partitions.iter().enumerate();
        let whole = numbered.clone().all(|(n, p)| p.0 == n as i32);
        let leaders = match whole {
            true => partitions.iter().map(|p| p.1).collect(),
            false => vec![-1],
        };
        Ok(Topic {
            error,
            name,
            leaders,
        })
    })?;
    Ok(Cluster { nodes, topics })
}

/// Appends batches, each to a topic's partition. Those of one topic stand together.
pub fn produce(out: &mut Vec<u8>, acks: i16, timeout_ms: i32, entries: &[(&str, i32, &[u8])]) {
    out.i16(-1);
    out.i16(acks);
    out.i32(timeout_ms);
    let of_one = |a: &(&str, i32, &[u8]), b: &(&str, i32, &[u8])| a.0 == b.0;
    out.count(entries.chunk_by(of_one).count());
    for topic in entries.chunk_by(of_one) {
        out.string(topic[0].0);
        out.count(topic.len());
        for (_, partition, batch) in topic {
            out.i32(*partition);
            out.bytes(batch);
        }
    }
}

/// What became of a partition's batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Produced<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// 0: it is stored.
    pub error: i16,
}

/// What is answered to a produce.
pub fn produced(body: &[u8]) -> Result<Vec<Produced<'_>>, BrokerError> {
    let mut r = Reader(body);
    let topics = r.list(|r| {
        let topic = r.string()?;
        r.list(|r| {
            let (partition, error) = (r.i32()?, r.i16()?);
            r.i64()?;
            r.i64()?;
            Ok(Produced {
                topic,
                partition,
                error,
            })
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Asks where these partitions end.
pub fn ends(out: &mut Vec<u8>, topic: &str, partitions: &[i32], earliest: bool) {
    out.i32(-1);
    out.count(1);
    out.string(topic);
    out.count(partitions.len());
    for partition in partitions {
        out.i32(*partition);
        out.i64(if earliest { -2 } else { -1 });
    }
}

/// What is answered: partition, error, offset.
pub fn offsets(body: &[u8]) -> Result<Vec<(i32, i16, i64)>, BrokerError> {
    let mut r = Reader(body);
    let topics = r.list(|r| {
        r.string()?;
        r.list(|r| {
            let (partition, error) = (r.i32()?, r.i16()?);
            r.i64()?;
            Ok((partition, error, r.i64()?))
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Asks for what is stored from these offsets on, and waits for something so long.
pub fn fetch(out: &mut Vec<u8>, topic: &str, from: &[(i32, i64)], wait_ms: i32, most: i32) {
    out.i32(-1);
    out.i32(wait_ms);
    out.i32(1);
    out.i32(most);
    out.i8(0);
    out.count(1);
    out.string(topic);
    out.count(from.len());
    for (partition, offset) in from {
        out.i32(*partition);
        out.i64(*offset);
        out.i32(most);
    }
}

/// What a partition had.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched<'a> {
    /// Its number.
    pub partition: i32,
    /// What is wrong; 0: nothing.
    pub error: i16,
    /// Batches of records.
    pub records: &'a [u8],
}

/// What is answered to a fetch.
pub fn fetched(body: &[u8]) -> Result<Vec<Fetched<'_>>, BrokerError> {
    let mut r = Reader(body);
    r.i32()?;
    let topics = r.list(|r| {
        r.string()?;
        r.list(|r| {
            let (partition, error) = (r.i32()?, r.i16()?);
            r.i64()?;
            r.i64()?;
            r.list(|r| {
                r.i64()?;
                r.i64()
            })?;
            Ok(Fetched {
                partition,
                error,
                records: r.bytes()?,
            })
        })
    })?;
    Ok(topics.into_iter().flatten().collect())
}

/// Makes a topic, whose partitions are on one broker each.
pub fn create(out: &mut Vec<u8>, topic: &str, partitions: i32) {
    out.count(1);
    out.string(topic);
    out.i32(partitions);
    out.i16(1);
    out.count(0);
    out.count(0);
    out.i32(5_000);
    out.i8(0);
}

/// What came of it: an error, or 0.
pub fn created(body: &[u8]) -> Result<i16, BrokerError> {
    let mut r = Reader(body);
    r.i32()?;
    let errors = r.list(|r| {
        r.string()?;
        let error = r.i16()?;
        r.string()?;
        Ok(error)
    })?;
    Ok(errors.first().copied().unwrap_or(0))
}

/// Asks for a name.
pub fn name_me(out: &mut Vec<u8>) {
    // No transactions, which would last so long; no name that we had; no tagged fields.
    out.i8(0);
    out.i32(60_000);
    out.i64(-1);
    out.i16(-1);
    out.i8(0);
}

/// The answer: an error, or 0; the name, and its epoch.
pub fn named(body: &[u8]) -> Result<(i16, i64, i16), BrokerError> {
    let mut r = Reader(body);
    if r.i8()? != 0 {
        return Err(broken("tagged fields that nobody knows"));
    }
    r.i32()?;
    Ok((r.i16()?, r.i64()?, r.i16()?))
}

/// What the broker speaks: kinds of requests, from version, to version.
pub fn versions(body: &[u8]) -> Result<Vec<(i16, i16, i16)>, BrokerError> {
    let mut r = Reader(body);
    r.i16()?;
    r.list(|r| Ok((r.i16()?, r.i16()?, r.i16()?)))
}

/// What is answered to the beginning of a login: an error, or 0; and what could be asked for instead.
pub fn mechanisms(body: &[u8]) -> Result<(i16, Vec<&str>), BrokerError> {
    let mut r = Reader(body);
    Ok((r.i16()?, r.list(Reader::string)?))
}

/// What is answered to a step of a login: an error, or 0; what it is; what the broker says.
pub fn step(body: &[u8]) -> Result<(i16, &str, &[u8]), BrokerError> {
    let mut r = Reader(body);
    Ok((r.i16()?, r.string()?, r.bytes()?))
}

/// What an error's number means.
pub fn meaning(error: i16) -> String {
    let name = match error {
        1 => "OFFSET_OUT_OF_RANGE",
        2 => "CORRUPT_MESSAGE",
        3 => "UNKNOWN_TOPIC_OR_PARTITION",
        5 => "LEADER_NOT_AVAILABLE",
        6 => "NOT_LEADER_OR_FOLLOWER",
        7 => "REQUEST_TIMED_OUT",
        10 => "MESSAGE_TOO_LARGE",
        13 => "NETWORK_EXCEPTION",
        17 => "INVALID_TOPIC_EXCEPTION",
        18 => "RECORD_LIST_TOO_LARGE",
        19 => "NOT_ENOUGH_REPLICAS",
        20 => "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
        29 => "TOPIC_AUTHORIZATION_FAILED",
        31 => "CLUSTER_AUTHORIZATION_FAILED",
        33 => "UNSUPPORTED_SASL_MECHANISM",
        34 => "ILLEGAL_SASL_STATE",
        35 => "UNSUPPORTED_VERSION",
        36 => "TOPIC_ALREADY_EXISTS",
        45 => "OUT_OF_ORDER_SEQUENCE_NUMBER",
        46 => "DUPLICATE_SEQUENCE_NUMBER",
        47 => "INVALID_PRODUCER_EPOCH",
        56 => "KAFKA_STORAGE_ERROR",
        58 => "SASL_AUTHENTICATION_FAILED",
        59 => "UNKNOWN_PRODUCER_ID",
        87 => "INVALID_RECORD",
        89 => "THROTTLING_QUOTA_EXCEEDED",
        _ => return format!("error {error} of Kafka's"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_says_how_long_it_is() {
        let mut out = b"before".to_vec();
        let at = open(&mut out, METADATA, 7);
        metadata(&mut out, ["a", "bc"].into_iter());
        close(&mut out, at);
        let expected = b"\0\0\0\x1c\0\x03\0\x04\0\0\0\x07\0\x06squall\0\0\0\x02\0\x01a\0\x02bc\0";
        assert_eq!(out[6..], expected[..]);
    }

    /// Two brokers; `t` with two partitions, told in the wrong order, and `u`, which is not there.
    #[test]
    fn a_cluster_is_read() {
        let mut body = Vec::new();
        body.i32(0);
        body.count(2);
        for (id, host) in [(1, "a"), (2, "b")] {
            body.i32(id);
            body.string(host);
            body.i32(9092);
            body.i16(-1);
        }
        body.string("cluster");
        body.i32(1);
        body.count(2);
        body.i16(0);
        body.string("t");
        body.i8(0);
        body.count(2);
        for (partition, leader) in [(1, 2), (0, 1)] {
            body.i16(0);
            body.i32(partition);
            body.i32(leader);
            for _ in 0..2 {
                body.count(1);
                body.i32(leader);
            }
        }
        body.i16(3);
        body.string("u");
        body.i8(0);
        body.count(0);
        let read = cluster(&body).unwrap();
        assert_eq!(read.nodes[1].host, "b");
        assert_eq!(read.topics[0].leaders, [1, 2]);
        assert_eq!((read.topics[1].error, read.topics[1].leaders.len()), (3, 0));
        for cut in 0..body.len() {
            assert!(cluster(&body[..cut]).is_err());
        }
    }

    proptest! {
        #[test]
        fn answers_that_make_no_sense_are_errors_at_most(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = cluster(&body);
            let _ = produced(&body);
            let _ = offsets(&body);
            let _ = fetched(&body);
            let _ = created(&body);
            let _ = named(&body);
            let _ = versions(&body);
            let _ = mechanisms(&body);
            let _ = step(&body);
        }
    }
}
