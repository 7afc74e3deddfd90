//! One vector of the Jacobian's width per task, carried from step to step.
//!
//! Kept in f32, the precision of the gradients themselves, because it is as large as they are.

use crate::State;
use crate::jacobian::CHUNK;
use crate::state::{take, take_if_saved};

/// K×D values, `[tasks][columns]`, empty before the first step.
#[derive(Clone, Debug, Default)]
pub struct TaskVectors {
    rows: Vec<Vec<f32>>,
}

impl TaskVectors {
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

    /// Takes out the vectors of the tasks at `positions`; empty if there is none yet.
    pub(crate) fn take(&mut self, positions: &[usize]) -> Self {
        if self.rows.is_empty() {
            return Self::default();
        }
        Self { rows: positions.iter().map(|&position| std::mem::take(&mut self.rows[position])).collect() }
    }

    /// Puts the vectors of the tasks at `positions`, out of `tasks`, back. Where they have become of another width, or
    /// are the first ones, those of the other tasks are zeros.
    pub(crate) fn put(&mut self, positions: &[usize], part: Self, tasks: usize) {
        let Some(columns) = part.rows.first().map(Vec::len) else { return };
        self.rows.resize_with(tasks, Vec::new);
        positions.iter().zip(part.rows).for_each(|(&position, row)| self.rows[position] = row);
        for row in self.rows.iter_mut().filter(|row| row.len() != columns) {
            *row = vec![0.0; columns];
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
