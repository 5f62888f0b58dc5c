//! Coming back to a scripted service: what is said, and what the answers mean.

use crate::bench::{accept_with, failures, frame, read_frame, run, server};
use squall::metrics::{Counter, Totals};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the service heard, connection by connection.
type Heard = Arc<Mutex<Vec<Vec<String>>>>;

/// A service of one client, whose connections are served one after the other by `serve`, which gets the number.
fn counting(
    serve: impl Fn(usize, &mut Talk) + Send + Sync + Clone + 'static,
) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let (all, count) = (Arc::clone(&heard), Arc::new(AtomicUsize::new(0)));
    let address = server(move |mut stream: TcpStream| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let head = accept_with(&mut stream, "");
        let mut lines: Vec<String> = head.lines().take(1).map(str::to_owned).collect();
        lines.extend(
            head.lines()
                .filter(|line| line.starts_with("X-"))
                .map(str::to_owned),
        );
        all.lock().unwrap().push(lines);
        let heard = Arc::clone(&all);
        serve(
            number,
            &mut Talk {
                stream,
                number,
                heard,
            },
        );
    });
    (address, heard)
}

struct Talk {
    stream: TcpStream,
    number: usize,
    heard: Heard,
}

impl Talk {
    /// Hears a text, and notes it.
    fn hear(&mut self) -> String {
        let Some((1, text)) = read_frame(&mut self.stream) else {
            return String::new();
        };
        let text = String::from_utf8(text).unwrap();
        self.heard.lock().unwrap()[self.number].push(text.clone());
        text
    }

    fn say(&mut self, text: &str) {
        let _ = self.stream.write_all(&frame(1, text.as_bytes()));
    }

    fn close(&mut self, code: u16) {
        let _ = self.stream.write_all(&frame(8, &code.to_be_bytes()));
        // Its answer, so that it is not taken back by a reset.
        let _ = read_frame(&mut self.stream);
    }

    /// Stays until the client says goodbye, and notes what else it says.
    fn stay(&mut self) {
        while let Some((opcode, payload)) = read_frame(&mut self.stream) {
            if opcode == 8 {
                let _ = self.stream.write_all(&frame(8, &payload));
                return;
            }
            self.heard.lock().unwrap()[self.number].push(String::from_utf8(payload).unwrap());
        }
    }
}

fn counts<const N: usize>(totals: &Totals, counters: [Counter; N]) -> [u64; N] {
    counters.map(|counter| totals.count(counter, None, None))
}

const ABOUT: [Counter; 4] = [
    Counter::Opened,
    Counter::Reconnected,
    Counter::Resumed,
    Counter::StateLost,
];

