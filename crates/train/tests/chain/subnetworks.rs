//! Whether the masks of sparse sharing are subnetworks of tasks: on the planted suite, where it is known which tasks want
//! the same distinctions, related tasks' masks should have more in common than unrelated ones'.

#![allow(clippy::print_stderr, reason = "what was measured is worth seeing, not only that it passed")]

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{Ended, Located, LocatedDataset, LocatedModel, Recipe, Run, RunOptions, Silent, Start};

const SUITE: &str = r#"
tasks = ["planted-topic", "planted-genre", "planted-mood", "planted-tags"]
checkpoint = "embedded"
sharing = { strategy = "sparse", warm_up = 0.0, search = 0.9, rounds = 1, final_rate = 0.2 }
weighting = { rule = "equal" }
train = { steps = 360, batch = 16, max_tokens = 32, dropout = 0.0 }
optimizer = { name = "adamw", rate = 3e-3 }
evaluation = { every = 0, dev_limit = 100, test = "sealed", keep = "last" }
"#;

/// Overlaps of the related pair, topic and genre, and of each of them with mood and with tags.
struct Overlaps {
    related: f64,
    unrelated: Vec<f64>,
}

fn overlaps(overrides: &[String]) -> Result<Overlaps> {
    let recipe = Recipe::parse(&Default::default(), "suite.toml", SUITE, overrides)?.0;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dataset = |name: &String| {
        let manifest = DatasetManifest::read(&root.join(format!("datasets/{name}.toml")))?;
        Ok(LocatedDataset { name: name.clone(), manifest, folder: PathBuf::new() })
    };
    let manifest = ModelManifest::read(&root.join("models/embedded.toml"))?;
    let model = LocatedModel { name: "embedded".into(), manifest, folder: None };
    let located = Located { datasets: recipe.tasks.iter().map(dataset).collect::<Result<_>>()?, model };
    let folder = tempfile::tempdir()?;
    let options = RunOptions {
        out: folder.path().to_path_buf(),
        start: Start::New,
        recipe_name: "suite".into(),
        fallback: false,
        commit: None,
        device_name: "cpu".into(),
    };
    let ended = Run::new(recipe, &located, options, &Device::Cpu)?.execute(&mut Silent)?;
    let Ended::Finished(report) = ended else { anyhow::bail!("interrupted") };
    anyhow::ensure!(report.warnings.is_empty(), "{:?}", report.warnings);
    let (mut related, mut unrelated) = (None, Vec::new());
    for pair in report.findings["pairs"].as_array().context("pairs")? {
        let names: Vec<String> = serde_json::from_value(pair["tasks"].clone())?;
        let overlap = pair["overlap"].as_f64().context("an overlap")?;
        let of_subject = |name: &str| name.ends_with("topic") || name.ends_with("genre");
        match names.iter().filter(|name| of_subject(name)).count() {
            2 => related = Some(overlap),
            1 => unrelated.push(overlap),
            _ => {}
        }
    }
    Ok(Overlaps { related: related.context("the related pair")?, unrelated })
}

/// The mean overlap of the related pair and of the unrelated ones over two seeds.
fn means(criterion: &str) -> Result<(f64, f64)> {
    let (mut related, mut unrelated) = (0., 0.);
    for seed in 0..2 {
        let found = overlaps(&[format!("sharing.criterion={criterion}"), format!("train.seed={seed}")])?;
        eprintln!("{criterion}, seed {seed}: {:.4} related, {:.4?} unrelated", found.related, found.unrelated);
        // Not levels of what all tasks started from.
        assert!(found.unrelated.iter().chain([&found.related]).all(|overlap| *overlap < 0.5));
        related += found.related / 2.;
        unrelated += found.unrelated.iter().sum::<f64>() / (2 * found.unrelated.len()) as f64;
    }
    Ok((related, unrelated))
}

/// Of weights that grew, related tasks keep more in common; of weights that are large, which many were before any task
/// was seen, they do not: docs/strategies.md has the numbers.
#[test]
fn related_tasks_keep_more_in_common_of_what_grew() -> Result<()> {
    let (related, unrelated) = means("increase")?;
    assert!(related > unrelated, "{related} of related tasks, {unrelated} of others");
    means("magnitude")?;
    Ok(())
}
