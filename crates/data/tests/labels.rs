//! No label is invented: what stands in the place of one is refused with the remedy, and the remedy works.

use std::path::Path;

use mtl_data::manifest::DatasetManifest;
use mtl_data::{DataRegistries, Dataset, LoadOptions, TestKey, Tokenizer, load};
use mtl_task::Label;

fn loaded(tables: &str, files: &[(&str, &str)]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().expect("a folder");
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).expect("written"));
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n").expect("written");
    let manifest: DatasetManifest =
        toml::from_str(&format!("about = \"a case\"\nlicence = \"none\"\n{tables}")).expect("a manifest");
    let tokenizer = Tokenizer::read(folder.path()).expect("a tokenizer");
    load(&DataRegistries::default(), "case", &manifest, Path::new(folder.path()), &tokenizer, &LoadOptions::default())
        .map_err(|error| format!("{error:#}"))
}

/// A task of `kind` over `file`, with further lines of `[task]` and further tables.
fn tables(kind: &str, file: &str, task: &str, more: &str) -> String {
    format!("[task]\nkind = \"{kind}\"\n{task}\n[splits]\nall = [\"{file}\"]\n{more}")
}

fn refused(tables: &str, files: &[(&str, &str)], named: &[&str]) {
    let error = loaded(tables, files).err().unwrap_or_else(|| panic!("{tables} was loaded"));
    named.iter().for_each(|part| assert!(error.contains(part), "`{part}` is missing in: {error}"));
}

fn names(dataset: &Dataset) -> Vec<&str> {
    dataset.task.names().iter().map(String::as_str).collect()
}

fn rows(dataset: &Dataset) -> usize {
    let test = dataset.test.open(&TestKey::final_evaluation());
    [&dataset.train, &dataset.dev, test].iter().map(|split| split.examples.len()).sum()
}

fn noted(dataset: &Dataset, part: &str) {
    assert!(dataset.notes.iter().any(|note| note.contains(part)), "`{part}` is missing in {:?}", dataset.notes);
}

/// Forty rows whose labels are `odd` in every eighth, else `up` and `down` in turn.
fn table(odd: &str) -> String {
    let label = |row: usize| if row.is_multiple_of(8) { odd } else { ["up", "down"][row % 2] };
    (0..40).fold("text,label\n".into(), |all, row| format!("{all}note {row},{}\n", label(row)))
}

#[test]
fn what_stands_for_no_label_is_refused_and_left_out_by_ignore() {
    for odd in ["", "nan", "NaN", "NA", "N/A", "null", "-", "-100", "<NA>"] {
        let rows_of = table(odd);
        let shown = if odd.is_empty() { "an empty cell".into() } else { format!("`{odd}`") };
        let file = [("rows.csv", rows_of.as_str())];
        refused(
            &tables("classification", "rows.csv", "", ""),
            &file,
            &[
                "rows.csv:2",
                "column `label`",
                &format!("{shown} is no label (5 rows)"),
                &format!("ignore = [\"{odd}\"]"),
            ],
        );
        let ignoring = tables("classification", "rows.csv", "", &format!("[columns]\nignore = [\"{odd}\"]\n"));
        let dataset = loaded(&ignoring, &file).expect("loaded");
        assert_eq!((names(&dataset), rows(&dataset)), (vec!["down", "up"], 35));
        noted(&dataset, "5 of 40 rows have no label");
        if !odd.is_empty() {
            let kept = format!("[columns.label_names]\n\"{odd}\" = \"{odd}\"\n");
            let dataset = loaded(&tables("classification", "rows.csv", "", &kept), &file).expect("loaded");
            assert_eq!((names(&dataset).len(), rows(&dataset)), (3, 40));
        }
    }
    let dataset =
        loaded(&tables("classification", "rows.csv", "", ""), &[("rows.csv", &table("none"))]).expect("loaded");
    noted(&dataset, "`none` is taken for a label (5 times");
}

