//! `squall gateway`: the embedded reference target as a process of its own.
//!
//! By hand it takes flags and says in words where it listens. Under a coordinator (`--coordinated`,
//! hidden) it takes its configuration as one line of JSON on standard input, because tokens have no
//! business in a process list, answers with one line of JSON (and another for each node that ends by
//! itself), and ends with its coordinator.

mod consume;
mod nodes;
mod roll;

use super::output;
use crate::exit::Exit;
use crate::fabric::parent::die_with_parent;
use crate::gateway::{
    Certificate, Config, History, Ping, PongLie, WhenFull, self_signed, serve, shutdown_signal,
};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Serves until SIGTERM or Ctrl-C.
#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// Address to listen on; port 0 lets the system choose [default: 127.0.0.1:0]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Serve with so many processes, joined to one gateway, each with a port of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    nodes: u16,
    /// All nodes on one port
    #[arg(long)]
    one_port: bool,
    /// The whole configuration as JSON; flags are applied on top of it
    #[arg(long, value_name = "JSON")]
    config_json: Option<String>,
    /// Serve wss:// with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Serve wss:// with a certificate made now
    #[arg(long, conflicts_with = "cert")]
    self_signed: bool,
    /// Messages queued per client
    #[arg(long, value_name = "N")]
    queue: Option<usize>,
    /// What a full queue does
    #[arg(long, value_enum)]
    when_full: Option<Full>,
    /// With buffer and block: bytes queued for one client before it is closed
    #[arg(long, value_name = "BYTES")]
    buffer_limit: Option<usize>,
    /// Send buffer of client connections (SO_SNDBUF)
    #[arg(long, value_name = "BYTES")]
    send_buffer: Option<u32>,
    /// Largest message accepted, bytes
    #[arg(long, value_name = "BYTES")]
    max_message: Option<usize>,
    /// Messages accepted from one client per second
    #[arg(long, value_name = "PER_SECOND")]
    rate_limit: Option<f64>,
    /// Upgrades accepted per second and node; the others are refused with 503
    #[arg(long, value_name = "PER_SECOND")]
    accept_rate: Option<f64>,
    /// File with accepted bearer tokens, one a line
    #[arg(long, value_name = "FILE")]
    tokens: Option<PathBuf>,
    /// Accepted value of Origin; may be repeated
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// Ping clients this often (and give them as long to answer)
    #[arg(long, value_name = "TIME")]
    ping: Option<crate::scenario::units::Duration>,
    /// Keep so many messages of each topic for clients that come back
    #[arg(long, value_name = "N")]
    history: Option<usize>,
    /// How long each is kept [default: 1m]
    #[arg(long, value_name = "TIME", requires = "history")]
    history_for: Option<crate::scenario::units::Duration>,
    /// The Redis server that keeps them, and joins all gateways that share it
    #[arg(long, value_name = "URL", requires = "history")]
    history_store: Option<String>,
    #[command(flatten)]
    consume: consume::Source,
    /// Silently drop every Nth delivery of a subscription
    #[arg(long, value_name = "N")]
    drop_every: Option<u32>,
    /// Send every Nth delivery of a subscription twice
    #[arg(long, value_name = "N")]
    duplicate_every: Option<u32>,
    /// Swap every Nth delivery of a subscription with the next
    #[arg(long, value_name = "N")]
    reorder_every: Option<u32>,
    /// Refuse every Nth upgrade
    #[arg(long, value_name = "N")]
    refuse_every: Option<u32>,
    /// Refuse all upgrades with this HTTP status
    #[arg(long, value_name = "STATUS")]
    refuse_upgrades: Option<u16>,
    /// Hold back event streams until so many bytes have gathered
    #[arg(long, value_name = "BYTES")]
    buffer_streams: Option<usize>,
    /// Hold back every delivery for this long
    #[arg(long, value_name = "TIME")]
    delay: Option<crate::scenario::units::Duration>,
    /// Stop everything once, this long after start
    #[arg(long, value_name = "TIME", requires = "stall_for")]
    stall_after: Option<crate::scenario::units::Duration>,
    /// Length of that stop
    #[arg(long, value_name = "TIME", requires = "stall_after")]
    stall_for: Option<crate::scenario::units::Duration>,
    /// Lie about pongs
    #[arg(long, value_enum)]
    pong: Option<Lie>,
    /// Never answer requests
    #[arg(long)]
    mute: bool,
    /// Forget the history once, this long after start, and begin another epoch
    #[arg(long, value_name = "TIME")]
    reset_epoch_after: Option<crate::scenario::units::Duration>,
    /// One outgoing queue for all clients: a slow one holds up everybody
    #[arg(long)]
    head_of_line: bool,
    /// Belong to a coordinator on standard input and output
    #[arg(long, hide = true)]
    coordinated: bool,
    /// Be one node of a gateway whose supervisor is on standard input
    #[arg(long, hide = true)]
    node: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Full {
    DropNewest,
    DropOldest,
    Disconnect,
    Buffer,
    Block,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lie {
    None,
    Wrong,
}

/// The one line that a coordinator sends.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    config: Config,
    self_signed: bool,
    #[serde(default = "one")]
    nodes: u16,
    #[serde(default)]
    one_port: bool,
}

