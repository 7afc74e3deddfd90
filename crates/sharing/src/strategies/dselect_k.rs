//! DSelect-k (Hazimeh et al. 2021): each task chooses k of the experts, by gates that reach exactly 0.
//!
//! xₜ = Σₑ gₜₑ·fₑ(x) over E = 2^m experts, copies of the encoder's top `layers` layers above a shared trunk; gₜ = Σᵢ
//! softmax(w)ᵢ·r⁽ⁱ⁾ over k selectors, rₑ⁽ⁱ⁾ = ∏_b (S(z_ib) if bit b of e is set, else 1 − S(z_ib)). S is the smooth
//! step: 0 below −γ/2, 1 above γ/2, and −2z³/γ³ + 3z/(2γ) + 1/2 between. The penalty λ·Σ H(r⁽ⁱ⁾), H being the entropy,
//! drives each selector to one expert.
//!
//! Both gates of the paper: `gate = "static"`, z and w are the task's, one choice for all its texts; `gate = "example"`,
//! z(x) = z + Z·x̄ and w(x) = w + W·x̄, x̄ being the mean of a text's trunk states, divided by √H, so that its norm is
//! about 1. There the penalty is the mean over a batch's texts; it comes down with the task's own gradient, to z and Z
//! alone, and no loss that is reported contains it. Experts whose gate is exactly 0 are not run: value and gradient stay
//! the same. E has to be a power of two, where the paper penalises unused codes.
//!
//! At first all experts count alike, up to a small noise of z and Z, U(−γ/100, γ/100), as in the authors' code. Were the
//! experts alike too, no gate would have a gradient to begin with: each matrix of an expert is moved by `spread` of its
//! root mean square, by noise that sums to 0 over the experts. `spread = 0` starts as hard sharing.
//!
//! Defaults: 4 experts of one layer, k = 2, λ = 0.01, `spread` 0.1, static gates, and γ = 0.1 where the authors have 1:
//! an optimizer with adaptive steps moves z by about its rate a step, and a selector decides at γ/2. Their rates of 1e-3
//! and more come to that in some hundred steps, those of fine-tuning never. Parameters: P + (E − 1)·n·P_layer +
//! K·k·(m + 1), with `"example"` (1 + H) times the last term.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{D, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Pass, Pooling, pool};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::experts::{Expert, branching};
use crate::blocks::penalty::carrying;
use crate::blocks::trunk::Trunk;
use crate::blocks::values::on_host;
use crate::{BuildContext, RateScales, Role, Scope, Sharing, Strategy, StrategySettings, per_token};

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
    /// Who chooses.
    pub gate: Chooser,
    /// γ > 0, width of the smooth step, in units of z: the larger, the later a selector decides.
    pub width: f64,
    /// λ ≥ 0, weight of the penalty on undecided selectors (their entropy in nats); 0 for none.
    pub entropy: f64,
    /// Deviation of the noise that parts the experts at the start, relative to a matrix's root mean square; from 0 on.
    pub spread: f64,
}

/// Who chooses among the experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Chooser {
    /// The task, once for all its texts.
    Static,
    /// Each of its texts.
    Example,
}

