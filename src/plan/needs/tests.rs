use super::*;
use crate::plan::compile::{Compiled, compile};
use crate::scenario::{Files, Scenario};

fn machine() -> Machine {
    Machine {
        cores: 4,
        descriptors: 20_000,
        file_max: 1_000_000,
        port_range: (32_768, 60_999),
        memory_available: 8 << 30,
        somaxconn: 4_096,
        processes: 30_000,
        watches: 1_000_000,
        tracked: 0,
        root: true,
    }
}

/// A plan of so many subscribers of nothing, and what it takes.
fn of(target: &str, count: u64, generator: &str, machine: &Machine) -> Compiled {
    let text = format!(
        "name: x\ntarget: {target}\nclients: {{ sub: {{ count: {count} }} }}\nphases: [{{ name: a, for: 60s, \
         open: {{ sub: linear }} }}, {{ name: b, for: 60s }}]\ngenerator: {generator}\n"
    );
    let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let scenario: Scenario = serde_json::from_value(value).unwrap();
    compile(&scenario, &Files::default(), machine).unwrap()
}

const REMOTE: &str = "{ url: 'ws://10.0.0.1/' }";
const LOCAL: &str = "{ url: 'ws://127.0.0.1:9000/' }";

#[test]
fn shards_follow_load_cores_and_descriptors() {
    let machine = machine();
    for (connections, peak, expected) in [
        (1, 0.0, 1),
        (999, 0.0, 1),
        (1_000, 0.0, 2),
        (10_000, 0.0, 2),
        (10_001, 0.0, 3),
        (50, 25_000.0, 1),
        (50, 25_001.0, 2),
        (50, 1e7, 4),
        (2, 1e7, 2),
        (20_001, 0.0, 4),
        // 19,800 connections fit a shard's descriptors.
        (79_200, 0.0, 4),
        (79_201, 0.0, 5),
        (1_000_000, 0.0, 51),
        (0, 0.0, 1),
    ] {
        assert_eq!(
            shards(connections, peak, &machine),
            expected,
            "{connections} at {peak}/s"
        );
    }
    // One core still gets two from 1,000 on; limits that are not known are no limits; absurd ones are bounded.
    assert_eq!(
        shards(
            5_000,
            0.0,
            &Machine {
                cores: 1,
                ..machine
            }
        ),
        2
    );
    assert_eq!(shards(5_000, 0.0, &Machine::default()), 2);
    assert_eq!(
        shards(
            1_000_000,
            0.0,
            &Machine {
                descriptors: 100,
                ..machine
            }
        ),
        256
    );
}

#[test]
fn loopback_gets_a_source_for_every_fourteen_thousand() {
    let sources = |target: &str, count| {
        of(target, count, "{}", &machine())
            .plan
            .generator()
            .sources
            .clone()
    };
    assert!(sources(LOCAL, 14_000).is_empty());
    let two: Vec<IpAddr> = ["127.0.1.1", "127.0.1.2"]
        .map(|a| a.parse().unwrap())
        .into();
    assert_eq!(sources(LOCAL, 14_001), two);
    assert_eq!(sources("{ url: 'ws://LocalHost:1/' }", 14_001), two);
    // Two addresses of the target share them.
    assert!(
        sources(
            "{ url: ['ws://127.0.0.1:1/', 'ws://127.0.0.1:2/'] }",
            28_000
        )
        .is_empty()
    );
    assert_eq!(
        sources(
            "{ url: ['ws://127.0.0.1:1/', 'ws://127.0.0.1:2/'] }",
            28_001
        ),
        two
    );
    assert!(sources("{ url: ['ws://127.0.0.1:1/', 'ws://10.0.0.1:2/'] }", 50_000).is_empty());
    assert!(sources("{ url: 'ws://[::1]:1/' }", 20_000).is_empty());
    let many = sources(LOCAL, 251 * 14_000);
    assert_eq!(many.len(), 251);
    assert_eq!(many[249], "127.0.1.250".parse::<IpAddr>().unwrap());
    assert_eq!(many[250], "127.0.2.1".parse::<IpAddr>().unwrap());
    let distinct: std::collections::HashSet<_> = many.iter().collect();
    assert_eq!(distinct.len(), many.len());
    // What polls has a connection for its posts beside it, and one for its upgrade.
    let polls = |polling: &str| {
        let text = format!(
            "{{name: n, target: {LOCAL}, clients: {{sub: {{count: 7000, protocol: {{socket_io: {{polling: {polling}}}}}}}}}, phases: [{{name: p, for: 10s}}]}}"
        );
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let scenario: Scenario = serde_json::from_value(value).unwrap();
        let compiled = compile(&scenario, &Files::default(), &machine()).unwrap();
        compiled.plan.generator().sources.len()
    };
    assert_eq!(["handshake", "only", "upgrade"].map(polls), [0, 0, 2]);
    let own = of(LOCAL, 30_000, "{ sources: [127.0.0.9] }", &machine()).plan;
    assert_eq!(
        own.generator().sources,
        ["127.0.0.9".parse::<IpAddr>().unwrap()]
    );
}