fn one() -> u16 {
    1
}

impl Gateway {
    /// Serves until the end. Wrong usage when the configuration or the address cannot be used.
    pub(super) fn execute(self) -> Exit {
        if self.node {
            return nodes::be_one();
        }
        let coordinated = self.coordinated;
        let order = if coordinated { order() } else { self.order() };
        match order.and_then(|order| order.serve(coordinated)) {
            Ok(exit) => exit,
            Err(error) => {
                output::complain(&error);
                Exit::Usage
            }
        }
    }

    fn order(self) -> Result<Order, String> {
        let (nodes, one_port) = (self.nodes, self.one_port);
        let (config, self_signed) = self.config()?;
        Ok(Order {
            config,
            self_signed,
            nodes,
            one_port,
        })
    }
    /// The configuration of the flags; whether a certificate is to be made.
    fn config(self) -> Result<(Config, bool), String> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path)
                .map_err(|e| format!("cannot read {}: {e}", path.display()))
        };
        let mut config: Config = match &self.config_json {
            Some(json) => serde_json::from_str(json).map_err(|e| format!("--config-json: {e}"))?,
            None => Config::default(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            config.tls = Some(Certificate {
                cert: read(cert)?,
                key: read(key)?,
            });
        }
        if let Some(path) = &self.tokens {
            let tokens = read(path)?;
            let tokens = tokens
                .lines()
                .map(str::trim)
                .filter(|token| !token.is_empty());
            config.tokens.extend(tokens.map(str::to_owned));
        }
        if let Some(ping) = self.ping {
            config.ping = Some(Ping {
                every: ping.0,
                timeout: ping.0,
            });
        }
        if let Some(messages) = self.history {
            let before = config.history.unwrap_or_default();
            config.history = Some(History {
                messages,
                lasts: self.history_for.map_or(before.lasts, |time| time.0),
                store: self.history_store.or(before.store),
            });
        }
        config.consume = self.consume.given().or(config.consume);
        config.when_full = match self.when_full {
            None => config.when_full,
            Some(Full::DropNewest) => WhenFull::DropNewest,
            Some(Full::DropOldest) => WhenFull::DropOldest,
            Some(Full::Disconnect) => WhenFull::Disconnect,
            Some(Full::Buffer) => WhenFull::Buffer,
            Some(Full::Block) => WhenFull::Block,
        };
        set(&mut config.listen, self.listen);
        set(&mut config.queue, self.queue);
        set(&mut config.buffer_limit, self.buffer_limit);
        config.send_buffer = self.send_buffer.or(config.send_buffer);
        set(&mut config.max_message, self.max_message);
        config.origins.extend(self.origins);
        config.rate_limit = self.rate_limit.or(config.rate_limit);
        config.accept_rate = self.accept_rate.or(config.accept_rate);
        let knobs = &mut config.misbehave;
        let time = |time: Option<crate::scenario::units::Duration>, old: Option<Duration>| {
            time.map(|t| t.0).or(old)
        };
        knobs.drop_every = self.drop_every.or(knobs.drop_every);
        knobs.duplicate_every = self.duplicate_every.or(knobs.duplicate_every);
        knobs.reorder_every = self.reorder_every.or(knobs.reorder_every);
        knobs.refuse_every = self.refuse_every.or(knobs.refuse_every);
        knobs.refuse_upgrades = self.refuse_upgrades.or(knobs.refuse_upgrades);
        knobs.buffer_streams = self.buffer_streams.or(knobs.buffer_streams);
        knobs.delay = time(self.delay, knobs.delay);
        knobs.stall_after = time(self.stall_after, knobs.stall_after);
        knobs.stall_for = time(self.stall_for, knobs.stall_for);
        knobs.reset_epoch_after = time(self.reset_epoch_after, knobs.reset_epoch_after);
        knobs.mute |= self.mute;
        knobs.head_of_line |= self.head_of_line;
        knobs.pong = match self.pong {
            None => knobs.pong,
            Some(Lie::None) => Some(PongLie::None),
            Some(Lie::Wrong) => Some(PongLie::Wrong),
        };
        Ok((config, self.self_signed))
    }
}

