//! The variables of a group.

use super::{Problems, names, text};
use crate::plan::types::{Var, VarSource};
use crate::scenario::model::{self, Scalar, Table};
use crate::scenario::{Files, Problem};

/// Longest random hexadecimal value.
const MAX_HEX: u32 = 4096;

pub(super) fn compile(
    table: &Table<model::Var>,
    path: &str,
    files: &Files,
    problems: &mut Problems,
) -> Vec<Var> {
    let mut vars = Vec::new();
    for (name, var) in table {
        let path = format!("{path}.vars.{name}");
        self::name(name, &path, problems);
        let texts = |values: &[Scalar]| values.iter().map(Scalar::to_string).collect::<Vec<_>>();
        let mut some = |values: &[Scalar], key: &str| {
            if values.is_empty() {
                problems.add(Problem::error(format!("{path}.{key}"), "the list is empty"));
            }
        };
        let source = match var {
            model::Var::Cycle(values) => {
                some(values, "cycle");
                VarSource::Cycle(texts(values))
            }
            model::Var::Sequence(from) => VarSource::Sequence(*from),
            model::Var::Random(model::RandomVar::Choice(values)) => {
                some(values, "random.choice");
                VarSource::Choice(texts(values))
            }
            model::Var::Random(model::RandomVar::Int([low, high])) => {
                if low > high {
                    let message = "the first number is larger than the second";
                    problems.add(Problem::error(format!("{path}.random.int"), message));
                }
                VarSource::Int(*low, *high)
            }
            model::Var::Random(model::RandomVar::Hex(digits)) => {
                if *digits == 0 || *digits > MAX_HEX {
                    let message = format!("the number of digits is from 1 to {MAX_HEX}");
                    problems.add(Problem::error(format!("{path}.random.hex"), message));
                }
                VarSource::Hex(*digits)
            }
            model::Var::Csv(csv) => {
                VarSource::Cycle(column(csv, &format!("{path}.csv"), files, problems))
            }
        };
        vars.push(Var {
            name: name.clone(),
            source,
        });
    }
    vars
}

/// Checks the name of a variable, declared or captured.
pub(super) fn name(name: &str, path: &str, problems: &mut Problems) {
    if !text::is_ident(name) {
        problems.add(
            Problem::error(
                path,
                "a variable's name is made of letters, digits and `_`, and begins with no digit",
            )
            .on_key(),
        );
    } else if text::BUILTINS
        .iter()
        .any(|(builtin, _)| *builtin == name && name != "token")
    {
        problems.add(
            Problem::error(path, format!("`{{{name}}}` is built in"))
                .help("choose another name")
                .on_key(),
        );
    }
}

/// The values of a CSV file's column.
fn column(csv: &model::CsvVar, path: &str, files: &Files, problems: &mut Problems) -> Vec<String> {
    // A file that could not be read was reported when the scenario was loaded.
    let Some(contents) = files.get(&csv.file) else {
        return Vec::new();
    };
    let mut reader = csv::Reader::from_reader(contents);
    let headers = match reader.headers() {
        Ok(headers) => headers.clone(),
        Err(error) => {
            problems.add(Problem::error(
                format!("{path}.file"),
                format!("the CSV file cannot be read: {error}"),
            ));
            return Vec::new();
        }
    };
    let Some(at) = headers.iter().position(|name| name == csv.column) else {
        problems.add(names::unknown(
            &format!("{path}.column"),
            "column",
            &csv.column,
            &headers,
        ));
        return Vec::new();
    };
    let mut values = Vec::new();
    for record in reader.records() {
        match record {
            Ok(record) => values.push(record.get(at).unwrap_or_default().to_owned()),
            Err(error) => {
                problems.add(Problem::error(
                    format!("{path}.file"),
                    format!("the CSV file cannot be read: {error}"),
                ));
                return values;
            }
        }
    }
    if values.is_empty() {
        problems.add(Problem::error(
            format!("{path}.file"),
            "the CSV file has no line below its header",
        ));
    }
    values
}
