//! ExcessMTL: more weight to the task whose excess risk, its distance from what it could reach, fell least.
//!
//! The excess risk is estimated by eᵢ = Σ g²/√(Σₜ g²), a Newton decrement with AdaGrad's diagonal curvature; after `warmup` steps
//! of equal weights, whose mean e is the baseline, wᵢ ∝ wᵢ exp(η eᵢ/eᵢ(0)), Σwᵢ = K; d = Σ wᵢ gᵢ.
//!
//! He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, algorithm 1 and equations 6, 7, 9. η = 0.01 and a
//! warm-up of one step are the authors' code; updates are made in logarithms, so that a vanishing baseline cannot overflow. Σ g²
//! is kept in f32: gradients beyond the root of its range are not finite to this rule.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::jacobian::{beyond_f32, chunks};
use crate::softmax::softmax;
use crate::state::take;
use crate::{
    Class, FromJacobian, Jacobian, Outcome, Property, Rule, State, StateShape, StepInputs, TaskVectors, Weighting,
    WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "excess-mtl",
    aliases: &[],
    about: "more weight to the largest excess risk",
    paper: "He et al., ICML 2024, arXiv:2402.02009",
    verified: true,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant],
    build,
    select: None,
    defaults: settings::defaults::<ExcessMtlSettings>,
    source: include_str!("excess_mtl.rs"),
};

/// The settings of `rule = "excess-mtl"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExcessMtlSettings {
    /// η, the rate of the weights.
    pub rate: f64,
    /// Steps of equal weights that set the baseline.
    pub warmup: usize,
}

impl Default for ExcessMtlSettings {
    fn default() -> Self {
        Self { rate: 0.01, warmup: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let ExcessMtlSettings { rate, warmup } = settings::read(RULE.name, given)?;
    if warmup == 0 {
        return Err("`warmup` of `excess-mtl` must be at least 1, the step that sets the baseline; found 0".into());
    }
    let (logarithms, baseline) = (vec![0.0; tasks], vec![0.0; tasks]);
    Ok(Weighting::Jacobian(Box::new(ExcessMtl {
        rate,
        warmup,
        steps: vec![0.0; tasks],
        logarithms,
        baseline,
        squares: TaskVectors::default(),
    })))
}

struct ExcessMtl {
    rate: f64,
    warmup: usize,
    /// The steps that each task took part in.
    steps: Vec<f64>,
    /// log w up to a constant.
    logarithms: Vec<f64>,
    /// The excess risks summed over the warm-up.
    baseline: Vec<f64>,
    /// Σₜ g².
    squares: TaskVectors,
}

impl WeightingRule for ExcessMtl {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[
            ("steps", StateShape::PerTask),
            ("logarithms", StateShape::LogShare),
            ("baseline", StateShape::PerTask),
            ("buffer", StateShape::PerTaskVector),
        ]
    }

    fn vectors(&mut self) -> Option<&mut TaskVectors> {
        Some(&mut self.squares)
    }

    fn state(&self) -> State {
        let mut state = State::from([
            ("steps".into(), self.steps.clone()),
            ("logarithms".into(), self.logarithms.clone()),
            ("baseline".into(), self.baseline.clone()),
        ]);
        self.squares.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let tasks = self.logarithms.len();
        let (logarithms, baseline) = (take(state, "logarithms", tasks)?, take(state, "baseline", tasks)?);
        self.squares.restore(state, tasks)?;
        self.steps = take(state, "steps", tasks)?;
        (self.logarithms, self.baseline) = (logarithms, baseline);
        Ok(())
    }
}

impl FromJacobian for ExcessMtl {
    fn combine(
        &mut self,
        mini_batches: &[&dyn Jacobian],
        _seen: &StepInputs,
        write: &mut dyn FnMut(usize, &[f64]),
    ) -> Outcome {
        let tasks = self.logarithms.len();
        // Σ g² is kept in f32: a g beyond the root of its range has no place there.
        let root = f64::from(f32::MAX).sqrt();
        if let Some(task) = beyond_f32(mini_batches, &vec![root; tasks]) {
            return Outcome::non_finite(0, task);
        }
        self.squares.shape(tasks, mini_batches[0].columns());
        let mut excess = vec![0.0; tasks];
        chunks(mini_batches, |start, mini_batches| {
            for (task, row) in mini_batches[0].iter().enumerate() {
                for (sum, g) in self.squares.part(task, start, row.len()).iter_mut().zip(row) {
                    let square = g * g;
                    *sum = (f64::from(*sum) + square).min(f64::from(f32::MAX)) as f32;
                    excess[task] += square / (f64::from(*sum) + 1e-7).sqrt();
                }
            }
        });
        for (task, excess) in excess.into_iter().enumerate() {
            if self.steps[task] < self.warmup as f64 {
                self.baseline[task] += excess;
            } else {
                self.logarithms[task] += self.rate * excess / (self.baseline[task] / self.warmup as f64 + 1e-7);
            }
            self.steps[task] += 1.0;
        }
        // Only differences count; recentring keeps the logarithms from growing with the steps.
        let largest = self.logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.logarithms.iter_mut().for_each(|logarithm| *logarithm -= largest);
        let weights: Vec<f64> = softmax(&self.logarithms).iter().map(|share| tasks as f64 * share).collect();
        chunks(mini_batches, |start, mini_batches| {
            let sum = |column: usize| weights.iter().zip(&mini_batches[0]).map(|(w, row)| w * row[column]).sum();
            let direction: Vec<f64> = (0..mini_batches[0][0].len()).map(sum).collect();
            write(start, &direction);
        });
        Outcome::exact(weights)
    }
}
