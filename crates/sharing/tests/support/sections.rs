//! Every section of the parameter-efficient strategies with the parameters that it adds, for two tasks of the fixture.

use candle_core::{DType, Result};
use mtl_backbone::{Pass, Pretrained, TaskGradient};
use mtl_sharing::Model;
use mtl_task::TaskId;
use mtl_task::rng::Key;
use serde_json::{Value, json};

use super::{HIDDEN, INTERMEDIATE, LAYERS, build, loss, texts, tiny};

pub(crate) const TASKS: usize = 2;

/// The fixture's encoder with dropout of that probability.
pub(crate) fn with_dropout(probability: f64) -> Pretrained {
    let mut pretrained = tiny(5);
    pretrained.encoder = pretrained.encoder.with_dropout(probability, probability);
    pretrained
}

pub(crate) fn model_over(pretrained: &Pretrained, strategy: &str, section: &Value, dtype: DType) -> Model {
    build(strategy, section, pretrained, TASKS, dtype).unwrap_or_else(|error| panic!("{strategy} {section}: {error:#}"))
}

pub(crate) fn model(strategy: &str, section: &Value) -> Model {
    model_over(&tiny(5), strategy, section, DType::F64)
}

pub(crate) fn row(model: &Model, task: TaskId) -> Result<TaskGradient> {
    let mut pass = Pass::training(Key::new(11));
    let loss = loss(model, task, &mut pass).map_err(candle_core::Error::msg)?;
    pass.backward(&loss, &model.params)
}

pub(crate) fn states(model: &Model, task: TaskId) -> Result<Vec<Vec<f64>>> {
    model.sharing.represent(task, &texts(task), &mut Pass::evaluation())?.to_dtype(DType::F64)?.to_vec2()
}

/// Every section of the strategies here, and how many parameters it adds to the encoder's and the heads'.
pub(crate) fn sections() -> Vec<(&'static str, Value, usize)> {
    vec![
        ("bitfit", json!({}), TASKS * (LAYERS * (7 * HIDDEN + INTERMEDIATE) + HIDDEN)),
        ("bitfit", json!({ "biases": "query-and-intermediate", "share": true }), LAYERS * (HIDDEN + INTERMEDIATE)),
        ("bitfit", json!({ "train_base": true }), TASKS * (LAYERS * (7 * HIDDEN + INTERMEDIATE) + HIDDEN)),
        ("lora", json!({ "rank": 3 }), TASKS * LAYERS * 3 * 4 * HIDDEN),
        (
            "lora",
            json!({ "rank": 2, "targets": ["output", "key"], "share": true }),
            LAYERS * 2 * (2 * HIDDEN + HIDDEN + INTERMEDIATE),
        ),
        ("lora", json!({ "rank": 2, "train_base": true }), TASKS * LAYERS * 2 * 4 * HIDDEN),
        (
            "mtl-lora",
            json!({ "rank": 3, "temperature": 0.7 }),
            LAYERS * 4 * (3 * HIDDEN + 3 * HIDDEN * 3) + TASKS * LAYERS * 4 * (9 + 3),
        ),
        (
            "mtl-lora",
            json!({ "rank": 2, "ups": 2, "targets": ["intermediate"], "train_base": true, "temperature": 0.7 }),
            LAYERS * (2 * HIDDEN + 2 * INTERMEDIATE * 2) + TASKS * LAYERS * (4 + 2),
        ),
        ("task-norm", json!({}), TASKS * (4 * HIDDEN * LAYERS + 3 * HIDDEN)),
        ("task-norm", json!({ "embedding": "none", "train_base": false }), TASKS * (4 * HIDDEN * LAYERS + 2 * HIDDEN)),
        ("task-norm", json!({ "norms": false, "embedding": "all" }), TASKS * HIDDEN),
        ("task-norm", json!({ "embedding": "all", "train_base": false }), TASKS * (4 * HIDDEN * LAYERS + 3 * HIDDEN)),
        (
            "adapter",
            json!({ "width": 5 }),
            TASKS * (LAYERS * 2 * (2 * HIDDEN * 5 + 5 + HIDDEN) + 4 * HIDDEN * LAYERS + 2 * HIDDEN),
        ),
        ("adapter", json!({ "placement": "pfeiffer", "width": 4 }), TASKS * LAYERS * (2 * HIDDEN * 4 + 4 + HIDDEN)),
        (
            "adapter",
            json!({ "placement": "pfeiffer", "width": 4, "share": true, "norms": "own" }),
            LAYERS * (2 * HIDDEN * 4 + 4 + HIDDEN) + 4 * HIDDEN * LAYERS + 2 * HIDDEN,
        ),
        (
            "adapter",
            json!({ "width": 3, "share": true, "train_base": true }),
            LAYERS * 2 * (2 * HIDDEN * 3 + 3 + HIDDEN),
        ),
        ("pal", json!({ "width": 6, "heads": 2 }), TASKS * (2 * HIDDEN * 6 + 6 + HIDDEN + 3 * LAYERS * (36 + 6))),
        (
            "pal",
            json!({ "width": 4, "heads": 1, "train_base": false }),
            TASKS * (2 * HIDDEN * 4 + 4 + HIDDEN + 3 * LAYERS * (16 + 4)),
        ),
        ("prefix", json!({ "length": 3 }), TASKS * 2 * LAYERS * 3 * HIDDEN),
        (
            "prefix",
            json!({ "length": 2, "reparameterise": 5, "train_base": true }),
            TASKS * (2 * HIDDEN + 5 * (HIDDEN + 1) + 2 * LAYERS * HIDDEN * (5 + 1)),
        ),
        ("prefix", json!({ "length": 2, "share": true }), 2 * LAYERS * 2 * HIDDEN),
        // Its private LayerNorms are ranges of a vector like those of the strategies above.
        ("hard", json!({ "private_norms": true }), TASKS * LAYERS * 4 * HIDDEN),
    ]
}
