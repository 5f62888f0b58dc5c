//! A hostile Kafka broker: whatever it answers is read or refused, within what came, and records that are written are read.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::kafka_answer::target(data));
