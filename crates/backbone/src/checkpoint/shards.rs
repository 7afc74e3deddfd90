//! Which files hold a folder's weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use super::header::Header;
use super::{FETCH_AGAIN, fault, read_json, sniff};

const WHOLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Longest index that is read.
const MAX_INDEX: u64 = 64 << 20;

/// `model.safetensors`, or the shards that `model.safetensors.index.json` lists, each checked against that list.
pub(super) fn weight_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let whole = folder.join(WHOLE);
    if whole.is_file() {
        return Ok(vec![whole]);
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return Err(nothing_readable(folder)?);
    }
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (tensor, shard) in weight_map(&index)? {
        let plain = shard.ends_with(".safetensors") && !shard.contains(['/', '\\', '\0']) && !shard.starts_with('.');
        if !plain {
            let found = format!("its file is called {shard:?}");
            let remedy = "a shard is a plain `….safetensors` file name beside the index; take an untouched copy";
            return Err(fault(&index, format!("weight_map, tensor `{tensor}`"), found, remedy));
        }
        shards.entry(shard).or_default().insert(tensor);
    }
    for (shard, listed) in &shards {
        let path = folder.join(shard);
        if !path.is_file() {
            return Err(fault(&path, "file", format!("missing, though {INDEX} lists it"), FETCH_AGAIN));
        }
        let held: BTreeSet<String> = Header::read(&path)?.entries.into_iter().map(|entry| entry.name).collect();
        if let Some(tensor) = listed.difference(&held).next() {
            let found = format!("missing, though {INDEX} puts it here");
            return Err(fault(&path, format!("tensor `{tensor}`"), found, FETCH_AGAIN));
        }
        if let Some(tensor) = held.difference(listed).next() {
            let found = format!("here, though {INDEX} does not put it here");
            return Err(fault(
                &path,
                format!("tensor `{tensor}`"),
                found,
                "index and shards are of two models; fetch both again",
            ));
        }
    }
    Ok(shards.into_keys().map(|shard| folder.join(shard)).collect())
}

/// The index's tensors and the file of each.
fn weight_map(index: &Path) -> Result<Vec<(String, String)>> {
    let json = read_json(index, MAX_INDEX)?;
    let map = json.get("weight_map").and_then(Value::as_object).filter(|map| !map.is_empty());
    let map = map.ok_or_else(|| fault(index, "`weight_map`", "missing or empty", FETCH_AGAIN))?;
    map.iter()
        .map(|(tensor, file)| match file.as_str() {
            Some(file) => Ok((tensor.clone(), file.to_string())),
            None => {
                Err(fault(index, format!("weight_map, tensor `{tensor}`"), format!("{file}"), "it must be a file name"))
            }
        })
        .collect()
}

/// Says which weights there are instead of safetensors, if any.
fn nothing_readable(folder: &Path) -> Result<anyhow::Error> {
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if let Some(remedy) = sniff::remedy_for(&extension.to_ascii_lowercase()) {
            let found = format!("`.{extension}` weights, and no {WHOLE} beside them");
            return Ok(fault(&path, "file", found, remedy));
        }
    }
    let found = format!("neither {WHOLE} nor {INDEX} is there");
    Ok(fault(folder, "folder", found, "fetch the model with `cargo xtask fetch --model NAME`"))
}
