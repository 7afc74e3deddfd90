//! What multi-task learning gains and costs against single-task learning.

mod gain;
mod negative;
mod overfitting;
mod stability;

pub use gain::{Compared, Gain, SMALLEST_BASELINE, gain_over_metrics, gain_over_tasks, has_ratio};
pub use negative::{Transfer, negative_share};
pub use overfitting::{Moment, Overfitting, overfitting};
pub use stability::{divergences, spread, volatility};

/// The share of parameters that one multi-task model saves against one model per task: 1 − multi / single.
///
/// Negative if the multi-task model is the larger one; 0 if `single_task_total` is 0.
pub fn parameter_reduction(total: usize, single_task_total: usize) -> f64 {
    if single_task_total == 0 { 0. } else { 1. - total as f64 / single_task_total as f64 }
}
