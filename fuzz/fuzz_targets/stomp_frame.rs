//! A hostile STOMP server: its frames are told alike however the bytes are cut, nothing is kept beyond the limit, what was read can be
//! written again, and a conversation with it ends in whatever way but a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::stomp_frame::target(data));
