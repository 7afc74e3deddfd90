//! What a diagnosis says.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use mtl_eval::recovery::{Halves, corrected_cosine, mean_over_draws, row_conflict};
use mtl_eval::stats::Interval;
use serde::Serialize;

use super::conflict::ALL;
use super::{Diagnostics, Settings, grouping};

/// A cosine between two tasks' gradients over measurements.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cosine {
    /// The mean of what half-batches give, which noise pulls towards 0.
    pub raw: f64,
    /// Freed of noise, with its interval; none where a task's half-batches hardly agree with each other.
    pub corrected: Option<Interval>,
}

/// How the gradients of two tasks stand to each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// One task.
    pub first: String,
    /// The other one.
    pub second: String,
    /// Over all shared parameters together; none where the two share nothing.
    pub all: Option<Cosine>,
    /// By part, such as `shared/layer.0`.
    pub parts: BTreeMap<String, Cosine>,
    /// By table, such as `shared/words`: what the two demand of its rows. Empty with fewer than four half-batches.
    pub tables: BTreeMap<String, RowConflict>,
    /// Share of the parts whose corrected cosine's interval lies below 0.
    pub in_conflict: f64,
}

/// What two tasks demand of the rows of a table; none of it where noise hides it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowConflict {
    /// ω, 0 to 1: whether they move the same rows.
    pub overlap: Option<Interval>,
    /// κ, 0 to 1: whether they want the same rows moved alike.
    pub agreement: Option<Interval>,
    /// ω − κ, about 0 (they move other rows, or want the same of them) to 1 (the same rows, in patterns that do not
    /// match).
    pub row_conflict: Option<Interval>,
}

/// A division of the tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Grouping {
    /// Task names, group by group.
    pub groups: Vec<Vec<String>>,
    /// Each task's group, in the order of the tasks.
    pub group_of: Vec<u32>,
    /// Σⱼ of the mean over the others in its group of what speaks for putting them with task j.
    pub score: f64,
}

impl Grouping {
    fn of(tasks: &[String], affinity: &[Vec<f64>], most: usize) -> Self {
        let (group_of, score) = grouping(affinity, most);
        let members = |group: u32| (tasks.iter().zip(&group_of)).filter(move |(_, of)| **of == group);
        let groups = (0..group_of.iter().max().map_or(0, |last| last + 1))
            .map(|group| members(group).map(|(task, _)| task.clone()).collect())
            .collect();
        Self { groups, group_of, score }
    }
}

/// How alike two tasks' states are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Similarity {
    /// One task.
    pub first: String,
    /// The other one.
    pub second: String,
    /// Linear CKA by layer, bottom up; `last` alone where a strategy has no weights of one plain encoder.
    pub layers: Vec<(String, f64)>,
    /// Whether the states are the same numbers, as under one shared encoder: then CKA is 1 by construction.
    pub same: bool,
}

/// What the measurements cost beside training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Forwards and backwards of a half-batch.
    pub gradients: usize,
    /// Further forwards of a half-batch.
    pub forwards: usize,
}

/// How the tasks of a run got on with each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diagnosis {
    /// Task names.
    pub tasks: Vec<String>,
    /// Steps trained.
    pub steps: usize,
    /// Measurements on the way.
    pub measurements: usize,
    /// How they were made.
    pub settings: Settings,
    /// Every pair of tasks.
    pub pairs: Vec<Pair>,
    /// Affinity `[i][j]` of task i onto task j.
    pub affinity: Vec<Vec<Interval>>,
    /// The best division into groups by affinity.
    pub grouping: Grouping,
    /// The best division by the rows that tasks move: by ω − ½ of the first table.
    pub common_ground: Option<Grouping>,
    /// Every pair of tasks, at the end of training.
    pub similarity: Vec<Similarity>,
    /// The strategy's own facts, such as the overlap of masks.
    pub findings: serde_json::Value,
    /// What it cost.
    pub cost: Cost,
}

