//! The target: addresses taken apart, limits, TLS.

use super::{Problems, consume, each};
use crate::scenario::model::{self, Embedded, Target, Tls};
use crate::scenario::{Files, Problem};
use crate::transport::{Endpoint, Pick, Proxy, TargetConfig, TlsConfig};
use base64::Engine as _;
use std::time::Duration;

/// Path of the embedded gateway's WebSocket.
const EMBEDDED_PATH: &str = "/ws";

/// Most nodes of the embedded gateway.
const MAX_NODES: u16 = 1024;

/// Most addresses: which one a connection is at is two bytes.
const MAX_ENDPOINTS: usize = u16::MAX as usize;

/// The target, and what of its addresses belongs into each group's upgrade request.
pub(super) struct Compiled {
    pub config: TargetConfig,
    /// By endpoint: path and query as written (templated), and where.
    pub paths: Vec<(String, String)>,
    /// `Basic …`, from user and password in the address.
    pub authorization: Option<String>,
}

/// An address taken apart.
struct Address {
    endpoint: Endpoint,
    path: String,
    authorization: Option<String>,
}

pub(super) fn compile(target: &Target, files: &Files, problems: &mut Problems) -> Compiled {
    let mut endpoints = Vec::new();
    let mut paths = Vec::new();
    let mut authorization: Option<Option<String>> = None;
    match (&target.url, &target.embedded) {
        (Some(_), Some(_)) => {
            problems.add(
                Problem::error("target", "`url` and `embedded` exclude each other")
                    .help("keep one of them"),
            );
        }
        (None, None) => problems.add(
            Problem::error("target", "there is neither `url` nor `embedded`")
                .help("give the service's ws:// or wss:// address as `url`"),
        ),
        _ => {}
    }
    if let Some(url) = &target.url {
        let urls = each(url, "target.url");
        if urls.is_empty() {
            problems.add(Problem::error(
                "target.url",
                "the list of addresses is empty",
            ));
        }
        for (path, url) in urls {
            match address(url) {
                Ok(address) => {
                    if *authorization.get_or_insert_with(|| address.authorization.clone())
                        != address.authorization
                    {
                        problems.add(
                            Problem::error(&path, "the addresses name different users")
                                .help("use `target.headers` with an Authorization from `vars`"),
                        );
                    }
                    endpoints.push(address.endpoint);
                    paths.push((address.path, path));
                }
                Err((message, help)) => problems.add(Problem::error(&path, message).help(help)),
            }
        }
    }
    if let Some(embedded) = &target.embedded {
        knobs(embedded, problems);
        if target.url.is_none() {
            // Its ports are known once it runs; whoever starts it aims the plan.
            let endpoint = Endpoint {
                tls: embedded.tls,
                host: "127.0.0.1".into(),
                port: 0,
            };
            endpoints.resize(usize::from(ports(embedded)), endpoint);
            // One path stands for all.
            paths.push((EMBEDDED_PATH.into(), "target.embedded".into()));
        }
    }
    if endpoints.len() > MAX_ENDPOINTS {
        let message = format!(
            "{} addresses are more than {MAX_ENDPOINTS}",
            endpoints.len()
        );
        problems.add(Problem::error("target.url", message));
    }
    if target.pick == model::Pick::Failover && endpoints.len() == 1 {
        let message = "there is one address, so there is none to fail over to";
        problems.add(Problem::warning("target.pick", message).help("list more under `url`"));
    }
    let secure = endpoints.iter().any(|e| e.tls);
    let config = TargetConfig {
        subprotocols: subprotocols(&target.subprotocols, problems),
        tls: tls(
            "target",
            "wss://",
            target.tls.as_ref(),
            secure || endpoints.is_empty(),
            files,
            problems,
        ),
        endpoints,
        proxy: target.proxy.as_deref().and_then(|url| proxy(url, problems)),
        follow_redirects: follow_redirects(target.follow_redirects, problems),
        pick: match target.pick {
            model::Pick::Spread => Pick::Spread,
            model::Pick::Failover => Pick::Failover,
        },
        connect_timeout: time(target.connect_timeout, 10, "connect_timeout", problems),
        close_timeout: time(target.close_timeout, 5, "close_timeout", problems),
        max_message: size(target.max_message, 1 << 20, "max_message", problems),
        max_header: size(target.max_header, 16 << 10, "max_header", problems),
        max_queue: size(target.max_queue, 1 << 20, "max_queue", problems),
    };
    Compiled {
        config,
        paths,
        authorization: authorization.flatten(),
    }
}

