//! DistilBERT (Sanh et al. 2019): BERT's layers under other names, without segments.

use anyhow::Result;
use serde_json::Value;

use crate::HeadActivation;
use crate::architecture::{Architecture, Classes, activation, number, numbers_or, unprojected};
use crate::family::{Names, Shape};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    name: "distilbert",
    aliases: &[],
    about: "DistilBERT",
    shape,
    names: &NAMES,
    classes: Some(&CLASSES),
};

const CLASSES: Classes = Classes {
    stems: &[("distilbert", "DistilBert")],
    instead: None,
    prefix: "distilbert.",
    dense: "pre_classifier",
    output: "classifier",
    activation: HeadActivation::Relu,
    dropout: "seq_classif_dropout",
    layers: "n_layers",
    stated: |_| Vec::new(),
};

const NAMES: Names = Names {
    embeddings: [
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
        "embeddings_project.weight",
        "embeddings_project.bias",
    ],
    layer: "transformer.layer.{}.",
    tensors: [
        "attention.q_lin.weight",
        "attention.k_lin.weight",
        "attention.v_lin.weight",
        "attention.q_lin.bias",
        "attention.k_lin.bias",
        "attention.v_lin.bias",
        "attention.out_lin.weight",
        "attention.out_lin.bias",
        "sa_layer_norm.weight",
        "sa_layer_norm.bias",
        "ffn.lin1.weight",
        "ffn.lin1.bias",
        "ffn.lin2.weight",
        "ffn.lin2.bias",
        "output_layer_norm.weight",
        "output_layer_norm.bias",
    ],
};

fn shape(config: &Value) -> Result<Shape> {
    unprojected(config, "dim")?;
    let hidden = number(config, "dim")?;
    Ok(Shape {
        vocabulary: number(config, "vocab_size")?,
        width: hidden,
        hidden,
        layers: number(config, "n_layers")?,
        heads: number(config, "n_heads")?,
        intermediate: number(config, "hidden_dim")?,
        positions: number(config, "max_position_embeddings")?,
        first_position: 0,
        types: 0,
        epsilon: 1e-12,
        activation: activation(config, "activation")?,
        hidden_dropout: numbers_or(config, "dropout", 0.1)?,
        attention_dropout: numbers_or(config, "attention_dropout", 0.1)?,
    })
}
