//! Single-task learning at the cost of one encoder: every task has an encoder of a K-th of the parameters, the fair
//! rival of a shared one.
//!
//! The first n = max(⌊L/K⌋, 1) layers, and the word table E ≈ U·V by truncated singular value decomposition, U ∈
//! R^{V×r} and V ∈ R^{r×W}: half of a small encoder is its word table, so that leaving layers out is not enough. A pass
//! gathers the rows of the narrower table U and projects them; E is never made again, and U's gradient stays by rows.
//! The rank r is the one whose total, n layers, other embeddings, U and V, comes nearest to P/K. It must come within
//! `tolerance` of it; what was reached stands in the findings.
//!
//! Defaults: `tolerance` 0.01. Deviations: none, there is no published code.
//!
//! Parameters: K·(r·(V + W) + P_embeddings + n·P_layer), which is P up to `tolerance`.

use std::sync::Arc;

use anyhow::bail;
use candle_core::{DType, Device, Result, Tensor};
use mtl_backbone::{Encoder, Family, Flat, Layout, Param, ParameterView, Part, Pass, Ports};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::blocks::singular_values::eigenvalues;
use crate::blocks::values::copied;
use crate::{BuildContext, Sharing, Strategy, StrategySettings};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<SingleSmall>(
    "single-small",
    "an encoder of a K-th of the parameters per task: the baseline of equal size",
    "-",
    "K·(P/K), up to 1 %",
    false,
)
.with_source(include_str!("single_small.rs"));

/// The `[sharing]` section of `strategy = "single-small"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SingleSmall {
    /// How far the number of parameters of a task's encoder may be from P/K, as a fraction of P/K; above 0.
    pub tolerance: f64,
}

impl Default for SingleSmall {
    fn default() -> Self {
        Self { tolerance: 0.01 }
    }
}

impl StrategySettings for SingleSmall {
    fn check(&self, _tasks: usize) -> anyhow::Result<()> {
        if !(self.tolerance > 0. && self.tolerance.is_finite()) {
            bail!("`tolerance` is {}, but no rank meets a budget exactly; 0.01 is usual", self.tolerance);
        }
        Ok(())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let plan = Plan::of(&context.encoder, context.pretrained.count(), context.tasks.len());
        let apart = (plan.achieved as f64 - plan.share).abs() / plan.share;
        if apart > self.tolerance {
            bail!(
                "a task's encoder of {} of {} layers and a word table of rank {} has {} parameters, {:.1} % from its share \
                 {:.0} of one encoder; train fewer tasks, or raise `tolerance` (it is {})",
                plan.layers,
                context.encoder.layers(),
                plan.rank,
                plan.achieved,
                100. * apart,
                plan.share,
                self.tolerance
            );
        }
        let words = context.encoder.layout(Part::Words).entries()[0].clone();
        let table = context.pretrained.weights(Part::Words, DType::F64).tensor(&Device::Cpu)?;
        let (narrow, projection) = factors(&table.reshape(words.shape.as_slice())?, plan.rank)?;
        let narrow = Flat::of(&narrow)?;
        let layout = Layout::table(words.name, words.shape[0], plan.rank);
        let mut tasks = Vec::new();
        for scope in &context.each() {
            let above = Part::all(plan.layers).skip(1);
            tasks.push(Small {
                words: context.insert(scope, "words", &layout, &narrow)?,
                projection: context.insert_tensor(scope, "words.projection", &projection, true)?,
                above: above.map(|part| context.insert_part(scope, part)).collect::<Result<_>>()?,
            });
        }
        Ok(Box::new(Smalls { encoder: context.encoder.clone(), tasks, plan }))
    }
}

/// What a task's encoder is made of.
struct Plan {
    layers: usize,
    rank: usize,
    /// Its parameters.
    achieved: usize,
    /// What they should be.
    share: f64,
}

