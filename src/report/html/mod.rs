//! `report.html`: one file that needs nothing else, not even a script; light and dark as the reader's system is,
//! readable on a phone. maud escapes every text; `text::clean` takes out what must not be shown at all.

mod axis;
mod charts;
mod deploys;
mod page;
mod palette;
mod plot;
mod reduce;
mod storm;
mod sweep;
mod tables;

use super::{Histograms, Outcome, Sweep};
use std::io::{self, Write};

/// Writes the page.
///
/// # Errors
/// Those of the writer.
pub fn html(outcome: &Outcome, histograms: &Histograms, out: &mut impl Write) -> io::Result<()> {
    out.write_all(page::page(outcome, histograms)?.into_string().as_bytes())
}

/// Writes the page of a sweep.
///
/// # Errors
/// Those of the writer.
pub(super) fn sweep(sweep: &Sweep, out: &mut impl Write) -> io::Result<()> {
    out.write_all(sweep::page(sweep)?.into_string().as_bytes())
}
