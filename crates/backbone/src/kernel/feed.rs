//! The feed-forward block y = W₂·σ(W₁x + b₁), without its last bias, which the norm after it adds.

use rayon::prelude::*;

use super::activation::activate;
use super::simd::vectorised;
use super::sums::{ROWS, Sums};
use super::{Buffer, Matrix, MatrixMut, Precision, Real, product_in};
use crate::Activation;

/// The block's weights.
#[derive(Clone, Copy, Debug)]
pub struct FeedWeights<'a, T> {
    /// W₁, `[intermediate, hidden]`.
    pub widen: &'a [T],
    /// b₁, `[intermediate]`.
    pub widen_bias: &'a [T],
    /// W₂, `[hidden, intermediate]`.
    pub narrow: &'a [T],
    /// σ.
    pub activation: Activation,
    /// Of the products.
    pub precision: Precision,
}

/// Where the weights' gradients are added; `None` where they are not wanted.
#[derive(Debug)]
pub struct FeedGradients<'a, T> {
    /// Of W₁.
    pub widen: Option<&'a mut [T]>,
    /// Of b₁.
    pub widen_bias: Option<&'a mut [T]>,
    /// Of W₂.
    pub narrow: Option<&'a mut [T]>,
}

/// σ(W₁x + b₁) and σ′ there, `[tokens, intermediate]` each.
#[derive(Debug)]
pub struct FeedSaved<T: Real> {
    active: Buffer<T>,
    slope: Buffer<T>,
}

impl<T: Real> FeedSaved<T> {
    /// What [`feed_backward`] needs, computed anew from the block's input `x`, `[tokens, hidden]`.
    ///
    /// # Panics
    /// If the weights' lengths do not fit.
    pub fn of(x: &[T], weights: &FeedWeights<T>) -> Self {
        Self::computed(x, weights, true)
    }

    fn computed(x: &[T], weights: &FeedWeights<T>, with_slope: bool) -> Self {
        let (tokens, hidden, width) = sizes(x, weights);
        let mut active = Buffer::new(tokens * width);
        let mut slope = Buffer::new(if with_slope { tokens * width } else { 0 });
        product_in(
            weights.precision,
            MatrixMut::new(&mut active, tokens, width),
            Matrix::new(x, tokens, hidden),
            Matrix::new(weights.widen, width, hidden).transposed(),
            false,
        );
        let (bias, activation) = (weights.widen_bias, weights.activation);
        if with_slope {
            let pieces = active.par_chunks_mut(ROWS * width).zip(slope.par_chunks_mut(ROWS * width));
            pieces.for_each(|(active, slope)| activate(active, slope, bias, activation));
        } else {
            active.par_chunks_mut(ROWS * width).for_each(|active| activate(active, &mut [], bias, activation));
        }
        Self { active, slope }
    }
}

fn sizes<T>(x: &[T], weights: &FeedWeights<T>) -> (usize, usize, usize) {
    let width = weights.widen_bias.len();
    let hidden = weights.widen.len() / width.max(1);
    assert!(width > 0 && hidden > 0, "a feed-forward block of {width}×{hidden}");
    assert!(weights.widen.len() == width * hidden && weights.narrow.len() == width * hidden, "a block's two matrices");
    assert_eq!(x.len() % hidden, 0, "states of {hidden} columns");
    (x.len() / hidden, hidden, width)
}

/// Writes y, `[tokens, hidden]`, of `x`, `[tokens, hidden]`, and returns what the backward needs.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed<T: Real>(x: &[T], weights: &FeedWeights<T>, y: &mut [T]) -> FeedSaved<T> {
    let saved = FeedSaved::computed(x, weights, true);
    narrow(&saved.active, weights, y);
    saved
}

/// As [`feed`], where no backward follows: σ′ is not computed.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed_only<T: Real>(x: &[T], weights: &FeedWeights<T>, y: &mut [T]) {
    narrow(&FeedSaved::computed(x, weights, false).active, weights, y);
}

fn narrow<T: Real>(active: &[T], weights: &FeedWeights<T>, y: &mut [T]) {
    let width = weights.widen_bias.len();
    let (tokens, hidden) = (active.len() / width, weights.narrow.len() / width);
    product_in(
        weights.precision,
        MatrixMut::new(y, tokens, hidden),
        Matrix::new(active, tokens, width),
        Matrix::new(weights.narrow, hidden, width).transposed(),
        false,
    );
}

/// Adds dx, from `dy`, both `[tokens, hidden]`, and the weights' gradients.
///
/// # Panics
/// If the lengths do not fit.
pub fn feed_backward<T: Real>(
    x: &[T],
    weights: &FeedWeights<T>,
    saved: &FeedSaved<T>,
    dy: &[T],
    dx: &mut [T],
    gradients: FeedGradients<T>,
) {
    let (tokens, hidden, width) = sizes(x, weights);
    assert!(saved.slope.len() == tokens * width && dy.len() == x.len(), "a backward of another forward");
    let dy = Matrix::new(dy, tokens, hidden);
    let mut dwide = Buffer::new(tokens * width);
    let narrow = Matrix::new(weights.narrow, hidden, width);
    product_in(weights.precision, MatrixMut::new(&mut dwide, tokens, width), dy, narrow, false);
    if let Some(gradient) = gradients.narrow {
        let active = Matrix::new(&saved.active, tokens, width);
        product_in(weights.precision, MatrixMut::new(gradient, hidden, width), dy.transposed(), active, true);
    }
    let mut sums = Sums::zeros(tokens, width);
    dwide
        .par_chunks_mut(ROWS * width)
        .zip(saved.slope.par_chunks(ROWS * width))
        .zip(sums.pieces().par_chunks_mut(width))
        .for_each(|((dwide, slope), sums)| slope_down(dwide, slope, sums));
    sums.add_to(0, gradients.widen_bias);
    let dwide = Matrix::new(&dwide, tokens, width);
    if let Some(gradient) = gradients.widen {
        let x = Matrix::new(x, tokens, hidden);
        product_in(weights.precision, MatrixMut::new(gradient, width, hidden), dwide.transposed(), x, true);
    }
    let widen = Matrix::new(weights.widen, width, hidden);
    product_in(weights.precision, MatrixMut::new(dx, tokens, hidden), dwide, widen, true);
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
