//! Random Gram matrices of the kinds that training meets, and of those that it should not.
#![allow(dead_code, reason = "each test file uses its part")]

use mtl_nash::Gram;
use mtl_task::rng::Stream;

/// `tasks` gradients of independent normal entries, `[tasks, width]`.
pub(crate) fn normal(stream: &mut Stream, tasks: usize, width: usize) -> Vec<Vec<f64>> {
    (0..tasks).map(|_| (0..width).map(|_| stream.normal()).collect()).collect()
}

/// Each gradient times a factor drawn log-uniformly over `decades`, centred on 1.
pub(crate) fn rescale(stream: &mut Stream, rows: &mut [Vec<f64>], decades: f64) {
    for row in rows {
        let factor = 10f64.powf(decades * (stream.uniform() - 0.5));
        row.iter_mut().for_each(|x| *x *= factor);
    }
}

/// ‖w·n − v·n‖ / ‖v·n‖ with n the gradients' norms: how far two answers are apart, whatever the tasks' scales.
pub(crate) fn distance(gram: &Gram, w: &[f64], v: &[f64]) -> f64 {
    let size = |f: &dyn Fn(usize) -> f64| (0..v.len()).map(|i| (f(i) * gram.norm(i)).powi(2)).sum::<f64>().sqrt();
    size(&|i| w[i] - v[i]) / size(&|i| v[i])
}
