//! Datasets of generated text as a run gets them: sizes, ceilings, masks.

use std::collections::BTreeSet;
use std::path::Path;

use mtl_data::manifest::DatasetManifest;
use mtl_data::{DataRegistries, Dataset, LoadOptions, TestKey, Texts, Tokenizer, load};
use mtl_task::{Label, Registry};

fn loaded(kind: &str, generator: &str, options: &LoadOptions) -> anyhow::Result<Dataset> {
    named("made", kind, generator, options)
}

fn named(name: &str, kind: &str, generator: &str, options: &LoadOptions) -> anyhow::Result<Dataset> {
    let text = format!(
        "about = \"\"\nlicence = \"\"\n[task]\nkind = \"{kind}\"\n[generator]\nname = \"planted\"\n{generator}"
    );
    let manifest: DatasetManifest = toml::from_str(&text)?;
    let masks = kind == "mlm";
    let tokenizer = Tokenizer::generated(&Registry::default(), manifest.generator.as_ref(), masks)?;
    load(&DataRegistries::default(), name, &manifest, Path::new("."), &tokenizer, options)
}

fn texts(dataset: &Dataset) -> BTreeSet<String> {
    dataset.train.texts.iter().map(Texts::normalised).collect()
}

const GENRE: &str = "preset = \"mixed\"\ntask = \"genre\"\nsmall = 20\ntrain = 400\ndev = 30\ntest = 60\n";

#[test]
fn a_run_takes_as_many_rows_as_the_graph_says_drawn_by_its_seed() {
    let of = |seed: u64, limit_train: usize| {
        let options = LoadOptions { seed, limit_train, ..LoadOptions::default() };
        loaded("classification", GENRE, &options).expect("loaded")
    };
    let (one, other) = (of(0, 0), of(1, 0));
    assert_eq!((one.train.examples.len(), one.dev.examples.len(), one.test_size()), (20, 30, 60));
    assert_ne!(texts(&one), texts(&other), "each seed its own sample");
    assert_eq!(one.fingerprint, other.fingerprint, "of the same rows");
    let key = TestKey::final_evaluation();
    assert_eq!((&one.dev.texts, &one.test.open(&key).texts), (&other.dev.texts, &other.test.open(&key).texts));
    assert_eq!(of(0, 50).train.examples.len(), 50, "a recipe's limit counts more");
    assert!(texts(&of(0, 50)).is_superset(&texts(&one)));
    assert!(one.notes.iter().any(|note| note.contains("20 of 400 generated rows")), "{:?}", one.notes);
}

#[test]
fn the_ceiling_is_known_where_the_headline_is_its_metric() {
    let options = LoadOptions::default();
    let noisy = loaded("classification", &format!("{GENRE}noise = 0.1\n"), &options).expect("loaded");
    assert!(noisy.ceiling.is_some_and(|ceiling| (ceiling - 0.95).abs() < 1e-12), "{:?}", noisy.ceiling);
    assert!(noisy.notes.iter().any(|note| note.contains("accuracy 0.9500, the ceiling")), "{:?}", noisy.notes);
    let other = loaded("classification\"\nmetric = \"macro-f1", GENRE, &options).expect("loaded");
    assert_eq!(other.ceiling, None);
    let five = loaded("classification", "task = \"topic\"\n", &options).expect("loaded");
    assert!(five.ceiling.is_some_and(|ceiling| (ceiling - 0.9625).abs() < 1e-12), "{:?}", five.ceiling);
    assert_eq!(five.train.examples.len() + five.dev.examples.len() + five.test_size(), 1500);
}

/// Of shared texts a run takes the same for all tasks if it is told so, and each task its own if not.
#[test]
fn tasks_that_share_rows_are_trained_on_the_same_texts() {
    let of = |task: &str, shared: bool, seed: u64| {
        let options = LoadOptions { train_seed: Some(seed), limit_train: 30, limit_dev: 10, ..LoadOptions::default() };
        let generator = format!(
            "task = \"{task}\"\nshared_inputs = true\nshared_rows = {shared}\ntrain = 300\ndev = 50\ntest = 50\n\
             [[generator.graph]]\nname = \"one\"\n[[generator.graph]]\nname = \"other\"\nclasses = 2\n"
        );
        named(task, "classification", &generator, &options).expect("loaded")
    };
    let (one, other) = (of("one", true, 1), of("other", true, 1));
    assert_eq!((&one.train.texts, &one.dev.texts), (&other.train.texts, &other.dev.texts));
    assert_eq!(one.train.examples.len(), 30);
    assert_ne!(texts(&one), texts(&of("one", true, 2)), "each seed its own sample");
    assert_ne!(texts(&of("one", false, 1)), texts(&of("other", false, 1)));
}

const TEXT: &str = "preset = \"text\"\ntask = \"text\"\nwords = 64\ntrain = 400\ndev = 20\ntest = 20\n";

#[test]
fn a_text_without_labels_is_its_own_truth() {
    let of = |seed: u64| {
        let options = LoadOptions { seed, limit_train: 40, ..LoadOptions::default() };
        loaded("mlm", TEXT, &options).expect("loaded")
    };
    let (one, other) = (of(0), of(1));
    let masking = one.spec.masking.clone().expect("filled in");
    assert!(masking.mask == 4 && masking.ids.len() == one.spec.labels.len() && masking.ids.len() > 200);
    assert!(one.spec.labels.iter().all(|token| !token.starts_with('[')));
    // Held-out texts are asked the same, whatever the run's seed; 11 words have 2 of them hidden.
    for (a, b) in one.dev.examples.iter().zip(&other.dev.examples) {
        assert_eq!((&a.encoded, &a.label), (&b.encoded, &b.label));
        assert_eq!(a.encoded.anchors.len(), 2);
        let Label::Tags(truth) = &a.label else { panic!("tags were expected, found {:?}", a.label) };
        let Texts::One(text) = &one.dev.texts[a.row] else { panic!("one text was expected") };
        let words: Vec<&str> = text.split(' ').collect();
        for (&at, &tag) in a.encoded.anchors.iter().zip(truth) {
            // One special token stands before the first word.
            assert_eq!(one.spec.labels[tag as usize], words[at as usize - 1]);
        }
    }
    assert_eq!(one.task.metrics()[0], "token-accuracy");
}

#[test]
fn a_tokenizer_without_a_mask_is_told_of() {
    let text = format!("about = \"\"\nlicence = \"\"\n[task]\nkind = \"mlm\"\n[generator]\nname = \"planted\"\n{TEXT}");
    let manifest: DatasetManifest = toml::from_str(&text).expect("a manifest");
    let tokenizer = Tokenizer::generated(&Registry::default(), manifest.generator.as_ref(), false).expect("words");
    let options = LoadOptions::default();
    let loaded = load(&DataRegistries::default(), "made", &manifest, Path::new("."), &tokenizer, &options);
    let error = format!("{:#}", loaded.err().expect("refused"));
    assert!(error.contains("needs a mask token"), "{error}");
}
