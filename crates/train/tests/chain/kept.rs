//! What a run keeps, and that nothing of it is lost: checkpoints, metrics, and files that are not its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Device;
use mtl_data::Texts;
use mtl_task::rng::Key;
use mtl_train::{Observer, Plan, Recipe, Silent, Trained};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::tiny::{Break, hash, metrics, new, recipe, run};

/// Keeps what a run says of itself before it begins.
#[derive(Default)]
struct Notes(Vec<String>);

impl Observer for Notes {
    fn begin(&mut self, plan: &Plan) {
        self.0.extend(plan.notes.iter().cloned());
    }

    fn note(&mut self, line: &str) {
        self.0.push(line.to_string());
    }
}

/// A run that was interrupted after step 2, with checkpoints of steps 1 and 2.
fn interrupted(recipe: &Recipe, out: &Path) {
    new(recipe, out, false).expect("a run").execute(&mut Break { at: 2, now: 0 }).expect("interrupted");
}

/// Goes on to the end; what the run said before.
fn resumed(recipe: &Recipe, out: &Path) -> Vec<String> {
    let mut notes = Notes::default();
    new(recipe, out, true).expect("resumed").execute(&mut notes).expect("trained");
    notes.0
}

fn open(out: &Path) -> anyhow::Result<Trained> {
    Trained::open(&Default::default(), out, &Device::Cpu)
}

fn steps(out: &Path) -> Vec<u64> {
    metrics(out).iter().filter_map(|line| line["step"].as_u64()).collect()
}

fn every_step(of: u64) -> Vec<u64> {
    (0..of).collect()
}

/// Changes the manifest of a checkpoint.
fn edit(checkpoint: &Path, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let path = checkpoint.join("manifest.json");
    let mut manifest = serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("a manifest");
    change(&mut manifest);
    std::fs::write(path, serde_json::to_vec_pretty(&manifest).expect("JSON")).expect("written");
}

/// Replaces a file of a checkpoint, as a save would: the manifest says so.
fn replace(checkpoint: &Path, file: &str, bytes: &[u8]) {
    std::fs::write(checkpoint.join(file), bytes).expect("written");
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    edit(checkpoint, |manifest| {
        manifest.insert(file.into(), digest);
    });
}

#[test]
fn whatever_is_wrong_with_a_checkpoint_the_one_before_it_is_taken_aloud() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["train.save_every=1", "evaluation.every=1"]);
    let whole = folder.path().join("whole");
    run(&recipe, &whole);
    let infinite = |file: &'static str| {
        move |last: &Path| {
            let mut bytes = std::fs::read(last.join(file)).expect("read");
            let end = bytes.len();
            bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            replace(last, file, &bytes);
        }
    };
    let text = |file: &'static str, text: &'static str| move |last: &Path| replace(last, file, text.as_bytes());
    let lacks = |file: &'static str| {
        move |last: &Path| {
            edit(last, |manifest| {
                manifest.remove(file);
            })
        }
    };
    let blank = |last: &Path| {
        let manifest = std::fs::read_to_string(last.join("manifest.json")).expect("text");
        std::fs::write(last.join("manifest.json"), manifest.replacen(' ', "\t", 1)).expect("written");
    };
    type Damage<'a> = Box<dyn Fn(&Path) + 'a>;
    let cases: Vec<(Damage, &str)> = vec![
        (Box::new(infinite("model.safetensors")), "1 of "),
        (Box::new(|last| std::fs::remove_file(last.join("model.safetensors")).expect("removed")), "model.safetensors"),
        (Box::new(|last| std::fs::remove_file(last.join("manifest.json")).expect("removed")), "manifest.json"),
        (Box::new(|last| std::fs::write(last.join("manifest.json"), "{}").expect("written")), "does not list"),
        (Box::new(|last| std::fs::write(last.join("manifest.json"), "\0\0").expect("written")), "manifest.json"),
        (Box::new(lacks("model.safetensors")), "does not list model.safetensors"),
        (Box::new(lacks("state.json")), "does not list state.json"),
        (Box::new(lacks("structure.json")), "does not list structure.json"),
        (Box::new(blank), "not as a save writes it"),
        (Box::new(text("state.json", "{\"step\": null}")), "state.json"),
        (Box::new(text("structure.json", "[")), "structure.json"),
        (Box::new(text("optimizer.safetensors", "no tensors")), "optimizer.safetensors"),
    ];
    for (number, (damage, named)) in cases.into_iter().enumerate() {
        let out = folder.path().join(number.to_string());
        interrupted(&recipe, &out);
        damage(&out.join("checkpoints/last"));
        let notes = resumed(&recipe, &out);
        let said = |note: &&String| note.contains(named) && note.contains("last.previous instead, after step 1");
        assert_eq!(notes.iter().filter(said).count(), 1, "{named}: {notes:?}");
        assert_eq!(hash(&out, "model.safetensors"), hash(&whole, "model.safetensors"), "{named}");
        assert_eq!(steps(&out), every_step(4), "{named}");
        assert!(!out.join("checkpoints/last.damaged").exists(), "{named}");
    }
}

