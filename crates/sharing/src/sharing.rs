//! What a strategy is.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_backbone::{Params, Part, Pass, TaskGradient};
use mtl_nash::Gram;
use mtl_task::{Packed, Progress, TaskId};

use crate::{Budget, BuildContext, Change, Racing, TaskSet, Topology};

/// How tasks share an encoder.
pub trait Sharing: Send + Sync {
    /// What the head of `task` reads: packed `[tokens, hidden]`.
    ///
    /// # Errors
    /// Those of the encoder's ops.
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor>;

    /// What the heads of `tasks` read of the same `tokens`, in their order: bit for bit what [`Sharing::represent`]
    /// returns for each, for a pass that only predicts (in training a pass is one task's). A walk per task by default;
    /// a strategy whose tasks see the same states on the way computes these once.
    ///
    /// # Errors
    /// Those of the encoder's ops.
    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        tasks.iter().map(|&task| self.represent(task, tokens, pass)).collect()
    }

    /// A differentiable penalty on the parameters, added to the combined gradient as it is.
    ///
    /// # Errors
    /// Those of candle.
    fn penalty(&self) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Whether [`Sharing::adapt`] reads [`StepView::grams`]: every step then keeps each task's gradient, whatever the
    /// recipe logs.
    fn reads_grams(&self) -> bool {
        false
    }

    /// Whether [`Sharing::adapt`] reads [`StepView::tables`] after the next step, which then keeps each task's gradient.
    fn reads_tables(&self) -> bool {
        false
    }

    /// Called after every optimizer step: anneal, grow, pull together, split and join. Whoever changes the structure
    /// does so through `change`, which raises the topology's version; the trainer then works out its groups again.
    ///
    /// # Errors
    /// Those of candle.
    fn adapt(&mut self, _change: &mut Change, _step: &mut StepView) -> Result<()> {
        Ok(())
    }

    /// What `budget` buys, as sentences, before anything is trained. Nothing to say by default.
    ///
    /// # Errors
    /// If the strategy cannot do with it what its section asks for.
    fn foresee(&self, _budget: &Budget) -> anyhow::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The races by which the strategy chooses what it changes; most have none.
    fn racing(&mut self) -> Option<&mut dyn Racing> {
        None
    }

    /// Who shares with whom at some depths of the encoder, bottom up: a name for each, and a partition of the tasks.
    /// Empty by default; the report compares it to the truth where this is known.
    fn partitions(&self) -> Vec<(String, Vec<TaskSet>)> {
        Vec::new()
    }

    /// Takes on the structure `topology` over `params`, which hold all of its parameters, their values not read yet:
    /// for continuing from a checkpoint that was saved after the structure had changed.
    ///
    /// # Errors
    /// If the strategy cannot have this structure. One that never changes has the one that it was built with alone.
    fn restructure(&mut self, topology: &Topology, _params: &Params) -> Result<()> {
        candle_core::bail!(
            "the checkpoint's structure (version {}) is not the one that this strategy was built with, and it does not \
             change in training",
            topology.version()
        )
    }

    /// How `budget` steps are spent. One phase by default.
    fn phases(&self, budget: usize) -> Vec<Phase> {
        vec![Phase::main(budget)]
    }

    /// Called before the `phase`-th phase begins, and once more after the last one, with the number of phases.
    ///
    /// # Errors
    /// Those of candle and of the scores.
    fn enter(&mut self, _phase: usize, _scores: &mut dyn DevScores) -> Result<()> {
        Ok(())
    }

    /// Which elements of the parameter `name` a step of `tasks` may change; all by default. What is masked feels
    /// neither gradient, momentum nor decay.
    fn update_mask(&self, _name: &str, _tasks: &[TaskId]) -> Option<Arc<Bits>> {
        None
    }

    /// Facts worth a line in the report, such as learnt mixing weights or the overlap of masks.
    ///
    /// # Errors
    /// Those of candle.
    fn findings(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    /// How the training went, as an object whose entries stand among the findings: of the whole training, whichever step's
    /// weights are kept. Nothing by default.
    ///
    /// # Errors
    /// Those of candle.
    fn chronicle(&self) -> Result<serde_json::Value> {
        Ok(serde_json::Value::Null)
    }

    /// What a reader of the result has to know, as sentences: where the strategy could not do what it is for. None by
    /// default. They stand in the report, and the run tells them as soon as they are known.
    ///
    /// # Errors
    /// Those of candle.
    fn warnings(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// The whole encoder as `task` sees it, every part's flat vector `[layout.len()]`, bottom up, as copies: for
    /// export as a plain encoder. `None` where the strategy is more than a change of one encoder's weights.
    ///
    /// # Errors
    /// Those of candle.
    fn merged(&self, _task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        Ok(None)
    }

    /// As [`Sharing::merged`], where the encoder that `task` sees may have fewer layers than the model's: its parts,
    /// bottom up, the last of them being the layer that the head reads.
    ///
    /// # Errors
    /// Those of candle.
    fn plain(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        self.merged(task)
    }

    /// What the strategy knows beyond its parameters (masks, candidates), for resuming and for stored models.
    ///
    /// # Errors
    /// Those of candle.
    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        Ok(BTreeMap::new())
    }

    /// Continues from a saved state, inside the `phase`-th phase (the number of phases: after the last one).
    ///
    /// # Errors
    /// If it is not a state of this strategy.
    fn restore(&mut self, _state: &BTreeMap<String, Tensor>, _phase: usize) -> Result<()> {
        Ok(())
    }

    /// Bytes that the trained model takes in a file beyond its parameters (masks); negative if some are not stored.
    fn extra_bytes(&self) -> i64 {
        0
    }
}

