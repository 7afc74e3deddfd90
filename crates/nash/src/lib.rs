//! The Nash bargaining kernel: a Gram matrix of task gradients in, bargaining weights out.
//!
//! K tasks share parameters and disagree about the step. With G = JJᵀ, Gᵢⱼ = ⟨gᵢ, gⱼ⟩, the Nash bargaining solution of
//! "every task gains ⟨gᵢ, d⟩, nobody gains without agreement" is d = Σ αᵢgᵢ with
//!
//! ```text
//! Gα = 1/α,  α > 0        (Navon et al., Multi-Task Learning as a Bargaining Game, ICML 2022, Claim 3.1)
//! ```
//!
//! [`bargain`] solves that, [`fair`] the α-fair equation of FairGrad, Gα = α^(−1/a) (Ban & Ji, Fair Resource Allocation
//! in Multi-Task Learning, ICML 2024). Both answer an [`Agreement`] for any input whatever, and its [`Status`] says
//! whether it is one: there is no silent fallback, no panic and no NaN.
//!
//! The crate depends on nothing. Without the feature `std` (the default) it is `no_std` with `alloc`, and takes its
//! square roots, powers and logarithms from the optional `libm`.
#![doc = "\n---\n"]
#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod gram;
mod linear;
mod math;
mod newton;

use alloc::vec::Vec;
use core::fmt;

pub use gram::Gram;

/// How exact an agreement must be, and when to give up on one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The largest residual that counts as agreed; 1e-9. The solver goes on to rounding where rounding lets it.
    pub tolerance: f64,
    /// Newton steps before [`Status::OutOfIterations`]; 100.
    pub max_iterations: usize,
    /// How near to the origin a non-negative combination of the unit gradients may come before the tasks count as
    /// opposed ([`Status::ParetoStationary`]); 1e-3.
    pub stationary: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tolerance: 1e-9, max_iterations: 100, stationary: 1e-3 }
    }
}

/// What came of the bargaining.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The equation holds to the tolerance.
    Agreed,
    /// A non-negative combination of the gradients vanishes: no direction serves every task.
    ParetoStationary,
    /// The gradient of this task is zero, so it can gain nothing and agrees to nothing.
    ZeroGradient(usize),
    /// The gradient of this task has an entry that is not a finite number, or its squared norm is below zero.
    NonFinite(usize),
    /// The tolerance was not reached, by the steps allowed or by what 64-bit floats can resolve.
    OutOfIterations,
}

impl fmt::Display for Status {
    /// The name in kebab case, without the task: reports group by it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Status::Agreed => "agreed",
            Status::ParetoStationary => "pareto-stationary",
            Status::ZeroGradient(_) => "zero-gradient",
            Status::NonFinite(_) => "non-finite",
            Status::OutOfIterations => "out-of-iterations",
        })
    }
}

/// Weights, how far they are from solving the equation, and what that means.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// One weight a task, `[K]`, every one finite and positive; all zero after `ZeroGradient` and `NonFinite`.
    pub alpha: Vec<f64>,
    /// maxᵢ |αᵢ(Gα)ᵢ − 1|; for [`fair`], maxᵢ |αᵢ^(1/a) (Gα)ᵢ − 1|.
    pub residual: f64,
    /// Newton steps taken.
    pub iterations: usize,
    /// Whether the tasks agreed, and if not, why.
    pub status: Status,
}

/// The Nash bargaining weights, Gα = 1/α.
///
/// At the solution ‖Σ αᵢgᵢ‖² = K, and Σ αᵢgᵢ does not change when a task's loss is multiplied by a positive number.
pub fn bargain(gram: &Gram, settings: &Settings) -> Agreement {
    newton::solve(gram, 1.0, settings)
}

/// FairGrad's α-fair weights, Gα = α^(−1/exponent).
///
/// An exponent of 1 is [`bargain`], towards 0 the sum of the losses counts alone, towards ∞ the worst task's.
/// An exponent that is not positive and finite has no equation: `OutOfIterations` with weights zero.
pub fn fair(gram: &Gram, exponent: f64, settings: &Settings) -> Agreement {
    newton::solve(gram, 1.0 / exponent, settings)
}
