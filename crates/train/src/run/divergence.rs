//! Training that only gets worse: losses far above those of a model that knows nothing, step after step.
//!
//! A task's level is the loss of a model whose head answers 0 to everything (ln C for C classes, 1 for standardised
//! values), or the task's first loss if that is larger. A training diverges when the loss of a task is above `factor`
//! times its level in `steps` of the task's steps in a row. Nothing that learns does that: noisy batches and spikes come
//! back in between, a task that is given up stays near its level, and a loss that rises because a model is sure and wrong
//! on its training data has to be ten times that of one that guesses.

use std::fmt::Write;

use candle_core::Tensor;
use mtl_backbone::scalar;
use mtl_task::{Reads, TaskBatch, TaskId};
use serde::{Deserialize, Serialize};

use crate::StepReport;
use crate::finite::Diverged;
use crate::recipe::Train;
use crate::step::Trainer;

/// Losses that a message shows at the end of a task's history.
const SHOWN: usize = 5;

/// What is remembered of one task's losses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskLosses {
    /// The first, and the steps done then.
    first: Option<(usize, f64)>,
    /// The lowest, and the steps done then.
    lowest: Option<(usize, f64)>,
    /// The last few.
    last: Vec<f64>,
    /// How many in a row, up to the last, were above the task's bound.
    above: usize,
}

impl TaskLosses {
    fn take(&mut self, step: usize, loss: f64, bound: f64) {
        self.first.get_or_insert((step, loss));
        if self.lowest.is_none_or(|(_, lowest)| loss < lowest) {
            self.lowest = Some((step, loss));
        }
        if self.last.len() == SHOWN {
            self.last.remove(0);
        }
        self.last.push(loss);
        self.above = if loss > bound { self.above + 1 } else { 0 };
    }

    /// Forgets how many were above the bound: nothing more is to be learnt of them.
    pub(super) fn settle(&mut self) {
        self.above = 0;
    }

    /// The history in words; nothing before the first loss.
    pub(super) fn shown(&self) -> Option<String> {
        let ((first_at, first), (lowest_at, lowest)) = (self.first?, self.lowest?);
        let mut text = format!("{first:.4} in step {first_at}, lowest {lowest:.4} in step {lowest_at}, last");
        for (place, loss) in self.last.iter().enumerate() {
            let _ = write!(text, "{} {loss:.4}", if place > 0 { "," } else { "" });
        }
        Some(text)
    }
}

/// Tells whether a training diverges.
pub(super) struct Detector {
    /// By task: the loss of answering 0 to everything, where there is one.
    baselines: Vec<Option<f64>>,
    /// 0 for never.
    factor: f64,
    steps: usize,
}

impl Detector {
    /// A detector for `trainer`, whose tasks learn from texts like those of `batches`, one batch a task.
    pub(super) fn new(train: &Train, trainer: &Trainer, batches: &[TaskBatch]) -> Self {
        let baseline = |batch: &TaskBatch| trainer.loss_of_zeros(batch).ok().filter(|loss| loss.is_finite());
        Self {
            baselines: batches.iter().map(baseline).collect(),
            factor: train.divergence(),
            steps: train.divergence_steps(),
        }
    }

    /// The loss above which a task is far from anything learnt.
    fn bound(&self, task: usize, losses: &TaskLosses, loss: f64) -> f64 {
        let first = losses.first.map_or(loss, |(_, first)| first);
        let level =
            self.baselines.get(task).copied().flatten().map_or(first.abs(), |zeros| zeros.abs().max(first.abs()));
        if self.factor > 0. && level > 0. { self.factor * level } else { f64::INFINITY }
    }

