//! A hostile NATS server: what it says is told alike however the bytes are cut, every length is within what came, and what was
//! read can be said again.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::nats_message::target(data));
