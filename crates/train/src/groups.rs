//! Weighting decisions: which parameters each is over, which tasks meet there, and what was decided.
//!
//! Parameters that the same tasks train form a group, and each group is a decision of its own, with its own state: two
//! tasks bargain where two share, and one alone keeps its gradient. `over = "all"` makes it one decision of all tasks
//! over everything shared instead. Rules that see losses alone decide once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use candle_core::DType;
use mtl_backbone::{Flat, GradientBlock, TaskGradient};
use mtl_nash::Gram;
use mtl_sharing::{Model, TaskSet};
use mtl_task::{Likelihood, TaskId};
use mtl_weighting::{CachedWeights, Class, GroupRule, Jacobian, Outcome, Private, StepInputs, Weighting};

use crate::gradients::{GradientRows, total};
use crate::recipe::{DecisionScope, Recipe, ScopeName};

/// One decision: some tasks, the parameters that they share, and a rule with its state.
pub(crate) struct WeightingGroup {
    /// What it is called in files.
    pub(crate) label: String,
    /// The tasks that decide, rising.
    pub(crate) tasks: Vec<TaskId>,
    /// Those of them that have not left the training, rising.
    active: Vec<TaskId>,
    /// The parameters whose gradients the rule sees.
    observed: BTreeSet<String>,
    /// The parameters that its weights apply to.
    pub(crate) weighted: BTreeSet<String>,
    pub(crate) rule: GroupRule,
}

/// The gradients of a step, mini-batch after mini-batch.
pub(crate) struct StepGradients<'a> {
    /// The tasks that take part.
    pub(crate) tasks: &'a [TaskId],
    /// One gradient for each mini-batch and task.
    pub(crate) rows: &'a [&'a TaskGradient],
    /// Number of mini-batches.
    pub(crate) mini_batches: usize,
    /// Their inner products by parameter.
    pub(crate) parts: &'a BTreeMap<String, Gram>,
    /// Elements of each shared parameter.
    pub(crate) lengths: &'a BTreeMap<String, usize>,
    /// Their type.
    pub(crate) dtype: DType,
}

/// What a rule decided, and the direction that it wrote itself, if it did.
pub(crate) struct Decision {
    pub(crate) outcome: Outcome,
    pub(crate) direction: Option<TaskGradient>,
    /// For each weight, the place of its task among those of the step.
    pub(crate) places: Vec<usize>,
}

impl Decision {
    /// The weight of the step's task at `place`, before clipping if `unclipped`; none if it did not take part.
    pub(crate) fn weight(&self, place: usize, unclipped: bool) -> Option<f64> {
        let at = self.places.iter().position(|known| *known == place)?;
        let clip = if unclipped { self.outcome.clip } else { 1. };
        self.outcome.weights.get(at).map(|weight| weight / clip)
    }

    /// Nothing to decide: everybody's gradient as it is.
    fn identity(places: Vec<usize>) -> Self {
        Self { outcome: Outcome::exact(vec![1.; places.len()]), direction: None, places }
    }
}

/// What a model's structure asks to be decided: a label, the tasks, the parameters observed and those weighted.
struct Asked {
    label: String,
    tasks: TaskSet,
    observed: BTreeSet<String>,
    weighted: BTreeSet<String>,
}

impl WeightingGroup {
    /// The decisions that `recipe` asks for over the parameters of `model`. What `before` (the groups of an earlier
    /// structure) remembers of a set of tasks goes on in a group of the same tasks; a new set starts from what is known
    /// of its tasks.
    pub(crate) fn all(recipe: &Recipe, model: &Model, before: Vec<Self>) -> Result<Vec<Self>> {
        let entry = recipe.registries.rules.find(&recipe.weighting.name)?;
        let mut groups = Vec::new();
        for Asked { label, tasks, observed, weighted } in asked(recipe, model, entry.class)? {
            let tasks: Vec<TaskId> = tasks.iter().collect();
            let fresh = || GroupRule::new(entry, &recipe.weighting.settings, &tasks, model.tasks.len());
            let rule = match nearest(&before, &label, &tasks, &observed) {
                // Its state goes on, mapped to the tasks of the new group; a group that fell apart is mapped to each part.
                Some(at) => {
                    let mut rule = fresh().map_err(anyhow::Error::msg)?;
                    let old = &before[at];
                    rule.adopt(&old.rule).map_err(anyhow::Error::msg)?;
                    rule
                }
                None => fresh().map_err(anyhow::Error::msg)?,
            };
            groups.push(Self { label, active: tasks.clone(), tasks, observed, weighted, rule });
        }
        Ok(groups)
    }

