//! A hostile AMQP broker: its frames are told alike however the bytes are cut, every length is within what came, and whatever is
//! published in between is framed as it should be.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| squall_fuzz::targets::amqp_frame::target(data));
