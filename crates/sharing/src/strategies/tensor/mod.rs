//! Tensor factorisation of what tasks add to one encoder (DMTRL, Yang & Hospedales 2017).
//!
//! W_t = W + Δ_t for every matrix of every layer, [D₁, D₂]. The deltas of the K tasks, stacked along a last axis, are a
//! tensor Δ of [D₁, D₂, K], and its factors are what is trained; all are shared but the task's own mix aₜ:
//!
//! - `laf`: Δ_t = Σ_r aₜᵣ·U_r, mixtures of R whole matrices; see `laf.rs`.
//! - `tucker`: Δ_t = U₁·(Σ_c aₜ_c·S_c)·U₂ᵀ; see `tucker.rs`.
//! - `tt`: Δ_t = G₁·(Σ_b aₜ_b·G_b), the tensor train; see `tt.rs`.
//!
//! `init = "random"` draws the mixes and the shared factors but the last (S, G_b, U_r), which is zero, so that training
//! starts at the pretrained encoder, as in LoRA. A last factor that moves by δ moves an element of a delta by about
//! `scale`·δ: at 1 an optimizer with adaptive steps changes W_t as much in a step as it changes W in hard sharing. (With
//! zero mixes instead, the first steps can only choose among K drawn matrices of a deviation of `scale`, and nothing else
//! has a gradient: the deltas hardly move.) `init = "svd"` spends `search` of the steps on training the layers' matrices
//! for each task alone, rewinds, and factorises what they learnt (LAF: an eigenproblem of size K; Tucker: HOSVD; TT:
//! TT-SVD; the long sides by a randomised range finder). `rank` bounds every rank; with `error` > 0 each matrix takes the
//! smallest ranks whose relative error is at most that, and what it does not use is zero on both sides, so that it stays
//! zero.
//!
//! Deviations: the paper factorises the weights themselves, from single-task networks or at random. A pretrained
//! encoder is where training has to start, hence deltas. Biases, LayerNorms and embeddings, private to tasks in the
//! paper's code, are shared. `base` is trained by all tasks by default, which is a further mixture with equal mixes;
//! `base = "frozen"` trains factors and heads alone. Defaults: random Tucker factors of rank 8, `scale` 1, `search`
//! 0.3 (the paper chooses ranks by error; so does the official code, 0.01, by an interpolative SVD).
//!
//! Memory: one θ a part and pass. With `svd`, K deltas and one copy of the layers on the host until they are
//! factorised.
//!
//! Parameters: P + Σ over the matrices of (D₁ + D₂)·rank + K·rank² (Tucker), D₁·rank + K·D₂·rank (TT), K·D₁·D₂ (LAF),
//! and K mixes of K each, for K ≤ rank ≤ H. With `svd` a frozen base counts as trainable: it is, until the factors
//! exist.

mod factors;
mod laf;
mod schedule;
mod small;
mod tt;
mod tucker;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use anyhow::ensure;
use candle_core::{Result, Tensor};
use mtl_backbone::{
    Encoder, Family, GradientBlock, Param, ParameterView, Part, Pass, Ports, TaskGradient, Wants, values_of,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use self::factors::{Factors, Form};
use self::schedule::{FactorSchedule, Stage};
use crate::blocks::additions::merged;
use crate::blocks::penalty::squared_norm;
use crate::{
    Bits, BuildContext, DevScores, EncoderWeights, Phase, RateScales, Role, Scope, Sharing, Strategy, StrategySettings,
    walk,
};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<TensorFactorisation>(
    "tensor",
    "one encoder, and factors of what each task adds to its matrices",
    "Yang & Hospedales 2017",
    "P + L·(r·(10·H + 2·I) + 6·K·r² + 6·K²), K ≤ r ≤ H, r the rank (8), I the feed-forward width",
    true,
)
.with_source(include_str!("mod.rs"))
.with_rates(RateScales::PLAIN.added(1.).mixing(1.));

/// The `[sharing]` section of `strategy = "tensor"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TensorFactorisation {
    /// How the deltas are factorised.
    pub form: Form,
    /// The highest rank along any axis, at least 1.
    pub rank: usize,
    /// Relative error in [0, 1) that chooses smaller ranks, with `init = "svd"`; 0 for `rank` itself.
    pub error: f64,
    /// Whether the tasks train the encoder below the deltas.
    pub base: Base,
    /// What the factors start from.
    pub init: Init,
    /// How far an element of a delta moves, in deviations, when the elements of the last factor move by one; above 0.
    pub scale: f64,
    /// Share of the steps that train single-task deltas, with `init = "svd"`, in (0, 1).
    pub search: f64,
}

/// Whether the encoder below the deltas is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// By all tasks.
    Shared,
    /// It is not.
    Frozen,
}

/// What the factors start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Random mixes and factors, the last of which is zero.
    Random,
    /// A singular value decomposition of single-task deltas.
    Svd,
}

impl Default for TensorFactorisation {
    fn default() -> Self {
        let (form, base, init) = (Form::Tucker, Base::Shared, Init::Random);
        Self { form, rank: 8, error: 0., base, init, scale: 1., search: 0.3 }
    }
}

