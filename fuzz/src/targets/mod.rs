//! What is done with one hostile input of each kind. `fuzz_targets/` has libFuzzer make them; squall's own tests (`tests/fuzz`) make some
//! without it, so nothing here may need more than `crate::protocol`, `crate::transport` and what `crate::broker` does without I/O.

pub mod amqp_frame;
pub mod deflated_message;
pub mod frame_decode;
pub mod handshake_response;
pub mod http_response;
pub mod json_pointer;
pub mod kafka_answer;
pub mod mqtt_packet;
pub mod nats_message;
pub mod socket_io_packet;
pub mod sse_stream;
pub mod stamp_find;
pub mod stomp_frame;
