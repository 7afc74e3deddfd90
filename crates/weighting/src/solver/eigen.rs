//! Eigenvalues of a symmetric matrix by cyclic Jacobi rotations (Golub and Van Loan, §8.5), and what follows from them.
//!
//! By hand because nalgebra 0.35 loses small eigenvalues of badly scaled matrices: of [[1e20, 5e9], [5e9, 1]] it gives 0
//! for 0.75, and of the scaled matrix in the tests below it has not the digits that 1e-12 asks for.

use mtl_nash::{Gram, Status};

use super::cosines;
use super::min_norm::min_norm;
use crate::{Outcome, TOLERANCE};

/// λ and V with G = V diag(λ) Vᵀ, λ falling.
pub(crate) struct Spectrum {
    pub(crate) values: Vec<f64>,
    /// `vectors[k]` belongs to `values[k]`.
    pub(crate) vectors: Vec<Vec<f64>>,
}

impl Spectrum {
    pub(crate) fn of(gram: &Gram) -> Self {
        let n = gram.tasks();
        let mut a: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| gram.at(i, j)).collect()).collect();
        let mut v: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
        for _sweep in 0..60 {
            let mut rotated = false;
            for p in 0..n {
                for q in p + 1..n {
                    // Small against both of its diagonal entries: keeps small eigenvalues accurate in a scaled matrix.
                    let bound = f64::EPSILON * a[p][p].abs().sqrt() * a[q][q].abs().sqrt();
                    if a[p][q].abs() > bound.max(f64::MIN_POSITIVE) {
                        rotate(&mut a, &mut v, p, q);
                        rotated = true;
                    }
                }
            }
            if !rotated {
                break;
            }
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&i, &j| a[j][j].total_cmp(&a[i][i]));
        Self {
            values: order.iter().map(|&k| a[k][k]).collect(),
            vectors: order.iter().map(|&k| v[k].clone()).collect(),
        }
    }

    /// How many eigenvalues stand above rounding.
    pub(crate) fn rank(&self) -> usize {
        let largest = self.values.first().copied().unwrap_or(0.0);
        let bound = largest * self.values.len() as f64 * f64::EPSILON;
        self.values.iter().filter(|value| **value > bound).count()
    }

    /// Σ over the range of f(λ) v vᵀ x; f = 1/λ is the pseudo-inverse.
    pub(crate) fn apply(&self, x: &[f64], f: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut result = vec![0.0; x.len()];
        for (value, vector) in self.values.iter().zip(&self.vectors).take(self.rank()) {
            let share = f(*value) * vector.iter().zip(x).map(|(v, x)| v * x).sum::<f64>();
            result.iter_mut().zip(vector).for_each(|(r, v)| *r += share * v);
        }
        result
    }
}

/// Weights of a direction on which all unit gradients project equally: D⁻¹ C⁺ 1, not normalised. The residual is that of
/// C x = 1 in the least-squares sense. A zero gradient gets weight 0. Where the gradients' hull holds 0 no direction has
/// equal projections above 0: [`Status::ParetoStationary`], with the least-squares weights, which are 0 where the unit
/// gradients sum to 0.
pub(crate) fn equal_projections(gram: &Gram) -> Outcome {
    let mut weights = vec![0.0; gram.tasks()];
    let (present, c) = cosines(gram);
    let ones = vec![1.0; present.len()];
    let mut solution = Spectrum::of(&c).apply(&ones, |value| 1.0 / value);
    let misses: Vec<f64> = c.times(&solution).iter().map(|value| value - 1.0).collect();
    let opposed = stationary(gram, &present, misses.iter().any(|miss| miss.abs() > TOLERANCE));
    if opposed && solution.iter().all(|x| x.abs() < ROUNDING) {
        solution.fill(0.0);
    }
    let residual = c.times(&misses).iter().fold(0.0, |worst: f64, miss| worst.max(miss.abs()));
    // Relative to the longest gradient, so that no later sum over- or underflows.
    let unit = present.iter().map(|&task| gram.norm(task)).fold(0.0, f64::max);
    present.iter().zip(&solution).for_each(|(&task, x)| weights[task] = x * (unit / gram.norm(task)));
    let absent = (0..gram.tasks()).find(|task| !present.contains(task));
    let status = match (opposed, absent) {
        (true, _) => Status::ParetoStationary,
        (false, Some(task)) => Status::ZeroGradient(task),
        (false, None) => Status::Agreed,
    };
    Outcome::solved(weights, residual, 0, status)
}

/// A share of 1 that cancellation leaves where nothing should be left.
const ROUNDING: f64 = 1e-8;

/// Whether the hull of the gradients of the tasks `present` holds 0, if it can at all.
pub(crate) fn stationary(gram: &Gram, present: &[usize], dependent: bool) -> bool {
    dependent && min_norm(&gram.subset(present)).status == Status::ParetoStationary
}

/// Makes `a[p][q]` zero; row k of `v` is the k-th eigenvector in the making.
fn rotate(a: &mut [Vec<f64>], v: &mut [Vec<f64>], p: usize, q: usize) {
    let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
    let t = if theta.is_finite() { theta.signum() / (theta.abs() + theta.hypot(1.0)) } else { 0.0 };
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / t.hypot(1.0);
    let s = t * c;
    let (app, aqq, apq) = (a[p][p], a[q][q], a[p][q]);
    for row in a.iter_mut() {
        (row[p], row[q]) = (c * row[p] - s * row[q], s * row[p] + c * row[q]);
    }
    let (front, back) = a.split_at_mut(q);
    for (ap, aq) in front[p].iter_mut().zip(&mut back[0]) {
        (*ap, *aq) = (c * *ap - s * *aq, s * *ap + c * *aq);
    }
    a[p][p] = app - t * apq;
    a[q][q] = aqq + t * apq;
    a[p][q] = 0.0;
    a[q][p] = 0.0;
    let (front, back) = v.split_at_mut(q);
    for (vp, vq) in front[p].iter_mut().zip(&mut back[0]) {
        (*vp, *vq) = (c * *vp - s * *vq, s * *vp + c * *vq);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spectrum_rebuilds_the_matrix() {
        let entries = [4.0, 1.0, -2.0, 1.0, 3.0, 0.5, -2.0, 0.5, 5.0];
        let gram = Gram::new(3, entries.to_vec());
        let spectrum = Spectrum::of(&gram);
        assert!(spectrum.values.windows(2).all(|pair| pair[0] >= pair[1]) && spectrum.rank() == 3);
        for i in 0..3 {
            let mut unit = vec![0.0; 3];
            unit[i] = 1.0;
            let column = spectrum.apply(&unit, |value| value);
            (0..3).for_each(|j| assert!((column[j] - gram.at(i, j)).abs() < 1e-14));
            let back = gram.times(&spectrum.apply(&unit, |value| 1.0 / value));
            (0..3).for_each(|j| assert!((back[j] - unit[j]).abs() < 1e-14));
        }
    }

    #[test]
    fn a_duplicate_lowers_the_rank_and_scale_spoils_nothing() {
        let gram = Gram::new(2, vec![1.0, 1.0, 1.0, 1.0]);
        assert_eq!(Spectrum::of(&gram).rank(), 1);
        let scaled = Spectrum::of(&Gram::new(2, vec![1e30, 1e9, 1e9, 1e-10]));
        assert!((scaled.values[1] / (1e-10 - 1e-12) - 1.0).abs() < 1e-12, "{:?}", scaled.values);
    }
}
