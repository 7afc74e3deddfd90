//! One task's gradient, parameter by parameter.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use candle_core::{DType, Device, Result, Tensor};

use crate::{Flat, Layout};

/// The gradient of one parameter vector.
#[derive(Clone, Debug, PartialEq)]
pub enum GradientBlock {
    /// Every element.
    Dense(Flat),
    /// The rows of a table that the batch touched.
    Rows(SparseRows),
}

/// Some rows of a `[rows, width]` table; the others are zero.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// Elements in a row.
    pub width: usize,
    /// Which rows, rising.
    pub ids: Vec<u32>,
    /// Their elements, `[ids.len() * width]`.
    pub rows: Flat,
}

impl GradientBlock {
    /// A zero gradient for a parameter laid out as `layout`.
    ///
    /// # Errors
    /// If `dtype` is neither F32 nor F64.
    pub fn zeros(layout: &Layout, dtype: DType) -> Result<Self> {
        Ok(match layout.row_width() {
            Some(width) => Self::Rows(SparseRows { width, ids: Vec::new(), rows: Flat::zeros(dtype, 0)? }),
            None => Self::Dense(Flat::zeros(dtype, layout.len())?),
        })
    }

    /// A gradient that candle made of a whole parameter laid out as `layout`.
    ///
    /// # Errors
    /// If its type is neither F32 nor F64, or it has another length.
    pub fn of(gradient: &Tensor, layout: &Layout) -> Result<Self> {
        let values = Flat::of(gradient)?;
        if values.len() != layout.len() {
            candle_core::bail!("a gradient of {} elements for a parameter of {}", values.len(), layout.len());
        }
        Ok(match layout.row_width() {
            Some(width) => {
                Self::Rows(SparseRows { width, ids: (0..(values.len() / width) as u32).collect(), rows: values })
            }
            None => Self::Dense(values),
        })
    }

    /// All elements that are kept.
    pub fn values(&self) -> &Flat {
        match self {
            Self::Dense(flat) => flat,
            Self::Rows(sparse) => &sparse.rows,
        }
    }

    /// As [`GradientBlock::values`], to change.
    pub fn values_mut(&mut self) -> &mut Flat {
        match self {
            Self::Dense(flat) => flat,
            Self::Rows(sparse) => &mut sparse.rows,
        }
    }

    /// Every element of a parameter of `length` elements, the untouched rows as zeros.
    ///
    /// # Errors
    /// Never for segments made by [`GradientBlock::zeros`].
    pub fn dense(&self, length: usize) -> Result<Flat> {
        match self {
            Self::Dense(flat) => Ok(flat.clone()),
            Self::Rows(sparse) => {
                let mut flat = Flat::zeros(sparse.rows.dtype(), length)?;
                let width = sparse.width;
                for (position, &id) in sparse.ids.iter().enumerate() {
                    let (to, from) = (id as usize * width, position * width);
                    match (&mut flat, &sparse.rows) {
                        (Flat::F32(to_), Flat::F32(rows)) => {
                            to_[to..to + width].copy_from_slice(&rows[from..from + width])
                        }
                        (Flat::F64(to_), Flat::F64(rows)) => {
                            to_[to..to + width].copy_from_slice(&rows[from..from + width])
                        }
                        _ => candle_core::bail!("a segment of two types"),
                    }
                }
                Ok(flat)
            }
        }
    }

