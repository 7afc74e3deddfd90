//! Penalties that pull tasks together: their gradients, what they pull, and that a saved state continues with them.

mod support;

use std::collections::BTreeSet;

use candle_core::Result;
use mtl_sharing::NoDevScores;
use mtl_task::Progress;
use serde_json::json;
use support::adapt;
use support::by_hand::{self, model, penalty_row, saved};

#[test]
fn successive_training_takes_turns_and_keeps_to_what_the_task_before_learnt() -> Result<()> {
    let section = json!({ "successive": 0.5, "rounds": 2, "layers": { "a": 2, "b": 1 } });
    let mut built = model("hierarchical", section.clone(), 3);
    let phases = built.sharing.phases(20);
    let tasks: Vec<usize> =
        phases.iter().flat_map(|phase| phase.tasks.clone().expect("one task")).map(|t| t.0).collect();
    assert_eq!(tasks, [1, 0, 2, 1, 0, 2], "low tasks first");
    assert_eq!(phases.iter().map(|phase| phase.steps).sum::<usize>(), 20);
    built.sharing.enter(0, &mut NoDevScores)?;
    assert!(built.sharing.penalty()?.is_none(), "no task was before");
    built.sharing.enter(2, &mut NoDevScores)?;
    let state = built.sharing.state()?;
    by_hand::disturb(&built, 0.1)?;
    let kept = ["shared/words", "shared/embeddings", "shared/layer.0", "shared/layer.1"];
    assert_eq!(penalty_row(&built)?.0.keys().collect::<BTreeSet<_>>(), kept.map(String::from).iter().collect());
    by_hand::agrees_with_finite_differences(&built, 1e-6)?;
    let mut twin = model("hierarchical", section, 3);
    twin.params.assign(&saved(&built)?)?;
    twin.sharing.restore(&state, 2)?;
    assert_eq!(penalty_row(&twin)?, penalty_row(&built)?);
    assert!(twin.sharing.restore(&Default::default(), 2).is_err());
    Ok(())
}

#[test]
fn every_coupling_has_the_gradient_of_its_value() -> Result<()> {
    let sections = [
        json!({ "coupling": "mean", "strength": 0.7 }),
        json!({ "coupling": "pairs", "strength": 0.7 }),
        json!({ "coupling": "pretrained", "strength": 0.7 }),
        json!({ "coupling": "trace-norm", "smoothing": 0.1 }),
        json!({ "coupling": "trace-norm", "smoothing": 0.1, "unfolding": "tucker" }),
        json!({ "coupling": "trace-norm", "smoothing": 0.1, "unfolding": "tt" }),
    ];
    for section in sections {
        let mut built = model("soft", section, 2);
        // At the pretrained point every delta is zero, and nothing pulls.
        for segment in penalty_row(&built)?.0.values() {
            assert!((0..segment.values().len()).all(|at| segment.values().at(at) == 0.));
        }
        by_hand::agrees_with_finite_differences(&built, 1e-6)?;
        by_hand::disturb(&built, 0.1)?;
        by_hand::agrees_with_finite_differences(&built, 1e-6)?;
        let stale = built.sharing.penalty()?.expect("a penalty").to_scalar::<f64>()?;
        adapt(&mut built, Progress { step: 9, of: 20 }, 0.)?;
        let fresh = built.sharing.penalty()?.expect("a penalty").to_scalar::<f64>()?;
        assert!(fresh <= stale * (1. + 1e-12), "an old root gives a bound from above: {stale}, then {fresh}");
        by_hand::agrees_with_finite_differences(&built, 1e-6)?;
    }
    Ok(())
}

#[test]
fn the_fresh_trace_norm_is_that_of_the_singular_values() -> Result<()> {
    let value = |unfolding: &str| -> Result<f64> {
        let section = json!({ "coupling": "trace-norm", "strength": 1.0, "smoothing": 1e-4, "unfolding": unfolding });
        let mut built = model("soft", section, 3);
        let start = built.sharing.penalty()?.expect("a penalty").to_scalar::<f64>()?;
        // One tensor of one task moves by a matrix of a single entry 2: each of its unfoldings has the one singular
        // value 2.
        by_hand::nudge(&built, "task.b/layer.1", 5, 2.)?;
        adapt(&mut built, Progress { step: 9, of: 20 }, 0.)?;
        Ok(built.sharing.penalty()?.expect("a penalty").to_scalar::<f64>()? - start)
    };
    for (unfolding, matrices) in [("laf", 1.), ("tt", 2.), ("tucker", 3.)] {
        let grown = value(unfolding)?;
        assert!((grown - 2. * matrices).abs() < 1e-3, "{unfolding}: {grown}");
    }
    Ok(())
}

#[test]
fn inverse_roots_are_part_of_the_state() -> Result<()> {
    let section = json!({ "coupling": "trace-norm", "unfolding": "tucker", "every": 5 });
    let mut built = model("soft", section.clone(), 2);
    by_hand::disturb(&built, 0.1)?;
    let at_start = penalty_row(&built)?;
    adapt(&mut built, Progress { step: 3, of: 20 }, 0.)?;
    assert_eq!(penalty_row(&built)?, at_start, "not yet");
    adapt(&mut built, Progress { step: 4, of: 20 }, 0.)?;
    assert_ne!(penalty_row(&built)?, at_start, "every fifth step");
    let mut twin = model("soft", section, 2);
    twin.params.assign(&saved(&built)?)?;
    assert_eq!(penalty_row(&twin)?, at_start);
    twin.sharing.restore(&built.sharing.state()?, 0)?;
    assert_eq!(penalty_row(&twin)?, penalty_row(&built)?);
    assert!(twin.sharing.restore(&Default::default(), 0).is_err());
    Ok(())
}
