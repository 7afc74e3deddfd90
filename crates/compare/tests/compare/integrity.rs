//! What does not fit together is noticed and named: other programs, other data, impossible scores, settings that changed
//! after test was opened. What was planned by a program of before goes on as it was planned.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use mtl_compare::{Document, Ended, Engine, Experiment, Library, Options, Plan, Planned, Purpose, Silent, compare};
use mtl_data::manifest::DatasetManifest;
use mtl_eval::comparison::{Comparison, RunRecord};
use mtl_train::{Located, LocatedDataset, Recipe, Registries};
use sha2::{Digest, Sha256};

use crate::comparison::{SMALL, experiment, finished, lines, options, timeless};
use crate::library::{Shipped, document};
use crate::measuring::planned;

fn outcome(experiment: &Experiment, options: &Options, library: &dyn Library) -> Result<Comparison, String> {
    match compare(experiment, options, library, &mut Silent) {
        Ok(Ended::Finished(comparison)) => Ok(*comparison),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn local(out: &Path) -> Options {
    options(out, Engine::Local(1), None)
}

fn record_of(out: &Path, line: &Planned) -> PathBuf {
    Plan::open(out).expect("a plan").folder(line).join("record.json")
}

fn change(path: &Path, by: impl Fn(&mut RunRecord)) -> Vec<u8> {
    let text = std::fs::read(path).expect("a record");
    let mut record: RunRecord = serde_json::from_slice(&text).expect("a record");
    by(&mut record);
    std::fs::write(path, serde_json::to_vec(&record).expect("JSON")).expect("written");
    text
}

#[test]
fn scores_that_cannot_be_and_records_of_others_are_named() {
    let (experiment, folder) = (experiment(""), tempfile::tempdir().expect("a folder"));
    let out = folder.path();
    let expected = finished(&experiment, out);
    let all = lines(out);
    let record = record_of(out, &all[0]);
    type Spoil<'a> = &'a dyn Fn(&mut RunRecord);
    let scores: [(Spoil, &str); 3] = [
        (
            &|record| {
                let task = record.tasks.get_mut("planted-topic").expect("a task");
                task.test.as_mut().expect("scored").insert(task.headline.clone(), 1.7);
            },
            "on test is 1.7, and lies between 0 and 1",
        ),
        (
            &|record| {
                let task = record.tasks.get_mut("planted-topic").expect("a task");
                task.dev.insert(task.headline.clone(), -0.25);
            },
            "on dev is -0.25, and lies between",
        ),
        (
            &|record| {
                let task = record.tasks.get_mut("planted-topic").expect("a task");
                task.test.as_mut().expect("scored").insert(task.headline.clone(), 0.123456);
            },
            "on test is 0.123456, and its answers score",
        ),
    ];
    for (damage, part) in scores {
        let before = change(&record, damage);
        let said = outcome(&experiment, &local(out), &Shipped).expect_err("refused");
        for part in [part, "remove it to run again", &record.display().to_string()] {
            assert!(said.contains(part), "`{part}` is missing in: {said}");
        }
        std::fs::write(&record, before).expect("put back");
    }
    assert_eq!(finished(&experiment, out), expected);

    // Another program, and other data.
    let other = Options { commit: Some("abcdef".into()), ..local(out) };
    let warnings = outcome(&experiment, &other, &Shipped).expect("compared").warnings.join("\n");
    assert!(warnings.contains("2 runs are of another program, version ") && warnings.contains("abcdef"), "{warnings}");
    change(&record, |record| {
        record.data.insert("planted-topic/train split".into(), "another".into());
    });
    let warnings = outcome(&experiment, &local(out), &Shipped).expect("compared").warnings.join("\n");
    let part = "the data `planted-topic/train split` changed: run ";
    assert!(warnings.contains(part) && warnings.contains(&all[1].id), "{warnings}");
}

#[test]
fn settings_may_change_while_test_is_sealed_and_are_named_afterwards() {
    let more = "\n[[arm]]\nstrategy = \"hard\"\nrule = \"equal\"\n";
    let with = |settings: &str| {
        let text = format!("{settings}\n{SMALL}{more}");
        Experiment::parse("small", &document("small", &text), &[], &Shipped).expect("an experiment")
    };
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path();
    planned(&with("level = 0.01"), out);
    let warnings = |settings: &str| finished(&with(settings), out).warnings.join("\n");
    assert!(!warnings("").contains("changed after"), "nothing was known yet");
    let said = warnings("baseline = \"hard+equal\"\nlevel = 0.1");
    for part in ["baseline: was `single`, is `hard+equal`", "level: was `0.05`, is `0.1`", "after the test splits"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    // It stays what it was, and can be put back.
    assert!(warnings("baseline = \"hard+equal\"").contains("baseline: was `single`"));
    assert!(!warnings("").contains("changed after"));
}

/// The shipped models, and one dataset in a folder.
struct Folder(PathBuf);

const ROWS: &str = "about = \"\"\nlicence = \"\"\n[task]\nkind = \"classification\"\n[splits]\nall = [\"rows.csv\"]\n";

impl Folder {
    fn write(&self, first: &str) {
        let row = |at: usize| format!("the {} word {at},{}\n", ["red", "blue"][at % 2], ["warm", "cold"][at % 2]);
        let rows: String = (0..120).map(row).collect();
        std::fs::write(self.0.join("rows.csv"), format!("text,label\n{first},warm\n{rows}")).expect("written");
    }
}

impl Library for Folder {
    fn registries(&self) -> Arc<Registries> {
        Shipped.registries()
    }

    fn recipe(&self, name: &str) -> Result<Document> {
        Shipped.recipe(name)
    }

    fn locate(&self, recipe: &Recipe) -> Result<Located> {
        // The words of a random model are those of generated text.
        let mut located = Shipped.locate(&Recipe { tasks: vec!["planted-topic".into()], ..recipe.clone() })?;
        let manifest: DatasetManifest = toml::from_str(ROWS)?;
        located.datasets.push(LocatedDataset { name: "rows".into(), manifest, folder: self.0.clone() });
        Ok(located)
    }
}

#[test]
fn a_data_file_that_changed_is_named_before_anything_runs_on_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let (library, out) = (Folder(folder.path().to_path_buf()), folder.path().join("out"));
    library.write("a red one");
    let text = SMALL.replace("planted-mood", "rows");
    let experiment = Experiment::parse("small", &document("small", &text), &[], &library).expect("an experiment");
    let some = Options { at_most: Some(1), ..local(&out) };
    outcome(&experiment, &some, &library).expect_err("stopped");
    let header = std::fs::read_to_string(out.join("plan.json")).expect("a header");
    let digits = format!("{:x}", Sha256::digest(std::fs::read(folder.path().join("rows.csv")).expect("rows")));
    assert!(header.contains(&format!("\"rows/rows.csv\": \"{digits}\"")), "{header}");
    let root = folder.path().display().to_string();
    for text in [header, std::fs::read_to_string(out.join("plan.jsonl")).expect("a plan")] {
        assert!(!text.contains(&root), "no absolute path stands in a plan: {text}");
    }

    library.write("a blue one");
    let said = outcome(&experiment, &local(&out), &library).expect_err("refused");
    for part in ["not the data that was planned with: rows/rows.csv", "restore", "--out"] {
        assert!(said.contains(part), "`{part}` is missing in: {said}");
    }
    assert!(!record_of(&out, &lines(&out)[1]).exists());
    library.write("a red one");
    let expected = outcome(&experiment, &local(&out), &library).expect("finished");
    // Once all is there it is a word beside the result.
    library.write("a blue one");
    let found = outcome(&experiment, &local(&out), &library).expect("finished");
    assert!(found.warnings.iter().any(|warning| warning.contains("`rows/rows.csv` is not the one")), "{found:?}");
    assert_eq!(found.arms, expected.arms);
}

const TUNED: &str = r#"
[[arm]]
strategy = "hard"
rule = "equal"
equal_compute = true

[tune]
method = "grid"
keys = { "optimizer.rate" = [1e-3, 3e-3] }
steps = 2
"#;

#[test]
fn a_tuning_run_that_was_deleted_is_run_again_and_nothing_changes() {
    let (experiment, folder) = (experiment(TUNED), tempfile::tempdir().expect("a folder"));
    let out = folder.path();
    let expected = finished(&experiment, out);
    let all = lines(out);
    let plan = Plan::open(out).expect("a plan");
    for line in all.iter().filter(|line| line.purpose == Purpose::Tune) {
        std::fs::remove_dir_all(plan.folder(line)).expect("removed");
    }
    // What a step costs by the clock is another number now; the plan keeps the first.
    assert_eq!(timeless(finished(&experiment, out)), timeless(expected));
    assert_eq!(lines(out), all);
}

#[test]
fn a_training_that_diverges_is_a_result_and_a_rate_that_does_is_not_chosen() {
    let more = r#"
[[arm]]
name = "wild"
strategy = "hard"
rule = "equal"
set = { "optimizer.groups.encoder.rate" = 1e38 }

[tune]
method = "grid"
keys = { "optimizer.rate" = [1e38, 3e-3] }
"#;
    let (experiment, folder) = (experiment(more), tempfile::tempdir().expect("a folder"));
    let found = finished(&experiment, folder.path());
    let [single, wild] = &found.arms[..] else { panic!("two arms") };
    assert_eq!((single.finished, wild.finished, wild.broken.len()), (2, 2, 0));
    let (plan, all) = (Plan::open(folder.path()).expect("a plan"), lines(folder.path()));
    let record = |line: &Planned| plan.record(line).expect("readable").expect("finished");
    for line in &all {
        let record = record(line);
        let wild = line.arm == "wild" || line.tuned["optimizer.rate"].parse::<f64>().expect("a rate") > 1.;
        assert_eq!(record.diverged.is_some(), wild, "{line:?}");
        if let (true, Some(test)) = (wild, &record.tasks["planted-topic"].test) {
            assert_eq!(test["accuracy"], record.tasks["planted-topic"].trivial);
        }
    }
    let last = all.iter().find(|line| line.arm == "single" && line.purpose == Purpose::Final).expect("a final run");
    assert!(last.tuned["optimizer.task_rates"].matches("0.003").count() == 2, "{:?}", last.tuned);
}

/// `out` as a program of before plans had headers would have left it.
fn as_before(out: &Path) {
    std::fs::remove_file(out.join("plan.json")).expect("a header");
    let mut text = String::new();
    for mut line in lines(out) {
        let runs = out.join("runs");
        let then = runs.join(&line.id);
        let old = |row: &&str| !row.starts_with("sample_seed = ") && !row.starts_with("stratified = ");
        line.recipe = line.recipe.lines().filter(old).map(|row| format!("{row}\n")).collect();
        let purpose = serde_json::to_string(&line.purpose).expect("JSON");
        let digest = Sha256::digest(format!("{}\n{purpose}\n{}", line.arm, line.recipe).as_bytes());
        line.id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        if then.exists() {
            std::fs::rename(then, runs.join(&line.id)).expect("renamed");
        }
        text += &format!("{}\n", serde_json::to_string(&line).expect("JSON"));
    }
    std::fs::write(out.join("plan.jsonl"), text).expect("written");
}

#[test]
fn a_plan_of_before_goes_on_as_it_was_planned() {
    let text = TUNED.replace("[1e-3, 3e-3]", "[1e-3, 3e-3, 1e-2]").replace("equal_compute = true\n", "");
    let (experiment, folder) = (experiment(&text), tempfile::tempdir().expect("a folder"));
    let out = folder.path();
    planned(&experiment, out);
    assert!(lines(out)[0].recipe.contains("sample_seed = 1000"));
    as_before(out);
    let before = lines(out);
    let found = finished(&experiment, out);
    let all = lines(out);
    assert_eq!(all[..before.len()], before);
    assert!(all.iter().all(|line| !line.recipe.contains("sample_seed") && line.stage < 2), "{all:?}");
    assert_eq!(found.arms[0].finished, 2);
    assert!(!out.join("plan.json").exists());
}

#[test]
fn printed_commands_hold_all_that_was_changed() {
    let set = ["train.steps=3", "tasks=[\"planted-topic\"]"].map(String::from);
    let experiment = Experiment::parse("small", &document("small", SMALL), &set, &Shipped).expect("an experiment");
    let folder = tempfile::tempdir().expect("a folder");
    let print = options(folder.path(), Engine::Print, None);
    let Ok(Ended::Printed(commands)) = compare(&experiment, &print, &Shipped, &mut Silent) else { panic!("printed") };
    let changes = "mtl compare small --set train.steps=3 --set 'tasks=[\"planted-topic\"]' --out ";
    assert!(commands.iter().all(|command| command.starts_with(changes)), "{commands:?}");
    let found = finished(&experiment, folder.path());
    assert!(changes.starts_with(&found.provenance["command"]), "{}", found.provenance["command"]);
}
