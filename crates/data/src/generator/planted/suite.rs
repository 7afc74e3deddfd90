//! The texts and labels of a graph of tasks.
//!
//! A text has some cues (four, by default) of its task, drawn from the lists that it reads by their shares; three fillers; and a word of
//! each of at most two lists that the task does not read. With `shared_inputs` all tasks label the same texts, which
//! have as many cues of every list.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;
use mtl_task::rng::{Key, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::graph::{Form, Node, Reading, readings};
use super::presets::PRESETS;
use super::{ceiling, lexicon};
use crate::generator::{Ceiling, Generated};
use crate::reader::{At, Place};
use crate::texts::{RawExample, Texts};

/// The most rows of a split: they are kept in memory.
const MOST: usize = 1_000_000;

/// The most cues of a text.
const MOST_CUES: usize = 32;

/// How often a text is drawn anew that is there already.
const ATTEMPTS: u64 = 1000;

/// Names of classes and tags.
const NAMES: [&str; 4] = ["one", "two", "three", "four"];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    task: String,
    preset: Option<String>,
    graph: Vec<Node>,
    /// Rows that a run takes of the small tasks of a preset.
    small: usize,
    /// Words of a list.
    words: usize,
    /// Words of a text that its label is told by.
    cues: usize,
    /// Share of labels that are drawn at random; of a regression, their deviation; of a tagging, cues without a tag.
    noise: f64,
    shared_inputs: bool,
    seed: u64,
    train: usize,
    dev: usize,
    test: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            task: String::new(),
            preset: None,
            graph: Vec::new(),
            small: 20,
            words: 48,
            cues: super::CUES,
            noise: 0.,
            shared_inputs: false,
            seed: 0,
            train: 4000,
            dev: 1000,
            test: 2000,
        }
    }
}

/// Checked settings: what a graph is, and which of its tasks is wanted.
pub(super) struct Suite {
    settings: Settings,
    graph: Vec<Node>,
    readings: Vec<Vec<Reading>>,
    lists: usize,
    /// The task that is wanted, by its place in the graph.
    at: usize,
    node: Node,
}

/// A text, its label, and what a regression's label would be without noise.
struct Row {
    words: Vec<String>,
    label: Cell,
    clean: Option<(f64, f64)>,
}

impl Suite {
    /// # Errors
    /// If a key is unknown, a number is out of range, or the graph cannot be.
    pub(super) fn new(settings: &Value) -> Result<Self> {
        let settings: Settings = serde_json::from_value(settings.clone())?;
        if !(0. ..=1.).contains(&settings.noise) {
            bail!("`noise` must lie in [0, 1], found {}", settings.noise);
        }
        for (name, rows) in [("train", settings.train), ("dev", settings.dev), ("test", settings.test)] {
            if !(1..=MOST).contains(&rows) {
                bail!("`{name}` must lie in 1..={MOST} rows, found {rows}");
            }
        }
        if !(1..=MOST_CUES).contains(&settings.cues) {
            bail!("`cues` must lie in 1..={MOST_CUES}, found {}", settings.cues);
        }
        let graph = match (&settings.preset, settings.graph.is_empty()) {
            (None, _) => settings.graph.clone(),
            (Some(_), false) => bail!("`preset` or `graph` was expected, found both"),
            (Some(name), true) => match PRESETS.iter().find(|preset| preset.name == *name) {
                Some(preset) => preset.graph(settings.small),
                None => {
                    let names = || PRESETS.iter().map(|preset| preset.name).chain([super::FIVE]);
                    bail!(
                        "unknown preset `{name}`{}; there are {}",
                        mtl_task::nearest(name, names()),
                        names().collect::<Vec<_>>().join(", ")
                    )
                }
            },
        };
        let readings = readings(&graph)?;
        let lists = readings.iter().flatten().map(|reading| reading.list + 1).max().unwrap_or(0);
        let ways = readings.iter().flatten().map(|reading| reading.reading + 1).max().unwrap_or(1);
        if !lexicon::holds(settings.words, ways) {
            let unit = lexicon::CLASSES.pow(ways as u32);
            bail!(
                "`words` must be a multiple of {unit} up to {}, so that the {ways} readings of a list cross evenly; found {}",
                lexicon::MOST_WORDS,
                settings.words
            );
        }
        let names = || graph.iter().map(|node| node.name.as_str());
        let Some((at, node)) = graph.iter().enumerate().find(|(_, node)| node.name == settings.task) else {
            bail!(
                "`task`: unknown `{}`{}; there are {}",
                settings.task,
                mtl_task::nearest(&settings.task, names()),
                names().collect::<Vec<_>>().join(", ")
            );
        };
        let partly = |reading: &Reading| (reading.share - 1.).abs() > 1e-9;
        if settings.shared_inputs && readings.iter().flatten().any(partly) {
            bail!("shared_inputs: every task has to read one list alone, so shares must be 1");
        }
        let node = node.clone();
        Ok(Self { settings, graph, readings, lists, at, node })
    }

