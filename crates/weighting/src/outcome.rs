//! What a rule returns. Whatever the rule, an outcome that is agreed has finite weights and a residual of at most
//! [`TOLERANCE`]: the wrappers of [`weighting`](crate::Weighting) see to it.

use std::fmt;

use mtl_nash::Status;

/// The largest residual that any rule calls [`Status::Agreed`].
pub const TOLERANCE: f64 = 1e-9;

/// The weights of a step, with a certificate of how exact they are.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// One weight per task, any clipping applied; empty for a rule that writes its direction directly.
    pub weights: Vec<f64>,
    /// How far the weights are from satisfying the rule's defining conditions, relative; 0 for closed forms.
    pub residual: f64,
    /// Iterations of the solver; 0 for closed forms.
    pub iterations: usize,
    /// How the solve ended.
    pub status: Status,
    /// Something a reader of the log should know.
    pub warning: Option<Warning>,
    /// The factor, at most 1, that `weights` were multiplied by to respect `max_norm`. Weights before clipping, which
    /// [`Private::Weighted`](crate::Private) wants, are `weights / clip`.
    pub clip: f64,
}

impl Outcome {
    /// The outcome of a closed form.
    pub fn exact(weights: Vec<f64>) -> Self {
        Self::solved(weights, 0.0, 0, Status::Agreed)
    }

    /// The outcome of a solver.
    pub fn solved(weights: Vec<f64>, residual: f64, iterations: usize, status: Status) -> Self {
        Self { weights, residual, iterations, status, warning: None, clip: 1.0 }
    }

    /// What of it can be vouched for: agreed is what keeps [`TOLERANCE`], and a weight that is no number is nobody's.
    pub(crate) fn certified(self) -> Self {
        if let Some(task) = self.weights.iter().position(|weight| !weight.is_finite()) {
            return Self { warning: self.warning, ..Self::non_finite(self.weights.len(), task) };
        }
        let residual = if self.residual.is_finite() { self.residual } else { f64::MAX };
        let status = match self.status {
            Status::Agreed if residual > TOLERANCE => Status::OutOfIterations,
            status => status,
        };
        Self { residual, status, ..self }
    }

    /// Task `task` brought a loss or gradient that is not finite: the trainer stops, naming step and task.
    pub(crate) fn non_finite(tasks: usize, task: usize) -> Self {
        Self::solved(vec![0.0; tasks], 0.0, 0, Status::NonFinite(task))
    }
}

/// What a rule warns of. Printed in kebab-case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The weights sum to less than 0 before they are normalised, so the direction is flipped (IMTL-G).
    NegativeSum,
    /// Some loss, less the minimum that is known of it, is not above 0 where the rule needs its logarithm, its reciprocal
    /// or its sign; it was raised to a small number.
    NonPositiveLoss,
}

impl fmt::Display for Warning {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NegativeSum => "negative-sum",
            Self::NonPositiveLoss => "non-positive-loss",
        })
    }
}

/// Weights that still hold, so that a step needs no gradient per task: accumulate Σ wᵢ gᵢ in one row and clip it.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedWeights {
    /// One weight per task, not yet clipped.
    pub weights: Vec<f64>,
    /// The largest norm that the direction may have.
    pub max_norm: Option<f64>,
}
