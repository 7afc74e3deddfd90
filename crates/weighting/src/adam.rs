//! Adam over a rule's few own parameters (Kingma and Ba, 2015): β = (0.9, 0.999), ε = 1e-8, coupled weight decay.

use crate::State;
use crate::state::take;

/// The optimizer of a rule's own parameters.
#[derive(Clone, Debug)]
pub(crate) struct Adam {
    rate: f64,
    decay: f64,
    steps: f64,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Adam {
    pub(crate) fn new(parameters: usize, rate: f64, decay: f64) -> Self {
        Self { rate, decay, steps: 0.0, first: vec![0.0; parameters], second: vec![0.0; parameters] }
    }

    /// Moves `parameters` against `gradient`.
    pub(crate) fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        let (b1, b2, epsilon) = (0.9, 0.999, 1e-8);
        self.steps += 1.0;
        let (c1, c2) = (1.0 - f64::powf(b1, self.steps), 1.0 - f64::powf(b2, self.steps));
        for (i, parameter) in parameters.iter_mut().enumerate() {
            let g = gradient[i] + self.decay * *parameter;
            self.first[i] += (1.0 - b1) * (g - self.first[i]);
            self.second[i] = b2 * self.second[i] + (1.0 - b2) * g * g;
            *parameter -= self.rate * (self.first[i] / c1) / ((self.second[i] / c2).sqrt() + epsilon);
        }
    }

    pub(crate) fn save(&self, state: &mut State) {
        state.insert("adam.steps".into(), vec![self.steps]);
        state.insert("adam.first".into(), self.first.clone());
        state.insert("adam.second".into(), self.second.clone());
    }

    pub(crate) fn restore(&mut self, state: &State) -> Result<(), String> {
        let steps = take(state, "adam.steps", 1)?[0];
        let first = take(state, "adam.first", self.first.len())?;
        let second = take(state, "adam.second", self.second.len())?;
        (self.steps, self.first, self.second) = (steps, first, second);
        Ok(())
    }
}
