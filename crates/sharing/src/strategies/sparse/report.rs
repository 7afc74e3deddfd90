//! What sparse sharing found: how much each task keeps, and how much of that it shares.

use serde_json::{Value, json};

use super::masks::{Masks, overlap};
use super::search::Search;

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
            let candidates: Vec<Value> =
                search.candidates[task].iter().map(|[kept, score]| json!({ "kept": kept, "dev": score })).collect();
            let round = search.favourite(task);
            (name.clone(), json!({ "kept": share(masks[task]), "round": round, "rounds": candidates }))
        })
        .collect();
    let pairs: Vec<Value> = (0..masks.len())
        .flat_map(|second| (0..second).map(move |first| (first, second)))
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
