//! One class of several per text: softmax and cross entropy, −log pᵧ.

use anyhow::{Result as Outcome, bail};
use candle_core::{D, Device, Result, Tensor};

use crate::names::index_of;
use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Soft, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "classification",
    about: "one class per text (or pair)",
    truth: Label::Class(0),
    labelled: true,
    build,
    mentions,
};

struct Classification {
    classes: Vec<String>,
    metrics: Vec<String>,
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    if spec.labels.len() < 2 {
        bail!("a classification task needs at least two classes, found {}: {:?}", spec.labels.len(), spec.labels);
    }
    let metrics = crate::headline_first(&["accuracy", "macro-f1", "matthews"], spec.metric.as_deref());
    Ok(Box::new(Classification { classes: spec.labels.clone(), metrics }))
}

fn mentions(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Text(text) => vec![text.trim().to_string()],
        Cell::Many(_) => Vec::new(),
    }
}

impl Task for Classification {
    fn outputs(&self) -> usize {
        self.classes.len()
    }

    fn reads(&self) -> Reads {
        Reads::Text
    }

    fn names(&self) -> &[String] {
        &self.classes
    }

    fn parse(&self, cell: &Cell) -> Outcome<Label> {
        match cell {
            Cell::Text(text) => Ok(Label::Class(index_of(text.trim(), &self.classes, "class")?)),
            Cell::Many(found) => bail!("one class was expected, found a list of {}", found.len()),
        }
    }

    fn collate(&self, labels: &[Label], _tokens: &Packed, device: &Device) -> Result<Tensor> {
        let classes = labels
            .iter()
            .map(|label| match label {
                Label::Class(class) => Ok(*class),
                other => candle_core::bail!("a class was expected, found {other:?}"),
            })
            .collect::<Result<Vec<u32>>>()?;
        Tensor::new(classes, device)
    }

    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        cross_entropy(logits, truth)
    }

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Classes)
    }

    fn decode(&self, logits: &Tensor, _tokens: &Packed) -> Result<Vec<Answer>> {
        Ok(probabilities(logits)?
            .into_iter()
            .map(|scores| Answer { label: Label::Class(argmax(&scores)), scores })
            .collect())
    }

    fn likelihood(&self) -> Likelihood {
        Likelihood::Categorical
    }

    fn metrics(&self) -> Vec<&str> {
        self.metrics.iter().map(String::as_str).collect()
    }

    fn baseline(&self, truths: &[Label]) -> Label {
        let mut counts = vec![0usize; self.classes.len()];
        for truth in truths {
            if let Label::Class(class) = truth {
                counts[*class as usize] += 1;
            }
        }
        Label::Class(most_frequent(&counts))
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        match label {
            Label::Class(class) => self.classes.get(*class as usize).cloned().into(),
            _ => serde_json::Value::Null,
        }
    }
}

/// Mean of −log softmax(logits)[truth] over the rows: `[rows, classes]` and u32 `[rows]` to a scalar.
pub(crate) fn cross_entropy(logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
    let log_probabilities = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    log_probabilities.gather(&truth.unsqueeze(1)?, 1)?.mean_all()?.neg()
}

/// Softmax rows on the host.
pub(crate) fn probabilities(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    candle_nn::ops::softmax(&logits.to_dtype(candle_core::DType::F32)?, D::Minus1)?.to_vec2()
}

/// Index of the largest score, the first one of equals.
pub(crate) fn argmax(scores: &[f32]) -> u32 {
    (0..scores.len()).fold(0, |best, index| if scores[index] > scores[best] { index } else { best }) as u32
}

/// Index of the largest count, the first one of equals.
pub(crate) fn most_frequent(counts: &[usize]) -> u32 {
    (0..counts.len()).fold(0, |best, index| if counts[index] > counts[best] { index } else { best }) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Box<dyn Task> {
        let labels = vec!["ham".to_string(), "spam".to_string()];
        build(&TaskSpec { kind: "classification".into(), labels, ..TaskSpec::default() }).expect("a valid table")
    }

    #[test]
    fn the_loss_is_the_mean_negative_log_probability() -> Result<()> {
        let logits = Tensor::new(&[[0f64, 0.], [2., 1.]], &Device::Cpu)?;
        let truth = Tensor::new(&[1u32, 0], &Device::Cpu)?;
        let expected = (2f64.ln() + (1. + (-1f64).exp()).ln()) / 2.;
        assert!((task().loss(&logits, &truth)?.to_scalar::<f64>()? - expected).abs() < 1e-12);
        Ok(())
    }

    #[test]
    fn an_unknown_class_is_named_with_the_known_ones() {
        let error = task().parse(&Cell::Text("span".into())).expect_err("no such class").to_string();
        assert_eq!(error, "unknown class `span` (did you mean `spam`?); known are ham, spam");
    }

    #[test]
    fn answers_carry_probabilities() -> Result<()> {
        let logits = Tensor::new(&[[0f32, 3f32.ln()]], &Device::Cpu)?;
        let answers = task().decode(&logits, &Packed::default())?;
        assert_eq!(answers[0].label, Label::Class(1));
        assert!((answers[0].scores[1] - 0.75).abs() < 1e-6);
        Ok(())
    }
}
