//! FairGrad: α-fair resource allocation between the tasks.
//!
//! w > 0 with (Gw)ᵢ = wᵢ^(−1/α) for every task; d = Σ wᵢ gᵢ. α = 1 is Nash-MTL, α → 0 the sum of the losses, α → ∞ max-min
//! fairness.
//!
//! Ban and Ji, "Fair Resource Allocation in Multi-Task Learning", ICML 2024, algorithm 1. The equation is solved exactly by
//! [`mtl_nash`]; the authors call a least-squares solver, multiply by K and clip to norm 1, which `max_norm` does here.
//! Where there is no solution, see the policy of the bargaining table.

use mtl_nash::{Gram, Settings as Kernel, fair};
use mtl_task::Progress;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::table::Table;
use crate::{
    CachedWeights, Class, FromGram, Outcome, Property, Rule, State, StateShape, StepInputs, Weighting, WeightingRule,
    settings,
};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "fairgrad",
    aliases: &[],
    about: "α-fair shares of the progress",
    paper: "Ban and Ji, ICML 2024, arXiv:2402.15638",
    verified: true,
    class: Class::Gram,
    properties: &[
        Property::PermutationEquivariant,
        Property::ScaleInvariant,
        Property::NonConflicting,
        Property::NashEquation,
    ],
    build,
    select: None,
    defaults: settings::defaults::<FairGradSettings>,
    source: include_str!("fairgrad.rs"),
};

/// The settings of `rule = "fairgrad"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FairGradSettings {
    /// Fairness: 1 is the Nash bargaining solution.
    pub alpha: f64,
    /// The largest norm of the shared direction; 0 is no bound.
    #[serde(deserialize_with = "settings::bound")]
    pub max_norm: f64,
    /// Steps from one solve to the next.
    pub refresh: usize,
}

impl Default for FairGradSettings {
    fn default() -> Self {
        Self { alpha: 1.0, max_norm: 1.0, refresh: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let FairGradSettings { alpha, max_norm, refresh } = settings::read(RULE.name, given)?;
    if alpha <= 0.0 || alpha.is_infinite() {
        return Err(format!("`alpha` of `fairgrad` must be above 0 and finite, found {alpha}"));
    }
    Ok(Weighting::Gram(Box::new(FairGrad { alpha, table: Table::new(RULE.name, tasks, max_norm, refresh)? })))
}

struct FairGrad {
    alpha: f64,
    table: Table,
}

impl WeightingRule for FairGrad {
    fn cached(&self, progress: Progress) -> Option<CachedWeights> {
        self.table.cached(progress)
    }

    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("alpha", StateShape::PerTask)]
    }

    fn state(&self) -> State {
        self.table.state()
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.table.restore(state)
    }
}

impl FromGram for FairGrad {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        self.table.settle(gram, |gram| fair(gram, self.alpha, &Kernel::default()))
    }
}
