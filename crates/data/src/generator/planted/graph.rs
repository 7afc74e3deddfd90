//! A graph of tasks: which words each one reads, and how. From it follow relatedness and conflict of every pair.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::function::Function;
use super::lexicon::{CLASSES, MOST_LISTS, READINGS};

/// What a task of the graph asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Form {
    /// Which class the cues of the text are of.
    #[default]
    Classification,
    /// The mean of the cues' values, in [−1, 1].
    Regression,
    /// Which words are cues, and of which class each one is.
    Tagging,
    /// Nothing: text without labels, to be learnt by itself.
    Text,
}

/// One task of the graph.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: String,
    #[serde(default)]
    pub(super) kind: Form,
    /// Classes or tags: 2 or 4, of tags also 1. Fewer than four are made of four by joining neighbours.
    #[serde(default = "four")]
    pub(super) classes: usize,
    /// Training rows that a run takes unless its recipe says otherwise; 0 for all that are written.
    #[serde(default)]
    pub(super) size: usize,
    /// Earlier tasks whose words this one reads as they do, and the share of its cues that are such words, in (0, 1].
    #[serde(default)]
    pub(super) related: BTreeMap<String, f64>,
    /// Earlier tasks whose words this one reads across, likewise.
    #[serde(default)]
    pub(super) conflict: BTreeMap<String, f64>,
    /// What is made of the two lists that the task reads, half of its cues from each; left out, every cue says the class.
    #[serde(default)]
    pub(super) function: Option<Function>,
    /// Of [`Function::Either`]: the earlier task whose words alone say the class in test texts.
    #[serde(default)]
    pub(super) probe: Option<String>,
    /// The task's noise, in place of the suite's.
    #[serde(default)]
    pub(super) noise: Option<f64>,
    /// An earlier task of as many classes and as much noise, which gives the same texts the same wrong labels.
    #[serde(default)]
    pub(super) noise_of: Option<String>,
}

fn four() -> usize {
    CLASSES
}

/// One list of words that a task reads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reading {
    /// Which list.
    pub(super) list: usize,
    /// Which of its readings.
    pub(super) reading: usize,
    /// Share of the task's cues, in (0, 1].
    pub(super) share: f64,
}

/// How two tasks stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// They want the same distinctions of the same words.
    Related,
    /// They read the same words in contradictory ways.
    Conflicting,
    /// They read different words.
    Unrelated,
}

/// The lists of words that each task of `graph` reads; lists are counted by first appearance.
///
/// # Errors
/// If a relation names no earlier task, relations contradict each other, or there are too many tasks.
pub(super) fn readings(graph: &[Node]) -> Result<Vec<Vec<Reading>>> {
    let mut found: Vec<Vec<Reading>> = Vec::new();
    let mut lists = 0;
    for (at, node) in graph.iter().enumerate() {
        let earlier = graph.get(..at).unwrap_or_default();
        let context = || format!("task `{}` of the graph", node.name);
        if node.name.is_empty() || earlier.iter().any(|other| other.name == node.name) {
            bail!("task {} of the graph: a name of its own was expected, found `{}`", at + 1, node.name);
        }
        let one_tag = node.kind == Form::Tagging && node.classes == 1;
        if !one_tag && ![2, CLASSES].contains(&node.classes) {
            bail!("{}: `classes` must be 2 or {CLASSES}, found {}; of tags it may be 1", context(), node.classes);
        }
        let mut read = borrowed(node, earlier, &found).with_context(context)?;
        let rest = 1. - read.iter().map(|reading| reading.share).sum::<f64>();
        if rest < -1e-9 {
            bail!("{}: the shares of words of others' sum to {}; at most 1 was expected", context(), 1. - rest);
        }
        if rest > 1e-9 {
            read.push(Reading { list: lists, reading: 0, share: rest });
            lists += 1;
        }
        found.push(read);
    }
    if lists > MOST_LISTS {
        bail!("the graph has {lists} tasks with words of their own; there may be {MOST_LISTS}");
    }
    Ok(found)
}

/// What is asked of one list by the relations of a task.
#[derive(Default)]
struct Wanted {
    share: f64,
    same: Vec<usize>,
    other: Vec<usize>,
}

/// The lists that `node` reads as its relations to `earlier` tasks, whose readings are `found`, say.
fn borrowed(node: &Node, earlier: &[Node], found: &[Vec<Reading>]) -> Result<Vec<Reading>> {
    let mut wanted: BTreeMap<usize, Wanted> = BTreeMap::new();
    let related = node.related.iter().map(|(name, share)| ("related", name, *share));
    let conflicting = node.conflict.iter().map(|(name, share)| ("conflict", name, *share));
    for (relation, name, share) in related.chain(conflicting) {
        if !(share > 0. && share <= 1.) {
            bail!("{relation}: the share for `{name}` must lie in (0, 1], found {share}");
        }
        let Some(at) = earlier.iter().position(|other| other.name == *name) else {
            let names = earlier.iter().map(|other| other.name.as_str());
            bail!("{relation}: `{name}` is no task that stands before it{}", mtl_task::nearest(name, names));
        };
        for reading in found.get(at).into_iter().flatten() {
            let wanted = wanted.entry(reading.list).or_default();
            wanted.share = wanted.share.max(share * reading.share);
            let readings = if relation == "related" { &mut wanted.same } else { &mut wanted.other };
            readings.push(reading.reading);
        }
    }
    let settle = |(list, wanted): (usize, Wanted)| {
        let allowed =
            |reading: &usize| wanted.same.iter().all(|same| same == reading) && !wanted.other.contains(reading);
        let Some(reading) = (0..READINGS).find(allowed) else {
            bail!(
                "its relations contradict each other: it would have to read the same words in the ways {:?} and in none \
                 of {:?}, and there are {READINGS}",
                wanted.same,
                wanted.other
            );
        };
        Ok(Reading { list, reading, share: wanted.share })
    };
    wanted.into_iter().map(settle).collect()
}

