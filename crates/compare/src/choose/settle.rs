//! Who goes on after the race, and what each task takes at the end.

use std::collections::BTreeSet;

use super::MOST;
use super::looks::{Look, Looks};
use mtl_eval::stats::{Differences, Gain, gains};

/// What is known of a candidate when something is decided.
pub(super) struct Standing<'a> {
    /// Its strategy.
    pub(super) name: &'a str,
    pub(super) looks: &'a Looks,
    /// The tasks that trained to the end in it, or may; all until something is decided.
    pub(super) tasks: Vec<usize>,
}

/// Pairs of tasks that evidence found in conflict, and whether there was evidence at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Conflicts {
    pub(super) pairs: BTreeSet<(usize, usize)>,
    /// The candidate whose evidence it is, if it told anything from noise.
    pub(super) from: Option<usize>,
}

impl Conflicts {
    /// Reads what the strategy of the candidate number `of` found, for tasks called `names`.
    pub(super) fn read(of: usize, look: &Look, names: &[String]) -> Self {
        let mut found = Self::default();
        let evidence = look.findings.get("evidence").and_then(|evidence| evidence.as_array());
        for pair in evidence.into_iter().flatten() {
            let place = |at: usize| {
                let name = pair.get("tasks")?.get(at)?.as_str()?;
                names.iter().position(|known| known == name)
            };
            let (Some(first), Some(second)) = (place(0), place(1)) else { continue };
            found.from = Some(of);
            if pair.get("conflict").and_then(serde_json::Value::as_bool) == Some(true) {
                found.pairs.insert((first.min(second), first.max(second)));
            }
        }
        found
    }

    /// Whether the two are in conflict.
    fn between(&self, task: usize, other: usize) -> bool {
        self.pairs.contains(&(task.min(other), task.max(other)))
    }

    /// Whether `task` shares with somebody whom it is in conflict with in `look`.
    pub(super) fn forbid(&self, look: &Look, task: usize) -> bool {
        look.unit(task).iter().any(|&other| self.between(task, other))
    }
}

/// What each task would take of the candidates: `[task][candidate]`, none where it is not to be had.
pub(super) struct Offers {
    pub(super) gains: Vec<Vec<Option<Gain>>>,
    /// The candidate that is taken at no evidence.
    pub(super) usual: Vec<usize>,
}

/// Gains of `standings` over the first of them, the reference, by what dev said within `limit` steps.
pub(super) fn offers(standings: &[Standing], conflicts: &Conflicts, tasks: usize, limit: usize) -> Offers {
    let mut found: Vec<Vec<Option<Gain>>> = vec![vec![None; standings.len()]; tasks];
    let (mut places, mut all) = (Vec::new(), Vec::new());
    for (task, of_task) in found.iter_mut().enumerate() {
        let losses = |standing: &Standing| {
            let look = standing.looks.kept(task, limit)?;
            Some((look.clone(), look.tasks.get(task)?.clone()?.losses))
        };
        let Some((_, reference)) = standings.first().and_then(losses) else { continue };
        for (at, standing) in standings.iter().enumerate() {
            let Some((look, own)) = losses(standing) else { continue };
            if !standing.tasks.contains(&task) || conflicts.forbid(&look, task) {
                continue;
            }
            match at {
                0 => of_task[0] = gains(&[Differences::of(&reference, &reference)]).pop(),
                _ => {
                    places.push((task, at));
                    all.push(Differences::of(&reference, &own));
                }
            }
        }
    }
    for ((task, at), gain) in places.into_iter().zip(gains(&all)) {
        found[task][at] = Some(gain);
    }
    let usual = |task: usize| {
        let offered = |at: &usize| found[task][*at].is_some();
        let has = |at: usize, of: fn(&Look, usize) -> bool| {
            standings[at].looks.kept(task, limit).is_some_and(|look| of(look, task))
        };
        // Evidence that a task belongs together with others speaks before dev does.
        let grouped = conflicts.from.filter(offered).filter(|&at| has(at, |look, task| look.unit(task).len() > 1));
        let tied = || (0..standings.len()).find(|at| offered(at) && has(*at, |look, _| look.tied));
        // Nor is a task that is in conflict with every other one tied to them unless dev speaks for it.
        let barred = tasks > 1 && (0..tasks).all(|other| other == task || conflicts.between(task, other));
        grouped.or_else(|| if barred { None } else { tied() }).unwrap_or(0)
    };
    Offers { usual: (0..tasks).map(usual).collect(), gains: found }
}

