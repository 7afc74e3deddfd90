//! From a run's model to what a graph is made of: tasks by the encoder weights that they see, and their heads.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mtl_backbone::{Encoder as _, Flat, HeadActivation, Param, Part, Pooling};
use mtl_onnx::{Activation, Encoder, Graph, Head, Linear, Output, Reads, Settings, Weights};
use mtl_sharing::Model;
use mtl_task::{Label, Reads as Asked};
use mtl_train::Trained;

use super::Exported;

/// Tasks that see the same encoder, and its weights, part by part.
pub(super) struct Group<'a> {
    pub(super) tasks: Vec<&'a Exported<'a>>,
    parts: Vec<(Part, Vec<f32>)>,
}

/// The groups of `tasks`, in their order.
///
/// # Errors
/// If a task sees more than an encoder with other weights.
pub(super) fn groups<'a>(trained: &Trained, tasks: &'a [Exported<'a>]) -> Result<Vec<Group<'a>>> {
    let mut groups: Vec<Group> = Vec::new();
    for task in tasks {
        let parts = merged(trained, task)?;
        match groups.iter_mut().find(|group| group.parts == parts) {
            Some(group) => group.tasks.push(task),
            None => groups.push(Group { tasks: vec![task], parts }),
        }
    }
    Ok(groups)
}

/// The encoder as `task` sees it.
fn merged(trained: &Trained, task: &Exported) -> Result<Vec<(Part, Vec<f32>)>> {
    let Some(parts) = trained.model_of(task.id).sharing.plain(task.id)? else {
        bail!(
            "task `{}`: by the strategy `{}` it sees more than an encoder with other weights, which a graph here cannot \
             hold; --task chooses one that does not, and hard, soft, lora, bitfit, sparse and others give plain encoders",
            task.name,
            trained.recipe.sharing.name
        )
    };
    parts.iter().map(|(part, theta)| Ok((*part, single(theta)?))).collect()
}

/// Values in single precision.
fn single(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(match Flat::of(&tensor.flatten_all()?)? {
        Flat::F32(values) => values,
        Flat::F64(values) => values.into_iter().map(|value| value as f32).collect(),
    })
}

/// The graph of `group`.
///
/// # Errors
/// Those of [`mtl_onnx::graph`].
pub(super) fn graph(trained: &Trained, group: &Group, logits: bool) -> Result<Graph> {
    let first = group.tasks.first().context("a group has a task")?;
    let encoder = encoder(trained.model_of(first.id), &group.parts)?;
    let heads = group.tasks.iter().map(|task| head(trained, task, logits)).collect::<Result<Vec<_>>>()?;
    mtl_onnx::graph("mtl", &encoder, &heads)
}

fn encoder(model: &Model, parts: &[(Part, Vec<f32>)]) -> Result<Encoder> {
    let shape = model.encoder.shape();
    let tensors = |part: Part, values: &[f32]| -> Result<Vec<Weights>> {
        let named = |entry: &mtl_backbone::Entry| {
            let values = values.get(entry.range.clone()).with_context(|| format!("`{}` is missing", entry.name))?;
            Ok(Weights { name: entry.name.clone(), shape: entry.shape.clone(), values: values.to_vec() })
        };
        model.encoder.layout(part).entries().iter().map(named).collect()
    };
    let (mut words, mut embeddings, mut layers) = (None, Vec::new(), Vec::new());
    for (part, values) in parts {
        let found = tensors(*part, values)?;
        match part {
            Part::Words => words = found.into_iter().next(),
            Part::Embeddings => embeddings = found,
            Part::Layer(_) => layers.push(found),
        }
    }
    let settings = Settings {
        heads: shape.heads,
        first_position: shape.first_position,
        epsilon: shape.epsilon,
        activation: match shape.activation {
            mtl_backbone::Activation::Gelu => Activation::Gelu,
            mtl_backbone::Activation::GeluTanh => Activation::GeluTanh,
            mtl_backbone::Activation::Relu => Activation::Relu,
            mtl_backbone::Activation::Silu => Activation::Silu,
        },
        token_types: shape.types > 0,
        projection: shape.width != shape.hidden,
    };
    Encoder::ordered(settings, words.context("the encoder has no word table")?, embeddings, layers)
}

fn head(trained: &Trained, task: &Exported, logits: bool) -> Result<Head> {
    let settings = trained.model_of(task.id).heads.of(task.id).settings();
    let reads = match (task.reads, settings.pooling) {
        (Asked::Tokens, _) => Reads::Tokens,
        (Asked::Text, Pooling::Mean) => Reads::Mean,
        (Asked::Text, Pooling::Cls) => Reads::First,
        (Asked::Text, Pooling::Max) => Reads::Maximum,
    };
    let output = match (&task.truth, task.spec.scale) {
        (Label::Value(_), Some(scale)) => Output::Rescaled { mean: scale.mean, deviation: scale.deviation },
        (Label::Value(_), None) => Output::Logits,
        _ if logits => Output::Logits,
        (Label::Set(_), _) => Output::Sigmoid,
        (Label::Class(_) | Label::Tags(_), _) => Output::Softmax,
    };
    let head = trained.model_of(task.id).heads.of(task.id);
    let mut maps = head.maps().iter().map(linear).collect::<Result<Vec<Linear>>>()?;
    let map = maps.pop().context("a head has a map")?;
    let activation = match settings.activation {
        HeadActivation::Tanh => Activation::Tanh,
        HeadActivation::Relu => Activation::Relu,
        HeadActivation::Gelu => Activation::Gelu,
    };
    let hidden = maps.pop().map(|map| (map, activation));
    Ok(Head { task: task.name.to_string(), reads, hidden, map, output })
}

fn linear((weight, bias): &(Param, Param)) -> Result<Linear> {
    let weights = |param: &Param| {
        let tensor = param.snapshot()?;
        Ok::<_, anyhow::Error>(Weights {
            name: param.name().to_string(),
            shape: tensor.dims().to_vec(),
            values: single(&tensor)?,
        })
    };
    Ok(Linear { weight: weights(weight)?, bias: weights(bias)? })
}