/// Shares of their cues that two tasks read alike, and that they read across, each in [0, 1]: Σ over lists of the lesser
/// share.
pub(super) fn degrees(a: &[Reading], b: &[Reading]) -> (f64, f64) {
    let (mut alike, mut across) = (0., 0.);
    for ours in a {
        for theirs in b.iter().filter(|theirs| theirs.list == ours.list) {
            let common = ours.share.min(theirs.share);
            if ours.reading == theirs.reading { alike += common } else { across += common }
        }
    }
    (alike, across)
}

/// How two tasks stand to each other: what the greater of their [`degrees`] says.
pub(super) fn relation(a: &[Reading], b: &[Reading]) -> Relation {
    match degrees(a, b) {
        (0., 0.) => Relation::Unrelated,
        (alike, across) if alike >= across => Relation::Related,
        _ => Relation::Conflicting,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn graph(nodes: serde_json::Value) -> Vec<Node> {
        serde_json::from_value(nodes).expect("a graph")
    }

    fn wrong(nodes: serde_json::Value) -> String {
        format!("{:#}", readings(&graph(nodes)).expect_err("a wrong graph"))
    }

    #[test]
    fn relations_become_readings_of_the_same_words() {
        let found = readings(&graph(json!([
            { "name": "topic" },
            { "name": "genre", "classes": 2, "related": { "topic": 0.75 } },
            { "name": "clash", "conflict": { "topic": 1. } },
            { "name": "echo", "related": { "clash": 0.5 }, "conflict": { "genre": 0.5 } },
            { "name": "third", "conflict": { "topic": 1., "clash": 1. } },
            { "name": "mood", "kind": "regression" },
        ])))
        .expect("a valid graph");
        let reading = |list, reading, share| Reading { list, reading, share };
        assert_eq!(found[0], [reading(0, 0, 1.)]);
        assert_eq!(found[1], [reading(0, 0, 0.75), reading(1, 0, 0.25)]);
        assert_eq!(found[2], [reading(0, 1, 1.)]);
        // Half of its cues are words of `topic`, read as `clash` reads them, which is not as `genre` does; an eighth are
        // words of `genre`'s own, read across; the rest are its own.
        assert_eq!(found[3], [reading(0, 1, 0.5), reading(1, 1, 0.125), reading(2, 0, 0.375)]);
        assert_eq!(found[4], [reading(0, 2, 1.)]);
        assert_eq!(found[5], [reading(3, 0, 1.)]);
        // Hand-computed: the lesser share of each common list.
        assert_eq!(degrees(&found[0], &found[1]), (0.75, 0.));
        assert_eq!(degrees(&found[1], &found[2]), (0., 0.75));
        assert_eq!(degrees(&found[1], &found[3]), (0., 0.625));
        assert_eq!(degrees(&found[2], &found[3]), (0.5, 0.));
        assert_eq!(relation(&found[0], &found[1]), Relation::Related);
        assert_eq!(relation(&found[1], &found[3]), Relation::Conflicting);
        assert_eq!(relation(&found[2], &found[4]), Relation::Conflicting);
        assert_eq!(relation(&found[0], &found[5]), Relation::Unrelated);
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_reason() {
        let error = wrong(json!([{ "name": "a", "related": { "b": 1. } }, { "name": "b" }]));
        assert!(error.contains("task `a`") && error.contains("`b` is no task that stands before it"), "{error}");
        let error = wrong(json!([{ "name": "topic" }, { "name": "b", "related": { "topik": 1. } }]));
        assert!(error.contains("did you mean `topic`?"), "{error}");
        let error = wrong(json!([{ "name": "a" }, { "name": "a" }]));
        assert!(error.contains("a name of its own"), "{error}");
        let error = wrong(json!([{ "name": "a", "classes": 3 }]));
        assert!(error.contains("2 or 4, found 3"), "{error}");
        let error = wrong(json!([{ "name": "a" }, { "name": "b", "related": { "a": 1.5 } }]));
        assert!(error.contains("(0, 1], found 1.5"), "{error}");
        let both = json!([{ "name": "a" }, { "name": "b", "related": { "a": 1. }, "conflict": { "a": 1. } }]);
        assert!(wrong(both).contains("contradict each other"));
        let error =
            wrong(json!([{ "name": "a" }, { "name": "b" }, { "name": "c", "related": { "a": 0.7, "b": 0.7 } }]));
        assert!(error.contains("sum to 1.4"), "{error}");
    }
}
