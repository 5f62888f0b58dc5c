//! A hostile server's frames: told alike however the bytes are cut, and never beyond the limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::frame_decode::target(data));
