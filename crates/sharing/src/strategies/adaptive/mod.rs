//! Adaptive sharing: who shares what is chosen while the tasks train, by races that the budget pays for.
//!
//! The encoder has three bands: words and embeddings, lower layers, upper layers. In each the tasks are parted into
//! groups, those of a band refining those of the band below; a group has one vector and one optimizer state for each part.
//! Groups may be tied: those of a family are pulled together by λ₀/2·Σ ‖θ_g − θ̄‖², as in `soft`; others are free. Training
//! begins with a group for each task, all tied, unless `start` says otherwise: copies that are pulled together learn what
//! each task wants without being spoilt by what another wants, and are still near enough to become one.
//!
//! The budget is the run's steps B. WARM: until `warmup`·B gradients say who wants the same (over the words as in `groups`,
//! elsewhere by the cosine of the summed gradients). ADOPT: where the words' say is told from noise, groups become its
//! partition (see `groups`): what is in conflict is parted, tied, and tied groups that are not become one, at the mean of
//! their vectors, with the sum of their moments. RACE: at each of `races`, at most `arms` structures go on from the same
//! state over the same batches: the one that is, the best that joins two groups or changes a tie, the best that splits one
//! (where one side has nothing to try, the next best of the other), in the order of what gradients say for them. An
//! arm takes min(`race`·B, max(`race_steps`, `race_epochs` epochs of the smallest task)) steps, the worse of two challengers
//! half of it. With d the mean paired difference of dev losses to what stays as it is, s its standard error, and ℓ the
//! loss of the best constant output, a structure wins if it has the largest Σ d̃/ℓ − `parameter_penalty`·ΔP/P, d̃ = d·τ²/(τ² + s²),
//! if this and Σ d̃/ℓ are above 0; training goes on from the winner's state. A split copies weights (no task's function
//! changes) and gives each copy its share of both moments; a join begins where on the
//! line between both groups the dev loss of their tasks is least, with the sum of their moments, and is open to tied groups
//! alone. INTERPOLATION: the last `interpolation`·B each task trains on its own from its group's vector, and ends at μ ∈ `mixes` between the
//! two; what is within one standard error of the best gives way to the smaller μ, and μ = 0 costs no parameter.
//!
//! Losers' steps, half of the challengers' included, and a third of a pass for what is scored are paid from B, rounded up to
//! steps; the learning rate follows what is spent. Before a run it is told what B buys, and refused if less than half of it
//! would train the model that is kept; where B is too small to choose anything by, the structure stays as it begins. Dev is what is scored, never test. Rules weigh inside groups; a task alone needs none.
//!
//! Corners, bit for bit, with `adopt = false`, `races = []` and `interpolation = 0`: one group is `hard`, groups of one are `single`, one group in the
//! lower bands and groups of one above are `hard` with private layers, a partition is `groups`, tied groups of one are
//! `soft`.
//!
//! Ablations: `adopt`, `proposals`, `joins`, `tie = 0` (with `start = "together"`: what is free is not joined), `shrink`,
//! `races = []`, `interpolation = 0`.
//!
//! Defaults: λ₀ = 0.1, that of `soft`; `start` and `warmup` by sixteen seeds of a planted suite (`docs/strategies.md`), the
//! rest not tuned.
//!
//! Parameters: Σ over bands of groups times the band's share of P; at most K·P, or `most_encoders`·P. While the interpolation lasts,
//! the groups' vectors are kept beside.

mod bands;
mod blend;
mod clues;
mod memory;
mod moves;
mod plan;
mod race;
mod settings;
mod weights;

use std::collections::BTreeMap;

use candle_core::{Result, Tensor};
use mtl_backbone::{Encoder, Param, Params, Part, Pass};
use mtl_task::rng::Key;
use mtl_task::{Packed, TaskId};
use serde_json::{Map, Value, json};

use crate::blocks::additions::merged;
use crate::blocks::evidence::Evidence;
use crate::blocks::penalty::penalty_with_gradient;
use crate::blocks::pull::pull;
use crate::{
    Budget, BuildContext, Change, DevScores, Racing, Sharing, StepView, Strategy, StrategySettings, TaskSet, Topology,
};
use bands::{BANDS, Bands};
use clues::Clues;
use memory::Memory;
use plan::Plan;
pub use settings::{Adaptive, ByBand, Half, Lower, Partition, Proposals, Start, Together};
use weights::{Joined, Own, Weights};

