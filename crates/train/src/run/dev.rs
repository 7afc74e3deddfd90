//! Scores on dev, for looks at training and for strategies that choose between candidates.

use std::time::Instant;

use candle_core::Error;
use cpu_time::ProcessTime;
use mtl_data::Example;
use mtl_sharing::{DevScores, Sharing};
use mtl_task::TaskId;

use super::Run;
use crate::assemble::Assembled;
use crate::evaluate::{answers, headline, judged_truths, train_sample};

/// The headline score of `task` on dev under `sharing`.
pub(super) fn score(assembled: &Assembled, sharing: &dyn Sharing, task: TaskId, batch: usize) -> anyhow::Result<f64> {
    score_on(&assembled.datasets[task.0].dev.examples, assembled, sharing, task, batch)
}

/// The headline score of `task` on as many training examples as dev has.
pub(super) fn train_score(
    assembled: &Assembled,
    sharing: &dyn Sharing,
    task: TaskId,
    batch: usize,
) -> anyhow::Result<f64> {
    score_on(&train_sample(&assembled.datasets[task.0]), assembled, sharing, task, batch)
}

fn score_on(
    examples: &[Example],
    assembled: &Assembled,
    sharing: &dyn Sharing,
    task: TaskId,
    batch: usize,
) -> anyhow::Result<f64> {
    let trainer = &assembled.trainer;
    let kind = trainer.tasks[task.0].as_ref();
    let answers = answers(&trainer.model, sharing, kind, task, examples, batch)?;
    headline(kind, &answers, &judged_truths(examples))
}

struct Dev<'a> {
    assembled: &'a Assembled,
    batch: usize,
}

impl DevScores for Dev<'_> {
    fn score(&mut self, sharing: &dyn Sharing, task: TaskId) -> candle_core::Result<f64> {
        score(self.assembled, sharing, task, self.batch).map_err(|error| Error::Msg(format!("{error:#}")))
    }
}

/// Stands in while the strategy itself is out for [`Sharing::enter`].
struct Away;

impl Sharing for Away {
    fn represent(
        &self,
        _task: TaskId,
        _tokens: &mtl_task::Packed,
        _pass: &mut mtl_backbone::Pass,
    ) -> candle_core::Result<candle_core::Tensor> {
        candle_core::bail!("the strategy is choosing; score it, not the model")
    }

    fn reach(&self, _task: TaskId) -> Vec<String> {
        Vec::new()
    }
}

impl Run {
    /// Tells the strategy that a phase begins (or, with the number of phases, that training is over).
    pub(super) fn enter(&mut self, phase: usize) -> anyhow::Result<()> {
        // The strategy is taken out of the model, so that it may change itself while the model answers for it.
        let mut sharing = std::mem::replace(&mut self.assembled.trainer.model.sharing, Box::new(Away));
        let mut dev = Dev { assembled: &self.assembled, batch: self.recipe.evaluation.batch };
        // Choosing costs too, and is the strategy's to pay.
        let (started, processor) = (Instant::now(), ProcessTime::now());
        let entered = sharing.enter(phase, &mut dev);
        self.state.seconds += started.elapsed().as_secs_f64();
        self.state.cpu_seconds += processor.elapsed().as_secs_f64();
        self.assembled.trainer.model.sharing = sharing;
        Ok(entered?)
    }
}