/// A strategy's section of the recipe; its defaults are the paper's.
pub trait StrategySettings: serde::de::DeserializeOwned + serde::Serialize + Default {
    /// What is wrong with these settings for an encoder of `layers` layers and `tasks` tasks, before anything is built.
    ///
    /// # Errors
    /// Says what was found and what would be right.
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        Ok(())
    }

    /// Whether tasks can reach a common trained parameter with these settings, where that depends on them; `None`
    /// where the registry's word holds for every section.
    fn shares(&self) -> Option<bool> {
        None
    }

    /// Puts the strategy's parameters into `context` and returns how they are used.
    ///
    /// # Errors
    /// If the settings do not fit the encoder or the tasks.
    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>>;
}

/// A phase of training.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What it is for.
    pub name: String,
    /// How many steps.
    pub steps: usize,
    /// Which tasks train; all if `None`.
    pub tasks: Option<Vec<TaskId>>,
    /// Whether the optimizer forgets its moments, and the schedule starts again, when it begins.
    pub reset_optimizer: bool,
}

impl Phase {
    /// The ordinary one: every task, `steps` steps.
    pub fn main(steps: usize) -> Self {
        Self { name: "train".into(), steps, tasks: None, reset_optimizer: false }
    }
}

/// What a strategy sees of a step that was just taken.
pub struct StepView<'a> {
    /// The tasks that took part, in the order of the Gram matrices' rows.
    pub tasks: &'a [TaskId],
    /// The inner products of their gradients over each parameter that at least two tasks train, by the parameter's
    /// name, in the first mini-batch. Empty in steps for which no weighting rule, no log and not the strategy asks for
    /// the gradients (see [`Sharing::reads_grams`]).
    pub grams: &'a BTreeMap<String, Gram>,
    /// The gradients of its tasks over tables such as the word vectors, by the rows that they touch, in their order.
    /// Empty unless the strategy asks for them (see [`Sharing::reads_tables`]).
    pub tables: &'a [TaskGradient],
    /// How far training was before the step.
    pub progress: Progress,
    /// The learning rate that the step took.
    pub learning_rate: f64,
    /// What the training may cost and what was spent, this step included; whoever scores on dev charges it here.
    pub budget: &'a mut Budget,
    /// What the metrics are to tell of this step beside its figures; whatever is put here is written to its line.
    pub events: &'a mut Vec<serde_json::Value>,
    /// Dev scores and losses on demand.
    pub held_out: &'a mut dyn DevScores,
}

