//! A hostile HTTP server: its responses are told alike however the bytes are cut, nothing is kept beyond the limit, and what is no response
//! ends it in the same place.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::http_response::target(data));
