//! Smooth Tchebycheff scalarization: a soft maximum of the losses.
//!
//! Without warm-up the paper's plain form, μ log Σ exp(pᵢℓᵢ/μ) with preferences p, so w = p · softmax(pℓ/μ). With `warmup`
//! steps the authors' multi-task form: first Σ log ℓ; the mean losses over the last quarter of the warm-up become the nadir
//! z; then K μ log Σ exp(log(ℓᵢ/zᵢ)/μ), so wᵢ = K · softmax(log(ℓ/z)/μ)ᵢ / ℓᵢ.
//!
//! Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization", ICML 2024, equation 10 and appendix B.
//! The authors warm up for four epochs and take the last one's mean; steps are what a rule can count.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::softmax::softmax;
use crate::state::take;
use crate::{Class, Entry, FromLosses, Outcome, Preference, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "stch",
    aliases: &["smooth-tchebycheff"],
    about: "a soft maximum of the losses",
    paper: "Lin et al., ICML 2024, arXiv:2402.19078",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Smoothness; towards 0 only the largest counts.
    mu: f64,
    /// Steps of Σ log ℓ before; 0 for the plain form.
    warmup: usize,
    /// The preferences of the plain form.
    preference: Preference,
}

impl Default for Settings {
    fn default() -> Self {
        Self { mu: 1.0, warmup: 100, preference: Preference::Mean }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { mu, warmup, preference } = settings::read(ENTRY.name, given)?;
    if mu <= 0.0 {
        return Err(format!("`mu` of `stch` must be above 0, found {mu}"));
    }
    Ok(Weighting::Losses(Box::new(Stch { mu, warmup, preference, steps: 0, sum: vec![0.0; tasks] })))
}

struct Stch {
    mu: f64,
    warmup: usize,
    preference: Preference,
    /// Steps of the warm-up that are done.
    steps: usize,
    /// Losses summed over its last quarter.
    sum: Vec<f64>,
}

impl Rule for Stch {
    fn state(&self) -> State {
        State::from([("steps".into(), vec![self.steps as f64]), ("sum".into(), self.sum.clone())])
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let sum = take(state, "sum", self.sum.len())?;
        self.steps = take(state, "steps", 1)?[0] as usize;
        self.sum = sum;
        Ok(())
    }
}

impl FromLosses for Stch {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let tasks = self.sum.len();
        if self.warmup == 0 {
            let share = self.preference.of(tasks);
            let scaled: Vec<f64> = (0..tasks).map(|task| share * seen.loss(task) / self.mu).collect();
            return Outcome::exact(softmax(&scaled).iter().map(|soft| share * soft).collect());
        }
        let (losses, warning) = seen.positive(tasks);
        let counted = self.warmup.div_ceil(4);
        let weights = if self.steps < self.warmup {
            if self.steps >= self.warmup - counted {
                self.sum.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += loss);
            }
            self.steps += 1;
            losses.iter().map(|loss| 1.0 / loss).collect()
        } else {
            let nadir = |task: usize| self.sum[task] / counted as f64;
            let scaled: Vec<f64> = (0..tasks).map(|task| (losses[task] / nadir(task)).ln() / self.mu).collect();
            softmax(&scaled).iter().zip(&losses).map(|(soft, loss)| tasks as f64 * soft / loss).collect()
        };
        Outcome { warning, ..Outcome::exact(weights) }
    }
}
