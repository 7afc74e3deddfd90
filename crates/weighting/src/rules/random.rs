//! Random loss weighting: w = softmax(z), z ~ N(0, I), drawn afresh at every step.
//!
//! Lin et al., "Reasonable Effectiveness of Random Weighting", TMLR 2022, algorithm 1. The weights sum to 1 where those of
//! `equal` sum to K: compare the two at rates that differ by K.

use serde_json::Value;

use crate::settings::{self, Nothing};
use crate::softmax::softmax;
use crate::{Class, FromLosses, Outcome, Property, Rule, StepInputs, Weighting, WeightingRule};

/// The entry of the registry.
pub const RULE: Rule = Rule {
    name: "random",
    aliases: &["rlw"],
    about: "weights drawn afresh at every step",
    paper: "Lin et al., TMLR 2022, arXiv:2111.10603",
    verified: true,
    class: Class::Losses,
    properties: &[Property::LinearUnderScaling],
    build,
    select: None,
    defaults: settings::defaults::<Nothing>,
    source: include_str!("random.rs"),
};

fn build(tasks: usize, given: &Value) -> Result<Weighting, String> {
    settings::read::<Nothing>(RULE.name, given)?;
    Ok(Weighting::Losses(Box::new(Random { tasks })))
}

struct Random {
    tasks: usize,
}

impl WeightingRule for Random {}

impl FromLosses for Random {
    fn weights_precede_losses(&self) -> bool {
        true
    }

    fn balance(&mut self, seen: &StepInputs) -> Outcome {
        let mut stream = seen.key.named(RULE.name).stream();
        let mini_batches: Vec<f64> = (0..self.tasks).map(|_| stream.normal()).collect();
        Outcome::exact(softmax(&mini_batches))
    }
}
