//! Grouped sharing: hard sharing inside groups of tasks, and nothing between them (Standley et al. 2020; Fifty et al.
//! 2021).
//!
//! Task t of group g sees θ_g, with one optimizer state. With `partition` the groups are given; one group of all tasks
//! is `hard`, groups of one are `single`, bit for bit. Without it training begins as hard sharing, and after
//! `warmup_steps` steps the tasks part by what their gradients demanded of the word vectors in these. With Gᵢ
//! `[rows, width]` task i's gradient of the table, summed over the steps: whether two tasks move the same words (ω, the
//! cosine of the rows' squared norms) and want the same words moved alike (κ, the cosine of the kernels Gᵢ·Gᵢᵀ, which do
//! not depend on where private heads point). The score of a pair is κ − ω/3: above 0 where they want the same
//! distinctions, below 0 where they want others of the same words, about 0 where they read different ones; it counts for
//! what it is beyond its standard error (a jackknife over blocks of steps), if that is above 0.05. The partition of at
//! most `most_groups` groups with the largest sum over tasks of the mean score with their companions is taken; at no
//! evidence the tasks stay together.
//!
//! A group begins as a copy of the one encoder, so that no task's function changes, and with both moments multiplied by
//! its share of the squared gradient norm in the evidence steps, part by part. Rules weigh inside groups; a task alone
//! needs none.
//!
//! Deviations: the papers choose by affinity or by trained pairs, and their groups may overlap. A word that occurs in
//! a class for a while moves by what the few examples say. The score divides at a third of ω; on planted tasks with twenty
//! examples κ of related ones was 0.06 to 0.13 at ω of 0.4 to 0.65, so that they stay together because their score lies within
//! its error, and one of six seeds parted them.
//!
//! Defaults: no partition, 30 steps of evidence, as many groups as tasks.
//!
//! Parameters: G·P for G groups: P until the tasks part.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::bail;
use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Family, Params, Part, Pass};
use mtl_task::{Packed, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::blocks::additions::merged;
use crate::blocks::evidence::Evidence;
use crate::context::together;
use crate::{
    BuildContext, Change, DevScores, EncoderWeights, Sharing, StepView, Strategy, StrategySettings, TaskSet, Topology,
};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Groups>(
    "groups",
    "hard sharing inside groups of tasks, given or found by early evidence",
    "Standley et al. 2020; Fifty et al. 2021",
    "P, and up to K·P after the tasks part",
    true,
)
.with_source(include_str!("mod.rs"));

/// The `[sharing]` section of `strategy = "groups"`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Groups {
    /// Names of the tasks, group by group, every task in one: `[["a", "b"], ["c"]]`. Empty: found by evidence.
    pub partition: Vec<Vec<String>>,
    /// Steps of hard sharing that evidence is taken in where no partition is given; at least 1.
    pub warmup_steps: usize,
    /// Most groups that the tasks may part into; 0 for as many as tasks.
    pub most_groups: usize,
}

impl Default for Groups {
    fn default() -> Self {
        Self { partition: Vec::new(), warmup_steps: 30, most_groups: 0 }
    }
}

impl Groups {
    /// The groups of the partition as sets of the tasks called `names`, the first task's first.
    fn given(&self, names: &[&str]) -> anyhow::Result<Vec<TaskSet>> {
        let mut groups: Vec<TaskSet> = Vec::new();
        for members in &self.partition {
            let mut group = Vec::new();
            for member in members {
                let Some(task) = names.iter().position(|name| name == member) else {
                    let nearest = mtl_task::nearest(member, names.iter().copied());
                    bail!("`partition`: no task `{member}`{nearest}; there are {}", names.join(", "))
                };
                group.push(task);
            }
            groups.push(group.into());
        }
        let missing = |task: &usize| !groups.iter().any(|group| group.contains(TaskId(*task)));
        if let Some(task) = (0..names.len()).find(missing) {
            bail!(
                "`partition`: the task `{}` is in no group; one that shares with nobody is a group of its own",
                names[task]
            );
        }
        groups.sort();
        Ok(groups)
    }
}

