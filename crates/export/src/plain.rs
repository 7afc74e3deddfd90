//! What a task of a run is as a plain network.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use mtl_backbone::checkpoint::NamedTensor;
use mtl_backbone::{Classes, Encoder, HeadActivation, Part, Pooling};
use mtl_sharing::Head;
use mtl_task::{Reads, TaskId, TaskSpec};
use mtl_train::Trained;
use serde_json::Value;

use crate::answers::Problem;
use crate::config;

/// One task of a run: an encoder and a head, without anything of the strategy that trained them.
#[derive(Clone, Debug)]
pub struct PlainModel {
    /// The task's name.
    pub task: String,
    /// The task's table, labels in the order of the outputs.
    pub spec: TaskSpec,
    /// Whether a text is a pair; nothing for runs of before, which do not say.
    pub pairs: Option<bool>,
    /// What the logits mean.
    pub problem: Problem,
    /// Whether rows have labels: the head of a task without predicts hidden tokens.
    pub labelled: bool,
    /// What classes of transformers are called that hold such an encoder.
    pub stem: &'static str,
    /// The classes of its architecture.
    pub classes: &'static Classes,
    /// The encoder's `config.json`, with a `model_type` of transformers and the layers that the task reads.
    pub config: Value,
    /// Width of the encoder's states.
    pub hidden: usize,
    /// Whether the encoder reads segments (`token_type_ids`).
    pub segments: bool,
    /// The encoder's tensors by the hub's names, nothing in front: `encoder.layer.0.attention.self.query.weight` …
    pub encoder: BTreeMap<String, NamedTensor>,
    /// What the encoder's states become logits by.
    pub head: PlainHead,
    /// Tokens that a text is cut to, special ones included.
    pub max_tokens: usize,
    /// The name of the LayerNorm that the encoder ends in.
    pub(crate) last_norm: Option<String>,
}

/// A head: what it reads, and one or two maps with an activation between them. Dropout is for training on.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainHead {
    /// How a text's states become one vector; none if every token's state is read on its own.
    pub pooling: Option<Pooling>,
    /// Between two maps.
    pub activation: HeadActivation,
    /// In training, of what the maps read, in [0, 1).
    pub dropout: f64,
    /// The maps, the last one's outputs being the logits, of a regression in the unit of its targets.
    pub maps: Vec<LinearMap>,
}

/// x ↦ Wx + b.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    /// W, `[outputs, inputs]`.
    pub weight: NamedTensor,
    /// b, `[outputs]`.
    pub bias: NamedTensor,
}

impl PlainModel {
    /// The task `id` of `trained`, by the weights that the run keeps for it.
    ///
    /// # Errors
    /// If the run's strategy is more than a change of an encoder's weights, the encoder is none of transformers, or the
    /// task's kind reads logits in a way of its own.
    pub fn of(trained: &Trained, id: TaskId) -> Result<Self> {
        let (task, spec) = trained.tasks.get(id.0).context("no such task")?.clone();
        Self::build(trained, id, &task, spec).with_context(|| format!("task `{task}`"))
    }

