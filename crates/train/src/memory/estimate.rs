//! What a run needs, worked out from its sizes before anything large is made.
//!
//! With θ the number of values of all parameters, b bytes each, K tasks of T tokens a micro-batch, layers of width H and
//! feed-forward width I, and AdamW's two moments:
//!
//! - weights bθ, the pretrained encoder once more, moments 2b·(what is trained);
//! - gradients: a row for each task over what it trains, or one row where a rule over losses sums them. Of a word table
//!   only the rows that a batch reads;
//! - activations of a micro-batch: b·T·(8H + 2I) for each layer that the task walks (b·T·H if recomputed), and what the
//!   backward of one layer needs, b·T·(9H + I). One task's graph is alive at a time, unless the rule must know all losses
//!   before it weighs them;
//! - parts that the strategy computes for a task: values, gradient, and what the expression keeps;
//! - answers on dev: b·T·(8H + I) of the longest batch there;
//! - a checkpoint while it is written, file by file: a copy of the weights or of the moments, and their bytes.
//!
//! What strategies do between the encoder's layers is not counted, so that the figure is rather too low than too high.

use anyhow::Result;
use candle_core::DType;
use mtl_backbone::{Param, Pass};
use mtl_data::Example;
use mtl_sharing::Phase;
use mtl_task::{Packed, TaskId};
use mtl_weighting::{Class, Weighting};
use serde::Serialize;

use super::batches::BatchLengths;
use crate::assemble::Assembled;
use crate::evaluate::says_nothing;
use crate::recipe::{EncoderPath, Recipe};
use crate::run::loader::DataLoader;

/// Places where dropout is due in a layer.
const SITES: u64 = 3;
/// Copies of a part that a strategy computes: its values, their gradient, and what the expression behind it keeps.
const COMPUTED: u64 = 3;
/// A penalty's gradient, and what its expression keeps.
const PENALTY: u64 = 4;

/// Memory of a run by what it is for, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// All parameters.
    pub weights: u64,
    /// The encoder as it was before training.
    pub pretrained: u64,
    /// What teachers say of the training examples.
    pub teachers: u64,
    /// Gradients: one row a task, or their sum.
    pub gradients: u64,
    /// What the optimizer remembers.
    pub moments: u64,
    /// Activations of the longest micro-batch, and what its backward needs.
    pub activations: u64,
    /// Parts of the encoder that the strategy computes for a task, and its penalty.
    pub computed: u64,
    /// Answers to the longest batch of dev.
    pub evaluation: u64,
    /// A checkpoint while it is written.
    pub checkpoint: u64,
}

impl MemoryEstimate {
    /// Everything.
    pub fn total(&self) -> u64 {
        self.weights + self.pretrained + self.teachers + self.ahead()
    }

    /// What is not there yet when model and data are loaded.
    pub fn ahead(&self) -> u64 {
        self.gradients + self.moments + self.activations + self.computed + self.evaluation + self.checkpoint
    }
}

/// Settings that change how much memory a run needs, and no more than the rounding of what it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) batch: usize,
    pub(crate) accumulate: usize,
    pub(crate) evaluation_batch: usize,
    pub(crate) recompute: bool,
    pub(crate) log_gradients: usize,
}

impl Settings {
    pub(crate) fn of(recipe: &Recipe) -> Self {
        Self {
            batch: recipe.train.batch,
            accumulate: recipe.train.accumulate,
            evaluation_batch: recipe.evaluation.batch,
            recompute: recipe.train.recompute,
            log_gradients: recipe.train.log_gradients,
        }
    }
}

