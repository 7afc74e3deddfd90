//! A dry run: all that a run does, done once or twice, to know beforehand what it will take.
//!
//! Everything that a recipe names is built, the gradients are audited, a few of the run's own steps are taken, those
//! with its longest batches among them, texts of dev are answered, and a checkpoint is written and read: into a temporary
//! folder that is removed again. No run folder is made, opened or locked, and no test split is opened.

mod disk;
mod rehearsal;
mod sizes;

use anyhow::Result;
use candle_core::Device;
use serde::Serialize;

use crate::assemble::{Located, assemble};
use crate::memory::{self, Available, MemoryEstimate};
use crate::recipe::Recipe;
use crate::run::budget::budget;
use crate::run::epochs::Paced;
pub use disk::Disk;
pub use rehearsal::Time;
pub use sizes::{ParameterSizes, TaskSizes};

/// What a run would take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DryRun {
    /// Its tasks, in the recipe's order.
    pub tasks: Vec<TaskSizes>,
    /// Its parameters.
    pub parameters: ParameterSizes,
    /// Optimizer steps.
    pub steps: usize,
    /// Examples a task and micro-batch.
    pub batch: usize,
    /// Micro-batches in a step.
    pub accumulate: usize,
    /// Mean tokens of a step, over all tasks.
    pub tokens_per_step: f64,
    /// Its memory.
    pub memory: Memory,
    /// Its time.
    pub time: Time,
    /// Its checkpoints.
    pub disk: Disk,
    /// Parameters whose gradient is all zero before the first step; every other trained one has a finite gradient.
    pub zero_gradients: Vec<String>,
    /// What the strategy says that the steps buy.
    pub foreseen: Vec<String>,
}

/// What a run needs of memory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// Peak resident bytes of this process, which is what the run's will be; `None` where the system does not tell.
    pub peak: Option<u64>,
    /// Resident bytes when model and data were loaded.
    pub loaded: Option<u64>,
    /// The peak by the estimate alone: what was loaded, and what was still to come.
    pub estimated_peak: Option<u64>,
    /// What it is for, by the estimate.
    pub estimate: MemoryEstimate,
    /// What was available beyond what was loaded.
    pub available: Option<Available>,
}

/// Rehearses a run of `recipe`.
///
/// # Errors
/// Those that the run would end with: of the recipe, its files, the gradient audit, the first steps, and of memory that
/// would not suffice.
pub fn dry_run(recipe: &Recipe, located: &Located, device: &Device) -> Result<DryRun> {
    let mut assembled = assemble(recipe, located, device)?;
    let Paced { recipe, loader, .. } = Paced::new(recipe.clone(), &mut assembled, device)?;
    let recipe = &recipe;
    let phases = assembled.trainer.model.sharing.phases(recipe.train.steps);
    assembled.trainer.budget = budget(&assembled, &loader, &phases);
    let foreseen = assembled.trainer.model.sharing.foresee(&assembled.trainer.budget)?;
    let sizes = memory::Sizes::of(recipe, &assembled, &loader, &phases)?;
    let (available, loaded) = (memory::available(), memory::resident().map(|(now, _)| now));
    if device.is_cpu() {
        memory::check(&sizes, available)?;
    }
    let parameters = ParameterSizes::of(&assembled);
    let rehearsed = rehearsal::rehearse(recipe, &mut assembled, &loader, &phases, sizes.lengths())?;
    // Counting tokens takes memory that no run takes.
    let peak = memory::resident().map(|(_, peak)| peak);
    let estimate = sizes.estimate(sizes.settings());
    Ok(DryRun {
        tasks: sizes::tasks(recipe, &assembled)?,
        parameters,
        steps: phases.iter().map(|phase| phase.steps).sum(),
        batch: recipe.train.batch,
        accumulate: recipe.train.accumulate,
        tokens_per_step: sizes.lengths().mean,
        memory: Memory {
            peak,
            loaded,
            estimated_peak: loaded.map(|loaded| loaded + estimate.ahead()),
            estimate,
            available,
        },
        time: rehearsed.time,
        disk: rehearsed.disk,
        zero_gradients: rehearsed.zero_gradients,
        foreseen,
    })
}
