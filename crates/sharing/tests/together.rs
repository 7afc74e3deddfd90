//! Tasks answered together: the same bits as each alone, and the encoder walked no more often than their states differ.

mod support;

use candle_core::Result;
use mtl_backbone::Pass;
use mtl_sharing::Model;
use mtl_task::TaskId;
use serde_json::{Value, json};
use support::by_hand::{self, model};
use support::{LAYERS, texts};

const ALL: [TaskId; 3] = [TaskId(0), TaskId(1), TaskId(2)];
/// Dropout sites of a layer; the embeddings have one.
const LAYER: u64 = 3;

/// How many dropout sites a pass goes by for the states of `tasks` together.
fn sites(model: &Model, tasks: &[TaskId]) -> Result<u64> {
    let mut pass = Pass::evaluation();
    model.sharing.represent_each(tasks, &texts(TaskId(1)), &mut pass)?;
    Ok(pass.sites())
}

/// A model whose tasks have moved apart.
fn moved(strategy: &str, section: &Value) -> Result<Model> {
    let model = model(strategy, section.clone(), ALL.len());
    by_hand::disturb(&model, 0.1)?;
    Ok(model)
}

/// Holds the logits of all tasks together to those of each alone, bit for bit.
fn agree(model: &Model, about: &str) -> Result<()> {
    let order = [TaskId(2), TaskId(0), TaskId(1)];
    let together = model.logits_each(&order, &texts(TaskId(1)), &mut Pass::evaluation())?;
    assert_eq!(together.len(), order.len(), "{about}");
    for (&task, together) in order.iter().zip(&together) {
        let alone = model.logits(task, &texts(TaskId(1)), &mut Pass::evaluation())?;
        assert_eq!(together.to_vec2::<f64>()?, alone.to_vec2::<f64>()?, "{about}, task {}", task.0);
    }
    Ok(())
}

#[test]
fn tasks_that_see_the_same_states_walk_the_encoder_once() -> Result<()> {
    let sections = [
        ("hard", json!({})),
        ("hard", json!({ "mix": true })),
        ("hierarchical", json!({})),
        ("hierarchical", json!({ "mix": true, "labels": true })),
        ("hierarchical", json!({ "layers": { "a": 3, "b": 1, "c": 2 }, "labels": true })),
        ("mmoe", json!({})),
        ("dselect-k", json!({})),
        ("dselect-k", json!({ "gate": "example" })),
        ("mtan", json!({})),
        ("cross-stitch", json!({})),
        ("sluice", json!({})),
        ("bitfit", json!({ "share": true })),
        ("lora", json!({ "share": true })),
        ("adapter", json!({ "share": true })),
        ("prefix", json!({ "share": true })),
    ];
    for (strategy, section) in sections {
        let (model, about) = (moved(strategy, &section)?, format!("{strategy} {section}"));
        let mut alone = ALL.map(|task| sites(&model, &[task])).into_iter().collect::<Result<Vec<u64>>>()?;
        alone.sort_unstable();
        assert_eq!(sites(&model, &ALL)?, alone[2], "{about}");
        agree(&model, &about)?;
    }
    let layers = LAYER * LAYERS as u64;
    assert_eq!(sites(&moved("hard", &json!({}))?, &ALL)?, 1 + layers);
    Ok(())
}

#[test]
fn tasks_part_where_their_states_do() -> Result<()> {
    let (all, layers) = (ALL.len() as u64, LAYERS as u64);
    let sections = [
        ("hard", json!({ "private_layers": 1 }), 1 + LAYER * (layers - 1 + all)),
        ("hard", json!({ "private_layers": LAYERS }), 1 + LAYER * layers * all),
        ("hard", json!({ "private_norms": true }), 1 + LAYER * layers * all),
        // Two levels of one layer: the tasks' experts and one that is shared, in each.
        ("ple", json!({}), 1 + LAYER * (layers - 2 + 2 * (all + 1))),
        ("single", json!({}), (1 + LAYER * layers) * all),
        ("soft", json!({}), (1 + LAYER * layers) * all),
        ("bitfit", json!({}), (1 + LAYER * layers) * all),
        ("lora", json!({}), (1 + LAYER * layers) * all),
    ];
    for (strategy, section, expected) in sections {
        let (model, about) = (moved(strategy, &section)?, format!("{strategy} {section}"));
        assert_eq!(sites(&model, &ALL)?, expected, "{about}");
        agree(&model, &about)?;
    }
    Ok(())
}
