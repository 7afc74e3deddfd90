//! Whether a run fits into the memory that there is, said before its first step, and what would fit.

use anyhow::{Result, bail};

use super::available::Available;
use super::estimate::{Settings, Sizes};

/// An estimate is refused that is so many times what is available: an estimate is no measurement, and a run that would
/// have fitted must not be turned away.
const CLEARLY: f64 = 1.15;

/// Refuses a run that cannot fit.
///
/// # Errors
/// With what it needs, what is available, and the settings that would fit.
pub(crate) fn check(sizes: &Sizes, available: Option<Available>) -> Result<()> {
    let Some(available) = available else { return Ok(()) };
    let settings = sizes.settings();
    let estimate = sizes.estimate(settings);
    if !too_much(estimate.ahead(), available.bytes) {
        return Ok(());
    }
    let remedy = match fitting(sizes, available.bytes) {
        Some(changed) => {
            let own = match changed.batch != settings.batch && sizes.has_own_batches() {
                true => ", tasks' own batches smaller alike",
                false => "",
            };
            format!("it would fit with {}{own}", changed.said(settings))
        }
        None => "a batch of one text would not fit either: choose a smaller encoder (models/), a strategy that trains \
                 less, or fewer tasks"
            .to_string(),
    };
    bail!(
        "the run would not fit into memory: beyond what is loaded it needs about {} (gradients {}, moments {}, \
         activations {}, parts that the strategy computes {}, answers on dev {}, a checkpoint while it is written {}), \
         and {} are left by {}; {remedy}; MTL_IGNORE_MEMORY=1 tries all the same",
        readable(estimate.ahead()),
        readable(estimate.gradients),
        readable(estimate.moments),
        readable(estimate.activations),
        readable(estimate.computed),
        readable(estimate.evaluation),
        readable(estimate.checkpoint),
        readable(available.bytes),
        available.bound,
    )
}

fn too_much(need: u64, available: u64) -> bool {
    need as f64 > CLEARLY * available as f64
}

/// The settings nearest to the recipe's that fit: a smaller batch with more accumulation, which sees the same examples
/// in a step; where that is not enough, what else saves memory without changing what is learnt.
fn fitting(sizes: &Sizes, available: u64) -> Option<Settings> {
    let own = sizes.settings();
    let fits = |settings: &Settings| sizes.estimate(*settings).ahead() <= available;
    let evaluation_batch = own.evaluation_batch.min(8);
    let fewer = Settings { evaluation_batch, ..own };
    let again = Settings { recompute: own.recompute || sizes.recomputes(), ..fewer };
    let summed = Settings { log_gradients: 0, ..again };
    [own, fewer, again, summed].into_iter().flat_map(halved).find(fits)
}

/// `settings` with ever smaller micro-batches of the same examples.
fn halved(settings: Settings) -> impl Iterator<Item = Settings> {
    let next = |at: &Settings| {
        let batch = at.batch / 2;
        (batch > 0).then(|| Settings { batch, accumulate: (at.batch * at.accumulate).div_ceil(batch), ..*at })
    };
    std::iter::successors(Some(settings), next)
}

impl Settings {
    /// What differs from `other`, as keys of a recipe.
    fn said(&self, other: Self) -> String {
        let mut keys = Vec::new();
        if self.batch != other.batch {
            keys.push(format!("train.batch = {} and train.accumulate = {}", self.batch, self.accumulate));
        }
        if self.evaluation_batch != other.evaluation_batch {
            keys.push(format!("evaluation.batch = {}", self.evaluation_batch));
        }
        if self.recompute != other.recompute {
            keys.push("train.recompute = true".to_string());
        }
        if self.log_gradients != other.log_gradients {
            keys.push(format!("train.log_gradients = {}", self.log_gradients));
        }
        let now = match self.batch != other.batch {
            true => format!(" (now train.batch = {} and train.accumulate = {})", other.batch, other.accumulate),
            false => String::new(),
        };
        format!("{}{now}", keys.join(", "))
    }
}

/// `bytes` as people read them.
pub fn readable(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{} kB", bytes.div_ceil(1000)),
        1_000_000..1_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Bound;

    fn left(bytes: u64) -> Option<Available> {
        Some(Available { bytes, bound: Bound::ControlGroup })
    }

    #[test]
    fn a_run_is_refused_only_if_it_clearly_cannot_fit() {
        let sizes = Sizes::example();
        let need = sizes.estimate(sizes.settings()).ahead();
        for available in [None, left(need), left(need * 9 / 10)] {
            assert!(check(&sizes, available).is_ok(), "{available:?} of {need}");
        }
        let error = check(&sizes, left(need / 2)).expect_err("half of it").to_string();
        for part in [&readable(need), &readable(need / 2), "control group", "MTL_IGNORE_MEMORY"] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }

    #[test]
    fn what_is_proposed_fits_and_sees_the_same_examples() {
        let sizes = Sizes::example();
        let own = sizes.settings();
        let need = sizes.estimate(own).ahead();
        let smaller = fitting(&sizes, need * 3 / 4).expect("half a batch");
        assert_eq!((smaller.batch, smaller.accumulate), (own.batch / 2, own.accumulate * 2));
        assert_eq!(
            smaller.said(own),
            "train.batch = 8 and train.accumulate = 2 (now train.batch = 16 and train.accumulate = 1)"
        );
        for share in 1..10 {
            if let Some(found) = fitting(&sizes, need * share / 10) {
                assert!(sizes.estimate(found).ahead() <= need * share / 10);
                assert!(found.batch * found.accumulate >= own.batch * own.accumulate, "{found:?}");
            }
        }
        // Weights and moments are there whatever the batch.
        let error = check(&sizes, left(1000)).expect_err("a kilobyte").to_string();
        assert!(error.contains("a batch of one text would not fit either"), "{error}");
    }
}
