//! What a finished run answered, for comparisons example by example, and how fast it answers.

use std::time::Instant;

use anyhow::Result;
use mtl_data::Split;
use mtl_task::{Answer, TaskId};

use super::{Answered, Run};
use crate::evaluate::judged_truths;

/// Texts a task that the latency is measured on.
const TIMED: usize = 32;

impl Run {
    /// The examples that the kept model was judged on, test where the recipe opens it, else dev, with its `answers`.
    pub(super) fn answered(&self, answers: Vec<Vec<Answer>>) -> Vec<Answered> {
        let key = self.key();
        let datasets = self.assembled.datasets.iter().zip(answers);
        datasets
            .map(|(dataset, answers)| {
                let split: &Split = key.as_ref().map_or(&dataset.dev, |key| dataset.test.open(key));
                Answered {
                    task: dataset.name.clone(),
                    names: dataset.task.names().to_vec(),
                    ceiling: dataset.ceiling,
                    texts: split.examples.iter().map(|example| split.texts[example.row].clone()).collect(),
                    truths: judged_truths(&split.examples),
                    answers,
                }
            })
            .collect()
    }

    /// Milliseconds to answer one text on its own, mean over tasks and the first texts of dev.
    pub(super) fn latency(&self) -> Result<f64> {
        let trainer = &self.assembled.trainer;
        let mut means = Vec::new();
        for (index, dataset) in self.assembled.datasets.iter().enumerate() {
            let sample = &dataset.dev.examples[..dataset.dev.examples.len().min(TIMED)];
            let answer = |examples| trainer.answers(TaskId(index), examples, 1);
            // The first answer fills buffers that the others find filled.
            answer(&sample[..1])?;
            let started = Instant::now();
            answer(sample)?;
            means.push(1e3 * started.elapsed().as_secs_f64() / sample.len() as f64);
        }
        Ok(means.iter().sum::<f64>() / means.len().max(1) as f64)
    }
}
