//! The learning rate over time, by the names and formulas of Hugging Face's `get_scheduler`.

use anyhow::{Result, bail};

use crate::recipe::Schedule;

/// The factor of the base rate at step `t` of `n` behind `w` steps of warm-up.
pub type Factor = fn(f64, f64, f64) -> f64;

/// Every schedule by its name.
pub const SCHEDULES: &[(&str, Factor)] = &[
    ("constant", |_, _, _| 1.),
    ("constant_with_warmup", |t, w, _| warm(t, w).unwrap_or(1.)),
    ("cosine", |t, w, n| {
        warm(t, w).unwrap_or_else(|| (0.5 * (1. + (std::f64::consts::PI * (t - w) / (n - w).max(1.)).cos())).max(0.))
    }),
    ("linear", |t, w, n| warm(t, w).unwrap_or_else(|| ((n - t) / (n - w).max(1.)).max(0.))),
    // Power 1 and final rate 1e-7 of a base rate of 1, which is what `polynomial` means there.
    ("polynomial", |t, w, n| {
        warm(t, w).unwrap_or_else(|| if t > n { 1e-7 } else { (1. - 1e-7) * (1. - (t - w) / (n - w)) + 1e-7 })
    }),
];

fn warm(t: f64, w: f64) -> Option<f64> {
    (t < w).then(|| t / w.max(1.))
}

/// The factor of the base rate at step `step` (from 0) of `steps`.
pub fn factor(schedule: &Schedule, step: usize, steps: usize) -> f64 {
    let warmup = match schedule.warmup_steps {
        0 => (schedule.warmup_ratio * steps as f64).ceil(),
        given => given as f64,
    };
    let of = SCHEDULES.iter().find(|(name, _)| *name == schedule.name).map_or(SCHEDULES[0].1, |(_, of)| *of);
    of(step as f64, warmup, steps as f64)
}

/// What is wrong with a schedule over `steps` steps.
pub(crate) fn check(schedule: &Schedule, steps: usize) -> Result<()> {
    if !SCHEDULES.iter().any(|(name, _)| *name == schedule.name) {
        let names: Vec<&str> = SCHEDULES.iter().map(|(name, _)| *name).collect();
        let nearest = mtl_task::nearest(&schedule.name, names.iter().copied());
        bail!("unknown schedule `{}`{nearest}; there are {}", schedule.name, names.join(", "));
    }
    if !(0. ..=1.).contains(&schedule.warmup_ratio) {
        bail!("`warmup_ratio` must lie in [0, 1], found {}", schedule.warmup_ratio);
    }
    if schedule.warmup_steps > steps {
        bail!("`warmup_steps` is {}, but there are {steps} steps", schedule.warmup_steps);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_warms_up_and_falls_to_zero() {
        let schedule = Schedule { warmup_steps: 10, ..Schedule::default() };
        let at = |step| factor(&schedule, step, 110);
        assert_eq!((at(0), at(5), at(10), at(60), at(110)), (0., 0.5, 1., 0.5, 0.));
    }
}
