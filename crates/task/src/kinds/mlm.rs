//! Masked language modelling: which token stood where now none can be read. Rows need a text and no label.
//!
//! Of a text's tokens that have a label (those that the training split has, special ones left out) 15 % are chosen,
//! rounded and at least one. Of the chosen ones 80 % become the mask token, 10 % another token drawn from the labels,
//! and 10 % stay. The loss is the mean cross entropy over the chosen tokens, read at their own states. Devlin et al.,
//! "BERT" (2019), section 3.1 and appendix A.1.
//!
//! In training a text is masked anew every time that it comes up, by (seed, step, place in the batch). Dev and test are
//! masked once, by text and by the seed of the manifest's splits, so that every model is asked the same.
//!
//! Deviations: the output layer is the head's own map from states to labels. BERT's is tied to the word table, which a
//! head does not see here: a strategy may give every task another one. Add a tanh layer by `[head] hidden`.

use anyhow::{Context, Result as Outcome, bail};
use candle_core::{Device, Result, Tensor};

use super::tagging::Tagging;
use crate::rng::Key;
use crate::{Answer, Cell, Encoded, Kind, Label, Likelihood, Masking, Packed, Reads, Task, TaskSpec};

/// The member of the registry.
pub const KIND: Kind = Kind {
    name: "mlm",
    about: "masked language modelling: the tokens that are hidden in a text; no labels",
    truth: Label::Tags(Vec::new()),
    labelled: false,
    build,
    mentions: |_| Vec::new(),
};

/// Share of a text's tokens that are predicted.
const CHOSEN: f64 = 0.15;

/// Shares of the chosen tokens that are hidden, and that become others; the rest stay.
const HIDDEN: f64 = 0.8;
const REPLACED: f64 = 0.1;

struct Mlm {
    tagging: Tagging,
    masking: Masking,
}

fn build(spec: &TaskSpec) -> Outcome<Box<dyn Task>> {
    let masking = spec.masking.clone().context("a task of masked language modelling needs to know its tokenizer")?;
    if spec.labels.len() < 2 || masking.ids.len() != spec.labels.len() {
        bail!(
            "masked language modelling needs at least two tokens to tell apart, each with an id; found {} tokens and {} ids",
            spec.labels.len(),
            masking.ids.len()
        );
    }
    if let Some(metric) = spec.metric.as_deref().filter(|metric| metric.starts_with("span-")) {
        bail!("tokens write no spans, which `{metric}` judges; there is token-accuracy");
    }
    if masking.ids.windows(2).any(|pair| pair[0] >= pair[1]) {
        bail!("the ids of the tokens to be predicted have to ascend");
    }
    Ok(Box::new(Mlm { tagging: Tagging::plain(spec.labels.clone(), spec.metric.as_deref()), masking }))
}

impl Task for Mlm {
    fn outputs(&self) -> usize {
        self.tagging.outputs()
    }

    fn reads(&self) -> Reads {
        Reads::Tokens
    }

    fn names(&self) -> &[String] {
        self.tagging.names()
    }

    /// No truth stands in a row.
    fn parse(&self, _cell: &Cell) -> Outcome<Label> {
        Ok(Label::Tags(Vec::new()))
    }

    fn masked(&self, encoded: &Encoded, label: &Label, key: Key) -> Option<(Encoded, Label)> {
        let mut text = encoded.clone();
        if let Label::Tags(truth) = label {
            for (&at, &tag) in encoded.anchors.iter().zip(truth) {
                text.ids[at as usize] = self.masking.ids[tag as usize];
            }
        }
        let tag = |id: u32| self.masking.ids.binary_search(&id).ok().map(|tag| tag as u32);
        let known: Vec<(u32, u32)> =
            text.ids.iter().enumerate().filter_map(|(at, &id)| Some((at as u32, tag(id)?))).collect();
        let count = ((known.len() as f64 * CHOSEN).round() as usize).max(1).min(known.len());
        let mut stream = key.stream();
        let mut chosen: Vec<usize> = stream.permutation(known.len())[..count].to_vec();
        chosen.sort_unstable();
        let mut truth = Vec::with_capacity(count);
        text.anchors.clear();
        for (at, tag) in chosen.into_iter().map(|index| known[index]) {
            let fate = stream.uniform();
            if fate < HIDDEN {
                text.ids[at as usize] = self.masking.mask;
            } else if fate < HIDDEN + REPLACED {
                text.ids[at as usize] = self.masking.ids[stream.below(self.masking.ids.len())];
            }
            text.anchors.push(at);
            truth.push(tag);
        }
        text.words = truth.len();
        Some((text, Label::Tags(truth)))
    }

    fn collate(&self, labels: &[Label], tokens: &Packed, device: &Device) -> Result<Tensor> {
        self.tagging.collate(labels, tokens, device)
    }

    fn loss(&self, logits: &Tensor, truth: &Tensor) -> Result<Tensor> {
        self.tagging.loss(logits, truth)
    }

