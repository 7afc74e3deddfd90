//! ExcessMTL: more weight to the task whose excess risk, its distance from what it could reach, fell least.
//!
//! The excess risk is estimated by eᵢ = Σ g²/√(Σₜ g²), a Newton decrement with AdaGrad's diagonal curvature; after `warmup` steps
//! of equal weights, whose mean e is the baseline, wᵢ ∝ wᵢ exp(η eᵢ/eᵢ(0)), Σwᵢ = K; d = Σ wᵢ gᵢ.
//!
//! He et al., "Robust Multi-Task Learning with Excess Risks", ICML 2024, algorithm 1 and equations 6, 7, 9. η = 0.01 and a
//! warm-up of one step are the authors' code; updates are made in logarithms, so that a vanishing baseline cannot overflow.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::buffer::Buffer;
use crate::jacobian::chunks;
use crate::softmax::softmax;
use crate::state::take;
use crate::{Class, Entry, FromJacobian, Jacobian, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "excess-mtl",
    aliases: &[],
    about: "more weight to the largest excess risk",
    paper: "He et al., ICML 2024, arXiv:2402.02009",
    verified: true,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// η, the rate of the weights.
    rate: f64,
    /// Steps of equal weights that set the baseline.
    warmup: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 0.01, warmup: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { rate, warmup } = settings::read(ENTRY.name, given)?;
    if warmup == 0 {
        return Err("`warmup` of `excess-mtl` must be at least 1, the step that sets the baseline; found 0".into());
    }
    let (logarithms, baseline) = (vec![0.0; tasks], vec![0.0; tasks]);
    Ok(Weighting::Jacobian(Box::new(ExcessMtl {
        rate,
        warmup,
        steps: 0,
        logarithms,
        baseline,
        squares: Buffer::default(),
    })))
}

struct ExcessMtl {
    rate: f64,
    warmup: usize,
    steps: usize,
    /// log w up to a constant.
    logarithms: Vec<f64>,
    /// The excess risks summed over the warm-up.
    baseline: Vec<f64>,
    /// Σₜ g².
    squares: Buffer,
}

impl Rule for ExcessMtl {
    fn state(&self) -> State {
        let mut state = State::from([
            ("steps".into(), vec![self.steps as f64]),
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
        self.steps = take(state, "steps", 1)?[0] as usize;
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
        self.squares.shape(tasks, mini_batches[0].columns());
        let mut excess = vec![0.0; tasks];
        chunks(mini_batches, |start, mini_batches| {
            for (task, row) in mini_batches[0].iter().enumerate() {
                for (sum, g) in self.squares.part(task, start, row.len()).iter_mut().zip(row) {
                    let square = g * g;
                    *sum = (f64::from(*sum) + square) as f32;
                    excess[task] += square / (f64::from(*sum) + 1e-7).sqrt();
                }
            }
        });
        if self.steps < self.warmup {
            self.baseline.iter_mut().zip(&excess).for_each(|(sum, e)| *sum += e);
        } else {
            for (task, logarithm) in self.logarithms.iter_mut().enumerate() {
                *logarithm += self.rate * excess[task] / (self.baseline[task] / self.warmup as f64 + 1e-7);
            }
            // Only differences count; recentring keeps the logarithms from growing with the steps.
            let largest = self.logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            self.logarithms.iter_mut().for_each(|logarithm| *logarithm -= largest);
        }
        self.steps += 1;
        let weights: Vec<f64> = softmax(&self.logarithms).iter().map(|share| tasks as f64 * share).collect();
        chunks(mini_batches, |start, mini_batches| {
            let sum = |column: usize| weights.iter().zip(&mini_batches[0]).map(|(w, row)| w * row[column]).sum();
            let direction: Vec<f64> = (0..mini_batches[0][0].len()).map(sum).collect();
            write(start, &direction);
        });
        Outcome::exact(weights)
    }
}
