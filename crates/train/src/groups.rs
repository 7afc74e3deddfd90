//! Weighting rules at work: what each looks at, what it decides, and what its decision applies to.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use candle_core::DType;
use mtl_backbone::{Flat, GradientBlock, TaskGradient};
use mtl_nash::Gram;
use mtl_sharing::Model;
use mtl_task::TaskId;
use mtl_weighting::{CachedWeights, Jacobian, Outcome, Private, StepInputs, Weighting};

use crate::gradients::{Rows, total};
use crate::recipe::{DecisionScope, Recipe, ScopeName};

/// A weighting rule over some of the shared parameters.
pub(crate) struct WeightingGroup {
    /// What it is called in files.
    pub(crate) label: String,
    /// The parameters whose gradients it looks at.
    seen: BTreeSet<String>,
    /// The parameters that its weights apply to.
    pub(crate) applied: BTreeSet<String>,
    pub(crate) rule: Weighting,
}

fn trains(model: &Model, name: &str) -> bool {
    model.params.get(name).is_some_and(|param| param.trainable())
}

/// The gradients of a step, draw after draw.
pub(crate) struct StepGradients<'a> {
    /// The tasks that take part.
    pub(crate) tasks: &'a [TaskId],
    /// One row for each draw and task.
    pub(crate) rows: &'a [&'a TaskGradient],
    /// Number of mini_batches.
    pub(crate) mini_batches: usize,
    /// Their inner products by parameter.
    pub(crate) parts: &'a BTreeMap<String, Gram>,
    /// Elements of each shared parameter.
    pub(crate) lengths: &'a BTreeMap<String, usize>,
    /// Their type.
    pub(crate) dtype: DType,
}

/// What a rule decided, and the direction that it wrote itself, if it did.
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) direction: Option<TaskGradient>,
}

impl WeightingGroup {
    /// The decisions that `recipe` asks for over the shared parameters of `model`.
    pub(crate) fn all(recipe: &Recipe, model: &Model, tasks: usize) -> Result<Vec<Self>> {
        let rules = mtl_task::Registry::<mtl_weighting::Rule>::default();
        let entry = rules.find(&recipe.weighting.name)?;
        let build = || (entry.build)(tasks, &recipe.weighting.settings).map_err(anyhow::Error::msg);
        let shared = match tasks {
            // One task shares with nobody: its gradient over all but its head is what a rule sees.
            1 => model.sharing.reach(TaskId(0)).into_iter().filter(|name| trains(model, name)).collect(),
            _ => model.shared(),
        };
        match &recipe.over {
            DecisionScope::Name(ScopeName::All) | DecisionScope::Unset => {
                Ok(vec![Self { label: "all".into(), seen: shared.clone(), applied: shared, rule: build()? }])
            }
            DecisionScope::Name(ScopeName::Layerwise) => shared
                .iter()
                .map(|name| {
                    let part: BTreeSet<String> = [name.clone()].into();
                    Ok(Self { label: name.clone(), seen: part.clone(), applied: part, rule: build()? })
                })
                .collect(),
            DecisionScope::Parts(parts) => {
                let is = |name: &&String| parts.iter().any(|part| *name == part || name.ends_with(&format!("/{part}")));
                let seen: BTreeSet<String> = shared.iter().filter(is).cloned().collect();
                if seen.is_empty() {
                    let known: Vec<&str> = shared.iter().map(String::as_str).collect();
                    bail!("`over = {parts:?}` names no shared parameter; shared are {}", known.join(", "));
                }
                Ok(vec![Self { label: "all".into(), seen, applied: shared, rule: build()? }])
            }
        }
    }