    /// Every word that may be written for any task of the graph.
    pub(super) fn vocabulary(&self) -> Vec<String> {
        lexicon::all(self.lists, self.settings.words)
    }

    /// By what suites are told apart: other sizes make no other suite.
    pub(super) fn identity(&self) -> (Vec<Node>, usize) {
        (self.graph.iter().map(|node| Node { size: 0, ..node.clone() }).collect(), self.settings.words)
    }

    /// The lists that the task reads.
    pub(super) fn readings(&self) -> &[Reading] {
        self.readings.get(self.at).map_or(&[], Vec::as_slice)
    }

    /// The rows of the wanted task, in splits that have no text in common.
    ///
    /// # Errors
    /// If the lists have too few words for so many different texts.
    pub(super) fn rows(&self) -> Result<Generated> {
        let mut known = HashSet::new();
        let mut pairs = Vec::new();
        // Test first: it stays what it is, however many rows there are to train on.
        let test = self.split("test", self.settings.test, &mut known, Some(&mut pairs))?;
        let dev = self.split("dev", self.settings.dev, &mut known, None)?;
        let train = self.split("train", self.settings.train, &mut known, None)?;
        let size = (self.node.size > 0 && self.node.size < train.len()).then_some(self.node.size);
        Ok(Generated { train, dev, test, size, ceiling: self.ceiling(&pairs), notes: self.notes() })
    }

    fn split(
        &self,
        which: &str,
        count: usize,
        known: &mut HashSet<Vec<String>>,
        mut pairs: Option<&mut Vec<(f64, f64)>>,
    ) -> Result<Vec<RawExample>> {
        let Settings { seed, shared_inputs, .. } = self.settings;
        let key = Key::new(seed).named("planted graph").named(which);
        let key = if shared_inputs { key } else { key.named(&self.node.name) };
        let file: Arc<str> = format!("planted {} {which}", self.node.name).into();
        let mut rows = Vec::with_capacity(count);
        for index in 0..count {
            let key = key.with(index as u64);
            let fresh = (0..ATTEMPTS).map(|attempt| self.row(key.with(attempt))).find(|row| !known.contains(&row.words));
            let Some(row) = fresh else {
                bail!(
                    "{which}: there are too few words for {count} different texts; raise `words`, or lower `train`, `dev` \
                     or `test`"
                );
            };
            if let (Some(pairs), Some(pair)) = (pairs.as_deref_mut(), row.clean) {
                pairs.push(pair);
            }
            known.insert(row.words.clone());
            let texts = match self.node.kind {
                Form::Tagging => Texts::Tokens(row.words),
                Form::Classification | Form::Regression | Form::Text => Texts::One(row.words.join(" ")),
            };
            rows.push(RawExample { texts, label: row.label, place: Place { file: file.clone(), at: At::Record(index + 1) } });
        }
        Ok(rows)
    }

    /// A text and its label.
    fn row(&self, key: Key) -> Row {
        let mut stream = key.stream();
        let (mut words, said) = if self.settings.shared_inputs { self.common(&mut stream) } else { self.own(&mut stream) };
        stream.shuffle(&mut words);
        // Of shared texts every task's noise is its own.
        let mut noise = key.named("noise").named(&self.node.name).stream();
        let (label, clean) = self.label(&words, said, &mut noise);
        Row { words: words.into_iter().map(|(word, _)| word).collect(), label, clean }
    }

