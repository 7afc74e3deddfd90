//! The plots, each an SVG of its own. `plotters` draws them; text stays text, so no font is needed here.
//!
//! Series are told apart by colour (Okabe and Ito's palette, which colour-blind readers can use) and by marker. Ink and
//! rules take the page's colours, so that the plots follow a dark page.

mod canvas;
mod chart;
mod conflict;
mod curves;
mod forest;
mod front;
mod ranks;
mod regimes;

pub(crate) use canvas::{Figure, Key};
pub(crate) use conflict::conflicts;
pub(crate) use curves::{learning, losses, weights};
pub(crate) use forest::{Effect, effects, gains, shares, transfers};
pub(crate) use front::front;
pub(crate) use ranks::{ranked, ranks};
pub(crate) use regimes::regimes;
pub use regimes::{RegimeCurve, RegimePoint};
