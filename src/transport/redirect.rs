//! Where a redirect leads, and whether it may: never from TLS to none.

use super::config::Endpoint;
use url::Url;

/// A place that is redirected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its address.
    pub endpoint: Endpoint,
    /// Path and query.
    pub path: String,
}

/// Whether a status says that what is asked for is elsewhere.
pub fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// Where a Location leads that answered a request for this path at this address.
///
/// # Errors
/// Why nobody goes there.
pub fn place(location: &str, from: &Endpoint, path: &str) -> Result<Place, &'static str> {
    let base = Url::parse(&format!("{from}{path}")).map_err(|_| "it cannot be read")?;
    let url = base.join(location).map_err(|_| "it cannot be read")?;
    let tls = match url.scheme() {
        "ws" | "http" => false,
        "wss" | "https" => true,
        _ => return Err("its scheme is not spoken"),
    };
    if from.tls && !tls {
        return Err("it leads from TLS to none");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it names a user");
    }
    let host = url.host_str().ok_or("it has no host")?;
    let port = url.port_or_known_default().ok_or("it has no port")?;
    let mut path = url.path().to_owned();
    if let Some(query) = url.query() {
        path.push('?');
        path.push_str(query);
    }
    Ok(Place {
        endpoint: Endpoint {
            tls,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
        },
        path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_from_where_it_was_said() {
        let table = [
            ("/b", "ws://h:1", "ws://h:1", "/b"),
            ("b?c=d", "ws://h:1", "ws://h:1", "/x/b?c=d"),
            ("?c", "ws://h:1", "ws://h:1", "/x/y?c"),
            ("//other/b", "ws://h:1", "ws://other:80", "/b"),
            ("http://other", "ws://h:1", "ws://other:80", "/"),
            (
                "https://other:8443/b#f",
                "ws://h:1",
                "wss://other:8443",
                "/b",
            ),
            ("wss://[::1]/", "wss://h:1", "wss://[::1]:443", "/"),
        ];
        for (location, from, to, path) in table {
            let (tls, port) = (from.starts_with("wss"), 1);
            let host = "h".to_owned();
            let place = place(location, &Endpoint { tls, host, port }, "/x/y?z").unwrap();
            assert_eq!(
                (place.endpoint.to_string().as_str(), &*place.path),
                (to, path)
            );
        }
    }

    #[test]
    fn what_must_not_be_followed_is_said() {
        let from = Endpoint {
            tls: true,
            host: "h".into(),
            port: 443,
        };
        for (location, why) in [
            ("ws://h/", "it leads from TLS to none"),
            ("http://h:443/", "it leads from TLS to none"),
            ("ftp://h/", "its scheme is not spoken"),
            ("wss://u:p@h/", "it names a user"),
            ("wss://:x/", "it cannot be read"),
        ] {
            assert_eq!(place(location, &from, "/"), Err(why), "{location}");
        }
    }
}
