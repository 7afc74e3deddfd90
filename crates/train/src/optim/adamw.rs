//! AdamW (Loshchilov & Hutter 2019, algorithm 2), with PyTorch's placement of ε and bias corrections:
//!
//! m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², θ ← (1 − ηλ)θ − η/(1−β₁ᵗ) · m / (√(v/(1−β₂ᵗ)) + ε).
//!
//! Decay λ spares biases and LayerNorms. t counts the steps in which a parameter had a gradient, as in PyTorch. GradientRows of
//! a table that a batch did not touch have gradient 0: their moments and decay move all the same.

use std::collections::BTreeMap;

use anyhow::Context;
use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Flat, Param};
use mtl_sharing::Moments;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::flat::{Chunk, Real, Rule, combined, moment, restored, update};
use super::registry::{OptimizerKind, at_least_zero};
use super::{Optimizer, Pace, WeightedSum};

pub(super) const ENTRY: OptimizerKind = OptimizerKind {
    name: "adamw",
    about: "Adam with decoupled weight decay (Loshchilov & Hutter 2019)",
    defaults: || serde_json::to_value(Settings::default()).unwrap_or_default(),
    check: |settings| read(settings).map(|_| ()),
    build: |settings| Ok(Box::new(AdamW { settings: read(settings)?, moments: BTreeMap::new() })),
};

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    /// η, the learning rate before the schedule.
    rate: f64,
    /// λ.
    weight_decay: f64,
    /// β₁.
    beta1: f64,
    /// β₂.
    beta2: f64,
    /// ε.
    epsilon: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { rate: 3e-5, weight_decay: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

fn read(settings: &Value) -> anyhow::Result<Settings> {
    let settings: Settings = serde_json::from_value(settings.clone()).context("in the section [optimizer]")?;
    at_least_zero("rate", settings.rate)?;
    at_least_zero("weight_decay", settings.weight_decay)?;
    at_least_zero("epsilon", settings.epsilon)?;
    for (key, beta) in [("beta1", settings.beta1), ("beta2", settings.beta2)] {
        anyhow::ensure!((0. ..1.).contains(&beta), "`{key}` must lie in [0, 1), found {beta}");
    }
    Ok(settings)
}

struct AdamW {
    settings: Settings,
    moments: BTreeMap<String, Remembered>,
}

#[derive(Clone)]
struct Remembered {
    steps: u64,
    /// m and v.
    flats: [Flat; 2],
}

struct Step {
    beta1: f64,
    beta2: f64,
    /// η/(1−β₁ᵗ).
    rate: f64,
    /// 1/√(1−β₂ᵗ).
    correction: f64,
    epsilon: f64,
    /// 1 − ηλ.
    keep: f64,
}

impl Step {
    #[inline(always)]
    fn apply<
        T: Real
            + std::ops::Mul<Output = T>
            + std::ops::Add<Output = T>
            + std::ops::Sub<Output = T>
            + std::ops::Div<Output = T>,
    >(
        &self,
        chunk: Chunk<T>,
        root: impl Fn(T) -> T,
    ) {
        let keep = T::of(if chunk.decayed { self.keep } else { 1. });
        let (one1, one2) = (T::of(1. - self.beta1), T::of(1. - self.beta2));
        let (beta2, rate, correction, epsilon) =
            (T::of(self.beta2), T::of(self.rate), T::of(self.correction), T::of(self.epsilon));
        let Ok([m, v]) = <[&mut [T]; 2]>::try_from(chunk.moments) else { return };
        for (((value, &g), m), v) in chunk.values.iter_mut().zip(chunk.gradient).zip(m).zip(v) {
            *m = *m + (g - *m) * one1;
            *v = *v * beta2 + g * g * one2;
            *value = *value * keep - rate * *m / (root(*v) * correction + epsilon);
        }
    }
}

impl Rule for Step {
    fn f32(&self, chunk: Chunk<f32>) {
        self.apply(chunk, f32::sqrt);
    }

    fn f64(&self, chunk: Chunk<f64>) {
        self.apply(chunk, f64::sqrt);
    }
}

impl Moments for AdamW {
    fn fork(&mut self, from: &str, to: &str) {
        if let Some(remembered) = self.moments.get(from).cloned() {
            self.moments.insert(to.to_string(), remembered);
        }
    }

    fn scale(&mut self, name: &str, first: f64, second: f64) {
        if let Some(Remembered { flats: [m, v], .. }) = self.moments.get_mut(name) {
            m.scale(first);
            v.scale(second);
        }
    }

    fn merge(&mut self, into: &str, parts: &[(&str, f64)]) {
        let parts: Vec<(&Remembered, f64)> =
            parts.iter().filter_map(|(name, share)| Some((self.moments.get(*name)?, *share))).collect();
        let flat = |at: usize| combined(parts.iter().map(|(remembered, share)| (&remembered.flats[at], *share)));
        if let (Some(m), Some(v)) = (flat(0), flat(1)) {
            let steps = parts.iter().map(|(remembered, _)| remembered.steps).max().unwrap_or(0);
            self.moments.insert(into.to_string(), Remembered { steps, flats: [m, v] });
        }
    }

    fn drop(&mut self, name: &str) {
        self.moments.remove(name);
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, param: &Param, blend: &WeightedSum, pace: Pace) -> Result<()> {
        if !self.moments.contains_key(param.name()) {
            let fresh = Remembered { steps: 0, flats: [moment(param)?, moment(param)?] };
            self.moments.insert(param.name().to_string(), fresh);
        }
        let Some(moments) = self.moments.get_mut(param.name()) else { return Ok(()) };
        moments.steps += 1;
        let t = moments.steps as f64;
        let Settings { beta1, beta2, epsilon, .. } = self.settings;
        let weight_decay = pace.weight_decay.unwrap_or(self.settings.weight_decay);
        let step = Step {
            beta1,
            beta2,
            rate: pace.rate / (1. - beta1.powf(t)),
            correction: 1. / (1. - beta2.powf(t)).sqrt(),
            epsilon,
            keep: 1. - pace.rate * weight_decay,
        };
        update(param, blend, &mut moments.flats, pace.mask, &step)
    }

    fn reset(&mut self) {
        self.moments.clear();
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = BTreeMap::new();
        for (name, moments) in &self.moments {
            state.insert(format!("m/{name}"), moments.flats[0].tensor(&Device::Cpu)?);
            state.insert(format!("v/{name}"), moments.flats[1].tensor(&Device::Cpu)?);
            state.insert(format!("steps/{name}"), Tensor::new(&[moments.steps as i64], &Device::Cpu)?);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        self.moments.clear();
        for name in state.keys().filter_map(|key| key.strip_prefix("steps/")) {
            let get = |kind: &str| {
                state
                    .get(&format!("{kind}/{name}"))
                    .ok_or_else(|| candle_core::Error::Msg(format!("`{kind}/{name}` is missing")))
            };
            let steps = get("steps")?.to_dtype(DType::I64)?.to_vec1::<i64>()?.first().copied().unwrap_or(0) as u64;
            let flats = [restored(get("m")?)?, restored(get("v")?)?];
            self.moments.insert(name.to_string(), Remembered { steps, flats });
        }
        Ok(())
    }
}
