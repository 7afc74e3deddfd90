//! What the texts of a graph say, told from the texts alone.

mod dials;

use std::collections::{BTreeMap, BTreeSet};

use mtl_task::Cell;
use serde_json::{Value, json};

use super::*;
use crate::generator::Ceiling;
use crate::{RawExample, Texts};

/// What is made with `settings`, of fewer rows than by default where they say nothing.
fn made(mut settings: Value) -> Generated {
    for (key, rows) in [("train", 1500), ("dev", 20), ("test", 500)] {
        if settings.get(key).is_none() {
            settings[key] = rows.into();
        }
    }
    rows(&settings).expect("valid settings")
}

fn refused(settings: Value) -> String {
    format!("{:#}", rows(&settings).expect_err("wrong settings"))
}

fn words(row: &RawExample) -> Vec<String> {
    match &row.texts {
        Texts::One(text) => text.split(' ').map(String::from).collect(),
        Texts::Tokens(words) => words.clone(),
        Texts::Pair(..) => panic!("no pair was expected"),
    }
}

fn class(row: &RawExample) -> &str {
    match &row.label {
        Cell::Text(class) => class,
        Cell::Many(_) => panic!("one class was expected"),
    }
}

/// The classes of the texts that each word stands in.
fn classes_of(rows: &[RawExample]) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in rows {
        words(row).into_iter().for_each(|word| {
            found.entry(word).or_default().insert(class(row).to_string());
        });
    }
    found
}

/// Each word that stands in texts of one class alone, with that class.
fn cues(rows: &[RawExample]) -> BTreeMap<String, String> {
    let single = |(word, classes): (String, BTreeSet<String>)| {
        (classes.len() == 1).then(|| classes.into_iter().next().map(|class| (word, class)))?
    };
    classes_of(rows).into_iter().filter_map(single).collect()
}

const SMALL_TASKS: [(&str, &str); 5] =
    [("related", "genre"), ("conflict", "clash"), ("unrelated", "genre"), ("mixed", "clash"), ("clusters", "verse")];

#[test]
fn a_task_is_the_same_every_time_and_no_text_is_in_two_splits() {
    for (preset, task) in SMALL_TASKS {
        let of = |seed: u64, train: usize| {
            made(json!({ "preset": preset, "task": task, "seed": seed, "train": train, "dev": 100, "test": 200 }))
        };
        let found = of(0, 300);
        assert_eq!(found, of(0, 300));
        assert_ne!(found.test, of(1, 300).test);
        // More to train on changes nothing that is held out, and nothing of what there was.
        let more = of(0, 400);
        assert_eq!((&more.dev, &more.test, &more.train[..300]), (&found.dev, &found.test, &found.train[..]));
        let all = || found.train.iter().chain(&found.dev).chain(&found.test);
        assert_eq!(all().map(|row| row.texts.normalised()).collect::<BTreeSet<_>>().len(), 600);
        assert_eq!(found.size, Some(20));
        let counts = all().fold(BTreeMap::<&str, usize>::new(), |mut counts, row| {
            *counts.entry(class(row)).or_default() += 1;
            counts
        });
        let even = 600 / counts.len();
        assert!(counts.values().all(|count| count.abs_diff(even) < even / 3), "{counts:?}");
    }
}

#[test]
fn related_tasks_divide_the_same_words_alike_and_conflicting_ones_across() {
    let of = |task: &str| cues(&made(json!({ "preset": "mixed", "task": task, "words": 64 })).train);
    let (topic, genre, clash) = (of("topic"), of("genre"), of("clash"));
    assert_eq!(topic.len(), 64);
    assert!(topic.keys().eq(genre.keys()) && topic.keys().eq(clash.keys()));
    let table = |other: &BTreeMap<String, String>| {
        topic.iter().fold(BTreeMap::<(String, String), usize>::new(), |mut table, (word, class)| {
            *table.entry((class.clone(), other[word].clone())).or_default() += 1;
            table
        })
    };
    // Sixteen words a class of `topic`: all of one class of `genre`, and eight of either class of `clash`.
    assert!(table(&genre).len() == 4 && table(&genre).values().all(|count| *count == 16), "{:?}", table(&genre));
    assert!(table(&clash).len() == 8 && table(&clash).values().all(|count| *count == 8), "{:?}", table(&clash));
}

#[test]
fn unrelated_tasks_take_their_cues_from_other_words() {
    let of = |task: &str| cues(&made(json!({ "preset": "unrelated", "task": task, "words": 64 })).train);
    let (place, genre) = (of("place"), of("genre"));
    assert_eq!((place.len(), genre.len()), (64, 64));
    assert!(place.keys().all(|word| !genre.contains_key(word)));
}

