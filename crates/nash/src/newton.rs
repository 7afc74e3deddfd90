//! Newton on the strictly convex potential whose stationary point is the agreement.
//!
//! ```text
//! f(α) = ½ αᵀGα − Σ φ(αᵢ),  φ′(α) = α^(−q)        ∇f = 0  ⇔  αᵢ^q (Gα)ᵢ = 1        Nash: q = 1, φ = log
//! ```
//!
//! The Hessian G + q·diag(α^(−q−1)) is positive definite even for a singular G, so the only way not to be solved is to
//! have no solution: weights that grow without end along a combination of gradients that vanishes. Three devices make
//! the textbook method fast and exact over any range of gradient norms:
//!
//! - The unknowns are uᵢ = nᵢαᵢ, with nᵢ the power of two below ‖gᵢ‖: C = diag(1/n) G diag(1/n) is within a factor of
//!   four of the matrix of cosines, and no digit of the problem changes.
//! - After every step u is put at the minimum of f along its own ray, which has a closed form. For Nash that keeps
//!   ‖Σ αᵢgᵢ‖² = K throughout.
//! - A step is halved until f is sure to have fallen. By convexity f(u) ≥ f(u′) + ⟨∇f(u′), u − u′⟩, so it has wherever
//!   ⟨∇f(u′), u′ − u⟩ ≤ 0; the potential itself, whose digits cancel, is never computed.

use alloc::vec;
use alloc::vec::Vec;

use crate::linear::{cholesky, dot, substitute};
use crate::math::{pow, sqrt};
use crate::{Agreement, Gram, Settings, Status};

/// Below this residual a further step only stirs rounding.
const POLISHED: f64 = 1e-13;

/// The relative length of a last step: what it leaves of the residual is the square of it.
const LAST: f64 = 1e-7;

/// Halvings of a step before it counts as useless.
const HALVINGS: usize = 60;

/// α > 0 with αᵢ^q (Gα)ᵢ = 1.
pub(crate) fn solve(gram: &Gram, q: f64, settings: &Settings) -> Agreement {
    let refused = |status| Agreement { alpha: vec![0.0; gram.tasks()], residual: 1.0, iterations: 0, status };
    if let Some(status) = unfit(gram) {
        return refused(status);
    }
    if !(q > 0.0 && q.is_finite()) {
        return refused(Status::OutOfIterations);
    }
    let mut table = Table::new(gram, q);
    let mut iterations = 0;
    let mut moved = f64::INFINITY;
    let mut best = (f64::INFINITY, Vec::new());
    let opposed = loop {
        if table.opposed(settings.stationary) {
            break true;
        }
        table.stretch();
        let residual = table.residual();
        if residual < best.0 {
            best = (residual, table.u.clone());
        }
        if residual <= POLISHED || moved <= LAST || iterations == settings.max_iterations {
            break false;
        }
        moved = table.step();
        iterations += 1;
    };
    // Where rounding has the last word a step may lead away from the best.
    if !opposed && table.residual() > settings.tolerance.max(best.0) {
        table.u = best.1;
    }
    let alpha = table.alpha();
    if !alpha.iter().all(|weight| *weight > 0.0 && weight.is_finite()) {
        return refused(Status::OutOfIterations);
    }
    // What is reported is what the caller can check, from the matrix and the weights alone.
    let residual = worst((0..alpha.len()).map(|i| power(alpha[i], q) * dot(gram.row(i), &alpha)));
    let status = match opposed {
        true => Status::ParetoStationary,
        false if residual <= settings.tolerance => Status::Agreed,
        false => Status::OutOfIterations,
    };
    Agreement { alpha, residual, iterations, status }
}