/// The entry of the registry.
pub const STRATEGY: Strategy = Strategy::of::<Adaptive>(
    "adaptive",
    "groups and ties by depth, chosen in training by races that the budget pays for",
    "-",
    "K·P, and as little as P after tasks join",
    true,
)
.with_source(include_str!("mod.rs"));

impl StrategySettings for Adaptive {
    fn check(&self, tasks: usize) -> anyhow::Result<()> {
        self.checked(tasks)
    }

    fn shares(&self) -> Option<bool> {
        Some(self.starts_shared() || self.joins && !self.races.is_empty() || self.adopts())
    }

    fn build(self, context: &mut BuildContext) -> anyhow::Result<Box<dyn Sharing>> {
        self.check(context.tasks.len())?;
        let names: Vec<&str> = context.tasks.iter().map(|task| task.name.as_str()).collect();
        let (bands, lower) = (self.bands(&names)?, self.lower(context.encoder.layers())?);
        let weights = Weights::insert(context, &bands, lower)?;
        let tasks = context.tasks.len();
        let timeline = vec![(0, bands.drawn(weights.names()))];
        let memory = Memory { bands, clues: Clues::new(tasks), timeline, ..Memory::default() };
        let key = context.key.named("proposals");
        Ok(Box::new(Adapted { weights, memory, evidence: Evidence::new(tasks), over: false, key, settings: self }))
    }
}

struct Adapted {
    weights: Weights,
    memory: Memory,
    /// What the words' gradients say, until the warm-up is over.
    evidence: Evidence,
    /// Whether training is over.
    over: bool,
    key: Key,
    settings: Adaptive,
}

/// The mean of `values`; 0 of none.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

impl Adapted {
    /// Whether the next step's gradients are needed. What is planned is known from the first step on, which is not watched.
    fn watches(&self) -> bool {
        self.weights.names().len() > 1
            && self.settings.changes()
            && self.memory.own.is_empty()
            && self.memory.plan.as_ref().is_some_and(|plan| plan.watches(self.memory.spent(), self.memory.done))
    }

    /// Whether the next step's gradients of the words are.
    fn watches_words(&self) -> bool {
        let warm = |plan: &Plan| self.memory.spent() < plan.warmup;
        self.watches() && !self.memory.judged && self.memory.plan.as_ref().is_some_and(warm)
    }

    /// Takes the baselines' losses, once.
    fn measure(&mut self, held_out: &mut dyn DevScores) -> Result<()> {
        if self.memory.scales.is_empty() {
            let scale = |task| Ok(held_out.baseline_loss(TaskId(task))?.unwrap_or(1.));
            self.memory.scales = (0..self.weights.names().len()).map(scale).collect::<Result<_>>()?;
        }
        Ok(())
    }

    /// Takes in what the gradients of a step say.
    fn watch(&mut self, plan: &Plan, step: &StepView) -> Result<()> {
        let warm = !self.memory.judged;
        for part in self.weights.parts() {
            for group in self.memory.bands.0[self.weights.band(part)].groups.iter().filter(|group| group.len() > 1) {
                if let Some(gram) = step.grams.get(self.weights.group(group, part)?.name()) {
                    self.memory.clues.add(part, group, (step.tasks, gram), warm);
                }
            }
        }
        let steps = plan.warmup.saturating_sub(1);
        if warm && self.evidence.steps() < steps {
            let tables: Vec<&str> =
                step.tasks.iter().map(|task| self.weights.of(*task).part(Part::Words).name()).collect();
            self.evidence.add(step.tables, &tables, (step.tasks, &BTreeMap::new()), steps)?;
        }
        Ok(())
    }

