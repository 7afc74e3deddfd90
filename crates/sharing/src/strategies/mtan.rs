//! Attention over shared layer states, after the multi-task attention network (MTAN, Liu et al. 2019).
//!
//! The shared encoder is walked once. Beside each layer l, task t has a module that reads what entered the layer, at
//! its own result below, and picks from what left it: aₜₗ = 2·σ(U·relu(D·[hₗ₋₁; yₜ,ₗ₋₁] + d) + u), yₜₗ = aₜₗ ⊙ hₗ, yₜ₀
//! = h₀. The head reads yₜ_L.
//!
//! Deviations: convolutions are maps of each token, through a bottleneck of `width`; the shared feature map f of the
//! paper is the identity, so that y keeps the encoder's own coordinates; σ is doubled and U, u start at zero, so that
//! a = 1 at first and training starts as hard sharing, whose states the paper's random masks would halve.
//!
//! Defaults: width 64. Parameters: P + K·L·(2H·w + w + w·H + H).

use std::sync::Arc;

use anyhow::bail;
use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::trunk::Trunk;
use crate::{BuildContext, RateScales, Role, Scope, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Mtan>(
    "mtan",
    "attention of each task over shared layer states",
    "Liu et al. 2019",
    "P + K·L·(3·H·width + width + H)",
    true,
)
.with_source(include_str!("mtan.rs"))
.with_rates(RateScales::PLAIN.added(1.));

/// The `[sharing]` section of `strategy = "mtan"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mtan {
    /// w, width of a module's bottleneck in units; at least 1.
    pub width: usize,
}

impl Default for Mtan {
    fn default() -> Self {
        Self { width: 64 }
    }
}

impl StrategySettings for Mtan {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.width == 0 {
            bail!("`width` is 0, but a module looks through at least one unit");
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let layers = context.encoder.layers();
        let everyone = context.shared();
        let trunk = Trunk::insert(context, &everyone, layers)?;
        let modules = |context: &mut BuildContext, scope: &Scope| -> Result<Vec<Module>> {
            let scope = scope.with_role(Role::Added);
            (0..layers).map(|layer| Module::insert(context, &scope, layer, self.width)).collect()
        };
        let tasks = context.each().iter().map(|scope| modules(context, scope)).collect::<Result<_>>()?;
        Ok(Box::new(Attended { encoder: context.encoder.clone(), trunk, tasks }))
    }
}

struct Attended {
    encoder: Arc<Family>,
    trunk: Trunk,
    /// By task and layer.
    tasks: Vec<Vec<Module>>,
}

/// What picks from one layer's output.
struct Module {
    /// `[width, 2·hidden]` and `[width]`.
    down: [Param; 2],
    /// `[hidden, width]` and `[hidden]`.
    up: [Param; 2],
}

impl Module {
    fn insert(context: &mut BuildContext, scope: &Scope, layer: usize, width: usize) -> Result<Self> {
        let hidden = context.encoder.hidden();
        let name = format!("attention.{layer}");
        let mut stream = context.key.named(&format!("{scope}/{name}")).stream();
        // Kaiming's deviation for a relu after 2·hidden inputs of unit variance.
        let deviation = (1. / hidden as f64).sqrt();
        let values: Vec<f64> = (0..width * 2 * hidden).map(|_| stream.normal() * deviation).collect();
        let down = Tensor::from_vec(values, (width, 2 * hidden), &Device::Cpu)?;
        let zeros = |context: &mut BuildContext, what: &str, shape: &[usize]| -> Result<Param> {
            let zeros = Tensor::zeros(shape, context.dtype(), &Device::Cpu)?;
            context.insert_tensor(scope, &format!("{name}.{what}"), &zeros, shape.len() > 1)
        };
        let bias = zeros(context, "down.bias", &[width])?;
        let up = [zeros(context, "up.weight", &[hidden, width])?, zeros(context, "up.bias", &[hidden])?];
        Ok(Self { down: [context.insert_tensor(scope, &format!("{name}.down.weight"), &down, true)?, bias], up })
    }

    /// y, from what entered the layer, what left it, and the y below.
    fn pick(&self, entered: &Tensor, left: &Tensor, below: &Tensor) -> Result<Tensor> {
        let map =
            |x: &Tensor, [weight, bias]: &[Param; 2]| x.matmul(&weight.tensor().t()?)?.broadcast_add(bias.tensor());
        let inner = map(&Tensor::cat(&[entered, below], 1)?, &self.down)?.relu()?;
        // 2σ(z) = 1 + tanh(z/2), whose value at 0 is exactly 1.
        let attention = ((map(&inner, &self.up)? * 0.5)?.tanh()? + 1.)?;
        attention * left
    }
}

impl Sharing for Attended {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let states = self.trunk.states(&self.encoder, tokens, pass)?;
        let picked = |task: &TaskId| {
            let layers = self.tasks[task.0].iter().zip(states.windows(2));
            let mut layers = layers.map(|(module, pair)| (module, &pair[0], &pair[1]));
            layers.try_fold(states[0].clone(), |below, (module, entered, left)| module.pick(entered, left, &below))
        };
        tasks.iter().map(picked).collect()
    }
}
