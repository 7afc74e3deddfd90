//! Sparse sharing: its limit case, what its masks keep still, and how it chooses.

mod support;

use anyhow::{Context, Result, ensure};
use candle_core::DType;
use mtl_backbone::{Encoder, Part, Pass};
use mtl_sharing::{DevScores, Model, Sharing};
use mtl_task::{Progress, TaskId};
use serde_json::{Value, json};
use support::{LAYERS, answers, build, enter, gradients, step, texts, tiny, train, train_until, values};

const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

/// A model behind its search, whose trainings took no step.
fn searched(section: &Value, dtype: DType) -> Result<Model> {
    let mut model = build("sparse", section, &tiny(5), 3, dtype)?;
    for phase in 0..model.sharing.phases(60).len() {
        enter(&mut model, phase)?;
    }
    Ok(model)
}

#[test]
fn full_masks_are_hard_sharing_bit_for_bit() -> Result<()> {
    for dtype in [DType::F32, DType::F64] {
        let mut sparse = searched(&json!({ "final_rate": 1.0, "warm_up": 0.0, "rounds": 2 }), dtype)?;
        let mut hard = build("hard", &json!({}), &tiny(5), 3, dtype)?;
        let mask = sparse.sharing.update_mask("shared/layer.0", &ALL).context("the masks are in use")?;
        assert_eq!(mask.ones(), mask.len());
        for at in 0..5 {
            for task in ALL {
                let state = |model: &Model| -> Result<Vec<Vec<f64>>> {
                    let states = model.sharing.represent(task, &texts(task), &mut Pass::evaluation())?;
                    Ok(states.to_dtype(DType::F64)?.to_vec2()?)
                };
                ensure!(state(&sparse)? == state(&hard)?, "states of task {} at step {at}", task.0);
            }
            ensure!(gradients(&sparse, &ALL)? == gradients(&hard, &ALL)?, "gradients at step {at}");
            let progress = Progress { step: at, of: 5 };
            step(&mut sparse, &ALL, progress, 0.05)?;
            step(&mut hard, &ALL, progress, 0.05)?;
        }
        for param in hard.params.iter() {
            ensure!(values(&sparse, param.name())? == values(&hard, param.name())?, "`{}`", param.name());
        }
    }
    Ok(())
}

#[test]
fn a_step_moves_what_one_of_its_tasks_keeps_and_nothing_else() -> Result<()> {
    // What grows differs from task to task, and so do the masks.
    let section = json!({ "final_rate": 0.3, "warm_up": 0.0, "rounds": 1, "criterion": "increase" });
    let mut model = build("sparse", &section, &tiny(5), 3, DType::F64)?;
    train(&mut model, 60, 0.05)?;
    let layout = tiny(5).encoder.layout(Part::Layer(1)).clone();
    let name = "shared/layer.1";
    let masks: Vec<_> =
        ALL.iter().map(|task| model.sharing.update_mask(name, &[*task]).context("a mask")).collect::<Result<_>>()?;
    assert!(masks[0] != masks[1] && masks[1] != masks[2] && masks[0] != masks[2]);
    assert_eq!(*model.sharing.update_mask(name, &ALL[..2]).context("a union")?, masks[0].or(&masks[1]));
    assert!(model.sharing.update_mask("shared/words", &ALL).is_none());
    for tasks in [&ALL[..1], &ALL[1..]] {
        let before = values(&model, name)?;
        step(&mut model, tasks, Progress { step: 0, of: 1 }, 0.05)?;
        let after = values(&model, name)?;
        for entry in layout.entries() {
            for at in entry.range.clone() {
                let kept = entry.shape.len() == 1 || tasks.iter().any(|task| masks[task.0].get(at));
                ensure!(kept || before[at] == after[at], "{} moved, though none of {tasks:?} keeps it", entry.name);
            }
            ensure!(entry.range.clone().any(|at| before[at] != after[at]), "all of {} stood still", entry.name);
        }
    }
    Ok(())
}

