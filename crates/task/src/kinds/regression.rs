//! A real number per text: squared error, (ẑ − z)², of targets standardised on the training split.
//!
//! z = (y − μ) / σ with the training targets' mean μ and standard deviation σ, so that neither the loss nor its weight
//! among other tasks' depends on the unit of y. Answers are ŷ = σ·ẑ + μ, and metrics are of ŷ and y.

use anyhow::{Result as Outcome, bail};
use candle_core::{DType, Device, Result, Tensor};

use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Scale, Soft, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "regression",
    about: "a real number per text (or pair)",
    truth: Label::Value(0.),
    labelled: true,
    build,
    mentions,
};

struct Regression {
    range: Option<[f32; 2]>,
    /// Left out where targets are trained on as they are.
    scale: Option<Scale>,
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
    if let Some(scale) = spec.scale
        && !(scale.mean.is_finite() && scale.deviation.is_finite() && scale.deviation > 0.)
    {
        bail!("`scale` of a regression task needs a finite mean and a deviation above 0, found {scale:?}");
    }
    if spec.standardise == Some(false) && spec.scale.is_some() {
        bail!("`scale` beside `standardise = false`: leave one of them out");
    }
    let metrics = crate::headline_first(&["pearson", "spearman", "mae"], spec.metric.as_deref());
    Ok(Box::new(Regression { range: spec.range, scale: spec.scale, metrics }))
}