    /// Weighs the gradients of a step. `inputs` is of every task.
    ///
    /// A step may leave tasks out: one-task steps, and phases of some tasks. A rule over losses then weighs all by their
    /// last losses, and the weights of those who take part count. A rule over gradients, which cannot group without
    /// the others, rests: everybody's weight is 1.
    pub(crate) fn decide(&mut self, gradients: &StepGradients, inputs: &StepInputs) -> Result<Decision> {
        let partial = |names: &BTreeSet<String>| {
            total(gradients.rows.len(), names.iter().filter_map(|name| gradients.parts.get(name)))
        };
        if gradients.tasks.len() < inputs.losses.len() {
            let outcome = match &mut self.rule {
                Weighting::Losses(rule) => {
                    let mut outcome = rule.weights(inputs);
                    outcome.weights = gradients.tasks.iter().map(|task| outcome.weights[task.0]).collect();
                    outcome
                }
                Weighting::Gram(_) | Weighting::Jacobian(_) => Outcome::exact(vec![1.; gradients.tasks.len()]),
            };
            return Ok(Decision { outcome, direction: None });
        }
        if let Some(cached) = self.rule.cached(inputs.progress) {
            return Ok(Decision { outcome: reuse(cached, &partial(&self.applied)), direction: None });
        }
        let plain = |outcome| Decision { outcome, direction: None };
        Ok(match &mut self.rule {
            Weighting::Losses(rule) => plain(rule.weights(inputs)),
            Weighting::Gram(rule) => plain(rule.weights(&partial(&self.seen), inputs)),
            Weighting::Jacobian(rule) => {
                let lengths: BTreeMap<String, usize> = (self.seen.iter())
                    .filter_map(|name| gradients.lengths.get(name).map(|length| (name.clone(), *length)))
                    .collect();
                let tasks = gradients.rows.len() / gradients.mini_batches.max(1);
                let mini_batches: Vec<Rows> =
                    gradients.rows.chunks(tasks.max(1)).map(|rows| Rows::new(rows, &lengths)).collect();
                let mini_batches: Vec<&dyn Jacobian> = mini_batches.iter().map(|draw| draw as _).collect();
                let mut direction = Direction::zeros(&lengths, gradients.dtype)?;
                let outcome =
                    rule.direction(&mini_batches, inputs, &mut |start, values| direction.write(start, values));
                Decision { outcome, direction: Some(direction.row) }
            }
        })
    }
}

/// Weights that still hold, clipped to the rule's norm by this step's gradients.
fn reuse(cached: CachedWeights, gram: &Gram) -> Outcome {
    let norm = gram.quadratic(&cached.weights).max(0.).sqrt();
    let clip = cached.max_norm.filter(|bound| norm > *bound).map_or(1., |bound| bound / norm);
    let mut outcome = Outcome::exact(cached.weights.iter().map(|weight| weight * clip).collect());
    outcome.clip = clip;
    outcome
}

/// What each task's own parameters' gradient is multiplied by.
pub(crate) fn private_weights(
    policy: Private,
    outcome: &Outcome,
    class: mtl_weighting::Class,
    tasks: usize,
) -> Vec<f64> {
    let weights: Vec<f64> = outcome.weights.iter().take(tasks).map(|weight| weight / outcome.clip).collect();
    if weights.len() < tasks {
        return vec![1.; tasks];
    }
    match policy {
        Private::Own => vec![1.; tasks],
        Private::Auto if class != mtl_weighting::Class::Losses => vec![1.; tasks],
        Private::Auto | Private::Weighted => weights,
        Private::Normalised => {
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| if sum > 0. { weight * tasks as f64 / sum } else { 1. }).collect()
        }
    }
}

/// A direction as a rule over the Jacobian writes it, column chunk after column chunk.
struct Direction {
    row: TaskGradient,
    starts: Vec<(String, usize, usize)>,
}

impl Direction {
    fn zeros(lengths: &BTreeMap<String, usize>, dtype: candle_core::DType) -> Result<Self> {
        let mut start = 0;
        let mut direction = Self { row: TaskGradient::default(), starts: Vec::new() };
        for (name, &length) in lengths {
            direction.row.0.insert(name.clone(), GradientBlock::Dense(Flat::zeros(dtype, length)?));
            direction.starts.push((name.clone(), start, start + length));
            start += length;
        }
        Ok(direction)
    }

    fn write(&mut self, start: usize, values: &[f64]) {
        for (name, first, end) in &self.starts {
            let (from, to) = (start.max(*first), (start + values.len()).min(*end));
            if from >= to {
                continue;
            }
            let values = &values[from - start..to - start];
            match self.row.0.get_mut(name).map(GradientBlock::values_mut) {
                Some(Flat::F32(into)) => {
                    into[from - first..to - first].iter_mut().zip(values).for_each(|(i, v)| *i = *v as f32)
                }
                Some(Flat::F64(into)) => into[from - first..to - first].copy_from_slice(values),
                None => {}
            }
        }
    }
}
