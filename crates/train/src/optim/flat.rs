//! Walking a parameter's values, its moments and its blended gradient together, chunk by chunk.
//!
//! Chunks are of a fixed size and touch nothing but themselves, so the result is the same for any number of threads.

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor};
use mtl_backbone::{Flat, GradientBlock, Param, SparseRows};
use mtl_sharing::Bits;
use rayon::prelude::*;
use std::sync::Mutex;

use super::WeightedSum;

/// Elements a chunk: three vectors of it stay in a core's cache.
const CHUNK: usize = 1 << 14;

/// f32 or f64.
pub(super) trait Real: Copy + Send + Sync + 'static {
    fn of(value: f64) -> Self;
    fn to(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn to(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn to(self) -> f64 {
        self
    }
}

/// A chunk of a parameter: values, gradient, moments, and what weight decay applies to.
pub(super) struct Chunk<'a, T> {
    pub(super) values: &'a mut [T],
    pub(super) gradient: &'a [T],
    pub(super) moments: Vec<&'a mut [T]>,
    /// Whether weight decay applies, by element range.
    pub(super) decayed: bool,
}

/// How to change a chunk, in either precision.
pub(super) trait Rule: Sync {
    fn f32(&self, chunk: Chunk<f32>);
    fn f64(&self, chunk: Chunk<f64>);
}

/// Changes `param` and `moments` in place by `rule`, which sees them chunk by chunk, never across the border between
/// tensors that decay and tensors that do not.
pub(super) fn update(
    param: &Param,
    blend: &WeightedSum,
    moments: &mut [Flat],
    mask: Option<&Bits>,
    rule: &dyn Rule,
) -> Result<()> {
    let job = Job { param, blend, moments: Mutex::new(moments), mask, rule };
    if param.tensor().device().is_cpu() {
        return param.tensor().inplace_op1(&job);
    }
    let host = param.tensor().detach().to_device(&candle_core::Device::Cpu)?;
    host.inplace_op1(&job)?;
    param.var().set(&host.to_device(param.tensor().device())?)
}

struct Job<'a> {
    param: &'a Param,
    blend: &'a WeightedSum<'a>,
    moments: Mutex<&'a mut [Flat]>,
    mask: Option<&'a Bits>,
    rule: &'a dyn Rule,
}

impl InplaceOp1 for Job<'_> {
    fn name(&self) -> &'static str {
        "optimizer step"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("parameter `{}` is not contiguous", self.param.name())
        };
        let mut moments = self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match storage {
            CpuStorage::F32(values) => {
                let moments = moments.iter_mut().map(|m| if let Flat::F32(m) = m { m.as_mut_slice() } else { &mut [] });
                let rows = rows::<f32>(self.blend, |flat| if let Flat::F32(v) = flat { Some(v) } else { None })?;
                self.run(&mut values[start..end], moments.collect(), &rows, |chunk| self.rule.f32(chunk));
            }
            CpuStorage::F64(values) => {
                let moments = moments.iter_mut().map(|m| if let Flat::F64(m) = m { m.as_mut_slice() } else { &mut [] });
                let rows = rows::<f64>(self.blend, |flat| if let Flat::F64(v) = flat { Some(v) } else { None })?;
                self.run(&mut values[start..end], moments.collect(), &rows, |chunk| self.rule.f64(chunk));
            }
            _ => candle_core::bail!("parameter `{}` is neither f32 nor f64", self.param.name()),
        }
        Ok(())
    }
}

/// One term of a blend in its own precision.
enum BlockRow<'a, T> {
    Dense(f64, &'a [T]),
    Sparse(f64, &'a SparseRows, &'a [T]),
}

fn rows<'a, T>(blend: &'a WeightedSum, of: impl Fn(&'a Flat) -> Option<&'a Vec<T>>) -> Result<Vec<BlockRow<'a, T>>> {
    blend
        .0
        .iter()
        .map(|(weight, segment)| {
            let Some(values) = of(segment.values()) else {
                candle_core::bail!("gradient and parameter differ in type")
            };
            Ok(match segment {
                GradientBlock::Dense(_) => BlockRow::Dense(*weight, values),
                GradientBlock::Rows(sparse) => BlockRow::Sparse(*weight, sparse, values),
            })
        })
        .collect()
}

