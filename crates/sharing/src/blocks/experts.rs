//! Experts and gates: what MMoE, PLE and DSelect-k have in common.
//!
//! An expert is a copy of some consecutive layers of the encoder, a gate softmax(W·x) with a row of W ∈ R^{E×H} for
//! each expert. Experts start equal and gates at N(0, 0.02²): it is the gates, and dropout, that drive them apart.

use anyhow::bail;
use candle_core::{D, Result, Tensor};
use mtl_backbone::{Encoder, Family, Layout, Param, Part, Pass, Pooling, Ports, pool};
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
            let part = Part::Layer(index);
            // Experts of one scope share a file: their tensors' names carry the expert's.
            let entries = context.encoder.layout(part).entries().iter();
            let layout = Layout::new(entries.map(|e| (format!("{name}.{}", e.name), e.shape.clone(), e.decay)));
            let values = context.pretrained.weights(part, context.dtype());
            context.insert(scope, &format!("{name}.{part}"), &layout, &values)
        });
        Ok(Self(layers.collect::<Result<_>>()?))
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
        let values = Tensor::from_vec(values, (experts, hidden), &context.device())?;
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
