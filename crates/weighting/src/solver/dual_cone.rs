//! Projection of a combination of gradients onto the dual cone of all of them: the nearest direction that conflicts
//! with none.
//!
//! The projection of Jᵀu is Jᵀv with v = argmin vᵀGv subject to v ≥ u (Quinton and Rey, 2024, proposition 1). With
//! v = u + z it is a programme over z ≥ 0, solved in cosines.

use mtl_nash::{Gram, Status};

use super::{cosines, nonnegative};
use crate::Outcome;

/// The weights v of the projection of Σ uᵢ gᵢ, u ≥ 0.
pub(crate) fn project(gram: &Gram, u: &[f64]) -> Outcome {
    let (present, c) = cosines(gram);
    let lengths: Vec<f64> = present.iter().map(|&task| gram.norm(task)).collect();
    // A common factor, so that no product overflows however the gradients are scaled.
    let largest = lengths.iter().copied().fold(0.0, f64::max);
    let scaled: Vec<f64> = present.iter().zip(&lengths).map(|(&task, length)| u[task] * (length / largest)).collect();
    let b: Vec<f64> = c.times(&scaled).iter().map(|value| -value).collect();
    let solution = nonnegative::minimise(&c, &b, true);
    let mut weights = u.to_vec();
    for (k, &task) in present.iter().enumerate() {
        weights[task] += solution.u[k] * (largest / lengths[k]);
    }
    let status = if solution.solved { Status::Agreed } else { Status::OutOfIterations };
    Outcome::solved(weights, solution.residual, solution.iterations, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_conflicting_gradients_are_projected_on_each_others_plane() {
        let gram = Gram::new(2, vec![4.0, -1.0, -1.0, 1.0]);
        // ⟨g₁, d⟩ = 3 ≥ 0 and ⟨g₂, d⟩ = 0 for d = g₁ + g₂: already in the cone.
        assert_eq!(project(&gram, &[1.0, 1.0]).weights, [1.0, 1.0]);
        // For u = e₁ the second weight grows until ⟨g₂, d⟩ = −1 + v₂ = 0.
        assert_eq!(project(&gram, &[1.0, 0.0]).weights, [1.0, 1.0]);
        assert_eq!(project(&gram, &[0.0, 1.0]).weights, [0.25, 1.0]);
    }

    #[test]
    fn opposite_gradients_cancel() {
        let gram = Gram::new(2, vec![4.0, -2.0, -2.0, 1.0]);
        let weights = project(&gram, &[1.0, 0.0]).weights;
        assert!((weights[1] - 2.0).abs() < 1e-12, "{weights:?}");
    }
}
