//! Damped Newton on the strictly convex potential whose stationary point is the bargaining solution.
//!
//! ```text
//! ½ αᵀGα − Σ φ(αᵢ),  φ′(α) = α^(−q)        its gradient vanishes where αᵢ^q (Gα)ᵢ = 1;  q = 1: Nash
//! ```
//!
//! The Hessian G + q·diag(α^(−q−1)) is positive definite even for a singular G, so the only way not to solve it is not
//! to have a solution: weights that grow for ever along a combination of gradients that vanishes.

use alloc::vec;
use alloc::vec::Vec;

use crate::math::{ln, pow, sqrt};
use crate::{Agreement, Gram, Settings, Status};

/// Below this residual a further step only stirs rounding: Newton squares it.
const POLISHED: f64 = 1e-13;

/// α > 0 with αᵢ^q (Gα)ᵢ = 1.
pub(crate) fn solve(gram: &Gram, q: f64, settings: &Settings) -> Agreement {
    let tasks = gram.tasks();
    let refused = |status| Agreement { alpha: vec![0.0; tasks], residual: 1.0, iterations: 0, status };
    if let Some(status) = unfit(gram) {
        return refused(status);
    }
    if !(q > 0.0 && q.is_finite()) {
        return refused(Status::OutOfIterations);
    }
    let mut table = Table::new(gram, q);
    let mut best = f64::INFINITY;
    let mut status = Status::OutOfIterations;
    let mut iterations = 0;
    while table.appraise(settings.stationary) {
        let residual = table.residual();
        if residual <= POLISHED || (residual <= settings.tolerance && residual > 0.5 * best) {
            status = Status::Agreed;
            break;
        }
        best = best.min(residual);
        if iterations == settings.max_iterations || !table.step() {
            break;
        }
        iterations += 1;
    }
    if table.opposed {
        status = Status::ParetoStationary;
    }
    let residual = table.residual();
    Agreement { alpha: table.alpha(), residual, iterations, status }
}

/// Why this is no Gram matrix of gradients that can bargain.
fn unfit(gram: &Gram) -> Option<Status> {
    let unusable = |i: &usize| !gram.row(*i).iter().all(|x| x.is_finite()) || gram.at(*i, *i) < 0.0;
    // A task whose every product is broken is the culprit; its partners' rows break with it.
    let broken = (0..gram.tasks()).filter(unusable).max_by_key(|&i| {
        let count = gram.row(i).iter().filter(|x| !x.is_finite()).count();
        (!gram.at(i, i).is_finite() || gram.at(i, i) < 0.0, count, core::cmp::Reverse(i))
    });
    if let Some(i) = broken {
        return Some(Status::NonFinite(i));
    }
    (0..gram.tasks()).find(|&i| gram.at(i, i) < f64::MIN_POSITIVE).map(Status::ZeroGradient)
}

/// The state of the bargaining: u = diag(n)·α with n a power of two near ‖gᵢ‖, so that scaling changes no digit.
struct Table {
    q: f64,
    scale: Vec<f64>,
    /// C = diag(1/n) G diag(1/n), close to the cosines.
    matrix: Vec<f64>,
    /// κᵢ = nᵢ^(1−q), so that αᵢ^q (Gα)ᵢ = κᵢ uᵢ^q (Cu)ᵢ.
    kappa: Vec<f64>,
    u: Vec<f64>,
    gain: Vec<f64>,
    share: Vec<f64>,
    factor: Vec<f64>,
    direction: Vec<f64>,
    opposed: bool,
}

impl Table {
    fn new(gram: &Gram, q: f64) -> Self {
        let k = gram.tasks();
        let scale: Vec<f64> = (0..k).map(|i| power_of_two(gram.at(i, i))).collect();
        let mut matrix = vec![0.0; k * k];
        for i in 0..k {
            for j in 0..k {
                matrix[i * k + j] = gram.at(i, j) / scale[i] / scale[j];
            }
        }
        let kappa: Vec<f64> = scale.iter().map(|n| if q == 1.0 { 1.0 } else { pow(*n, 1.0 - q) }).collect();
        let u = (0..k).map(|i| pow(kappa[i] * matrix[i * k + i], -1.0 / (1.0 + q))).collect();
        let zero = vec![0.0; k];
        let (gain, share, direction) = (zero.clone(), zero.clone(), zero);
        Self { q, scale, matrix, kappa, u, gain, share, factor: vec![0.0; k * k], direction, opposed: false }
    }