/// Mean and standard deviation of `values`, two of which differ. In f64 no sum or square of single-precision numbers
/// leaves the range.
fn scale(values: &[f64]) -> Scale {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    Scale { mean, deviation }
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
            if text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
                bail!("{} is beyond single precision, whose largest number is {:e}", text.trim(), f32::MAX);
            }
            bail!("a finite number was expected, found `{text}`");
        }
        match self.range {
            Some([low, high]) if value < low || value > high => {
                bail!("{value} lies outside the task's range [{low}, {high}]")
            }
            _ => Ok(Label::Value(value)),
        }
    }

    /// Mean and deviation of the truths, unless they are given or not wanted. Truths that are all the same are refused
    /// either way.
    fn fitted(&self, spec: &TaskSpec, truths: &mut dyn Iterator<Item = Outcome<Label>>) -> Outcome<TaskSpec> {
        let mut values = Vec::new();
        for truth in truths {
            if let Label::Value(value) = truth? {
                values.push(f64::from(value));
            }
        }
        let Some(&first) = values.first() else { return Ok(spec.clone()) };
        if values.iter().all(|value| *value == first) {
            bail!(
                "every training target is {first}, in single precision: there is nothing to learn; is the column right?"
            );
        }
        if spec.standardise == Some(false) || spec.scale.is_some() {
            return Ok(spec.clone());
        }
        Ok(TaskSpec { scale: Some(scale(&values)), ..spec.clone() })
    }

    fn collate(&self, labels: &[Label], _tokens: &Packed, device: &Device) -> Result<Tensor> {
        let values = labels
            .iter()
            .map(|label| match label {
                Label::Value(value) => {
                    Ok(self.scale.map_or(*value, |scale| ((f64::from(*value) - scale.mean) / scale.deviation) as f32))
                }
                other => candle_core::bail!("a value was expected, found {other:?}"),
            })
            .collect::<Result<Vec<f32>>>()?;
        Tensor::new(values, device)
    }

    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        (logits.squeeze(1)? - truth.to_dtype(logits.dtype())?)?.sqr()?.mean_all()
    }

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Value)
    }

    fn decode(&self, logits: &Tensor, _tokens: &Packed) -> Result<Vec<Answer>> {
        let values: Vec<f32> = logits.squeeze(1)?.to_dtype(DType::F32)?.to_vec1()?;
        // Of huge targets a prediction may leave single precision.
        let unscaled = |value: f32| match self.scale {
            None => value,
            Some(scale) => {
                let whole = f64::from(value) * scale.deviation + scale.mean;
                whole.clamp(-f64::from(f32::MAX), f64::from(f32::MAX)) as f32
            }
        };
        let answer = |value| Answer { label: Label::Value(unscaled(value)), scores: Vec::new() };
        Ok(values.into_iter().map(answer).collect())
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

    fn fitted(values: &[f32], spec: TaskSpec) -> Outcome<TaskSpec> {
        let spec = TaskSpec { kind: "regression".into(), ..spec };
        build(&spec)?.fitted(&spec, &mut values.iter().map(|value| Ok(Label::Value(*value))))
    }

    /// Means and deviations of numpy, `values.mean()` and `values.std()` in f64.
    #[test]
    fn targets_are_standardised_by_the_training_split_and_answers_are_in_their_units() -> Outcome<()> {
        for (values, mean, deviation) in [
            (vec![1f32, 2., 3., 6.], 3., 1.870_828_693_386_970_7),
            (vec![1e6, 1e6 + 4.], 1_000_002., 2.),
            (vec![-3e38, 3e38], 0., f64::from(3e38f32)),
            (vec![1e-45, 3e-45], f64::from(1e-45f32) * 1.5, f64::from(1e-45f32) / 2.),
        ] {
            let spec = fitted(&values, TaskSpec::default())?;
            let scale = spec.scale.expect("a scale");
            assert!((scale.mean - mean).abs() <= 1e-12 * mean.abs(), "{scale:?} for {mean}");
            assert!((scale.deviation - deviation).abs() <= 1e-12 * deviation, "{scale:?} for {deviation}");
            let task = build(&spec)?;
            let labels: Vec<Label> = values.iter().map(|value| Label::Value(*value)).collect();
            let trained = task.collate(&labels, &Packed::default(), &Device::Cpu)?;
            let square = trained.sqr()?.mean_all()?.to_scalar::<f32>()?;
            assert!((square - 1.).abs() < 1e-5, "{square} is the mean square of what is trained on");
            let answers = task.decode(&trained.unsqueeze(1)?, &Packed::default())?;
            for (answer, value) in answers.iter().zip(&values) {
                let Label::Value(found) = answer.label else { panic!("a number") };
                assert!((f64::from(found) - f64::from(*value)).abs() <= 1e-6 * deviation, "{found} for {value}");
            }
        }
        Ok(())
    }

    #[test]
    fn standardising_can_be_left_and_constant_targets_are_refused() -> Outcome<()> {
        let off = || TaskSpec { standardise: Some(false), ..TaskSpec::default() };
        assert_eq!(fitted(&[1., 2.], off())?.scale, None);
        let own = Scale { mean: 5., deviation: 2. };
        assert_eq!(fitted(&[1., 2.], TaskSpec { scale: Some(own), ..TaskSpec::default() })?.scale, Some(own));
        for spec in [off(), TaskSpec::default()] {
            let error = fitted(&[3., 3., 3.], spec).expect_err("constant").to_string();
            assert!(error.contains("every training target is 3"), "{error}");
        }
        for (mean, deviation) in [(0., 0.), (0., -1.), (f64::NAN, 1.), (0., f64::INFINITY)] {
            let spec = TaskSpec { scale: Some(Scale { mean, deviation }), ..TaskSpec::default() };
            assert!(fitted(&[1., 2.], spec).is_err(), "{mean} {deviation}");
        }
        let both = TaskSpec { scale: Some(own), ..off() };
        assert!(fitted(&[1., 2.], both).is_err());
        let task = build(&fitted(&[-3e38, 3e38], TaskSpec::default())?)?;
        let answers = task.decode(&Tensor::new(&[[4f32], [-4.]], &Device::Cpu)?, &Packed::default())?;
        assert_eq!(answers[0].label, Label::Value(f32::MAX), "no answer is infinite");
        assert_eq!(answers[1].label, Label::Value(-f32::MAX));
        Ok(())
    }

    #[test]
    fn the_loss_is_the_mean_squared_error() -> Result<()> {
        let logits = Tensor::new(&[[1f64], [3.]], &Device::Cpu)?;
        let truth = Tensor::new(&[0f32, 1.], &Device::Cpu)?;
        assert_eq!(task().loss(&logits, &truth)?.to_scalar::<f64>()?, 2.5);
        Ok(())
    }
}
