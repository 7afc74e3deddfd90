//! Encoders side by side whose states are mixed after each layer: what cross-stitch and sluice networks have in common.
//!
//! After layer l, with S subspaces of the states, h̃ = α·[h₁,₁; …; h₁,S; …; h_K,S] and α ∈ R^{KS×KS}: row (t, i) makes
//! subspace i of task t. The embeddings' states are not mixed; of the last layer only the rows of tasks that are asked
//! for are made.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, ParameterView, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::values::on_host;
use crate::{BuildContext, EncoderWeights, Role, TaskSet};

/// What the units are at first; every row sums to 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// All entries alike.
    Balanced,
    /// Most weight on the diagonal.
    Imbalanced,
    /// All weight on the diagonal.
    Identity,
}

/// Refuses more tasks than the settings allow.
pub(crate) fn affordable(tasks: usize, limit: usize) -> anyhow::Result<()> {
    if tasks > limit {
        bail!(
            "{tasks} tasks, each with a text of its own: every encoder runs on every task's batch, {} encoder passes a \
             step and {tasks} encoders' activations in memory at once; `limit = {tasks}` accepts that (it is {limit})",
            tasks * tasks
        );
    }
    Ok(())
}

/// An encoder for each task, and the units between them.
pub(crate) struct Stitched {
    encoder: Arc<Family>,
    own: Vec<EncoderWeights>,
    /// One for each layer, `[K·S, K·S]`.
    units: Vec<Param>,
    subspaces: usize,
}

impl Stitched {
    /// Puts encoders and units into the model. `diagonal` is a unit's diagonal when imbalanced.
    pub(crate) fn insert(
        context: &mut BuildContext,
        subspaces: usize,
        init: Init,
        diagonal: f64,
        frozen: bool,
    ) -> anyhow::Result<Self> {
        let size = context.tasks.len() * subspaces;
        let diagonal = match init {
            _ if size == 1 => 1.,
            Init::Balanced => 1. / size as f64,
            Init::Imbalanced => diagonal,
            Init::Identity => 1.,
        };
        let off = if size == 1 { 0. } else { (1. - diagonal) / (size - 1) as f64 };
        let values: Vec<f64> = (0..size * size).map(|at| if at / size == at % size { diagonal } else { off }).collect();
        let values = Tensor::from_vec(values, (size, size), &Device::Cpu)?;
        let everyone = TaskSet::all(context.tasks.len());
        let scope = if frozen { context.frozen() } else { context.shared() }.with_role(Role::Mixing);
        let units = (0..context.encoder.layers())
            .map(|layer| context.insert_tensor(&scope, &format!("unit.{layer}"), &values, false))
            .collect::<Result<_>>()?;
        // Every task's state enters every other's.
        let own = context
            .each()
            .iter()
            .map(|scope| EncoderWeights::insert(context, &scope.reached_by(everyone.clone())))
            .collect::<Result<_>>()?;
        Ok(Self { encoder: context.encoder.clone(), own, units, subspaces })
    }

    /// The mixed states of each of `tasks` after each layer, `[tokens, hidden]` each.
    pub(crate) fn states(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Vec<Tensor>>> {
        let embedded = self.own.iter().map(|own| {
            let view = |part: Part, pass: &mut Pass| -> Result<ParameterView> { pass.view(own.part(part)) };
            let words = self.encoder.words(&view(Part::Words, pass)?, tokens, pass)?;
            self.encoder.embed(&view(Part::Embeddings, pass)?, &words, tokens, pass)
        });
        let mut columns: Vec<Tensor> = embedded.collect::<Result<_>>()?;
        let mut states = vec![Vec::with_capacity(self.units.len()); tasks.len()];
        for (index, unit) in self.units.iter().enumerate() {
            for (own, column) in self.own.iter().zip(&mut columns) {
                let view = pass.view(own.part(Part::Layer(index)))?;
                *column = self.encoder.layer(&view, column, tokens, &Ports::default(), pass)?;
            }
            let stacked = self.stack(&columns)?;
            if index + 1 == self.units.len() {
                for (states, task) in states.iter_mut().zip(tasks) {
                    states.push(self.row(unit, task.0, &stacked, &columns[task.0])?);
                }
                break;
            }
            let mixed = (0..columns.len()).map(|row| self.row(unit, row, &stacked, &columns[row]));
            columns = mixed.collect::<Result<_>>()?;
            states.iter_mut().zip(tasks).for_each(|(states, task)| states.push(columns[task.0].clone()));
        }
        Ok(states)
    }

    /// The subspaces of every task's state as rows, `[K·S, tokens·H/S]`.
    fn stack(&self, columns: &[Tensor]) -> Result<Tensor> {
        let (tokens, hidden) = columns[0].dims2()?;
        let width = hidden / self.subspaces;
        let split = |state: &Tensor| {
            let parts = state.reshape((tokens, self.subspaces, width))?.transpose(0, 1)?;
            parts.contiguous()?.reshape((self.subspaces, tokens * width))
        };
        Tensor::cat(&columns.iter().map(split).collect::<Result<Vec<Tensor>>>()?, 0)
    }

    /// The mixed state of task `row`, of the shape of `like`.
    fn row(&self, unit: &Param, row: usize, stacked: &Tensor, like: &Tensor) -> Result<Tensor> {
        let (tokens, hidden) = like.dims2()?;
        let weights = unit.tensor().narrow(0, row * self.subspaces, self.subspaces)?;
        let mixed = weights.matmul(stacked)?.reshape((self.subspaces, tokens, hidden / self.subspaces))?;
        mixed.transpose(0, 1)?.contiguous()?.reshape((tokens, hidden))
    }

    /// Every task's encoder.
    pub(crate) fn own(&self) -> &[EncoderWeights] {
        &self.own
    }

    /// The units as they are, layer by layer.
    pub(crate) fn findings(&self) -> Result<Value> {
        let rows = |unit: &Param| on_host(unit.tensor())?.to_vec2::<f64>();
        Ok(json!(self.units.iter().map(rows).collect::<Result<Vec<_>>>()?))
    }
}
