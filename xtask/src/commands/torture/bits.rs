//! What has to be the same in two finished runs, and the only place that knows it.
//!
//! Weights, moments, structure and the states of strategies are files of the checkpoints; the states of rules, and where
//! the run and its sampler stand (their random numbers are functions of seed and step), are in `state.json`. With the
//! lines of `metrics.jsonl` and the report that is all a run leaves behind, but for what tells of time.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Members of JSON that tell of time, at any depth.
const TIMES: [&str; 7] = [
    "seconds",
    "cpu_seconds",
    "tokens_per_second",
    "test_opened_at",
    "examples_per_second",
    "milliseconds",
    "latency_ms",
];

/// The SHA-256 of each file that makes the bits, by its path in the run folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(BTreeMap<String, String>);

impl Bits {
    /// Of the finished run in `run`.
    ///
    /// # Errors
    /// If a file cannot be read, or one that a finished run has is missing.
    pub(super) fn of(run: &Path) -> Result<Self> {
        let mut bits = Self::default();
        bits.add(run, "metrics.jsonl")?;
        bits.add(run, "report.json")?;
        bits.add_folder(run, "checkpoints")?;
        for file in
            ["model.safetensors", "optimizer.safetensors", "sharing.safetensors", "structure.json", "state.json"]
        {
            ensure!(bits.0.contains_key(&format!("checkpoints/last/{file}")), "the last checkpoint has no {file}");
        }
        Ok(bits)
    }

    fn add_folder(&mut self, run: &Path, folder: &str) -> Result<()> {
        let path = run.join(folder);
        for entry in fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                self.add_folder(run, &name)?;
            } else if !name.ends_with("/manifest.json") {
                // A manifest has the hash of a state that tells of time.
                self.add(run, &name)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, run: &Path, file: &str) -> Result<()> {
        let path = run.join(file);
        let mut bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if file.ends_with(".json") || file.ends_with(".jsonl") {
            bytes = timeless(&bytes).with_context(|| path.display().to_string())?;
        }
        let digest = Sha256::digest(&bytes);
        self.0.insert(file.into(), digest.iter().map(|byte| format!("{byte:02x}")).collect());
        Ok(())
    }

    /// The files that differ from those of `other`, or that only one of them has.
    pub(super) fn differing(&self, other: &Self) -> Vec<String> {
        let all: BTreeMap<&String, ()> = self.0.keys().chain(other.0.keys()).map(|file| (file, ())).collect();
        all.into_keys().filter(|file| self.0.get(*file) != other.0.get(*file)).cloned().collect()
    }
}

/// The JSON values of `bytes`, one after the other, without what tells of time.
fn timeless(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        let mut value = value?;
        strip(&mut value);
        serde_json::to_writer(&mut text, &value)?;
        text.push(b'\n');
    }
    Ok(text)
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !TIMES.contains(&name.as_str()));
            members.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tells_of_time_is_left_out_and_nothing_else() {
        let lines = |seconds: f64, loss: f64| {
            format!("{{\"seconds\": {seconds}, \"loss\": [{loss}]}}\n{{\"deep\": [{{\"cpu_seconds\": {seconds}}}]}}\n")
        };
        let bits = |seconds, loss| timeless(lines(seconds, loss).as_bytes()).expect("JSON");
        assert_eq!(bits(1.5, 0.25), bits(2.5, 0.25));
        assert_ne!(bits(1.5, 0.25), bits(1.5, 0.5));
        assert!(timeless(b"{\"half").is_err());
    }
}
