//! The convex quadratic programme over the positive orthant that the projections reduce to.
//!
//! min ½ uᵀCu − bᵀu subject to u ≥ 0, for C positive semidefinite with unit diagonal (a cosine matrix). An active set
//! method after Goldfarb and Idnani (1983): the gradient b − Cu stays zero on the support S, and the index with the
//! largest positive gradient enters along the ray that keeps it so, driving out whatever reaches zero on the way.
//! C restricted to S stays positive definite, so a singular C needs no regularisation.

use mtl_nash::Gram;

/// A minimiser, or the ray along which the objective falls for ever.
pub(crate) struct Solution {
    /// The minimiser; for a ray its direction.
    pub(crate) u: Vec<f64>,
    /// u ≥ 0 with Cu = 0 and bᵀu > 0: there is no minimum.
    pub(crate) ray: bool,
    /// Largest violation of the optimality conditions, relative to the terms they are sums of.
    pub(crate) residual: f64,
    pub(crate) iterations: usize,
    /// Whether the conditions were met before the iterations ran out.
    pub(crate) solved: bool,
}

/// Below this Schur complement a gradient counts as dependent on those of the support.
const DEPENDENT: f64 = 1e-13;

/// Solves the programme. With `bounded` the caller knows that a minimum exists: an apparent ray is then rounding.
pub(crate) fn minimise(c: &Gram, b: &[f64], bounded: bool) -> Solution {
    let n = b.len();
    let mut u = vec![0.0; n];
    let mut support: Vec<usize> = Vec::with_capacity(n);
    let mut settled = vec![false; n];
    let mut iterations = 0;
    let mut solved = false;
    while iterations < 30 * n + 30 {
        let entering = (0..n)
            .filter(|i| !settled[*i] && !support.contains(i))
            .map(|i| (gradient(c, b, &u, i), i))
            .filter(|((value, scale), _)| *value > 8.0 * n as f64 * f64::EPSILON * scale)
            .max_by(|a, b| a.0.0.total_cmp(&b.0.0).then(b.1.cmp(&a.1)));
        let Some((_, entering)) = entering else {
            solved = true;
            break;
        };
        loop {
            iterations += 1;
            let column: Vec<f64> = support.iter().map(|&j| c.at(j, entering)).collect();
            let back = Factor::new(c, &support).solve(&column);
            let complement = 1.0 - dot(&column, &back);
            let full = if complement > DEPENDENT {
                gradient(c, b, &u, entering).0.max(0.0) / complement
            } else {
                f64::INFINITY
            };
            let blocked = (0..support.len())
                .filter(|&k| back[k] > f64::EPSILON)
                .map(|k| (u[support[k]] / back[k], k))
                .min_by(|a, b| a.0.total_cmp(&b.0).then(support[a.1].cmp(&support[b.1])));
            let step = blocked.map_or(full, |(block, _)| block.min(full));
            if step.is_infinite() {
                if bounded {
                    settled[entering] = true;
                    break;
                }
                let mut ray = vec![0.0; n];
                ray[entering] = 1.0;
                support.iter().zip(&back).for_each(|(&j, r)| ray[j] = (-r).max(0.0));
                let residual = c.times(&ray).iter().fold(0.0, |worst: f64, value| worst.max(value.abs()));
                return Solution {
                    residual: residual / dot(&ray, &ray).sqrt(),
                    u: ray,
                    ray: true,
                    iterations,
                    solved: true,
                };
            }
            u[entering] += step;
            support.iter().zip(&back).for_each(|(&j, r)| u[j] = (u[j] - step * r).max(0.0));
            match blocked {
                Some((block, k)) if block < full => u[support.remove(k)] = 0.0,
                _ => {
                    support.push(entering);
                    break;
                }
            }
            if iterations >= 30 * n + 30 {
                break;
            }
        }
    }
    polish(c, b, &support, &mut u);
    let residual = violation(c, b, &u);
    Solution { u, ray: false, residual, iterations, solved }
}

/// The objective's negative gradient at index `i`, and the size of the terms it is a sum of.
fn gradient(c: &Gram, b: &[f64], u: &[f64], i: usize) -> (f64, f64) {
    u.iter().enumerate().fold((b[i], b[i].abs()), |(value, scale), (j, u)| {
        let term = c.at(i, j) * u;
        (value - term, scale + term.abs())
    })
}

/// Solves afresh on the support, with one refinement, so that no rounding of the path remains.
fn polish(c: &Gram, b: &[f64], support: &[usize], u: &mut [f64]) {
    let factor = Factor::new(c, support);
    let target: Vec<f64> = support.iter().map(|&i| b[i]).collect();
    let mut fresh = vec![0.0; u.len()];
    for _ in 0..2 {
        let rest: Vec<f64> = if fresh.iter().all(|v| *v == 0.0) {
            target.clone()
        } else {
            support.iter().map(|&i| gradient(c, b, &fresh, i).0).collect()
        };
        support.iter().zip(factor.solve(&rest)).for_each(|(&i, v)| fresh[i] += v);
    }
    let improves = violation(c, b, &fresh) <= violation(c, b, u);
    if improves && fresh.iter().all(|value| *value >= 0.0 && value.is_finite()) {
        u.copy_from_slice(&fresh);
    }
}

fn violation(c: &Gram, b: &[f64], u: &[f64]) -> f64 {
    (0..b.len())
        .map(|i| {
            let (value, scale) = gradient(c, b, u, i);
            let off = if u[i] > 0.0 { value.abs() } else { value.max(0.0) };
            if scale > 0.0 { off / scale } else { 0.0 }
        })
        .fold(0.0, f64::max)
}

/// The Cholesky factor of C restricted to a support.
struct Factor {
    size: usize,
    lower: Vec<f64>,
}

impl Factor {
    fn new(c: &Gram, support: &[usize]) -> Self {
        let size = support.len();
        let mut lower = vec![0.0; size * size];
        for i in 0..size {
            for j in 0..=i {
                let (row, other) = (&lower[i * size..i * size + j], &lower[j * size..j * size + j]);
                let rest = c.at(support[i], support[j]) - dot(row, other);
                // The support is independent to `DEPENDENT`; the floor keeps rounding from undoing that.
                lower[i * size + j] =
                    if i == j { rest.max(0.1 * DEPENDENT).sqrt() } else { rest / lower[j * size + j] };
            }
        }
        Self { size, lower }
    }

    fn solve(&self, target: &[f64]) -> Vec<f64> {
        let (n, l) = (self.size, &self.lower);
        let mut x = target.to_vec();
        for i in 0..n {
            x[i] = (x[i] - dot(&l[i * n..i * n + i], &x[..i])) / l[i * n + i];
        }
        for i in (0..n).rev() {
            let later: f64 = (i + 1..n).map(|j| l[j * n + i] * x[j]).sum();
            x[i] = (x[i] - later) / l[i * n + i];
        }
        x
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}