    /// Goes on without the tasks `left`: the rule decides among the others, and what it knows of these stays as it is.
    pub(crate) fn go_on_without(&mut self, left: &BTreeSet<TaskId>) {
        self.active = self.tasks.iter().filter(|task| !left.contains(task)).copied().collect();
    }

    /// The task that the rule means by the `at`-th of those that it decides among.
    pub(crate) fn meant(&self, at: usize) -> TaskId {
        let tasks = if self.active.is_empty() { &self.tasks } else { &self.active };
        tasks.get(at % tasks.len().max(1)).copied().unwrap_or(TaskId(at))
    }

    /// Tells the rule the losses of all tasks after the step in which `present` took part, if it asked for them.
    pub(crate) fn losses_after_step(&mut self, present: &[TaskId], losses: &[f64]) -> Result<()> {
        let decided: Vec<TaskId> = match self.rule.whole().class() {
            Class::Losses => self.active.clone(),
            Class::Gram | Class::Jacobian => self.tasks.iter().filter(|task| present.contains(task)).copied().collect(),
        };
        if decided.is_empty() || !self.rule.needs().losses_after_step {
            return Ok(());
        }
        let losses: Vec<f64> = decided.iter().map(|task| losses[task.0]).collect();
        self.rule.step(&decided, |rule| rule.losses_after_step(&losses)).map_err(anyhow::Error::msg)
    }

    /// The weights of the step's `tasks` where the rule knows them before their losses.
    pub(crate) fn foreseen(&mut self, tasks: &[TaskId], inputs: &StepInputs) -> Result<Option<Vec<f64>>> {
        let (losses, likelihood) = seen_by(&self.active, inputs);
        let inputs = StepInputs { losses: &losses, likelihood: &likelihood, ..*inputs };
        let Some(weights) = self.rule.foreseen(&self.active, &inputs).map_err(anyhow::Error::msg)? else {
            return Ok(None);
        };
        let weight = |task: &TaskId| weights.get(self.active.iter().position(|known| known == task)?).copied();
        Ok(Some(tasks.iter().map(|task| weight(task).unwrap_or(1.)).collect()))
    }

    /// Weighs the losses of a step of `tasks`, by a rule that sees these alone.
    pub(crate) fn weigh(&mut self, tasks: &[TaskId], inputs: &StepInputs) -> Result<Decision> {
        let (losses, likelihood) = seen_by(&self.active, inputs);
        let inputs = StepInputs { losses: &losses, likelihood: &likelihood, ..*inputs };
        let outcome = self.rule.step(&self.active, |rule| losses_of(rule, &inputs)).map_err(anyhow::Error::msg)?;
        let place = |task: &TaskId| tasks.iter().position(|present| present == task);
        let weighed = self.active.iter().zip(&outcome.weights);
        let (weights, places) = weighed.filter_map(|(task, weight)| Some((*weight, place(task)?))).unzip();
        Ok(Decision { outcome: Outcome { weights, ..outcome }, direction: None, places })
    }

