//! Tensor factorisation: its limit case, its gradients, its counts, and what it starts from.

mod support;

use anyhow::{Context, Result, ensure};
use candle_core::DType;
use mtl_backbone::{Encoder, Part};
use mtl_sharing::Model;
use mtl_task::rng::Key;
use mtl_task::{Progress, TaskId};
use serde_json::{Value, json};
use support::{
    HIDDEN, INTERMEDIATE, LAYERS, RunState, answers, build, enter, gradients, keep, loss, set, step, tiny, train,
    train_until, values,
};

const FORMS: [&str; 3] = ["laf", "tucker", "tt"];
const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

/// A change of every matrix of layer `index`, for `task`: of full rank, or of rank `rank`.
fn delta(index: usize, task: usize, rank: Option<usize>) -> Vec<f64> {
    let layout = tiny(5).encoder.layout(Part::Layer(index)).clone();
    let mut values = vec![0.; layout.len()];
    for (at, entry) in layout.entries().iter().enumerate().filter(|(_, entry)| entry.shape.len() == 2) {
        let (rows, columns) = (entry.shape[0], entry.shape[1]);
        let normals = |what: u64, count: usize| -> Vec<f64> {
            let mut stream = Key::new(90).with(index as u64).with(at as u64).with(what).stream();
            (0..count).map(|_| 0.1 * stream.normal()).collect()
        };
        // Of low rank: the same rows and columns for all tasks, mixed by a task's own weights.
        let own = normals(task as u64, rank.unwrap_or(rows * columns));
        let (left, right) = (normals(100, rows * rank.unwrap_or(0)), normals(101, columns * rank.unwrap_or(0)));
        for (element, value) in values[entry.range.clone()].iter_mut().enumerate() {
            let (row, column) = (element / columns, element % columns);
            *value = match rank {
                None => own[element],
                Some(rank) => (0..rank).map(|r| 100. * own[r] * left[row * rank + r] * right[column * rank + r]).sum(),
            };
        }
    }
    values
}

/// A model that was given deltas, as if single-task training had found them.
fn given(section: &Value, dtype: DType, rank: Option<usize>) -> Result<Model> {
    let mut model = build("tensor", section, &tiny(5), 3, dtype)?;
    for task in 0..3 {
        enter(&mut model, task)?;
        for index in 0..LAYERS {
            let name = format!("shared/layer.{index}");
            let moved: Vec<f64> = values(&model, &name)?
                .iter()
                .zip(delta(index, task, rank))
                .map(|(value, delta)| value + delta)
                .collect();
            set(&model, &name, &moved)?;
        }
    }
    enter(&mut model, 3)?;
    Ok(model)
}

/// The encoders that [`given`] was given, as single-task models.
fn wanted(dtype: DType, rank: Option<usize>) -> Result<Model> {
    let model = build("single", &json!({}), &tiny(5), 3, dtype)?;
    for (task, site) in model.tasks.iter().enumerate() {
        for index in 0..LAYERS {
            let name = format!("task.{}/layer.{index}", site.name);
            let moved: Vec<f64> = values(&model, &name)?
                .iter()
                .zip(delta(index, task, rank))
                .map(|(value, delta)| value + delta)
                .collect();
            set(&model, &name, &moved)?;
        }
    }
    Ok(model)
}

fn distance(a: &Model, b: &Model) -> Result<f64> {
    let (a, b) = (answers(a)?, answers(b)?);
    Ok(a.iter().flatten().zip(b.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0., f64::max))
}

#[test]
fn at_full_rank_given_deltas_come_back() -> Result<()> {
    for form in FORMS {
        for (dtype, bound) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
            let model = given(&json!({ "form": form, "rank": 1000, "init": "svd" }), dtype, None)?;
            let found = distance(&model, &wanted(dtype, None)?)?;
            assert!(found <= bound, "{form} {dtype:?}: {found}");
            assert!(distance(&model, &build("hard", &json!({}), &tiny(5), 3, dtype)?)? > 0.01);
            for name in ["words", "embeddings", "layer.0", "layer.2"] {
                let before = build("hard", &json!({}), &tiny(5), 3, dtype)?;
                let name = format!("shared/{name}");
                ensure!(values(&model, &name)? == values(&before, &name)?, "{form}: `{name}` was not rewound");
            }
        }
    }
    Ok(())
}