impl StrategySettings for Groups {
    fn check(&self, tasks: usize) -> anyhow::Result<()> {
        if self.warmup_steps == 0 {
            bail!("`warmup_steps` is 0, but evidence takes at least one step; a partition needs none");
        }
        let mut names: Vec<&String> = self.partition.iter().flatten().collect();
        if self.partition.iter().any(Vec::is_empty) {
            bail!("`partition` has a group without a task");
        }
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("`partition` names the task `{}` twice; groups do not overlap", pair[0]);
        }
        if !names.is_empty() && names.len() != tasks {
            bail!("`partition` names {} tasks, but the recipe has {tasks}; every task is in one group", names.len());
        }
        Ok(())
    }

    fn shares(&self) -> Option<bool> {
        (!self.partition.is_empty()).then(|| self.partition.iter().any(|group| group.len() > 1))
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let names: Vec<String> = context.tasks.iter().map(|task| task.name.clone()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let (sets, evidence) = match self.partition.is_empty() {
            true => (vec![TaskSet::all(names.len())], Some(Evidence::new(names.len()))),
            false => (self.given(&known)?, None),
        };
        let insert = |tasks: TaskSet| {
            let scope = context.together(&tasks);
            Ok(Group { weights: EncoderWeights::insert(context, &scope)?, tasks })
        };
        let groups = sets.into_iter().map(insert).collect::<Result<_>>()?;
        Ok(Box::new(Grouped { encoder: context.encoder.clone(), names, groups, evidence, over: false, settings: self }))
    }
}

/// Tasks that share an encoder.
struct Group {
    tasks: TaskSet,
    weights: EncoderWeights,
}

struct Grouped {
    encoder: Arc<Family>,
    names: Vec<String>,
    /// Every task is in one.
    groups: Vec<Group>,
    /// What the tasks part by, unless the partition was given.
    evidence: Option<Evidence>,
    /// Whether training is over.
    over: bool,
    settings: Groups,
}

impl Grouped {
    fn place(&self, task: TaskId) -> usize {
        self.groups.iter().position(|group| group.tasks.contains(task)).unwrap_or(0)
    }

    fn name(&self, tasks: &TaskSet) -> Vec<&str> {
        tasks.iter().map(|task| self.names[task.0].as_str()).collect()
    }

    /// Whether steps still give evidence.
    fn watches(&self) -> bool {
        self.names.len() > 1 && self.evidence.as_ref().is_some_and(|seen| seen.steps() < self.settings.warmup_steps)
    }

    /// Gives each of `sets` a copy of the one encoder, and its share of the moments.
    fn split(&self, sets: Vec<TaskSet>, evidence: &Evidence, change: &mut Change) -> Result<Vec<Group>> {
        let Some(one) = self.groups.first() else { return Ok(Vec::new()) };
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let mut groups = Vec::new();
        for tasks in sets {
            let (prefix, mut weights) = (together(&tasks, &names), one.weights.clone());
            for part in Part::all(self.encoder.layers()) {
                let from = one.weights.part(part);
                let copy = change.fork(from, &format!("{prefix}/{part}"), tasks.clone())?;
                let share = evidence.share(from.name(), &tasks);
                change.moments().scale(copy.name(), share.min(1.), share);
                weights = weights.with(part, copy);
            }
            groups.push(Group { tasks, weights });
        }
        one.weights.iter().for_each(|param| change.remove(param));
        Ok(groups)
    }
}

impl Sharing for Grouped {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.encoder.layers();
        let weights = &self.groups[self.place(task)].weights;
        Ok(weights.states(&self.encoder, tokens, depth, pass)?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let mut known: BTreeMap<usize, Tensor> = BTreeMap::new();
        let mut states = Vec::with_capacity(tasks.len());
        for &task in tasks {
            let place = self.place(task);
            let state = match known.get(&place) {
                Some(state) => state.clone(),
                None => self.represent(task, tokens, pass)?,
            };
            known.insert(place, state.clone());
            states.push(state);
        }
        Ok(states)
    }

