//! Splits that do not leak, and samplers that are functions of seed and step.

use std::collections::BTreeSet;
use std::path::Path;

use mtl_data::manifest::DatasetManifest;
use mtl_data::{DataRegistries, Dataset, LoadOptions, Sampler, SamplerKind, Split, TestKey, Tokenizer, load};
use mtl_task::rng::Key;
use mtl_task::{Registry, TaskId};

fn tokenizer() -> Tokenizer {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n[SEP]\n").expect("written");
    Tokenizer::read(folder.path()).expect("a tokenizer")
}

/// A file of `rows` texts, many of them the same but for case and spaces, in three classes of unlike size.
fn write(folder: &Path, rows: usize, seed: u64) {
    let mut stream = Key::new(seed).named("rows").stream();
    let distinct = 1 + rows / (1 + stream.below(4));
    let mut text = String::from("text,label\n");
    for _ in 0..rows {
        let which = stream.below(distinct);
        let shown = match stream.below(3) {
            0 => format!("Text  {which}"),
            1 => format!(" text {which} "),
            _ => format!("TEXT {which}"),
        };
        let class = ["often", "often", "often", "often", "sometimes", "sometimes", "rarely"][which % 7];
        text.push_str(&format!("{shown},{class}\n"));
    }
    std::fs::write(folder.join("rows.csv"), text).expect("written");
}

fn read(folder: &Path, splits: &str, options: &LoadOptions) -> Dataset {
    let text = format!(
        "about = \"\"\nlicence = \"\"\n[task]\nkind = \"classification\"\nlabels = [\"often\", \"rarely\", \
         \"sometimes\"]\n[splits]\nall = [\"rows.csv\"]\n{splits}"
    );
    let manifest: DatasetManifest = toml::from_str(&text).expect("a manifest");
    load(&DataRegistries::default(), "rows", &manifest, folder, &tokenizer(), options).expect("loaded")
}

fn texts(split: &Split) -> Vec<String> {
    split.texts.iter().map(mtl_data::Texts::normalised).collect()
}

fn splits(dataset: &Dataset) -> [Vec<String>; 3] {
    [&dataset.train, &dataset.dev, dataset.test.open(&TestKey::final_evaluation())].map(texts)
}

#[test]
fn no_text_straddles_splits_whatever_the_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    for case in 0..60 {
        let rows = 120 + 7 * case as usize;
        write(folder.path(), rows, case);
        let dataset = read(folder.path(), &format!("seed = {case}\n"), &LoadOptions::default());
        let parts = splits(&dataset);
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), rows, "no row is lost");
        let sets = parts.each_ref().map(|texts| texts.iter().collect::<BTreeSet<_>>());
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            assert!(sets[one].is_disjoint(&sets[other]), "case {case}: splits {one} and {other} share a text");
        }
        let share = parts[2].len() as f64 / rows as f64;
        assert!((0.1..=0.205).contains(&share), "case {case}: {share} of the rows are test");
        assert!(dataset.notes.iter().any(|note| note.contains("repeat the text of another")), "{:?}", dataset.notes);
    }
}

#[test]
fn splits_follow_the_manifests_seed_and_limits_the_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 300, 1);
    let whole = LoadOptions::default();
    let first = splits(&read(folder.path(), "", &whole));
    assert_eq!(splits(&read(folder.path(), "", &LoadOptions { seed: 9, ..whole })), first);
    assert_ne!(splits(&read(folder.path(), "seed = 1\n", &whole)), first);
    let few = |seed: u64, limit_test: usize| {
        splits(&read(folder.path(), "", &LoadOptions { limit_train: 50, limit_test, seed, ..whole }))
    };
    assert_eq!(few(0, 20), few(0, 20));
    assert_ne!(few(0, 20)[0], few(1, 20)[0], "another seed draws other examples");
    assert_eq!((few(0, 20)[0].len(), few(0, 20)[2].len()), (50, 20));
    assert!(few(0, 20)[2].iter().all(|text| first[2].contains(text)), "a limit draws from the split");
    let sampled = |train_seed: Option<u64>, stratified: bool| {
        let limits = LoadOptions { limit_train: 12, limit_dev: 20, limit_test: 20, train_seed, stratified, ..whole };
        splits(&read(folder.path(), "", &limits))
    };
    let [own, other, plain] = [sampled(Some(1), false), sampled(Some(2), false), sampled(None, false)];
    assert_ne!(own[0], other[0], "a seed of its own draws other examples to train on");
    assert_eq!(own[1..], other[1..], "and the same ones to judge by");
    assert_eq!((sampled(Some(0), false), sampled(Some(1), true)[0].len()), (plain, 12));
    assert_ne!(sampled(Some(1), true)[0], own[0]);
    let judged = |dev_seed: Option<u64>| {
        let limits = LoadOptions { limit_train: 12, limit_dev: 20, limit_test: 20, dev_seed, ..whole };
        splits(&read(folder.path(), "", &limits))
    };
    let [one, two] = [Some(1), Some(2)].map(judged);
    assert!(one[1] != two[1] && one[1].iter().all(|text| first[1].contains(text)), "other examples of the same split");
    assert_eq!((&one[0], &one[2], judged(Some(0))), (&two[0], &two[2], judged(None)));
    let dev = |limit_dev: usize| {
        let limits = LoadOptions { limit_train: 12, limit_dev, dev_as_train: true, ..whole };
        splits(&read(folder.path(), "", &limits))[1].len()
    };
    assert_eq!([0, 5, 20].map(dev), [12, 5, 12]);
}

