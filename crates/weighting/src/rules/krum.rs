//! (Multi-)Krum: the mean of the gradients that lie closest to their neighbours.
//!
//! A gradient's score is the sum of its distances to its K − f − 2 nearest others; the `selected` gradients of lowest score
//! are averaged, f = `byzantine`. Distances follow from G: ‖gᵢ − gⱼ‖² = Gᵢᵢ + Gⱼⱼ − 2Gᵢⱼ.
//!
//! Blanchard et al., "Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent", NeurIPS 2017, §4. The paper
//! sums squared distances; as in TorchJD they are not squared here. Of equal scores the first task's wins; with K − f − 2 = 1
//! neighbour the closest pair always ties.

use mtl_nash::Gram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Class, FromGram, Outcome, Rule, StepInputs, Weighting, WeightingRule, settings};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "krum",
    aliases: &["multi-krum"],
    about: "the gradients closest to their neighbours",
    paper: "Blanchard et al., NeurIPS 2017, arXiv:1703.02757",
    verified: true,
    class: Class::Gram,
    properties: &[],
    build,
    select: Some(select),
    defaults: settings::defaults::<KrumSettings>,
    source: include_str!("krum.rs"),
};

/// The settings of `rule = "krum"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KrumSettings {
    /// How many gradients may be arbitrarily wrong.
    pub byzantine: usize,
    /// How many are averaged.
    pub selected: usize,
}

impl Default for KrumSettings {
    fn default() -> Self {
        Self { byzantine: 1, selected: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let KrumSettings { byzantine, selected } = settings::read(RULE.name, given)?;
    if tasks < byzantine + 3 {
        let least = byzantine + 3;
        return Err(format!("`krum` with `byzantine` = {byzantine} needs at least {least} tasks, found {tasks}"));
    }
    if !(1..=tasks).contains(&selected) {
        return Err(format!("`selected` of `krum` must be from 1 to the {tasks} tasks, found {selected}"));
    }
    Ok(Weighting::Gram(Box::new(Krum { neighbours: tasks - byzantine - 2, selected })))
}

/// Of too few tasks for neighbours all are selected: the mean.
fn select(given: &Value, tasks: &[usize]) -> Result<Weighting, String> {
    let KrumSettings { byzantine, selected } = settings::read(RULE.name, given)?;
    let tasks = tasks.len();
    let selected = if tasks < byzantine + 3 { tasks } else { selected.min(tasks) };
    Ok(Weighting::Gram(Box::new(Krum { neighbours: tasks.saturating_sub(byzantine + 2), selected })))
}

struct Krum {
    neighbours: usize,
    selected: usize,
}

impl WeightingRule for Krum {}

impl FromGram for Krum {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let tasks = gram.tasks();
        let score = |own: usize| {
            let square = |other: usize| gram.at(own, own) + gram.at(other, other) - 2.0 * gram.at(own, other);
            let mut distances: Vec<f64> =
                (0..tasks).filter(|other| *other != own).map(|other| square(other).max(0.0).sqrt()).collect();
            distances.sort_by(f64::total_cmp);
            distances.iter().take(self.neighbours).sum::<f64>()
        };
        let mut order: Vec<(f64, usize)> = (0..tasks).map(|task| (score(task), task)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut weights = vec![0.0; tasks];
        order.iter().take(self.selected).for_each(|(_, task)| weights[*task] = 1.0 / self.selected as f64);
        Outcome::exact(weights)
    }
}
