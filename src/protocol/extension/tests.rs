use super::*;

fn condition(contains: &str, pointer: &str, equals: Option<&str>) -> Condition {
    Condition {
        contains: contains.into(),
        pointer: pointer.into(),
        equals: equals.map(String::from),
    }
}

#[test]
fn nothing_said_is_nothing_kept() {
    assert!(Extended::new(&Extension::default()).is_none());
}

#[test]
fn asides_are_told_from_the_rest() {
    let extended = Extended::new(&Extension {
        ping: Some(ServicePing {
            when: condition("", "", Some("{}")),
            answer: Some("{}".into()),
        }),
        heartbeat: Some(Beat::Client {
            send: r#"[null,"{id}","phoenix","heartbeat",{}]"#.into(),
            answered: condition("", "/2", Some("phoenix")),
            id: "/1".into(),
        }),
        ..Extension::default()
    })
    .unwrap();
    let answer = |text: &'static [u8]| extended.aside(text);
    assert_eq!(answer(b"{}"), Some(Aside::Ping(Some("{}"))));
    assert_eq!(answer(br#"{"push":{}}"#), None);
    assert_eq!(
        answer(br#"[null,"7","phoenix","phx_reply",{}]"#),
        Some(Aside::Answer(Some(7)))
    );
    assert_eq!(answer(br#"[null,null,"phoenix","phx_reply",{}]"#), None);
    assert_eq!(answer(br#"[null,"7","room","phx_reply",{}]"#), None);
    let mut out = Vec::new();
    assert!(extended.beat(7, &mut out));
    assert_eq!(out, br#"[null,"7","phoenix","heartbeat",{}]"#);
}

#[test]
fn a_backlog_is_read_as_far_as_it_is_sound() {
    let extended = Extended::new(&Extension {
        backlog: Some(Backlog {
            at: "/subscribe/publications".into(),
            sequence: "/offset".into(),
        }),
        ..Extension::default()
    })
    .unwrap();
    let table: [(&str, &[Option<u64>]); 7] = [
        (r#"{"id":1,"subscribe":{}}"#, &[]),
        (r#"{"subscribe":{"publications":[]}}"#, &[]),
        (r#"{"subscribe":{"publications":{"offset":1}}}"#, &[]),
        (
            r#"{"subscribe":{"publications":[{"data":1,"offset":4} , {"offset":5}]}}"#,
            &[Some(4), Some(5)],
        ),
        (r#"{"subscribe":{"publications":[{"data":"a"}]}}"#, &[None]),
        (r#"{"subscribe":{"publications":[{"offset":4},"#, &[]),
        (
            r#"{"subscribe":{"publications":[{"offset":4},,{}]}}"#,
            &[Some(4)],
        ),
    ];
    for (text, expected) in table {
        let numbers: Vec<_> = extended.backlog(text.as_bytes()).map(|(_, n)| n).collect();
        assert_eq!(numbers, expected, "{text}");
    }
}

#[test]
fn lines_are_texts() {
    let all: Vec<&[u8]> = lines(b"{}\n\n {\"a\":1}\r\n[]").collect();
    assert_eq!(all, [&b"{}"[..], b"{\"a\":1}", b"[]"]);
}
