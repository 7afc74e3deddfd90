//! The section of the recipe.

use anyhow::bail;
use mtl_task::TaskId;
use serde::{Deserialize, Serialize};

use super::bands::{BANDS, Band, Bands};
use crate::TaskSet;

/// The `[sharing]` section of `strategy = "adaptive"`. Shares are of the budget, all in [0, 1].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Adaptive {
    /// The groups to begin with: `"together"`, `"apart"`, by names of tasks `[["a", "b"], ["c"]]` at every depth, or
    /// `{ words = [["a", "b", "c"]], lower = …, upper = [["a", "b"], ["c"]] }`. An empty list is one group.
    pub start: Start,
    /// Whether those groups are tied, which takes a `tie` above 0, or free.
    pub start_tied: bool,
    /// λ₀ from 0 on, the strength with which tied groups are pulled together; 0 for no ties.
    pub tie: f64,
    /// Layers of the lower band: a number, or `"half"` of them (the larger half).
    pub lower_layers: Lower,
    /// Share that is spent on one structure before anything is tried.
    pub warmup: f64,
    /// Whether groups part, tied, as the words' gradients say beyond their standard error, when the warm-up ends.
    pub adopt: bool,
    /// When structures are raced, rising; empty for no race.
    pub races: Vec<f64>,
    /// Share that an arm of a race may take at most.
    pub race: f64,
    /// Steps that it takes at least, as far as that share allows.
    pub race_steps: usize,
    /// Epochs of the smallest task that it takes, as far as that share allows.
    pub race_epochs: f64,
    /// Arms of a race, what stays as it is included: 2 or 3.
    pub arms: usize,
    /// Share at the end in which each task trains on its own from its group's vector; 0 for none.
    pub interpolation: f64,
    /// μ, how far a task may end from its group's vector towards its own, rising from 0.
    pub mixes: Vec<f64>,
    /// Share that scoring on dev may take; it decides how many examples are scored.
    pub held_out: f64,
    /// What an encoder more has to gain, in units of the baseline's loss.
    pub parameter_penalty: f64,
    /// Most parameters, as a multiple of the encoder's; 0 for no bound.
    pub most_encoders: f64,
    /// In which order moves are tried: by the `gradients`, at `random`, or `reversed`.
    pub proposals: Proposals,
    /// Whether groups may be joined, or tied again.
    pub joins: bool,
    /// Whether gains are shrunken before they are compared.
    pub shrink: bool,
}

/// In which order moves are tried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proposals {
    /// What the gradients speak for comes first.
    #[default]
    Gradients,
    /// By chance.
    Random,
    /// What the gradients speak against comes first.
    Reversed,
}

/// Groups of tasks by their names.
pub type Partition = Vec<Vec<String>>;

/// The groups to begin with.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Start {
    /// `"together"` or `"apart"`.
    Named(Together),
    /// The same at every depth.
    Everywhere(Partition),
    /// By band; each refines the one below.
    ByBand(ByBand),
}

/// The two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Together {
    /// One group of all tasks.
    Together,
    /// Each task a group of its own.
    Apart,
}

/// Groups by band.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByBand {
    /// Words and embeddings.
    pub words: Partition,
    /// Lower layers.
    pub lower: Partition,
    /// Upper layers.
    pub upper: Partition,
}

/// Layers of the lower band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Lower {
    /// So many.
    Count(usize),
    /// `"half"`.
    Named(Half),
}

/// The number that depends on the encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// The larger half.
    Half,
}

impl Default for Adaptive {
    fn default() -> Self {
        Self {
            start: Start::Named(Together::Apart),
            start_tied: true,
            tie: 0.1,
            lower_layers: Lower::Named(Half::Half),
            warmup: 0.1,
            adopt: true,
            races: vec![0.15, 0.35, 0.55],
            race: 0.08,
            race_steps: 15,
            race_epochs: 4.,
            arms: 3,
            interpolation: 0.15,
            mixes: vec![0., 0.25, 0.5, 0.75, 1.],
            held_out: 0.1,
            parameter_penalty: 0.,
            most_encoders: 0.,
            proposals: Proposals::Gradients,
            joins: true,
            shrink: true,
        }
    }
}

impl Adaptive {
    /// Layers of the lower band, of `layers`.
    pub(super) fn lower(&self, layers: usize) -> anyhow::Result<usize> {
        match self.lower_layers {
            Lower::Named(Half::Half) => Ok(layers.div_ceil(2)),
            Lower::Count(count) if count <= layers => Ok(count),
            Lower::Count(count) => bail!("`lower_layers` is {count}, but the encoder has {layers} layers"),
        }
    }

    /// Whether the warm-up may part groups.
    pub(super) fn adopts(&self) -> bool {
        self.adopt && self.tie > 0. && self.warmup > 0.
    }

    /// Whether anything may change in training.
    pub(super) fn changes(&self) -> bool {
        !self.races.is_empty() || self.blends() || self.adopts()
    }

    /// Whether each task ends somewhere between its group's vector and its own.
    pub(super) fn blends(&self) -> bool {
        self.interpolation > 0. && self.mixes.iter().any(|mix| *mix > 0.)
    }

    /// What tasks are named in; one that is empty is one group.
    fn partitions(&self) -> [&Partition; 3] {
        const NONE: &Partition = &Vec::new();
        match &self.start {
            Start::Named(_) => [NONE; 3],
            Start::Everywhere(all) => [all; 3],
            Start::ByBand(ByBand { words, lower, upper }) => [words, lower, upper],
        }
    }

