//! Sluice networks (Ruder et al. 2017; AAAI 2019 as "latent multi-task architecture learning"): cross-stitch between
//! subspaces, a mix of layers for each task, and subspaces kept apart.
//!
//! S = 2 subspaces, the halves of hidden. After each layer h̃ = α·[h₁,₁; h₁,₂; …; h_K,₂], α ∈ R^{2K×2K}; the head of
//! task t reads Σₗ βₜₗ·h̃ₜₗ over the L layers' states. The penalty on each encoder is c·Σ ‖G₁G₂ᵀ‖²_F / (2L·H/2), G₁ and
//! G₂ being the two blocks of rows of W_o and of the feed-forward block's last matrix, which write the two halves of a
//! layer's output: the mean, over those 2L matrices and the units of the first half, of what a unit's weights have in
//! common with the second half's, Σⱼ ⟨gᵢ, gⱼ⟩².
//!
//! α and β are unconstrained. β starts at 0.9 on the last layer and 0.1/(L − 1) on the others (`layers = "top"`: all on
//! the last one). `init = "imbalanced"`: 0.95 on α's diagonal and 0.05/(2K − 1) beside it; `"balanced"`: 1/(2K)
//! everywhere. The authors' code defaults to balanced, which on a pretrained encoder averages its two halves away, and
//! to c = 0, as here; its example says 0.1.
//!
//! Deviations from that code: its column-major reshape interleaves the hidden indices of all tasks instead of mixing
//! tasks by subspace; here rows are subspaces, as the paper says. Its column pattern for imbalanced subspaces follows
//! from that reshape. It penalises G₁ᵀG₂ of the stored blocks, which pairs units by number; here the blocks' rows, the
//! weights of one unit each, are made orthogonal. It sums over layers and units: on an encoder of MiniLM's shape that
//! sum's gradient is some hundred times the tasks' at c = 0.1, and clipping leaves the tasks nothing. A mean stays below
//! them at any width and depth.
//!
//! The cost is cross-stitch's: K² encoder passes a step, K alive at once, `limit` the largest K that is accepted.
//!
//! Defaults: α and β imbalanced and trained, c = 0, `limit` 4.
//!
//! Parameters: K·P + L·(2K)² + K·L.

use anyhow::bail;
use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Param, Part, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::penalty::{penalty_with_gradient, squared_norm};
use crate::blocks::stitch::{Init, Stitched, affordable};
use crate::blocks::target::Target;
use crate::blocks::values::on_host;
use crate::{BuildContext, RateScales, Role, Sharing, Strategy, StrategySettings};

/// Subspaces of a state.
const SUBSPACES: usize = 2;

/// The maps that write a layer's sums.
const OUTPUTS: [Target; 2] = [Target::AttentionOutput, Target::Output];

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Sluice>(
    "sluice",
    "cross-stitch between subspaces, and a mix of layers; K² passes",
    "Ruder et al. 2017",
    "K·P + L·(4·K·K + K)",
    true,
)
.with_source(include_str!("sluice.rs"))
.with_rates(RateScales::PLAIN.mixing(100.));

/// The `[sharing]` section of `strategy = "sluice"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sluice {
    /// What the units α are at first.
    pub init: Init,
    /// What the mixes β of layers are at first.
    pub layers: Layers,
    /// Whether α and β stay that.
    pub frozen: bool,
    /// c ≥ 0, weight of the penalty on subspaces that overlap, a mean over matrices and units; 0 for none.
    pub orthogonality: f64,
    /// The most tasks that are accepted: K tasks take K² encoder passes a step.
    pub limit: usize,
}

/// How a mix of layers starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layers {
    /// All on the last one.
    Top,
    /// 0.9 on the last one.
    Imbalanced,
    /// All alike.
    Balanced,
}

impl Default for Sluice {
    fn default() -> Self {
        let (init, layers) = (Init::Imbalanced, Layers::Imbalanced);
        Self { init, layers, frozen: false, orthogonality: 0., limit: 4 }
    }
}

