//! The illustrative two-task problem of Nash-MTL (Navon et al., 2022, figure 1), a variation of CAGrad's.
//!
//! With x = (x₁, x₂) and a scale s on the first loss,
//!
//! ```text
//! f₁ = log max(|½(−x₁ − 7) − tanh(−x₂)|, 5e-6) + 6       f₂ = log max(|½(−x₁ + 3) + tanh(−x₂) + 2|, 5e-6) + 6
//! c₁ = max(tanh(½x₂), 0)                                 c₂ = max(tanh(−½x₂), 0)
//! q₁ = ((−x₁ + 7)² + (−x₂ − 8)²/10)/10 − 20              q₂ = ((−x₁ − 7)² + (−x₂ − 8)²/10)/10 − 20
//! ℓ₁ = s (f₁c₁ + q₁c₂)                                   ℓ₂ = f₂c₁ + q₂c₂
//! ```
//!
//! A tie in a maximum passes the gradient, as PyTorch's `clamp` does: at the start (0, 0) both c₁ and c₂ are tied, and
//! with a tie gradient of 0 the point would never move.

use std::ops::{Add, Mul, Sub};

/// The five starts of the paper.
pub(super) const STARTS: [[f64; 2]; 5] = [[-8.5, 7.5], [0.0, 0.0], [9.0, 9.0], [-7.5, -0.5], [9.0, -1.0]];

/// x₂ of the Pareto front; x₁ runs over [−7, 7].
const FRONT: f64 = -8.3552;

/// A number and its two partial derivatives.
#[derive(Clone, Copy)]
struct Dual {
    value: f64,
    slope: [f64; 2],
}

impl Dual {
    fn constant(value: f64) -> Self {
        Self { value, slope: [0.0; 2] }
    }

    fn map(self, value: f64, derivative: f64) -> Self {
        Self { value, slope: self.slope.map(|slope| derivative * slope) }
    }

    fn tanh(self) -> Self {
        let value = self.value.tanh();
        self.map(value, 1.0 - value * value)
    }

    fn ln(self) -> Self {
        self.map(self.value.ln(), 1.0 / self.value)
    }

    fn abs(self) -> Self {
        let sign = if self.value == 0.0 { 0.0 } else { self.value.signum() };
        self.map(self.value.abs(), sign)
    }

    fn square(self) -> Self {
        self * self
    }

    /// At least `least`; a tie passes the gradient.
    fn at_least(self, least: f64) -> Self {
        if self.value >= least { self } else { Self::constant(least) }
    }

    fn times(self, factor: f64) -> Self {
        self.map(factor * self.value, factor)
    }

    fn plus(self, term: f64) -> Self {
        Self { value: self.value + term, ..self }
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let slope = [self.slope[0] + other.slope[0], self.slope[1] + other.slope[1]];
        Self { value: self.value + other.value, slope }
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, slope: [0, 1].map(|k| self.slope[k] - other.slope[k]) }
    }
}

impl Mul for Dual {
    type Output = Self;
    #[allow(clippy::suspicious_arithmetic_impl, reason = "the product rule adds")]
    fn mul(self, other: Self) -> Self {
        let slope = [0, 1].map(|k| self.slope[k] * other.value + self.value * other.slope[k]);
        Self { value: self.value * other.value, slope }
    }
}

/// The two losses at a point, and their gradients, one row a task.
pub(super) fn losses(x: [f64; 2], scale: f64) -> ([f64; 2], [[f64; 2]; 2]) {
    let x1 = Dual { value: -x[0], slope: [-1.0, 0.0] };
    let x2 = Dual { value: -x[1], slope: [0.0, -1.0] };
    let f1 = (x1.plus(-7.0).times(0.5) - x2.tanh()).abs().at_least(5e-6).ln().plus(6.0);
    let f2 = (x1.plus(3.0).times(0.5) + x2.tanh().plus(2.0)).abs().at_least(5e-6).ln().plus(6.0);
    let c1 = x2.times(-0.5).tanh().at_least(0.0);
    let c2 = x2.times(0.5).tanh().at_least(0.0);
    let bowl = |centre: f64| (x1.plus(centre).square() + x2.plus(-8.0).square().times(0.1)).times(0.1).plus(-20.0);
    let first = (f1 * c1 + bowl(7.0) * c2).times(scale);
    let second = f2 * c1 + bowl(-7.0) * c2;
    ([first.value, second.value], [first.slope, second.slope])
}

