//! Adam without decay: how far parameters move under an optimizer with adaptive steps, which real runs have.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mtl_sharing::Model;
use mtl_task::{Progress, TaskId};

/// Means of gradients and of their squares, by parameter.
#[derive(Default)]
pub(crate) struct Adam(BTreeMap<String, (i32, Vec<f64>, Vec<f64>)>);

impl Adam {
    /// One step of `tasks` at `rate`.
    pub(crate) fn step(&mut self, model: &mut Model, tasks: &[TaskId], rate: f64) -> Result<()> {
        for (name, segment) in &super::descent(model, tasks)?.1.0 {
            let length = model.params.get(name).with_context(|| format!("no parameter `{name}`"))?.layout().len();
            let mask = model.sharing.update_mask(name, tasks);
            let (gradient, mut values) = (segment.dense(length)?, super::values(model, name)?);
            let (count, means, squares) =
                self.0.entry(name.clone()).or_insert_with(|| (0, vec![0.; length], vec![0.; length]));
            *count += 1;
            let (first, second) = (1. - 0.9f64.powi(*count), 1. - 0.999f64.powi(*count));
            for at in (0..length).filter(|at| mask.as_ref().is_none_or(|mask| mask.get(*at))) {
                let gradient = gradient.at(at);
                means[at] += 0.1 * (gradient - means[at]);
                squares[at] += 0.001 * (gradient * gradient - squares[at]);
                values[at] -= rate * (means[at] / first) / ((squares[at] / second).sqrt() + 1e-8);
            }
            super::set(model, name, &values)?;
        }
        Ok(super::adapt(model, Progress { step: 0, of: 1 }, rate)?)
    }
}
