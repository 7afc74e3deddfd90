//! Who is with whom at which depth: a partition of the tasks in each band, and which groups are tied.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::moves::Move;
use crate::TaskSet;

/// The bands, bottom up: words and embeddings, lower layers, upper layers.
pub(super) const BANDS: [&str; 3] = ["words", "lower", "upper"];

/// One band.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Band {
    /// The groups, sorted; every task is in one.
    pub(super) groups: Vec<TaskSet>,
    /// Unions of groups that are pulled together, sorted; a group that is free is one of its own.
    pub(super) families: Vec<TaskSet>,
}

/// Every band, bottom up; the groups of one refine those of the one below.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bands(pub(super) Vec<Band>);

impl Band {
    /// Of `groups`, all tied or all free.
    pub(super) fn new(mut groups: Vec<TaskSet>, tied: bool) -> Self {
        groups.sort();
        let all = groups.iter().fold(TaskSet::default(), |all, group| all.union(group));
        let families = if tied { vec![all] } else { groups.clone() };
        Self { groups, families }
    }

    /// The set among `sets` that meets `tasks`.
    fn meeting<'a>(sets: &'a [TaskSet], tasks: &TaskSet) -> Option<&'a TaskSet> {
        sets.iter().find(|set| set.meets(tasks))
    }

    /// Whether `first` and `second`, each in one group, are pulled together or are one.
    fn tied(&self, first: &TaskSet, second: &TaskSet) -> bool {
        Self::meeting(&self.families, first) == Self::meeting(&self.families, second)
    }

    /// The groups of each family of several, in order.
    pub(super) fn pulled(&self) -> impl Iterator<Item = Vec<&TaskSet>> {
        let members = |family: &TaskSet| self.groups.iter().filter(|group| group.meets(family)).collect::<Vec<_>>();
        self.families.iter().map(members).filter(|members| members.len() > 1)
    }

    /// Parts each set of `sets` that has tasks in `part` and others.
    fn part(sets: &mut Vec<TaskSet>, part: &TaskSet, within: Option<&TaskSet>) {
        let divide = |set: &TaskSet| -> Vec<TaskSet> {
            let (inside, outside) = divided(set, part);
            let divides = !inside.is_empty() && !outside.is_empty() && within.is_none_or(|within| set.meets(within));
            if divides { vec![inside, outside] } else { vec![set.clone()] }
        };
        *sets = sets.iter().flat_map(divide).collect();
        sets.sort();
    }

    /// Makes one of the sets that meet `first` or `second`.
    fn unite(sets: &mut Vec<TaskSet>, first: &TaskSet, second: &TaskSet) {
        let (met, mut rest): (Vec<TaskSet>, Vec<TaskSet>) =
            sets.drain(..).partition(|set| set.meets(first) || set.meets(second));
        rest.push(met.iter().fold(TaskSet::default(), |all, set| all.union(set)));
        rest.sort();
        *sets = rest;
    }
}

/// The tasks of `set` in `part`, and the others.
fn divided(set: &TaskSet, part: &TaskSet) -> (TaskSet, TaskSet) {
    let (inside, outside): (Vec<_>, Vec<_>) = set.iter().partition(|task| part.contains(*task));
    (inside.into_iter().collect(), outside.into_iter().collect())
}

impl Bands {
    /// Whether the groups of each band refine those of the band below.
    pub(super) fn refine(&self) -> bool {
        let inside =
            |upper: &TaskSet, below: &Band| below.groups.iter().filter(|group| group.meets(upper)).count() == 1;
        self.0.windows(2).all(|pair| pair[1].groups.iter().all(|group| inside(group, &pair[0])))
    }