    /// Adds a gradient that candle made: of the whole tensor that is laid out from `start` on, or of that table's rows
    /// `touched` (rising), `[touched.len(), width]`.
    ///
    /// # Errors
    /// If it does not fit.
    pub fn add_tensor(&mut self, start: usize, gradient: &Tensor, touched: Option<&[u32]>) -> Result<()> {
        match self {
            Self::Dense(flat) => match touched {
                None => flat.add_at(start, gradient),
                Some(ids) => {
                    let (gradient, width) = (gradient.to_device(&Device::Cpu)?, gradient.dim(1)?);
                    let mut rows = ids.iter().enumerate();
                    rows.try_for_each(|(at, &id)| flat.add_at(start + id as usize * width, &gradient.get(at)?))
                }
            },
            Self::Rows(sparse) => {
                let Some(ids) = touched else { return sparse.add_table(&gradient.reshape(((), sparse.width))?) };
                let rows = Flat::of(gradient)?;
                if rows.len() != ids.len() * sparse.width {
                    let (found, width) = (rows.len(), sparse.width);
                    candle_core::bail!("a gradient of {found} elements for {} rows of {width}", ids.len());
                }
                sparse.add(&SparseRows { width: sparse.width, ids: ids.to_vec(), rows });
                Ok(())
            }
        }
    }

    /// Adds `other`, the gradient of the same parameter.
    ///
    /// # Panics
    /// If the two are of different parameters.
    pub fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Dense(to), Self::Dense(from)) => to.add(from),
            (Self::Rows(to), Self::Rows(from)) => to.add(from),
            _ => panic!("segments of two parameters"),
        }
    }
}

impl SparseRows {
    /// Adds the rows of `other`, keeping ids rising.
    ///
    /// # Panics
    /// If width or type differ.
    pub fn add(&mut self, other: &Self) {
        assert_eq!(self.width, other.width, "sparse rows of two widths");
        let (ids, rows) = match (&self.rows, &other.rows) {
            (Flat::F32(a), Flat::F32(b)) => {
                let (ids, rows) = merge(self.width, (&self.ids, a), (&other.ids, b));
                (ids, Flat::F32(rows))
            }
            (Flat::F64(a), Flat::F64(b)) => {
                let (ids, rows) = merge(self.width, (&self.ids, a), (&other.ids, b));
                (ids, Flat::F64(rows))
            }
            _ => panic!("sparse rows of two types"),
        };
        (self.ids, self.rows) = (ids, rows);
    }

    /// Adds `table`, `[rows, width]`, after which every row is kept.
    fn add_table(&mut self, table: &Tensor) -> Result<()> {
        let mut rows = Flat::of(table)?;
        let width = self.width;
        for (position, &id) in self.ids.iter().enumerate() {
            rows.add_range(id as usize * width, &self.rows, position * width..(position + 1) * width)?;
        }
        self.ids = (0..table.dim(0)? as u32).collect();
        self.rows = rows;
        Ok(())
    }
}

fn merge<T: Copy + std::ops::AddAssign>(width: usize, a: (&[u32], &[T]), b: (&[u32], &[T])) -> (Vec<u32>, Vec<T>) {
    let mut ids = Vec::with_capacity(a.0.len() + b.0.len());
    let mut rows = Vec::with_capacity(a.1.len() + b.1.len());
    let (mut i, mut j) = (0, 0);
    while i < a.0.len() || j < b.0.len() {
        let left = a.0.get(i).copied().unwrap_or(u32::MAX);
        let right = b.0.get(j).copied().unwrap_or(u32::MAX);
        let start = rows.len();
        ids.push(left.min(right));
        if left <= right {
            rows.extend_from_slice(&a.1[i * width..(i + 1) * width]);
            i += 1;
        }
        if right <= left {
            let from = &b.1[j * width..(j + 1) * width];
            if left == right {
                rows[start..].iter_mut().zip(from).for_each(|(to, from)| *to += *from);
            } else {
                rows.extend_from_slice(from);
            }
            j += 1;
        }
    }
    (ids, rows)
}

/// Where an op's backward adds a parameter's gradient. Cloning shares it.
#[derive(Clone, Debug)]
pub struct GradientAccumulator(Arc<Mutex<GradientBlock>>);

impl GradientAccumulator {
    /// A accumulator that starts from `segment`.
    pub fn new(segment: GradientBlock) -> Self {
        Self(Arc::new(Mutex::new(segment)))
    }

