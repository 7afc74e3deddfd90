//! What stops a run from outside never costs its work: it is told, nothing is deleted, and the next call continues.

use std::fs::File;
use std::path::{Path, PathBuf};

use mtl_backbone::DeviceName;
use mtl_compare::{Ended, Options, Plan, Progress, Silent, Watch, compare};

use crate::comparison::{SMALL, experiment, finished, lines, options, timeless};
use crate::library::Shipped;

/// Notes what it is told, and interrupts after so many steps, or at a note that says `at`.
#[derive(Default)]
struct Noting {
    notes: Vec<String>,
    steps: Option<usize>,
    at: Option<&'static str>,
    interrupt: bool,
}

impl Watch for Noting {
    fn progress(&mut self, progress: &Progress) {
        self.interrupt |= self.steps.is_some_and(|steps| progress.step >= steps);
    }

    fn note(&mut self, line: &str) {
        self.interrupt |= self.at.is_some_and(|at| line.contains(at));
        self.notes.push(line.to_string());
    }

    fn interrupted(&self) -> bool {
        self.interrupt
    }
}

fn local(out: &Path) -> Options {
    options(out, mtl_compare::Engine::Local(1), None)
}

/// Compares until `watch` interrupts, or nothing more can be done; it must not finish. What was told.
fn stopped(out: &Path, mut watch: Noting) -> String {
    match compare(&experiment(""), &local(out), &Shipped, &mut watch).expect("no error of the whole") {
        Ended::Stopped { done, of } => assert!(done < of, "{done} of {of}"),
        other => panic!("not stopped: {other:?}"),
    }
    watch.notes.join("\n")
}

/// A comparison that was interrupted in its first run, after a checkpoint; the run's folder.
fn interrupted(out: &Path) -> PathBuf {
    stopped(out, Noting { steps: Some(3), ..Noting::default() });
    let folder = Plan::open(out).expect("a plan").folder(&lines(out)[0]);
    assert!(folder.join("checkpoints/last/manifest.json").exists());
    folder
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).expect("written");
}

/// The files of a folder and those below, with their lengths.
fn files(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let (path, size) = (entry.path(), entry.metadata().expect("there").len());
        if path.is_dir() { found.extend(files(&path)) } else { found.push((path, size)) }
    }
    found.sort();
    found
}

#[test]
fn a_flipped_byte_is_named_and_nothing_is_deleted() {
    let (whole, parts) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let expected = finished(&experiment(""), whole.path());
    let folder = interrupted(parts.path());
    // The one before it, which a run would go on from.
    let (previous, elsewhere) = (folder.join("checkpoints/last.previous"), parts.path().join("elsewhere"));
    std::fs::rename(&previous, &elsewhere).expect("moved");
    let saved = files(&folder);
    for damaged in ["last/model.safetensors", "last/optimizer.safetensors", "best/model.safetensors"] {
        let path = folder.join("checkpoints").join(damaged);
        flip(&path);
        let told = stopped(parts.path(), Noting::default());
        for part in ["left for the next call", &path.display().to_string(), "damaged", "nothing was deleted", "remove"]
        {
            assert!(told.contains(part), "`{part}` is missing in: {told}");
        }
        assert_eq!(files(&folder), saved);
        assert_eq!(Plan::open(parts.path()).expect("a plan").broken(&lines(parts.path())[0]), None);
        flip(&path);
    }
    let manifest = folder.join("checkpoints/last/manifest.json");
    let text = std::fs::read(&manifest).expect("read");
    std::fs::remove_file(&manifest).expect("removed");
    let told = stopped(parts.path(), Noting::default());
    assert!(told.contains("manifest.json") && told.contains("damaged"), "{told}");
    std::fs::write(&manifest, text).expect("written");
    // With the one before it back, it continues from that, aloud, and ends as if nothing had been.
    std::fs::rename(&elsewhere, &previous).expect("moved back");
    flip(&folder.join("checkpoints/last/model.safetensors"));
    let mut watch = Noting::default();
    let ended = compare(&experiment(""), &local(parts.path()), &Shipped, &mut watch).expect("compared");
    let Ended::Finished(comparison) = ended else { panic!("not finished: {ended:?}") };
    let told = watch.notes.join("\n");
    assert!(told.contains("last/model.safetensors") && told.contains("last.previous instead, after step"), "{told}");
    assert_eq!(timeless(*comparison), timeless(expected));
}