/// First element, whether it decays, values and moments.
type Piece<'a, T> = (usize, bool, &'a mut [T], Vec<&'a mut [T]>);

impl Job<'_> {
    fn run<T: Real>(
        &self,
        values: &mut [T],
        moments: Vec<&mut [T]>,
        rows: &[BlockRow<T>],
        change: impl Fn(Chunk<T>) + Sync,
    ) {
        let mut pieces: Vec<Piece<T>> = Vec::new();
        let (mut values, mut moments) = (values, moments);
        for entry in self.param.layout().entries() {
            let mut start = entry.range.start;
            while start < entry.range.end {
                let length = CHUNK.min(entry.range.end - start);
                let (now, later) = values.split_at_mut(length);
                values = later;
                let mut taken = Vec::with_capacity(moments.len());
                moments = moments
                    .into_iter()
                    .map(|moment| {
                        let (now, later) = moment.split_at_mut(length);
                        taken.push(now);
                        later
                    })
                    .collect();
                pieces.push((start, entry.decay, now, taken));
                start += length;
            }
        }
        pieces.into_par_iter().for_each(|(start, decayed, values, mut moments)| {
            let mut gradient = vec![T::of(0.); values.len()];
            rows.iter().for_each(|row| row.add_to(start, &mut gradient));
            let Some(mask) = self.mask else {
                change(Chunk { values, gradient: &gradient, moments, decayed });
                return;
            };
            let before: Vec<Vec<T>> =
                std::iter::once(&*values).chain(moments.iter().map(|m| &**m)).map(<[T]>::to_vec).collect();
            change(Chunk {
                values,
                gradient: &gradient,
                moments: moments.iter_mut().map(|m| &mut **m).collect(),
                decayed,
            });
            for (now, before) in std::iter::once(values).chain(moments).zip(&before) {
                for (index, (now, before)) in now.iter_mut().zip(before).enumerate() {
                    if !mask.get(start + index) {
                        *now = *before;
                    }
                }
            }
        });
    }
}

impl<T: Real> BlockRow<'_, T> {
    fn add_to(&self, start: usize, gradient: &mut [T]) {
        let add = |to: &mut [T], weight: f64, from: &[T]| {
            let weight = T::of(weight);
            to.iter_mut().zip(from).for_each(|(to, from)| *to = T::of(to.to() + weight.to() * from.to()));
        };
        match self {
            Self::Dense(weight, values) => add(gradient, *weight, &values[start..start + gradient.len()]),
            Self::Sparse(weight, sparse, values) => {
                let (width, end) = (sparse.width, start + gradient.len());
                let first = sparse.ids.partition_point(|&id| (id as usize + 1) * width <= start);
                for (position, &id) in sparse.ids.iter().enumerate().skip(first) {
                    let row = id as usize * width;
                    if row >= end {
                        break;
                    }
                    let (from, to) = (row.max(start), (row + width).min(end));
                    let values = &values[position * width + from - row..position * width + to - row];
                    add(&mut gradient[from - start..to - start], *weight, values);
                }
            }
        }
    }
}

/// Zeros like `param`, for a moment.
pub(super) fn moment(param: &Param) -> Result<Flat> {
    Flat::zeros(param.tensor().dtype(), param.layout().len())
}

/// Σ share · moment, of moments of one length.
pub(super) fn combined<'a>(parts: impl IntoIterator<Item = (&'a Flat, f64)>) -> Option<Flat> {
    let mut sum: Option<Flat> = None;
    for (part, share) in parts {
        let mut scaled = part.clone();
        scaled.scale(share);
        match &mut sum {
            Some(sum) => sum.add(&scaled),
            None => sum = Some(scaled),
        }
    }
    sum
}

/// A saved moment.
pub(super) fn restored(tensor: &Tensor) -> Result<Flat> {
    Flat::of(tensor)
}