#[test]
fn null_is_no_label_in_any_kind() {
    for kind in ["classification", "multilabel", "regression", "tagging"] {
        let value = |row: usize| match (kind, row % 8) {
            (_, 0) => "null".to_string(),
            ("classification", _) => format!("\"{}\"", ["up", "down"][row % 2]),
            ("multilabel", _) => format!("[\"{}\"]", ["up", "down"][row % 2]),
            ("regression", _) => row.to_string(),
            _ => format!("[\"{}\", \"O\"]", ["B-a", "B-b"][row % 2]),
        };
        let text: String = (0..40)
            .map(|row| {
                format!("{{\"text\": \"note {row}\", \"tokens\": [\"note\", \"{row}\"], \"label\": {}}}\n", value(row))
            })
            .collect();
        let file = [("rows.jsonl", text.as_str())];
        let columns = "[columns]\nlabel = \"label\"\n";
        refused(
            &tables(kind, "rows.jsonl", "", columns),
            &file,
            &["rows.jsonl:1", "null, which is no label", "ignore = [\"\"]"],
        );
        let ignoring = format!("{columns}ignore = [\"\"]\n");
        assert_eq!(rows(&loaded(&tables(kind, "rows.jsonl", "", &ignoring), &file).expect("loaded")), 35);
    }
}

/// Of a dataset of the Hub, −1 says that a row is not labelled; beside 1 alone, or beside −2, it is a class.
#[test]
fn minus_one_is_a_class_only_where_it_can_be() {
    let of = |labels: &[&str]| {
        (0..40).fold("text,label\n".to_string(), |all, row| format!("{all}note {row},{}\n", labels[row % labels.len()]))
    };
    let plain = tables("classification", "rows.csv", "", "");
    refused(&plain, &[("rows.csv", &of(&["0", "1", "-1"]))], &["`-1` is no label (13 rows)", "ignore = [\"-1\"]"]);
    refused(&plain, &[("rows.csv", &of(&["-1"]))], &["`-1` is no label"]);
    for labels in [&["-1", "1"][..], &["-2", "-1", "0", "1"]] {
        assert_eq!(names(&loaded(&plain, &[("rows.csv", &of(labels))]).expect("loaded")).len(), labels.len());
    }
    let named = tables("classification", "rows.csv", "labels = [\"-1\", \"0\", \"1\"]", "");
    assert_eq!(names(&loaded(&named, &[("rows.csv", &of(&["0", "1", "-1"]))]).expect("loaded")), ["-1", "0", "1"]);
}

#[test]
fn numbers_are_one_class_however_they_are_written() {
    let text: String = (0..40)
        .map(|row| {
            format!("{{\"text\": \"note {row}\", \"label\": {}}}\n", ["0", "1.0", "0.0", "1", "1e0", "-0.0"][row % 6])
        })
        .collect();
    let dataset = loaded(&tables("classification", "rows.jsonl", "", ""), &[("rows.jsonl", &text)]).expect("loaded");
    assert_eq!(names(&dataset), ["0", "1"]);
    let text = (0..40)
        .fold("text,label\n".to_string(), |all, row| format!("{all}note {row},{}\n", ["2", "3.0", "3"][row % 3]));
    let file = [("rows.csv", text.as_str())];
    refused(
        &tables("classification", "rows.csv", "", ""),
        &file,
        &["rows.csv:3", "`3.0` (13 rows) and `3`", "\"3.0\" = \"3\""],
    );
    let one = "[columns.label_names]\n\"3.0\" = \"3\"\n";
    assert_eq!(names(&loaded(&tables("classification", "rows.csv", "", one), &file).expect("loaded")), ["2", "3"]);
    let text = table("UP");
    noted(
        &loaded(&tables("classification", "rows.csv", "", ""), &[("rows.csv", &text)]).expect("loaded"),
        "`UP` and `up` differ",
    );
}

