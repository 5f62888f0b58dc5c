//! Against a cluster of two brokers that is made here: what no single broker that can be had does.

use super::api;
use super::records::each;
use super::wire::{Put, Reader};
use super::*;
use crate::broker::{Config, Endpoint, Event, Login, Message, Publisher, Tag};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

/// What becomes of a produce.
#[derive(Clone, Copy)]
enum Act {
    Store,
    /// Its answer never comes: the connection is closed.
    StoreAndHangUp,
    Refuse(i16),
    /// Nothing comes of it: no answer ever, and the connection stays.
    Hang,
}

#[derive(Default)]
struct State {
    ports: Vec<u16>,
    /// What is stored in each of the two partitions of `t`, which each broker leads one of.
    logs: [Vec<String>; 2],
    /// The last batch of each: who it is of, the number of its first record.
    last: [Option<(i64, i32)>; 2],
    acts: VecDeque<Act>,
    password: Option<&'static str>,
    produces: usize,
}

type Shared = Rc<RefCell<State>>;

async fn cluster(state: State) -> Shared {
    let state = Rc::new(RefCell::new(state));
    for id in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        state.borrow_mut().ports.push(port);
        let state = Rc::clone(&state);
        spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                spawn_local(serve(stream, id, Rc::clone(&state)));
            }
        });
    }
    state
}

async fn serve(mut stream: TcpStream, id: i32, state: Shared) {
    while let Ok(length) = stream.read_i32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        let mut r = Reader(&request);
        let api = api::Api(r.i16().unwrap(), r.i16().unwrap());
        let correlation = r.i32().unwrap();
        assert_eq!(r.string().unwrap(), "squall");
        let mut body = Vec::new();
        body.i32(correlation);
        if !answer(api, &mut r, &mut body, id, &mut state.borrow_mut()) {
            return;
        }
        assert_eq!(r.0, b"", "all of {api:?} was understood");
        if body.len() > 4 {
            stream.write_i32(body.len() as i32).await.unwrap();
            stream.write_all(&body).await.unwrap();
        }
    }
}

/// Whether the connection goes on. Nothing in the body: nothing is answered.
fn answer(
    api: api::Api,
    r: &mut Reader<'_>,
    body: &mut Vec<u8>,
    id: i32,
    state: &mut State,
) -> bool {
    match api {
        api::API_VERSIONS => {
            body.i16(0);
            let spoken = [(0, 3), (1, 4), (2, 1), (3, 4), (17, 1), (22, 3), (36, 0)];
            body.count(spoken.len());
            for (key, version) in spoken {
                body.i16(key);
                body.i16(version - i16::from(version > 0));
                body.i16(version + 1);
            }
        }
        api::SASL_HANDSHAKE => {
            assert_eq!(r.string().unwrap(), "PLAIN");
            body.i16(0);
            body.count(1);
            body.string("PLAIN");
        }
        api::SASL_AUTHENTICATE => {
            let expected = format!("\0me\0{}", state.password.unwrap());
            let right = r.bytes().unwrap() == expected.as_bytes();
            body.i16(if right { 0 } else { 58 });
            body.string(if right { "" } else { "go away" });
            body.bytes(b"");
        }
        api::METADATA => {
            assert_eq!(r.list(Reader::string).unwrap(), ["t"]);
            r.i8().unwrap();
            body.i32(0);
            body.count(2);
            for (id, port) in (0..).zip(&state.ports) {
                body.i32(id);
                body.string("127.0.0.1");
                body.i32(i32::from(*port));
                body.i16(-1);
            }
            body.i16(-1);
            body.i32(0);
            body.count(1);
            body.i16(0);
            body.string("t");
            body.i8(0);
            body.count(2);
            for partition in 0..2 {
                body.i16(0);
                body.i32(partition);
                body.i32(partition);
                body.count(0);
                body.count(0);
            }
        }
        api::INIT_PRODUCER_ID => {
            // No tagged fields, before and behind.
            r.take(1 + 16).unwrap();
            body.i8(0);
            body.i32(0);
            body.i16(0);
            body.i64(7);
            body.i16(0);
            body.i8(0);
        }
        api::PRODUCE => return produce(r, body, id, state),
        other => panic!("{other:?} was not expected"),
    }
    true
}

