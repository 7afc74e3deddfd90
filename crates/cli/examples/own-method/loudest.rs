//! Loudest: the task with the largest gradient has its way, the others' weights are ‖gᵢ‖ / max ‖gⱼ‖.

use mtl_weighting::{Class, FromGram, Gram, Outcome, Rule, StepInputs, Weighting, WeightingRule};
use serde_json::{Value, json};

/// The member of the registry.
pub(crate) const RULE: Rule = Rule {
    name: "loudest",
    aliases: &[],
    about: "weights in proportion to the gradients' norms, the largest 1",
    paper: "-",
    verified: false,
    class: Class::Gram,
    properties: &[],
    build,
    select: None,
    defaults: || json!({ "floor": 0.0 }),
    source: include_str!("loudest.rs"),
};

struct Loudest {
    /// The smallest weight of a task.
    floor: f64,
}

fn build(_tasks: usize, settings: &Value) -> Result<Weighting, String> {
    match settings.get("floor").map_or(Some(0.), Value::as_f64) {
        Some(floor) if (0. ..=1.).contains(&floor) => Ok(Weighting::Gram(Box::new(Loudest { floor }))),
        _ => Err("`floor` must be a number in [0, 1]".into()),
    }
}

impl WeightingRule for Loudest {}

impl FromGram for Loudest {
    fn balance(&mut self, gram: &Gram, _seen: &StepInputs) -> Outcome {
        let norms: Vec<f64> = (0..gram.tasks()).map(|task| gram.norm(task)).collect();
        let largest = norms.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
        Outcome::exact(norms.iter().map(|norm| (norm / largest).max(self.floor)).collect())
    }
}
