//! RoBERTa (Liu et al. 2019): BERT's layers and names; positions are counted from behind the padding id.

use anyhow::{Result, bail};
use serde_json::Value;

use crate::HeadActivation;
use crate::architecture::{Architecture, Classes, numbers_or, unprojected};
use crate::bert;
use crate::family::Shape;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    name: "roberta",
    aliases: &["xlm-roberta", "camembert"],
    about: "RoBERTa, XLM-RoBERTa and CamemBERT",
    shape,
    names: &bert::NAMES,
    classes: Some(&CLASSES),
};

const CLASSES: Classes = Classes {
    stems: &[("roberta", "Roberta"), ("xlm-roberta", "XLMRoberta"), ("camembert", "Camembert")],
    instead: None,
    prefix: "roberta.",
    dense: "classifier.dense",
    output: "classifier.out_proj",
    activation: HeadActivation::Tanh,
    dropout: "classifier_dropout",
    layers: "num_hidden_layers",
    stated,
};

fn shape(config: &Value) -> Result<Shape> {
    unprojected(config, "hidden_size")?;
    let shape = bert::sizes(config)?;
    let padding = numbers_or(config, "pad_token_id", 1.)? as usize;
    let first_position = padding + 1;
    if padding >= shape.vocabulary || first_position >= shape.positions {
        bail!(
            "`pad_token_id` is {padding}: positions are counted from {first_position}, and it is a word; with \
             `max_position_embeddings` {} and `vocab_size` {} it must be below {}",
            shape.positions,
            shape.vocabulary,
            shape.vocabulary.min(shape.positions.saturating_sub(1))
        );
    }
    Ok(Shape { first_position, types: numbers_or(config, "type_vocab_size", 1.)? as usize, ..shape })
}

fn stated(shape: &Shape) -> Vec<(&'static str, Value)> {
    let padding = shape.first_position.saturating_sub(1);
    bert::stated(shape).into_iter().chain([("pad_token_id", padding.into())]).collect()
}
