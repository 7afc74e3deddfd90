//! Softmax attention over each sequence of a batch (Vaswani et al. 2017), by heads of `d` columns:
//! y = W_o·concat(dropout(softmax(QKᵀ/√d))·V), without W_o's bias, which the norm after it adds.
//!
//! Scores are computed for a few queries at a time and never kept: the backward makes them again, which costs one small
//! product, and memory stays linear in the length (Dao et al., "FlashAttention", 2022, whose online softmax is not
//! needed where a row of scores fits the cache).

use std::ops::Range;

use rayon::prelude::*;

use super::simd::vectorised;
use super::sums::{ROWS, Sums, add, sum_over};
use super::{Buffer, Dropout, Matrix, MatrixMut, ProductPrecision, Real, Threads, product, product_in};

/// Queries whose scores are alive at one time in a thread.
const QUERIES: usize = 64;

/// What is attention_output over.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    /// Where each sequence begins in the packed tokens, and where the last one ends.
    pub offsets: &'a [usize],
    /// Tokens of each sequence that carry text; keys beyond are never attention_output to.
    pub lengths: &'a [usize],
    /// Number of heads; divides the hidden width.
    pub heads: usize,
    /// Of the probabilities.
    pub dropout: Dropout,
}

/// The block's weights.
#[derive(Clone, Copy, Debug)]
pub struct AttendWeights<'a, T> {
    /// Of query, key and value one under the other, `[3 · hidden, hidden]`.
    pub inward: &'a [T],
    /// Their biases, `[3 · hidden]`.
    pub inward_bias: &'a [T],
    /// W_o, `[hidden, hidden]`.
    pub outward: &'a [T],
    /// Of the products with these weights; scores and mixtures keep the states' type.
    pub precision: ProductPrecision,
}

/// Where the weights' gradients are added; `None` where they are not wanted.
#[derive(Debug)]
pub struct AttendGradients<'a, T> {
    /// Of query, key and value.
    pub inward: [Option<&'a mut [T]>; 3],
    /// Of their biases.
    pub inward_bias: [Option<&'a mut [T]>; 3],
    /// Of W_o.
    pub outward: Option<&'a mut [T]>,
}

/// Query, key and value, `[tokens, 3 · hidden]`, and what W_o is applied to, `[tokens, hidden]`.
#[derive(Debug)]
pub struct AttendSaved<T: Real> {
    inward: Buffer<T>,
    context: Buffer<T>,
}

/// One head of one sequence.
struct Block {
    tokens: Range<usize>,
    keys: usize,
    column: usize,
    /// Number of its first probability, for the dropout.
    first: usize,
}

impl Attention<'_> {
    fn check(&self, tokens: usize, hidden: usize) {
        assert!(self.heads > 0 && hidden.is_multiple_of(self.heads), "{} heads in {hidden} columns", self.heads);
        assert_eq!(self.offsets.len(), self.lengths.len() + 1, "one offset more than sequences");
        assert!(
            self.offsets.first() == Some(&0) && self.offsets.last() == Some(&tokens),
            "sequences that fill a batch"
        );
        for (pair, &length) in self.offsets.windows(2).zip(self.lengths) {
            let extent = pair[1].checked_sub(pair[0]).expect("offsets that rise");
            assert!(length <= extent && (length > 0 || extent == 0), "a sequence of {length} tokens in {extent}");
        }
    }

    fn blocks(&self, hidden: usize) -> Vec<Block> {
        let mut blocks = Vec::with_capacity(self.lengths.len() * self.heads);
        let mut first = 0;
        for (pair, &keys) in self.offsets.windows(2).zip(self.lengths) {
            for head in 0..self.heads {
                blocks.push(Block { tokens: pair[0]..pair[1], keys, column: head * (hidden / self.heads), first });
                first += (pair[1] - pair[0]) * (pair[1] - pair[0]);
            }
        }
        blocks
    }
}

/// Query, key and value of one head, `[extent, d]`, `[keys, d]`, `[keys, d]`.
fn parts<'a, T: Copy>(inward: Matrix<'a, T>, block: &Block, hidden: usize, width: usize) -> [Matrix<'a, T>; 3] {
    let (start, extent) = (block.tokens.start, block.tokens.len());
    [
        inward.block(start, block.column, extent, width),
        inward.block(start, hidden + block.column, block.keys, width),
        inward.block(start, 2 * hidden + block.column, block.keys, width),
    ]
}

