//! Cookies that a target sets, as far as sticky routing needs them: name and value, sent back as they came.
//!
//! No attributes: what a cookie's path, age or domain say is not looked at. A jar is of one host, and its size is bounded
//! whatever the target sends.

/// Cookies kept; further ones are not.
const COOKIES: usize = 20;

/// Longest name and value together, bytes; a longer one is not kept. (RFC 6265, section 6.1, asks for at least so much.)
const LONGEST: usize = 4096;

/// Cookies of one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Jar {
    /// (name, value), in the order in which names came first.
    cookies: Vec<(String, String)>,
}

impl Jar {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cookies.is_empty()
    }

    /// Keeps the cookie of a `Set-Cookie` header's value: the last of a name counts. One that could not stand in a
    /// request is not kept.
    pub fn keep(&mut self, set_cookie: &[u8]) {
        let pair = set_cookie.split(|b| *b == b';').next().unwrap_or_default();
        let Ok(pair) = std::str::from_utf8(pair) else {
            return;
        };
        let Some((name, value)) = pair.split_once('=') else {
            return;
        };
        let (name, value) = (name.trim(), value.trim());
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b',');
        let sendable = value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
        if !named || !sendable || name.len() + value.len() > LONGEST {
            return;
        }
        self.put(name, value);
    }

    fn put(&mut self, name: &str, value: &str) {
        if let Some(kept) = self.cookies.iter_mut().find(|(kept, _)| kept == name) {
            kept.1 = value.to_owned();
        } else if self.cookies.len() < COOKIES {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Keeps what another jar holds, its cookies over those of the same name.
    pub fn add(&mut self, newer: Jar) {
        for (name, value) in newer.cookies {
            self.put(&name, &value);
        }
    }

    /// The value of a request's `Cookie` header: those that are `given` beside it, but for names that the target has
    /// set since, and the kept ones.
    pub fn beside(&self, given: &str) -> String {
        let name = |pair: &str| {
            pair.split_once('=')
                .map_or(pair, |(name, _)| name)
                .to_owned()
        };
        let stay = given
            .split(';')
            .map(str::trim)
            .filter(|pair| !pair.is_empty())
            .filter(|pair| self.cookies.iter().all(|(kept, _)| *kept != name(pair)))
            .map(str::to_owned);
        let kept = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        stay.chain(kept).collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jar(headers: &[&[u8]]) -> Jar {
        let mut jar = Jar::default();
        headers.iter().for_each(|header| jar.keep(header));
        jar
    }

    #[test]
    fn name_and_value_are_kept_and_the_last_counts() {
        let jar = jar(&[
            b"node=a; Path=/; HttpOnly",
            b"lang=en",
            b" node = b ;Max-Age=60",
            b"quoted=\"x y\"",
            b"empty=",
            b"more=x=y",
        ]);
        let expected = "node=b; lang=en; quoted=\"x y\"; empty=; more=x=y";
        assert_eq!(jar.beside(""), expected);
    }

    #[test]
    fn the_targets_replace_those_of_the_same_name_that_are_given() {
        let jar = jar(&[b"node=a"]);
        assert_eq!(jar.beside("id=7; node=old; x"), "id=7; x; node=a");
        assert_eq!(Jar::default().beside("id=7"), "id=7");
        assert!(Jar::default().is_empty() && !jar.is_empty());
    }

    #[test]
    fn what_could_not_be_sent_is_not_kept() {
        for hostile in [
            &b"nothing"[..],
            b"=value",
            b"two words=x",
            b"a=x\tb",
            b"a=\x01",
            b"a=\xff",
            "a=ö".as_bytes(),
            b"",
            b";a=b",
        ] {
            assert!(jar(&[hostile]).is_empty(), "{hostile:?}");
        }
    }

    #[test]
    fn its_size_is_bounded() {
        let mut jar = Jar::default();
        for i in 0..1_000 {
            jar.keep(format!("n{i}={}", "v".repeat(1_000)).as_bytes());
        }
        jar.keep(&[b"long=", &[b'x'; LONGEST][..]].concat());
        assert_eq!(jar.cookies.len(), COOKIES);
        assert!(!jar.beside("").contains("long"));
        // Known names are still replaced.
        jar.keep(b"n3=new");
        jar.add(self::jar(&[b"n4=newer", b"another=one"]));
        let all = jar.beside("");
        assert!(all.contains("n3=new;") && all.contains("n4=newer;"));
        assert!(!all.contains("another"));
    }
}
