//! Task affinity by look-ahead: Z_{i→j} = 1 − ℓⱼ(θ − η·gᵢ, θⱼ) / ℓⱼ(θ, θⱼ), θ the shared parameters.
//!
//! Fifty et al., "Efficiently identifying task groupings for multi-task learning" (NeurIPS 2021). Z > 0: a step for
//! task i alone lowers the loss of task j. Deviation: gᵢ comes from one half-batch and ℓⱼ from another, so that Zᵢᵢ is
//! no praise of fitting the very examples; the paper has one batch with all tasks' labels.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use mtl_backbone::TaskGradient;
use mtl_sharing::Model;
use mtl_task::TaskBatch;

use crate::step::Trainer;

/// Z of every task onto every task, `[i][j]`, from the gradients `rows` and losses on `judged`. The parameters are
/// the same behind it, bit for bit.
pub(super) fn look_ahead(
    trainer: &Trainer,
    rows: &[TaskGradient],
    judged: &[TaskBatch],
    step: usize,
    rate: f64,
) -> Result<Vec<Vec<f64>>> {
    let shared = trainer.model.shared();
    let before = trainer.losses(judged, step)?;
    if let Some(task) = before.iter().position(|loss| !(loss.is_finite() && *loss > 0.)) {
        bail!(
            "step {step}: the loss of task `{}` is {}; affinity divides by it",
            trainer.model.tasks[task].name,
            before[task]
        );
    }
    rows.iter()
        .map(|row| {
            let kept = descend(&trainer.model, row, &shared, rate)?;
            let after = trainer.losses(judged, step);
            for (name, values) in &kept {
                trainer.model.params.get(name).context("a parameter vanished")?.var().set(values)?;
            }
            Ok(after?.iter().zip(&before).map(|(after, before)| 1. - after / before).collect())
        })
        .collect()
}

/// θ ← θ − `rate`·g over the parameters `names`; answers what they were.
fn descend(model: &Model, row: &TaskGradient, names: &BTreeSet<String>, rate: f64) -> Result<Vec<(String, Tensor)>> {
    let mut kept = Vec::new();
    for (name, segment) in row.0.iter().filter(|(name, _)| names.contains(*name)) {
        let param = model.params.get(name).with_context(|| format!("no parameter `{name}`"))?;
        let old = param.snapshot()?;
        let gradient = segment.dense(param.layout().len())?.tensor(old.device())?.reshape(old.shape())?;
        param.var().set(&(&old - (gradient * rate)?)?)?;
        kept.push((name.clone(), old));
    }
    Ok(kept)
}
