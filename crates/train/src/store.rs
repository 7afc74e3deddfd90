//! Files that are whole or absent, see [`mtl_backbone::checkpoint::write_atomically`].

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};
use mtl_backbone::checkpoint::{self, safetensors_bytes};

/// Writes `bytes` to `path`, which afterwards holds either all of them or what it held before; makes its folder.
///
/// # Errors
/// If the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    checkpoint::write_atomically(path, bytes)
}

/// The bytes of a safetensors file of `tensors`.
///
/// # Errors
/// Those of candle and safetensors.
pub(crate) fn tensor_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    safetensors_bytes(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)))
}

/// Writes `tensors` as safetensors, atomically.
///
/// # Errors
/// If the disk refuses.
pub fn write_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<()> {
    write_atomically(path, &tensor_bytes(tensors)?)
}

/// The tensors of a safetensors file.
///
/// # Errors
/// If it cannot be read, or is none.
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    match candle_core::safetensors::load_buffer(&bytes, &Device::Cpu) {
        Ok(tensors) => Ok(tensors.into_iter().collect()),
        Err(error) => bail!("{}: not a whole safetensors file: {error}", path.display()),
    }
}
