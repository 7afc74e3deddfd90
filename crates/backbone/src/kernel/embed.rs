//! The state below the first layer: dropout(LN(words + positions + types)).

use rayon::prelude::*;

use super::norm::{NormSaved, differentiate, normalise};
use super::simd::vectorised;
use super::sums::{ROWS, Sums, add};
use super::{Buffer, Dropout, Real};

/// The tables besides the words', and the norm's weights.
#[derive(Clone, Copy, Debug)]
pub struct EmbedWeights<'a, T> {
    /// `[positions, width]`.
    pub positions: &'a [T],
    /// `[types, width]`; empty if there are none.
    pub types: &'a [T],
    /// γ, `[width]`.
    pub gamma: &'a [T],
    /// β, `[width]`.
    pub beta: &'a [T],
    /// ε.
    pub epsilon: f64,
}

/// Where the weights' gradients are added; `None` where they are not wanted.
#[derive(Debug)]
pub struct EmbedGradients<'a, T> {
    /// Of the position table.
    pub positions: Option<&'a mut [T]>,
    /// Of the type table.
    pub types: Option<&'a mut [T]>,
    /// Of γ.
    pub gamma: Option<&'a mut [T]>,
    /// Of β.
    pub beta: Option<&'a mut [T]>,
}

/// Which rows of the tables each token reads, `[tokens]` each.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// Of the position table.
    pub positions: &'a [u32],
    /// Of the type table; not read if it is empty.
    pub types: &'a [u32],
}

/// Writes the state, `[tokens, width]`, of the word vectors `words`, `[tokens, width]`.
///
/// # Panics
/// If the lengths do not fit, or a place lies outside its table.
pub fn embed<T: Real>(
    words: &[T],
    weights: &EmbedWeights<T>,
    places: Places,
    dropout: Dropout,
    out: &mut [T],
) -> NormSaved<T> {
    let EmbedWeights { gamma, beta, epsilon, .. } = *weights;
    let (width, tokens) = (gamma.len(), places.positions.len());
    assert!(width > 0 && beta.len() == width, "a norm over {width} columns");
    assert!(words.len() == tokens * width && out.len() == words.len(), "states of {tokens}×{width}");
    assert!(weights.types.is_empty() || places.types.len() == tokens, "a segment for every token");
    let mut saved = NormSaved::new(tokens, width);
    let piece = ROWS * width;
    out.par_chunks_mut(piece)
        .zip(saved.normalised.par_chunks_mut(piece))
        .zip(saved.scale.par_chunks_mut(ROWS))
        .zip(words.par_chunks(piece))
        .enumerate()
        .for_each(|(at, (((out, sum), scale), words))| {
            sum.copy_from_slice(words);
            for (row, sum) in sum.chunks_exact_mut(width).enumerate() {
                let token = at * ROWS + row;
                add(sum, &weights.positions[places.positions[token] as usize * width..][..width]);
                if !weights.types.is_empty() {
                    add(sum, &weights.types[places.types[token] as usize * width..][..width]);
                }
            }
            normalise(sum, scale, out, gamma, beta, T::of(epsilon));
            drop_in_place(out, dropout, at * piece);
        });
    saved
}

/// Writes dwords from `dout`, both `[tokens, width]`, and adds the weights' gradients.
///
/// # Panics
/// If the lengths do not fit, or a place lies outside its table.
pub fn embed_backward<T: Real>(
    saved: &NormSaved<T>,
    gamma: &[T],
    places: Places,
    dropout: Dropout,
    dout: &[T],
    dwords: &mut [T],
    gradients: EmbedGradients<T>,
) {
    let (width, tokens) = (gamma.len(), places.positions.len());
    assert!(dout.len() == tokens * width && dwords.len() == dout.len() && saved.scale.len() == tokens, "one shape");
    let mut sums = Sums::zeros(tokens, 2 * width);
    let piece = ROWS * width;
    dwords
        .par_chunks_mut(piece)
        .zip(saved.normalised.par_chunks(piece).zip(saved.scale.par_chunks(ROWS)))
        .zip(dout.par_chunks(piece).zip(sums.pieces().par_chunks_mut(2 * width)))
        .enumerate()
        .for_each(|(at, ((dwords, (normalised, scale)), (dout, sums)))| {
            if dropout.is_none() {
                return differentiate(dwords, dout, normalised, scale, gamma, sums);
            }
            let mut kept = Buffer::new(dout.len());
            kept.copy_from_slice(dout);
            drop_in_place(&mut kept, dropout, at * piece);
            differentiate(dwords, &kept, normalised, scale, gamma, sums);
        });
    sums.add_to(0, gradients.gamma);
    sums.add_to(width, gradients.beta);
    for (table, places) in [(gradients.positions, places.positions), (gradients.types, places.types)] {
        if let Some(table) = table {
            for (row, &place) in dwords.chunks_exact(width).zip(places) {
                add(&mut table[place as usize * width..][..width], row);
            }
        }
    }
}

vectorised! {
    fn drop_in_place<T: Real>(values: &mut [T], dropout: Dropout, first: usize) {
        if !dropout.is_none() {
            for (at, value) in values.iter_mut().enumerate() {
                *value *= T::of_f32(dropout.factor(first + at));
            }
        }
    }
}
