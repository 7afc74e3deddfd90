//! Tags are read in the scheme that they are written in: recognised and stated, or refused with file, line and remedy.

use mtl_data::manifest::DatasetManifest;
use mtl_data::{Dataset, LoadOptions, Tokenizer, load};

/// Sentences of the spans a b, c (both of one kind, neighbours) and d, by scheme; ten times over.
const WRITTEN: [(&str, &str, &str); 6] = [
    ("iob1", "IOB1", "I-per I-per B-per O I-loc O"),
    ("iob2", "IOB2 (BIO)", "B-per I-per B-per O B-loc O"),
    ("ioe2", "IOE2", "I-per E-per E-per O E-loc O"),
    ("iobes", "IOBES (BIOES)", "B-per E-per S-per O S-loc O"),
    ("bilou", "BILOU", "B-per L-per U-per O U-loc O"),
    ("iob1", "IOB1", "I-per I-per O O I-loc O"),
];

fn loaded(task: &str, columns: &str, files: &[(&str, String)]) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().expect("a folder");
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).expect("written"));
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\na\nb\n").expect("written");
    let splits = match files {
        [(only, _)] => format!("all = [\"{only}\"]"),
        [(train, _), (dev, _)] => format!("train = [\"{train}\"]\ndev = [\"{dev}\"]"),
        _ => panic!("one file or two"),
    };
    let manifest: DatasetManifest = toml::from_str(&format!(
        "about = \"a case\"\nlicence = \"none\"\n[task]\nkind = \"tagging\"\n{task}\n[splits]\n{splits}\n\
         [columns]\ntokens = \"0\"\nlabel = \"1\"\n{columns}"
    ))
    .expect("a manifest");
    let tokenizer = Tokenizer::read(folder.path()).expect("a tokenizer");
    load(&Default::default(), "case", &manifest, folder.path(), &tokenizer, &LoadOptions::default())
        .map_err(|error| format!("{error:#}"))
}

/// `count` sentences with `tags`, their words told apart by number, so that no text repeats.
fn sentences(tags: &str, count: usize) -> String {
    let sentence = |number: usize| {
        tags.split(' ').enumerate().map(|(word, tag)| format!("w{word}x{number} {tag}\n")).collect::<String>() + "\n"
    };
    (0..count).map(sentence).collect()
}

/// `B-per` to `per-B`.
fn suffixed(tags: &str) -> String {
    let turned = |tag: &str| tag.split_once('-').map_or(tag.to_string(), |(letter, kind)| format!("{kind}-{letter}"));
    tags.split(' ').map(turned).collect::<Vec<_>>().join(" ")
}

fn refused(task: &str, text: &str, named: &[&str]) {
    let error = loaded(task, "", &[("rows.conll", text.to_string())]).err().unwrap_or_else(|| panic!("{task}: {text}"));
    named.iter().for_each(|part| assert!(error.contains(part), "`{part}` is missing in: {error}"));
}

#[test]
fn every_scheme_is_recognised_on_either_side_and_stated() {
    for (name, long, tags) in WRITTEN {
        for (tags, stated) in [(tags.to_string(), false), (suffixed(tags), false), (tags.to_string(), true)] {
            let task = if stated { format!("scheme = \"{name}\"") } else { String::new() };
            let dataset = loaded(&task, "", &[("rows.conll", sentences(&tags, 10))])
                .unwrap_or_else(|error| panic!("{tags}: {error}"));
            assert_eq!(dataset.spec.scheme.as_deref(), Some(name), "{tags}");
            let metrics = dataset.task.metrics();
            assert!(metrics.iter().any(|metric| metric.starts_with("span-f1-strict")), "{tags}: {metrics:?}");
            let note = format!("tags are spans in the scheme {long}, written as `");
            assert!(dataset.notes.iter().any(|found| found.contains(&note)), "{tags}: {:?}", dataset.notes);
            assert!(!dataset.notes.iter().any(|found| found.contains("at odds")), "{tags}: {:?}", dataset.notes);
        }
    }
    let dataset = loaded("", "", &[("rows.conll", sentences("B I O", 10))]).expect("loaded");
    assert!(dataset.notes.iter().any(|note| note.contains("of one kind")), "{:?}", dataset.notes);
}

#[test]
fn a_scheme_that_the_tags_contradict_is_refused_at_the_line_of_one_that_does() {
    for (stated, _, _) in WRITTEN {
        for (name, _, tags) in &WRITTEN[..5] {
            if name == &stated {
                continue;
            }
            let error = loaded(&format!("scheme = \"{stated}\""), "", &[("rows.conll", sentences(tags, 10))])
                .err()
                .unwrap_or_else(|| panic!("{stated} for {tags}"));
            assert!(error.contains("rows.conll:") && error.contains("scheme"), "{stated} for {tags}: {error}");
        }
    }
    let bio = format!("a O\n\n{}", sentences("O B-per I-per", 9));
    refused("scheme = \"iob1\"", &bio, &["`B-per` behind `O`", "`iob1`", "they are of scheme = \"iob2\""]);
    refused(
        "scheme = \"bioes\"",
        &bio,
        &["`I-per` at the end of its sentence", "`bioes`", "they are of scheme = \"iob2\""],
    );
    let mixed = sentences("O B-per E-per", 9);
    refused("scheme = \"bio\"", &mixed, &["rows.conll:3: column `1`: `E-per` is no tag", "scheme = \"iobes\""]);
    // One line: the file's third, in the one sentence of train that has it.
    let split = [("train.conll", "a O\nb B-per\nc O\nd I-per\n\n".to_string()), ("dev.conll", sentences("O B-per", 3))];
    let error = loaded("scheme = \"iob2\"\nlabels = [\"O\", \"B-per\", \"I-per\"]", "", &split).err().expect("refused");
    assert!(error.contains("train.conll:4: `I-per` behind `O`"), "{error}");
}

