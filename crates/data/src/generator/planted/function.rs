//! What a task may make of two lists of words, and the dials that are checked across the tasks of a graph.
//!
//! Of four classes that a reading has, a function sees the half, v ∈ {0, 1}, that the cues of each list say, v₁ and v₂:
//!
//! - parity: v₁ ⊕ v₂, of which neither list alone says anything;
//! - pair: 2·v₁ + v₂, which names both halves;
//! - either: v₁ = v₂ = the class (or, of four classes, all that the reading has), so that each list alone is enough.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use mtl_task::rng::Stream;
use serde::{Deserialize, Serialize};

use super::graph::{Form, Node, Reading};
use super::lexicon::CLASSES;

/// What is made of what two lists say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Function {
    /// Whether the two halves differ: two classes.
    Parity,
    /// Both halves: four classes.
    Pair,
    /// Both lists say the class.
    Either,
}

impl Function {
    /// What each of the two lists says in a text of class `class`, as one of [`Function::levels`].
    pub(super) fn said(self, class: usize, stream: &mut Stream) -> [usize; 2] {
        match self {
            Self::Parity => {
                let first = stream.below(2);
                [first, first ^ class]
            }
            Self::Pair => [class / 2, class % 2],
            Self::Either => [class, class],
        }
    }

    /// How many things a list may say, for a task of `classes`.
    pub(super) fn levels(self, classes: usize) -> usize {
        if self == Self::Either { classes } else { 2 }
    }

    /// The classes that it needs, if one number alone will do.
    fn classes(self) -> Option<usize> {
        match self {
            Self::Parity => Some(2),
            Self::Pair => Some(CLASSES),
            Self::Either => None,
        }
    }
}

/// What is asked of a suite beside its graph.
pub(super) struct Asked {
    pub(super) cues: usize,
    pub(super) noise: f64,
    pub(super) shared_inputs: bool,
}

/// Refuses dials of `graph`, whose readings are `found`, that cannot be.
pub(super) fn check(graph: &[Node], found: &[Vec<Reading>], asked: &Asked) -> Result<()> {
    for (at, (node, read)) in graph.iter().zip(found).enumerate() {
        let earlier = graph.get(..at).unwrap_or_default();
        one(node, read, earlier, asked).with_context(|| format!("task `{}` of the graph", node.name))?;
        if node.probe.is_some() {
            probed(node, read, earlier, found).with_context(|| format!("task `{}` of the graph", node.name))?;
        }
    }
    Ok(())
}

fn one(node: &Node, read: &[Reading], earlier: &[Node], asked: &Asked) -> Result<()> {
    let noise = |node: &Node| node.noise.unwrap_or(asked.noise);
    ensure!((0. ..=1.).contains(&noise(node)), "`noise` must lie in [0, 1], found {}", noise(node));
    if let Some(function) = node.function {
        ensure!(node.kind == Form::Classification, "`function` is of classifications alone");
        if let Some(classes) = function.classes().filter(|classes| *classes != node.classes) {
            bail!("this `function` has {classes} classes, found `classes` = {}", node.classes);
        }
        let even = read.len() == 2 && read.iter().all(|reading| (reading.share - 0.5).abs() < 1e-9);
        ensure!(
            even,
            "`function` is of two lists, half of the cues from each (two relations of 0.5, or one and words of its own); \
             the task reads {} of shares {:?}",
            read.len(),
            read.iter().map(|reading| reading.share).collect::<Vec<_>>()
        );
        ensure!(asked.cues.is_multiple_of(2), "`function`: `cues` must be even, found {}", asked.cues);
    }
    if let Some(name) = &node.noise_of {
        let Some(other) = earlier.iter().find(|other| other.name == *name) else {
            let names = earlier.iter().map(|other| other.name.as_str());
            bail!("noise_of: `{name}` is no task that stands before it{}", mtl_task::nearest(name, names));
        };
        ensure!(asked.shared_inputs, "noise_of: the tasks have to label the same texts; set shared_inputs = true");
        ensure!(
            node.kind == Form::Classification && other.kind == Form::Classification && node.classes == other.classes,
            "noise_of: both tasks have to be classifications of as many classes; found {} and {}",
            node.classes,
            other.classes
        );
        ensure!(
            noise(node) == noise(other),
            "noise_of: both tasks have to have as much noise; found {} and {}",
            noise(node),
            noise(other)
        );
        if let Some(first) = &other.noise_of {
            bail!("noise_of: `{name}` has the noise of `{first}`; name that one");
        }
    }
    Ok(())
}

fn probed(node: &Node, read: &[Reading], earlier: &[Node], found: &[Vec<Reading>]) -> Result<()> {
    ensure!(
        node.function == Some(Function::Either),
        "probe: only where either list is enough can one be silenced; set function = \"either\""
    );
    ensure!(
        told(node, read, earlier, found).is_some(),
        "probe: a task was expected that stands before it and reads one of its two lists and not the other, found `{}`",
        node.probe.as_deref().unwrap_or_default()
    );
    Ok(())
}

/// The place among what `node` reads of the list that alone says the class in test texts; none if both do.
pub(super) fn told(node: &Node, read: &[Reading], earlier: &[Node], found: &[Vec<Reading>]) -> Option<usize> {
    let name = node.probe.as_ref()?;
    let at = earlier.iter().position(|other| other.name == *name)?;
    let lists: BTreeSet<usize> = found.get(at)?.iter().map(|reading| reading.list).collect();
    let known: Vec<usize> =
        read.iter().enumerate().filter(|(_, ours)| lists.contains(&ours.list)).map(|(place, _)| place).collect();
    match known.as_slice() {
        [place] => Some(*place),
        _ => None,
    }
}
