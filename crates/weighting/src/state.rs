//! What a rule carries from step to step.

use std::collections::BTreeMap;

/// Named vectors; saved with a checkpoint, bit for bit.
pub type State = BTreeMap<String, Vec<f64>>;

/// The vector called `name`, which must have `length` entries.
pub(crate) fn take(state: &State, name: &str, length: usize) -> Result<Vec<f64>, String> {
    match state.get(name) {
        None => Err(format!("the saved state of the weighting rule has no `{name}`")),
        Some(values) if values.len() != length => Err(format!(
            "`{name}` in the saved state of the weighting rule has {} values where {length} are right",
            values.len()
        )),
        Some(values) => Ok(values.clone()),
    }
}

/// The vector called `name` if it was saved; it must then have `length` entries.
pub(crate) fn take_if_saved(state: &State, name: &str, length: usize) -> Result<Option<Vec<f64>>, String> {
    state.contains_key(name).then(|| take(state, name, length)).transpose()
}
