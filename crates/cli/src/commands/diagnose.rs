//! `diagnose`.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use mtl_compare::{INTERRUPTED, Library, paths};
use mtl_eval::stats::Interval;
use mtl_train::diagnose::{Diagnosis, Diagnostics, Recovery, Settings, planted, recovery};
use mtl_train::{Ended, Run, RunOptions, Start, write_atomically};
use serde_json::json;

use super::train::free_folder;
use crate::device::{OnDevice, set_threads};
use crate::locate::{self, Files};
use crate::output::{note, result};
use crate::watch::Training;
use crate::{Context, Overrides};

/// Train for a while and measure the interactions between tasks: gradient conflict, affinity, similarity of states.
///
/// A measurement costs MINI_BATCHES·K forwards and backwards and K² + K forwards beside the step, for K tasks.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} diagnose embedded --set optimizer.rate=1e-3\n  \
    {program} diagnose default --steps 100 --every 10 --set sharing.strategy=soft --json")]
pub struct Diagnose {
    /// A recipe: a path, or the name of a shipped one (`{program} list recipes`)
    #[arg(default_value = "default")]
    recipe: String,
    #[command(flatten)]
    overrides: Overrides,
    /// Steps to train
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Steps between two measurements
    #[arg(long, default_value_t = 2)]
    every: usize,
    /// The first step that may be measured
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// Independent half-batches a task; what tasks demand of the words needs 4
    #[arg(long, default_value_t = 4)]
    mini_batches: usize,
    /// Examples in a half-batch [default: the recipe's batch]
    #[arg(long)]
    examples: Option<usize>,
    /// Learning rate of the look-ahead [default: the recipe's]
    #[arg(long)]
    rate: Option<f64>,
    /// Most groups that tasks are divided into by affinity
    #[arg(long, default_value_t = 3)]
    groups: usize,
    #[command(flatten)]
    on: OnDevice,
    /// The run folder, where diagnosis.json goes too [default: runs/diagnose-RECIPE, or with the next free number after it]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the diagnosis as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

impl Diagnose {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        let device = self.on.open()?;
        // Nothing is tuned and nothing is reported here, so that dev is looked at once and test stays sealed.
        let mut overrides = vec![
            format!("train.steps={}", self.steps),
            "evaluation.every=0".into(),
            "evaluation.test=sealed".into(),
            "evaluation.keep=last".into(),
        ];
        overrides.extend(self.overrides.set.iter().cloned());
        let locate::Given { name, recipe } = locate::recipe(&context.registries, &self.recipe, &overrides)?;
        let settings = Settings {
            every: self.every,
            from: self.from,
            mini_batches: self.mini_batches,
            examples: self.examples.unwrap_or(recipe.train.batch),
            rate: self.rate.or(recipe.optimizer.settings["rate"].as_f64()).unwrap_or(Settings::default().rate),
            groups: self.groups,
            seed: recipe.train.seed,
            ..Settings::default()
        };
        settings.check()?;
        let located = Files::new(&context.registries, self.offline)?.locate(&recipe)?;
        set_threads(recipe.train.threads)?;
        let out = self.out.unwrap_or_else(|| free_folder(&format!("diagnose-{}", name)));
        let options = RunOptions {
            out: out.clone(),
            start: Start::New,
            recipe_name: name,
            fallback: false,
            commit: None,
            device_name: self.on.device.to_string(),
        };
        let run = Run::new(paths::written_recipe(&recipe, &out), &located, options, &device)?;
        let mut progress = Training::new()?;
        let mut diagnostics = Diagnostics::new(settings, &mut progress)?;
        let ended = run.execute(&mut diagnostics)?;
        if let Ended::Interrupted(step) = ended {
            drop(diagnostics);
            progress.done();
            note(&format!(
                "interrupted after step {step}; measurements are not kept, so start again with another --out"
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let diagnosis = diagnostics.diagnosis()?;
        progress.done();
        let scores = planted(&located).and_then(|known| {
            let part = diagnosis.pairs.first()?.tables.keys().next()?.clone();
            Some(recovery(std::slice::from_ref(&diagnosis), &known, &part))
        });
        let mut document = serde_json::to_value(&diagnosis)?;
        document["planted"] = json!(scores);
        let document = serde_json::to_string_pretty(&document)?;
        write_atomically(&out.join("diagnosis.json"), document.as_bytes())?;
        match self.json {
            true => result(&document),
            false => result(&tables(&diagnosis, scores.as_ref())?),
        }
        note(&format!("run folder: {}", out.display()));
        Ok(ExitCode::SUCCESS)
    }
}

/// The diagnosis to read.
fn tables(diagnosis: &Diagnosis, scores: Option<&Recovery>) -> Result<String> {
    let mut text = String::new();
    let width = diagnosis.tasks.iter().map(|task| task.chars().count()).max().unwrap_or(0).max(8);
    let confidence = diagnosis.settings.confidence * 100.;
    writeln!(
        text,
        "{} measurements in {} steps, {} half-batches of {} a task; [ ] are {confidence:.0} % intervals, noise: a task's \
         half-batches do not agree enough\n",
        diagnosis.measurements, diagnosis.steps, diagnosis.settings.mini_batches, diagnosis.settings.examples
    )?;
    writeln!(text, "Gradient cosines over all shared parameters, and the share of parts in conflict")?;
    for pair in &diagnosis.pairs {
        write!(text, "  {:width$}  {:width$}  ", pair.first, pair.second)?;
        match &pair.all {
            None => writeln!(text, "share nothing")?,
            Some(cosine) => writeln!(
                text,
                "corrected {}  raw {:+.3}  in conflict {:.0} %",
                interval(cosine.corrected.as_ref()),
                cosine.raw,
                pair.in_conflict * 100.
            )?,
        }
        for (part, cosine) in &pair.parts {
            writeln!(text, "      {part:20}  {}  raw {:+.3}", interval(cosine.corrected.as_ref()), cosine.raw)?;
        }
    }
    for table in diagnosis.pairs.first().iter().flat_map(|pair| pair.tables.keys()) {
        writeln!(text, "\nRows of {table}: overlap (the same rows?), agreement (moved alike?), conflict")?;
        for pair in &diagnosis.pairs {
            let Some(found) = pair.tables.get(table) else { continue };
            writeln!(
                text,
                "  {:width$}  {:width$}  {}  {}  {}",
                pair.first,
                pair.second,
                interval(found.overlap.as_ref()),
                interval(found.agreement.as_ref()),
                interval(found.row_conflict.as_ref())
            )?;
        }
    }
    writeln!(text, "\nAffinity ×1000 of the row's task onto the column's (above 0: its step lowers the other's loss)")?;
    write!(text, "  {:width$}", "")?;
    diagnosis.tasks.iter().try_for_each(|task| write!(text, "  {task:>22}"))?;
    for (task, row) in diagnosis.tasks.iter().zip(&diagnosis.affinity) {
        write!(text, "\n  {task:width$}")?;
        for onto in row {
            let cell = format!("{:+.2} [{:+.2}, {:+.2}]", onto.estimate * 1e3, onto.low * 1e3, onto.high * 1e3);
            write!(text, "  {cell:>22}")?;
        }
    }
    let groups = |groups: &[Vec<String>]| groups.iter().map(|group| group.join(" + ")).collect::<Vec<_>>().join(" | ");
    writeln!(text, "\n\nGroups by affinity:      {}", groups(&diagnosis.grouping.groups))?;
    if let Some(grouping) = &diagnosis.common_ground {
        writeln!(text, "Groups by row overlap: {}", groups(&grouping.groups))?;
    }
    writeln!(text, "\nLikeness of states (linear CKA), bottom up")?;
    if diagnosis.similarity.iter().all(|pair| pair.same) {
        writeln!(text, "  1 by construction: all tasks' states are the same numbers")?;
    } else {
        for pair in &diagnosis.similarity {
            let layers: Vec<String> = pair.layers.iter().map(|(layer, cka)| format!("{layer} {cka:.3}")).collect();
            writeln!(text, "  {:width$}  {:width$}  {}", pair.first, pair.second, layers.join("  "))?;
        }
    }
    if let Some(scores) = scores {
        let area = |area: Option<f64>| area.map_or("none".into(), |area| format!("{area:.3}"));
        writeln!(
            text,
            "\nThe planted truth ({}, {} pairs): area under the curve of conflict by row conflict {}, by corrected cosine {}, \
             by raw cosine {}; of relatedness by agreement {}; adjusted Rand by affinity {:.2}, by row overlap {:.2}",
            scores.part,
            scores.pairs,
            area(scores.row_conflict),
            area(scores.corrected_cosine),
            area(scores.raw_cosine),
            area(scores.agreement),
            scores.affinity_rand,
            scores.common_ground_rand
        )?;
    }
    if !diagnosis.findings.is_null() {
        writeln!(text, "\nThe strategy's own findings\n{}", serde_json::to_string_pretty(&diagnosis.findings)?)?;
    }
    write!(
        text,
        "\nCost beside training: {} forwards and backwards and {} forwards of a half-batch",
        diagnosis.cost.gradients, diagnosis.cost.forwards
    )?;
    Ok(text)
}

fn interval(found: Option<&Interval>) -> String {
    match found {
        Some(found) => format!("{:+.2} [{:+.2}, {:+.2}]", found.estimate, found.low, found.high),
        None => format!("{:21}", "noise"),
    }
}