/// Takes a proxy's address apart. As of the target's, nothing of it is repeated.
fn proxy(url: &str, problems: &mut Problems) -> Option<Proxy> {
    let mut refuse = |message: &str, help: &str| {
        problems.add(Problem::error("target.proxy", message).help(help));
        None
    };
    const FORM: &str = "write it as http://host:port, or http://user:password@host:port";
    let Some((scheme, rest)) = url.split_once("://") else {
        return refuse("the proxy's address has no scheme", FORM);
    };
    if !scheme.eq_ignore_ascii_case("http") {
        return refuse("proxies are spoken to by `http` only", FORM);
    }
    match address(&format!("ws://{rest}")) {
        Err((message, _)) => refuse(&message, FORM),
        Ok(address) if address.path != "/" => refuse("a proxy's address has no path", FORM),
        Ok(address) => Some(Proxy {
            host: address.endpoint.host,
            port: address.endpoint.port,
            authorization: address.authorization,
        }),
    }
}

/// More redirects in a row than browsers follow are a mistake.
const MOST_REDIRECTS: u8 = 20;

fn follow_redirects(given: Option<u8>, problems: &mut Problems) -> u8 {
    let follow = given.unwrap_or(0);
    if follow > MOST_REDIRECTS {
        let message = format!("more than {MOST_REDIRECTS} redirects in a row are not followed");
        problems.add(Problem::error("target.follow_redirects", message));
    }
    follow
}

fn time(
    given: Option<crate::scenario::units::Duration>,
    default: u64,
    key: &str,
    problems: &mut Problems,
) -> Duration {
    let value = given.map_or(Duration::from_secs(default), |d| d.0);
    problems.zero(value.is_zero(), format!("target.{key}"), "a timeout");
    value
}

