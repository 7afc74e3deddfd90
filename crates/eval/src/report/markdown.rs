//! The report for people: each score beside the trivial one, so that nobody is impressed by a majority class.

use std::fmt::Write;

use serde_json::Value;

use super::Report;
use crate::Metrics;

/// The whole report.
pub(super) fn render(report: &Report, metrics: &Metrics) -> String {
    let mut page = format!("# {}: {} sharing, {} weighting\n\n", report.recipe, report.strategy, report.rule);
    if report.fallback {
        page +=
            "**The recipe's data could not be fetched; the embedded recipe stood in. These are no real tasks.**\n\n";
    }
    page += &scores(report);
    page += &model(report);
    page += &findings(report);
    page += &every_metric(report, metrics);
    page += &data(report);
    page += &run(report);
    page
}

fn scores(report: &Report) -> String {
    let split = if report.sealed() { "dev" } else { "test" };
    let mut text = format!("## Scores on {split}\n\n");
    text += &row([
        "task",
        "metric",
        split,
        "95 %",
        "baseline",
        "gain",
        "n",
        "dev",
        "n dev",
        "train",
        "train − dev",
        "n train",
    ]);
    text += "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for (name, task) in &report.tasks {
        let gain = task.score() - task.trivial;
        text += &row([
            escape(name),
            task.headline.clone(),
            score(task.score()),
            optional(task.interval.map(|[low, high]| format!("[{low:.3}, {high:.3}]"))),
            score(task.trivial),
            format!("{gain:+.3}{}", if task.beats_trivial { "" } else { " ✗" }),
            task.test.map_or(task.n_dev, |_| task.n_test).to_string(),
            score(task.dev),
            task.n_dev.to_string(),
            optional(task.train.map(score)),
            optional(task.gap().map(|gap| format!("{gap:+.3}"))),
            optional(task.n_train.map(|n| n.to_string())),
        ]);
    }
    text += "\nHigher is better. *95 %* is the interval over resampled examples; it knows nothing of other seeds. \
             *Baseline* is the score of always answering the majority class, tag or set, or the mean value, of the \
             training split. *Train − dev* is the generalisation gap.\n";
    text += &match &report.test_opened_at {
        Some(when) => format!("The test split was opened at {when}; no choice was made on it.\n"),
        None => "The test split is sealed: these are dev scores, on which checkpoints were chosen.\n".to_string(),
    };
    let beaten: Vec<String> =
        report.tasks.iter().filter(|(_, task)| !task.beats_trivial).map(|(n, _)| escape(n)).collect();
    if !beaten.is_empty() {
        let _ = writeln!(text, "\n**Caution** (✗), not clearly above the baseline: {}.", beaten.join(", "));
        text += &raise(report);
    }
    text
}

fn data(report: &Report) -> String {
    if report.notes.is_empty() {
        return String::new();
    }
    let lines: Vec<String> = report.notes.iter().map(|note| format!("- {}\n", escape(note))).collect();
    format!("\n## Data\n\n{}", lines.concat())
}

/// What to raise where tasks stayed at the baseline.
fn raise(report: &Report) -> String {
    let rates = rates(report).map(|rates| format!("; here {rates}")).unwrap_or_default();
    format!(
        "What to raise for them: `train.steps` ({} here) as long as dev still rises, then the learning rates \
         (`optimizer.rate`, and by kind of parameter `[optimizer.groups]`{rates}).\n",
        report.steps
    )
}

/// The learning rates by kind of parameter.
fn rates(report: &Report) -> Option<String> {
    let rates: Vec<String> =
        report.learning_rates.iter().map(|(role, rate)| format!("{role} {}", short(*rate))).collect();
    (!rates.is_empty()).then(|| rates.join(", "))
}

/// Three digits of a rate: products like 10 · 1e-4 are not written to the last bit.
fn short(rate: f64) -> String {
    format!("{rate:.2e}").parse::<f64>().map_or_else(|_| rate.to_string(), |rate| format!("{rate:e}"))
}

fn model(report: &Report) -> String {
    let parameters = &report.parameters;
    let mut text = String::from("\n## Parameters\n\n| | parameters |\n| --- | ---: |\n");
    let mut line = |what: &str, count: usize| text += &row([what.to_string(), grouped(count)]);
    line("in all", parameters.total);
    line("trainable", parameters.trainable);
    parameters.per_task.iter().for_each(|(task, &count)| line(&format!("that {} uses", escape(task)), count));
    line("one model per task, in all", parameters.single_task_total);
    let rate = crate::transfer::parameter_reduction(parameters.total, parameters.single_task_total);
    let compared = if rate >= 0. { "fewer" } else { "more" };
    let _ = writeln!(
        text,
        "\n{:.1} % {compared} parameters than one model per task; {:.1} % of them are shared. Stored: {} bytes.",
        rate.abs() * 100.,
        parameters.shared_fraction * 100.,
        grouped(parameters.stored_bytes as usize)
    );
    text
}

/// The strategy's warnings, and what it found as a list.
fn findings(report: &Report) -> String {
    if report.findings.is_null() && report.warnings.is_empty() {
        return String::new();
    }
    let mut text = format!("\n## What {} sharing found\n", report.strategy);
    for warning in &report.warnings {
        let _ = writeln!(text, "\n**Caution**: {}", warning.replace(['\n', '\r'], " "));
    }
    text.push('\n');
    match &report.findings {
        Value::Null => {}
        Value::Object(_) => nested(&mut text, &report.findings, 0),
        other => {
            let _ = writeln!(text, "{}", inline(other));
        }
    }
    text
}

