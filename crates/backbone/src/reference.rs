//! The ops of the BERT family in plain differentiable candle ops: the oracle of the tests, and the path of devices
//! without kernels of their own. LayerNorm and softmax are spelt out, because candle's fused ones cut the graph.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

use candle_core::{D, DType, Result, Tensor};
use mtl_task::Packed;
use rayon::prelude::*;

use crate::family::place;
use crate::kernel::{Dropout, ProductPrecision};
use crate::{Activation, Norm, ParameterView, Pass, Prefix, Shape};

/// The word vectors of the tokens, `[tokens, width]`.
pub(crate) fn words(view: &ParameterView, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
    pass.rows(view, 0, &tokens.ids)
}

/// dropout(LN(words + positions + segments)), projected to the states' width where the table is narrower.
pub(crate) fn embed(
    shape: &Shape,
    view: &ParameterView,
    words: &Tensor,
    tokens: &Packed,
    pass: &mut Pass,
) -> Result<Tensor> {
    let device = words.device();
    let positions: Vec<u32> = tokens.positions().iter().map(|p| p + shape.first_position as u32).collect();
    let table = pass.leaf(view, 0)?;
    let mut sum = (words + table.index_select(&Tensor::new(positions, device)?, 0)?)?;
    let mut next = 1;
    if shape.types > 0 {
        // Architectures with a single segment read row 0 whatever the tokenizer says.
        let segments: Vec<u32> = tokens.segments.iter().map(|s| (*s).min(shape.types as u32 - 1)).collect();
        let table = pass.leaf(view, next)?;
        sum = (sum + table.index_select(&Tensor::new(segments, device)?, 0)?)?;
        next += 1;
    }
    let (gamma, beta) = (pass.leaf(view, next)?, pass.leaf(view, next + 1)?);
    let normalised = layer_norm(&sum, &gamma, &beta, shape.epsilon)?;
    let dropped = pass.dropout(&normalised, shape.hidden_dropout)?;
    if shape.width == shape.hidden {
        return Ok(dropped);
    }
    let (weight, bias) = (pass.leaf(view, next + 2)?, pass.leaf(view, next + 3)?);
    dropped.matmul(&weight.t()?)?.broadcast_add(&bias)
}

/// Softmax attention over each sequence, projected by W_o, without its bias. The scores' products stay in the states'
/// type: rounded, they would cost the key bias the exact cancellation of its gradient.
pub(crate) fn attend(
    shape: &Shape,
    view: &ParameterView,
    x: &Tensor,
    tokens: &Packed,
    prefix: Option<&Prefix>,
    precision: ProductPrecision,
    pass: &mut Pass,
) -> Result<Tensor> {
    let dropout = pass.next_dropout(shape.attention_dropout);
    let (sequences, width) = (tokens.sequences(), shape.hidden / shape.heads);
    let grid = Grid::of(tokens);
    let x = grid.spread(x)?;
    let mut heads_of = |weight: usize, bias: usize, fixed: Option<&Tensor>| -> Result<Tensor> {
        let (weight, bias) = (pass.leaf(view, weight)?, pass.leaf(view, bias)?);
        let mut y =
            product(precision, &x, &weight)?.broadcast_add(&bias)?.reshape((sequences, grid.extent, shape.hidden))?;
        if let Some(fixed) = fixed {
            let fixed = fixed.unsqueeze(0)?.broadcast_as((sequences, fixed.dim(0)?, shape.hidden))?;
            y = Tensor::cat(&[&fixed.contiguous()?, &y], 1)?;
        }
        let length = y.dim(1)?;
        y.reshape((sequences, length, shape.heads, width))?.transpose(1, 2)?.contiguous()
    };
    let query = heads_of(place::QUERY, place::QUERY_BIAS, None)?;
    let key = heads_of(place::KEY, place::KEY_BIAS, prefix.map(|prefix| &prefix.keys))?;
    let value = heads_of(place::VALUE, place::VALUE_BIAS, prefix.map(|prefix| &prefix.values))?;
    let scores = (query.matmul(&key.t()?)? * (1. / (width as f64).sqrt()))?;
    let before = key.dim(2)? - grid.extent;
    let scores = scores.broadcast_add(&grid.mask(tokens, before, scores.dtype(), scores.device())?)?;
    let mut probabilities = candle_nn::ops::softmax(&scores, D::Minus1)?;
    if !dropout.is_none() {
        let factors = grid.factors(tokens, shape.heads, before, dropout);
        probabilities = (&probabilities
            * Tensor::from_vec(factors, probabilities.shape(), x.device())?.to_dtype(probabilities.dtype())?)?;
    }
    let context = probabilities.matmul(&value)?.transpose(1, 2)?.reshape((sequences * grid.extent, shape.hidden))?;
    product(precision, &grid.gather(&context)?, &pass.leaf(view, place::ATTENDED)?)
}

/// LN(dropout(y + bias) + residual).
pub(crate) fn add_norm(
    shape: &Shape,
    norm: Norm,
    view: &ParameterView,
    y: &Tensor,
    residual: &Tensor,
    pass: &mut Pass,
) -> Result<Tensor> {
    let [bias, gamma, beta] = place::norm(norm);
    let (bias, gamma, beta) = (pass.leaf(view, bias)?, pass.leaf(view, gamma)?, pass.leaf(view, beta)?);
    let sum = (pass.dropout(&y.broadcast_add(&bias)?, shape.hidden_dropout)? + residual)?;
    layer_norm(&sum, &gamma, &beta, shape.epsilon)
}

