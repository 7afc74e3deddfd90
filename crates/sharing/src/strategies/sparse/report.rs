//! What sparse sharing found: how much each task keeps, how much of that it shares, and what speaks against it.

use serde_json::{Value, json};

use super::masks::{Masks, overlap};
use super::search::{Candidate, Search};

/// Kept shares, candidates, and overlaps, once every task has its mask.
pub(super) fn findings(search: &Search) -> Value {
    let masks: Vec<&Masks> = search.chosen().collect();
    if masks.len() < search.tasks.len() {
        return Value::Null;
    }
    let (prunable, total) = (&search.prunable, search.prunable.ones().max(1) as f64);
    let share = |masks: &Masks| masks.and(prunable).ones() as f64 / total;
    let tasks: serde_json::Map<String, Value> = search
        .tasks
        .iter()
        .enumerate()
        .map(|(task, name)| {
            let candidate = |found: &Candidate| json!({ "kept": found.kept, "dev": found.score, "steps": found.steps });
            let rounds: Vec<Value> = search.candidates[task].iter().map(candidate).collect();
            let (round, baseline) = (search.favourite(task), search.baselines[task]);
            let kept = share(masks[task]);
            (name.clone(), json!({ "kept": kept, "round": round, "baseline": baseline, "rounds": rounds }))
        })
        .collect();
    let pairs: Vec<Value> = pairs(masks.len())
        .map(|(first, second)| {
            let names = [&search.tasks[first], &search.tasks[second]];
            json!({ "tasks": names, "overlap": overlap(&[masks[first], masks[second]], prunable) })
        })
        .collect();
    let layers: Vec<Option<f64>> = (0..prunable.0.len())
        .map(|index| {
            let layer = |masks: &Masks| Masks(vec![masks.0[index].clone()]);
            let of: Vec<Masks> = masks.iter().map(|masks| layer(masks)).collect();
            overlap(&of.iter().collect::<Vec<_>>(), &layer(prunable))
        })
        .collect();
    let any = masks.iter().skip(1).fold(masks[0].clone(), |sum, masks| sum.or(masks));
    json!({
        "tasks": tasks,
        "overlap": overlap(&masks, prunable),
        "overlap_by_layer": layers,
        "pairs": pairs,
        "kept_by_no_task": 1. - share(&any),
    })
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(|second| (0..second).map(move |first| (first, second)))
}

/// Overlap above which two masks are one.
const SAME: f64 = 0.99;

/// What speaks against the masks as subnetworks of their tasks, as sentences.
pub(super) fn warnings(search: &Search) -> Vec<String> {
    let (mut told, minimum) = (Vec::new(), search.settings.minimum);
    let masks: Vec<&Masks> = search.chosen().collect();
    if masks.len() < search.tasks.len() {
        return told;
    }
    if let Some(fewest) = search.candidates.iter().flatten().map(|found| found.steps).min().filter(|n| *n < minimum) {
        told.push(format!(
            "a training of the search had {fewest} steps, fewer than `minimum` = {minimum}, and says little of its mask: \
             raise train.steps, or lower `rounds`"
        ));
    }
    for (task, name) in search.tasks.iter().enumerate() {
        let scores: Vec<f64> = search.pruned(task).map(|(_, found)| found.score).collect();
        let same = scores.len() > 1 && scores.iter().all(|score| score.total_cmp(&scores[0]).is_eq());
        match (search.at_baseline(task), search.baselines[task]) {
            (true, Some(baseline)) => told.push(format!(
                "`{name}`: no subnetwork beat the baseline's dev score of {baseline:.3}, so that nothing speaks for the \
                 mask that it has: its trainings are too short, or their learning rate is too low"
            )),
            _ if same => told.push(format!(
                "`{name}`: all subnetworks scored {:.3} on dev, which then chose none of them; the sparsest was taken",
                scores[0]
            )),
            _ => {}
        }
    }
    let prunable = &search.prunable;
    for (first, second) in pairs(masks.len()) {
        let [one, other] = [masks[first], masks[second]].map(|mask| mask.and(prunable));
        let (least, most) = (one.ones().min(other.ones()), one.ones().max(other.ones()));
        let both = one.and(&other).ones();
        // Of masks of two sizes, one lies in the other where both are levels of one order.
        let overlap = both as f64 / (2 * least - both).max(1) as f64;
        if overlap > SAME && (most as f64) < SAME * prunable.ones() as f64 {
            told.push(format!(
                "`{}` and `{}` keep the same weights (overlap {overlap:.3}, as far as their sizes allow): their masks are \
                 levels of the pretrained weights' size, not subnetworks of tasks; longer trainings, a higher learning rate \
                 or `criterion = \"increase\"` part them",
                search.tasks[first], search.tasks[second]
            ));
        }
    }
    told
}
