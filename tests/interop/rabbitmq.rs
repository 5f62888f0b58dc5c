//! RabbitMQ, whose plugins speak STOMP 1.2 (web_stomp) and MQTT 3.1.1 (web_mqtt) over WebSocket.
//!
//! It takes some seconds to start, so each test makes several runs against its own.

use crate::fails_only;
use crate::harness::Lab;
use crate::servers::{self, Ends};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Erlang and all of RabbitMQ's plugins have to be loaded, on a machine that may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);

/// Where Debian has the program itself. The one on the path looks into the system's folders and wants to be another user.
const PROGRAM: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A broker with nothing in it, and the name server that Erlang wants. Both end with it, the broker first.
pub struct RabbitMq {
    server: Option<Ends>,
    _epmd: Ends,
    folder: tempfile::TempDir,
    names: u16,
    mqtt: u16,
    pub port: u16,
}

impl RabbitMq {
    fn start() -> RabbitMq {
        RabbitMq::with("rabbitmq_web_stomp,rabbitmq_web_mqtt", |port, mqtt, _| {
            format!(
                "listeners.tcp = none\nstomp.listeners.tcp = none\nweb_stomp.tcp.ip = 127.0.0.1\nweb_stomp.tcp.port = {port}\nmqtt.listeners.tcp = none\nweb_mqtt.tcp.ip = 127.0.0.1\nweb_mqtt.tcp.port = {mqtt}\n"
            )
        })
    }

    /// With these plugins, and the configuration that listens at a port; it is given another one for MQTT and the broker's folder, too.
    pub fn with(plugins: &str, config: impl Fn(u16, u16, &Path) -> String) -> RabbitMq {
        let folder = tempfile::tempdir().unwrap();
        // Left to itself Erlang starts one that outlives everybody.
        let port = |command: &mut Command, port: u16| {
            command.args(["-port", &port.to_string()]);
        };
        let (epmd, names) = servers::on_free_port("epmd", port, listens);
        let mqtt = servers::free_port();
        let file = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        file("plugins", &format!("[{plugins}]."));
        file("env.conf", "");
        let configured = |command: &mut Command, port: u16| {
            file("rabbitmq.conf", &config(port, mqtt, folder.path()));
            configure(command, folder.path(), port, names);
        };
        let (server, port) = servers::on_free_port_within(PATIENCE, PROGRAM, configured, listens);
        RabbitMq {
            server: Some(server),
            _epmd: epmd,
            folder,
            names,
            port,
            mqtt,
        }
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.server = None;
    }

