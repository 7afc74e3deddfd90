//! From token ids to states, `[batch, sequence, hidden]`.
//!
//! The products are spelt as graph optimisers know them from BERT: a query, a key and a value product, a transposition
//! each, scores plus a mask, softmax; GELU by its error function.

use std::f64::consts::{PI, SQRT_2};

use anyhow::{Context, Result};

use crate::graph::{Attribute, Dimension, Graph, Value};
use crate::model::{Activation, Encoder, Layer, Linear, Norm, Weights};
use crate::proto::DataType;
use crate::{BATCH, SEQUENCE};

/// What is added to the scores of padding: its weight is 0 in single precision, and the number exists in half.
const MASKED: f32 = -10_000.;

/// The encoder's result.
pub(crate) struct States {
    /// The states.
    pub(crate) states: Value,
    /// Their width.
    pub(crate) hidden: usize,
    /// The mask as numbers, `[batch, sequence, 1]`.
    pub(crate) mask: Value,
}

pub(crate) fn states(graph: &mut Graph, encoder: &Encoder) -> Result<States> {
    let hidden = encoder.hidden()?;
    let dimensions = [Dimension::Dynamic(BATCH), Dimension::Dynamic(SEQUENCE)];
    let mut input = |name: &str| graph.input(name, DataType::Int64, &dimensions);
    let (ids, mask) = (input("input_ids")?, input("attention_mask")?);
    let types = match encoder.token_types.as_ref().map(Weights::matrix).transpose()? {
        Some((2.., _)) => Some(input("token_type_ids")?),
        _ => None,
    };
    let numbers = graph.node("Cast", "mask", &[&mask], &[("to", Attribute::Int(DataType::Float as i64))])?;
    let last = graph.integers("axis.last", &[1], &[2])?;
    let by_token = graph.node("Unsqueeze", "mask.by_token", &[&numbers, &last], &[])?;
    let mut x = embeddings(graph, encoder, &ids, &mask, types.as_ref())?;
    let scores_mask = scores_mask(graph, &numbers)?;
    let attention = Attention::of(graph, encoder.heads, hidden, scores_mask)?;
    for (index, layer) in encoder.layers.iter().enumerate() {
        x = attention.layer(graph, encoder, layer, index, &x).with_context(|| format!("layer {index}"))?;
    }
    Ok(States { states: x, hidden, mask: by_token })
}

/// LN(words + positions + types), projected to the states' width where that is another one.
fn embeddings(graph: &mut Graph, encoder: &Encoder, ids: &Value, mask: &Value, types: Option<&Value>) -> Result<Value> {
    let (_, width) = encoder.words.matrix()?;
    let table = tensor(graph, &encoder.words)?;
    let words = graph.node("Gather", "embeddings/words", &[&table, ids], &[])?;
    let (rows, _) = encoder.positions.matrix()?;
    encoder.positions.check(&[rows, width])?;
    let table = tensor(graph, &encoder.positions)?;
    let positions = positions(graph, encoder.first_position, ids, mask)?;
    let positions = graph.node("Gather", "embeddings/positions", &[&table, &positions], &[])?;
    let mut sum = graph.node("Add", "embeddings/words_and_positions", &[&words, &positions], &[])?;
    if let Some(weights) = &encoder.token_types {
        let (rows, _) = weights.matrix()?;
        weights.check(&[rows, width])?;
        let table = tensor(graph, weights)?;
        // A single type is a vector that everyone gets.
        let found = match types {
            Some(types) => graph.node("Gather", "embeddings/token_types", &[&table, types], &[])?,
            None => table,
        };
        sum = graph.node("Add", "embeddings/sum", &[&sum, &found], &[])?;
    }
    let x = norm(graph, "embeddings/norm", &sum, &encoder.norm, width, encoder.epsilon)?;
    match &encoder.projection {
        Some(projection) => linear(graph, "embeddings/projection", &x, projection, width),
        None => Ok(x),
    }
}

