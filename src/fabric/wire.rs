//! The wire between coordinator and worker: messages, and the frames that carry them.
//!
//! A frame is a length (u32, little endian, of what follows), a version byte and a postcard-encoded
//! message. Both ends are the same binary on one host, but not on several, so a worker of another
//! version is refused by name, and nothing that arrives can make the reader allocate more than it got.

use crate::metrics::{Snapshot, StreamEnd};
use crate::plan::Plan;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use std::marker::PhantomData;

/// Version of the frames and of the messages in them.
pub const WIRE_VERSION: u8 = 2;

/// Largest frame accepted and sent, in bytes. A plan holds the CSV columns and payload files in use,
/// and a ledger has an entry for each publisher, so this is generous.
pub const MAX_FRAME: usize = 256 << 20;

/// What one shard needs to know to do its share.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// The whole plan; the share follows from the index.
    pub plan: Plan,
    /// Tag of this run in message stamps, so that another run's messages are told apart.
    pub run: u32,
    /// Index of the shard.
    pub shard: u32,
    /// Number of shards.
    pub shards: u32,
}

/// From the coordinator to a worker.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToWorker {
    /// What to do; the first message.
    Plan(Box<Assignment>),
    /// The run's start.
    Start {
        /// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of a host share.
        at: u64,
    },
    /// Open and send nothing more, as at the run's end.
    Stop,
    /// What every shard published: the tail can be closed.
    Streams(Vec<StreamEnd>),
    /// Close all connections and end.
    Finish,
}

/// From a worker to the coordinator.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The first message.
    Hello {
        /// [`crate::metrics::SNAPSHOT_VERSION`] of the worker.
        snapshots: u16,
        /// Its process.
        pid: u32,
    },
    /// The plan is understood and all is prepared; waiting for the start.
    Ready,
    /// What happened in the last second.
    Snapshot(Box<Snapshot>),
    /// All publishing is over; this was published.
    Published(Vec<StreamEnd>),
    /// The tail is closed, or waited for long enough.
    Settled,
    /// Connections are closed and the last snapshot is sent.
    Finished,
    /// Cannot go on.
    Failed {
        /// Why.
        text: String,
    },
}

/// Why a frame could not be made or understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The other end speaks another version.
    Version(u8),
    /// Longer than [`MAX_FRAME`], in bytes.
    TooLarge(usize),
    /// Shorter than a frame can be.
    Empty,
    /// Not a message.
    Malformed(String),
    /// The stream ended inside a frame.
    Truncated,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Version(v) => write!(
                f,
                "wire version {v} instead of {WIRE_VERSION}: another squall"
            ),
            WireError::TooLarge(n) => {
                write!(f, "a frame of {n} bytes, over the limit of {MAX_FRAME}")
            }
            WireError::Empty => f.write_str("an empty frame"),
            WireError::Malformed(why) => write!(f, "not a message: {why}"),
            WireError::Truncated => f.write_str("the stream ended inside a frame"),
        }
    }
}

impl std::error::Error for WireError {}

/// A message as a frame.
///
/// # Errors
/// [`WireError::TooLarge`] for what the other end would refuse.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, WireError> {
    let frame = vec![0, 0, 0, 0, WIRE_VERSION];
    let mut frame =
        postcard::to_extend(message, frame).map_err(|e| WireError::Malformed(e.to_string()))?;
    let length = frame.len() - 4;
    if length > MAX_FRAME {
        return Err(WireError::TooLarge(length));
    }
    frame[..4].copy_from_slice(&(length as u32).to_le_bytes());
    Ok(frame)
}

/// Messages out of bytes that arrive in any portions.
#[derive(Debug)]
pub struct Decoder<T> {
    buffer: Vec<u8>,
    messages: PhantomData<T>,
}

