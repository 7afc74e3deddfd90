//! MTL-LoRA (Yang et al. 2025): low-rank changes that share their factors and differ in what lies between them.
//!
//! W_t = W + s·(Σᵢ mᵢ·Bⁱ)·Λ_t·A with m = softmax(w_t / τ), s = alpha / rank. A `[rank, inputs]` and the n matrices
//! Bⁱ `[outputs, rank]` are shared by all tasks; Λ_t `[rank, rank]` and w_t `[n]` are the task's own. A starts uniform
//! in ±1/√inputs, Bⁱ at 0, Λ_t at the identity, w_t uniform in ±1/√n, as in the authors' code. Training starts at the
//! pretrained encoder; were w_t equal, the Bⁱ would get equal gradients and stay equal for good.
//!
//! With G = s·dW_t, B = Σᵢ mᵢ·Bⁱ, P = G·Aᵀ: dA = (B·Λ)ᵀ·G, dΛ = Bᵀ·P, dB = P·Λᵀ, dBⁱ = mᵢ·dB, and with cᵢ = ⟨Bⁱ, dB⟩
//! dwᵢ = mᵢ·(cᵢ − Σⱼ mⱼ·cⱼ)/τ. As with LoRA the full dW of the targets is computed: memory and storage are saved, not
//! time; and the authors' dropout in front of A does not exist in this form.
//!
//! Defaults: rank 8, alpha 16, n = 3, τ = 0.1, all four attention matrices (the authors' script), a frozen base.
//! The `adapters` library starts Λ_t at 0 like Bⁱ, a point where every gradient is 0; that is not reproduced.
//!
//! Parameters: P + L·Σ (rank·inputs + n·outputs·rank) + K·L·M·(rank² + n) over the M targets.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{
    Encoder, Family, Flat, GradientBlock, Layout, Param, ParameterView, Part, Pass, Ports, TaskGradient,
};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::additions::{base, merged, uniform};
use crate::blocks::delta::{Matrix, changed, changed_slot, check, sizes};
use crate::blocks::target::Target;
use crate::blocks::values::on_host;
use crate::{BuildContext, EncoderWeights, RateScales, Role, Scope, Sharing, Strategy, StrategySettings, walk};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<MtlLora>(
    "mtl-lora",
    "a frozen encoder, low-rank changes with shared factors and each task's own core and mix",
    "Yang et al. 2025",
    "P + 4·L·(r·H + n·r·H) + 4·K·L·(r² + n), r the rank (8), n the ups (3)",
    true,
)
.with_source(include_str!("mtl_lora.rs"))
.with_rates(RateScales::PLAIN.added(20.));

/// The `[sharing]` section of `strategy = "mtl-lora"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MtlLora {
    /// Rank of a change; at least 1, at most the smaller side of every target.
    pub rank: usize,
    /// The change is scaled by alpha / rank; above 0.
    pub alpha: f64,
    /// Which matrices are changed.
    pub targets: Vec<Target>,
    /// How many shared matrices Bⁱ are mixed; at least 1.
    pub ups: usize,
    /// τ of the mixing softmax: the smaller, the nearer to a choice of one; above 0.
    pub temperature: f64,
    /// Whether all tasks together train the encoder too.
    pub train_base: bool,
}

impl Default for MtlLora {
    fn default() -> Self {
        let targets = vec![Target::Query, Target::Key, Target::Value, Target::AttentionOutput];
        Self { rank: 8, alpha: 16., targets, ups: 3, temperature: 0.1, train_base: false }
    }
}

impl StrategySettings for MtlLora {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.ups == 0 {
            bail!("`ups` is 0: nothing to mix; 3 is usual");
        }
        if !(self.temperature.is_finite() && self.temperature > 0.) {
            bail!("`temperature` is {}; it must be above 0, 0.1 being usual", self.temperature);
        }
        check(self.rank, self.alpha, &self.targets)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let form = Form {
            matrices: Matrix::of(context, &self.targets, self.rank)?,
            rank: self.rank,
            ups: self.ups,
            scale: self.alpha / self.rank as f64,
            temperature: self.temperature,
        };
        let base = base(context, self.train_base)?;
        let layers = base.layers();
        let shared = (0..layers).map(|index| form.insert_shared(context, index)).collect::<Result<_>>()?;
        let own = context
            .each()
            .iter()
            .zip(context.tasks)
            .map(|(scope, task)| {
                let layers = (0..layers).map(|index| form.insert_own(context, scope, index)).collect::<Result<_>>()?;
                Ok((task.name.clone(), layers))
            })
            .collect::<Result<_>>()?;
        Ok(Box::new(Mixed { encoder: context.encoder.clone(), base, form: Arc::new(form), shared, own }))
    }
}

