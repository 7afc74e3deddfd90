//! Soft sharing: an encoder for every task, pulled together by a penalty on their distance (Duong et al. 2015; Yang &
//! Hospedales 2017, "trace norm regularised deep multi-task learning"; Li et al. 2018, L2-SP).
//!
//! | `coupling`   | penalty                                                                   |
//! | ------------ | ------------------------------------------------------------------------- |
//! | `mean`       | λ/2·Σₜ ‖θₜ − θ̄‖²                                                          |
//! | `pairs`      | λ/2·Σ_{s<t} ‖θₛ − θₜ‖², which is K times the one above                    |
//! | `pretrained` | λ/2·Σₜ ‖θₜ − θ₀‖²                                                         |
//! | `trace-norm` | λ·Σ of trace norms of the tasks' deltas θₜ − θ₀, see `trace_norm.rs`     |
//!
//! With `proximal` the L2 couplings act exactly after each step of rate η instead of through the gradient: θₜ ← a +
//! (θₜ − a)/(1 + ηc), a being θ̄ or θ₀ and c = λ, with pairs λK; λ may then be `"infinity"`. The rate is the
//! schedule's, whatever the optimizer makes of it. Heads are not coupled. No parameter is shared, so that
//! gradient weighting does not apply.
//!
//! Defaults: λ = 0.1 towards the mean, by the gradient; for the trace norm LAF, ε = 0.001, roots every 10 steps. The
//! papers' values belong to other networks.
//!
//! Parameters: K·P. The pretrained point is kept beside them (P) where it is needed.

mod newton_schulz;
mod trace_norm;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Param, Part, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};

use crate::blocks::penalty::penalty_with_gradient;
use crate::blocks::pull::{mean, pull};
use crate::blocks::values::copied;
use crate::{BuildContext, Change, EncoderWeights, Sharing, StepView, Strategy, StrategySettings};
use trace_norm::{TraceNorm, Unfolding};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Soft>(
    "soft",
    "an encoder per task, pulled together",
    "Duong et al. 2015; Yang & Hospedales 2017",
    "K·P",
    false,
)
.with_source(include_str!("mod.rs"));

/// The `[sharing]` section of `strategy = "soft"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Soft {
    /// Which distance is penalised.
    pub coupling: Coupling,
    /// λ, weight of the penalty: a number from 0 on, or `"infinity"` with `proximal`.
    pub strength: Strength,
    /// Whether an L2 coupling acts as an exact step after the optimizer's.
    pub proximal: bool,
    /// Which matrices' trace norms are penalised, with `coupling = "trace-norm"`.
    pub unfolding: Unfolding,
    /// ε > 0 of the smoothed trace norm, in units of a singular value of the deltas.
    pub smoothing: f64,
    /// Optimizer steps between two inverse roots of the larger unfoldings (`tucker` and `tt`); at least 1.
    pub every: usize,
}

/// What pulls the encoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coupling {
    /// λ/2·Σₜ ‖θₜ − θ̄‖².
    Mean,
    /// λ/2·Σ_{s<t} ‖θₛ − θₜ‖².
    Pairs,
    /// λ/2·Σₜ ‖θₜ − θ₀‖².
    Pretrained,
    /// λ·Σ of trace norms of the tasks' deltas.
    TraceNorm,
}

/// The weight of a penalty.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Strength {
    /// A number from 0 on; 0 for no coupling.
    Finite(f64),
    /// `"infinity"`, with `proximal` alone.
    Named(Named),
}

/// The strength that JSON has no number for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Named {
    /// No task may leave what it is pulled to.
    Infinity,
}

impl Strength {
    fn value(self) -> f64 {
        match self {
            Self::Finite(value) => value,
            Self::Named(Named::Infinity) => f64::INFINITY,
        }
    }
}

impl Default for Soft {
    fn default() -> Self {
        Self {
            coupling: Coupling::Mean,
            strength: Strength::Finite(0.1),
            proximal: false,
            unfolding: Unfolding::Laf,
            smoothing: 1e-3,
            every: 10,
        }
    }
}

