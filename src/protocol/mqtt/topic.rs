//! Topic filters: which topics they take, and which filters are none.

/// What a filter is beyond a topic's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter<'a> {
    /// Those who share the subscription: each message goes to one of them.
    pub share: Option<&'a str>,
    /// Levels, `+` for any one, `#` at the end for any rest.
    pub levels: &'a str,
}

impl<'a> Filter<'a> {
    /// Of its text; `None` for one that the specification does not allow.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (share, levels) = match text.strip_prefix("$share/") {
            None => (None, text),
            Some(rest) => {
                let (share, levels) = rest.split_once('/')?;
                if share.is_empty() || share.contains(['+', '#']) {
                    return None;
                }
                (Some(share), levels)
            }
        };
        if levels.is_empty() || levels.contains('\0') {
            return None;
        }
        let mut each = levels.split('/').peekable();
        while let Some(level) = each.next() {
            let alone = match level {
                "#" => each.peek().is_none(),
                "+" => true,
                other => !other.contains(['+', '#']),
            };
            if !alone {
                return None;
            }
        }
        Some(Filter { share, levels })
    }

    /// Whether it stands for more than one topic.
    pub fn is_pattern(&self) -> bool {
        self.levels.contains(['+', '#'])
    }

    /// Whether it takes a topic. Wildcards at the beginning take none of the server's own (`$SYS/…`).
    pub fn takes(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.levels.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.split('/');
        for level in self.levels.split('/') {
            match (level, names.next()) {
                // Also the level above.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(name)) if level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::Filter;

    /// The examples of the specification's section 4.7, and their like.
    #[test]
    fn filters_take_what_the_specification_says() {
        let cases: [(&str, &[&str], &[&str]); 12] = [
            (
                "sport/tennis/player1/#",
                &[
                    "sport/tennis/player1",
                    "sport/tennis/player1/ranking",
                    "sport/tennis/player1/score/wimbledon",
                ],
                &["sport/tennis", "sport/tennis/player2"],
            ),
            ("sport/#", &["sport", "sport/a", "sport/"], &["sports", ""]),
            ("#", &["a", "a/b", "/"], &["$SYS/a", "$SYS"]),
            (
                "sport/tennis/+",
                &["sport/tennis/player1", "sport/tennis/"],
                &["sport/tennis/player1/ranking", "sport/tennis"],
            ),
            ("sport/+", &["sport/"], &["sport"]),
            ("+", &["finance"], &["/finance", "$SYS"]),
            ("+/+", &["/finance", "a/b"], &["finance"]),
            ("/+", &["/finance"], &["finance"]),
            (
                "+/monitor/Clients",
                &["a/monitor/Clients"],
                &["$SYS/monitor/Clients"],
            ),
            ("$SYS/#", &["$SYS", "$SYS/a"], &["SYS"]),
            ("a/b", &["a/b"], &["a", "a/b/", "a/B"]),
            ("$share/group/a/+", &["a/b"], &["a", "$share/group/a/b"]),
        ];
        for (text, taken, left) in cases {
            let filter = Filter::parse(text).expect(text);
            for topic in taken {
                assert!(filter.takes(topic), "{text} does not take {topic}");
            }
            for topic in left {
                assert!(!filter.takes(topic), "{text} takes {topic}");
            }
        }
    }

    #[test]
    fn what_is_no_filter_is_none() {
        for text in [
            "",
            "sport/tennis#",
            "sport/tennis/#/ranking",
            "sport+",
            "a/+b",
            "##",
            "$share/group",
            "$share/group/",
            "$share//a",
            "$share/a+/b",
            "a\0",
        ] {
            assert_eq!(Filter::parse(text), None, "{text}");
        }
        let shared = Filter::parse("$share/g/a/#");
        let expected = Filter {
            share: Some("g"),
            levels: "a/#",
        };
        assert_eq!(shared, Some(expected));
        assert!(expected.is_pattern());
    }
}