    /// A text for this task alone: words, cues with the class that the task takes each one for; and the text's class.
    fn own(&self, stream: &mut Stream) -> (Vec<(String, Option<usize>)>, usize) {
        let read = self.readings();
        let mut words = self.fillers(stream);
        let others: Vec<usize> = (0..self.lists).filter(|list| read.iter().all(|ours| ours.list != *list)).collect();
        let order = stream.permutation(others.len());
        for list in order.iter().take(2).filter_map(|&at| others.get(at)) {
            words.push((lexicon::listed(*list, stream.below(self.settings.words)), None));
        }
        let text_class = stream.below(self.centres());
        let cues = match self.node.kind {
            Form::Classification | Form::Regression => self.settings.cues,
            Form::Tagging => 1 + stream.below(self.settings.cues),
            // More than any text that is labelled has, so that none of those is in it.
            Form::Text => 2 * self.settings.cues,
        };
        for _ in 0..cues {
            let said = match self.node.kind {
                Form::Classification => text_class * self.pairing() + stream.below(self.pairing()),
                // The text's own value or a neighbour's.
                Form::Regression => (text_class + stream.below(4).div_ceil(2)).saturating_sub(1).min(lexicon::CLASSES - 1),
                Form::Tagging => stream.below(lexicon::CLASSES),
                Form::Text => text_class,
            };
            let Some(reading) = chosen(read, stream) else { continue };
            let index = lexicon::draw(self.settings.words, &[(reading.reading, said)], stream);
            words.push((lexicon::listed(reading.list, index), Some(said)));
        }
        (words, text_class)
    }

    /// A text for all tasks of the graph.
    fn common(&self, stream: &mut Stream) -> (Vec<(String, Option<usize>)>, usize) {
        let mut words = self.fillers(stream);
        let mut used: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        self.readings.iter().flatten().for_each(|reading| {
            used.entry(reading.list).or_default().insert(reading.reading);
        });
        let ours = self.readings().first().map(|reading| (reading.list, reading.reading));
        let mut text_class = 0;
        for (list, ways) in used {
            let fixed: Vec<(usize, usize)> = ways.into_iter().map(|way| (way, stream.below(lexicon::CLASSES))).collect();
            let said = fixed.iter().find(|(way, _)| ours == Some((list, *way))).map(|(_, said)| *said);
            text_class = said.map_or(text_class, |said| said / self.pairing());
            for _ in 0..self.settings.cues {
                words.push((lexicon::listed(list, lexicon::draw(self.settings.words, &fixed, stream)), said));
            }
        }
        (words, text_class)
    }

    fn fillers(&self, stream: &mut Stream) -> Vec<(String, Option<usize>)> {
        (0..3).map(|_| (lexicon::filler(stream), None)).collect()
    }

    /// Classes that a text may have before it has words.
    fn centres(&self) -> usize {
        if self.node.kind == Form::Classification { self.node.classes } else { lexicon::CLASSES }
    }

    /// How many of a reading's classes make one of the task's.
    fn pairing(&self) -> usize {
        if self.node.kind == Form::Regression { 1 } else { lexicon::CLASSES / self.node.classes }
    }

    /// The label of `words`, and for a regression the pair of its value without and with noise.
    fn label(
        &self,
        words: &[(String, Option<usize>)],
        text_class: usize,
        stream: &mut Stream,
    ) -> (Cell, Option<(f64, f64)>) {
        let noise = self.settings.noise;
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

    /// Every cue is of one class, so that noise alone stands between a model and the whole truth.
    fn ceiling(&self, pairs: &[(f64, f64)]) -> Option<Ceiling> {
        let noise = self.settings.noise;
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

    /// The pairs of tasks that have words in common.
    fn notes(&self) -> Vec<String> {
        let others = self.graph.iter().zip(&self.readings).enumerate().filter(|(at, _)| *at != self.at);
        let said: Vec<String> = others
            .flat_map(|(_, (other, theirs))| {
                let (alike, across) = super::graph::degrees(self.readings(), theirs);
                [("read alike", alike), ("read across", across)]
                    .into_iter()
                    .filter(|(_, share)| *share > 0.)
                    .map(|(how, share)| format!("{:.0} % with `{}`, {how}", share * 100., other.name))
                    .collect::<Vec<_>>()
            })
            .collect();
        let common = if said.is_empty() { "none with another task".to_string() } else { said.join("; ") };
        vec![format!("planted: cues in common: {common}; {} words a list", self.settings.words)]
    }
}

/// One of the lists that a task reads, by their shares.
fn chosen<'a>(read: &'a [Reading], stream: &mut Stream) -> Option<&'a Reading> {
    let mut left = stream.uniform();
    for reading in read {
        left -= reading.share;
        if left < 0. {
            return Some(reading);
        }
    }
    read.last()
}
