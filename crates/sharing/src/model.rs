//! A sharing strategy and one head per task are a model.

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Family, Params, Pass, Pretrained};
use mtl_task::rng::Key;
use mtl_task::{Packed, Reads, TaskId};
use serde_json::Value;

use crate::{Accounting, BuildContext, Head, HeadSettings, Sharing, Strategy, Structure, Topology};

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
    /// Who owns them.
    pub topology: Topology,
    /// The encoder, a function of some of them.
    pub encoder: Arc<Family>,
    /// How the tasks share them.
    pub sharing: Box<dyn Sharing>,
    /// The tasks.
    pub tasks: Vec<TaskShape>,
    /// Their heads.
    pub heads: Heads,
}

/// The heads of all tasks, in the recipe's order.
#[derive(Clone, Debug)]
pub struct Heads(Vec<Head>);

impl Heads {
    /// The logits of `task` over what `sharing` shows it, `[sequences, outputs]` or `[anchors, outputs]`.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits(&self, sharing: &dyn Sharing, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let states = sharing.represent(task, tokens, pass)?;
        self.0[task.0].logits(&states, tokens, pass)
    }

    /// The logits of each of `tasks` for the same `tokens`, in their order: bit for bit those of [`Heads::logits`], but
    /// states that several of the tasks see are computed once (one walk of the encoder in hard sharing). For a pass
    /// that only predicts; in training a pass is one task's.
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits_each(
        &self,
        sharing: &dyn Sharing,
        tasks: &[TaskId],
        tokens: &Packed,
        pass: &mut Pass,
    ) -> Result<Vec<Tensor>> {
        let states = sharing.represent_each(tasks, tokens, pass)?;
        tasks.iter().zip(&states).map(|(task, states)| self.0[task.0].logits(states, tokens, pass)).collect()
    }

    /// The head of `task`.
    ///
    /// # Panics
    /// If there is no such task.
    pub fn of(&self, task: TaskId) -> &Head {
        &self.0[task.0]
    }
}

impl Model {
    /// Builds `strategy` with the settings in `section` over a pretrained encoder.
    ///
    /// # Errors
    /// If its settings do not fit.
    #[allow(clippy::too_many_arguments, reason = "one argument per thing a model is made of")]
    pub fn build(
        strategy: &Strategy,
        section: &Value,
        head: &HeadSettings,
        pretrained: &Pretrained,
        tasks: Vec<TaskShape>,
        key: Key,
        device: &Device,
        dtype: DType,
    ) -> anyhow::Result<Self> {
        let heads = vec![head.clone(); tasks.len()];
        Self::build_with_heads(strategy, section, &heads, pretrained, tasks, key, device, dtype)
    }

    /// As [`Model::build`], each task with a head of its own kind: one of `heads` for each of `tasks`.
    ///
    /// # Errors
    /// If the settings do not fit, or there are not as many heads as tasks.
    #[allow(clippy::too_many_arguments, reason = "one argument per thing a model is made of")]
    pub fn build_with_heads(
        strategy: &Strategy,
        section: &Value,
        heads: &[HeadSettings],
        pretrained: &Pretrained,
        tasks: Vec<TaskShape>,
        key: Key,
        device: &Device,
        dtype: DType,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(heads.len() == tasks.len(), "{} tasks need as many heads, found {}", tasks.len(), heads.len());
        let (mut params, mut topology) = (Params::new(device, dtype), Topology::new(tasks.len()));
        let encoder = Arc::new(pretrained.encoder.clone());
        let named = key.named("sharing");
        let mut context =
            BuildContext::new(pretrained, encoder.clone(), (&tasks, &[]), &mut params, &mut topology, named);
        let heads: Vec<Head> = (heads.iter().enumerate())
            .map(|(task, head)| Head::insert(head, TaskId(task), &mut context, key))
            .collect::<Result<_>>()?;
        let mut context =
            BuildContext::new(pretrained, encoder.clone(), (&tasks, &heads), &mut params, &mut topology, named);
        let sharing = (strategy.build)(section, &mut context)?;
        Ok(Self { params, topology, encoder, sharing, tasks, heads: Heads(heads) })
    }

    /// The logits of `task`, see [`Heads::logits`].
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        self.heads.logits(self.sharing.as_ref(), task, tokens, pass)
    }

    /// The logits of each of `tasks`, see [`Heads::logits_each`].
    ///
    /// # Errors
    /// Those of the forward pass.
    pub fn logits_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        self.heads.logits_each(self.sharing.as_ref(), tasks, tokens, pass)
    }

    /// Names of the parameters that `task` can reach, its head's included.
    pub fn reach(&self, task: TaskId) -> BTreeSet<String> {
        self.topology.reached_by(task)
    }

    /// Names of the parameters of the head of `task`.
    pub fn head(&self, task: TaskId) -> Vec<String> {
        self.heads.of(task).names()
    }

    /// Names of the trained parameters that at least two tasks can reach.
    pub fn shared(&self) -> BTreeSet<String> {
        self.topology.shared()
    }

    /// What a checkpoint keeps of the structure, to be restored before any weight.
    pub fn structure(&self) -> Structure {
        Structure::of(&self.params, &self.topology)
    }

    /// Takes on a structure that a checkpoint kept: its parameters, their owners, and the strategy's use of them. The
    /// values are to be read afterwards.
    ///
    /// # Errors
    /// If it is the structure of another model, or the strategy cannot have it.
    pub fn restructure(&mut self, saved: &Structure) -> Result<()> {
        if saved.topology.tasks() != self.tasks.len() {
            let (found, own) = (saved.topology.tasks(), self.tasks.len());
            candle_core::bail!("a structure of {found} tasks for a model of {own}");
        }
        let topology = saved.topology.with_roles_of(&self.topology);
        if topology == self.topology {
            return Ok(());
        }
        saved.rebuild(&mut self.params)?;
        self.topology = topology;
        self.sharing.restructure(&self.topology, &self.params)
    }

    /// What it costs in parameters, against `single` encoder weights for one task.
    pub fn accounting(&self, single: usize) -> Accounting {
        Accounting::of(self, single)
    }
}
