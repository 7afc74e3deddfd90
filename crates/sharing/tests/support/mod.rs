//! A tiny encoder, tasks on it, and training in its plainest form.

#![allow(dead_code, reason = "every test file uses some of it")]

pub(crate) mod adam;
pub(crate) mod by_hand;
pub(crate) mod formula;
pub(crate) mod sections;

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use mtl_backbone::{Flat, GradientBlock, Pass, Pooling, Pretrained, TaskGradient, gather, random};
use mtl_sharing::{
    Budget, Change, DevScores, HeadSettings, Heads, Model, NoDevScores, NoMoments, Sharing, StepView, TaskShape,
};
use mtl_task::rng::Key;
use mtl_task::{Encoded, Packed, Progress, Reads, TaskId};
use serde_json::{Value, json};

/// Layers of the tiny encoder.
pub(crate) const LAYERS: usize = 3;
/// Width of its states.
pub(crate) const HIDDEN: usize = 16;
/// Width inside its feed-forward blocks.
pub(crate) const INTERMEDIATE: usize = 24;
/// Rows of its word table.
pub(crate) const VOCABULARY: usize = 71;

/// A tiny BERT of random weights without dropout. Of its sizes a half and a third can be met within 1 %, which
/// `single-small` needs for two and three tasks.
pub(crate) fn tiny(seed: u64) -> Pretrained {
    let config = json!({
        "vocab_size": VOCABULARY, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
        "intermediate_size": INTERMEDIATE, "max_position_embeddings": 23, "type_vocab_size": 2,
        "initializer_range": 0.3,
    });
    let mut pretrained = random(&Default::default(), "bert", &config, Key::new(seed)).expect("a valid configuration");
    pretrained.encoder = pretrained.encoder.with_dropout(0., 0.);
    pretrained
}

/// `count` tasks called `a`, `b`, …; every second one reads tokens.
pub(crate) fn tasks(count: usize) -> Vec<TaskShape> {
    let task = |at: usize| TaskShape {
        name: char::from(b'a' + at as u8).to_string(),
        outputs: 2 + at,
        reads: if at.is_multiple_of(2) { Reads::Text } else { Reads::Tokens },
    };
    (0..count).map(task).collect()
}

/// The strategy called `strategy` with `section` over `pretrained`.
pub(crate) fn build(
    strategy: &str,
    section: &Value,
    pretrained: &Pretrained,
    count: usize,
    dtype: DType,
) -> Result<Model> {
    let head = HeadSettings { dropout: 0., ..HeadSettings::default() };
    Model::build(
        mtl_sharing::find(strategy)?,
        section,
        &head,
        pretrained,
        tasks(count),
        Key::new(1),
        &Device::Cpu,
        dtype,
    )
    .with_context(|| format!("strategy `{strategy}`, {count} tasks"))
}

/// The texts that `task` trains on: three short ones, with the first token of each word marked.
pub(crate) fn texts(task: TaskId) -> Packed {
    let mut stream = Key::new(40).with(task.0 as u64).stream();
    let mut text = |length: usize| Encoded {
        ids: (0..length).map(|_| stream.below(VOCABULARY) as u32).collect(),
        segments: (0..length).map(|at| u32::from(2 * at > length)).collect(),
        anchors: (0..length as u32).step_by(2).collect(),
        words: length.div_ceil(2),
    };
    Packed::new(&[text(6), text(2), text(5)])
}

/// Mean squared distance between the logits of `task` and fixed random targets.
pub(crate) fn loss(model: &Model, task: TaskId, pass: &mut Pass) -> Result<Tensor> {
    Ok(loss_under(&model.heads, model.sharing.as_ref(), task, pass)?)
}