#[test]
fn a_slip_among_many_spans_is_noted_where_it_stands() {
    let text = sentences("B-per I-per O B-loc", 150) + "x O\ny I-loc\n";
    let dataset =
        loaded("scheme = \"bio\"", "", &[("rows.conll", text.clone()), ("dev.conll", sentences("O B-loc", 3))])
            .expect("loaded");
    let note = dataset.notes.iter().find(|note| note.contains("at odds")).expect("a note");
    assert!(note.contains("1 tag of train at odds with it (") && note.contains("`I-loc` behind `O`"), "{note}");
    assert!(note.contains("rows.conll:752"), "{note}");
    // What is not stated is never refused.
    let few = sentences("B-per I-per O B-loc", 3) + "x O\ny I-loc\n";
    let labels = "labels = [\"O\", \"B-per\", \"I-per\", \"B-loc\", \"I-loc\"]";
    let dataset = loaded(labels, "", &[("rows.conll", few), ("dev.conll", sentences("O I-loc", 3))]).expect("loaded");
    assert_eq!(dataset.spec.scheme.as_deref(), Some("iob2"));
    assert_eq!(
        dataset.notes.iter().filter(|note| note.contains("3 tags of dev at odds")).count(),
        1,
        "{:?}",
        dataset.notes
    );
}

#[test]
fn tags_of_no_scheme_are_no_spans() {
    let nouns = sentences("DET NOUN VERB", 10);
    let dataset = loaded("", "", &[("rows.conll", nouns.clone())]).expect("loaded");
    assert_eq!((dataset.task.metrics(), dataset.spec.scheme.as_deref()), (vec!["token-accuracy"], None));
    assert!(dataset.notes.iter().any(|note| note.contains("word by word (plain)")), "{:?}", dataset.notes);
    refused("metric = \"span-f1\"", &nouns, &["rows.conll:1", "`DET`", "scheme = \"plain\"", "token-accuracy"]);
    let odd = sentences("B-per I-per O M-per", 10);
    refused("", &odd, &["rows.conll:4", "`M-per` is no tag of a scheme", "scheme = \"plain\""]);
    let dataset = loaded("scheme = \"plain\"", "", &[("rows.conll", odd)]).expect("loaded");
    assert_eq!(dataset.task.metrics(), ["token-accuracy"]);
    refused("scheme = \"iob3\"", &nouns, &["unknown tagging scheme `iob3`", "iobes"]);
    let dataset = loaded("", "", &[("rows.conll", sentences("0 1 2", 10))]).expect("loaded");
    assert!(dataset.notes.iter().any(|note| note.contains("[columns.label_names]")), "{:?}", dataset.notes);
}

#[test]
fn ignored_tags_and_replaced_names_are_seen_as_they_are_judged() {
    // The word without a tag stands within a span.
    let text = sentences("0 1 -100 2", 10);
    let columns = "ignore = [\"-100\"]\n[columns.label_names]\n0 = \"O\"\n1 = \"B-x\"\n2 = \"I-x\"\n";
    let dataset = loaded("scheme = \"iob2\"", columns, &[("rows.conll", text)]).expect("loaded");
    assert!(!dataset.notes.iter().any(|note| note.contains("at odds")), "{:?}", dataset.notes);
    assert_eq!(dataset.task.metrics()[0], "span-f1");
}

#[test]
fn shipped_tables_of_tags_are_of_the_schemes_that_they_state() {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets");
    for (name, headline) in [
        ("conll2003-ner", "span-f1"),
        ("conll2003-chunk", "span-f1"),
        ("conll2003-pos", "token-accuracy"),
        ("planted-tags", "span-f1"),
    ] {
        let text = std::fs::read_to_string(shipped.join(format!("{name}.toml"))).expect("shipped");
        let manifest: DatasetManifest = toml::from_str(&text).expect("a manifest");
        let mut spec = manifest.task.clone();
        if let Some(generator) = &manifest.generator {
            let tokenizer = Tokenizer::generated(&Default::default(), [generator], false).expect("a tokenizer");
            let loaded = load(&Default::default(), name, &manifest, &shipped, &tokenizer, &LoadOptions::default())
                .expect("loaded");
            assert!(loaded.notes.iter().any(|note| note.contains("IOB2 (BIO), written as `B-")), "{:?}", loaded.notes);
            spec = loaded.spec;
        }
        assert_eq!(mtl_task::build(&Default::default(), &spec).expect("a task").metrics()[0], headline, "{name}");
    }
}
