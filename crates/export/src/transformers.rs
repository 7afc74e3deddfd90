//! The folder of one class of transformers: an encoder with its head.

use anyhow::Result;

use crate::config;
use crate::fit::Fitted;
use crate::folder::Folder;
use crate::plain::PlainModel;
use mtl_backbone::TOKEN_OUTPUT;

/// Writes `config.json` and `model.safetensors`.
pub(crate) fn write(model: &PlainModel, fitted: &Fitted, folder: &Folder) -> Result<()> {
    folder.write_json("config.json", &config::of_class(model, &fitted.class))?;
    let (classes, encoder) = (model.classes, model.encoder.iter());
    let mut tensors: Vec<_> = encoder.map(|(name, tensor)| (format!("{}{name}", classes.prefix), tensor)).collect();
    match &fitted.dense {
        Some(dense) => {
            tensors.extend(dense.named(classes.dense));
            tensors.extend(fitted.output.named(classes.output));
        }
        None => tensors.extend(fitted.output.named(TOKEN_OUTPUT)),
    }
    folder.write_tensors("model.safetensors", tensors)
}
