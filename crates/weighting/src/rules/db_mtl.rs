//! DB-MTL, dual balancing: log losses for the scales of losses, equal lengths for the scales of gradients.
//!
//! With the gradients of log ℓ, hᵢ ← gᵢ/(ℓᵢ + 1e-8) + βₜ (hᵢ − gᵢ/(ℓᵢ + 1e-8)), βₜ = β/t^`decay`; d = Σ (maxⱼ‖hⱼ‖/‖hᵢ‖) hᵢ.
//!
//! Lin et al., "Dual-Balancing for Multi-Task Learning", 2023, algorithm 1. As in LibMTL h₀ = 0 without bias correction, so the
//! first directions are short by 1 − β; β = 0.9 and no decay are its defaults. h is kept in f32: gradients of log ℓ beyond its
//! range are not finite to this rule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jacobian::{beyond_f32, chunks};
use crate::state::take;
use crate::{
    Class, FromJacobian, Jacobian, Outcome, Property, Rule, State, StateShape, StepInputs, TaskVectors, Weighting,
    WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "db-mtl",
    aliases: &["dual-balancing"],
    about: "log losses and gradients of equal length",
    paper: "Lin et al., 2023, arXiv:2308.12029",
    verified: false,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    select: None,
    defaults: settings::defaults::<DbMtlSettings>,
    source: include_str!("db_mtl.rs"),
};

/// The settings of `rule = "db-mtl"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DbMtlSettings {
    /// How much of the smoothed gradient stays.
    pub beta: f64,
    /// Power of the step number that divides it.
    pub decay: f64,
}

impl Default for DbMtlSettings {
    fn default() -> Self {
        Self { beta: 0.9, decay: 0.0 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let DbMtlSettings { beta, decay } = settings::read(RULE.name, given)?;
    if !((0.0..=1.0).contains(&beta) && decay >= 0.0) {
        return Err(format!(
            "`db-mtl` needs `beta` in [0, 1] and a `decay` that is not negative, found {beta}, {decay}"
        ));
    }
    Ok(Weighting::Jacobian(Box::new(DbMtl {
        tasks,
        beta,
        decay,
        step: vec![0.0; tasks],
        smoothed: TaskVectors::default(),
    })))
}

struct DbMtl {
    tasks: usize,
    beta: f64,
    decay: f64,
    /// t, the steps that each task took part in.
    step: Vec<f64>,
    /// h.
    smoothed: TaskVectors,
}

impl WeightingRule for DbMtl {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("step", StateShape::PerTask), ("buffer", StateShape::PerTaskVector)]
    }

    fn vectors(&mut self) -> Option<&mut TaskVectors> {
        Some(&mut self.smoothed)
    }

    fn state(&self) -> State {
        let mut state = State::from([("step".into(), self.step.clone())]);
        self.smoothed.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.smoothed.restore(state, self.tasks)?;
        self.step = take(state, "step", self.tasks)?;
        Ok(())
    }
}

impl FromJacobian for DbMtl {
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let (losses, warning) = seen.positive(self.tasks);
        let scales: Vec<f64> = losses.iter().map(|loss| 1.0 / (loss + 1e-8)).collect();
        if let Some(task) = beyond_f32(mini_batches, &scales) {
            return Outcome { warning, ..Outcome::non_finite(0, task) };
        }
        self.smoothed.shape(self.tasks, mini_batches[0].columns());
        self.step.iter_mut().for_each(|step| *step += 1.0);
        let mut squares = vec![0.0; self.tasks];
        chunks(mini_batches, |start, mini_batches| {
            for (task, row) in mini_batches[0].iter().enumerate() {
                let beta = self.beta / self.step[task].powf(self.decay);
                let scale = scales[task];
                for (h, g) in self.smoothed.part(task, start, row.len()).iter_mut().zip(row) {
                    *h = (scale * g + beta * (f64::from(*h) - scale * g)) as f32;
                    squares[task] += f64::from(*h) * f64::from(*h);
                }
            }
        });
        let largest = squares.iter().copied().fold(0.0, f64::max).sqrt();
        let lengthen = |square: f64| if square == 0.0 { 0.0 } else { largest / square.sqrt() };
        let weights: Vec<f64> = squares.into_iter().map(lengthen).collect();
        self.smoothed.combine(&weights, write);
        Outcome { warning, ..Outcome::exact(Vec::new()) }
    }
}