/// How well the model does on dev data, for strategies that choose between candidates.
pub trait DevScores {
    /// The headline score of `task` on its dev split with the weights and structure as they are now.
    ///
    /// # Errors
    /// Those of the forward pass.
    fn score(&mut self, sharing: &dyn Sharing, task: TaskId) -> Result<f64>;

    /// The loss of every dev example of `task`, in the order of the split, with the weights and structure as they are
    /// now, without dropout.
    ///
    /// # Errors
    /// Those of the forward pass.
    fn losses(&mut self, sharing: &dyn Sharing, task: TaskId) -> Result<Vec<f64>>;

    /// As [`DevScores::losses`], of at most `most` examples, evenly spaced over the split.
    ///
    /// # Errors
    /// Those of the forward pass.
    fn sampled_losses(&mut self, sharing: &dyn Sharing, task: TaskId, most: usize) -> Result<Vec<f64>> {
        let losses = self.losses(sharing, task)?;
        Ok(spaced(losses.len(), most).filter_map(|at| losses.get(at).copied()).collect())
    }

    /// The mean loss on dev of the constant output that fits `task`'s training split best, where it is known.
    ///
    /// # Errors
    /// Those of the loss.
    fn baseline_loss(&mut self, _task: TaskId) -> Result<Option<f64>> {
        Ok(None)
    }

    /// The headline score on dev of the constant prediction that fits `task`'s training split best (the majority class
    /// or the mean), where it is known.
    ///
    /// # Errors
    /// Those of the metric.
    fn baseline(&mut self, _task: TaskId) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// The places of at most `most` of `count` things, evenly spaced.
pub fn spaced(count: usize, most: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most);
    (0..taken).map(move |at| at * count / taken.max(1))
}

/// No dev data, where there is none to be had.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDevScores;

impl DevScores for NoDevScores {
    fn score(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<f64> {
        candle_core::bail!("there is no dev data to score on")
    }

    fn losses(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<Vec<f64>> {
        candle_core::bail!("there is no dev data to take losses on")
    }
}

/// A bit per element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits {
    words: Vec<u64>,
    length: usize,
}

impl Bits {
    /// `length` bits, each as `of` says.
    pub fn from_fn(length: usize, of: impl Fn(usize) -> bool) -> Self {
        let word = |at: usize| {
            (0..64).filter(|bit| at * 64 + bit < length && of(at * 64 + bit)).fold(0, |w, bit| w | 1 << bit)
        };
        Self { words: (0..length.div_ceil(64)).map(word).collect(), length }
    }

    /// Bit `index`.
    pub fn get(&self, index: usize) -> bool {
        self.words[index / 64] >> (index % 64) & 1 == 1
    }

    /// Number of bits.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Number of bits that are set.
    pub fn ones(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Bits that are set here or there.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a | b)
    }

    /// Bits that are set here and there.
    ///
    /// # Panics
    /// If the lengths differ.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.combined(other, |a, b| a & b)
    }

    fn combined(&self, other: &Self, with: impl Fn(u64, u64) -> u64) -> Self {
        assert_eq!(self.length, other.length, "masks of two parameters");
        let words = self.words.iter().zip(&other.words).map(|(a, b)| with(*a, *b)).collect();
        Self { words, length: self.length }
    }

    /// The bits, 64 to a word, the lowest first.
    pub fn words(&self) -> &[u64] {
        &self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_count_and_combine() {
        let (even, three) = (Bits::from_fn(70, |i| i % 2 == 0), Bits::from_fn(70, |i| i % 3 == 0));
        assert_eq!((even.ones(), three.ones()), (35, 24));
        assert_eq!(even.and(&three).ones(), 12);
        assert_eq!(even.or(&three).ones(), 47);
        assert!(even.get(68) && !even.get(69));
    }
}
