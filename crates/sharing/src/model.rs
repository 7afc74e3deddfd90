//! A sharing strategy and one head per task are a model.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Params, Pass, Pretrained};
use mtl_task::rng::Key;
use mtl_task::{Packed, Reads, TaskId};
use serde_json::Value;

use crate::{Accounting, BuildContext, Head, HeadSettings, Sharing, find};

/// What a model has to know of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskShape {
    /// Its name, which its parameters carry.
    pub name: String,
    /// Width of its head's output.
    pub outputs: usize,
    /// What its head reads.
    pub reads: Reads,
}

/// A multi-task model.
pub struct Model {
    /// All its parameters.
    pub params: Params,
    /// The encoder, a function of some of them.
    pub encoder: Arc<Family>,
    /// How the tasks share them.
    pub sharing: Box<dyn Sharing>,
    /// The tasks.
    pub tasks: Vec<TaskShape>,
    heads: Vec<Head>,
}

impl Model {
    /// Builds the strategy called `strategy` with the settings in `section` over a pretrained encoder.
    ///
    /// # Errors
    /// If the strategy is unknown, or its settings do not fit.
    #[allow(clippy::too_many_arguments, reason = "one argument per thing a model is made of")]
    pub fn build(
        strategy: &str,
        section: &Value,
        head: &HeadSettings,
        pretrained: &Pretrained,
        tasks: Vec<TaskShape>,
        key: Key,
        device: &Device,
        dtype: DType,
    ) -> anyhow::Result<Self> {
        let mut params = Params::new(device, dtype);
        let encoder = Arc::new(pretrained.encoder.clone());
        let mut site = BuildContext {
            pretrained,
            encoder: encoder.clone(),
            tasks: &tasks,
            params: &mut params,
            key: key.named("sharing"),
        };
        let mut sharing = (find(strategy)?.build)(section, &mut site)?;
        let hidden = encoder.hidden();
        let heads: Vec<Head> =
            tasks.iter().map(|task| Head::insert(head, task, hidden, &mut params, key)).collect::<Result<_>>()?;
        sharing.lend(&heads);
        Ok(Self { params, encoder, sharing, tasks, heads })
    }

    /// The logits of `task`, `[sequences, outputs]` or `[anchors, outputs]`.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        self.logits_under(self.sharing.as_ref(), task, tokens, pass)
    }

    /// As [`Model::logits`], with another structure over the same parameters.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits_under(
        &self,
        sharing: &dyn Sharing,
        task: TaskId,
        tokens: &Packed,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        let states = sharing.represent(task, tokens, pass)?;
        self.heads[task.0].logits(&states, tokens, pass)
    }

    /// The logits of each of `tasks` for the same `tokens`, in their order: bit for bit those of [`Model::logits`], but
    /// states that several of the tasks see are computed once (one walk of the encoder in hard sharing). For a pass
    /// that only answers; in training a pass is one task's.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.logits_each_under(self.sharing.as_ref(), tasks, tokens, pass)
    }

    /// As [`Model::logits_each`], with another structure over the same parameters.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits_each_under(
        &self,
        sharing: &dyn Sharing,
        tasks: &[TaskId],
        tokens: &Packed,
        pass: &mut Pass,
    ) -> Result<Vec<Tensor>> {
        let states = sharing.represent_each(tasks, tokens, pass)?;
        tasks.iter().zip(&states).map(|(task, states)| self.heads[task.0].logits(states, tokens, pass)).collect()
    }

    /// Names of the parameters that `task` can reach, its head's included.
    pub fn reach(&self, task: TaskId) -> BTreeSet<String> {
        self.sharing.reach(task).into_iter().chain(self.heads[task.0].names()).collect()
    }

    /// Names of the parameters of the head of `task`.
    pub fn head(&self, task: TaskId) -> Vec<String> {
        self.heads[task.0].names()
    }

    /// Names of the trainable parameters that at least two tasks can reach.
    pub fn shared(&self) -> BTreeSet<String> {
        let mut reached: BTreeMap<String, usize> = BTreeMap::new();
        for task in 0..self.tasks.len() {
            self.reach(TaskId(task)).into_iter().for_each(|name| *reached.entry(name).or_default() += 1);
        }
        let trainable = |name: &str| self.params.get(name).is_some_and(|param| param.trainable());
        reached.into_iter().filter(|(name, tasks)| *tasks > 1 && trainable(name)).map(|(name, _)| name).collect()
    }

    /// What it costs in parameters, against `single` encoder weights for one task.
    pub fn accounting(&self, single: usize) -> Accounting {
        Accounting::of(self, single)
    }
}