/// The positions of the tokens: `[sequence]` from 0, or `[batch, sequence]` by the mask.
fn positions(graph: &mut Graph, first: usize, ids: &Value, mask: &Value) -> Result<Value> {
    if first > 0 {
        let axis = graph.integers("axis.sequence", &[], &[1])?;
        let before = graph.integers("position.before_first", &[], &[first as i64 - 1])?;
        let count = graph.node("CumSum", "positions/count", &[mask, &axis], &[])?;
        let kept = graph.node("Mul", "positions/kept", &[&count, mask], &[])?;
        return graph.node("Add", "positions", &[&kept, &before], &[]);
    }
    let (start, step) = (graph.integers("position.start", &[], &[0])?, graph.integers("position.step", &[], &[1])?);
    let (one, two) = (Attribute::Int(1), Attribute::Int(2));
    let length = graph.node("Shape", "positions/shape", &[ids], &[("start", one), ("end", two)])?;
    let length = graph.node("Squeeze", "positions/length", &[&length], &[])?;
    graph.node("Range", "positions", &[&start, &length, &step], &[])
}

/// 0 where a key is a token, [`MASKED`] where it is padding, `[batch, 1, 1, sequence]`.
fn scores_mask(graph: &mut Graph, numbers: &Value) -> Result<Value> {
    let axes = graph.integers("axes.scores", &[2], &[1, 2])?;
    let spread = graph.node("Unsqueeze", "mask.by_key", &[numbers, &axes], &[])?;
    let (one, masked) = (graph.floats("one", &[], &[1.])?, graph.floats("masked", &[], &[MASKED])?);
    let padding = graph.node("Sub", "mask.padding", &[&one, &spread], &[])?;
    graph.node("Mul", "mask.scores", &[&padding, &masked], &[])
}

/// What the layers have in common.
struct Attention {
    hidden: usize,
    mask: Value,
    /// `[batch, sequence, heads, width]`, and back.
    split: Value,
    join: Value,
    /// √width.
    root: Value,
}

impl Attention {
    fn of(graph: &mut Graph, heads: usize, hidden: usize, mask: Value) -> Result<Self> {
        let width = hidden / heads;
        Ok(Self {
            hidden,
            mask,
            // A 0 keeps the dimension as it is.
            split: graph.integers("shape.heads", &[4], &[0, 0, heads as i64, width as i64])?,
            join: graph.integers("shape.states", &[3], &[0, 0, hidden as i64])?,
            root: graph.floats("root_of_head_width", &[], &[(width as f64).sqrt() as f32])?,
        })
    }

    fn layer(&self, graph: &mut Graph, encoder: &Encoder, layer: &Layer, index: usize, x: &Value) -> Result<Value> {
        let (hidden, epsilon) = (self.hidden, encoder.epsilon);
        let name = |part: &str| format!("layer.{index}/{part}");
        let query = self.heads(graph, &name("query"), x, &layer.query, [0, 2, 1, 3])?;
        let key = self.heads(graph, &name("key"), x, &layer.key, [0, 2, 3, 1])?;
        let value = self.heads(graph, &name("value"), x, &layer.value, [0, 2, 1, 3])?;
        let scores = graph.node("MatMul", &name("scores"), &[&query, &key], &[])?;
        let scores = graph.node("Div", &name("scores/scaled"), &[&scores, &self.root], &[])?;
        let scores = graph.node("Add", &name("scores/masked"), &[&scores, &self.mask], &[])?;
        let weights = graph.node("Softmax", &name("attention"), &[&scores], &[("axis", Attribute::Int(-1))])?;
        let context = graph.node("MatMul", &name("context"), &[&weights, &value], &[])?;
        let order = ("perm", Attribute::Ints(vec![0, 2, 1, 3]));
        let context = graph.node("Transpose", &name("context/by_token"), &[&context], &[order])?;
        let context = graph.node("Reshape", &name("context/joined"), &[&context, &self.join], &[])?;
        let attention = linear(graph, &name("attention_output"), &context, &layer.attention_output, hidden)?;
        let sum = graph.node("Add", &name("attention_sum"), &[&attention, x], &[])?;
        let h = norm(graph, &name("attention_norm"), &sum, &layer.attention_norm, hidden, epsilon)?;
        let (intermediate, _) = layer.intermediate.weight.matrix()?;
        let wide = linear(graph, &name("intermediate"), &h, &layer.intermediate, hidden)?;
        let active = activate(graph, &name("activation"), &wide, encoder.activation)?;
        let output = linear(graph, &name("output"), &active, &layer.output, intermediate)?;
        let sum = graph.node("Add", &name("output_sum"), &[&output, &h], &[])?;
        norm(graph, &name("output_norm"), &sum, &layer.output_norm, hidden, epsilon)
    }