    /// Puts u at the best length of its ray and works out gains and shares; false if there is nothing more to do.
    fn appraise(&mut self, stationary: f64) -> bool {
        let k = self.u.len();
        for i in 0..k {
            self.gain[i] = self.matrix[i * k..(i + 1) * k].iter().zip(&self.u).map(|(c, u)| c * u).sum();
            self.share[i] = if self.q == 1.0 { 1.0 } else { pow(self.u[i], 1.0 - self.q) / self.kappa[i] };
        }
        let square: f64 = self.gain.iter().zip(&self.u).map(|(v, u)| v * u).sum();
        let largest = self.u.iter().fold(0.0, |a: f64, b| a.max(*b));
        if square <= stationary * stationary * largest * largest * k as f64 {
            self.opposed = true;
            return false;
        }
        let stretch = pow(self.share.iter().sum::<f64>() / square, 1.0 / (1.0 + self.q));
        let restretch = if self.q == 1.0 { 1.0 } else { pow(stretch, 1.0 - self.q) };
        for i in 0..k {
            self.u[i] *= stretch;
            self.gain[i] *= stretch;
            self.share[i] *= restretch;
        }
        true
    }

    /// maxᵢ |αᵢ^q (Gα)ᵢ − 1|.
    fn residual(&self) -> f64 {
        (0..self.u.len()).map(|i| (self.u[i] * self.gain[i] / self.share[i] - 1.0).abs()).fold(0.0, f64::max)
    }

    /// One Newton step in relative coordinates; false if the matrix is not positive definite or no length of it helps.
    fn step(&mut self) -> bool {
        let k = self.u.len();
        let root: Vec<f64> = self.share.iter().map(|s| sqrt(*s)).collect();
        for i in 0..k {
            let a = self.u[i] / root[i];
            for j in 0..=i {
                self.factor[i * k + j] = self.matrix[i * k + j] * a * (self.u[j] / root[j]);
            }
            self.factor[i * k + i] += self.q;
            self.direction[i] = root[i] * (1.0 - self.u[i] * self.gain[i] / self.share[i]);
        }
        if !cholesky(&mut self.factor, k) {
            return false;
        }
        substitute(&self.factor, k, &mut self.direction);
        let mut slope = 0.0;
        let mut longest = 0.0f64;
        for i in 0..k {
            self.direction[i] /= root[i];
            longest = longest.max(self.direction[i].abs());
            slope += self.direction[i] * (self.u[i] * self.gain[i] - self.share[i]);
        }
        let start = self.u.clone();
        let before = self.potential();
        let mut length = 1.0;
        loop {
            for i in 0..k {
                let d = length * self.direction[i];
                self.u[i] = start[i] * if d < 0.0 { 1.0 / (1.0 - d) } else { 1.0 + d };
            }
            if length * longest * (1.0 + self.q) <= 0.5 || self.potential() <= before + 1e-4 * length * slope {
                return true;
            }
            length *= 0.5;
            if length < 1e-12 {
                return false;
            }
        }
    }

    fn potential(&self) -> f64 {
        let k = self.u.len();
        let mut value = 0.0;
        for i in 0..k {
            let gain: f64 = self.matrix[i * k..(i + 1) * k].iter().zip(&self.u).map(|(c, u)| c * u).sum();
            let utility = if self.q == 1.0 { ln(self.u[i]) } else { pow(self.u[i], 1.0 - self.q) / (1.0 - self.q) };
            value += 0.5 * self.u[i] * gain - utility / self.kappa[i];
        }
        value
    }

    fn alpha(&self) -> Vec<f64> {
        self.u.iter().zip(&self.scale).map(|(u, n)| u / n).collect()
    }
}

/// The power of two 2^e with 4^e ≤ square < 4^(e+1).
fn power_of_two(square: f64) -> f64 {
    let exponent = (square.to_bits() >> 52) as i64 - 1023;
    f64::from_bits(((exponent.div_euclid(2) + 1023) as u64) << 52)
}

/// Lower Cholesky factor in place; false if a pivot is not positive.
fn cholesky(a: &mut [f64], k: usize) -> bool {
    for j in 0..k {
        for i in j..k {
            let sum: f64 = (0..j).map(|p| a[i * k + p] * a[j * k + p]).sum();
            let rest = a[i * k + j] - sum;
            if i > j {
                a[i * k + j] = rest / a[j * k + j];
            } else if rest > 0.0 {
                a[j * k + j] = sqrt(rest);
            } else {
                return false;
            }
        }
    }
    true
}

/// Solves LLᵀx = b in place.
fn substitute(a: &[f64], k: usize, b: &mut [f64]) {
    for i in 0..k {
        let sum: f64 = (0..i).map(|p| a[i * k + p] * b[p]).sum();
        b[i] = (b[i] - sum) / a[i * k + i];
    }
    for i in (0..k).rev() {
        let sum: f64 = (i + 1..k).map(|p| a[p * k + i] * b[p]).sum();
        b[i] = (b[i] - sum) / a[i * k + i];
    }
}
