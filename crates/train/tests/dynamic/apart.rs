//! After the structure changed: copies diverge, decisions follow the owners, and tasks that share nothing any more train
//! on as they would alone.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use mtl_data::Dataset;
use mtl_sharing::{Model, Strategy, TaskShape};
use mtl_task::rng::Key;
use mtl_task::{Progress, Task, TaskBatch, TaskId};
use mtl_train::{Assembled, DevSplits, StepReport, Trainer};
use serde_json::json;

use crate::strategy::{SHATTER, SPLIT_AND_MERGE};
use crate::tiny::{assembled, recipe};

const SETTINGS: [&str; 4] = ["train.dropout=0.0", "head.dropout=0.0", "train.precision=f64", "train.clip=0.5"];

/// A trainer of `strategy` over the tiny recipe's tasks `chosen`, and their data.
pub(crate) fn trainer(
    strategy: &Strategy,
    section: serde_json::Value,
    rule: &str,
    chosen: &[usize],
) -> (Trainer, Vec<Dataset>) {
    let rule = format!("weighting.rule={rule}");
    let all = ["topic", "mood", "tags"];
    let names: Vec<String> = chosen.iter().map(|&task| format!("\"{}\"", all[task])).collect();
    let tasks = format!("tasks=[{}]", names.join(", "));
    let recipe = recipe(&[&SETTINGS[..], &[&rule, &tasks]].concat());
    let Assembled { datasets, pretrained, .. } = assembled(&recipe);
    let kinds: Vec<Box<dyn Task>> =
        datasets.iter().map(|dataset| mtl_task::build(&Default::default(), &dataset.spec).expect("a task")).collect();
    let shapes = datasets.iter().zip(&kinds).map(|(dataset, task)| TaskShape {
        name: dataset.name.clone(),
        outputs: task.outputs(),
        reads: task.reads(),
    });
    let key = Key::new(recipe.train.seed).named("model");
    let (device, dtype) = (Device::Cpu, DType::F64);
    let model = Model::build(strategy, &section, &recipe.head, &pretrained, shapes.collect(), key, &device, dtype)
        .expect("built");
    (Trainer::new(&recipe, model, kinds).expect("a trainer"), datasets)
}

/// The examples that step `step` learns from.
fn batches(datasets: &[Dataset], step: usize) -> Vec<TaskBatch> {
    let batch = |(task, dataset): (usize, &Dataset)| {
        mtl_data::collate(TaskId(task), &dataset.train.examples[4 * step..4 * step + 4], true)
    };
    datasets.iter().enumerate().map(batch).collect()
}

pub(crate) fn train(trainer: &mut Trainer, datasets: &[Dataset], steps: std::ops::Range<usize>) -> Vec<StepReport> {
    let dev = DevSplits { datasets, batch: 8 };
    let step = |step: usize| {
        let progress = Progress { step, of: 8 };
        // Rules that draw several mini-batches get the same one again.
        let mini_batches = vec![batches(datasets, step); trainer.mini_batches()];
        trainer.step(&mini_batches, progress, 3e-3, &dev).expect("a step")
    };
    steps.map(step).collect()
}

pub(crate) fn tensors(trainer: &Trainer) -> BTreeMap<String, Vec<f64>> {
    let named = trainer.model.params.tensors().expect("tensors").into_iter();
    let flat = |tensor: Tensor| tensor.flatten_all().and_then(|flat| flat.to_vec1::<f64>()).expect("f64");
    named.map(|(name, tensor)| (name, flat(tensor))).collect()
}

pub(crate) fn strategy(name: &str) -> &'static Strategy {
    mtl_sharing::find(name).expect("a strategy")
}

/// One rule of each class, one with several mini-batches, one with a state for each task.
const RULES: [&str; 7] = ["equal", "uncertainty", "famo", "nash", "moco", "pcgrad", "graddrop"];

