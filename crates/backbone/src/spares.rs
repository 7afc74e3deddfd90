//! Gradient vectors of past steps, for those to come.
//!
//! A step's rows are as large as the model, one a task. Memory fresh from the system costs a page fault every 4 KiB,
//! which in a step of a small encoder adds up to a tenth of its time; clearing what is there already costs a tenth of
//! that.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Result};
use rayon::prelude::*;

use crate::{Flat, Layout, Row, Segment, with_flat};

/// Elements that are cleared at one time.
const CHUNK: usize = 1 << 16;

/// A store of vectors that are no longer needed. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Spares(Arc<Mutex<Vec<Flat>>>);

impl Spares {
    /// Keeps the memory of `row`.
    pub fn keep(&self, row: Row) {
        let dense = row.0.into_values().filter_map(|segment| match segment {
            Segment::Dense(flat) if !flat.is_empty() => Some(flat),
            _ => None,
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(dense);
    }

    /// As [`Segment::zeros`], in memory that was kept where some of its size was.
    ///
    /// # Errors
    /// If `dtype` is neither F32 nor F64.
    pub fn zeros(&self, layout: &Layout, dtype: DType) -> Result<Segment> {
        match self.taken(layout, dtype) {
            Some(mut flat) => {
                with_flat!(&mut flat, values => values.par_chunks_mut(CHUNK).for_each(|chunk| chunk.fill(0.)));
                Ok(Segment::Dense(flat))
            }
            None => Segment::zeros(layout, dtype),
        }
    }

    fn taken(&self, layout: &Layout, dtype: DType) -> Option<Flat> {
        if layout.row_width().is_some() {
            return None;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().rposition(|flat| flat.len() == layout.len() && flat.dtype() == dtype)?;
        Some(kept.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_comes_back_as_zeros_of_its_size_and_type() -> Result<()> {
        let layout = |length: usize| Layout::new([("weight".to_string(), vec![length], true)]);
        let (small, large) = (layout(3), layout(CHUNK + 5));
        let spares = Spares::default();
        let row = |flats: Vec<Flat>| {
            let named = flats.into_iter().enumerate().map(|(at, flat)| (at.to_string(), Segment::Dense(flat)));
            Row(named.collect())
        };
        let kept = Flat::F32(vec![7.; CHUNK + 5]);
        let place = |flat: &Flat| with_flat!(flat, values => values.as_ptr() as usize);
        let expected = place(&kept);
        spares.keep(row(vec![Flat::F32(vec![7.; 3]), kept, Flat::F64(vec![7.; 3])]));
        let found = spares.zeros(&large, DType::F32)?;
        assert_eq!((place(found.values()), &found), (expected, &Segment::zeros(&large, DType::F32)?));
        for dtype in [DType::F64, DType::F32, DType::F32] {
            assert_eq!(spares.zeros(&small, dtype)?, Segment::zeros(&small, dtype)?);
        }
        assert!(spares.0.lock().is_ok_and(|kept| kept.is_empty()));
        Ok(())
    }
}