    /// What `change` makes of it; none if nothing, or if it cannot be done.
    pub(super) fn after(&self, change: &Move) -> Option<Self> {
        let mut next = self.clone();
        match change {
            Move::Stay => return None,
            Move::Split { band, part, tied } => {
                let within = Band::meeting(&self.0.get(*band)?.groups, part)?.clone();
                for band in next.0.iter_mut().skip(*band) {
                    Band::part(&mut band.groups, part, Some(&within));
                    if !tied {
                        Band::part(&mut band.families, part, None);
                    }
                }
            }
            Move::Join { band, first, second } => {
                for band in next.0.iter_mut().take(band + 1) {
                    if !band.tied(first, second) {
                        return None;
                    }
                    Band::unite(&mut band.groups, first, second);
                }
            }
            Move::Tie { first, second } => {
                for band in next.0.iter_mut().filter(|band| !band.tied(first, second)) {
                    Band::unite(&mut band.families, first, second);
                }
            }
            Move::Free { group } => {
                let whole = |band: &Band| {
                    band.groups.iter().all(|known| divided(known, group).0.len().is_multiple_of(known.len()))
                };
                for band in next.0.iter_mut().filter(|band| whole(band)) {
                    Band::part(&mut band.families, group, None);
                }
            }
        }
        (next != *self && next.refine()).then_some(next)
    }

    /// With these `sets` for groups: a group is divided among them, the parts tied, and tied groups of a set become one;
    /// none if it is so already.
    pub(super) fn adopted(&self, sets: &[TaskSet]) -> Option<Self> {
        let mut next = self.clone();
        for band in &mut next.0 {
            sets.iter().for_each(|set| Band::part(&mut band.groups, set, None));
            for set in sets {
                for family in band.families.clone() {
                    let members = divided(&family, set).0;
                    if !members.is_empty() {
                        Band::unite(&mut band.groups, &members, &members);
                    }
                }
            }
        }
        (next != *self && next.refine()).then_some(next)
    }

    /// Encoders that it takes, the bands having these shares of one.
    pub(super) fn encoders(&self, shares: &[f64]) -> f64 {
        self.0.iter().zip(shares).map(|(band, share)| band.groups.len() as f64 * share).sum()
    }

    /// In words: `a+b ~ c` where two groups are tied, `a+b | c` where they are free; once if it is the same everywhere.
    pub(super) fn drawn(&self, names: &[String]) -> String {
        let group = |tasks: &TaskSet| tasks.iter().map(|task| names[task.0].as_str()).collect::<Vec<_>>().join("+");
        let band = |band: &Band| {
            let family = |family: &TaskSet| {
                let members = band.groups.iter().filter(|known| known.meets(family)).map(group);
                members.collect::<Vec<_>>().join(" ~ ")
            };
            band.families.iter().map(family).collect::<Vec<_>>().join(" | ")
        };
        let drawn: Vec<String> = self.0.iter().map(band).collect();
        match drawn.windows(2).all(|pair| pair[0] == pair[1]) {
            true => drawn.into_iter().next().unwrap_or_default(),
            false => {
                BANDS.iter().zip(&drawn).map(|(name, text)| format!("{name}: {text}")).collect::<Vec<_>>().join("; ")
            }
        }
    }

