//! What may be changed of a structure, and in which order it is tried.

use mtl_task::rng::Key;
use serde::{Deserialize, Serialize};

use super::bands::{BANDS, Bands};
use super::clues::Clues;
use super::settings::Proposals;
use crate::TaskSet;

/// Largest group all of whose divisions are looked through; of larger ones tasks leave one by one.
const EXACT: usize = 10;

/// A change of the structure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Move {
    /// None.
    Stay,
    /// The tasks `part` leave their group in `band` and all bands above, tied to the others or free.
    Split {
        /// The lowest band.
        band: usize,
        /// Who leaves.
        part: TaskSet,
        /// Whether both are still pulled together.
        tied: bool,
    },
    /// Two groups that are tied become one in `band` and all bands below.
    Join {
        /// The highest band.
        band: usize,
        /// One of them.
        first: TaskSet,
        /// The other.
        second: TaskSet,
    },
    /// Two free groups are pulled together.
    Tie {
        /// One of them.
        first: TaskSet,
        /// The other.
        second: TaskSet,
    },
    /// A group that is tied becomes free.
    Free {
        /// Which one.
        group: TaskSet,
    },
}

/// What is allowed of moves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) order: Proposals,
    /// Whether groups may become one, or be tied again.
    pub(super) joins: bool,
    /// Whether groups can be tied.
    pub(super) ties: bool,
}

/// A move that may be tried.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) change: Move,
    pub(super) after: Bands,
    /// What the gradients say for it.
    value: f64,
}

impl Move {
    /// In words.
    pub(super) fn described(&self, names: &[String]) -> String {
        let of = |tasks: &TaskSet| tasks.iter().map(|task| names[task.0].as_str()).collect::<Vec<_>>().join("+");
        match self {
            Self::Stay => "as it is".into(),
            Self::Split { band, part, tied } => {
                let tie = if *tied { "tied" } else { "free" };
                format!("split off {} from {} up, {tie}", of(part), BANDS[*band])
            }
            Self::Join { band, first, second } => {
                format!("join {} and {} up to {}", of(first), of(second), BANDS[*band])
            }
            Self::Tie { first, second } => format!("tie {} and {}", of(first), of(second)),
            Self::Free { group } => format!("free {}", of(group)),
        }
    }

    fn splits(&self) -> bool {
        matches!(self, Self::Split { .. })
    }

    /// A split that stays tied is tried before a free one.
    fn rank(&self) -> u8 {
        u8::from(matches!(self, Self::Split { tied: false, .. }))
    }

    fn value(&self, now: &Bands, clues: &Clues) -> f64 {
        match self {
            Self::Stay => 0.,
            Self::Split { band, part, .. } => {
                let group = now.0.get(*band).and_then(|known| known.groups.iter().find(|group| group.meets(part)));
                let rest = group.map(|group| group.iter().filter(|task| !part.contains(*task)).collect::<TaskSet>());
                clues.conflict(part, rest.as_ref(), *band..BANDS.len())
            }
            Self::Join { band, first, second } => 0. - clues.conflict(first, Some(second), 0..band + 1),
            Self::Tie { first, second } => 0. - clues.conflict(first, Some(second), 0..BANDS.len()),
            Self::Free { group } => clues.conflict(group, None, 0..BANDS.len()),
        }
    }
}

/// At most `most` moves to try, of `now`, by what the gradients say: the best that joins or changes a tie, the best that
/// splits, then whatever is next. What was `tried` before comes after what was not.
pub(super) fn proposals(
    now: &Bands,
    clues: &Clues,
    allowed: Allowed,
    (tried, key): (&[Bands], Key),
    most: usize,
    fits: impl Fn(&Bands) -> bool,
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    for (at, change) in all(now, allowed).into_iter().enumerate() {
        let Some(after) = now.after(&change).filter(&fits) else { continue };
        if found.iter().any(|known| known.after == after) {
            continue;
        }
        let value = match allowed.order {
            Proposals::Gradients => change.value(now, clues),
            Proposals::Reversed => -change.value(now, clues),
            Proposals::Random => key.with(at as u64).stream().uniform(),
        };
        found.push(Candidate { change, after, value });
    }
    let known = |candidate: &Candidate| tried.contains(&candidate.after);
    found.sort_by(|a, b| {
        let rank = |candidate: &Candidate| (known(candidate), candidate.change.rank());
        rank(a).cmp(&rank(b)).then(b.value.total_cmp(&a.value))
    });
    let mut order: Vec<usize> = Vec::new();
    for splits in [false, true] {
        order.extend(found.iter().position(|candidate| candidate.change.splits() == splits));
    }
    let rest: Vec<usize> = (0..found.len()).filter(|at| !order.contains(at)).collect();
    order.extend(rest);
    order.into_iter().take(most).filter_map(|at| found.get(at).cloned()).collect()
}

