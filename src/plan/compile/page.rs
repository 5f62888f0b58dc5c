//! Where the target tells its memory.

use super::super::Page;
use super::{Problems, http};
use crate::scenario::Problem;
use crate::scenario::model::MetricsPage;

/// The metric that client libraries of Prometheus have it in.
const MEMORY: &str = "process_resident_memory_bytes";

pub(super) fn compile(page: &MetricsPage, problems: &mut Problems) -> Option<Page> {
    const AT: &str = "target.metrics";
    let address = http::address(&page.url, AT, problems);
    let headers = http::headers(&page.headers, AT, problems);
    let memory = page.memory.as_deref().unwrap_or(MEMORY);
    if !is_metric(memory) {
        problems.add(
            Problem::error(
                format!("{AT}.memory"),
                format!("`{memory}` is not the name of a metric"),
            )
            .help("letters, digits, `_` and `:`, as in `go_memstats_sys_bytes`; labels are not written: what has the same name is added up"),
        );
    }
    let http::Address {
        tls,
        host,
        port,
        path,
    } = address?;
    Some(Page {
        tls,
        host,
        port,
        path,
        headers,
        memory: memory.to_owned(),
    })
}

/// Whether Prometheus takes it for a name.
fn is_metric(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.chars().all(fits) && name.starts_with(|c: char| fits(c) && !c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_an_address_and_a_name() {
        let compiled = |yaml: &str| {
            let page: MetricsPage = serde_yaml::from_str(yaml).expect("a page");
            let mut problems = Problems::default();
            let page = compile(&page, &mut problems);
            let paths: Vec<String> = problems.list.into_iter().map(|p| p.path).collect();
            (page, paths)
        };
        let (page, problems) = compiled("url: 'https://h/metrics?a=b'");
        assert_eq!(problems, [""; 0]);
        let expected = Page {
            tls: true,
            host: "h".into(),
            port: 443,
            path: "/metrics?a=b".into(),
            headers: Vec::new(),
            memory: MEMORY.into(),
        };
        assert_eq!(page, Some(expected));
        let (page, _) = compiled(
            "{ url: 'http://[::1]:9090/m', memory: 'a:b_c9', headers: { authorization: x } }",
        );
        let page = page.expect("a page");
        assert_eq!((page.host.as_str(), page.port), ("::1", 9090));
        assert_eq!(page.memory, "a:b_c9");
        assert_eq!(page.headers, [("authorization".into(), "x".into())]);
        for (yaml, problem) in [
            ("url: 'ws://h/metrics'", "target.metrics.url"),
            ("url: 'h:9090'", "target.metrics.url"),
            ("url: 'http://me:secret@h/'", "target.metrics.url"),
            (
                "{ url: 'http://h/', memory: '9x' }",
                "target.metrics.memory",
            ),
            ("{ url: 'http://h/', memory: '' }", "target.metrics.memory"),
            (
                "{ url: 'http://h/', memory: 'a{b=\"c\"}' }",
                "target.metrics.memory",
            ),
            (
                "{ url: 'http://h/', headers: { host: x } }",
                "target.metrics.headers.host",
            ),
        ] {
            assert_eq!(compiled(yaml).1, [problem], "{yaml}");
        }
    }
}
