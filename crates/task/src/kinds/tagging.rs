//! One tag per word: softmax over the tags at each word's first sub-token, mean cross entropy over words.

use anyhow::{Result as Outcome, bail};
use candle_core::{Device, Result, Tensor};

use super::classification::{argmax, cross_entropy, most_frequent, probabilities};
use crate::names::index_of;
use crate::{Answer, Cell, Kind, Label, Likelihood, Packed, Reads, Scheme, Soft, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "tagging",
    about: "one tag per word; tags of a scheme (IOB, IOBES, BILOU) are judged as spans",
    truth: Label::Tags(Vec::new()),
    labelled: true,
    build,
    mentions,
};

pub(super) struct Tagging {
    tags: Vec<String>,
    /// What words without an anchor are answered with: `O`, or the first tag.
    neutral: u32,
    metrics: Vec<String>,
}

impl Tagging {
    /// Tags that write no spans.
    pub(super) fn plain(tags: Vec<String>, metric: Option<&str>) -> Self {
        Self { tags, neutral: 0, metrics: crate::headline_first(defaults(None), metric) }
    }
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    if spec.labels.len() < 2 {
        bail!("a tagging task needs at least two tags, found {}: {:?}", spec.labels.len(), spec.labels);
    }
    let scheme = Scheme::of(spec)?;
    let metrics = crate::headline_first(defaults(scheme), headline(spec.metric.as_deref(), scheme)?);
    let neutral = spec.labels.iter().position(|tag| tag == "O").unwrap_or(0) as u32;
    Ok(Box::new(Tagging { tags: spec.labels.clone(), neutral, metrics }))
}

/// What judges tags of a scheme. IOB1 has the names of IOB2, so that its strict reading is a metric of its own. What ends
/// a span of BILOU is nothing to seqeval's default mode, which joins neighbours of a kind: the strict one comes first.
fn defaults(scheme: Option<Scheme>) -> &'static [&'static str] {
    match scheme {
        None => &["token-accuracy"],
        Some(Scheme::Iob1) => &["span-f1", "span-f1-strict-iob1", "token-accuracy"],
        Some(Scheme::Bilou) => &["span-f1-strict", "span-f1", "token-accuracy"],
        Some(Scheme::Iob2 | Scheme::Ioe2 | Scheme::Iobes) => &["span-f1", "span-f1-strict", "token-accuracy"],
    }
}

/// The headline that a manifest names, in the reading of the scheme.
fn headline(wanted: Option<&str>, scheme: Option<Scheme>) -> Outcome<Option<&str>> {
    Ok(match (wanted, scheme) {
        (Some("span-f1-strict"), Some(Scheme::Iob1)) => Some("span-f1-strict-iob1"),
        (Some("span-f1-strict-iob1"), Some(other)) if other != Scheme::Iob1 => {
            bail!(
                "metric `span-f1-strict-iob1` reads IOB1, and these tags are {}; there is span-f1-strict",
                other.name()
            )
        }
        _ => wanted,
    })
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

    fn soft(&self) -> Option<Soft> {
        Some(Soft::Classes)
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

    fn metrics(labels: &str, scheme: Option<&str>, metric: Option<&str>) -> Outcome<String> {
        let labels = labels.split(' ').map(String::from).collect();
        let (scheme, metric) = (scheme.map(String::from), metric.map(String::from));
        let spec = TaskSpec { kind: "tagging".into(), labels, scheme, metric, ..TaskSpec::default() };
        Ok(build(&spec)?.metrics().join(" "))
    }

    #[test]
    fn tags_of_a_scheme_are_judged_as_spans_and_others_by_word() -> Outcome<()> {
        assert_eq!(task().metrics()[0], "span-f1");
        assert_eq!(metrics("NOUN VERB", None, None)?, "token-accuracy");
        for labels in ["O B-a I-a", "O a-B a-I", "O S-a B-a E-a", "O B I", "O I-a E-a"] {
            assert_eq!(metrics(labels, None, None)?, "span-f1 span-f1-strict token-accuracy", "{labels}");
            assert_eq!(metrics(labels, Some("plain"), None)?, "token-accuracy");
        }
        assert_eq!(metrics("O U-a B-a L-a", None, None)?, "span-f1-strict span-f1 token-accuracy");
        let strict = "span-f1-strict-iob1 span-f1 token-accuracy";
        assert_eq!(metrics("O B-a I-a", Some("iob1"), Some("span-f1-strict"))?, strict);
        Ok(())
    }

    #[test]
    fn spans_of_tags_without_a_scheme_are_refused_with_the_remedy() {
        for (labels, scheme, metric) in [
            ("NOUN VERB", None, Some("span-f1")),
            ("O B-a", Some("plain"), Some("span-f1-strict")),
            ("O B-a S-a", Some("bio"), None),
        ] {
            let error = metrics(labels, scheme, metric).expect_err(labels).to_string();
            assert!(error.contains("scheme = \""), "{error}");
        }
        let error = metrics("O B-a I-a", None, Some("span-f1-strict-iob1")).expect_err("IOB2").to_string();
        assert!(error.contains("these tags are iob2"), "{error}");
    }
}
