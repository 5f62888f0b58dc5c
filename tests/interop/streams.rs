//! Event streams that nobody here wrote: nginx's nchan, and nginx before a gateway, with and without its buffers.
//!
//! Needs seconds: a proxy that holds an answer's head back is given one to do so. What is compared lies far apart.

use crate::fails_only;
use crate::harness::{Lab, Summary};
use crate::servers;

const CONFIG: &str = "
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
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
    nchan_message_buffer_length 10000;
    server {
        listen 127.0.0.1:PORT;
        location ~ ^/sub/(.+)$ {
            nchan_subscriber eventsource longpoll;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }
        location ~ ^/ws/(.+)$ {
            nchan_pubsub websocket;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }
        location ~ ^/pub/(.+)$ { nchan_publisher; nchan_channel_id $1; }
        location /events { proxy_pass http://GATEWAY; proxy_http_version 1.1; proxy_buffering off; }
        # As it is where nobody thought of it.
        location /held/ { proxy_pass http://GATEWAY/; proxy_http_version 1.1; }
        location /publish { proxy_pass http://GATEWAY; proxy_http_version 1.1; }
        location = /healthz { return 200; }
    }
}
";

const SSE: &str = "sse: { path: '/sub/{topic}' }";
const LONG_POLL: &str = "long_poll: { path: '/sub/{topic}', messages: whole, cursor: [ { from: Etag, header: If-None-Match }, { from: Last-Modified, header: If-Modified-Since } ] }";

/// 400 messages to 20 subscribers, half of which are reset in between: nginx's own ids bring what they missed.
fn nchan(port: u16, transport: &str, gate: &str) -> String {
    format!(
        "
name: nchan
target: {{ url: 'ws://127.0.0.1:{port}' }}
clients:
  subs:
    count: 20
    transport: {{ {transport} }}
    protocol: raw
    subscribe: [news]
    reconnect: {{ backoff: constant, base: 300ms, resume: true }}
  pubs:
    count: 2
    transport: {{ sse: {{ publish: '/pub/{{topic}}' }} }}
    protocol: raw
    publish: {{ topic: news, rate: 100/s, in: [steady, cut] }}
phases:
  - {{ name: ramp, for: 1s }}
  - {{ name: steady, for: 2s }}
  - {{ name: cut, for: 2s, faults: [ {{ drop: {{ clients: subs, share: 50%, how: reset }} }} ] }}
  - {{ name: rest, for: 2s }}
gates:
  - lost == 0
  - missed == 0
  - duplicated == 0
  - reordered == 0
  - received == 8000
  - acked == 400
  - recovered > 0
  - reconnected == 10
  - {gate}
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    )
}

#[test]
fn nchan_brings_everything_also_to_those_who_were_cut() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, port) = servers::nginx(folder.path(), CONFIG, ([127, 0, 0, 1], 1).into());
    for transport in [SSE, LONG_POLL] {
        let done = Lab::new(&nchan(port, transport, "rejected == 0")).run(&[]);
        done.expect(0);
    }
    // And a gate that does not hold is told, by the same numbers.
    let done = Lab::new(&nchan(port, SSE, "recovered == 0")).run(&[]);
    let summary = done.expect(99).summary();
    assert_eq!(summary.count("received"), 8000);
}

/// Half of those that poll reach nothing for a while and are not told so: nginx keeps what they have not asked for, and what it
/// keeps comes late. Nobody is cut by that, and nothing is lost.
#[test]
fn nchan_keeps_for_who_polls_and_is_cut_off_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, port) = servers::nginx(folder.path(), CONFIG, ([127, 0, 0, 1], 1).into());
    let (cut, silent) = (
        "drop: { clients: subs, share: 50%, how: reset }",
        "partition: { clients: subs, share: 50%, for: 1s }",
    );
    let late = "latency max < 400ms in cut";
    let scenario = nchan(port, LONG_POLL, late)
        .replace(cut, silent)
        .replace("recovered > 0", "recovered == 0")
        .replace("reconnected == 10", "attempts == 22")
        .replace(
            "  - acked == 400\n",
            "  - acked == 400\n  - failed == 0\n  - latency p50 < 400ms in steady\n",
        );
    let summary = fails_only(&Lab::new(&scenario).run(&[]), late);
    let fault = summary.at("/phases/2/faults/0");
    assert_eq!(fault["touched"], 10, "{fault}");
    // What was published at its beginning waited for its end, a second later.
    let most = summary.number("/timers_by_phase/cut/latency/max");
    assert!(most > 700.0, "{most}");
}

/// Over WebSocket, published by WebSocket: payloads as they are, and each connection hears all. Who is away misses what is said meanwhile.
const SOCKETS: &str = "
name: nchan-ws
target: { url: 'ws://127.0.0.1:PORT/ws/room' }
clients:
  subs: { count: 20, protocol: raw, reconnect: { backoff: constant, base: 300ms } }
  pubs: { count: 2, protocol: raw, publish: { rate: 100/s, in: [steady, cut] } }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
  - { name: cut, for: 2s, faults: [ { drop: { clients: subs, share: 50%, how: reset } } ] }
  - { name: rest, for: 1s }
gates:
  - sent == 400
  - expected == 8800
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - received == 4400 in steady
  - missed > 0 of subs
  - missed == 0 of pubs
  - reconnected == 10
  - failed == 0
  - missed == 0
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
";

#[test]
fn nchan_brings_everything_over_websocket_to_those_who_are_there() {
    let folder = tempfile::tempdir().unwrap();
    let (_nginx, port) = servers::nginx(folder.path(), CONFIG, ([127, 0, 0, 1], 1).into());
    let done = Lab::new(&SOCKETS.replace("PORT", &port.to_string())).run(&[]);
    let summary = fails_only(&done, "missed == 0");
    let count = |name: &str| summary.count(name);
    assert_eq!(count("unique") + count("missed"), 400 * 22);
}

#[test]
fn a_proxy_that_holds_an_answer_back_shows_in_the_upgrade_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, address) = servers::gateway(&[]);
    let (_nginx, port) = servers::nginx(folder.path(), CONFIG, address);
    let scenario = |path: &str| {
        format!(
            "
name: held
target: {{ url: 'ws://127.0.0.1:{port}' }}
clients:
  subs:
    count: 3
    transport: {{ sse: {{ path: '{path}?topic={{topic}}' }} }}
    subscribe: [news]
  pubs:
    count: 1
    transport: sse
    publish: {{ topic: news, rate: 40/s, size: 100B, in: steady }}
phases:
  - {{ name: ramp, for: 1s, open: {{ subs: all_at_once, pubs: all_at_once }} }}
  - {{ name: steady, for: 3s }}
gates: ['failed == 0', 'received > 0']
generator: {{ shards: 1, max_lag: 50s, max_cpu: 100% }}
"
        )
    };
    let freely = Lab::new(&scenario("/events")).run(&[]);
    let freely = freely.expect(0).summary();
    let held = Lab::new(&scenario("/held/events")).run(&[]);
    let held = held.expect(0).summary();
    for summary in [&freely, &held] {
        assert_eq!(
            summary.count("received") + summary.count("unaccounted"),
            360
        );
        assert_eq!(summary.count("lost"), 0);
    }
    // It keeps the head until something follows it, a second later. A gateway that answers takes no half of that.
    let upgrade =
        |summary: &Summary, what: &str| summary.number(&format!("/timers/upgrade/{what}"));
    assert!(upgrade(&freely, "max") < 500.0 && upgrade(&held, "min") > 500.0);
}
