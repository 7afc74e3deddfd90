//! ELECTRA (Clark et al. 2020): BERT's layers; a narrow word table that is projected to the states' width.

use anyhow::Result;
use serde_json::Value;

use crate::HeadActivation;
use crate::architecture::{Architecture, Classes, numbers_or};
use crate::bert;
use crate::family::Shape;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    name: "electra",
    aliases: &[],
    about: "ELECTRA discriminators",
    shape,
    names: &bert::NAMES,
    classes: Some(&CLASSES),
};

const CLASSES: Classes = Classes {
    stems: &[("electra", "Electra")],
    instead: None,
    prefix: "electra.",
    dense: "classifier.dense",
    output: "classifier.out_proj",
    activation: HeadActivation::Gelu,
    dropout: "classifier_dropout",
    layers: "num_hidden_layers",
    stated,
};

fn shape(config: &Value) -> Result<Shape> {
    let shape = bert::sizes(config)?;
    let width = numbers_or(config, "embedding_size", shape.hidden as f64)? as usize;
    Ok(Shape { width, ..shape })
}

fn stated(shape: &Shape) -> Vec<(&'static str, Value)> {
    bert::stated(shape).into_iter().chain([("embedding_size", shape.width.into())]).collect()
}
