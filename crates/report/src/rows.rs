//! The comparison as rows, as a spreadsheet or a statistics package reads them: what each run scored, by the headline and
//! by every metric, and every interval with its p. Means, ranks, Δm and Holm's corrections follow from these.

use anyhow::{Context, Result};
use mtl_eval::comparison::{ArmSpec, Comparison};
use mtl_eval::stats::Interval;

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
        "role",
        "task",
        "kind",
        "metric",
        "split",
        "seed",
        "finished",
        "diverged",
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
                    spec.role().name().to_string(),
                    text(&facts.name),
                    text(&facts.kind),
                    text(&facts.headline),
                    tables::split(comparison).to_string(),
                    seed.to_string(),
                    score.is_some().to_string(),
                    arm.diverged.contains_key(seed).to_string(),
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
    finished(writer)
}

/// Every metric as CSV: one row per arm × task × metric × seed that finished, in the order of tasks, as [`csv()`] writes it.
pub fn metrics_csv(comparison: &Comparison) -> Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let heads = ["experiment", "arm", "baseline", "role", "task", "split", "metric", "headline", "lower_is_better"];
    writer.write_record(heads.into_iter().chain(["seed", "value"]))?;
    for arm in &comparison.arms {
        for (facts, task) in comparison.tasks.iter().zip(&arm.tasks) {
            for (metric, values) in &task.seed_metrics {
                for (seed, value) in comparison.seeds.iter().zip(values).filter(|(_, value)| value.is_some()) {
                    writer.write_record([
                        text(&comparison.name),
                        text(&arm.arm.name),
                        (arm.arm.name == comparison.baseline).to_string(),
                        arm.arm.role().name().to_string(),
                        text(&facts.name),
                        tables::split(comparison).to_string(),
                        text(metric),
                        (*metric == facts.headline).to_string(),
                        comparison.lower_is_better.contains(metric).to_string(),
                        seed.to_string(),
                        number(*value),
                    ])?;
                }
            }
        }
    }
    finished(writer)
}

/// Every interval with its p as CSV: `of` is `gain` for the mean gain in headline score that a verdict rests on, `task`
/// for the gain on a task, `contrast` and `contrast-task` for the same of differences from another arm than the baseline,
/// `delta-m-headline`, `delta-m-per-task` and `delta-m-per-metric` for Δm in percent. As [`csv()`]
/// writes it.
pub fn intervals_csv(comparison: &Comparison) -> Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let heads = ["experiment", "level", "arm", "role", "of", "task", "estimate", "low", "high", "confidence"];
    writer.write_record(heads.into_iter().chain([
        "standard_error",
        "degrees",
        "p",
        "corrected_p",
        "examples",
        "seeds",
        "against",
        "claims",
    ]))?;
    let claims = comparison.provenance.get("claims").map_or("", |claims| claims);
    type Of<'a> = (&'a str, &'a str, &'a str);
    let mut add = |arm: &ArmSpec, (of, task, against): Of, found: &Interval, corrected: Option<f64>| {
        writer.write_record([
            text(&comparison.name),
            comparison.level.to_string(),
            text(&arm.name),
            arm.role().name().to_string(),
            of.to_string(),
            text(task),
            number(Some(found.estimate)),
            number(Some(found.low)),
            number(Some(found.high)),
            number(Some(found.confidence)),
            number(Some(found.standard_error)),
            number(Some(found.degrees)),
            number(Some(found.p)),
            number(corrected),
            found.examples.to_string(),
            found.seeds.to_string(),
            text(against),
            text(claims),
        ])
    };
    let baseline = comparison.baseline.as_str();
    for arm in &comparison.arms {
        let shares = [
            ("delta-m-headline", &arm.gain_headline),
            ("delta-m-per-task", &arm.gain_per_task),
            ("delta-m-per-metric", &arm.gain_per_metric),
        ];
        if let Some(found) = &arm.headline {
            add(&arm.arm, ("gain", "", baseline), found, arm.corrected_p)?;
        }
        for (facts, task) in comparison.tasks.iter().zip(&arm.tasks) {
            if let Some(found) = &task.transfer {
                add(&arm.arm, ("task", &facts.name, baseline), found, task.corrected_p)?;
            }
        }
        for (of, found) in shares {
            if let Some(found) = found {
                add(&arm.arm, (of, "", baseline), found, None)?;
            }
        }
    }
    for contrast in &comparison.contrasts {
        let Some(arm) = comparison.arms.iter().find(|arm| arm.arm.name == contrast.arm) else { continue };
        add(&arm.arm, ("contrast", "", &contrast.against), &contrast.headline, None)?;
        for (task, found) in &contrast.tasks {
            add(&arm.arm, ("contrast-task", task, &contrast.against), found, None)?;
        }
    }
    finished(writer)
}

fn finished(writer: ::csv::Writer<Vec<u8>>) -> Result<String> {
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