    /// Takes in what step `step` did.
    ///
    /// # Errors
    /// If training diverges: names step, task and bound.
    pub(super) fn observe(&self, losses: &mut Vec<TaskLosses>, step: usize, report: &StepReport) -> anyhow::Result<()> {
        losses.resize(losses.len().max(self.baselines.len()), TaskLosses::default());
        for (&task, &loss) in report.tasks.iter().zip(&report.losses) {
            let bound = self.bound(task, &losses[task], loss);
            losses[task].take(step, loss, bound);
            if losses[task].above >= self.steps {
                return Err(Diverged::of(
                    TaskId(task),
                    format!(
                        "step {step}: the loss has been above {bound:.4} for {} steps of the task in a row, which is {} times \
                         its level without any training (train.divergence)",
                        self.steps, self.factor
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Forgets what led up to now: a new phase may begin with losses of its own.
    pub(super) fn begin_phase(losses: &mut [TaskLosses]) {
        losses.iter_mut().for_each(TaskLosses::settle);
    }

    /// Whether a task's last loss was above its bound, so that it is not the time to replace a good checkpoint.
    pub(super) fn is_suspect(losses: &[TaskLosses]) -> bool {
        losses.iter().any(|losses| losses.above > 0)
    }
}

impl Trainer {
    /// The loss of `batch` if its head answered 0 to everything.
    fn loss_of_zeros(&self, batch: &TaskBatch) -> anyhow::Result<f64> {
        let task = &self.tasks[batch.task.0];
        let (params, rows) = (
            &self.model.params,
            match task.reads() {
                Reads::Text => batch.tokens.sequences(),
                Reads::Tokens => batch.tokens.anchors.len(),
            },
        );
        anyhow::ensure!(rows > 0, "nothing of the batch is judged");
        let zeros = Tensor::zeros((rows, task.outputs()), params.dtype(), params.device())?;
        let truth = task.collate(&batch.labels, &batch.tokens, params.device())?;
        Ok(scalar(&self.weighted(batch.task, task.loss(&zeros, &truth)?)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector(factor: f64, steps: usize) -> Detector {
        Detector { baselines: vec![Some(1.), None], factor, steps }
    }

    /// The steps after which `losses` of the task at place `task` are found to diverge.
    fn found(detector: &Detector, task: usize, losses: impl IntoIterator<Item = f64>) -> Option<usize> {
        let mut known = Vec::new();
        losses.into_iter().enumerate().find_map(|(step, loss)| {
            let report = StepReport { tasks: vec![task], losses: vec![loss], ..StepReport::default() };
            detector.observe(&mut known, step, &report).err().map(|_| step)
        })
    }

    #[test]
    fn only_losses_far_above_the_level_for_long_are_a_divergence() {
        let detector = detector(10., 50);
        assert_eq!(found(&detector, 0, [0.9].into_iter().chain([10.1; 200])), Some(50));
        // A spike, also again and again; a plateau at chance; noise around the bound; a memorised set's rising loss.
        assert_eq!(found(&detector, 0, [0.9].into_iter().chain([1e30; 49]).chain([9.; 200])), None);
        assert_eq!(found(&detector, 0, (0..2000).map(|step| if step % 50 == 0 { 1. } else { 1e6 })), None);
        assert_eq!(found(&detector, 0, [1.1; 2000]), None);
        assert_eq!(found(&detector, 0, (0..2000).map(|step| 1. + step as f64 / 250.)), None);
        // The first loss counts where it is the larger one, or the only one known.
        assert_eq!(found(&detector, 0, [1e6].into_iter().chain([9e6; 200])), None);
        assert_eq!(found(&detector, 0, [1e6].into_iter().chain([1.1e7; 200])), Some(50));
        assert_eq!(found(&detector, 1, [0.5].into_iter().chain([5.1; 200])), Some(50));
        // Losses of either sign.
        assert_eq!(found(&detector, 1, [-3.].into_iter().chain([2.; 200])), None);
        assert_eq!(found(&detector, 1, [-3.].into_iter().chain([40.; 200])), Some(50));
        assert_eq!(found(&detector, 1, [0.; 5].into_iter().chain([1.; 200])), None, "nothing to compare with");
    }

    #[test]
    fn it_can_be_switched_off_and_made_stricter_and_phases_begin_anew() {
        let rising = || [0.9].into_iter().chain([1e9; 500]);
        assert_eq!(found(&detector(0., 50), 0, rising()), None);
        assert_eq!(found(&detector(2., 3), 0, [0.9, 1.9, 2.1, 2.1, 2.1]), Some(4));
        let (detector, mut known) = (detector(10., 3), Vec::new());
        let observe = |known: &mut Vec<TaskLosses>, step, loss| {
            let report = StepReport { tasks: vec![0], losses: vec![loss], ..StepReport::default() };
            detector.observe(known, step, &report)
        };
        for (step, loss) in [1., 20., 20.].into_iter().enumerate() {
            observe(&mut known, step, loss).expect("not long enough");
        }
        assert!(Detector::is_suspect(&known));
        // What is remembered goes through a checkpoint.
        let text = serde_json::to_string(&known).expect("JSON");
        let mut again: Vec<TaskLosses> = serde_json::from_str(&text).expect("read back");
        assert_eq!(again, known);
        let error = observe(&mut again, 3, 20.).expect_err("three in a row").to_string();
        assert!(error.contains("step 3") && error.contains("above 10.0000 for 3 steps"), "{error}");
        assert_eq!(
            again[0].shown().expect("a history"),
            "1.0000 in step 0, lowest 1.0000 in step 0, last 1.0000, 20.0000, 20.0000, 20.0000"
        );
        Detector::begin_phase(&mut known);
        assert!(!Detector::is_suspect(&known));
        observe(&mut known, 3, 20.).expect("a new phase");
    }
}
