//! Hostile bytes for everything that reads what a target or a broker sends: the fuzz targets of `fuzz/`, each fed with mutations of its seeds for a
//! second.
//!
//! libFuzzer needs a build of its own with the sanitizer, for which CI has no time: `ci/fuzz` does that. Nothing here watches coverage, so what
//! is far from the seeds is not found. The sequence of inputs is the same each time, up to where the second ends: a failure names its seed,
//! number and bytes. `SQUALL_FUZZ_SECONDS` and `SQUALL_FUZZ_SEED` have it go on for longer, or elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods)] // it looks at the clock

#[path = "../../fuzz/src/targets/mod.rs"]
mod targets;

// Where the targets look for what they test.
use squall::{broker, protocol, transport};
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest input, as in `ci/fuzz`.
const LONGEST: usize = 4096;
/// Inputs that others are made of.
const POOL: usize = 64;
/// Numbers where lengths and counts go wrong.
const EDGES: [u32; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    u32::MAX,
];

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }

    /// A range within a length.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let from = self.below(length + 1);
        let most = (length - from).min(64);
        from..from + self.below(most + 1)
    }

    fn mutate(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = self.roll() as u8,
            2 => input.insert(at, self.roll() as u8),
            3 => drop(input.drain(self.range(input.len()))),
            4 => {
                let again = input[self.range(input.len())].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let bytes = EDGES[self.below(EDGES.len())].to_be_bytes();
                let width = [1, 2, 4][self.below(3)];
                let end = (at + width).min(input.len());
                input.splice(at..end, bytes[4 - width..].iter().copied());
            }
            6 => {
                let text = EDGES[self.below(EDGES.len())].to_string();
                input.splice(at..at, text.into_bytes());
            }
            _ => {
                let other = &pool[self.below(pool.len())];
                let piece = other[self.range(other.len())].to_vec();
                let end = (at + self.below(piece.len() + 1)).min(input.len());
                input.splice(at..end, piece);
            }
        }
        input.truncate(LONGEST);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| text.parse().expect("a number"))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("seeds")
        .map(|file| file.expect("a file").path())
        .collect();
    // Folders have no order.
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).expect("a seed"))
        .collect()
}

fn feed(name: &str, target: fn(&[u8])) {
    let seed = setting("SQUALL_FUZZ_SEED", 1);
    let length = Duration::from_secs(setting("SQUALL_FUZZ_SECONDS", 1));
    let mut dice = Dice(seed);
    let mut pool = seeds(name);
    assert!(!pool.is_empty(), "{name} has no seeds");
    let own = pool.len();
    let began = Instant::now();
    let mut tried = 0_u64;
    while tried < 200 || began.elapsed() < length {
        let mut input = pool[dice.below(pool.len())].clone();
        // The first ones are the seeds as they are.
        if let Some(seed) = usize::try_from(tried).ok().filter(|at| *at < own) {
            input.clone_from(&pool[seed]);
        } else {
            for _ in 0..=dice.below(6) {
                dice.mutate(&mut input, &pool);
            }
        }
        if std::panic::catch_unwind(|| target(&input)).is_err() {
            let bytes = input.escape_ascii();
            panic!("{name}, seed {seed}, input {tried}: b\"{bytes}\"");
        }
        tried += 1;
        // Now and then one goes on from where another came to.
        if dice.below(8) == 0 {
            match pool.len() < POOL {
                true => pool.push(input),
                false => {
                    let at = own + dice.below(POOL - own);
                    pool[at] = input;
                }
            }
        }
    }
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            feed(stringify!($name), targets::$name::target);
        })*

        /// One that is added to `fuzz/` is fed here too.
        #[test]
        fn all_there_are() {
            let here = [$(stringify!($name)),*];
            let manifest = include_str!("../../fuzz/Cargo.toml");
            let there = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
            let there: Vec<&str> = there.filter_map(|name| name.strip_suffix(".rs\"")).collect();
            assert!(there.iter().all(|name| here.contains(name)), "{there:?}");
            assert_eq!(there.len(), here.len());
        }
    };
}

targets!(
    amqp_frame,
    deflated_message,
    frame_decode,
    handshake_response,
    http_response,
    json_pointer,
    kafka_answer,
    mqtt_packet,
    nats_message,
    socket_io_packet,
    sse_stream,
    stamp_find,
    stomp_frame,
);
