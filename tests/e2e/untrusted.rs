//! Nothing secret gets out, and nothing that the target sends gets in.

use crate::harness::{Done, Lab, files};
use std::io::{Read, Write};
use std::net::TcpListener;

const CANARY: &str = "canary-4c1f9e77";

/// Every output of a run, with a name.
fn outputs(done: &Done) -> Vec<(String, String)> {
    let mut all = vec![
        ("stdout".into(), done.stdout.clone()),
        ("stderr".into(), done.stderr.clone()),
    ];
    for path in done.folders.iter().flat_map(|folder| files(folder)) {
        let text = String::from_utf8_lossy(&std::fs::read(&path).expect("readable")).into_owned();
        all.push((path.display().to_string(), text));
    }
    all
}

/// Tokens from the environment and from files, passwords in URLs, literal tokens: in no output, and in
/// no process list.
#[test]
fn secrets_appear_nowhere() {
    let lab = Lab::new(
        "
name: secrets
target:
  embedded: { tokens: ['${env:SQUALL_CANARY}', '${file:token.txt}'] }
  headers: { Authorization: 'Bearer ${env:SQUALL_CANARY}' }
clients:
  all: { count: 2, subscribe: [t], publish: { topic: t, rate: 50/s } }
phases: [ { name: only, for: 2s } ]
generator: { shards: 1 }
",
    );
    std::fs::write(lab.path().join("token.txt"), format!("file-{CANARY}")).expect("written");
    let mut command = lab.command(&[]);
    command.env("SQUALL_CANARY", CANARY);
    let mut run = lab.start_command(command);
    run.wait_for_phase("only");
    for process in run.children() {
        assert!(!process.arguments.join(" ").contains(CANARY), "{process:?}");
    }
    let done = run.wait();
    let summary = done.expect(0).summary();
    assert_eq!(summary.count("opened"), 2, "the token was sent and taken");
    let outputs = outputs(&done);
    assert!(
        outputs.len() >= 9,
        "two streams and seven files: {:?}",
        outputs.iter().map(|o| &o.0).collect::<Vec<_>>()
    );
    for (name, text) in outputs {
        assert!(!text.contains(CANARY), "in {name}");
    }
}

#[test]
fn secrets_of_a_target_that_fails_appear_nowhere() {
    let lab = Lab::untimed(&format!(
        "
name: secrets
target:
  url: 'ws://user:{CANARY}@127.0.0.1:1/path?token={CANARY}'
  query: {{ key: '${{env:SQUALL_CANARY}}' }}
  cookies: {{ session: '{CANARY}' }}
clients: {{ all: {{ count: 2, subscribe: [t] }} }}
phases: [ {{ name: only, for: 1s }} ]
"
    ));
    let mut command = lab.command(&[]);
    command.env("SQUALL_CANARY", format!("env-{CANARY}"));
    let done = lab.start_command(command).wait();
    done.expect(109);
    for (name, text) in outputs(&done) {
        assert!(!text.contains(CANARY), "in {name}");
    }
}

/// A target that answers every upgrade with all it can think of.
fn hostile(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("ws://{address}/")
}

#[test]
fn hostile_text_reaches_neither_terminal_nor_html() {
    let target = hostile(
        "HTTP/1.1 503 \x1b[2J<script>alert(1)</script>\r\nX-Evil: \x1b]0;owned\x07<script>alert(2)</script>\r\n\
         Content-Length: 70\r\n\r\n\x1b[31m<script>alert(3)</script><img src=x onerror=alert(4)>\u{202e}\r\n| table | `code` |\n",
    );
    let lab = Lab::untimed(
        "
name: hostile
target: { url: 'ws://replaced' }
clients: { all: { count: 3, subscribe: [t] } }
phases: [ { name: only, for: 1s } ]
",
    );
    let done = lab.run(&["--target", &target, "--color", "never"]);
    let summary = done.expect(109).summary();
    let refused = summary.0["failures"].as_object().expect("a table");
    assert_eq!(
        refused.values().filter_map(|n| n.as_u64()).sum::<u64>(),
        3,
        "{refused:?}"
    );
    for (name, text) in outputs(&done) {
        assert!(
            !text.contains('\x1b') && !text.contains('\x07'),
            "control characters in {name}"
        );
        assert!(!text.contains('\u{202e}'), "a direction override in {name}");
        if name.ends_with(".html") {
            assert!(
                !text.contains("<script>alert") && !text.contains("<img src=x"),
                "markup in {name}"
            );
        }
    }
}
