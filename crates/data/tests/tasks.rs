//! Several tasks: no text that one of them holds out is trained on by any, and several label columns of one table.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use mtl_data::manifest::DatasetManifest;
use mtl_data::{
    DataRegistries, Dataset, LoadOptions, OverlapPolicy, TaskSource, TestKey, Texts, Tokenizer, load, load_all, survey,
};
use mtl_task::Label;
use mtl_task::rng::Key;

fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n").expect("written");
    Tokenizer::read(folder.path()).expect("a tokenizer")
}

fn manifest(tables: &str) -> DatasetManifest {
    let manifest: DatasetManifest =
        toml::from_str(&format!("about = \"\"\nlicence = \"\"\n{tables}")).expect("a manifest");
    manifest.check().expect("a manifest of one task or several");
    manifest
}

fn classes(splits: &str) -> DatasetManifest {
    manifest(&format!("[task]\nkind = \"classification\"\nlabels = [\"x\", \"y\"]\n[splits]\n{splits}\n"))
}

fn all(tasks: &[(&str, &DatasetManifest)], folder: &Path, options: &LoadOptions) -> Vec<Dataset> {
    let sources: Vec<TaskSource> = tasks.iter().map(|(name, manifest)| TaskSource { name, manifest, folder }).collect();
    load_all(&DataRegistries::default(), &sources, &tokenizer(), options).expect("loaded")
}

fn refusal(tasks: &[(&str, &DatasetManifest)], folder: &Path) -> String {
    let sources: Vec<TaskSource> = tasks.iter().map(|(name, manifest)| TaskSource { name, manifest, folder }).collect();
    format!(
        "{:#}",
        load_all(&DataRegistries::default(), &sources, &tokenizer(), &LoadOptions::default()).err().expect("refused")
    )
}

/// The texts of train, dev and test.
fn texts(dataset: &Dataset) -> [BTreeSet<String>; 3] {
    let key = TestKey::final_evaluation();
    [&dataset.train, &dataset.dev, dataset.test.open(&key)]
        .map(|split| split.texts.iter().filter(|text| !text.is_empty()).map(Texts::normalised).collect())
}

fn sizes(dataset: &Dataset) -> [usize; 3] {
    let key = TestKey::final_evaluation();
    [&dataset.train, &dataset.dev, dataset.test.open(&key)].map(|split| split.examples.len())
}

/// What a task trains on and what is held out have nothing in common, whatever the tasks.
fn nothing_held_out_is_trained_on(datasets: &[Dataset]) {
    for trained in datasets {
        for held in datasets {
            let [_, dev, test] = texts(held);
            let train = &texts(trained)[0];
            assert!(train.is_disjoint(&dev), "{} trains on dev of {}", trained.name, held.name);
            assert!(train.is_disjoint(&test), "{} trains on test of {}", trained.name, held.name);
        }
    }
}

/// Rows of texts `from..to`, written in different ways, some twice.
fn table(path: &Path, from: usize, to: usize, seed: u64) {
    let mut stream = Key::new(seed).named("table").stream();
    let mut text = String::from("text,label\n");
    for which in from..to {
        for _ in 0..1 + stream.below(2) {
            let shown = if stream.below(2) == 0 { format!("Text  {which}") } else { format!("text {which} ") };
            let _ = writeln!(text, "{shown},{}", ["x", "y"][stream.below(2)]);
        }
    }
    std::fs::write(path, text).expect("written");
}

