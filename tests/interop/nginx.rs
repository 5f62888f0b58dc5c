//! nginx before a gateway, with the time after which it gives up a silent WebSocket shortened from 60 s: found, by whom it hits.
//!
//! Needs seconds, as the silence has to last. What is compared lies far apart: 2 s of silence are too many, and who lives is heard of
//! every 200 ms.

use crate::harness::Lab;
use crate::servers;

/// As one finds it in many places, but for the timeout: no `proxy_read_timeout` means 60 s.
const CONFIG: &str = "
daemon off;
master_process off;
pid FOLDER/nginx.pid;
error_log FOLDER/error.log info;
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
        location / {
            proxy_pass http://GATEWAY;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_read_timeout 2s;
        }
    }
}
";

/// Connections of a group.
const MANY: u64 = 20;

#[test]
fn an_idle_timeout_shows_in_who_is_cut_and_a_heartbeat_is_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let (_gateway, address) = servers::gateway(&[]);
    let (_nginx, port) = servers::nginx(folder.path(), CONFIG, address);
    let lab = Lab::new(&format!(
        "
name: silence
target: {{ url: 'ws://127.0.0.1:{port}/ws/{{group}}' }}
clients:
  idle: {{ count: {MANY}, subscribe: [silence] }}
  beating: {{ count: {MANY}, subscribe: [silence], heartbeat: {{ every: 200ms, timeout: 20s }} }}
  fed: {{ count: {MANY}, subscribe: [news] }}
  returning: {{ count: {MANY}, subscribe: [silence], reconnect: {{ backoff: constant, base: 100ms }} }}
  publishers: {{ count: 1, publish: {{ topic: news, rate: 5/s }} }}
phases:
  - {{ name: silent, for: 5s }}
gates:
  - opened == {MANY} of idle
  - close 1006 == {MANY} of idle
  - closed_by_target == {MANY} of idle
  - failed eof == {MANY} of idle
  - closed_by_target == 0 of beating
  - closed_by_target == 0 of fed
  - closed_by_target == 0 of publishers
  - reconnected >= {MANY} of returning
  - lost == 0
generator: {{ shards: 2, max_lag: 50s, max_cpu: 100% }}
"
    ));
    let done = lab.run(&[]);
    let summary = done.expect(0).summary();
    // Who comes back is cut over and over: each return, and each that the end of the run came before, was a cut.
    let cuts = MANY + summary.count("reconnected") + summary.count("gave_up");
    assert!(
        summary.count("reconnected") <= 2 * MANY,
        "in 5 s at most twice"
    );
    // All of one kind: no Close frame says why.
    let closes = summary.at("/closes").as_array().unwrap();
    let by_target: Vec<_> = closes.iter().filter(|c| c["by_target"] == true).collect();
    assert_eq!(by_target.len(), 1, "{closes:?}");
    assert_eq!(by_target[0]["code"], 1006);
    assert_eq!(by_target[0]["clean"], false);
    assert_eq!(by_target[0]["count"], cuts);
    // Not before their time (nginx may take its timers 0.3 s early).
    for second in summary.at("/timeline").as_array().unwrap() {
        let at = second["at"].as_f64().unwrap();
        assert!(at > 1.5 || second["closed"] == 0, "{second}");
    }
    // nginx says the same, as often, in a file that whoever looks for the cause would have to think of.
    let log = std::fs::read_to_string(folder.path().join("error.log")).unwrap();
    let told = |group: &str| {
        let path = format!("GET /ws/{group} ");
        log.lines()
            .filter(|line| line.contains("upstream timed out") && line.contains(&path))
            .count() as u64
    };
    // Publishers hear nothing, but are not silent.
    let groups = ["idle", "beating", "fed", "publishers"].map(told);
    assert_eq!(groups, [MANY, 0, 0, 0], "{log}");
    // And, of some, in the moment in which the run said goodbye to them.
    assert!(told("returning") >= cuts - MANY, "{log}");
}
