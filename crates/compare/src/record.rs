//! What a finished run leaves: its record, out of what it knows and of `metrics.jsonl`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use mtl_data::{Sampler, Texts};
use mtl_eval::comparison::{Curve, Point, RunRecord, TaskRecord};
use mtl_task::TaskId;
use mtl_train::{Answered, Finished, Recipe, StepKind, TaskSettings};
use serde::Deserialize;

use super::Planned;

/// One line of `metrics.jsonl`, as far as it matters here. What was not finite is null there.
#[derive(Deserialize)]
struct Step {
    step: usize,
    tasks: Vec<usize>,
    losses: Vec<Option<f64>>,
    weights: Vec<Option<f64>>,
    /// Left out, as the cosines, in steps that kept no task's gradient on its own.
    #[serde(default)]
    gradient_norms: Vec<Option<f64>>,
    #[serde(default)]
    cosines: Vec<Option<f64>>,
}

/// The record of `finished`, whose folder is `folder`. Tasks with corrupted labels are left out: nobody asks about them.
pub(super) fn record(
    line: &Planned,
    recipe: &Recipe,
    finished: &Finished,
    folder: &Path,
    program: String,
) -> Result<RunRecord> {
    let steps = steps(&folder.join("metrics.jsonl"))?;
    let passes = passes(recipe, finished, &steps)?;
    let mut tasks: BTreeMap<String, TaskRecord> = BTreeMap::new();
    for (index, answered) in finished.answered.iter().enumerate().filter(|(_, one)| !recipe.control.spoils(&one.task)) {
        let task = TaskRecord { passes: passes.get(index).copied(), ..task(index, answered, finished, &steps)? };
        tasks.insert(answered.task.clone(), task);
    }
    let places: Vec<usize> =
        tasks.keys().filter_map(|name| finished.answered.iter().position(|one| one.task == *name)).collect();
    let report = &finished.report;
    Ok(RunRecord {
        id: line.id.clone(),
        arm: line.arm.clone(),
        seed: line.seed,
        steps: report.steps,
        seconds: report.seconds,
        cpu_seconds: finished.cpu_seconds,
        tokens_per_second: report.tokens_per_second,
        parameters: report.parameters.total,
        trainable: report.parameters.trainable,
        single_task_parameters: report.parameters.single_task_total,
        stored_bytes: report.parameters.stored_bytes,
        latency_ms: finished.latency_ms,
        outcomes: report.outcomes.clone(),
        cosines: cosines(&steps, &places),
        test_opened_at: report.test_opened_at.clone(),
        diverged: finished.diverged.clone(),
        commit: Some(program),
        data: digits(finished),
        tasks,
    })
}

/// The hashes of what was loaded: `task/file`, and `task/split split` of the whole splits whatever the limits.
fn digits(finished: &Finished) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (task, data) in &finished.data {
        found.extend(data.files.iter().map(|(file, digits)| (format!("{task}/{file}"), digits.clone())));
        let splits = data.splits.iter();
        found.extend(splits.map(|(split, of)| (format!("{task}/{split} split"), of.sha256.clone())));
    }
    found
}

/// How often training went through each task's examples, by the mean size of its batches and the steps that it was in.
fn passes(recipe: &Recipe, finished: &Finished, steps: &[Step]) -> Result<Vec<f64>> {
    let of_report = |one: &Answered| finished.report.tasks.get(&one.task).and_then(|task| task.n_train);
    let sizes: Vec<usize> = finished.answered.iter().map(|one| of_report(one).unwrap_or(0).max(1)).collect();
    let own: Vec<TaskSettings> = finished.answered.iter().map(|one| recipe.task(&one.task)).collect();
    let kind = recipe.registries.samplers.find(&recipe.sampler.name)?;
    let sampler = Sampler::new(kind, &recipe.sampler.settings, &sizes, recipe.train.seed)?
        .paced(steps.len(), 1)
        .weighted(own.iter().map(|task| task.weight.unwrap_or(1.)).collect())
        .with_own(own.iter().map(|task| task.batch.map(|batch| batch * recipe.train.accumulate)).collect());
    let (joint, size) = (recipe.train.step == StepKind::Joint, recipe.train.batch * recipe.train.accumulate);
    let of_task = |(task, examples): (usize, &usize)| {
        let within = steps.iter().filter(|step| !joint || step.tasks.contains(&task)).count();
        sampler.mean_count(TaskId(task), size, joint, steps.len()) * within as f64 / *examples as f64
    };
    Ok(sizes.iter().enumerate().map(of_task).collect())
}