    fn decode(&self, logits: &Tensor, tokens: &Packed) -> Result<Vec<Answer>> {
        self.tagging.decode(logits, tokens)
    }

    fn likelihood(&self) -> Likelihood {
        Likelihood::Categorical
    }

    fn metrics(&self) -> Vec<&str> {
        self.tagging.metrics()
    }

    /// The most frequent of the masked tokens.
    fn baseline(&self, truths: &[Label]) -> Label {
        self.tagging.baseline(truths)
    }

    fn render(&self, label: &Label) -> serde_json::Value {
        self.tagging.render(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 4;

    fn task() -> Box<dyn Task> {
        let ids: Vec<u32> = (10..40).collect();
        let labels = ids.iter().map(|id| format!("t{id}")).collect();
        let masking = Some(Masking { mask: MASK, ids });
        build(&TaskSpec { kind: "mlm".into(), labels, masking, ..TaskSpec::default() }).expect("a valid table")
    }

    /// A text between two special tokens.
    fn text(length: u32) -> Encoded {
        let ids: Vec<u32> = [2].into_iter().chain((0..length).map(|at| 10 + at % 30)).chain([3]).collect();
        Encoded { segments: vec![0; ids.len()], ids, anchors: Vec::new(), words: 0 }
    }

    fn masked(encoded: &Encoded, label: &Label, seed: u64) -> (Encoded, Vec<u32>) {
        match task().masked(encoded, label, Key::new(seed)) {
            Some((encoded, Label::Tags(truth))) => (encoded, truth),
            other => panic!("tags were expected, found {other:?}"),
        }
    }

    #[test]
    fn a_seventh_of_the_tokens_is_asked_for_and_no_special_one() {
        let plain = text(100);
        let (read, truth) = masked(&plain, &Label::Tags(Vec::new()), 1);
        assert_eq!((truth.len(), read.anchors.len(), read.words), (15, 15, 15));
        assert!(read.anchors.is_sorted());
        for (at, (&was, &is)) in plain.ids.iter().zip(&read.ids).enumerate() {
            let asked = read.anchors.iter().position(|&anchor| anchor as usize == at);
            match asked {
                Some(which) => assert_eq!(truth[which] + 10, was),
                None => assert_eq!(was, is),
            }
        }
        // Of a short text one token is asked for, of one without any that is known none.
        assert_eq!(masked(&text(2), &Label::Tags(Vec::new()), 1).1.len(), 1);
        let unknown = Encoded { ids: vec![2, 1, 1, 3], segments: vec![0; 4], ..Encoded::default() };
        assert_eq!(masked(&unknown, &Label::Tags(Vec::new()), 1), (unknown, Vec::new()));
    }

    #[test]
    fn eight_of_ten_are_hidden_one_replaced_and_one_kept() {
        let (mut hidden, mut kept, mut all) = (0., 0., 0.);
        for seed in 0..400 {
            let (read, truth) = masked(&text(100), &Label::Tags(Vec::new()), seed);
            for (&at, tag) in read.anchors.iter().zip(truth) {
                all += 1.;
                hidden += f64::from(u8::from(read.ids[at as usize] == MASK));
                kept += f64::from(u8::from(read.ids[at as usize] == tag + 10));
            }
        }
        // Of 6,000: 80 %, and 10 % with a thirtieth of the replaced; four deviations are 0.021 and 0.016.
        assert!((hidden / all - 0.8f64).abs() < 0.021, "{hidden} of {all}");
        assert!((kept / all - 0.1f64 - 0.1 / 30.).abs() < 0.016, "{kept} of {all}");
    }

    #[test]
    fn what_was_masked_before_is_masked_as_if_it_had_not_been() {
        let once = masked(&text(40), &Label::Tags(Vec::new()), 1);
        let again = masked(&once.0, &Label::Tags(once.1.clone()), 2);
        assert_eq!(again, masked(&text(40), &Label::Tags(Vec::new()), 2));
        assert_ne!(again, once);
        assert_eq!(masked(&again.0, &Label::Tags(again.1.clone()), 1), once);
    }

    #[test]
    fn the_loss_is_over_the_tokens_asked_for() -> Result<()> {
        let (read, truth) = masked(&text(10), &Label::Tags(Vec::new()), 3);
        let tokens = Packed::new([&read]);
        let collated = task().collate(&[Label::Tags(truth.clone())], &tokens, &Device::Cpu)?;
        assert_eq!(collated.to_vec1::<u32>()?, truth);
        // Of 30 tokens that are all as likely, ln 30.
        let logits = Tensor::zeros((truth.len(), 30), candle_core::DType::F32, &Device::Cpu)?;
        assert!((task().loss(&logits, &collated)?.to_scalar::<f32>()? - 30f32.ln()).abs() < 1e-5);
        Ok(())
    }

    #[test]
    fn a_table_without_a_tokenizer_is_refused() {
        let error = build(&TaskSpec { kind: "mlm".into(), ..TaskSpec::default() }).err().expect("refused");
        assert!(error.to_string().contains("needs to know its tokenizer"), "{error}");
    }
}
