//! A hostile MQTT server: packets told alike however the bytes are cut, never more kept than allowed, and whatever a session
//! makes of them is answered in packets.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::mqtt_packet::target(data));
