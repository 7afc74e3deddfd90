//! A real number per text: squared error, (ŷ − y)².

use anyhow::{Result as Outcome, bail};
use candle_core::{DType, Device, Result, Tensor};

use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "regression",
    about: "a real number per text (or pair)",
    truth: Label::Value(0.),
    build,
    mentions,
};

struct Regression {
    range: Option<[f32; 2]>,
    metrics: Vec<String>,
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    if let Some([low, high]) = spec.range
        && (low.is_nan() || high.is_nan() || low >= high)
    {
        bail!("`range` of a regression task must rise, found [{low}, {high}]");
    }
    if !spec.labels.is_empty() {
        bail!("a regression task has no `labels`");
    }
    let metrics = crate::headline_first(&["pearson", "spearman", "mae"], spec.metric.as_deref());
    Ok(Box::new(Regression { range: spec.range, metrics }))
}

fn mentions(_cell: &Cell) -> Vec<String> {
    Vec::new()
}

impl Task for Regression {
    fn outputs(&self) -> usize {
        1
    }

    fn reads(&self) -> Reads {
        Reads::Text
    }

    fn names(&self) -> &[String] {
        &[]
    }

    fn parse(&self, cell: &Cell) -> Outcome<Label> {
        let Cell::Text(text) = cell else { bail!("a number was expected, found a list") };
        let Ok(value) = text.trim().parse::<f32>() else { bail!("a number was expected, found `{text}`") };
        if !value.is_finite() {
            bail!("a finite number was expected, found `{text}`");
        }
        match self.range {
            Some([low, high]) if value < low || value > high => {
                bail!("{value} lies outside the task's range [{low}, {high}]")
            }
            _ => Ok(Label::Value(value)),
        }
    }

    fn collate(&self, labels: &[Label], _tokens: &Packed, device: &Device) -> Result<Tensor> {
        let values = labels
            .iter()
            .map(|label| match label {
                Label::Value(value) => Ok(*value),
                other => candle_core::bail!("a value was expected, found {other:?}"),
            })
            .collect::<Result<Vec<f32>>>()?;
        Tensor::new(values, device)
    }

    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        (logits.squeeze(1)? - truth.to_dtype(logits.dtype())?)?.sqr()?.mean_all()
    }

    fn decode(&self, logits: &Tensor, _tokens: &Packed) -> Result<Vec<Answer>> {
        let values: Vec<f32> = logits.squeeze(1)?.to_dtype(DType::F32)?.to_vec1()?;
        Ok(values.into_iter().map(|value| Answer { label: Label::Value(value), scores: Vec::new() }).collect())
    }

    fn likelihood(&self) -> Likelihood {
        Likelihood::Gaussian
    }

    fn metrics(&self) -> Vec<&str> {
        self.metrics.iter().map(String::as_str).collect()
    }

    fn baseline(&self, truths: &[Label]) -> Label {
        let values: Vec<f64> = truths
            .iter()
            .filter_map(|truth| if let Label::Value(value) = truth { Some(f64::from(*value)) } else { None })
            .collect();
        Label::Value((values.iter().sum::<f64>() / values.len().max(1) as f64) as f32)
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        match label {
            Label::Value(value) => (*value).into(),
            _ => serde_json::Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Box<dyn Task> {
        let spec = TaskSpec { kind: "regression".into(), range: Some([-4., 4.]), ..TaskSpec::default() };
        build(&spec).expect("a valid table")
    }

    #[test]
    fn targets_that_are_no_finite_number_in_range_are_refused() {
        for (cell, reason) in [("nan", "finite"), ("inf", "finite"), ("good", "number"), ("4.5", "range")] {
            let error = task().parse(&Cell::Text(cell.into())).expect_err(cell).to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert_eq!(task().parse(&Cell::Text(" -1.5 ".into())).expect("a number"), Label::Value(-1.5));
    }

    #[test]
    fn the_loss_is_the_mean_squared_error() -> Result<()> {
        let logits = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
        let truth = Tensor::new(&[0f32, 1.], &Device::Cpu)?;
        assert_eq!(task().loss(&logits, &truth)?.to_scalar::<f64>()?, 2.5);
        Ok(())
    }
}
