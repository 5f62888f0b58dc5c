//! A pointer into hostile JSON: never a panic, and serde_json's answer where the JSON is good.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::json_pointer::target(data));
