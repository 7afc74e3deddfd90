//! Classes in an order: the loss is the expected distance, Σ_c p_c·|c − y|, and an answer next to the truth is half right.

use candle_core::{Device, Result, Tensor};
use mtl_eval::Metric;
use mtl_task::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Task, TaskSpec, kinds};

/// The member of the registry of task kinds.
pub(crate) const KIND: Kind = Kind {
    name: "ordinal",
    about: "one class per text; `labels` has them in their order",
    truth: Label::Class(0),
    build: |spec| {
        // What it is without an order knows how to read, answer and name classes.
        let classes = (kinds::classification::KIND.build)(&TaskSpec { metric: None, ..spec.clone() })?;
        Ok(Box::new(Ordinal { classes, metrics: mtl_task::headline_first(&["within-one"], spec.metric.as_deref()) }))
    },
    labelled: true,
    mentions: kinds::classification::KIND.mentions,
};

struct Ordinal {
    classes: Box<dyn Task>,
    metrics: Vec<String>,
}

impl Task for Ordinal {
    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        let odds = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?.exp()?;
        let probabilities = odds.broadcast_div(&odds.sum_keepdim(1)?)?;
        let classes = Tensor::arange(0u32, self.outputs() as u32, logits.device())?.to_dtype(logits.dtype())?;
        let distances = classes.broadcast_sub(&truth.to_dtype(logits.dtype())?.unsqueeze(1)?)?.abs()?;
        (probabilities * distances)?.sum(1)?.mean_all()
    }

    fn metrics(&self) -> Vec<&str> {
        self.metrics.iter().map(String::as_str).collect()
    }

    fn outputs(&self) -> usize {
        self.classes.outputs()
    }

    fn reads(&self) -> Reads {
        self.classes.reads()
    }

    fn names(&self) -> &[String] {
        self.classes.names()
    }

    fn parse(&self, cell: &Cell) -> anyhow::Result<Label> {
        self.classes.parse(cell)
    }

    fn collate(&self, labels: &[Label], tokens: &Packed, device: &Device) -> Result<Tensor> {
        self.classes.collate(labels, tokens, device)
    }

    fn decode(&self, logits: &Tensor, tokens: &Packed) -> Result<Vec<Answer>> {
        self.classes.decode(logits, tokens)
    }

    fn likelihood(&self) -> Likelihood {
        self.classes.likelihood()
    }

    fn baseline(&self, truths: &[Label]) -> Label {
        self.classes.baseline(truths)
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        self.classes.render(label)
    }
}

/// The member of the registry of metrics.
pub(crate) struct WithinOne;

impl Metric for WithinOne {
    fn name(&self) -> &'static str {
        "within-one"
    }

    fn about(&self) -> &'static str {
        "share of the classes hit, those missed by one class counted half"
    }

    fn judges(&self, truth: &Label) -> bool {
        matches!(truth, Label::Class(_))
    }

    fn score(&self, answers: &[Answer], truth: &[Label], _names: &[String]) -> f64 {
        let credit = |(answer, truth): (&Answer, &Label)| match (&answer.label, truth) {
            (Label::Class(answer), Label::Class(truth)) => [1., 0.5].get(answer.abs_diff(*truth) as usize).copied(),
            _ => None,
        };
        let credits: Vec<f64> = answers.iter().zip(truth).map(|pair| credit(pair).unwrap_or(0.)).collect();
        credits.iter().sum::<f64>() / credits.len().max(1) as f64
    }
}