/// W₂·σ(W₁x + b₁), without the last bias.
pub(crate) fn feed_forward(
    shape: &Shape,
    view: &ParameterView,
    x: &Tensor,
    precision: ProductPrecision,
    pass: &mut Pass,
) -> Result<Tensor> {
    let (weight, bias) = (pass.leaf(view, place::INTERMEDIATE_MAP)?, pass.leaf(view, place::INTERMEDIATE_MAP_BIAS)?);
    let wide = product(precision, x, &weight)?.broadcast_add(&bias)?;
    let active = match shape.activation {
        Activation::Gelu | Activation::GeluTanh => gelu(&wide, shape.activation)?,
        Activation::Relu => wide.relu()?,
        Activation::Silu => wide.silu()?,
    };
    product(precision, &active, &pass.leaf(view, place::OUTPUT_MAP)?)
}

/// xWᵀ, `[tokens, rows of W]`. In bf16 operands and result are rounded, and sums over the inner dimension run in f32 on
/// every device, as under PyTorch's autocast; what flows back is rounded alike and leaves in f32.
fn product(precision: ProductPrecision, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    match precision {
        ProductPrecision::F32 => x.matmul(&weight.t()?),
        ProductPrecision::Bf16 => {
            precision.check_states(x)?;
            x.to_dtype(DType::BF16)?.matmul(&weight.to_dtype(DType::BF16)?.t()?)?.to_dtype(DType::F32)
        }
    }
}

/// Candle's derivatives of GELU are right to six digits only. In f32 that is near the rounding; in f64, where the
/// oracle is asked for more, both functions are spelt out.
fn gelu(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let gate = match (activation, x.dtype()) {
        (Activation::GeluTanh, DType::F64) => ((x + (x.powf(3.)? * 0.044_715)?)? * (2. / PI).sqrt())?.tanh()?,
        (_, DType::F64) => (x * FRAC_1_SQRT_2)?.erf()?,
        (Activation::GeluTanh, _) => return x.gelu(),
        _ => return x.gelu_erf(),
    };
    (x * 0.5)? * (gate + 1.)?
}

/// γ·(x − mean)/√(variance + ε) + β over the last dimension.
pub(crate) fn layer_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f64) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?.broadcast_mul(gamma)?.broadcast_add(beta)
}

/// Ragged sequences spread over a rectangle, for batched products.
struct Grid {
    extent: usize,
    /// For each place of the rectangle, which packed token stands there; `None` if the tokens are a rectangle already.
    spread: Option<Vec<u32>>,
    gather: Vec<u32>,
}

impl Grid {
    fn of(tokens: &Packed) -> Self {
        if let Some(extent) = tokens.common_extent() {
            return Self { extent, spread: None, gather: Vec::new() };
        }
        let extents = || tokens.offsets.windows(2).map(|pair| pair[1] - pair[0]);
        let extent = extents().max().unwrap_or(0);
        let (mut spread, mut gather) = (Vec::new(), Vec::new());
        for (sequence, length) in extents().enumerate() {
            let start = tokens.offsets[sequence] as u32;
            gather.extend((0..length).map(|at| (sequence * extent + at) as u32));
            spread.extend((0..extent).map(|at| if at < length { start + at as u32 } else { start }));
        }
        Self { extent, spread: Some(spread), gather }
    }

    fn spread(&self, x: &Tensor) -> Result<Tensor> {
        match &self.spread {
            None => Ok(x.clone()),
            Some(index) => x.index_select(&Tensor::new(index.as_slice(), x.device())?, 0),
        }
    }

    fn gather(&self, x: &Tensor) -> Result<Tensor> {
        match &self.spread {
            None => Ok(x.clone()),
            Some(_) => x.index_select(&Tensor::new(self.gather.as_slice(), x.device())?, 0),
        }
    }

    /// 0 where a key carries text, very negative elsewhere, `[sequences, 1, 1, before + extent]`.
    fn mask(&self, tokens: &Packed, before: usize, dtype: DType, device: &candle_core::Device) -> Result<Tensor> {
        let row = |length: usize| {
            let text = before + length;
            (0..before + self.extent).map(move |at| if at < text { 0f32 } else { -1e30 })
        };
        let mask: Vec<f32> = tokens.lengths.iter().flat_map(|&length| row(length)).collect();
        Tensor::from_vec(mask, (tokens.sequences(), 1, 1, before + self.extent), device)?.to_dtype(dtype)
    }

    /// Dropout factors, element (sequence, head, query, key) numbered as the packed kernel numbers it: sequence after
    /// sequence, each a `[heads, length, length]` block of its own extent.
    fn factors(&self, tokens: &Packed, heads: usize, before: usize, dropout: Dropout) -> Vec<f32> {
        let (extent, row) = (self.extent, before + self.extent);
        let mut start = 0;
        let places: Vec<(usize, usize)> = tokens
            .offsets
            .windows(2)
            .map(|pair| {
                let (length, first) = (pair[1] - pair[0], start);
                start += heads * length * (before + length);
                (length, first)
            })
            .collect();
        let mut factors = vec![0.; places.len() * heads * extent * row];
        factors.par_chunks_mut((extent * row).max(1)).enumerate().for_each(|(block, factors)| {
            let ((length, first), head) = (places[block / heads], block % heads);
            let keys = before + length;
            for (query, factors) in factors.chunks_mut(row).take(length).enumerate() {
                for (key, factor) in factors.iter_mut().take(keys).enumerate() {
                    *factor = dropout.factor(first + (head * length + query) * keys + key);
                }
            }
        });
        factors
    }
}
