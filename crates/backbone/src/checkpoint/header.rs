//! The header of a safetensors file: an 8-byte length, then JSON that gives each tensor's type, shape and place.
//!
//! Checked in full before any tensor is read: lengths against the file, shapes against byte counts, places against
//! each other (no hole, no overlap), and no name twice.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

use super::{FETCH_AGAIN, fault, sniff};

/// Longest header that is read; the format's own limit.
const MAX_HEADER: u64 = 100_000_000;
/// Most dimensions of a tensor; encoders have two.
const MAX_RANK: usize = 8;
const SOURCE: &str = "the file is damaged or made to do harm; take the model from its original source";

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) dtype: String,
    pub(super) shape: Vec<usize>,
    /// First byte, counted from the start of the file.
    pub(super) start: u64,
    pub(super) bytes: u64,
}

/// A checked header; its tensors in the order in which they lie.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) entries: Vec<Entry>,
    /// Tensors that were left out because they are one with another: their names, and that of the other. PyTorch's
    /// `save_model` writes so what shares its memory.
    pub(super) ties: Vec<(String, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Header {
    /// Reads and checks the header of the file at `path`.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|error| fault(path, "file", error, FETCH_AGAIN))?;
        let size = file.metadata().with_context(|| path.display().to_string())?.len();
        let mut head = Vec::new();
        file.by_ref().take(512).read_to_end(&mut head).with_context(|| path.display().to_string())?;
        sniff::refuse_what_is_not("safetensors", path, &head, size)?;
        let Some(length) = head.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)) else {
            let found = format!("a file of {size} bytes, where safetensors begins with a length of 8");
            return Err(fault(path, "byte 0", found, FETCH_AGAIN));
        };
        if length > MAX_HEADER {
            let found = format!("a header length of {length}, where at most {MAX_HEADER} is sane");
            return Err(fault(path, "byte 0", found, "this is not a safetensors file; take the model's own file"));
        }
        if length > size.saturating_sub(8) {
            let found = format!("a header length of {length} in a file of {size} bytes: the file is cut off");
            return Err(fault(path, "byte 0", found, FETCH_AGAIN));
        }
        let mut json = head.split_off(8);
        let data = length.saturating_add(8);
        file.take(data.saturating_sub(512)).read_to_end(&mut json).with_context(|| path.display().to_string())?;
        json.truncate(length as usize);
        let Listed(listed) = serde_json::from_slice(&json).map_err(|error| {
            let place = format!("byte {}", error.column().saturating_add(8));
            fault(path, place, format!("a header that is not JSON ({error})"), FETCH_AGAIN)
        })?;
        let ties = listed.iter().filter(|(name, _)| name == "__metadata__").filter_map(|(_, value)| value.as_object());
        let there: BTreeSet<&str> = listed.iter().map(|(name, _)| name.as_str()).collect();
        let ties: Vec<(String, String)> = ties
            .flatten()
            .filter_map(|(name, kept)| Some((name.clone(), kept.as_str()?.to_string())))
            .filter(|(name, kept)| there.contains(kept.as_str()) && !there.contains(name.as_str()))
            .collect();
        Ok(Self { entries: check(path, listed, data, size)?, ties })
    }
}

/// The tensors in the order in which they lie, if they fill the file from `data` to `size` without hole or overlap.
fn check(path: &Path, listed: Vec<(String, Value)>, data: u64, size: u64) -> Result<Vec<Entry>> {
    let mut names = BTreeSet::new();
    let mut entries = Vec::with_capacity(listed.len());
    for (name, value) in listed {
        let place = format!("tensor `{name}`");
        if !names.insert(name.clone()) {
            return Err(fault(path, place, "stated twice in the header", SOURCE));
        }
        if name == "__metadata__" {
            continue;
        }
        let stated: Stated = serde_json::from_value(value).map_err(|error| {
            fault(path, &place, format!("a header entry without dtype, shape, data_offsets ({error})"), SOURCE)
        })?;
        entries.push(place_of(path, name, stated, data)?);
    }
    entries.sort_by_key(|entry| (entry.start, entry.bytes));
    let mut end = data;
    for entry in &entries {
        let place = format!("tensor `{}`", entry.name);
        if entry.start != end {
            let what = if entry.start < end { "overlaps the tensor before it" } else { "leaves a hole before it" };
            let found = format!("begins at byte {} and {what}, which ends at byte {end}", entry.start);
            return Err(fault(path, place, found, SOURCE));
        }
        // `place_of` has checked the sum.
        end = entry.start.saturating_add(entry.bytes);
        if end > size {
            let found = format!("ends at byte {end}, but the file has {size}: it is cut off");
            return Err(fault(path, place, found, FETCH_AGAIN));
        }
    }
    if end != size {
        let found = format!("{} bytes behind the last tensor", size.saturating_sub(end));
        return Err(fault(path, format!("byte {end}"), found, SOURCE));
    }
    Ok(entries)
}

fn place_of(path: &Path, name: String, stated: Stated, data: u64) -> Result<Entry> {
    let place = format!("tensor `{name}`");
    let Stated { dtype, shape, data_offsets: [start, end] } = stated;
    if shape.len() > MAX_RANK {
        let found = format!("{} dimensions, where at most {MAX_RANK} are read", shape.len());
        return Err(fault(path, place, found, SOURCE));
    }
    let Some(width) = width_of(&dtype) else {
        let remedy = "safetensors' types are F64, F32, F16, BF16 and whole numbers; take the unquantised model";
        return Err(fault(path, place, format!("unknown type {dtype:?}"), remedy));
    };
    // A zero dimension must not hide that the others overflow.
    let count = shape.iter().try_fold(1u64, |count, &extent| count.checked_mul(extent.max(1)));
    let Some(bytes) = count.and_then(|count| count.checked_mul(width)).filter(|bytes| i64::try_from(*bytes).is_ok())
    else {
        return Err(fault(path, place, format!("shape {shape:?} has more elements than can be counted"), SOURCE));
    };
    let bytes = if shape.contains(&0) { 0 } else { bytes };
    if end.checked_sub(start) != Some(bytes) {
        let found = format!("shape {shape:?} of {dtype} needs {bytes} bytes, its data_offsets are [{start}, {end}]");
        return Err(fault(path, place, found, SOURCE));
    }
    let Some(first) = start.checked_add(data).filter(|first| first.checked_add(bytes).is_some()) else {
        return Err(fault(path, place, format!("data_offsets [{start}, {end}] lie beyond any file"), SOURCE));
    };
    let shape = shape.into_iter().map(|extent| extent as usize).collect();
    Ok(Entry { name, dtype, shape, start: first, bytes })
}

/// Bytes of one element of a type.
fn width_of(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F64" | "I64" | "U64" => 8,
        "F32" | "I32" | "U32" => 4,
        "F16" | "BF16" | "I16" | "U16" => 2,
        "BOOL" | "I8" | "U8" | "F8_E4M3" | "F8_E5M2" => 1,
        _ => return None,
    })
}

/// A JSON object as its list of members, so that a member stated twice is seen.
struct Listed(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Listed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a JSON object of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listed, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Listed(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}