/// Every move, possible or not.
fn all(now: &Bands, allowed: Allowed) -> Vec<Move> {
    let mut moves = Vec::new();
    for (band, known) in now.0.iter().enumerate() {
        for part in known.groups.iter().flat_map(divisions) {
            let ways = if allowed.ties { &[true, false][..] } else { &[false] };
            moves.extend(ways.iter().map(|&tied| Move::Split { band, part: part.clone(), tied }));
        }
        for (at, first) in known.groups.iter().enumerate() {
            for second in known.groups.iter().skip(at + 1).filter(|_| allowed.joins) {
                let (first, second) = (first.clone(), second.clone());
                moves.push(Move::Join { band, first: first.clone(), second: second.clone() });
                if allowed.ties {
                    moves.push(Move::Tie { first, second });
                }
            }
            moves.push(Move::Free { group: first.clone() });
        }
    }
    moves
}

/// The ways to take some tasks, never the first, out of a group.
fn divisions(group: &TaskSet) -> Vec<TaskSet> {
    let others: Vec<_> = group.iter().skip(1).collect();
    if others.len() >= EXACT {
        return group.iter().map(TaskSet::one).collect();
    }
    let chosen =
        |mask: u32| others.iter().enumerate().filter(move |(at, _)| mask >> at & 1 == 1).map(|(_, task)| *task);
    (1..1u32 << others.len()).map(|mask| chosen(mask).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::bands::Band;
    use super::*;

    const EVERYTHING: Allowed = Allowed { order: Proposals::Gradients, joins: true, ties: true };

    fn set(tasks: &[usize]) -> TaskSet {
        tasks.to_vec().into()
    }

    fn one(tasks: usize) -> Bands {
        Bands(vec![Band::new(vec![TaskSet::all(tasks)], false); 3])
    }

    fn proposed(now: &Bands, clues: &Clues, allowed: Allowed, tried: &[Bands], most: usize) -> Vec<Candidate> {
        proposals(now, clues, allowed, (tried, Key::new(1)), most, |_| true)
    }

    /// Tasks 0 and 1 agree, 2 is in conflict with both.
    fn clues() -> Clues {
        Clues::known(3, |i, j| if i == 2 || j == 2 { 0.3 } else { -0.2 })
    }

    #[test]
    fn who_is_in_conflict_leaves_first_and_the_reverse_last() {
        let found = proposed(&one(3), &clues(), EVERYTHING, &[], 2);
        assert_eq!(found[0].change, Move::Split { band: 0, part: set(&[2]), tied: true });
        let reversed = Allowed { order: Proposals::Reversed, ..EVERYTHING };
        let found = proposed(&one(3), &clues(), reversed, &[], 1);
        assert!(matches!(&found[0].change, Move::Split { part, .. } if *part != set(&[2])), "{found:?}");
        let untied = Allowed { ties: false, ..EVERYTHING };
        let found = proposed(&one(3), &clues(), untied, &[], 1);
        assert_eq!(found[0].change, Move::Split { band: 0, part: set(&[2]), tied: false });
    }

    #[test]
    fn one_of_each_side_is_tried_and_what_lost_before_comes_last() {
        let apart = one(3).after(&Move::Split { band: 0, part: set(&[2]), tied: true }).expect("a split");
        let found = proposed(&apart, &clues(), EVERYTHING, &[], 2);
        assert_eq!(found[0].change, Move::Free { group: set(&[0, 1]) }, "a conflict speaks for no tie");
        assert!(found[1].change.splits());
        let tried = [found[0].after.clone()];
        let found = proposed(&apart, &clues(), EVERYTHING, &tried, 2);
        assert!(matches!(found[0].change, Move::Join { .. }), "{found:?}");
        let without = Allowed { joins: false, ..EVERYTHING };
        let all = proposed(&apart, &clues(), without, &[], 99);
        assert!(all.iter().all(|candidate| !matches!(candidate.change, Move::Join { .. } | Move::Tie { .. })));
        assert!(proposals(&one(3), &clues(), EVERYTHING, (&[], Key::new(1)), 9, |_| false).is_empty());
    }

    #[test]
    fn every_proposal_is_a_structure_of_its_own() {
        let all = proposed(&one(4), &Clues::new(4), EVERYTHING, &[], 999);
        assert_eq!(all.len(), 3 * 7 * 2, "7 divisions in 3 bands, tied and free");
        assert!(all.iter().all(|candidate| candidate.after.refine()));
        assert_eq!(divisions(&TaskSet::all(14)).len(), 14);
    }
}