impl Offers {
    /// What `task` takes among the candidates `allowed`: the largest expected gain, unless that is within one standard
    /// error of what is usual for it. None if it has no offer.
    pub(super) fn taken(&self, task: usize, allowed: impl Fn(usize) -> bool) -> Option<usize> {
        let offered = self.gains[task].iter().enumerate().filter(|(at, _)| allowed(*at));
        let offered: Vec<(usize, Gain)> = offered.filter_map(|(at, gain)| Some((at, (*gain)?))).collect();
        // The first of equals.
        let best = offered.iter().rev().max_by(|a, b| a.1.expected.total_cmp(&b.1.expected))?;
        let Some(usual) = offered.iter().find(|(at, _)| *at == self.usual[task]) else {
            let safe = offered.iter().find(|(at, _)| *at == 0).filter(|_| best.1.mean < best.1.error);
            return Some(safe.unwrap_or(best).0);
        };
        let gap = best.1.mean - usual.1.mean;
        let clear = gap > 0. && gap >= best.1.error.max(usual.1.error);
        Some(if clear { best.0 } else { usual.0 })
    }
}

/// The tasks that go on in each candidate after a race to `limit` steps, for at most `left` task-trainings of the rest.
pub(super) fn continued(standings: &[Standing], offers: &Offers, limit: usize, left: usize) -> Vec<Vec<usize>> {
    let tasks = offers.gains.len();
    let companions = |at: usize, task: usize| -> BTreeSet<usize> {
        let look = standings[at].looks.last(limit);
        look.map_or_else(BTreeSet::new, |look| look.companions(task).into_iter().collect())
    };
    let cost = |sets: &[BTreeSet<usize>]| sets.iter().map(BTreeSet::len).sum::<usize>();
    let with = |sets: &[BTreeSet<usize>], at: usize, task: usize| {
        let mut sets = sets.to_vec();
        sets[at].extend(companions(at, task));
        sets
    };
    // Every set of candidates is tried, and the best one that can be paid for is taken: each task its own choice there.
    let mut best: Option<(f64, Vec<BTreeSet<usize>>)> = None;
    for subset in 1u32..1 << standings.len().min(MOST) {
        let mut sets = vec![BTreeSet::new(); standings.len()];
        let mut sum = 0.;
        let mut whole = true;
        for task in 0..tasks {
            match offers.taken(task, |at| subset >> at & 1 == 1) {
                Some(at) => {
                    sets = with(&sets, at, task);
                    // In units of its error, so that tasks of other losses count alike.
                    let worth = |gain: &Gain| gain.expected / gain.error.max(1e-12);
                    let gain = offers.gains[task][at].as_ref().map_or(0., worth);
                    // What is usual is taken where nothing is clearly better, so that it is worth as much as anything.
                    sum += if offers.taken(task, |_| true) == Some(at) && offers.usual[task] == at {
                        offers.gains[task].iter().flatten().map(worth).fold(gain, f64::max) + 1e-3
                    } else {
                        gain
                    };
                }
                None => whole = false,
            }
        }
        if whole && cost(&sets) <= left && best.as_ref().is_none_or(|(most, _)| sum > *most) {
            best = Some((sum, sets));
        }
    }
    let mut sets = best.map_or_else(|| vec![BTreeSet::new(); standings.len()], |(_, sets)| sets);
    // What is left goes to the reference, then to the nearest rivals.
    let mut more: Vec<(bool, f64, usize, usize)> = Vec::new();
    for (task, gains) in offers.gains.iter().enumerate() {
        for (at, gain) in gains.iter().enumerate() {
            if let Some(gain) = gain.filter(|_| !sets[at].contains(&task)) {
                more.push((at != 0, -gain.expected / gain.error.max(1e-12), task, at));
            }
        }
    }
    more.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    for (_, _, task, at) in more {
        let wider = with(&sets, at, task);
        if cost(&wider) <= left {
            sets = wider;
        }
    }
    sets.into_iter().map(|set| set.into_iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::looks::Seen;
    use super::*;

    /// A candidate whose tasks lose `losses` on every dev example, with a spread that is the example's.
    fn looks(losses: &[f64], units: &[&[usize]], tied: bool) -> Looks {
        let spread = |loss: f64| (0..40).map(|at| loss + 0.3 * f64::from(at % 5)).collect();
        let look = Look {
            step: 10,
            tasks: losses.iter().map(|&loss| Some(Seen { score: 0.5, losses: spread(loss) })).collect(),
            encoders: (0..losses.len()).collect(),
            units: units.iter().map(|unit| unit.to_vec()).collect(),
            tied,
            parameters: 1,
            findings: json!(null),
        };
        Looks { looks: vec![look], seconds: 1. }
    }

    fn standing<'a>(name: &'a str, looks: &'a Looks) -> Standing<'a> {
        Standing { name, looks, tasks: vec![0, 1, 2] }
    }

    const APART: &[&[usize]] = &[&[0], &[1], &[2]];

    #[test]
    fn evidence_is_read_and_forbids_sharing_with_whom_one_is_in_conflict() {
        let names = ["a", "b", "c"].map(String::from);
        let mut look = looks(&[1., 1., 1.], &[&[0, 1, 2]], false).looks.remove(0);
        assert_eq!(Conflicts::read(2, &look, &names), Conflicts::default());
        look.findings = json!({ "evidence": [
            { "tasks": ["a", "b"], "conflict": false },
            { "tasks": ["c", "a"], "conflict": true },
            { "tasks": ["b", "d"], "conflict": true },
        ]});
        let found = Conflicts::read(2, &look, &names);
        assert_eq!((found.from, found.pairs.clone()), (Some(2), BTreeSet::from([(0, 2)])));
        assert!(found.forbid(&look, 0) && found.forbid(&look, 2));
        look.units = vec![vec![0, 1], vec![2]];
        assert!(!found.forbid(&look, 0) && !found.forbid(&look, 2));
    }

    #[test]
    fn clear_gains_are_taken_and_unclear_ones_left() {
        let (single, better, like) = (
            looks(&[1., 1., 1.], APART, false),
            looks(&[0.2, 1., 1.4], APART, false),
            looks(&[0.99, 1., 1.], &[&[0], &[1, 2]], false),
        );
        let all = [standing("single", &single), standing("better", &better), standing("like", &like)];
        let found = offers(&all, &Conflicts::default(), 3, 10);
        let taken = |found: &Offers| (0..3).map(|task| found.taken(task, |_| true)).collect::<Vec<_>>();
        // Differences without any spread are as clear as can be; equal losses are none.
        assert_eq!(taken(&found), [Some(1), Some(0), Some(0)]);
        let evidence_of = |at: usize| Conflicts { from: Some(at), ..Conflicts::default() };
        assert_eq!(taken(&offers(&all, &evidence_of(2), 3, 10)), [Some(1), Some(2), Some(2)]);
        assert_eq!(found.taken(0, |at| at == 2), Some(2));
        // Copies that are tied are usual where no group was found, and give way to what is clear.
        let tied = looks(&[1., 1., 1.], APART, true);
        let all = [standing("single", &single), standing("like", &like), standing("tied", &tied)];
        assert_eq!(taken(&offers(&all, &evidence_of(1), 3, 10)), [Some(1), Some(1), Some(1)]);
        assert_eq!(taken(&offers(&all, &Conflicts::default(), 3, 10)), [Some(1), Some(2), Some(2)]);
        assert_eq!(found.taken(0, |_| false), None);
    }

    #[test]
    fn what_goes_on_can_be_paid_for_and_takes_its_companions_along() {
        let (single, pair, tied) = (
            looks(&[1., 1., 1.], APART, false),
            looks(&[0.2, 0.3, 1.2], &[&[0, 1], &[2]], false),
            looks(&[1.1, 1.2, 0.1], APART, true),
        );
        let all = [standing("single", &single), standing("pair", &pair), standing("tied", &tied)];
        let found = offers(&all, &Conflicts::default(), 3, 10);
        // Two of the pair and all three of the tied ones, for the third task's sake.
        assert_eq!(continued(&all, &found, 10, 5), [vec![], vec![0, 1], vec![0, 1, 2]]);
        // Three alone cannot have both, and four cannot either: the reference stands in for the third task.
        for left in [3, 4] {
            let sets = continued(&all, &found, 10, left);
            assert!(sets.iter().map(Vec::len).sum::<usize>() <= left, "{sets:?}");
            assert_eq!((sets[1].clone(), sets[2].clone()), (vec![0, 1], vec![]), "{sets:?}");
            assert!(sets[0].contains(&2), "{sets:?}");
        }
        // What is left goes to the reference first.
        assert_eq!(continued(&all, &found, 10, 8), [vec![0, 1, 2], vec![0, 1], vec![0, 1, 2]]);
    }
}
