//! Trimmed mean: per coordinate the mean of the task gradients without the `trim` largest and `trim` smallest.
//!
//! Yin et al., "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates", ICML 2018, definition 2.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jacobian::chunks;
use crate::{Class, FromJacobian, Jacobian, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "trimmed-mean",
    aliases: &[],
    about: "per coordinate the mean without the extremes",
    paper: "Yin et al., ICML 2018, arXiv:1803.01498",
    verified: true,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant],
    build,
    select: Some(select),
    defaults: settings::defaults::<TrimmedMeanSettings>,
    source: include_str!("trimmed_mean.rs"),
};

/// The settings of `rule = "trimmed-mean"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrimmedMeanSettings {
    /// Entries dropped at either end.
    pub trim: usize,
}

impl Default for TrimmedMeanSettings {
    fn default() -> Self {
        Self { trim: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let TrimmedMeanSettings { trim } = settings::read(RULE.name, given)?;
    if tasks < 2 * trim + 1 {
        let least = 2 * trim + 1;
        return Err(format!("`trimmed-mean` with `trim` = {trim} needs at least {least} tasks, found {tasks}"));
    }
    Ok(Weighting::Jacobian(Box::new(TrimmedMean { trim })))
}

/// Of too few tasks as many are dropped as leave one: the median.
fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let TrimmedMeanSettings { trim } = settings::read(RULE.name, given)?;
    Ok(Weighting::Jacobian(Box::new(TrimmedMean { trim: trim.min((tasks.len() - 1) / 2) })))
}

struct TrimmedMean {
    trim: usize,
}

impl WeightingRule for TrimmedMean {}

impl FromJacobian for TrimmedMean {
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        _seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let mut column = Vec::new();
        chunks(mini_batches, |start, mini_batches| {
            let rows = &mini_batches[0];
            let direction: Vec<f64> = (0..rows[0].len())
                .map(|index| {
                    column.clear();
                    column.extend(rows.iter().map(|row| row[index]));
                    column.sort_by(f64::total_cmp);
                    let kept = &column[self.trim..column.len() - self.trim];
                    kept.iter().sum::<f64>() / kept.len() as f64
                })
                .collect();
            write(start, &direction);
        });
        Outcome::exact(Vec::new())
    }
}
