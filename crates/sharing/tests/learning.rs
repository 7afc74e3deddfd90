//! What a strategy is for shows within a short run: gates leave their start, penalties leave the tasks their gradients,
//! factors move the weights.

mod support;

use anyhow::{Context, Result, ensure};
use candle_core::DType;
use mtl_backbone::{Encoder, Part, TaskGradient, gather};
use mtl_sharing::Model;
use mtl_task::TaskId;
use serde_json::{Value, json};
use support::adam::Adam;
use support::{LAYERS, build, gradients, tiny, values};

const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];

/// A model of `strategy` after `steps` of Adam at `rate`.
fn trained(strategy: &str, section: &Value, steps: usize, rate: f64) -> Result<Model> {
    let (mut model, mut adam) = (build(strategy, section, &tiny(5), 3, DType::F64)?, Adam::default());
    support::enter(&mut model, 0)?;
    (0..steps).try_for_each(|_| adam.step(&mut model, &ALL, rate))?;
    Ok(model)
}

fn norm(row: &TaskGradient) -> f64 {
    let squares = row.0.values().map(|segment| {
        let values = segment.values();
        (0..values.len()).map(|at| values.at(at).powi(2)).sum::<f64>()
    });
    squares.sum::<f64>().sqrt()
}

/// The largest distance of a gate of `dselect-k` from where all experts count alike.
fn farthest_gate(section: &Value, rate: f64) -> Result<f64> {
    let found = trained("dselect-k", section, 60, rate)?.sharing.findings()?;
    let gates: Vec<Vec<f64>> = serde_json::from_value(found["gates"].clone())?;
    for gates in &gates {
        ensure!((gates.iter().sum::<f64>() - 1.).abs() < 1e-12, "gates {gates:?}");
    }
    Ok(gates.concat().iter().map(|gate| (gate - 0.25).abs()).fold(0., f64::max))
}

#[test]
fn gates_leave_their_start_at_the_rates_of_fine_tuning() -> Result<()> {
    for gate in ["static", "example"] {
        for (rate, least) in [(1e-4, 0.02), (1e-3, 0.15)] {
            let farthest = farthest_gate(&json!({ "gate": gate }), rate)?;
            assert!(farthest > least, "{gate} at {rate}: {farthest}");
        }
    }
    Ok(())
}

#[test]
fn experts_that_differ_tell_the_gates_where_to_go() -> Result<()> {
    let steepest = |section: Value| -> Result<f64> {
        let model = build("dselect-k", &section, &tiny(5), 3, DType::F64)?;
        let rows = gradients(&model, &ALL)?;
        let gates = rows.iter().flat_map(|(_, row)| &row.0).filter(|(name, _)| name.contains("selectors.codes"));
        let slopes = gates.map(|(_, segment)| segment.values());
        Ok(slopes.flat_map(|values| (0..values.len()).map(|at| values.at(at).abs())).fold(0., f64::max))
    };
    for gate in ["static", "example"] {
        let alike = steepest(json!({ "gate": gate, "spread": 0.0, "entropy": 0.0 }))?;
        let apart = steepest(json!({ "gate": gate, "entropy": 0.0 }))?;
        assert!(alike < 1e-10 && apart > 1e-3, "{gate}: {alike} of equal experts, {apart} of others");
    }
    Ok(())
}

#[test]
fn experts_start_apart_and_on_average_at_the_pretrained_layer() -> Result<()> {
    let model = build("dselect-k", &json!({}), &tiny(5), 2, DType::F64)?;
    let experts: Vec<Vec<f64>> =
        (0..4).map(|at| values(&model, &format!("shared/expert.{at}.layer.2"))).collect::<Result<_>>()?;
    let hard = build("hard", &json!({}), &tiny(5), 2, DType::F64)?;
    let pretrained = values(&hard, "shared/layer.2")?;
    for entry in tiny(5).encoder.layout(Part::Layer(2)).entries() {
        let (mut apart, mut whole) = (0., 0.);
        for at in entry.range.clone() {
            let mean = experts.iter().map(|expert| expert[at]).sum::<f64>() / 4.;
            assert!((mean - pretrained[at]).abs() < 1e-12, "{} element {at}", entry.name);
            apart += (experts[0][at] - pretrained[at]).powi(2);
            whole += pretrained[at].powi(2);
        }
        let relative = (apart / whole).sqrt();
        // Of the noise, what the four have in common is taken out: √¾ of 0.1.
        let expected = if entry.shape.len() == 2 { 0.07..0.11 } else { 0.0..1e-12 };
        assert!(whole == 0. || expected.contains(&relative), "{}: {relative}", entry.name);
    }
    Ok(())
}

#[test]
fn the_penalty_on_subspaces_leaves_the_tasks_their_gradients() -> Result<()> {
    assert_eq!(mtl_sharing::find("sluice").map(|entry| (entry.defaults)())?["orthogonality"], 0.0);
    let wide = mtl_backbone::random(
        &Default::default(),
        "bert",
        &json!({
            "vocab_size": support::VOCABULARY, "hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 192, "max_position_embeddings": 23, "type_vocab_size": 2, "initializer_range": 0.06,
        }),
        mtl_task::rng::Key::new(5),
    )?;
    for pretrained in [tiny(5), wide] {
        let model = build("sluice", &json!({ "orthogonality": 0.1 }), &pretrained, 2, DType::F64)?;
        let mut penalty = TaskGradient::default();
        gather(&model.params, &model.sharing.penalty()?.context("a penalty")?.backward()?, &mut penalty)?;
        let tasks = gradients(&model, &ALL[..2])?;
        let least = tasks.iter().map(|(_, row)| norm(row)).fold(f64::INFINITY, f64::min);
        assert!(norm(&penalty) > 0. && norm(&penalty) < least, "{} beside {least}", norm(&penalty));
    }
    Ok(())
}

/// Root mean square of what `model` moved the matrices of the encoder that the first task sees.
fn moved(model: &Model) -> Result<f64> {
    let start = tiny(5);
    let parts = model.sharing.merged(TaskId(0))?.context("changes of weights")?;
    let (mut squares, mut count) = (0., 0);
    for (part, theta) in parts.iter().filter(|(part, _)| matches!(part, Part::Layer(_))) {
        let (before, after) = (start.weights(*part, DType::F64), theta.to_vec1::<f64>()?);
        for entry in start.encoder.layout(*part).entries().iter().filter(|entry| entry.shape.len() == 2) {
            squares += entry.range.clone().map(|at| (after[at] - before.at(at)).powi(2)).sum::<f64>();
            count += entry.range.len();
        }
    }
    ensure!(parts.len() == LAYERS + 2, "{} parts", parts.len());
    Ok((squares / count as f64).sqrt())
}

#[test]
fn factors_move_the_weights_as_far_as_hard_sharing_does() -> Result<()> {
    for steps in [1, 10] {
        let hard = moved(&trained("hard", &json!({}), steps, 1e-3)?)?;
        for form in ["laf", "tucker", "tt"] {
            let model = trained("tensor", &json!({ "form": form, "base": "frozen" }), steps, 1e-3)?;
            let ratio = moved(&model)? / hard;
            assert!((0.3..3.).contains(&ratio), "{form}, {steps} steps: {ratio} of hard sharing's way");
            let change = model.sharing.findings()?["relative_change"]["a"].as_f64().context("a number")?;
            assert!(change > 0., "{form}: {change}");
        }
    }
    Ok(())
}
