//! Examples to one packed batch.

use mtl_task::{Packed, TaskBatch, TaskId};

use crate::Example;

/// The batch of `examples` for `task`: laid end to end if `packed`, else padded with id 0 to the longest one's length,
/// as devices without packed kernels want it (attention does not see the padding, so any id will do).
pub fn collate<'a>(task: TaskId, examples: impl IntoIterator<Item = &'a Example>, packed: bool) -> TaskBatch {
    let examples: Vec<&Example> = examples.into_iter().collect();
    let encoded = examples.iter().map(|example| &example.encoded);
    let tokens = if packed { Packed::new(encoded) } else { Packed::padded(encoded, 0) };
    let labels = examples.iter().map(|example| example.label.clone()).collect();
    TaskBatch { task, tokens, labels, teacher: Vec::new() }
}
