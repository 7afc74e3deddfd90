//! The preset `five`: five tasks over invented words, with a dial for relatedness and one for conflict.
//!
//! Words belong to factors. A sentence has fillers and some words of each factor; a task's label depends on one factor:
//!
//! - `topic` (4 classes): which quarter of the subject words the sentence is about.
//! - `genre` (2 classes): related to `topic`. With probability `relatedness` a cue is a subject word (quarters 0 and 1
//!   against 2 and 3), else a word of its own factor.
//! - `clash` (2 classes): in conflict with `topic`. Its cues are subject words too, but a share `conflict` of them is
//!   divided across the quarters (every other word) instead of along them, so that words which one task has to tell
//!   apart the other has to treat alike.
//! - `mood` (a number in [−1, 1]): the mean valence of the mood words. Unrelated to the others.
//! - `tags` (BIO): which words name a person or a place. Unrelated to the others.
//!
//! A share `noise` of the labels (of `mood`: noise of that deviation) is random.

#![expect(clippy::indexing_slicing, reason = "an index is drawn below the length of a list that is written here")]

use std::sync::Arc;

use anyhow::{Result, bail};
use mtl_task::Cell;
use mtl_task::rng::{Key, Stream};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CUES, Relation, Truth, ceiling};
use crate::generator::{Ceiling, Generated};
use crate::reader::{At, Place};
use crate::texts::{RawExample, Texts};

/// The tasks of the suite and the factor that each one's label depends on: the true grouping.
const FACTORS: &[(&str, &str)] =
    &[("clash", "subject"), ("genre", "subject"), ("mood", "mood"), ("tags", "names"), ("topic", "subject")];

/// What is known of the tasks that `settings` name, when both dials are at 1; nothing if one is no task of the suite.
pub(super) fn truth(settings: &[Value]) -> Option<Truth> {
    let names: Vec<&str> = settings.iter().map(|settings| settings.get("task")?.as_str()).collect::<Option<_>>()?;
    let factor = |name: &&str| FACTORS.iter().find(|(task, _)| task == name).map(|(_, factor)| *factor);
    let factors: Vec<&str> = names.iter().map(factor).collect::<Option<_>>()?;
    let first_alike = |of: &&str| factors.iter().position(|factor| factor == of).unwrap_or_default() as u32;
    let relations = names.iter().map(|a| names.iter().map(|b| relation(a, b)).collect()).collect();
    Some(Truth { relations, factors: factors.iter().map(first_alike).collect() })
}

/// How the tasks `a` and `b` of the suite stand to each other when both dials are at 1.
fn relation(a: &str, b: &str) -> Relation {
    match (a.min(b), a.max(b)) {
        (a, b) if a == b => Relation::Related,
        ("genre", "topic") => Relation::Related,
        ("clash", "genre" | "topic") => Relation::Conflicting,
        _ => Relation::Unrelated,
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    task: String,
    examples: usize,
    seed: u64,
    noise: f64,
    relatedness: f64,
    conflict: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { task: String::new(), examples: 1500, seed: 0, noise: 0.05, relatedness: 1., conflict: 1. }
    }
}

/// The most examples of a task: they are kept in memory.
const MOST: usize = 10_000_000;

/// The words, by factor.
struct Lexicon {
    /// Four quarters of equal length.
    subject: Vec<String>,
    genre: Vec<String>,
    /// From the most negative to the most positive.
    mood: Vec<String>,
    people: Vec<String>,
    places: Vec<String>,
    fillers: Vec<String>,
}

impl Lexicon {
    fn new() -> Self {
        let words = |mark: &str, count: usize| -> Vec<String> {
            let (consonants, vowels) = (["b", "d", "g", "k", "l", "m", "n", "p"], ["a", "e", "i", "o"]);
            (0..count)
                .map(|i| format!("{mark}{}{}{}", consonants[i % 8], vowels[i / 8 % 4], consonants[i / 32 % 8]))
                .collect()
        };
        Self {
            subject: words("su", 32),
            genre: words("ge", 16),
            mood: words("mo", 21),
            people: words("pe", 16),
            places: words("pla", 16),
            fillers: words("fi", 24),
        }
    }

