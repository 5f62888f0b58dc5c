//! A hostile event stream: its events are told alike however the bytes are cut, nothing is kept beyond the limit, and what outlives the
//! connection can stand where it is sent back.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::sse_stream::target(data));
