//! Pages of servers of the tests' own, good and bad.

use super::*;
use tokio::net::TcpListener;

async fn server(answer: Vec<u8>) -> (Page, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(stream.read_buf(&mut request).await.expect("read") > 0);
        }
        // Whoever has heard enough hangs up.
        let _ = stream.write_all(&answer).await;
        String::from_utf8(request).expect("text")
    });
    (page(port), asked)
}

fn page(port: u16) -> Page {
    Page {
        tls: false,
        host: "127.0.0.1".into(),
        port,
        path: "/metrics?a=b".into(),
        headers: vec![("authorization".into(), "Bearer t".into())],
        memory: "rss".into(),
    }
}

#[tokio::test]
async fn a_page_is_read_however_its_body_is_told() {
    for (answer, bytes) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrss 1.5e3",
            1500,
        ),
        (
            "HTTP/1.0 200 OK\r\n\r\n# TYPE rss gauge\nrss 7 1700000000\n",
            7,
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nrss \r\n3\r\n12\n\r\n0\r\n\r\n",
            12,
        ),
    ] {
        let (page, asked) = server(answer.into()).await;
        assert_eq!(read(&page).await, Ok(bytes), "{answer}");
        let port = page.port;
        assert_eq!(
            asked.await.expect("asked"),
            format!(
                "GET /metrics?a=b HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nauthorization: Bearer t\r\n\
                 Accept: text/plain\r\nConnection: close\r\n\r\n"
            )
        );
    }
}

#[tokio::test]
async fn what_is_wrong_with_an_answer_is_said() {
    let endless = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'#'; PAGE + 9]].concat();
    for (answer, words) in [
        ("HTTP/1.1 404 No\r\n\r\n".into(), "HTTP 404"),
        (
            "HTTP/1.1 302 No\r\nLocation: /\r\n\r\n".into(),
            "not followed",
        ),
        ("HTTP/1.1 401 No\r\n\r\n".into(), "target.metrics.headers"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nrss 1".into(),
            "no answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nrss 1".into(),
            "no answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n".into(),
            "not chunks",
        ),
        ("SSH-2.0-x\r\n".into(), "not HTTP"),
        ("HTTP/1.1 200 OK\r\n\r\n".into(), "there is no `rss`"),
        (endless, "more than 4 MiB"),
    ] {
        let (page, _asked) = server(answer).await;
        let why = read(&page).await.expect_err(words);
        assert!(why.contains(words), "{words}: {why}");
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let why = read(&page(port)).await.expect_err("nobody is there");
    assert!(why.starts_with(&format!("127.0.0.1:{port}: ")), "{why}");
}

#[test]
fn values_of_one_name_are_added_up_and_others_are_not() {
    let page = "rss_max 9\n rss{a=\"}\\\" 5 \"} 1 \nrss{} 2\nrss\t4 17\nrssi 9\n#rss 9";
    assert_eq!(memory(page, "rss"), Ok(7));
    assert_eq!(memory("rss 0", "rss"), Ok(0));
    for bad in [
        "rss NaN",
        "rss -1",
        "rss +Inf",
        "rss x",
        "rss ",
        "rss{a=\"b 3",
    ] {
        let why = memory(bad, "rss").expect_err(bad);
        assert!(why.contains("no number of bytes"), "{bad}: {why}");
    }
    let why = memory("go_memory_x{a=\"b\"} 1\n\u{1b}[2Jresident 2\n", "rss").expect_err("none");
    assert_eq!(
        why,
        "there is no `rss` on the page (it has go_memory_x, resident): name the metric in `target.metrics.memory`"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_never_answers_is_counted_and_is_no_value() {
    // A backlog takes connections in, and nobody takes them up.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let scraper = Scraper::start(page(listener.local_addr().expect("an address").port()));
    scraper.asks().send(Duration::from_secs(1)).expect("heard");
    let failed = || scraper.seen.lock().expect("whole").failed;
    while failed() == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scraper.asks().send(Duration::from_secs(9)).expect("heard");
    tokio::task::yield_now().await;
    // The second read is under way.
    let seen = scraper.finish();
    assert_eq!((seen.failed, seen.samples.len()), (1, 0));
    assert!(seen.why.contains("no answer within 2 s"), "{}", seen.why);
    assert!(
        seen.page
            .ends_with(&format!(":{}", listener.local_addr().unwrap().port()))
    );
}