#[test]
fn after_a_split_into_singletons_tasks_train_on_as_alone() {
    for rule in ["equal", "nash", "graddrop"] {
        let (mut shattered, datasets) = trainer(&SHATTER, json!({ "at": 3 }), rule, &[0, 1, 2]);
        train(&mut shattered, &datasets, 0..3);
        assert!(shattered.model.shared().is_empty(), "it fell apart");
        let (weights, moments) =
            (shattered.model.params.tensors().expect("weights"), shattered.optimizer_state().expect("moments"));
        let weights: BTreeMap<String, Tensor> = weights.into_iter().collect();
        train(&mut shattered, &datasets, 3..7);
        let found = tensors(&shattered);

        // One model of separate encoders.
        let (mut single, _) = trainer(strategy("single"), json!({}), "equal", &[0, 1, 2]);
        single.model.params.assign(&weights).expect("the same names");
        single.restore_optimizer(&moments).expect("the same optimizer");
        train(&mut single, &datasets, 3..7);
        assert_eq!(tensors(&single), found, "{rule}");

        // Separate runs, one for each task.
        for task in 0..3 {
            let (mut alone, own) = trainer(strategy("single"), json!({}), "equal", &[task]);
            let prefix = format!("task.{}/", own[0].name);
            let of_task = |name: &String| name.starts_with(&prefix);
            let mine = weights.iter().filter(|(name, _)| of_task(name));
            alone.model.params.assign(&mine.map(|(n, t)| (n.clone(), t.clone())).collect()).expect("its weights");
            let mine = moments.iter().filter(|(name, _)| name.contains(&prefix));
            alone.restore_optimizer(&mine.map(|(n, t)| (n.clone(), t.clone())).collect()).expect("its moments");
            train(&mut alone, &own, 3..7);
            let found: BTreeMap<_, _> = found.iter().filter(|(name, _)| of_task(name)).collect();
            assert_eq!(tensors(&alone).iter().collect::<BTreeMap<_, _>>(), found, "{rule}, task {task}");
        }
    }
}

#[test]
fn copies_diverge_are_weighted_by_their_owners_and_become_one_again() {
    let all: Vec<usize> = vec![0, 1, 2];
    for rule in RULES {
        let (mut trainer, datasets) = trainer(&SPLIT_AND_MERGE, json!({ "every": 2 }), rule, &all);
        train(&mut trainer, &datasets, 0..2);
        let layer = |trainer: &Trainer, prefix: &str| -> Vec<f64> {
            let of = |(name, _): &(&String, &Vec<f64>)| name.starts_with(prefix) && name.contains("layer.1.");
            tensors(trainer).iter().filter(of).flat_map(|(_, values)| values.clone()).collect()
        };
        let (first, others) = (layer(&trainer, "shared/"), layer(&trainer, "others/"));
        assert!(!first.is_empty() && first == others, "{rule}: a split changes no function");
        let owners = trainer.model.topology.trained_by("others/layer.1").expect("it is there").clone();
        assert_eq!(Vec::from(owners), [1, 2]);
        assert_eq!(Vec::from(trainer.model.topology.trained_by("shared/layer.1").expect("kept").clone()), [0]);
        train(&mut trainer, &datasets, 2..3);
        assert_ne!(layer(&trainer, "shared/"), layer(&trainer, "others/"), "{rule}: the copies are trained");
        train(&mut trainer, &datasets, 3..4);
        assert!(trainer.model.params.get("others/layer.1").is_none(), "{rule}: one layer again");
        assert_eq!(Vec::from(trainer.model.topology.trained_by("shared/layer.1").expect("kept").clone()), all);
        let remembered = trainer.optimizer_state().expect("moments");
        assert!(remembered.keys().all(|name| !name.contains("others/")), "{rule}: {:?}", remembered.keys());
        let last = train(&mut trainer, &datasets, 4..6);
        assert!(last.iter().all(|report| report.gradient_norm.is_finite()), "{rule}");
    }
}

#[test]
fn a_split_scales_the_moments_by_the_groups_share_of_the_gradient() {
    let (mut trainer, datasets) = trainer(&SPLIT_AND_MERGE, json!({ "every": 2 }), "equal", &[0, 1, 2]);
    train(&mut trainer, &datasets, 0..1);
    let before =
        |name: &str, state: &BTreeMap<String, Tensor>| -> Vec<f64> { state[name].to_vec1::<f64>().expect("moments") };
    // What both copies would have without the split: the same step by a strategy that never splits.
    let (mut whole, _) = self::trainer(&SPLIT_AND_MERGE, json!({ "every": 100 }), "equal", &[0, 1, 2]);
    train(&mut whole, &datasets, 0..2);
    train(&mut trainer, &datasets, 1..2);
    let (split, whole) = (trainer.optimizer_state().expect("moments"), whole.optimizer_state().expect("moments"));
    for (kind, name) in
        [("m", "shared/layer.1"), ("m", "others/layer.1"), ("v", "shared/layer.1"), ("v", "others/layer.1")]
    {
        let (found, expected) =
            (before(&format!("{kind}/{name}"), &split), before(&format!("{kind}/shared/layer.1"), &whole));
        let share = found.iter().zip(&expected).find(|(_, whole)| whole.abs() > 1e-12).map(|(own, whole)| own / whole);
        let share = share.expect("a moment that is not 0");
        assert!(share > 0. && (share < 1. || name == "others/layer.1"), "{kind}/{name}: {share}");
        for (own, whole) in found.iter().zip(&expected) {
            assert!((own - share * whole).abs() <= 1e-12 * whole.abs(), "{kind}/{name}: {own} {whole} {share}");
        }
    }
    assert_eq!(split["steps/others/layer.1"].to_vec1::<i64>().expect("a count"), [2]);
}