#[test]
fn the_sum_is_right() {
    let needs = of(LOCAL, 15_001, "{ shards: 3 }", &machine()).needs;
    assert_eq!((needs.connections, needs.shards), (15_001, 3));
    assert_eq!(
        (needs.connections_per_shard, needs.descriptors_per_shard),
        (5_001, 5_201)
    );
    assert_eq!((needs.sources, needs.ports_per_source), (2, 7_501));
    assert_eq!(needs.memory, 3 * 12 * MIB + 15_001 * 7 * KIB);
    assert_eq!(needs.groups, [("sub".to_owned(), 15_001)]);
    assert_eq!(needs.shortages, []);
    let secure = of("{ url: 'wss://127.0.0.1/' }", 1_000, "{}", &machine()).needs;
    assert_eq!(secure.memory, 2 * 12 * MIB + 1_000 * 13 * KIB);
    let embedded = of("{ embedded: {} }", 1_000, "{}", &machine()).needs;
    assert_eq!(
        embedded.memory,
        2 * 12 * MIB + 1_000 * 7 * KIB + 4 * MIB + 1_000 * 8 * KIB
    );
}

/// Vanished connections keep their sockets, and those that take their place need one too.
#[test]
fn what_vanishes_takes_a_socket_more() {
    let text = "
name: x
target: { embedded: {} }
clients: { sub: { count: 12000, reconnect: {} } }
phases:
  - name: a
    for: 10s
    faults:
      - drop: { clients: sub, count: 9000, how: vanish }
      - drop: { clients: sub, count: 500, how: vanish, after: 1s }
      - drop: { clients: sub, count: 700, how: reset, after: 2s }
generator: { shards: 3 }
";
    let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let scenario: Scenario = serde_json::from_value(value).unwrap();
    let needs = compile(&scenario, &Files::default(), &machine())
        .unwrap()
        .needs;
    assert_eq!(needs.connections, 12_000);
    // At worst all that a shard has: 4,000, and 500 of them again.
    assert_eq!(needs.descriptors_per_shard, 4_000 + 4_000 + 500 + 200);
    assert_eq!((needs.sources, needs.ports_per_source), (2, 10_750));
    assert_eq!(
        needs.memory,
        3 * 12 * MIB + 21_500 * 7 * KIB + 4 * MIB + 21_500 * 8 * KIB
    );
    let short: Vec<(&str, u64)> = needs.shortages.iter().map(|s| (s.what, s.needs)).collect();
    assert_eq!(
        short,
        [
            ("descriptors of the embedded gateway", 21_700),
            ("places to wait for being accepted", 12_000)
        ]
    );
}