fn size(
    given: Option<crate::scenario::units::ByteSize>,
    default: u64,
    key: &str,
    problems: &mut Problems,
) -> usize {
    let value = given.map_or(default, |s| s.0);
    problems.zero(value == 0, format!("target.{key}"), "a limit");
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Takes an address apart. Errors are (what is wrong, what to do), and never repeat the address: it may
/// hold a secret.
fn address(text: &str) -> Result<Address, (String, String)> {
    let fail = |message: &str, help: &str| Err((message.to_owned(), help.to_owned()));
    let Some((scheme, rest)) = text.split_once("://") else {
        return fail("the address has no scheme", "begin it with ws:// or wss://");
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "ws" => false,
        "wss" => true,
        "http" => return fail("`http` is not a WebSocket scheme", "use ws://"),
        "https" => return fail("`https` is not a WebSocket scheme", "use wss://"),
        _ => {
            return fail(
                "the scheme is neither `ws` nor `wss`",
                "begin the address with ws:// or wss://",
            );
        }
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if path.contains('#') {
        return fail(
            "a WebSocket address has no fragment (RFC 6455, section 3)",
            "remove it, or write `%23` for a `#` in the path",
        );
    }
    if authority.contains(['{', '}']) {
        return fail(
            "placeholders cannot be used before the path",
            "list the addresses, or use vars in path and query",
        );
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if host.is_empty() {
        return fail("the address has no host", "write it as ws://host:port/path");
    }
    // The `ws` schemes have special host rules in the URL standard (IDNA, ports), which the crate knows.
    let Ok(url) = url::Url::parse(&format!("{}://{host}/", if tls { "wss" } else { "ws" })) else {
        return fail(
            "host or port of the address cannot be read",
            "write it as ws://host:port/path",
        );
    };
    let Some(host) = url.host_str() else {
        return fail("the address has no host", "write it as ws://host:port/path");
    };
    let port = url
        .port_or_known_default()
        .unwrap_or(if tls { 443 } else { 80 });
    if port == 0 {
        return fail(
            "port 0 cannot be connected to",
            "write the port that the service listens on",
        );
    }
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    if path.chars().any(char::is_control) {
        return fail(
            "the path holds a control character",
            "write it percent-encoded",
        );
    }
    let authorization = user.map(|user| {
        let (name, password) = user.split_once(':').unwrap_or((user, ""));
        let pair = [
            &percent_decode(name)[..],
            b":",
            &percent_decode(password)[..],
        ]
        .concat();
        format!(
            "Basic {}",
            base64::engine::general_purpose::STANDARD.encode(pair)
        )
    });
    Ok(Address {
        endpoint: Endpoint { tls, host, port },
        path,
        authorization,
    })
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).and_then(|b| (*b as char).to_digit(16));
    let mut out = Vec::new();
    let mut i = 0;
    while i < bytes.len() {
        match (bytes[i], digit(i + 1), digit(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                i += 3;
            }
            (byte, ..) => {
                out.push(byte);
                i += 1;
            }
        }
    }
    out
}

fn subprotocols(offered: &[String], problems: &mut Problems) -> Vec<String> {
    for (i, name) in offered.iter().enumerate() {
        let path = format!("target.subprotocols[{i}]");
        if !is_token(name) {
            problems.add(Problem::error(
                path,
                "a subprotocol is a word of letters, digits and !#$%&'*+-.^_`|~",
            ));
        } else if offered[..i].contains(name) {
            problems.add(Problem::error(
                path,
                "this subprotocol is offered twice (RFC 6455, section 4.1)",
            ));
        }
    }
    offered.to_vec()
}

/// An HTTP token (RFC 9110, section 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// TLS settings, which stand in `at`; `scheme` is what begins an address that they are for.
pub(super) fn tls(
    at: &str,
    scheme: &str,
    tls: Option<&Tls>,
    secure: bool,
    files: &Files,
    problems: &mut Problems,
) -> TlsConfig {
    let Some(tls) = tls else {
        return TlsConfig::default();
    };
    if !secure {
        problems.add(
            Problem::warning(
                format!("{at}.tls"),
                format!("no address is `{scheme}`, so this has no effect"),
            )
            .on_key(),
        );
    }
    if tls.insecure {
        problems.add(
            Problem::warning(
                format!("{at}.tls.insecure"),
                "certificates are not verified; anyone could answer",
            )
            .help("for a private authority give its certificate as `ca`"),
        );
        if tls.ca.is_some() {
            problems.add(Problem::warning(
                format!("{at}.tls.ca"),
                "`insecure` makes this have no effect",
            ));
        }
    }
    if tls
        .server_name
        .as_ref()
        .is_some_and(|name| url::Host::parse(name).is_err())
    {
        problems.add(Problem::error(
            format!("{at}.tls.server_name"),
            "this is not a host name",
        ));
    }
    let mut pem = |key: &str, path: &Option<String>, label: &str| {
        let path = path.as_ref()?;
        // A file that could not be read was reported when the scenario was loaded.
        let contents = files.get(path)?;
        if memchr::memmem::find(contents, format!("{label}-----").as_bytes()).is_none() {
            problems.add(Problem::error(
                format!("{at}.tls.{key}"),
                format!("the file holds no PEM `{label}`"),
            ));
        }
        Some(contents.to_vec())
    };
    let ca = pem("ca", &tls.ca, "CERTIFICATE");
    let cert = pem("cert", &tls.cert, "CERTIFICATE");
    let key = pem("key", &tls.key, "PRIVATE KEY");
    if tls.cert.is_some() != tls.key.is_some() {
        let (has, lacks) = if tls.cert.is_some() {
            ("cert", "key")
        } else {
            ("key", "cert")
        };
        problems.add(Problem::error(
            format!("{at}.tls.{has}"),
            format!("`{has}` needs `{lacks}` beside it"),
        ));
    }
    TlsConfig {
        ca,
        client: cert.zip(key),
        server_name: tls.server_name.clone(),
        insecure: tls.insecure,
    }
}

/// Nodes of the embedded gateway.
pub(super) fn nodes(embedded: &Embedded) -> u16 {
    embedded.nodes.unwrap_or(1).clamp(1, MAX_NODES)
}

/// Addresses of the embedded gateway: one for each node, unless they share it.
pub(super) fn ports(embedded: &Embedded) -> u16 {
    match embedded.one_port {
        true => 1,
        false => nodes(embedded),
    }
}

/// Settings of the embedded gateway that could not mean anything.
fn knobs(embedded: &Embedded, problems: &mut Problems) {
    let path = "target.embedded";
    if embedded
        .nodes
        .is_some_and(|nodes| !(1..=MAX_NODES).contains(&nodes))
    {
        problems.add(Problem::error(
            format!("{path}.nodes"),
            format!("a gateway has from 1 to {MAX_NODES} nodes"),
        ));
    }
    if embedded.one_port && nodes(embedded) == 1 {
        problems.add(Problem::warning(
            format!("{path}.one_port"),
            "with one node this has no effect",
        ));
    }
    consume::compile(embedded, problems);
    problems.zero(
        embedded.queue == Some(0),
        format!("{path}.queue"),
        "a queue",
    );
    for (size, key, what) in [
        (embedded.buffer_limit, "buffer_limit", "a limit"),
        (embedded.send_buffer, "send_buffer", "a buffer"),
    ] {
        problems.zero(
            size.is_some_and(|s| s.0 == 0),
            format!("{path}.{key}"),
            what,
        );
    }
    problems.zero(
        embedded.max_message.is_some_and(|s| s.0 == 0),
        format!("{path}.max_message"),
        "a limit",
    );
    problems.zero(
        embedded.rate_limit.is_some_and(|r| r.0 <= 0.0),
        format!("{path}.rate_limit"),
        "a rate",
    );
    problems.zero(
        embedded.accept_rate.is_some_and(|r| r.0 <= 0.0),
        format!("{path}.accept_rate"),
        "a rate",
    );
    if let Some(ping) = &embedded.ping {
        problems.zero(
            ping.every.0.is_zero(),
            format!("{path}.ping.every"),
            "the time between pings",
        );
        problems.zero(
            ping.timeout.0.is_zero(),
            format!("{path}.ping.timeout"),
            "a timeout",
        );
    }
    if let Some(history) = &embedded.history {
        let path = format!("{path}.history");
        problems.zero(
            history.messages.is_some_and(|n| n.0 == 0),
            format!("{path}.messages"),
            "the number of messages",
        );
        problems.zero(
            history.r#for.is_some_and(|t| t.0.is_zero()),
            format!("{path}.for"),
            "the time",
        );
        if let Some(store) = &history.store {
            let path = format!("{path}.store");
            if !store.starts_with("redis://") {
                problems.add(Problem::error(
                    &path,
                    "a store is a Redis server: `redis://host:port/number`",
                ));
            }
            if nodes(embedded) > 1 {
                problems.add(
                    Problem::error(&path, "nodes have their history together already")
                        .help("leave `store` out, or start gateways of their own that share it and list them under `target.url`"),
                );
            }
            if embedded
                .misbehave
                .as_ref()
                .is_some_and(|m| m.reset_epoch_after.is_some())
            {
                let message = "the epoch is the store's: `reset_epoch_after` cannot reset it";
                problems.add(Problem::error(&path, message));
            }
        }
        let messages = history.messages.map_or(1000, |n| n.0);
        let queue = u64::from(embedded.queue.unwrap_or(1024));
        if messages > queue {
            let message = format!(
                "{messages} messages do not fit a client's queue of {queue}, through which they are sent"
            );
            problems.add(
                Problem::error(&path, message).help("raise `queue`, or keep fewer `messages`"),
            );
        }
    }
    let Some(knobs) = &embedded.misbehave else {
        return;
    };
    if knobs.reset_epoch_after.is_some() && embedded.history.is_none() {
        let message =
            "`reset_epoch_after` needs `history` beside `misbehave`: what is there to forget?";
        problems.add(Problem::error(
            format!("{path}.misbehave.reset_epoch_after"),
            message,
        ));
    }
    let path = format!("{path}.misbehave");
    for (key, every) in [
        ("drop_every", knobs.drop_every),
        ("duplicate_every", knobs.duplicate_every),
        ("reorder_every", knobs.reorder_every),
        ("refuse_every", knobs.refuse_every),
    ] {
        problems.zero(
            every == Some(0),
            format!("{path}.{key}"),
            "n in \"every nth\"",
        );
    }
    let mut needs = |key: &str, given: bool, other: &str, there: bool| {
        if given && !there {
            problems.add(Problem::error(
                format!("{path}.{key}"),
                format!("`{key}` needs `{other}` beside it"),
            ));
        }
    };
    needs(
        "stall_after",
        knobs.stall_after.is_some(),
        "stall_for",
        knobs.stall_for.is_some(),
    );
    needs(
        "stall_for",
        knobs.stall_for.is_some(),
        "stall_after",
        knobs.stall_after.is_some(),
    );
    needs(
        "close_code",
        knobs.close_code.is_some(),
        "close_after",
        knobs.close_after.is_some(),
    );
    needs(
        "refuse_status",
        knobs.refuse_status.is_some(),
        "refuse_every",
        knobs.refuse_every.is_some(),
    );
    needs(
        "refuse_upgrades_for",
        knobs.refuse_upgrades_for.is_some(),
        "refuse_upgrades",
        knobs.refuse_upgrades.is_some(),
    );
    if knobs
        .refuse_upgrades
        .is_some_and(|s| !(300..=599).contains(&s))
    {
        problems.add(Problem::error(
            format!("{path}.refuse_upgrades"),
            "a refusal's status is from 300 to 599",
        ));
    }
    if knobs
        .refuse_status
        .is_some_and(|s| !(300..=599).contains(&s))
    {
        problems.add(Problem::error(
            format!("{path}.refuse_status"),
            "a refusal's status is from 300 to 599",
        ));
    }
    if knobs
        .close_code
        .is_some_and(|c| !(1000..=4999).contains(&c))
    {
        problems.add(Problem::error(
            format!("{path}.close_code"),
            "a close code is from 1000 to 4999",
        ));
    }
}