/// The sizes that an estimate is made of.
pub(crate) struct Sizes {
    /// Bytes a value.
    bytes: u64,
    hidden: u64,
    intermediate: u64,
    fused: bool,
    parameters: u64,
    trained: u64,
    pretrained: u64,
    moments: u64,
    teachers: u64,
    tasks: Vec<TaskSizes>,
    /// What some task trains, each parameter once: dense values, and the widths of its tables.
    once: RowSizes,
    /// Dense values that at least two tasks train.
    shared: u64,
    penalty: bool,
    class: Class,
    /// Whether the rule needs each task's gradient in every step.
    each: bool,
    /// Whether losses are weighed only when all are known.
    pending: bool,
    mini_batches: u64,
    /// Lengths of the longest texts of dev, by task, falling.
    dev: Vec<Vec<usize>>,
    lengths: BatchLengths,
    settings: Settings,
    /// Whether a task has a batch of its own.
    own_batches: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct RowSizes {
    dense: u64,
    /// Summed widths of the word tables.
    width: u64,
}

struct TaskSizes {
    row: RowSizes,
    /// Layers that a text goes through.
    layers: f64,
    computed: u64,
}

impl Sizes {
    /// Of a run of `recipe` over `assembled`.
    pub(crate) fn of(recipe: &Recipe, assembled: &Assembled, loader: &DataLoader, phases: &[Phase]) -> Result<Self> {
        let trainer = &assembled.trainer;
        let (params, topology) = (&trainer.model.params, &trainer.model.topology);
        let shape = assembled.pretrained.encoder.shape();
        let count = |of: &dyn Fn(&Param) -> bool| params.iter().filter(|param| of(param)).map(length).sum();
        let trained_by =
            |param: &Param, task| topology.trained_by(param.name()).is_some_and(|owner| owner.contains(task));
        let mut tasks = Vec::new();
        for task in (0..assembled.datasets.len()).map(TaskId) {
            let (layers, computed) = walked(assembled, task)?;
            tasks.push(TaskSizes { row: row(params.iter().filter(|param| trained_by(param, task))), layers, computed });
        }
        let shared = topology.shared();
        let losses_last = trainer.groups.iter().any(|group| match group.rule.whole() {
            Weighting::Losses(rule) => !rule.weights_precede_losses(),
            _ => false,
        });
        Ok(Self {
            bytes: if params.dtype() == DType::F64 { 8 } else { 4 },
            hidden: shape.hidden as u64,
            intermediate: shape.intermediate as u64,
            fused: recipe.train.path == EncoderPath::Auto,
            parameters: count(&|_| true),
            trained: count(&|param| param.trainable()),
            pretrained: assembled.pretrained.count() as u64,
            moments: trainer.optimizer.moments_kept() as u64,
            teachers: assembled.targets.bytes(),
            once: row(params.iter().filter(|param| param.trainable())),
            shared: count(&|param| shared.contains(param.name()) && param.layout().row_width().is_none()),
            tasks,
            penalty: trainer.model.sharing.penalty()?.is_some(),
            class: trainer.class,
            each: trainer.needs_each_gradient(),
            pending: losses_last,
            mini_batches: trainer.mini_batches() as u64,
            dev: assembled.datasets.iter().map(|dataset| longest(&dataset.dev.examples)).collect(),
            lengths: BatchLengths::of(recipe, assembled, loader, phases)?,
            settings: Settings::of(recipe),
            own_batches: recipe.task_settings.values().any(|task| task.batch.is_some()),
        })
    }

    /// Whether a task has a batch of its own, which grows and shrinks with that of the others.
    pub(crate) fn has_own_batches(&self) -> bool {
        self.own_batches
    }

    /// The lengths of the run's batches.
    pub(crate) fn lengths(&self) -> &BatchLengths {
        &self.lengths
    }

    /// The settings of the recipe.
    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    /// Whether recomputing would save anything.
    pub(crate) fn recomputes(&self) -> bool {
        self.fused
    }

    /// The estimate, with some `settings` in place of the recipe's.
    pub(crate) fn estimate(&self, settings: Settings) -> MemoryEstimate {
        let weights = self.bytes * self.parameters;
        let moments = self.bytes * self.trained * self.moments;
        MemoryEstimate {
            weights,
            pretrained: 4 * self.pretrained,
            teachers: self.teachers,
            gradients: self.gradients(settings),
            moments,
            activations: self.activations(settings),
            computed: self.bytes
                * (COMPUTED * self.tasks.iter().map(|task| task.computed).max().unwrap_or(0)
                    + if self.penalty { PENALTY * self.trained } else { 0 }),
            evaluation: self.evaluation(settings),
            checkpoint: 2 * weights.max(moments),
        }
    }

    fn gradients(&self, settings: Settings) -> u64 {
        let present = || self.tasks.iter().zip(&self.lengths.step).filter(|(_, tokens)| **tokens > 0);
        let of = |row: &RowSizes, tokens: usize| self.bytes * (row.dense + row.width * tokens as u64);
        let each = self.each || settings.log_gradients > 0;
        if !each {
            return of(&self.once, present().map(|(_, tokens)| *tokens).sum());
        }
        let rows: u64 = present().map(|(task, tokens)| of(&task.row, *tokens)).sum();
        // Accumulation adds a micro-batch's row to the task's; a rule over the Jacobian writes a direction.
        let piece = if settings.accumulate > 1 { present().map(|(task, _)| of(&task.row, 0)).max() } else { None };
        let direction = if self.class == Class::Jacobian { self.bytes * self.shared } else { 0 };
        rows * self.mini_batches + piece.unwrap_or(0) + direction
    }

