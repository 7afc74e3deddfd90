//! What a task shows of its texts: labels with their noise, the ceiling that is left, and what is said of the task.

use mtl_task::Cell;
use mtl_task::rng::Stream;

use super::function::Function;
use super::graph::{Form, degrees};
use super::suite::Suite;
use super::{ceiling, lexicon};
use crate::generator::Ceiling;

/// Names of classes and tags.
const NAMES: [&str; 4] = ["one", "two", "three", "four"];

impl Suite {
    /// Classes that a text may have before it has words.
    pub(super) fn centres(&self) -> usize {
        if self.node.kind == Form::Classification { self.node.classes } else { lexicon::CLASSES }
    }

    /// How many of a reading's classes make one of the task's.
    pub(super) fn pairing(&self) -> usize {
        if self.node.kind == Form::Regression { 1 } else { lexicon::CLASSES / self.node.classes }
    }

    /// The task's noise: its own, or the suite's.
    fn noise(&self) -> f64 {
        self.node.noise.unwrap_or(self.settings.noise)
    }

    /// The task whose noise it has.
    pub(super) fn noisy_as(&self) -> &str {
        self.node.noise_of.as_deref().unwrap_or(&self.node.name)
    }

    /// The label of `words`, and for a regression the pair of its value without and with noise.
    pub(super) fn label(
        &self,
        words: &[(String, Option<usize>)],
        text_class: usize,
        stream: &mut Stream,
    ) -> (Cell, Option<(f64, f64)>) {
        let noise = self.noise();
        let name = |class: usize| NAMES.get(class).copied().unwrap_or_default();
        match self.node.kind {
            Form::Classification => {
                let noisy = stream.uniform() < noise;
                let shown = if noisy { stream.below(self.node.classes) } else { text_class };
                (Cell::Text(name(shown).into()), None)
            }
            Form::Regression => {
                let values: Vec<f64> =
                    words.iter().filter_map(|(_, said)| said.map(|said| said as f64 / 1.5 - 1.)).collect();
                let clean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                let shown = (clean + noise * stream.normal()).clamp(-1., 1.);
                (Cell::Text(format!("{shown:.4}")), Some((clean, shown)))
            }
            Form::Tagging => {
                let tag = |said: &Option<usize>| match said {
                    Some(said) if stream.uniform() >= noise => format!("B-{}", name(said / self.pairing())),
                    _ => "O".to_string(),
                };
                (Cell::Many(words.iter().map(|(_, said)| said).map(tag).collect()), None)
            }
            Form::Text => (Cell::Many(Vec::new()), None),
        }
    }

    /// Every cue is of one class, and a function of two lists has one value, so that noise alone stands between a model
    /// and the whole truth. Where a list is silenced in test texts it is that of a model that reads the other alone.
    pub(super) fn ceiling(&self, pairs: &[(f64, f64)]) -> Option<Ceiling> {
        let noise = self.noise();
        match self.node.kind {
            Form::Classification => {
                Some(Ceiling { metric: "accuracy", score: ceiling::with_noise(1., noise, self.node.classes) })
            }
            Form::Regression => ceiling::correlation(pairs).map(|score| Ceiling { metric: "pearson", score }),
            // Of the spans that are right to give, 1 − noise are called right, and none is missed; past a half it is
            // better to give none.
            Form::Tagging => {
                (noise < 0.5).then(|| Ceiling { metric: "span-f1", score: 2. * (1. - noise) / (2. - noise) })
            }
            Form::Text => None,
        }
    }

    /// The pairs of tasks that have words in common, and what is unusual in the task's labels.
    pub(super) fn notes(&self) -> Vec<String> {
        let others = self.graph.iter().zip(&self.readings).enumerate().filter(|(at, _)| *at != self.at);
        let said: Vec<String> = others
            .flat_map(|(_, (other, theirs))| {
                let (alike, across) = degrees(self.readings(), theirs);
                [("read alike", alike), ("read across", across)]
                    .into_iter()
                    .filter(|(_, share)| *share > 0.)
                    .map(|(how, share)| format!("{:.0} % with `{}`, {how}", share * 100., other.name))
                    .collect::<Vec<_>>()
            })
            .collect();
        let common = if said.is_empty() { "none with another task".to_string() } else { said.join("; ") };
        let mut notes = vec![format!("planted: cues in common: {common}; {} words a list", self.settings.words)];
        notes.extend(self.node.function.map(|function| {
            let made = match function {
                Function::Parity => "whether the halves that two lists say differ",
                Function::Pair => "the halves that two lists say, both named",
                Function::Either => "what two lists say alike",
            };
            format!("planted: the label is {made}")
        }));
        notes.extend(self.node.probe.as_ref().map(|name| {
            format!("planted: in test texts the words of `{name}` alone say the class, the others one drawn at random")
        }));
        notes.extend(self.node.noise_of.as_ref().map(|name| {
            format!("planted: the same labels as those of `{name}` are wrong, and in the same way where both agree")
        }));
        notes
    }
}
