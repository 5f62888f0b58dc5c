use super::*;
use proptest::prelude::*;
use serde_json::Value;

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-c]{0,2}",
        "[~/\"\\\\01 é\n\u{1F600}]{0,3}",
        any::<String>()
    ]
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any_key().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(any_key(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Every pointer into a value, and some that lead nowhere.
fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
    for wrong in [
        "/x",
        "/",
        "/0",
        "/00",
        "/+1",
        "/-",
        "/1",
        "/99999999999999999999",
    ] {
        out.push(format!("{at}{wrong}"));
    }
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            let token = key.replace('~', "~0").replace('/', "~1");
            pointers(inner, format!("{at}/{token}"), out);
        }),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .for_each(|(i, inner)| pointers(inner, format!("{at}/{i}"), out)),
        _ => {}
    }
    out.push(at);
}

fn agree(value: &Value, json: &str, pointer: &str) -> Result<(), TestCaseError> {
    let expected = value.pointer(pointer);
    let found = lookup(json.as_bytes(), pointer);
    let parsed = found.map(|found| serde_json::from_slice::<Value>(found.raw()).unwrap());
    prop_assert_eq!(parsed.as_ref(), expected, "{:?} in {}", pointer, json);
    if let (Some(found), Some(expected)) = (found, expected) {
        match expected {
            Value::String(text) => {
                prop_assert_eq!(&found.text(), text);
                prop_assert!(found.is(text));
                let longer = format!("{text}x");
                prop_assert!(!found.is(&longer));
            }
            Value::Number(number) => prop_assert_eq!(found.number(), number.as_u64()),
            _ => prop_assert!(found.text().as_bytes() == found.raw()),
        }
    }
    Ok(())
}

/// The same JSON with every character of every string as a `\u` escape.
fn escaped(value: &Value) -> String {
    let string = |text: &str| {
        let units: String = text
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04X}"))
            .collect();
        format!("\"{units}\"")
    };
    match value {
        Value::String(text) => string(text),
        Value::Array(list) => format!(
            "[ {} ]",
            list.iter().map(escaped).collect::<Vec<_>>().join(" ,\t")
        ),
        Value::Object(map) => {
            let members: Vec<String> = map
                .iter()
                .map(|(key, inner)| format!("{} : {}", string(key), escaped(inner)))
                .collect();
            format!("{{\r\n{}}}", members.join(","))
        }
        other => other.to_string(),
    }
}

/// Found by chance: a quote, which stands in the text as an escape, is not what the escape looks like.
#[test]
fn an_escape_is_not_its_own_text() {
    let json = br#"{"\"":1,"\\\"":2,"v":"\""}"#;
    assert_eq!(
        lookup(json, "/\\\"").and_then(|found| found.number()),
        Some(2)
    );
    assert_eq!(
        lookup(json, "/\"").and_then(|found| found.number()),
        Some(1)
    );
    let value = lookup(json, "/v").unwrap();
    assert!(value.is("\"") && !value.is("\\\""));
    let both = Pointers::new(["/\\\"", "/\""]).lookup(json);
    assert_eq!(
        both.map(|found| found.and_then(|found| found.number())),
        [Some(2), Some(1)]
    );
}