fn task(index: usize, answered: &Answered, finished: &Finished, steps: &[Step]) -> Result<TaskRecord> {
    let report = finished.report.tasks.get(&answered.task).context("a task without a report")?;
    let scores = |of: fn(&mtl_eval::Scores) -> Option<f64>| -> BTreeMap<String, f64> {
        report.metrics.iter().filter_map(|(name, scores)| Some((name.clone(), of(scores)?))).collect()
    };
    let test = scores(|scores| scores.test);
    let look = |of: fn(&mtl_train::EvaluationPoint) -> &Vec<f64>| -> Curve {
        let point = |look: &mtl_train::EvaluationPoint| Some(Point { step: look.step, value: *of(look).get(index)? });
        Curve(finished.evaluations.iter().filter_map(point).collect())
    };
    let series = |of: fn(&Step) -> &Vec<Option<f64>>| -> Curve {
        let point = |step: &Step| {
            let at = step.tasks.iter().position(|task| *task == index)?;
            Some(Point { step: step.step, value: of(step).get(at).copied().flatten()? })
        };
        Curve(steps.iter().filter_map(point).collect())
    };
    Ok(TaskRecord {
        kind: report.kind.clone(),
        names: answered.names.clone(),
        headline: report.headline.clone(),
        sizes: [report.n_train.unwrap_or(0), report.n_dev, report.n_test],
        train: scores(|scores| scores.train),
        dev: scores(|scores| Some(scores.dev)),
        test: (!test.is_empty()).then_some(test),
        trivial: report.trivial,
        ceiling: answered.ceiling,
        passes: None,
        texts: answered.texts.iter().map(shown).collect(),
        truths: answered.truths.clone(),
        answers: answered.answers.clone(),
        dev_curve: look(|look| &look.dev),
        train_curve: look(|look| &look.train),
        loss_curve: series(|step| &step.losses),
        weight_curve: series(|step| &step.weights),
    })
}

fn shown(text: &Texts) -> String {
    match text {
        Texts::One(text) => text.clone(),
        Texts::Pair(a, b) => format!("{a} ‖ {b}"),
        Texts::Tokens(words) => words.join(" "),
    }
}

/// The lines of a metrics file.
fn steps(path: &Path) -> Result<Vec<Step>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = |(at, line)| {
        serde_json::from_str(line).with_context(|| format!("{}:{}: no step of a run", path.display(), at + 1))
    };
    text.lines().enumerate().map(read).collect()
}

/// Mean cosines between the tasks at `places` over the steps where both had a gradient on shared parameters; empty if
/// some pair never had.
fn cosines(steps: &[Step], places: &[usize]) -> Vec<Vec<f64>> {
    let mut sums: BTreeMap<(usize, usize), (f64, usize)> = BTreeMap::new();
    for step in steps {
        let moved = |at: usize| step.gradient_norms.get(at).copied().flatten().is_some_and(|norm| norm > 0.);
        let pairs = (0..step.tasks.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        for ((i, j), cosine) in pairs.zip(&step.cosines).filter(|((i, j), _)| moved(*i) && moved(*j)) {
            let (Some(cosine), Some(&one), Some(&other)) = (cosine, step.tasks.get(i), step.tasks.get(j)) else {
                continue;
            };
            let (sum, count) = sums.entry((one.min(other), one.max(other))).or_default();
            *sum += cosine;
            *count += 1;
        }
    }
    let mean = |a: usize, b: usize| match a == b {
        true => Some(1.),
        false => sums.get(&(a.min(b), a.max(b))).map(|(sum, count)| sum / *count as f64),
    };
    if places.len() < 2 {
        return Vec::new();
    }
    let row = |&a: &usize| places.iter().map(|&b| mean(a, b)).collect::<Option<Vec<f64>>>();
    places.iter().map(row).collect::<Option<_>>().unwrap_or_default()
}