#[test]
fn a_fallback_leaves_two_sound_checkpoints_and_the_damaged_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, recipe) = (folder.path().join("run"), recipe(&["train.save_every=1"]));
    interrupted(&recipe, &out);
    let checkpoints = out.join("checkpoints");
    std::fs::write(checkpoints.join("last/model.safetensors"), "damaged").expect("written");
    new(&recipe, &out, true).expect("resumed").execute(&mut Break { at: 2, now: 0 }).expect("interrupted again");
    let kept = std::fs::read(checkpoints.join("last.damaged/model.safetensors")).expect("kept");
    assert_eq!(kept, b"damaged");
    for (name, step) in [("last", 2), ("last.previous", 1)] {
        mtl_train::verify_checkpoint(&checkpoints.join(name)).expect("sound");
        let text = std::fs::read(checkpoints.join(name).join("state.json")).expect("read");
        assert_eq!(serde_json::from_slice::<Value>(&text).expect("JSON")["step"], step, "{name}");
    }
}

#[test]
fn predictions_need_the_weights_alone_and_name_what_is_damaged_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    run(&recipe(&["evaluation.every=2", "evaluation.keep_evaluations=true"]), &out);
    let texts = [Texts::One("suba sube".into())];
    let answers = || {
        let trained = open(&out).expect("a run");
        trained.answer(trained.task("topic").expect("a task").0, &texts).expect("answers")
    };
    let before = answers();
    let best = out.join("checkpoints/best");
    std::fs::write(best.join("optimizer.safetensors"), "damaged").expect("written");
    assert_eq!(answers(), before);
    std::fs::remove_file(best.join("optimizer.safetensors")).expect("removed");
    assert_eq!(answers(), before);

    // No other weights are taken in place of those that were asked for.
    let refused = |checkpoint: &str, file: &str| {
        let path = out.join("checkpoints").join(checkpoint).join(file);
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[1..]).expect("written");
        let error = match checkpoint {
            "best" => open(&out),
            name => Trained::open_at(&Default::default(), &out, name, &Device::Cpu),
        };
        let error = format!("{:#}", error.err().expect("damaged"));
        let shown = path.display().to_string();
        assert!(error.contains(&shown) && error.contains("damaged") && error.contains("train anew"), "{error}");
        std::fs::write(&path, bytes).expect("written");
    };
    for file in ["model.safetensors", "sharing.safetensors", "state.json", "structure.json", "manifest.json"] {
        refused("best", file);
        refused("step-2", file);
    }
    std::fs::remove_file(best.join("manifest.json")).expect("removed");
    let error = format!("{:#}", open(&out).err().expect("damaged"));
    assert!(error.contains("best") && error.contains("manifest.json"), "{error}");
}

#[test]
fn a_model_that_is_read_while_it_is_trained_is_one_that_was_saved() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("run");
    let recipe = recipe(&["train.save_every=1", "train.steps=60", "evaluation.keep=last", "evaluation.dev_limit=2"]);
    let training = new(&recipe, &out, false).expect("a run");
    let ended = AtomicBool::new(false);
    let opened = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut opened = 0;
            while !ended.load(Ordering::SeqCst) {
                if !out.join("checkpoints/last").exists() && opened == 0 {
                    continue;
                }
                let trained = open(&out).unwrap_or_else(|error| panic!("after {opened}: {error:#}"));
                let (id, _) = trained.task("topic").expect("a task");
                trained.answer(id, &[Texts::One("suba".into())]).expect("answers");
                opened += 1;
            }
            opened
        });
        training.execute(&mut Silent).expect("trained");
        ended.store(true, Ordering::SeqCst);
        reader.join().expect("no panic")
    });
    assert!(opened > 0, "nothing was read meanwhile");
}

