//! Functions of two lists, noise of one's own or another's, words that distract: told from the texts and labels alone.

use super::*;

/// Lists `a` and `b`, and a task that takes `function` of both; lists `c` and `d` that nobody combines.
fn of_two(function: &str, classes: usize, others: Value) -> Value {
    let mut node =
        json!({ "name": "both", "classes": classes, "function": function, "related": { "a": 0.5, "b": 0.5 } });
    others.as_object().expect("an object").iter().for_each(|(key, value)| node[key] = value.clone());
    json!([{ "name": "a", "classes": 2 }, { "name": "b", "classes": 2 }, { "name": "c" }, node])
}

fn of(graph: &Value, task: &str) -> Generated {
    made(json!({ "graph": graph, "task": task }))
}

/// What each word of the tasks `a` and `b` says, by these tasks' own texts, 0 or 1.
fn halves(graph: &Value) -> [BTreeMap<String, usize>; 2] {
    ["a", "b"].map(|task| {
        let known = cues(&of(graph, task).train);
        known.into_iter().map(|(word, class)| (word, usize::from(class == "two"))).collect()
    })
}

/// What the words of `row` that `known` holds say; panics unless they agree.
fn said(row: &RawExample, known: &BTreeMap<String, usize>) -> (usize, usize) {
    let all: Vec<usize> = words(row).iter().filter_map(|word| known.get(word).copied()).collect();
    assert!(all.iter().all(|said| Some(said) == all.first()), "{all:?}");
    (all[0], all.len())
}

#[test]
fn functions_take_half_of_the_cues_from_each_list() {
    let number = |class: &str| ["one", "two", "three", "four"].iter().position(|known| *known == class);
    for (function, classes) in [("parity", 2), ("pair", 4), ("either", 2)] {
        let graph = of_two(function, classes, json!({}));
        let [a, b] = halves(&graph);
        let both = of(&graph, "both");
        assert_eq!(both.ceiling.as_ref().map(|ceiling| ceiling.score), Some(1.));
        let mut seen = BTreeSet::new();
        for row in both.train.iter().chain(&both.dev).chain(&both.test) {
            let ((first, ours), (second, theirs)) = (said(row, &a), said(row, &b));
            assert_eq!((ours, theirs), (2, 2));
            let wanted = match function {
                "parity" => first ^ second,
                "pair" => 2 * first + second,
                _ => first,
            };
            assert!(number(class(row)) == Some(wanted) && (function != "either" || first == second));
            seen.insert((first, second));
        }
        assert_eq!(seen.len(), if function == "either" { 2 } else { 4 });
    }
}

/// Neither list alone says anything of a parity.
#[test]
fn a_parity_is_told_by_no_word() {
    let graph = of_two("parity", 2, json!({}));
    assert!(cues(&of(&graph, "both").train).is_empty());
}

#[test]
fn a_probe_silences_the_other_list_in_test_texts_alone() {
    let graph = of_two("either", 2, json!({ "probe": "b" }));
    let [a, b] = halves(&graph);
    let both = of(&graph, "both");
    let right = |rows: &[RawExample], known: &BTreeMap<String, usize>| {
        let right = rows.iter().filter(|row| said(row, known).0 == usize::from(class(row) == "two")).count();
        right as f64 / rows.len() as f64
    };
    assert_eq!((right(&both.train, &a), right(&both.dev, &a), right(&both.train, &b)), (1., 1., 1.));
    assert_eq!(right(&both.test, &b), 1.);
    // Four deviations of 500 coins are 0.09.
    assert!((right(&both.test, &a) - 0.5).abs() < 0.09, "{}", right(&both.test, &a));
    assert!(both.notes.iter().any(|note| note.contains("the words of `b` alone")), "{:?}", both.notes);
}

