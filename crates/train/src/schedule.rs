//! The learning rate over time, by the names and formulas of Hugging Face's `get_scheduler`.

use anyhow::{Result, bail};
use mtl_task::{Member, Registry};

use crate::recipe::Schedule;

/// The factor of the base rate at step `t` of `n` after `w` steps of warm-up.
pub type Factor = fn(f64, f64, f64) -> f64;

/// A schedule, by its name.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleKind {
    /// The name a recipe uses.
    pub name: &'static str,
    /// One line for `list`.
    pub about: &'static str,
    /// The learning rate over time: a finite factor of at least 0.
    pub factor: Factor,
}

const BUILT_IN: &[ScheduleKind] = &[
    ScheduleKind { name: "constant", about: "the base rate, without a warm-up", factor: |_, _, _| 1. },
    ScheduleKind {
        name: "constant_with_warmup",
        about: "a linear rise, then the base rate",
        factor: |t, w, _| warm(t, w).unwrap_or(1.),
    },
    ScheduleKind {
        name: "cosine",
        about: "a linear rise, then half a cosine down to 0",
        factor: |t, w, n| {
            let progress = (t - w) / (n - w).max(1.);
            warm(t, w).unwrap_or_else(|| (0.5 * (1. + (std::f64::consts::PI * progress).cos())).max(0.))
        },
    },
    ScheduleKind {
        name: "linear",
        about: "a linear rise, then a linear fall to 0",
        factor: |t, w, n| warm(t, w).unwrap_or_else(|| ((n - t) / (n - w).max(1.)).max(0.)),
    },
    // Power 1 and final rate 1e-7 of a base rate of 1, which is what `polynomial` means there.
    ScheduleKind {
        name: "polynomial",
        about: "a linear rise, then a linear fall to 1e-7 of the base rate",
        factor: |t, w, n| {
            warm(t, w).unwrap_or_else(|| if t > n { 1e-7 } else { (1. - 1e-7) * (1. - (t - w) / (n - w)) + 1e-7 })
        },
    },
];

impl Member for ScheduleKind {
    const KIND: &'static str = "schedule";

    fn built_in() -> Vec<Self> {
        BUILT_IN.to_vec()
    }

    fn name(&self) -> &str {
        self.name
    }
}

fn warm(t: f64, w: f64) -> Option<f64> {
    (t < w).then(|| t / w.max(1.))
}

/// The factor of the base rate at step `step` (from 0) of `steps`, by one of `schedules`.
///
/// # Errors
/// If there is no such schedule, or it gives no finite factor of at least 0.
pub fn factor(schedules: &Registry<ScheduleKind>, schedule: &Schedule, step: usize, steps: usize) -> Result<f64> {
    let warmup = match schedule.warmup_steps {
        0 => (schedule.warmup_ratio * steps as f64).ceil(),
        given => given as f64,
    };
    let factor = (schedules.find(&schedule.name)?.factor)(step as f64, warmup, steps as f64);
    if !factor.is_finite() || factor < 0. {
        bail!("schedule `{}` gives {factor} at step {step}; a finite factor of at least 0 was expected", schedule.name);
    }
    Ok(factor)
}

/// What is wrong with a schedule over `steps` steps.
pub(crate) fn check(schedules: &Registry<ScheduleKind>, schedule: &Schedule, steps: usize) -> Result<()> {
    schedules.find(&schedule.name)?;
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
        let at = |step| factor(&Registry::default(), &schedule, step, 110).expect("a factor");
        assert_eq!((at(0), at(5), at(10), at(60), at(110)), (0., 0.5, 1., 0.5, 0.));
    }

    #[test]
    fn a_factor_that_is_none_is_refused_with_the_step() {
        let mine = ScheduleKind { name: "mine", about: "", factor: |t, _, _| 1. / (2. - t) };
        let schedules = Registry::default().with(mine).expect("a new name");
        let schedule = Schedule { name: "mine".into(), ..Schedule::default() };
        assert_eq!(factor(&schedules, &schedule, 1, 9).ok(), Some(1.));
        for step in [2, 3] {
            let error = factor(&schedules, &schedule, step, 9).expect_err("no factor").to_string();
            assert!(error.contains("`mine`") && error.contains(&format!("step {step}")), "{error}");
        }
    }
}