#[test]
fn a_masked_gradient_is_the_hard_one_of_the_masked_weights() -> Result<()> {
    let sparse = searched(&json!({ "final_rate": 0.25, "warm_up": 0.0, "rounds": 1 }), DType::F64)?;
    let hard = build("hard", &json!({}), &tiny(5), 3, DType::F64)?;
    for index in 0..LAYERS {
        let name = format!("shared/layer.{index}");
        let mask = sparse.sharing.update_mask(&name, &ALL[..1]).context("a mask")?;
        let masked: Vec<f64> = values(&hard, &name)?
            .iter()
            .enumerate()
            .map(|(at, value)| if mask.get(at) { *value } else { 0. })
            .collect();
        support::set(&hard, &name, &masked)?;
    }
    ensure!(answers(&sparse)?[0] == answers(&hard)?[0], "the answers of the subnetwork");
    let (found, wanted) = (gradients(&sparse, &ALL[..1])?, gradients(&hard, &ALL[..1])?);
    for (name, segment) in &wanted[0].1.0 {
        let mask = sparse.sharing.update_mask(name, &ALL[..1]);
        let own = &found[0].1.0[name];
        for at in 0..segment.values().len() {
            let kept = mask.as_ref().is_none_or(|mask| mask.get(at));
            let wanted = if kept { segment.values().at(at) } else { 0. };
            ensure!(own.values().at(at) == wanted, "`{name}` element {at}");
        }
    }
    Ok(())
}

#[test]
fn the_search_ends_where_it_began_and_counts_its_steps() -> Result<()> {
    let section = json!({ "warm_up": 0.1, "search": 0.5, "rounds": 2, "minimum": 1 });
    let mut model = build("sparse", &section, &tiny(5), 3, DType::F32)?;
    let phases = model.sharing.phases(100);
    let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names[..4], ["warm-up", "search a 0", "search a 1", "search a 2"]);
    assert_eq!((names.len(), names[10]), (11, "train"));
    assert_eq!(phases.iter().map(|phase| phase.steps).collect::<Vec<_>>(), [10, 5, 5, 5, 5, 5, 5, 5, 5, 5, 45]);
    assert_eq!(phases[4].tasks, Some(vec![TaskId(1)]));
    assert!(phases.iter().all(|phase| phase.reset_optimizer));

    let encoder = |model: &Model| -> Result<Vec<Vec<f64>>> {
        let names = ["words", "embeddings", "layer.0", "layer.1", "layer.2"];
        let parts = names.iter().map(|part| format!("shared/{part}"));
        parts.chain(model.head(TaskId(0))).map(|name| values(model, &name)).collect()
    };
    let (at, _) = train_until(&mut model, 100, 0.05, support::RunState::default(), 10)?;
    let warm = encoder(&model)?;
    let (at, _) = train_until(&mut model, 100, 0.05, at, 14)?;
    assert_ne!(encoder(&model)?, warm);
    assert!(model.sharing.state()?.contains_key("origin/0"));
    let (at, _) = train_until(&mut model, 100, 0.05, at, 55)?;
    enter(&mut model, at.phase + 1)?;
    assert_eq!(encoder(&model)?, warm);
    assert!(!model.sharing.state()?.contains_key("origin/0"));
    // A budget too small for the search still has a step for everything.
    assert!(model.sharing.phases(3).iter().all(|phase| phase.steps == 1));
    Ok(())
}

/// Scores that somebody has written down, in the order in which they are asked for, and every task's baseline.
struct Written(Vec<f64>, Option<f64>);

