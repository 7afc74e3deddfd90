//! The BERT family: post-LayerNorm transformer encoders that differ in names, positions and activation only.
//!
//! A layer is h = LN(x + W_o·attention(x) + b_o), y = LN(h + W₂·σ(W₁h + b₁) + b₂) (Vaswani et al. 2017, Devlin et
//! al. 2019). Whatever a checkpoint calls them, a layer's tensors lie in the order of the constants below, query, key
//! and value side by side so that one product makes all three.

use std::sync::Arc;

use candle_core::{Result, Tensor};
use mtl_task::Packed;

use crate::encoder::layer_of_ops;
use crate::fused::Options;
use crate::kernel::ProductPrecision;
use crate::{Encoder, Layout, Norm, ParameterView, Part, Pass, Ports, Prefix, fused, reference};

/// Places of a layer's tensors in its [`Layout`].
pub(crate) mod place {
    pub(crate) const QUERY: usize = 0;
    pub(crate) const KEY: usize = 1;
    pub(crate) const VALUE: usize = 2;
    pub(crate) const QUERY_BIAS: usize = 3;
    pub(crate) const KEY_BIAS: usize = 4;
    pub(crate) const VALUE_BIAS: usize = 5;
    pub(crate) const ATTENDED: usize = 6;
    pub(crate) const ATTENDED_BIAS: usize = 7;
    pub(crate) const ATTENTION_GAMMA: usize = 8;
    pub(crate) const ATTENTION_BETA: usize = 9;
    pub(crate) const INTERMEDIATE_MAP: usize = 10;
    pub(crate) const INTERMEDIATE_MAP_BIAS: usize = 11;
    pub(crate) const OUTPUT_MAP: usize = 12;
    pub(crate) const NARROW_BIAS: usize = 13;
    pub(crate) const OUTPUT_GAMMA: usize = 14;
    pub(crate) const OUTPUT_BETA: usize = 15;

    /// Bias, scale and shift of a normalised sum.
    pub(crate) fn norm(norm: crate::Norm) -> [usize; 3] {
        match norm {
            crate::Norm::Attention => [ATTENDED_BIAS, ATTENTION_GAMMA, ATTENTION_BETA],
            crate::Norm::Output => [NARROW_BIAS, OUTPUT_GAMMA, OUTPUT_BETA],
        }
    }
}

/// Function between the two products of a feed-forward block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·Φ(x).
    Gelu,
    /// Its tanh approximation.
    GeluTanh,
    /// max(x, 0).
    Relu,
    /// x·sigmoid(x).
    Silu,
}

impl Activation {
    /// The activation that a hub configuration calls `name`.
    ///
    /// # Errors
    /// If there is none.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" | "gelu_accurate" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            other => anyhow::bail!("unknown activation `{other}`; there are gelu, gelu_new, relu, silu"),
        })
    }
}

/// The sizes of an encoder.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Rows of the word table.
    pub vocabulary: usize,
    /// Width of the word table; smaller than `hidden` only with a projection.
    pub width: usize,
    /// Width of the states.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads; divides `hidden`.
    pub heads: usize,
    /// Width inside the feed-forward block.
    pub intermediate: usize,
    /// Rows of the position table.
    pub positions: usize,
    /// Row of the position table that the first token takes.
    pub first_position: usize,
    /// Rows of the segment table; 0 if there is none.
    pub types: usize,
    /// Added to the variance in every LayerNorm.
    pub epsilon: f64,
    /// Inside the feed-forward block.
    pub activation: Activation,
    /// Dropout of states.
    pub hidden_dropout: f64,
    /// Dropout of attention probabilities.
    pub attention_dropout: f64,
}

/// How a checkpoint of some architecture names its tensors, model prefixes left out. Matrices are `[outputs, inputs]`.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Word, position and segment tables, LayerNorm scale and shift, projection weight and bias. What the shape does not
    /// have, a segment table or a projection, is not looked for.
    pub embeddings: [&'static str; 7],
    /// In front of a layer's tensors, `{}` being its number.
    pub layer: &'static str,
    /// A layer's tensors: weights of query, key and value, their biases, weight and bias of the attention's output, scale
    /// and shift of the LayerNorm after it, weight and bias of the map to the intermediate width, weight and bias of the
    /// map back, scale and shift of the last LayerNorm.
    pub tensors: [&'static str; 16],
}

/// Which implementation of the ops runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Implementation {
    /// The fused kernel where it can compute: in f32 and f64 on the CPU, except attention with a prefix. Candle's ops
    /// elsewhere.
    Auto,
    /// Candle's differentiable ops: the oracle of the tests, and the path of other devices.
    Reference,
}

/// An encoder of the BERT family.
#[derive(Clone, Debug)]
pub struct Family {
    shape: Shape,
    path: Implementation,
    options: Options,
    words: Arc<Layout>,
    embeddings: Arc<Layout>,
    layers: Vec<Arc<Layout>>,
}