fn loss_under(heads: &Heads, sharing: &dyn Sharing, task: TaskId, pass: &mut Pass) -> candle_core::Result<Tensor> {
    let logits = heads.logits(sharing, task, &texts(task), pass)?;
    let mut stream = Key::new(41).with(task.0 as u64).stream();
    let targets: Vec<f64> = (0..logits.elem_count()).map(|_| stream.normal()).collect();
    let targets = Tensor::from_vec(targets, logits.shape(), logits.device())?.to_dtype(logits.dtype())?;
    (logits - targets)?.sqr()?.mean_all()
}

/// The gradient of every one of `tasks` on its own, and its loss.
pub(crate) fn gradients(model: &Model, tasks: &[TaskId]) -> Result<Vec<(f64, TaskGradient)>> {
    let one = |&task: &TaskId| {
        let mut pass = Pass::training(Key::new(42).with(task.0 as u64));
        let value = loss(model, task, &mut pass)?;
        let row = pass.backward(&value, &model.params)?;
        Ok((value.to_dtype(DType::F64)?.to_scalar::<f64>()?, row))
    };
    tasks.iter().map(one).collect()
}

/// The sum of the losses, and the gradient of that sum and the strategy's penalty.
pub(crate) fn descent(model: &Model, tasks: &[TaskId]) -> Result<(f64, TaskGradient)> {
    let (mut sum, mut total) = (0., TaskGradient::default());
    for (loss, row) in gradients(model, tasks)? {
        sum += loss;
        total.add(row);
    }
    if let Some(penalty) = model.sharing.penalty()? {
        gather(&model.params, &penalty.backward()?, &mut total)?;
    }
    Ok((sum, total))
}

/// One step of plain gradient descent on the sum of the losses and the strategy's penalty. Returns the sum of the
/// losses.
pub(crate) fn step(model: &mut Model, tasks: &[TaskId], progress: Progress, rate: f64) -> Result<f64> {
    let (sum, total) = descent(model, tasks)?;
    for (name, segment) in &total.0 {
        let param = model.params.get(name).with_context(|| format!("no parameter `{name}`"))?;
        let mask = model.sharing.update_mask(name, tasks);
        let gradient = segment.dense(param.layout().len())?;
        let mut values = Flat::of(param.tensor())?;
        let step = |at: usize| match &mask {
            Some(mask) if !mask.get(at) => 0.,
            _ => rate * gradient.at(at),
        };
        match &mut values {
            Flat::F32(values) => values.iter_mut().enumerate().for_each(|(at, value)| *value -= step(at) as f32),
            Flat::F64(values) => values.iter_mut().enumerate().for_each(|(at, value)| *value -= step(at)),
        }
        param.var().set(&values.tensor(model.params.device())?.reshape(param.tensor().shape())?)?;
    }
    adapt(model, progress, rate)?;
    Ok(sum)
}

/// What the trainer lets the strategy do after a step, with nothing to remember and no dev data.
pub(crate) fn adapt(model: &mut Model, progress: Progress, learning_rate: f64) -> candle_core::Result<()> {
    let Model { params, topology, sharing, .. } = model;
    let (grams, mut nothing) = (BTreeMap::new(), NoMoments);
    let held_out = &mut NoDevScores;
    let mut budget = Budget { steps: progress.step + 1, ..Budget::of(progress.of) };
    let (budget, events) = (&mut budget, &mut Vec::new());
    let mut view =
        StepView { tasks: &[], grams: &grams, tables: &[], progress, learning_rate, budget, events, held_out };
    sharing.adapt(&mut Change::new(params, topology, &mut nothing), &mut view)
}

/// Minus the loss of the task, as its score on dev.
pub(crate) struct Scores<'a>(pub(crate) &'a Heads);

impl DevScores for Scores<'_> {
    fn score(&mut self, sharing: &dyn Sharing, task: TaskId) -> candle_core::Result<f64> {
        let loss = loss_under(self.0, sharing, task, &mut Pass::evaluation())?;
        Ok(-loss.to_dtype(DType::F64)?.to_scalar::<f64>()?)
    }

    fn losses(&mut self, sharing: &dyn Sharing, task: TaskId) -> candle_core::Result<Vec<f64>> {
        Ok(vec![-self.score(sharing, task)?])
    }
}

