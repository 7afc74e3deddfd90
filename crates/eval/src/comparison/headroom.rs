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

/// Tasks whose known ceiling is nearer to the baseline than the seeds can tell.
pub(super) fn warnings(found: &[Headroom], baseline: &str) -> Vec<String> {
    let short = |one: &Headroom| {
        let (room, [lowest, _]) = (one.room.filter(|_| one.by.is_none())?, one.detectable?);
        (room < lowest).then(|| {
            format!(
                "task `{}` leaves {room:.4} between {baseline} and its noise ceiling, and the seeds detect no less than \
                 {lowest:.4}: no arm can be shown to be better there",
                one.task
            )
        })
    };
    found.iter().filter_map(short).collect()
}