#[test]
fn phases_show_what_opens_and_moves() {
    let text = "
name: x
target: { url: 'ws://h/' }
clients:
  now: { count: 5 }
  ramp: { count: 100, subscribe: [t] }
  late: { count: 7, publish: { topic: t, rate: 10/s, in: b }, request: { rate: 4/s } }
phases:
  - { name: a, for: 10s, open: { ramp: { stages: [{ to: 40, over: 5s }, { to: 100, over: 1s }] } } }
  - { name: b, for: 20s, open: { late: all_at_once }, faults: [{ burst: { clients: late, rate: 3x, for: 10s } }] }
";
    let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let scenario: Scenario = serde_json::from_value(value).unwrap();
    let needs = compile(&scenario, &Files::default(), &machine())
        .unwrap()
        .needs;
    let phase = |i: usize| {
        let p = &needs.phases[i];
        (p.opens, p.publishes, p.deliveries, p.requests)
    };
    assert_eq!(phase(0), (105, 0.0, 0.0, 4.0));
    assert_eq!(phase(1), (7, 20.0, 2_000.0, 8.0));
    assert_eq!(
        (needs.publishes, needs.deliveries, needs.requests),
        (400.0, 40_000.0, 200.0)
    );
    assert_eq!(needs.peak_sent, 42.0);
    assert_eq!(needs.peak, 30.0 + 3_000.0 + 24.0);
}

/// What is short, with its command.
fn short(
    target: &str,
    count: u64,
    generator: &str,
    machine: &Machine,
) -> Vec<(&'static str, u64, u64, String, bool)> {
    let needs = of(target, count, generator, machine).needs;
    needs
        .shortages
        .into_iter()
        .map(|s| (s.what, s.has, s.needs, s.command, s.fatal))
        .collect()
}

#[test]
fn shortages_name_what_helps() {
    let machine = machine();
    let one = |mut list: Vec<(&'static str, u64, u64, String, bool)>, command: &str| {
        assert_eq!(list.len(), 1, "{list:?}");
        let (what, has, needs, found, fatal) = list.remove(0);
        assert!(found.contains(command), "{found}");
        (what, has, needs, fatal)
    };
    assert_eq!(
        one(
            short(LOCAL, 19_801, "{ shards: 1 }", &machine),
            "ulimit -n 20001"
        ),
        ("descriptors per shard", 20_000, 20_001, true)
    );
    assert_eq!(short(LOCAL, 19_800, "{ shards: 1 }", &machine), []);
    assert_eq!(
        one(
            short("{ embedded: {} }", 19_900, "{}", &machine),
            "ulimit -n 20100"
        ),
        ("descriptors of the embedded gateway", 20_000, 20_100, true)
    );
    let nodes = "{ embedded: { nodes: 2 } }";
    assert_eq!(short(nodes, 39_600, "{ shards: 2 }", &machine), []);
    assert_eq!(
        one(
            short(nodes, 39_602, "{ shards: 3 }", &machine),
            "`target.embedded.nodes: 3`"
        ),
        (
            "descriptors per node of the embedded gateway",
            20_000,
            20_001,
            true
        )
    );
    let few = Machine {
        file_max: 10_000,
        ..machine
    };
    assert_eq!(
        one(
            short(LOCAL, 10_000, "{ shards: 2 }", &few),
            "sysctl -w fs.file-max=11440"
        ),
        ("descriptors of all processes", 10_000, 10_400, true)
    );
    assert_eq!(
        one(
            short(REMOTE, 28_233, "{}", &machine),
            "net.ipv4.ip_local_port_range=\"1024 65535\""
        ),
        (
            "local ports to one address of the target",
            28_232,
            28_233,
            true
        )
    );
    assert_eq!(
        one(
            short(REMOTE, 64_513, "{}", &machine),
            "give 5 addresses as `generator.sources`"
        ),
        (
            "local ports to one address of the target",
            28_232,
            64_513,
            true
        )
    );
    assert_eq!(
        one(short(REMOTE, 28_232, "{}", &machine), "give 3 addresses"),
        ("source addresses for fast connecting", 1, 3, false)
    );
    assert_eq!(
        short(
            REMOTE,
            20_000,
            "{ sources: [10.0.0.2, 10.0.0.3] }",
            &machine
        ),
        []
    );
    let little = Machine {
        memory_available: 20 * MIB,
        ..machine
    };
    let (what, has, _, fatal) = one(short(LOCAL, 1_000, "{}", &little), "more memory");
    assert_eq!((what, has, fatal), ("bytes of memory", 20 * MIB, true));
    let tasks = Machine {
        processes: 39,
        ..machine
    };
    let watched = Machine {
        watches: 1_399,
        ..machine
    };
    let tracked = Machine {
        tracked: 999,
        ..machine
    };
    for (less, command, expected) in [
        (
            tasks,
            "ulimit -u 40",
            (
                "processes and threads that may still be started",
                39,
                40,
                true,
            ),
        ),
        (
            watched,
            "sysctl -w fs.epoll.max_user_watches=1540",
            ("descriptors watched by epoll", 1_399, 1_400, true),
        ),
        (
            tracked,
            "sysctl -w net.netfilter.nf_conntrack_max=1100",
            ("connections the firewall keeps track of", 999, 1_000, false),
        ),
    ] {
        let found = short(LOCAL, 1_000, "{ shards: 2 }", &less);
        assert_eq!(one(found, command), expected);
    }
    assert_eq!(short(LOCAL, 1_000, "{ shards: 1 }", &tasks), []);
    // Four cores and two beside, for the gateway alone; two for each of several, and their supervisor's.
    for (nodes, needs) in [(1, 36 + 6), (3, 36 + 8)] {
        let target = format!("{{ embedded: {{ nodes: {nodes} }} }}");
        let found = short(&target, 1_000, "{ shards: 1 }", &tasks);
        let found: Vec<u64> = found.iter().map(|short| short.2).collect();
        assert_eq!(found, [needs]);
    }
    // What could not be read is not held against the plan.
    assert_eq!(
        short(REMOTE, 100_000, "{ shards: 1 }", &Machine::default())
            .iter()
            .filter(|s| s.4)
            .count(),
        0
    );
}