    fn reads_grams(&self) -> bool {
        self.watches()
    }

    fn reads_tables(&self) -> bool {
        self.watches()
    }

    fn adapt(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        if !self.watches() {
            return Ok(());
        }
        let (Some(mut evidence), Some(one)) = (self.evidence.take(), self.groups.first()) else { return Ok(()) };
        let table = one.weights.part(Part::Words).name();
        evidence.add(
            step.tables,
            &vec![table; step.tables.len()],
            (step.tasks, step.grams),
            self.settings.warmup_steps,
        )?;
        if evidence.steps() >= self.settings.warmup_steps {
            let sets = evidence.partition(self.settings.most_groups);
            if sets.len() > 1 {
                self.groups = self.split(sets, &evidence, change)?;
            }
            evidence.settle();
        }
        self.evidence = Some(evidence);
        Ok(())
    }

    fn partitions(&self) -> Vec<(String, Vec<TaskSet>)> {
        vec![("all depths".into(), self.groups.iter().map(|group| group.tasks.clone()).collect())]
    }

    fn restructure(&mut self, topology: &Topology, params: &Params) -> Result<()> {
        let suffix = format!("/{}", Part::Words);
        let mut groups = Vec::new();
        for (name, _) in topology.iter() {
            let (Some(prefix), Some(tasks)) = (name.strip_suffix(&suffix), topology.trained_by(name)) else { continue };
            groups.push(Group {
                tasks: tasks.clone(),
                weights: EncoderWeights::find(params, prefix, self.encoder.layers())?,
            });
        }
        groups.sort_by(|a, b| a.tasks.cmp(&b.tasks));
        let members: usize = groups.iter().map(|group| group.tasks.len()).sum();
        let all = groups.iter().fold(TaskSet::default(), |all, group| all.union(&group.tasks));
        if self.evidence.is_none() || members != self.names.len() || all.len() != members {
            candle_core::bail!("the checkpoint's structure is no partition of the tasks that this section can come to");
        }
        self.groups = groups;
        Ok(())
    }

    fn enter(&mut self, phase: usize, _scores: &mut dyn DevScores) -> Result<()> {
        self.over = phase > 0;
        Ok(())
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        let weights = &self.groups[self.place(task)].weights;
        merged(&self.encoder, |part| Ok(weights.part(part).tensor().clone()))
    }

    /// Who is with whom, and why.
    fn findings(&self) -> Result<serde_json::Value> {
        let groups: Vec<Vec<&str>> = self.groups.iter().map(|group| self.name(&group.tasks)).collect();
        Ok(match &self.evidence {
            None => json!({ "groups": groups }),
            Some(evidence) => json!({
                "groups": groups,
                "warmup_steps": evidence.steps(),
                "evidence": evidence.findings(&self.names),
            }),
        })
    }

    fn warnings(&self) -> Result<Vec<String>> {
        let Some(evidence) = self.evidence.as_ref().filter(|_| self.names.len() > 1) else { return Ok(Vec::new()) };
        let (seen, wanted) = (evidence.steps(), self.settings.warmup_steps);
        Ok(if seen >= wanted && !evidence.tells() {
            vec![format!(
                "{wanted} steps of evidence told no pair of tasks from noise, so all tasks stayed in one group; evidence \
                 takes two steps or more with words that both tasks move"
            )]
        } else if self.over && seen < wanted {
            vec![format!(
                "training ended after {seen} of {wanted} steps of evidence (sharing.warmup_steps), so all tasks stayed in \
                 one group"
            )]
        } else {
            Vec::new()
        })
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        self.evidence.as_ref().map_or_else(|| Ok(BTreeMap::new()), Evidence::state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        self.over = phase > 0;
        if self.evidence.is_some() {
            self.evidence = Some(Evidence::restored(self.names.len(), state)?);
        }
        Ok(())
    }
}
