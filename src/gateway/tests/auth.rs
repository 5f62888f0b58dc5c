//! Tokens at the gateway: which are good, where they may stand, and what happens when they expire.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::protocol::{JwtAlgorithm, JwtSigner};

const SECRET: &str = "s3cret";

fn config(auth: Auth) -> Config {
    Config {
        auth: Some(Auth {
            jwt_secret: SECRET.into(),
            ..auth
        }),
        ..brief()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a token's `exp` is in the time of the wall clock"
)]
/// A token by this secret that expires so many seconds from now.
fn token(secret: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let exp = now.as_secs().saturating_add_signed(seconds);
    let signer = JwtSigner::new(JwtAlgorithm::Hs256, secret.as_bytes(), None).unwrap();
    signer.sign(&format!(r#"{{"exp":{exp}}}"#))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_is_good_in_each_place_and_a_bad_one_in_none() {
    let gateway = Gateway::start(config(Auth::default())).await;
    let forever = JwtSigner::new(JwtAlgorithm::Hs256, SECRET.as_bytes(), None).unwrap();
    for (token, expected) in [
        (token(SECRET, 60), 101),
        (forever.sign("{}"), 101),
        (token(SECRET, -1), 401),
        (token("another", 60), 401),
        ("nonsense".into(), 401),
        (String::new(), 401),
    ] {
        let bearer = format!("Bearer {token}");
        let cookie = format!("a=b; token={token}");
        let offered = format!("bearer.{token}");
        let places = [
            gateway.status("/ws", &[("Authorization", &bearer)]).await,
            gateway.status(&format!("/ws?token={token}"), &[]).await,
            gateway
                .status(&format!("/ws?access_token={token}"), &[])
                .await,
            gateway.status("/ws", &[("Cookie", &cookie)]).await,
        ];
        assert_eq!(places, [expected; 4], "{token}");
        // tungstenite wants one of those that it offered to be taken; a token is not.
        let headers = [("Sec-WebSocket-Protocol", offered.as_str())];
        let answer = gateway.try_connect("/ws", &headers).await;
        let refused = matches!(&answer, Err(Error::Http(response)) if response.status() == 401);
        assert_eq!(refused, expected == 401, "{answer:?}");
        if answer.is_ok() {
            panic!("the token was taken for a subprotocol");
        }
    }
    assert_eq!(gateway.status("/ws", &[]).await, 401);
    drop(gateway.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_closes_and_a_new_one_in_time_does_not() {
    let auth = Auth {
        close_expired: 4003,
        ask_before: Some(Duration::from_secs(60)),
        ..Auth::default()
    };
    let gateway = Gateway::start(config(auth)).await;
    let path = format!("/ws?token={}", token(SECRET, 3));
    let mut expiring = gateway.try_connect(&path, &[]).await.unwrap();
    let mut renewed = gateway.try_connect(&path, &[]).await.unwrap();
    // What is left is less than the time before which it asks.
    for client in [&mut expiring, &mut renewed] {
        assert_eq!(next_json(client).await["type"], "token_expires");
    }
    let bad = token("another", 60);
    send(&mut renewed, json!({"type": "auth", "token": bad, "id": 1})).await;
    let answer = next_json(&mut renewed).await;
    assert_eq!(
        (&answer["type"], &answer["code"], &answer["id"]),
        (&json!("error"), &json!("bad_token"), &json!(1))
    );
    assert!(!answer.to_string().contains(&bad));
    let good = token(SECRET, 600);
    send(
        &mut renewed,
        json!({"type": "auth", "token": good, "id": 2}),
    )
    .await;
    assert_eq!(
        next_json(&mut renewed).await,
        json!({"type": "authenticated", "id": 2})
    );
    assert_eq!(closed(&mut expiring).await, Some(4003));
    // The other one's old token has expired at the same moment.
    send(&mut renewed, json!({"type": "echo", "id": 3})).await;
    assert_eq!(next_json(&mut renewed).await["id"], 3);
    let stats = gateway.stop().await;
    assert_eq!(stats.closed_by_code[&4003], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_message_shows_a_token_or_is_the_last() {
    let gateway = Gateway::start(config(Auth {
        by_message: true,
        ..Auth::default()
    }))
    .await;
    let mut good = gateway.connect().await;
    send(
        &mut good,
        json!({"type": "auth", "token": token(SECRET, 60)}),
    )
    .await;
    assert_eq!(next_json(&mut good).await["type"], "authenticated");
    subscribe(&mut good, "a").await;
    for first in [
        json!({"type": "subscribe", "topic": "a"}),
        json!({"type": "auth", "token": token("another", 60)}),
    ] {
        let mut bad = gateway.connect().await;
        send(&mut bad, first).await;
        assert_eq!(next_json(&mut bad).await["type"], "error");
        assert_eq!(closed(&mut bad).await, Some(4401));
    }
    // A wrong one in the upgrade is no none.
    assert_eq!(gateway.status("/ws?token=wrong", &[]).await, 401);
    drop(gateway.stop().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_keeps_expired_ones_keeps_them() {
    let mut config = config(Auth::default());
    config.misbehave.keep_expired = true;
    let gateway = Gateway::start(config).await;
    let path = format!("/ws?token={}", token(SECRET, 2));
    let mut kept = gateway.try_connect(&path, &[]).await.unwrap();
    // Once the token is not good for anybody else any more, it has expired.
    within(async {
        while gateway.status(&path, &[]).await == 101 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    send(&mut kept, json!({"type": "echo", "id": 1})).await;
    assert_eq!(next_json(&mut kept).await["id"], 1);
    drop(gateway.stop().await);
}

/// Has a token revoked, as whoever has it may.
async fn revoke(gateway: &Gateway, token: &str) -> String {
    let length = token.len();
    let request =
        format!("POST /revoke HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n{token}");
    gateway.http(&request).await
}

/// All that comes of a request until the connection ends.
async fn streamed(gateway: &Gateway, path: &str, token: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {token}\r\n\r\n");
    gateway.http(&request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_ends_whatever_is_spoken() {
    let gateway = Gateway::start(config(Auth::default())).await;
    let token = token(SECRET, 3);
    let mut stomp = gateway
        .try_connect("/ws", &[("Sec-WebSocket-Protocol", "v12.stomp")])
        .await
        .unwrap();
    let greeting = format!("CONNECT\naccept-version:1.2\npasscode:{token}\n\n\0");
    send_text(&mut stomp, &greeting).await;
    let welcome = next(&mut stomp).await.into_text().unwrap();
    assert!(welcome.starts_with("CONNECTED"), "{welcome}");
    let (stream, poll) = tokio::join!(
        streamed(&gateway, "/events?topic=t", &token),
        streamed(&gateway, "/poll?topic=t", &token)
    );
    assert!(stream.starts_with("HTTP/1.1 200") && stream.ends_with("0\r\n\r\n"));
    assert!(poll.starts_with("HTTP/1.1 204"), "{poll}");
    assert_eq!(closed(&mut stomp).await, Some(4401));
    assert_eq!(gateway.stop().await.closed_by_code[&4401], 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_good_for_nobody_and_those_who_have_shown_it_are_closed() {
    let gateway = Gateway::start(config(Auth::default())).await;
    let signer = JwtSigner::new(JwtAlgorithm::Hs256, SECRET.as_bytes(), None).unwrap();
    let [bad, good] = ["{\"jti\":\"1\"}", "{\"jti\":\"2\"}"].map(|claims| signer.sign(claims));
    let path = |token: &str| format!("/ws?token={token}");
    let mut revoked = gateway.try_connect(&path(&bad), &[]).await.unwrap();
    let mut renewed = gateway.try_connect(&path(&bad), &[]).await.unwrap();
    let mut other = gateway.try_connect(&path(&good), &[]).await.unwrap();
    send(&mut renewed, json!({"type": "auth", "token": good})).await;
    assert_eq!(next_json(&mut renewed).await["type"], "authenticated");
    let stream = streamed(&gateway, "/events?topic=t", &bad);
    let revoke = async {
        within(async {
            while gateway.stats().await.open < 4 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        revoke(&gateway, &bad).await
    };
    let (stream, answer) = tokio::join!(stream, revoke);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(stream.ends_with("0\r\n\r\n"), "{stream}");
    assert_eq!(closed(&mut revoked).await, Some(4403));
    assert_eq!(gateway.status(&path(&bad), &[]).await, 401);
    assert_eq!(gateway.status(&path(&good), &[]).await, 101);
    // Neither whoever has another by now nor whoever always had is concerned; nor is what was revoked taken again.
    for client in [&mut renewed, &mut other] {
        send(client, json!({"type": "auth", "token": bad})).await;
        assert_eq!(next_json(client).await["code"], "bad_token");
    }
    let mut stomp = gateway
        .try_connect("/ws", &[("Sec-WebSocket-Protocol", "v12.stomp")])
        .await
        .unwrap();
    let greeting = format!("CONNECT\naccept-version:1.2\npasscode:{bad}\n\n\0");
    send_text(&mut stomp, &greeting).await;
    assert_eq!(closed(&mut stomp).await, Some(4403));
    assert_eq!(gateway.stop().await.closed_by_code[&4403], 3);
}