#[test]
fn deltas_of_low_rank_come_back_at_that_rank_and_the_error_finds_it() -> Result<()> {
    for form in ["tucker", "tt"] {
        // Two for the rank and no more; the range finder has to look for it among sixteen and twenty-four.
        let section = json!({ "form": form, "rank": 2, "init": "svd" });
        let found = distance(&given(&section, DType::F64, Some(2))?, &wanted(DType::F64, Some(2))?)?;
        assert!(found <= 1e-9, "{form}: {found}");
        let section = json!({ "form": form, "rank": 7, "error": 1e-6, "init": "svd" });
        let mut model = given(&section, DType::F64, Some(2))?;
        let found = model.sharing.findings()?;
        assert_eq!(found["mean_ranks"]["rows"], 2.0, "{form}: {found}");
        assert_eq!(found["mean_ranks"]["tasks"], 2.0, "{form}: {found}");
        assert!(found["relative_error"]["worst"].as_f64().context("a number")? < 1e-6);
        // What is not in use stays out of use.
        let left = "shared/encoder.layer.0.attention.self.query.weight.left";
        for at in 0..3 {
            let before = values(&model, left)?;
            step(&mut model, &ALL, Progress { step: at, of: 3 }, 0.05)?;
            let after = values(&model, left)?;
            assert!(after.chunks(7).all(|row| row[2..].iter().all(|value| *value == 0.)), "{form}");
            assert_ne!(before, after);
        }
    }
    Ok(())
}

#[test]
fn gradients_of_the_factors_agree_with_finite_differences() -> Result<()> {
    for form in FORMS {
        let mut model = build("tensor", &json!({ "form": form, "rank": 2, "scale": 0.3 }), &tiny(5), 3, DType::F64)?;
        let mut stream = Key::new(8).stream();
        let of = |end: &str| -> Vec<String> {
            model.params.iter().map(|p| p.name().to_string()).filter(|name| name.ends_with(end)).collect()
        };
        assert_eq!(of(".mix").len(), 3 * LAYERS);
        let last = [".mixtures", ".core", ".right"].map(of).concat();
        assert!(last.len() >= 6 * LAYERS, "{last:?}");
        for name in [of(".mix"), last].concat() {
            let drawn: Vec<f64> = values(&model, &name)?.iter().map(|_| 0.3 * stream.normal()).collect();
            set(&model, &name, &drawn)?;
        }
        enter(&mut model, 0)?;
        let task = TaskId(1);
        let row = gradients(&model, &[task])?.remove(0).1;
        for name in model.reach(task) {
            let length = model.params.get(&name).context("reached")?.layout().len();
            let gradient = row.0[&name].dense(length)?;
            let start = values(&model, &name)?;
            let index = stream.below(length);
            let at = |offset: f64| -> Result<f64> {
                let mut moved = start.clone();
                moved[index] += offset;
                set(&model, &name, &moved)?;
                Ok(loss(&model, task, &mut mtl_backbone::Pass::evaluation())?.to_scalar::<f64>()?)
            };
            let numeric = (at(1e-5)? - at(-1e-5)?) / 2e-5;
            at(0.)?;
            let exact = gradient.at(index);
            ensure!(
                (numeric - exact).abs() < 1e-6 * (1. + exact.abs()),
                "{form} `{name}` element {index}: {numeric} by differences, {exact} by backward"
            );
        }
    }
    Ok(())
}

#[test]
fn counts_are_those_of_the_factors() -> Result<()> {
    let (h, i, k, r) = (HIDDEN, INTERMEDIATE, 3, 2);
    let matrices = [(h, h), (h, h), (h, h), (h, h), (i, h), (h, i)];
    for (form, factors) in [
        ("laf", matrices.iter().map(|(rows, columns)| r * rows * columns).sum::<usize>()),
        ("tucker", matrices.iter().map(|(rows, columns)| r * (rows + columns) + r * r * r).sum()),
        ("tt", matrices.iter().map(|(rows, columns)| r * rows + r * r * columns).sum()),
    ] {
        let model = build("tensor", &json!({ "form": form, "rank": r }), &tiny(5), k, DType::F32)?;
        let hard = build("hard", &json!({}), &tiny(5), k, DType::F32)?;
        let mixes = k * matrices.len() * r;
        assert_eq!(model.params.count() - hard.params.count(), LAYERS * (factors + mixes), "{form}");
    }
    Ok(())
}