impl Order {
    fn serve(self, coordinated: bool) -> Result<Exit, String> {
        let mut config = self.config;
        let mut authority = None;
        if self.self_signed {
            let (cert, key) = self_signed().map_err(|e| e.to_string())?;
            authority = Some(cert.clone());
            config.tls = Some(Certificate { cert, key });
        }
        let scheme = if config.tls.is_some() { "wss" } else { "ws" };
        let ready = |listen: &[SocketAddr], pids: &[u32]| {
            output::print(&if coordinated {
                let answer = serde_json::json!({ "listen": listen, "pids": pids, "ca": authority });
                format!("{answer}\n")
            } else {
                listen
                    .iter()
                    .map(|address| format!("listening on {scheme}://{address}\n"))
                    .collect()
            });
        };
        // As many connections as the machine lets one process have.
        let _ = crate::run::machine::raise_descriptor_limit();
        if self.nodes > 1 && config.consume.is_some() {
            return Err("a gateway of several nodes does not consume from a broker".into());
        }
        if self.nodes > 1 {
            return several(&config, self.nodes, self.one_port, coordinated, ready);
        }
        let fail = |e| format!("cannot start: {e}");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(fail)?;
        let stats = runtime.block_on(async {
            // One node alone has nothing to roll: whatever is said, it goes on.
            let shutdown = shutdown_signal(coordinated.then_some(|_: String| {})).map_err(fail)?;
            let ready = |address| ready(&[address], &[std::process::id()]);
            serve(config, shutdown, ready)
                .await
                .map_err(|e| e.to_string())
        })?;
        let stats = serde_json::to_string(&stats).unwrap_or_default();
        output::complain(&format!("gateway: {stats}"));
        Ok(Exit::Passed)
    }
}

/// Serves with several nodes, and tells how it went.
fn several(
    config: &Config,
    count: u16,
    one_port: bool,
    coordinated: bool,
    ready: impl Fn(&[SocketAddr], &[u32]),
) -> Result<Exit, String> {
    let tell = |news: nodes::News<'_>| match news {
        nodes::News::Ready(listen, pids) => ready(listen, pids),
        nodes::News::Dead(node, status) if coordinated => {
            let line = serde_json::json!({ "node": node, "status": status.to_string() });
            output::print(&format!("{line}\n"));
        }
        nodes::News::Roll(number, turn) if coordinated => {
            output::print(&format!("{}\n", turn.json(number)));
        }
        nodes::News::Roll(_, turn) => output::complain(&turn.words()),
        nodes::News::Dead(node, status) => {
            output::complain(&format!("node {node} of the gateway ended: {status}"));
        }
    };
    let served = nodes::serve(config, count, one_port, coordinated, tell)?;
    let stats = serde_json::to_string(&served.summary.total()).unwrap_or_default();
    output::complain(&format!("gateway: {stats}"));
    let bus = serde_json::to_string(&served.summary.bus).unwrap_or_default();
    output::complain(&format!("bus: {bus}"));
    Ok(if served.dead.is_empty() {
        Exit::Passed
    } else {
        Exit::RunInvalid
    })
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Reads the coordinator's line.
fn order() -> Result<Order, String> {
    die_with_parent();
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| format!("no configuration: {e}"))?;
    serde_json::from_str(&line).map_err(|e| format!("the configuration: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        gateway: Gateway,
    }

    fn config(flags: &[&str]) -> Config {
        let only = Only::try_parse_from([&["x"], flags].concat()).expect("parsed");
        only.gateway.config().expect("a configuration").0
    }

    #[test]
    fn no_flags_are_the_default() {
        assert_eq!(config(&[]), Config::default());
    }

    #[test]
    fn flags_go_on_top_of_json() {
        let json = r#"{"queue":7,"misbehave":{"drop_every":3,"delay":20}}"#;
        let config = config(&[
            "--config-json",
            json,
            "--drop-every",
            "5",
            "--ping",
            "2s",
            "--mute",
        ]);
        assert_eq!(config.queue, 7);
        assert_eq!(config.misbehave.drop_every, Some(5));
        assert_eq!(config.misbehave.delay, Some(Duration::from_millis(20)));
        assert_eq!(config.ping.map(|p| p.every), Some(Duration::from_secs(2)));
        assert!(config.misbehave.mute);
        let kept = |flags: &[&str]| self::config(flags).history.map(|h| (h.messages, h.lasts));
        let minute = Duration::from_secs(60);
        assert_eq!(kept(&["--history", "9"]), Some((9, minute)));
        let both = [
            "--history",
            "9",
            "--history-for",
            "2s",
            "--reset-epoch-after",
            "1s",
        ];
        assert_eq!(kept(&both), Some((9, Duration::from_secs(2))));
    }

    #[test]
    fn a_coordinators_line_is_understood() {
        let line = r#"{"config":{"queue":3},"self_signed":true}"#;
        let order: Order = serde_json::from_str(line).expect("understood");
        assert_eq!((order.config.queue, order.self_signed), (3, true));
        assert_eq!((order.nodes, order.one_port), (1, false));
        let line = r#"{"config":{},"self_signed":false,"nodes":3,"one_port":true}"#;
        let order: Order = serde_json::from_str(line).expect("understood");
        assert_eq!((order.nodes, order.one_port), (3, true));
    }
}
