//! `verb verb --key value --flag`, and no more than that.

use std::error::Error;
use std::str::FromStr;

/// What was asked for.
pub struct Args {
    verb: String,
    options: Vec<(String, Option<String>)>,
}

const FLAGS: [&str; 2] = ["fanout", "sink"];
const OPTIONS: [&str; 10] = [
    "listen",
    "ports",
    "connect",
    "connections",
    "size",
    "seconds",
    "warmup",
    "rate",
    "source",
    "hold",
];

impl Args {
    /// Takes the words after the program's name apart.
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, Box<dyn Error>> {
        let mut args = Args {
            verb: String::new(),
            options: Vec::new(),
        };
        while let Some(word) = words.next() {
            match word.strip_prefix("--") {
                Some(name) if FLAGS.contains(&name) => args.options.push((name.into(), None)),
                Some(name) if OPTIONS.contains(&name) => {
                    let value = words.next().ok_or(format!("--{name} needs a value"))?;
                    args.options.push((name.into(), Some(value)));
                }
                Some(name) => return Err(format!("no option is called --{name}").into()),
                None if args.verb.is_empty() => args.verb = word,
                None => args.verb = format!("{} {word}", args.verb),
            }
        }
        Ok(args)
    }

    /// The words that are no options.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// Whether a flag was given.
    pub fn flag(&self, name: &str) -> bool {
        self.options.iter().any(|(n, _)| n == name)
    }

    /// An option's value, if it was given.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, Box<dyn Error>> {
        let given = self.options.iter().rev().find(|(n, _)| n == name);
        match given.and_then(|(_, value)| value.as_deref()) {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(format!("--{name} {text}: not understood").into()),
            },
        }
    }

    /// An option's value, which must be given.
    pub fn need<T: FromStr>(&self, name: &str) -> Result<T, Box<dyn Error>> {
        self.get(name)?.ok_or(format!("--{name} is needed").into())
    }
}
