//! A head as the classes of transformers compute it.
//!
//! A class for texts computes W₂·σ(W₁x + b₁) + b₂ of the first token's state x, W₁ being `[hidden, hidden]`. A head with a
//! hidden layer of the same σ fits if it is no wider; what is left of W₁ are zeros. A linear head Wx + b fits, too:
//!
//! - max(z, 0) − max(−z, 0) = z, and zΦ(z) − (−z)Φ(−z) = z: for ReLU and GELU, W₁ holds W and −W, W₂ adds them up;
//! - tanh(cz)/c = z·(1 − (cz)²/3 + …): W₁ holds c·W, W₂ divides by c. A state is γ⊙n + β with ‖n‖ ≤ √hidden, as LayerNorm
//!   leaves it, so |z| ≤ ‖w‖·(max |γ|·√hidden + ‖β‖) for a row w; c is the largest power of two with which this bound
//!   comes to at most 2⁻¹¹, so that the term that is lost is below 2⁻²³ of z: a rounding of single precision.

use anyhow::{Context, Result, bail};
use mtl_backbone::{HeadActivation, Pooling};

use crate::answers::Problem;
use crate::plain::{LinearMap, PlainModel};

/// |cz| is at most this.
const LINEAR: f64 = 1. / 2048.;

/// The head of a class of transformers.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The class, such as `BertForSequenceClassification`.
    pub class: String,
    /// The map before the last one, `[hidden, hidden]`; none in a class for tokens.
    pub dense: Option<LinearMap>,
    /// The last map.
    pub output: LinearMap,
    /// Whether a linear head is written as a map through an activation that cancels.
    pub unfolded: bool,
}

impl Fitted {
    /// The class of transformers that computes what `model` does.
    ///
    /// # Errors
    /// If there is none: names the setting of the head that would fit.
    pub fn of(model: &PlainModel) -> Result<Self> {
        let head = &model.head;
        if !model.labelled {
            bail!(
                "its head predicts the hidden tokens of its training split, which no class of transformers does; export the \
                 whole run, whose folder has the encoder and the head apart"
            );
        }
        let last = head.maps.last().context("a head without a map")?.clone();
        let Some(pooling) = head.pooling else {
            let class = format!("{}ForTokenClassification", model.stem);
            return match head.maps.len() {
                1 => Ok(Self { class, dense: None, output: last, unfolded: false }),
                _ => bail!(
                    "its head has a hidden layer of {} units, and `{class}` has one map; train with head.hidden = 0",
                    last.inputs()
                ),
            };
        };
        let class = format!("{}ForSequenceClassification", model.stem);
        if pooling != Pooling::Cls {
            bail!(
                "its head reads the {} of a text's states, and `{class}` the first token's; train with \
                 head.pooling = \"cls\", or export for sentence-transformers",
                if pooling == Pooling::Mean { "mean" } else { "maximum" }
            );
        }
        let activation = model.classes.activation;
        let (dense, output, unfolded) = match head.maps.first() {
            Some(first) if head.maps.len() > 1 => {
                let width = first.outputs();
                if head.activation != activation {
                    bail!(
                        "its hidden layer computes {}, and that of `{class}` {}; train with head.activation = \"{}\"",
                        head.activation.name(),
                        activation.name(),
                        activation.name()
                    );
                }
                if width > model.hidden {
                    bail!(
                        "its hidden layer has {width} units, and that of `{class}` {}; train with head.hidden = {} or less",
                        model.hidden,
                        model.hidden
                    );
                }
                (padded(first, model.hidden, model.hidden), padded(&last, last.outputs(), model.hidden), false)
            }
            _ => {
                let (dense, output) = unfolded(&last, activation, model).with_context(|| format!("`{class}`"))?;
                (dense, output, true)
            }
        };
        Ok(Self { class, dense: Some(dense), output, unfolded })
    }

    /// What it is loaded by.
    pub(crate) fn loader(problem: Problem) -> &'static str {
        match problem {
            Problem::Tokens => "AutoModelForTokenClassification",
            _ => "AutoModelForSequenceClassification",
        }
    }
}

/// `map` in the corner of one of zeros.
fn padded(map: &LinearMap, outputs: usize, inputs: usize) -> LinearMap {
    let mut wide = LinearMap::zeros(outputs, inputs);
    for (to, from) in wide.rows_mut().zip(map.rows()) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    }
    wide.bias.data.iter_mut().zip(&map.bias.data).for_each(|(to, from)| *to = *from);
    wide
}

/// A linear map as two with an activation between them.
fn unfolded(map: &LinearMap, activation: HeadActivation, model: &PlainModel) -> Result<(LinearMap, LinearMap)> {
    let (outputs, hidden) = (map.outputs(), model.hidden);
    let each = if activation == HeadActivation::Tanh { 1 } else { 2 };
    if each * outputs > hidden {
        bail!(
            "a linear head of {outputs} outputs needs {} units of a hidden layer that has {hidden}; train with \
             head.hidden = {hidden} and head.activation = \"{}\"",
            each * outputs,
            activation.name()
        );
    }
    let (mut dense, mut output) = (LinearMap::zeros(hidden, map.inputs()), LinearMap::zeros(outputs, hidden));
    output.bias.data.clone_from(&map.bias.data);
    let longest = if each == 1 { longest_state(model)? } else { 1. };
    let scales: Vec<f32> = map.rows().map(|row| scale(row, longest)).collect();
    let signs = [(0, 1f32), (outputs, -1.)].into_iter().take(each);
    for (from, sign) in signs {
        let rows = dense.rows_mut().skip(from).zip(map.rows()).zip(&scales);
        for ((to, row), scale) in rows {
            let factor = if each == 1 { *scale } else { sign };
            to.iter_mut().zip(row).for_each(|(to, value)| *to = factor * value);
        }
        for (at, (row, scale)) in output.rows_mut().zip(&scales).enumerate() {
            let value = if each == 1 { 1. / scale } else { sign };
            row.get_mut(from + at).into_iter().for_each(|to| *to = value);
        }
    }
    Ok((dense, output))
}

/// The largest power of two with which a row's products with states stay where tanh is linear.
fn scale(row: &[f32], longest: f64) -> f32 {
    let norm = row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    if norm == 0. { 1. } else { (LINEAR / (norm * longest)).log2().floor().exp2() as f32 }
}

/// A bound of the length of the encoder's states.
fn longest_state(model: &PlainModel) -> Result<f64> {
    let last = model.last_norm.as_ref().map(|name| {
        let tensor = |kind: &str| model.encoder.get(&format!("{name}.{kind}")).map(|tensor| tensor.data.as_slice());
        Some((tensor("weight")?, tensor("bias")?))
    });
    let (gamma, beta) = last.flatten().context("the encoder has no last LayerNorm")?;
    let largest = gamma.iter().fold(0f64, |largest, value| largest.max(f64::from(value.abs())));
    let shift = beta.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
    Ok(largest * (model.hidden as f64).sqrt() + shift)
}
