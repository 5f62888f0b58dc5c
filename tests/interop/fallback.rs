//! Proxies that nobody here wrote keep upgrades out, and one holds streams back: everybody goes on over what is left, and no message is lost.
//!
//! Needs seconds: a stream that is held back is known by its silence.

use crate::harness::{Lab, Summary};
use crate::servers;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

/// As an administrator writes who wants no WebSockets.
const HAPROXY: &str = "
global
    maxconn 400
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend clients
    bind 127.0.0.1:PORT
    http-request deny deny_status 403 if { req.hdr(Upgrade) -i websocket }
    default_backend service
backend service
    # A connection to the gateway serves one purpose.
    http-reuse never
    server gateway GATEWAY
";

/// Nobody has told it of upgrades, so it passes on requests without them. RULE is about streams.
const NGINX: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path FOLDER/body;
    proxy_temp_path FOLDER/proxy;
    fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi;
    scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT;
        location / { proxy_pass http://GATEWAY; RULE }
    }
}
";

/// It keeps what was missed, and its streams give a sign of life every 300 ms.
const GATEWAY: [&str; 4] = [
    "--history",
    "1000",
    "--config-json",
    r#"{"ping":{"every":300,"timeout":60000}}"#,
];

/// Clients of all kinds.
const MANY: u64 = 22;

/// 20 subscribers and 2 publishers with 200 messages, which begin once everybody is where they stay.
fn scenario(port: u16, faults: &str, gates: &str) -> String {
    format!(
        "
name: fallback
target: {{ url: 'ws://127.0.0.1:{port}/ws' }}
clients:
  subs:
    count: 20
    transport: [websocket, sse, long_poll]
    fallback: {{ silence: 2s }}
    subscribe: [news]
    reconnect: {{ backoff: constant, base: 200ms, resume: true }}
  pubs:
    count: 2
    transport: [websocket, sse]
    publish: {{ topic: news, rate: 100/s, size: 100B, in: told }}
phases:
  - {{ name: open, for: 4s }}
  - {{ name: told, for: 2s, faults: [ {faults} ] }}
  - {{ name: rest, for: 1s }}
gates:
  - lost == 0
  - missed == 0
  - duplicated == 0
  - received == 4000
  - rejected == 0
  - over_websocket == 0
  - ended_nowhere == 0
{gates}
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    )
}

fn haproxy(folder: &Path, gateway: SocketAddr) -> (servers::Ends, u16) {
    let configured = |command: &mut Command, port: u16| {
        let config = HAPROXY
            .replace("PORT", &port.to_string())
            .replace("GATEWAY", &gateway.to_string());
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, config).unwrap();
        command.arg("-db").arg("-f").arg(file);
    };
    let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
    servers::on_free_port("haproxy", configured, listens)
}

fn statuses(summary: &Summary) -> Vec<(String, u64)> {
    let statuses = summary.at("/statuses").as_object().unwrap().iter();
    statuses
        .map(|(status, n)| (status.clone(), n.as_u64().unwrap()))
        .collect()
}

/// Half of the subscribers, which come back by what is left.
const CUT: &str = "drop: { clients: subs, share: 50%, how: reset, after: 500ms }";

#[test]
fn a_proxy_that_refuses_upgrades_moves_everybody_to_streams() {
    let (_gateway, address) = servers::gateway(&GATEWAY);
    let folder = tempfile::tempdir().unwrap();
    let (_haproxy, by_rule) = haproxy(folder.path(), address);
    let flowing = NGINX.replace("RULE", "proxy_buffering off;");
    let (_nginx, untold) = servers::nginx(folder.path(), &flowing, address);
    // By its own rule 403; by who is not told that an upgrade is meant, what the service says of a plain request.
    for (port, status) in [(by_rule, "403"), (untold, "426")] {
        let gates = format!(
            "  - reconnected == 10\n  - recovered > 0\n  - ended_sse == {MANY}\n  - over_long_poll == 0\n  - status {status} >= {MANY}\n  - down_refused share == 100%"
        );
        let cut = format!("{{ {CUT} }}");
        let done = Lab::new(&scenario(port, &cut, &gates)).run(&[]);
        let summary = done.expect(0).summary();
        // Those who were cut tried a WebSocket once more.
        assert_eq!(statuses(&summary), [(status.to_owned(), MANY + 10)]);
        assert_eq!(summary.number("/timers/fallback/count") as u64, MANY + 10);
    }
}

#[test]
fn a_proxy_that_also_buffers_moves_subscribers_to_polls() {
    let (_gateway, address) = servers::gateway(&GATEWAY);
    let folder = tempfile::tempdir().unwrap();
    // As it is where nobody thought of it.
    let (_nginx, port) = servers::nginx(folder.path(), &NGINX.replace("RULE", ""), address);
    // And a gate that does not hold is told.
    let gates = "  - ended_long_poll == 20\n  - over_sse == 0 of subs\n  - ended_sse == 2 of pubs\n  - ended_sse == 22";
    let done = Lab::new(&scenario(port, "", gates)).run(&[]);
    let summary = done.expect(99).summary();
    let gates = summary.at("/gates").as_array().unwrap();
    let failed: Vec<_> = gates
        .iter()
        .filter(|gate| gate["status"] != "passed")
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["text"], "ended_sse == 22");
    // It speaks HTTP/1.0 to the service unless told otherwise, and keeps what comes until a buffer is full: the head as well.
    let down = ["down_timeout", "down_silent"].map(|name| summary.count(name));
    assert_eq!(down.iter().sum::<u64>(), 20, "{down:?}");
    assert_eq!(summary.count("down_refused"), MANY);
}