#[test]
fn a_session_is_taken_up_again_until_the_service_has_lost_it() {
    let identify = |talk: &mut Talk, session: &str| {
        talk.hear();
        talk.say(&format!(r#"{{"op":"ready","session":"{session}"}}"#));
        // Its subscription: a socket that ends with bytes unread takes back what was said last.
        talk.hear();
    };
    let (address, heard) = counting(move |number, talk| match number {
        0 => {
            identify(talk, "a b");
            talk.say(r#"{"op":"data","s":6}"#);
            talk.say(r#"{"op":"data","s":7}"#);
        }
        1 => {
            talk.hear();
            talk.say(r#"{"op":"data","s":8}"#);
            talk.say(r#"{"op":"resumed"}"#);
        }
        2 => {
            talk.hear();
            talk.say(r#"{"op":"invalid"}"#);
            identify(talk, "c");
        }
        // Nothing is said of it.
        3 => {
            talk.hear();
            identify(talk, "d");
        }
        _ => {
            talk.hear();
            talk.say(r#"{"op":"invalid"}"#);
            identify(talk, "e");
            talk.stay();
        }
    });
    let totals = run(&format!(
        r#"
name: session
target: {{ url: "ws://{address}/live?v=1" }}
clients:
  one:
    count: 1
    on_open:
      - send: '{{"op":"identify"}}'
      - expect: {{ pointer: /op, equals: ready, capture: {{ session: /session }} }}
    protocol: {{ json_mapping: {{ subscribed: none }} }}
    subscribe: [news]
    reconnect:
      backoff: no_jitter
      base: 20ms
      resume:
        query: {{ sid: "{{session}}" }}
        headers: {{ X-Last: "{{last}}" }}
        first: '{{"op":"resume","session":"{{session}}","seq":{{last}}}}'
        last: /s
        recovered: {{ pointer: /op, equals: resumed }}
        lost: {{ pointer: /op, equals: invalid }}
        within: 300ms
phases: [{{ name: only, for: 2s }}]
generator: {{ drain: 200ms }}
"#
    ));
    let heard = heard.lock().unwrap();
    let subscribe = r#"{"type":"subscribe","topic":"news","id":1}"#;
    let identify = r#"{"op":"identify"}"#;
    let said = |number: usize, lines: &[&str]| {
        assert_eq!(heard[number], lines, "connection {number}");
    };
    said(0, &["GET /live?v=1 HTTP/1.1", identify, subscribe]);
    let named = |sid: &str, last: &str, session: &str| {
        [
            format!("GET /live?v=1&sid={sid} HTTP/1.1"),
            format!("X-Last: {last}"),
            format!(r#"{{"op":"resume","session":"{session}","seq":{last}}}"#),
        ]
    };
    let first = named("a%20b", "7", "a b");
    said(1, &[&first[0], &first[1], &first[2]]);
    let second = named("a%20b", "8", "a b");
    said(
        2,
        &[&second[0], &second[1], &second[2], identify, subscribe],
    );
    let third = named("c", "8", "c");
    said(3, &[&third[0], &third[1], &third[2], identify, subscribe]);
    let fourth = named("d", "8", "d");
    said(
        4,
        &[&fourth[0], &fourth[1], &fourth[2], identify, subscribe],
    );
    assert_eq!(counts(&totals, ABOUT), [5, 4, 1, 3]);
    assert_eq!(failures(&totals), BTreeMap::from([("eof", 4)]));
}

/// One greeting says whether the session is the old one, and is what a new one begins with.
#[test]
fn a_greeting_that_says_it_is_a_new_session_is_heard_twice() {
    let (address, heard) = counting(|number, talk| {
        let resumed = number == 1;
        talk.say(&format!(
            r#"{{"op":"welcome","session":"s{number}","resumed":{resumed}}}"#
        ));
        // The subscription of a session that is new.
        if number != 1 {
            talk.hear();
        }
        if number == 3 {
            talk.stay();
        }
    });
    let totals = run(&format!(
        r#"
name: greeting
target: {{ url: "ws://{address}/" }}
clients:
  one:
    count: 1
    on_open:
      - expect: {{ pointer: /op, equals: welcome, capture: {{ session: /session }} }}
    protocol: {{ json_mapping: {{ subscribed: none }} }}
    subscribe: ["{{session}}"]
    reconnect:
      backoff: no_jitter
      base: 20ms
      resume:
        query: {{ sid: "{{session}}" }}
        recovered: {{ pointer: /resumed, equals: true }}
        lost: {{ pointer: /resumed, equals: false }}
phases: [{{ name: only, for: 1s }}]
generator: {{ drain: 200ms }}
"#
    ));
    let subscribe = |topic: &str| format!(r#"{{"type":"subscribe","topic":"{topic}","id":1}}"#);
    let get = |query: &str| format!("GET /{query} HTTP/1.1");
    assert_eq!(
        *heard.lock().unwrap(),
        [
            vec![get(""), subscribe("s0")],
            vec![get("?sid=s0")],
            vec![get("?sid=s0"), subscribe("s2")],
            vec![get("?sid=s2"), subscribe("s3")],
        ]
    );
    assert_eq!(counts(&totals, ABOUT), [4, 3, 1, 2]);
}

/// Several topics, acknowledged without their names and in order; the second one's epoch is another after a while.
#[test]
fn each_topic_is_taken_up_where_it_was() {
    let (address, heard) = counting(|number, talk| {
        // First both subscriptions, then both answers.
        talk.hear();
        talk.hear();
        match number {
            0 => {
                talk.say(r#"{"ok":{"at":4,"epoch":"x"}}"#);
                talk.say(r#"{"ok":{"at":0,"epoch":"y"}}"#);
                for message in [
                    r#"{"ch":"a","n":5}"#,
                    r#"{"ch":"b","n":1}"#,
                    // Four is passed over, and so are the two before a reconnect.
                    r#"{"ch":"b","n":2}"#,
                    r#"{"ch":"b","n":4}"#,
                ] {
                    talk.say(message);
                }
            }
            1 => {
                talk.say(r#"{"ok":{"at":8,"epoch":"x","rec":true}}"#);
                talk.say(r#"{"ok":{"at":9,"epoch":"z","rec":false}}"#);
                // Six is not brought, whatever it said.
                for message in [
                    r#"{"ch":"a","n":7}"#,
                    r#"{"ch":"a","n":8}"#,
                    r#"{"ch":"b","n":10}"#,
                ] {
                    talk.say(message);
                }
            }
            _ => {
                talk.say(r#"{"ok":{"at":8,"epoch":"x","rec":true}}"#);
                talk.say(r#"{"ok":{"at":10,"epoch":"z","rec":true}}"#);
                talk.stay();
            }
        }
    });
    let totals = run(&format!(
        r#"
name: topics
target: {{ url: "ws://{address}/" }}
clients:
  one:
    count: 1
    subscribe: [a, b]
    protocol:
      json_mapping:
        subscribe: 'S {{topic}}'
        resubscribe: 'R {{topic}} {{seq}} {{epoch}}'
        subscribed: {{ when: {{ pointer: /ok }} }}
        recovered: /ok/rec
        epoch: /ok/epoch
        position: /ok/at
        type: ""
        message: ""
        error: ""
        topic: /ch
        sequence: /n
    reconnect: {{ backoff: no_jitter, base: 20ms, resume: true }}
phases: [{{ name: only, for: 1s }}]
generator: {{ drain: 200ms }}
"#
    ));
    let heard: Vec<Vec<String>> = heard
        .lock()
        .unwrap()
        .iter()
        .map(|c| c[1..].to_vec())
        .collect();
    assert_eq!(
        heard,
        [
            ["S a", "S b"],
            ["R a 5 x", "R b 4 y"],
            ["R a 8 x", "R b 10 z"]
        ]
    );
    assert_eq!(counts(&totals, ABOUT), [3, 2, 1, 1]);
    // Number three of b and number six of a; what went with a lost state is no gap.
    assert_eq!(counts(&totals, [Counter::ServiceGaps]), [2]);
}

/// Who is thrown out for asking, or not answered at all, does not ask for ever.
#[test]
fn a_resume_that_is_refused_is_not_asked_for_again() {
    let (address, heard) = counting(|number, talk| {
        let asked = talk.hear();
        let message = r#"{"type":"message","topic":"t","seq":4}"#;
        match number {
            0 | 2 => {
                talk.say(r#"{"type":"subscribed","topic":"t","seq":3,"epoch":"x"}"#);
                talk.say(message);
            }
            // Going away is no answer; the next one is.
            1 => talk.close(1001),
            3 if asked.contains("since") => talk.close(3010),
            _ => talk.stay(),
        }
    });
    let totals = run(&format!(
        "name: refused\ntarget: {{ url: \"ws://{address}/\", connect_timeout: 300ms }}\nclients:\n  one:\n    count: 1\n    \
         subscribe: [t]\n    reconnect: {{ backoff: no_jitter, base: 20ms, cap: 20ms, resume: true }}\n\
         phases: [{{ name: only, for: 1200ms }}]\ngenerator: {{ drain: 200ms }}\n"
    ));
    let asks: Vec<bool> = heard
        .lock()
        .unwrap()
        .iter()
        .map(|c| c[1].contains("since"))
        .collect();
    // The third has what the first had heard; the fourth what the third had. Those behind it are not answered.
    assert_eq!(&asks[..5], [false, true, true, true, false]);
    assert!(asks[5..].iter().all(|asked| !asked), "{asks:?}");
    let told = [Counter::Opened, Counter::Resumed, Counter::StateLost];
    // That of the third does not say that anything was recovered, and the fourth was thrown out.
    assert_eq!(counts(&totals, told), [2, 0, 2]);
}

#[test]
fn nor_is_a_session_that_was_refused_or_a_topic_that_nobody_answers_for() {
    let (address, heard) = counting(|number, talk| match number {
        0 => {
            talk.say(r#"{"op":"hello","s":1}"#);
            talk.hear();
        }
        1 => talk.close(4009),
        _ => {
            talk.say(r#"{"op":"hello","s":2}"#);
            talk.stay();
        }
    });
    let totals = run(&format!(
        "name: session\ntarget: {{ url: \"ws://{address}/\" }}\nclients:\n  one:\n    count: 1\n    on_open: [{{ expect: {{ pointer: /op }} }}]\n    \
         protocol: {{ json_mapping: {{ subscribed: none }} }}\n    subscribe: [t]\n    \
         reconnect: {{ backoff: no_jitter, base: 20ms, resume: {{ query: {{ at: '{{last}}' }}, last: /s, recovered: {{ contains: ok }} }} }}\n\
         phases: [{{ name: only, for: 1s }}]\ngenerator: {{ drain: 200ms }}\n"
    ));
    let asked: Vec<String> = heard.lock().unwrap().iter().map(|c| c[0].clone()).collect();
    let asked: Vec<&str> = asked
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(asked, ["/", "/?at=1", "/"]);
    assert_eq!(counts(&totals, ABOUT), [2, 1, 0, 1]);

    let (address, heard) = counting(|number, talk| {
        talk.hear();
        match number {
            0 => {
                talk.say(r#"{"type":"subscribed","topic":"t","seq":3,"epoch":"x"}"#);
            }
            1 => {
                // Silence, until the client has enough of it.
                talk.hear();
            }
            _ => {
                talk.say(r#"{"type":"subscribed","topic":"t","seq":9,"epoch":"x"}"#);
                talk.stay();
            }
        }
    });
    let totals = run(&format!(
        "name: silence\ntarget: {{ url: \"ws://{address}/\", connect_timeout: 300ms }}\nclients:\n  one:\n    count: 1\n    \
         subscribe: [t]\n    reconnect: {{ backoff: no_jitter, base: 20ms, resume: true }}\n\
         phases: [{{ name: only, for: 1s }}]\ngenerator: {{ drain: 200ms }}\n"
    ));
    let asks: Vec<bool> = heard
        .lock()
        .unwrap()
        .iter()
        .map(|c| c[1].contains("since"))
        .collect();
    assert_eq!(asks, [false, true, false]);
    assert_eq!(counts(&totals, ABOUT), [2, 1, 0, 1]);
}

/// Hostile acknowledgements: nothing panics, nothing grows, and what makes no sense is not resumed.
#[test]
fn nonsense_in_acknowledgements_is_survived() {
    let (address, heard) = counting(|number, talk| {
        talk.hear();
        match number {
            0 => {
                let epoch = "e".repeat(1000);
                talk.say(&format!(
                    r#"{{"type":"subscribed","seq":18446744073709551615,"epoch":"{epoch}"}}"#
                ));
            }
            1 => {
                talk.say(r#"{"type":"subscribed","topic":"other","seq":18446744073709551615,"epoch":{"a":[1]}}"#);
                talk.say(r#"{"type":"message","topic":"t","seq":18446744073709551615}"#);
                talk.say(r#"{"type":"message","topic":"t","seq":1}"#);
            }
            _ => {
                talk.say(r#"{"type":"subscribed","topic":"t","seq":-1,"epoch":null,"recovered":"maybe"}"#);
                talk.stay();
            }
        }
    });
    let totals = run(&format!(
        "name: nonsense\ntarget: {{ url: \"ws://{address}/\" }}\nclients:\n  one:\n    count: 1\n    subscribe: [t]\n    \
         reconnect: {{ backoff: no_jitter, base: 20ms, resume: true }}\n\
         phases: [{{ name: only, for: 1s }}]\ngenerator: {{ drain: 200ms }}\n"
    ));
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 3, "{heard:?}");
    assert!(
        heard[1][1].ends_with(r#""id":1}"#),
        "an epoch that is not kept is not sent: {heard:?}"
    );
    assert_eq!(
        counts(&totals, [Counter::Opened, Counter::Reconnected]),
        [3, 2]
    );
    let told: Vec<&str> = totals
        .samples()
        .filter(|(kind, _)| *kind == "resume")
        .map(|(_, text)| text)
        .collect();
    assert!(
        told.iter().any(|text| text.contains("longer than 128")),
        "{told:?}"
    );
}
