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

use super::{Histograms, Outcome};
use std::io::{self, Write};

/// The page of a sweep.
///
/// # Errors
/// When plotters cannot draw, which in memory it always can.
pub(super) fn sweep(sweep: &super::Sweep) -> io::Result<String> {
    sweep::page(sweep)
}

/// Writes the page.
///
/// # Errors
/// Those of the writer.
pub fn html(outcome: &Outcome, histograms: &Histograms, out: &mut impl Write) -> io::Result<()> {
    out.write_all(page::page(outcome, histograms)?.into_string().as_bytes())
}
