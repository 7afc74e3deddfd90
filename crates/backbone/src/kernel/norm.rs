//! LayerNorm (Ba, Kiros & Hinton 2016) with what stands before it in a post-LayerNorm layer:
//! out = γ ∘ x̂ + β, x̂ = (z − mean z)/√(var z + ε), z = dropout(y + bias) + residual.

use rayon::prelude::*;

use super::simd::vectorised;
use super::sums::{ROWS, Sums, sum_over};
use super::{Buffer, Dropout, Real};

/// A norm's weights, `[hidden]` each.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights<'a, T> {
    /// Of the product before it.
    pub bias: &'a [T],
    /// γ.
    pub gamma: &'a [T],
    /// β.
    pub beta: &'a [T],
    /// ε.
    pub epsilon: f64,
}

/// Where the weights' gradients are added; `None` where they are not wanted.
#[derive(Debug)]
pub struct NormGradients<'a, T> {
    /// Of the bias.
    pub bias: Option<&'a mut [T]>,
    /// Of γ.
    pub gamma: Option<&'a mut [T]>,
    /// Of β.
    pub beta: Option<&'a mut [T]>,
}

/// x̂, `[tokens, hidden]`, and 1/√(var + ε), `[tokens]`.
#[derive(Debug)]
pub struct NormSaved<T: Real> {
    pub(super) normalised: Buffer<T>,
    pub(super) scale: Buffer<T>,
}

impl<T: Real> NormSaved<T> {
    /// Room for `tokens` rows of `width` columns.
    pub(super) fn new(tokens: usize, width: usize) -> Self {
        Self { normalised: Buffer::new(tokens * width), scale: Buffer::new(tokens) }
    }
}

/// Writes LN(dropout(`y` + bias) + `residual`) to `out`; all `[tokens, hidden]`.
///
/// # Panics
/// If the lengths do not fit.
pub fn add_norm<T: Real>(
    y: &[T],
    residual: &[T],
    weights: &NormWeights<T>,
    dropout: Dropout,
    out: &mut [T],
) -> NormSaved<T> {
    let NormWeights { bias, gamma, beta, epsilon } = *weights;
    let width = gamma.len();
    assert!(width > 0 && bias.len() == width && beta.len() == width, "a norm over {width} columns");
    assert!(
        y.len() == residual.len() && y.len() == out.len() && y.len().is_multiple_of(width),
        "states of {width} columns"
    );
    let mut saved = NormSaved::new(y.len() / width, width);
    let piece = ROWS * width;
    out.par_chunks_mut(piece)
        .zip(saved.normalised.par_chunks_mut(piece))
        .zip(saved.scale.par_chunks_mut(ROWS))
        .zip(y.par_chunks(piece).zip(residual.par_chunks(piece)))
        .enumerate()
        .for_each(|(at, (((out, normalised), scale), (y, residual)))| {
            add_rows(normalised, y, residual, bias, dropout, at * piece);
            normalise(normalised, scale, out, gamma, beta, T::of(epsilon));
        });
    saved
}

/// Writes dy and dresidual from `dout`, all `[tokens, hidden]`, and adds the weights' gradients.
///
/// # Panics
/// If the lengths do not fit.
pub fn add_norm_backward<T: Real>(
    saved: &NormSaved<T>,
    gamma: &[T],
    dropout: Dropout,
    dout: &[T],
    dy: &mut [T],
    dresidual: &mut [T],
    gradients: NormGradients<T>,
) {
    let (width, tokens) = (gamma.len(), saved.scale.len());
    let fits = |length: usize| length == tokens * width;
    assert!(fits(dout.len()) && fits(dy.len()) && fits(dresidual.len()) && fits(saved.normalised.len()), "one shape");
    let mut sums = Sums::zeros(tokens, 3 * width);
    let piece = ROWS * width;
    dresidual
        .par_chunks_mut(piece)
        .zip(dy.par_chunks_mut(piece))
        .zip(saved.normalised.par_chunks(piece).zip(saved.scale.par_chunks(ROWS)))
        .zip(dout.par_chunks(piece).zip(sums.pieces().par_chunks_mut(3 * width)))
        .enumerate()
        .for_each(|(at, (((dresidual, dy), (normalised, scale)), (dout, sums)))| {
            let (sums, bias) = sums.split_at_mut(2 * width);
            differentiate(dresidual, dout, normalised, scale, gamma, sums);
            drop_rows(dy, dresidual, bias, dropout, at * piece);
        });
    sums.add_to(0, gradients.gamma);
    sums.add_to(width, gradients.beta);
    sums.add_to(2 * width, gradients.bias);
}

