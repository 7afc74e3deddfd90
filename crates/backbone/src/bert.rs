//! BERT (Devlin et al. 2019).

use anyhow::Result;
use serde_json::Value;

use crate::HeadActivation;
use crate::architecture::{Architecture, Classes, activation, number, numbers_or, unprojected};
use crate::family::{Names, Shape};

pub(crate) const ARCHITECTURE: Architecture = Architecture {
    name: "bert",
    aliases: &["dpr"],
    about: "BERT, MiniLM and others with `model_type = \"bert\"`, and the encoders of DPR",
    shape,
    names: &NAMES,
    classes: Some(&CLASSES),
};

const CLASSES: Classes = Classes {
    stems: &[("bert", "Bert")],
    instead: Some(("dpr", "bert")),
    prefix: "bert.",
    dense: "bert.pooler.dense",
    output: "classifier",
    activation: HeadActivation::Tanh,
    dropout: "classifier_dropout",
    layers: "num_hidden_layers",
    stated,
};

pub(crate) const NAMES: Names = Names {
    embeddings: [
        "embeddings.word_embeddings.weight",
        "embeddings.position_embeddings.weight",
        "embeddings.token_type_embeddings.weight",
        "embeddings.LayerNorm.weight",
        "embeddings.LayerNorm.bias",
        "embeddings_project.weight",
        "embeddings_project.bias",
    ],
    layer: "encoder.layer.{}.",
    tensors: [
        "attention.self.query.weight",
        "attention.self.key.weight",
        "attention.self.value.weight",
        "attention.self.query.bias",
        "attention.self.key.bias",
        "attention.self.value.bias",
        "attention.output.dense.weight",
        "attention.output.dense.bias",
        "attention.output.LayerNorm.weight",
        "attention.output.LayerNorm.bias",
        "intermediate.dense.weight",
        "intermediate.dense.bias",
        "output.dense.weight",
        "output.dense.bias",
        "output.LayerNorm.weight",
        "output.LayerNorm.bias",
    ],
};

fn shape(config: &Value) -> Result<Shape> {
    unprojected(config, "hidden_size")?;
    sizes(config)
}

/// The sizes that a `config.json` of this kind states, if the word table is as wide as the states.
pub(crate) fn sizes(config: &Value) -> Result<Shape> {
    let hidden = number(config, "hidden_size")?;
    Ok(Shape {
        vocabulary: number(config, "vocab_size")?,
        width: hidden,
        hidden,
        layers: number(config, "num_hidden_layers")?,
        heads: number(config, "num_attention_heads")?,
        intermediate: number(config, "intermediate_size")?,
        positions: number(config, "max_position_embeddings")?,
        first_position: 0,
        types: numbers_or(config, "type_vocab_size", 2.)? as usize,
        epsilon: numbers_or(config, "layer_norm_eps", 1e-12)?,
        activation: activation(config, "hidden_act")?,
        hidden_dropout: numbers_or(config, "hidden_dropout_prob", 0.1)?,
        attention_dropout: numbers_or(config, "attention_probs_dropout_prob", 0.1)?,
    })
}

/// What a configuration of this kind need not state here, and means something else in transformers if it does not.
pub(crate) fn stated(shape: &Shape) -> Vec<(&'static str, Value)> {
    vec![("type_vocab_size", shape.types.into()), ("layer_norm_eps", shape.epsilon.into())]
}
