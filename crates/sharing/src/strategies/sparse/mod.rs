//! Sparse sharing (Sun et al. 2020): every task trains a subnetwork of one encoder, found by pruning.
//!
//! θ_t = θ ⊙ Mₜ. A mask covers the matrices of the layers; biases, LayerNorms and embeddings belong to every
//! subnetwork, heads to their tasks. The run's steps are spent in three phases, all charged to the strategy:
//!
//! 1. `warm_up` of them on all tasks with full masks (the paper's MTW); 0 to start from the pretrained weights.
//! 2. `search` of them on iterative magnitude pruning, task after task, in `rounds` + 1 trainings each: training r runs
//!    under Mₜʳ (Mₜ⁰ is full) and is scored on dev; then the weights of smallest |θ| over all layers go until
//!    `final_rate`^((r+1)/`rounds`) are left, which is Mₜʳ⁺¹, and encoder and heads are rewound to where the search
//!    began. The mask with the best score is Mₜ, the sparser one if two are equal; if no training beat the baseline (the
//!    majority class or mean), scores say nothing of masks, and the one that prunes least is taken. A training has
//!    `minimum` steps, even if that exceeds the fraction, as long as a quarter of the run is left for phase 3; it always
//!    has one.
//! 3. The rest on all tasks, each through its own mask, from the rewound weights. What no task of a step keeps feels
//!    neither gradient, momentum nor decay.
//!
//! Defaults: `final_rate` 0.1 as in the paper, `warm_up` 0.1, `search` 0.5, `minimum` 30. Its code prunes in 20 rounds
//! of 100 epochs, from random weights at rate 0.1; 2 rounds in half of a fine-tuning budget here, so that each training
//! is as long as can be. A pretrained encoder's large weights are large before the task is seen, and some hundred steps
//! move them little: masks then differ between tasks in what lies near the threshold alone. `criterion = "increase"`
//! prunes by |θ| − |θ₀| instead (Zhou et al. 2019): what the task made of the weights, at the price of weights that the
//! encoder needs. Overlaps of either on tasks that are related and on tasks that are not: docs/strategies.md.
//!
//! It warns of trainings shorter than `minimum`, of tasks whose candidates stayed at the baseline or scored all the same,
//! and of tasks whose masks keep the same weights (overlap above 0.99).
//!
//! Deviations from the official code, all deliberate: masks are chosen on dev by score (there: by hand, `MASK_LIST`,
//! and epochs on the test set; `round` takes one round for all tasks); masked weights do not drift (there: momentum
//! moves them in every task's step).
//!
//! Memory: while searching, one copy of the encoder and the heads to rewind to. A mask takes a bit for each weight of a
//! layer.
//!
//! Parameters: one encoder, P, and K masks of one bit a layer weight in files.

mod masks;
mod report;
mod search;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::ensure;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, ParameterView, Part, Pass, Ports, TaskGradient, Wants, values_of};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use self::masks::{Masks, clear};
use self::search::{Search, Stage};
use crate::blocks::additions::merged;
use crate::{
    Bits, BuildContext, Change, DevScores, EncoderWeights, Head, Phase, Sharing, StepView, Strategy, StrategySettings,
    walk,
};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Sparse>(
    "sparse",
    "one encoder, a subnetwork of it per task, found by pruning",
    "Sun et al. 2020",
    "P, and K masks of one bit a layer weight",
    true,
)
.with_source(include_str!("mod.rs"));

/// The `[sharing]` section of `strategy = "sparse"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sparse {
    /// Share of the elements of the layers' matrices that the last round keeps, in (0, 1].
    pub final_rate: f64,
    /// How often each task's network is pruned; from 1 to 100.
    pub rounds: usize,
    /// Steps that a training of the search has at least, where the run has them; at least 1.
    pub minimum: usize,
    /// Share of the steps that all tasks train on before the search, in [0, 1).
    pub warm_up: f64,
    /// Share of the steps that the search takes, in (0, 1).
    pub search: f64,
    /// Which weights go first.
    pub criterion: Criterion,
    /// The round whose mask every task takes, from 1 to `rounds`; 0 to let the score on dev choose.
    pub round: usize,
}

/// Which weights pruning takes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// Those with the smallest |θ|.
    Magnitude,
    /// Those whose |θ| grew least since the search began.
    Increase,
}

impl Default for Sparse {
    fn default() -> Self {
        let criterion = Criterion::Magnitude;
        Self { final_rate: 0.1, rounds: 2, minimum: 30, warm_up: 0.1, search: 0.5, criterion, round: 0 }
    }
}

