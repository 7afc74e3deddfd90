//! `choose`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use mtl_compare::choose::{CANDIDATES, Chose, Options, choose};
use mtl_compare::{INTERRUPTED, Library};

use super::train::commit;
use crate::device::{OnDevice, set_threads};
use crate::locate::{self, Files};
use crate::output::{note, result};
use crate::watch::Training;
use crate::{Context, Overrides};

/// Find out how the tasks of a recipe should share, and train them so.
///
/// Tries several strategies under one budget, drops on the way what dev and early evidence speak against, and lets every
/// task take what its dev split says. The run folder that comes of it is one like any other: `predict` and `evaluate`
/// read it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  {program} choose embedded\n  {program} choose my.toml --budget 3 --out runs/chosen\n  \
    {program} choose my.toml --candidates single,hard --set train.steps=600\n\n\
    Stopping and continuing:\n  \
    Ctrl-C, SIGTERM, SIGHUP, SIGQUIT and SIGUSR1 save after the current step and end with exit code 75; a second one \
    ends at once.\n  \
    Given again, the command continues, and ends with the same choice."
)]
pub struct Choose {
    /// A recipe: a path, or the name of a shipped one (`{program} list recipes`)
    recipe: String,
    #[command(flatten)]
    overrides: Overrides,
    /// What training may cost in all, in trainings of the recipe's steps with every task
    #[arg(long, default_value_t = 2.0, value_name = "TRAININGS")]
    budget: f64,
    /// The strategies that are tried; the first is what the others have to beat
    #[arg(long, value_delimiter = ',', default_values_t = CANDIDATES.map(String::from), value_name = "NAME,…")]
    candidates: Vec<String>,
    #[command(flatten)]
    on: OnDevice,
    /// The run folder [default: runs/choose-RECIPE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Begin anew: remove the choice that is in the run folder
    #[arg(long)]
    fresh: bool,
    /// Print the choice as JSON
    #[arg(long)]
    json: bool,
    /// Work offline: use only what is on this machine
    #[arg(long)]
    offline: bool,
}

impl Choose {
    pub(super) fn run(self, context: &Context) -> Result<ExitCode> {
        if let Some(code) = self.on.rerun(&context.program)? {
            return Ok(code);
        }
        let device = self.on.open()?;
        let locate::Given { name, recipe } = locate::recipe(&context.registries, &self.recipe, &self.overrides.set)?;
        let located = Files::new(&context.registries, self.offline)?.locate(&recipe)?;
        set_threads(recipe.train.threads)?;
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(format!("choose-{name}")));
        let options = Options {
            out: out.clone(),
            candidates: self.candidates.clone(),
            budget: self.budget,
            every: recipe.evaluation.every,
            fresh: self.fresh,
            recipe_name: name,
            commit: commit(),
            device_name: self.on.device.to_string(),
        };
        let mut progress = Training::new()?;
        let chose = choose(&recipe, &located, &options, &device, &mut progress).context("choose")?;
        progress.done();
        match chose {
            Chose::Finished(choice) => {
                match self.json {
                    true => result(&serde_json::to_string_pretty(&*choice)?),
                    false => result(&choice.to_markdown()),
                }
                note(&format!("run folder: {}", out.display()));
                Ok(ExitCode::SUCCESS)
            }
            Chose::Interrupted => {
                let again = context.program.again(None, &[]);
                note(&format!("interrupted; continue with: {again}"));
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}
