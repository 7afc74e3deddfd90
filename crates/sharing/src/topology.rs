//! Who owns which parameter: one value that everything else reads, and that may change in training.
//!
//! A parameter is frozen, or a set of tasks trains it. From that follow the groups of parameters that a weighting rule
//! decides over, what is clipped together, which parameters have a task's own learning rate, the gradient audit, the
//! accounting, and what a checkpoint restores before any weight.

use std::collections::{BTreeMap, BTreeSet};

use mtl_task::TaskId;
use serde::{Deserialize, Serialize};

use crate::Role;

/// A set of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<usize>", into = "Vec<usize>")]
pub struct TaskSet(BTreeSet<TaskId>);

impl TaskSet {
    /// The first `count` tasks.
    pub fn all(count: usize) -> Self {
        (0..count).map(TaskId).collect()
    }

    /// One task.
    pub fn one(task: TaskId) -> Self {
        [task].into_iter().collect()
    }

    /// Whether `task` is in it.
    pub fn contains(&self, task: TaskId) -> bool {
        self.0.contains(&task)
    }

    /// Number of tasks.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tasks, rising.
    pub fn iter(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.0.iter().copied()
    }

    /// Tasks that are in this set or in `other`.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).collect()
    }

    /// Whether a task is in both.
    pub fn meets(&self, other: &Self) -> bool {
        !self.0.is_disjoint(&other.0)
    }

    /// The only task, if there is one only.
    pub fn only(&self) -> Option<TaskId> {
        self.0.first().copied().filter(|_| self.0.len() == 1)
    }
}

impl FromIterator<TaskId> for TaskSet {
    fn from_iter<I: IntoIterator<Item = TaskId>>(tasks: I) -> Self {
        Self(tasks.into_iter().collect())
    }
}

impl From<Vec<usize>> for TaskSet {
    fn from(tasks: Vec<usize>) -> Self {
        tasks.into_iter().map(TaskId).collect()
    }
}

impl From<TaskSet> for Vec<usize> {
    fn from(tasks: TaskSet) -> Self {
        tasks.iter().map(|task| task.0).collect()
    }
}

/// Who trains a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Nobody: every task may read it, no step changes it.
    Frozen,
    /// These tasks; at least one.
    Tasks(TaskSet),
}

/// The owner and the role of every parameter of a model, by the parameter's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    version: u64,
    tasks: usize,
    owners: BTreeMap<String, Owner>,
    /// Files of before there were roles have none.
    #[serde(default)]
    roles: BTreeMap<String, Role>,
}

impl Topology {
    /// No parameter yet, for `tasks` tasks.
    pub fn new(tasks: usize) -> Self {
        Self { version: 0, tasks, owners: BTreeMap::new(), roles: BTreeMap::new() }
    }

    /// Rises with every change. Whoever keeps something that was worked out from a topology works it out again then.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Number of tasks of the model.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// Who trains the parameter called `name`.
    pub fn owner_of(&self, name: &str) -> Option<&Owner> {
        self.owners.get(name)
    }

    /// The tasks that train the parameter called `name`; none for a frozen or an unknown one.
    pub fn trained_by(&self, name: &str) -> Option<&TaskSet> {
        match self.owners.get(name) {
            Some(Owner::Tasks(tasks)) => Some(tasks),
            Some(Owner::Frozen) | None => None,
        }
    }

    /// What kind of parameter the one called `name` is; an encoder's if nothing else was said.
    pub fn role_of(&self, name: &str) -> Role {
        self.roles.get(name).copied().unwrap_or_default()
    }

