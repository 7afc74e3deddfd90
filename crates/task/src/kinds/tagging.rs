//! One tag per word: softmax over the tags at each word's first sub-token, mean cross entropy over words.

use anyhow::{Result as Outcome, bail};
use candle_core::{Device, Result, Tensor};

use super::classification::{argmax, cross_entropy, most_frequent, probabilities};
use crate::names::index_of;
use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "tagging",
    about: "one tag per word; BIO tags are judged as spans",
    truth: Label::Tags(Vec::new()),
    build,
    mentions,
};

struct Tagging {
    tags: Vec<String>,
    /// What words without an anchor are answered with: `O`, or the first tag.
    neutral: u32,
    metrics: Vec<String>,
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    if spec.labels.len() < 2 {
        bail!("a tagging task needs at least two tags, found {}: {:?}", spec.labels.len(), spec.labels);
    }
    let looks_bio = spec.labels.iter().all(|tag| tag == "O" || tag.starts_with("B-") || tag.starts_with("I-"));
    let defaults: &[&'static str] = match spec.scheme.as_deref() {
        Some("bio") if !looks_bio => bail!("scheme `bio` wants tags `O`, `B-…`, `I-…`; found {:?}", spec.labels),
        Some("bio") => &["span-f1", "token-accuracy"],
        None if looks_bio => &["span-f1", "token-accuracy"],
        Some("plain") | None => &["token-accuracy"],
        Some(other) => bail!("unknown tagging scheme `{other}`; there are bio, plain"),
    };
    let metrics = crate::headline_first(defaults, spec.metric.as_deref());
    let neutral = spec.labels.iter().position(|tag| tag == "O").unwrap_or(0) as u32;
    Ok(Box::new(Tagging { tags: spec.labels.clone(), neutral, metrics }))
}

fn mentions(cell: &Cell) -> Vec<String> {
    match cell {
        Cell::Text(_) => Vec::new(),
        Cell::Many(tags) => tags.clone(),
    }
}

impl Task for Tagging {
    fn outputs(&self) -> usize {
        self.tags.len()
    }

    fn reads(&self) -> Reads {
        Reads::Tokens
    }

    fn names(&self) -> &[String] {
        &self.tags
    }

    fn parse(&self, cell: &Cell) -> Outcome<Label> {
        let Cell::Many(tags) = cell else { bail!("a list of tags was expected, found one text") };
        let indices = tags.iter().map(|tag| index_of(tag, &self.tags, "tag")).collect::<Outcome<Vec<u32>>>()?;
        Ok(Label::Tags(indices))
    }

    fn collate(&self, labels: &[Label], tokens: &Packed, device: &Device) -> Result<Tensor> {
        let mut tags: Vec<u32> = Vec::with_capacity(tokens.anchors.len());
        for (sequence, label) in labels.iter().enumerate() {
            let Label::Tags(truth) = label else { candle_core::bail!("tags were expected, found {label:?}") };
            let kept = tokens.anchors_of(sequence).len();
            if truth.len() != tokens.words[sequence] || kept > truth.len() {
                candle_core::bail!("{} tags for {} words in sequence {sequence}", truth.len(), tokens.words[sequence]);
            }
            tags.extend(&truth[..kept]);
        }
        Tensor::new(tags, device)
    }

    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        cross_entropy(logits, truth)
    }

    fn decode(&self, logits: &Tensor, tokens: &Packed) -> Result<Vec<Answer>> {
        let words = if tokens.anchors.is_empty() { Vec::new() } else { probabilities(logits)? };
        Ok((0..tokens.sequences())
            .map(|sequence| {
                let kept = &words[tokens.anchors_of(sequence)];
                let mut tags: Vec<u32> = kept.iter().map(|scores| argmax(scores)).collect();
                let mut scores: Vec<f32> = kept.iter().zip(&tags).map(|(row, &tag)| row[tag as usize]).collect();
                tags.resize(tokens.words[sequence], self.neutral);
                scores.resize(tokens.words[sequence], 0.);
                Answer { label: Label::Tags(tags), scores }
            })
            .collect())
    }

    fn likelihood(&self) -> Likelihood {
        Likelihood::Categorical
    }

    fn metrics(&self) -> Vec<&str> {
        self.metrics.iter().map(String::as_str).collect()
    }

    /// A single tag; the evaluator repeats it over each sequence's words.
    fn baseline(&self, truths: &[Label]) -> Label {
        let mut counts = vec![0usize; self.tags.len()];
        for truth in truths {
            if let Label::Tags(tags) = truth {
                tags.iter().for_each(|&tag| counts[tag as usize] += 1);
            }
        }
        Label::Tags(vec![most_frequent(&counts)])
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        match label {
            Label::Tags(tags) => tags.iter().map(|&tag| self.tags.get(tag as usize).cloned()).collect(),
            _ => serde_json::Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Encoded;

    fn task() -> Box<dyn Task> {
        let labels = ["O", "B-city", "I-city"].map(String::from).to_vec();
        build(&TaskSpec { kind: "tagging".into(), labels, ..TaskSpec::default() }).expect("a valid table")
    }

    fn truncated() -> Packed {
        // Three words, of which two survived truncation.
        Packed::new([&Encoded { ids: vec![1; 4], segments: vec![0; 4], anchors: vec![1, 3], words: 3 }])
    }

    #[test]
    fn truncated_words_are_not_learnt_and_are_answered_neutrally() -> Result<()> {
        let truth = task().collate(&[Label::Tags(vec![1, 2, 2])], &truncated(), &Device::Cpu)?;
        assert_eq!(truth.to_vec1::<u32>()?, [1, 2]);
        let logits = Tensor::new(&[[0f32, 5., 0.], [0., 0., 5.]], &Device::Cpu)?;
        assert_eq!(task().decode(&logits, &truncated())?[0].label, Label::Tags(vec![1, 2, 0]));
        Ok(())
    }

    #[test]
    fn bio_tags_are_judged_as_spans_and_others_by_word() {
        assert_eq!(task().metrics()[0], "span-f1");
        let labels = ["NOUN", "VERB"].map(String::from).to_vec();
        let plain = build(&TaskSpec { kind: "tagging".into(), labels, ..TaskSpec::default() }).expect("a valid table");
        assert_eq!(plain.metrics()[0], "token-accuracy");
    }
}
