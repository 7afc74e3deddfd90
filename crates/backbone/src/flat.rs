//! Flat host vectors in f32 or f64: what gradients are gathered into.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor};
use rayon::prelude::*;

use crate::kernel::CHUNK;

/// A host vector of floats. Training uses f32; f64 is for finite differences and limit cases.
#[derive(Clone, Debug, PartialEq)]
pub enum Flat {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

/// Runs `$body` with `$values` bound to the vector inside, whatever its type.
#[macro_export]
macro_rules! with_flat {
    ($flat:expr, $values:ident => $body:expr) => {
        match $flat {
            $crate::Flat::F32($values) => $body,
            $crate::Flat::F64($values) => $body,
        }
    };
}

impl Flat {
    /// `length` zeros.
    ///
    /// # Errors
    /// If `dtype` is neither F32 nor F64.
    pub fn zeros(dtype: DType, length: usize) -> Result<Self> {
        match dtype {
            DType::F32 => Ok(Self::F32(vec![0.; length])),
            DType::F64 => Ok(Self::F64(vec![0.; length])),
            other => candle_core::bail!("parameters are f32 or f64, found {other:?}"),
        }
    }

    /// The elements of `tensor` in row-major order.
    ///
    /// # Errors
    /// If its type is neither F32 nor F64.
    pub fn of(tensor: &Tensor) -> Result<Self> {
        let tensor = tensor.flatten_all()?;
        match tensor.dtype() {
            DType::F32 => Ok(Self::F32(tensor.to_vec1()?)),
            DType::F64 => Ok(Self::F64(tensor.to_vec1()?)),
            other => candle_core::bail!("parameters are f32 or f64, found {other:?}"),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_flat!(self, values => values.len())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// F32 or F64.
    pub fn dtype(&self) -> DType {
        match self {
            Self::F32(_) => DType::F32,
            Self::F64(_) => DType::F64,
        }
    }

    /// Element `index` as f64.
    pub fn at(&self, index: usize) -> f64 {
        match self {
            Self::F32(values) => f64::from(values[index]),
            Self::F64(values) => values[index],
        }
    }

    /// As a tensor `[len]` on `device`.
    pub fn tensor(&self, device: &Device) -> Result<Tensor> {
        with_flat!(self, values => Tensor::from_slice(values, values.len(), device))
    }

    /// Adds the elements of `tensor`, in row-major order, from `start` on.
    ///
    /// # Errors
    /// If they do not fit, or the types differ.
    pub fn add_at(&mut self, start: usize, tensor: &Tensor) -> Result<()> {
        let tensor = tensor.contiguous()?;
        let count = tensor.elem_count();
        if start + count > self.len() || tensor.dtype() != self.dtype() {
            candle_core::bail!("{count} {:?} do not fit into {} {:?}", tensor.dtype(), self.len(), self.dtype());
        }
        if !tensor.device().is_cpu() {
            return self.add_at(start, &tensor.to_device(&Device::Cpu)?);
        }
        let (storage, layout) = tensor.storage_and_layout();
        let from = layout.start_offset();
        match (self, &*storage) {
            (Self::F32(to), Storage::Cpu(CpuStorage::F32(values))) => {
                add(&mut to[start..], &values[from..from + count])
            }
            (Self::F64(to), Storage::Cpu(CpuStorage::F64(values))) => {
                add(&mut to[start..], &values[from..from + count])
            }
            _ => candle_core::bail!("gradients are f32 or f64 on the host"),
        }
        Ok(())
    }

    /// Adds `other`, element by element.
    ///
    /// # Panics
    /// If lengths or types differ: both come from the same layout.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::F32(to), Self::F32(from)) => add(to, from),
            (Self::F64(to), Self::F64(from)) => add(to, from),
            _ => panic!("flat vectors of two types"),
        }
    }

    /// Adds the elements of `other` at `range` from `start` on.
    ///
    /// # Errors
    /// If they do not fit, or the types differ.
    pub fn add_range(&mut self, start: usize, other: &Self, range: std::ops::Range<usize>) -> Result<()> {
        let end = start + range.len();
        if end > self.len() || range.end > other.len() || self.dtype() != other.dtype() {
            candle_core::bail!("{range:?} of {} do not fit into {} from {start} on", other.len(), self.len());
        }
        match (self, other) {
            (Self::F32(to), Self::F32(from)) => add(&mut to[start..end], &from[range]),
            (Self::F64(to), Self::F64(from)) => add(&mut to[start..end], &from[range]),
            _ => {}
        }
        Ok(())
    }

    /// Multiplies every element by `factor`.
    pub fn scale(&mut self, factor: f64) {
        match self {
            Self::F32(values) => values.iter_mut().for_each(|value| *value *= factor as f32),
            Self::F64(values) => values.iter_mut().for_each(|value| *value *= factor),
        }
    }

    /// Index of the first element that is NaN or infinite.
    pub fn first_non_finite(&self) -> Option<usize> {
        with_flat!(self, values => values.iter().position(|value| !value.is_finite()))
    }
}

fn add<T: Copy + Send + Sync + std::ops::AddAssign>(to: &mut [T], from: &[T]) {
    let chunk = |(to, from): (&mut [T], &[T])| to.iter_mut().zip(from).for_each(|(to, from)| *to += *from);
    match from.len() {
        // Not worth waking anyone for.
        ..=CHUNK => chunk((to, from)),
        _ => to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(chunk),
    }
}