impl<T> Default for Decoder<T> {
    fn default() -> Self {
        Decoder {
            buffer: Vec::new(),
            messages: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> Decoder<T> {
    /// Takes what arrived.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `None` when more bytes are needed.
    ///
    /// # Errors
    /// The stream is not what it should be; nothing after an error can be trusted.
    pub fn take(&mut self) -> Result<Option<T>, WireError> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head) as usize;
        if length > MAX_FRAME {
            return Err(WireError::TooLarge(length));
        }
        if length == 0 {
            return Err(WireError::Empty);
        }
        // Judged before the frame is whole: a stranger's first bytes are enough to refuse him.
        match rest.first() {
            Some(&WIRE_VERSION) => {}
            Some(&other) => return Err(WireError::Version(other)),
            None => return Ok(None),
        }
        if rest.len() < length {
            return Ok(None);
        }
        let (message, left) = postcard::take_from_bytes(&rest[1..length])
            .map_err(|e| WireError::Malformed(e.to_string()))?;
        if !left.is_empty() {
            return Err(WireError::Malformed(format!(
                "{} bytes too many",
                left.len()
            )));
        }
        self.buffer.drain(..4 + length);
        if self.buffer.is_empty() {
            // A plan's worth of memory is not kept for ever.
            self.buffer.shrink_to(64 << 10);
        }
        Ok(Some(message))
    }

    /// Checks that the stream ended between two frames.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when it did not.
    pub fn finish(&self) -> Result<(), WireError> {
        if self.buffer.is_empty() {
            Ok(())
        } else {
            Err(WireError::Truncated)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{
        Absence, AbsenceDelta, Arrival, CloseKey, Counter, DrainDelta, DrainKey, Failure,
        FaultDelta, FaultEnd, FaultEndKey, FaultTally, Gauges, NeighbourDelta, NeighbourTally,
        NodeName, PartingDelta, PartingKey, Place, Reason, SNAPSHOT_VERSION, Sample, Side, Step,
        StreamDelta, StreamTally, Tagged, TcpEnd, Timer, TimerDelta,
    };
    use proptest::prelude::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            version: SNAPSHOT_VERSION,
            shard: 3,
            number: 7,
            at_ns: -5,
            last: false,
            counts: vec![Tagged {
                phase: 1,
                group: 2,
                key: Counter::Sent,
                count: u64::MAX,
            }],
            failures: vec![Tagged {
                phase: 0,
                group: 0,
                key: Failure::Reset,
                count: 1,
            }],
            statuses: vec![Tagged {
                phase: 0,
                group: 0,
                key: 503,
                count: 2,
            }],
            revoked_closes: Vec::new(),
            expired_closes: vec![Tagged {
                phase: 0,
                group: 1,
                key: 4401,
                count: 3,
            }],
            reasons: vec![Tagged {
                phase: 0,
                group: 1,
                key: Reason::of(0x97, b"quota exceeded"),
                count: 3,
            }],
            closes: vec![Tagged {
                phase: 0,
                group: 1,
                key: CloseKey {
                    code: 1006,
                    by_target: true,
                    clean: false,
                },
                count: 4,
            }],
            steps: vec![Step {
                index: 9,
                attempts: u32::MAX,
                ..Step::default()
            }],
            endpoints: vec![Tagged {
                phase: 0,
                group: 1,
                key: 3,
                count: 5,
            }],
            nodes: vec![Tagged {
                phase: 0,
                group: 1,
                key: NodeName::Named("a".into()),
                count: 5,
            }],
            faults: vec![FaultDelta {
                fault: 1,
                did: FaultTally::one(true, 7),
                ends: vec![FaultEnd {
                    key: FaultEndKey {
                        code: 1013,
                        after: true,
                    },
                    count: 2,
                }],
            }],
            absences: vec![AbsenceDelta {
                fault: 1,
                messages: Absence::came(Arrival::New, true),
            }],
            drains: vec![DrainDelta {
                key: DrainKey {
                    fault: 1,
                    endpoint: 2,
                    tenth: 30,
                    close: CloseKey {
                        code: 1001,
                        by_target: true,
                        clean: true,
                    },
                },
                count: 5,
            }],
            partings: vec![PartingDelta {
                key: PartingKey {
                    fault: 1,
                    close: CloseKey {
                        code: 1006,
                        by_target: true,
                        clean: false,
                    },
                    tcp: TcpEnd::Reset,
                },
                count: 6,
            }],
            moved: vec![FaultDelta {
                fault: 1,
                did: FaultTally::one(true, 9),
                ends: Vec::new(),
            }],
            timers: vec![TimerDelta {
                phase: 0,
                group: 0,
                timer: Timer::Latency,
                histogram: vec![1, 2, 3],
            }],
            neighbours: vec![NeighbourDelta {
                fault: 1,
                tally: NeighbourTally {
                    held_up_ns: 7,
                    ..NeighbourTally::default()
                },
                latencies: vec![(Side::Victims, vec![4, 5])],
            }],
            streams: vec![StreamDelta {
                stream: Some(u32::MAX),
                place: Some(Place::new(255, 65_535, Some(7))),
                tally: StreamTally {
                    unique: u64::MAX,
                    missed: 3,
                    ..StreamTally::default()
                },
            }],
            gauges: Gauges {
                open: vec![1, 2],
                opening: 3,
                cpu_ns: 1 << 40,
                ..Gauges::default()
            },
            samples: vec![Sample {
                kind: "close 1011".into(),
                text: "böse".into(),
            }],
        }
    }

    fn said() -> Vec<FromWorker> {
        vec![
            FromWorker::Hello {
                snapshots: SNAPSHOT_VERSION,
                pid: 4711,
            },
            FromWorker::Ready,
            FromWorker::Snapshot(Box::new(snapshot())),
            FromWorker::Published(vec![StreamEnd {
                stream: 9,
                first_ns: 11,
                published: vec![0, 5, u64::MAX],
            }]),
            FromWorker::Settled,
            FromWorker::Finished,
            FromWorker::Failed {
                text: "no descriptors".into(),
            },
        ]
    }

    fn stream(messages: &[FromWorker]) -> Vec<u8> {
        messages
            .iter()
            .flat_map(|m| encode(m).expect("encodes"))
            .collect()
    }

    #[test]
    fn every_message_survives_the_way_in_portions_of_any_size() {
        let bytes = stream(&said());
        for portion in [1, 2, 3, 7, 64, bytes.len()] {
            let mut decoder = Decoder::default();
            let mut heard: Vec<FromWorker> = Vec::new();
            for part in bytes.chunks(portion) {
                decoder.feed(part);
                while let Some(message) = decoder.take().expect("valid") {
                    heard.push(message);
                }
            }
            assert_eq!(heard, said(), "in portions of {portion}");
            assert_eq!(decoder.finish(), Ok(()));
        }
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_truncated() {
        let bytes = encode(&FromWorker::Failed { text: "x".into() }).expect("encodes");
        for cut in 1..bytes.len() {
            let mut decoder = Decoder::<FromWorker>::default();
            decoder.feed(&bytes[..cut]);
            assert_eq!(decoder.take(), Ok(None), "cut at {cut}");
            assert_eq!(decoder.finish(), Err(WireError::Truncated), "cut at {cut}");
        }
    }

    #[test]
    fn hostile_frames_are_refused_by_kind() {
        let next = |bytes: &[u8]| {
            let mut decoder = Decoder::<FromWorker>::default();
            decoder.feed(bytes);
            decoder.take()
        };
        let huge = (MAX_FRAME as u32 + 1).to_le_bytes();
        assert_eq!(
            next(&huge),
            Err(WireError::TooLarge(MAX_FRAME + 1)),
            "refused by its length alone"
        );
        assert_eq!(next(&[0, 0, 0, 0]), Err(WireError::Empty));
        assert_eq!(
            next(&[9, 0, 0, 0, WIRE_VERSION + 1]),
            Err(WireError::Version(WIRE_VERSION + 1))
        );
        assert!(
            matches!(
                next(&[2, 0, 0, 0, WIRE_VERSION, 200]),
                Err(WireError::Malformed(_))
            ),
            "no such message"
        );
        assert!(
            matches!(
                next(&[3, 0, 0, 0, WIRE_VERSION, 1, 0]),
                Err(WireError::Malformed(_))
            ),
            "bytes too many"
        );
        // Published with a claimed 2^60 entries: refused without the memory for them.
        let claim = [
            &[WIRE_VERSION, 3][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ]
        .concat();
        let frame = [&(claim.len() as u32).to_le_bytes()[..], &claim].concat();
        assert!(matches!(next(&frame), Err(WireError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::<FromWorker>::default();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.take() {}
        }

        #[test]
        fn a_flipped_byte_never_panics_and_never_yields_more_messages(at in 0usize..400, flip in 1u8..) {
            let mut bytes = stream(&said());
            let at = at % bytes.len();
            bytes[at] ^= flip;
            let mut decoder = Decoder::<FromWorker>::default();
            decoder.feed(&bytes);
            let mut heard = 0;
            while let Ok(Some(_)) = decoder.take() {
                heard += 1;
            }
            // Each frame takes five bytes at least, so a flip can split, but not multiply without bound.
            prop_assert!(heard <= bytes.len() / 5);
        }
    }
}
