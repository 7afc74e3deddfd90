//! How long the batches of a run are, read off the sampler before a step is taken: a function of (seed, step), as the
//! batches are.

use std::collections::BTreeSet;

use anyhow::Result;
use mtl_sharing::Phase;

use crate::assemble::Assembled;
use crate::recipe::Recipe;
use crate::run::loader::DataLoader;

/// Most steps that are looked at, and the examples that are put in order for them.
const STEPS: usize = 4096;
const EXAMPLES: usize = 20_000_000;
/// Most steps that are named for being long.
const NAMED: usize = 8;

/// The lengths of a run's batches, in tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchLengths {
    /// The longest micro-batch, by task; 0 for one that takes no part.
    pub(crate) micro: Vec<usize>,
    /// The most of one step, by task.
    pub(crate) step: Vec<usize>,
    /// Steps that have the longest micro-batch of a task, and steps of ordinary length; both rising.
    pub(crate) longest: Vec<usize>,
    pub(crate) ordinary: Vec<usize>,
    /// Mean of a step, over all tasks.
    pub(crate) mean: f64,
}

impl BatchLengths {
    /// Looks at the steps of `phases`, or at some of them, evenly spread, where they are many or their tasks large.
    pub(crate) fn of(
        recipe: &Recipe,
        assembled: &Assembled,
        loader: &DataLoader,
        phases: &[Phase],
    ) -> Result<BatchLengths> {
        let tasks = assembled.datasets.len();
        let examples: usize = assembled.datasets.iter().map(|dataset| dataset.train.examples.len()).sum();
        let moves = recipe.registries.samplers.find(&recipe.sampler.name)?.moves;
        // Where every draw depends on those before it, a late one takes as long as all of them.
        let most = if moves || recipe.train.step == crate::StepKind::One { STEPS / 16 } else { STEPS };
        let most = (EXAMPLES / examples.max(1)).clamp(16, most);
        let steps: usize = phases.iter().map(|phase| phase.steps).sum();
        let (mut lengths, mut longest) =
            (Self { micro: vec![0; tasks], step: vec![0; tasks], ..Self::default() }, vec![0; tasks]);
        let mut totals = Vec::new();
        for at in 0..steps.min(most) {
            let step = (at as u128 * steps as u128 / steps.min(most) as u128) as usize;
            let Some(phase) = phase_of(phases, step) else { continue };
            let mut total = 0;
            for (task, examples) in loader.lengths(assembled, step, &phases[phase])? {
                let micro = examples.len().div_ceil(recipe.train.accumulate.max(1)).max(1);
                let most = examples.chunks(micro).map(|piece| piece.iter().sum()).max().unwrap_or(0);
                let all: usize = examples.iter().sum();
                if most > lengths.micro[task.0] {
                    (lengths.micro[task.0], longest[task.0]) = (most, step);
                }
                lengths.step[task.0] = lengths.step[task.0].max(all);
                total += all;
            }
            totals.push((total, step));
        }
        lengths.mean = totals.iter().map(|(total, _)| *total as f64).sum::<f64>() / totals.len().max(1) as f64;
        // The whole steps that are longest come first: of many tasks not each is worth a step.
        totals.sort_unstable();
        let mut named: BTreeSet<usize> = totals.last().map(|(_, step)| *step).into_iter().collect();
        let mut by_length: Vec<usize> = (0..tasks).filter(|&task| lengths.micro[task] > 0).collect();
        by_length.sort_by_key(|&task| std::cmp::Reverse(lengths.micro[task]));
        for task in by_length {
            if named.len() < NAMED {
                named.insert(longest[task]);
            }
        }
        lengths.longest = named.into_iter().collect();
        let middle = totals.len() / 2;
        let around = middle.saturating_sub(1)..(middle + 2).min(totals.len());
        lengths.ordinary = totals[around].iter().map(|(_, step)| *step).collect();
        lengths.ordinary.sort_unstable();
        Ok(lengths)
    }
}

/// The phase that step `step` of a run belongs to.
pub(crate) fn phase_of(phases: &[Phase], step: usize) -> Option<usize> {
    let mut end = 0;
    phases.iter().position(|phase| {
        end += phase.steps;
        step < end
    })
}
