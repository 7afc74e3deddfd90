//! A set of labels per text: one sigmoid each, mean binary cross entropy over examples and labels.

use anyhow::{Result as Outcome, bail};
use candle_core::{DType, Device, Result, Tensor};

use crate::names::index_of;
use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Soft, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "multilabel",
    about: "a set of labels per text (or pair)",
    truth: Label::Set(Vec::new()),
    labelled: true,
    build,
    mentions,
};

struct Multilabel {
    labels: Vec<String>,
    metrics: Vec<String>,
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    if spec.labels.is_empty() {
        bail!("a multi-label task needs at least one label");
    }
    let metrics = crate::headline_first(&["set-f1", "set-map", "subset-accuracy"], spec.metric.as_deref());
    Ok(Box::new(Multilabel { labels: spec.labels.clone(), metrics }))
}

/// A set that is written as one text is split by the reader; a lone text is a set of one.
fn mentions(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Text(text) if text.trim().is_empty() => Vec::new(),
        Cell::Text(text) => vec![text.trim().to_string()],
        Cell::Many(names) => names.iter().map(|name| name.trim().to_string()).collect(),
    }
}

impl Task for Multilabel {
    fn outputs(&self) -> usize {
        self.labels.len()
    }

    fn reads(&self) -> Reads {
        Reads::Text
    }

    fn names(&self) -> &[String] {
        &self.labels
    }

    fn parse(&self, cell: &Cell) -> Outcome<Label> {
        let mut set = vec![false; self.labels.len()];
        for name in mentions(cell) {
            set[index_of(&name, &self.labels, "label")? as usize] = true;
        }
        Ok(Label::Set(set))
    }

    fn collate(&self, labels: &[Label], _tokens: &Packed, device: &Device) -> Result<Tensor> {
        let mut flat = Vec::with_capacity(labels.len() * self.labels.len());
        for label in labels {
            let Label::Set(set) = label else { candle_core::bail!("a set was expected, found {label:?}") };
            flat.extend(set.iter().map(|&holds| f32::from(u8::from(holds))));
        }
        Tensor::from_vec(flat, (labels.len(), self.labels.len()), device)
    }

    /// max(x, 0) − x·y + log(1 + exp(−|x|)), which neither overflows nor loses the gradient at large |x|.
    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        let truth = truth.to_dtype(logits.dtype())?;
        let softplus = (logits.abs()?.neg()?.exp()? + 1.)?.log()?;
        ((logits.relu()? - (logits * truth)?)? + softplus)?.mean_all()
    }

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Labels)
    }

    fn decode(&self, logits: &Tensor, _tokens: &Packed) -> Result<Vec<Answer>> {
        let rows: Vec<Vec<f32>> = logits.to_dtype(DType::F32)?.to_vec2()?;
        Ok(rows
            .into_iter()
            .map(|row| {
                let scores: Vec<f32> = row.iter().map(|x| 1. / (1. + (-x).exp())).collect();
                Answer { label: Label::Set(row.iter().map(|x| *x > 0.).collect()), scores }
            })
            .collect())
    }

    fn likelihood(&self) -> Likelihood {
        Likelihood::Categorical
    }

    fn metrics(&self) -> Vec<&str> {
        self.metrics.iter().map(String::as_str).collect()
    }

    /// Every label that holds for at least half of the truths; the most frequent one if there is none.
    fn baseline(&self, truths: &[Label]) -> Label {
        let mut counts = vec![0usize; self.labels.len()];
        for truth in truths {
            if let Label::Set(set) = truth {
                set.iter().zip(&mut counts).for_each(|(&holds, count)| *count += usize::from(holds));
            }
        }
        let mut set: Vec<bool> = counts.iter().map(|count| 2 * count >= truths.len()).collect();
        if !set.contains(&true) {
            set[super::classification::most_frequent(&counts) as usize] = true;
        }
        Label::Set(set)
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        match label {
            Label::Set(set) => {
                self.labels.iter().zip(set).filter(|(_, holds)| **holds).map(|(name, _)| name.as_str()).collect()
            }
            _ => serde_json::Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Box<dyn Task> {
        let labels = vec!["joy".to_string(), "fear".to_string()];
        build(&TaskSpec { kind: "multilabel".into(), labels, ..TaskSpec::default() }).expect("a valid table")
    }

    #[test]
    fn the_loss_and_its_gradient_stay_finite_at_huge_logits() -> Result<()> {
        let logits = candle_core::Var::new(&[[1e4f32, -1e4], [-1e4, 1e4]], &Device::Cpu)?;
        let truth = task().collate(
            &[Label::Set(vec![true, false]), Label::Set(vec![true, false])],
            &Packed::default(),
            &Device::Cpu,
        )?;
        let loss = task().loss(logits.as_tensor(), &truth)?;
        assert!((loss.to_scalar::<f32>()? - 5e3).abs() < 1.);
        let gradient = loss.backward()?.get(logits.as_tensor()).expect("tracked").to_vec2::<f32>()?;
        assert!(gradient.iter().flatten().all(|g| g.is_finite()), "{gradient:?}");
        Ok(())
    }

    #[test]
    fn a_set_round_trips_by_name() {
        let label = task().parse(&Cell::Many(vec!["fear".into()])).expect("known");
        assert_eq!(label, Label::Set(vec![false, true]));
        assert_eq!(task().render(&label), serde_json::json!(["fear"]));
    }
}