#[test]
fn a_lock_of_another_process_is_waited_for() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = interrupted(out.path());
    for path in [folder.with_extension("lock"), folder.join(".lock")] {
        let held = File::options().append(true).open(&path).expect("a lock");
        held.lock().expect("locked");
        let told = stopped(out.path(), Noting { at: Some("another process"), ..Noting::default() });
        assert!(told.contains(&path.display().to_string()) && told.contains("waiting"), "{told}");
        drop(held);
    }
    assert_eq!(Plan::open(out.path()).expect("a plan").broken(&lines(out.path())[0]), None);
    finished(&experiment(""), out.path());
}

#[test]
fn an_error_of_the_disk_breaks_no_run() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = interrupted(out.path());
    let elsewhere = out.path().join("elsewhere");
    // A file lies where the next checkpoint is to be made.
    std::fs::rename(folder.join("checkpoints"), &elsewhere).expect("moved");
    std::fs::write(folder.join("checkpoints"), "in the way").expect("written");
    let told = stopped(out.path(), Noting::default());
    assert!(told.contains("left for the next call: single seed 0") && told.contains("checkpoints"), "{told}");
    let plan = Plan::open(out.path()).expect("a plan");
    let all = lines(out.path());
    assert_eq!((plan.broken(&all[0]), plan.is_done(&all[0])), (None, false));
    assert!(plan.is_done(&all[1]), "the others run");
    std::fs::remove_file(folder.join("checkpoints")).expect("removed");
    std::fs::rename(&elsewhere, folder.join("checkpoints")).expect("moved back");
    finished(&experiment(""), out.path());
}

#[test]
fn a_checkpoint_of_another_recipe_breaks_the_run_and_stays() {
    let out = tempfile::tempdir().expect("a folder");
    let folder = interrupted(out.path());
    let recipe = std::fs::read_to_string(folder.join("recipe.toml")).expect("read");
    std::fs::write(folder.join("recipe.toml"), recipe.replace("batch = 4", "batch = 5")).expect("written");
    let error = compare(&experiment(""), &local(out.path()), &Shipped, &mut Silent).map(|_| ()).err();
    let reason = Plan::open(out.path()).expect("a plan").broken(&lines(out.path())[0]).expect("broken");
    assert!(reason.contains("recipe.toml") && reason.contains("of another recipe"), "{reason} {error:?}");
    assert!(folder.join("checkpoints/last/model.safetensors").exists());
    assert!(SMALL.contains("batch = 4"));
}

#[test]
fn a_device_that_is_not_there_costs_no_run() {
    let (folder, mut watch) = (tempfile::tempdir().expect("a folder"), Noting::default());
    let elsewhere = Options { device: DeviceName::Cuda(9999), ..local(folder.path()) };
    let ended = compare(&experiment(""), &elsewhere, &Shipped, &mut watch).expect("no error of the whole");
    assert!(matches!(ended, Ended::Stopped { done: 0, .. }), "{ended:?}");
    let told = watch.notes.join("\n");
    assert!(told.contains("the device `cuda:9999`") && !told.contains("broken"), "{told}");
    let comparison = finished(&experiment(""), folder.path());
    assert_eq!(comparison.provenance["device"], "cpu");
}

#[test]
fn files_of_others_are_not_written_over_and_those_of_killed_writes_are_removed() {
    let out = tempfile::tempdir().expect("a folder");
    let refused = |name: &str| {
        let path = out.path().join(name);
        std::fs::write(&path, "mine").expect("written");
        let ended = compare(&experiment(""), &local(out.path()), &Shipped, &mut Silent);
        let error = ended.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(&format!("`{name}`")) && error.contains("--out"), "{error}");
        assert_eq!(std::fs::read(&path).expect("read"), b"mine");
        std::fs::remove_file(path).expect("removed");
    };
    ["report.md", "report.html", "comparison.json", "lock"].iter().for_each(|name| refused(name));
    std::fs::write(out.path().join("notes.txt"), "mine").expect("written");
    std::fs::write(out.path().join(".writing-7-0"), "half").expect("written");
    stopped(out.path(), Noting { steps: Some(1), ..Noting::default() });
    assert!(!out.path().join(".writing-7-0").exists() && out.path().join("notes.txt").exists());
}
