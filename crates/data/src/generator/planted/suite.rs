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

use super::function::{self, Asked, Function};
use super::graph::{Form, Node, Reading, readings};
use super::lexicon;
use super::presets::PRESETS;
use crate::generator::Generated;
use crate::reader::{At, Place};
use crate::texts::{RawExample, Texts};

/// The most rows of a split: they are kept in memory.
const MOST: usize = 1_000_000;

/// The most cues of a text.
const MOST_CUES: usize = 32;

/// How often a text is drawn anew that is there already.
const ATTEMPTS: u64 = 1000;

/// The most words of a text that are of lists its task does not read.
const MOST_DISTRACTORS: usize = 32;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Settings {
    task: String,
    preset: Option<String>,
    graph: Vec<Node>,
    /// Rows that a run takes of the small tasks of a preset.
    small: usize,
    /// Words of a list.
    pub(super) words: usize,
    /// Words of a text that its label is told by.
    cues: usize,
    /// Share of labels that are drawn at random; of a regression, their deviation; of a tagging, cues without a tag.
    pub(super) noise: f64,
    shared_inputs: bool,
    /// Whether a run takes the same of the shared texts for all tasks.
    shared_rows: bool,
    /// Words of a text that are of lists its task does not read; left out, one of each of at most two such lists.
    distractors: Option<usize>,
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
            shared_rows: false,
            distractors: None,
            seed: 0,
            train: 4000,
            dev: 1000,
            test: 2000,
        }
    }
}

/// Checked settings: what a graph is, and which of its tasks is wanted.
pub(super) struct Suite {
    pub(super) settings: Settings,
    pub(super) graph: Vec<Node>,
    pub(super) readings: Vec<Vec<Reading>>,
    lists: usize,
    /// The task that is wanted, by its place in the graph.
    pub(super) at: usize,
    pub(super) node: Node,
    /// Of a function of two lists: which of the two alone says the class in test texts.
    told: Option<usize>,
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
        if settings.shared_rows && !settings.shared_inputs {
            bail!("shared_rows: there are no texts that the tasks share; set shared_inputs = true");
        }
        if settings.distractors.is_some_and(|words| words > MOST_DISTRACTORS) {
            bail!("`distractors` must lie in 0..={MOST_DISTRACTORS}, found {}", settings.distractors.unwrap_or(0));
        }
        let Settings { cues, noise, shared_inputs, .. } = settings;
        function::check(&graph, &readings, &Asked { cues, noise, shared_inputs })?;
        let read = readings.get(at).map_or(&[][..], Vec::as_slice);
        let told = function::told(node, read, graph.get(..at).unwrap_or_default(), &readings);
        let node = node.clone();
        Ok(Self { settings, graph, readings, lists, at, node, told })
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
        let drawn_as = self.settings.shared_rows.then(|| "planted graph".to_string());
        Ok(Generated { train, dev, test, size, drawn_as, ceiling: self.ceiling(&pairs), notes: self.notes() })
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
            let fresh =
                (0..ATTEMPTS).map(|attempt| self.row(key.with(attempt), which)).find(|row| !known.contains(&row.words));
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
            rows.push(RawExample {
                texts,
                label: row.label,
                place: Place { file: file.clone(), at: At::Record(index + 1) },
            });
        }
        Ok(rows)
    }

    /// A text of split `which`, and its label.
    fn row(&self, key: Key, which: &str) -> Row {
        let mut stream = key.stream();
        let (mut words, said) =
            if self.settings.shared_inputs { self.common(&mut stream) } else { self.own(which, &mut stream) };
        stream.shuffle(&mut words);
        // Of shared texts every task's noise is its own, unless it asks for another's.
        let mut noise = key.named("noise").named(self.noisy_as()).stream();
        let (label, clean) = self.label(&words, said, &mut noise);
        Row { words: words.into_iter().map(|(word, _)| word).collect(), label, clean }
    }

    /// A text for this task alone: words, cues with the class that the task takes each one for; and the text's class.
    fn own(&self, which: &str, stream: &mut Stream) -> (Vec<(String, Option<usize>)>, usize) {
        let read = self.readings();
        let mut words = self.fillers(stream);
        words.extend(self.distractors(stream));
        let text_class = stream.below(self.centres());
        if let Some(function) = self.node.function {
            words.extend(self.cues_of_two(function, text_class, which, stream));
            return (words, text_class);
        }
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
                Form::Regression => {
                    (text_class + stream.below(4).div_ceil(2)).saturating_sub(1).min(lexicon::CLASSES - 1)
                }
                Form::Tagging => stream.below(lexicon::CLASSES),
                Form::Text => text_class,
            };
            let Some(reading) = chosen(read, stream) else { continue };
            let index = lexicon::draw(self.settings.words, &[(reading.reading, said)], stream);
            words.push((lexicon::listed(reading.list, index), Some(said)));
        }
        (words, text_class)
    }

    /// Words of lists that the task does not read.
    fn distractors(&self, stream: &mut Stream) -> Vec<(String, Option<usize>)> {
        let read = self.readings();
        let others: Vec<usize> = (0..self.lists).filter(|list| read.iter().all(|ours| ours.list != *list)).collect();
        let lists: Vec<usize> = match self.settings.distractors {
            None => stream.permutation(others.len()).into_iter().take(2).collect(),
            Some(_) if others.is_empty() => Vec::new(),
            Some(words) => (0..words).map(|_| stream.below(others.len())).collect(),
        };
        let lists = lists.iter().filter_map(|&at| others.get(at));
        lists.map(|list| (lexicon::listed(*list, stream.below(self.settings.words)), None)).collect()
    }

    /// The cues of a text of class `text_class`, half of each of two lists.
    fn cues_of_two(
        &self,
        function: Function,
        text_class: usize,
        which: &str,
        stream: &mut Stream,
    ) -> Vec<(String, Option<usize>)> {
        let levels = function.levels(self.node.classes);
        let joined = lexicon::CLASSES / levels;
        let mut said = function.said(text_class, stream);
        if let Some(told) = self.told.filter(|_| which == "test") {
            let silenced = said.iter_mut().enumerate().filter(|(place, _)| *place != told);
            silenced.for_each(|(_, said)| *said = stream.below(levels));
        }
        let mut words = Vec::with_capacity(self.settings.cues);
        for (reading, said) in self.readings().iter().zip(said) {
            for _ in 0..self.settings.cues / 2 {
                let class = said * joined + stream.below(joined);
                let index = lexicon::draw(self.settings.words, &[(reading.reading, class)], stream);
                words.push((lexicon::listed(reading.list, index), Some(class)));
            }
        }
        words
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
            let fixed: Vec<(usize, usize)> =
                ways.into_iter().map(|way| (way, stream.below(lexicon::CLASSES))).collect();
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
