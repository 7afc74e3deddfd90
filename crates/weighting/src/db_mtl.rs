//! DB-MTL, dual balancing: log losses for the scales of losses, equal lengths for the scales of gradients.
//!
//! With the gradients of log ℓ, hᵢ ← gᵢ/(ℓᵢ + 1e-8) + βₜ (hᵢ − gᵢ/(ℓᵢ + 1e-8)), βₜ = β/t^`decay`; d = Σ (maxⱼ‖hⱼ‖/‖hᵢ‖) hᵢ.
//!
//! Lin et al., "Dual-Balancing for Multi-Task Learning", 2023, algorithm 1. As in LibMTL h₀ = 0 without bias correction, so the
//! first directions are short by 1 − β; β = 0.9 and no decay are its defaults.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::buffer::Buffer;
use crate::jacobian::chunks;
use crate::state::take;
use crate::{Class, Entry, FromJacobian, Jacobian, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "db-mtl",
    aliases: &["dual-balancing"],
    about: "log losses and gradients of equal length",
    paper: "Lin et al., 2023, arXiv:2308.12029",
    verified: false,
    class: Class::Jacobian,
    properties: &[Property::PermutationEquivariant, Property::ScaleInvariant],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// How much of the smoothed gradient stays.
    beta: f64,
    /// Power of the step number that divides it.
    decay: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { beta: 0.9, decay: 0.0 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { beta, decay } = settings::read(ENTRY.name, given)?;
    Ok(Weighting::Jacobian(Box::new(DbMtl { tasks, beta, decay, step: 0.0, smoothed: Buffer::default() })))
}

struct DbMtl {
    tasks: usize,
    beta: f64,
    decay: f64,
    step: f64,
    /// h.
    smoothed: Buffer,
}

impl Rule for DbMtl {
    fn state(&self) -> State {
        let mut state = State::from([("step".into(), vec![self.step])]);
        self.smoothed.save(&mut state);
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.smoothed.restore(state, self.tasks)?;
        self.step = take(state, "step", 1)?[0];
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
        self.smoothed.shape(self.tasks, mini_batches[0].columns());
        self.step += 1.0;
        let beta = self.beta / self.step.powf(self.decay);
        let mut squares = vec![0.0; self.tasks];
        chunks(mini_batches, |start, mini_batches| {
            for (task, row) in mini_batches[0].iter().enumerate() {
                let scale = 1.0 / (losses[task] + 1e-8);
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