    fn build(trained: &Trained, id: TaskId, name: &str, spec: TaskSpec) -> Result<Self> {
        let registries = &trained.recipe.registries;
        let (model, (_, task)) = (trained.model_of(id), trained.task(name)?);
        let kind = registries.data.kinds.find(&spec.kind)?;
        let problem = Problem::of(task, &kind.truth, spec.scale)?;
        let own = trained.encoder_config();
        let model_type = own.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let architecture = registries.architectures.find(model_type)?;
        let known = architecture.classes.and_then(|classes| Some((classes, classes.stem(model_type)?)));
        let Some((classes, (model_type, stem))) = known else {
            bail!("`{model_type}` is an encoder that transformers has no classes with heads for")
        };
        let Some(parts) = model.sharing.plain(id)? else {
            let sharing = &trained.recipe.sharing;
            bail!(
                "the strategy `{}` with [sharing] {} is more than a change of an encoder's weights for this task, which a \
                 plain folder has no place for; train with a strategy that merges (hard, soft, lora, bitfit, sparse, …)",
                sharing.name,
                sharing.settings
            )
        };
        let mut encoder = BTreeMap::new();
        for (part, values) in &parts {
            let values = floats(values)?;
            for entry in model.encoder.layout(*part).entries() {
                let data = values.get(entry.range.clone()).context("a merged part is shorter than its layout")?;
                encoder.insert(entry.name.clone(), NamedTensor { shape: entry.shape.clone(), data: data.to_vec() });
            }
        }
        let layers = parts.iter().filter(|(part, _)| matches!(part, Part::Layer(_))).count();
        let last_norm = match parts.last() {
            Some((part @ Part::Layer(_), _)) => {
                let last = model.encoder.layout(*part).entries().last();
                last.and_then(|entry| entry.name.strip_suffix(".bias")).map(String::from)
            }
            _ => None,
        };
        let shape = model.encoder.shape();
        let mut head = PlainHead::of(model.heads.of(id), task.reads())?;
        if let (Some(scale), Some(last)) = (spec.scale, head.maps.last_mut()) {
            last.rescale(scale.deviation, scale.mean);
        }
        Ok(Self {
            task: name.to_string(),
            pairs: trained.reads_pairs(id),
            problem,
            labelled: kind.labelled,
            stem,
            classes,
            config: config::encoder(own, model_type, classes, shape, layers)?,
            hidden: model.encoder.hidden(),
            segments: shape.types > 1,
            encoder,
            head,
            last_norm,
            max_tokens: trained.recipe.train.max_tokens,
            spec,
        })
    }

    /// Names of the outputs, in their order: the labels, or the task's name for a regression.
    pub fn outputs(&self) -> Vec<String> {
        if self.spec.labels.is_empty() { vec![self.task.clone()] } else { self.spec.labels.clone() }
    }
}

impl PlainHead {
    /// Width of the hidden layer; 0 for none.
    pub fn hidden(&self) -> usize {
        self.maps.first().filter(|_| self.maps.len() > 1).map_or(0, LinearMap::outputs)
    }

    fn of(head: &Head, reads: Reads) -> Result<Self> {
        let settings = head.settings();
        let map = |(weight, bias): &(mtl_backbone::Param, mtl_backbone::Param)| -> Result<LinearMap> {
            let named = |tensor: &Tensor| -> Result<NamedTensor> {
                Ok(NamedTensor { shape: tensor.dims().to_vec(), data: floats(&tensor.flatten_all()?)? })
            };
            Ok(LinearMap { weight: named(weight.tensor())?, bias: named(bias.tensor())? })
        };
        Ok(Self {
            pooling: (reads == Reads::Text).then_some(settings.pooling),
            activation: settings.activation,
            dropout: settings.dropout,
            maps: head.maps().iter().map(map).collect::<Result<_>>()?,
        })
    }
}

impl LinearMap {
    /// The map of zeros, `[outputs, inputs]`.
    pub fn zeros(outputs: usize, inputs: usize) -> Self {
        let zeros = |shape: &[usize]| NamedTensor { shape: shape.to_vec(), data: vec![0.; shape.iter().product()] };
        Self { weight: zeros(&[outputs, inputs]), bias: zeros(&[outputs]) }
    }

    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.bias.data.len()
    }

    /// Number of inputs.
    pub fn inputs(&self) -> usize {
        self.weight.shape.get(1).copied().unwrap_or(0)
    }

    /// The rows of W.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.weight.data.chunks_exact(self.inputs().max(1))
    }

    /// The rows of W, to be changed.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        let inputs = self.inputs().max(1);
        self.weight.data.chunks_exact_mut(inputs)
    }

    /// The map followed by y ↦ `factor`·y + `offset`.
    pub fn rescale(&mut self, factor: f64, offset: f64) {
        self.weight.data.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        self.bias.data.iter_mut().for_each(|value| *value = (f64::from(*value) * factor + offset) as f32);
    }

    /// Its two tensors as `name.weight` and `name.bias`.
    pub(crate) fn named(&self, name: &str) -> [(String, &NamedTensor); 2] {
        [(format!("{name}.weight"), &self.weight), (format!("{name}.bias"), &self.bias)]
    }
}

/// The values of a flat tensor, in single precision on the host.
fn floats(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.detach().to_device(&Device::Cpu)?.to_dtype(DType::F32)?.to_vec1()?)
}
