//! Adam over a rule's few own parameters (Kingma and Ba, 2015): β = (0.9, 0.999), ε = 1e-8, coupled weight decay.

use crate::state::take;
use crate::{State, StateShape};

/// How the vectors of an optimizer with a parameter per task belong to the tasks.
pub(crate) const PER_TASK: [(&str, StateShape); 3] =
    [("adam.steps", StateShape::PerTask), ("adam.first", StateShape::PerTask), ("adam.second", StateShape::PerTask)];

/// The optimizer of a rule's own parameters.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    rate: f64,
    decay: f64,
    /// Steps of each parameter: tasks that a step leaves out take none.
    steps: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Adam {
    pub(crate) fn new(parameters: usize, rate: f64, decay: f64) -> Self {
        Self { rate, decay, steps: vec![0.0; parameters], first: vec![0.0; parameters], second: vec![0.0; parameters] }
    }

    /// Moves `parameters` against `gradient`.
    pub(crate) fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.step_at(self.rate, parameters, gradient);
    }

    /// The same at another rate, for this step.
    pub(crate) fn step_at(&mut self, rate: f64, parameters: &mut [f64], gradient: &[f64]) {
        let (b1, b2, epsilon) = (0.9, 0.999, 1e-8);
        for (i, parameter) in parameters.iter_mut().enumerate() {
            self.steps[i] += 1.0;
            let (c1, c2) = (1.0 - f64::powf(b1, self.steps[i]), 1.0 - f64::powf(b2, self.steps[i]));
            let g = gradient[i] + self.decay * *parameter;
            self.first[i] += (1.0 - b1) * (g - self.first[i]);
            self.second[i] = b2 * self.second[i] + (1.0 - b2) * g * g;
            *parameter -= rate * (self.first[i] / c1) / ((self.second[i] / c2).sqrt() + epsilon);
        }
    }

    pub(crate) fn save(&self, state: &mut State) {
        state.insert("adam.steps".into(), self.steps.clone());
        state.insert("adam.first".into(), self.first.clone());
        state.insert("adam.second".into(), self.second.clone());
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<(), String> {
        let steps = take(state, "adam.steps", self.steps.len())?;
        let first = take(state, "adam.first", self.first.len())?;
        let second = take(state, "adam.second", self.second.len())?;
        (self.steps, self.first, self.second) = (steps, first, second);
        Ok(())
    }
}