/// The Pareto front in loss space, as a polyline.
pub(super) fn front(scale: f64) -> Vec<[f64; 2]> {
    (0..=2000).map(|k| losses([-7.0 + 14.0 * f64::from(k) / 2000.0, FRONT], scale).0).collect()
}

/// How far `point` is from the polyline.
pub(super) fn distance(point: [f64; 2], front: &[[f64; 2]]) -> f64 {
    let from = |pair: &[[f64; 2]]| {
        let along = [pair[1][0] - pair[0][0], pair[1][1] - pair[0][1]];
        let away = [point[0] - pair[0][0], point[1] - pair[0][1]];
        let share = (away[0] * along[0] + away[1] * along[1]) / (along[0] * along[0] + along[1] * along[1]);
        let share = share.clamp(0.0, 1.0);
        (away[0] - share * along[0]).hypot(away[1] - share * along[1])
    };
    front.windows(2).map(from).fold(f64::INFINITY, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starts_have_the_published_losses() {
        let right = [[0.655, 7.901], [0.0, 0.0], [0.794, 6.691], [0.0389, -4.754], [-0.883, 2.814]];
        for (start, right) in STARTS.into_iter().zip(right) {
            let (found, _) = losses(start, 0.1);
            assert!((0..2).all(|task| (found[task] - right[task]).abs() < 6e-4), "{start:?}: {found:?}");
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for x in [[-8.5, 7.5], [9.0, 9.0], [-7.5, -0.5], [9.0, -1.0], [1.3, -4.0], [-2.0, 3.0]] {
            let (_, gradients) = losses(x, 0.1);
            for k in 0..2 {
                let moved = |by: f64| losses(std::array::from_fn(|i| if i == k { x[i] + by } else { x[i] }), 0.1).0;
                let (up, down) = (moved(1e-6), moved(-1e-6));
                for (task, gradient) in gradients.iter().enumerate() {
                    let slope = (up[task] - down[task]) / 2e-6;
                    assert!((slope - gradient[k]).abs() < 1e-6, "{x:?} task {task}");
                }
            }
        }
    }

    #[test]
    fn at_the_tied_start_both_branches_pass_their_gradient() {
        let (values, gradients) = losses([0.0, 0.0], 0.1);
        assert_eq!(values, [0.0, 0.0]);
        // ∂ℓ/∂x₂ = ½ (f − q) for both tasks: f₁ = ln 3.5 + 6, q₁ = 4.9 + 0.64 − 20.
        let q = 4.9 + 0.64 - 20.0;
        assert!((gradients[0][1] - 0.05 * (3.5f64.ln() + 6.0 - q)).abs() < 1e-12);
        assert!((gradients[1][1] - 0.5 * (3.5f64.ln() + 6.0 - q)).abs() < 1e-12);
    }

    #[test]
    fn the_front_runs_between_its_published_ends() {
        let front = front(0.1);
        let (first, last) = (front[0], front[front.len() - 1]);
        assert!((first[0] + 0.040).abs() < 1e-3 && (first[1] + 19.99).abs() < 1e-2, "{first:?}");
        assert!((last[0] + 1.999).abs() < 1e-3 && (last[1] + 0.399).abs() < 1e-3, "{last:?}");
        assert!(distance(front[700], &front) < 1e-12);
        assert!((distance([front[0][0] + 3.0, front[0][1] - 4.0], &front) - 5.0).abs() < 1e-9);
    }
}
