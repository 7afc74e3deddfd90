//! The feed-forward block y = W₂·σ(W₁x + b₁), without its last bias, which the norm after it adds.

use rayon::prelude::*;

use super::activation::activate;
use super::simd::vectorised;
use super::sums::{ROWS, Sums};
use super::{Buffer, Matrix, MatrixMut, ProductPrecision, Real, product_in};
use crate::Activation;

/// The block's weights.
#[derive(Clone, Copy, Debug)]
pub struct FeedForwardWeights<'a, T> {
    /// W₁, `[intermediate, hidden]`.
    pub intermediate: &'a [T],
    /// b₁, `[intermediate]`.
    pub intermediate_bias: &'a [T],
    /// W₂, `[hidden, intermediate]`.
    pub output: &'a [T],
    /// σ.
    pub activation: Activation,
    /// Of the products.
    pub precision: ProductPrecision,
}

/// Where the weights' gradients are added; `None` where they are not wanted.
#[derive(Debug)]
pub struct FeedForwardGradients<'a, T> {
    /// Of W₁.
    pub intermediate: Option<&'a mut [T]>,
    /// Of b₁.
    pub intermediate_bias: Option<&'a mut [T]>,
    /// Of W₂.
    pub output: Option<&'a mut [T]>,
}

/// σ(W₁x + b₁) and σ′ there, `[tokens, intermediate]` each.
#[derive(Debug)]
pub struct FeedForwardSaved<T: Real> {
    active: Buffer<T>,
    slope: Buffer<T>,
}

impl<T: Real> FeedForwardSaved<T> {
    /// What [`feed_forward_backward`] needs, computed anew from the block's input `x`, `[tokens, hidden]`.
    ///
    /// # Panics
    /// If the weights' lengths do not fit.
    pub fn of(x: &[T], weights: &FeedForwardWeights<T>) -> Self {
        Self::computed(x, weights, true)
    }

    fn computed(x: &[T], weights: &FeedForwardWeights<T>, with_slope: bool) -> Self {
        let (tokens, hidden, width) = sizes(x, weights);
        let mut active = Buffer::new(tokens * width);
        let mut slope = Buffer::new(if with_slope { tokens * width } else { 0 });
        product_in(
            weights.precision,
            MatrixMut::new(&mut active, tokens, width),
            Matrix::new(x, tokens, hidden),
            Matrix::new(weights.intermediate, width, hidden).transposed(),
            false,
        );
        let (bias, activation) = (weights.intermediate_bias, weights.activation);
        if with_slope {
            let pieces = active.par_chunks_mut(ROWS * width).zip(slope.par_chunks_mut(ROWS * width));
            pieces.for_each(|(active, slope)| activate(active, slope, bias, activation));
        } else {
            active.par_chunks_mut(ROWS * width).for_each(|active| activate(active, &mut [], bias, activation));
        }
        Self { active, slope }
    }
}

fn sizes<T>(x: &[T], weights: &FeedForwardWeights<T>) -> (usize, usize, usize) {
    let width = weights.intermediate_bias.len();
    let hidden = weights.intermediate.len() / width.max(1);
    assert!(width > 0 && hidden > 0, "a feed-forward block of {width}×{hidden}");
    assert!(
        weights.intermediate.len() == width * hidden && weights.output.len() == width * hidden,
        "a block's two matrices"
    );
    assert_eq!(x.len() % hidden, 0, "states of {hidden} columns");
    (x.len() / hidden, hidden, width)
}

/// Writes y, `[tokens, hidden]`, of `x`, `[tokens, hidden]`, and returns what the backward needs.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed_forward<T: Real>(x: &[T], weights: &FeedForwardWeights<T>, y: &mut [T]) -> FeedForwardSaved<T> {
    let saved = FeedForwardSaved::computed(x, weights, true);
    output(&saved.active, weights, y);
    saved
}

/// As [`feed_forward`], where no backward follows: σ′ is not computed.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed_forward_only<T: Real>(x: &[T], weights: &FeedForwardWeights<T>, y: &mut [T]) {
    output(&FeedForwardSaved::computed(x, weights, false).active, weights, y);
}

fn output<T: Real>(active: &[T], weights: &FeedForwardWeights<T>, y: &mut [T]) {
    let width = weights.intermediate_bias.len();
    let (tokens, hidden) = (active.len() / width, weights.output.len() / width);
    product_in(
        weights.precision,
        MatrixMut::new(y, tokens, hidden),
        Matrix::new(active, tokens, width),
        Matrix::new(weights.output, hidden, width).transposed(),
        false,
    );
}

/// Adds dx, from `dy`, both `[tokens, hidden]`, and the weights' gradients.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed_forward_backward<T: Real>(
    x: &[T],
    weights: &FeedForwardWeights<T>,
    saved: &FeedForwardSaved<T>,
    dy: &[T],
    dx: &mut [T],
    gradients: FeedForwardGradients<T>,
) {
    let (tokens, hidden, width) = sizes(x, weights);
    assert!(saved.slope.len() == tokens * width && dy.len() == x.len(), "a backward of another forward");
    let dy = Matrix::new(dy, tokens, hidden);
    let mut dwide = Buffer::new(tokens * width);
    let output = Matrix::new(weights.output, hidden, width);
    product_in(weights.precision, MatrixMut::new(&mut dwide, tokens, width), dy, output, false);
    if let Some(gradient) = gradients.output {
        let active = Matrix::new(&saved.active, tokens, width);
        product_in(weights.precision, MatrixMut::new(gradient, hidden, width), dy.transposed(), active, true);
    }
    let mut sums = Sums::zeros(tokens, width);
    dwide
        .par_chunks_mut(ROWS * width)
        .zip(saved.slope.par_chunks(ROWS * width))
        .zip(sums.pieces().par_chunks_mut(width))
        .for_each(|((dwide, slope), sums)| slope_down(dwide, slope, sums));
    sums.add_to(0, gradients.intermediate_bias);
    let dwide = Matrix::new(&dwide, tokens, width);
    if let Some(gradient) = gradients.intermediate {
        let x = Matrix::new(x, tokens, hidden);
        product_in(weights.precision, MatrixMut::new(gradient, width, hidden), dwide.transposed(), x, true);
    }
    let intermediate = Matrix::new(weights.intermediate, width, hidden);
    product_in(weights.precision, MatrixMut::new(dx, tokens, hidden), dwide, intermediate, true);
}

vectorised! {
    /// `gradient` ← `gradient` ∘ `slope`, row by row, and `sums` gains the rows.
    fn slope_down<T: Real>(gradient: &mut [T], slope: &[T], sums: &mut [T]) {
        let width = sums.len();
        for (gradient, slope) in gradient.chunks_exact_mut(width).zip(slope.chunks_exact(width)) {
            for ((gradient, slope), sum) in gradient.iter_mut().zip(slope).zip(sums.iter_mut()) {
                *gradient *= *slope;
                *sum += *gradient;
            }
        }
    }
}