    /// As JSON: by band, the groups' names, and those that are tied.
    pub(super) fn named(&self, names: &[String]) -> Value {
        let group = |tasks: &TaskSet| tasks.iter().map(|task| names[task.0].as_str()).collect::<Vec<_>>();
        let band = |band: &Band| {
            let tied: Vec<Vec<Vec<&str>>> =
                band.pulled().map(|groups| groups.into_iter().map(group).collect()).collect();
            json!({ "groups": band.groups.iter().map(group).collect::<Vec<_>>(), "tied": tied })
        };
        Value::Object(
            BANDS.iter().zip(&self.0).map(|(name, known)| (name.to_string(), band(known))).collect::<Map<_, _>>(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tasks: &[usize]) -> TaskSet {
        tasks.to_vec().into()
    }

    fn bands(groups: [&[&[usize]]; 3], tied: bool) -> Bands {
        Bands(groups.iter().map(|groups| Band::new(groups.iter().map(|group| set(group)).collect(), tied)).collect())
    }

    const ALL: &[&[usize]] = &[&[0, 1, 2]];

    #[test]
    fn a_split_reaches_the_bands_above_and_a_join_those_below() {
        let one = bands([ALL; 3], false);
        let middle = one.after(&Move::Split { band: 1, part: set(&[2]), tied: true }).expect("a split");
        assert_eq!(middle.0[0], one.0[0]);
        assert!(middle.0[1..].iter().all(|band| band.groups == [set(&[0, 1]), set(&[2])]));
        assert!(middle.0[1..].iter().all(|band| band.families == [set(&[0, 1, 2])]), "tied");
        let join = |band| Move::Join { band, first: set(&[0, 1]), second: set(&[2]) };
        let joined = middle.after(&join(1)).expect("a join");
        assert!(joined.0[1].groups == [set(&[0, 1, 2])] && joined.0[2].groups.len() == 2 && joined.refine());
        assert_eq!(middle.after(&join(2)), Some(one.clone()));
        let free = one.after(&Move::Split { band: 0, part: set(&[2]), tied: false }).expect("a split");
        assert!(free.0.iter().all(|band| band.families == [set(&[0, 1]), set(&[2])]));
        assert_eq!(free.after(&join(2)), None, "what is free is not joined");
    }

    #[test]
    fn groups_become_given_sets_where_they_are_tied() {
        let (found, singles) = ([set(&[0, 2]), set(&[1])], &[&[0][..], &[1], &[2]][..]);
        let middle = bands([ALL, ALL, &[&[0, 1], &[2]]], false);
        let parted = middle.adopted(&found).expect("a change");
        assert!(parted.0[..2].iter().all(|band| band.groups == found && band.families == [set(&[0, 1, 2])]));
        assert_eq!(parted.0[2].groups, [set(&[0]), set(&[1]), set(&[2])], "what is free is not joined");
        assert_eq!(parted.0[2].families, [set(&[0, 1]), set(&[2])]);
        assert!(parted.refine() && parted.adopted(&found).is_none());
        assert_eq!(middle.adopted(&[set(&[0, 1, 2])]), None);
        let tied = bands([singles; 3], true).adopted(&found).expect("a change");
        assert!(tied.0.iter().all(|band| band.groups == found && band.families == [set(&[0, 1, 2])]));
        assert_eq!(tied.adopted(&[set(&[0, 1, 2])]), Some(bands([ALL; 3], true)));
        assert_eq!(bands([singles; 3], false).adopted(&found), None);
    }

    #[test]
    fn a_tie_is_put_on_and_taken_off() {
        let free = bands([&[&[0], &[1], &[2]]; 3], false);
        let tied = free.after(&Move::Tie { first: set(&[0]), second: set(&[2]) }).expect("a tie");
        assert!(tied.0.iter().all(|band| band.families == [set(&[0, 2]), set(&[1])]));
        assert_eq!(tied.after(&Move::Free { group: set(&[2]) }), Some(free.clone()));
        assert_eq!(free.after(&Move::Free { group: set(&[2]) }), None);
        assert_eq!(tied.after(&Move::Tie { first: set(&[2]), second: set(&[0]) }), None);
        let pulled: Vec<_> = tied.0[0].pulled().collect();
        assert_eq!(pulled, [[&set(&[0]), &set(&[2])]]);
    }

    #[test]
    fn a_structure_is_drawn_in_words() {
        let names = ["a", "b", "c"].map(String::from);
        let one = bands([ALL; 3], false);
        assert_eq!(one.drawn(&names), "a+b+c");
        let split = one.after(&Move::Split { band: 2, part: set(&[2]), tied: true }).expect("a split");
        assert_eq!(split.drawn(&names), "words: a+b+c; lower: a+b+c; upper: a+b ~ c");
        assert_eq!(
            split.named(&names)["upper"],
            json!({ "groups": [["a", "b"], ["c"]], "tied": [[["a", "b"], ["c"]]] })
        );
        assert_eq!((one.encoders(&[0.5, 0.25, 0.25]), split.encoders(&[0.5, 0.25, 0.25])), (1., 1.25));
        assert!(!bands([&[&[0], &[1], &[2]], ALL, ALL], false).refine());
    }
}
