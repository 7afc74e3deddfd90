//! Word vectors: rows of a table, and a gradient of only those rows.

use candle_core::{CpuStorage, CustomOp1, DType, Result, Shape, Tensor};
use mtl_task::Packed;

use super::node::{Element, host, leaf, slice};
use crate::{GradientAccumulator, GradientBlock, ParameterView, SparseRows, kernel};

struct Words {
    ids: Vec<u32>,
    width: usize,
    accumulator: Option<GradientAccumulator>,
}

/// The word vectors of the tokens, `[tokens, width]`; every id is known to lie in the table.
pub(crate) fn words(view: &ParameterView, rows: usize, width: usize, tokens: &Packed) -> Result<Tensor> {
    super::check_length(view, "word table", rows * width)?;
    let node = Words { ids: tokens.ids.clone(), width, accumulator: view.accumulator.clone() };
    let theta = leaf(view)?;
    if theta.track_op() { theta.apply_op1(node) } else { theta.apply_op1_no_bwd(&node) }
}

impl Words {
    fn gather<T: Element>(&self, table: &[T]) -> CpuStorage {
        let mut out = vec![T::default(); self.ids.len() * self.width];
        kernel::gather(table, &self.ids, self.width, &mut out);
        T::to_cpu_storage_owned(out)
    }

    fn scatter<T: Element>(&self, dout: &Tensor, accumulator: &GradientAccumulator) -> Result<()> {
        let (storage, layout) = dout.storage_and_layout();
        let (ids, rows) = kernel::scatter(&self.ids, host::<T>(&storage, layout)?, self.width);
        match &mut *accumulator.lock() {
            GradientBlock::Rows(sparse) if sparse.rows.dtype() == T::DTYPE => {
                sparse.add(&SparseRows { width: self.width, ids, rows: T::to_flat(rows) });
                Ok(())
            }
            _ => candle_core::bail!("words: the accumulator keeps no rows of {:?}, or was collected before", T::DTYPE),
        }
    }
}

impl CustomOp1 for Words {
    fn name(&self) -> &'static str {
        "words"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &candle_core::Layout) -> Result<(CpuStorage, Shape)> {
        let out = match table {
            CpuStorage::F64(_) => self.gather::<f64>(slice(table, layout)?),
            _ => self.gather::<f32>(slice(table, layout)?),
        };
        Ok((out, (self.ids.len(), self.width).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dout: &Tensor) -> Result<Option<Tensor>> {
        let dout = dout.contiguous()?;
        if let Some(accumulator) = &self.accumulator {
            match dout.dtype() {
                DType::F64 => self.scatter::<f64>(&dout, accumulator)?,
                _ => self.scatter::<f32>(&dout, accumulator)?,
            }
        }
        Ok(None)
    }
}