    /// Weighs the gradients of a step. `inputs` are of every task of the model.
    ///
    /// A step may leave tasks out: one-task steps, and phases of some tasks. A rule over losses then weighs all by their
    /// last losses, and the weights of those who take part count. A rule over gradients decides among those that are
    /// present; one alone keeps its gradient.
    pub(crate) fn decide(&mut self, step: &StepGradients, inputs: &StepInputs) -> Result<Decision> {
        let place = |task: &TaskId| step.tasks.iter().position(|present| present == task);
        let (present, places): (Vec<TaskId>, Vec<usize>) =
            self.tasks.iter().filter_map(|task| Some((*task, place(task)?))).unzip();
        if self.rule.whole().class() == Class::Losses {
            return self.weigh(step.tasks, inputs);
        }
        if places.is_empty() || self.weighted.is_empty() || places.len() == 1 && self.tasks.len() > 1 {
            return Ok(Decision::identity(places));
        }
        let losses: Vec<f64> = present.iter().map(|task| inputs.loss(task.0)).collect();
        let likelihood: Vec<_> = present.iter().map(|task| inputs.likelihood(task.0)).collect();
        let everyone = self.tasks.len() == inputs.losses.len();
        let key = if everyone { inputs.key } else { inputs.key.named(&self.label) };
        let inputs = StepInputs { losses: &losses, likelihood: &likelihood, key, ..*inputs };
        // The gradients of the group's tasks alone, mini-batch after mini-batch.
        let count = step.tasks.len();
        let chosen: Vec<usize> =
            (0..step.mini_batches).flat_map(|batch| places.iter().map(move |place| batch * count + place)).collect();
        let partial = |names: &BTreeSet<String>| {
            let parts = names.iter().filter_map(|name| step.parts.get(name));
            if chosen.len() == step.rows.len() {
                return total(chosen.len(), parts);
            }
            let parts: Vec<Gram> = parts.map(|part| among(part, &chosen)).collect();
            total(chosen.len(), parts.iter())
        };
        if let Some(cached) = self.rule.cached(&present, inputs.progress).map_err(anyhow::Error::msg)? {
            let outcome = reuse(cached, &partial(&self.weighted));
            return Ok(Decision { outcome, direction: None, places });
        }
        let observed = &self.observed;
        let decide = |rule: &mut Weighting| -> Result<(Outcome, Option<TaskGradient>)> {
            Ok(match rule {
                Weighting::Losses(rule) => (rule.weights(&inputs), None),
                Weighting::Gram(rule) => (rule.weights(&partial(observed), &inputs), None),
                Weighting::Jacobian(rule) => {
                    let lengths: BTreeMap<String, usize> = (observed.iter())
                        .filter_map(|name| step.lengths.get(name).map(|length| (name.clone(), *length)))
                        .collect();
                    let rows: Vec<&TaskGradient> = chosen.iter().map(|&row| step.rows[row]).collect();
                    let mini_batches: Vec<GradientRows> =
                        rows.chunks(places.len().max(1)).map(|rows| GradientRows::new(rows, &lengths)).collect();
                    let mini_batches: Vec<&dyn Jacobian> = mini_batches.iter().map(|rows| rows as _).collect();
                    let mut direction = Direction::zeros(&lengths, step.dtype)?;
                    let write = &mut |start: usize, values: &[f64]| direction.write(start, values);
                    let outcome = rule.direction(&mini_batches, &inputs, write);
                    (outcome, Some(direction.row))
                }
            })
        };
        let (outcome, direction) = self.rule.step(&present, decide).map_err(anyhow::Error::msg)??;
        Ok(Decision { outcome, direction, places })
    }
}

/// What a rule over losses sees of `inputs`, which are of every task of the model: losses and noise models of `active`.
fn seen_by(active: &[TaskId], inputs: &StepInputs) -> (Vec<f64>, Vec<Likelihood>) {
    active.iter().map(|task| (inputs.loss(task.0), inputs.likelihood(task.0))).unzip()
}

fn losses_of(rule: &mut Weighting, inputs: &StepInputs) -> Outcome {
    match rule {
        Weighting::Losses(rule) => rule.weights(inputs),
        Weighting::Gram(_) | Weighting::Jacobian(_) => Outcome::exact(vec![1.; inputs.losses.len()]),
    }
}

/// The group of an earlier structure whose state a new group continues: the one of the same name and tasks, else the one
/// over most of its parameters, or of most of its tasks; none if there is nothing in common.
fn nearest(before: &[WeightingGroup], label: &str, tasks: &[TaskId], observed: &BTreeSet<String>) -> Option<usize> {
    let common = |old: &WeightingGroup| {
        let met = old.tasks.iter().filter(|task| tasks.contains(task)).count();
        (old.label == label && old.tasks == tasks, old.observed.intersection(observed).count(), met)
    };
    let known = (0..before.len()).filter(|&at| common(&before[at]).2 > 0);
    // The first of equals.
    known.rev().max_by_key(|&at| common(&before[at]))
}