#[test]
fn a_header_that_comes_again_is_no_example() {
    let text = table("up");
    let header = "[reader]\nheader = [\"text\", \"label\"]\n";
    let file = [("rows.csv", text.as_str())];
    refused(&tables("classification", "rows.csv", "", header), &file, &["rows.csv:1", "(text, label)", "skip = 1"]);
    let renamed = "[columns]\ntext = \"a\"\nlabel = \"b\"\n[reader]\nheader = [\"a\", \"b\"]\n";
    refused(
        &tables("classification", "rows.csv", "", renamed),
        &file,
        &["rows.csv:1", "(text, label)", "leave header out"],
    );
    let skipping = tables("classification", "rows.csv", "", &format!("{header}skip = 1\n"));
    assert_eq!(rows(&loaded(&skipping, &file).expect("loaded")), 40);
    let twice = format!("{text}{text}");
    refused(&tables("classification", "rows.csv", "", ""), &[("rows.csv", &twice)], &["rows.csv:42", "delete it"]);
}

#[test]
fn sets_are_read_by_their_separator_or_refused() {
    let sets = ["joy", "\"joy,fear\"", "fear", "\"rage,joy\"", ""];
    let text = (0..40).fold("text,label\n".to_string(), |all, row| format!("{all}note {row},{}\n", sets[row % 5]));
    let file = [("rows.csv", text.as_str())];
    let plain = tables("multilabel", "rows.csv", "", "");
    refused(
        &plain,
        &file,
        &["rows.csv:3", "`joy,fear` would be one label", "label_separator = \",\"", "`joy` and `fear`"],
    );
    let apart = tables("multilabel", "rows.csv", "", "[columns]\nlabel_separator = \",\"\n");
    let dataset = loaded(&apart, &file).expect("loaded");
    assert_eq!(names(&dataset), ["fear", "joy", "rage"]);
    noted(&dataset, "8 rows have no label: an empty set");
    let spaced = ["joy", "joy fear", "fear"];
    let spaced = (0..40).fold("text,label\n".to_string(), |all, row| format!("{all}note {row},{}\n", spaced[row % 3]));
    refused(&plain, &[("rows.csv", &spaced)], &["`joy fear` would be one label", "label_separator = \" \""]);
    let classes =
        loaded(&tables("classification", "rows.csv", "", "[columns]\nignore = [\"\"]\n"), &file).expect("loaded");
    assert!(names(&classes).contains(&"joy,fear"));
}

/// The sets of the first rows, by name.
fn sets(dataset: &Dataset) -> Vec<(String, Vec<bool>)> {
    let mut all: Vec<(String, Vec<bool>)> = Vec::new();
    for split in [&dataset.train, &dataset.dev, dataset.test.open(&TestKey::final_evaluation())] {
        for example in &split.examples {
            let Label::Set(set) = &example.label else { panic!("a set") };
            all.push((split.texts[example.row].normalised(), set.clone()));
        }
    }
    all.sort();
    all
}

