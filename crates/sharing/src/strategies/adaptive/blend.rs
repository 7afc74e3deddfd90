//! The end of a training: each task trains on its own from its group's vector, and ends between the two.

use candle_core::Result;
use mtl_eval::stats::Differences;
use mtl_task::TaskId;
use serde_json::{Map, Value, json};

use super::plan::Plan;
use super::weights::Own;
use super::{Adapted, mean};
use crate::{Change, DevScores, StepView};

impl Adapted {
    /// Lets every task go its own way, if its copy fits and there is something left to train it.
    pub(super) fn begin_blend(&mut self, plan: &Plan, change: &mut Change, step: &mut StepView) -> Result<()> {
        let (settings, tasks) = (&self.settings, self.weights.names().len());
        let price = plan.blend_price(settings, step.budget);
        let told = if settings.most_encoders > 0. && (tasks as f64) > settings.most_encoders {
            json!({ "interpolation": "left out", "why": format!("{tasks} encoders are more than `most_encoders`") })
        } else if price >= step.budget.left() {
            json!({ "interpolation": "left out", "why": format!("scoring costs {price} of the {} steps left", step.budget.left()) })
        } else {
            step.budget.charge(price);
            self.memory.own = self.weights.divide(&self.memory.bands, &self.memory.clues, change)?;
            json!({ "interpolation": "begins", "spent": step.budget.spent(), "charged": price })
        };
        if let Some(plan) = self.memory.plan.as_mut().filter(|_| self.memory.own.is_empty()) {
            plan.blend = None;
        }
        self.memory.charged = step.budget.charged;
        self.memory.history.push(told.clone());
        step.events.push(told);
        Ok(())
    }

    /// Puts every task where between its group's vector and its own it does best on dev.
    pub(super) fn end_blend(&mut self, plan: &Plan, change: &mut Change, step: &mut StepView) -> Result<()> {
        let names = self.weights.names().to_vec();
        let mut told = Map::new();
        for (task, name) in names.iter().enumerate() {
            let (mix, losses) = self.mix(TaskId(task), plan.held_out, step.held_out)?;
            self.memory.own.insert(task, Own::Mixed(mix));
            let tried: Vec<Value> =
                self.settings.mixes.iter().zip(losses).map(|(mix, loss)| json!([mix, loss])).collect();
            told.insert(name.clone(), json!({ "mix": mix, "losses": tried }));
        }
        self.weights.settle(&self.memory.bands, &self.memory.own, change)?;
        let told = json!({ "interpolation": "ends", "spent": step.budget.spent(), "tasks": told });
        self.memory.history.push(told.clone());
        step.events.push(told);
        Ok(())
    }

    /// The mix of `task`, its parameters set to it, and the mean loss of each that was tried.
    fn mix(&mut self, task: TaskId, most: usize, held_out: &mut dyn DevScores) -> Result<(f64, Vec<f64>)> {
        let pairs = self.weights.pairs(&self.memory.bands, task)?;
        let mixes = self.settings.mixes.clone();
        let mut losses = Vec::with_capacity(mixes.len());
        for &mix in &mixes {
            pairs.iter().try_for_each(|pair| pair.mix(mix))?;
            losses.push(held_out.sampled_losses(&*self, task, most)?);
        }
        let mix = mixes.get(chosen(&losses)).copied().unwrap_or(0.);
        pairs.iter().try_for_each(|pair| pair.mix(mix))?;
        Ok((mix, losses.iter().map(|losses| mean(losses)).collect()))
    }
}

/// The first of those whose mean loss is within one standard error of the least, paired example by example.
fn chosen(losses: &[Vec<f64>]) -> usize {
    let means: Vec<f64> = losses.iter().map(|losses| mean(losses)).collect();
    let best = (0..means.len()).reduce(|best, at| if means[at] < means[best] { at } else { best }).unwrap_or(0);
    let near = |at: &usize| {
        let difference = Differences::of(&losses[*at], &losses[best]);
        *at == best || difference.mean() <= difference.error()
    };
    (0..best).find(near).unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_mix_is_taken_unless_a_larger_one_is_better_beyond_an_error() {
        let noisy = |mean: f64| (0..20).map(|at| mean + if at % 2 == 0 { 0.5 } else { -0.5 }).collect::<Vec<f64>>();
        let flat = |mean: f64| vec![mean; 20];
        assert_eq!(chosen(&[flat(1.), flat(1.), flat(1.)]), 0);
        assert_eq!(chosen(&[flat(1.), flat(0.5), flat(0.6)]), 1);
        // Differences of 0.05 with a standard error of 0.11.
        assert_eq!(chosen(&[flat(1.), noisy(0.95)]), 0);
        assert_eq!(chosen(&[flat(1.), noisy(0.5)]), 1);
        assert_eq!(chosen(&[]), 0);
    }
}