#[test]
fn shares_that_leave_nothing_to_train_on_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), 100, 1);
    for share in ["0.0", "0.5", "-1.0", "nan"] {
        let text = format!(
            "about = \"\"\nlicence = \"\"\n[task]\nkind = \"classification\"\n[splits]\nall = [\"rows.csv\"]\n\
             test_share = {share}\n"
        );
        let manifest: DatasetManifest = toml::from_str(&text).expect("a manifest");
        let loaded =
            load(&DataRegistries::default(), "rows", &manifest, folder.path(), &tokenizer(), &LoadOptions::default());
        let error = format!("{:#}", loaded.err().expect(share));
        assert!(error.contains("test_share must lie between 0 and 0.5"), "{error}");
    }
}

fn sampler(name: &str, sizes: &[usize], seed: u64) -> Sampler {
    let samplers = Registry::<SamplerKind>::default();
    let kind = samplers.find(name).expect("known");
    Sampler::new(kind, &(kind.defaults)(), sizes, seed).expect("valid")
}

#[test]
fn a_step_does_not_depend_on_the_steps_asked_before() {
    for case in 0..40 {
        let mut stream = Key::new(case).named("sizes").stream();
        let sizes: Vec<usize> = (0..1 + stream.below(5)).map(|_| 1 + stream.below(200)).collect();
        let batch = 1 + stream.below(9);
        for entry in &Registry::<SamplerKind>::default() {
            let forwards = sampler(entry.name, &sizes, case);
            let (steps, other) = (0..12, sampler(entry.name, &sizes, case));
            let joint: Vec<_> = steps.clone().map(|step| forwards.joint(step, batch)).collect();
            let one: Vec<_> = steps.clone().map(|step| forwards.one(step, batch)).collect();
            for step in steps.rev() {
                assert_eq!(other.one(step, batch), one[step], "{} {step}", entry.name);
                assert_eq!(other.joint(step, batch), joint[step], "{} {step}", entry.name);
                for (task, examples) in &joint[step] {
                    assert!(!examples.is_empty() && examples.iter().all(|&example| example < sizes[task.0]));
                }
                assert_eq!(joint[step].iter().map(|(_, examples)| examples.len()).sum::<usize>(), batch * sizes.len());
                assert_eq!(one[step].len(), 1);
                assert_eq!(one[step][0].1.len(), batch);
            }
        }
    }
}

#[test]
fn seeds_give_other_orders_of_the_same_examples() {
    let orders: Vec<Vec<usize>> =
        (0..4).map(|seed| sampler("uniform", &[50], seed).examples(TaskId(0), 0, 50)).collect();
    let distinct: BTreeSet<&Vec<usize>> = orders.iter().collect();
    assert_eq!(distinct.len(), orders.len());
    for mut order in orders {
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}

/// p ∝ n^(1 − 0.8·t/steps): proportional at first, the fifth root at the end and from then on.
#[test]
fn annealing_goes_from_proportional_to_almost_uniform() {
    let sampler = sampler("annealed", &[100, 10_000], 0).paced(1000, 1);
    let ratio = |step: usize| sampler.shares(step)[1] / sampler.shares(step)[0];
    assert!((ratio(0) - 100.).abs() < 1e-9, "{}", ratio(0));
    assert!((ratio(500) - 100f64.powf(0.6)).abs() < 1e-9, "{}", ratio(500));
    assert!((ratio(1000) - 100f64.powf(0.2)).abs() < 1e-9, "{}", ratio(1000));
    assert_eq!(ratio(5000), ratio(1000));
    // Whatever the shares do, each epoch of a task sees every example once.
    let mut seen: Vec<usize> = (0..40).flat_map(|step| sampler.joint(step, 8)[0].1.clone()).take(40).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 40, "no example comes twice within an epoch");
}

#[test]
fn tasks_are_drawn_as_often_as_their_shares_say() {
    let sampler = sampler("temperature", &[100, 900], 7);
    let drawn = (0..2000).filter(|&step| sampler.one(step, 1)[0].0 == TaskId(1)).count() as f64 / 2000.;
    let share = sampler.shares(0)[1];
    assert!((share - 0.75).abs() < 1e-12, "the square root of nine to one is three to one: {share}");
    assert!((drawn - share).abs() < 0.03, "{drawn} of the steps, {share} of the shares");
}

#[test]
fn settings_out_of_range_and_unknown_samplers_are_refused() {
    let refused = |name: &str, settings: serde_json::Value, sizes: &[usize]| {
        let samplers = Registry::<SamplerKind>::default();
        let made = samplers.find(name).and_then(|kind| Sampler::new(kind, &settings, sizes, 0));
        format!("{:#}", made.expect_err(name))
    };
    assert!(refused("unifrom", serde_json::json!({}), &[1]).contains("did you mean `uniform`?"));
    assert!(refused("annealed", serde_json::json!({ "floor": 2.0 }), &[1]).contains("`floor` must lie in [0, 1]"));
    assert!(
        refused("temperature", serde_json::json!({ "temperature": 0.0, "cap": 0 }), &[1]).contains("`temperature`")
    );
    assert!(refused("uniform", serde_json::json!({}), &[3, 0]).contains("task 1 has no training example"));
}
