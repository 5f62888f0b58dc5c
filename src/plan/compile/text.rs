//! Templates as written, to templates compiled.
//!
//! `{name}` is a placeholder and `{{name}}` the literal text `{name}`; every other brace stands for
//! itself, so that JSON is written plainly: `{"type":"hello","user":"{user}"}`.

use super::{Problems, names};
use crate::plan::types::{Builtin, Part, Template, Var, VarSource};
use crate::scenario::Problem;

/// Names that variables cannot have; but for `token`, where a group has no `auth`.
pub(super) const BUILTINS: [(&str, Builtin); 8] = [
    ("connection", Builtin::Connection),
    ("index", Builtin::Index),
    ("group", Builtin::Group),
    ("topic", Builtin::Topic),
    ("id", Builtin::Id),
    ("payload", Builtin::Payload),
    ("last", Builtin::Last),
    ("token", Builtin::Token),
];

/// The placeholders that a template may use.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    /// Variables of the group, by slot.
    pub vars: &'a [Var],
    /// Captured variables usable here: those whose slot is in it. Others are not set yet.
    pub captured: &'a [u32],
    /// Built-ins of the message, beside those of the connection.
    pub message: &'a [Builtin],
}

/// A stretch of a template.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Text(&'a str),
    Placeholder(&'a str),
}

/// Splits a template.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut start = 0;
    let mut at = 0;
    while let Some(open) = text[at..].find('{').map(|i| at + i) {
        let double = text[open..].starts_with("{{");
        let name = ident(&text[open + 1 + usize::from(double)..]);
        let end = open + 1 + usize::from(double) + name.len();
        let closed = |braces: &str| !name.is_empty() && text[end..].starts_with(braces);
        if double && closed("}}") {
            // The inner pair is text, the outer is dropped.
            push(&mut tokens, &text[start..open]);
            push(&mut tokens, &text[open + 1..end + 1]);
            (start, at) = (end + 2, end + 2);
        } else if !double && closed("}") {
            push(&mut tokens, &text[start..open]);
            tokens.push(Token::Placeholder(name));
            (start, at) = (end + 1, end + 1);
        } else {
            at = open + 1;
        }
    }
    push(&mut tokens, &text[start..]);
    tokens
}

fn push<'a>(tokens: &mut Vec<Token<'a>>, text: &'a str) {
    if !text.is_empty() {
        tokens.push(Token::Text(text));
    }
}

/// The identifier that a text begins with; empty when it does not.
fn ident(text: &str) -> &str {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    if begins { &text[..end] } else { "" }
}

/// Whether a text is an identifier, as variables' names must be.
pub(super) fn is_ident(text: &str) -> bool {
    !text.is_empty() && ident(text) == text
}

/// Compiles a template; unknown placeholders are reported and left as text.
pub(super) fn template(
    text: &str,
    path: &str,
    scope: Scope<'_>,
    problems: &mut Problems,
) -> Template {
    let mut parts: Vec<Part> = Vec::new();
    for token in tokens(text) {
        let part = match token {
            Token::Text(text) => Part::Text(text.to_owned()),
            Token::Placeholder(name) => match resolve(name, path, scope) {
                Ok(part) => part,
                Err(problem) => {
                    problems.add(problem);
                    continue;
                }
            },
        };
        match (parts.last_mut(), part) {
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => parts.push(part),
        }
    }
    Template { parts }
}