proptest! {
    #[test]
    fn agrees_with_serde_json(value in any_json()) {
        let forms = [value.to_string(), serde_json::to_string_pretty(&value).unwrap(), escaped(&value)];
        // Through text once, because a float may change in it.
        let mut all = Vec::new();
        pointers(&value, String::new(), &mut all);
        for json in forms {
            let value: Value = serde_json::from_str(&json).unwrap();
            for pointer in &all {
                agree(&value, &json, pointer)?;
            }
        }
    }

    #[test]
    fn several_at_once_are_found_as_one_by_one(value in any_json(), cut in 0..400usize, names in prop::array::uniform3("(/[abc01]{0,2}){0,2}|x|/~0")) {
        let names = names.each_ref().map(String::as_str);
        let whole = value.to_string().into_bytes();
        let cut = &whole[..cut.min(whole.len())];
        let repeated = format!("{{\"a\":1,\"b\":\"\",\"\\u0061\":2,\"c\":{value}}}");
        for json in [&whole, cut, repeated.as_bytes()] {
            let expected = names.map(|name| if name.is_empty() { None } else { lookup(json, name) });
            prop_assert_eq!(Pointers::new(names).lookup(json), expected);
        }
    }

    #[test]
    fn broken_json_is_harmless(json: Vec<u8>, pointer: String, cut in 0..200usize, value in any_json()) {
        let _ = lookup(&json, &pointer);
        let mut text = value.to_string().into_bytes();
        text.truncate(cut);
        for pointer in ["", "/a", "/0", "/a/0/b", pointer.as_str()] {
            if let Some(found) = lookup(&text, pointer) {
                let _ = (found.text(), found.number(), found.is("a"));
            }
        }
    }

    #[test]
    fn soup_of_syntax_is_harmless(json in "[\\[\\]{}\",:\\\\u0a ]{0,40}", pointer in "(/[a0u~]{0,2}){0,4}") {
        if let Some(found) = lookup(json.as_bytes(), &pointer) {
            let text = found.text();
            prop_assert!(found.is(&text));
        }
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let deep = "[".repeat(2_000_000);
    assert_eq!(lookup(deep.as_bytes(), ""), None);
    assert_eq!(lookup(format!("{{\"a\":{deep}").as_bytes(), "/b"), None);
    let closed = format!("{{\"a\":{deep}{},\"b\":1}}", "]".repeat(2_000_000));
    assert_eq!(
        lookup(closed.as_bytes(), "/b").and_then(|found| found.number()),
        Some(1)
    );
}

#[test]
fn hostile_texts() {
    let table: &[(&[u8], &str, Option<&str>)] = &[
        (b"", "", None),
        (b"   ", "", None),
        (b"{", "/a", None),
        (b"{\"a\"", "/a", None),
        (b"{\"a\":", "/a", None),
        (b"{\"a\":}", "/a", None),
        (b"{\"a\":\"", "/a", None),
        (b"{\"a\":\"\\", "/a", None),
        (b"{\"a\":\"\\\"", "/a", None),
        (b"{a:1}", "/a", None),
        (b"{\"b\":1 \"a\":2}", "/a", None),
        (b"[,1]", "/1", None),
        (b"[1,]", "/1", None),
        (b"[]", "/0", None),
        (b"]", "", None),
        (b"\"a\"", "/a", None),
        (b"{\"a\":1}", "a", None),
        (b"{\"a\":1,\"a\":2}", "/a", Some("1")),
        (b"{\"\":{\"\":3}}", "//", Some("3")),
        (b"{\"a\":\"\\uD83D\\uDE00\"}", "/a", Some("\u{1F600}")),
        (b"{\"a\":\"\\uD83Dx\"}", "/a", Some("\u{FFFD}x")),
        (b"{\"a\":\"\\uDE00\\u12\"}", "/a", Some("\u{FFFD}u12")),
        (b"{\"a\":\"\xff\"}", "/a", Some("\u{FFFD}")),
        (b"{\"\xff\":1,\"a\":2}", "/a", Some("2")),
        (b"{\"a\":{\"x\":\"}]\"},\"b\":7}", "/b", Some("7")),
    ];
    for (json, pointer, expected) in table {
        let found = lookup(json, pointer);
        let text = found.map(|found| found.text());
        assert_eq!(
            text.as_deref(),
            *expected,
            "{:?} in {}",
            pointer,
            String::from_utf8_lossy(json)
        );
    }
}

#[test]
fn numbers() {
    let table: [(&[u8], Option<u64>); 9] = [
        (b"0", Some(0)),
        (b"18446744073709551615", Some(u64::MAX)),
        (b"18446744073709551616", None),
        (b"\"12\"", Some(12)),
        (b"\"\"", None),
        (b"-1", None),
        (b"1.5", None),
        (b"1e3", None),
        (b"true", None),
    ];
    for (json, expected) in table {
        assert_eq!(lookup(json, "").and_then(|found| found.number()), expected);
    }
}
