//! A recipe that runs in a blink: two layers of width 16 over generated text.

use std::path::{Path, PathBuf};

use candle_core::Device;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{
    Assembled, Ended, Located, LocatedDataset, LocatedModel, Observer, Recipe, Run, RunOptions, Silent, Start, assemble,
};
use sha2::{Digest, Sha256};

const KINDS: [(&str, &str); 6] = [
    ("clash", "classification"),
    ("genre", "classification"),
    ("mood", "regression"),
    ("tags", "tagging"),
    ("topic", "classification"),
    ("text", "mlm"),
];

const RECIPE: &str = r#"
tasks = ["topic", "mood", "tags"]
checkpoint = "tiny"

[train]
steps = 4
batch = 4
max_tokens = 24
dropout = 0.1

[optimizer]
name = "adamw"
rate = 3e-3

[evaluation]
every = 0
dev_limit = 12
test_limit = 12
"#;

/// The tiny recipe with `overrides`.
pub(crate) fn recipe(overrides: &[&str]) -> Recipe {
    let overrides: Vec<String> = overrides.iter().map(|text| (*text).to_string()).collect();
    Recipe::parse(&Default::default(), "tiny.toml", RECIPE, &overrides).expect("a recipe").0
}

/// Its datasets and encoder.
pub(crate) fn located(recipe: &Recipe) -> Located {
    let model: ModelManifest = toml::from_str(
        "about = \"\"\nlicence = \"\"\narchitecture = \"bert\"\n[random]\nhidden_size = 16\nnum_hidden_layers = 2\n\
         num_attention_heads = 2\nintermediate_size = 32\nmax_position_embeddings = 32\ntype_vocab_size = 2\n\
         hidden_act = \"gelu\"\nlayer_norm_eps = 1e-12\ninitializer_range = 0.05\n",
    )
    .expect("a manifest");
    let datasets = recipe.tasks.iter().map(|name| {
        let (_, kind) = KINDS.iter().find(|(known, _)| known == name).expect("a task of the suite");
        let rows = match *kind {
            "mlm" => "preset = \"text\"\nwords = 64\ntrain = 60\ndev = 12\ntest = 12\n",
            _ => "examples = 90\n",
        };
        let manifest: DatasetManifest = toml::from_str(&format!(
            "about = \"\"\nlicence = \"\"\n[task]\nkind = \"{kind}\"\n[generator]\nname = \"planted\"\ntask = \
             \"{name}\"\n{rows}"
        ))
        .expect("a manifest");
        LocatedDataset { name: name.clone(), manifest, folder: PathBuf::new() }
    });
    Located { datasets: datasets.collect(), model: LocatedModel { name: "tiny".into(), manifest: model, folder: None } }
}

pub(crate) fn assembled(recipe: &Recipe) -> Assembled {
    assemble(recipe, &located(recipe), &Device::Cpu).expect("assembled")
}

pub(crate) fn new(recipe: &Recipe, out: &Path, resume: bool) -> anyhow::Result<Run> {
    new_on(recipe, out, resume, &Device::Cpu)
}

pub(crate) fn new_on(recipe: &Recipe, out: &Path, resume: bool, device: &Device) -> anyhow::Result<Run> {
    started_on(recipe, out, if resume { Start::Resume } else { Start::New }, device)
}

pub(crate) fn started(recipe: &Recipe, out: &Path, start: Start) -> anyhow::Result<Run> {
    started_on(recipe, out, start, &Device::Cpu)
}

fn started_on(recipe: &Recipe, out: &Path, start: Start, device: &Device) -> anyhow::Result<Run> {
    let options = RunOptions {
        out: out.to_path_buf(),
        start,
        recipe_name: "tiny".into(),
        fallback: false,
        commit: None,
        device_name: format!("{:?}", device.location()).to_lowercase(),
    };
    Run::new(recipe.clone(), &located(recipe), options, device)
}

/// Trains `recipe` in `out` to its end.
pub(crate) fn run(recipe: &Recipe, out: &Path) -> mtl_eval::Report {
    finished(new(recipe, out, false).expect("a run").execute(&mut Silent).expect("trained"))
}

/// Trains `recipe` in `out` up to `step`, then to its end from the checkpoint.
pub(crate) fn run_with_a_break(recipe: &Recipe, out: &Path, step: usize) -> mtl_eval::Report {
    let first = new(recipe, out, false).expect("a run").execute(&mut Break { at: step, now: 0 }).expect("trained");
    assert!(matches!(first, Ended::Interrupted(at) if at == step), "{first:?}");
    finished(new(recipe, out, true).expect("resumed").execute(&mut Silent).expect("trained"))
}

fn finished(ended: Ended) -> mtl_eval::Report {
    match ended {
        Ended::Finished(report) => *report,
        Ended::Interrupted(step) => panic!("interrupted behind step {step}"),
    }
}

/// Interrupts behind one step.
pub(crate) struct Break {
    pub(crate) at: usize,
    pub(crate) now: usize,
}

impl Observer for Break {
    fn step(&mut self, step: usize, _of: usize, _rate: f64, _report: &mtl_train::StepReport) {
        self.now = step;
    }

    fn interrupted(&self) -> bool {
        self.now >= self.at
    }
}

/// The SHA-256 of a file of the last checkpoint in `out`.
pub(crate) fn hash(out: &Path, file: &str) -> String {
    let bytes = std::fs::read(out.join("checkpoints/last").join(file)).expect(file);
    Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The states of the rules in the last checkpoint in `out`.
pub(crate) fn states(out: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(out.join("checkpoints/last/state.json")).expect("a checkpoint");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["rules"].take()
}

/// The lines of `metrics.jsonl` in `out`.
pub(crate) fn metrics(out: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