impl StrategySettings for Soft {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        let strength = self.strength.value();
        if strength.is_nan() || strength < 0. {
            bail!("`strength` is {strength}, but the weight of a penalty is a number from 0 on");
        }
        if self.proximal && self.coupling == Coupling::TraceNorm {
            bail!("`proximal` is for the L2 couplings mean, pairs and pretrained; the trace norm acts by its gradient");
        }
        if strength.is_infinite() && !self.proximal {
            bail!("`strength` is infinite, which only `proximal = true` can follow");
        }
        if !(self.smoothing > 0. && self.smoothing.is_finite()) {
            bail!(
                "`smoothing` is {}, but the trace norm needs one above 0: its gradient at 0 is infinite",
                self.smoothing
            );
        }
        if self.every == 0 {
            bail!("`every` is 0, but the inverse roots are made anew every 1 or more steps");
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let own: Vec<EncoderWeights> =
            context.each().iter().map(|scope| EncoderWeights::insert(context, scope)).collect::<Result<_>>()?;
        let start = match self.coupling {
            Coupling::Pretrained | Coupling::TraceNorm => own[0].iter().map(copy).collect::<Result<_>>()?,
            Coupling::Mean | Coupling::Pairs => Vec::new(),
        };
        let parts = (0..own[0].iter().count()).map(|at| own.iter().filter_map(|w| w.iter().nth(at)).cloned().collect());
        let parts: Vec<Vec<Param>> = parts.collect();
        let trace_norm = match self.coupling {
            Coupling::TraceNorm => Some(TraceNorm::new(self.unfolding, self.smoothing, &parts, &start)?),
            _ => None,
        };
        let encoder = context.encoder.clone();
        Ok(Box::new(Coupled { encoder, own, parts, start, trace_norm, settings: self }))
    }
}

/// A parameter's values now.
fn copy(param: &Param) -> Result<Tensor> {
    copied(param.tensor())
}

struct Coupled {
    encoder: Arc<Family>,
    own: Vec<EncoderWeights>,
    /// Part by part, every task's parameters.
    parts: Vec<Vec<Param>>,
    /// The pretrained point part by part, where the coupling needs it.
    start: Vec<Tensor>,
    trace_norm: Option<TraceNorm>,
    settings: Soft,
}

impl Coupled {
    /// Strength of the pull towards each part's centre.
    fn pull(&self) -> f64 {
        let tasks = if self.settings.coupling == Coupling::Pairs { self.own.len() } else { 1 };
        self.settings.strength.value() * tasks as f64
    }

    /// What the tasks' values of part `at` are pulled to.
    fn centre(&self, at: usize) -> Result<Tensor> {
        match self.start.get(at) {
            Some(start) => Ok(start.clone()),
            None => mean(&self.parts[at]),
        }
    }
}

impl Sharing for Coupled {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        Ok(self.own[task.0].states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.settings.proximal || self.settings.strength.value() == 0. {
            return Ok(None);
        }
        if let Some(trace_norm) = &self.trace_norm {
            return trace_norm.penalty(self.settings.strength.value(), &self.parts, &self.start);
        }
        let (mut price, mut gradients) = (0., Vec::new());
        for (at, part) in self.parts.iter().enumerate() {
            let (value, pulls) = pull(part, self.start.get(at), self.pull())?;
            price += value;
            gradients.extend(part.iter().map(Param::tensor).zip(pulls));
        }
        penalty_with_gradient(price, gradients)
    }

    fn adapt(&mut self, _change: &mut Change, step: &mut StepView) -> Result<()> {
        let (progress, rate) = (step.progress, step.learning_rate);
        if let Some(trace_norm) = &mut self.trace_norm {
            if (progress.step + 1).is_multiple_of(self.settings.every) {
                trace_norm.refresh(&self.parts, &self.start)?;
            }
            return Ok(());
        }
        if !self.settings.proximal || rate == 0. || self.pull() == 0. {
            return Ok(());
        }
        let kept = 1. / (1. + rate * self.pull());
        for (at, part) in self.parts.iter().enumerate() {
            let centre = self.centre(at)?;
            for param in part {
                let apart = (param.tensor().detach() - &centre)?;
                param.var().set(&(&centre + (apart * kept)?)?)?;
            }
        }
        Ok(())
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let parts = Part::all(self.encoder.layers()).zip(self.own[task.0].iter());
        Ok(Some(parts.map(|(part, param)| Ok((part, copy(param)?))).collect::<Result<_>>()?))
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.trace_norm.as_ref().map_or_else(|| Ok(BTreeMap::new()), TraceNorm::state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, _phase: usize) -> Result<()> {
        self.trace_norm.as_mut().map_or(Ok(()), |trace_norm| trace_norm.restore(state))
    }
}
