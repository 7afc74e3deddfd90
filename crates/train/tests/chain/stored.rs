//! What a run stores of its tasks and data, and that it decides.

use std::path::Path;

use candle_core::Device;
use mtl_data::Texts;
use mtl_data::manifest::DatasetManifest;
use mtl_task::Label;
use mtl_train::{Ended, Located, LocatedDataset, Recipe, Run, RunOptions, Silent, Start, Trained};

use crate::tiny::{located, recipe};

/// A table beside the generated `topic`, whose words are its vocabulary; `task` is the manifest's `[task]` and more.
fn own(folder: &Path, task: &str) -> Located {
    let manifest: DatasetManifest =
        toml::from_str(&format!("about = \"\"\nlicence = \"\"\n{task}\n[splits]\nall = [\"rows.csv\"]\n"))
            .expect("a manifest");
    let mut found = located(&recipe(&["tasks=[\"topic\"]"]));
    found.datasets.push(LocatedDataset { name: "own".into(), manifest, folder: folder.to_path_buf() });
    found
}

fn of_own(overrides: &[&str]) -> Recipe {
    recipe(&[&["tasks=[\"topic\", \"own\"]"], overrides].concat())
}

fn new(recipe: &Recipe, located: &Located, out: &Path, resume: bool) -> anyhow::Result<Run> {
    let options = RunOptions {
        out: out.to_path_buf(),
        start: if resume { Start::Resume } else { Start::New },
        recipe_name: "stored".into(),
        fallback: false,
        commit: None,
        device_name: "cpu".into(),
    };
    Run::new(recipe.clone(), located, options, &Device::Cpu)
}

fn trained(recipe: &Recipe, located: &Located, out: &Path) -> mtl_eval::Report {
    match new(recipe, located, out, false).expect("a run").execute(&mut Silent).expect("trained") {
        Ended::Finished(report) => *report,
        Ended::Interrupted(step) => panic!("interrupted after step {step}"),
    }
}

fn rows(folder: &Path, label: impl Fn(usize) -> String) {
    let rows: String = (0..60).map(|row| format!("word {row},{}\n", label(row))).collect();
    std::fs::write(folder.join("rows.csv"), format!("text,label\n{rows}")).expect("written");
}

const CLASSES: &str = "[task]\nkind = \"classification\"\nlabels = [\"no\", \"yes\"]";

#[test]
fn labels_files_and_splits_that_changed_are_refused_by_resuming_and_by_scoring() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, out) = (place.path(), place.path().join("run"));
    let recipe = of_own(&[]);
    rows(folder, |row| ["no", "yes"][row % 2].into());
    let report = trained(&recipe, &own(folder, CLASSES), &out);
    let open = || Trained::open(&Default::default(), &out, &Device::Cpu).expect("a run");
    let refused = |task: &str, named: &[&str]| {
        let located = own(folder, task);
        let resumed = new(&recipe, &located, &out, true).err().expect("refused");
        let scored = open().datasets(&located, |name| recipe.load_options_of(name)).err().expect("refused");
        for error in [format!("{resumed:#}"), format!("{scored:#}")] {
            for part in [&["dataset `own`", "train anew"], named].concat() {
                assert!(error.contains(part), "`{part}` is missing in: {error}");
            }
        }
    };
    let list = |labels: &str| CLASSES.replace("[\"no\", \"yes\"]", labels);
    for labels in ["[\"yes\", \"no\"]", "[\"no\", \"ja\"]", "[\"no\", \"yes\", \"maybe\"]"] {
        refused(&list(labels), &["label list", "then no, yes (2 labels, fingerprint ", "; now "]);
    }
    // The same list, and the truths the other way round.
    let swapped = format!("{CLASSES}\n[columns.label_names]\nyes = \"no\"\nno = \"yes\"");
    refused(&swapped, &["split is not that of the run", "fingerprint"]);
    refused(
        "[task]\nkind = \"multilabel\"\nlabels = [\"no\", \"yes\"]",
        &["of kind classification", "kind multilabel"],
    );
    let text = std::fs::read_to_string(folder.join("rows.csv")).expect("read");
    std::fs::write(folder.join("rows.csv"), format!("{text}word 60,no\n")).expect("written");
    refused(CLASSES, &["rows.csv", "SHA-256 was", "and is"]);
    std::fs::write(folder.join("rows.csv"), &text).expect("written");

    // What is as it was, goes on; and predicting needs no data.
    let ended = new(&recipe, &own(folder, CLASSES), &out, true).expect("resumed").execute(&mut Silent).expect("ended");
    assert!(matches!(ended, Ended::Finished(again) if again.tasks == report.tasks));
    assert_eq!(open().datasets(&own(folder, CLASSES), |name| recipe.load_options_of(name)).expect("the same").len(), 2);
    // Labels that were taken from the data are told by it as well: naming them changes nothing.
    std::fs::remove_file(folder.join("rows.csv")).expect("removed");
    let opened = open();
    let (id, _) = opened.task("own").expect("a task");
    assert_eq!(opened.answer(id, &[Texts::One("word".into())]).expect("answers").len(), 1);
}

