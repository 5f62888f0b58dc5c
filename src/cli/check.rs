//! `squall check`: validate a scenario and say what it will do.

mod programs;

use super::{Color, Source, output};
use crate::exit::Exit;
use crate::plan;
use crate::report::Redactor;
use crate::run;
use clap::Args;

/// Validates, prints the plan in words, and what this machine is short of.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    source: Source,
    /// When to use colours
    #[arg(long, value_enum, default_value_t)]
    color: Color,
}

impl Check {
    /// Passed when the scenario is valid and this machine can carry it out.
    pub(super) fn execute(self) -> Exit {
        match run::prepare(&self.source.file, &self.source.options()) {
            Ok((document, compiled)) => {
                let mut warnings = compiled.warnings.clone();
                let path = std::env::var_os("PATH");
                warnings.extend(programs::missing(document.scenario(), path.as_deref()));
                if !warnings.is_empty() {
                    let warnings = document.report(warnings);
                    output::complain_verbatim(&warnings.render(self.color.on_stderr()));
                }
                // A name may come out of the environment like any other text.
                let redact = Redactor::new(document.secrets());
                let printed = output::print(&redact.text(&plan::describe(&compiled)));
                match run::refusal(&compiled) {
                    Some(why) => {
                        output::complain(&why);
                        Exit::ScenarioInvalid
                    }
                    None => printed,
                }
            }
            Err(problems) => {
                output::complain_verbatim(&problems.render(self.color.on_stderr()));
                Exit::ScenarioInvalid
            }
        }
    }
}
