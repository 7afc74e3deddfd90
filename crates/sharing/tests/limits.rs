//! Limit cases: settings under which a strategy is another one, from the same seed, through steps of SGD.

mod support;

use candle_core::Result;
use mtl_backbone::TaskGradient;
use mtl_task::Progress;
use serde_json::{Value, json};
use support::adapt;
use support::by_hand::{self, descend, distance, model, row, step};

const PROGRESS: Progress = Progress { step: 0, of: 3 };

/// Both start alike and stay alike over three steps on the sum of their losses.
fn is_the_same(strategy: &str, section: Value, other: &str, other_section: Value) -> Result<()> {
    let (mut a, mut b) = (model(strategy, section, 3), model(other, other_section, 3));
    assert!(distance(&a, &b)? < 1e-12, "{strategy} and {other} start {} apart", distance(&a, &b)?);
    let start = by_hand::all_logits(&a)?;
    for _ in 0..3 {
        for model in [&mut a, &mut b] {
            step(model, 1., 0.05)?;
            adapt(model, PROGRESS, 0.05)?;
        }
    }
    assert!(distance(&a, &b)? < 1e-10, "{strategy} and {other} end {} apart", distance(&a, &b)?);
    assert_ne!(start, by_hand::all_logits(&a)?, "nothing was learnt");
    Ok(())
}

#[test]
fn hierarchical_with_every_task_on_top_is_hard() -> Result<()> {
    let top = json!({ "layers": { "a": 3, "b": 3, "c": 3 } });
    is_the_same("hierarchical", top, "hard", json!({}))
}

#[test]
fn soft_without_coupling_is_single() -> Result<()> {
    for coupling in ["mean", "pairs", "pretrained", "trace-norm"] {
        is_the_same("soft", json!({ "coupling": coupling, "strength": 0.0 }), "single", json!({}))?;
    }
    Ok(())
}

#[test]
fn soft_with_an_infinite_pull_to_the_mean_is_hard_with_the_mean_of_gradients() -> Result<()> {
    let rate = 0.05;
    let gap = |strength: Value| -> Result<f64> {
        let section = json!({ "coupling": "mean", "strength": strength, "proximal": true });
        let (mut soft, hard) = (model("soft", section, 3), model("hard", json!({}), 3));
        for _ in 0..3 {
            step(&soft, 1., rate)?;
            adapt(&mut soft, PROGRESS, rate)?;
            let mut mean = TaskGradient::default();
            for task in 0..3 {
                let mut row = row(&hard, task)?;
                // The heads are nobody else's: their gradient is no mean.
                for (name, segment) in &mut row.0 {
                    segment.values_mut().scale(if name.starts_with("shared/") { 1. / 3. } else { 1. });
                }
                mean.add(row);
            }
            descend(&hard, &mean, rate)?;
        }
        distance(&soft, &hard)
    };
    assert!(gap(json!("infinity"))? < 1e-10);
    let (far, near) = (gap(json!(1e4))?, gap(json!(1e5))?);
    assert!(near > 0. && (8. ..12.).contains(&(far / near)), "the gap falls as 1/λ: {far}, then {near}");
    Ok(())
}

#[test]
fn cross_stitch_with_frozen_identity_is_single() -> Result<()> {
    is_the_same("cross-stitch", json!({ "init": "identity", "frozen": true }), "single", json!({}))
}

#[test]
fn sluice_with_frozen_identity_and_the_last_layer_alone_is_single() -> Result<()> {
    let section = json!({ "init": "identity", "layers": "top", "frozen": true, "orthogonality": 0.0 });
    is_the_same("sluice", section, "single", json!({}))
}

#[test]
fn one_expert_is_hard() -> Result<()> {
    for layers in [1, 2] {
        is_the_same("mmoe", json!({ "experts": 1, "layers": layers }), "hard", json!({}))?;
        let one = json!({ "levels": 1, "layers": layers, "shared_experts": 1, "task_experts": 0 });
        is_the_same("ple", one, "hard", json!({}))?;
        let own = json!({ "levels": 1, "layers": layers, "shared_experts": 0, "task_experts": 1 });
        is_the_same("ple", own, "hard", json!({ "private_layers": layers }))?;
    }
    let two = json!({ "levels": 2, "shared_experts": 1, "task_experts": 0 });
    is_the_same("ple", two, "hard", json!({}))
}

#[test]
fn equal_experts_and_open_attention_start_as_hard() -> Result<()> {
    let hard = model("hard", json!({}), 3);
    let alike = [json!({ "spread": 0.0 }), json!({ "spread": 0.0, "gate": "example" })];
    let others = ["mmoe", "ple", "mtan"].map(|strategy| (strategy, json!({})));
    for (strategy, section) in others.into_iter().chain(alike.map(|section| ("dselect-k", section))) {
        let start = distance(&model(strategy, section, 3), &hard)?;
        assert!(start < 1e-12, "{strategy} starts {start} from hard sharing");
    }
    Ok(())
}
