//! Texts that bear their truth in themselves: the tokens that a task asks for, and the masks of texts that are not
//! trained on.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use mtl_task::rng::Key;
use mtl_task::{Masking, TaskSpec};
use rayon::prelude::*;

use crate::manifest::DatasetManifest;
use crate::{RawExample, Texts, Tokenizer};

/// Fills in the labels of a task that masks tokens: the tokens of the training texts `rows`, in the order of their ids.
///
/// # Errors
/// If the tokenizer has no mask token, or cannot read a text.
pub(super) fn settle(spec: &mut TaskSpec, rows: &[RawExample], tokenizer: &Tokenizer, max_tokens: usize) -> Result<()> {
    let mask = tokenizer.mask().with_context(|| {
        format!(
            "a task of kind `{}` needs a mask token, and this encoder's tokenizer has none ([MASK] or <mask>)",
            spec.kind
        )
    })?;
    let ids = |row: &RawExample| -> Result<Vec<u32>> {
        Ok(tokenizer.encode(&row.texts, max_tokens).with_context(|| row.place.to_string())?.ids)
    };
    let texts: Vec<Vec<u32>> = rows.par_iter().map(ids).collect::<Result<_>>().context("train split")?;
    let mut found: BTreeMap<u32, String> = BTreeMap::new();
    for id in texts.into_iter().flatten() {
        if id != mask && !found.contains_key(&id) {
            found.extend(tokenizer.ordinary(id).map(|token| (id, token)));
        }
    }
    let (ids, labels) = found.into_iter().unzip();
    (spec.labels, spec.masking) = (labels, Some(Masking { mask, ids }));
    Ok(())
}

/// By what the masks of `texts` are drawn where they are drawn once.
pub(super) fn key(manifest: &DatasetManifest, texts: &Texts) -> Key {
    Key::new(manifest.splits.seed).named("mask").named(&texts.normalised())
}