/// The decisions that a structure asks for.
fn asked(recipe: &Recipe, model: &Model, class: Class) -> Result<Vec<Asked>> {
    let topology = &model.topology;
    let all = TaskSet::all(topology.tasks());
    let shared = match topology.tasks() {
        // One task shares with nobody: its gradient over all but its head is what a rule sees.
        1 => {
            let head = model.head(TaskId(0));
            let trained = topology.iter().filter(|(name, _)| topology.trained_by(name).is_some());
            trained.map(|(name, _)| name.to_string()).filter(|name| !head.contains(name)).collect()
        }
        _ => topology.shared(),
    };
    let one = |observed: BTreeSet<String>, weighted: BTreeSet<String>| {
        vec![Asked { label: "all".into(), tasks: all.clone(), observed, weighted }]
    };
    if class == Class::Losses || topology.tasks() == 1 && !matches!(recipe.over, DecisionScope::Parts(_)) {
        return Ok(one(shared.clone(), shared));
    }
    let name_of = |tasks: &TaskSet| match *tasks == all {
        true => "all".to_string(),
        false => tasks.iter().map(|task| model.tasks[task.0].name.as_str()).collect::<Vec<_>>().join("+"),
    };
    Ok(match &recipe.over {
        DecisionScope::Name(ScopeName::All) => one(shared.clone(), shared),
        DecisionScope::Name(ScopeName::Owners) => topology
            .groups()
            .into_iter()
            .filter(|(tasks, _)| tasks.len() > 1)
            .map(|(tasks, names)| {
                let names: BTreeSet<String> = names.into_iter().collect();
                Asked { label: name_of(&tasks), tasks, observed: names.clone(), weighted: names }
            })
            .collect(),
        DecisionScope::Name(ScopeName::Layerwise) => shared
            .iter()
            .filter_map(|name| {
                let (part, tasks) = (BTreeSet::from([name.clone()]), topology.trained_by(name)?.clone());
                Some(Asked { label: name.clone(), tasks, observed: part.clone(), weighted: part })
            })
            .collect(),
        DecisionScope::Parts(parts) => {
            let is = |name: &&String| parts.iter().any(|part| *name == part || name.ends_with(&format!("/{part}")));
            let observed: BTreeSet<String> = shared.iter().filter(is).cloned().collect();
            if observed.is_empty() {
                let known: Vec<&str> = shared.iter().map(String::as_str).collect();
                bail!("`over = {parts:?}` names no shared parameter; shared are {}", known.join(", "));
            }
            one(observed, shared)
        }
    })
}

/// The inner products among the `chosen` rows.
fn among(gram: &Gram, chosen: &[usize]) -> Gram {
    let entries = chosen.iter().flat_map(|&i| chosen.iter().map(move |&j| gram.at(i, j))).collect();
    Gram::new(chosen.len(), entries)
}

/// Weights that still hold, clipped to the rule's norm by this step's gradients.
fn reuse(cached: CachedWeights, gram: &Gram) -> Outcome {
    let norm = gram.quadratic(&cached.weights).max(0.).sqrt();
    let clip = cached.max_norm.filter(|bound| norm > *bound).map_or(1., |bound| bound / norm);
    let mut outcome = Outcome::exact(cached.weights.iter().map(|weight| weight * clip).collect());
    outcome.clip = clip;
    outcome
}

/// What the gradient of each of the step's tasks on its own parameters is multiplied by: after the decision of most
/// tasks that it took part in.
pub(crate) fn private_weights(policy: Private, class: Class, decisions: &[Decision], tasks: usize) -> Vec<f64> {
    let own = policy == Private::Own || policy == Private::Auto && class != Class::Losses;
    if own {
        return vec![1.; tasks];
    }
    let of = |place: usize| decisions.iter().find_map(|decision| decision.weight(place, true)).unwrap_or(1.);
    let weights: Vec<f64> = (0..tasks).map(of).collect();
    if policy != Private::Normalised {
        return weights;
    }
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| if sum > 0. { weight * tasks as f64 / sum } else { 1. }).collect()
}

/// A direction as a rule over the Jacobian writes it, column chunk after column chunk.
struct Direction {
    row: TaskGradient,
    starts: Vec<(String, usize, usize)>,
}

impl Direction {
    fn zeros(lengths: &BTreeMap<String, usize>, dtype: candle_core::DType) -> Result<Self> {
        let mut start = 0;
        let mut direction = Self { row: TaskGradient::default(), starts: Vec::new() };
        for (name, &length) in lengths {
            direction.row.0.insert(name.clone(), GradientBlock::Dense(Flat::zeros(dtype, length)?));
            direction.starts.push((name.clone(), start, start + length));
            start += length;
        }
        Ok(direction)
    }

    fn write(&mut self, start: usize, values: &[f64]) {
        for (name, first, end) in &self.starts {
            let (from, to) = (start.max(*first), (start + values.len()).min(*end));
            if from >= to {
                continue;
            }
            let values = &values[from - start..to - start];
            match self.row.0.get_mut(name).map(GradientBlock::values_mut) {
                Some(Flat::F32(into)) => {
                    into[from - first..to - first].iter_mut().zip(values).for_each(|(i, v)| *i = *v as f32)
                }
                Some(Flat::F64(into)) => into[from - first..to - first].copy_from_slice(values),
                None => {}
            }
        }
    }
}