#[test]
fn runs_without_fingerprints_still_go_by_their_labels() {
    let place = tempfile::tempdir().expect("a folder");
    let (folder, out) = (place.path(), place.path().join("run"));
    let recipe = of_own(&[]);
    rows(folder, |row| ["no", "yes"][row % 2].into());
    trained(&recipe, &own(folder, "[task]\nkind = \"classification\""), &out);
    std::fs::remove_file(out.join("data.json")).expect("removed");
    new(&recipe, &own(folder, CLASSES), &out, true).expect("the labels that were found, named");
    std::fs::remove_file(out.join("data.json")).expect("written again");
    let swapped = own(folder, &CLASSES.replace("[\"no\", \"yes\"]", "[\"yes\", \"no\"]"));
    let error = format!("{:#}", new(&recipe, &swapped, &out, true).err().expect("refused"));
    assert!(error.contains("label list"), "{error}");
}

#[test]
fn regression_answers_in_the_targets_unit() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    rows(folder, |row| (5000 + 10 * (row % 7)).to_string());
    let still = of_own(&["optimizer.rate=0.0"]);
    let value = |name: &str, task: &str| {
        let out = folder.join(name);
        let report = trained(&still, &own(folder, task), &out);
        let opened = Trained::open(&Default::default(), &out, &Device::Cpu).expect("a run");
        let (id, _) = opened.task("own").expect("a task");
        let answers = opened.answer(id, &[Texts::One("word".into())]).expect("answers");
        let Label::Value(value) = answers[0].label else { panic!("a number was expected") };
        (value, report.tasks["own"].clone())
    };
    // A head before any step answers about 0, which is the mean of standardised targets.
    let (standardised, report) = value("on", "[task]\nkind = \"regression\"\nmetric = \"pearson\"");
    assert!((4900. ..5150.).contains(&standardised), "{standardised}");
    let (plain, other) = value("off", "[task]\nkind = \"regression\"\nstandardise = false");
    assert!(plain.abs() < 10., "{plain}");
    let mae = |report: &mtl_eval::TaskReport| report.metrics["mae"].test.expect("a test score");
    assert!(mae(&report) < 100. && mae(&other) > 4900., "metrics are in the targets' unit");
    let stored = std::fs::read_to_string(folder.join("on/tasks.json")).expect("tasks");
    assert!(stored.contains("\"deviation\"") && stored.contains("\"mean\": 50"), "{stored}");

    rows(folder, |_| "7".into());
    let located = own(folder, "[task]\nkind = \"regression\"");
    let error = format!("{:#}", new(&still, &located, &folder.join("constant"), false).err().expect("refused"));
    assert!(error.contains("dataset `own`") && error.contains("every training target is 7"), "{error}");
}

#[test]
fn training_rows_of_a_test_split_are_dropped_or_allowed_and_counted_in_the_report() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    rows(folder, |row| ["no", "yes"][row % 2].into());
    let text = std::fs::read_to_string(folder.join("rows.csv")).expect("read");
    let few: String = text.lines().take(9).map(|line| format!("{line}\n")).collect();
    std::fs::write(folder.join("test.csv"), few).expect("written");
    let mut located = own(folder, CLASSES);
    let splits = &mut located.datasets[1].manifest.splits;
    (splits.train, splits.test) = (std::mem::take(&mut splits.all), vec!["test.csv".into()]);
    let size = |name: &str, set: &[&str], said: &str| {
        let run = new(&of_own(set), &located, &folder.join(name), false).expect("a run");
        let count = run.assembled().datasets[1].train.examples.len();
        let Ended::Finished(report) = run.execute(&mut Silent).expect("trained") else { panic!("interrupted") };
        assert!(report.notes.iter().any(|note| note.starts_with("own: ") && note.contains(said)), "{:?}", report.notes);
        let markdown = report.to_markdown(&mtl_eval::Metrics::default());
        assert!(markdown.contains("## Data"), "{markdown}");
        count
    };
    let dropped = size("drop", &[], "are left out of train");
    let allowed = size("allow", &["evaluation.overlap=allow"], "trained on, as [evaluation] overlap");
    assert_eq!(allowed, 54, "a tenth is dev");
    assert!((allowed - 8..allowed).contains(&dropped), "{dropped}");
}
