//! `export`.

mod onnx;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use candle_core::Device;
use clap::{Args, ValueEnum};
use mtl_compare::paths;
use mtl_export::{Card, Format, Licence, PlainModel, Written, write_each, write_run, write_task};
use mtl_train::Trained;

use crate::device::set_threads;
use crate::locate;
use crate::output::result;

/// Write a run's model as folders that transformers and sentence-transformers load, or as ONNX
///
/// With `--task`, one task: its encoder and its head. With `--each`, a folder for each task. With neither, the encoder that
/// all tasks share, and a head for each. What a strategy changed is merged into the weights.
///
/// With `--onnx` the folder gets `model.onnx`, which has an output for every task, named after it; `tokenizer.json`; and
/// `tasks.json`, which says what the outputs mean: what `{program} predict --json` prints, probabilities or values in the
/// unit of the data. Tasks that see different weights are in different files, each named after its first task.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  {program} export runs/default --to spam --task spam-assassin\n  \
                        {program} export runs/default --to encoder\n  {program} export runs/default --to onnx --onnx")]
pub struct Export {
    /// The run folder
    run: PathBuf,
    /// The folder to write, which must not be there or be empty
    #[arg(long)]
    to: PathBuf,
    /// The task to write
    #[arg(long, conflicts_with = "each")]
    task: Option<String>,
    /// Write every task, each into a folder below --to
    #[arg(long)]
    each: bool,
    /// For which library a task is written
    #[arg(long, value_enum, default_value_t = For::Auto)]
    format: For,
    /// Write ONNX graphs, for onnxruntime and others
    #[arg(long, conflicts_with_all = ["each", "format"])]
    onnx: bool,
    /// Let the graphs give logits instead of probabilities
    #[arg(long, requires = "onnx")]
    logits: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum For {
    /// For transformers; a head over the mean or the maximum, which no class there has, for sentence-transformers
    Auto,
    /// For transformers
    Transformers,
    /// For sentence-transformers
    SentenceTransformers,
}

impl From<For> for Format {
    fn from(format: For) -> Self {
        match format {
            For::Auto => Self::Auto,
            For::Transformers => Self::Transformers,
            For::SentenceTransformers => Self::SentenceTransformers,
        }
    }
}

impl Export {
    pub(super) fn run(self, context: &crate::Context) -> Result<ExitCode> {
        if self.format != For::Auto && self.task.is_none() && !self.each {
            anyhow::bail!(
                "--format says how a task is written, and this would write the whole run; give --task NAME, or --each"
            );
        }
        set_threads(0)?;
        let trained = Trained::open(&context.registries, &self.run, &Device::Cpu)?;
        if self.onnx {
            return onnx::write(&trained, self.task.as_deref(), self.logits, &self.to);
        }
        let mut card = Card::of(&trained, &self.run)?;
        card.licences = self.licences(&trained);
        let place = || self.run.display().to_string();
        let written = match &self.task {
            Some(task) => {
                let (id, _) = trained.task(task)?;
                let model = PlainModel::of(&trained, id).with_context(place)?;
                vec![write_task(&model, &trained, &card, self.format.into(), &self.to).with_context(place)?]
            }
            None if self.each => write_each(&trained, &card, self.format.into(), &self.to).with_context(place)?,
            None => vec![write_run(&trained, &card, &self.to).with_context(place)?],
        };
        for Written { tasks, class, usage } in written {
            result(&format!("{}: {class}\n\n{usage}", tasks.join(", ")));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The licences of what the run was made of, as far as its manifests are here.
    fn licences(&self, trained: &Trained) -> Vec<Licence> {
        let recipe = paths::anchored_recipe(&trained.recipe, &self.run);
        let encoder = locate::model(&recipe.checkpoint).ok().map(|(manifest, found)| Licence {
            of: found.document.name,
            encoder: true,
            licence: manifest.licence,
        });
        let datasets = recipe.tasks.iter().filter_map(|task| {
            let (manifest, found) = locate::dataset(task).ok()?;
            Some(Licence { of: found.document.name, encoder: false, licence: manifest.licence })
        });
        let mut licences: Vec<Licence> = encoder.into_iter().chain(datasets).collect();
        licences.dedup();
        licences
    }
}