vectorised! {
    /// z ← dropout(y + bias) + residual, rows numbered from element `first` on.
    fn add_rows<T: Real>(z: &mut [T], y: &[T], residual: &[T], bias: &[T], dropout: Dropout, first: usize) {
        let width = bias.len();
        for (row, z) in z.chunks_exact_mut(width).enumerate() {
            let (y, residual) = (&y[row * width..][..width], &residual[row * width..][..width]);
            if dropout.is_none() {
                for at in 0..width {
                    z[at] = y[at] + bias[at] + residual[at];
                }
            } else {
                for at in 0..width {
                    let factor = T::of_f32(dropout.factor(first + row * width + at));
                    z[at] = (y[at] + bias[at]) * factor + residual[at];
                }
            }
        }
    }
}

vectorised! {
    /// Replaces rows z by x̂ and writes γ ∘ x̂ + β.
    pub(super) fn normalise<T: Real>(
        z: &mut [T], scale: &mut [T], out: &mut [T], gamma: &[T], beta: &[T], epsilon: T
    ) {
        let width = gamma.len();
        let beta = &beta[..width];
        let share = T::of(1. / width as f64);
        for ((z, out), scale) in z.chunks_exact_mut(width).zip(out.chunks_exact_mut(width)).zip(scale) {
            let mean = sum_over(width, |at| z[at]) * share;
            let variance = sum_over(width, |at| (z[at] - mean) * (z[at] - mean)) * share;
            let factor = T::of(1.) / (variance + epsilon).sqrt();
            *scale = factor;
            for at in 0..width {
                let value = (z[at] - mean) * factor;
                z[at] = value;
                out[at] = value * gamma[at] + beta[at];
            }
        }
    }
}

vectorised! {
    /// dz = (g − mean g − x̂ · mean(g ∘ x̂))/√(var + ε) with g = γ ∘ dout; `sums` gains dγ and dβ, `[2, hidden]`.
    pub(super) fn differentiate<T: Real>(
        dz: &mut [T], dout: &[T], normalised: &[T], scale: &[T], gamma: &[T], sums: &mut [T]
    ) {
        let width = gamma.len();
        let share = T::of(1. / width as f64);
        let (dgamma, dbeta) = sums.split_at_mut(width);
        let dbeta = &mut dbeta[..width];
        for (row, dz) in dz.chunks_exact_mut(width).enumerate() {
            let (dout, x) = (&dout[row * width..][..width], &normalised[row * width..][..width]);
            let mean = sum_over(width, |at| dout[at] * gamma[at]) * share;
            let slope = sum_over(width, |at| dout[at] * gamma[at] * x[at]) * share;
            let factor = scale[row];
            for at in 0..width {
                dgamma[at] += dout[at] * x[at];
                dbeta[at] += dout[at];
                dz[at] = factor * (dout[at] * gamma[at] - mean - x[at] * slope);
            }
        }
    }
}

vectorised! {
    /// `to` ← dropout(`from`), and `sums` gains the rows.
    fn drop_rows<T: Real>(to: &mut [T], from: &[T], sums: &mut [T], dropout: Dropout, first: usize) {
        let width = sums.len();
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let from = &from[row * width..][..width];
            if dropout.is_none() {
                to.copy_from_slice(from);
            } else {
                for at in 0..width {
                    to[at] = from[at] * T::of_f32(dropout.factor(first + row * width + at));
                }
            }
            for at in 0..width {
                sums[at] += to[at];
            }
        }
    }
}
