//! One row for each arm, task and seed, as a spreadsheet or a statistics package reads it.

use anyhow::{Context, Result};
use mtl_eval::comparison::Comparison;

use crate::tables;

/// The comparison as CSV: one row per arm × task × seed, one header, full precision, `.` as the decimal point.
///
/// A cell of text that starts with `=`, `+`, `-`, `@`, a tab or a carriage return gets a `'` before it, since a
/// spreadsheet would otherwise run it as a formula. Numbers are left as they are. A run that broke has an empty score.
pub fn csv(comparison: &Comparison) -> Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "experiment",
        "pilot",
        "arm",
        "baseline",
        "strategy",
        "rule",
        "checkpoint",
        "sampler",
        "control",
        "task",
        "kind",
        "metric",
        "split",
        "seed",
        "finished",
        "score",
        "baseline_score",
        "gain",
        "trivial",
        "parameters",
        "trainable",
        "stored_bytes",
        "mean_seconds",
        "mean_cpu_seconds",
    ])?;
    let baseline = comparison.arms.iter().find(|arm| arm.arm.name == comparison.baseline);
    for arm in &comparison.arms {
        for (index, (facts, task)) in comparison.tasks.iter().zip(&arm.tasks).enumerate() {
            for (place, seed) in comparison.seeds.iter().enumerate() {
                let score = task.scores.get(place).copied().flatten();
                let other = baseline.and_then(|arm| arm.tasks.get(index)?.scores.get(place).copied().flatten());
                let gain = score.zip(other).map(|(score, other)| score - other);
                let spec = &arm.arm;
                writer.write_record([
                    text(&comparison.name),
                    comparison.pilot.is_some().to_string(),
                    text(&spec.name),
                    (spec.name == comparison.baseline).to_string(),
                    text(&spec.strategy),
                    text(&spec.rule),
                    text(&spec.checkpoint),
                    text(&spec.sampler),
                    text(spec.control.as_deref().unwrap_or_default()),
                    text(&facts.name),
                    text(&facts.kind),
                    text(&facts.headline),
                    tables::split(comparison).to_string(),
                    seed.to_string(),
                    score.is_some().to_string(),
                    number(score),
                    number(other),
                    number(gain),
                    number(Some(facts.trivial)),
                    arm.parameters.to_string(),
                    arm.trainable.to_string(),
                    arm.stored_bytes.to_string(),
                    number(Some(arm.seconds)),
                    number(Some(arm.cpu_seconds)),
                ])?;
            }
        }
    }
    let bytes = writer.into_inner().context("the rows of the comparison")?;
    String::from_utf8(bytes).context("the rows of the comparison")
}

fn text(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{cell}") } else { cell.to_string() }
}

fn number(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or(String::new(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_no_formula_and_numbers_stay_numbers() {
        assert_eq!(["=1+1", "+1", "-a", "@x", "a=b"].map(text), ["'=1+1", "'+1", "'-a", "'@x", "a=b"]);
        assert_eq!((number(Some(-0.25)), number(Some(f64::NAN)), number(None)), ("-0.25".into(), "".into(), "".into()));
    }
}