impl Family {
    /// An encoder of `shape` whose tensors are called as `names` says.
    pub(crate) fn new(shape: Shape, names: &Names) -> Self {
        let Shape { hidden, width, intermediate, .. } = shape;
        let [word, position, segment, gamma, beta, project, project_bias] = names.embeddings.map(String::from);
        let mut embeddings = vec![(position, vec![shape.positions, width], true)];
        if shape.types > 0 {
            embeddings.push((segment, vec![shape.types, width], true));
        }
        embeddings.push((gamma, vec![width], false));
        embeddings.push((beta, vec![width], false));
        if width != hidden {
            embeddings.push((project, vec![hidden, width], true));
            embeddings.push((project_bias, vec![hidden], false));
        }
        let layer = |index: usize| {
            let prefix = names.layer.replace("{}", &index.to_string());
            Layout::new(names.tensors.iter().enumerate().map(|(at, name)| {
                let dims = match at {
                    place::QUERY | place::KEY | place::VALUE | place::ATTENDED => vec![hidden, hidden],
                    place::INTERMEDIATE_MAP => vec![intermediate, hidden],
                    place::OUTPUT_MAP => vec![hidden, intermediate],
                    place::INTERMEDIATE_MAP_BIAS => vec![intermediate],
                    _ => vec![hidden],
                };
                let decay = dims.len() > 1;
                (format!("{prefix}{name}"), dims, decay)
            }))
        };
        Self {
            words: Layout::table(word, shape.vocabulary, width),
            embeddings: Layout::new(embeddings),
            layers: (0..shape.layers).map(layer).collect(),
            path: Implementation::Auto,
            options: Options::default(),
            shape,
        }
    }

    /// The same encoder through another implementation of its ops.
    #[must_use]
    pub fn with_path(mut self, path: Implementation) -> Self {
        self.path = path;
        self
    }

    /// The same encoder, whose fused ops save nothing but their inputs if it `recompute`s: for long inputs. A layer then
    /// keeps one vector of `hidden` per token for its backward instead of 16 or so, and a step computes every forward
    /// twice, to the same bits.
    #[must_use]
    pub fn with_recompute(mut self, recompute: bool) -> Self {
        self.options.recompute = recompute;
        self
    }

    /// The same encoder, whose layers round the operands of products with their weights as `precision` says. The
    /// reference path does so on every device; the fused kernel needs a CPU that can, so choose the path first.
    ///
    /// # Errors
    /// If the path is not the reference and this CPU cannot.
    pub fn with_precision(mut self, precision: ProductPrecision) -> Result<Self> {
        if self.path == Implementation::Auto {
            precision.check_kernel()?;
        }
        self.options.precision = precision;
        Ok(self)
    }

    /// The same encoder with other dropout.
    #[must_use]
    pub fn with_dropout(mut self, hidden: f64, attention: f64) -> Self {
        (self.shape.hidden_dropout, self.shape.attention_dropout) = (hidden, attention);
        self
    }

    /// Only the first `layers` layers.
    #[must_use]
    pub fn truncated(mut self, layers: usize) -> Self {
        self.layers.truncate(layers);
        self.shape.layers = self.layers.len();
        self
    }

    /// Whether the kernel computes what reads `tensor`.
    fn fused(&self, tensor: &Tensor) -> bool {
        self.path == Implementation::Auto && fused::computes(tensor)
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl Encoder for Family {
    fn layers(&self) -> usize {
        self.shape.layers
    }

    fn hidden(&self) -> usize {
        self.shape.hidden
    }

    fn heads(&self) -> usize {
        self.shape.heads
    }

    fn vocabulary(&self) -> usize {
        self.shape.vocabulary
    }

    fn max_tokens(&self) -> usize {
        self.shape.positions - self.shape.first_position
    }

    fn layout(&self, part: Part) -> &Arc<Layout> {
        match part {
            Part::Words => &self.words,
            Part::Embeddings => &self.embeddings,
            Part::Layer(index) => &self.layers[index],
        }
    }

    fn words(&self, view: &ParameterView, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        if let Some(id) = tokens.ids.iter().find(|id| **id as usize >= self.shape.vocabulary) {
            candle_core::bail!("token id {id} lies outside a word table of {} rows", self.shape.vocabulary);
        }
        if self.fused(&view.theta) {
            return fused::words(view, self.shape.vocabulary, self.shape.width, tokens);
        }
        reference::words(view, tokens, pass)
    }

    fn embed(&self, view: &ParameterView, words: &Tensor, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let longest = tokens.offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        if longest > self.max_tokens() {
            candle_core::bail!("a sequence of {longest} tokens; this encoder reads at most {}", self.max_tokens());
        }
        if let Some(segment) = tokens.segments.iter().find(|segment| **segment as usize >= self.shape.types.max(1))
            && self.shape.types > 1
        {
            candle_core::bail!("segment {segment} where the encoder has {}", self.shape.types);
        }
        if self.fused(words) {
            return fused::embed(&self.shape, view, words, tokens, self.options, pass);
        }
        reference::embed(&self.shape, view, words, tokens, pass)
    }

    fn attend(
        &self,
        view: &ParameterView,
        x: &Tensor,
        tokens: &Packed,
        prefix: Option<&Prefix>,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        if prefix.is_none() && self.fused(x) {
            return fused::attend(&self.shape, view, x, tokens, self.options, pass);
        }
        reference::attend(&self.shape, view, x, tokens, prefix, self.options.precision, pass)
    }

    fn add_norm(
        &self,
        norm: Norm,
        view: &ParameterView,
        y: &Tensor,
        residual: &Tensor,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        if self.fused(residual) {
            return fused::add_norm(&self.shape, norm, view, y, residual, self.options, pass);
        }
        reference::add_norm(&self.shape, norm, view, y, residual, pass)
    }

    fn feed_forward(&self, view: &ParameterView, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        if self.fused(x) {
            return fused::feed_forward(&self.shape, view, x, self.options);
        }
        reference::feed_forward(&self.shape, view, x, self.options.precision, pass)
    }

    fn layer(
        &self,
        view: &ParameterView,
        x: &Tensor,
        tokens: &Packed,
        ports: &Ports,
        pass: &mut Pass,
    ) -> Result<Tensor> {
        if ports.are_closed() && self.fused(x) {
            return fused::layer(&self.shape, view, x, tokens, self.options, pass);
        }
        layer_of_ops(self, view, x, tokens, ports, pass)
    }
}
