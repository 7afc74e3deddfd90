//! DSelect-k (Hazimeh et al. 2021): each task chooses k of the experts, by gates that reach exactly 0.
//!
//! xₜ = Σₑ gₜₑ·fₑ(x) over E = 2^m experts, copies of the encoder's top `layers` layers above a shared trunk; gₜ = Σᵢ
//! softmax(w)ᵢ·r⁽ⁱ⁾ over k selectors, rₑ⁽ⁱ⁾ = ∏_b (S(z_ib) if bit b of e is set, else 1 − S(z_ib)). S is the smooth
//! step: 0 below −γ/2, 1 above γ/2, and −2z³/γ³ + 3z/(2γ) + 1/2 between. The penalty λ·Σ H(r⁽ⁱ⁾), H being the entropy,
//! drives each selector to one expert.
//!
//! These are the paper's static gates, one choice a task. Its gates per example read z off the input, which a penalty
//! on the parameters alone cannot see. Experts whose gate is exactly 0 are not run: value and gradient stay the same. E
//! has to be a power of two, where the paper penalises unused codes. At first all experts count alike, up to z's small
//! noise, U(−γ/100, γ/100), as in the authors' code.
//!
//! Defaults: 4 experts of one layer, k = 2, γ = 1, λ = 0.01. Parameters: P + (E − 1)·n·P_layer + K·k·(m + 1).

use std::sync::Arc;

