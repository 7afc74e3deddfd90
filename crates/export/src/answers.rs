//! How a task reads its logits, and whether the classes of transformers would read them alike.

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use mtl_task::{Encoded, Label, Packed, Reads, Scale, Task};

/// What logits mean, by the words of transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The largest of a text's logits is its class.
    OneLabel,
    /// Every logit above 0 is a label of the text.
    ManyLabels,
    /// The one logit is the answer.
    Regression,
    /// The largest of a token's logits is its tag.
    Tokens,
}

impl Problem {
    /// What `task` makes of logits, tried on some: `truth` is a truth of its kind.
    ///
    /// # Errors
    /// If its answers are none of these, so that another program would read its logits wrongly.
    pub(crate) fn of(task: &dyn Task, truth: &Label, scale: Option<Scale>) -> Result<Self> {
        let outputs = task.outputs();
        let found = match (truth, task.reads()) {
            (Label::Class(_), Reads::Text) => Self::OneLabel,
            (Label::Set(_), Reads::Text) => Self::ManyLabels,
            (Label::Value(_), Reads::Text) => Self::Regression,
            (Label::Tags(_), Reads::Tokens) => Self::Tokens,
            _ => bail!("its kind answers by what no class of transformers has"),
        };
        let named = if found == Self::Regression { 1 } else { task.names().len() };
        if named != outputs {
            bail!("its head has {outputs} outputs for {named} answers, which a kind of its own reads");
        }
        // Few suffice, and vocabularies are long.
        for at in 0..outputs.min(8) {
            let wanted = match found {
                Self::OneLabel => Label::Class(at as u32),
                Self::ManyLabels => Label::Set((0..outputs).map(|other| other == at).collect()),
                Self::Regression => Label::Value(scale.map_or(3., |scale| (3. * scale.deviation + scale.mean) as f32)),
                Self::Tokens => Label::Tags(vec![at as u32]),
            };
            let logits: Vec<f32> = (0..outputs).map(|other| if other == at { 3. } else { -1. }).collect();
            let text = Encoded { ids: vec![0], segments: vec![0], anchors: vec![0], words: 1 };
            let answers = task.decode(&Tensor::from_vec(logits, (1, outputs), &Device::Cpu)?, &Packed::new([&text]))?;
            let label = &answers.first().context("no answer")?.label;
            if *label != wanted {
                bail!("its kind reads logits in its own way ({label:?} where {wanted:?} was expected)");
            }
        }
        Ok(found)
    }

    /// The `problem_type` of `config.json`; a class for tokens has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::OneLabel => Some("single_label_classification"),
            Self::ManyLabels => Some("multi_label_classification"),
            Self::Regression => Some("regression"),
            Self::Tokens => None,
        }
    }

    /// The name of the task on the Hugging Face Hub.
    pub(crate) fn pipeline(self) -> &'static str {
        match self {
            Self::Tokens => "token-classification",
            _ => "text-classification",
        }
    }
}