impl Plan {
    /// The plan for `tasks` encoders that take as much as one of `total` parameters.
    fn of(encoder: &Family, total: usize, tasks: usize) -> Self {
        let table = &encoder.layout(Part::Words).entries()[0].shape;
        let (rows, width) = (table[0], table[1]);
        let layers = (encoder.layers() / tasks).max(1).min(encoder.layers());
        let fixed: usize = Part::all(layers).skip(1).map(|part| encoder.layout(part).len()).sum();
        let share = total as f64 / tasks as f64;
        let rank = ((share - fixed as f64) / (rows + width) as f64).round();
        let rank = (rank.max(1.) as usize).min(rows.min(width));
        Self { layers, rank, achieved: fixed + rank * (rows + width), share }
    }
}

/// U = E·Q `[rows, rank]` and V = Qᵀ `[rank, width]`, Q being the leading eigenvectors of EᵀE: of all products of that
/// rank the one nearest to E, `[rows, width]` in f64.
fn factors(table: &Tensor, rank: usize) -> Result<(Tensor, Tensor)> {
    let width = table.dim(1)?;
    let gram = table.t()?.contiguous()?.matmul(table)?.flatten_all()?.to_vec1::<f64>()?;
    let (_, mut vectors) = eigenvalues(&gram, width);
    vectors.truncate(rank * width);
    let projection = Tensor::from_vec(vectors, (rank, width), &Device::Cpu)?;
    Ok((table.matmul(&projection.t()?)?, projection))
}

struct Smalls {
    encoder: Arc<Family>,
    tasks: Vec<Small>,
    plan: Plan,
}

/// One task's encoder.
struct Small {
    /// U, whose gradient is kept by rows.
    words: Param,
    /// V, `[rank, width]`.
    projection: Param,
    /// The other embeddings and the layers.
    above: Vec<Param>,
}

/// The rows of a narrow table that the tokens name, `[tokens, rank]`.
fn gather(view: &ParameterView, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
    let rows = view.layout.entries()[0].shape[0];
    if let Some(id) = tokens.ids.iter().find(|id| **id as usize >= rows) {
        candle_core::bail!("token id {id} lies outside a word table of {rows} rows");
    }
    pass.rows(view, 0, &tokens.ids)
}

impl Sharing for Smalls {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let own = &self.tasks[task.0];
        let words = gather(&pass.view(&own.words)?, tokens, pass)?.matmul(own.projection.tensor())?;
        let mut x = self.encoder.embed(&pass.view(&own.above[0])?, &words, tokens, pass)?;
        for layer in &own.above[1..] {
            x = self.encoder.layer(&pass.view(layer)?, &x, tokens, &Ports::default(), pass)?;
        }
        Ok(x)
    }

    /// The few layers, and U·V as the word table.
    fn plain(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let own = &self.tasks[task.0];
        let words = &own.words.layout().entries()[0].shape;
        let table = own.words.tensor().detach().reshape(words.as_slice())?.matmul(&own.projection.tensor().detach())?;
        let above = own.above.iter().map(|param| copied(&param.tensor().flatten_all()?));
        let all = std::iter::once(table.flatten_all()).chain(above);
        Ok(Some(Part::all(self.plan.layers).zip(all).map(|(part, values)| Ok((part, values?))).collect::<Result<_>>()?))
    }

    fn findings(&self) -> Result<Value> {
        let Plan { layers, rank, achieved, share } = &self.plan;
        Ok(json!({ "layers": layers, "rank": rank, "parameters": achieved, "share": share }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mtl_task::rng::Key;

    #[test]
    fn the_factors_are_the_nearest_of_their_rank() -> Result<()> {
        let mut stream = Key::new(4).stream();
        let values: Vec<f64> = (0..30 * 6).map(|_| stream.normal()).collect();
        let table = Tensor::from_vec(values, (30, 6), &Device::Cpu)?;
        let gram = table.t()?.matmul(&table)?.flatten_all()?.to_vec1::<f64>()?;
        let (squares, _) = eigenvalues(&gram, 6);
        for rank in 1..=6 {
            let (narrow, projection) = factors(&table, rank)?;
            let error = (narrow.matmul(&projection)? - &table)?.sqr()?.sum_all()?.to_scalar::<f64>()?;
            let left: f64 = squares[rank..].iter().sum();
            assert!((error - left).abs() < 1e-10, "rank {rank}: {error}, where {left} has to be left");
        }
        Ok(())
    }
}
