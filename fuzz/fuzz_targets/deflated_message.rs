//! A hostile server's compressed messages: told alike however the bytes are cut, and never larger than is accepted.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::deflated_message::target(data));
