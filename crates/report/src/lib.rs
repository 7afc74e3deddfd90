//! A comparison of many runs, shown: one page for a browser, Markdown, rows for a spreadsheet and a table for a paper.
//!
//! A report is a pure function of [`mtl_eval::comparison::Comparison`]: nothing is computed that it does not already say,
//! no file is touched, nothing is printed. [`paper`] does the same for rows that reports wrote, and [`claims`] judges what
//! was claimed beforehand by them. The page is self-contained and asks nothing of any network.
//! Text that came from a dataset or a recipe is escaped for the language it is put into, and the words of the verdict
//! go no further than the intervals do.

pub mod claims;
mod html;
mod latex;
mod markdown;
mod numbers;
pub mod paper;
mod plots;
mod rows;
mod table;
mod tables;
mod verdict;

pub use html::html;
pub use latex::{latex, latex_document};
pub use markdown::markdown;
pub use plots::{RegimeCurve, RegimePoint};
pub use rows::{csv, intervals_csv, metrics_csv};

/// The picture of `curves` as a file of its own, SVG on white; none where they have no point.
///
/// # Errors
/// If the drawing library refuses.
pub fn regimes_svg(curves: &[RegimeCurve]) -> anyhow::Result<Option<String>> {
    let Some(figure) = plots::regimes(curves)? else { return Ok(None) };
    Ok(Some(standalone(&figure.svg)))
}

/// A plot as a file of its own: a page lends plots its colours and its ground, a file has to bring both.
fn standalone(svg: &str) -> String {
    let svg = svg.replace("\"currentColor\"", "\"#24292E\"").replace("\"var(--rule)\"", "\"#D5DAE0\"");
    let head = svg.find('>').map_or(0, |at| at + 1);
    let (open, rest) = svg.split_at(head);
    format!("{open}\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>{rest}")
}
