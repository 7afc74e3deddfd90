//! Gradient accumulation: a task's batch in pieces, whose gradients add up to that of the whole.

use mtl_task::{Reads, TaskBatch};

use crate::step::Trainer;

impl Trainer {
    /// The micro-batches of a window, each with its share of the window's mean loss; those that have none are left out.
    pub(crate) fn pieces(&self, batch: &TaskBatch) -> Vec<(TaskBatch, f64)> {
        let pieces = pieces(batch, self.accumulate);
        let whole: usize = pieces.iter().map(|piece| self.units(piece)).sum();
        let share = |piece: &TaskBatch| self.units(piece) as f64 / whole.max(1) as f64;
        let pieces = pieces.into_iter().map(|piece| (share(&piece), piece)).map(|(share, piece)| (piece, share));
        pieces.filter(|(_, share)| *share > 0.).collect()
    }

    /// What a task's loss is a mean over: sequences or words.
    fn units(&self, batch: &TaskBatch) -> usize {
        match self.tasks[batch.task.0].reads() {
            Reads::Text => batch.tokens.sequences(),
            Reads::Tokens => batch.tokens.anchors.len(),
        }
    }
}

/// `batch` in at most `count` pieces of whole sequences, for accumulation.
fn pieces(batch: &TaskBatch, count: usize) -> Vec<TaskBatch> {
    if count <= 1 {
        return vec![batch.clone()];
    }
    let sequences = batch.tokens.sequences();
    let size = sequences.div_ceil(count).max(1);
    (0..sequences)
        .step_by(size)
        .map(|start| {
            let range = start..(start + size).min(sequences);
            TaskBatch {
                task: batch.task,
                tokens: batch.tokens.select(range.clone()),
                labels: batch.labels[range.clone()].to_vec(),
                teacher: batch.teacher.get(range).unwrap_or_default().to_vec(),
            }
        })
        .collect()
}
