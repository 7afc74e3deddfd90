//! Strategies that only change weights give plain encoders with the merged weights, bit for bit.

mod support;

use candle_core::{DType, Result};
use mtl_backbone::{Flat, Pretrained};
use mtl_sharing::{DevScores, Model, Sharing};
use mtl_task::TaskId;
use serde_json::json;
use support::by_hand::disturb;
use support::sections::{model, model_over, sections, states};
use support::tiny;

#[test]
fn changes_of_weights_merge_into_a_plain_encoder() -> Result<()> {
    for (strategy, section, _) in sections() {
        let trained = model(strategy, &section);
        disturb(&trained, 0.1)?;
        for task in [TaskId(0), TaskId(1)] {
            if trained.sharing.merged(task)?.is_none() {
                assert!(["adapter", "pal", "prefix"].contains(&strategy), "{strategy} {section} does not merge");
                continue;
            }
            merges(&trained, task, &format!("{strategy} {section}"))?;
        }
    }
    let others = [
        ("single", json!({})),
        ("soft", json!({})),
        ("hard", json!({})),
        ("hard", json!({ "private_layers": 1, "private_norms": true })),
        ("tensor", json!({ "rank": 3 })),
        ("tensor", json!({ "form": "laf", "base": "frozen" })),
        ("tensor", json!({ "form": "tt" })),
    ];
    for (strategy, section) in others {
        let trained = model(strategy, &section);
        disturb(&trained, 0.1)?;
        for task in [TaskId(0), TaskId(1)] {
            merges(&trained, task, &format!("{strategy} {section}"))?;
        }
    }
    // The head of the first task reads the layer below the top one.
    let levels = model("hierarchical", &json!({}));
    disturb(&levels, 0.1)?;
    assert!(levels.sharing.merged(TaskId(0))?.is_none());
    merges(&levels, TaskId(1), "hierarchical")?;
    for section in [json!({ "labels": true }), json!({ "mix": true })] {
        assert!(model("hierarchical", &section).sharing.merged(TaskId(1))?.is_none(), "{section}");
    }
    Ok(())
}

#[test]
fn phases_merge_as_the_tasks_see_the_encoder_in_them() -> Result<()> {
    let sections = [
        ("sparse", json!({ "final_rate": 0.25, "rounds": 1, "criterion": "increase" })),
        ("tensor", json!({ "init": "svd", "rank": 2 })),
    ];
    for (strategy, section) in sections {
        let mut trained = model(strategy, &section);
        let start = states(&trained, TaskId(0))?;
        for phase in 0..=trained.sharing.phases(20).len() {
            trained.sharing.enter(phase, &mut Level)?;
            disturb(&trained, 0.1)?;
            for task in [TaskId(0), TaskId(1)] {
                merges(&trained, task, &format!("{strategy}, phase {phase}"))?;
            }
        }
        assert_ne!(states(&trained, TaskId(0))?, start, "{strategy}");
    }
    Ok(())
}

#[test]
fn encoders_of_fewer_layers_are_plain_ones_too() -> Result<()> {
    for (strategy, section, layers) in [("hierarchical", json!({}), 2), ("single-small", json!({ "tolerance": 9. }), 1)]
    {
        let trained = model(strategy, &section);
        disturb(&trained, 0.1)?;
        let parts = trained.sharing.plain(TaskId(0))?.unwrap_or_else(|| panic!("{strategy} is no plain encoder"));
        assert_eq!(parts.len(), layers + 2, "{strategy}");
        let weights = parts.iter().map(|(part, theta)| Ok((*part, Flat::of(theta)?))).collect::<Result<_>>()?;
        let start = tiny(5);
        let encoder = start.encoder.clone().truncated(layers);
        let plain = model_over(&Pretrained { weights, encoder, ..start }, "hard", &json!({}), DType::F64);
        let (found, wanted) = (states(&plain, TaskId(0))?, states(&trained, TaskId(0))?);
        let pairs = found.iter().flatten().zip(wanted.iter().flatten());
        let apart = pairs.fold(0f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart < 1e-12, "{strategy}: {apart}");
    }
    // What merges whole is the same either way.
    let levels = model("hierarchical", &json!({}));
    assert_eq!(levels.sharing.plain(TaskId(1))?.map(|parts| parts.len()), Some(5));
    assert!(model("hierarchical", &json!({ "mix": true })).sharing.plain(TaskId(0))?.is_none());
    Ok(())
}

/// The same score for everything.
struct Level;

impl DevScores for Level {
    fn score(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<f64> {
        Ok(0.5)
    }

    fn losses(&mut self, _sharing: &dyn Sharing, _task: TaskId) -> Result<Vec<f64>> {
        Ok(vec![0.5])
    }
}

/// Holds the states of `task` to those of a plain encoder with the merged weights.
fn merges(trained: &Model, task: TaskId, about: &str) -> Result<()> {
    let parts = trained.sharing.merged(task)?.unwrap_or_else(|| panic!("{about} does not merge"));
    let weights = parts.iter().map(|(part, theta)| Ok((*part, Flat::of(theta)?))).collect::<Result<_>>()?;
    let plain = model_over(&Pretrained { weights, ..tiny(5) }, "hard", &json!({}), DType::F64);
    assert_eq!(states(&plain, task)?, states(trained, task)?, "{about}, task {}", task.0);
    Ok(())
}
