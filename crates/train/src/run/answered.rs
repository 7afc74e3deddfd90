//! What a finished run answered, for comparisons example by example, and how fast it answers.

use std::time::Instant;

use anyhow::Result;
use mtl_data::{Split, TestKey};
use mtl_task::TaskId;

use super::{Answered, Run};
use crate::evaluate::{answers, judged_truths};
use crate::recipe::Test;

/// Texts a task that the latency is measured on.
const TIMED: usize = 32;

impl Run {
    /// The kept model's answers: to test where the recipe opens it, else to dev.
    pub(super) fn answered(&self) -> Result<Vec<Answered>> {
        let key = match self.recipe.evaluation.test {
            Test::Open => Some(TestKey::final_evaluation()),
            Test::Sealed => None,
        };
        let trainer = &self.assembled.trainer;
        let datasets = self.assembled.datasets.iter().enumerate();
        datasets
            .map(|(index, dataset)| {
                let split: &Split = key.as_ref().map_or(&dataset.dev, |key| dataset.test.open(key));
                let (id, kind) = (TaskId(index), trainer.tasks[index].as_ref());
                let sharing = trainer.model.sharing.as_ref();
                let batch = self.recipe.evaluation.batch;
                Ok(Answered {
                    task: dataset.name.clone(),
                    names: kind.names().to_vec(),
                    texts: split.examples.iter().map(|example| split.texts[example.row].clone()).collect(),
                    truths: judged_truths(&split.examples),
                    answers: answers(&trainer.model, sharing, kind, id, &split.examples, batch)?,
                })
            })
            .collect()
    }

    /// Milliseconds to answer one text on its own, mean over tasks and the first texts of dev.
    pub(super) fn latency(&self) -> Result<f64> {
        let trainer = &self.assembled.trainer;
        let mut means = Vec::new();
        for (index, dataset) in self.assembled.datasets.iter().enumerate() {
            let sample = &dataset.dev.examples[..dataset.dev.examples.len().min(TIMED)];
            let answer = |examples| {
                let kind = trainer.tasks[index].as_ref();
                answers(&trainer.model, trainer.model.sharing.as_ref(), kind, TaskId(index), examples, 1)
            };
            // The first answer fills buffers that the others find filled.
            answer(&sample[..1])?;
            let started = Instant::now();
            answer(sample)?;
            means.push(1e3 * started.elapsed().as_secs_f64() / sample.len() as f64);
        }
        Ok(means.iter().sum::<f64>() / means.len().max(1) as f64)
    }
}
