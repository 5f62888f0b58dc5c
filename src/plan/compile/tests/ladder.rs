//! Several transports, and the rules by which one follows another.

use super::*;
use crate::plan::{Climb, Ladder, StepDown};

fn sub(sub: &str) -> String {
    format!("{{clients: {{sub: {sub}}}}}")
}

fn ladder(patch: &str) -> Ladder {
    match &compiled(&sub(patch)).plan.groups()[0].transport {
        Transport::Ladder(ladder) => (**ladder).clone(),
        other => panic!("{patch}: {other:?}"),
    }
}

#[test]
fn a_list_is_tried_in_order_by_rules_that_have_defaults() {
    let plain = ladder("{transport: [websocket, sse, long_poll]}");
    assert!(matches!(
        &plain.rungs[..],
        [Transport::WebSocket, Transport::Http(sse), Transport::Http(poll)]
            if sse.poll.is_none() && poll.poll.is_some() && sse.keep_trying
    ));
    use StepDown as S;
    assert_eq!(plain.when, [S::Refused, S::Timeout, S::Silent]);
    assert_eq!(
        (&plain.statuses, plain.within, plain.silence),
        (&None, None, None)
    );
    assert_eq!((plain.tries, plain.climb), (1, Climb::Reconnect));
    assert_eq!(plain.position.write(7, "e"), "e:7");

    let all = ladder(
        "{transport: [{sse: {path: '/s/{topic}'}}, websocket], reconnect: {}, fallback: {
            when: [unreachable], statuses: [403, 503], within: 2s, silence: 3s, tries: 4, climb: {after: 1m}, position: 'n{seq}'}}",
    );
    assert!(matches!(
        &all.rungs[..],
        [Transport::Http(_), Transport::WebSocket]
    ));
    assert_eq!(all.when, [S::Unreachable]);
    assert_eq!(all.statuses, Some(vec![403, 503]));
    let seconds = |s| Some(Duration::from_secs(s));
    assert_eq!((all.within, all.silence), (seconds(2), seconds(3)));
    let after = Climb::After(Duration::from_secs(60));
    assert_eq!((all.tries, all.climb), (4, after));
    assert_eq!(all.position.write(7, "e"), "n7");
    // A list of one is that one.
    let one = compiled(&sub("{transport: [sse]}"));
    assert!(matches!(one.plan.groups()[0].transport, Transport::Http(_)));
}

#[test]
fn what_makes_no_sense_is_said() {
    let list = "transport: [websocket, sse]";
    let cases = [
        ("transport: []", "transport", "an empty list"),
        (
            "transport: [websocket, sse, websocket]",
            "transport[2]",
            "tried twice",
        ),
        ("fallback: {}", "fallback", "nothing to fall back to"),
        (
            "transport: [sse], fallback: {tries: 1}",
            "fallback",
            "one transport",
        ),
        (
            "LIST, fallback: {when: []}",
            "fallback.when",
            "nothing leads",
        ),
        (
            "LIST, fallback: {statuses: [403, 99]}",
            "fallback.statuses[1]",
            "from 200 to 599",
        ),
        ("LIST, fallback: {within: 0s}", "fallback.within", "more"),
        ("LIST, fallback: {silence: 0s}", "fallback.silence", "more"),
        (
            "LIST, fallback: {climb: {after: 0s}}",
            "fallback.climb.after",
            "more",
        ),
        (
            "transport: [websocket, long_poll], fallback: {silence: 1s}",
            "fallback.silence",
            "only an event stream",
        ),
        ("LIST, fallback: {tries: 0}", "fallback.tries", "more"),
        (
            "LIST, fallback: {tries: 2}",
            "fallback.tries",
            "which the group lacks",
        ),
        (
            "LIST, reconnect: {}, fallback: {tries: 1k}",
            "fallback.tries",
            "255",
        ),
        (
            "LIST, fallback: {position: '{epoch}{seq}'}",
            "fallback.position",
            "a text between",
        ),
        (
            "transport: [websocket, {sse: {path: x}}]",
            "transport[1].sse.path",
            "begins with `/`",
        ),
        ("LIST, protocol: mqtt", "protocol", "WebSocket only"),
        ("LIST, request: {rate: 1/s}", "request", "over `sse`"),
        (
            "LIST, on_open: [{send: x}]",
            "on_open[0]",
            "nothing can be said",
        ),
    ];
    for (patch, path, said) in cases {
        let patch = sub(&format!("{{{}}}", patch.replace("LIST", list)));
        let path = format!("clients.sub.{path}");
        one_problem(Level::Error, &[(&patch, &path, said)]);
    }
    // Its pings are the WebSocket's.
    let beat = "heartbeat: {every: 1s, timeout: 1s}";
    assert_eq!(found(&sub(&format!("{{{list}, {beat}}}"))), []);
    let over_http = sub(&format!("{{transport: [sse, long_poll], {beat}}}"));
    one_problem(
        Level::Error,
        &[(&over_http, "clients.sub.heartbeat", "no pings")],
    );
    let several = sub(&format!(
        "{{{list}, subscribe: [a, b], reconnect: {{resume: true}}}}"
    ));
    let warned = found(&several);
    let warned = warned
        .iter()
        .find(|problem| problem.path == "clients.sub.reconnect.resume");
    assert!(warned.is_some_and(|problem| problem.message.contains("only with one topic")));
}

#[test]
fn how_a_group_resumes_follows_from_what_it_has() {
    for (transport, by_topic) in [
        ("[websocket, sse]", true),
        ("[sse, websocket]", true),
        ("[sse, long_poll]", false),
    ] {
        let group = sub(&format!(
            "{{transport: {transport}, reconnect: {{resume: true}}}}"
        ));
        let resume = compiled(&group).plan.groups()[0].resume.clone();
        let found = match resume {
            Some(Resume::Topics) => true,
            Some(Resume::Protocol) => false,
            other => panic!("{transport}: {other:?}"),
        };
        assert_eq!(found, by_topic, "{transport}");
    }
}
