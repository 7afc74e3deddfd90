//! The Gram matrix of task gradients, Gᵢⱼ = ⟨gᵢ, gⱼ⟩: all that a bargaining rule sees of them.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::AddAssign;

use crate::linear::dot;
use crate::math::sqrt;

/// A symmetric K×K matrix of inner products of K task gradients, row-major, in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Gram {
    tasks: usize,
    entries: Vec<f64>,
}

impl Gram {
    /// The Gram matrix of `tasks` zero gradients, to be filled by [`Gram::set`] or [`Gram::add`].
    pub fn zeros(tasks: usize) -> Self {
        Self { tasks, entries: vec![0.0; tasks * tasks] }
    }

    /// From row-major entries, `[tasks · tasks]`; of two mirrored entries that differ, their mean is taken.
    ///
    /// # Panics
    /// If there are not exactly `tasks · tasks` entries.
    pub fn new(tasks: usize, entries: Vec<f64>) -> Self {
        assert_eq!(entries.len(), tasks * tasks, "a Gram matrix of {tasks} tasks has {tasks}×{tasks} entries");
        let mut gram = Self { tasks, entries };
        for i in 0..tasks {
            for j in 0..i {
                let (lower, upper) = (gram.at(i, j), gram.at(j, i));
                if lower != upper {
                    gram.set(i, j, 0.5 * lower + 0.5 * upper);
                }
            }
        }
        gram
    }

    /// From the matrix's rows, as [`Gram::new`].
    ///
    /// # Panics
    /// If a row is not as long as there are rows.
    pub fn from_rows<R: AsRef<[f64]>>(rows: &[R]) -> Self {
        let tasks = rows.len();
        for (i, row) in rows.iter().enumerate() {
            assert_eq!(row.as_ref().len(), tasks, "row {i} of a Gram matrix of {tasks} tasks");
        }
        Self::new(tasks, rows.iter().flat_map(|row| row.as_ref().iter().copied()).collect())
    }

    /// The Gram matrix of a Jacobian's rows, one gradient a task.
    ///
    /// # Panics
    /// If the rows differ in length.
    pub fn of_rows<R: AsRef<[f64]>>(gradients: &[R]) -> Self {
        let mut gram = Self::zeros(gradients.len());
        for (i, row) in gradients.iter().enumerate() {
            let row = row.as_ref();
            for (j, other) in gradients[..=i].iter().enumerate() {
                let other = other.as_ref();
                assert_eq!(row.len(), other.len(), "gradients {i} and {j} have different lengths");
                gram.set(i, j, dot(row, other));
            }
        }
        gram
    }

    /// K.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// ⟨gᵢ, gⱼ⟩.
    pub fn at(&self, i: usize, j: usize) -> f64 {
        self.entries[i * self.tasks + j]
    }

    /// Row-major entries, `[K · K]`.
    pub fn entries(&self) -> &[f64] {
        &self.entries
    }

    /// Row i, `[K]`: the inner products of gᵢ with every gradient.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.entries[i * self.tasks..(i + 1) * self.tasks]
    }

    /// Sets ⟨gᵢ, gⱼ⟩ and its mirror image.
    pub fn set(&mut self, i: usize, j: usize, value: f64) {
        self.entries[i * self.tasks + j] = value;
        self.entries[j * self.tasks + i] = value;
    }

    /// Adds to ⟨gᵢ, gⱼ⟩ and its mirror image; a diagonal entry is added to once.
    pub fn add(&mut self, i: usize, j: usize, value: f64) {
        self.set(i, j, self.at(i, j) + value);
    }

    /// ‖gᵢ‖.
    pub fn norm(&self, i: usize) -> f64 {
        sqrt(self.at(i, i))
    }

    /// cos ∠(gᵢ, gⱼ), within [−1, 1]; 0 if either gradient is zero.
    pub fn cosine(&self, i: usize, j: usize) -> f64 {
        let norms = self.norm(i) * self.norm(j);
        if norms == 0.0 { 0.0 } else { (self.at(i, j) / norms).clamp(-1.0, 1.0) }
    }

    /// Gw, `[K]`: every task's inner product with Σ wᵢgᵢ.
    ///
    /// # Panics
    /// If there is not one weight a task.
    pub fn times(&self, weights: &[f64]) -> Vec<f64> {
        assert_eq!(weights.len(), self.tasks, "one weight a task");
        (0..self.tasks).map(|i| dot(self.row(i), weights)).collect()
    }

    /// wᵀGw = ‖Σ wᵢgᵢ‖²; rounding may leave a vanishing sum slightly below zero.
    ///
    /// # Panics
    /// If there is not one weight a task.
    pub fn quadratic(&self, weights: &[f64]) -> f64 {
        dot(&self.times(weights), weights)
    }

    /// The Gram matrix of some of the tasks, in the order given.
    ///
    /// # Panics
    /// If one of them is not below [`Gram::tasks`].
    pub fn subset(&self, tasks: &[usize]) -> Gram {
        let entries = tasks.iter().flat_map(|&i| tasks.iter().map(move |&j| self.at(i, j))).collect();
        Gram { tasks: tasks.len(), entries }
    }
}

/// The Gram matrix over two disjoint groups of parameters is the sum of their Gram matrices.
impl AddAssign<&Gram> for Gram {
    /// # Panics
    /// If the two speak of different numbers of tasks.
    fn add_assign(&mut self, other: &Gram) {
        assert_eq!(self.tasks, other.tasks, "Gram matrices of different numbers of tasks");
        for (entry, more) in self.entries.iter_mut().zip(&other.entries) {
            *entry += more;
        }
    }
}