/// The pairs of `count` tasks, in the order of [`Diagnosis::pairs`].
pub(super) fn couples(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |i| (i + 1..count).map(move |j| (i, j)))
}

/// The diagnosis of everything that was measured.
pub(super) fn of(seen: Diagnostics) -> Result<Diagnosis> {
    let Diagnostics { settings, tasks, conflict, affinity, similarity, findings, steps, .. } = seen;
    let (count, measurements) = (tasks.len(), affinity.len());
    if measurements < 4 {
        bail!(
            "{measurements} measurements in {steps} steps; an interval needs at least 4: measure more often than every \
             {} steps from step {} on, or train longer",
            settings.every,
            settings.from
        );
    }
    let cosine = |halves: &Vec<Halves>| Cosine {
        raw: halves.iter().map(|halves| halves.between).sum::<f64>() / halves.len() as f64,
        corrected: corrected_cosine(halves, settings.reliability, settings.confidence),
    };
    let mut pairs = Vec::new();
    for pair @ (i, j) in couples(count) {
        let of_pair = |part: &str| conflict.halves.get(part).and_then(|pairs| pairs.get(&pair)).map(cosine);
        let parts: BTreeMap<String, Cosine> = (conflict.halves.keys().filter(|part| *part != ALL))
            .filter_map(|part| Some((part.clone(), of_pair(part)?)))
            .collect();
        let below = |cosine: &&Cosine| cosine.corrected.as_ref().is_some_and(|interval| interval.high < 0.);
        let in_conflict = parts.values().filter(below).count() as f64 / parts.len().max(1) as f64;
        let tables = (conflict.row_statistics.iter())
            .filter_map(|(table, pairs)| {
                let (places, patterns): (Vec<Halves>, Vec<Halves>) = pairs
                    .get(&pair)?
                    .iter()
                    .map(|row_statistics| (row_statistics.places, row_statistics.patterns))
                    .unzip();
                let (least, confidence) = (settings.reliability, settings.confidence);
                let found = RowConflict {
                    overlap: corrected_cosine(&places, least, confidence),
                    agreement: corrected_cosine(&patterns, least, confidence),
                    row_conflict: row_conflict(&places, &patterns, least, confidence),
                };
                Some((table.clone(), found))
            })
            .collect();
        let (first, second) = (tasks[i].clone(), tasks[j].clone());
        pairs.push(Pair { first, second, all: of_pair(ALL), parts, tables, in_conflict });
    }
    let mut means = vec![Vec::new(); count];
    for (i, row) in means.iter_mut().enumerate() {
        for j in 0..count {
            let values: Vec<f64> = affinity.iter().map(|measured| measured[i][j]).collect();
            row.extend(mean_over_draws(&values, settings.confidence));
        }
    }
    let estimates: Vec<Vec<f64>> = means.iter().map(|row| row.iter().map(|z| z.estimate).collect()).collect();
    let divided = Grouping::of(&tasks, &estimates, settings.groups);
    let common_ground = conflict.row_statistics.keys().next().map(|table| {
        let mut overlap = vec![vec![0.; count]; count];
        for (pair, (i, j)) in pairs.iter().zip(couples(count)) {
            let found = pair.tables.get(table).and_then(|row_conflict| row_conflict.overlap.as_ref());
            // Noise alone is no row overlap.
            let value = found.map_or(0., |interval| interval.estimate) - 0.5;
            (overlap[i][j], overlap[j][i]) = (value, value);
        }
        Grouping::of(&tasks, &overlap, count)
    });
    let cost = Cost {
        gradients: measurements * settings.mini_batches * count,
        forwards: measurements * (count * count + count),
    };
    Ok(Diagnosis {
        steps,
        measurements,
        pairs,
        affinity: means,
        grouping: divided,
        common_ground,
        similarity,
        findings,
        cost,
        settings,
        tasks,
    })
}
