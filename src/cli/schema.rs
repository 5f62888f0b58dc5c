//! `squall schema`: the scenario language for editors.

use super::output;
use crate::exit::Exit;

/// Prints the JSON Schema.
pub(super) fn execute() -> Exit {
    output::print(&format!("{:#}\n", crate::scenario::schema()))
}