/// The sizes of the factors.
struct Form {
    matrices: Vec<Matrix>,
    rank: usize,
    ups: usize,
    scale: f64,
    temperature: f64,
}

/// The factors of one matrix as a task sees them, on one device.
struct Factors {
    /// A, `[rank, inputs]`.
    a: Tensor,
    /// Bⁱ, `[ups, outputs, rank]`.
    b: Tensor,
    /// Λ, `[rank, rank]`.
    lambda: Tensor,
    /// m, `[ups]`.
    mix: Tensor,
    /// Σᵢ mᵢ·Bⁱ, `[outputs, rank]`.
    mixed: Tensor,
}

impl Form {
    /// A and every Bⁱ of layer `index`.
    fn insert_shared(&self, context: &mut BuildContext, index: usize) -> Result<Param> {
        let (mut tensors, mut values) = (Vec::new(), Vec::new());
        for matrix in &self.matrices {
            let name = format!("{}.lora", matrix.name(index));
            let ups = vec![self.ups, matrix.outputs, self.rank];
            values.push(uniform(context.key.named(&name), &[self.rank * matrix.inputs], bound(matrix.inputs))?);
            values.push(Tensor::zeros(ups.iter().product::<usize>(), DType::F32, &Device::Cpu)?);
            tensors.push((format!("{name}.a"), vec![self.rank, matrix.inputs], true));
            tensors.push((format!("{name}.b"), ups, true));
        }
        let values = Flat::of(&Tensor::cat(&values, 0)?)?;
        let everyone = context.shared().with_role(Role::Added);
        context.insert(&everyone, &format!("layer.{index}.lora"), &Layout::new(tensors), &values)
    }

    /// Λ and w of every matrix of layer `index` for the task of `scope`.
    fn insert_own(&self, context: &mut BuildContext, scope: &Scope, index: usize) -> Result<Param> {
        let (mut tensors, mut values) = (Vec::new(), Vec::new());
        for matrix in &self.matrices {
            let name = format!("{}.lora", matrix.name(index));
            let key = context.key.named(&format!("{scope}/{name}"));
            values.push(Tensor::eye(self.rank, DType::F32, &Device::Cpu)?.flatten_all()?);
            values.push(uniform(key, &[self.ups], bound(self.ups))?);
            tensors.push((format!("{name}.lambda"), vec![self.rank, self.rank], true));
            tensors.push((format!("{name}.mix"), vec![self.ups], false));
        }
        let values = Flat::of(&Tensor::cat(&values, 0)?)?;
        context.insert(&scope.with_role(Role::Added), &format!("layer.{index}.lora"), &Layout::new(tensors), &values)
    }

    /// The factors of every matrix, from a layer's `shared` and `own` vectors.
    fn factors(&self, shared: &Tensor, own: &Tensor) -> Result<Vec<Factors>> {
        let (mut shared, mut own) = (Reader { from: shared, at: 0 }, Reader { from: own, at: 0 });
        self.matrices
            .iter()
            .map(|matrix| {
                let a = shared.next(&[self.rank, matrix.inputs])?;
                let b = shared.next(&[self.ups, matrix.outputs, self.rank])?;
                let lambda = own.next(&[self.rank, self.rank])?;
                let mix = candle_nn::ops::softmax(&(own.next(&[self.ups])? / self.temperature)?, 0)?;
                let flat = b.reshape((self.ups, matrix.outputs * self.rank))?;
                let mixed = mix.unsqueeze(0)?.matmul(&flat)?.reshape((matrix.outputs, self.rank))?;
                Ok(Factors { a, b, lambda, mix, mixed })
            })
            .collect()
    }

    /// The changes of every matrix.
    fn deltas(&self, shared: &Tensor, own: &Tensor) -> Result<Vec<Tensor>> {
        let factors = self.factors(shared, own)?;
        factors.iter().map(|f| f.mixed.matmul(&f.lambda)?.matmul(&f.a)? * self.scale).collect()
    }

