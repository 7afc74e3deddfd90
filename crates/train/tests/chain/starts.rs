//! What a run does with a run that its folder holds already.

use std::path::Path;

use mtl_train::{Observer, Plan, Silent, Start, Trained, is_unfinished};

use crate::tiny::{Break, hash, metrics, new, recipe, run, started};

const BEFORE: &[&str] = &["train.save_every=1", "evaluation.every=2"];

/// An unfinished run in `folder`/`name`, after step 2 of 4.
fn unfinished(folder: &Path, name: &str) -> std::path::PathBuf {
    let out = folder.join(name);
    new(&recipe(BEFORE), &out, false).expect("a run").execute(&mut Break { at: 2, now: 0 }).expect("interrupted");
    out
}

/// Keeps what a run says, asks for a checkpoint by its file after the first step, and interrupts after that or a later
/// one.
#[derive(Default)]
struct Asking {
    notes: Vec<String>,
    ask: Option<std::path::PathBuf>,
    ended: usize,
    until: usize,
}

impl Observer for Asking {
    fn begin(&mut self, plan: &Plan) {
        self.notes.clone_from(&plan.notes);
    }

    fn step(&mut self, step: usize, _of: usize, _rate: f64, _report: &mtl_train::StepReport) {
        self.ended = step;
        if let Some(path) = self.ask.take() {
            std::fs::write(path, "").expect("written");
        }
    }

    fn note(&mut self, line: &str) {
        self.notes.push(line.into());
    }

    fn interrupted(&self) -> bool {
        self.ended >= self.until
    }
}

#[test]
fn the_same_recipe_goes_on_and_what_changes_no_result_may_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = folder.path().join("whole");
    run(&recipe(BEFORE), &whole);
    let out = unfinished(folder.path(), "out");
    assert!(is_unfinished(&out, &recipe(BEFORE)) && !is_unfinished(&whole, &recipe(BEFORE)));
    assert!(!is_unfinished(&out, &recipe(&["train.seed=1"])) && !is_unfinished(folder.path(), &recipe(BEFORE)));
    let now = recipe(&["train.save_every=0", "evaluation.every=2", "train.threads=3", "train.recompute=true"]);
    let mut told = Asking::default();
    started(&now, &out, Start::Continue).expect("goes on").execute(&mut told).expect("trained");
    for part in ["after step 2", "train.threads: 0 then, 3 now", "train.save_every: 1 then, 0 now", "train.recompute"] {
        assert!(told.notes.iter().any(|note| note.contains(part)), "`{part}` is missing in: {:?}", told.notes);
    }
    // It stopped after its first step, with the recipe of now in its folder, and goes on once more.
    for again in [&now, &recipe(BEFORE)] {
        assert!(is_unfinished(&out, again));
    }
    started(&recipe(BEFORE), &out, Start::Continue).expect("goes on").execute(&mut Silent).expect("trained");
    for file in ["model.safetensors", "optimizer.safetensors"] {
        assert_eq!(hash(&out, file), hash(&whole, file), "{file}");
    }
    // A finished one is over, and its report stays what it is.
    let report = std::fs::read(out.join("report.json")).expect("a report");
    let finished = started(&now, &out, Start::Continue).expect("opened");
    assert!(finished.is_finished());
    finished.execute(&mut Silent).expect("the report");
    assert_eq!(std::fs::read(out.join("report.json")).expect("a report"), report);
    Trained::open(&Default::default(), &out, &candle_core::Device::Cpu).expect("opened");
}

#[test]
fn another_recipe_is_refused_with_the_keys_that_differ_and_begins_anew_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = unfinished(folder.path(), "out");
    let other = recipe(&["train.save_every=1", "evaluation.every=2", "train.seed=4", "train.steps=3"]);
    for start in [Start::Continue, Start::Resume] {
        let error = format!("{:#}", started(&other, &out, start).err().expect("refused"));
        for part in [
            "an unfinished run (after step 2) of another recipe",
            "train.seed: 0 then, 4 now",
            "train.steps: 4 then, 3",
        ] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }
    std::fs::write(out.join("notes.txt"), "mine").expect("written");
    // What is refused removes nothing.
    let before = hash(&out, "model.safetensors");
    let too_long = recipe(&["train.max_tokens=33"]);
    let error = format!("{:#}", started(&too_long, &out, Start::Fresh).err().expect("refused"));
    assert!(error.contains("train.max_tokens is 33") && hash(&out, "model.safetensors") == before, "{error}");
    started(&other, &out, Start::Fresh).expect("anew").execute(&mut Silent).expect("trained");
    let alone = folder.path().join("alone");
    run(&other, &alone);
    assert_eq!(hash(&out, "model.safetensors"), hash(&alone, "model.safetensors"));
    assert_eq!(metrics(&out).len(), 3);
    assert_eq!(std::fs::read_to_string(out.join("notes.txt")).expect("there"), "mine");

    // A recipe of somebody's own is not removed.
    let own = folder.path().join("own");
    std::fs::create_dir(&own).expect("made");
    std::fs::write(own.join("recipe.toml"), "tasks = [\"topic\"]\ncheckpoint = \"tiny\"\n").expect("written");
    let error = format!("{:#}", started(&other, &own, Start::Fresh).err().expect("refused"));
    assert!(error.contains("`recipe.toml`, which is not of a run"), "{error}");
    assert!(std::fs::read_to_string(own.join("recipe.toml")).expect("there").starts_with("tasks"));
}

