//! Stamps in hostile payloads: what is found is written there.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::stamp_find::target(data));
