//! A hostile Socket.IO server: no message is a panic, no more is asked to be kept than allowed, and what is read can be written.
//!
//! The input is WebSocket messages: a byte for the form (odd: binary), two for the length, then that many.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::socket_io_packet::target(data));
