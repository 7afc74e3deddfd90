//! Experts and gates: what MMoE, PLE and DSelect-k have in common.
//!
//! An expert is a copy of some consecutive layers of the encoder, a gate softmax(W·x) with a row of W ∈ R^{E×H} for
//! each expert. MMoE's and PLE's experts start equal and gates at N(0, 0.02²): it is the gates, and dropout, that drive
//! them apart. Where gates would start equal too, the experts have to be spread ([`Expert::spread`]).

use anyhow::bail;
use candle_core::{D, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Layout, Param, Part, Pass, Pooling, Ports, pool};
use mtl_task::Packed;
use serde::{Deserialize, Serialize};

use crate::{BuildContext, Role, Scope, per_token};

/// What a gate decides for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gated {
    /// A whole text, from the mean of its states.
    Text,
    /// Each token, from its state.
    Token,
}

/// A copy of some consecutive layers.
#[derive(Clone, Debug)]
pub(crate) struct Expert(Vec<Param>);

impl Expert {
    /// Puts a copy of the pretrained layers `layers` into the model: `scope/name.layer.…`.
    pub(crate) fn insert(
        context: &mut BuildContext,
        scope: &Scope,
        name: &str,
        layers: std::ops::Range<usize>,
    ) -> Result<Self> {
        let layers = layers.map(|index| {
            let values = context.pretrained.weights(Part::Layer(index), context.dtype());
            Self::layer(context, scope, name, Part::Layer(index), &values)
        });
        Ok(Self(layers.collect::<Result<_>>()?))
    }

    /// Puts `count` copies of the pretrained layers `layers` into the model, `scope/expert.….layer.…`, every matrix W of
    /// them moved by noise of deviation `spread` times W's root mean square. The noise of all copies sums to 0, so that
    /// their mean is the pretrained layer; with one copy, or `spread` 0, there is none.
    pub(crate) fn spread(
        context: &mut BuildContext,
        scope: &Scope,
        count: usize,
        layers: std::ops::Range<usize>,
        spread: f64,
    ) -> Result<Vec<Self>> {
        let mut experts = vec![Self(Vec::new()); count];
        for part in layers.map(Part::Layer) {
            let mut copies = vec![context.pretrained.weights(part, context.dtype()); count];
            if spread > 0. {
                for entry in context.encoder.layout(part).entries().iter().filter(|entry| entry.shape.len() == 2) {
                    let squares: f64 = entry.range.clone().map(|at| copies[0].at(at).powi(2)).sum();
                    let deviation = spread * (squares / entry.range.len().max(1) as f64).sqrt();
                    let mut stream = context.key.named("experts").named(&entry.name).stream();
                    for at in entry.range.clone() {
                        let noise: Vec<f64> = (0..count).map(|_| deviation * stream.normal()).collect();
                        let mean = noise.iter().sum::<f64>() / count as f64;
                        copies.iter_mut().zip(noise).for_each(|(copy, noise)| shift(copy, at, noise - mean));
                    }
                }
            }
            for (at, (expert, values)) in experts.iter_mut().zip(&copies).enumerate() {
                expert.0.push(Self::layer(context, scope, &format!("expert.{at}"), part, values)?);
            }
        }
        Ok(experts)
    }

    fn layer(context: &mut BuildContext, scope: &Scope, name: &str, part: Part, values: &Flat) -> Result<Param> {
        // Experts of one scope share a file: their tensors' names carry the expert's.
        let entries = context.encoder.layout(part).entries().iter();
        let layout = Layout::new(entries.map(|e| (format!("{name}.{}", e.name), e.shape.clone(), e.decay)));
        context.insert(scope, &format!("{name}.{part}"), &layout, values)
    }

    /// The state above its layers, `[tokens, hidden]`.
    pub(crate) fn of(&self, encoder: &Family, x: &Tensor, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let mut x = x.clone();
        for param in &self.0 {
            x = encoder.layer(&pass.view(param)?, &x, tokens, &Ports::default(), pass)?;
        }
        Ok(x)
    }
}

fn shift(values: &mut Flat, at: usize, by: f64) {
    match values {
        Flat::F32(values) => values[at] += by as f32,
        Flat::F64(values) => values[at] += by,
    }
}

/// A softmax over experts that reads a state.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    /// `[experts, hidden]`.
    weight: Param,
    gated: Gated,
}

impl Gate {
    /// Puts a gate called `name` into the model.
    pub(crate) fn insert(
        context: &mut BuildContext,
        scope: &Scope,
        name: &str,
        experts: usize,
        gated: Gated,
    ) -> Result<Self> {
        let hidden = context.encoder.hidden();
        let mut stream = context.key.named(&format!("{scope}/{name}")).stream();
        let values: Vec<f64> = (0..experts * hidden).map(|_| stream.normal() * 0.02).collect();
        let values = Tensor::from_vec(values, (experts, hidden), &Device::Cpu)?;
        Ok(Self { weight: context.insert_tensor(&scope.with_role(Role::Mixing), name, &values, true)?, gated })
    }

    /// The experts' `outputs`, each `[tokens, hidden]`, mixed as the gate reads state `x`.
    pub(crate) fn mix(&self, x: &Tensor, outputs: &[Tensor], tokens: &Packed) -> Result<Tensor> {
        let softmax = |read: &Tensor| candle_nn::ops::softmax(&read.matmul(&self.weight.tensor().t()?)?, D::Minus1);
        let weights = match self.gated {
            Gated::Text => per_token(&softmax(&pool(x, tokens, Pooling::Mean)?)?, tokens)?,
            Gated::Token => softmax(x)?,
        };
        let mut sum = outputs[0].broadcast_mul(&weights.narrow(1, 0, 1)?)?;
        for (expert, output) in outputs.iter().enumerate().skip(1) {
            sum = (sum + output.broadcast_mul(&weights.narrow(1, expert, 1)?)?)?;
        }
        Ok(sum)
    }
}

/// The layer above which `levels` blocks of `layers` layers each stand on top of the encoder.
///
/// # Errors
/// If there are no such layers.
pub(crate) fn branching(context: &BuildContext, layers: usize, levels: usize) -> anyhow::Result<usize> {
    let depth = context.encoder.layers();
    if levels > depth {
        bail!("{levels} levels of experts do not fit into an encoder of {depth} layers");
    }
    if layers == 0 || layers * levels > depth {
        bail!("`layers` is {layers}, but an expert copies 1 to {} of the encoder's {depth} layers", depth / levels);
    }
    Ok(depth - layers * levels)
}
