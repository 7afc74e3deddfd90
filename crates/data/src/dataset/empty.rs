//! Why a split holds nothing, and what would fill it.

use std::collections::{BTreeMap, BTreeSet};

use mtl_task::{Cell, Kind, Label};

use crate::RawExample;
use crate::manifest::DatasetManifest;
use crate::split::Rows;

/// What is told of the rows that splits were drawn from, taken before they are used up.
pub(super) struct Census {
    rows: usize,
    texts: usize,
    /// Rows by class, for a classification.
    classes: BTreeMap<String, usize>,
}

impl Census {
    pub(super) fn new(rows: &Rows, kind: &Kind) -> Self {
        let all = || [&rows.train, &rows.dev, &rows.test].into_iter().flatten();
        let class = |row: &RawExample| match &row.label {
            Cell::Text(class) if matches!(kind.truth, Label::Class(_)) => Some(class.clone()),
            _ => None,
        };
        let mut classes = BTreeMap::new();
        all().filter_map(class).for_each(|class| *classes.entry(class).or_default() += 1);
        let texts = all().map(|row| row.texts.normalised()).collect::<BTreeSet<_>>().len();
        Self { rows: all().count(), texts, classes }
    }

    /// Why the split `which` is empty.
    pub(super) fn why(&self, which: &str, manifest: &DatasetManifest) -> String {
        let splits = &manifest.splits;
        let (files, share) = match which {
            "dev" => (&splits.dev, splits.dev_share.unwrap_or(0.1)),
            "test" => (&splits.test, splits.test_share.unwrap_or(0.2)),
            _ => (&splits.train, 1.),
        };
        if !files.is_empty() || which == "train" {
            return format!("the {which} split is empty: none of the rows of its files has a text and a label");
        }
        let largest = self.classes.values().copied().max().unwrap_or(self.rows);
        let wanted = share * self.rows as f64;
        let file = format!("name a file for it ([splits] {which} = […])");
        let found = format!(
            "the {which} split is empty: {which}_share = {share} of {} {} with {} distinct {} was to be drawn",
            self.rows,
            if self.rows == 1 { "row" } else { "rows" },
            self.texts,
            if self.texts == 1 { "text" } else { "texts" },
        );
        // The first of a class's rows that a share gives is that of half a row.
        let least = (0.5 / share).ceil() as usize;
        if wanted < 0.5 {
            return format!(
                "{found}, which is none; {file}, give more rows, or set a larger {which}_share (below 0.5)"
            );
        }
        if self.texts * 2 < self.rows {
            return format!(
                "{found}, and rows with the same text are never parted: a text's rows are more than that share; {file}, \
                 or give more texts"
            );
        }
        // Classes are of texts, so the label is no column of tags.
        if self.classes.len() * 2 > self.rows {
            return format!(
                "{found}, and there are {} classes: nearly every row has one of its own, so `{}` may be the wrong column \
                 (an id?): set label in the manifest's [columns]; for numbers, kind = \"regression\" in [task]",
                self.classes.len(),
                manifest.columns.label(false)
            );
        }
        if largest < least {
            return format!(
                "{found}, class by class, and the largest of the {} classes has {largest} rows where at least {least} are \
                 needed; {file}, give more rows, or set a larger {which}_share (below 0.5)",
                self.classes.len()
            );
        }
        format!("{found}; {file}, or give more texts")
    }
}