    /// The gradient gathered so far.
    pub fn lock(&self) -> MutexGuard<'_, GradientBlock> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes the gradient out and leaves nothing: graph nodes may still hold clones of the accumulator.
    pub fn take(&self) -> GradientBlock {
        std::mem::replace(&mut *self.lock(), GradientBlock::Dense(Flat::F32(Vec::new())))
    }
}

/// One task's gradient: a segment for every parameter that its loss reached, by the parameter's name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskGradient(pub BTreeMap<String, GradientBlock>);

impl TaskGradient {
    /// Adds `other`; parameters that only one of the two reached are kept.
    pub fn add(&mut self, other: Self) {
        for (name, segment) in other.0 {
            match self.0.get_mut(&name) {
                Some(own) => own.add(&segment),
                None => {
                    self.0.insert(name, segment);
                }
            }
        }
    }

    /// Multiplies everything by `factor`.
    pub fn scale(&mut self, factor: f64) {
        self.0.values_mut().for_each(|segment| segment.values_mut().scale(factor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_table_takes_in_the_rows_that_were_there() -> Result<()> {
        let table = Tensor::new(&[[1f64, 2.], [3., 4.], [5., 6.]], &candle_core::Device::Cpu)?;
        let sparse = SparseRows { width: 2, ids: vec![1], rows: Flat::F64(vec![10., 20.]) };
        for mut segment in
            [GradientBlock::Rows(sparse), GradientBlock::zeros(&Layout::table("t".into(), 3, 2), DType::F64)?]
        {
            let mut expected = segment.dense(6)?;
            expected.add(&Flat::of(&table)?);
            segment.add_tensor(0, &table, None)?;
            assert_eq!(segment.dense(6)?, expected);
            let rows = table.index_select(&Tensor::new(&[0u32, 2], table.device())?, 0)?;
            segment.add_tensor(0, &rows, Some(&[0, 2]))?;
            expected.add(&Flat::F64(vec![1., 2., 0., 0., 5., 6.]));
            assert_eq!(segment.dense(6)?, expected);
        }
        Ok(())
    }

    #[test]
    fn sparse_rows_merge_by_id() -> Result<()> {
        let rows =
            |ids: &[u32], rows: &[f64]| SparseRows { width: 2, ids: ids.to_vec(), rows: Flat::F64(rows.to_vec()) };
        let mut sum = rows(&[1, 4], &[1., 2., 3., 4.]);
        sum.add(&rows(&[0, 4, 5], &[9., 9., 10., 20., 7., 7.]));
        assert_eq!(sum, rows(&[0, 1, 4, 5], &[9., 9., 1., 2., 13., 24., 7., 7.]));
        let dense = GradientBlock::Rows(rows(&[2], &[5., 6.])).dense(8)?;
        assert_eq!(dense, Flat::F64(vec![0., 0., 0., 0., 5., 6., 0., 0.]));
        Ok(())
    }

    #[test]
    fn rows_of_a_gradient_land_where_their_table_lies() -> Result<()> {
        let gradient = Tensor::new(&[[1f64, 2.], [3., 4.]], &Device::Cpu)?;
        let touched = Some([0u32, 2].as_slice());
        let table = Layout::table("table".into(), 3, 2);
        let mut sparse = GradientBlock::zeros(&table, DType::F64)?;
        sparse.add_tensor(0, &gradient, touched)?;
        assert_eq!(sparse.dense(6)?, Flat::F64(vec![1., 2., 0., 0., 3., 4.]));
        assert!(sparse.add_tensor(0, &gradient, Some(&[1])).is_err());
        let mut dense = GradientBlock::Dense(Flat::F64(vec![0.; 7]));
        dense.add_tensor(1, &gradient, touched)?;
        assert_eq!(dense, GradientBlock::Dense(Flat::F64(vec![0., 1., 2., 0., 0., 3., 4.])));
        Ok(())
    }
}
