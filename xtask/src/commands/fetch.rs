//! `cargo xtask fetch`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::Recipe;

use crate::fetch::Fetcher;
use crate::locate;

/// Fetch the model and datasets of a recipe, or a single one.
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
    /// Open no socket: only check what is here
    #[arg(long)]
    offline: bool,
}

impl Fetch {
    pub(super) fn run(self) -> Result<ExitCode> {
        let fetcher = Fetcher::from_environment(self.offline);
        if let Some(model) = &self.model {
            let path = locate::file(model, "models", "model")?;
            let folder = fetcher.model(&locate::stem(&path), &ModelManifest::read(&path)?, &path)?;
            println!("{}", folder.display());
        }
        if let Some(dataset) = &self.dataset {
            let path = locate::file(dataset, "datasets", "dataset")?;
            let (name, manifest) = (locate::stem(&path), DatasetManifest::read(&path)?);
            let folder = fetcher.dataset(&name, &manifest, &path)?;
            tell(&name, &manifest, &folder)?;
            println!("{}", folder.display());
        }
        if self.model.is_none() && self.dataset.is_none() {
            let text = locate::recipe(self.recipe.as_deref().unwrap_or("default"))?;
            let (recipe, _) = Recipe::parse(&text.place, &text.text, &[])?;
            let located = locate::everything(&recipe, &fetcher)?;
            located.model.folder.iter().for_each(|folder| println!("{}", folder.display()));
            for dataset in &located.datasets {
                tell(&dataset.name, &dataset.manifest, &dataset.folder)?;
                println!("{}", dataset.folder.display());
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the dataset once, so that a file which arrived but does not fit its manifest is found now, and says what is in
/// it.
fn tell(name: &str, manifest: &DatasetManifest, folder: &Path) -> Result<()> {
    let lines = mtl_data::survey(manifest, folder).with_context(|| format!("dataset `{name}`"))?;
    eprintln!("{name}: {}", lines.join("; "));
    Ok(())
}
