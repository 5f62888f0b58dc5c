//! The floor: the least that WebSocket clients and an echo server cost on one core of this machine.
//!
//! Raw epoll, flat arrays, one buffer for all reads, and nothing that a load generator does beyond moving bytes and
//! keeping every latency. It shares no line with squall, so that squall can be compared with it (`ci/bench`).

mod args;
mod client;
mod frame;
mod handshake;
mod histogram;
mod server;
mod sys;

use args::Args;
use std::process::ExitCode;

const USAGE: &str = "\
floor server --listen ADDR:PORT [--ports N] [--fanout | --sink]
floor client echo --connect ADDR:PORT --connections N [--size B] [--seconds S] [--warmup S] [--rate R]
floor client receive --connect ADDR:PORT --connections N --rate R [--size B] [--seconds S] [--warmup S]
floor client open --connect ADDR:PORT --connections N [--rate R] [--source ADDR] [--hold S]

server         echoes messages, answers ping with pong and close with close, until SIGTERM or SIGINT
  --ports N    N processes on consecutive ports
  --fanout     a message goes to every connection, its sender's too
  --sink       messages are counted and go nowhere
client echo    one message under way per connection, every round trip recorded
  --rate R     or R messages a second in all, whatever the server does; latency from when each was due
client receive one more connection publishes R messages a second; all the others only read and count
client open    opens R connections a second (or 64 at a time), then holds them idle for S seconds

The last line of output is one JSON object.";

fn main() -> ExitCode {
    let result = Args::parse(std::env::args().skip(1)).and_then(|args| match args.verb() {
        "server" => server::run(&args),
        "client echo" => client::echo::run(&args),
        "client receive" => client::receive::run(&args),
        "client open" => client::open::run(&args),
        _ => Err(USAGE.into()),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
