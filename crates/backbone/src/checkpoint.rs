//! A hub folder: `config.json` and `model.safetensors` (or its shards), read with distrust.
//!
//! Whatever a checkpoint was saved from (a bare encoder, a classifier, a compiled or wrapped model, an old TensorFlow
//! conversion), its tensors come out under one set of names: nothing in front, `weight` and `bias` for LayerNorm. Files from the network may be cut
//! off, may be a web page, may lie about their sizes; each such file is refused with its name, the place in it, what
//! was found there and what to do about it. Pickles are never opened.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

mod computed;
mod header;
mod limits;
mod names;
mod shards;
mod sniff;
mod tensors;
mod write;

use header::Header;
use names::Root;

pub use limits::{check_config, stated_weights};
pub(crate) use names::elsewhere;
pub use tensors::{NamedTensor, read_safetensors};
pub use write::{TEMPORARY_PREFIX, safetensors_bytes, write_atomically, write_safetensors_atomic};

/// Longest `config.json` that is read; real ones are a few kilobytes.
const MAX_CONFIG: u64 = 16 << 20;
/// What to do about a file that did not arrive as it was sent.
const FETCH_AGAIN: &str = "delete it and fetch the model again (`cargo xtask fetch --model NAME`)";

/// What a hub folder holds.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// `config.json`.
    pub config: Value,
    /// The encoder's tensors, without model prefixes and with current names.
    pub tensors: BTreeMap<String, NamedTensor>,
    /// Tensors of the files that are no part of an encoder (poolers, heads), by the names they have there.
    pub unused: Vec<String>,
    /// Where it was read.
    pub folder: PathBuf,
}

impl Checkpoint {
    /// Reads the hub folder `folder`.
    ///
    /// # Errors
    /// If `config.json` or the weights are missing, malformed, beyond [`check_config`]'s limits, of a format that can
    /// run code or that is not read here, or hold a NaN or an infinity. The message names file, place and remedy.
    pub fn read(folder: &Path) -> Result<Self> {
        if !folder.is_dir() {
            return Err(fault(folder, "folder", "not there", "fetch the model with `cargo xtask fetch --model NAME`"));
        }
        let config = read_json(&folder.join("config.json"), MAX_CONFIG)?;
        check_config(&config).with_context(|| folder.join("config.json").display().to_string())?;
        let files = shards::weight_files(folder)?;
        let mut checkpoint =
            Self { config, tensors: BTreeMap::new(), unused: Vec::new(), folder: folder.to_path_buf() };
        let headers = files.iter().map(|file| Header::read(file)).collect::<Result<Vec<_>>>()?;
        let entries = headers.iter().flat_map(|header| header.entries.iter().map(|entry| entry.name.as_str()));
        let ties = headers.iter().flat_map(|header| header.ties.iter().map(|(name, _)| name.as_str()));
        let root = Root::of(entries.chain(ties));
        if let Root::Several([one, other]) = &root {
            let found = format!("both `{one}` and `{other}` name an encoder's word table");
            let holds = |header: &Header| header.entries.iter().any(|entry| entry.name == *other);
            let file = files.iter().zip(&headers).find(|(_, header)| holds(header)).map_or(folder, |(file, _)| file);
            return Err(fault(file, format!("tensor `{other}`"), found, "keep one of the two models in it"));
        }
        let mut origins: BTreeMap<String, String> = BTreeMap::new();
        for (file, header) in files.iter().zip(&headers) {
            let mut ties: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            header.ties.iter().for_each(|(tied, kept)| ties.entry(kept).or_default().push(tied));
            // The encoder's names of a tensor: its own, and those of the tensors that are one with it.
            let names = |name: &str| {
                let tied = ties.get(name).into_iter().flatten().copied();
                let current: Vec<String> =
                    std::iter::once(name).chain(tied).filter_map(|name| root.current(name)).collect();
                current
            };
            let wanted = |name: &str| names(name).iter().any(|current| names::is_encoders(current));
            for (name, tensor) in tensors::read_where(file, wanted)? {
                let all = names(&name);
                let Some(tensor) = tensor else {
                    if !all.iter().any(|current| names::is_buffer(current)) {
                        checkpoint.unused.push(name);
                    }
                    continue;
                };
                for current in all.into_iter().filter(|current| names::is_encoders(current)) {
                    if let Some(other) = origins.insert(current.clone(), name.clone()) {
                        let found = format!("both `{other}` and `{name}` name the encoder's `{current}`");
                        return Err(fault(file, format!("tensor `{name}`"), found, "keep one of the two models in it"));
                    }
                    checkpoint.tensors.insert(current, tensor.clone());
                }
            }
        }
        checkpoint.unused.sort();
        Ok(checkpoint)
    }

    /// The tensors that are no part of the encoder (poolers, heads), by the names they have in the files.
    ///
    /// # Errors
    /// As [`Checkpoint::read`] of these.
    pub fn others(&self) -> Result<BTreeMap<String, NamedTensor>> {
        let mut others = BTreeMap::new();
        for file in shards::weight_files(&self.folder)? {
            let wanted = |name: &str| self.unused.binary_search_by(|known| known.as_str().cmp(name)).is_ok();
            let read = tensors::read_where(&file, wanted)?;
            others.extend(read.into_iter().filter_map(|(name, tensor)| Some((name, tensor?))));
        }
        Ok(others)
    }
}

/// Reads a JSON object of at most `limit` bytes.
fn read_json(path: &Path, limit: u64) -> Result<Value> {
    let size = fs::metadata(path).map_err(|error| fault(path, "file", error, FETCH_AGAIN))?.len();
    if size > limit {
        let found = format!("{size} bytes, where at most {limit} are read");
        return Err(fault(path, "file", found, "check that this is the model's own file"));
    }
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    sniff::refuse_what_is_not("JSON", path, &bytes, size)?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        fault(path, place, format!("not JSON ({error})"), FETCH_AGAIN)
    })?;
    if !value.is_object() {
        return Err(fault(path, "line 1", "not a JSON object", "a model's configuration is `{\"key\": value, …}`"));
    }
    Ok(value)
}

/// One refusal: which file, where in it, what was found, what would help.
fn fault(path: &Path, place: impl Display, found: impl Display, remedy: impl Display) -> anyhow::Error {
    anyhow!("{}: {place}: {found}; {remedy}", path.display())
}
