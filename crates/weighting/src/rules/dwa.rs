//! Dynamic weight average: a task whose loss falls slowly gets more weight.
//!
//! w = K · softmax(r/T) with rᵢ = ℓ̄ᵢ(t−1) / ℓ̄ᵢ(t−2), ℓ̄ the mean loss over a window of steps; 1 for the first two windows.
//!
//! Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7. The paper's window is an
//! epoch; the Nash-MTL code takes 25 steps, as here by default, and averages the weighted losses where others sum them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::softmax::softmax;
use crate::state::take;
use crate::{
    Class, FromLosses, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule, settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "dwa",
    aliases: &["dynamic-weight-average"],
    about: "more weight to losses that fall slowly",
    paper: "Liu et al., CVPR 2019, arXiv:1803.10704",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<DwaSettings>,
    source: include_str!("dwa.rs"),
};

/// The settings of `rule = "dwa"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DwaSettings {
    /// Flattens the weights: 2 in the paper.
    pub temperature: f64,
    /// Steps that one mean is taken over.
    pub window: usize,
}

impl Default for DwaSettings {
    fn default() -> Self {
        Self { temperature: 2.0, window: 25 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let DwaSettings { temperature, window } = settings::read(RULE.name, given)?;
    if window == 0 || temperature <= 0.0 {
        return Err(format!(
            "`dwa` needs a window of at least 1 and a temperature above 0, found {window}, {temperature}"
        ));
    }
    Ok(Weighting::Losses(Box::new(Dwa {
        temperature,
        window,
        sum: vec![0.0; tasks],
        steps: vec![0.0; tasks],
        windows: vec![0.0; tasks],
        last: vec![0.0; tasks],
        before: vec![0.0; tasks],
    })))
}

struct Dwa {
    temperature: f64,
    window: usize,
    /// Over the `steps` steps of the task's window so far.
    sum: Vec<f64>,
    steps: Vec<f64>,
    /// How many windows of the task are whole, up to two.
    windows: Vec<f64>,
    /// The mean losses of the last window and of the one before, where there are some.
    last: Vec<f64>,
    before: Vec<f64>,
}

impl WeightingRule for Dwa {
    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[
            ("sum", StateShape::PerTask),
            ("steps", StateShape::PerTask),
            ("windows", StateShape::PerTask),
            ("last", StateShape::PerTask),
            ("before", StateShape::PerTask),
        ]
    }

    fn state(&self) -> State {
        State::from([
            ("sum".into(), self.sum.clone()),
            ("steps".into(), self.steps.clone()),
            ("windows".into(), self.windows.clone()),
            ("last".into(), self.last.clone()),
            ("before".into(), self.before.clone()),
        ])
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let tasks = self.sum.len();
        let [sum, steps, windows, last, before] =
            ["sum", "steps", "windows", "last", "before"].map(|name| take(state, name, tasks));
        (self.sum, self.steps, self.windows, self.last, self.before) = (sum?, steps?, windows?, last?, before?);
        Ok(())
    }
}

impl FromLosses for Dwa {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let tasks = self.sum.len();
        let weights = if self.windows.iter().any(|windows| *windows >= 2.0) {
            // A task that has no two windows yet counts as one whose loss stands still.
            let ratio = |task: usize| match self.before[task] {
                before if before == 0.0 || self.windows[task] < 2.0 => 1.0,
                before => self.last[task] / before,
            };
            let ratios: Vec<f64> = (0..tasks).map(|task| ratio(task) / self.temperature).collect();
            softmax(&ratios).iter().map(|share| tasks as f64 * share).collect()
        } else {
            vec![1.0; tasks]
        };
        for task in 0..tasks {
            self.sum[task] += seen.loss(task);
            self.steps[task] += 1.0;
            if self.steps[task] == self.window as f64 {
                self.before[task] = self.last[task];
                self.last[task] = self.sum[task] / self.window as f64;
                self.windows[task] = (self.windows[task] + 1.0).min(2.0);
                (self.sum[task], self.steps[task]) = (0.0, 0.0);
            }
        }
        Outcome::exact(weights)
    }
}
