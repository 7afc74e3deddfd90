//! The generated suite of this workspace as a library: nothing is fetched.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use mtl_compare::{Document, Library};
use mtl_data::manifest::{DatasetManifest, ModelManifest};
use mtl_train::{Located, LocatedDataset, LocatedModel, Recipe};

/// What is shipped with this workspace.
pub(crate) struct Shipped;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A document called `name` that lies in no folder.
pub(crate) fn document(name: &str, text: &str) -> Document {
    Document { name: name.into(), location: format!("{name}.toml"), folder: PathBuf::new(), text: text.into() }
}

impl Library for Shipped {
    fn registries(&self) -> std::sync::Arc<mtl_train::Registries> {
        Default::default()
    }

    fn recipe(&self, name: &str) -> Result<Document> {
        let folder = root().join("crates/cli/assets/recipes");
        let path = folder.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("unknown recipe `{name}`{}", mtl_task::nearest(name, ["embedded"])))?;
        Ok(document(name, &text))
    }

    fn locate(&self, recipe: &Recipe) -> Result<Located> {
        let manifest = ModelManifest::read(&root().join(format!("models/{}.toml", recipe.checkpoint)))?;
        let model = LocatedModel { name: recipe.checkpoint.clone(), manifest, folder: None };
        let dataset = |name: &String| {
            let manifest = DatasetManifest::read(&root().join(format!("datasets/{name}.toml")))?;
            Ok(LocatedDataset { name: name.clone(), manifest, folder: PathBuf::new() })
        };
        Ok(Located { datasets: recipe.tasks.iter().map(dataset).collect::<Result<_>>()?, model })
    }
}
