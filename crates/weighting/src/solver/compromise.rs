//! CAGrad's problem: the direction near the mean gradient g₀ that serves the worst task best.
//!
//! max_d minᵢ ⟨gᵢ, d⟩ subject to ‖d − g₀‖ ≤ κ, κ = c‖g₀‖. Its dual is min over the simplex of ⟨g_w, g₀⟩ + κ‖g_w‖ with
//! d = g₀ + κ g_w/‖g_w‖ (Liu et al., 2021, equation 4). With t = ‖g_w‖/κ, w is the min-norm point of the hull moved by
//! t g₀: exact for a given t. What is left is one equation, ‖g_w(t)‖² = κ²t², whose left side is piecewise linear in
//! x = t², so the secant method hits the root once both of its points lie on the root's piece.
//!
//! Where the hull holds 0 no direction serves every task. If the ball reaches one that harms none, the nearest is the
//! answer; if not, the optimum is below 0 and the equation holds as before. For small t the moved hull then holds 0, its
//! nearest point is −t g₀, and ‖g_w‖ = t‖g₀‖ is more than κt, however little of it rounding leaves.

use mtl_nash::{Gram, Status};

use super::dual_cone;
use super::min_norm::min_norm;
use crate::{Outcome, TOLERANCE};

/// What rounding may put a direction on the ball's surface outside of it: with c = 1 and 0 inside the hull it is d = 0.
const ON_THE_EDGE: f64 = 1e-12;

/// The weights of d: 1/K + wᵢ/t. The residual is the relative gap between the primal and the dual objective; where it is
/// above [`TOLERANCE`] the mean stands in, which the ball always holds, unless the weights serve the worst task better.
pub(crate) fn compromise(gram: &Gram, c: f64) -> Outcome {
    let tasks = gram.tasks();
    let mean = vec![1.0 / tasks as f64; tasks];
    let h = gram.times(&mean);
    let centre = gram.quadratic(&mean).max(0.0);
    let kappa = c * centre.sqrt();
    let largest = (0..tasks).map(|task| gram.at(task, task)).fold(0.0, f64::max);
    if c == 0.0 {
        return Outcome::exact(mean);
    }
    if kappa == 0.0 || centre <= largest * f64::EPSILON * f64::EPSILON {
        return Outcome::solved(mean, 0.0, 0, Status::ParetoStationary);
    }
    // The hull contains 0: no direction serves the worst task, and the nearest to g₀ that harms none will do if the
    // ball reaches it.
    if min_norm(gram).status == Status::ParetoStationary {
        let harmless = dual_cone::project(gram, &mean);
        let away: Vec<f64> = harmless.weights.iter().map(|v| v - mean[0]).collect();
        if gram.quadratic(&away) <= kappa * kappa * (1.0 + ON_THE_EDGE) {
            return Outcome { status: Status::ParetoStationary, ..harmless };
        }
    }
    let at = |x: f64| {
        let t = x.sqrt();
        let pairs = (0..tasks).flat_map(|i| (0..tasks).map(move |j| (i, j)));
        let moved = pairs.map(|(i, j)| gram.at(i, j) + t * (h[i] + h[j]) + x * centre).collect();
        let point = min_norm(&Gram::new(tasks, moved));
        // Below what cancellation leaves of it, ‖g_w‖² is not known to be smaller than κ²x.
        let noise: f64 = 4.0 * f64::EPSILON * (0..tasks).map(|i| point.weights[i] * gram.norm(i)).sum::<f64>().powi(2);
        let square = match point.status {
            Status::ParetoStationary => x * centre,
            _ => gram.quadratic(&point.weights).max(noise),
        };
        (square - kappa * kappa * x, point)
    };
    let mut high = largest / (kappa * kappa);
    // Gradients 25 decades apart put the root 50 decades below.
    let floor = high * 1e-80;
    let (mut low, mut x) = (floor, floor);
    let (mut excess, mut point) = at(x);
    let mut older = (high, at(high).0);
    let mut iterations = 2;
    // Without an excess at the floor there is no root above it.
    let rooted = excess > 0.0;
    loop {
        let within = |share: f64| excess.abs() <= share * kappa * kappa * x;
        let found = excess <= 0.0 && low == floor && within(0.1 * TOLERANCE);
        if !rooted || found || within(4.0 * f64::EPSILON) || high / low <= 1.0 + 4.0 * f64::EPSILON || iterations == 200
        {
            break;
        }
        let secant = x - excess * (older.0 - x) / (older.1 - excess);
        older = (x, excess);
        // The secant may creep along a bracket of many decades: every third step halves the decades.
        x = if secant > low && secant < high && iterations % 3 != 0 { secant } else { (low * high).sqrt() };
        (excess, point) = at(x);
        iterations += 1;
        if excess > 0.0 { low = x } else { high = x }
    }
    let t = x.sqrt();
    let weights: Vec<f64> = point.weights.iter().map(|w| 1.0 / tasks as f64 + w / t).collect();
    let gains = gram.times(&weights);
    let worst = gains.iter().copied().fold(f64::INFINITY, f64::min);
    let own = gram.quadratic(&point.weights).max(0.0).sqrt();
    let dual = point.weights.iter().zip(&h).map(|(w, h)| w * h).sum::<f64>() + kappa * own;
    let residual = (dual - worst).abs() / ((centre.sqrt() + kappa) * own.max(largest.sqrt() * f64::EPSILON));
    if residual <= TOLERANCE {
        return Outcome::solved(weights, residual, iterations, Status::Agreed);
    }
    let away: Vec<f64> = weights.iter().map(|v| v - mean[0]).collect();
    let inside = gram.quadratic(&away) <= kappa * kappa * (1.0 + TOLERANCE);
    let better = inside && worst >= h.iter().copied().fold(f64::INFINITY, f64::min);
    Outcome::solved(if better { weights } else { mean }, residual, iterations, Status::OutOfIterations)
}
