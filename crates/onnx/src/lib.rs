#![doc = include_str!("../README.md")]

mod encoder;
mod graph;
mod head;
mod model;
pub mod proto;

use anyhow::{Context, Result, ensure};

pub use graph::{Attribute, Dimension, Files, Graph, MOST_INLINE, OPERATOR_SET, Value};
pub use model::{Activation, Encoder, Head, Layer, Linear, Norm, Output, Reads, Settings, Weights};

/// Name of the batch dimension.
pub const BATCH: &str = "batch";
/// Name of the sequence dimension.
pub const SEQUENCE: &str = "sequence";

/// The graph of an encoder and the heads that read it.
///
/// Inputs, all `[batch, sequence]` of 64-bit integers: `input_ids`, `attention_mask` (1 for a token, 0 for padding), and
/// `token_type_ids` where the encoder has several types. An output for each head, called as its task: `[batch, outputs]`,
/// or `[batch, sequence, outputs]` if it reads tokens. What an output says of padding means nothing.
///
/// # Errors
/// If there is no head, a tensor has another shape than its place asks for, or two of them have one name.
pub fn graph(name: &str, encoder: &Encoder, heads: &[Head]) -> Result<Graph> {
    ensure!(!heads.is_empty(), "a graph without heads answers nothing");
    let mut graph = Graph::new(name);
    let states = encoder::states(&mut graph, encoder)?;
    let mut pooled = head::Pooled::default();
    for one in heads {
        head::output(&mut graph, &states, &mut pooled, one).with_context(|| format!("task `{}`", one.task))?;
    }
    Ok(graph)
}