impl<T: Real> AttendSaved<T> {
    /// What [`attend_backward`] needs, computed anew from the block's input `x`, `[tokens, hidden]`.
    ///
    /// # Panics
    /// If the lengths do not fit.
    pub fn of(x: &[T], weights: &AttendWeights<T>, attention: &Attention) -> Self {
        let (tokens, hidden) = sizes(x, weights);
        attention.check(tokens, hidden);
        let width = hidden / attention.heads;
        let mut inward = Buffer::new(tokens * 3 * hidden);
        inward.par_chunks_exact_mut(3 * hidden).with_min_len(ROWS).for_each(|row| {
            row.copy_from_slice(weights.inward_bias);
        });
        product_in(
            weights.precision,
            MatrixMut::new(&mut inward, tokens, 3 * hidden),
            Matrix::new(x, tokens, hidden),
            Matrix::new(weights.inward, 3 * hidden, hidden).transposed(),
            true,
        );
        let mut context = Buffer::new(tokens * hidden);
        let (from, to) = (Matrix::new(&inward, tokens, 3 * hidden), MatrixMut::new(&mut context, tokens, hidden));
        attention.blocks(hidden).par_iter().for_each(|block| {
            let [query, key, value] = parts(from, block, hidden, width);
            let extent = block.tokens.len();
            let mut scores = Buffer::new(extent.min(QUERIES) * block.keys);
            for start in (0..extent).step_by(QUERIES) {
                let rows = QUERIES.min(extent - start);
                let scores = &mut scores[..rows * block.keys];
                probabilities(scores, query.block(start, 0, rows, width), key);
                mask(scores, block.keys, attention.dropout, block.first + start * extent, extent);
                // SAFETY: every head of every sequence has rows and columns of its own, and queries come in turn.
                let to = unsafe { to.block(block.tokens.start + start, block.column, rows, width) };
                product(to, Matrix::new(scores, rows, block.keys), value, T::of(1.), false, Threads::One);
            }
        });
        Self { inward, context }
    }
}

fn sizes<T>(x: &[T], weights: &AttendWeights<T>) -> (usize, usize) {
    let hidden = weights.inward_bias.len() / 3;
    assert!(hidden > 0 && weights.inward_bias.len() == 3 * hidden, "biases of query, key and value");
    assert!(weights.inward.len() == 3 * hidden * hidden && weights.outward.len() == hidden * hidden, "square weights");
    assert_eq!(x.len() % hidden, 0, "states of {hidden} columns");
    (x.len() / hidden, hidden)
}

/// Writes y of `x`, both `[tokens, hidden]`.
///
/// # Panics
/// If the lengths do not fit, or a sequence has no text at all.
pub fn attend<T: Real>(x: &[T], weights: &AttendWeights<T>, attention: &Attention, y: &mut [T]) -> AttendSaved<T> {
    let (tokens, hidden) = sizes(x, weights);
    let saved = AttendSaved::of(x, weights, attention);
    product_in(
        weights.precision,
        MatrixMut::new(y, tokens, hidden),
        Matrix::new(&saved.context, tokens, hidden),
        Matrix::new(weights.outward, hidden, hidden).transposed(),
        false,
    );
    saved
}

/// Adds dx, from `dy`, both `[tokens, hidden]`, and the weights' gradients.
///
/// # Panics
/// If the lengths do not fit.
pub fn attend_backward<T: Real>(
    x: &[T],
    weights: &AttendWeights<T>,
    attention: &Attention,
    saved: &AttendSaved<T>,
    dy: &[T],
    dx: &mut [T],
    gradients: AttendGradients<T>,
) {
    let (tokens, hidden) = sizes(x, weights);
    attention.check(tokens, hidden);
    assert!(dy.len() == x.len() && saved.context.len() == x.len(), "a backward of another forward");
    let dy = Matrix::new(dy, tokens, hidden);
    if let Some(gradient) = gradients.outward {
        let context = Matrix::new(&saved.context, tokens, hidden);
        product_in(weights.precision, MatrixMut::new(gradient, hidden, hidden), dy.transposed(), context, true);
    }
    let mut dcontext = Buffer::new(tokens * hidden);
    let outward = Matrix::new(weights.outward, hidden, hidden);
    product_in(weights.precision, MatrixMut::new(&mut dcontext, tokens, hidden), dy, outward, false);

    let mut dinward = Buffer::new(tokens * 3 * hidden);
    if attention.offsets.windows(2).zip(attention.lengths).any(|(pair, &length)| length < pair[1] - pair[0]) {
        dinward.fill(T::default()); // no block writes the keys and values of padding
    }
    backward_through_heads(attention, &saved.inward, &dcontext, &mut dinward, hidden);

    if gradients.inward_bias.iter().any(Option::is_some) {
        let mut sums = Sums::zeros(tokens, 3 * hidden);
        let pieces = sums.pieces().par_chunks_mut(3 * hidden);
        dinward.par_chunks(ROWS * 3 * hidden).zip(pieces).for_each(|(rows, sums)| {
            rows.chunks_exact(3 * hidden).for_each(|row| add(sums, row));
        });
        for (at, bias) in gradients.inward_bias.into_iter().enumerate() {
            sums.add_to(at * hidden, bias);
        }
    }
    let dinward = Matrix::new(&dinward, tokens, 3 * hidden);
    for (at, gradient) in gradients.inward.into_iter().enumerate() {
        if let Some(gradient) = gradient {
            let rows = dinward.block(0, at * hidden, tokens, hidden).transposed();
            let x = Matrix::new(x, tokens, hidden);
            product_in(weights.precision, MatrixMut::new(gradient, hidden, hidden), rows, x, true);
        }
    }
    let inward = Matrix::new(weights.inward, 3 * hidden, hidden);
    product_in(weights.precision, MatrixMut::new(dx, tokens, hidden), dinward, inward, true);
}

