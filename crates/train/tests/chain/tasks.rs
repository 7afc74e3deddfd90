//! Settings of single tasks at work.

use std::collections::BTreeMap;

use candle_core::Device;
use mtl_backbone::Param;
use mtl_task::{Progress, TaskId};
use mtl_train::{Assembled, DevSplits, Recipe, Start, dry_run};

use crate::tiny::{assembled, hash, located, metrics, new, recipe, run, started};

/// The values of every parameter, by its name.
fn values(assembled: &Assembled) -> BTreeMap<String, Vec<f64>> {
    let flat = |param: &Param| param.tensor().flatten_all()?.copy()?.to_vec1::<f64>();
    let params = assembled.trainer.model.params.iter();
    params.map(|param| (param.name().to_string(), flat(param).expect("values"))).collect()
}

/// How one plain step at rate 0.5 moves every parameter, and the losses before it.
fn step(overrides: &[&str]) -> (BTreeMap<String, Vec<f64>>, Vec<f64>) {
    const PLAIN: [&str; 7] = [
        "train.precision=f64",
        "optimizer.name=sgd",
        "optimizer.momentum=0.0",
        "optimizer.weight_decay=0.0",
        "optimizer.rate=0.5",
        "train.clip=0.0",
        "train.dropout=0.0",
    ];
    let mut assembled = assembled(&recipe(&[&PLAIN[..], &["head.dropout=0.0"], overrides].concat()));
    let before = values(&assembled);
    let batch = |(task, dataset): (usize, &mtl_data::Dataset)| {
        mtl_data::collate(TaskId(task), &dataset.train.examples[..4], true)
    };
    let batches = assembled.datasets.iter().enumerate().map(batch).collect();
    let progress = Progress { step: 0, of: 4 };
    let report = assembled.trainer.step(&[batches], progress, 0.5, &DevSplits::none()).expect("a step");
    let moved = values(&assembled).into_iter().map(|(name, after)| {
        let moved = after.iter().zip(&before[&name]).map(|(after, before)| after - before).collect();
        (name, moved)
    });
    (moved.collect(), report.losses)
}

fn distance(a: &BTreeMap<String, Vec<f64>>, b: &BTreeMap<String, Vec<f64>>, of: impl Fn(&str) -> bool) -> f64 {
    let names = a.keys().filter(|name| of(name));
    names.flat_map(|name| a[name].iter().zip(&b[name]).map(|(a, b)| (a - b).abs())).fold(0., f64::max)
}

fn most(moved: &BTreeMap<String, Vec<f64>>) -> f64 {
    moved.values().flatten().fold(0., |most: f64, moved| most.max(moved.abs()))
}

#[test]
fn limits_are_the_tasks_own() {
    let overrides = ["train.limit=20", "task.topic.limit=7", "task.mood.dev_limit=5", "task.tags.test_limit=3"];
    let recipe = recipe(&[&overrides[..], &["task.mood.limit=0"]].concat());
    let found = assembled(&recipe);
    let of = |at: usize| {
        let dataset = &found.datasets[at];
        (dataset.train.examples.len(), dataset.dev.examples.len(), dataset.test_size())
    };
    let ((topic, _, _), (mood, mood_dev, _), (tags, tags_dev, tags_test)) = (of(0), of(1), of(2));
    assert_eq!((topic, tags, mood_dev, tags_test), (7, 20, 5, 3));
    assert!(mood > 40 && (6..=12).contains(&tags_dev), "{mood} {tags_dev}");
    let sizes = dry_run(&recipe, &located(&recipe), &Device::Cpu).expect("a dry run").tasks;
    assert_eq!((sizes[0].train, sizes[1].dev, sizes[2].test), (7, 5, 3));
    // Those of the others stay what they are, example by example.
    let plain = assembled(&crate::tiny::recipe(&["train.limit=20"]));
    let rows = |assembled: &Assembled| assembled.datasets[2].train.examples.iter().map(|e| e.row).collect::<Vec<_>>();
    assert_eq!(rows(&found), rows(&plain));
}

