//! What a rule carries from step to step, and how that follows its tasks into another set of tasks.

use std::collections::BTreeMap;

use mtl_task::TaskId;

/// Named vectors; saved with a checkpoint, bit for bit.
pub type State = BTreeMap<String, Vec<f64>>;

/// How a vector of a rule's state belongs to the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateShape {
    /// `[tasks]`: a value per task.
    PerTask,
    /// `[tasks · tasks]`: a value per ordered pair.
    PerPair,
    /// `[tasks]`: shares of a total that the rule's step restores. In a subset the shares are scaled to the total that a
    /// fresh rule over it has; back among all tasks, those of the subset have together what they had before.
    Share,
    /// `[tasks]`: the logarithms of such shares, which are known up to a constant.
    LogShare,
    /// One vector per task, called `name.0`, `name.1` and so on; a new task's is zeros.
    PerTaskVector,
    /// Of all tasks together, of any length: kept as it is.
    Whole,
}

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

/// `state` over the tasks `old` as a state over `new`; what new tasks start with is in `fresh`, or 0 where it is not.
pub(crate) fn remap(
    shapes: &[(&str, StateShape)],
    fresh: &State,
    state: &State,
    old: &[TaskId],
    new: &[TaskId],
) -> Result<State, String> {
    if old == new {
        return Ok(state.clone());
    }
    let kept: Vec<Option<usize>> = new.iter().map(|task| old.iter().position(|known| known == task)).collect();
    let mut mapped = State::new();
    for (name, values) in state {
        let shape = shapes.iter().find(|(known, _)| known == name).map_or(StateShape::Whole, |(_, shape)| *shape);
        if shapes.iter().any(|(known, shape)| *shape == StateShape::PerTaskVector && vector_of(name, known).is_some()) {
            continue;
        }
        let width = if shape == StateShape::PerPair { old.len() * old.len() } else { old.len() };
        if shape != StateShape::Whole && values.len() != width {
            return Err(format!(
                "`{name}` in the state of the weighting rule has {} values where {width} are right",
                values.len()
            ));
        }
        let start = |index: usize| fresh.get(name).and_then(|values| values.get(index)).copied().unwrap_or_default();
        let per_task = || (kept.iter().enumerate()).map(|(at, kept)| kept.map_or(start(at), |kept| values[kept]));
        let values = match shape {
            StateShape::Whole | StateShape::PerTaskVector => values.clone(),
            StateShape::PerTask | StateShape::LogShare => per_task().collect(),
            StateShape::PerPair => (0..new.len() * new.len())
                .map(|index| match (kept[index / new.len()], kept[index % new.len()]) {
                    (Some(row), Some(column)) => values[row * old.len() + column],
                    _ => start(index),
                })
                .collect(),
            StateShape::Share => {
                let total = (0..new.len()).map(start).sum();
                scaled_to(per_task().collect(), total)
            }
        };
        mapped.insert(name.clone(), values);
    }
    for (name, _) in shapes.iter().filter(|(_, shape)| *shape == StateShape::PerTaskVector) {
        let columns = (0..old.len()).find_map(|task| state.get(&format!("{name}.{task}"))).map_or(0, Vec::len);
        if columns == 0 {
            continue;
        }
        for (at, kept) in kept.iter().enumerate() {
            let found = kept.and_then(|kept| state.get(&format!("{name}.{kept}")));
            mapped.insert(format!("{name}.{at}"), found.cloned().unwrap_or_else(|| vec![0.0; columns]));
        }
    }
    Ok(mapped)
}

/// Puts the state `part`, of the tasks at `positions`, back into `state`, of `tasks` tasks. Vectors per task are left to
/// [`TaskVectors`](crate::TaskVectors).
pub(crate) fn scatter(
    shapes: &[(&str, StateShape)],
    state: &mut State,
    part: &State,
    positions: &[usize],
    tasks: usize,
) {
    for (name, values) in part {
        let shape = shapes.iter().find(|(known, _)| known == name).map_or(StateShape::Whole, |(_, shape)| *shape);
        let width = if shape == StateShape::PerPair { tasks * tasks } else { tasks };
        let whole = state.entry(name.clone()).or_insert_with(|| vec![0.0; width]);
        let before = || positions.iter().map(|&position| whole[position]);
        let values = match shape {
            StateShape::PerTask => values.clone(),
            StateShape::Share => scaled_to(values.clone(), before().sum()),
            StateShape::LogShare => {
                let shift = log_total(before()) - log_total(values.iter().copied());
                values.iter().map(|value| value + shift).collect()
            }
            StateShape::PerPair => {
                for (index, value) in values.iter().enumerate() {
                    let (row, column) = (positions[index / positions.len()], positions[index % positions.len()]);
                    whole[row * tasks + column] = *value;
                }
                continue;
            }
            StateShape::Whole | StateShape::PerTaskVector => {
                whole.clone_from(values);
                continue;
            }
        };
        positions.iter().zip(values).for_each(|(&position, value)| whole[position] = value);
    }
}

/// `values` in the same proportions with the sum `total`; equal ones where they sum to nothing.
fn scaled_to(values: Vec<f64>, total: f64) -> Vec<f64> {
    let sum: f64 = values.iter().sum();
    if sum == 0.0 {
        return vec![total / values.len() as f64; values.len()];
    }
    values.iter().map(|value| value * total / sum).collect()
}

/// log Σ exp.
fn log_total(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

/// The task whose vector of `family` is called `name`.
fn vector_of(name: &str, family: &str) -> Option<usize> {
    name.strip_prefix(family)?.strip_prefix('.')?.parse().ok()
}