    fn all(&self) -> Vec<String> {
        [&self.subject, &self.genre, &self.mood, &self.people, &self.places, &self.fillers]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

/// Every word of the suite.
pub(super) fn vocabulary() -> Vec<String> {
    Lexicon::new().all()
}

/// # Errors
/// If a key is unknown, a dial out of range, or the task none of the suite.
pub(super) fn rows(settings: &Value) -> Result<Generated> {
    let settings: Settings = serde_json::from_value(settings.clone())?;
    for (name, value) in
        [("noise", settings.noise), ("relatedness", settings.relatedness), ("conflict", settings.conflict)]
    {
        if !(0. ..=1.).contains(&value) {
            bail!("`{name}` must lie in [0, 1], found {value}");
        }
    }
    if settings.examples > MOST {
        bail!("`examples` may be at most {MOST}, found {}", settings.examples);
    }
    if !FACTORS.iter().any(|(task, _)| *task == settings.task) {
        let names: Vec<&str> = FACTORS.iter().map(|(task, _)| *task).collect();
        bail!("unknown planted task `{}`; there are {}", settings.task, names.join(", "));
    }
    let file: Arc<str> = format!("planted {}", settings.task).into();
    let lexicon = Lexicon::new();
    let key = Key::new(settings.seed).named("planted").named(&settings.task);
    let mut pairs = Vec::new();
    let row = |index: usize| {
        let mut stream = key.with(index as u64).stream();
        let (words, label) = sentence(&lexicon, &settings, &mut stream, &mut pairs);
        let texts = if settings.task == "tags" { Texts::Tokens(words) } else { Texts::One(words.join(" ")) };
        RawExample { texts, label, place: Place { file: file.clone(), at: At::Record(index + 1) } }
    };
    let rows: Vec<RawExample> = (0..settings.examples).map(row).collect();
    Ok(Generated { ceiling: best(&settings, &pairs), ..rows.into() })
}

/// The best score that can be expected: of `mood`, whose values without and with noise are `pairs`, over these rows.
fn best(settings: &Settings, pairs: &[(f64, f64)]) -> Option<Ceiling> {
    let (noise, conflict) = (settings.noise, settings.conflict);
    let accuracy = |score: f64, classes: usize| {
        Some(Ceiling { metric: "accuracy", score: ceiling::with_noise(score, noise, classes) })
    };
    match settings.task.as_str() {
        "topic" => accuracy(1., 4),
        "genre" => accuracy(1., 2),
        "clash" => {
            // Word w is drawn across with the share `conflict` and along with the rest, 16 words a class either way.
            let of = |word: usize, class: usize| {
                let (across, along) = (word % 2 == class, word / 16 == class);
                (conflict * f64::from(u8::from(across)) + (1. - conflict) * f64::from(u8::from(along))) / 16.
            };
            let words: Vec<Vec<f64>> = (0..32).map(|word| vec![of(word, 0), of(word, 1)]).collect();
            accuracy(ceiling::bayes_accuracy(&words, CUES), 2)
        }
        "mood" => ceiling::correlation(pairs).map(|score| Ceiling { metric: "pearson", score }),
        // Half of the names are persons, of whom a share `noise` bears no tag: of 2 spans that are right to give 2 − noise
        // are called right, and there are no others.
        _ => (noise < 0.5).then(|| Ceiling { metric: "span-f1", score: 2. * (2. - noise) / (4. - noise) }),
    }
}

/// A sentence and its truth; of `mood` its value without and with noise is added to `pairs`.
fn sentence(
    lexicon: &Lexicon,
    settings: &Settings,
    stream: &mut Stream,
    pairs: &mut Vec<(f64, f64)>,
) -> (Vec<String>, Cell) {
    let pick = |words: &[String], stream: &mut Stream| words[stream.below(words.len())].clone();
    // Distractors of every factor, so that words of another task's factor carry no news of this one.
    let mut words: Vec<String> = Vec::new();
    for _ in 0..3 {
        words.push(pick(&lexicon.fillers, stream));
    }
    if settings.task != "mood" {
        words.push(pick(&lexicon.mood, stream));
    }
    if settings.task != "tags" {
        words.push(pick(&lexicon.people, stream));
    }
    let noisy = stream.uniform() < settings.noise;
    let label = match settings.task.as_str() {
        "topic" => {
            let class = stream.below(4);
            words.extend((0..CUES).map(|_| lexicon.subject[class * 8 + stream.below(8)].clone()));
            let shown = if noisy { stream.below(4) } else { class };
            Cell::Text(["art", "law", "sea", "war"][shown].into())
        }
        "genre" => {
            let class = stream.below(2);
            for _ in 0..CUES {
                words.push(if stream.uniform() < settings.relatedness {
                    lexicon.subject[class * 16 + stream.below(16)].clone()
                } else {
                    lexicon.genre[class * 8 + stream.below(8)].clone()
                });
            }
            let shown = if noisy { stream.below(2) } else { class };
            Cell::Text(["prose", "verse"][shown].into())
        }
        "clash" => {
            let class = stream.below(2);
            for _ in 0..CUES {
                let across = stream.uniform() < settings.conflict;
                let word = if across { 2 * stream.below(16) + class } else { class * 16 + stream.below(16) };
                words.push(lexicon.subject[word].clone());
            }
            let shown = if noisy { stream.below(2) } else { class };
            Cell::Text(["even", "odd"][shown].into())
        }
        "mood" => {
            words.push(pick(&lexicon.subject, stream));
            let centre = stream.below(lexicon.mood.len());
            let mut sum = 0.;
            for _ in 0..CUES {
                let at = (centre + stream.below(7)).saturating_sub(3).min(lexicon.mood.len() - 1);
                sum += at as f64 / 10. - 1.;
                words.push(lexicon.mood[at].clone());
            }
            let clean = sum / CUES as f64;
            let value = (clean + settings.noise * stream.normal()).clamp(-1., 1.);
            pairs.push((clean, value));
            Cell::Text(format!("{value:.4}"))
        }
        _ => return tagged(lexicon, settings, words, stream),
    };
    stream.shuffle(&mut words);
    (words, label)
}

/// A sentence with names in it: a person is one word, a place one or two.
fn tagged(lexicon: &Lexicon, settings: &Settings, words: Vec<String>, stream: &mut Stream) -> (Vec<String>, Cell) {
    let mut pieces: Vec<Vec<(String, &str)>> = words.into_iter().map(|word| vec![(word, "O")]).collect();
    pieces.push(vec![(lexicon.subject[stream.below(lexicon.subject.len())].clone(), "O")]);
    for _ in 0..1 + stream.below(3) {
        if stream.uniform() < 0.5 {
            pieces.push(vec![(lexicon.people[stream.below(lexicon.people.len())].clone(), "B-person")]);
        } else {
            let mut place = vec![(lexicon.places[stream.below(lexicon.places.len())].clone(), "B-place")];
            if stream.uniform() < 0.5 {
                place.push((lexicon.places[stream.below(lexicon.places.len())].clone(), "I-place"));
            }
            pieces.push(place);
            // A word between two places, or they would look like one.
            pieces.push(vec![(lexicon.fillers[stream.below(lexicon.fillers.len())].clone(), "O")]);
        }
    }
    let last = pieces.len() - 1;
    if stream.uniform() < 0.5 {
        pieces.swap(0, last / 2);
    }
    let (words, mut tags): (Vec<String>, Vec<&str>) = pieces.into_iter().flatten().unzip();
    for tag in &mut tags {
        if *tag == "B-person" && stream.uniform() < settings.noise {
            *tag = "O";
        }
    }
    (words, Cell::Many(tags.into_iter().map(String::from).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_suite_is_the_same_every_time_and_its_labels_are_balanced() -> Result<()> {
        for (task, _) in FACTORS {
            let made = rows(&json!({ "task": task, "examples": 400 }))?.train;
            assert_eq!(made, rows(&json!({ "task": task, "examples": 400 }))?.train);
            assert_ne!(made, rows(&json!({ "task": task, "examples": 400, "seed": 1 }))?.train);
            if let ("topic", Cell::Text(label)) = (*task, &made[0].label) {
                let share = made.iter().filter(|row| row.label == Cell::Text(label.clone())).count();
                assert!((60..140).contains(&share), "{share} of 400");
            }
        }
        Ok(())
    }

    /// The best a reader of single words can do is what a naive Bayes count does: far above chance at every dial.
    #[test]
    fn words_tell_the_labels() -> Result<()> {
        for task in ["topic", "genre", "clash"] {
            for dial in [0., 1.] {
                let made =
                    rows(&json!({ "task": task, "examples": 1000, "relatedness": dial, "conflict": dial }))?.train;
                let mut counts: std::collections::BTreeMap<(String, String), f64> = Default::default();
                let words = |row: &RawExample| match &row.texts {
                    Texts::One(text) => text.split(' ').map(String::from).collect::<Vec<_>>(),
                    _ => Vec::new(),
                };
                let label = |row: &RawExample| match &row.label {
                    Cell::Text(label) => label.clone(),
                    Cell::Many(_) => String::new(),
                };
                for row in &made[..500] {
                    words(row).into_iter().for_each(|word| *counts.entry((word, label(row))).or_default() += 1.);
                }
                let mut labels: Vec<String> = made.iter().map(label).collect();
                labels.sort_unstable();
                labels.dedup();
                let right = made[500..]
                    .iter()
                    .filter(|row| {
                        let score = |l: &String| -> f64 {
                            words(row)
                                .into_iter()
                                .map(|w| (counts.get(&(w, l.clone())).unwrap_or(&0.) + 0.1).ln())
                                .sum()
                        };
                        labels.iter().max_by(|a, b| score(a).total_cmp(&score(b))) == Some(&label(row))
                    })
                    .count();
                assert!(right > 400, "{task} at {dial}: {right} of 500");
            }
        }
        Ok(())
    }

    /// Of four classes, 0.95 + 0.05/4; of two, 0.95 + 0.05/2. Half across and half along, a word says its class for sure
    /// where both agree, which half of the words do, and nothing where they do not: one of four fails to only in 1 of 16.
    #[test]
    fn ceilings_are_those_worked_out_by_hand() -> Result<()> {
        let of = |task: &str, noise: f64, conflict: f64| -> Result<f64> {
            let made = rows(&json!({ "task": task, "examples": 2000, "noise": noise, "conflict": conflict }))?;
            Ok(made.ceiling.map_or(f64::NAN, |ceiling| ceiling.score))
        };
        let near = |found: f64, wanted: f64, within: f64| {
            assert!((found - wanted).abs() < within, "{found} instead of {wanted}");
        };
        near(of("topic", 0.05, 1.)?, 0.9625, 1e-12);
        near(of("genre", 0.05, 1.)?, 0.975, 1e-12);
        near(of("clash", 0.05, 1.)?, 0.975, 1e-12);
        near(of("clash", 0., 0.)?, 1., 1e-12);
        near(of("clash", 0., 0.5)?, 15. / 16. + 0.5 / 16., 1e-12);
        near(of("tags", 0.05, 1.)?, 3.9 / 3.95, 1e-12);
        near(of("mood", 0., 1.)?, 1., 1e-12);
        // A centre uniform over 21 steps of 0.1, four cues around it: a variance of 0.367 with noise of 0.1² beside it,
        // the ends pulling in a little.
        near(of("mood", 0.1, 1.)?, 0.985, 0.005);
        Ok(())
    }

    #[test]
    fn the_true_grouping_is_by_the_words_that_are_read() {
        let tasks = ["topic", "mood", "genre", "clash", "tags"].map(|task| json!({ "task": task }));
        let truth = truth(&tasks).expect("tasks of the suite");
        assert_eq!(truth.factors, [0, 1, 0, 0, 4]);
        assert_eq!(truth.relations[0][2], Relation::Related);
        assert_eq!(truth.relations[3][2], Relation::Conflicting);
        assert_eq!(truth.relations[1][4], Relation::Unrelated);
        assert!(super::truth(&[json!({ "task": "weather" })]).is_none());
    }
}
