//! Stochastic gradient descent with momentum, as in PyTorch: b ← μb + g + λθ (b = g + λθ at first), θ ← θ − ηb.

use std::collections::BTreeMap;

use anyhow::Context;
use candle_core::{Device, Result, Tensor};
use mtl_backbone::{Flat, Param};
use mtl_sharing::Moments;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::flat::{Chunk, Real, Rule, combined, moment, restored, update};
use super::registry::{OptimizerKind, at_least_zero};
use super::{Optimizer, Pace, WeightedSum};

pub(super) const ENTRY: OptimizerKind = OptimizerKind {
    name: "sgd",
    about: "stochastic gradient descent with momentum",
    defaults: || serde_json::to_value(Settings::default()).unwrap_or_default(),
    check: |settings| read(settings).map(|_| ()),
    build: |settings| Ok(Box::new(Sgd { settings: read(settings)?, momenta: BTreeMap::new() })),
};

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// η, the learning rate before the schedule.
    rate: f64,
    /// μ.
    momentum: f64,
    /// λ; spares biases and LayerNorms.
    weight_decay: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 0.01, momentum: 0.9, weight_decay: 0. }
    }
}

fn read(settings: &Value) -> anyhow::Result<Settings> {
    let settings: Settings = serde_json::from_value(settings.clone()).context("in the section [optimizer]")?;
    at_least_zero("rate", settings.rate)?;
    at_least_zero("weight_decay", settings.weight_decay)?;
    anyhow::ensure!(
        (0. ..1.).contains(&settings.momentum),
        "`momentum` must lie in [0, 1), found {}",
        settings.momentum
    );
    Ok(settings)
}

struct Sgd {
    settings: Settings,
    momenta: BTreeMap<String, Flat>,
}

struct Step {
    momentum: f64,
    rate: f64,
    decay: f64,
}

impl Step {
    fn apply<T: Real + std::ops::Mul<Output = T> + std::ops::Add<Output = T> + std::ops::Sub<Output = T>>(
        &self,
        chunk: Chunk<T>,
    ) {
        let (momentum, rate) = (T::of(self.momentum), T::of(self.rate));
        let decay = T::of(if chunk.decayed { self.decay } else { 0. });
        let mut moments = chunk.moments;
        let Some(b) = moments.pop() else { return };
        for ((value, &g), b) in chunk.values.iter_mut().zip(chunk.gradient).zip(b) {
            *b = momentum * *b + g + decay * *value;
            *value = *value - rate * *b;
        }
    }
}

impl Rule for Step {
    fn f32(&self, chunk: Chunk<f32>) {
        self.apply(chunk);
    }

    fn f64(&self, chunk: Chunk<f64>) {
        self.apply(chunk);
    }
}

impl Moments for Sgd {
    fn fork(&mut self, from: &str, to: &str) {
        if let Some(momentum) = self.momenta.get(from).cloned() {
            self.momenta.insert(to.to_string(), momentum);
        }
    }

    fn scale(&mut self, name: &str, first: f64, _second: f64) {
        if let Some(momentum) = self.momenta.get_mut(name) {
            momentum.scale(first);
        }
    }

    fn merge(&mut self, into: &str, parts: &[(&str, f64)]) {
        let parts = parts.iter().filter_map(|(name, share)| Some((self.momenta.get(*name)?, *share)));
        if let Some(sum) = combined(parts) {
            self.momenta.insert(into.to_string(), sum);
        }
    }

    fn drop(&mut self, name: &str) {
        self.momenta.remove(name);
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, param: &Param, blend: &WeightedSum, pace: Pace) -> Result<()> {
        // A momentum of zeros makes the first step's b = g + λθ.
        if !self.momenta.contains_key(param.name()) {
            self.momenta.insert(param.name().to_string(), moment(param)?);
        }
        let Some(momentum) = self.momenta.get_mut(param.name()) else { return Ok(()) };
        let decay = pace.weight_decay.unwrap_or(self.settings.weight_decay);
        let step = Step { momentum: self.settings.momentum, rate: pace.rate, decay };
        update(param, blend, std::slice::from_mut(momentum), pace.mask, &step)
    }

    fn moments_kept(&self) -> usize {
        1
    }

    fn reset(&mut self) {
        self.momenta.clear();
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.momenta.iter().map(|(name, flat)| Ok((format!("b/{name}"), flat.tensor(&Device::Cpu)?))).collect()
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let named = state.iter().filter_map(|(key, tensor)| Some((key.strip_prefix("b/")?, tensor)));
        self.momenta = named.map(|(name, tensor)| Ok((name.to_string(), restored(tensor)?))).collect::<Result<_>>()?;
        Ok(())
    }
}