/// Why these are no gradients that can bargain.
fn unfit(gram: &Gram) -> Option<Status> {
    let first = |unfit: &dyn Fn(usize) -> bool| (0..gram.tasks()).find(|&i| unfit(i));
    // A broken gradient breaks its own norm; its products, which break other rows too, come second.
    let broken = first(&|i| !(gram.at(i, i) >= 0.0 && gram.at(i, i).is_finite()))
        .or_else(|| first(&|i| !gram.row(i).iter().all(|product| product.is_finite())));
    // A squared norm below the normal floats has lost its digits.
    let vanished = || first(&|i| gram.at(i, i) < f64::MIN_POSITIVE);
    broken.map(Status::NonFinite).or_else(|| vanished().map(Status::ZeroGradient))
}

/// The state of one bargaining, every vector `[K]`, every matrix `[K · K]`.
struct Table {
    q: f64,
    /// n.
    scale: Vec<f64>,
    /// C.
    matrix: Vec<f64>,
    /// κᵢ = nᵢ^(1−q), so that αᵢ^q (Gα)ᵢ = κᵢ uᵢ^q (Cu)ᵢ.
    kappa: Vec<f64>,
    u: Vec<f64>,
    /// uᵢ(Cu)ᵢ, what task i gains from the whole.
    gain: Vec<f64>,
    /// uᵢ^(1−q)/κᵢ, what it should gain: 1 in Nash's game.
    share: Vec<f64>,
    factor: Vec<f64>,
    /// The Newton step relative to u.
    change: Vec<f64>,
    origin: Vec<f64>,
}

impl Table {
    /// At the solution for orthogonal gradients.
    fn new(gram: &Gram, q: f64) -> Self {
        let tasks = gram.tasks();
        let scale: Vec<f64> = (0..tasks).map(|i| power_of_two(gram.at(i, i))).collect();
        let inverse: Vec<f64> = scale.iter().map(|n| 1.0 / n).collect();
        let mut matrix = gram.entries().to_vec();
        for (row, n) in matrix.chunks_exact_mut(tasks.max(1)).zip(&inverse) {
            for (entry, m) in row.iter_mut().zip(&inverse) {
                *entry *= n;
                *entry *= m;
            }
        }
        let kappa: Vec<f64> = scale.iter().map(|n| power(*n, 1.0 - q)).collect();
        let alone = |i: usize| {
            let square = matrix[i * tasks + i] * kappa[i];
            if q == 1.0 { 1.0 / sqrt(square) } else { pow(square, -1.0 / (1.0 + q)) }
        };
        let u = (0..tasks).map(alone).collect();
        let zeros = vec![0.0; tasks];
        let mut table = Self {
            q,
            scale,
            kappa,
            u,
            gain: zeros.clone(),
            share: vec![1.0; tasks],
            factor: vec![0.0; matrix.len()],
            matrix,
            change: zeros.clone(),
            origin: zeros,
        };
        table.appraise();
        table
    }

    /// Gains and shares at u.
    fn appraise(&mut self) {
        for (i, row) in self.matrix.chunks_exact(self.u.len().max(1)).enumerate() {
            self.gain[i] = self.u[i] * dot(row, &self.u);
            if self.q != 1.0 {
                self.share[i] = pow(self.u[i], 1.0 - self.q) / self.kappa[i];
            }
        }
    }

    /// Whether Σ vᵢĝᵢ, of unit gradients with v ≥ 0 and max vᵢ = 1, is at most threshold·√K long.
    ///
    /// v is u in units of 1/‖gᵢ‖. At Nash's solution, where ⟨ĝᵢ, d⟩ = 1/(αᵢ‖gᵢ‖) and ‖d‖² = K, this says that some task
    /// gains no more than the threshold from d.
    fn opposed(&self, threshold: f64) -> bool {
        let tasks = self.u.len();
        let largest = (0..tasks).map(|i| self.u[i] * self.u[i] * self.matrix[i * tasks + i]).fold(0.0, f64::max);
        tasks > 0 && self.gain.iter().sum::<f64>() <= threshold * threshold * largest * tasks as f64
    }

