//! Products of matrices that are rounded to bf16 and added up in f32, on CPUs with AVX512_BF16.
//!
//! Both matrices are packed into panels of a few rows (of the left one) or columns (of the right one), with two
//! neighbours along the inner dimension in one word, as the instruction takes them. A tile of the product then stays
//! in registers while a stretch of the inner dimension passes by. Stretches are added in order, so an element's bits
//! do not depend on the number of threads.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps,
};
use std::sync::OnceLock;

use rayon::prelude::*;

use super::{Buffer, Matrix, MatrixMut, simd};

/// Rows of a tile.
const ROWS: usize = 12;
/// Columns of a tile: two registers.
const COLUMNS: usize = 32;
/// Pairs of inner elements that pass by a tile at one time: a panel of rows stays in a core's first cache.
const STRETCH: usize = 384;
/// Panels of rows, and of columns, in a piece of work.
const PIECE: (usize, usize) = (8, 16);

/// Whether this CPU has the instruction.
pub(super) fn available() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        !simd::forced_scalar()
            && std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bf16")
    })
}

/// `c` ← `a`·`b`, or `c` + `a`·`b` if it `adds`, of shapes that fit.
///
/// # Panics
/// If the CPU lacks the instruction.
pub(super) fn product(c: &MatrixMut<f32>, a: Matrix<f32>, b: Matrix<f32>, adds: bool) {
    assert!(available(), "products in bf16 need a CPU with AVX512_BF16");
    let (rows, columns, pairs) = (a.rows(), b.columns(), a.columns().div_ceil(2));
    let (left, right) = (packed::<ROWS>(a, pairs), packed::<COLUMNS>(b.transposed(), pairs));
    let (row_panels, column_panels) = (rows.div_ceil(ROWS), columns.div_ceil(COLUMNS));
    let across = column_panels.div_ceil(PIECE.1);
    (0..row_panels.div_ceil(PIECE.0) * across).into_par_iter().for_each(|piece| {
        let (down, along) = (piece / across * PIECE.0, piece % across * PIECE.1);
        for start in (0..pairs.max(1)).step_by(STRETCH) {
            let stretch = STRETCH.min(pairs - start);
            for row_panel in down..row_panels.min(down + PIECE.0) {
                let left = &left[(row_panel * pairs + start) * ROWS..][..stretch * ROWS];
                for column_panel in along..column_panels.min(along + PIECE.1) {
                    let right = &right[(column_panel * pairs + start) * COLUMNS..][..stretch * COLUMNS];
                    let (row, column) = (row_panel * ROWS, column_panel * COLUMNS);
                    // SAFETY: pieces share no tile, and the CPU has the instruction.
                    unsafe {
                        let tile = c.block(row, column, ROWS.min(rows - row), COLUMNS.min(columns - column));
                        multiply(tile, left, right, adds || start > 0);
                    }
                }
            }
        }
    });
}

/// The rows of `matrix` in panels of `W`, each `[pairs, W]` words of two bf16; zeros where it has no more.
fn packed<const W: usize>(matrix: Matrix<f32>, pairs: usize) -> Buffer<f32> {
    let mut panels = Buffer::new(matrix.rows().div_ceil(W) * W * pairs);
    panels.par_chunks_exact_mut((W * pairs).max(1)).enumerate().for_each(|(panel, to)| {
        let rows = W.min(matrix.rows() - panel * W);
        // SAFETY: the caller has found that the CPU has the instruction.
        unsafe { pack::<W>(matrix.block(panel * W, 0, rows, matrix.columns()), to) };
    });
    panels
}

/// Packs up to `W` rows.
#[target_feature(enable = "avx512f,avx512bf16")]
fn pack<const W: usize>(matrix: Matrix<f32>, to: &mut [f32]) {
    let (rows, inner) = (matrix.rows(), matrix.columns());
    if rows < W || inner % 2 == 1 {
        to.fill(0.);
    }
    if rows > 1 && inner > 0 && matrix.contiguous_column(0).is_some() {
        for (pair, to) in to.chunks_exact_mut(W).enumerate() {
            let column = |at: usize| if at < inner { matrix.contiguous_column(at) } else { None };
            let Some(first) = column(2 * pair) else { break };
            match column(2 * pair + 1) {
                Some(second) => to.iter_mut().zip(first.iter().zip(second)).for_each(|(to, (a, b))| *to = word(*a, *b)),
                None => to.iter_mut().zip(first).for_each(|(to, a)| *to = word(*a, 0.)),
            }
        }
        return;
    }
    for row in 0..rows {
        let mut pair = 0;
        if let Some(values) = matrix.contiguous_row(row) {
            for values in values.chunks_exact(32) {
                for word in words(values) {
                    to[pair * W + row] = word;
                    pair += 1;
                }
            }
        }
        while 2 * pair < inner {
            let second = if 2 * pair + 1 < inner { *matrix.at(row, 2 * pair + 1) } else { 0. };
            to[pair * W + row] = word(*matrix.at(row, 2 * pair), second);
            pair += 1;
        }
    }
}

/// 32 neighbours as 16 words.
#[target_feature(enable = "avx512f,avx512bf16")]
fn words(values: &[f32]) -> [f32; 16] {
    assert_eq!(values.len(), 32);
    // SAFETY: there are 32 values, and all three types are 64 bytes of plain bits.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(values.as_ptr()), _mm512_loadu_ps(values.as_ptr().add(16)));
        std::mem::transmute::<__m512bh, [f32; 16]>(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Two values rounded to bf16, to even where they lie in the middle, the first in the low half.
#[inline(always)]
fn word(first: f32, second: f32) -> f32 {
    let round = |value: f32| {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        if value.is_nan() { bits >> 16 | 0x40 } else { nearest }
    };
    f32::from_bits(round(first) | round(second) << 16)
}

/// `c` ← `left`·`right` of two packed panels, or `c` plus that if it `adds`.
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply(mut c: MatrixMut<f32>, left: &[f32], right: &[f32], adds: bool) {
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (left, right) in left.chunks_exact(ROWS).zip(right.chunks_exact(COLUMNS)) {
        // SAFETY: a pair of panel columns is two registers wide, and both types are plain bits.
        let right: [__m512bh; 2] = unsafe {
            let load = |at: usize| _mm512_loadu_si512(right.as_ptr().add(at).cast());
            std::mem::transmute::<[__m512i; 2], [__m512bh; 2]>([load(0), load(16)])
        };
        for (sums, word) in sums.iter_mut().zip(left) {
            // SAFETY: both types are 64 bytes of plain bits.
            let word = unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word.to_bits() as i32)) };
            sums[0] = _mm512_dpbf16_ps(sums[0], word, right[0]);
            sums[1] = _mm512_dpbf16_ps(sums[1], word, right[1]);
        }
    }
    for (row, sums) in sums.iter().enumerate().take(c.rows()) {
        for (values, sum) in c.row(row).chunks_mut(16).zip(sums) {
            store(values, *sum, adds);
        }
    }
}

/// Writes or adds the first elements of `sum`, as many as there are `values`.
#[target_feature(enable = "avx512f")]
fn store(values: &mut [f32], sum: __m512, adds: bool) {
    let mask = u16::MAX >> (16 - values.len());
    // SAFETY: the mask admits only elements of the slice.
    unsafe {
        let sum = if adds { _mm512_add_ps(_mm512_maskz_loadu_ps(mask, values.as_ptr()), sum) } else { sum };
        _mm512_mask_storeu_ps(values.as_mut_ptr(), mask, sum);
    }
}