impl DevScores for Written {
    fn score(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> candle_core::Result<f64> {
        Ok(self.0.remove(0))
    }

    fn losses(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> candle_core::Result<Vec<f64>> {
        candle_core::bail!("pruning asks for scores alone")
    }

    fn baseline(&mut self, _task: TaskId) -> candle_core::Result<Option<f64>> {
        Ok(self.1)
    }
}

/// A model of two tasks whose trainings took no step and scored `scores`, beside a `baseline`.
fn scored(section: &Value, scores: &[f64], baseline: Option<f64>) -> Result<Model> {
    let mut model = build("sparse", section, &tiny(5), 2, DType::F32)?;
    let mut written = Written(scores.to_vec(), baseline);
    for phase in 0..=model.sharing.phases(60).len() {
        model.sharing.enter(phase, &mut written)?;
    }
    assert!(written.0.is_empty());
    Ok(model)
}

/// The rounds that two tasks take, and the shares that they keep, if their trainings score `scores`.
fn chosen(section: &Value, scores: &[f64], baseline: Option<f64>) -> Result<Vec<(u64, f64)>> {
    let model = scored(section, scores, baseline)?;
    let findings = model.sharing.findings()?;
    let task = |name: &str| {
        let found = &findings["tasks"][name];
        Some((found["round"].as_u64()?, found["kept"].as_f64()?))
    };
    ["a", "b"].into_iter().map(|name| task(name).context("no findings")).collect()
}

#[test]
fn dev_chooses_among_pruned_masks_and_prefers_the_sparser_of_two_equals() -> Result<()> {
    let section = json!({ "final_rate": 0.125, "rounds": 3, "warm_up": 0.0 });
    // The full mask's score, the highest, is none of a candidate; what is not a number loses.
    let scores = [0.99, 0.7, 0.8, 0.8, 0.9, 0.6, f64::NAN, 0.5];
    assert_eq!(chosen(&section, &scores, None)?, [(3, 0.125), (1, 0.5)]);
    assert_eq!(chosen(&section, &scores, Some(0.75))?, [(3, 0.125), (1, 0.5)]);
    // Nothing beat the baseline: nothing speaks for pruning on.
    let low = [0.99, 0.8, 0.8, 0.8, 0.9, 0.6, f64::NAN, 0.8];
    assert_eq!(chosen(&section, &low, Some(0.8))?, [(1, 0.5), (1, 0.5)]);
    assert_eq!(chosen(&section, &low, Some(0.7))?, [(3, 0.125), (3, 0.125)]);
    let fixed = json!({ "final_rate": 0.125, "rounds": 3, "warm_up": 0.0, "round": 2 });
    assert_eq!(chosen(&fixed, &scores, Some(0.9))?, [(2, 0.25), (2, 0.25)]);
    Ok(())
}

#[test]
fn a_training_has_its_minimum_of_steps_where_the_run_has_them() -> Result<()> {
    let model = build("sparse", &json!({}), &tiny(5), 3, DType::F32)?;
    let steps =
        |budget: usize| -> Vec<usize> { model.sharing.phases(budget).iter().map(|phase| phase.steps).collect() };
    let nine = |warm_up: usize, training: usize, rest: usize| {
        let search = [training; 9];
        [&[warm_up][..], &search[..], &[rest][..]].concat()
    };
    // Half of the run is enough; more than half, up to three quarters in all with the warm-up; the least there is.
    assert_eq!(steps(900), nine(90, 50, 360));
    assert_eq!(steps(500), nine(50, 30, 180));
    assert_eq!(steps(200), nine(20, 14, 54));
    assert_eq!(steps(12), nine(1, 1, 2));
    Ok(())
}

#[test]
fn what_speaks_against_the_masks_is_told() -> Result<()> {
    let section = json!({ "final_rate": 0.25, "rounds": 2, "warm_up": 0.0, "minimum": 5 });
    let warnings = |scores: &[f64], baseline: Option<f64>| -> Result<Vec<String>> {
        Ok(scored(&section, scores, baseline)?.sharing.warnings()?)
    };
    let found = warnings(&[0.9, 0.8, 0.8, 0.9, 0.5, 0.4], Some(0.6))?;
    let told = |word: &str| found.iter().filter(|warning| warning.contains(word)).count();
    assert_eq!((told("had 0 steps, fewer than `minimum` = 5"), told("`a`: all subnetworks scored 0.800")), (1, 1));
    assert_eq!(
        (told("`b`: no subnetwork beat the baseline's dev score of 0.600"), told("keep the same weights")),
        (1, 1)
    );
    assert_eq!(found.len(), 4, "{found:?}");
    let found = warnings(&[0.9, 0.8, 0.7, 0.9, 0.7, 0.8], Some(0.6))?;
    // One mask lies in the other: levels of one order still.
    assert!(found.len() == 2 && found[1].contains("keep the same weights"), "{found:?}");

    let mut trained = build(
        "sparse",
        &json!({ "warm_up": 0.0, "rounds": 1, "minimum": 5, "criterion": "increase" }),
        &tiny(5),
        2,
        DType::F64,
    )?;
    assert!(trained.sharing.warnings()?.is_empty(), "nothing is known before");
    train(&mut trained, 60, 0.05)?;
    assert!(trained.sharing.warnings()?.is_empty(), "{:?}", trained.sharing.warnings()?);
    assert_eq!(trained.sharing.findings()?["tasks"]["b"]["rounds"][1]["steps"], 7);
    Ok(())
}

#[test]
fn findings_tell_overlap_and_bytes() -> Result<()> {
    // Untrained, every task prunes the same weights.
    let model = searched(&json!({ "final_rate": 0.25, "rounds": 1, "warm_up": 0.0 }), DType::F32)?;
    let findings = model.sharing.findings()?;
    assert_eq!(findings["overlap"], 1.0);
    assert_eq!(findings["pairs"].as_array().map(Vec::len), Some(3));
    assert_eq!(findings["kept_by_no_task"], 0.75);
    let layer = tiny(5).encoder.layout(Part::Layer(0)).len();
    assert_eq!(model.sharing.extra_bytes(), (3 * LAYERS * layer.div_ceil(8)) as i64);
    Ok(())
}

#[test]
fn increase_keeps_the_weights_that_grew() -> Result<()> {
    let section = json!({ "final_rate": 0.1, "rounds": 1, "warm_up": 0.0, "criterion": "increase" });
    let mut model = build("sparse", &section, &tiny(5), 1, DType::F64)?;
    enter(&mut model, 0)?;
    // One query matrix grows, and is a tenth of all there is and more.
    let layout = tiny(5).encoder.layout(Part::Layer(0)).clone();
    let mut grown = values(&model, "shared/layer.0")?;
    grown[layout.range(0)].iter_mut().for_each(|value| *value *= 3.);
    support::set(&model, "shared/layer.0", &grown)?;
    (1..3).try_for_each(|phase| enter(&mut model, phase))?;
    let mask = |name: &str| model.sharing.update_mask(name, &[TaskId(0)]).context("a mask");
    let kept = mask("shared/layer.0")?;
    let matrices = layout.entries().iter().filter(|entry| entry.shape.len() > 1);
    for entry in matrices.skip(1) {
        assert!(entry.range.clone().all(|at| !kept.get(at)), "{}", entry.name);
    }
    assert!(layout.range(0).filter(|at| kept.get(*at)).count() > 0);
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (section, word) in [
        (json!({ "final_rate": 0.0 }), "final_rate"),
        (json!({ "rounds": 0 }), "rounds"),
        (json!({ "rounds": 1000 }), "at most 100"),
        (json!({ "minimum": 0 }), "minimum"),
        (json!({ "search": 0.95 }), "leave none"),
        (json!({ "warm_up": -0.1 }), "warm_up"),
        (json!({ "round": 5 }), "round"),
    ] {
        let error = build("sparse", &section, &tiny(5), 2, DType::F32).err().expect("refused");
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
}

#[test]
fn a_state_of_another_phase_is_refused() -> Result<()> {
    let mut model = build("sparse", &json!({}), &tiny(5), 2, DType::F32)?;
    let phases = model.sharing.phases(60).len();
    let error = model.sharing.restore(&Default::default(), phases).expect_err("no masks there").to_string();
    assert!(error.contains("masks of 0 tasks"), "{error}");
    Ok(())
}