#[test]
fn batches_and_shares_are_the_tasks_own() {
    let tokens = |overrides: &[&str]| {
        let recipe = recipe(&[&["train.steps=3", "weighting.rule=equal"], overrides].concat());
        dry_run(&recipe, &located(&recipe), &Device::Cpu).expect("a dry run")
    };
    let (plain, less, more) = (tokens(&[]), tokens(&["task.topic.batch=1"]), tokens(&["task.topic.batch=16"]));
    assert!(less.tokens_per_step < plain.tokens_per_step && more.tokens_per_step > 1.5 * plain.tokens_per_step);
    assert!(more.memory.estimate.activations > plain.memory.estimate.activations, "a longer micro-batch");
    assert_eq!((more.tasks[0].batch, more.tasks[1].batch), (Some(16), None));
    // As many examples of a task are the same examples, however they come about.
    let folder = tempfile::tempdir().expect("a folder");
    let same = |overrides: &[&str], name: &str| {
        run(&recipe(overrides), &folder.path().join(name));
        hash(&folder.path().join(name), "model.safetensors")
    };
    assert_eq!(same(&[], "plain"), same(&["task.topic.batch=4", "task.mood.batch=4", "task.tags.batch=4"], "stated"));
    assert_eq!(
        same(&["train.batch=9", "task.topic.batch=4", "task.mood.batch=4", "task.tags.batch=4"], "other"),
        same(&["task.tags.weight=1.0"], "weighted"),
    );
    assert_ne!(same(&["task.tags.weight=3.0"], "heavy"), same(&[], "light"));
}

#[test]
fn a_learning_rate_of_a_task_is_that_of_what_it_alone_trains() {
    let folder = tempfile::tempdir().expect("a folder");
    let end = |overrides: &[&str], name: &str| {
        run(&recipe(overrides), &folder.path().join(name));
        hash(&folder.path().join(name), "model.safetensors")
    };
    let own = end(&["task.topic.learning_rate=1e-2", "task.mood.learning_rate=0.0"], "own");
    assert_eq!(own, end(&["optimizer.task_rates={ topic = 1e-2, mood = 0.0 }"], "rates"));
    assert_ne!(own, end(&[], "plain"));
}

#[test]
fn a_loss_weight_multiplies_the_loss_before_a_rule_sees_it() {
    let (plain, losses) = step(&["weighting.rule=equal"]);
    let (weighted, products) = step(&["weighting.rule=equal", "task.topic.loss_weight=3"]);
    assert!((products[0] - 3. * losses[0]).abs() < 1e-12 && products[1..] == losses[1..]);
    // Under the plain sum it is the rule's own weight.
    let (fixed, _) = step(&["weighting.rule=fixed", "weighting.weights=[3.0, 1.0, 1.0]"]);
    assert!(most(&plain) > 1e-4 && distance(&weighted, &fixed, |_| true) < 1e-12 * most(&plain).max(1.));
    assert!(distance(&weighted, &plain, |name| name.starts_with("shared/")) > 1e-5);
    // A rule that does not look at the scale of a gradient undoes it on what is shared; the head keeps it.
    let (bargained, _) = step(&["weighting.rule=nash"]);
    let (scaled, _) = step(&["weighting.rule=nash", "task.topic.loss_weight=3"]);
    let shared = |name: &str| name.starts_with("shared/");
    assert!(
        distance(&bargained, &scaled, shared) < 1e-6 * most(&bargained),
        "{}",
        distance(&bargained, &scaled, shared)
    );
    let head = |name: &str| name.starts_with("task.topic/");
    assert!(distance(&bargained, &scaled, head) > 1e-5);
}

