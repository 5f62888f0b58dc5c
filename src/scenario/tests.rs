//! The loader as a whole: every mistake at its place, and nothing secret shown.

use super::*;

fn options() -> Options {
    Options {
        env: Box::new(|name| (name == "CANARY").then(|| "canary-env-value".into())),
        ..Options::default()
    }
}

#[test]
fn look() {
    let text = r#"
name: demo
seeds: 4
heartbeat: { every: 5s, timeout: 2s }
target:
  url: ws://u:p@localhost/
  headers: { Authorization: Bearer canary, X-Num: 5 }
  tls: { insecure: yes, ca: 5 }
clients:
  subs:
    count: 12x
    subscirbe: [a]
    protocol: jsn
    lifetime: { fixed: 5 , forever: 3 }
    publish:
      - { topic: x, rate: 5, size: { uniform: [1B] } }
    on_open:
      - { send: a, pause: 5s }
      - expect: { within: 5 }
    vars: { a: cycle, b: { sequence: 99999999999999999999999 } }
  subs: { }
phases:
  - name: ramp
    for: 5
    open: { subs: liner }
  - for: ${env:NOPE}
gates: lost == 0
"#;
    let mut o = options();
    o.sets = vec![
        "phases.ramp.for=12".into(),
        "generator.shards=two".into(),
        "phases[7].for=1s".into(),
    ];
    let report = parse("x.yaml", text, None, &o).err().unwrap();
    println!("{report}");
    println!(
        "{}",
        report
            .render(true)
            .lines()
            .take(5)
            .collect::<Vec<_>>()
            .join("\n")
    );
}