impl Default for DselectK {
    fn default() -> Self {
        let (gate, width, entropy, spread) = (Chooser::Static, 0.1, 0.01, 0.1);
        Self { experts: 4, layers: 1, selectors: 2, gate, width, entropy, spread }
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
        if !(self.spread >= 0. && self.spread.is_finite()) {
            bail!("`spread` is {}, but experts start apart by a number from 0 on", self.spread);
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let (depth, top) = (branching(context, self.layers, 1)?, context.encoder.layers());
        let everyone = context.shared();
        let trunk = Trunk::insert(context, &everyone, depth)?;
        let experts = Expert::spread(context, &everyone, self.experts, depth..top, self.spread)?;
        let mut choices = Vec::new();
        for (task, scope) in context.tasks.iter().zip(&context.each()) {
            choices.push(Choice::insert(&self, &task.name, &scope.with_role(Role::Mixing), context)?);
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
    /// Z `[k·m, hidden]` and W `[k, hidden]`, where each text chooses.
    read: Option<[Param; 2]>,
}

impl Choice {
    fn insert(settings: &DselectK, task: &str, scope: &Scope, context: &mut BuildContext) -> Result<Self> {
        let (selectors, bits) = (settings.selectors, settings.experts.ilog2() as usize);
        let (key, hidden) = (context.key.named(task), context.encoder.hidden());
        let noise = |what: &str, rows: usize, columns: usize| {
            let mut stream = key.named(what).stream();
            let noise = (0..rows * columns).map(|_| (stream.uniform() - 0.5) * settings.width / 50.);
            Tensor::from_vec(noise.collect::<Vec<f64>>(), (rows, columns), &Device::Cpu)
        };
        let codes = noise("selectors", selectors, bits)?;
        let weights = Tensor::zeros(selectors, context.dtype(), &Device::Cpu)?;
        let read = match settings.gate {
            Chooser::Static => None,
            Chooser::Example => {
                let (codes, weights) =
                    (noise("codes", selectors * bits, hidden)?, noise("weights", selectors, hidden)?);
                Some([
                    context.insert_tensor(scope, "selectors.codes.read", &codes, true)?,
                    context.insert_tensor(scope, "selectors.weights.read", &weights, true)?,
                ])
            }
        };
        Ok(Self {
            codes: context.insert_tensor(scope, "selectors.codes", &codes, false)?,
            weights: context.insert_tensor(scope, "selectors.weights", &weights, false)?,
            read,
        })
    }

    /// z `[n·k, m]` and w `[n, k]` of the n choices that are to be made: one for each row of `x`, `[n, hidden]`, where
    /// texts choose, else one.
    fn logits(&self, x: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
        let (selectors, bits) = self.codes.tensor().dims2()?;
        let (codes, weights) = (self.codes.tensor(), self.weights.tensor().unsqueeze(0)?);
        let (Some([read_codes, read_weights]), Some(x)) = (&self.read, x) else { return Ok((codes.clone(), weights)) };
        let codes = x.matmul(&read_codes.tensor().t()?)?.broadcast_add(&codes.flatten_all()?)?;
        let weights = x.matmul(&read_weights.tensor().t()?)?.broadcast_add(&weights)?;
        Ok((codes.reshape((x.dim(0)? * selectors, bits))?, weights))
    }

    /// g, the weights of the experts in each of n choices, `[n, experts]`.
    fn gates(&self, x: Option<&Tensor>, width: f64) -> Result<Tensor> {
        let (codes, weights) = self.logits(x)?;
        let (choices, count) = weights.dims2()?;
        let chosen = selectors(&codes, width)?.reshape((choices, count, ()))?;
        candle_nn::ops::softmax(&weights, D::Minus1)?.unsqueeze(1)?.matmul(&chosen)?.squeeze(1)
    }

    /// Σ H(r), the entropies of the task's selectors; the mean over the rows of `x` where texts choose.
    fn entropy(&self, x: Option<&Tensor>, width: f64) -> Result<Tensor> {
        let (codes, weights) = self.logits(x)?;
        let chosen = selectors(&codes, width)?;
        // The authors' floor: the entropy of a decided selector is 0, its logarithm's gradient finite.
        (&chosen * (&chosen + 1e-6)?.log()?)?.sum_all()? * (-1. / weights.dim(0)? as f64)
    }
}

/// r, every selector's weights of the experts, `[rows, 2^m]` from z `[rows, m]`; rows sum to 1.
fn selectors(codes: &Tensor, width: f64) -> Result<Tensor> {
    let (rows, bits) = codes.dims2()?;
    let steps = smooth_step(codes, width)?;
    let mut chosen = steps.narrow(1, 0, 1)?.detach().ones_like()?;
    for bit in 0..bits {
        let step = steps.narrow(1, bit, 1)?.broadcast_as((rows, chosen.dim(1)?))?;
        let set = (&chosen * &step)?;
        chosen = Tensor::cat(&[&(&chosen - &set)?, &set], 1)?;
    }
    Ok(chosen)
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
        let read = match self.settings.gate {
            Chooser::Static => None,
            Chooser::Example => {
                Some((pool(&x, tokens, Pooling::Mean)? * (1. / (self.encoder.hidden() as f64).sqrt()))?)
            }
        };
        let (width, entropy) = (self.settings.width, self.settings.entropy);
        let mut answers: Vec<Option<Tensor>> = vec![None; self.experts.len()];
        let mut chosen = |task: &TaskId| {
            let choice = &self.choices[task.0];
            let gates = choice.gates(read.as_ref(), width)?;
            let known = on_host(&gates)?.to_vec2::<f64>()?;
            let gates = if read.is_some() { per_token(&gates, tokens)? } else { gates };
            let mut sum: Option<Tensor> = None;
            for (at, expert) in self.experts.iter().enumerate() {
                if known.iter().all(|gates| gates[at] == 0.) {
                    continue;
                }
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
            let Some(sum) = sum else { candle_core::bail!("selectors whose weights do not sum to 1") };
            match &read {
                Some(read) if pass.is_training() && entropy > 0. => {
                    carrying(&sum, &(choice.entropy(Some(&read.detach()), width)? * entropy)?)
                }
                _ => Ok(sum),
            }
        };
        tasks.iter().map(&mut chosen).collect()
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.settings.entropy == 0. || self.settings.gate == Chooser::Example {
            return Ok(None);
        }
        let mut sum: Option<Tensor> = None;
        for choice in &self.choices {
            let entropy = choice.entropy(None, self.settings.width)?;
            sum = Some(match sum {
                Some(sum) => (sum + entropy)?,
                None => entropy,
            });
        }
        sum.map(|sum| sum * self.settings.entropy).transpose()
    }

    /// The gates of each task; where texts choose, those of a text of which nothing is read.
    fn findings(&self) -> Result<Value> {
        let gates =
            |choice: &Choice| on_host(&choice.gates(None, self.settings.width)?)?.flatten_all()?.to_vec1::<f64>();
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
