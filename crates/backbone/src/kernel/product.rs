//! Matrix products C ← γC + αAB over strided views.
//!
//! The `gemm` crate cuts the inner dimension by the matrices' shape alone, adds those cuts in order, and shares rows and
//! columns among threads: an element's bits do not depend on their number (a test holds it to that).

use std::marker::PhantomData;

use gemm::Parallelism;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Real, simd};

/// A matrix to read.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// `values` as `[rows, columns]`, row by row.
    ///
    /// # Panics
    /// If there are not `rows · columns` of them.
    pub fn new(values: &'a [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows}×{columns}");
        Self { values, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// `rows` × `columns` of it, from `(row, column)` on.
    ///
    /// # Panics
    /// If they reach beyond it.
    #[must_use]
    pub fn block(self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns, "a block beyond its matrix");
        let start = (row * self.row_stride + column * self.column_stride).min(self.values.len());
        Self { values: &self.values[start..], rows, columns, ..self }
    }

    /// Rows and columns exchanged.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// TaskGradient `index`, if its elements are neighbours.
    pub(super) fn contiguous_row(&self, index: usize) -> Option<&'a [T]> {
        (self.column_stride == 1).then(|| &self.values[index * self.row_stride..][..self.columns])
    }

    /// Column `index`, if its elements are neighbours.
    pub(super) fn contiguous_column(&self, index: usize) -> Option<&'a [T]> {
        (self.row_stride == 1).then(|| &self.values[index * self.column_stride..][..self.rows])
    }

    /// Element (`row`, `column`).
    pub(super) fn at(&self, row: usize, column: usize) -> &T {
        &self.values[row * self.row_stride + column * self.column_stride]
    }
}

/// A row-major matrix to write.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    start: *mut T,
    rows: usize,
    columns: usize,
    stride: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`; who makes overlapping blocks of it promises to keep them apart.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}
// SAFETY: a shared one can only be cut into blocks, under the same promise.
unsafe impl<T: Sync> Sync for MatrixMut<'_, T> {}

impl<'a, T> MatrixMut<'a, T> {
    /// `values` as `[rows, columns]`, row by row.
    ///
    /// # Panics
    /// If there are not `rows · columns` of them.
    pub fn new(values: &'a mut [T], rows: usize, columns: usize) -> Self {
        assert_eq!(values.len(), rows * columns, "a matrix of {rows}×{columns}");
        Self { start: values.as_mut_ptr(), rows, columns, stride: columns, borrow: PhantomData }
    }

    /// `rows` × `columns` of it, from `(row, column)` on.
    ///
    /// # Safety
    /// Blocks alive at one time must not overlap.
    ///
    /// # Panics
    /// If they reach beyond it.
    pub(super) unsafe fn block(&self, row: usize, column: usize, rows: usize, columns: usize) -> Self {
        assert!(row + rows <= self.rows && column + columns <= self.columns, "a block beyond its matrix");
        // SAFETY: the assertion keeps the start within the matrix.
        let start = unsafe { self.start.add(row * self.stride + column) };
        Self { start, rows, columns, stride: self.stride, borrow: PhantomData }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// TaskGradient `index`.
    pub(super) fn row(&mut self, index: usize) -> &mut [T] {
        assert!(index < self.rows, "a row beyond its matrix");
        // SAFETY: the row lies within the matrix, and `self` is borrowed as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(index * self.stride), self.columns) }
    }
}

/// What the operands of a layer's large products are rounded to. Weights, states, sums and gradients keep their type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProductPrecision {
    /// Nothing: they are multiplied as they are.
    #[default]
    F32,
    /// bf16, added up in f32; needs states in f32 and, in the fused kernel, a CPU with AVX512_BF16.
    Bf16,
}

impl ProductPrecision {
    /// Whether the kernel can compute in it on this machine. Candle's own operations can everywhere.
    pub fn is_available(self) -> bool {
        match self {
            Self::F32 => true,
            #[cfg(target_arch = "x86_64")]
            Self::Bf16 => super::bf16::available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Bf16 => false,
        }
    }
}

/// `c` ← `a`·`b`, or `c` + `a`·`b` if it `adds`, on all threads and in `precision`.
///
/// # Panics
/// If the shapes do not fit, or the precision is not available.
pub fn product_in<T: Real>(precision: ProductPrecision, c: MatrixMut<T>, a: Matrix<T>, b: Matrix<T>, adds: bool) {
    match precision {
        ProductPrecision::F32 => product(c, a, b, T::of(1.), adds, Threads::All),
        ProductPrecision::Bf16 => {
            assert!(
                a.rows == c.rows && a.columns == b.rows && b.columns == c.columns,
                "a product of matrices that fit"
            );
            T::product_in_bf16(&c, a, b, adds);
        }
    }
}

/// How many threads a product may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// The calling one.
    One,
    /// All of the current pool.
    All,
}

/// `c` ← α·`a`·`b`, or `c` + α·`a`·`b` if it `adds`.
///
/// # Panics
/// If the shapes do not fit.
pub fn product<T: Real>(mut c: MatrixMut<T>, a: Matrix<T>, b: Matrix<T>, alpha: T, adds: bool, threads: Threads) {
    assert!(
        a.rows == c.rows && a.columns == b.rows && b.columns == c.columns,
        "a product of {}×{} and {}×{} into {}×{}",
        a.rows,
        a.columns,
        b.rows,
        b.columns,
        c.rows,
        c.columns
    );
    if c.rows == 0 || c.columns == 0 {
        return;
    }
    if simd::forced_scalar() {
        return scalar(&mut c, a, b, alpha, adds, threads);
    }
    let parallelism = match (threads, rayon::current_num_threads()) {
        (Threads::One, _) | (_, 1) => Parallelism::None,
        (Threads::All, threads) => Parallelism::Rayon(threads),
    };
    // SAFETY: views are made from slices long enough for their shapes, the shapes fit, and `c` is exclusively ours.
    unsafe {
        gemm::gemm(
            c.rows,
            c.columns,
            a.columns,
            c.start,
            1,
            c.stride as isize,
            adds,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::of(1.),
            alpha,
            false,
            false,
            false,
            parallelism,
        );
    }
}

fn scalar<T: Real>(c: &mut MatrixMut<T>, a: Matrix<T>, b: Matrix<T>, alpha: T, adds: bool, threads: Threads) {
    let row = |index: usize, c: &mut [T]| {
        if !adds {
            c.fill(T::default());
        }
        for inner in 0..a.columns {
            let factor = alpha * *a.at(index, inner);
            c.iter_mut().enumerate().for_each(|(column, c)| *c += factor * *b.at(inner, column));
        }
    };
    match threads {
        Threads::One => (0..c.rows).for_each(|index| row(index, c.row(index))),
        // SAFETY: every row is a block of its own.
        Threads::All => {
            (0..c.rows).into_par_iter().for_each(|index| row(index, unsafe { c.block(index, 0, 1, c.columns) }.row(0)));
        }
    }
}
