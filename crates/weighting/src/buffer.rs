//! One vector of the Jacobian's width per task, carried from step to step.
//!
//! CachedWeights in f32, the precision of the gradients themselves, because it is as large as they are.

use crate::State;
use crate::jacobian::CHUNK;
use crate::state::{take, take_if_saved};

/// K×D values, empty before the first step.
#[derive(Default)]
pub(crate) struct Buffer {
    rows: Vec<Vec<f32>>,
}

impl Buffer {
    /// Zeros, unless the buffer has this shape already.
    pub(crate) fn shape(&mut self, tasks: usize, columns: usize) {
        if self.rows.len() != tasks || self.rows[0].len() != columns {
            self.rows = vec![vec![0.0; columns]; tasks];
        }
    }

    /// Columns `start..start + length` of row `task`.
    pub(crate) fn part(&mut self, task: usize, start: usize, length: usize) -> &mut [f32] {
        &mut self.rows[task][start..start + length]
    }

    /// Σ weightsᵢ rowᵢ, written in chunks.
    pub(crate) fn combine(&self, weights: &[f64], write: &mut dyn FnMut(usize, &[f64])) {
        let columns = self.rows.first().map_or(0, Vec::len);
        for start in (0..columns).step_by(CHUNK) {
            let end = columns.min(start + CHUNK);
            let sum = |column: usize| weights.iter().zip(&self.rows).map(|(w, row)| w * f64::from(row[column])).sum();
            let direction: Vec<f64> = (start..end).map(sum).collect();
            write(start, &direction);
        }
    }

    pub(crate) fn save(&self, state: &mut State) {
        for (task, row) in self.rows.iter().enumerate() {
            state.insert(format!("buffer.{task}"), row.iter().map(|value| f64::from(*value)).collect());
        }
    }

    pub(crate) fn restore(&mut self, state: &State, tasks: usize) -> Result<(), String> {
        let Some(columns) = state.get("buffer.0").map(Vec::len) else {
            self.rows.clear();
            return Ok(());
        };
        let rows: Result<Vec<_>, _> = (0..tasks).map(|task| take(state, &format!("buffer.{task}"), columns)).collect();
        if take_if_saved(state, &format!("buffer.{tasks}"), columns)?.is_some() {
            return Err(format!("the saved state of the weighting rule is of more than {tasks} tasks"));
        }
        self.rows = rows?.into_iter().map(|row| row.into_iter().map(|value| value as f32).collect()).collect();
        Ok(())
    }
}
