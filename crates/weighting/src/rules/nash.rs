//! Nash-MTL: the tasks bargain over the direction, and each gains in proportion to what it could gain alone.
//!
//! α > 0 with αᵢ (Gα)ᵢ = 1 for every task; d = Σ αᵢ gᵢ.
//!
//! Navon et al., "Multi-Task Learning as a Bargaining Game", ICML 2022, algorithm 1. The equation is solved exactly by
//! [`mtl_nash`]; the authors' code solves it approximately and keeps its last iterate, without a word, where that
//! fails. As in the authors' code ‖d‖ is clipped to `max_norm` = 1, and since αᵀGα = K that bites on every step with
//! at least two tasks; unlike there, the tasks' own parameters follow the trainer's `private` policy.
//! Where no bargain exists, see the policy of the bargaining table: the last agreement goes on.

use mtl_nash::{Gram, Settings as Kernel, bargain};
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
    name: "nash",
    aliases: &["nash-mtl"],
    about: "the Nash bargaining solution of the task gradients",
    paper: "Navon et al., ICML 2022, arXiv:2202.01017",
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
    defaults: settings::defaults::<NashSettings>,
    source: include_str!("nash.rs"),
};

/// The settings of `rule = "nash"`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NashSettings {
    /// The largest norm of the shared direction; 0 is no bound.
    #[serde(deserialize_with = "settings::bound")]
    pub max_norm: f64,
    /// Steps from one bargain to the next; in between the last agreement holds.
    pub refresh: usize,
}

impl Default for NashSettings {
    fn default() -> Self {
        Self { max_norm: 1.0, refresh: 1 }
    }
}

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    let NashSettings { max_norm, refresh } = settings::read(RULE.name, given)?;
    Ok(Weighting::Gram(Box::new(Nash(Table::new(RULE.name, tasks, max_norm, refresh)?))))
}

struct Nash(Table);

impl WeightingRule for Nash {
    fn cached(&self, progress: Progress) -> Option<CachedWeights> {
        self.0.cached(progress)
    }

    fn shapes(&self) -> &'static [(&'static str, StateShape)] {
        &[("alpha", StateShape::PerTask)]
    }

    fn state(&self) -> State {
        self.0.state()
    }

    fn restore(&mut self, state: &State) -> Result<(), String> {
        self.0.restore(state)
    }
}

impl FromGram for Nash {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        self.0.settle(gram, |gram| bargain(gram, &Kernel::default()))
    }
}
