//! Servers nobody here wrote are restarted under load by a `deploy`: in order (SIGTERM), where each says goodbye in its own way, and
//! without a word (SIGKILL). Who is cut, who comes back, and what became of every message, to the last one.
//!
//! Needs seconds, as subscribers have to be away for some time while publishers are back.

use crate::harness::{Lab, Summary};
use crate::servers::{Kind, Supervised};

/// 20 subscribers and 2 publishers in two rooms: each publish is owed to 10. Publishers come back as soon as somebody answers.
const RESTART: &str = r#"
name: restart
target: { url: 'ws://127.0.0.1:PORT/' }
clients:
  subscribers:
    count: 20
    vars: { room: { cycle: [red, blue] } }
    subscribe: ["{room}/news"]
    reconnect: { backoff: equal_jitter, base: 2s, cap: 2s, codes: { 1012: back_off } }
  publishers:
    count: 2
    vars: { room: { cycle: [red, blue] } }
    publish: { topic: "{room}/news", rate: 100/s, in: [steady, restart, after] }
    reconnect: { backoff: constant, base: 50ms, codes: { 1012: back_off } }
phases:
  - { name: ramp, for: 2s }
  - { name: steady, for: 1s }
  - { name: restart, for: 7s, faults: [ { deploy: { run: [RESTART, FOLDER, SIGNAL] } } ] }
  - { name: after, for: 1s }
gates:
  - old == 22 in restart
  - severed == 22 in restart
  - returned == 22 in restart
  - cut_again == 0 in restart
  - close CODE == 22 in restart
  - gave_up == 0
  - stopped == 0
  - lost == 0
  - missed > 0 in restart
  - duplicated == 0
  - reordered == 0
  - service_gaps == 0
generator: { shards: 2, max_lag: 50s, max_cpu: 100% }
"#;

/// Restarts a server of this kind under load.
fn restarted(kind: Kind, signal: &str, code: u64) -> Summary {
    let folder = tempfile::tempdir().unwrap();
    let server = Supervised::start(kind, folder.path());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/restart");
    let scenario = RESTART
        .replace("PORT", &server.port.to_string())
        .replace("RESTART", script)
        .replace("FOLDER", folder.path().to_str().unwrap())
        .replace("SIGNAL", signal)
        .replace("CODE", &code.to_string());
    let summary = Lab::new(&scenario).run(&[]).expect(0).summary();
    assert_eq!(summary.text("/deploys/0/result"), "succeeded");
    let said = summary.text("/deploys/0/output");
    assert!(said.starts_with("restarted: "), "{said}");

    // All of them in one way, and each message ended somewhere. Whose bytes a killed server had not read yet is reset by its kernel.
    let closes = summary.at("/deploys/0/closes").as_array().unwrap();
    for close in closes {
        let way = (&close["code"], &close["clean"], &close["by_target"]);
        assert_eq!(way, (&code.into(), &(code != 1006).into(), &true.into()));
        let tcp = close["tcp"].as_str().unwrap();
        assert!(["fin", "reset"].contains(&tcp), "{closes:?}");
    }
    let counts = closes.iter().filter_map(|close| close["count"].as_u64());
    assert_eq!(counts.sum::<u64>(), 22, "{closes:?}");
    assert_eq!(summary.count("reconnected"), 22);
    let owed = summary.count("sent") * 10;
    let ended = ["unique", "missed", "unaccounted"].map(|count| summary.count(count));
    assert_eq!(ended.iter().sum::<u64>(), owed, "{ended:?}");
    // The publishers' own were due all the time.
    assert_eq!(
        summary.count("offered"),
        summary.count("sent") + summary.count("dropped") + summary.count("cancelled")
    );
    summary
}

#[test]
fn in_order_each_says_goodbye_and_everybody_comes_back() {
    restarted(Kind::Ws, "TERM", 1012);
    restarted(Kind::Websockets, "TERM", 1001);
}

#[test]
fn killed_they_say_nothing_and_the_report_says_so() {
    for kind in Kind::ALL {
        let summary = restarted(kind, "KILL", 1006);
        let findings = summary.at("/deploys/0/findings").as_array().unwrap();
        let never = findings.iter().any(|f| f["name"] == "never_drained");
        assert!(never, "{findings:?}");
    }
}