#[test]
fn a_share_of_the_cues_is_as_large_as_the_dial_says() {
    let graph = json!([{ "name": "topic" }, { "name": "genre", "classes": 2, "related": { "topic": 0.75 } }]);
    let of = |task: &str| made(json!({ "graph": graph, "task": task, "words": 64 })).train;
    let (topic, genre) = (cues(&of("topic")), of("genre"));
    let counted = cues(&genre);
    let all: Vec<String> = genre.iter().flat_map(words).filter(|word| counted.contains_key(word)).collect();
    let common = all.iter().filter(|word| topic.contains_key(*word)).count();
    assert_eq!(all.len(), 4 * 1500);
    // Four deviations of a share of 6,000 are 0.022.
    assert!((common as f64 / all.len() as f64 - 0.75).abs() < 0.022, "{common}");
}

#[test]
fn who_knows_the_words_reaches_the_ceiling_and_noise_lowers_both_alike() {
    for noise in [0., 0.2] {
        let truth = cues(&made(json!({ "preset": "mixed", "task": "genre" })).train);
        let found = made(json!({ "preset": "mixed", "task": "genre", "noise": noise, "test": 2000 }));
        let ceiling = found.ceiling.expect("it is known");
        assert_eq!((ceiling.metric, ceiling.score), ("accuracy", 1. - noise / 2.));
        let says = |row: &RawExample| words(row).iter().find_map(|word| truth.get(word).cloned());
        let right = found.test.iter().filter(|row| says(row).as_deref() == Some(class(row))).count();
        // Four deviations of 2,000 answers are 0.027.
        assert!((right as f64 / 2000. - ceiling.score).abs() < 0.027, "{right} of 2000");
    }
}

#[test]
fn ceilings_of_tags_and_numbers_are_those_of_who_knows_the_words() {
    let graph = json!([
        { "name": "tags", "kind": "tagging", "classes": 2 },
        { "name": "mood", "kind": "regression", "related": { "tags": 1. } },
    ]);
    let of = |task: &str, noise: f64| made(json!({ "graph": graph, "task": task, "noise": noise, "test": 2000 }));
    let clean = of("tags", 0.);
    assert_eq!(clean.ceiling.as_ref().map(|ceiling| ceiling.score), Some(1.));
    // 2·0.7/(2 − 0.3): what is called right among what is right to give, and nothing missed.
    let noisy = of("tags", 0.3);
    let ceiling = noisy.ceiling.expect("it is known");
    assert!(ceiling.metric == "span-f1" && (ceiling.score - 1.4 / 1.7).abs() < 1e-12);
    let tags = |rows: &[RawExample]| -> Vec<bool> {
        let of = |row: &RawExample| match &row.label {
            Cell::Many(tags) => tags.iter().map(|tag| tag != "O").collect::<Vec<bool>>(),
            Cell::Text(_) => Vec::new(),
        };
        rows.iter().flat_map(of).collect()
    };
    let (given, shown) = (tags(&clean.test), tags(&noisy.test));
    let right = given.iter().zip(&shown).filter(|(given, shown)| **given && **shown).count() as f64;
    let sum = given.iter().chain(&shown).filter(|tag| **tag).count() as f64;
    assert!((2. * right / sum - ceiling.score).abs() < 0.02, "{right} {sum}");
    let value = |row: &RawExample| class(row).parse::<f64>().expect("a number");
    let mood = of("mood", 0.);
    assert_eq!(mood.ceiling, Some(Ceiling { metric: "pearson", score: 1. }));
    assert!(mood.test.iter().all(|row| value(row).abs() <= 1.));
    let (clean, noisy) = (of("mood", 0.), of("mood", 0.3));
    let pairs: Vec<(f64, f64)> = clean.test.iter().zip(&noisy.test).map(|(a, b)| (value(a), value(b))).collect();
    let (wanted, found) = (ceiling::correlation(&pairs).expect("no constant"), noisy.ceiling.expect("it is known"));
    assert!((found.score - wanted).abs() < 1e-4 && found.score < 0.95, "{found:?} {wanted}");
}

#[test]
fn tasks_may_share_their_inputs() {
    let of = |task: &str| made(json!({ "preset": "clusters", "task": task, "shared_inputs": true, "words": 64 }));
    let (topic, genre, rhyme, place) = (of("topic"), of("genre"), of("rhyme"), of("place"));
    let texts = |found: &Generated| found.train.iter().map(|row| row.texts.clone()).collect::<Vec<_>>();
    assert!([&genre, &rhyme, &place].into_iter().all(|other| texts(other) == texts(&topic)));
    // The same words tell each task its own class: those of its list that its reading takes alike.
    let counts = [&topic, &genre, &rhyme, &place].map(|found| cues(&found.train).len());
    assert_eq!(counts, [64; 4]);
    let pairs = |a: &Generated, b: &Generated| {
        let both = a.train.iter().zip(&b.train).map(|(a, b)| (class(a).to_string(), class(b).to_string()));
        both.collect::<BTreeSet<_>>().len()
    };
    assert_eq!((pairs(&topic, &genre), pairs(&topic, &rhyme), pairs(&topic, &place)), (4, 16, 16));
    let error = refused(json!({
        "graph": [{ "name": "a" }, { "name": "b", "related": { "a": 0.5 } }], "task": "a", "shared_inputs": true
    }));
    assert!(error.contains("shares must be 1"), "{error}");
}

