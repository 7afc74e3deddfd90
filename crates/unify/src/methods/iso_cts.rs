//! Isotropic merging in common and task-specific subspaces: Iso-C, whose weakest directions give way to those in which
//! single tasks differ from the rest.
//!
//! For a matrix of at most r singular values: U_c, V_c and σ_c are the first c of Σ Δₖ = UΣVᵀ; of every task the first
//! s of (1 − U_c U_cᵀ) Δₖ are put beside them, c + K s = r with c near `common` · r. Then W = W₀ + λ σ̄ U⊥ V⊥ᵀ, U⊥ and
//! V⊥ the nearest orthogonal matrices, σ̄ = Σ σ / r. Of all other tensors λ times the mean of the task vectors is
//! added.
//!
//! Marczak et al., "No task left behind: isotropic model merging with common and task-specific subspaces", ICML 2025,
//! algorithm 2 (Iso-CTS); `common` = 0.8 is theirs. As in their code, s = round((r − ⌊common · r⌋)/K), a half to even;
//! where K s would be more than r, which leaves their code with a negative c, s is rounded down. `exclude` averages
//! what it names.

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::each::{mean, moved, weighted_sum};
use crate::linear::{add_scaled, outer_sum};
use crate::svd::{Svd, orthogonal};
use crate::{Inputs, Merge, Merged, Method, Needs, settings};

/// The entry of the registry.
pub const METHOD: Method = Method {
    name: "iso-cts",
    aliases: &[],
    about: "equal singular values in a common subspace and one of each task",
    paper: "Marczak et al., ICML 2025, arXiv:2502.04959",
    needs: Needs::WEIGHTS,
    per_task: false,
    build,
    defaults: settings::defaults::<IsoCtsSettings>,
    source: include_str!("iso_cts.rs"),
};

/// The settings of `method = "iso-cts"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsoCtsSettings {
    /// The share of directions that all tasks have in common, from 0 to 1.
    pub common: f64,
    /// λ, how much of the result is added to the ancestor.
    pub scaling: f64,
    /// Parts of names of matrices that are averaged instead, such as `embeddings`.
    pub exclude: Vec<String>,
}

impl Default for IsoCtsSettings {
    fn default() -> Self {
        Self { common: 0.8, scaling: 1.0, exclude: Vec::new() }
    }
}

fn build(given: &Value) -> Result<Box<dyn Merge>, String> {
    let read: IsoCtsSettings = settings::read(METHOD.name, given)?;
    settings::share(METHOD.name, "common", read.common)?;
    settings::finite(METHOD.name, "scaling", read.scaling)?;
    Ok(Box::new(IsoCts(read)))
}

struct IsoCts(IsoCtsSettings);

impl Merge for IsoCts {
    fn merge(&self, inputs: &Inputs) -> Result<Merged> {
        settings::known_names(METHOD.name, &self.0.exclude, inputs)?;
        moved(inputs, self.0.scaling, |name, ancestor| {
            let deltas = inputs.deltas(name)?;
            let Some((rows, columns)) = settings::matrix(name, ancestor, &self.0.exclude) else {
                return Ok(mean(&deltas));
            };
            let rank = rows.min(columns);
            let (common, own) = subspaces(self.0.common, rank, deltas.len());
            let mut all = Svd::of(&weighted_sum(&deltas, &vec![1.0; deltas.len()]), rows, columns);
            all.left.truncate(common);
            all.values.truncate(common);
            all.right.truncate(common);
            let shared = all.left.clone();
            for mut delta in deltas {
                shared.iter().for_each(|vector| remove(vector, &mut delta, columns));
                let rest = Svd::of(&delta, rows, columns);
                all.left.extend(rest.left.into_iter().take(own));
                all.values.extend(rest.values.into_iter().take(own));
                all.right.extend(rest.right.into_iter().take(own));
            }
            let equal = all.values.iter().sum::<f64>() / rank.max(1) as f64;
            let (left, right) = (orthogonal(all.left), orthogonal(all.right));
            Ok(outer_sum(&vec![equal; left.len()], &left, &right, rows, columns))
        })
    }
}

/// How many directions are common, and how many each task has.
fn subspaces(common: f64, rank: usize, tasks: usize) -> (usize, usize) {
    let common = (common * rank as f64) as usize;
    let own = ((rank - common) as f64 / tasks as f64).round_ties_even() as usize;
    let own = if own * tasks > rank { rank / tasks } else { own };
    (rank - own * tasks, own)
}

/// Δ ← Δ − u uᵀ Δ.
fn remove(u: &[f64], delta: &mut [f64], columns: usize) {
    let mut along = vec![0.0; columns];
    u.iter().zip(delta.chunks_exact(columns)).for_each(|(u, row)| add_scaled(&mut along, *u, row));
    u.iter().zip(delta.chunks_exact_mut(columns)).for_each(|(u, row)| add_scaled(row, -u, &along));
}

#[cfg(test)]
mod tests {
    use super::subspaces;

    #[test]
    fn the_directions_are_shared_out_without_rest() {
        let found = [(0.8, 8, 3), (0.8, 6, 3), (0.5, 5, 3), (0.0, 5, 3), (1.0, 7, 2), (0.8, 384, 8)];
        let found = found.map(|(common, rank, tasks)| subspaces(common, rank, tasks));
        // Of 5 directions, 3 tasks would have 2 each.
        assert_eq!(found, [(5, 1), (3, 1), (2, 1), (2, 1), (7, 0), (304, 10)]);
    }
}
