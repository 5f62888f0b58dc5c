//! Commands and webhooks as they are carried out, against processes and servers of the tests' own.

use super::*;
use crate::plan::Webhook;
use std::sync::atomic::Ordering;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const LONG: Duration = Duration::from_secs(30);

async fn shell(line: &str, limit: Duration) -> Carried {
    let arguments = ["/bin/sh", "-c", line].map(str::to_owned);
    command::run(&arguments, limit, std::future::pending()).await
}

#[tokio::test]
async fn what_a_command_says_is_kept_clean_and_bounded() {
    let done = shell(
        "printf 'a\\033[31mb\\a\\tc\\n'; echo problem >&2; exit 3",
        LONG,
    )
    .await;
    assert_eq!(done.ending, Ending::Failed("exit 3".into()));
    let mut lines: Vec<&str> = done.output.lines().collect();
    // Two pipes have no order between them.
    lines.sort_unstable();
    assert_eq!(lines, ["ab c", "problem"]);
    let done = shell(
        "i=0; while [ $i -lt 10000 ]; do echo line $i; i=$((i+1)); done",
        LONG,
    )
    .await;
    assert_eq!(done.ending, Ending::Succeeded);
    assert!(done.output.len() <= 64 * 1024, "{}", done.output.len());
    assert!(
        done.output.ends_with("line 9999"),
        "the end is what is kept"
    );
}

#[tokio::test]
async fn every_other_end_is_a_failure_with_its_name() {
    let done = shell("kill -9 $$", LONG).await;
    assert_eq!(done.ending, Ending::Failed("killed by SIGKILL".into()));
    let nothing = ["/nowhere/to-be-found".to_owned()];
    let done = command::run(&nothing, LONG, std::future::pending()).await;
    let Ending::NotBegun(why) = done.ending else {
        panic!("{done:?}");
    };
    assert!(
        why.contains("/nowhere/to-be-found") && why.contains("No such file"),
        "{why}"
    );
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

async fn gone(pid: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while alive(pid) {
        assert!(Instant::now() < deadline, "{pid} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Says its ids, and neither it nor its child heeds SIGTERM.
const STUBBORN: &str = "trap '' TERM; sleep 600 & echo $$ $!; wait; wait; sleep 600";

#[tokio::test]
async fn one_that_hangs_is_ended_with_all_it_started() {
    let done = shell(STUBBORN, Duration::from_millis(300)).await;
    assert_eq!(done.ending, Ending::TimedOut);
    let pids: Vec<&str> = done.output.split_whitespace().collect();
    assert_eq!(pids.len(), 2, "{}", done.output);
    for pid in pids {
        gone(pid).await;
    }
}

#[tokio::test]
async fn one_that_is_stopped_may_say_its_last_words() {
    let line = "trap 'echo bye; exit 0' TERM; echo hi; sleep 600 & wait";
    let arguments = ["/bin/sh", "-c", line].map(str::to_owned);
    let stop = tokio::time::sleep(Duration::from_millis(500));
    let done = command::run(&arguments, LONG, stop).await;
    assert_eq!(done.ending, Ending::Interrupted);
    assert_eq!(done.output, "hi\nbye");
}

#[tokio::test]
async fn what_a_command_started_has_its_grace_though_the_command_is_gone_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let ready = folder.path().join("ready");
    // The outer shell has no trap: SIGTERM ends it at once.
    let line = format!(
        "(trap 'sleep 0.4; echo in order; exit' TERM; echo > '{}'; while :; do sleep 0.05; done) & wait",
        ready.display()
    );
    let arguments = ["/bin/sh".to_owned(), "-c".to_owned(), line];
    let stop = async {
        while !ready.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = command::run(&arguments, LONG, stop).await;
    assert_eq!(done.ending, Ending::Interrupted);
    assert!(done.output.ends_with("in order"), "{}", done.output);
}

#[tokio::test]
async fn what_a_command_leaves_running_is_left_alone_however_it_ended() {
    for (line, ending) in [
        ("sleep 600 & echo $! $$", Ending::Succeeded),
        (
            "sleep 600 & echo $! $$; exit 3",
            Ending::Failed("exit 3".into()),
        ),
    ] {
        let began = Instant::now();
        let done = shell(line, LONG).await;
        assert_eq!(done.ending, ending);
        assert!(began.elapsed() < LONG, "its open output is not waited for");
        let (left, group) = done.output.split_once(' ').unwrap();
        assert!(alive(left), "{}", done.output);
        // Nor does an end at once take it along.
        assert_ne!(command::RUNNING.load(Ordering::SeqCst).to_string(), group);
        let pid = nix::unistd::Pid::from_raw(left.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    }
}

/// A server that takes one request, and what it was asked.
async fn server(answer: &'static str) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"now") {
            assert!(stream.read_buf(&mut request).await.unwrap() > 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (port, asked)
}

fn hook(port: u16) -> Webhook {
    Webhook {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        path: "/hooks?a=b".into(),
        method: "PUT".into(),
        headers: vec![("x-token".into(), "t".into())],
        body: "now".into(),
    }
}

#[tokio::test]
async fn a_webhook_is_asked_and_2xx_is_success() {
    let answer =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nsoon";
    let (port, asked) = server(answer).await;
    let done = webhook::call(&hook(port)).await;
    assert_eq!(
        done,
        Carried::new(Ending::Succeeded, "HTTP 202\nsoon".into())
    );
    let expected = format!(
        "PUT /hooks?a=b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nx-token: t\r\nConnection: close\r\nContent-Length: 3\r\n\r\nnow"
    );
    assert_eq!(asked.await.unwrap(), expected);
}

#[tokio::test]
async fn whatever_else_a_webhook_answers_is_none() {
    for (answer, how) in [
        ("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", "HTTP 302"),
        ("HTTP/1.1 500 No\r\n\r\nbroken", "HTTP 500"),
        ("SSH-2.0-x\r\n", "not HTTP"),
        ("", "no answer"),
    ] {
        let (port, _asked) = server(answer).await;
        match webhook::call(&hook(port)).await.ending {
            Ending::Failed(why) => assert!(why.contains(how), "{why}"),
            other => panic!("{answer}: {other:?}"),
        }
    }
    // Nobody there: it was not even begun.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let done = webhook::call(&hook(port)).await;
    assert!(matches!(done.ending, Ending::NotBegun(_)), "{done:?}");
}

#[test]
fn text_from_outside_cannot_drive_a_terminal() {
    let hostile = b"\x1b]0;title\x07a\x1b[2J\x1b[1;31mred\x1b[0m\r\nb\xff\xe2\x80\xae!";
    let text = readable(hostile);
    assert!(
        text.chars().all(|c| c == '\n' || !c.is_control()),
        "{text:?}"
    );
    assert!(text.ends_with("ared\nb\u{fffd}!"), "{text:?}");
}

#[test]
fn the_end_is_shown_and_a_secret_is_masked_while_it_is_whole() {
    assert_eq!(shown("short".into()), "short");
    // A letter of two bytes where it would be cut.
    let rest = "x".repeat(SHOWN - 1);
    assert_eq!(
        shown(format!("ä{rest}")),
        format!("… (2 bytes before)\n{rest}")
    );
    let redact = Redactor::new(["canary-canary"]);
    let said = format!("canary-canary{}", "y".repeat(SHOWN - 5));
    let told = shown(redact.text(&said));
    assert!(!told.contains("nary"), "{}", &told[..40]);
}
