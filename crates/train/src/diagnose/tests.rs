#![allow(clippy::print_stderr, reason = "what was measured is worth seeing, not only that it passed")]

use anyhow::Context;
use mtl_data::generator::Truth;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_eval::stats::Interval;
use mtl_task::Label;
use mtl_task::rng::Key;

use super::*;
use crate::{Located, LocatedDataset, LocatedModel, Recipe, Run, RunOptions, Silent, Start};

/// The suite at the budget that [`super::recovery`] documents.
const SUITE: &str = r#"
tasks = ["planted-topic", "planted-genre", "planted-mood", "planted-clash", "planted-tags"]
checkpoint = "embedded"
sharing = { strategy = "hard" }
weighting = { rule = "equal" }
train = { steps = 30, batch = 16, max_tokens = 32, dropout = 0.0 }
optimizer = { name = "adamw", rate = 1e-3 }
evaluation = { every = 0, dev_limit = 4, test = "sealed", keep = "last" }
"#;

fn settings(seed: u64) -> Settings {
    Settings { seed, every: 2, ..Settings::default() }
}

/// The suite's run with `conflict` on its dial, and the what is known of its tasks.
fn run(overrides: &[String], conflict: f64, out: &std::path::Path) -> Result<(Run, Truth)> {
    let recipe = Recipe::parse(&Default::default(), "suite.toml", SUITE, overrides)?.0;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dataset = |name: &String| {
        let mut manifest = DatasetManifest::read(&root.join(format!("datasets/{name}.toml")))?;
        if let Some(generator) = &mut manifest.generator {
            generator.settings.insert("conflict".into(), conflict.into());
        }
        Ok(LocatedDataset { name: name.clone(), manifest, folder: root.clone() })
    };
    let manifest = ModelManifest::read(&root.join("models/embedded.toml"))?;
    let model = LocatedModel { name: "embedded".into(), manifest, folder: None };
    let located = Located { datasets: recipe.tasks.iter().map(dataset).collect::<Result<_>>()?, model };
    let options = RunOptions {
        out: out.to_path_buf(),
        start: Start::New,
        recipe_name: "suite".into(),
        fallback: false,
        commit: None,
        device_name: "cpu".into(),
    };
    let known = planted(&located).context("no planted suite")?;
    Ok((Run::new(recipe, &located, options, &candle_core::Device::Cpu)?, known))
}

/// A diagnosis of the suite, or of the tasks that `overrides` leave of it, with the labels of task `shuffled` dealt out
/// anew.
fn diagnose(seed: u64, overrides: &[&str], conflict: f64, shuffled: Option<usize>) -> Result<(Diagnosis, Truth)> {
    let folder = tempfile::tempdir()?;
    let mut overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    overrides.push(format!("train.seed={seed}"));
    // Heads that learn ten times faster leave the words less to disagree about.
    overrides.push("optimizer.groups.head.scale=1".into());
    let (mut run, known) = run(&overrides, conflict, folder.path())?;
    if let Some(task) = shuffled {
        let examples = &mut run.assembled.datasets[task].train.examples;
        let order = Key::new(seed).named("shuffle").stream().permutation(examples.len());
        let labels: Vec<Label> = order.iter().map(|&at| examples[at].label.clone()).collect();
        examples.iter_mut().zip(labels).for_each(|(example, label)| example.label = label);
    }
    let mut silent = Silent;
    let mut diagnostics = Diagnostics::new(settings(seed), &mut silent)?;
    run.execute(&mut diagnostics)?;
    Ok((diagnostics.diagnosis()?, known))
}

const WORDS: &str = "shared/words";

#[test]
fn planted_conflict_is_told_from_noise() -> Result<()> {
    let (mut found, mut known) = (Vec::new(), None);
    for seed in 0..3 {
        let (diagnosis, truth) = diagnose(seed, &[], 1., None)?;
        assert!(diagnosis.similarity.iter().all(|pair| pair.same && pair.layers.iter().all(|(_, cka)| *cka == 1.)));
        found.push(diagnosis);
        known = Some(truth);
    }
    let score = recovery(&found, &known.context("no seed")?, WORDS);
    assert_eq!(score.pairs, 27);
    assert!(score.row_conflict.is_some_and(|area| area >= 0.9), "{score:?}");
    assert!(score.agreement.is_some_and(|area| area >= 0.9), "{score:?}");
    assert!(score.common_ground_rand >= 0.9, "{score:?}");
    Ok(())
}

#[test]
fn the_dial_of_conflict_shows() -> Result<()> {
    let row_conflict = |conflict: f64| -> Result<(f64, f64)> {
        let tasks = ["tasks=[\"planted-topic\", \"planted-clash\"]"];
        let table = diagnose(3, &tasks, conflict, None)?.0.pairs[0].tables[WORDS].clone();
        let of = |found: Option<Interval>| found.map_or(0., |found| found.estimate);
        Ok((of(table.row_conflict), of(table.agreement)))
    };
    let (opposed, aligned) = (row_conflict(1.)?, row_conflict(0.)?);
    eprintln!("row conflict, agreement: {opposed:?} with opposed distinctions, {aligned:?} without");
    assert!(opposed.0 > 0.7 && opposed.1 < 0.2, "{opposed:?}");
    assert!(aligned.0 < opposed.0 - 0.2 && aligned.1 > 0.3, "{aligned:?}");
    Ok(())
}