fn produce(r: &mut Reader<'_>, body: &mut Vec<u8>, id: i32, state: &mut State) -> bool {
    assert_eq!(r.string().unwrap(), "");
    let acks = r.i16().unwrap();
    r.i32().unwrap();
    let act = state.acts.pop_front().unwrap_or(Act::Store);
    state.produces += 1;
    let topics = r.list(|r| {
        assert_eq!(r.string()?, "t");
        r.list(|r| Ok((r.i32()?, r.bytes()?)))
    });
    let batches = topics.unwrap().concat();
    let error = match act {
        Act::Refuse(error) => error,
        Act::Store | Act::StoreAndHangUp => 0,
        Act::Hang => {
            body.clear();
            return true;
        }
    };
    for (partition, batch) in batches.iter().filter(|_| error == 0) {
        assert_eq!(*partition, id, "only what it leads");
        let n = *partition as usize;
        let of = i64::from_be_bytes(batch[43..51].try_into().unwrap());
        let sequence = i32::from_be_bytes(batch[53..57].try_into().unwrap());
        if of >= 0 && state.last[n] == Some((of, sequence)) {
            continue;
        }
        if of >= 0 {
            assert_eq!(sequence as usize, state.logs[n].len(), "in order");
        }
        state.last[n] = Some((of, sequence));
        let log = &mut state.logs[n];
        each(batch, 0, |record| {
            log.push(String::from_utf8(record.value.to_vec()).unwrap());
        })
        .unwrap();
    }
    if matches!(act, Act::StoreAndHangUp) {
        return false;
    }
    if acks != 0 {
        body.count(1);
        body.string("t");
        body.count(batches.len());
        for (partition, _) in &batches {
            body.i32(*partition);
            body.i16(error);
            body.i64(0);
            body.i64(-1);
        }
        body.i32(0);
    }
    true
}

fn clock() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn config(state: &Shared, acks: Acks) -> KafkaConfig {
    let ports = state.borrow().ports.clone();
    let endpoints = ports.into_iter().map(|port| Endpoint {
        tls: false,
        host: "127.0.0.1".into(),
        port,
    });
    KafkaConfig {
        endpoints: endpoints.collect(),
        topics: vec!["t".into()],
        acks,
        linger: Duration::from_millis(1),
        batch: 120,
        ..KafkaConfig::default()
    }
}

struct Client {
    publisher: Publisher,
    heard: Rc<Notify>,
    events: Vec<Event>,
}

impl Client {
    fn start(config: KafkaConfig) -> Client {
        let heard = Rc::new(Notify::new());
        let config = Config::Kafka(Box::new(config));
        Client {
            publisher: Publisher::start(config, "x", 1 << 20, clock, Rc::clone(&heard)),
            heard,
            events: Vec::new(),
        }
    }

    /// Waits for this.
    async fn until(&mut self, done: impl Fn(&Client) -> bool) {
        let waiting = async {
            while !done(self) {
                self.heard.notified().await;
                self.events.extend(self.publisher.events());
            }
        };
        let patience = Duration::from_secs(20);
        timeout(patience, waiting).await.expect("it comes in time");
    }

    fn count(&self, of: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().filter(|event| of(event)).count()
    }

    fn push(&self, publisher: u32, key: Option<&str>, text: &str) {
        let message = Message {
            address: "t",
            key,
            publisher,
            id: "",
            payload: text.as_bytes(),
        };
        let tag = Tag {
            place: publisher,
            phase: 0,
            intended_ns: 1,
            sent_ns: 2,
        };
        self.publisher.push(&message, tag);
    }
}

async fn local(test: impl Future<Output = ()>) {
    LocalSet::new().run_until(test).await;
}

/// 40 messages of two publishers without keys, and what each partition must have of them in the end.
async fn forty(client: &mut Client) -> [Vec<String>; 2] {
    client.until(|c| c.publisher.takes()).await;
    let mut expected = [Vec::new(), Vec::new()];
    for n in 0..40_u32 {
        let text = format!("message-{n}");
        client.push(n % 2, None, &text);
        expected[n as usize % 2].push(text);
        tokio::task::yield_now().await;
    }
    client.until(|c| c.publisher.pending() == 0).await;
    client.events.extend(client.publisher.events());
    expected
}

#[tokio::test]
async fn what_is_lost_or_refused_on_the_way_is_there_once_and_in_order() {
    local(async {
        let acts = [
            Act::Store,
            Act::StoreAndHangUp,
            Act::Refuse(19),
            Act::Store,
            Act::Refuse(6),
            Act::StoreAndHangUp,
        ];
        let state = cluster(State {
            acts: acts.into(),
            ..State::default()
        });
        let state = state.await;
        let mut client = Client::start(config(&state, Acks::All));
        let expected = forty(&mut client).await;
        assert_eq!(state.borrow().logs, expected);
        assert_eq!(client.count(|e| matches!(e, Event::Taken(..))), 40);
        // Each but the refusal of the one partition ends a session.
        assert_eq!(client.count(|e| matches!(e, Event::Lost(..))), 3);
        assert!(client.count(|e| matches!(e, Event::Rejected(..))) > 0);
        assert!(client.count(|e| matches!(e, Event::Again(n) if *n > 0)) >= 3);
    })
    .await;
}