#[test]
fn noise_is_a_tasks_own_or_anothers() {
    let graph = json!([
        { "name": "clean", "classes": 2 },
        { "name": "one", "classes": 2, "noise": 0.4, "related": { "clean": 1. } },
        { "name": "own", "classes": 2, "noise": 0.4, "related": { "clean": 1. } },
        { "name": "same", "classes": 2, "noise": 0.4, "noise_of": "one", "related": { "clean": 1. } },
    ]);
    let of = |task: &str| {
        made(json!({ "graph": graph, "task": task, "shared_inputs": true, "shared_rows": true, "train": 2000 }))
    };
    let [clean, one, own, same] = ["clean", "one", "own", "same"].map(of);
    assert_eq!(one.ceiling.as_ref().map(|ceiling| ceiling.score), Some(0.8));
    assert_eq!(clean.ceiling.as_ref().map(|ceiling| ceiling.score), Some(1.));
    let agree = |a: &Generated, b: &Generated| {
        assert!(a.train.iter().zip(&b.train).all(|(a, b)| a.texts == b.texts));
        a.train.iter().zip(&b.train).filter(|(a, b)| class(a) == class(b)).count() as f64 / 2000.
    };
    assert_eq!((agree(&one, &same), one.test.len()), (1., same.test.len()));
    assert!(one.dev.iter().zip(&same.dev).all(|(a, b)| class(a) == class(b)));
    // A fifth is wrong, of two with noise of their own 0.8² + 0.2² agree; four deviations are 0.043.
    assert!((agree(&clean, &one) - 0.8).abs() < 0.04, "{}", agree(&clean, &one));
    assert!((agree(&one, &own) - 0.68).abs() < 0.043, "{}", agree(&one, &own));
    assert_eq!((one.drawn_as.as_deref(), one.drawn_as == same.drawn_as), (Some("planted graph"), true));
    assert_eq!(made(json!({ "graph": graph, "task": "one", "shared_inputs": true })).drawn_as, None);
}

#[test]
fn distractors_are_words_of_the_other_lists() {
    let graph = json!([{ "name": "a", "classes": 2 }, { "name": "b" }, { "name": "c" }]);
    let [b, c] = ["b", "c"].map(|task| cues(&made(json!({ "graph": graph, "task": task })).train));
    for distractors in [0, 7] {
        let made = made(json!({ "graph": graph, "task": "a", "distractors": distractors }));
        let counted =
            |row: &RawExample| words(row).iter().filter(|word| b.contains_key(*word) || c.contains_key(*word)).count();
        assert!(made.train.iter().all(|row| counted(row) == distractors && words(row).len() == 7 + distractors));
    }
}

#[test]
fn tags_of_one_class_say_which_words_are_cues_and_no_more() {
    let graph = json!([{ "name": "a" }, { "name": "which", "kind": "tagging", "classes": 1, "related": { "a": 1. } }]);
    let known = cues(&of(&graph, "a").train);
    for row in &of(&graph, "which").train {
        let Cell::Many(tags) = &row.label else { panic!("tags were expected") };
        let right = |(word, tag): (&String, &String)| *tag == if known.contains_key(word) { "B-one" } else { "O" };
        assert!(words(row).iter().zip(tags).all(right));
    }
}

#[test]
fn dials_that_cannot_be_are_refused_with_the_reason() {
    let graph = |function: &str, classes: usize, others: Value| json!({ "graph": of_two(function, classes, others), "task": "a" });
    let pair = |second: Value, shared: bool| json!({ "graph": [{ "name": "x", "classes": 2, "noise": 0.2 }, second], "task": "x", "shared_inputs": shared });
    for (settings, part) in [
        (graph("parity", 4, json!({})), "has 2 classes, found `classes` = 4"),
        (graph("pair", 2, json!({})), "has 4 classes, found `classes` = 2"),
        (graph("parity", 2, json!({ "kind": "tagging" })), "classifications alone"),
        (graph("parity", 2, json!({ "related": { "a": 0.5, "b": 0.25 } })), "of two lists, half of the cues from each"),
        (graph("parity", 2, json!({ "related": { "a": 1. } })), "the task reads 1 of shares [1.0]"),
        (graph("parity", 2, json!({ "probe": "a" })), "set function = \"either\""),
        (graph("either", 2, json!({ "probe": "c" })), "reads one of its two lists and not the other, found `c`"),
        (json!({ "graph": of_two("either", 2, json!({})), "task": "a", "cues": 3 }), "`cues` must be even, found 3"),
        (json!({ "graph": [{ "name": "a", "noise": 2. }], "task": "a" }), "`noise` must lie in [0, 1], found 2"),
        (json!({ "graph": [{ "name": "a", "classes": 1 }], "task": "a" }), "found 1; of tags it may be 1"),
        (json!({ "graph": [{ "name": "a" }], "task": "a", "distractors": 99 }), "0..=32, found 99"),
        (json!({ "graph": [{ "name": "a" }], "task": "a", "shared_rows": true }), "set shared_inputs = true"),
        (pair(json!({ "name": "y", "classes": 2, "noise": 0.2, "noise_of": "x" }), false), "set shared_inputs = true"),
        (pair(json!({ "name": "y", "classes": 2, "noise": 0.2, "noise_of": "z" }), true), "no task that stands before"),
        (pair(json!({ "name": "y", "classes": 2, "noise": 0.3, "noise_of": "x" }), true), "as much noise; found 0.3"),
        (pair(json!({ "name": "y", "noise": 0.2, "noise_of": "x" }), true), "of as many classes; found 4 and 2"),
    ] {
        let error = refused(settings.clone());
        assert!(error.contains(part), "{settings}: {error}");
    }
}