/// Who is not root is told the limit that is its own, and whom to ask.
#[test]
fn without_root_the_commands_are_others() {
    let machine = Machine {
        root: false,
        file_max: 10_000,
        ..machine()
    };
    let commands: Vec<String> = short(LOCAL, 20_000, "{ shards: 1 }", &machine)
        .into_iter()
        .map(|short| short.3)
        .collect();
    let [descriptors, all] = commands.as_slice() else {
        panic!("{commands:?}");
    };
    assert!(
        descriptors.starts_with("more `generator.shards`"),
        "{descriptors}"
    );
    assert!(
        descriptors.contains("your own hard limit of 20000"),
        "{descriptors}"
    );
    assert!(descriptors.contains("* hard nofile 20200"), "{descriptors}");
    assert_eq!(all, "sudo sysctl -w fs.file-max=22220");
}

#[test]
fn jumps_need_places_to_wait() {
    let of = |open: &str| {
        let text = format!(
            "name: x\ntarget: {{ embedded: {{}} }}\nclients: {{ a: {{ count: 3000 }}, b: {{ count: 3000 }} }}\n\
             phases: [{{ name: p, for: 60s }}, {{ name: q, for: 60s, open: {open} }}]\n"
        );
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let scenario: Scenario = serde_json::from_value(value).unwrap();
        compile(&scenario, &Files::default(), &machine())
            .unwrap()
            .needs
            .shortages
    };
    // Both at the start, 6,000 together.
    let both = of("{}");
    assert_eq!((both[0].needs, both[0].fatal), (6_000, false));
    assert!(
        both[0]
            .command
            .contains("sysctl -w net.core.somaxconn=6000")
    );
    assert_eq!(of("{ b: linear }"), []);
    assert_eq!(of("{ b: all_at_once }"), []);
    let jump =
        of("{ a: all_at_once, b: { stages: [{ to: 1000, over: 0s }, { to: 3000, over: 0s }] } }");
    assert_eq!(jump[0].needs, 6_000);
    let staged = of("{ b: { stages: [{ to: 1000, over: 5s }, { to: 3000, over: 5s }] } }");
    assert_eq!(staged, []);
}

#[test]
fn curves_are_read_at_any_moment() {
    let s = std::time::Duration::from_secs;
    let opening = Opening {
        knots: vec![(s(2), 0), (s(4), 10), (s(4), 15), (s(6), 15)],
    };
    let at = |t: u64| opened_by(&opening, s(t));
    assert_eq!(
        (at(0), at(2), at(3), at(4), at(5), at(9)),
        (0, 0, 5, 15, 15, 15)
    );
    assert_eq!(opened_by(&Opening { knots: Vec::new() }, s(1)), 0);
    assert_eq!(
        opened_by(
            &Opening {
                knots: vec![(s(1), 4)]
            },
            s(0)
        ),
        0
    );
}