    /// Ends the warm-up: what was seen orders what is tried, and parts groups where it is beyond its error.
    fn judge_evidence(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        let (evidence, weights) = (&self.evidence, &self.weights);
        self.memory.clues.judge(|i, j| evidence.score(i, j), |part| weights.band_named(part));
        self.memory.judged = true;
        let sets = if evidence.tells() { evidence.partition(0) } else { Vec::new() };
        self.evidence = Evidence::new(weights.names().len());
        let (shares, most) = (self.weights.shares(), self.settings.most_encoders);
        let fits = |after: &Bands| most == 0. || after.encoders(&shares) <= most + 1e-9;
        let adopts = self.settings.adopts();
        let Some(after) = self.memory.bands.adopted(&sets).filter(|after| adopts && fits(after)) else { return Ok(()) };
        let joined = self.weights.change((&self.memory.bands, &after), &self.memory.clues, change)?;
        joined.iter().try_for_each(Joined::mean)?;
        self.memory.bands = after;
        let drawn = self.memory.bands.drawn(self.weights.names());
        self.memory.timeline.push((step.budget.spent(), drawn.clone()));
        let told = json!({ "adopted": drawn, "spent": step.budget.spent() });
        self.memory.history.push(told.clone());
        step.events.push(told);
        Ok(())
    }

    /// A race that is due and has nothing to try, or cannot be afforded, is over.
    fn pass_over(&mut self, plan: &Plan, step: &mut StepView) -> Result<()> {
        while plan.races.get(self.memory.done).is_some_and(|at| step.budget.spent() >= *at) {
            if self.due(step.budget)?.is_some() {
                break;
            }
            self.memory.done += 1;
            let told = json!({ "race": self.memory.done, "spent": step.budget.spent(), "winner": Value::Null,
                               "why": "nothing to try, or too little budget left" });
            self.memory.history.push(told.clone());
            step.events.push(told);
        }
        Ok(())
    }

    /// The groups of each band as tasks read them: after the blend those who kept their group's vector share it.
    fn shared(&self) -> Vec<Vec<TaskSet>> {
        let stays = |task: &TaskId| match self.memory.own.get(&task.0) {
            None => true,
            Some(Own::Mixed(mix)) => *mix == 0.,
            Some(Own::Training) => false,
        };
        let parted = |group: &TaskSet| -> Vec<TaskSet> {
            let (kept, left): (Vec<TaskId>, Vec<TaskId>) = group.iter().partition(stays);
            let kept: TaskSet = kept.into_iter().collect();
            let left = left.into_iter().map(TaskSet::one);
            Some(kept).filter(|kept| !kept.is_empty()).into_iter().chain(left).collect()
        };
        self.memory.bands.0.iter().map(|band| band.groups.iter().flat_map(parted).collect()).collect()
    }
}

impl Sharing for Adapted {
    fn represent(&self, task: TaskId, tokens: &Packed, pass: &mut Pass) -> Result<Tensor> {
        let depth = self.weights.encoder().layers();
        Ok(self.weights.of(task).states(self.weights.encoder(), tokens, depth, pass)?.swap_remove(depth))
    }

    fn represent_each(&self, tasks: &[TaskId], tokens: &Packed, pass: &mut Pass) -> Result<Vec<Tensor>> {
        let mut known: BTreeMap<usize, Tensor> = BTreeMap::new();
        let mut states = Vec::with_capacity(tasks.len());
        for &task in tasks {
            let alike = self.weights.alike(task);
            let state = match known.get(&alike) {
                Some(state) => state.clone(),
                None => self.represent(task, tokens, pass)?,
            };
            known.insert(alike, state.clone());
            states.push(state);
        }
        Ok(states)
    }

    fn penalty(&self) -> Result<Option<Tensor>> {
        if self.settings.tie == 0. || !self.memory.own.is_empty() {
            return Ok(None);
        }
        let (mut price, mut families) = (0., Vec::new());
        for part in self.weights.parts() {
            for family in self.memory.bands.0[self.weights.band(part)].pulled() {
                let params: Vec<Param> =
                    family.into_iter().map(|group| self.weights.group(group, part).cloned()).collect::<Result<_>>()?;
                let (value, pulls) = pull(&params, None, self.settings.tie)?;
                price += value;
                families.push((params, pulls));
            }
        }
        let gradients =
            families.iter().flat_map(|(params, pulls)| params.iter().map(Param::tensor).zip(pulls.iter().cloned()));
        penalty_with_gradient(price, gradients.collect())
    }

    fn reads_grams(&self) -> bool {
        self.watches()
    }

    fn reads_tables(&self) -> bool {
        self.watches_words()
    }