    /// Puts u at the minimum of the potential on its ray, where the gains and the shares have the same sum.
    fn stretch(&mut self) {
        let ratio = self.share.iter().sum::<f64>() / self.gain.iter().sum::<f64>();
        let (length, growth) = if self.q == 1.0 {
            (sqrt(ratio), 1.0)
        } else {
            let length = pow(ratio, 1.0 / (1.0 + self.q));
            (length, pow(length, 1.0 - self.q))
        };
        for i in 0..self.u.len() {
            self.u[i] *= length;
            self.gain[i] *= length * length;
            self.share[i] *= growth;
        }
    }

    fn residual(&self) -> f64 {
        worst(self.gain.iter().zip(&self.share).map(|(gain, share)| gain / share))
    }

    /// One Newton step; its relative length, 0 if there is none to take.
    ///
    /// With relative changes δ and S = diag(√share), (S⁻¹UCUS⁻¹ + qI)(Sδ) = S⁻¹(share − gain): no eigenvalue below q.
    fn step(&mut self) -> f64 {
        let tasks = self.u.len();
        for i in 0..tasks {
            let root = sqrt(self.share[i]);
            self.origin[i] = self.u[i] / root;
            self.change[i] = (self.share[i] - self.gain[i]) / root;
        }
        for i in 0..tasks {
            let row = i * tasks + i..(i + 1) * tasks;
            let weight = self.origin[i];
            for ((x, c), w) in self.factor[row.clone()].iter_mut().zip(&self.matrix[row]).zip(&self.origin[i..]) {
                *x = c * weight * w;
            }
            self.factor[i * tasks + i] += self.q;
        }
        if !cholesky(&mut self.factor, tasks) {
            return 0.0;
        }
        substitute(&self.factor, tasks, &mut self.change);
        let mut longest: f64 = 0.0;
        for (change, share) in self.change.iter_mut().zip(&self.share) {
            *change /= sqrt(*share);
            longest = longest.max(change.abs());
        }
        self.origin.copy_from_slice(&self.u);
        let mut length = 1.0;
        for _ in 0..HALVINGS {
            for ((u, origin), change) in self.u.iter_mut().zip(&self.origin).zip(&self.change) {
                let change = length * change;
                // Below zero lies outside the domain; the branches meet at a half.
                *u = origin * if change > -0.5 { 1.0 + change } else { -0.25 / change };
            }
            self.appraise();
            // So short a step leaves the Hessian within a factor of two, where a full one contracts.
            if length * longest * (1.0 + self.q) <= 0.5 || self.fell() {
                return length * longest;
            }
            length *= 0.5;
        }
        0.0
    }

    /// ⟨∇f(u), u − origin⟩ ≤ 0.
    fn fell(&self) -> bool {
        let slope = |i: usize| (self.gain[i] - self.share[i]) * (1.0 - self.origin[i] / self.u[i]);
        (0..self.u.len()).map(slope).sum::<f64>() <= 0.0
    }

    fn alpha(&self) -> Vec<f64> {
        self.u.iter().zip(&self.scale).map(|(u, n)| u / n).collect()
    }
}

/// How far the worst of these is from 1, infinity if one is not a number.
fn worst(products: impl Iterator<Item = f64>) -> f64 {
    products.map(|x| if x.is_nan() { f64::INFINITY } else { (x - 1.0).abs() }).fold(0.0, f64::max)
}

/// x^exponent, exact and quick where Nash needs it.
fn power(x: f64, exponent: f64) -> f64 {
    if exponent == 0.0 {
        1.0
    } else if exponent == 1.0 {
        x
    } else {
        pow(x, exponent)
    }
}

/// The power of two 2^e with 4^e ≤ square < 4^(e+1), of a normal number.
fn power_of_two(square: f64) -> f64 {
    let exponent = (square.to_bits() >> 52) as i64 - 1023;
    f64::from_bits(((exponent.div_euclid(2) + 1023) as u64) << 52)
}
