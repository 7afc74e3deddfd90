//! The task gradients themselves, read in chunks so that a trainer never has to lay them out densely.

use mtl_nash::Gram;

/// One gradient per task over the shared parameters: K rows, read piecewise.
pub trait Jacobian {
    /// Rows: the number of tasks.
    fn tasks(&self) -> usize;

    /// Columns: the number of shared parameters.
    fn columns(&self) -> usize;

    /// Copies columns `start..start + into.len()` of row `task` into `into`.
    fn read(&self, task: usize, start: usize, into: &mut [f64]);
}

/// A Jacobian laid out in memory, row after row.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    rows: Vec<Vec<f64>>,
}

impl Dense {
    /// A Jacobian of these rows.
    ///
    /// # Errors
    /// If there is no row, or rows differ in length.
    pub fn new(rows: Vec<Vec<f64>>) -> Result<Self, String> {
        let Some(first) = rows.first() else { return Err("a Jacobian needs at least one row, found none".into()) };
        match rows.iter().position(|row| row.len() != first.len()) {
            Some(odd) => {
                Err(format!("row {odd} has {} columns, row 0 has {}: they must agree", rows[odd].len(), first.len()))
            }
            None => Ok(Self { rows }),
        }
    }

    /// Row `task`.
    pub fn row(&self, task: usize) -> &[f64] {
        &self.rows[task]
    }

    /// The inner products of the rows.
    pub fn gram(&self) -> Gram {
        Gram::of_rows(&self.rows)
    }

    /// Σ weightsᵢ · rowᵢ.
    pub fn combine(&self, weights: &[f64]) -> Vec<f64> {
        let mut direction = vec![0.0; self.columns()];
        for (weight, row) in weights.iter().zip(&self.rows).filter(|(weight, _)| **weight != 0.0) {
            direction.iter_mut().zip(row).for_each(|(d, g)| *d += weight * g);
        }
        direction
    }
}

impl Jacobian for Dense {
    fn tasks(&self) -> usize {
        self.rows.len()
    }

    fn columns(&self) -> usize {
        self.rows[0].len()
    }

    fn read(&self, task: usize, start: usize, into: &mut [f64]) {
        into.copy_from_slice(&self.rows[task][start..start + into.len()]);
    }
}

/// The first task of which the first draw has an entry, multiplied by its factor, that f32 cannot hold.
pub(crate) fn beyond_f32(mini_batches: &[&dyn Jacobian], factors: &[f64]) -> Option<usize> {
    let mut found = vec![false; factors.len()];
    chunks(&mini_batches[..1], |_, mini_batches| {
        for (task, row) in mini_batches[0].iter().enumerate() {
            let beyond = |value: &f64| {
                let size = (value * factors[task]).abs();
                size.is_nan() || size > f64::from(f32::MAX)
            };
            found[task] |= row.iter().any(beyond);
        }
    });
    found.iter().position(|found| *found)
}

/// How many columns are read at a time. Fixed, so that no result depends on the caller's layout or threads.
pub(crate) const CHUNK: usize = 4096;

/// Visits all columns of all mini_batches in order, chunk after chunk: `visit(start, mini_batches)` with `mini_batches[draw][task]` the
/// chunk of a row.
pub(crate) fn chunks(mini_batches: &[&dyn Jacobian], mut visit: impl FnMut(usize, &[Vec<Vec<f64>>])) {
    let columns = mini_batches.first().map_or(0, |draw| draw.columns());
    let mut buffer: Vec<Vec<Vec<f64>>> =
        mini_batches.iter().map(|draw| vec![vec![0.0; CHUNK.min(columns)]; draw.tasks()]).collect();
    for start in (0..columns).step_by(CHUNK) {
        let length = CHUNK.min(columns - start);
        for (draw, rows) in mini_batches.iter().zip(&mut buffer) {
            for (task, row) in rows.iter_mut().enumerate() {
                row.truncate(length);
                draw.read(task, start, row);
            }
        }
        visit(start, &buffer);
    }
}
