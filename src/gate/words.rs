//! The words of a gate, with their columns.

use super::grammar::GateError;

/// A word or an operator and where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    pub column: usize,
}

impl Word<'_> {
    pub fn error(&self, message: String, suggestion: Option<String>) -> GateError {
        GateError {
            column: self.column,
            message,
            suggestion,
        }
    }

    pub fn is_operator(&self) -> bool {
        self.text.starts_with(operator_char)
    }
}

fn operator_char(c: char) -> bool {
    matches!(c, '<' | '>' | '=' | '!')
}

/// The words of a text, one after another.
pub(super) struct Words<'a> {
    words: Vec<Word<'a>>,
    next: usize,
    end: usize,
}

impl<'a> Words<'a> {
    pub fn of(text: &'a str) -> Self {
        #[derive(PartialEq, Clone, Copy)]
        enum Class {
            Space,
            Operator,
            Word,
        }
        let class = |c: char| {
            if c.is_whitespace() {
                Class::Space
            } else if operator_char(c) {
                Class::Operator
            } else {
                Class::Word
            }
        };
        let mut words = Vec::new();
        let mut rest = text;
        let mut column = 1;
        while let Some(first) = rest.chars().next().map(class) {
            let end = rest.find(|c| class(c) != first).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            if first != Class::Space {
                words.push(Word { text: word, column });
            }
            column += word.chars().count();
            rest = after;
        }
        Words {
            words,
            next: 0,
            end: text.trim_end().chars().count() + 1,
        }
    }

    pub fn peek(&self) -> Option<Word<'a>> {
        self.words.get(self.next).copied()
    }

    pub fn take(&mut self) -> Option<Word<'a>> {
        let word = self.peek();
        self.next += usize::from(word.is_some());
        word
    }

    /// The next one unless it is an operator.
    pub fn take_word(&mut self) -> Option<Word<'a>> {
        self.peek().filter(|word| !word.is_operator())?;
        self.take()
    }

    /// Something is missing at the next word, or at the end.
    pub fn missing(&self, what: String) -> GateError {
        GateError {
            column: self.peek().map_or(self.end, |word| word.column),
            message: format!("expected {what}"),
            suggestion: None,
        }
    }
}