#[test]
fn drawn_splits_are_drawn_for_all_tasks_together() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let options = LoadOptions::default();
    for seed in 0..8 {
        table(&path("one.csv"), 0, 200, seed);
        table(&path("two.csv"), 100, 300, 100 + seed);
        table(&path("apart.csv"), 1000, 1100, seed);
        let (one, two) = (classes(&format!("all = [\"one.csv\"]\nseed = {seed}")), classes("all = [\"two.csv\"]"));
        let apart = classes("all = [\"apart.csv\"]");
        let datasets = all(&[("one", &one), ("two", &two), ("apart", &apart)], folder.path(), &options);
        nothing_held_out_is_trained_on(&datasets);
        // What two tasks share is in one split for both, and every split gets its share of it.
        let (first, second) = (texts(&datasets[0]), texts(&datasets[1]));
        let shared = |which: usize| first[which].intersection(&second[which]).count();
        assert_eq!(shared(0) + shared(1) + shared(2), 100);
        assert_eq!((shared(1), shared(2)), (10, 20), "shares of the texts that are shared");
        for dataset in &datasets[..2] {
            let [train, dev, test] = sizes(dataset);
            assert!(train > 2 * test && test > dev && dev >= 20, "{train} {dev} {test}");
            assert!(
                dataset.notes.iter().any(|note| note.starts_with("100 texts are in other tasks too")),
                "{:?}",
                dataset.notes
            );
        }
        // The order of tasks and of rows does not matter, and a task that shares nothing keeps the splits it has alone.
        let reordered = all(&[("two", &two), ("apart", &apart), ("one", &one)], folder.path(), &options);
        assert_eq!(reordered[2].fingerprint, datasets[0].fingerprint);
        assert_eq!(reordered[0].fingerprint, datasets[1].fingerprint);
        let alone =
            load(&DataRegistries::default(), "apart", &apart, folder.path(), &tokenizer(), &options).expect("loaded");
        assert_eq!(alone.fingerprint, datasets[2].fingerprint);
    }
}

#[test]
fn what_is_drawn_follows_what_another_source_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    table(&path("train.csv"), 0, 100, 1);
    table(&path("dev.csv"), 100, 120, 2);
    table(&path("test.csv"), 120, 160, 3);
    table(&path("all.csv"), 0, 200, 4);
    let given = classes("train = [\"train.csv\"]\ndev = [\"dev.csv\"]\ntest = [\"test.csv\"]");
    let drawn = classes("all = [\"all.csv\"]");
    let datasets = all(&[("drawn", &drawn), ("given", &given)], folder.path(), &LoadOptions::default());
    nothing_held_out_is_trained_on(&datasets);
    let (drawn, given) = (texts(&datasets[0]), texts(&datasets[1]));
    assert_eq!(given.each_ref().map(BTreeSet::len), [100, 20, 40], "a source keeps every row");
    for which in 0..3 {
        assert!(given[which].is_subset(&drawn[which]), "split {which} of what is drawn follows");
    }
    assert_eq!(drawn.iter().map(BTreeSet::len).sum::<usize>(), 200);
}

#[test]
fn splits_of_sources_that_overlap_are_told_and_dropped_from_train_unless_allowed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, rows: &[&str]| {
        let rows: String = rows.iter().enumerate().map(|(at, row)| format!("{row},{}\n", ["x", "y"][at % 2])).collect();
        std::fs::write(path(name), format!("text,label\n{rows}")).expect("written");
    };
    write("a-train.csv", &["a one", "A  One", "a two", "a three", "b test"]);
    write("a-dev.csv", &["a dev", "a d"]);
    write("a-test.csv", &["a one", "a test"]);
    write("b-train.csv", &["b one", "b two", "a TEST", "a dev"]);
    write("b-dev.csv", &["b dev", "b d"]);
    write("b-test.csv", &["b test", "b t"]);
    let of = |name: &str| {
        classes(&format!("train = [\"{name}-train.csv\"]\ndev = [\"{name}-dev.csv\"]\ntest = [\"{name}-test.csv\"]"))
    };
    let (a, b) = (of("a"), of("b"));
    let tasks = [("a", &a), ("b", &b)];
    let datasets = all(&tasks, folder.path(), &LoadOptions::default());
    nothing_held_out_is_trained_on(&datasets);
    assert_eq!((sizes(&datasets[0]), sizes(&datasets[1])), ([2, 2, 2], [2, 2, 2]));
    let said = |dataset: &Dataset, part: &str| {
        assert!(dataset.notes.iter().any(|note| note.contains(part)), "`{part}` is missing in {:?}", dataset.notes);
    };
    said(&datasets[0], "3 training rows have texts of a dev or test split (2 in a/test, 1 in b/test) and are left out");
    said(&datasets[1], "2 training rows have texts of a dev or test split (1 in a/dev, 1 in a/test) and are left out");
    let allow = LoadOptions { overlap: OverlapPolicy::Allow, ..LoadOptions::default() };
    let allowed = all(&tasks, folder.path(), &allow);
    assert_eq!((sizes(&allowed[0]), sizes(&allowed[1])), ([5, 2, 2], [4, 2, 2]));
    said(&allowed[0], "3 training rows have texts of a dev or test split");
    said(&allowed[0], "trained on, as [evaluation] overlap = \"allow\" says");
    // Where nothing is left, the reason is told.
    write("b-train.csv", &["a TEST", "a dev"]);
    let error = refusal(&tasks, folder.path());
    for part in ["dataset `b`", "the train split is empty", "2 training rows", "overlap = \"allow\""] {
        assert!(error.contains(part), "`{part}` is missing in: {error}");
    }
}

