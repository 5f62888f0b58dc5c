//! A hostile answer to the upgrade: what was said of its beginning holds for the whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::handshake_response::target(data));