#[test]
fn indicators_are_read_as_the_labels_they_stand_for() {
    let set = |row: usize| [row.is_multiple_of(2), row.is_multiple_of(3), false];
    let expected: Vec<(String, Vec<bool>)> = {
        let mut all: Vec<_> = (0..40).map(|row| (format!("note {row}"), set(row).to_vec())).collect();
        all.sort();
        all
    };
    let digits = |row: usize| set(row).map(|holds| u8::from(holds).to_string());
    let lists: String =
        (0..40).map(|row| format!("{{\"text\": \"note {row}\", \"label\": [{}]}}\n", digits(row).join(", "))).collect();
    let file = [("rows.jsonl", lists.as_str())];
    refused(
        &tables("multilabel", "rows.jsonl", "", ""),
        &file,
        &["rows.jsonl:1", "which of 3 labels hold", "[task] labels"],
    );
    let named = "labels = [\"rude\", \"spam\", \"threat\"]";
    assert_eq!(sets(&loaded(&tables("multilabel", "rows.jsonl", named, ""), &file).expect("loaded")), expected);
    refused(
        &tables("multilabel", "rows.jsonl", "labels = [\"rude\", \"spam\"]", ""),
        &file,
        &["rows.jsonl:1", "3 indicators for the 2 labels", "rude, spam"],
    );
    let printed =
        (0..40).fold("text,label\n".to_string(), |all, row| format!("{all}note {row},[{}]\n", digits(row).join(" ")));
    let printed = loaded(&tables("multilabel", "rows.csv", named, ""), &[("rows.csv", &printed)]).expect("loaded");
    assert_eq!(sets(&printed), expected);

    let columns = (0..40)
        .fold("text,rude,spam,threat\n".to_string(), |all, row| format!("{all}note {row},{}\n", digits(row).join(",")));
    let file = [("rows.csv", columns.as_str())];
    let one = tables("multilabel", "rows.csv", "", "[columns]\nlabel = \"rude\"\n");
    refused(&one, &file, &["rows.csv:3", "column `rude` holds 0 and 1", "indicators = [\"rude\", …]"]);
    let each = tables("multilabel", "rows.csv", "", "[columns]\nindicators = [\"rude\", \"spam\", \"threat\"]\n");
    let dataset = loaded(&each, &file).expect("loaded");
    assert_eq!((names(&dataset), sets(&dataset)), (vec!["rude", "spam", "threat"], expected));
    noted(&dataset, "no training row has the label threat");
    let unlabelled = columns.replacen("1,1,0", "-1,-1,-1", 1);
    let file = [("rows.csv", unlabelled.as_str())];
    refused(&each, &file, &["rows.csv:2", "column `rude`: an indicator is 0 or 1, found `-1`", "ignore = [\"-1\"]"]);
    let ignoring = each.replace("[columns]\n", "[columns]\nignore = [\"-1\"]\n");
    assert_eq!(rows(&loaded(&ignoring, &file).expect("loaded")), 39);
}

#[test]
fn lists_that_were_printed_into_cells_are_read_back() {
    let text = (0..40).fold("tokens,tags\n".to_string(), |all, row| {
        format!("{all}\"['the', 'part', \"\"{row}'s\"\"]\",\"['O', 'B-a', '{}']\"\n", ["I-a", "O"][row % 2])
    });
    let dataset = loaded(&tables("tagging", "rows.csv", "", ""), &[("rows.csv", &text)]).expect("loaded");
    assert_eq!((names(&dataset), rows(&dataset)), (vec!["B-a", "I-a", "O"], 40));
    assert_eq!(dataset.train.examples[0].encoded.words, 3);
    let cut = text.replacen("'B-a', 'O']", "'B-a', O]", 1);
    refused(
        &tables("tagging", "rows.csv", "", ""),
        &[("rows.csv", &cut)],
        &["column `tags`", "cannot be read back", "JSON Lines"],
    );
    // A sentence in brackets is one, where its tags are no list.
    let plain =
        (0..40).fold("tokens,tags\n".to_string(), |all, row| format!("{all}[ {row} ],O B-{} O\n", ["a", "b"][row % 2]));
    let dataset = loaded(&tables("tagging", "rows.csv", "", ""), &[("rows.csv", &plain)]).expect("loaded");
    assert_eq!(names(&dataset), ["B-a", "B-b", "O"]);
}

#[test]
fn ignored_tags_count_neither_in_the_loss_nor_in_a_metric() {
    let text: String = (0..40)
        .map(|row| format!("{{\"tokens\": [\"a\", \"{row}\", \"b\", \"a\"], \"tags\": [0, 1, -100, {}]}}\n", row % 2))
        .collect();
    let file = [("rows.jsonl", text.as_str())];
    let names_of = "[columns.label_names]\n0 = \"O\"\n1 = \"B-x\"\n";
    refused(
        &tables("tagging", "rows.jsonl", "", names_of),
        &file,
        &["`-100` is no label (40 words)", "ignore = [\"-100\"]"],
    );
    let ignoring = format!("[columns]\nignore = [\"-100\"]\n{names_of}");
    let dataset = loaded(&tables("tagging", "rows.jsonl", "", &ignoring), &file).expect("loaded");
    noted(&dataset, "40 of 160 words have no tag");
    assert_eq!(names(&dataset), ["B-x", "O"]);
    for example in &dataset.train.examples {
        let Label::Tags(tags) = &example.label else { panic!("tags") };
        // The word is read: its token is there, and its anchor is not. [CLS] a N b a [SEP].
        assert_eq!((example.encoded.ids.len(), tags.len(), example.encoded.words), (6, 3, 3));
        assert_eq!(example.encoded.anchors, [1, 2, 4]);
        assert_eq!(tags[..2], [1, 0]);
    }
}

