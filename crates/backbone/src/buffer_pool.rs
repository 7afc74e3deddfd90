//! Gradient vectors of past steps, for those to come.
//!
//! A step's rows are as large as the model, one a task. Memory fresh from the system costs a page fault every 4 KiB,
//! which in a step of a small encoder adds up to a tenth of its time; clearing what is there already costs a tenth of
//! that.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Result};
use rayon::prelude::*;

use crate::{Flat, GradientBlock, Layout, TaskGradient, with_flat};

/// Elements that are cleared at one time.
const CHUNK: usize = 1 << 16;

/// A store of vectors that are no longer needed, by their type and length. Cloning shares it.
///
/// It never holds more vectors of a length than were asked for since the last [`BufferPool::keep`]: gradients that
/// candle allocates itself (those of heads and of strategies' own variables) are given up to it too, and nobody asks
/// for them again.
#[derive(Clone, Debug, Default)]
pub struct BufferPool(Arc<Mutex<BTreeMap<(bool, usize), Buffers>>>);

/// The vectors of one type and length.
#[derive(Debug, Default)]
struct Buffers {
    kept: Vec<Flat>,
    /// How many were asked for since vectors were last given back.
    asked: usize,
}

impl BufferPool {
    /// Keeps the memory of a step's `gradients`, as much of it as the step had asked for; the rest is freed.
    pub fn keep(&self, gradients: impl IntoIterator<Item = TaskGradient>) {
        let mut all = self.lock();
        for block in gradients.into_iter().flat_map(|gradient| gradient.0.into_values()) {
            if let GradientBlock::Dense(flat) = block
                && let Some(buffers) = all.get_mut(&kind(flat.dtype(), flat.len()))
                && buffers.kept.len() < buffers.asked
            {
                buffers.kept.push(flat);
            }
        }
        all.retain(|_, buffers| {
            buffers.kept.truncate(buffers.asked);
            buffers.asked = 0;
            !buffers.kept.is_empty()
        });
    }

    /// As [`GradientBlock::zeros`], in memory that was kept where some of its size was.
    ///
    /// # Errors
    /// If `dtype` is neither F32 nor F64.
    pub fn zeros(&self, layout: &Layout, dtype: DType) -> Result<GradientBlock> {
        if layout.row_width().is_some() || layout.is_empty() {
            return GradientBlock::zeros(layout, dtype);
        }
        let taken = {
            let mut all = self.lock();
            let buffers = all.entry(kind(dtype, layout.len())).or_default();
            buffers.asked += 1;
            buffers.kept.pop()
        };
        match taken {
            Some(mut flat) => {
                with_flat!(&mut flat, values => values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.)));
                Ok(GradientBlock::Dense(flat))
            }
            None => GradientBlock::zeros(layout, dtype),
        }
    }

    /// Number of values that are kept for later.
    pub fn values(&self) -> usize {
        self.lock().values().flat_map(|buffers| &buffers.kept).map(Flat::len).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(bool, usize), Buffers>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Type and length, as a key with an order.
fn kind(dtype: DType, length: usize) -> (bool, usize) {
    (dtype == DType::F64, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(length: usize) -> std::sync::Arc<Layout> {
        Layout::new([("weight".to_string(), vec![length], true)])
    }

    fn gradient(flats: Vec<Flat>) -> TaskGradient {
        let named = flats.into_iter().enumerate().map(|(at, flat)| (at.to_string(), GradientBlock::Dense(flat)));
        TaskGradient(named.collect())
    }

    #[test]
    fn what_was_kept_comes_back_as_zeros_of_its_size_and_type() -> Result<()> {
        let (small, large) = (layout(3), layout(CHUNK + 5));
        let pool = BufferPool::default();
        pool.zeros(&large, DType::F32)?;
        let kept = Flat::F32(vec![7.; CHUNK + 5]);
        let place = |flat: &Flat| with_flat!(flat, values => values.as_ptr() as usize);
        let expected = place(&kept);
        pool.keep([gradient(vec![Flat::F32(vec![7.; 3]), kept, Flat::F64(vec![7.; 3])])]);
        assert_eq!(pool.values(), CHUNK + 5, "nobody asked for vectors of 3");
        let found = pool.zeros(&large, DType::F32)?;
        assert_eq!((place(found.values()), &found), (expected, &GradientBlock::zeros(&large, DType::F32)?));
        for dtype in [DType::F64, DType::F32, DType::F32] {
            assert_eq!(pool.zeros(&small, dtype)?, GradientBlock::zeros(&small, dtype)?);
        }
        assert_eq!(pool.values(), 0);
        Ok(())
    }

    #[test]
    fn no_more_is_kept_than_the_last_step_asked_for() -> Result<()> {
        let pool = BufferPool::default();
        for _step in 0..5 {
            let mut gradients = Vec::new();
            for _task in 0..2 {
                let GradientBlock::Dense(own) = pool.zeros(&layout(4), DType::F32)? else { panic!("a dense layout") };
                // What candle allocated itself comes beside it, some of the same length.
                gradients.push(gradient(vec![own, Flat::F32(vec![1.; 4]), Flat::F32(vec![1.; 9])]));
            }
            pool.keep(gradients);
            assert_eq!(pool.values(), 2 * 4);
        }
        pool.keep([gradient(vec![Flat::F32(vec![1.; 4])])]);
        assert_eq!(pool.values(), 0, "a step that asked for nothing leaves nothing");
        Ok(())
    }
}