/// With P = softmax(S), P′ = mask ∘ P: dV = P′ᵀdC, dP = mask ∘ dC·Vᵀ, dS = P ∘ (dP − rowsum(P ∘ dP))/√d, dQ = dS·K,
/// dK = dSᵀQ.
fn backward_through_heads<T: Real>(
    attention: &Attention,
    inward: &[T],
    dcontext: &[T],
    dinward: &mut [T],
    hidden: usize,
) {
    let (tokens, width, one) = (dcontext.len() / hidden, hidden / attention.heads, T::of(1.));
    let from = Matrix::new(inward, tokens, 3 * hidden);
    let dcontext = Matrix::new(dcontext, tokens, hidden);
    let to = MatrixMut::new(dinward, tokens, 3 * hidden);
    attention.blocks(hidden).par_iter().for_each(|block| {
        let [query, key, value] = parts(from, block, hidden, width);
        let (begin, extent, keys) = (block.tokens.start, block.tokens.len(), block.keys);
        let room = extent.min(QUERIES) * keys;
        let (mut whole, mut kept, mut slope) = (Buffer::new(room), Buffer::new(room), Buffer::new(room));
        for start in (0..extent).step_by(QUERIES) {
            let rows = QUERIES.min(extent - start);
            let (whole, kept, slope) = (&mut whole[..rows * keys], &mut kept[..rows * keys], &mut slope[..rows * keys]);
            let first = block.first + start * extent;
            let query = query.block(start, 0, rows, width);
            let dcontext = dcontext.block(begin + start, block.column, rows, width);
            probabilities(whole, query, key);
            kept.copy_from_slice(whole);
            mask(kept, keys, attention.dropout, first, extent);
            product(MatrixMut::new(slope, rows, keys), dcontext, value.transposed(), one, false, Threads::One);
            mask(slope, keys, attention.dropout, first, extent);
            through_softmax(slope, whole, keys, T::of(1. / (width as f64).sqrt()));
            let (kept, slope) = (Matrix::new(kept, rows, keys), Matrix::new(slope, rows, keys));
            let part = |at: usize, row: usize, rows: usize| {
                // SAFETY: every head of every sequence has rows and columns of its own, and each part is written in turn.
                unsafe { to.block(begin + row, at * hidden + block.column, rows, width) }
            };
            let adds = start > 0;
            product(part(2, 0, keys), kept.transposed(), dcontext, one, adds, Threads::One);
            product(part(0, start, rows), slope, key, one, false, Threads::One);
            product(part(1, 0, keys), slope.transposed(), query, one, adds, Threads::One);
        }
    });
}

/// softmax(`query`·`key`ᵀ/√d), `[queries, keys]`.
fn probabilities<T: Real>(scores: &mut [T], query: Matrix<T>, key: Matrix<T>) {
    let (rows, width, keys) = (query.rows(), query.columns(), key.rows());
    let scale = T::of(1. / (width as f64).sqrt());
    product(MatrixMut::new(scores, rows, keys), query, key.transposed(), scale, false, Threads::One);
    softmax(scores, keys);
}

vectorised! {
    /// Replaces every row of `keys` scores by its softmax.
    fn softmax<T: Real>(scores: &mut [T], keys: usize) {
        for row in scores.chunks_exact_mut(keys) {
            let mut most = [row[0]; 16];
            let mut pieces = row.chunks_exact(16);
            for piece in &mut pieces {
                most.iter_mut().zip(piece).for_each(|(most, score)| *most = score.maximum(*most));
            }
            let most = most.iter().chain(pieces.remainder()).fold(row[0], |most, score| score.maximum(most));
            row.iter_mut().for_each(|score| *score = (*score - most).exp());
            let share = T::of(1.) / sum_over(keys, |at| row[at]);
            row.iter_mut().for_each(|score| *score *= share);
        }
    }
}

vectorised! {
    /// Drops probabilities; row r's begin at number `first` + r · `extent`.
    fn mask<T: Real>(values: &mut [T], keys: usize, dropout: Dropout, first: usize, extent: usize) {
        if !dropout.is_none() {
            for (at, row) in values.chunks_exact_mut(keys).enumerate() {
                let first = first + at * extent;
                row.iter_mut().enumerate().for_each(|(key, value)| *value *= T::of_f32(dropout.factor(first + key)));
            }
        }
    }
}

vectorised! {
    /// `slope` ← `whole` ∘ (`slope` − rowsum(`whole` ∘ `slope`)) · `scale`.
    fn through_softmax<T: Real>(slope: &mut [T], whole: &[T], keys: usize, scale: T) {
        for (slope, whole) in slope.chunks_exact_mut(keys).zip(whole.chunks_exact(keys)) {
            let mean = sum_over(keys, |at| slope[at] * whole[at]);
            slope.iter_mut().zip(whole).for_each(|(slope, whole)| *slope = *whole * (*slope - mean) * scale);
        }
    }
}