#[test]
fn labels_of_dev_and_test_alone_are_misses_and_not_a_stop() {
    // No two splits have a text in common.
    let rows_of = |split: &str, labels: &[&str]| {
        labels
            .iter()
            .enumerate()
            .fold("text,label\n".to_string(), |all, (row, label)| format!("{all}{label} {split} note {row},{label}\n"))
    };
    let splits =
        "[task]\nkind = \"classification\"\n[splits]\ntrain = [\"a.csv\"]\ndev = [\"b.csv\"]\ntest = [\"c.csv\"]\n";
    let (train, dev, test) = (
        rows_of("train", &["y", "x", "y"]),
        rows_of("dev", &["x", "x", "a"]),
        rows_of("test", &["x", "y", "y", "y", "b", "a"]),
    );
    let dataset = loaded(splits, &[("a.csv", &train), ("b.csv", &dev), ("c.csv", &test)]).expect("loaded");
    assert_eq!(names(&dataset), ["x", "y", "a", "b"], "train's come first, so that their indices stay");
    noted(&dataset, "b.csv:4: label `a` occurs in dev but never in train");
    noted(&dataset, "label `b` occurs in test but never in train, as does another");
    let strange = rows_of("dev", &["0", "1", "x"]);
    refused(
        splits,
        &[("a.csv", &train), ("b.csv", &strange), ("c.csv", &test)],
        &["b.csv:2", "label `0`", "2 of its 3 rows", "alike"],
    );
}

#[test]
fn an_empty_split_says_why() {
    let of = |rows: &[(String, String)]| {
        rows.iter().fold("text,label\n".to_string(), |all, (text, label)| format!("{all}{text},{label}\n"))
    };
    let many = |count: usize, text: &dyn Fn(usize) -> String, label: &dyn Fn(usize) -> String| {
        of(&(0..count).map(|row| (text(row), label(row))).collect::<Vec<_>>())
    };
    let plain = tables("classification", "rows.csv", "", "");
    let note = |row: usize| format!("note {row}");
    let cases: [(String, &[&str]); 4] = [
        (many(3, &note, &|row| ["x", "y"][row % 2].into()), &["of 3 rows with 3 distinct texts", "more rows"]),
        (
            many(30, &|row| ["on", "off"][row % 2].into(), &|row| ["x", "y"][row % 2].into()),
            &["2 distinct texts", "never parted"],
        ),
        (many(60, &note, &|row| row.to_string()), &["60 classes", "an id?", "set label"]),
        (many(30, &note, &|row| (row / 2).to_string()), &["largest of the 15 classes has 2 rows", "at least"]),
    ];
    for (text, named) in cases {
        refused(&plain, &[("rows.csv", &text)], named);
    }
}

#[test]
fn decimal_commas_are_read_when_they_are_declared() {
    let text = (0..40).fold("text;label\n".to_string(), |all, row| format!("{all}a, b {row};{row},5\n"));
    let file = [("rows.csv", text.as_str())];
    refused(&tables("regression", "rows.csv", "", ""), &file, &["rows.csv:2", "found `0,5`", "decimal = \",\""]);
    let dataset = loaded(&tables("regression", "rows.csv", "", "[reader]\ndecimal = \",\"\n"), &file).expect("loaded");
    noted(&dataset, "delimited by ';'");
    let sum: f32 =
        dataset.train.examples.iter().map(|e| if let Label::Value(v) = e.label { v.fract() } else { 0. }).sum();
    assert_eq!(sum, 0.5 * dataset.train.examples.len() as f32);
}
