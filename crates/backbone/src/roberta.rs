//! RoBERTa (Liu et al. 2019): BERT's layers and names; positions are counted from behind the padding id.

use anyhow::Result;
use serde_json::Value;

use crate::architecture::{Architecture, numbers_or};
use crate::bert;
use crate::family::Shape;

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    name: "roberta",
    aliases: &["xlm-roberta"],
    about: "RoBERTa and XLM-RoBERTa",
    shape,
    names: &bert::NAMES,
};

fn shape(config: &Value) -> Result<Shape> {
    let shape = bert::shape(config)?;
    let first_position = numbers_or(config, "pad_token_id", 1.)? as usize + 1;
    Ok(Shape { first_position, types: numbers_or(config, "type_vocab_size", 1.)? as usize, ..shape })
}
