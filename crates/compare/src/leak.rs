//! How much picking the epoch on test inflates scores.
//!
//! The rule of this project is that dev picks the epoch. An experiment with `leak = true` keeps the weights of every
//! evaluation on dev in its final runs and scores all of them on test once the run is over, to show what breaking the rule would
//! have brought: nothing that is compared uses it. Two measures, both of the mean headline score over tasks:
//!
//! - `by_test` − `by_dev`: the best evaluation on test against the one that dev picked. It contains what is to be had from a
//!   better pick, so it bounds the inflation from above.
//! - `claimed` − `kept`: the evaluation that is best on one half of test, scored on that half and on the other one, averaged
//!   over both ways round. The other half had no say, so the difference is inflation and nothing else, at half the
//!   size of test.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::Device;
use mtl_data::{Dataset, Example, TestKey};
use mtl_train::{Finished, Located, Recipe, Trained, headline, judged_truths, write_atomically};
use serde::{Deserialize, Serialize};

use super::{Arm, Plan, Planned, Purpose};

/// One kept evaluation of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Seen {
    step: usize,
    /// Mean headline score on dev.
    dev: f64,
    /// On test, and on its examples of even and odd place.
    test: f64,
    even: f64,
    odd: f64,
}

/// What picking on test would have made of an arm's runs; means over them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The arm.
    pub arm: String,
    /// Its runs.
    pub runs: usize,
    /// Evaluations on dev of a run, at most.
    pub evaluations: usize,
    /// Test score of the evaluation that dev picks.
    pub by_dev: f64,
    /// Test score of the evaluation that test picks.
    pub by_test: f64,
    /// Score on one half of test of the evaluation that this half picks.
    pub claimed: f64,
    /// Score of that evaluation on the other half.
    pub kept: f64,
}

/// Scores every kept evaluation of a run on test; `looks.json` in its folder.
pub(super) fn look_back(
    recipe: &Recipe,
    folder: &Path,
    finished: &Finished,
    located: &Located,
    device: &Device,
) -> Result<()> {
    let mut seen = Vec::new();
    for look in &finished.evaluations {
        let trained = Trained::open_at(&recipe.registries, folder, &format!("step-{}", look.step), device)?;
        let scores = test_scores(&trained, located)?;
        let mean = |of: fn(&[f64; 3]) -> f64| scores.iter().map(of).sum::<f64>() / scores.len().max(1) as f64;
        seen.push(Seen {
            step: look.step,
            dev: look.dev.iter().sum::<f64>() / look.dev.len().max(1) as f64,
            test: mean(|scores| scores[0]),
            even: mean(|scores| scores[1]),
            odd: mean(|scores| scores[2]),
        });
    }
    write_atomically(&folder.join("looks.json"), &serde_json::to_vec_pretty(&seen)?)
}

/// Each task's headline score on test, and on the even and odd halves of it.
fn test_scores(trained: &Trained, located: &Located) -> Result<Vec<[f64; 3]>> {
    let datasets = trained.datasets(located, |name| trained.recipe.load_options_of(name))?;
    let score = |dataset: &Dataset| {
        let (id, task) = trained.task(&dataset.name)?;
        let test: &[Example] = &dataset.test.open(&TestKey::final_evaluation()).examples;
        let (truths, answers) = (judged_truths(test), trained.answer_examples(id, test)?);
        let of = |start: usize, step: usize| {
            let truths: Vec<_> = truths.iter().skip(start).step_by(step).cloned().collect();
            let answers: Vec<_> = answers.iter().skip(start).step_by(step).cloned().collect();
            headline(&trained.recipe.registries.metrics, task, &answers, &truths)
                .with_context(|| format!("dataset `{}`", dataset.name))
        };
        Ok([of(0, 1)?, of(0, 2)?, of(1, 2)?])
    };
    datasets.iter().map(score).collect()
}

/// The leak of every arm whose final runs were looked back on.
pub(super) fn leaks(arms: &[Arm], plan: &Plan) -> Result<Vec<Leak>> {
    let mut runs: BTreeMap<&str, Vec<Vec<Seen>>> = BTreeMap::new();
    let finals = plan.lines().iter().filter(|line| line.purpose == Purpose::Final);
    for line in finals {
        if let Some(seen) = read(plan, line)? {
            runs.entry(&line.arm).or_default().push(seen);
        }
    }
    Ok(arms.iter().filter_map(|arm| Some(leak(&arm.spec.name, runs.get(arm.spec.name.as_str())?))).collect())
}

fn read(plan: &Plan, line: &Planned) -> Result<Option<Vec<Seen>>> {
    let path = plan.folder(line).join("looks.json");
    let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
    let seen: Vec<Seen> = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok((!seen.is_empty()).then_some(seen))
}

fn leak(arm: &str, runs: &[Vec<Seen>]) -> Leak {
    // The first one of equals, as in training.
    let best = |seen: &[Seen], by: fn(&Seen) -> f64| {
        seen.iter().skip(1).fold(seen[0].clone(), |best, look| if by(look) > by(&best) { look.clone() } else { best })
    };
    let mean = |of: &dyn Fn(&[Seen]) -> f64| runs.iter().map(|seen| of(seen)).sum::<f64>() / runs.len().max(1) as f64;
    let (even, odd) = (|look: &Seen| look.even, |look: &Seen| look.odd);
    Leak {
        arm: arm.to_string(),
        runs: runs.len(),
        evaluations: runs.iter().map(Vec::len).max().unwrap_or(0),
        by_dev: mean(&|seen| best(seen, |look| look.dev).test),
        by_test: mean(&|seen| best(seen, |look| look.test).test),
        claimed: mean(&|seen| (best(seen, even).even + best(seen, odd).odd) / 2.),
        kept: mean(&|seen| (best(seen, even).odd + best(seen, odd).even) / 2.),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_test_picks_is_told_apart_from_what_it_keeps() {
        let look = |step, dev, even, odd| Seen { step, dev, test: (even + odd) / 2., even, odd };
        // Dev picks the first look, test the third, the even half the second and the odd half the third.
        let run = vec![look(1, 0.9, 0.5, 0.5), look(2, 0.8, 0.9, 0.3), look(3, 0.7, 0.6, 0.8)];
        let found = leak("a", &[run.clone(), run]);
        assert_eq!((found.runs, found.evaluations, found.by_dev), (2, 3, 0.5));
        assert!((found.by_test - 0.7).abs() < 1e-12);
        assert!((found.claimed - 0.85).abs() < 1e-12 && (found.kept - 0.45).abs() < 1e-12);
    }
}