#[test]
fn metrics_hold_every_step_once_whatever_happened_to_their_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = recipe(&["train.save_every=1"]);
    let tails: [(&str, &[u8]); 4] = [
        ("cut", b"{\"step\":2,\"los"),
        ("binary", b"{\"step\":2,\"phase\":\"\xff\xfe"),
        ("later", b"{\"step\":2}\n{\"step\":3}\n"),
        ("nothing", b""),
    ];
    for (name, tail) in tails {
        let out = folder.path().join(name);
        interrupted(&recipe, &out);
        let path = out.join("metrics.jsonl");
        let text = std::fs::read(&path).expect("read");
        std::fs::write(&path, [&text[..], tail].concat()).expect("written");
        // Killed right after it went on, before a line of its own is on disk.
        drop(new(&recipe, &out, true).expect("resumed"));
        let notes = resumed(&recipe, &out);
        assert_eq!(steps(&out), every_step(4), "{name}");
        assert!(metrics(&out)[0]["losses"].is_array());
        assert!(!notes.iter().any(|note| note.contains("metrics.jsonl")), "{notes:?}");
    }
    let out = folder.path().join("lost");
    interrupted(&recipe, &out);
    std::fs::remove_file(out.join("metrics.jsonl")).expect("removed");
    let notes = resumed(&recipe, &out);
    assert!(notes.iter().any(|note| note.contains("metrics.jsonl") && note.contains("0 to 1")), "{notes:?}");
    assert_eq!(steps(&out), [2, 3]);
}

#[test]
fn what_killed_writes_left_is_removed_when_a_run_begins() {
    let folder = tempfile::tempdir().expect("a folder");
    let (out, recipe) = (folder.path().join("run"), recipe(&["train.save_every=1"]));
    interrupted(&recipe, &out);
    let left = ["", "encoder", "checkpoints", "checkpoints/last", "checkpoints/last.previous"]
        .map(|place| out.join(place).join(".writing-1-1"));
    let begun: PathBuf = out.join("checkpoints/.step-9.new");
    std::fs::create_dir(&begun).expect("made");
    std::fs::write(begun.join("model.safetensors"), "half").expect("written");
    left.iter().for_each(|path| std::fs::write(path, "half").expect("written"));
    // Not while another process is at it.
    let busy = new(&recipe, &out, true).expect("resumed");
    std::fs::write(&left[0], "half").expect("written");
    assert!(new(&recipe, &out, true).is_err() && left[0].exists());
    drop(busy);
    new(&recipe, &out, true).expect("resumed");
    assert!(!left.iter().any(|path| path.exists()) && !begun.exists());
}

#[test]
fn a_folder_with_files_of_others_is_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path();
    for name in ["recipe.toml", "encoder/config.json", "metrics.jsonl", "report.md"] {
        let path = out.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(&path, "mine").expect("written");
        for resume in [false, true] {
            let error = format!("{:#}", new(&recipe(&[]), out, resume).err().expect("refused"));
            let named = name.split('/').next().expect("a name");
            assert!(error.contains(named) && error.contains("choose another --out"), "{error}");
        }
        assert_eq!(std::fs::read(&path).expect("read"), b"mine");
        assert!(!out.join(".lock").exists());
        let top = out.join(name.split('/').next().expect("a name"));
        if top.is_dir() { std::fs::remove_dir_all(top) } else { std::fs::remove_file(top) }.expect("removed");
    }
    std::fs::write(out.join("notes.txt"), "mine").expect("written");
    run(&recipe(&[]), out);
    assert_eq!(std::fs::read(out.join("notes.txt")).expect("read"), b"mine");
}

#[test]
fn every_changed_byte_of_a_checkpoint_is_noticed() {
    let folder = tempfile::tempdir().expect("a folder");
    run(&recipe(&["evaluation.every=0"]), folder.path());
    let checkpoint = folder.path().join("checkpoints/last");
    let files: Vec<PathBuf> =
        std::fs::read_dir(&checkpoint).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let mut random = Key::new(3).named("flips").stream();
    for flip in 0..1000 {
        let path = &files[flip % files.len()];
        let bytes = std::fs::read(path).expect("read");
        let (place, mask) = (random.below(bytes.len()), 1 + random.below(255) as u8);
        let mut changed = bytes.clone();
        changed[place] ^= mask;
        std::fs::write(path, changed).expect("written");
        let error = mtl_train::verify_checkpoint(&checkpoint).expect_err("damaged").to_string();
        assert!(error.contains(&checkpoint.display().to_string()), "byte {place} of {}: {error}", path.display());
        std::fs::write(path, bytes).expect("written");
    }
    mtl_train::verify_checkpoint(&checkpoint).expect("sound again");
}
