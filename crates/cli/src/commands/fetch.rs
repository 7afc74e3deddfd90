//! `fetch`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use mtl_compare::Library;
use mtl_train::LocatedDataset;

use crate::locate::{self, Files};
use crate::output::{line, note};
use crate::{Context as Given, Registries};

/// Fetch the model and datasets of a recipe, or a single one.
///
/// Prints the folders that hold them. They are kept in MTL_CACHE; without it beside the manifests in a checkout, else in
/// the user's cache folder.
#[derive(Debug, Args)]
pub struct Fetch {
    /// A recipe: a path, or the name of a shipped one
    #[arg(conflicts_with_all = ["model", "dataset"])]
    recipe: Option<String>,
    /// A model of models/, or the path of a manifest
    #[arg(long)]
    model: Option<String>,
    /// A dataset of datasets/, or the path of a manifest
    #[arg(long)]
    dataset: Option<String>,
    /// Work offline: only check what is here
    #[arg(long)]
    offline: bool,
}

impl Fetch {
    pub(super) fn run(self, context: &Given) -> Result<ExitCode> {
        let files = Files::new(&context.registries, self.offline)?;
        let mut folders: Vec<PathBuf> = Vec::new();
        if let Some(model) = &self.model {
            folders.extend(files.model(model)?.folder);
        }
        if let Some(dataset) = &self.dataset {
            folders.extend(surveyed(&context.registries, files.dataset(dataset)?)?);
        }
        if self.model.is_none() && self.dataset.is_none() {
            let given = locate::recipe(&context.registries, self.recipe.as_deref().unwrap_or("default"), &[])?;
            let located = files.locate(&given.recipe)?;
            folders.extend(located.model.folder);
            for dataset in located.datasets {
                folders.extend(surveyed(&context.registries, dataset)?);
            }
        }
        folders.iter().try_for_each(|folder| line(&folder.display().to_string()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The dataset's folder, once it has been read: a file that arrived but does not fit its manifest is found now. Text that
/// is generated lies in none.
fn surveyed(registries: &Registries, dataset: LocatedDataset) -> Result<Option<PathBuf>> {
    let LocatedDataset { name, manifest, folder } = dataset;
    let lines = mtl_data::survey(&registries.data, &manifest, &folder).with_context(|| format!("dataset `{name}`"))?;
    note(&format!("{name}: {}", lines.join("; ")));
    Ok(manifest.generator.is_none().then_some(folder))
}
