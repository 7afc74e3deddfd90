//! What a task's loss is without reading: that of the constant output which fits the training split best.
//!
//! The loss is convex in the output for every kind of task here, so that plain Adam from zeros finds it.

use candle_core::{DType, Device, Result, Tensor, Var};
use mtl_backbone::scalar;
use mtl_data::Example;
use mtl_sharing::spaced;
use mtl_task::{Label, Packed, Reads, Task};

/// Steps of Adam, their rate, and the examples that they see.
const STEPS: i32 = 150;
const RATE: f64 = 0.1;
const MOST: usize = 512;

/// The mean loss of `judged` under the constant output that fits `seen` best; none where there is nothing to judge.
pub(crate) fn constant_loss(task: &dyn Task, seen: &[Example], judged: &[Example]) -> Result<Option<f64>> {
    let Some(judged) = truths(task, judged)? else { return Ok(None) };
    // Training examples whose truth is made anew in every step have none yet; those of dev then stand for them.
    let Some(seen) = truths(task, seen).or_else(|_| Ok::<_, candle_core::Error>(Some(judged.clone())))? else {
        return Ok(None);
    };
    let output = Var::zeros((1, task.outputs()), DType::F64, &Device::Cpu)?;
    let loss = |(truth, rows): &(Tensor, usize)| {
        let logits = output.as_tensor().broadcast_as((*rows, task.outputs()))?.contiguous()?;
        // Truths are whole numbers or f32, as the logits of a model are.
        task.loss(&logits.to_dtype(DType::F32)?, truth)
    };
    let (mut mean, mut square) = (output.as_tensor().zeros_like()?, output.as_tensor().zeros_like()?);
    for step in 1..=STEPS {
        let gradients = loss(&seen)?.backward()?;
        let Some(gradient) = gradients.get(&output) else { return Ok(None) };
        mean = ((mean * 0.9)? + (gradient * 0.1)?)?;
        square = ((square * 0.99)? + (gradient.sqr()? * 0.01)?)?;
        let root = (&square / (1. - 0.99f64.powi(step)))?.sqrt()?;
        let change = ((&mean / (1. - 0.9f64.powi(step)))? / (root + 1e-8)?)?;
        output.set(&(output.as_tensor().detach() - (change * RATE)?)?)?;
    }
    scalar(&loss(&judged)?).map(Some)
}

/// The truths of at most [`MOST`] of `examples`, and how many outputs they are for.
fn truths(task: &dyn Task, examples: &[Example]) -> Result<Option<(Tensor, usize)>> {
    let chosen: Vec<&Example> = spaced(examples.len(), MOST).filter_map(|at| examples.get(at)).collect();
    let tokens = Packed::new(chosen.iter().map(|example| &example.encoded));
    let rows = match task.reads() {
        Reads::Text => chosen.len(),
        Reads::Tokens => tokens.anchors.len(),
    };
    if rows == 0 {
        return Ok(None);
    }
    let labels: Vec<Label> = chosen.iter().map(|example| example.label.clone()).collect();
    Ok(Some((task.collate(&labels, &tokens, &Device::Cpu)?, rows)))
}

#[cfg(test)]
mod tests {
    use mtl_task::{Encoded, TaskSpec};

    use super::*;

    fn task(table: &str) -> Box<dyn Task> {
        let spec: TaskSpec = toml::from_str(table).expect("a task");
        mtl_task::build(&Default::default(), &spec).expect("a kind")
    }

    fn examples(labels: impl IntoIterator<Item = Label>) -> Vec<Example> {
        let encoded = || Encoded { ids: vec![1, 2], segments: vec![0, 0], ..Encoded::default() };
        labels.into_iter().enumerate().map(|(row, label)| Example { encoded: encoded(), label, row }).collect()
    }

    #[test]
    fn it_is_the_entropy_of_the_classes_and_the_variance_of_the_numbers() -> Result<()> {
        let classes = task("kind = \"classification\"\nlabels = [\"a\", \"b\"]");
        let three_to_one = examples([0, 0, 0, 1].map(Label::Class));
        let found = constant_loss(classes.as_ref(), &three_to_one, &three_to_one)?.expect("a loss");
        let entropy = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((found - entropy).abs() < 1e-3, "{found} {entropy}");
        let evenly = examples([0, 1].map(Label::Class));
        let found = constant_loss(classes.as_ref(), &evenly, &evenly)?.expect("a loss");
        assert!((found - 2f64.ln()).abs() < 1e-3, "{found}");
        assert_eq!(constant_loss(classes.as_ref(), &[], &evenly)?, None);
        Ok(())
    }
}