const TICKETS: &str = "[columns]\ntext = \"body\"\n\
    [[columns.labels]]\nname = \"team\"\nkind = \"classification\"\n\
    [[columns.labels]]\nname = \"urgency\"\ncolumn = \"hours\"\nkind = \"regression\"\n\
    [[columns.labels]]\nname = \"topics\"\nkind = \"multilabel\"\nlabel_separator = \";\"\n\
    [splits]\nall = [\"tickets.csv\"]\n";

fn tickets(folder: &Path) {
    let mut text = String::from("body,team,hours,topics\n");
    for row in 0..120 {
        let team = if row % 3 == 0 { "" } else { ["it", "law"][row % 2] };
        let hours = if row % 4 == 0 { String::new() } else { (row % 7).to_string() };
        let _ = writeln!(text, "ticket {row},{team},{hours},{}", ["new;old", "new", "old"][row % 3]);
    }
    std::fs::write(folder.join("tickets.csv"), text).expect("written");
}

#[test]
fn label_columns_of_one_table_are_tasks_over_one_split() {
    let folder = tempfile::tempdir().expect("a folder");
    tickets(folder.path());
    let whole = manifest(TICKETS);
    let of = |label: &str| whole.of_label(label).expect("a label");
    let (team, urgency, topics) = (of("team"), of("urgency"), of("topics"));
    let tasks = [("tickets.team", &team), ("tickets.urgency", &urgency), ("tickets.topics", &topics)];
    let datasets = all(&tasks, folder.path(), &LoadOptions::default());
    nothing_held_out_is_trained_on(&datasets);
    assert_eq!(sizes(&datasets[2]).iter().sum::<usize>(), 120);
    for (dataset, left_out) in datasets.iter().zip([40, 30, 0]) {
        assert_eq!(sizes(dataset).iter().sum::<usize>(), 120 - left_out);
        let said =
            dataset.notes.iter().any(|note| note.starts_with(&format!("{left_out} rows have no label of this task")));
        assert_eq!(said, left_out > 0, "{:?}", dataset.notes);
        // One split: what a task has of a split is in that split of the task that has every row.
        for (which, texts) in texts(dataset).iter().enumerate() {
            assert!(texts.is_subset(&self::texts(&datasets[2])[which]), "{} {which}", dataset.name);
        }
        assert!(!dataset.notes.iter().any(|note| note.contains("other tasks")), "{:?}", dataset.notes);
        // Each alone has the same split.
        let alone = all(
            &[tasks[datasets.iter().position(|d| d.name == dataset.name).unwrap_or(0)]],
            folder.path(),
            &LoadOptions::default(),
        );
        assert_eq!(alone[0].fingerprint, dataset.fingerprint);
    }
    assert_eq!(datasets[0].spec.labels, ["it", "law"]);
    assert!(datasets[1].train.examples.iter().all(|example| matches!(example.label, Label::Value(_))));
    assert_eq!(datasets[2].spec.labels, ["new", "old"]);
    let said = survey(&DataRegistries::default(), &whole, folder.path()).expect("surveyed");
    assert!(said.contains(&"team: 40 rows without a label".to_string()), "{said:?}");
    let error = refusal(&[("tickets", &whole)], folder.path());
    assert!(error.contains("several label columns") && error.contains("team, urgency, topics"), "{error}");
}

#[test]
fn a_label_column_that_is_missing_or_empty_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    tickets(folder.path());
    let whole = manifest(&TICKETS.replace("\"hours\"", "\"hour\""));
    let error = refusal(&[("tickets.urgency", &whole.of_label("urgency").expect("a label"))], folder.path());
    assert!(error.contains("no column `hour`") && error.contains("did you mean `hours`?"), "{error}");
    let rows: String = (0..40).map(|row| format!("ticket {row},,{row},new\n")).collect();
    std::fs::write(folder.path().join("tickets.csv"), format!("body,team,hours,topics\n{rows}")).expect("written");
    let error = refusal(&[("tickets.team", &manifest(TICKETS).of_label("team").expect("a label"))], folder.path());
    assert!(error.contains("column `team` is empty in every row"), "{error}");
}