    fn adapt(&mut self, change: &mut Change, step: &mut StepView) -> Result<()> {
        let plan = match &self.memory.plan {
            Some(plan) => plan.clone(),
            None => Plan::new(&self.settings, step.budget, self.weights.names().len()),
        };
        let (watches, first) = (self.watches(), self.memory.plan.is_none());
        self.memory.plan = Some(plan.clone());
        (self.memory.steps, self.memory.charged) = (step.budget.steps, step.budget.charged);
        if !plan.acts() {
            return Ok(());
        }
        if first {
            self.measure(step.held_out)?;
        }
        if watches {
            self.watch(&plan, step)?;
        }
        if !self.memory.judged && step.budget.spent() >= plan.warmup {
            self.judge_evidence(change, step)?;
        }
        if self.memory.racing {
            return Ok(());
        }
        self.pass_over(&plan, step)?;
        if self.memory.own.is_empty() && plan.blend.is_some_and(|at| step.budget.spent() >= at) {
            self.begin_blend(&plan, change, step)?;
        }
        let trains = self.memory.own.values().any(|own| *own == Own::Training);
        if trains && step.budget.left() == 0 { self.end_blend(&plan, change, step) } else { Ok(()) }
    }

    fn foresee(&self, budget: &Budget) -> anyhow::Result<Vec<String>> {
        let tasks = self.weights.names().len();
        Plan::new(&self.settings, budget, tasks).foreseen(&self.settings, budget, tasks)
    }

    fn racing(&mut self) -> Option<&mut dyn Racing> {
        Some(self)
    }

    fn partitions(&self) -> Vec<(String, Vec<TaskSet>)> {
        BANDS.iter().map(|name| (*name).to_string()).zip(self.shared()).collect()
    }

    fn restructure(&mut self, _topology: &Topology, params: &Params) -> Result<()> {
        // Which of them a task sees is known with the state, which is read after the weights.
        self.weights.take(params);
        Ok(())
    }

    fn enter(&mut self, phase: usize, _scores: &mut dyn DevScores) -> Result<()> {
        self.over = phase > 0;
        Ok(())
    }

    fn merged(&self, task: TaskId) -> Result<Option<Vec<(Part, Tensor)>>> {
        merged(self.weights.encoder(), |part| Ok(self.weights.of(task).part(part).tensor().clone()))
    }

    /// The structure, and where tasks ended between their group's vector and their own.
    fn findings(&self) -> Result<Value> {
        let memory = &self.memory;
        let mut found = json!({ "structure": memory.bands.named(self.weights.names()) });
        if !memory.own.is_empty() {
            let mix = |own: &Own| match own {
                Own::Training => json!(1.),
                Own::Mixed(mix) => json!(mix),
            };
            let mixes = memory.own.iter().map(|(task, own)| (self.weights.names()[*task].clone(), mix(own)));
            found["interpolation"] = Value::Object(mixes.collect());
        }
        Ok(found)
    }

    /// The structures in order, what the races said, and what they cost.
    fn chronicle(&self) -> Result<Value> {
        let memory = &self.memory;
        let timeline: Map<String, Value> =
            memory.timeline.iter().map(|(spent, drawn)| (format!("from step {spent:>5}"), json!(drawn))).collect();
        Ok(json!({
            "structure over time": timeline,
            "steps": { "of the model": memory.steps, "charged": memory.charged },
            "history": memory.history,
        }))
    }

    fn warnings(&self) -> Result<Vec<String>> {
        let asked = self.settings.races.len();
        if let Some(plan) = self.memory.plan.as_ref().filter(|plan| plan.poor) {
            return Ok(vec![plan.buys_nothing(&self.settings)]);
        }
        Ok(if self.over && self.weights.names().len() > 1 && self.memory.done < asked {
            vec![format!("training ended after {} of {asked} races (sharing.races)", self.memory.done)]
        } else {
            Vec::new()
        })
    }

    fn state(&self) -> Result<BTreeMap<String, Tensor>> {
        let mut state = self.memory.state()?;
        if !self.memory.judged {
            state.extend(self.evidence.state()?);
        }
        Ok(state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>, phase: usize) -> Result<()> {
        let tasks = self.weights.names().len();
        self.over = phase > 0;
        self.memory = Memory::restored(tasks, state)?;
        self.evidence = Evidence::restored(tasks, state)?;
        self.weights.resolve(&self.memory.bands, &self.memory.own)
    }
}