    /// Starts it again, with what it had stored.
    pub fn again(&mut self) {
        let mut command = Command::new("timeout");
        command.args(["600", PROGRAM]);
        configure(&mut command, self.folder.path(), self.port, self.names);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.server = Some(Ends(command.spawn().expect("`timeout` is there")));
        let deadline = Instant::now() + PATIENCE;
        while !listens(self.port) {
            assert!(Instant::now() < deadline, "RabbitMQ does not start again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One against its MQTT.
    fn mqtt(&self, scenario: &str) -> Lab {
        let target = format!("ws://127.0.0.1:{}/ws", self.mqtt);
        Lab::new(&scenario.replace("TARGET", &target))
    }

    /// A scenario against it.
    fn lab(&self, scenario: &str) -> Lab {
        let target = format!("ws://127.0.0.1:{}/ws", self.port);
        Lab::new(&scenario.replace("TARGET", &target))
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn signal(&self, signal: Signal) {
        let pid = std::fs::read_to_string(self.folder.path().join("pid")).unwrap();
        kill(Pid::from_raw(pid.trim().parse().unwrap()), signal).unwrap();
    }
}

fn configure(command: &mut Command, folder: &Path, port: u16, names: u16) {
    command.current_dir(folder).env("HOME", folder);
    command.env("ERL_EPMD_PORT", names.to_string());
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1");
    command.env("RABBITMQ_NODENAME", format!("squall{port}@localhost"));
    command.env("RABBITMQ_DIST_PORT", servers::free_port().to_string());
    command.env("RABBITMQ_LOGS", "-");
    for (name, value) in [
        ("CONF_ENV_FILE", "env.conf"),
        ("CONFIG_FILE", "rabbitmq.conf"),
        ("ENABLED_PLUGINS_FILE", "plugins"),
        ("FEATURE_FLAGS_FILE", "flags"),
        ("GENERATED_CONFIG_DIR", "generated"),
        ("LOG_BASE", "log"),
        ("MNESIA_BASE", "mnesia"),
        ("PID_FILE", "pid"),
        ("PLUGINS_EXPAND_DIR", "expanded"),
    ] {
        command.env(format!("RABBITMQ_{name}"), folder.join(value));
    }
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// 20 subscribers in two rooms and 2 publishers: each publish reaches 10, and 300 are made.
const TOPICS: &str = r#"
name: rabbitmq
target: { url: "TARGET" }
clients:
  subscribers:
    count: 20
    vars: &rooms { room: { cycle: [red, blue] } }
    subscribe: ["{room}"]
    protocol: { stomp: &guest { login: guest, passcode: guest, prefix: /topic/, ack: client_individual } }
  publishers:
    count: 2
    vars: *rooms
    protocol: { stomp: *guest }
    publish: { topic: "{room}", rate: 150/s, in: steady }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - opened == 22
  - failed == 0
  - errors == 0
  - lost == 0
  - duplicated == 0
  - reordered == 0
  - received == 3000
  - acked == 300
  - unacked == 0
  - rejected == 0
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
"#;

/// A queue for each subscriber. What was not acknowledged when the connection was lost is the next one's.
const QUEUES: &str = r#"
name: rabbitmq-queues
target: { url: "TARGET" }
clients:
  subscribers:
    count: 4
    vars: &queues { queue: { cycle: [one, two, three, four] } }
    subscribe: ["{queue}"]
    reconnect: { backoff: constant, base: 200ms }
    protocol: { stomp: { login: guest, passcode: guest, prefix: /queue/, ack: client, ack_every: 1000 } }
  publishers:
    count: 4
    vars: *queues
    protocol: { stomp: { login: guest, passcode: guest, prefix: /queue/ } }
    publish: { topic: "{queue}", rate: 200/s, in: [steady, cut] }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 1s }
  - { name: cut, for: 2s, faults: [ { drop: { clients: subscribers, share: 100%, how: reset } } ] }
gates:
  - reconnected == 4
  - failed reset == 0
  - acked == 600
  - unacked == 0
  - lost == 0
  - missed == 0
  - redelivered > 0
  - duplicated > 0
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
"#;

#[test]
fn what_is_sent_is_delivered_acknowledged_and_counted_exactly() {
    let rabbitmq = RabbitMq::start();
    let done = rabbitmq.lab(TOPICS).run(&[]);
    let summary = done.expect(0).summary();
    for (counter, expected) in [
        ("offered", 300),
        ("sent", 300),
        ("acked", 300),
        ("expected", 3000),
        ("unique", 3000),
        ("redelivered", 0),
        ("unstamped", 0),
        ("misrouted", 0),
    ] {
        assert_eq!(summary.count(counter), expected, "{counter}");
    }
    // Each receipt was timed.
    assert_eq!(summary.number("/timers/ack/count"), 300.0);
    assert!(summary.number("/timers/ack/p50") > 0.0);
    // Everyone said goodbye, and the broker's answer was waited for.
    let closes = summary.at("/closes").as_array().unwrap();
    assert!(
        closes.iter().all(|close| close["code"] == 1000),
        "{closes:?}"
    );

    // A gate that does not hold.
    let slow = TOPICS.replace("unacked == 0", "ack p50 < 1us");
    rabbitmq.lab(&slow).run(&[]).expect(99);

    // The old versions, and the other way to acknowledge.
    for (version, ack) in [("1.1", "client"), ("1.0", "client_individual")] {
        let old = TOPICS.replace(
            "ack: client_individual",
            &format!("ack: {ack}, versions: [\"{version}\"]"),
        );
        let done = rabbitmq.lab(&old).run(&[]);
        assert_eq!(done.expect(0).summary().count("received"), 3000);
    }

    // Nobody gets in with a wrong password, nor subscribes to what there is not, and everybody is told why.
    for (right, wrong, why, denied) in [
        ("passcode: guest", "passcode: wrong", "Bad CONNECT", 22),
        (
            "prefix: /topic/",
            "prefix: /nonsense/",
            "Unknown destination",
            20,
        ),
    ] {
        let done = rabbitmq.lab(&TOPICS.replace(right, wrong)).run(&[]);
        let summary = done.summary();
        let failures = summary.at("/failures");
        assert_eq!(failures["denied"], denied, "{failures:#}");
        let samples = summary.at("/samples").to_string();
        assert!(samples.contains(why), "{samples}");
    }
}

#[test]
fn what_was_not_acknowledged_before_a_drop_comes_again() {
    let rabbitmq = RabbitMq::start();
    let done = rabbitmq.lab(QUEUES).run(&[]);
    let summary = done.expect(0).summary();
    assert_eq!(summary.count("sent"), 600);
    assert_eq!(summary.count("expected"), 600);
    assert_eq!(summary.count("unique"), 600);
    // None was acknowledged before the cut, so all that had been delivered by then comes again, and is said to. What was on its way
    // when the connection was cut is said to, too, and new all the same.
    let (again, doubled) = (summary.count("redelivered"), summary.count("duplicated"));
    assert!(
        (150..=250).contains(&doubled) && again >= doubled,
        "{again} {doubled}"
    );

    // At once acknowledged, nearly nothing is left to come again; and the queues are as empty as at first, as the goodbyes of
    // the first run acknowledged the rest.
    let at_once = QUEUES
        .replace("ack_every: 1000", "ack_every: 1")
        .replace("  - redelivered > 0\n  - duplicated > 0\n", "");
    let done = rabbitmq.lab(&at_once).run(&[]);
    let summary = done.expect(0).summary();
    assert_eq!(summary.count("expected"), 600);
    assert!(
        summary.count("redelivered") < 50,
        "{}",
        summary.count("redelivered")
    );

    rabbitmq.lab(REFUSED).run(&[]).expect(0);

    // The same broker's MQTT.
    let done = rabbitmq.mqtt(MQTT).run(&[]);
    let summary = fails_only(&done, "recovered == 0");
    assert_eq!(summary.count("unique"), 3000);
    // Of version 5 it knows nothing, and closes whoever begins with it.
    let new = MQTT
        .replace("version: v3.1.1, ", "")
        .replace("clean_start: false", "clean_start: true")
        .replace("    reconnect: { backoff: constant, base: 500ms }\n", "")
        .replace("[steady, cut]", "steady");
    let phases = "phases=[{ name: steady, for: 1s }]";
    let done = rabbitmq
        .mqtt(&new)
        .run(&["--set", phases, "--set", "gates=[]"]);
    let summary = done.expect(109).summary();
    assert_eq!(summary.count("opened"), 0);
    assert_eq!(summary.count("attempts"), 12);
}

/// A fifth of what comes is refused, comes again, and is taken then.
const REFUSED: &str = r#"
name: rabbitmq-nacks
target: { url: "TARGET" }
clients:
  subscribers:
    count: 2
    vars: &queues { queue: { cycle: [five, six] } }
    subscribe: ["{queue}"]
    protocol: { stomp: { login: guest, passcode: guest, prefix: /queue/, ack: client_individual, nack: 20% } }
  publishers:
    count: 2
    vars: *queues
    protocol: { stomp: { login: guest, passcode: guest, prefix: /queue/ } }
    publish: { topic: "{queue}", rate: 100/s, in: steady }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 2s }
gates:
  - received == 240
  - nacked == 40
  - redelivered == 40
  - duplicated == 40
  - lost == 0
  - errors == 0
  - close 1000 == 4
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
"#;

/// MQTT 3.1.1 with sessions that are kept, as web_mqtt has it; half of the subscribers are cut.
const MQTT: &str = r#"
name: rabbitmq-mqtt
target: { url: "TARGET" }
clients:
  subscribers:
    count: 10
    protocol: { mqtt: { version: v3.1.1, client_id: "sub-{connection}", username: guest, password: guest, clean_start: false } }
    subscribe: [orders]
    reconnect: { backoff: constant, base: 500ms }
  publishers:
    count: 2
    protocol: { mqtt: { version: v3.1.1, username: guest, password: guest } }
    publish: { topic: orders, rate: 100/s, in: [steady, cut] }
phases:
  - { name: ramp, for: 1s }
  - { name: steady, for: 1s }
  - { name: cut, for: 2s, faults: [ { drop: { clients: subscribers, share: 50%, how: reset } } ] }
  - { name: rest, for: 1s }
gates:
  - opened == 17
  - sent == 300
  - acked == 300
  - expected == 3000
  - lost == 0
  - missed == 0
  - recovered > 0
  - resumed == 5
  - state_lost == 0
  - reconnected == 5
  - failed == 0
  - recovered == 0
generator: { shards: 2, max_lag: 20s, max_cpu: 100% }
"#;

/// 20 that agreed on heart-beats, and 20 that did not.
const BEATING: &str = r#"
name: rabbitmq-beats
target: { url: "TARGET" }
clients:
  beating:
    count: 20
    subscribe: [silence]
    reconnect: { backoff: constant, base: 100ms }
    protocol: { stomp: { login: guest, passcode: guest, prefix: /topic/, heart_beat: { send: 500ms, want: 500ms } } }
  plain:
    count: 20
    subscribe: [silence]
    reconnect: { backoff: constant, base: 100ms }
    protocol: { stomp: { login: guest, passcode: guest, prefix: /topic/ } }
phases:
  - { name: beats, for: 3s }
  - { name: still, for: 3s }
  - { name: again, for: 4s }
gates:
  - failed dead == 0 in beats
  - failed dead >= 20 of beating
  - failed dead == 0 of plain
  - closed_by_target == 0 of plain
  - detect p50 > 900ms
  - reconnected >= 20 of beating
generator: { shards: 1, max_lag: 20s, max_cpu: 100% }
"#;

#[test]
fn a_broker_that_stands_still_is_found_by_its_missing_heart_beats() {
    let rabbitmq = RabbitMq::start();
    let run = rabbitmq.lab(BEATING).start(&[]);
    run.wait_for_phase("still");
    rabbitmq.signal(Signal::SIGSTOP);
    run.wait_for_phase("again");
    rabbitmq.signal(Signal::SIGCONT);
    let done = run.wait();
    done.expect(0);
}
