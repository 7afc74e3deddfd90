//! How often task gradients conflicted, part by part.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor};
use mtl_nash::Gram;
use mtl_task::TaskId;

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conflicts {
    tasks: usize,
    /// Whether the search is over.
    settled: bool,
    /// Steps that were looked at.
    steps: usize,
    /// By parameter: pairs below the threshold, and pairs in all, over all steps.
    counts: BTreeMap<String, [f64; 2]>,
    /// Sums of the inner products of the tasks' gradients by parameter, `[tasks²]`; none once the search is over.
    grams: BTreeMap<String, Vec<f64>>,
}

impl Conflicts {
    /// Nothing counted of so many tasks.
    pub(super) fn new(tasks: usize) -> Self {
        Self { tasks, ..Self::default() }
    }

    /// Takes in a step of the tasks `present`, whose gradients have these inner products by parameter.
    pub(super) fn add(&mut self, present: &[TaskId], grams: &BTreeMap<String, Gram>, threshold: f64) {
        self.steps += 1;
        for (name, gram) in grams {
            let counts = self.counts.entry(name.clone()).or_default();
            let sum = self.grams.entry(name.clone()).or_insert_with(|| vec![0.; self.tasks * self.tasks]);
            for (i, a) in present.iter().enumerate() {
                for (j, b) in present.iter().enumerate() {
                    sum[a.0 * self.tasks + b.0] += gram.at(i, j);
                    // A task without a gradient here conflicts with nobody.
                    if j < i && gram.norm(i) > 0. && gram.norm(j) > 0. {
                        counts[0] += f64::from(u8::from(gram.cosine(i, j) < threshold));
                        counts[1] += 1.;
                    }
                }
            }
        }
    }

    /// Steps that were looked at.
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Whether the search is over.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Ends the search.
    pub(super) fn settle(&mut self) {
        (self.settled, self.grams) = (true, BTreeMap::new());
    }

    /// Whether no step had gradients of two tasks.
    pub(super) fn is_blind(&self) -> bool {
        self.counts.values().all(|[_, pairs]| *pairs == 0.)
    }

    /// The share of pairs and steps in which gradients over the parameter conflicted; none without any.
    pub(super) fn rate(&self, name: &str) -> Option<f64> {
        self.counts.get(name).filter(|[_, pairs]| *pairs > 0.).map(|[conflicts, pairs]| conflicts / pairs)
    }

    /// The share that `task` has in the squared norm of all tasks' gradient over the parameter; 1 where nothing is known.
    pub(super) fn share(&self, name: &str, task: TaskId) -> f64 {
        let Some(gram) = self.grams.get(name) else { return 1. };
        let share = gram[task.0 * self.tasks + task.0] / gram.iter().sum::<f64>();
        if share.is_finite() { share.clamp(1e-3, 1e3) } else { 1. }
    }

    /// Everything as tensors.
    pub(super) fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let figures = [self.steps as f64, f64::from(u8::from(self.settled))];
        let mut state = BTreeMap::from([("recon/steps".to_string(), Tensor::new(&figures, &Device::Cpu)?)]);
        for (name, counts) in &self.counts {
            state.insert(format!("recon/counts/{name}"), Tensor::new(counts, &Device::Cpu)?);
        }
        for (name, gram) in &self.grams {
            state.insert(format!("recon/gram/{name}"), Tensor::new(gram.as_slice(), &Device::Cpu)?);
        }
        Ok(state)
    }

    /// # Errors
    /// If it is not a state of this strategy for `tasks` tasks.
    pub(super) fn restored(tasks: usize, state: &BTreeMap<String, Tensor>) -> Result<Self> {
        let mut found = Self::new(tasks);
        for (name, tensor) in state {
            let values = tensor.flatten_all()?.to_vec1::<f64>()?;
            let odd =
                || candle_core::Error::Msg(format!("the saved `{name}` is not of this strategy and {tasks} tasks"));
            if name == "recon/steps" {
                let &[steps, settled] = values.as_slice() else { return Err(odd()) };
                (found.steps, found.settled) = (steps as usize, settled != 0.);
            } else if let Some(name) = name.strip_prefix("recon/counts/") {
                let counts = <[f64; 2]>::try_from(values.as_slice()).map_err(|_| odd())?;
                found.counts.insert(name.to_string(), counts);
            } else if let Some(name) = name.strip_prefix("recon/gram/") {
                if values.len() != tasks * tasks {
                    return Err(odd());
                }
                found.grams.insert(name.to_string(), values);
            }
        }
        Ok(found)
    }
}