impl StrategySettings for TensorFactorisation {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        ensure!(self.rank > 0, "`rank` must be at least 1");
        ensure!((0. ..1.).contains(&self.error), "`error` must lie in [0, 1), found {}", self.error);
        ensure!(
            self.error == 0. || self.init == Init::Svd,
            "`error` chooses ranks for `init = \"svd\"`; random factors have nothing to be near to"
        );
        ensure!(self.scale > 0. && self.scale.is_finite(), "`scale` must lie above 0, found {}", self.scale);
        ensure!(self.search > 0. && self.search < 1., "`search` must lie in (0, 1), found {}", self.search);
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        // What trains in some phase must not be called frozen.
        let scope =
            if self.base == Base::Frozen && self.init == Init::Random { context.frozen() } else { context.shared() };
        let base = EncoderWeights::insert(context, &scope)?;
        let layers = (0..context.encoder.layers())
            .map(|index| Layer::insert(&self, index, base.part(Part::Layer(index)), context))
            .collect::<Result<_>>()?;
        let tasks = context.tasks.iter().map(|task| task.name.clone()).collect();
        let schedule = FactorSchedule::new(&self, tasks, context.key.named("svd"));
        Ok(Box::new(TensorSharing { encoder: context.encoder.clone(), base, layers, schedule, settings: self }))
    }
}

struct TensorSharing {
    settings: TensorFactorisation,
    encoder: Arc<Family>,
    base: EncoderWeights,
    layers: Vec<Layer>,
    schedule: FactorSchedule,
}

/// The factors of one layer's matrices.
struct Layer {
    matrices: Vec<Matrix>,
    /// Where the matrices lie in the layer.
    ranges: Arc<[Range<usize>]>,
    /// Each task's mixes, `[matrices, rank]`.
    mixes: Vec<Param>,
}

/// One matrix of a layer.
#[derive(Clone)]
struct Matrix {
    range: Range<usize>,
    factors: Factors,
    shared: Vec<Param>,
}

impl Matrix {
    /// The values of Δ_t now, `[rows, columns]`, for the task's mix `[1, rank]`.
    fn delta(&self, mix: &Tensor) -> Result<Tensor> {
        let shared: Vec<Tensor> = self.shared.iter().map(|factor| factor.tensor().detach()).collect();
        self.factors.delta(&shared, mix)
    }
}

impl Layer {
    fn insert(settings: &TensorFactorisation, index: usize, base: &Param, context: &mut BuildContext) -> Result<Self> {
        let everyone = context.shared().with_role(Role::Added);
        let tasks = context.tasks.len();
        let (mut matrices, mut mixes) = (Vec::new(), Vec::new());
        for entry in base.layout().entries().iter().filter(|entry| entry.shape.len() == 2) {
            let factors = Factors::new(settings.form, settings.rank, [entry.shape[0], entry.shape[1], tasks]);
            let (drawn, mix) = factors.random(settings.scale, context.key.named("tensor").named(&entry.name))?;
            mixes.push(mix);
            let insert = |(factor, values): (&&str, Tensor)| {
                context.insert_tensor(&everyone, &format!("{}.{factor}", entry.name), &values, true)
            };
            let shared = factors.names().iter().zip(drawn).map(insert).collect::<Result<_>>()?;
            matrices.push(Matrix { range: entry.range.clone(), factors, shared });
        }
        let each = context.each();
        let mut mix = |(task, scope): (usize, &Scope)| {
            let own: Vec<Tensor> = mixes.iter().map(|mix| mix.narrow(0, task, 1)).collect::<Result<_>>()?;
            context.insert_tensor(
                &scope.with_role(Role::Mixing),
                &format!("layer.{index}.mix"),
                &Tensor::cat(&own, 0)?,
                true,
            )
        };
        let mixes = each.iter().enumerate().map(&mut mix).collect::<Result<_>>()?;
        let ranges = matrices.iter().map(|matrix: &Matrix| matrix.range.clone()).collect();
        Ok(Self { matrices, ranges, mixes })
    }

    /// θ + Δ_t, `[len]`.
    fn theta(&self, task: TaskId, base: &Param) -> Result<Tensor> {
        let mix = self.mixes[task.0].tensor().detach();
        let mut theta = values_of(base)?;
        for (at, matrix) in self.matrices.iter().enumerate() {
            theta.add_at(matrix.range.start, &matrix.delta(&mix.narrow(0, at, 1)?)?)?;
        }
        theta.tensor(base.tensor().device())
    }

