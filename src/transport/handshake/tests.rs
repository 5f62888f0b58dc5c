use super::*;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::handshake::server::create_response;
use tokio_tungstenite::tungstenite::http;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

fn plain() -> Request<'static> {
    Request {
        host: "example.org",
        port: 80,
        tls: false,
        path: "/chat?x=1",
        headers: &[],
        subprotocols: &[],
        compression: None,
        key: KEY,
    }
}

fn written(what: &Request) -> Result<String, RequestError> {
    let mut out = Vec::new();
    let result = request(what, &mut out);
    assert!(
        result.is_ok() || out.is_empty(),
        "nothing is written of a bad request"
    );
    result.map(|()| String::from_utf8(out).unwrap())
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| text.to_string()).collect()
}

fn read(bytes: &[u8], subprotocols: &[&str]) -> Result<Option<Accepted>, HandshakeError> {
    response(
        bytes,
        &Expected {
            key: KEY,
            subprotocols: &strings(subprotocols),
            also: &[],
            compression: None,
            max_header: 4096,
        },
    )
}

#[test]
fn the_rfcs_own_example() {
    assert_eq!(accept_key(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(
        written(&plain()).unwrap(),
        format!(
            "GET /chat?x=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        )
    );
}

#[test]
fn hosts() {
    let table = [
        ("example.org", 80, false, "example.org"),
        ("example.org", 443, true, "example.org"),
        ("example.org", 80, true, "example.org:80"),
        ("example.org", 443, false, "example.org:443"),
        ("127.0.0.1", 9000, false, "127.0.0.1:9000"),
        ("::1", 9000, false, "[::1]:9000"),
        ("::1", 80, false, "[::1]"),
    ];
    for (host, port, tls, expected) in table {
        let text = written(&Request {
            host,
            port,
            tls,
            ..plain()
        })
        .unwrap();
        assert!(
            text.contains(&format!("\r\nHost: {expected}\r\n")),
            "{text}"
        );
    }
    let own = [("HOST".to_string(), "other".to_string())];
    let text = written(&Request {
        headers: &own,
        ..plain()
    })
    .unwrap();
    assert!(
        text.contains("HOST: other\r\n") && !text.contains("example.org"),
        "{text}"
    );
}

#[test]
fn nothing_breaks_out_of_its_place() {
    let header = |name: &str, value: &str| {
        let headers = [(name.to_string(), value.to_string())];
        written(&Request {
            headers: &headers,
            ..plain()
        })
        .err()
    };
    let value = |name: &str| Some(RequestError::Value(name.into()));
    let name = |name: &str| Some(RequestError::Name(name.into()));
    assert_eq!(header("A", "b"), None);
    assert_eq!(header("A", "b\tc é"), None);
    assert_eq!(header("A", "b\r\nEvil: 1"), value("A"));
    assert_eq!(header("A", "b\nEvil: 1"), value("A"));
    assert_eq!(header("A", "b\rEvil"), value("A"));
    assert_eq!(header("A", "b\0"), value("A"));
    for bad in [
        "",
        "A:",
        "A B",
        "A\r\n",
        "é",
        "Upgrade",
        "sec-websocket-KEY",
        "Sec-WebSocket-Extensions",
    ] {
        assert_eq!(header(bad, "b"), name(bad), "{bad:?}");
    }
    for path in ["", "chat", "/a b", "/a\r\nEvil: 1", "/\0", "/\x7f"] {
        assert_eq!(
            written(&Request { path, ..plain() }),
            Err(RequestError::Target),
            "{path:?}"
        );
    }
    for host in ["", "a b", "a\r\nEvil: 1"] {
        assert_eq!(
            written(&Request { host, ..plain() }),
            Err(RequestError::Target),
            "{host:?}"
        );
    }
    for subprotocol in ["", "a b", "a,b", "a\r\nEvil: 1"] {
        let subprotocols = strings(&[subprotocol]);
        assert_eq!(
            written(&Request {
                subprotocols: &subprotocols,
                ..plain()
            }),
            Err(RequestError::Target)
        );
    }
}

#[test]
fn accepted_responses() {
    let good = |more: &str| format!("{GOOD}{more}\r\n");
    let table: Vec<(String, &[&str], Option<usize>)> = vec![
        (good(""), &[], None),
        (good("Server: x\r\nDate: now\r\n"), &[], None),
        (good("Sec-WebSocket-Protocol: b\r\n"), &["a", "b"], Some(1)),
        (good("sec-websocket-protocol:a \r\n"), &["a", "b"], Some(0)),
        (good("Sec-WebSocket-Extensions: \r\n"), &[], None),
        (
            good("").replace("Upgrade: websocket", "upgrade: h2c, WebSocket"),
            &[],
            None,
        ),
        (
            good("").replace("Connection: Upgrade", "CONNECTION: keep-alive ,upgrade"),
            &[],
            None,
        ),
        (
            good("").replace(
                "Connection: Upgrade",
                "Connection: keep-alive\r\nConnection: Upgrade",
            ),
            &[],
            None,
        ),
        (
            good("").replace("101 Switching Protocols", "101"),
            &[],
            None,
        ),
        (
            format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{}", good("")),
            &[],
            None,
        ),
    ];
    for (text, subprotocols, subprotocol) in table {
        let bytes = [text.as_bytes(), b"\x81\x02hi"].concat();
        assert_eq!(
            read(&bytes, subprotocols),
            Ok(Some(Accepted {
                used: text.len(),
                subprotocol,
                compression: None,
            })),
            "{text}"
        );
        for cut in 0..text.len() {
            assert_eq!(
                read(&bytes[..cut], subprotocols),
                Ok(None),
                "cut at {cut} of {text}"
            );
        }
    }
}

#[test]
fn refused_responses() {
    use HandshakeError::*;
    let good = |more: &str| format!("{GOOD}{more}\r\n");
    let picked = |what: &str| Subprotocol(Some(what.to_owned()));
    let http = "the answer is not valid HTTP";
    let table: Vec<(String, &[&str], HandshakeError)> = vec![
        (
            good("").replace("Upgrade: websocket\r\n", ""),
            &[],
            Handshake("no `Upgrade: websocket` in the answer"),
        ),
        (
            good("").replace(": websocket", ": websockets"),
            &[],
            Handshake("no `Upgrade: websocket` in the answer"),
        ),
        (
            good("").replace("Connection: Upgrade", "Connection: close"),
            &[],
            Handshake("no `Connection: Upgrade` in the answer"),
        ),
        (good("").replace("s3p", "S3p"), &[], AcceptKey),
        (
            good("").replace("Sec-WebSocket-Accept", "X"),
            &[],
            AcceptKey,
        ),
        (
            good("Sec-WebSocket-Accept: x\r\n"),
            &[],
            Handshake("a header of the handshake came twice"),
        ),
        (
            good("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
            &[],
            Extension("an extension that was not offered"),
        ),
        (good("Sec-WebSocket-Protocol: a\r\n"), &[], picked("a")),
        (
            good("Sec-WebSocket-Protocol: c\r\n"),
            &["a", "b"],
            picked("c"),
        ),
        (
            good("Sec-WebSocket-Protocol: a, b\r\n"),
            &["a", "b"],
            picked("a, b"),
        ),
        (good("Sec-WebSocket-Protocol: A\r\n"), &["a"], picked("A")),
        (good(""), &["a"], Subprotocol(None)),
        (good("bad header\r\n"), &[], Handshake(http)),
        (good(": x\r\n"), &[], Handshake(http)),
        (good("A: \0\r\n"), &[], Handshake(http)),
        (good("").replace("101", "1x1"), &[], Handshake(http)),
        (
            "HTTP/1.1 200 OK\nA: b\n\nHTTP\r\n\r\n".into(),
            &[],
            Handshake(http),
        ),
        (
            "HTTP/1.0 101 x\r\n\r\n".into(),
            &[],
            Handshake("the answer is not HTTP/1.1"),
        ),
        (
            "SSH-2.0-x".into(),
            &[],
            Handshake("the answer is not HTTP/1.1"),
        ),
        (
            "\x15\x03\x01".into(),
            &[],
            Handshake("the answer is not HTTP/1.1"),
        ),
        (good(&"A: b\r\n".repeat(62)), &[], HeaderTooLarge),
        (
            good(&format!("A: {}\r\n", "b".repeat(4096))),
            &[],
            HeaderTooLarge,
        ),
        (
            format!("{GOOD}A: {}", "b".repeat(4096)),
            &[],
            HeaderTooLarge,
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n".repeat(400),
            &[],
            HeaderTooLarge,
        ),
        (
            "HTTP/1.1 503 Try Later\r\nContent-Length: 4\r\n\r\nbusy".into(),
            &[],
            Status {
                location: None,
                code: 503,
                reason: "Try Later".into(),
                body: b"busy".to_vec(),
            },
        ),
        (
            "HTTP/1.1 302 \r\nLocation: x\r\n\r\n".into(),
            &[],
            Status {
                location: Some("x".into()),
                code: 302,
                reason: "".into(),
                body: vec![],
            },
        ),
    ];
    for (text, subprotocols, expected) in table {
        assert_eq!(
            read(text.as_bytes(), subprotocols),
            Err(expected),
            "{text:.300}"
        );
    }
}

#[test]
fn what_a_refusal_says_is_kept_short() {
    let text = format!(
        "HTTP/1.1 403 {}\r\n\r\n{}",
        "r".repeat(2000),
        "b".repeat(100_000)
    );
    let Err(HandshakeError::Status { reason, body, .. }) = read(text.as_bytes(), &[]) else {
        panic!()
    };
    assert_eq!((reason.len(), body.len()), (MAX_TEXT, MAX_TEXT));
}

proptest! {
    #[test]
    fn the_key_is_answered_as_tungstenite_does(random: [u8; 16]) {
        prop_assert_eq!(accept_key(&key(random)), derive_accept_key(key(random).as_bytes()));
    }

    #[test]
    fn tungstenite_takes_the_request_and_we_its_answer(random: [u8; 16], host in "[a-z]{1,9}(\\.[a-z]{1,9})?", port: u16, tls: bool, value in "[ -~]{0,30}") {
        let key = key(random);
        let headers = [("X-Any".to_string(), value.clone())];
        let text = written(&Request { host: &host, port, tls, headers: &headers, key: &key, ..plain() }).unwrap();
        let mut storage = [httparse::EMPTY_HEADER; 16];
        let mut parsed = httparse::Request::new(&mut storage);
        prop_assert_eq!(parsed.parse(text.as_bytes()), Ok(httparse::Status::Complete(text.len())));
        let mut theirs = http::Request::get(parsed.path.unwrap());
        for header in parsed.headers.iter() {
            theirs = theirs.header(header.name, header.value);
        }
        let theirs = theirs.body(()).unwrap();
        prop_assert_eq!(theirs.headers()["x-any"].as_bytes(), value.trim().as_bytes());
        let answer = create_response(&theirs).unwrap();
        let mut bytes = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        for (name, value) in answer.headers() {
            bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        bytes.extend(b"\r\n");
        let expected = Expected { key: &key, subprotocols: &[], also: &[], compression: None,
        max_header: 4096 };
        prop_assert_eq!(response(&bytes, &expected), Ok(Some(Accepted { used: bytes.len(), subprotocol: None, compression: None })));
    }

    #[test]
    fn anything_may_come_back(bytes: Vec<u8>, at in 0..200usize, with: Vec<u8>) {
        let _ = read(&bytes, &[]);
        let _ = read(&[b"HTTP/1.1 ", &bytes[..]].concat(), &[]);
        let mut text = format!("{GOOD}\r\n").into_bytes();
        let at = at.min(text.len());
        text.splice(at..(at + with.len()).min(text.len()), with);
        let _ = read(&text, &["a"]);
    }

    #[test]
    fn more_bytes_never_take_an_answer_back(at in 0..200usize, with in "[\r\n a-zA-Z:,]{0,8}", cut in 0..200usize) {
        let mut text = format!("{GOOD}\r\n").into_bytes();
        let at = at.min(text.len());
        text.splice(at..at, with.into_bytes());
        let whole = read(&text, &[]);
        match read(&text[..cut.min(text.len())], &[]) {
            Ok(None) => {}
            early => prop_assert_eq!(early, whole),
        }
    }
}