#[test]
fn random_factors_start_at_the_pretrained_encoder_bit_for_bit() -> Result<()> {
    for form in FORMS {
        let hard = build("hard", &json!({}), &tiny(5), 3, DType::F32)?;
        let model = build("tensor", &json!({ "form": form }), &tiny(5), 3, DType::F32)?;
        ensure!(answers(&model)? == answers(&hard)?, "{form}");
    }
    Ok(())
}

#[test]
fn a_frozen_base_stands_still_and_the_factors_learn() -> Result<()> {
    for form in FORMS {
        for init in ["random", "svd"] {
            let section = json!({ "form": form, "base": "frozen", "init": init, "rank": 3 });
            let mut model = build("tensor", &section, &tiny(5), 3, DType::F32)?;
            let owner = if init == "svd" { "shared" } else { "frozen" };
            let before = build("hard", &json!({}), &tiny(5), 3, DType::F32)?;
            let losses = train(&mut model, 20, 0.05)?;
            assert!(losses[losses.len() - 1] < losses[0], "{form} {init}: {losses:?}");
            for part in ["words", "embeddings", "layer.0", "layer.1", "layer.2"] {
                let (now, then) =
                    (values(&model, &format!("{owner}/{part}"))?, values(&before, &format!("shared/{part}"))?);
                ensure!(now == then, "{form} {init}: `{part}` moved");
            }
            ensure!(distance(&model, &before)? > 0., "{form} {init}");
        }
    }
    Ok(())
}

#[test]
fn single_task_deltas_train_matrices_alone_and_survive_an_interruption() -> Result<()> {
    let section = json!({ "form": "tt", "init": "svd", "search": 0.5, "rank": 3 });
    let fresh = || build("tensor", &section, &tiny(5), 3, DType::F32);
    let mut model = fresh()?;
    let steps: Vec<usize> = model.sharing.phases(24).iter().map(|phase| phase.steps).collect();
    assert_eq!(steps, [4, 4, 4, 12]);
    let bias = tiny(5).encoder.layout(Part::Layer(0)).range(3);
    let before = values(&model, "shared/layer.0")?;
    let (at, _) = train_until(&mut model, 24, 0.05, RunState::default(), 3)?;
    let after = values(&model, "shared/layer.0")?;
    assert_eq!(before[bias.clone()], after[bias]);
    assert_ne!(before, after);
    train_until(&mut model, 24, 0.05, at, usize::MAX)?;
    assert!(model.sharing.state()?.keys().eq(["fit"]));
    for stop in [4, 7] {
        let mut first = fresh()?;
        let (at, _) = train_until(&mut first, 24, 0.05, RunState::default(), stop)?;
        let (tensors, state) = keep(&first)?;
        let mut second = fresh()?;
        second.params.assign(&tensors)?;
        second.sharing.restore(&state, at.phase)?;
        train_until(&mut second, 24, 0.05, at, usize::MAX)?;
        ensure!(answers(&second)? == answers(&model)?, "other answers after an interruption at step {stop}");
        ensure!(second.sharing.findings()? == model.sharing.findings()?, "other findings");
    }
    let error = fresh()?.sharing.restore(&Default::default(), 1).expect_err("no deltas there").to_string();
    assert!(error.contains("expected 3"), "{error}");
    Ok(())
}

#[test]
fn settings_out_of_range_are_refused() {
    for (section, word) in [
        (json!({ "rank": 0 }), "rank"),
        (json!({ "error": 0.1 }), "init = \"svd\""),
        (json!({ "error": 1.0, "init": "svd" }), "error"),
        (json!({ "scale": 0.0 }), "scale"),
        (json!({ "search": 1.0 }), "search"),
        (json!({ "form": "cp" }), "cp"),
    ] {
        let error = build("tensor", &section, &tiny(5), 2, DType::F32).err().expect("refused");
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
}
