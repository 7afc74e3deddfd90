//! From states to a task's output.

use anyhow::{Result, ensure};

use crate::encoder::{States, activate, linear};
use crate::graph::{Attribute, Dimension, Graph, Value};
use crate::model::{Head, Output, Reads};
use crate::{BATCH, SEQUENCE};

/// What heads of one pooling read, made once.
#[derive(Default)]
pub(crate) struct Pooled(Vec<(Reads, Value)>);

impl Pooled {
    fn of(&mut self, graph: &mut Graph, states: &States, reads: Reads) -> Result<Value> {
        if let Some((_, value)) = self.0.iter().find(|(known, _)| *known == reads) {
            return Ok(value.clone());
        }
        let value = pool(graph, states, reads)?;
        self.0.push((reads, value.clone()));
        Ok(value)
    }
}

/// `[batch, hidden]` of a text's tokens, or the states themselves.
fn pool(graph: &mut Graph, states: &States, reads: Reads) -> Result<Value> {
    let States { states: x, mask, .. } = states;
    match reads {
        Reads::Tokens => Ok(x.clone()),
        Reads::First => {
            let first = graph.integers("position.first_token", &[], &[0])?;
            graph.node("Gather", "pooled/first", &[x, &first], &[("axis", Attribute::Int(1))])
        }
        Reads::Mean => {
            let axis = graph.integers("axis.mean", &[1], &[1])?;
            let flat = || [("keepdims", Attribute::Int(0))];
            let kept = graph.node("Mul", "pooled/mean/kept", &[x, mask], &[])?;
            let sum = graph.node("ReduceSum", "pooled/mean/sum", &[&kept, &axis], &flat())?;
            let count = graph.node("ReduceSum", "pooled/mean/count", &[mask, &axis], &flat())?;
            graph.node("Div", "pooled/mean", &[&sum, &count], &[])
        }
        Reads::Maximum => {
            let (one, lowest) = (
                graph.floats("pooled/maximum/one", &[], &[1.])?,
                graph.floats("pooled/maximum/lowest", &[], &[-1e30])?,
            );
            // A token's state plus 0 is that state; padding's is far below all.
            let padding = graph.node("Sub", "pooled/maximum/padding", &[&one, mask], &[])?;
            let lowered = graph.node("Mul", "pooled/maximum/lowered", &[&padding, &lowest], &[])?;
            let kept = graph.node("Add", "pooled/maximum/kept", &[x, &lowered], &[])?;
            let settings = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(0))];
            graph.node("ReduceMax", "pooled/maximum", &[&kept], &settings)
        }
    }
}

/// Makes the head's output.
pub(crate) fn output(graph: &mut Graph, states: &States, pooled: &mut Pooled, head: &Head) -> Result<()> {
    let mut x = pooled.of(graph, states, head.reads)?;
    let (name, mut inputs) = (&head.task, states.hidden);
    if let Some((hidden, activation)) = &head.hidden {
        let wide = linear(graph, &format!("{name}/hidden"), &x, hidden, inputs)?;
        x = activate(graph, &format!("{name}/activation"), &wide, *activation)?;
        inputs = hidden.weight.matrix()?.0;
    }
    let (outputs, _) = head.map.weight.matrix()?;
    let logits = if head.output == Output::Logits { name.clone() } else { format!("{name}/logits") };
    let logits = linear(graph, &logits, &x, &head.map, inputs)?;
    let value = match head.output {
        Output::Logits => logits,
        Output::Softmax => graph.node("Softmax", name, &[&logits], &[("axis", Attribute::Int(-1))])?,
        Output::Sigmoid => graph.node("Sigmoid", name, &[&logits], &[])?,
        Output::Rescaled { mean, deviation } => {
            let single = |value: f64| value as f32;
            ensure!(
                single(mean).is_finite() && single(deviation).is_finite(),
                "a mean of {mean} and a deviation of {deviation} are beyond single precision"
            );
            let deviation = graph.floats(&format!("{name}/deviation"), &[], &[single(deviation)])?;
            let mean = graph.floats(&format!("{name}/mean"), &[], &[single(mean)])?;
            let scaled = graph.node("Mul", &format!("{name}/scaled"), &[&logits, &deviation], &[])?;
            graph.node("Add", name, &[&scaled, &mean], &[])?
        }
    };
    let (batch, outputs) = (Dimension::Dynamic(BATCH), Dimension::Fixed(outputs));
    match head.reads {
        Reads::Tokens => graph.output(&value, &[batch, Dimension::Dynamic(SEQUENCE), outputs]),
        _ => graph.output(&value, &[batch, outputs]),
    }
}