#[test]
fn the_plan_reads_well() {
    let text = "
name: quick
seed: 42
target: { embedded: {} }
clients:
  subscribers: { count: 2000, subscribe: [t] }
  publishers: { count: 50, publish: { topic: t, rate: 10/s, in: [steady, burst] }, request: { rate: 0.5/s } }
phases:
  - { name: ramp, for: 4.5s, open: { subscribers: linear } }
  - { name: steady, for: 90s }
  - { name: burst, for: 10s, faults: [{ burst: { clients: publishers, rate: 10x } }] }
gates: ['lost == 0']
";
    let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
    let scenario: Scenario = serde_json::from_value(value).unwrap();
    let machine = Machine {
        descriptors: 1_000,
        ..machine()
    };
    let compiled = compile(&scenario, &Files::default(), &machine).unwrap();
    let expected = "\
quick · seed 42 · 1m 44s in 3 phases, then a drain of up to 5s

target      the embedded gateway
connections 2,050: subscribers 2,000, publishers 50
clients     subscribers  JSON over WebSocket; no `reconnect`: who is lost stays away
            publishers   JSON over WebSocket; no `reconnect`: who is lost stays away
phases      ramp      4.5s  opens 2,050, asks 0.50/s
            steady  1m 30s  publishes 10/s, delivers 20,000/s, asks 0.50/s
            burst      10s  publishes 100/s, delivers 200,000/s, asks 5/s
will do     in burst, after 0s, for 10s: publishers at 10x
messages    1,900 published, about 3,800,000 delivered, 97 asked; at most 105/s sent
gates       1

shards      4, with up to 513 connections and 713 descriptors of 1,000
sources     chosen by the kernel, with up to 2,050 of the ports 32768–60999 each
memory      about 82 MiB; there are 8.0 GiB
machine     4 cores, fs.file-max 1,000,000

too few     descriptors of the embedded gateway: 1,000 of 2,250
            ulimit -n 2250   (or `target.embedded.nodes: 3`)
";
    assert_eq!(super::describe(&compiled), expected);
}

/// The lines of the plan in words that say of a target and a group whom it talks to and how, in one.
fn about(target: &str, group: &str, more: &str) -> String {
    let text = format!(
        "{{name: n, target: {target}, clients: {{g: {{count: 2, {group}}}}}, {more} phases: [{{name: p, for: 10s}}]}}"
    );
    let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let scenario: Scenario = serde_json::from_value(value).unwrap();
    let compiled = compile(&scenario, &Files::default(), &machine());
    let said = super::describe(&compiled.unwrap_or_else(|problems| panic!("{text}: {problems:?}")));
    let shown = |line: &&str| !line.starts_with("connections");
    let lines = said.lines().skip(2).filter(shown);
    let lines: Vec<&str> = lines
        .take_while(|line| !line.starts_with("phases"))
        .collect();
    lines.join("\n")
}

