//! Dynamic weight average: a task whose loss falls slowly gets more weight.
//!
//! w = K · softmax(r/T) with rᵢ = ℓ̄ᵢ(t−1) / ℓ̄ᵢ(t−2), ℓ̄ the mean loss over a window of steps; 1 for the first two windows.
//!
//! Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, equation 7. The paper's window is an
//! epoch; the Nash-MTL code takes 25 steps, as here by default, and averages the weighted losses where others sum them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::softmax::softmax;
use crate::state::{take, take_if_saved};
use crate::{Class, Entry, FromLosses, Outcome, Property, Rule, State, StepInputs, Weighting, settings};

pub(crate) const ENTRY: Entry = Entry {
    name: "dwa",
    aliases: &["dynamic-weight-average"],
    about: "more weight to losses that fall slowly",
    paper: "Liu et al., CVPR 2019, arXiv:1803.10704",
    verified: true,
    class: Class::Losses,
    properties: &[Property::PermutationEquivariant, Property::LinearUnderScaling],
    build,
    defaults: settings::defaults::<Settings>,
};

#[derive(Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// Flattens the weights: 2 in the paper.
    temperature: f64,
    /// Steps that one mean is taken over.
    window: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { temperature: 2.0, window: 25 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let Settings { temperature, window } = settings::read(ENTRY.name, given)?;
    if window == 0 || temperature <= 0.0 {
        return Err(format!(
            "`dwa` needs a window of at least 1 and a temperature above 0, found {window}, {temperature}"
        ));
    }
    Ok(Weighting::Losses(Box::new(Dwa {
        temperature,
        window,
        sum: vec![0.0; tasks],
        steps: 0,
        last: None,
        before: None,
    })))
}

struct Dwa {
    temperature: f64,
    window: usize,
    /// Over the `steps` steps of the window so far.
    sum: Vec<f64>,
    steps: usize,
    /// The mean losses of the last window and of the one before.
    last: Option<Vec<f64>>,
    before: Option<Vec<f64>>,
}

impl Rule for Dwa {
    fn state(&self) -> State {
        let mut state = State::from([("sum".into(), self.sum.clone()), ("steps".into(), vec![self.steps as f64])]);
        state.extend(self.last.iter().map(|last| ("last".to_owned(), last.clone())));
        state.extend(self.before.iter().map(|before| ("before".to_owned(), before.clone())));
        state
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        let tasks = self.sum.len();
        self.sum = take(state, "sum", tasks)?;
        self.steps = take(state, "steps", 1)?[0] as usize;
        self.last = take_if_saved(state, "last", tasks)?;
        self.before = take_if_saved(state, "before", tasks)?;
        Ok(())
    }
}

impl FromLosses for Dwa {
    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let tasks = self.sum.len();
        let weights = match (&self.last, &self.before) {
            (Some(last), Some(before)) => {
                let ratio = |task: usize| if before[task] == 0.0 { 1.0 } else { last[task] / before[task] };
                let ratios: Vec<f64> = (0..tasks).map(|task| ratio(task) / self.temperature).collect();
                softmax(&ratios).iter().map(|share| tasks as f64 * share).collect()
            }
            _ => vec![1.0; tasks],
        };
        self.sum.iter_mut().enumerate().for_each(|(task, sum)| *sum += seen.loss(task));
        self.steps += 1;
        if self.steps == self.window {
            let mean = self.sum.iter().map(|sum| sum / self.window as f64).collect();
            self.before = self.last.replace(mean);
            self.sum.fill(0.0);
            self.steps = 0;
        }
        Outcome::exact(weights)
    }
}