/// The entries of an object, one a line, deeper ones further in.
fn nested(text: &mut String, value: &Value, depth: usize) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let (indent, key) = ("  ".repeat(depth), key.replace(['\n', '\r'], " "));
        if value.is_object() {
            let _ = writeln!(text, "{indent}- {key}");
            nested(text, value, depth + 1);
        } else if let Some(entries) = objects(value) {
            let _ = writeln!(text, "{indent}- {key}");
            entries.iter().for_each(|entry| told(text, entry, depth + 1));
        } else {
            let _ = writeln!(text, "{indent}- {key}: {}", inline(value));
        }
    }
}

/// The objects of a list that has nothing else and whose entries are no plain values; such a list is told entry by entry.
fn objects(value: &Value) -> Option<&Vec<Value>> {
    let deep =
        |entry: &Value| entry.as_object().is_some_and(|entry| entry.values().any(|v| v.is_object() || v.is_array()));
    value.as_array().filter(|entries| entries.iter().all(Value::is_object) && entries.iter().any(deep))
}

/// An object's plain values on one line, what is in it below.
fn told(text: &mut String, entry: &Value, depth: usize) {
    let (indent, entries) = ("  ".repeat(depth), || entry.as_object().into_iter().flatten());
    let plain = |value: &Value| !value.is_object() && objects(value).is_none();
    let line: Vec<String> = entries()
        .filter(|(_, value)| plain(value))
        .map(|(key, value)| format!("{} {}", key.replace(['\n', '\r'], " "), inline(value)))
        .collect();
    let _ = writeln!(text, "{indent}- {}", line.join(" · "));
    for (key, value) in entries().filter(|(_, value)| !plain(value)) {
        match objects(value) {
            Some(inner) => inner.iter().for_each(|inner| told(text, inner, depth + 1)),
            None => {
                let _ = writeln!(text, "{indent}  - {}", key.replace(['\n', '\r'], " "));
                for (key, value) in value.as_object().into_iter().flatten() {
                    let _ = writeln!(text, "{indent}    - {}: {}", key.replace(['\n', '\r'], " "), inline(value));
                }
            }
        }
    }
}

/// A value on one line, numbers to three digits.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "–".into(),
        Value::Number(number) if number.is_f64() => significant(number.as_f64().unwrap_or(f64::NAN)),
        Value::Number(number) => number.to_string(),
        Value::Bool(holds) => holds.to_string(),
        Value::String(said) => said.replace(['\n', '\r'], " "),
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| format!("{key} {}", inline(value))).collect::<Vec<_>>().join(" · ")
        }
    }
}

/// To three significant digits.
fn significant(value: f64) -> String {
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if rounded != 0. && rounded.abs() < 1e-4 { format!("{rounded:e}") } else { rounded.to_string() }
}

fn every_metric(report: &Report, metrics: &Metrics) -> String {
    let mut text = String::from("\n## Every metric\n\n| task | metric | train | dev | test | baseline |\n");
    text += "| --- | --- | ---: | ---: | ---: | ---: |\n";
    for (name, task) in &report.tasks {
        for (metric, scores) in &task.metrics {
            let lower = metrics.find(metric).is_ok_and(|metric| !metric.higher_is_better());
            text += &row([
                escape(name),
                format!("{metric}{}", if lower { " (lower is better)" } else { "" }),
                optional(scores.train.map(score)),
                score(scores.dev),
                optional(scores.test.map(score)),
                score(scores.trivial),
            ]);
        }
    }
    text
}

fn run(report: &Report) -> String {
    let outcomes: Vec<String> = report.outcomes.iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
    let mut text = String::from("\n## Run\n\n| | |\n| --- | --- |\n");
    for (key, value) in [
        ("recipe", report.recipe.clone()),
        ("checkpoint", report.checkpoint.clone()),
        ("seed", report.seed.to_string()),
        ("steps", report.steps.to_string()),
        ("learning rates", optional(rates(report))),
        ("weights of step", weights(report)),
        ("outcomes of the rule", optional((!outcomes.is_empty()).then(|| outcomes.join(", ")))),
        ("seconds", format!("{:.1}", report.seconds)),
        ("tokens per second", format!("{:.0}", report.tokens_per_second)),
        ("device", report.device.clone()),
        ("commit", optional(report.commit.clone())),
    ] {
        text += &row([key.to_string(), escape(&value)]);
    }
    text
}

/// Which step's weights are judged.
fn weights(report: &Report) -> String {
    if report.kept.is_empty() {
        return report.best_step.map_or("the end".to_string(), |step| step.to_string());
    }
    let of = |(task, kept): (&String, &super::Kept)| match kept.left {
        Some(left) => format!("{task} {} (left the training after {left})", kept.step),
        None => format!("{task} {}", kept.step),
    };
    format!("each task its own: {}", report.kept.iter().map(of).collect::<Vec<_>>().join(", "))
}

fn row<const N: usize>(cells: [impl AsRef<str>; N]) -> String {
    cells.iter().fold("|".to_string(), |line, cell| format!("{line} {} |", cell.as_ref())) + "\n"
}

fn score(value: f64) -> String {
    format!("{value:.3}")
}

fn optional(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_string())
}

/// A pipe would end the cell, a line break the row.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}

/// A count with its thousands apart.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    digits.bytes().enumerate().fold(String::new(), |mut text, (index, digit)| {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit.into());
        text
    })
}
