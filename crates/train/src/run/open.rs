//! How a run begins in its folder: anew, or where the run that the folder holds was left.

use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::budget::budget;
use super::epochs::Paced;
use super::lock::Lock;
use super::stored::{self, Stored};
use super::{REPORT, Run, RunOptions, clear, place};
use crate::assemble::{Located, assemble_as};
use crate::diagnose::planted;
use crate::recipe::Recipe;
use crate::resume::{self, LAST, RunState};
use crate::store::write_atomically;
use crate::trained_on::TrainedOn;

/// What a run does with a run that its folder holds already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Goes on with it, if it is of the same recipe; begins one where there is none.
    #[default]
    Continue,
    /// Goes on with it: there must be a checkpoint.
    Resume,
    /// Begins one: there may be no checkpoint.
    New,
    /// Removes what it left, and begins one.
    Fresh,
}

impl Run {
    /// Builds everything a recipe names, and goes on from a checkpoint as `options` say.
    ///
    /// # Errors
    /// If something does not fit, or the run folder holds another run or another process trains in it.
    pub fn new(recipe: Recipe, located: &Located, options: RunOptions, device: &Device) -> Result<Self> {
        let (out, start) = (options.out.as_path(), options.start);
        place::refuse_others(out, &recipe.registries)?;
        let lock = Lock::take(out)?;
        let checkpoints = out.join("checkpoints");
        let saved = resume::find(&checkpoints, LAST).is_some();
        let begun = out.join(stored::RECIPE).exists();
        let stored = match start {
            Start::New if saved => bail!("{}: already holds a run; choose another --out", out.display()),
            Start::Resume if !saved => bail!("{}: no checkpoint to resume from", checkpoints.display()),
            Start::New | Start::Fresh => Stored::new(recipe)?,
            Start::Resume | Start::Continue => Stored::continued(recipe, out, Some(located))?,
        };
        let continues = saved && matches!(start, Start::Continue | Start::Resume);
        if start == Start::Continue && !saved {
            nothing_lost(out)?;
        }
        let trained_on = if continues { TrainedOn::read(out)? } else { None };
        let mut assembled = assemble_as(&stored.recipe, located, device, (out, trained_on.as_ref()))?;
        let Paced { recipe, loader, note } = Paced::new(stored.recipe.clone(), &mut assembled, device)?;
        let stored = stored.paced(&recipe, out)?;
        let phases = assembled.trainer.model.sharing.phases(recipe.train.steps);
        assembled.trainer.budget = budget(&assembled, &loader, &phases);
        let foreseen = assembled.trainer.model.sharing.foresee(&assembled.trainer.budget)?;
        // Only now that nothing of the new run was refused.
        if start == Start::Fresh {
            clear::clear(out)?;
        }
        resume::sweep(out)?;
        resume::settle(&checkpoints)?;
        let found = if continues { resume::restore_last(&checkpoints, &mut assembled.trainer)? } else { None };
        let (state, mut notes, text) = match found {
            Some(found) => {
                if !stored::is_of(&found.state.recipe, &stored.before)? {
                    bail!(
                        "{}: the checkpoint is of another recipe than {}, whose fingerprint is {} and was {}; restore that \
                         file, or choose another --out",
                        found.checkpoint.display(),
                        out.join(stored::RECIPE).display(),
                        stored::fingerprint(&stored.before)?,
                        found.state.recipe
                    );
                }
                // A checkpoint of before knows the text by its bytes.
                let bytes = !stored::is_by_keys(&found.state.recipe);
                let text = if bytes { stored.before } else { stored.text };
                let from = format!("{}: training goes on after step {}", out.display(), found.state.step);
                (found.state, std::iter::once(from).chain(found.notes).collect(), text)
            }
            None if continues => bail!("{}: no checkpoint to resume from", checkpoints.display()),
            None => {
                let notes = match start == Start::Continue && begun {
                    true => {
                        vec![format!("{}: the run had no checkpoint yet, and begins again at step 0", out.display())]
                    }
                    false => Vec::new(),
                };
                let recipe = stored::fingerprint(&stored.text)?;
                (RunState { recipe, ..RunState::default() }, notes, stored.text)
            }
        };
        notes.extend(stored.notes);
        notes.extend(foreseen);
        notes.extend(note);
        let checkpoint_name = located.model.name.clone();
        let (truth, chronicle) = (planted(located), serde_json::Value::Null);
        let run = Self {
            checkpoint_name,
            recipe,
            options,
            assembled,
            loader,
            phases,
            state,
            notes,
            truth,
            chronicle,
            _lock: lock,
        };
        run.describe(&text, trained_on)?;
        Ok(run)
    }

    /// Whether the run is over and its report is written: [`Run::execute`] then reads that, and opens no test split.
    pub fn is_finished(&self) -> bool {
        self.state.phase >= self.phases.len() && self.options.out.join(REPORT).exists()
    }

    /// The report of a run that is over, so that going on with it does not open the test split once more.
    pub(super) fn reported(&self) -> Result<Option<mtl_eval::Report>> {
        if !self.is_finished() {
            return Ok(None);
        }
        let path = self.options.out.join(REPORT);
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("{}: no report", path.display()))
    }

    /// Writes what the folder needs to be understood without this run: recipe, tasks, encoder and tokenizer.
    fn describe(&self, resolved: &str, trained_on: Option<TrainedOn>) -> Result<()> {
        let out = &self.options.out;
        write_atomically(&out.join(stored::RECIPE), resolved.as_bytes())?;
        // What is there already is what was found again, if it says all that is known today.
        let trained_on = match trained_on.filter(TrainedOn::is_complete) {
            Some(trained_on) => trained_on,
            None => TrainedOn::of(&self.assembled)?,
        };
        trained_on.write(out, &self.assembled)
    }
}

/// Refuses to begin where a run has been further than its folder shows.
fn nothing_lost(out: &Path) -> Result<()> {
    if out.join(REPORT).exists() {
        bail!(
            "{}: holds the report of a finished run, and no checkpoint to go on from, as slim copies do; restore that from a \
             backup, begin anew with --fresh, or choose another --out",
            out.display()
        );
    }
    Ok(())
}

/// Whether `folder` holds a run of `recipe` that is not finished, and that no process is at.
pub fn is_unfinished(folder: &Path, recipe: &Recipe) -> bool {
    folder.join(stored::RECIPE).exists()
        && !folder.join(REPORT).exists()
        && Stored::continued(recipe.clone(), folder, None).is_ok()
        && Lock::is_free(folder)
}
