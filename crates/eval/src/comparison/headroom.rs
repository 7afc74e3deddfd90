//! How much room a task leaves above the baseline, beside what the seeds could detect of it.

use super::table::Table;
use super::{ArmResult, Headroom, TaskFacts};

/// The headroom of every task.
pub(super) fn all(table: &Table, tasks: &[TaskFacts], arms: &[ArmResult]) -> Vec<Headroom> {
    let rivals: Vec<&ArmResult> = arms.iter().filter(|arm| arm.arm.is_candidate()).collect();
    let of = |(index, facts): (usize, &TaskFacts)| {
        let baseline = arms.first().and_then(|arm| arm.tasks.get(index)?.mean)?;
        let found = rivals.iter().filter_map(|arm| Some((*arm, arm.tasks.get(index)?.transfer.as_ref()?)));
        let highest = found.clone().fold(None, |best: Option<(&ArmResult, f64)>, (arm, transfer)| {
            if best.is_some_and(|(_, high)| high >= transfer.high) { best } else { Some((arm, transfer.high)) }
        });
        let detectable =
            found.map(|(_, transfer)| transfer.detectable(table.question.level)).fold(None, |ends, one| {
                let [low, high] = ends.unwrap_or([one, one]);
                Some([one.min(low), one.max(high)])
            });
        let by_arm = highest.filter(|_| facts.ceiling.is_none());
        Some(Headroom {
            task: facts.name.clone(),
            baseline,
            room: facts.ceiling.map(|ceiling| ceiling - baseline).or(by_arm.map(|(_, high)| high)),
            by: by_arm.map(|(arm, _)| arm.arm.name.clone()),
            detectable,
        })
    };
    tasks.iter().enumerate().filter_map(of).collect()
}