    fn activations(&self, settings: Settings) -> u64 {
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let layer = match (self.fused, settings.recompute) {
            (true, false) => 8 * hidden + 2 * intermediate,
            (true, true) => hidden,
            (false, _) => 24 * hidden + 10 * intermediate,
        };
        let mut within = 9 * hidden + intermediate;
        if self.fused && settings.recompute {
            within += 7 * hidden + 2 * intermediate;
        }
        // A micro-batch of fewer examples is shorter by as much.
        let share = settings.batch as f64 / self.settings.batch.max(1) as f64;
        let graphs = self.tasks.iter().zip(&self.lengths.micro).map(|(task, &tokens)| {
            let kept = task.layers * layer as f64 + (4 * hidden) as f64;
            (tokens as f64 * share * kept, tokens as f64 * share * within as f64)
        });
        let summed = self.pending && !self.each && settings.log_gradients != 1;
        let (kept, within) = match summed {
            true => graphs.fold((0., 0f64), |(sum, most), (kept, within)| {
                (sum + kept * settings.accumulate as f64, most.max(within))
            }),
            false => graphs.fold((0f64, 0f64), |(most, other), (kept, within)| (most.max(kept), other.max(within))),
        };
        (self.bytes as f64 * (kept + within)) as u64
    }

    fn evaluation(&self, settings: Settings) -> u64 {
        let tokens = |lengths: &Vec<usize>| lengths.iter().take(settings.evaluation_batch.max(1)).sum::<usize>();
        let most = self.dev.iter().map(tokens).max().unwrap_or(0) as u64;
        self.bytes * most * (8 * self.hidden + self.intermediate)
    }
}

fn length(param: &Param) -> u64 {
    param.layout().len() as u64
}

/// A gradient over `params`.
fn row<'a>(params: impl Iterator<Item = &'a Param>) -> RowSizes {
    params.filter(|param| param.trainable()).fold(RowSizes::default(), |row, param| match param.layout().row_width() {
        Some(width) => RowSizes { width: row.width + width as u64, ..row },
        None => RowSizes { dense: row.dense + length(param), ..row },
    })
}

/// How many layers a text of `task` goes through, and how many values the strategy computes for it: a short text is
/// sent through, which changes nothing.
fn walked(assembled: &Assembled, task: TaskId) -> Result<(f64, u64)> {
    let trainer = &assembled.trainer;
    let kind = trainer.tasks[task.0].as_ref();
    let mut examples: Vec<&Example> = assembled.datasets[task.0].train.examples.iter().collect();
    examples.sort_by_key(|example| example.encoded.ids.len());
    let device = trainer.model.params.device();
    let packed = |example: &Example| match device.is_cpu() {
        true => Packed::new([&example.encoded]),
        false => Packed::padded([&example.encoded], 0),
    };
    let Some(tokens) = examples.into_iter().map(packed).find(|tokens| !says_nothing(kind, tokens)) else {
        return Ok((0., 0));
    };
    let mut pass = Pass::evaluation();
    trainer.model.logits(task, &tokens, &mut pass)?;
    Ok((pass.sites() as f64 / SITES as f64, pass.computed_values() as u64))
}

/// The lengths of `examples`, the longest first; as many as any batch would hold.
fn longest(examples: &[Example]) -> Vec<usize> {
    let mut lengths: Vec<usize> = examples.iter().map(|example| example.encoded.ids.len()).collect();
    lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
    lengths
}

#[cfg(test)]
impl Sizes {
    /// Three tasks on one encoder of 6 layers, whose activations are most of what a step needs.
    pub(super) fn example() -> Self {
        let row = RowSizes { dense: 2_000_000, width: 256 };
        let task = || TaskSizes { row, layers: 6., computed: 0 };
        Self {
            bytes: 4,
            hidden: 256,
            intermediate: 1024,
            fused: true,
            parameters: 3_000_000,
            trained: 3_000_000,
            pretrained: 3_000_000,
            moments: 2,
            teachers: 0,
            tasks: vec![task(), task(), task()],
            once: row,
            shared: 2_000_000,
            penalty: false,
            class: Class::Gram,
            each: true,
            pending: false,
            mini_batches: 1,
            dev: vec![vec![128; 8]; 3],
            lengths: BatchLengths { micro: vec![16_384; 3], step: vec![16_384; 3], ..BatchLengths::default() },
            settings: Settings { batch: 16, accumulate: 1, evaluation_batch: 64, recompute: false, log_gradients: 1 },
            own_batches: false,
        }
    }
}