impl StrategySettings for Sparse {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        let rate = self.final_rate;
        ensure!(rate > 0. && rate <= 1., "`final_rate` must lie in (0, 1], found {rate}");
        ensure!(self.rounds > 0, "`rounds` must be at least 1; for no pruning at all there is `hard`");
        ensure!(self.rounds <= 100, "`rounds` is {}, but at most 100 can be told apart", self.rounds);
        ensure!(self.minimum > 0, "`minimum` must be at least 1; a training without a step finds no mask");
        ensure!((0. ..1.).contains(&self.warm_up), "`warm_up` must lie in [0, 1), found {}", self.warm_up);
        ensure!(self.search > 0. && self.search < 1., "`search` must lie in (0, 1), found {}", self.search);
        let spent = self.warm_up + self.search;
        ensure!(spent < 1., "`warm_up` and `search` together take {spent} of the steps and leave none to train with");
        ensure!(self.round <= self.rounds, "`round` is {}, but there are {} rounds", self.round, self.rounds);
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let everyone = context.shared();
        let shared = EncoderWeights::insert(context, &everyone)?;
        let names: Vec<String> = context.tasks.iter().map(|task| task.name.clone()).collect();
        let heads = context.heads.iter().flat_map(Head::params).cloned();
        let rewound = shared.iter().cloned().chain(heads).collect();
        let search = Search::new(self, names, context.encoder.clone(), rewound);
        Ok(Box::new(SparseSharing { encoder: context.encoder.clone(), shared, search }))
    }
}

struct SparseSharing {
    encoder: Arc<Family>,
    shared: EncoderWeights,
    search: Search,
}

impl Sharing for SparseSharing {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (depth, masks) = (self.encoder.layers(), self.search.masks(task));
        let view = |part: Part, pass: &mut Pass| match (part, masks) {
            (Part::Layer(index), Some(masks)) => masked(self.shared.part(part), &masks.0[index], pass),
            _ => pass.view(self.shared.part(part)),
        };
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn phases(&self, budget: usize) -> Vec<Phase> {
        self.search.phases(budget)
    }

    fn enter(&mut self, phase: usize, scores: &mut dyn DevScores) -> Result<()> {
        if let Some(Stage::Search { task, .. }) = phase.checked_sub(1).and_then(|before| self.search.stage(before)) {
            let (baseline, score) = (scores.baseline(TaskId(task))?, scores.score(self, TaskId(task))?);
            self.search.close(score, baseline)?;
        }
        self.search.open(phase)
    }

    fn adapt(&mut self, _change: &mut Change, _step: &mut StepView) -> Result<()> {
        self.search.count();
        Ok(())
    }

    fn update_mask(&self, name: &str, tasks: &[TaskId]) -> Option<Arc<Bits>> {
        let index = (0..self.encoder.layers()).find(|index| self.shared.part(Part::Layer(*index)).name() == name)?;
        let mut masks = tasks.iter().map(|task| Some(&self.search.masks(*task)?.0[index]));
        let first = masks.next()??.clone();
        masks.try_fold(first, |sum, mask| Some(Arc::new(sum.or(mask?))))
    }

    fn findings(&self) -> Result<serde_json::Value> {
        Ok(report::findings(&self.search))
    }

    fn warnings(&self) -> Result<Vec<String>> {
        Ok(report::warnings(&self.search))
    }

    /// θ ⊙ Mₜ with the mask that the task sees now: its own after the search, in the search the one in force.
    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let masks = self.search.masks(task);
        merged(&self.encoder, |part| match (part, masks) {
            (Part::Layer(index), Some(masks)) => kept(self.shared.part(part), &masks.0[index]),
            _ => Ok(self.shared.part(part).tensor().clone()),
        })
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.search.state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        self.search.restore(state, phase)
    }

    fn extra_bytes(&self) -> i64 {
        self.search.chosen().map(Masks::bytes).sum::<usize>() as i64
    }
}

/// θ ⊙ mask, `[len]`.
fn kept(param: &Param, mask: &Bits) -> Result<Tensor> {
    let mut theta = values_of(param)?;
    clear(&mut theta, mask);
    theta.tensor(param.tensor().device())
}

/// The view of θ ⊙ mask; what is masked gets no gradient.
fn masked(param: &Param, mask: &Arc<Bits>, pass: &mut Pass) -> Result<ParameterView> {
    let theta = kept(param, mask)?;
    let (name, mask) = (param.name().to_string(), mask.clone());
    pass.materialise_with(&theta, param.layout(), Wants::All, move |mut gradient, row: &mut TaskGradient| {
        clear(gradient.values_mut(), &mask);
        row.add(TaskGradient([(name, gradient)].into()));
        Ok(())
    })
}
