//! The tensors of one safetensors file, as single-precision values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;
use safetensors::{Dtype, View};

use super::header::{Entry, Header};
use super::{FETCH_AGAIN, fault};

/// One tensor as single-precision values.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values in row-major order.
    pub data: Vec<f32>,
}

/// All tensors of the file at `path` under the names they have there; F64, F16 and BF16 become F32.
///
/// # Errors
/// If it is not a sound safetensors file, a tensor is not of floats, or a value is NaN or infinite.
pub fn read_safetensors(path: &Path) -> Result<BTreeMap<String, NamedTensor>> {
    let tensors = read_where(path, |_| true)?;
    Ok(tensors.into_iter().filter_map(|(name, tensor)| Some((name, tensor?))).collect())
}

/// As [`read_safetensors`], but only the names of the tensors that are not `wanted`.
pub(super) fn read_where(path: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<(String, Option<NamedTensor>)>> {
    let header = Header::read(path)?;
    let file = File::open(path).map_err(|error| fault(path, "file", error, FETCH_AGAIN))?;
    let mut file = BufReader::with_capacity(1 << 20, file);
    let mut tensors = Vec::with_capacity(header.entries.len());
    for entry in header.entries {
        let tensor = if wanted(&entry.name) { Some(read_one(path, &mut file, &entry)?) } else { None };
        tensors.push((entry.name, tensor));
    }
    Ok(tensors)
}

fn read_one(path: &Path, file: &mut BufReader<File>, entry: &Entry) -> Result<NamedTensor> {
    let place = format!("tensor `{}`", entry.name);
    let mut bytes = vec![0; entry.bytes as usize];
    file.seek(SeekFrom::Start(entry.start))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| fault(path, &place, format!("byte {}: {error}", entry.start), FETCH_AGAIN))?;
    let Some(data) = floats(&entry.dtype, &bytes) else {
        let remedy = "an encoder's weights are F32, F16, BF16 or F64; take the unquantised model";
        return Err(fault(path, place, format!("values of type {}", entry.dtype), remedy));
    };
    let odd = data.iter().filter(|value| !value.is_finite()).count();
    if odd > 0 {
        let found = format!("{odd} of {} values are NaN, infinite or beyond single precision", data.len());
        return Err(fault(path, place, found, "the run that wrote it diverged; take an earlier or another checkpoint"));
    }
    Ok(NamedTensor { shape: entry.shape.clone(), data })
}

/// The values of a type, little-endian; `None` if it is no type of floats.
fn floats(dtype: &str, bytes: &[u8]) -> Option<Vec<f32>> {
    fn all<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Option<Vec<f32>> {
        Some(bytes.as_chunks::<N>().0.iter().map(|chunk| value(*chunk)).collect())
    }
    match dtype {
        "F32" => all(bytes, f32::from_le_bytes),
        "F64" => all(bytes, |chunk| f64::from_le_bytes(chunk) as f32),
        "F16" => all(bytes, |chunk| half::f16::from_le_bytes(chunk).to_f32()),
        "BF16" => all(bytes, |chunk| half::bf16::from_le_bytes(chunk).to_f32()),
        _ => None,
    }
}

impl View for &NamedTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        self.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.data.len().saturating_mul(size_of::<f32>())
    }
}
