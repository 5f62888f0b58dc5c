//! Into NATS.

use super::{Place, Way, login, password, servers};
use crate::broker::{Config, Login, NatsConfig};
use crate::plan::compile::{Problems, target};
use crate::scenario::{Problem, model};

pub(super) fn compile(nats: &model::Nats, place: &Place<'_>, problems: &mut Problems) -> Way {
    let at = format!("{}.nats", place.inject);
    let subject_at = format!("{at}.subject");
    let (address, address_at) = place.address(nats.subject.as_ref(), subject_at, problems);
    Way {
        broker: Config::Nats(Box::new(config(nats, &at, place, problems))),
        address,
        key: None,
        address_at,
        wrong: subject,
    }
}

fn config(
    nats: &model::Nats,
    path: &str,
    place: &Place<'_>,
    problems: &mut Problems,
) -> NatsConfig {
    let (urls, example) = (nats.url.as_ref(), "nats://host:4222");
    let servers = servers(urls, path, example, NatsConfig::address, problems);
    let (endpoints, logins): (Vec<_>, Vec<_>) = servers.into_iter().unzip();
    let mut logins: Vec<Login> = logins.into_iter().flatten().collect();
    logins.extend(password(
        nats.user.as_ref(),
        nats.password.as_ref(),
        path,
        problems,
    ));
    logins.extend(nats.token.clone().map(Login::Token));
    let credentials = nats.credentials.as_ref();
    if let Some(contents) = credentials.and_then(|file| place.files.get(file)) {
        let read = std::str::from_utf8(contents).ok().and_then(Login::of_file);
        if read.is_none() {
            let problem = Problem::error(
                format!("{path}.credentials"),
                "the file holds no NATS credentials",
            );
            problems.add(problem.help("it is what `nsc generate creds` writes"));
        }
        logins.extend(read);
    }
    let which = "`user`, `token`, `credentials` and a user in the address";
    let secure = endpoints.iter().any(|e| e.tls) || endpoints.is_empty();
    NatsConfig {
        tls: target::tls(
            path,
            "tls://",
            nats.tls.as_ref(),
            secure,
            place.files,
            problems,
        ),
        endpoints,
        login: login(logins, path, which, problems).unwrap_or_default(),
        jetstream: nats.jetstream,
    }
}

/// What is wrong with a subject.
fn subject(subject: &str) -> Option<(String, &'static str)> {
    let token = |t: &str| t.is_empty() || t.contains(['*', '>']);
    let wrong = subject.split('.').any(token)
        || subject.contains(|c: char| c.is_whitespace() || c.is_control());
    wrong.then(|| {
        (
            format!("`{subject}` is no subject of NATS to publish to"),
            "words joined by `.`, without `*`, `>` and white space",
        )
    })
}