#[test]
fn shuffled_labels_help_nobody() -> Result<()> {
    const GENRE: usize = 1;
    let tasks = ["tasks=[\"planted-topic\", \"planted-genre\", \"planted-mood\"]"];
    let (shuffled, truthful) = (diagnose(5, &tasks, 1., Some(GENRE))?.0, diagnose(5, &tasks, 1., None)?.0);
    let gains = |found: Option<&Interval>| found.is_some_and(|found| found.low > 0.);
    // With its own labels the task wants what its relative wants, so the control could have found something.
    let agreement = |diagnosis: &Diagnosis| gains(diagnosis.pairs[0].tables[WORDS].agreement.as_ref());
    assert!(agreement(&truthful) && !agreement(&shuffled), "{:?}", shuffled.pairs[0].tables);
    for (task, onto) in shuffled.affinity[GENRE].iter().enumerate() {
        assert!(task == GENRE || (onto.low <= 0. && onto.high >= 0.), "onto {task}: {onto:?}");
    }
    for pair in shuffled.pairs.iter().filter(|pair| pair.first.ends_with("genre") || pair.second.ends_with("genre")) {
        let cosines: Vec<&Cosine> = pair.parts.values().chain(&pair.all).collect();
        assert!(cosines.iter().all(|cosine| !gains(cosine.corrected.as_ref())), "{pair:?}");
    }
    Ok(())
}

/// The last parameters of a short run under `observer`.
fn parameters(observer: &mut dyn Observer, strategy: &str) -> Result<Vec<u8>> {
    let folder = tempfile::tempdir()?;
    let overrides = ["train.steps=5", "train.dropout=0.1", "tasks=[\"planted-topic\", \"planted-tags\"]"];
    let mut overrides: Vec<String> = overrides.iter().map(|text| text.to_string()).collect();
    overrides.push(format!("sharing.strategy={strategy}"));
    run(&overrides, 1., folder.path())?.0.execute(observer)?;
    let checkpoints = folder.path().join("checkpoints");
    let last = crate::resume::find(&checkpoints, "last").ok_or_else(|| anyhow::anyhow!("no checkpoint"))?;
    Ok(std::fs::read(last.join("model.safetensors"))?)
}

#[test]
fn looking_changes_no_bit_and_a_diagnosis_is_repeated() -> Result<()> {
    let plain = parameters(&mut Silent, "hard")?;
    let once = || -> Result<(Vec<u8>, Diagnosis)> {
        let mut silent = Silent;
        let mut diagnostics = Diagnostics::new(Settings { every: 1, ..settings(1) }, &mut silent)?;
        Ok((parameters(&mut diagnostics, "hard")?, diagnostics.diagnosis()?))
    };
    let (first, second) = (once()?, once()?);
    assert!(plain == first.0, "a measurement changed the run");
    assert_eq!(first.1, second.1);
    assert_eq!((first.1.measurements, first.1.cost.gradients, first.1.cost.forwards), (5, 40, 30));
    Ok(())
}

#[test]
fn tasks_of_their_own_share_nothing_and_their_states_differ() -> Result<()> {
    let mut silent = Silent;
    let mut diagnostics = Diagnostics::new(Settings { every: 1, ..settings(1) }, &mut silent)?;
    parameters(&mut diagnostics, "single")?;
    let diagnosis = diagnostics.diagnosis()?;
    assert!(diagnosis.pairs.iter().all(|pair| pair.all.is_none() && pair.parts.is_empty()));
    assert!(diagnosis.affinity.iter().flatten().all(|onto| onto.estimate == 0.));
    let pair = &diagnosis.similarity[0];
    let layers: Vec<&str> = pair.layers.iter().map(|(layer, _)| layer.as_str()).collect();
    assert_eq!(layers, ["embeddings", "layer.0", "layer.1"]);
    assert!(!pair.same && pair.layers.iter().all(|(_, cka)| *cka > 0. && *cka < 1.), "{pair:?}");
    Ok(())
}

#[test]
fn too_few_measurements_and_settings_out_of_range_are_refused() -> Result<()> {
    let mut silent = Silent;
    let refused = Diagnostics::new(Settings { mini_batches: 1, ..Settings::default() }, &mut silent).err();
    assert_eq!(refused.map(|error| error.to_string()).as_deref(), Some("`mini_batches` must be at least 2, found 1"));
    let refused = Diagnostics::new(Settings::default(), &mut silent)?.diagnosis().err().map(|error| error.to_string());
    assert!(refused.is_some_and(|error| error.starts_with("0 measurements in 0 steps")));
    Ok(())
}