#[test]
fn text_without_labels_has_every_word_and_no_text_of_a_task() {
    let text = made(json!({ "preset": "text", "task": "text", "words": 64 }));
    assert!(text.ceiling.is_none() && text.train.iter().all(|row| row.label == Cell::Many(Vec::new())));
    let known: BTreeSet<String> = text.train.iter().flat_map(words).collect();
    assert_eq!(
        known.len(),
        vocabulary(&json!({ "preset": "text", "task": "text", "words": 64 })).expect("words").len()
    );
    let learnt: BTreeSet<String> = text.train.iter().map(|row| row.texts.normalised()).collect();
    for (preset, task) in SMALL_TASKS {
        let settings = json!({ "preset": preset, "task": task, "words": 64 });
        assert!(vocabulary(&settings).expect("words").iter().all(|word| known.contains(word)));
        assert!(made(settings).test.iter().all(|row| !learnt.contains(&row.texts.normalised())));
    }
}

/// What keeps company in the text is one thing for a task's classes and another: of every two words of a class, and of
/// two of different classes, equally many stand in a text together.
#[test]
fn the_text_says_nothing_of_the_labels() {
    let settings = |preset: &str, task: &str| json!({ "preset": preset, "task": task, "words": 64 });
    let text = made(settings("text", "text"));
    for task in ["topic", "clash"] {
        let classes = cues(&made(settings("mixed", task)).train);
        let (mut same, mut all) = (0., 0.);
        for row in &text.train {
            let known: Vec<&String> = words(row).iter().filter_map(|word| classes.get(word)).collect();
            for (at, one) in known.iter().enumerate() {
                for other in &known[..at] {
                    all += 1.;
                    same += f64::from(u8::from(one == other));
                }
            }
        }
        let chance = if task == "topic" { 0.25 } else { 0.5 };
        assert!(all > 2000. && (same / all - chance).abs() < 0.035, "{task}: {same} of {all}");
    }
}

#[test]
fn what_is_known_of_a_suite_is_known_of_its_tasks_together() {
    let of = |preset: &str, task: &str| json!({ "preset": preset, "task": task });
    let known = truth(&[of("mixed", "clash"), of("mixed", "topic"), of("mixed", "genre")]).expect("one suite");
    assert_eq!(known.factors, [0, 0, 0]);
    assert_eq!(known.relations[1], [Relation::Conflicting, Relation::Related, Relation::Related]);
    let known =
        truth(&[of("clusters", "topic"), of("clusters", "region"), of("clusters", "place")]).expect("one suite");
    assert_eq!(known.factors, [0, 1, 1]);
    assert_eq!(known.relations[1], [Relation::Unrelated, Relation::Related, Relation::Related]);
    assert!(truth(&[of("mixed", "topic"), of("clusters", "topic")]).is_none(), "not the same words");
    assert!(truth(&[json!({ "task": "topic" }), of("mixed", "topic")]).is_none());
    assert!(truth(&[json!({ "task": "topic" }), of("five", "mood")]).is_some());
}

#[test]
fn wrong_settings_are_refused_with_what_would_be_right() {
    for (settings, part) in [
        (json!({ "preset": "mixt", "task": "topic" }), "did you mean `mixed`?"),
        (json!({ "preset": "mixed", "task": "topik" }), "did you mean `topic`?"),
        (json!({ "preset": "mixed", "task": "topic", "words": 100 }), "multiple of 16"),
        (json!({ "preset": "text", "task": "text", "words": 32 }), "multiple of 64"),
        (json!({ "preset": "mixed", "task": "topic", "words": 2048 }), "up to 1024"),
        (json!({ "preset": "mixed", "task": "topic", "noise": 1.5 }), "`noise` must lie in [0, 1], found 1.5"),
        (json!({ "preset": "mixed", "task": "topic", "dev": 0 }), "`dev` must lie in"),
        (json!({ "preset": "mixed", "task": "topic", "cues": 0 }), "`cues` must lie in"),
        (json!({ "preset": "mixed", "task": "topic", "relatedness": 1. }), "unknown field `relatedness`"),
        (json!({ "task": "topic", "words": 64 }), "unknown field `words`"),
        (json!({ "preset": "mixed", "graph": [{ "name": "a" }], "task": "a" }), "found both"),
        (json!({ "preset": "five", "task": "weather" }), "unknown planted task `weather`"),
        (json!({ "graph": [], "task": "a" }), "unknown `a`"),
        (json!({ "graph": [{ "name": "a", "wordz": 3 }], "task": "a" }), "unknown field `wordz`"),
    ] {
        let error = refused(settings.clone());
        assert!(error.contains(part), "{settings}: {error}");
    }
}