#[test]
fn the_plan_says_where_it_goes_and_how_it_comes_back() {
    let anew = "reconnect: { backoff: full_jitter, base: 1s, cap: 9s";
    let table = [
        (
            "{ url: ['wss://u:canary@one/canary?token=canary', 'ws://u:canary@[::1]:81/'], pick: failover, proxy: 'http://u:canary@px:31' }",
            format!("{anew}, attempts: 3, codes: {{ 1012: now, 1008: stop, 4000-4499: back_off }} }}"),
            "target      wss://one:443, ws://[::1]:81; all to the first, and to the next when it fails; through the proxy http://px:31
clients     g  JSON over WebSocket
               come back by full_jitter: 1s to 9s, 3 attempts at most; on close code 1008: stop, 1012: now, 4000-4499: back_off, 1013: elsewhere",
        ),
        (
            "{ url: ['ws://a', 'ws://b'] }",
            "reconnect: { backoff: phoenix }".to_owned(),
            "target      ws://a:80, ws://b:80; connections are spread over them
clients     g  JSON over WebSocket
               come back by phoenix; on close code 1012: within [5s, 30s], 1013: elsewhere",
        ),
        (
            "{ url: 'ws://a' }",
            "transport: [websocket, sse], subscribe: [t], reconnect: { backoff: constant, codes: { 1000-1013: stop } }".to_owned(),
            "target      ws://a:80
clients     g  JSON over WebSocket, then SSE (the next when refused or not ready in time or silent; from the first again when lost)
               come back by constant: 500ms; on close code 1000-1013: stop",
        ),
        // Nothing but a WebSocket ends with a code.
        (
            "{ url: 'ws://a' }",
            "transport: long_poll, subscribe: [t], reconnect: { backoff: none }".to_owned(),
            "target      ws://a:80
clients     g  JSON over long polls
               come back at once",
        ),
        (
            "{ url: 'ws://a' }",
            "protocol: { socket_io: { polling: only } }, subscribe: [t], reconnect: { backoff: socket_io }".to_owned(),
            "target      ws://a:80
clients     g  Socket.IO by polling
               come back by socket_io: 1s to 5s",
        ),
        (
            "{ url: 'ws://a' }",
            "protocol: raw, auth: { bearer: [canary01, canary02], expires: 9s, renew: { every: 8s, by: reconnect } }, reconnect: { backoff: none }".to_owned(),
            "target      ws://a:80
clients     g  raw over WebSocket
               2 tokens as written, in turn, good for 9s, renewed every 8s by connecting again
               come back at once; on close code 1012: within [5s, 30s], 1013: longest wait (no other address)",
        ),
        (
            "{ url: 'ws://a' }",
            "protocol: { mqtt: {} }, auth: { http: { url: 'https://h/canary', headers: { X: canary } }, in: { query: t } }".to_owned(),
            "target      ws://a:80
clients     g  MQTT over WebSocket; no `reconnect`: who is lost stays away
               tokens asked of h:443 before the run, never renewed",
        ),
    ];
    for (target, group, expected) in table {
        assert_eq!(about(target, &group, ""), expected);
    }
    let brokers = about(
        "{ url: 'ws://a' }",
        "subscribe: [t]",
        "inject: { n: { nats: { url: ['nats://u:canary@h:1', 'nats://[::1]'], subject: s }, topic: t, rate: 1/s }, k: { kafka: { bootstrap: 'k:9', tls: {}, user: u, password: canary }, topic: t, rate: 1/s } },",
    );
    let expected = "target      ws://a:80
clients     g  JSON over WebSocket; no `reconnect`: who is lost stays away
            n  publish into NATS at h:1, [::1]:4222
            k  publish into Kafka at k:9 over TLS";
    assert_eq!(brokers, expected);
}

#[test]
fn what_compression_keeps_is_in_the_sum() {
    let memory_at = |target: &str, group: &str| {
        let text = format!(
            "{{name: n, target: {target}, clients: {{sub: {{count: 100, {group}}}}}, phases: [{{name: p, for: 10s}}]}}"
        );
        let value: serde_json::Value = serde_yaml::from_str(&text).unwrap();
        let scenario: Scenario = serde_json::from_value(value).unwrap();
        let compiled = compile(&scenario, &Files::default(), &machine());
        compiled.unwrap().needs.memory
    };
    let memory = |group: &str| memory_at(LOCAL, group);
    let plain = memory("subscribe: [t]");
    let hears = memory("subscribe: [t], compression: {}");
    assert_eq!(hears - plain, 100 * 47 * KIB);
    let asks = memory("request: {rate: 1/s}, compression: {client_max_window_bits: 10}");
    assert_eq!(asks - plain, 100 * (47 + 4 + 244) * KIB);
    let shares = "{client_no_context_takeover: true, server_no_context_takeover: true}";
    assert_eq!(
        memory(&format!("request: {{rate: 1/s}}, compression: {shares}")),
        plain
    );
    // The embedded gateway keeps both of its ends in any case.
    let embedded = |more: &str| memory_at("{embedded: {}}", &format!("subscribe: [t]{more}"));
    let both = (47 + 128 + 244) * KIB;
    let plain = embedded("");
    assert_eq!(
        embedded(&format!(", compression: {shares}")) - plain,
        100 * both
    );
    assert_eq!(
        embedded(", compression: {}") - plain,
        100 * (47 * KIB + both)
    );
}
