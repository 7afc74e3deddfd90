//! What an encoder is: functions of tokens and weights, one layer at a time, so that strategies can stand between
//! and inside the layers.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_task::Packed;

use crate::{Layout, ParameterView, Params, Part, Pass};

/// Which of a layer's two normalised sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// After attention.
    Attention,
    /// After the feed-forward block.
    Output,
}

/// Learned keys and values that every token of every sequence may attend to, `[length, hidden]` each.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// Keys, all heads side by side.
    pub keys: Tensor,
    /// Values, all heads side by side.
    pub values: Tensor,
}

/// A transformation of a block's output, `[tokens, hidden]` to the same.
pub type Transform<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

/// Where a strategy may reach into a layer; all closed by default.
#[derive(Clone, Copy, Default)]
pub struct Ports<'a> {
    /// Extra keys and values for the attention.
    pub prefix: Option<&'a Prefix>,
    /// Applied to the attention block's output (before its bias, which the norm adds).
    pub after_attention: Option<Transform<'a>>,
    /// Applied to the feed-forward block's output (before its bias, which the norm adds).
    pub after_feed_forward: Option<Transform<'a>>,
    /// A function of the layer's input that is added to the sum before the last norm (projected attention layers).
    pub beside: Option<Transform<'a>>,
}

impl Ports<'_> {
    /// Whether nothing reaches into the layer.
    pub fn are_closed(&self) -> bool {
        self.prefix.is_none()
            && self.after_attention.is_none()
            && self.after_feed_forward.is_none()
            && self.beside.is_none()
    }
}

/// A BERT-style encoder. It holds shapes and names, never weights.
pub trait Encoder: Send + Sync {
    /// Number of layers.
    fn layers(&self) -> usize;

    /// Width of the states.
    fn hidden(&self) -> usize;

    /// Attention heads of a layer.
    fn heads(&self) -> usize;

    /// Rows of the word table.
    fn vocabulary(&self) -> usize;

    /// Longest input in tokens, special tokens included.
    fn max_tokens(&self) -> usize;

    /// The tensors of a part.
    fn layout(&self, part: Part) -> &Arc<Layout>;

    /// The word vectors of the tokens, `[tokens, width of the word table]`.
    ///
    /// # Errors
    /// If an id lies outside the table.
    fn words(&self, view: &ParameterView, tokens: &Packed, pass: &mut Pass) -> Result<Tensor>;

    /// The state below the first layer, `[tokens, hidden]`, from the word vectors.
    ///
    /// # Errors
    /// If a sequence is longer than [`Encoder::max_tokens`], or a segment id has no vector.
    fn embed(&self, view: &ParameterView, words: &Tensor, tokens: &Packed, pass: &mut Pass) -> Result<Tensor>;

    /// The attention block without its output bias, `[tokens, hidden]`.
    ///
    /// # Errors
    /// Those of candle.
    fn attend(
        &self,
        view: &ParameterView,
        x: &Tensor,
        tokens: &Packed,
        prefix: Option<&Prefix>,
        pass: &mut Pass,
    ) -> Result<Tensor>;

    /// LayerNorm(dropout(y + bias) + residual), `[tokens, hidden]`.
    ///
    /// # Errors
    /// Those of candle.
    fn add_norm(
        &self,
        norm: Norm,
        view: &ParameterView,
        y: &Tensor,
        residual: &Tensor,
        pass: &mut Pass,
    ) -> Result<Tensor>;

    /// The feed-forward block without its last bias, `[tokens, hidden]`.
    ///
    /// # Errors
    /// Those of candle.
    fn feed_forward(&self, view: &ParameterView, x: &Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// One layer: attend, add and norm, feed, add and norm.
    ///
    /// # Errors
    /// Those of its ops.
    fn layer(
        &self,
        view: &ParameterView,
        x: &Tensor,
        tokens: &Packed,
        ports: &Ports,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        layer_of_ops(self, view, x, tokens, ports, pass)
    }

    /// The states above the last layer, `[tokens, hidden]`, by the parameters that `owner` has in `params`.
    ///
    /// # Errors
    /// If a part of them is missing, or those of the ops.
    fn states(&self, owner: &str, params: &Params, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let view = |part: Part, pass: &mut Pass| match params.get(&format!("{owner}/{part}")) {
            Some(param) => pass.view(param),
            None => candle_core::bail!("no parameter is called `{owner}/{part}`"),
        };
        let words = self.words(&view(Part::Words, pass)?, tokens, pass)?;
        let mut x = self.embed(&view(Part::Embeddings, pass)?, &words, tokens, pass)?;
        for index in 0..self.layers() {
            x = self.layer(&view(Part::Layer(index), pass)?, &x, tokens, &Ports::default(), pass)?;
        }
        Ok(x)
    }
}

/// A layer as its four ops, with what stands at the ports between them.
pub(crate) fn layer_of_ops<E: Encoder + ?Sized>(
    encoder: &E,
    view: &ParameterView,
    x: &Tensor,
    tokens: &Packed,
    ports: &Ports,
    pass: &mut Pass,
) -> Result<Tensor> {
    let mut attention_output = encoder.attend(view, x, tokens, ports.prefix, pass)?;
    if let Some(transform) = ports.after_attention {
        attention_output = transform(&attention_output)?;
    }
    let middle = encoder.add_norm(Norm::Attention, view, &attention_output, x, pass)?;
    let mut feed_forward_output = encoder.feed_forward(view, &middle, pass)?;
    if let Some(transform) = ports.after_feed_forward {
        feed_forward_output = transform(&feed_forward_output)?;
    }
    let residual = match ports.beside {
        Some(transform) => (&middle + transform(x)?)?,
        None => middle,
    };
    encoder.add_norm(Norm::Output, view, &feed_forward_output, &residual, pass)
}