    /// Every parameter's name and owner, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Owner)> {
        self.owners.iter().map(|(name, owner)| (name.as_str(), owner))
    }

    /// Parameters that the same tasks train, one group for each set of tasks that trains any: the sets of many tasks
    /// first, names sorted. Gradients of the tasks of a group meet in it, so each group is one weighting decision.
    pub fn groups(&self) -> Vec<(TaskSet, Vec<String>)> {
        let mut groups: BTreeMap<&TaskSet, Vec<String>> = BTreeMap::new();
        for (name, owner) in &self.owners {
            if let Owner::Tasks(tasks) = owner {
                groups.entry(tasks).or_default().push(name.clone());
            }
        }
        let mut groups: Vec<_> = groups.into_iter().map(|(tasks, names)| (tasks.clone(), names)).collect();
        groups.sort_by_key(|(tasks, _)| std::cmp::Reverse(tasks.len()));
        groups
    }

    /// Names of the parameters that at least two tasks train.
    pub fn shared(&self) -> BTreeSet<String> {
        self.trained().filter(|(_, tasks)| tasks.len() > 1).map(|(name, _)| name.to_string()).collect()
    }

    /// Names of the parameters that `task` trains, and of the frozen ones, which it may read.
    pub fn reached_by(&self, task: TaskId) -> BTreeSet<String> {
        let reaches = |owner: &Owner| match owner {
            Owner::Frozen => true,
            Owner::Tasks(tasks) => tasks.contains(task),
        };
        self.owners.iter().filter(|(_, owner)| reaches(owner)).map(|(name, _)| name.clone()).collect()
    }

    /// Tasks that share parameters, directly or through others: their gradients are clipped by one norm, as those of
    /// tasks that share none are in runs of their own. Every task is in one of the sets.
    pub fn components(&self) -> Vec<TaskSet> {
        let mut components: Vec<TaskSet> = (0..self.tasks).map(|task| TaskSet::one(TaskId(task))).collect();
        for (_, tasks) in self.trained().filter(|(_, tasks)| tasks.len() > 1) {
            let (met, mut apart): (Vec<_>, Vec<_>) = components.into_iter().partition(|known| known.meets(tasks));
            apart.push(met.iter().fold(TaskSet::default(), |union, known| union.union(known)));
            components = apart;
        }
        components.sort();
        components
    }

    fn trained(&self) -> impl Iterator<Item = (&str, &TaskSet)> {
        self.iter().filter_map(|(name, owner)| match owner {
            Owner::Tasks(tasks) => Some((name, tasks)),
            Owner::Frozen => None,
        })
    }

    /// Makes `owner` the owner of the parameter called `name`.
    pub(crate) fn set(&mut self, name: &str, owner: Owner) {
        if self.owners.get(name) != Some(&owner) {
            self.owners.insert(name.to_string(), owner);
            self.version += 1;
        }
    }

    /// Says what kind of parameter the one called `name` is.
    pub(crate) fn set_role(&mut self, name: &str, role: Role) {
        self.roles.insert(name.to_string(), role);
    }

    /// The same topology, in which parameters without a role have the one that they have in `known`.
    pub(crate) fn with_roles_of(&self, known: &Self) -> Self {
        let mut whole = self.clone();
        for name in self.owners.keys().filter(|name| !self.roles.contains_key(*name)) {
            whole.set_role(name, known.role_of(name));
        }
        whole
    }

    /// Lets `tasks` train the parameter called `name` beside those who do; a frozen one stays so.
    pub(crate) fn extend(&mut self, name: &str, tasks: &TaskSet) {
        if let Some(union) = self.trained_by(name).map(|known| known.union(tasks)) {
            self.set(name, Owner::Tasks(union));
        }
    }

    /// Forgets the parameter called `name`.
    pub(crate) fn remove(&mut self, name: &str) {
        self.roles.remove(name);
        if self.owners.remove(name).is_some() {
            self.version += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(tasks: &[usize]) -> TaskSet {
        tasks.to_vec().into()
    }

    fn topology(owners: &[(&str, &[usize])], tasks: usize) -> Topology {
        let mut topology = Topology::new(tasks);
        for (name, tasks) in owners {
            topology.set(name, if tasks.is_empty() { Owner::Frozen } else { Owner::Tasks(set(tasks)) });
        }
        topology
    }

    #[test]
    fn groups_are_the_parameters_that_the_same_tasks_train() {
        let found = topology(&[("b", &[0, 1]), ("a", &[0, 1]), ("own", &[2]), ("all", &[0, 1, 2]), ("base", &[])], 3);
        let expected = [(set(&[0, 1, 2]), vec!["all"]), (set(&[0, 1]), vec!["a", "b"]), (set(&[2]), vec!["own"])];
        let expected: Vec<(TaskSet, Vec<String>)> =
            expected.into_iter().map(|(tasks, names)| (tasks, names.into_iter().map(String::from).collect())).collect();
        assert_eq!(found.groups(), expected);
        assert_eq!(found.shared(), ["a", "all", "b"].map(String::from).into());
        assert_eq!(found.reached_by(TaskId(2)), ["all", "base", "own"].map(String::from).into());
    }

    #[test]
    fn components_join_what_any_parameter_joins() {
        let chain = topology(&[("x", &[0, 1]), ("y", &[1, 2]), ("z", &[3])], 5);
        assert_eq!(chain.components(), [set(&[0, 1, 2]), set(&[3]), set(&[4])]);
        assert_eq!(topology(&[("x", &[0]), ("y", &[1])], 2).components(), [set(&[0]), set(&[1])]);
    }

    #[test]
    fn a_file_without_roles_takes_those_that_are_known() -> serde_json::Result<()> {
        let mut known = topology(&[("x", &[0, 1]), ("head", &[0])], 2);
        known.set_role("x", Role::Encoder);
        known.set_role("head", Role::Head);
        let mut file = serde_json::to_value(&known)?;
        file.as_object_mut().expect("an object").remove("roles");
        let read: Topology = serde_json::from_value(file)?;
        assert_eq!(read.role_of("head"), Role::Encoder);
        assert_eq!(read.with_roles_of(&known), known);
        assert_eq!(serde_json::from_value::<Topology>(serde_json::to_value(&known)?)?, known);
        Ok(())
    }

    #[test]
    fn every_change_raises_the_version_and_a_file_keeps_all() -> serde_json::Result<()> {
        let mut found = topology(&[("x", &[0, 1])], 2);
        let before = found.version();
        found.set("x", Owner::Tasks(set(&[0, 1])));
        assert_eq!(found.version(), before, "nothing changed");
        found.extend("x", &set(&[0]));
        found.remove("y");
        assert_eq!(found.version(), before);
        found.set("x", Owner::Tasks(set(&[0])));
        found.set("y", Owner::Frozen);
        assert_eq!(found.version(), before + 2);
        assert_eq!(serde_json::from_str::<Topology>(&serde_json::to_string(&found)?)?, found);
        Ok(())
    }
}
