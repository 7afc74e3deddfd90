//! Was the planted truth found? For tasks of the planted suite it is known which pairs conflict and what belongs together.
//!
//! Conflict: the area under the ROC curve over pairs, conflicting ones against unrelated ones, where what noise hides
//! counts as 0. The planted conflict lies in the words, which one task has to tell apart and the other has to treat
//! alike, so the word table is what is judged: by how row_conflict its rows are, and beside it by −ρ, corrected and raw.
//! Cosines do not find it dependably: with private heads in a wide space two tasks' gradients are nearly at right angles
//! whether they conflict or have nothing to do with each other. Groups: the adjusted Rand index against the factors
//! that the labels depend on.
//!
//! The budget at which the suite is told apart (area ≥ 0.9 by row_conflict): the first 30 steps at rate 1e-3, every second
//! one measured, four half-batches of 16. Later, when the tasks are learnt, what is left of their gradients is noise.

use mtl_data::generator::{Relation, Truth, truth};
use mtl_eval::recovery::{adjusted_rand, roc_auc};
use serde::Serialize;

use super::diagnosis::couples;
use super::{Diagnosis, Grouping};
use crate::Located;

/// How well diagnoses of planted tasks met the truth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recovery {
    /// The part that is judged.
    pub part: String,
    /// Area under the curve of conflict by how row_conflict the part's rows are; none without both kinds of pairs.
    pub row_conflict: Option<f64>,
    /// The same by −ρ, corrected cosines.
    pub corrected_cosine: Option<f64>,
    /// The same by raw cosines.
    pub raw_cosine: Option<f64>,
    /// Area under the curve of relatedness by agreement, related pairs against all others.
    pub agreement: Option<f64>,
    /// Adjusted Rand index of the grouping by affinity, mean over diagnoses.
    pub affinity_rand: f64,
    /// The same of the grouping by row overlap.
    pub common_ground_rand: f64,
    /// Pairs judged for conflict.
    pub pairs: usize,
}

/// What is known of the datasets of `located`, in their order; none unless all of them are of one planted suite.
pub fn planted(located: &Located) -> Option<Truth> {
    let settings = |generator: &mtl_data::manifest::Generator| {
        (generator.name == "planted").then(|| serde_json::to_value(&generator.settings).ok())?
    };
    let of = |dataset: &crate::LocatedDataset| dataset.manifest.generator.as_ref().and_then(settings);
    let settings: Vec<serde_json::Value> = located.datasets.iter().map(of).collect::<Option<_>>()?;
    truth(&settings)
}

/// The scores of `diagnoses` of planted tasks of which `known` is the truth (in the diagnoses' order), pairs pooled over
/// all of them, on `part`, such as `shared/words`.
pub fn recovery(diagnoses: &[Diagnosis], known: &Truth, part: &str) -> Recovery {
    let (mut row_conflict, mut corrected, mut raw, mut conflicting) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut agreement, mut related) = (Vec::new(), Vec::new());
    for diagnosis in diagnoses {
        for (pair, (i, j)) in diagnosis.pairs.iter().zip(couples(known.factors.len())) {
            let truth = known.relations[i][j];
            let (cosine, table) = (pair.parts.get(part), pair.tables.get(part));
            let estimate = |found: Option<&mtl_eval::stats::Interval>| found.map_or(0., |interval| interval.estimate);
            agreement.push(estimate(table.and_then(|table| table.agreement.as_ref())));
            related.push(truth == Relation::Related);
            if truth != Relation::Related {
                row_conflict.push(estimate(table.and_then(|table| table.row_conflict.as_ref())));
                corrected.push(-estimate(cosine.and_then(|cosine| cosine.corrected.as_ref())));
                raw.push(-cosine.map_or(0., |cosine| cosine.raw));
                conflicting.push(truth == Relation::Conflicting);
            }
        }
    }
    let agreeing = |grouping: &dyn Fn(&Diagnosis) -> Option<Grouping>| {
        let found: Vec<f64> = (diagnoses.iter().filter_map(grouping))
            .map(|grouping| adjusted_rand(&grouping.group_of, &known.factors))
            .collect();
        found.iter().sum::<f64>() / found.len().max(1) as f64
    };
    Recovery {
        part: part.to_string(),
        row_conflict: roc_auc(&row_conflict, &conflicting),
        corrected_cosine: roc_auc(&corrected, &conflicting),
        raw_cosine: roc_auc(&raw, &conflicting),
        agreement: roc_auc(&agreement, &related),
        affinity_rand: agreeing(&|diagnosis| Some(diagnosis.grouping.clone())),
        common_ground_rand: agreeing(&|diagnosis| diagnosis.common_ground.clone()),
        pairs: conflicting.len(),
    }
}