impl StrategySettings for Sluice {
    fn check(&self, tasks: usize) -> anyhow::Result<()> {
        if !(self.orthogonality >= 0. && self.orthogonality.is_finite()) {
            bail!("`orthogonality` is {}, but the weight of a penalty is a number from 0 on", self.orthogonality);
        }
        affordable(tasks, self.limit)
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let (hidden, layers) = (context.encoder.hidden(), context.encoder.layers());
        if hidden % SUBSPACES != 0 {
            bail!("a hidden size of {hidden} has no halves, which sluice networks mix");
        }
        let last = match self.layers {
            _ if layers == 1 => 1.,
            Layers::Top => 1.,
            Layers::Imbalanced => 0.9,
            Layers::Balanced => 1. / layers as f64,
        };
        let other = if layers == 1 { 0. } else { (1. - last) / (layers - 1) as f64 };
        let start: Vec<f64> = (1..=layers).map(|layer| if layer == layers { last } else { other }).collect();
        let start = Tensor::from_vec(start, layers, &Device::Cpu)?;
        let mut mixes = Vec::new();
        let frozen = context.frozen();
        for (task, own) in context.tasks.iter().zip(&context.each()) {
            let own = &own.with_role(Role::Mixing);
            mixes.push(match self.frozen {
                true => context.insert_tensor(&frozen, &format!("layers.{}", task.name), &start, false)?,
                false => context.insert_tensor(own, "layers", &start, false)?,
            });
        }
        let stitched = Stitched::insert(context, SUBSPACES, self.init, 0.95, self.frozen)?;
        Ok(Box::new(Sluices { stitched, mixes, orthogonality: self.orthogonality, units: hidden / SUBSPACES }))
    }
}

struct Sluices {
    stitched: Stitched,
    /// β of each task, `[layers]`.
    mixes: Vec<Param>,
    orthogonality: f64,
    /// Of a subspace, H/2.
    units: usize,
}

impl Sharing for Sluices {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let states = self.stitched.states(tasks, tokens, pass)?;
        tasks.iter().zip(&states).map(|(task, states)| mixed(self.mixes[task.0].tensor(), states)).collect()
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.orthogonality == 0. {
            return Ok(None);
        }
        let (mut price, mut gradients) = (0., Vec::new());
        for own in self.stitched.own() {
            let strength = self.orthogonality / (own.layers() * OUTPUTS.len() * self.units) as f64;
            for param in own.iter().skip(Part::all(0).count()) {
                let (value, gradient) = overlap(param)?;
                price += strength * value;
                gradients.push((param.tensor(), (gradient * strength)?));
            }
        }
        penalty_with_gradient(price, gradients)
    }

    fn findings(&self) -> Result<Value> {
        let row = |beta: &Param| on_host(beta.tensor())?.to_vec1::<f64>();
        let layers = self.mixes.iter().map(row).collect::<Result<Vec<_>>>()?;
        Ok(json!({ "units": self.stitched.findings()?, "layers": layers }))
    }
}

/// Σₗ βₗ·h̃ₗ.
fn mixed(beta: &Tensor, states: &[Tensor]) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (layer, state) in states.iter().enumerate() {
        let term = state.broadcast_mul(&beta.narrow(0, layer, 1)?)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.ok_or_else(|| candle_core::Error::Msg("an encoder without layers has no states to mix".into()))
}

/// Σ ‖G₁G₂ᵀ‖²_F over a layer's two output matrices, and its derivative by the layer's flat vector.
fn overlap(layer: &Param) -> Result<(f64, Tensor)> {
    let theta = layer.tensor().detach();
    let (mut value, mut pieces) = (0., Vec::new());
    let written = OUTPUTS.map(|target| target.weight(layer.layout()).map(|entry| entry.range.start));
    let written = written.into_iter().collect::<anyhow::Result<Vec<usize>>>().map_err(candle_core::Error::msg)?;
    for entry in layer.layout().entries() {
        let range = entry.range.clone();
        if !written.contains(&range.start) {
            pieces.push(Tensor::zeros(range.len(), theta.dtype(), theta.device())?);
            continue;
        }
        let matrix = theta.narrow(0, range.start, range.len())?.reshape(entry.shape.as_slice())?;
        let half = entry.shape[0] / SUBSPACES;
        let (first, second) = (matrix.narrow(0, 0, half)?, matrix.narrow(0, half, half)?);
        let inner = first.matmul(&second.t()?)?;
        value += squared_norm(&inner)?;
        pieces.push((inner.matmul(&second)? * 2.)?.flatten_all()?);
        pieces.push((inner.t()?.matmul(&first)? * 2.)?.flatten_all()?);
    }
    Ok((value, Tensor::cat(&pieces, 0)?))
}