/// Tells the strategy that `phase` begins.
pub(crate) fn enter(model: &mut Model, phase: usize) -> Result<()> {
    let Model { sharing, heads, .. } = model;
    Ok(sharing.enter(phase, &mut Scores(heads))?)
}

/// Where a training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct RunState {
    /// The phase.
    pub(crate) phase: usize,
    /// Steps done in it.
    pub(crate) phase_step: usize,
    /// Steps done in all.
    pub(crate) step: usize,
}

/// Trains for `budget` steps in the strategy's phases, as the trainer does. Returns the losses' sum of every step of
/// the last phase.
pub(crate) fn train(model: &mut Model, budget: usize, rate: f64) -> Result<Vec<f64>> {
    Ok(train_until(model, budget, rate, RunState::default(), usize::MAX)?.1)
}

/// As [`train`], but from `at` on, and interrupted after `stop` steps in all, where the trainer saves.
pub(crate) fn train_until(
    model: &mut Model,
    budget: usize,
    rate: f64,
    mut at: RunState,
    stop: usize,
) -> Result<(RunState, Vec<f64>)> {
    let phases = model.sharing.phases(budget);
    let of = phases.iter().map(|phase| phase.steps).sum();
    let all: Vec<TaskId> = (0..model.tasks.len()).map(TaskId).collect();
    let mut losses = Vec::new();
    while let Some(phase) = phases.get(at.phase) {
        if at.phase_step == 0 {
            enter(model, at.phase)?;
            losses.clear();
        }
        while at.phase_step < phase.steps {
            let tasks = phase.tasks.clone().unwrap_or_else(|| all.clone());
            losses.push(step(model, &tasks, Progress { step: at.step, of }, rate)?);
            (at.phase_step, at.step) = (at.phase_step + 1, at.step + 1);
            if at.step == stop {
                return Ok((at, losses));
            }
        }
        (at.phase, at.phase_step) = (at.phase + 1, 0);
    }
    enter(model, phases.len())?;
    Ok((at, losses))
}

/// What the heads of all tasks predict, task after task, as f64.
pub(crate) fn answers(model: &Model) -> Result<Vec<Vec<f64>>> {
    (0..model.tasks.len())
        .map(|task| {
            let logits = model.logits(TaskId(task), &texts(TaskId(task)), &mut Pass::evaluation())?;
            Ok(logits.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
        })
        .collect()
}

/// All that a checkpoint keeps of a model: its parameters, and what the strategy knows beyond them.
pub(crate) type Kept = (BTreeMap<String, Tensor>, BTreeMap<String, Tensor>);

/// What a checkpoint keeps of `model`.
pub(crate) fn keep(model: &Model) -> Result<Kept> {
    Ok((model.params.tensors()?.into_iter().collect(), model.sharing.state()?))
}

/// Whether every element of `segment` is finite.
pub(crate) fn is_finite(segment: &GradientBlock) -> bool {
    segment.values().first_non_finite().is_none()
}

/// The values of the parameter called `name`, as f64.
pub(crate) fn values(model: &Model, name: &str) -> Result<Vec<f64>> {
    let param = model.params.get(name).with_context(|| format!("no parameter `{name}`"))?;
    Ok(param.tensor().to_dtype(DType::F64)?.flatten_all()?.to_vec1()?)
}

/// Sets the parameter called `name`.
pub(crate) fn set(model: &Model, name: &str, values: &[f64]) -> Result<()> {
    let param = model.params.get(name).with_context(|| format!("no parameter `{name}`"))?;
    let tensor = Tensor::new(values, model.params.device())?.to_dtype(model.params.dtype())?;
    Ok(param.var().set(&tensor.reshape(param.tensor().shape())?)?)
}