use anyhow::bail;
use candle_core::{DType, Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::experts::{Expert, branching};
use crate::blocks::trunk::Trunk;
use crate::{BuildContext, RateScales, Role, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<DselectK>(
    "dselect-k",
    "each task chooses k of the shared experts",
    "Hazimeh et al. 2021",
    "P + (experts − 1)·layers·(4·H·H + 2·H·I + 9·H + I) + K·selectors·3, 3 being 1 + log₂ of 4 experts",
    true,
)
.with_source(include_str!("dselect_k.rs"))
.with_rates(RateScales::PLAIN.mixing(1.));

/// The `[sharing]` section of `strategy = "dselect-k"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DselectK {
    /// E, number of experts: a power of two from 2 on.
    pub experts: usize,
    /// How many of the encoder's top layers an expert copies: from 1 to all of them.
    pub layers: usize,
    /// k, number of selectors and so the most experts that a task ends up with: from 1 to `experts`.
    pub selectors: usize,
    /// γ > 0, width of the smooth step, in units of z: the larger, the later a selector decides.
    pub width: f64,
    /// λ ≥ 0, weight of the penalty on undecided selectors (their entropy in nats); 0 for none.
    pub entropy: f64,
}

impl Default for DselectK {
    fn default() -> Self {
        Self { experts: 4, layers: 1, selectors: 2, width: 1., entropy: 0.01 }
    }
}

impl StrategySettings for DselectK {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if self.experts < 2 || !self.experts.is_power_of_two() {
            let near = self.experts.max(2).next_power_of_two();
            bail!("`experts` is {}, but binary codes name a power of two of them, such as {near}", self.experts);
        }
        if self.selectors == 0 || self.selectors > self.experts {
            bail!("`selectors` is {}, but a task chooses 1 to {} experts", self.selectors, self.experts);
        }
        if !(self.width > 0. && self.width.is_finite()) {
            bail!("`width` is {}, but the smooth step needs one above 0", self.width);
        }
        if !(self.entropy >= 0. && self.entropy.is_finite()) {
            bail!("`entropy` is {}, but the weight of a penalty is a number from 0 on", self.entropy);
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let (depth, top) = (branching(context, self.layers, 1)?, context.encoder.layers());
        let everyone = context.shared();
        let trunk = Trunk::insert(context, &everyone, depth)?;
        let experts = (0..self.experts)
            .map(|expert| Expert::insert(context, &everyone, &format!("expert.{expert}"), depth..top))
            .collect::<Result<_>>()?;
        let bits = self.experts.ilog2() as usize;
        let mut choices = Vec::new();
        for (task, scope) in context.tasks.iter().zip(&context.each()) {
            let scope = &scope.with_role(Role::Mixing);
            let mut stream = context.key.named(&task.name).named("selectors").stream();
            let codes: Vec<f64> =
                (0..self.selectors * bits).map(|_| (stream.uniform() - 0.5) * self.width / 50.).collect();
            let codes = Tensor::from_vec(codes, (self.selectors, bits), &context.device())?;
            let weights = Tensor::zeros(self.selectors, context.dtype(), &context.device())?;
            choices.push(Choice {
                codes: context.insert_tensor(scope, "selectors.codes", &codes, false)?,
                weights: context.insert_tensor(scope, "selectors.weights", &weights, false)?,
            });
        }
        Ok(Box::new(Selection { encoder: context.encoder.clone(), trunk, experts, choices, settings: self }))
    }
}

struct Selection {
    encoder: Arc<Family>,
    trunk: Trunk,
    experts: Vec<Expert>,
    choices: Vec<Choice>,
    settings: DselectK,
}

/// One task's selectors.
struct Choice {
    /// z, `[k, m]`.
    codes: Param,
    /// w, `[k]`.
    weights: Param,
}

impl Choice {
    /// r, every selector's weights of the experts, `[k, experts]`, rows summing to 1.
    fn selectors(&self, width: f64) -> Result<Tensor> {
        let (selectors, bits) = self.codes.tensor().dims2()?;
        let steps = smooth_step(self.codes.tensor(), width)?;
        let mut chosen = steps.narrow(1, 0, 1)?.detach().ones_like()?;
        for bit in 0..bits {
            let step = steps.narrow(1, bit, 1)?.broadcast_as((selectors, chosen.dim(1)?))?;
            let set = (&chosen * &step)?;
            chosen = Tensor::cat(&[&(&chosen - &set)?, &set], 1)?;
        }
        Ok(chosen)
    }

    /// g, the task's weights of the experts, `[1, experts]`.
    fn gates(&self, width: f64) -> Result<Tensor> {
        candle_nn::ops::softmax(self.weights.tensor(), 0)?.unsqueeze(0)?.matmul(&self.selectors(width)?)
    }
}

/// S(z), element by element.
fn smooth_step(z: &Tensor, width: f64) -> Result<Tensor> {
    // Outside the step the cubic's derivative is 0 at both ends, so that clamping keeps S continuously differentiable.
    let z = z.clamp(-width / 2., width / 2.)?;
    let cubic = ((&z * z.sqr()?)? * (-2. / width.powi(3)))?;
    (cubic + (z * (1.5 / width))?)? + 0.5
}

impl Sharing for Selection {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        Ok(self.represent_each(&[task], tokens, pass)?.swap_remove(0))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let x = self.trunk.top(&self.encoder, tokens, pass)?;
        let mut answers: Vec<Option<Tensor>> = vec![None; self.experts.len()];
        let mut chosen = |task: &TaskId| {
            let gates = self.choices[task.0].gates(self.settings.width)?;
            let known = gates.detach().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
            let mut sum: Option<Tensor> = None;
            for (at, expert) in self.experts.iter().enumerate().filter(|(at, _)| known[*at] != 0.) {
                let answer = match answers[at].take() {
                    Some(answer) => answer,
                    None => expert.of(&self.encoder, &x, tokens, pass)?,
                };
                let term = answer.broadcast_mul(&gates.narrow(1, at, 1)?)?;
                answers[at] = Some(answer);
                sum = Some(match sum {
                    Some(sum) => (sum + term)?,
                    None => term,
                });
            }
            sum.ok_or_else(|| candle_core::Error::Msg("selectors whose weights do not sum to 1".into()))
        };
        tasks.iter().map(&mut chosen).collect()
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.settings.entropy == 0. {
            return Ok(None);
        }
        let mut sum: Option<Tensor> = None;
        for choice in &self.choices {
            let chosen = choice.selectors(self.settings.width)?;
            // The authors' floor: the entropy of a decided selector is 0, its logarithm's gradient finite.
            let entropy = (&chosen * (&chosen + 1e-6)?.log()?)?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + entropy)?,
                None => entropy,
            });
        }
        sum.map(|sum| sum * -self.settings.entropy).transpose()
    }

    fn findings(&self) -> Result<Value> {
        let gates = |choice: &Choice| {
            let gates = choice.gates(self.settings.width)?.detach();
            gates.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()
        };
        Ok(json!({ "gates": self.choices.iter().map(gates).collect::<Result<Vec<_>>>()? }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn the_step_is_flat_outside_its_width_and_half_in_the_middle() -> Result<()> {
        let z = Tensor::new(&[-9f64, -1., 0., 0.5, 1., 9.], &Device::Cpu)?;
        assert_eq!(smooth_step(&z, 2.)?.to_vec1::<f64>()?, [0., 0., 0.5, 0.84375, 1., 1.]);
        Ok(())
    }
}