/// JSON rows may lack a label by an absent key, or by null.
#[test]
fn records_lack_labels_by_absence_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows: String = (0..90)
        .map(|row| match row % 3 {
            0 => format!("{{\"body\": \"t {row}\", \"topics\": [], \"team\": \"it\"}}\n"),
            1 => format!("{{\"body\": \"t {row}\", \"topics\": [\"new\"], \"team\": null}}\n"),
            _ => format!("{{\"body\": \"t {row}\", \"topics\": [\"old\"], \"team\": \"law\", \"hours\": {row}}}\n"),
        })
        .collect();
    std::fs::write(folder.path().join("tickets.jsonl"), rows).expect("written");
    let whole = manifest(&TICKETS.replace("tickets.csv", "tickets.jsonl").replace("label_separator = \";\"\n", ""));
    let of = |label: &str| whole.of_label(label).expect("a label");
    let (team, urgency, topics) = (of("team"), of("urgency"), of("topics"));
    let tasks = [("t.team", &team), ("t.urgency", &urgency), ("t.topics", &topics)];
    let datasets = all(&tasks, folder.path(), &LoadOptions::default());
    let counts: Vec<usize> = datasets.iter().map(|dataset| sizes(dataset).iter().sum()).collect();
    assert_eq!(counts, [60, 30, 90], "an empty list is the empty set of labels, no missing one");
    nothing_held_out_is_trained_on(&datasets);
}

#[test]
fn pairs_are_told_apart_as_wholes() {
    let folder = tempfile::tempdir().expect("a folder");
    let rows = |labels: [&str; 2]| -> String {
        (0..150).map(|row| format!("same,right {row},{}\n", labels[row % 2])).collect()
    };
    for (name, labels) in [("one.csv", ["x", "y"]), ("two.csv", ["y", "x"])] {
        std::fs::write(folder.path().join(name), format!("text_a,text_b,label\n{}", rows(labels))).expect("written");
    }
    let of = |file: &str| {
        manifest(&format!(
            "[task]\nkind = \"classification\"\n[columns]\ntext_a = \"text_a\"\ntext_b = \"text_b\"\n[splits]\nall = \
             [\"{file}\"]\nseed = {}\n",
            file.len() + usize::from(file.starts_with('o'))
        ))
    };
    let (one, two) = (of("one.csv"), of("two.csv"));
    let datasets = all(&[("one", &one), ("two", &two)], folder.path(), &LoadOptions::default());
    nothing_held_out_is_trained_on(&datasets);
    assert_eq!(texts(&datasets[0]), texts(&datasets[1]));
    assert_eq!(sizes(&datasets[0]).iter().sum::<usize>(), 150, "a first text in common is no text in common");
}

#[test]
fn texts_without_a_token_are_refused_with_their_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let plain = Tokenizer::from_json(
        r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
            "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "text": 1}, "unk_token": "[UNK]"}}"#,
    )
    .expect("a tokenizer");
    let mut rows: String = (0..40).map(|row| format!("text {row},{}\n", ["x", "y"][row % 2])).collect();
    rows.push_str(" ,x\n");
    std::fs::write(folder.path().join("rows.csv"), format!("text,label\n{rows}")).expect("written");
    let manifest = classes("all = [\"rows.csv\"]");
    let loaded = load(&DataRegistries::default(), "rows", &manifest, folder.path(), &plain, &LoadOptions::default());
    let error = format!("{:#}", loaded.err().expect("refused"));
    assert!(error.contains("rows.csv:42") && error.contains("nothing to read"), "{error}");
    assert!(plain.check(&Texts::One("text".into())).is_ok() && plain.check(&Texts::One(String::new())).is_err());
    assert!(plain.check(&Texts::Pair(" ".into(), String::new())).is_err());
    // Special tokens are something to read.
    assert!(tokenizer().check(&Texts::One(String::new())).is_ok());
    load(&DataRegistries::default(), "rows", &manifest, folder.path(), &tokenizer(), &LoadOptions::default())
        .expect("loaded");
}