#[test]
fn heads_and_headlines_are_the_tasks_own() {
    let found = assembled(&recipe(&["task.topic.head.hidden=8", "train.precision=f64"]));
    let hidden: Vec<&str> =
        found.trainer.model.params.iter().map(Param::name).filter(|n| n.contains("hidden")).collect();
    assert_eq!(hidden, ["task.topic/head.hidden.bias", "task.topic/head.hidden.weight"]);
    let plain = values(&assembled(&recipe(&["train.precision=f64"])));
    for (name, value) in values(&found).iter().filter(|(name, _)| !name.starts_with("task.topic/")) {
        assert_eq!(*value, plain[name], "{name}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let own = recipe(&["task.topic.metric=matthews", "task.topic.head.hidden=8"]);
    let report = run(&own, folder.path());
    assert_eq!(report.tasks["topic"].headline, "matthews");
    let default = run(&recipe(&[]), &folder.path().join("plain"));
    assert_ne!(default.tasks["topic"].headline, "matthews");
    assert_eq!(default.tasks["mood"].headline, report.tasks["mood"].headline);
    // What is opened later has them too.
    let trained = mtl_train::Trained::open(&Default::default(), folder.path(), &Device::Cpu).expect("a run");
    assert_eq!(trained.recipe, own);
    let (id, task) = trained.task("topic").expect("a task");
    assert_eq!((task.metrics()[0], trained.model().head(id).len()), ("matthews", 4));
    for (set, named) in [("matthws", "did you mean `matthews`?"), ("pearson", "does not judge")] {
        let wrong = recipe(&[&format!("task.topic.metric={set}")]);
        let error = format!("{:#}", new(&wrong, &folder.path().join(set), false).err().expect("refused"));
        assert!(error.contains("[task.topic] metric") && error.contains(named), "{error}");
    }
}

/// The steps that `recipe` comes to, as its run folder says.
fn steps(recipe: &Recipe, name: &str) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let report = run(recipe, &folder.path().join(name));
    let text = std::fs::read_to_string(folder.path().join(name).join("recipe.toml")).expect("a recipe");
    let stored = Recipe::parse_resolved(&Default::default(), "stored", &text).expect("a recipe");
    assert_eq!((stored.train.epochs, stored.train.epochs_of), (None, None));
    assert_eq!((stored.train.steps, metrics(&folder.path().join(name)).len()), (report.steps, report.steps));
    report.steps
}

#[test]
fn epochs_are_passes_over_the_largest_task_or_a_named_one() {
    let of = |overrides: &[&str]| {
        let limits = ["train.limit=8", "task.mood.limit=20", "weighting.rule=equal"];
        recipe(&[&limits[..], overrides].concat())
    };
    assert_eq!(steps(&of(&["train.epochs=2"]), "largest"), 10);
    assert_eq!(steps(&of(&["train.epochs=2", "train.epochs_of=topic"]), "named"), 4);
    assert_eq!(steps(&of(&["train.epochs=0.3", "train.batch=2"]), "part"), 3);
    assert_eq!(steps(&of(&["train.epochs=1", "train.accumulate=2", "task.mood.batch=5"]), "own batch"), 2);
    assert_eq!(steps(&of(&["train.epochs=1", "train.step=one"]), "one"), 15);
    let moving = steps(&of(&["train.epochs=2", "sampler.name=annealed"]), "moving");
    assert!((4..10).contains(&moving), "{moving}");
    let rehearsed = dry_run(&of(&["train.epochs=2"]), &located(&of(&[])), &Device::Cpu).expect("a dry run");
    assert_eq!(rehearsed.steps, 10);
    let error = format!(
        "{:#}",
        new(
            &of(&["train.epochs=1", "schedule.warmup_steps=9"]),
            &tempfile::tempdir().expect("a folder").path().join("x"),
            false
        )
        .err()
        .expect("refused")
    );
    assert!(error.contains("train.epochs = 1") && error.contains("there are 5 steps"), "{error}");
}

#[test]
fn a_run_of_epochs_goes_on_by_the_same_recipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |overrides: &[&str]| recipe(&[&["train.limit=8", "train.epochs=3"], overrides].concat());
    let first = new(&of(&[]), folder.path(), false).expect("a run");
    assert!(first.found().iter().any(|note| note.contains("are 6 steps")), "{:?}", first.found());
    let stopped = first.execute(&mut crate::tiny::Break { at: 4, now: 0 }).expect("trained");
    assert!(matches!(stopped, mtl_train::Ended::Interrupted(4)));
    let again = started(&of(&["train.threads=1"]), folder.path(), Start::Continue).expect("the same recipe");
    again.execute(&mut mtl_train::Silent).expect("trained");
    assert_eq!(metrics(folder.path()).len(), 6);
    let whole = folder.path().join("whole");
    run(&recipe(&["train.limit=8", "train.steps=6"]), &whole);
    assert_eq!(hash(folder.path(), "model.safetensors"), hash(&whole, "model.safetensors"));
    let other = started(&recipe(&["train.limit=8", "train.epochs=4"]), folder.path(), Start::Continue);
    let error = format!("{:#}", other.err().expect("another recipe"));
    assert!(error.contains("8 steps") && error.contains("begun with 6"), "{error}");
}