    /// The gradients of a layer's `shared` and `own` vectors from that of the layer's weights.
    fn pull_back(&self, gradient: &Flat, shared: &Tensor, own: &Tensor) -> Result<[Flat; 2]> {
        let (mut to_shared, mut to_own) = (Vec::new(), Vec::new());
        for (matrix, f) in self.matrices.iter().zip(self.factors(shared, own)?) {
            let g = (matrix.gradient(gradient)? * self.scale)?;
            let p = g.matmul(&f.a.t()?)?;
            to_shared.push(f.mixed.matmul(&f.lambda)?.t()?.matmul(&g)?.flatten_all()?);
            let mixed = p.matmul(&f.lambda.t()?)?.reshape((1, matrix.outputs * self.rank))?;
            to_shared.push(f.mix.unsqueeze(1)?.matmul(&mixed)?.flatten_all()?);
            to_own.push(f.mixed.t()?.matmul(&p)?.flatten_all()?);
            let c = f.b.reshape((self.ups, matrix.outputs * self.rank))?.matmul(&mixed.t()?)?.flatten_all()?;
            let mean = (&f.mix * &c)?.sum_keepdim(0)?;
            to_own.push(((&f.mix * c.broadcast_sub(&mean)?)? / self.temperature)?);
        }
        Ok([Flat::of(&Tensor::cat(&to_shared, 0)?)?, Flat::of(&Tensor::cat(&to_own, 0)?)?])
    }
}

/// Bound of the uniform initial values of a map of `inputs`, PyTorch's for linear maps.
fn bound(inputs: usize) -> f64 {
    1. / (inputs as f64).sqrt()
}

/// Reads tensors that lie end to end.
struct Reader<'a> {
    from: &'a Tensor,
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self, shape: &[usize]) -> Result<Tensor> {
        let length = shape.iter().product();
        self.at += length;
        self.from.narrow(0, self.at - length, length)?.reshape(shape)
    }
}

struct Mixed {
    encoder: Arc<Family>,
    base: EncoderWeights,
    form: Arc<Form>,
    /// By layer.
    shared: Vec<Param>,
    /// By task, its name and its parameters by layer.
    own: Vec<(String, Vec<Param>)>,
}

impl Mixed {
    /// The shared and the own vector of layer `index`.
    fn vectors(&self, task: TaskId, index: usize) -> [&Param; 2] {
        [&self.shared[index], &self.own[task.0].1[index]]
    }

    fn deltas(&self, task: TaskId, index: usize) -> Result<Vec<Tensor>> {
        let [shared, own] = self.vectors(task, index).map(|param| param.tensor().detach());
        self.form.deltas(&shared, &own)
    }

    fn view(&self, task: TaskId, part: Part, pass: &mut Pass) -> Result<ParameterView> {
        let Part::Layer(index) = part else { return pass.view(self.base.part(part)) };
        let vectors = self.vectors(task, index);
        let names = vectors.map(|param| param.name().to_string());
        let [shared, own] = vectors.map(|param| param.tensor().detach());
        let (form, deltas) = (self.form.clone(), self.form.deltas(&shared, &own)?);
        changed_slot(self.base.part(part), &self.form.matrices, &deltas, pass, move |gradient, row| {
            let (shared, own) = (shared.to_device(&Device::Cpu)?, own.to_device(&Device::Cpu)?);
            for (name, gradient) in names.into_iter().zip(form.pull_back(gradient, &shared, &own)?) {
                row.add(TaskGradient([(name, GradientBlock::Dense(gradient))].into()));
            }
            Ok(())
        })
    }
}

impl Sharing for Mixed {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let view = |part: Part, pass: &mut Pass| self.view(task, part, pass);
        Ok(walk(&self.encoder, tokens, depth, pass, view, |_| Ports::default())?.swap_remove(depth))
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(&self.encoder, |part| match part {
            Part::Layer(index) => changed(self.base.part(part), &self.form.matrices, &self.deltas(task, index)?),
            _ => Ok(self.base.part(part).tensor().clone()),
        })
    }

    /// For each task and matrix, the mixing weights m and how large the change is, ‖ΔW‖ / ‖W‖.
    fn findings(&self) -> Result<Value> {
        let mut tasks = serde_json::Map::new();
        for (task, (name, layers)) in self.own.iter().enumerate() {
            let (mut mixes, mut changes) = (serde_json::Map::new(), serde_json::Map::new());
            for index in 0..layers.len() {
                let [shared, own] = self.vectors(TaskId(task), index).map(|param| param.tensor().detach());
                for (matrix, factors) in self.form.matrices.iter().zip(self.form.factors(&shared, &own)?) {
                    mixes.insert(matrix.name(index), json!(on_host(&factors.mix)?.to_vec1::<f64>()?));
                }
                let deltas = self.form.deltas(&shared, &own)?;
                changes.extend(sizes(self.base.part(Part::Layer(index)), index, &self.form.matrices, &deltas)?);
            }
            tasks.insert(name.clone(), json!({ "mix": mixes, "relative_change": changes }));
        }
        Ok(Value::Object(tasks))
    }
}