#[test]
fn a_run_without_a_checkpoint_begins_again_and_lost_ones_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    run(&recipe(BEFORE), &whole);
    drop(new(&recipe(BEFORE), &out, false).expect("begun, and stopped before its first step"));
    assert!(is_unfinished(&out, &recipe(BEFORE)));
    let error = format!("{:#}", started(&recipe(&["train.seed=1"]), &out, Start::Continue).err().expect("refused"));
    assert!(error.contains("without a checkpoint yet"), "{error}");
    let mut told = Asking::default();
    started(&recipe(BEFORE), &out, Start::Continue).expect("begins").execute(&mut told).expect("trained");
    assert!(told.notes.iter().any(|note| note.contains("begins again at step 0")), "{:?}", told.notes);
    started(&recipe(BEFORE), &out, Start::Continue).expect("goes on").execute(&mut Silent).expect("trained");
    assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));

    let error = |start| format!("{:#}", started(&recipe(BEFORE), &out, start).err().expect("refused"));
    std::fs::rename(out.join("checkpoints"), out.join("elsewhere")).expect("moved");
    let lost = error(Start::Continue);
    assert!(lost.contains("report of a finished run, and no checkpoint") && lost.contains("--fresh"), "{lost}");
    std::fs::create_dir_all(out.join("checkpoints/last")).expect("made");
    let damaged = error(Start::Continue);
    assert!(damaged.contains("manifest.json: damaged") && damaged.contains("train anew"), "{damaged}");
    started(&recipe(BEFORE), &out, Start::Fresh).expect("anew").execute(&mut Silent).expect("trained");
    assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));
}

#[test]
fn a_checkpoint_is_saved_when_a_file_asks_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let seldom = ["train.save_every=1000", "evaluation.every=0"];
    let (whole, out) = (folder.path().join("whole"), folder.path().join("out"));
    run(&recipe(&seldom), &whole);
    let ask = out.join("save-now");
    let mut asking = Asking { ask: Some(ask.clone()), until: 2, ..Asking::default() };
    new(&recipe(&seldom), &out, false).expect("a run").execute(&mut asking).expect("interrupted");
    assert!(asking.notes.contains(&"saved after step 1, as save-now asked".into()), "{:?}", asking.notes);
    assert!(!ask.exists());
    let step = |name: &str| {
        let text = std::fs::read_to_string(out.join("checkpoints").join(name).join("state.json")).expect("a state");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["step"].as_u64()
    };
    assert_eq!((step("last.previous"), step("last")), (Some(1), Some(2)));
    new(&recipe(&seldom), &out, true).expect("resumed").execute(&mut Silent).expect("trained");
    assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"));
}

#[test]
fn an_encoder_or_a_folder_that_changed_is_refused_with_both_fingerprints() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = unfinished(folder.path(), "out");
    let fingerprints = out.join("fingerprints.json");
    let stored = std::fs::read_to_string(&fingerprints).expect("fingerprints");
    let table: std::collections::BTreeMap<String, String> = serde_json::from_str(&stored).expect("JSON");
    for (key, said) in [
        ("encoder/tokenizer.json", "the tokenizer"),
        ("encoder/config.json", "the configuration"),
        ("weights before training", "the weights"),
    ] {
        let other = stored.replace(&table[key], &"0".repeat(64));
        std::fs::write(&fingerprints, other).expect("written");
        let error = format!("{:#}", new(&recipe(BEFORE), &out, true).err().expect("refused"));
        for part in ["model `tiny`", said, &"0".repeat(64), &table[key], "train anew"] {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
    }
    std::fs::write(&fingerprints, &stored).expect("written");
    let open = || Trained::open(&Default::default(), &out, &candle_core::Device::Cpu);
    open().expect("as it was written");
    for file in ["tasks.json", "encoder/config.json", "encoder/tokenizer.json", "recipe.toml"] {
        let path = out.join(file);
        let text = std::fs::read_to_string(&path).expect("read");
        let changed = if file == "recipe.toml" { text.replace("seed = 0", "seed = 1") } else { format!("{text}\n") };
        std::fs::write(&path, changed).expect("written");
        let error = format!("{:#}", open().err().expect("refused"));
        assert!(error.contains(file) && error.contains("was") && error.contains("restore it"), "{error}");
        std::fs::write(&path, text).expect("written");
    }
    new(&recipe(BEFORE), &out, true).expect("resumed").execute(&mut Silent).expect("trained");
}