    /// Whether two tasks share anything at the start.
    pub(super) fn starts_shared(&self) -> bool {
        self.start != Start::Named(Together::Apart)
            && self
                .partitions()
                .iter()
                .any(|partition| partition.is_empty() || partition.iter().any(|group| group.len() > 1))
    }

    /// The structure to begin with, of the tasks called `names`.
    pub(super) fn bands(&self, names: &[&str]) -> anyhow::Result<Bands> {
        let apart = || (0..names.len()).map(|task| TaskSet::one(TaskId(task))).collect();
        let band = |partition: &Partition| {
            let groups = if self.start == Start::Named(Together::Apart) { apart() } else { groups(partition, names)? };
            Ok(Band::new(groups, self.start_tied && self.tie > 0.))
        };
        let bands = Bands(self.partitions().into_iter().map(band).collect::<anyhow::Result<_>>()?);
        if !bands.refine() {
            bail!(
                "`start`: tasks that are together in a band have to be so in the bands below ({}), found {}",
                BANDS.join(", then "),
                bands.drawn(&names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>())
            );
        }
        Ok(bands)
    }

    pub(super) fn checked(&self, tasks: usize) -> anyhow::Result<()> {
        let shares = [
            ("warmup", self.warmup),
            ("race", self.race),
            ("interpolation", self.interpolation),
            ("held_out", self.held_out),
        ];
        for (key, share) in shares.into_iter().chain(self.races.iter().map(|at| ("races", *at))) {
            if !(0. ..=1.).contains(&share) {
                bail!("`{key}` is {share}, but a share of the budget lies in [0, 1]");
            }
        }
        for (key, value) in [
            ("tie", self.tie),
            ("parameter_penalty", self.parameter_penalty),
            ("most_encoders", self.most_encoders),
            ("race_epochs", self.race_epochs),
        ] {
            if !(value >= 0. && value.is_finite()) {
                bail!("`{key}` is {value}, but it has to be a number from 0 on");
            }
        }
        if self.races.windows(2).any(|pair| pair[0] >= pair[1]) {
            bail!("`races` has to rise, found {:?}", self.races);
        }
        if self.races.first().is_some_and(|first| *first < self.warmup) {
            bail!("`races` begins at {:?}, but the warm-up lasts until {}", self.races, self.warmup);
        }
        if self.races.last().is_some_and(|last| self.blends() && last + self.race > 1. - self.interpolation + 1e-9) {
            bail!(
                "`races` ends with {:?}, within `race` = {} of `interpolation`, which begins at {}",
                self.races,
                self.race,
                1. - self.interpolation
            );
        }
        if !(2..=3).contains(&self.arms) {
            bail!("`arms` is {}, but a race has 2 or 3, what stays as it is included", self.arms);
        }
        let rises = self.mixes.windows(2).all(|pair| pair[0] < pair[1]);
        if self.mixes.first() != Some(&0.) || !rises || self.mixes.iter().any(|mix| *mix > 1.) {
            bail!("`mixes` has to rise from 0 to at most 1, found {:?}", self.mixes);
        }
        if tasks > 1 && self.most_encoders > 0. && self.most_encoders < 1. {
            bail!("`most_encoders` is {}, but one encoder is the least; 0 is for no bound", self.most_encoders);
        }
        let begins = match &self.start {
            Start::Named(Together::Apart) => tasks,
            Start::Everywhere(groups) => groups.len(),
            Start::Named(Together::Together) | Start::ByBand(_) => 1,
        };
        if self.most_encoders > 0. && begins as f64 > self.most_encoders {
            bail!(
                "`most_encoders` is {}, but `start` begins with {begins} encoders; `start = \"together\"` begins with one",
                self.most_encoders
            );
        }
        for partition in self.partitions() {
            let named: usize = partition.iter().map(Vec::len).sum();
            if named != 0 && named != tasks {
                bail!("`start` names {named} tasks, but the recipe has {tasks}; every task is in one group");
            }
        }
        Ok(())
    }
}

/// The groups of `partition`; one of all tasks if it is empty.
fn groups(partition: &Partition, names: &[&str]) -> anyhow::Result<Vec<TaskSet>> {
    if partition.is_empty() {
        return Ok(vec![TaskSet::all(names.len())]);
    }
    let mut groups: Vec<TaskSet> = Vec::new();
    for members in partition {
        if members.is_empty() {
            bail!("`start` has a group without a task");
        }
        let mut group = Vec::new();
        for member in members {
            let Some(task) = names.iter().position(|name| name == member) else {
                let nearest = mtl_task::nearest(member, names.iter().copied());
                bail!("`start`: no task `{member}`{nearest}; there are {}", names.join(", "))
            };
            if group.contains(&task) || groups.iter().any(|known| known.contains(TaskId(task))) {
                bail!("`start` names the task `{member}` twice; groups do not overlap");
            }
            group.push(task);
        }
        groups.push(group.into());
    }
    if let Some(task) = (0..names.len()).find(|task| !groups.iter().any(|group| group.contains(TaskId(*task)))) {
        bail!("`start`: the task `{}` is in no group; one that shares with nobody is a group of its own", names[task]);
    }
    Ok(groups)
}