fn resolve(name: &str, path: &str, scope: Scope<'_>) -> Result<Part, Problem> {
    let usable = |builtin: &Builtin| {
        matches!(
            builtin,
            Builtin::Connection | Builtin::Index | Builtin::Group
        ) || scope.message.contains(builtin)
    };
    let own = scope.vars.iter().any(|var| var.name == name);
    if let Some((_, builtin)) = BUILTINS.iter().find(|(n, _)| *n == name && !own) {
        if usable(builtin) {
            return Ok(Part::Builtin(*builtin));
        }
        let problem = Problem::error(path, format!("`{{{name}}}` has no meaning here"));
        return Err(match builtin {
            Builtin::Token => {
                problem.help("it is what a group's `auth` makes, where the group has one")
            }
            _ => problem,
        });
    }
    let Some(slot) = scope.vars.iter().position(|v| v.name == name) else {
        let known = scope.vars.iter().map(|v| v.name.as_str());
        let builtins = BUILTINS.iter().filter(|(_, b)| usable(b)).map(|(n, _)| *n);
        return Err(names::unknown(
            path,
            "variable",
            name,
            known.chain(builtins),
        ));
    };
    let captured = matches!(scope.vars[slot].source, VarSource::Captured);
    if captured && !scope.captured.contains(&(slot as u32)) {
        return Err(
            Problem::error(path, format!("`{{{name}}}` is used before it is captured"))
                .help("a captured variable is known after its `expect` step"),
        );
    }
    Ok(Part::Var(slot as u32))
}

/// Checks a template that the protocol fills by itself, which knows only these names.
pub(super) fn check_names(text: &str, path: &str, known: &[&str], problems: &mut Problems) {
    for token in tokens(text) {
        if let Token::Placeholder(name) = token
            && !known.contains(&name)
        {
            problems.add(names::unknown(
                path,
                "placeholder",
                name,
                known.iter().copied(),
            ));
        }
    }
}

/// Whether a text holds a placeholder, any or this.
pub(super) fn has_placeholder(text: &str, wanted: Option<&str>) -> bool {
    tokens(text)
        .iter()
        .any(|t| matches!(t, Token::Placeholder(name) if wanted.is_none_or(|w| w == *name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_written_plainly() {
        use Token::{Placeholder as P, Text as T};
        let cases: [(&str, &[Token<'_>]); 18] = [
            ("", &[]),
            ("plain", &[T("plain")]),
            ("{a}", &[P("a")]),
            ("x{a_1}y{_b}", &[T("x"), P("a_1"), T("y"), P("_b")]),
            ("{{a}}", &[T("{a}")]),
            ("x{{a}}y", &[T("x"), T("{a}"), T("y")]),
            (r#"{"id":{id}}"#, &[T(r#"{"id":"#), P("id"), T("}")]),
            (
                r#"{"a":{"b":{id}}}"#,
                &[T(r#"{"a":{"b":"#), P("id"), T("}}")],
            ),
            ("{}", &[T("{}")]),
            ("{{}}", &[T("{{}}")]),
            ("{ a }", &[T("{ a }")]),
            ("{1a}", &[T("{1a}")]),
            ("{a", &[T("{a")]),
            ("{{a}", &[T("{"), P("a")]),
            ("{a}}", &[P("a"), T("}")]),
            ("{{{a}}}", &[T("{"), T("{a}"), T("}")]),
            ("{é}{a-b}", &[T("{é}{a-b}")]),
            ("}{", &[T("}{")]),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens(text), expected, "{text}");
        }
    }

    #[test]
    fn identifiers_are_ascii_words() {
        for good in ["a", "_", "A9_z"] {
            assert!(is_ident(good), "{good}");
        }
        for bad in ["", "9a", "a b", "a-b", "é", "a{"] {
            assert!(!is_ident(bad), "{bad}");
        }
    }

    #[test]
    fn placeholders_are_found() {
        assert!(has_placeholder("x{a}", None) && has_placeholder("x{a}", Some("a")));
        assert!(!has_placeholder("x{a}", Some("b")) && !has_placeholder("{{a}}", None));
    }

    #[test]
    fn neighbouring_text_is_one_part() {
        let scope = Scope {
            vars: &[],
            captured: &[],
            message: &[],
        };
        let compiled = template("a{{b}}c{group}", "p", scope, &mut Problems::default());
        assert_eq!(
            compiled.parts,
            [Part::Text("a{b}c".into()), Part::Builtin(Builtin::Group)]
        );
    }
}
