//! What multi-task learning gains and costs against single-task learning.

/// The share of parameters that one multi-task model saves against one model per task: 1 − multi / single.
///
/// Negative if the multi-task model is the larger one; 0 if `single_task_total` is 0.
pub fn parameter_reduction(total: usize, single_task_total: usize) -> f64 {
    if single_task_total == 0 { 0. } else { 1. - total as f64 / single_task_total as f64 }
}
