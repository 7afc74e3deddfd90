//! Which weights are reported: the last ones, the best ones on dev, or each task's best.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mtl_task::TaskId;
use sha2::{Digest, Sha256};

use super::Run;
use crate::finite::{Diverged, check_tensors};
use crate::recipe::Keep;
use crate::resume;
use crate::store::{read_tensors, tensor_bytes, write_atomically};

impl Run {
    /// Writes down the weights of every task that the last look found better than before, and counts the looks since then
    /// of the others.
    pub(super) fn keep_each(&mut self) -> Result<()> {
        let Some(look) = self.state.evaluations.last() else { return Ok(()) };
        let scores = look.dev.clone();
        self.state.bests.resize(scores.len(), f64::NEG_INFINITY);
        self.state.each.resize(scores.len(), String::new());
        self.state.each_step.resize(scores.len(), 0);
        self.state.each_stale.resize(scores.len(), 0);
        let snapshots = self.recipe.keeps_snapshots()?;
        for (task, score) in scores.into_iter().enumerate() {
            if score <= self.state.bests[task] {
                self.state.each_stale[task] += 1;
                continue;
            }
            let digest = if snapshots { self.save_snapshot(TaskId(task))? } else { self.save_own(task)? };
            self.state.bests[task] = score;
            self.state.each[task] = digest;
            (self.state.each_step[task], self.state.each_stale[task]) = (self.state.step, 0);
        }
        Ok(())
    }

    /// Writes down the parameters of `task`, which shares none; returns their SHA-256.
    fn save_own(&self, task: usize) -> Result<String> {
        let model = &self.assembled.trainer.model;
        let trained = |name: &String| model.params.get(name).is_some_and(|param| param.trainable());
        let own = model.params.tensors_of(&model.reach(TaskId(task)).into_iter().filter(trained).collect())?;
        let bytes = tensor_bytes(&own.into_iter().collect())?;
        if let Err(error) = check_tensors(&bytes) {
            let (step, task) = (self.state.step, &self.assembled.datasets[task].name);
            return Err(Diverged::everywhere(format!(
                "step {step}: the weights of task `{task}` are not saved: {error:#}"
            )));
        }
        write_atomically(&self.each(task), &bytes)?;
        Ok(resume::hex(&Sha256::digest(&bytes)))
    }

    /// Refuses a file of [`Run::keep_each`] that is not as it was written.
    fn check_each(&self, task: usize) -> Result<()> {
        let path = self.each(task);
        // Runs of before did not write down what it should be.
        let Some(wanted) = self.state.each.get(task).filter(|wanted| !wanted.is_empty()) else { return Ok(()) };
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let found = resume::hex(&Sha256::digest(&bytes));
        if found != *wanted {
            bail!(
                "{}: damaged: its SHA-256 is {found}, the run wrote {wanted}; restore it from a backup and resume, or train \
                 anew",
                path.display()
            );
        }
        Ok(())
    }

    fn each(&self, task: usize) -> PathBuf {
        self.options.out.join(format!("checkpoints/each-{task}.safetensors"))
    }

    /// Puts the weights to be reported into the model; answers the step they are of, unless it is the last one, or each
    /// task's own.
    pub(super) fn take_back(&mut self) -> Result<Option<usize>> {
        let checkpoints = self.options.out.join("checkpoints");
        resume::forget_previous(&checkpoints)?;
        let best = match self.recipe.evaluation.keep {
            Keep::Last => None,
            Keep::Best | Keep::Each => resume::find(&checkpoints, "best"),
        };
        let Some(best) = best else { return Ok(None) };
        // Restoring gives back where the run stood then; where it stands now is what the report tells of.
        let then = resume::restore(&best, &mut self.assembled.trainer)?;
        if self.recipe.evaluation.keep == Keep::Best {
            return Ok(Some(then.step));
        }
        if self.recipe.keeps_snapshots()? {
            // Each task's are put into the model when it answers.
            self.check_snapshots()?;
            return Ok(None);
        }
        let params = &self.assembled.trainer.model.params;
        let mut all: BTreeMap<String, Tensor> = params.tensors()?.into_iter().collect();
        for task in 0..self.assembled.datasets.len() {
            self.check_each(task)?;
            all.extend(read_tensors(&self.each(task))?);
        }
        params.assign(&all)?;
        resume::save(&checkpoints, "each", &self.assembled.trainer, &then)?;
        Ok(None)
    }
}
