//! A task's head: pooling, dropout, and one linear map (with a hidden layer before it if asked).

use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, HeadActivation, Param, Pass, Pooling, anchors, pool};
use mtl_task::rng::Key;
use mtl_task::{Packed, Reads, TaskId};
use serde::{Deserialize, Serialize};

use crate::{BuildContext, Role, per_token};

/// The `[head]` section.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadSettings {
    /// How a text's states become one vector.
    pub pooling: Pooling,
    /// Probability of dropout of what the head reads, in [0, 1).
    pub dropout: f64,
    /// Width of a hidden layer before the last map, in units; 0 for none.
    pub hidden: usize,
    /// What the hidden layer computes of its map: `tanh`, `relu` or `gelu`.
    pub activation: HeadActivation,
}

impl Default for HeadSettings {
    fn default() -> Self {
        Self { pooling: Pooling::Mean, dropout: 0.1, hidden: 0, activation: HeadActivation::Tanh }
    }
}

/// One task's head.
#[derive(Clone, Debug)]
pub struct Head {
    settings: HeadSettings,
    reads: Reads,
    /// Weight and bias of each map, the last one's output being the logits.
    maps: Vec<(Param, Param)>,
}

impl Head {
    /// Puts the head of the task `id` into the model: weights N(0, 0.02²), biases 0.
    ///
    /// # Errors
    /// If its names are taken.
    pub fn insert(settings: &HeadSettings, id: TaskId, context: &mut BuildContext, key: Key) -> Result<Self> {
        let (task, scope, hidden) =
            (&context.tasks[id.0], context.own(id).with_role(Role::Head), context.encoder.hidden());
        let key = key.named("head").named(&task.name);
        let mut map = |name: &str, outputs: usize, inputs: usize| -> Result<(Param, Param)> {
            let mut stream = key.named(name).stream();
            let values: Vec<f32> = (0..outputs * inputs).map(|_| (stream.normal() * 0.02) as f32).collect();
            let weight = Tensor::from_vec(values, (outputs, inputs), &Device::Cpu)?;
            let bias = Tensor::zeros(outputs, context.dtype(), &Device::Cpu)?;
            Ok((
                context.insert_tensor(&scope, &format!("{name}.weight"), &weight, true)?,
                context.insert_tensor(&scope, &format!("{name}.bias"), &bias, false)?,
            ))
        };
        let maps = match settings.hidden {
            0 => vec![map("head", task.outputs, hidden)?],
            width => vec![map("head.hidden", width, hidden)?, map("head", task.outputs, width)?],
        };
        Ok(Self { settings: settings.clone(), reads: task.reads, maps })
    }

    /// `[sequences, outputs]` or `[anchors, outputs]` from states `[tokens, hidden]`.
    ///
    /// # Errors
    /// Those of candle.
    pub fn logits(&self, states: &Tensor, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let read = match self.reads {
            Reads::Text => pool(states, tokens, self.settings.pooling)?,
            Reads::Tokens => anchors(states, tokens)?,
        };
        self.apply(&read, pass)
    }

    /// What the head predicts for every token, `[tokens, outputs]`, from states `[tokens, hidden]`: the logits of the
    /// text it stands in, or the token's own.
    ///
    /// # Errors
    /// Those of candle.
    pub fn everywhere(&self, states: &Tensor, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        match self.reads {
            Reads::Text => per_token(&self.logits(states, tokens, pass)?, tokens),
            Reads::Tokens => self.apply(states, pass),
        }
    }

    fn apply(&self, read: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let mut x = pass.dropout(read, self.settings.dropout)?;
        for (depth, (weight, bias)) in self.maps.iter().enumerate() {
            if depth > 0 {
                x = pass.dropout(&self.settings.activation.apply(&x)?, self.settings.dropout)?;
            }
            x = x.matmul(&weight.tensor().t()?)?.broadcast_add(bias.tensor())?;
        }
        Ok(x)
    }

    /// How it was asked for.
    pub fn settings(&self) -> &HeadSettings {
        &self.settings
    }

    /// Weight `[outputs, inputs]` and bias `[outputs]` of each map, the last one's output being the logits; between two
    /// of them stands the activation.
    pub fn maps(&self) -> &[(Param, Param)] {
        &self.maps
    }

    /// Its parameters.
    pub fn params(&self) -> impl Iterator<Item = &Param> {
        self.maps.iter().flat_map(|(weight, bias)| [weight, bias])
    }

    /// Names of its parameters.
    pub fn names(&self) -> Vec<String> {
        self.params().map(|param| param.name().to_string()).collect()
    }
}
