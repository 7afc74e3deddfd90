//! The page: one file, opened offline, that asks nothing of any network.

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, context};
use mtl_eval::comparison::Comparison;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::numbers::smallest;
use crate::plots::{self, Figure, Key};
use crate::tables::{self, tables};
use crate::verdict::{preamble, verdicts};

const PAGE: &str = include_str!("../templates/report.html");
const PARTS: &str = include_str!("../templates/parts.html");
const STYLE: &str = include_str!("../templates/style.css");
const SCRIPT: &str = include_str!("../templates/sort.js");

#[derive(Serialize)]
struct Figures {
    gains: Option<Figure>,
    shares: Option<Figure>,
    transfers: Vec<Figure>,
    ranks: Option<Figure>,
    learning: Vec<Figure>,
    losses: Vec<Figure>,
    weights: Vec<Figure>,
    conflicts: Vec<Figure>,
    front: Option<Figure>,
}

/// The comparison as one self-contained HTML page.
///
/// Its content policy forbids every request and every script but the page's own few lines, which sort the tables.
///
/// # Errors
/// If the comparison contradicts itself, such as cosines that are not one for each pair of tasks.
pub fn html(comparison: &Comparison) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_template("parts.html", PARTS).context("the parts of the page")?;
    environment.add_template("report.html", PAGE).context("the page")?;
    let values = context! {
        comparison => Serde(comparison),
        preamble => preamble(comparison),
        verdicts => Serde(verdicts(comparison)),
        broken => tables::broken(comparison),
        figures => Serde(figures(comparison)?),
        chapters => Serde(tables(comparison)),
        arm_keys => Serde(Key::of(comparison.arms.iter().map(|arm| arm.arm.name.as_str()))),
        task_keys => Serde(Key::of(comparison.tasks.iter().map(|task| task.name.as_str()))),
        smallest_p => comparison.nemenyi.as_ref().map(|found| smallest(found.smallest_p)),
        style => STYLE,
        script => SCRIPT,
        script_hash => STANDARD.encode(Sha256::digest(SCRIPT.as_bytes())),
    };
    environment.get_template("report.html").and_then(|page| page.render(values)).context("the page")
}

fn figures(comparison: &Comparison) -> Result<Figures> {
    Ok(Figures {
        gains: plots::gains(comparison)?,
        shares: plots::shares(comparison)?,
        transfers: plots::transfers(comparison)?,
        ranks: plots::ranks(comparison)?,
        learning: plots::learning(comparison)?,
        losses: plots::losses(comparison)?,
        weights: plots::weights(comparison)?,
        conflicts: plots::conflicts(comparison)?,
        front: plots::front(comparison)?,
    })
}
