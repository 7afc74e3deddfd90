//! The exact solvers that several rules share. Each returns a certificate: how far its answer is from satisfying the
//! conditions that define the optimum, relative to the problem's own scale.

pub(crate) mod compromise;
pub(crate) mod dual_cone;
pub(crate) mod eigen;
pub(crate) mod min_norm;
mod nonnegative;
pub(crate) mod simplex;

use mtl_nash::Gram;

/// The tasks whose gradient is not zero, and the matrix of their cosines.
pub(crate) fn cosines(gram: &Gram) -> (Vec<usize>, Gram) {
    let present: Vec<usize> = (0..gram.tasks()).filter(|&task| gram.norm(task) > 0.0).collect();
    let cosine = |i: usize, j: usize| {
        if i == j { 1.0 } else { (gram.at(i, j) / gram.norm(i) / gram.norm(j)).clamp(-1.0, 1.0) }
    };
    let entries = present.iter().flat_map(|&i| present.iter().map(move |&j| cosine(i, j))).collect();
    let matrix = Gram::new(present.len(), entries);
    (present, matrix)
}
