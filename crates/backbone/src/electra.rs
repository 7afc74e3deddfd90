//! ELECTRA (Clark et al. 2020): BERT's layers; a narrow word table that is projected to the states' width.

use anyhow::Result;
use serde_json::Value;

use crate::architecture::{Architecture, numbers_or};
use crate::bert;
use crate::family::Shape;

pub(crate) const ARCHITECTURE: Architecture =
    Architecture { name: "electra", aliases: &[], about: "ELECTRA discriminators", shape, names: &bert::NAMES };

fn shape(config: &Value) -> Result<Shape> {
    let shape = bert::sizes(config)?;
    let width = numbers_or(config, "embedding_size", shape.hidden as f64)? as usize;
    Ok(Shape { width, ..shape })
}
