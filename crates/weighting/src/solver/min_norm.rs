//! The point of smallest norm in the convex hull of the task gradients.
//!
//! min wᵀGw over the simplex (Wolfe, 1976; MGDA's problem). With b = 1/‖gᵢ‖ and u = w·‖g‖ up to a common factor it is
//! min ½uᵀCu − bᵀu over u ≥ 0: scales leave the matrix and only the right side knows them. The hull contains 0 exactly
//! where that programme has no minimum, and then the ray gives the weights.

use mtl_nash::{Gram, Status};

use super::{cosines, nonnegative};
use crate::Outcome;

/// The weights, on the simplex. [`Status::ParetoStationary`] if the point is 0, or no further from it than the rounding
/// of the Gram matrix.
pub(crate) fn min_norm(gram: &Gram) -> Outcome {
    let mut weights = vec![0.0; gram.tasks()];
    let (present, c) = cosines(gram);
    if let Some(zero) = (0..gram.tasks()).find(|task| !present.contains(task)) {
        weights[zero] = 1.0;
        return Outcome::solved(weights, 0.0, 0, Status::ParetoStationary);
    }
    let smallest = present.iter().map(|&task| gram.norm(task)).fold(f64::INFINITY, f64::min);
    let b: Vec<f64> = present.iter().map(|&task| smallest / gram.norm(task)).collect();
    let solution = nonnegative::minimise(&c, &b, false);
    weights.iter_mut().zip(solution.u.iter().zip(&b)).for_each(|(w, (u, b))| *w = u * b);
    let total: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= total);
    let parts: f64 = (0..gram.tasks()).map(|task| weights[task] * gram.norm(task)).sum();
    let vanished = gram.quadratic(&weights) <= gram.tasks() as f64 * f64::EPSILON * parts * parts;
    let status = match (solution.solved, solution.ray || vanished) {
        (false, _) => Status::OutOfIterations,
        (true, true) => Status::ParetoStationary,
        (true, false) => Status::Agreed,
    };
    Outcome::solved(weights, solution.residual, solution.iterations, status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gram(entries: &[f64]) -> Gram {
        Gram::new(entries.len().isqrt(), entries.to_vec())
    }

    #[test]
    fn two_tasks_have_their_closed_form() {
        for (a, b, ab) in [(1.0f64, 4.0, 0.5), (1.0, 4.0, 1.9), (9.0, 1e-8, -1e-5), (1e20, 2.0, 1e9)] {
            let exact = ((b - ab) / (a + b - 2.0 * ab)).clamp(0.0, 1.0);
            let outcome = min_norm(&gram(&[a, ab, ab, b]));
            assert!((outcome.weights[0] - exact).abs() < 1e-12 * exact.max(1e-3), "{outcome:?} {exact}");
        }
    }

    #[test]
    fn opposite_gradients_are_stationary_with_their_balance() {
        let outcome = min_norm(&gram(&[4.0, -6.0, -6.0, 9.0]));
        assert_eq!(outcome.status, Status::ParetoStationary);
        assert!((outcome.weights[0] - 0.6).abs() < 1e-12 && outcome.residual < 1e-12, "{outcome:?}");
    }

    #[test]
    fn duplicates_share_and_a_zero_gradient_takes_all() {
        let outcome = min_norm(&gram(&[1.0, 1.0, 1.0, 1.0]));
        assert!((outcome.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12 && outcome.status == Status::Agreed);
        assert_eq!(min_norm(&gram(&[1.0, 0.0, 0.0, 0.0])).weights, [0.0, 1.0]);
    }
}
