//! Files that are whole or absent: written under a temporary name, synced, renamed.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor};

/// Writes `bytes` to `path`, which afterwards holds either all of them or what it held before.
///
/// # Errors
/// If the disk refuses.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", path.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    file.write_all(bytes).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).with_context(context)?;
    // The rename itself is only safe once the folder is.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).with_context(context)
}

/// The bytes of a safetensors file of `tensors`.
///
/// # Errors
/// Those of candle and safetensors.
pub(crate) fn tensor_bytes(tensors: &BTreeMap<String, Tensor>) -> Result<Vec<u8>> {
    Ok(safetensors::serialize(tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), None)?)
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