    /// The view of θ + Δ_t. dθ goes to the base if `trains`, and through the factors.
    fn view(&self, task: TaskId, base: &Param, trains: bool, pass: &mut Pass) -> Result<ParameterView> {
        let (mix, theta) = (&self.mixes[task.0], self.theta(task, base)?);
        let wants = if trains { Wants::All } else { Wants::Ranges(self.ranges.clone()) };
        let (matrices, mix, name) = (self.matrices.clone(), mix.clone(), base.name().to_string());
        pass.materialise_with(&theta, base.layout(), wants, move |gradient: GradientBlock, row: &mut TaskGradient| {
            let mut price: Option<Tensor> = None;
            for (at, matrix) in matrices.iter().enumerate() {
                let shared: Vec<Tensor> = matrix.shared.iter().map(|factor| factor.tensor().clone()).collect();
                let delta = matrix.factors.delta(&shared, &mix.tensor().narrow(0, at, 1)?)?;
                let towards = factors::cut(gradient.values(), &matrix.range, delta.device())?;
                let product = (delta.flatten_all()? * towards)?.sum_all()?;
                price = Some(match price {
                    Some(sum) => (sum + product)?,
                    None => product,
                });
            }
            if let Some(price) = price {
                let gradients = price.backward()?;
                for param in matrices.iter().flat_map(|matrix| &matrix.shared).chain([&mix]) {
                    if let Some(found) = gradients.get(param.tensor()) {
                        let segment = GradientBlock::Dense(mtl_backbone::Flat::of(found)?);
                        row.add(TaskGradient([(param.name().to_string(), segment)].into()));
                    }
                }
            }
            if trains {
                row.add(TaskGradient([(name, gradient)].into()));
            }
            Ok(())
        })
    }
}

impl TensorSharing {
    /// Whether a pass through the factors trains the encoder below them too.
    fn base_trains(&self) -> bool {
        // Before the first phase of a schedule everything has a gradient, for whoever audits that.
        let trainable = self.base.iter().all(Param::trainable);
        trainable && (self.settings.base == Base::Shared || self.schedule.stage() == Stage::Before)
    }
}

impl TensorSharing {
    /// ‖Δ_t‖ / ‖W‖ over all matrices of all layers, by task.
    fn changes(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        let mut found = serde_json::Map::new();
        for (task, name) in self.schedule.tasks().iter().enumerate() {
            let (mut changed, mut whole) = (0., 0.);
            for (index, layer) in self.layers.iter().enumerate() {
                let base = self.base.part(Part::Layer(index)).tensor();
                let mixes = layer.mixes[task].tensor().detach();
                for (at, matrix) in layer.matrices.iter().enumerate() {
                    changed += squared_norm(&matrix.delta(&mixes.narrow(0, at, 1)?)?)?;
                    whole += squared_norm(&base.detach().narrow(0, matrix.range.start, matrix.range.len())?)?;
                }
            }
            found.insert(name.clone(), (changed / whole.max(f64::MIN_POSITIVE)).sqrt().into());
        }
        Ok(found)
    }
}

impl Sharing for TensorSharing {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let (depth, trains) = (self.encoder.layers(), self.base_trains());
        let view = |part: Part, pass: &mut Pass| {
            let base = self.base.part(part);
            match (self.schedule.stage(), part) {
                (Stage::Deltas(_), Part::Layer(index)) => {
                    pass.view_wanting(base, Wants::Ranges(self.layers[index].ranges.clone()))
                }
                (Stage::Deltas(_), _) => pass.view_wanting(base, Wants::None),
                (_, Part::Layer(index)) => self.layers[index].view(task, base, trains, pass),
                (_, _) => pass.view_wanting(base, if trains { Wants::All } else { Wants::None }),
            }
        };
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn phases(&self, budget: usize) -> Vec<Phase> {
        self.schedule.phases(budget)
    }

    fn enter(&mut self, phase: usize, _scores: &mut dyn DevScores) -> Result<()> {
        self.schedule.enter(phase, &self.base, &self.layers)
    }

    fn update_mask(&self, name: &str, _tasks: &[TaskId]) -> Option<Arc<Bits>> {
        let Stage::Deltas(_) = self.schedule.stage() else { return None };
        let index = (0..self.layers.len()).find(|index| self.base.part(Part::Layer(*index)).name() == name)?;
        let mut bits = vec![false; self.base.part(Part::Layer(index)).layout().len()];
        self.layers[index].ranges.iter().for_each(|range| bits[range.clone()].fill(true));
        Some(Arc::new(Bits::from_fn(bits.len(), |at| bits[at])))
    }

    /// For each task, ‖Δ_t‖ / ‖W‖ over all matrices; with `svd` how well the factors pictured the single-task deltas.
    fn findings(&self) -> Result<serde_json::Value> {
        let mut found = self.schedule.findings();
        if !matches!(self.schedule.stage(), Stage::Deltas(_)) {
            found.insert("relative_change".into(), self.changes()?.into());
        }
        Ok(found.into())
    }

    /// θ + Δ_t; θ alone while single-task deltas are trained, which no factor takes part in.
    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let factors_act = !matches!(self.schedule.stage(), Stage::Deltas(_));
        merged(&self.encoder, |part| match part {
            Part::Layer(index) if factors_act => self.layers[index].theta(task, self.base.part(part)),
            _ => Ok(self.base.part(part).tensor().clone()),
        })
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.schedule.state()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        self.schedule.restore(state, phase, &self.base)
    }
}
