//! `[control]`: Caruana's controls. What looks like transfer may be noise in the gradient, a larger model or more
//! varied text; each of these is had without any related task.
//!
//! - `shuffle`: the training labels of a task are permuted, so that it keeps its texts and its label balance and has
//!   nothing to teach.
//! - `noise`: the training labels of a task are drawn uniformly at random.
//! - `augment`: each token of a training text is replaced by the unknown token with this probability, anew in every
//!   step; special tokens stay.
//!
//! Dev and test are never touched. Caruana, "Multitask learning" (Machine Learning 1997), section 3.

use anyhow::{Result, bail};
use mtl_data::{Dataset, Example, Tokenizer};
use mtl_task::rng::{Key, Stream};
use mtl_task::{Encoded, Label};
use serde::{Deserialize, Serialize};

/// The `[control]` section; by default nothing is controlled for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Control {
    /// Tasks whose training labels are permuted by seed.
    pub shuffle: Vec<String>,
    /// Tasks whose training labels are drawn at random by seed.
    pub noise: Vec<String>,
    /// Share of the tokens of training texts that are hidden, in [0, 1).
    pub augment: f64,
}

impl Control {
    /// Whether nothing is controlled for.
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }

    /// Spoils the training labels of the tasks named.
    ///
    /// # Errors
    /// If a task is named that is not among `datasets`.
    pub(crate) fn apply(&self, seed: u64, datasets: &mut [Dataset]) -> Result<()> {
        let key = Key::new(seed).named("control");
        for (names, what) in [(&self.shuffle, "shuffle"), (&self.noise, "noise")] {
            for name in names {
                let Some(dataset) = datasets.iter_mut().find(|dataset| dataset.name == *name) else {
                    let known: Vec<&str> = datasets.iter().map(|dataset| dataset.name.as_str()).collect();
                    let nearest = mtl_task::nearest(name, known.iter().copied());
                    bail!("[control] {what}: no task `{name}`{nearest}; there are {}", known.join(", "))
                };
                let empty = (Encoded::default(), Label::Tags(Vec::new()));
                if dataset.task.masked(&empty.0, &empty.1, key).is_some() {
                    bail!(
                        "[control] {what}: the truth of task `{name}` is its text, which no label can be parted from"
                    );
                }
                let mut stream = key.named(what).named(name).stream();
                let labels = dataset.train.examples.iter_mut().map(|example| &mut example.label);
                match what {
                    "shuffle" => permute(labels.collect(), &mut stream),
                    _ => randomise(labels.collect(), dataset.task.names().len(), &mut stream),
                }
            }
        }
        Ok(())
    }

    /// `example` with some of its tokens hidden, or as it is.
    pub(crate) fn augmented(&self, example: &Example, tokenizer: &Tokenizer, key: Key) -> Example {
        let mut example = example.clone();
        let ids = &mut example.encoded.ids;
        // The special tokens are those that a text begins and ends with, wherever they stand.
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return example };
        let mut stream = key.stream();
        for id in ids.iter_mut().filter(|id| **id != first && **id != last) {
            if stream.uniform() < self.augment {
                *id = tokenizer.unknown();
            }
        }
        example
    }
}

/// Puts labels into a random order; of tags, those of all words, since sentences differ in length.
fn permute(mut labels: Vec<&mut Label>, stream: &mut Stream) {
    let mut words: Vec<u32> = labels.iter().flat_map(|label| tags(label).iter().copied()).collect();
    if !words.is_empty() {
        stream.shuffle(&mut words);
        let mut words = words.into_iter();
        for label in labels {
            if let Label::Tags(tags) = label {
                tags.iter_mut().zip(&mut words).for_each(|(tag, word)| *tag = word);
            }
        }
        return;
    }
    let order = stream.permutation(labels.len());
    let old: Vec<Label> = labels.iter().map(|label| (**label).clone()).collect();
    labels.iter_mut().zip(order).for_each(|(label, from)| **label = old[from].clone());
}

/// Draws labels uniformly: of `names` classes or tags, of both states of a set's labels, of the range of values seen.
fn randomise(labels: Vec<&mut Label>, names: usize, stream: &mut Stream) {
    let values = labels.iter().filter_map(|label| if let Label::Value(value) = label { Some(*value) } else { None });
    let (low, high) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    for label in labels {
        match label {
            Label::Class(class) => *class = stream.below(names.max(1)) as u32,
            Label::Value(value) => *value = low + (high - low) * stream.uniform() as f32,
            Label::Set(set) => set.iter_mut().for_each(|holds| *holds = stream.uniform() < 0.5),
            Label::Tags(tags) => tags.iter_mut().for_each(|tag| *tag = stream.below(names.max(1)) as u32),
        }
    }
}

fn tags(label: &Label) -> &[u32] {
    if let Label::Tags(tags) = label { tags } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoil(labels: &[Label], by: impl Fn(Vec<&mut Label>, &mut Stream)) -> Vec<Label> {
        let mut spoilt = labels.to_vec();
        by(spoilt.iter_mut().collect(), &mut Key::new(1).stream());
        spoilt
    }

    #[test]
    fn a_permutation_keeps_the_balance_and_the_lengths() {
        let classes: Vec<Label> = (0..40).map(|index| Label::Class(index % 4)).collect();
        let permuted = spoil(&classes, permute);
        assert_ne!(permuted, classes);
        let count = |labels: &[Label]| labels.iter().filter(|label| **label == Label::Class(3)).count();
        assert_eq!(count(&permuted), 10);
        let tagged = [Label::Tags(vec![1, 2, 3, 4]), Label::Tags(vec![5, 6]), Label::Tags(vec![7, 8, 9])];
        let permuted = spoil(&tagged, permute);
        assert_eq!(permuted.iter().map(|label| tags(label).len()).collect::<Vec<_>>(), [4, 2, 3]);
        let mut all: Vec<u32> = permuted.iter().flat_map(|label| tags(label).to_vec()).collect();
        all.sort_unstable();
        assert_eq!(all, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_ne!(permuted, tagged);
    }

    #[test]
    fn noise_stays_in_range_and_forgets_the_truth() {
        let classes = vec![Label::Class(0); 60];
        let drawn = spoil(&classes, |labels, stream| randomise(labels, 3, stream));
        assert!((0..3).all(|class| drawn.contains(&Label::Class(class))));
        let values = [Label::Value(-1.), Label::Value(2.), Label::Value(2.)];
        let drawn = spoil(&values, |labels, stream| randomise(labels, 0, stream));
        assert!(drawn.iter().all(|label| matches!(label, Label::Value(value) if (-1. ..=2.).contains(value))));
        assert_ne!(drawn, values);
    }
}