/// Takes the five seconds for which a leader may be silent: they are measured by the clock of the machine, as the brokers are real
/// sockets.
#[tokio::test]
async fn a_leader_that_hangs_is_noticed_while_the_other_answers() {
    local(async {
        let state = cluster(State {
            acts: [Act::Hang].into(),
            ..State::default()
        })
        .await;
        let mut client = Client::start(config(&state, Acks::All));
        client.until(|c| c.publisher.takes()).await;
        // The first produce is the hanging one's.
        client.push(0, None, "held up");
        while state.borrow().produces == 0 {
            tokio::task::yield_now().await;
        }
        let lost = |c: &Client| c.count(|event| matches!(event, Event::Lost(..)));
        let mut expected = Vec::new();
        while lost(&client) == 0 {
            assert!(expected.len() < 400, "20 s, and nobody noticed");
            let text = format!("message-{}", expected.len());
            client.push(1, None, &text);
            expected.push(text);
            let all = expected.len();
            client
                .until(|c| state.borrow().logs[1].len() == all || lost(c) > 0)
                .await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            client.events.extend(client.publisher.events());
        }
        // All along the other one confirmed.
        assert!(expected.len() > 10, "{}", expected.len());
        client.until(|c| c.publisher.pending() == 0).await;
        assert_eq!(state.borrow().logs, [vec!["held up".to_owned()], expected]);
    })
    .await;
}

#[tokio::test]
async fn without_a_name_what_was_stored_before_a_loss_comes_twice_and_nothing_is_missing() {
    local(async {
        let state = cluster(State {
            acts: [Act::StoreAndHangUp].into(),
            ..State::default()
        });
        let state = state.await;
        let mut client = Client::start(config(&state, Acks::Leader));
        let expected = forty(&mut client).await;
        let logs = state.borrow().logs.clone();
        assert!(logs[0].len() + logs[1].len() > 40);
        for (mut log, expected) in logs.into_iter().zip(expected) {
            // Once more from where it was: the first of each are in order.
            log.sort_by_key(|text| text["message-".len()..].parse::<u32>().unwrap());
            log.dedup();
            assert_eq!(log, expected);
        }
        assert_eq!(client.count(|e| matches!(e, Event::Taken(..))), 40);
    })
    .await;
}

#[tokio::test]
async fn a_produce_without_an_answer_is_confirmed_by_the_question_behind_it() {
    local(async {
        let state = cluster(State::default()).await;
        let mut client = Client::start(config(&state, Acks::None));
        let expected = forty(&mut client).await;
        assert_eq!(state.borrow().logs, expected);
        assert_eq!(client.count(|e| matches!(e, Event::Taken(..))), 40);
    })
    .await;
}

#[tokio::test]
async fn a_batch_is_as_long_as_it_may_be_and_a_key_has_one_partition() {
    local(async {
        let state = cluster(State::default()).await;
        let config = KafkaConfig {
            batch: 1 << 20,
            linger: Duration::from_millis(200),
            ..config(&state, Acks::All)
        };
        let mut client = Client::start(config);
        client.until(|c| c.publisher.takes()).await;
        for n in 0..30 {
            client.push(n, Some("room"), &n.to_string());
        }
        client.until(|c| c.publisher.pending() == 0).await;
        let state = state.borrow();
        assert_eq!(state.produces, 1);
        let place = super::records::partition(b"room", 2);
        assert_eq!(
            (state.logs[place].len(), state.logs[1 - place].len()),
            (30, 0)
        );
    })
    .await;
}

#[tokio::test]
async fn a_password_is_shown_and_a_wrong_one_is_refused() {
    local(async {
        let state = cluster(State {
            password: Some("s3cret"),
            ..State::default()
        });
        let state = state.await;
        let with = |password: &str| KafkaConfig {
            login: Login::Password("me".into(), password.into()),
            ..config(&state, Acks::All)
        };
        let mut client = Client::start(with("s3cret"));
        client.until(|c| c.publisher.takes()).await;
        let mut client = Client::start(with("other"));
        let refused = |event: &Event| match event {
            Event::Failed(why) => why.to_string() == "the broker refused: go away",
            _ => false,
        };
        client.until(|c| c.count(refused) > 0).await;
        assert!(!client.publisher.takes());
    })
    .await;
}
