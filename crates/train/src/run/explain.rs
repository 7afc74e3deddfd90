//! What is to be done about a training that diverged, and what is left of it.

use anyhow::anyhow;

use super::Run;
use crate::finite::Diverged;
use crate::resume::{self, LAST};

impl Run {
    /// `error`, with the history of losses, what is kept, and what to change, if training diverged; else as it is.
    pub(super) fn explained(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(diverged) = error.downcast_ref::<Diverged>() else { return error };
        let history = |task: usize| {
            let (name, losses) = (&self.assembled.datasets.get(task)?.name, self.state.losses.get(task)?);
            Some(format!("losses of `{name}`: {}", losses.shown()?))
        };
        let told: Vec<String> = match diverged.task {
            Some(task) => history(task.0).into_iter().collect(),
            None => (0..self.state.losses.len()).filter_map(history).collect(),
        };
        let rate = self.recipe.base_rate().map_or(String::new(), |rate| format!(" (it is {rate:?})"));
        let checkpoints = self.options.out.join("checkpoints");
        let kept = |name: &str| resume::find(&checkpoints, name).map(|place| place.display().to_string());
        let kept: Vec<String> = [LAST, "best"].into_iter().filter_map(kept).collect();
        let kept = match kept.is_empty() {
            true => "no checkpoint was saved before it".to_string(),
            false => format!("what was saved before it is kept: {}", kept.join(", ")),
        };
        let told = told.iter().map(|history| format!("; {history}")).collect::<String>();
        anyhow!(
            "training has diverged: {error:#}{told}; {kept}; train anew with a lower optimizer.rate{rate}, a longer warm-up \
             (schedule.warmup_steps), or a smaller train.clip, under another --out or over this run by --fresh"
        )
    }
}