    /// A product of the states, head by head, its dimensions in `order`.
    fn heads(&self, graph: &mut Graph, name: &str, x: &Value, map: &Linear, order: [i64; 4]) -> Result<Value> {
        map.weight.check(&[self.hidden, self.hidden])?;
        let y = linear(graph, name, x, map, self.hidden)?;
        let y = graph.node("Reshape", &format!("{name}/split"), &[&y, &self.split], &[])?;
        graph.node("Transpose", &format!("{name}/heads"), &[&y], &[("perm", Attribute::Ints(order.to_vec()))])
    }
}

/// A tensor as a constant of its name.
pub(crate) fn tensor(graph: &mut Graph, weights: &Weights) -> Result<Value> {
    graph.floats(&weights.name, &weights.shape, &weights.values)
}

/// xWᵀ + b over the last dimension of x, which is of `inputs`.
pub(crate) fn linear(graph: &mut Graph, name: &str, x: &Value, map: &Linear, inputs: usize) -> Result<Value> {
    let (outputs, found) = map.weight.matrix()?;
    map.weight.check(&[outputs, inputs])?;
    map.bias.check(&[outputs])?;
    // MatMul, which takes batches and which quantisers know, wants the matrix the other way round.
    let mut transposed = Vec::with_capacity(map.weight.values.len());
    for column in 0..found {
        transposed.extend(map.weight.values.iter().skip(column).step_by(found.max(1)));
    }
    let weight = graph.floats(&format!("{}.transposed", map.weight.name), &[inputs, outputs], &transposed)?;
    let bias = tensor(graph, &map.bias)?;
    let product = graph.node("MatMul", &format!("{name}/product"), &[x, &weight], &[])?;
    graph.node("Add", name, &[&bias, &product], &[])
}

fn norm(graph: &mut Graph, name: &str, x: &Value, norm: &Norm, width: usize, epsilon: f64) -> Result<Value> {
    norm.scale.check(&[width])?;
    norm.shift.check(&[width])?;
    let (scale, shift) = (tensor(graph, &norm.scale)?, tensor(graph, &norm.shift)?);
    let settings = [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(epsilon as f32))];
    graph.node("LayerNormalization", name, &[x, &scale, &shift], &settings)
}

pub(crate) fn activate(graph: &mut Graph, name: &str, x: &Value, activation: Activation) -> Result<Value> {
    let part = |part: &str| format!("{name}/{part}");
    match activation {
        Activation::Relu => graph.node("Relu", name, &[x], &[]),
        Activation::Tanh => graph.node("Tanh", name, &[x], &[]),
        Activation::Silu => {
            let gate = graph.node("Sigmoid", &part("sigmoid"), &[x], &[])?;
            graph.node("Mul", name, &[x, &gate], &[])
        }
        Activation::Gelu => {
            let (root, one, half) = (
                graph.floats(&part("root_two"), &[], &[SQRT_2 as f32])?,
                graph.floats(&part("one"), &[], &[1.])?,
                graph.floats(&part("half"), &[], &[0.5])?,
            );
            let scaled = graph.node("Div", &part("scaled"), &[x, &root], &[])?;
            let erf = graph.node("Erf", &part("erf"), &[&scaled], &[])?;
            let gate = graph.node("Add", &part("gate"), &[&erf, &one], &[])?;
            let gated = graph.node("Mul", &part("gated"), &[x, &gate], &[])?;
            graph.node("Mul", name, &[&gated, &half], &[])
        }
        Activation::GeluTanh => {
            let mut number = |name: &str, value: f64| graph.floats(&part(name), &[], &[value as f32]);
            let (three, cubic, root) =
                (number("three", 3.)?, number("cubic", 0.044_715)?, number("root", (2. / PI).sqrt())?);
            let (one, half) = (number("one", 1.)?, number("half", 0.5)?);
            let cube = graph.node("Pow", &part("cube"), &[x, &three], &[])?;
            let cube = graph.node("Mul", &part("cube/scaled"), &[&cube, &cubic], &[])?;
            let sum = graph.node("Add", &part("sum"), &[x, &cube], &[])?;
            let scaled = graph.node("Mul", &part("scaled"), &[&sum, &root], &[])?;
            let tanh = graph.node("Tanh", &part("tanh"), &[&scaled], &[])?;
            let gate = graph.node("Add", &part("gate"), &[&tanh, &one], &[])?;
            let gated = graph.node("Mul", &part("gated"), &[x, &gate], &[])?;
            graph.node("Mul", name, &[&gated, &half], &[])
        }
    }
}
